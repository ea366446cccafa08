//! `external.metrics.k8s.io`: metrics of whatever is outside of the cluster, from whoever knows them.
//!
//! A real cluster has an aggregated API server for this group; here a [`ExternalMetrics`] answers in process. The
//! HorizontalPodAutoscaler controller asks over the API as Kubernetes' own does, and so may everybody else.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::{
    pipeline::{Answer, Request, route},
    server::ApiServer,
    status::ApiError,
};

pub(crate) const GROUP: &str = "external.metrics.k8s.io";
pub(crate) const VERSION: &str = "v1beta1";

/// Which metric is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalMetricQuery {
    /// Namespace of the autoscaler.
    pub namespace: String,
    /// Name of the metric.
    pub metric: String,
    /// Labels, as a selector's text (`a=b,c!=d`); empty selects all.
    pub selector: String,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalMetricValue {
    /// The value as a quantity, such as `1500m`.
    pub value: String,
    /// When it was measured; now, if unknown.
    pub at: Option<jiff::Timestamp>,
}

/// Who knows metrics of what is outside of the cluster.
pub trait ExternalMetrics: Send + Sync {
    /// The values of a metric: none where it exists and has no value.
    ///
    /// # Errors
    /// Why there is no answer, for the autoscaler's condition.
    fn values(
        &self,
        query: ExternalMetricQuery,
    ) -> BoxFuture<'static, Result<Vec<ExternalMetricValue>, String>>;
}

/// Answers a request for this group; `None` for all others, and for all while nobody knows such metrics.
pub(crate) async fn respond(server: &ApiServer, request: &Request) -> Option<Answer> {
    let rest = request.path.strip_prefix("/apis/")?.strip_prefix(GROUP)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let source = server.external_metrics()?;
    if matches!(rest.trim_matches('/'), "" | VERSION) {
        // That is discovery.
        return None;
    }
    if request.method != "GET" {
        return Some(Answer::error(&ApiError::method_not_allowed()));
    }
    let route::Route::Resource(path) = route::parse(&request.path) else {
        return Some(Answer::page_not_found());
    };
    let (Some(namespace), None, VERSION) = (path.namespace, path.name, path.version.as_str()) else {
        return Some(Answer::page_not_found());
    };
    let selector = form_urlencoded::parse(request.query.as_bytes())
        .find(|(key, _)| key == "labelSelector")
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default();
    let query = ExternalMetricQuery { namespace, metric: path.resource, selector };
    Some(answer(source, query).await)
}

async fn answer(source: Arc<dyn ExternalMetrics>, query: ExternalMetricQuery) -> Answer {
    let metric = query.metric.clone();
    match source.values(query).await {
        Ok(values) => {
            let items: Vec<Value> = values.iter().map(|value| item(&metric, value)).collect();
            let list = json!({"kind": "ExternalMetricValueList", "apiVersion": format!("{GROUP}/{VERSION}"),
                "metadata": {}, "items": items});
            Answer::json(200, list)
        }
        Err(why) => Answer::error(&ApiError::internal(why)),
    }
}

fn item(metric: &str, value: &ExternalMetricValue) -> Value {
    let at = value.at.unwrap_or_else(jiff::Timestamp::now);
    let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    json!({"metricName": metric, "metricLabels": null, "timestamp": at.to_string(), "value": value.value})
}
