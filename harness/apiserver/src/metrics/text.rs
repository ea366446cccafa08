//! The page in Prometheus' text format.

use std::{
    fmt::Write as _,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{BOUNDS_S, Metrics, Series};
use crate::pipeline::State;

pub(super) fn page(metrics: &Metrics, state: &State) -> String {
    let mut series: Vec<(String, Arc<Series>)> = {
        let requests = metrics.requests.read().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|(labels, series)| (labels.clone(), Arc::clone(series))).collect()
    };
    series.sort_by(|one, other| one.0.cmp(&other.0));
    let mut page = Page(String::new());
    let of = |count: &std::sync::atomic::AtomicI64| count.load(Ordering::Relaxed).max(0);
    page.head(
        "apiserver_current_inflight_requests",
        "gauge",
        "Requests in flight, without long-running ones.",
    );
    for (kind, count) in [("mutating", &metrics.writing), ("readOnly", &metrics.reading)] {
        page.line("apiserver_current_inflight_requests", &format!("request_kind=\"{kind}\""), of(count));
    }
    page.head("apiserver_longrunning_requests", "gauge", "Open watches, by what they watch.");
    for (labels, series) in &series {
        let labels = without_dry_run(labels);
        if labels.contains("verb=\"WATCH\"") {
            page.line("apiserver_longrunning_requests", &labels, of(&series.open));
        }
    }
    durations(&mut page, &series);
    page.head(
        "apiserver_request_total",
        "counter",
        "Answered requests, by what they were about and the status code.",
    );
    for (labels, series) in &series {
        for (code, count) in series.codes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            page.line("apiserver_request_total", &format!("code=\"{code}\",{labels}"), count);
        }
    }
    objects(&mut page, state);
    page.head(
        "apiserver_tls_handshake_errors_total",
        "counter",
        "Connections that ended before a request: their TLS handshake failed.",
    );
    page.line("apiserver_tls_handshake_errors_total", "", metrics.handshake_errors.load(Ordering::Relaxed));
    page.head(
        "apiserver_watch_events_total",
        "counter",
        "Events that watches have been sent, bookmarks included.",
    );
    let mut events = std::collections::BTreeMap::new();
    for (labels, series) in &series {
        let sent = series.events.load(Ordering::Relaxed);
        if labels.contains("verb=\"WATCH\"") {
            let kept = ["group=", "resource=", "version="];
            let kept = labels.split(',').filter(|label| kept.iter().any(|name| label.starts_with(name)));
            *events.entry(kept.collect::<Vec<_>>().join(",")).or_insert(0) += sent;
        }
    }
    for (labels, sent) in events {
        page.line("apiserver_watch_events_total", &labels, sent);
    }
    process(&mut page);
    page.0
}

fn durations(page: &mut Page, series: &[(String, Arc<Series>)]) {
    const NAME: &str = "apiserver_request_duration_seconds";
    page.head(NAME, "histogram", "Time from a request's head to its answer; for a watch to its end.");
    for (labels, series) in series {
        let mut count = 0;
        for (index, bucket) in series.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_S.get(index).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            page.line(&format!("{NAME}_bucket"), &format!("{labels},le=\"{bound}\""), count);
        }
        let sum_s = series.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        page.line(&format!("{NAME}_sum"), labels, sum_s);
        page.line(&format!("{NAME}_count"), labels, count);
    }
}

/// Stored objects by resource, under the name of today and the one before.
fn objects(page: &mut Page, state: &State) {
    let counts: Vec<(String, String, usize)> = state.counts();
    page.head("apiserver_resource_objects", "gauge", "Stored objects, by resource.");
    for (group, resource, count) in &counts {
        page.line("apiserver_resource_objects", &format!("group=\"{group}\",resource=\"{resource}\""), count);
    }
    page.head(
        "apiserver_storage_objects",
        "gauge",
        "Stored objects, by resource; see apiserver_resource_objects.",
    );
    for (group, resource, count) in &counts {
        let resource = crate::status::qualified(resource, group);
        page.line("apiserver_storage_objects", &format!("resource=\"{resource}\""), count);
    }
}

/// The process that the server is part of.
fn process(page: &mut Page) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    // The kernel counts time in ticks of 10 ms and memory in pages of 4 KiB.
    let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
    page.head("process_cpu_seconds_total", "counter", "Processor time of the process.");
    page.line("process_cpu_seconds_total", "", (field(10) + field(11)) / 100.0);
    page.head("process_resident_memory_bytes", "gauge", "Resident memory of the process.");
    page.line("process_resident_memory_bytes", "", field(20) * 4096.0);
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    page.head("process_open_fds", "gauge", "Open file descriptors of the process.");
    page.line("process_open_fds", "", files);
}

fn without_dry_run(labels: &str) -> String {
    labels.split(',').filter(|label| !label.starts_with("dry_run=")).collect::<Vec<_>>().join(",")
}

/// The text, line after line.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }
}
