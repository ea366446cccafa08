//! Metrics of pods and services: read now and then, seen later, as a metrics server and a Prometheus would.
//!
//! All Deployments that scale on something are read in one go, on a grid of `environment.control.hpa.scrape`. A
//! reading of CPU is the mean since the one before; a container that is younger than a period has one if it is ten
//! seconds old, counted from its start (as metrics-server has it), and none otherwise.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::hpa::Sample;

use super::{Event, World};
use crate::engine::{Key, Schedule};
use crate::plan::query::{Query, Shape, Signal};

/// A container is not read before it is so old, unless there was a reading before.
const FRESH_NS: u64 = 10_000_000_000;

/// Readings that are kept at most.
const MOST_READINGS: usize = 4_096;

/// What was read, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Metrics {
    /// An event for the next reading is due.
    is_armed: bool,
    /// How far back a query looks, the longest of all.
    longest_ns: u64,
    /// Oldest first.
    readings: VecDeque<Reading>,
    /// The latest point of each pod's counters, in order of their keys.
    points: Vec<(Key, Point)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    at_ns: u64,
    /// In order of their keys.
    pods: Vec<(Key, PodReading)>,
    /// One a Deployment.
    counters: Vec<Counters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    at_ns: u64,
    busy_ns: f64,
    finished: u64,
}

/// One pod at one reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct PodReading {
    /// Over which the rates are.
    window_ns: u64,
    cpu_milli: Option<i64>,
    memory_bytes: Option<u64>,
    finished_per_second_milli: Option<i64>,
    in_flight: u32,
}

/// A Deployment and its service at one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    arrivals: u64,
    answers: u64,
    in_flight: u64,
    pods: u64,
}

impl Metrics {
    /// The metric of a pod that an autoscaler sees at `now_ns`.
    fn visible(&self, now_ns: u64, delay_ns: u64) -> Option<&Reading> {
        self.readings.iter().rev().find(|reading| reading.at_ns.saturating_add(delay_ns) <= now_ns)
    }

    /// The series that a query gives at `now_ns`: one number, or none where there are no points for it.
    pub(super) fn answer(&self, query: &Query, deployment: u16, now_ns: u64, delay_ns: u64) -> Vec<f64> {
        self.value(query, usize::from(deployment), now_ns, delay_ns).into_iter().collect()
    }

    fn value(&self, query: &Query, deployment: usize, now_ns: u64, delay_ns: u64) -> Option<f64> {
        let last = self.visible(now_ns, delay_ns)?;
        let end = last.counters.get(deployment)?;
        let of = |counters: &Counters| match query.signal {
            Signal::Arrivals => counters.arrivals,
            Signal::Answers => counters.answers,
            Signal::InFlight => counters.in_flight,
        };
        let mut before = self
            .readings
            .iter()
            .filter(|reading| reading.at_ns < last.at_ns && reading.counters.len() > deployment);
        let first = match query.shape {
            Shape::Level => None,
            Shape::LatestRate => Some(before.next_back()?),
            Shape::Rate { window_ns } | Shape::Increase { window_ns } => {
                let from_ns = now_ns.saturating_sub(window_ns.saturating_add(delay_ns));
                Some(before.find(|reading| reading.at_ns >= from_ns)?)
            }
        };
        let value = match first {
            None => of(end) as f64,
            Some(first) => {
                let grown = of(end).saturating_sub(of(first.counters.get(deployment)?)) as f64;
                let per_second = grown * 1e9 / (last.at_ns - first.at_ns) as f64;
                match query.shape {
                    // As far as the window goes, also before its first point and after its last one.
                    Shape::Increase { window_ns } => per_second * window_ns as f64 / 1e9,
                    _ => per_second,
                }
            }
        };
        match (query.is_average, end.pods) {
            (true, 0) => None,
            (true, pods) => Some(value / pods as f64),
            (false, _) => Some(value),
        }
    }

    /// CPU of a pod, thousandths of a core.
    pub(super) fn cpu(&self, pod: Key, now_ns: u64, delay_ns: u64) -> Option<Sample> {
        self.sample(pod, now_ns, delay_ns, |reading| reading.cpu_milli)
    }

    /// Memory of a pod, thousandths of a byte.
    pub(super) fn memory(&self, pod: Key, now_ns: u64, delay_ns: u64) -> Option<Sample> {
        self.sample(pod, now_ns, delay_ns, |reading| {
            i64::try_from(reading.memory_bytes?).ok()?.checked_mul(1000)
        })
    }

    /// A metric of a pod's requests, thousandths.
    pub(super) fn of_pod(&self, signal: Signal, pod: Key, now_ns: u64, delay_ns: u64) -> Option<Sample> {
        self.sample(pod, now_ns, delay_ns, |reading| match signal {
            Signal::InFlight => Some(i64::from(reading.in_flight) * 1000),
            Signal::Answers | Signal::Arrivals => reading.finished_per_second_milli,
        })
    }

