//! The metrics that HorizontalPodAutoscalers ask for: from the API server to the loops and back.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use windtunnel_apiserver::{ExternalMetricQuery, ExternalMetricValue, ExternalMetrics};
use windtunnel_kernel::autoscale::hpa::Quantity;

use super::NAME_LABEL;
use crate::world::ObjectKey;

/// Questions that may wait for the loops.
const QUEUED: usize = 256;

/// A question of an autoscaler. The answer is in thousandths, or why there is none.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The ScaledObject.
    pub(crate) key: ObjectKey,
    /// Name of the metric.
    pub(crate) metric: String,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Result<i64, String>>,
}

/// Serves the metrics of the ScaledObjects that a control plane looks after. Clones are the same: one goes to the API
/// server, one to the control plane.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    loops: Arc<Mutex<Option<mpsc::Sender<Ask>>>>,
}

impl Metrics {
    /// Questions come here from now on; those of before end without an answer.
    pub(crate) fn serve(&self) -> mpsc::Receiver<Ask> {
        let (sender, receiver) = mpsc::channel(QUEUED);
        *self.loops.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }
}

impl ExternalMetrics for Metrics {
    fn values(
        &self,
        query: ExternalMetricQuery,
    ) -> BoxFuture<'static, Result<Vec<ExternalMetricValue>, String>> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            let name = query.selector.split(',').find_map(|part| {
                let (label, value) = part.split_once('=')?;
                (label.trim() == NAME_LABEL).then(|| value.trim_start_matches('=').trim().to_owned())
            });
            let name = name.ok_or("scaledObject name is not specified")?;
            let loops = loops.ok_or("no control plane answers for external metrics now")?;
            let (reply, answer) = oneshot::channel();
            let ask = Ask { key: ObjectKey::new(query.namespace, name), metric: query.metric, reply };
            let gone = "the control plane that answers for external metrics has stopped";
            loops.send(ask).await.map_err(|_| gone)?;
            let value_milli = answer.await.map_err(|_| gone)??;
            Ok(vec![ExternalMetricValue { value: Quantity::from_milli(value_milli).to_string(), at: None }])
        }
        .boxed()
    }
}
