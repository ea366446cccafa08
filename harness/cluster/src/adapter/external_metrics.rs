//! Asks the API for External metrics, as Kubernetes' own controller does: whoever serves the group, the cluster knows
//! nothing of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;
use windtunnel_kernel::autoscale::hpa::{
    HpaSpec, MetricSpec,
    spec::{LabelSelector, MetricIdentifier},
};

use super::Executor;
use crate::quantity;

const GROUP: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// The values of all External metrics of a spec by their place in it, thousandths, or why there are none. Metrics of a
/// group that nobody serves are left out.
pub(super) async fn ask(
    namespace: &str,
    spec: &HpaSpec,
    executor: &Executor,
) -> BTreeMap<usize, Result<Vec<i64>, String>> {
    let mut all = BTreeMap::new();
    for (place, metric) in spec.metrics.iter().enumerate() {
        let MetricSpec::External { metric, .. } = metric else { continue };
        let text = metric.selector.as_ref().map(selector_text).unwrap_or_default();
        let path = path(namespace, metric, &text);
        let answer = match executor.call("GET", &path, "application/json", &Value::Null).await {
            Ok(list) => values(&list),
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(kube::Error::Api(status)) => {
                Err(format!("unable to fetch metrics from external metrics API: {}", status.message))
            }
            Err(error) => Err(format!("unable to fetch metrics from external metrics API: {error}")),
        };
        let answer = answer.map_err(|why| {
            format!("unable to get external metric {namespace}/{}/{text}: {why}", metric.name)
        });
        all.insert(place, answer);
    }
    all
}

fn path(namespace: &str, metric: &MetricIdentifier, selector: &str) -> String {
    let query: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
    let name: String = form_urlencoded::byte_serialize(metric.name.as_bytes()).collect();
    format!("{GROUP}/namespaces/{namespace}/{name}?labelSelector={query}")
}

/// The values of an `ExternalMetricValueList`, thousandths.
fn values(list: &Value) -> Result<Vec<i64>, String> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return Err("no metrics returned from external metrics API".to_owned());
    }
    items
        .iter()
        .map(|item| {
            let text = item["value"].as_str().unwrap_or_default();
            let milli = quantity::milli(&Quantity(text.to_owned()));
            milli.and_then(|milli| i64::try_from(milli).ok()).ok_or_else(|| {
                format!("external metrics API returned {}, which is no quantity", item["value"])
            })
        })
        .collect()
}

/// A selector as text, labels in order.
fn selector_text(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().map(|(label, value)| format!("{label}={value}"));
    let others = selector.match_expressions.iter().map(|requirement| {
        let (label, values) = (&requirement.key, requirement.values.join(","));
        match requirement.operator.as_str() {
            "In" => format!("{label} in ({values})"),
            "NotIn" => format!("{label} notin ({values})"),
            "DoesNotExist" => format!("!{label}"),
            _ => label.clone(),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// If this fails an autoscaler asks for another metric than the one it was given, or misreads the answer.
    #[test]
    fn a_metric_is_asked_for_by_name_and_labels() {
        let metric: MetricIdentifier = serde_json::from_value(json!({"name": "s0-rabbitmq-jobs", "selector":
            {"matchLabels": {"scaledobject.keda.sh/name": "w"},
             "matchExpressions": [{"key": "z", "operator": "In", "values": ["a", "b"]}]}}))
        .expect("a metric");
        let text = selector_text(metric.selector.as_ref().expect("a selector"));
        assert_eq!(text, "scaledobject.keda.sh/name=w,z in (a,b)");
        assert_eq!(
            path("ns", &metric, &text),
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/s0-rabbitmq-jobs\
             ?labelSelector=scaledobject.keda.sh%2Fname%3Dw%2Cz+in+%28a%2Cb%29"
        );
        let list = json!({"items": [{"value": "1500m"}, {"value": "2"}]});
        assert_eq!(values(&list), Ok(vec![1500, 2000]));
        assert_eq!(
            values(&json!({"items": []})),
            Err("no metrics returned from external metrics API".to_owned())
        );
        assert!(values(&json!({"items": [{"value": "many"}]})).is_err_and(|why| why.contains("many")));
    }
}