    fn sample(
        &self,
        pod: Key,
        now_ns: u64,
        delay_ns: u64,
        value: impl Fn(&PodReading) -> Option<i64>,
    ) -> Option<Sample> {
        let reading = self.visible(now_ns, delay_ns)?;
        let of_pod = of_key(&reading.pods, pod)?;
        Some(Sample { value_milli: value(of_pod)?, at_ns: reading.at_ns, window_ns: of_pod.window_ns })
    }
}

impl World<'_> {
    /// From now on metrics are read, and kept for `window_ns` at least.
    pub(super) fn want_metrics(&mut self, now_ns: u64, window_ns: u64, schedule: &mut Schedule<Event>) {
        self.state.metrics.longest_ns = self.state.metrics.longest_ns.max(window_ns);
        if !self.state.metrics.is_armed {
            self.state.metrics.is_armed = true;
            let control = &self.plan.environment.control;
            let at_ns = self.next_cycle(now_ns, control.phases.scrape, control.hpa.scrape.as_ns(), "scrape");
            schedule.at(at_ns, Event::Scrape);
        }
    }

    /// Metrics are read.
    pub(super) fn scrape(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        let control = &self.plan.environment.control;
        let period_ns = control.hpa.scrape.as_ns().max(1);
        let delay_ns = control.hpa.delay.as_ns().max(control.keda.delay.as_ns());
        let state = &mut self.state;
        let mut pods = Vec::new();
        let mut points = Vec::new();
        let mut counters = Vec::with_capacity(state.deployments.len());
        for deployment in &state.deployments {
            let mut sum = Counters::default();
            for workload in &state.workloads {
                if workload.service == deployment.service() {
                    sum.arrivals += workload.routed;
                }
            }
            for index in deployment.workloads() {
                let workload = &state.workloads[usize::from(index)];
                sum.answers += workload.answered;
                sum.in_flight += workload.running;
                sum.pods += workload.endpoints.len() as u64;
                for key in &workload.pods {
                    let Some(pod) = state.pods.get(*key).filter(|pod| !pod.is_cut_off) else { continue };
                    let Some(container_ns) = pod.condition.container_ns() else { continue };
                    let now = Point {
                        at_ns: now_ns,
                        busy_ns: pod.server.busy_ns(now_ns),
                        finished: pod.condition.finished,
                    };
                    points.push((*key, now));
                    let known =
                        of_key(&state.metrics.points, *key).filter(|point| point.at_ns >= container_ns);
                    let age_ns = now_ns.saturating_sub(container_ns);
                    let fresh = Point { at_ns: container_ns, busy_ns: 0.0, finished: 0 };
                    let is_fresh = (FRESH_NS..period_ns).contains(&age_ns);
                    let Some(before) = known.copied().or_else(|| is_fresh.then_some(fresh)) else { continue };
                    pods.push((*key, now.since(&before, pod.server.memory_bytes(), pod.in_flight)));
                }
            }
            counters.push(sum);
        }
        points.sort_unstable_by_key(|(key, _): &(Key, Point)| *key);
        pods.sort_unstable_by_key(|(key, _): &(Key, PodReading)| *key);
        let metrics = &mut state.metrics;
        metrics.points = points;
        metrics.readings.push_back(Reading { at_ns: now_ns, pods, counters });
        // The last one before the window is a point of it.
        let span_ns = metrics.longest_ns.saturating_add(delay_ns).saturating_add(2 * period_ns);
        let oldest_ns = now_ns.saturating_sub(span_ns);
        while metrics.readings.len() > MOST_READINGS
            || metrics.readings.front().is_some_and(|reading| reading.at_ns < oldest_ns)
        {
            metrics.readings.pop_front();
        }
        schedule.at(now_ns.saturating_add(period_ns), Event::Scrape);
    }
}

/// An entry of a list in order of keys.
fn of_key<T>(list: &[(Key, T)], key: Key) -> Option<&T> {
    let at = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
    Some(&list[at].1)
}

impl Point {
    fn since(&self, before: &Self, memory_bytes: Option<u64>, in_flight: u32) -> PodReading {
        let window_ns = self.at_ns.saturating_sub(before.at_ns);
        let is_sound = window_ns > 0 && self.busy_ns >= before.busy_ns;
        let per_second = |grown: f64| (grown * 1e12 / window_ns as f64).round() as i64;
        PodReading {
            window_ns,
            // Rounded up to whole thousandths, as a quantity is.
            cpu_milli: is_sound.then(|| {
                ((self.busy_ns - before.busy_ns) * 1e3 / window_ns as f64 - 1e-6).ceil().max(0.0) as i64
            }),
            memory_bytes,
            finished_per_second_milli: is_sound
                .then(|| per_second(self.finished.saturating_sub(before.finished) as f64)),
            in_flight,
        }
    }
}
