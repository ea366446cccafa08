//! What is written down besides requests and decisions: events, and series at whole seconds.
//!
//! Series are sampled each second, in long runs less often, so that none has more than [`MOST_POINTS`]: what a year of
//! idleness costs is bounded. Names and labels are looked up once a run, not once a sample.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windtunnel_record::{Event as Record, Recorder, SeriesId};

use super::{Event, World};
use crate::engine::Schedule;

const SECOND_NS: u64 = 1_000_000_000;

/// Points of a series, at most.
const MOST_POINTS: u64 = 100_000;

/// How far the series are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outputs {
    /// The last sample of the run was taken.
    pub(super) is_over: bool,
    /// Why pods were pending at a sample so far, as series name it.
    reasons: Vec<String>,
}

/// Where the recorder keeps what is sampled. Not state: another recorder has other places.
#[derive(Debug, Default)]
pub(super) struct Book {
    workloads: Vec<OfWorkload>,
    in_flight: Vec<SeriesId>,
    pools: Vec<OfPool>,
    storage: Vec<SeriesId>,
    cost: Vec<SeriesId>,
    pending: Vec<SeriesId>,
}

#[derive(Debug)]
struct OfWorkload {
    wanted: SeriesId,
    ready: SeriesId,
    percent: SeriesId,
    queued: SeriesId,
}

#[derive(Debug)]
struct OfPool {
    ready: SeriesId,
    wanted: SeriesId,
    cpu: SeriesId,
    memory: SeriesId,
    gpu: Option<SeriesId>,
}

impl OfWorkload {
    fn open(recorder: &mut dyn Recorder, name: &str) -> Self {
        let mut open = |series| recorder.open_series(series, &[("revision", name)]);
        Self {
            wanted: open("replicas.wanted"),
            ready: open("replicas.ready"),
            percent: open("traffic.percent"),
            queued: open("requests.queued"),
        }
    }
}

impl OfPool {
    fn open(recorder: &mut dyn Recorder, name: &str, has_gpus: bool) -> Self {
        let mut open = |series| recorder.open_series(series, &[("pool", name)]);
        Self {
            ready: open("nodes.ready"),
            wanted: open("nodes.wanted"),
            cpu: open("nodes.cpu_allocated"),
            memory: open("nodes.memory_allocated"),
            gpu: has_gpus.then(|| open("nodes.gpu_allocated")),
        }
    }
}

