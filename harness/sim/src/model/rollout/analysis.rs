//! What canary analyses see: requests that ended, by workload and second, and the numbers that are made of them.
//!
//! A second counts for a range when it begins within it. That is finer than a Prometheus would have it, whose ranges
//! go from scrape to scrape.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use windtunnel_record::Prediction;

use super::super::World;
use crate::plan::{DeliveryPlan, Measure, Operator, Plan, Reading, Side, Signal};

const SECOND_NS: u64 = 1_000_000_000;

/// Latencies that differ by less than one part in so many may share a cell.
const CELLS: u64 = 128;

/// Requests that ended, as far back as any analysis looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Analysis {
    /// Seconds that are kept.
    kept_s: u64,
    /// One a workload, oldest second first.
    workloads: Vec<VecDeque<Second>>,
}

/// What ended within one second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Second {
    /// Since the Unix epoch.
    at_s: u64,
    requests: u64,
    failed: u64,
    checked: u64,
    different: u64,
    /// How many latencies are in each cell, and the longest of them.
    latencies: BTreeMap<u16, (u64, u64)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) struct End {
    /// In the gateway and behind it.
    pub(in crate::model) latency_ns: u64,
    /// It was not answered with a status below 500.
    pub(in crate::model) is_failure: bool,
    pub(in crate::model) prediction: Prediction,
}

impl Analysis {
    /// The books of a plan that analyses something.
    pub(in crate::model) fn of(plan: &Plan) -> Option<Box<Self>> {
        let windows = plan.services.iter().filter_map(|service| service.delivery.as_ref());
        let longest_ns = windows.map(DeliveryPlan::window_ns).max()?;
        Some(Box::new(Self { kept_s: longest_ns.div_ceil(SECOND_NS) + 1, workloads: Vec::new() }))
    }

    /// Looks at least as far back as another plan needs.
    pub(in crate::model) fn extend(&mut self, plan: &Plan) {
        if let Some(other) = Self::of(plan) {
            self.kept_s = self.kept_s.max(other.kept_s);
        }
    }

    /// A request has ended.
    pub(in crate::model) fn count(&mut self, now_ns: u64, workload: u16, end: &End) {
        let index = usize::from(workload);
        if self.workloads.len() <= index {
            self.workloads.resize_with(index + 1, VecDeque::new);
        }
        let seconds = &mut self.workloads[index];
        let at_s = now_ns / SECOND_NS;
        if seconds.back().is_none_or(|last| last.at_s != at_s) {
            let oldest_s = at_s.saturating_sub(self.kept_s);
            while seconds.front().is_some_and(|first| first.at_s < oldest_s) {
                seconds.pop_front();
            }
            seconds.push_back(Second { at_s, ..Second::default() });
        }
        let Some(second) = seconds.back_mut() else { return };
        second.requests += 1;
        second.failed += u64::from(end.is_failure);
        second.checked += u64::from(end.prediction != Prediction::Unchecked);
        second.different += u64::from(end.prediction == Prediction::Different);
        let (count, longest_ns) = second.latencies.entry(cell(end.latency_ns)).or_default();
        *count += 1;
        *longest_ns = (*longest_ns).max(end.latency_ns);
    }

    /// What a query comes to, with the workloads of either version; `None` where there is no value.
    pub(super) fn answer(
        &self,
        now_ns: u64,
        measure: &Measure,
        workloads: impl Fn(Side) -> Vec<u16>,
    ) -> Option<f64> {
        let read = |reading: &Reading| self.read(now_ns, reading, &workloads(reading.side));
        let value = read(&measure.reading)?;
        let value = match &measure.against {
            None => value,
            Some((operator, other)) => match (operator, read(other)?) {
                // What a Prometheus makes of it: infinite, or no number at all.
                (Operator::Over, 0.0) => return None,
                (Operator::Over, other) => value / other,
                (Operator::Minus, other) => value - other,
            },
        };
        Some(value * measure.scale)
    }

