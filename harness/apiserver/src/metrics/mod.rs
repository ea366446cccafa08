//! What the server counts about itself, under Kubernetes' names.
//!
//! [`Metrics::begin`] notes a request, [`Observed::end`] its answer; a watch is noted when it ends, as in Kubernetes.
//! [`Metrics::text`] is the page that `/metrics` serves, in Prometheus' text format.

mod labels;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::BodyExt as _;

use crate::{http_layer::ResponseBody, pipeline::State, server::ApiServer};
use labels::Labels;

/// Upper bounds of the buckets of request durations, in seconds.
const BOUNDS_S: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By the text of their labels.
    requests: RwLock<HashMap<String, Arc<Series>>>,
    reading: AtomicI64,
    writing: AtomicI64,
    handshake_errors: AtomicU64,
}

/// Requests of one kind.
#[derive(Debug, Default)]
struct Series {
    codes: Mutex<BTreeMap<u16, u64>>,
    /// Requests by the first bound that they stayed under; the last is for those beyond all.
    buckets: [AtomicU64; BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
    /// Watches and sessions that are open.
    open: AtomicI64,
    /// Events that watches have sent.
    events: AtomicU64,
}

/// A request that is being answered.
pub(crate) struct Observed {
    metrics: Arc<Metrics>,
    start: Instant,
    labels: Labels,
    /// Whether it is among those in flight: long ones are not.
    in_flight: bool,
}

/// An open watch; its end is the end of the request.
struct Open {
    series: Arc<Series>,
    start: Instant,
}

impl Metrics {
    /// Notes that a request has come in.
    pub(crate) fn begin(self: &Arc<Self>, head: &Parts) -> Observed {
        let labels = Labels::of(head);
        let in_flight = !labels.is_long;
        if in_flight {
            self.in_flight(&labels).fetch_add(1, Ordering::Relaxed);
        }
        Observed { metrics: Arc::clone(self), start: Instant::now(), labels, in_flight }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_errors.fetch_add(1, Ordering::Relaxed);
    }

    fn in_flight(&self, labels: &Labels) -> &AtomicI64 {
        if labels.is_write { &self.writing } else { &self.reading }
    }

    /// The series of these labels; `None` for a request about nothing that the server knows: such ones must not fill the
    /// memory.
    fn series(&self, labels: &Labels, is_known: impl FnOnce() -> bool) -> Option<Arc<Series>> {
        let found = self.requests.read().unwrap_or_else(PoisonError::into_inner).get(&labels.text).cloned();
        found.or_else(|| {
            is_known().then(|| {
                let mut requests = self.requests.write().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(requests.entry(labels.text.clone()).or_default())
            })
        })
    }

    /// The page of all metrics.
    pub(crate) fn text(&self, state: &State) -> String {
        text::page(self, state)
    }
}

impl Observed {
    /// Notes the answer. A watch that has begun is noted when its body ends.
    pub(crate) fn end(self, server: &ApiServer, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let is_known = || self.labels.are_known(&server.read().registry);
        let Some(series) = self.metrics.series(&self.labels, is_known) else { return response };
        let code = response.status().as_u16();
        if !(self.labels.is_watch && response.status().is_success()) {
            series.note(code, self.start.elapsed());
            return response;
        }
        series.open.fetch_add(1, Ordering::Relaxed);
        let open = Open { series, start: self.start };
        response.map(|body| {
            body.map_frame(move |frame| {
                frame.map_data(|data: Bytes| {
                    let lines = data.iter().filter(|byte| **byte == b'\n').count();
                    open.series.events.fetch_add(lines as u64, Ordering::Relaxed);
                    data
                })
            })
            .boxed_unsync()
        })
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if self.in_flight {
            self.metrics.in_flight(&self.labels).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.series.open.fetch_sub(1, Ordering::Relaxed);
        self.series.note(200, self.start.elapsed());
    }
}

impl Series {
    fn note(&self, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_S.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
        *self.codes.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }
}
