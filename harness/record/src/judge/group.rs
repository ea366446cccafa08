//! What is counted of the requests that objectives of one scope and window are about.
//!
//! Nothing here depends on the order of the requests, so that a run that is counted as it goes and a recording
//! that is read afterwards give the same numbers.

use windtunnel_scenario::objective::{Objective, Operator, Scope};

use crate::histogram::{LatencyHistogram, rank};
use crate::recording::{Measure, Prediction, Request};

/// Stretches of time in which latencies are summed up for the interval of a mean.
const STRETCHES: u64 = 1024;

/// What the tallies look at of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) intended_ns: u64,
    pub(super) latency_ns: u64,
    /// Times of tokens, where there are some.
    pub(super) first_token_ns: Option<u64>,
    pub(super) token_ns: Option<u64>,
    /// How much later than intended it left.
    pub(super) lag_ns: u64,
    pub(super) succeeded: bool,
    pub(super) held: bool,
    pub(super) prediction: Prediction,
}

impl Seen {
    #[inline]
    pub(super) fn of(request: &Request) -> Self {
        Self {
            intended_ns: request.intended_ns,
            latency_ns: request.latency_ns,
            first_token_ns: request.first_token_ns,
            token_ns: request.token_ns,
            lag_ns: request.sent_ns.saturating_sub(request.intended_ns),
            succeeded: request.succeeded(),
            held: request.held_ns > 0,
            prediction: request.prediction,
        }
    }
}

/// Latencies of successful requests, each one or in buckets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Latencies {
    /// Each one: quantiles are exact.
    Kept(Vec<u64>),
    /// In bounded memory.
    Counted(LatencyHistogram),
}

impl Latencies {
    #[inline]
    fn record(&mut self, latency_ns: u64) {
        match self {
            Self::Kept(all) => all.push(latency_ns),
            Self::Counted(histogram) => histogram.record(latency_ns),
        }
    }

    /// The latency that a fraction `q` of all requests does not exceed, when `failed` more got no answer: infinity
    /// where that is one of them. `None` without requests.
    pub(super) fn quantile(&self, q: f64, failed: u64) -> Option<f64> {
        let answered = match self {
            Self::Kept(all) => all.len() as u64,
            Self::Counted(histogram) => histogram.len(),
        };
        let rank = rank(answered + failed, q)?;
        if rank > answered {
            return Some(f64::INFINITY);
        }
        match self {
            Self::Kept(all) => {
                let mut all = all.clone();
                let (_, latency, _) = all.select_nth_unstable((rank - 1) as usize);
                Some(*latency as f64)
            }
            Self::Counted(histogram) => histogram.at_rank(rank).map(|latency| latency as f64),
        }
    }
}

/// Requests that did not keep a limit of latency.
#[derive(Clone, Debug, PartialEq)]
struct LimitTally {
    /// A latency keeps the limit when it is below this.
    bound_ns: u64,
    over: u64,
    /// Over it even if they had been sent in time.
    over_in_time: u64,
}

/// Sums of latencies by stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretches {
    from_ns: u64,
    width_ns: u64,
    /// Requests and the sum of their latencies.
    sums: Vec<(u64, u128)>,
}

impl Stretches {
    fn new((from_ns, to_ns): (u64, u64)) -> Self {
        let width_ns = to_ns.saturating_sub(from_ns).div_ceil(STRETCHES).max(1);
        Self { from_ns, width_ns, sums: vec![(0, 0); STRETCHES as usize] }
    }

    fn record(&mut self, seen: &Seen) {
        let index = (seen.intended_ns.saturating_sub(self.from_ns) / self.width_ns) as usize;
        if let Some((count, sum)) = self.sums.get_mut(index) {
            *count += 1;
            *sum += u128::from(seen.latency_ns);
        }
    }

    /// At most `most` blocks of neighbouring stretches with about as many requests each: (requests, sum).
    pub(super) fn blocks(&self, most: usize) -> Vec<(f64, f64)> {
        let total: u64 = self.sums.iter().map(|(count, _)| count).sum();
        let mut blocks: Vec<(u64, u128)> = vec![(0, 0); most];
        let mut before = 0_u64;
        for (count, sum) in self.sums.iter().filter(|(count, _)| *count > 0) {
            let block = (u128::from(before) * most as u128 / u128::from(total.max(1))) as usize;
            let block = &mut blocks[block.min(most - 1)];
            block.0 += count;
            block.1 += sum;
            before += count;
        }
        blocks.retain(|(count, _)| *count > 0);
        blocks.into_iter().map(|(count, sum)| (count as f64, sum as f64)).collect()
    }
}