    fn read(&self, now_ns: u64, reading: &Reading, workloads: &[u16]) -> Option<f64> {
        let from_ns = now_ns.saturating_sub(reading.window_ns);
        let mut sum = Second::default();
        let books = workloads.iter().filter_map(|workload| self.workloads.get(usize::from(*workload)));
        for second in books.flatten() {
            let at_ns = second.at_s.saturating_mul(SECOND_NS);
            if at_ns < from_ns || at_ns >= now_ns {
                continue;
            }
            sum.requests += second.requests;
            sum.failed += second.failed;
            sum.checked += second.checked;
            sum.different += second.different;
            if matches!(reading.signal, Signal::Latency(_)) {
                for (cell, (count, longest_ns)) in &second.latencies {
                    let known = sum.latencies.entry(*cell).or_default();
                    *known = (known.0 + count, known.1.max(*longest_ns));
                }
            }
        }
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        match reading.signal {
            Signal::SuccessRate => share(sum.requests - sum.failed, sum.requests),
            Signal::ErrorRate => share(sum.failed, sum.requests),
            Signal::Difference => share(sum.different, sum.checked),
            Signal::Latency(quantile) => sum.quantile_ms(quantile),
            Signal::Requests => Some(sum.requests as f64),
            Signal::RequestRate => Some(sum.requests as f64 * 1e9 / reading.window_ns as f64),
        }
    }
}

impl Second {
    /// The latency that this share of the requests did not exceed, to within one part in [`CELLS`].
    fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let rank = ((quantile * self.requests as f64).ceil() as u64).max(1);
        let mut passed = 0;
        for (count, longest_ns) in self.latencies.values() {
            passed += count;
            if passed >= rank {
                return Some(*longest_ns as f64 / 1e6);
            }
        }
        None
    }
}

/// The cell of a latency: exact below 128 µs, then 128 a doubling.
fn cell(latency_ns: u64) -> u16 {
    let latency_us = latency_ns / 1_000;
    if latency_us < CELLS {
        return latency_us as u16;
    }
    let doublings = latency_us.ilog2() - CELLS.ilog2();
    let within = (latency_us >> doublings) - CELLS;
    // At most 57 doublings of 128 cells.
    (u64::from(doublings) * CELLS + CELLS + within) as u16
}

impl World<'_> {
    /// A request of a workload has ended, for those who analyse.
    #[inline]
    pub(in crate::model) fn count_end(&mut self, now_ns: u64, workload: u16, end: &End) {
        if let Some(analysis) = &mut self.state.analysis {
            analysis.count(now_ns, workload, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(latency_ms: u64, is_failure: bool) -> End {
        End { latency_ns: latency_ms * 1_000_000, is_failure, prediction: Prediction::Unchecked }
    }

    fn reading(signal: Signal, window_s: u64) -> Measure {
        let reading = Reading { signal, side: Side::Canary, window_ns: window_s * SECOND_NS };
        Measure { reading, against: None, scale: 1.0 }
    }

    /// A canary is judged by these numbers; by hand: 99 requests of 10 ms and one of 900 ms that failed.
    #[test]
    fn numbers_are_those_of_the_range() {
        let mut analysis = Analysis { kept_s: 61, workloads: Vec::new() };
        analysis.count(5 * SECOND_NS, 1, &end(5_000, true));
        for number in 0..99 {
            analysis.count((40 + number % 10) * SECOND_NS, 1, &end(10, false));
        }
        analysis.count(49 * SECOND_NS, 1, &end(900, true));
        let ask = |signal, window_s| analysis.answer(50 * SECOND_NS, &reading(signal, window_s), |_| vec![1]);
        assert_eq!(ask(Signal::ErrorRate, 10), Some(0.01));
        assert_eq!(ask(Signal::SuccessRate, 10), Some(0.99));
        assert_eq!(ask(Signal::Latency(0.99), 10), Some(10.0));
        assert_eq!(ask(Signal::Latency(0.995), 10), Some(900.0));
        assert_eq!(ask(Signal::Requests, 60), Some(101.0));
        assert_eq!(ask(Signal::RequestRate, 10), Some(10.0));
        assert_eq!(ask(Signal::Difference, 10), None, "nothing was checked");
        let silent = analysis.answer(50 * SECOND_NS, &reading(Signal::ErrorRate, 10), |_| vec![0]);
        assert_eq!(silent, None, "a version without requests has no rate");
    }

    /// Latencies that share a cell must be nearly equal, whatever their size.
    #[test]
    fn cells_are_narrow() {
        let mut before = 0;
        for exponent in 0..62 {
            for step in 0..4 {
                let latency_ns = (1_u64 << exponent) + (1_u64 << exponent) / 4 * step;
                let here = cell(latency_ns);
                assert!(here >= before, "{latency_ns}");
                before = here;
                assert!(latency_ns < 128_000 || cell(latency_ns + latency_ns / 64) > here, "{latency_ns}");
            }
        }
    }
}
