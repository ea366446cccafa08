//! What a control plane counts about itself: controller-runtime's and client-go's metrics under their own names and
//! labels, so that existing dashboards and alerts work, and ours with the prefix `windtunnel_`.
//!
//! [`Metrics::text`] is the page in OpenMetrics' text format, served with [`CONTENT_TYPE`]. What is in progress is
//! looked at when the page is made.

mod client;
mod families;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

pub(crate) use client::counted;
use families::{Controller, Families, Queue, Request, Webhook, WebhookCode, Write};

use crate::world::Key;

/// Media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a reconcile ended, in controller-runtime's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    RequeueAfter,
    Error,
}

/// The metrics of one control plane; clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Families,
    /// Begin of what is being worked on, by controller.
    running: Mutex<BTreeMap<Key, Instant>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let families = Families::register(&mut registry);
        let metrics = Self(Arc::new(Inner { registry, families, running: Mutex::default() }));
        for controller in Key::CONTROLLERS {
            metrics.begin_at_zero(controller);
        }
        metrics
    }
}

impl Metrics {
    /// The page of all metrics.
    #[must_use]
    pub fn text(&self) -> String {
        self.look_at_running();
        let mut page = String::new();
        match encode(&mut page, &self.0.registry) {
            Ok(()) => page,
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written down");
                "# EOF\n".to_owned()
            }
        }
    }

    /// Writes that were sent to the API server, leases and certificates aside: none while everything is as it should be.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.0.families.write_count.get()
    }

    /// Reconciles that have ended.
    #[must_use]
    pub fn reconciles(&self) -> u64 {
        self.0.families.reconcile_count.get()
    }

    fn families(&self) -> &Families {
        &self.0.families
    }

    /// Series that are there before anything has happened, as controller-runtime has them.
    fn begin_at_zero(&self, controller: &'static str) {
        let families = self.families();
        for result in ["success", "requeue_after", "requeue", "error"] {
            let _ = families.reconciles.get_or_create(&families::Reconcile { controller, result });
        }
        let label = Controller { controller };
        let _ = families.reconcile_errors.get_or_create(&label);
        families.active_workers.get_or_create(&label).set(0);
        families.workers.get_or_create(&label).set(crate::engine::WRITES_AT_ONCE as i64);
        let queue = Queue { name: controller, controller };
        families.depth.get_or_create(&queue).set(0);
        let _ = families.adds.get_or_create(&queue);
        let _ = families.retries.get_or_create(&queue);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Key, Instant>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_at_running(&self) {
        let mut by_controller: BTreeMap<&'static str, (f64, f64)> =
            Key::CONTROLLERS.into_iter().map(|controller| (controller, (0.0, 0.0))).collect();
        for (key, since) in &*self.running() {
            let took_s = since.elapsed().as_secs_f64();
            let (sum, longest) = by_controller.entry(key.controller()).or_default();
            *sum += took_s;
            *longest = longest.max(took_s);
        }
        for (controller, (sum, longest)) in by_controller {
            let queue = Queue { name: controller, controller };
            self.families().unfinished.get_or_create(&queue).set(sum);
            self.families().longest.get_or_create(&queue).set(longest);
        }
    }

    /// A key has come into its queue.
    pub(crate) fn queued(&self, key: &Key) {
        let queue = Queue::of(key);
        self.families().adds.get_or_create(&queue).inc();
        self.families().depth.get_or_create(&queue).inc();
    }

    /// A key has left its queue to be worked on.
    pub(crate) fn begun(&self, key: &Key, waited: Duration) {
        let queue = Queue::of(key);
        self.families().depth.get_or_create(&queue).dec();
        self.families().queue_duration.get_or_create(&queue).observe(waited.as_secs_f64());
        self.started(key);
    }

    /// Work on a key has begun that was in no queue.
    pub(crate) fn started(&self, key: &Key) {
        if self.running().insert(key.clone(), Instant::now()).is_none() {
            self.families().active_workers.get_or_create(&Controller::of(key)).inc();
        }
    }

    /// A key's work has ended, its writes included; nothing if it had not begun.
    pub(crate) fn ended(&self, key: &Key, outcome: Outcome, writes: bool) {
        let Some(since) = self.running().remove(key) else { return };
        let (families, label) = (self.families(), Controller::of(key));
        let took_s = since.elapsed().as_secs_f64();
        families.active_workers.get_or_create(&label).dec();
        families.reconcile_time.get_or_create(&label).observe(took_s);
        families.work_duration.get_or_create(&Queue::of(key)).observe(took_s);
        let result = match outcome {
            Outcome::Success => "success",
            Outcome::RequeueAfter => "requeue_after",
            Outcome::Error => "error",
        };
        families
            .reconciles
            .get_or_create(&families::Reconcile { controller: label.controller, result })
            .inc();
        families.reconcile_count.inc();
        if outcome == Outcome::Error {
            families.reconcile_errors.get_or_create(&label).inc();
        } else if !writes {
            families.unneeded.get_or_create(&label).inc();
        }
    }

    /// A key goes back into its queue after a failure.
    pub(crate) fn retried(&self, key: &Key) {
        self.families().retries.get_or_create(&Queue::of(key)).inc();
    }

    /// All queues are given up.
    pub(crate) fn cleared<'a>(&self, queued: impl Iterator<Item = &'a Key>) {
        for key in queued {
            self.families().depth.get_or_create(&Queue::of(key)).dec();
        }
        for key in std::mem::take(&mut *self.running()).into_keys() {
            self.families().active_workers.get_or_create(&Controller::of(&key)).dec();
        }
    }

    /// A write was sent.
    pub(crate) fn wrote(&self, kind: String, operation: &'static str, reason: &'static str) {
        self.families().writes.get_or_create(&Write { kind, operation, reason }).inc();
        self.families().write_count.inc();
    }

    /// An object has become ready.
    pub(crate) fn ready(&self, kind: &'static str, took: Duration) {
        self.families().time_to_ready.get_or_create(&families::Kind { kind }).observe(took.as_secs_f64());
    }

    /// Whether this control plane leads.
    pub(crate) fn leads(&self, lease: &str, leads: bool) {
        let label = families::Lease { name: lease.to_owned() };
        self.families().leader.get_or_create(&label).set(i64::from(leads));
    }

    /// A request to the API server was answered; code `<error>` for none.
    pub(crate) fn requested(&self, code: String, method: String, host: String) {
        self.families().requests.get_or_create(&Request { code, host, method }).inc();
    }

    /// A review has come in.
    pub(crate) fn review_begun(&self, path: &str) {
        self.families().reviews_in_flight.get_or_create(&Webhook { webhook: path.to_owned() }).inc();
    }

    /// A review was answered.
    pub(crate) fn reviewed(&self, path: &str, code: u16, took: Duration) {
        let label = Webhook { webhook: path.to_owned() };
        self.families().reviews_in_flight.get_or_create(&label).dec();
        self.families().review_latency.get_or_create(&label).observe(took.as_secs_f64());
        let label = WebhookCode { webhook: path.to_owned(), code };
        self.families().reviews.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ObjectKey;

    /// Dashboards of controller-runtime find their series by these names and labels.
    #[tokio::test(start_paused = true)]
    async fn names_and_labels_are_controller_runtimes() {
        let metrics = Metrics::default();
        let key = Key::InferenceService(ObjectKey::new("a", "b"));
        metrics.queued(&key);
        tokio::time::advance(Duration::from_millis(250)).await;
        metrics.begun(&key, Duration::from_millis(250));
        tokio::time::advance(Duration::from_secs(3)).await;
        let page = metrics.text();
        let queue = r#"{name="inferenceservice",controller="inferenceservice"}"#;
        for line in [
            format!("workqueue_adds_total{queue} 1"),
            format!("workqueue_depth{queue} 0"),
            format!("workqueue_unfinished_work_seconds{queue} 3.0"),
            format!("workqueue_longest_running_processor_seconds{queue} 3.0"),
            r#"controller_runtime_active_workers{controller="inferenceservice"} 1"#.to_owned(),
            r#"controller_runtime_max_concurrent_reconciles{controller="inferenceservice"} 64"#.to_owned(),
            r#"controller_runtime_reconcile_total{controller="route",result="requeue_after"} 0"#.to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        metrics.ended(&key, Outcome::Error, true);
        metrics.retried(&key);
        metrics.wrote("Deployment".to_owned(), "apply", "new");
        metrics.leads("lock", true);
        metrics.review_begun("/mutate-pods");
        metrics.reviewed("/mutate-pods", 200, Duration::from_millis(1));
        metrics.ready("InferenceService", Duration::from_millis(400));
        metrics.requested("200".to_owned(), "GET".to_owned(), "10.0.0.1:443".to_owned());
        let page = metrics.text();
        for line in [
            format!("workqueue_retries_total{queue} 1"),
            r#"workqueue_work_duration_seconds_sum{name="inferenceservice",controller="inferenceservice"} 3.0"#
                .to_owned(),
            r#"controller_runtime_reconcile_total{controller="inferenceservice",result="error"} 1"#.to_owned(),
            r#"controller_runtime_reconcile_errors_total{controller="inferenceservice"} 1"#.to_owned(),
            r#"controller_runtime_reconcile_time_seconds_count{controller="inferenceservice"} 1"#.to_owned(),
            r#"controller_runtime_active_workers{controller="inferenceservice"} 0"#.to_owned(),
            r#"controller_runtime_webhook_requests_total{webhook="/mutate-pods",code="200"} 1"#.to_owned(),
            r#"controller_runtime_webhook_latency_seconds_count{webhook="/mutate-pods"} 1"#.to_owned(),
            r#"controller_runtime_webhook_requests_in_flight{webhook="/mutate-pods"} 0"#.to_owned(),
            r#"leader_election_master_status{name="lock"} 1"#.to_owned(),
            r#"rest_client_requests_total{code="200",host="10.0.0.1:443",method="GET"} 1"#.to_owned(),
            r#"windtunnel_writes_total{kind="Deployment",operation="apply",reason="new"} 1"#.to_owned(),
            r#"windtunnel_time_to_ready_seconds_count{kind="InferenceService"} 1"#.to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert_eq!((metrics.writes(), metrics.reconciles()), (1, 1));
    }
}
