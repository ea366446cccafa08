//! The thin part: watches feed the world, queues call the controllers, an executor carries out their effects.

mod autoscale;
mod event_limit;
mod execute;
mod external_metrics;
mod metrics;
mod queue;
mod recorder;
mod store;
mod watch;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub(crate) use autoscale::autoscale;
pub(crate) use execute::Executor;
pub(crate) use metrics::publish_metrics;
pub(crate) use queue::Queue;
pub(crate) use recorder::{Recorder, record};
pub(crate) use store::Store;
pub(crate) use watch::Watches;

use crate::{
    effect::Outcome,
    world::{Key, World},
};

/// A controller's decision function.
pub(crate) type Reconcile = fn(&World, &Key, Timestamp) -> Outcome;

/// Calls `reconcile` for every key of the queue and carries out what it says, until `stop`.
pub(crate) async fn control(
    name: &'static str,
    reconcile: Reconcile,
    queue: Arc<Queue>,
    store: Arc<Store>,
    executor: Executor,
    stop: CancellationToken,
) {
    loop {
        let key = tokio::select! {
            () = stop.cancelled() => return,
            key = queue.next() => key,
        };
        let outcome = store.read(|world| reconcile(world, &key, Timestamp::now()));
        if let Some(delay) = outcome.requeue_after {
            queue.add_after(&key, delay);
        }
        if outcome.effects.is_empty() {
            queue.succeeded(&key);
            continue;
        }
        match executor.carry_out(outcome.effects).await {
            Ok(()) => queue.succeeded(&key),
            Err(error) => {
                tracing::debug!(controller = name, %key, %error, "an effect failed; trying again");
                queue.failed(&key);
            }
        }
    }
}