impl World<'_> {
    /// Writes down an event, if the run has started.
    pub(super) fn note(&mut self, now_ns: u64, kind: &str, target: &str, text: &str) {
        if self.is_observed(now_ns) {
            self.recorder.event(Record {
                t_ns: self.run_ns(now_ns),
                kind: kind.to_owned(),
                target: target.to_owned(),
                text: text.to_owned(),
            });
        }
    }

    /// A whole second of the run.
    pub(super) fn sample(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        let t_ns = self.run_ns(now_ns);
        self.sample_workloads(t_ns);
        self.sample_servers(now_ns);
        self.sample_clients(t_ns);
        self.sample_queues(t_ns);
        self.sample_drift(t_ns);
        self.sample_in_flight(t_ns);
        self.sample_mirrored(t_ns);
        self.sample_cluster(now_ns);
        let period_ns = sample_period_ns(self.plan.duration_ns);
        if t_ns.saturating_add(period_ns) <= self.plan.duration_ns {
            schedule.after(period_ns, Event::Sample);
        } else {
            self.state.outputs.is_over = true;
        }
    }

    fn sample_workloads(&mut self, t_ns: u64) {
        let book = &mut self.book;
        for workload in &self.state.workloads[book.workloads.len()..] {
            book.workloads.push(OfWorkload::open(self.recorder, &workload.name));
        }
        for (workload, series) in self.state.workloads.iter().zip(&book.workloads) {
            let mut loads = self.plan.loads.iter().filter(|load| load.service == workload.service);
            let parts = loads.find_map(|load| load.matching).unwrap_or(0);
            let percent = self.state.services[workload.service].percent_of(workload.index, parts);
            let pods = workload.endpoints.iter().filter_map(|key| self.state.pods.get(*key));
            let in_servers: usize = pods.map(|pod| pod.server.waiting()).sum();
            let queued = workload.waiting_live + in_servers as u64;
            self.recorder.point(&series.wanted, t_ns, f64::from(workload.wanted));
            self.recorder.point(&series.ready, t_ns, f64::from(workload.ready()));
            self.recorder.point(&series.percent, t_ns, f64::from(percent));
            self.recorder.point(&series.queued, t_ns, queued as f64);
        }
    }

    /// Copies that workloads got since the last sample, of those that ever got one.
    fn sample_mirrored(&mut self, t_ns: u64) {
        for workload in self.state.workloads.iter_mut().filter(|workload| workload.mirrored.sum > 0) {
            let mirrored = &mut workload.mirrored;
            let count = mirrored.sum - std::mem::replace(&mut mirrored.sampled, mirrored.sum);
            let labels = [("revision", workload.name.as_str())];
            self.recorder.sample("requests.mirrored", &labels, t_ns, count as f64);
        }
    }

    /// Of a single service without a label; of several each with its name, so that the sum is the whole.
    fn sample_in_flight(&mut self, t_ns: u64) {
        let services = &self.plan.services;
        let series = &mut self.book.in_flight;
        if services.len() <= 1 {
            if series.is_empty() {
                series.push(self.recorder.open_series("requests.in_flight", &[]));
            }
            return self.recorder.point(&series[0], t_ns, self.state.ledger.in_flight() as f64);
        }
        if series.is_empty() {
            for service in services {
                series.push(self.recorder.open_series("requests.in_flight", &[("service", &service.name)]));
            }
        }
        let mut counts = vec![0_u64; services.len()];
        for workload in &self.state.workloads {
            let inside = workload.waiting_live + workload.running + workload.returning;
            counts[workload.service] += inside.saturating_sub(workload.mirrored.inside);
        }
        for (series, count) in series.iter().zip(counts) {
            self.recorder.point(series, t_ns, count as f64);
        }
    }

    fn sample_cluster(&mut self, now_ns: u64) {
        let t_ns = now_ns.saturating_sub(self.plan.epoch_ns);
        let Some(cluster) = self.state.cluster.as_deref() else { return };
        let (book, recorder) = (&mut self.book, &mut *self.recorder);
        if book.storage.is_empty() {
            let open = |prefix| recorder.open_series("storage.utilisation", &[("prefix", prefix)]);
            book.storage = cluster.network.storage_prefixes().map(open).collect();
        }
        for (series, (_, share)) in book.storage.iter().zip(cluster.network.storage_utilisation()) {
            recorder.point(series, t_ns, share);
        }
        if !cluster.has_nodes {
            return;
        }
        let pools = cluster.fleet.pools();
        if book.pools.is_empty() {
            book.pools = pools.iter().map(|pool| OfPool::open(recorder, &pool.name, pool.gpus > 0)).collect();
            if pools.iter().any(|pool| pool.price_micro_per_hour > 0) {
                book.cost =
                    ["cost.per_hour", "cost.total"].map(|name| recorder.open_series(name, &[])).into();
            }
        }
        for (pool, series) in book.pools.iter().enumerate() {
            let allocation = cluster.fleet.allocation(pool);
            recorder.point(&series.ready, t_ns, f64::from(cluster.fleet.ready(pool)));
            recorder.point(&series.wanted, t_ns, f64::from(cluster.fleet.wanted(pool)));
            recorder.point(&series.cpu, t_ns, allocation.cpu);
            recorder.point(&series.memory, t_ns, allocation.memory);
            if let Some(gpu) = &series.gpu {
                recorder.point(gpu, t_ns, allocation.gpus);
            }
        }
        if let [per_hour, total] = &book.cost[..] {
            recorder.point(per_hour, t_ns, cluster.cost.per_hour_micro() as f64 / 1e6);
            recorder.point(total, t_ns, cluster.cost.total_micro(now_ns) as f64 / 1e6);
        }
        let mut pending: BTreeMap<&str, usize> = BTreeMap::new();
        let by_reason = cluster.fleet.pending_by_reason();
        for (reason, count) in &by_reason {
            *pending.entry(short_reason(reason)).or_insert(0) += count;
        }
        let reasons = &mut self.state.outputs.reasons;
        for reason in pending.keys() {
            if !reasons.iter().any(|known| known == reason) {
                reasons.push((*reason).to_owned());
            }
        }
        for reason in &reasons[book.pending.len()..] {
            book.pending.push(recorder.open_series("pods.pending", &[("reason", reason)]));
        }
        for (reason, series) in reasons.iter().zip(&book.pending) {
            let count = pending.get(reason.as_str()).copied().unwrap_or(0);
            recorder.point(series, t_ns, count as f64);
        }
    }
}

/// From one sample to the next: a whole number of seconds.
fn sample_period_ns(duration_ns: u64) -> u64 {
    duration_ns.div_ceil(SECOND_NS * (MOST_POINTS - 1)).max(1) * SECOND_NS
}

/// What is short, in a word: the label of a series.
fn short_reason(reason: &str) -> &str {
    match reason {
        "Insufficient cpu" => "cpu",
        "Insufficient memory" => "memory",
        "Too many pods" => "pods",
        "no nodes available" => "nodes",
        _ if reason.starts_with("Insufficient ") && reason.contains("gpu") => "gpu",
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of a year would write 31 million points a series.
    #[test]
    fn no_series_has_more_than_its_points() {
        assert_eq!(sample_period_ns(60 * SECOND_NS), SECOND_NS);
        assert_eq!(sample_period_ns(99_999 * SECOND_NS), SECOND_NS);
        assert_eq!(sample_period_ns(100_000 * SECOND_NS), 2 * SECOND_NS);
        let year_ns = 31_536_000 * SECOND_NS;
        assert!(year_ns / sample_period_ns(year_ns) < MOST_POINTS);
        assert_eq!(sample_period_ns(0), SECOND_NS);
    }
}