/// The requests of one scope and window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) scope: Scope,
    /// From when to when requests count, by their intended time.
    pub(super) window: (u64, u64),
    /// What is measured of them; answers of which it was not are not among them.
    pub(super) measure: Measure,
    pub(super) samples: u64,
    pub(super) failed: u64,
    pub(super) held: u64,
    pub(super) equal: u64,
    pub(super) different: u64,
    pub(super) slowest_ns: u64,
    pub(super) worst_lag_ns: u64,
    /// Requests of a split, and those of them that were the canary's.
    pub(super) split: (u64, u64),
    latencies: Option<Latencies>,
    stretches: Option<Stretches>,
    limits: Vec<LimitTally>,
}

impl Group {
    pub(super) fn new(scope: Scope, window: (u64, u64), measure: Measure) -> Self {
        Self {
            scope,
            window,
            measure,
            samples: 0,
            failed: 0,
            held: 0,
            equal: 0,
            different: 0,
            slowest_ns: 0,
            worst_lag_ns: 0,
            split: (0, 0),
            latencies: None,
            stretches: None,
            limits: Vec::new(),
        }
    }

    /// Begins to keep latencies for quantiles, every one of them when `exact`.
    pub(super) fn want_quantiles(&mut self, exact: bool) {
        self.latencies.get_or_insert_with(|| {
            if exact { Latencies::Kept(Vec::new()) } else { Latencies::Counted(LatencyHistogram::new()) }
        });
    }

    /// Begins to sum up latencies for the interval of their mean.
    pub(super) fn want_mean(&mut self) {
        let window = self.window;
        self.stretches.get_or_insert_with(|| Stretches::new(window));
    }

    /// Begins to count the requests that do not keep the limit of a latency objective.
    pub(super) fn want_limit(&mut self, objective: &Objective) {
        let bound_ns = bound(objective);
        if !self.limits.iter().any(|limit| limit.bound_ns == bound_ns) {
            self.limits.push(LimitTally { bound_ns, over: 0, over_in_time: 0 });
        }
    }

    /// Requests over the limit of an objective, and those over it even if sent in time.
    pub(super) fn over(&self, objective: &Objective) -> (u64, u64) {
        let bound_ns = bound(objective);
        self.limits
            .iter()
            .find(|limit| limit.bound_ns == bound_ns)
            .map_or((0, 0), |limit| (limit.over, limit.over_in_time))
    }

    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        self.latencies.as_ref()?.quantile(q, self.failed)
    }

    /// At most `most` blocks of requests in order of time: (requests, sum of their latencies).
    pub(super) fn blocks(&self, most: usize) -> Vec<(f64, f64)> {
        self.stretches.as_ref().map_or_else(Vec::new, |stretches| stretches.blocks(most))
    }

    pub(super) fn succeeded(&self) -> u64 {
        self.samples - self.failed
    }

    #[inline]
    pub(super) fn is_in_window(&self, t_ns: u64) -> bool {
        t_ns.wrapping_sub(self.window.0) < self.window.1.wrapping_sub(self.window.0)
    }

    #[inline]
    pub(super) fn add(&mut self, seen: &Seen) {
        if self.measure == Measure::Latency || !seen.succeeded {
            return self.count(seen);
        }
        // A token's time is counted like a latency. Only that of the first one holds the time that the client lost.
        let (time_ns, lag_ns) = match self.measure {
            Measure::PerToken => (seen.token_ns, 0),
            Measure::FirstToken | Measure::Latency => (seen.first_token_ns, seen.lag_ns),
        };
        if let Some(latency_ns) = time_ns {
            self.count(&Seen { latency_ns, lag_ns, ..*seen });
        }
    }

    #[inline]
    fn count(&mut self, seen: &Seen) {
        self.samples += 1;
        self.held += u64::from(seen.held);
        self.worst_lag_ns = self.worst_lag_ns.max(seen.lag_ns);
        match seen.prediction {
            Prediction::Unchecked => {}
            Prediction::Equal => self.equal += 1,
            Prediction::Different => self.different += 1,
        }
        if seen.succeeded {
            self.slowest_ns = self.slowest_ns.max(seen.latency_ns);
            if let Some(latencies) = &mut self.latencies {
                latencies.record(seen.latency_ns);
            }
            if let Some(stretches) = &mut self.stretches {
                stretches.record(seen);
            }
            let in_time_ns = seen.latency_ns.saturating_sub(seen.lag_ns);
            for limit in &mut self.limits {
                limit.over += u64::from(seen.latency_ns >= limit.bound_ns);
                limit.over_in_time += u64::from(in_time_ns >= limit.bound_ns);
            }
        } else {
            // A failed request is slower than every limit.
            self.failed += 1;
            for limit in &mut self.limits {
                limit.over += 1;
                limit.over_in_time += 1;
            }
        }
    }
}

/// The first whole number of nanoseconds that does not keep the limit of a latency.
fn bound(objective: &Objective) -> u64 {
    match objective.operator {
        Operator::AtMost | Operator::Equal => (objective.limit.floor() as u64).saturating_add(1),
        Operator::Less | Operator::Greater | Operator::AtLeast => objective.limit.ceil() as u64,
    }
}
