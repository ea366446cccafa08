//! The families of series, with their names, labels and buckets.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::world::Key;

/// controller-runtime's buckets of reconciles.
const RECONCILE_S: [f64; 39] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25,
    1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0,
    60.0,
];
/// Prometheus' default buckets, which reviews have.
const DEFAULT_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a start within milliseconds to a model that takes ten minutes to load.
const READY_S: [f64; 13] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0, 60.0, 120.0, 300.0, 600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Controller {
    pub(super) controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reconcile {
    pub(super) controller: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Queue {
    pub(super) name: &'static str,
    pub(super) controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Webhook {
    pub(super) webhook: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WebhookCode {
    pub(super) webhook: String,
    pub(super) code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) code: String,
    pub(super) host: String,
    pub(super) method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Lease {
    pub(super) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Write {
    pub(super) kind: String,
    pub(super) operation: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
}

impl Controller {
    pub(super) fn of(key: &Key) -> Self {
        Self { controller: key.controller() }
    }
}

impl Queue {
    pub(super) fn of(key: &Key) -> Self {
        Self { name: key.controller(), controller: key.controller() }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug)]
pub(super) struct Families {
    pub(super) reconciles: Family<Reconcile, Counter>,
    pub(super) reconcile_errors: Family<Controller, Counter>,
    pub(super) reconcile_time: Histograms<Controller>,
    pub(super) active_workers: Family<Controller, Gauge>,
    pub(super) workers: Family<Controller, Gauge>,
    pub(super) depth: Family<Queue, Gauge>,
    pub(super) adds: Family<Queue, Counter>,
    pub(super) queue_duration: Histograms<Queue>,
    pub(super) work_duration: Histograms<Queue>,
    pub(super) retries: Family<Queue, Counter>,
    pub(super) unfinished: Family<Queue, Seconds>,
    pub(super) longest: Family<Queue, Seconds>,
    pub(super) reviews: Family<WebhookCode, Counter>,
    pub(super) review_latency: Histograms<Webhook>,
    pub(super) reviews_in_flight: Family<Webhook, Gauge>,
    pub(super) leader: Family<Lease, Gauge>,
    pub(super) requests: Family<Request, Counter>,
    pub(super) writes: Family<Write, Counter>,
    pub(super) unneeded: Family<Controller, Counter>,
    pub(super) time_to_ready: Histograms<Kind>,
    /// Sums over all labels, not shown.
    pub(super) write_count: Counter,
    pub(super) reconcile_count: Counter,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
            registry.register(name, help, metric.clone());
            metric
        }
        fn seconds<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
            // client-go's buckets of queues: from 10 ns to 1,000 s.
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-8, 10.0, 12)))
        }
        let r = registry;
        // Counters are named without the `_total` that the format puts behind them.
        Self {
            reconciles: add(
                r,
                "controller_runtime_reconcile",
                "Reconciliations by controller and result",
                Family::default(),
            ),
            reconcile_errors: add(
                r,
                "controller_runtime_reconcile_errors",
                "Reconciliations that failed, by controller",
                Family::default(),
            ),
            reconcile_time: add(
                r,
                "controller_runtime_reconcile_time_seconds",
                "Time of a reconciliation with its writes, by controller",
                Family::new_with_constructor(|| Histogram::new(RECONCILE_S)),
            ),
            active_workers: add(
                r,
                "controller_runtime_active_workers",
                "Reconciliations in progress, by controller",
                Family::default(),
            ),
            workers: add(
                r,
                "controller_runtime_max_concurrent_reconciles",
                "Most reconciliations at one time, shared by all controllers",
                Family::default(),
            ),
            depth: add(r, "workqueue_depth", "Keys that wait to be worked on", Family::default()),
            adds: add(r, "workqueue_adds", "Keys that came into the queue", Family::default()),
            queue_duration: add(
                r,
                "workqueue_queue_duration_seconds",
                "How long a key stays in the queue before it is worked on",
                seconds(),
            ),
            work_duration: add(
                r,
                "workqueue_work_duration_seconds",
                "How long the work on a key takes",
                seconds(),
            ),
            retries: add(
                r,
                "workqueue_retries",
                "Keys that went back into the queue after a failure",
                Family::default(),
            ),
            unfinished: add(
                r,
                "workqueue_unfinished_work_seconds",
                "How long work in progress has taken so far, in sum; large values point to what is stuck",
                Family::default(),
            ),
            longest: add(
                r,
                "workqueue_longest_running_processor_seconds",
                "How long the longest work in progress has taken so far",
                Family::default(),
            ),
            reviews: add(
                r,
                "controller_runtime_webhook_requests",
                "Reviews by webhook and HTTP status code",
                Family::default(),
            ),
            review_latency: add(
                r,
                "controller_runtime_webhook_latency_seconds",
                "Time to answer a review, by webhook",
                Family::new_with_constructor(|| Histogram::new(DEFAULT_S)),
            ),
            reviews_in_flight: add(
                r,
                "controller_runtime_webhook_requests_in_flight",
                "Reviews that are being answered, by webhook",
                Family::default(),
            ),
            leader: add(
                r,
                "leader_election_master_status",
                "Whether this process holds the Lease: 1 if it leads, 0 if it stands by",
                Family::default(),
            ),
            requests: add(
                r,
                "rest_client_requests",
                "Requests to the API server by status code, method and host",
                Family::default(),
            ),
            writes: add(
                r,
                "windtunnel_writes",
                "Writes by kind, operation and the reason why they were needed",
                Family::default(),
            ),
            unneeded: add(
                r,
                "windtunnel_reconciles_without_writes",
                "Reconciliations that found everything as it should be, by controller",
                Family::default(),
            ),
            time_to_ready: add(
                r,
                "windtunnel_time_to_ready_seconds",
                "From when an object was first seen not ready until it is ready, by kind",
                Family::new_with_constructor(|| Histogram::new(READY_S)),
            ),
            write_count: Counter::default(),
            reconcile_count: Counter::default(),
        }
    }
}
