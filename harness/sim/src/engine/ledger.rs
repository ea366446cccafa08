//! Double-entry bookkeeping of requests: conservation and Little's law, exact and checked after every event.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A law that the model broke. Always a defect of the simulator, never of its input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at {now_ns} ns the simulator broke {law}: {detail}")]
pub struct Violation {
    /// The instant after whose event the law was found broken.
    pub now_ns: u64,
    /// The law, in words.
    pub law: &'static str,
    /// The numbers.
    pub detail: String,
}

/// How a request left the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer of the model.
    Answered,
    /// With an error, or with none at all.
    Failed,
}

/// Counts of requests and the two sides of Little's law.
///
/// The number of requests in the system, integrated over time, must equal the time that requests spent in it,
/// summed over requests. Both sides are kept as integers of nanoseconds, so the law holds exactly, at every
/// instant and not only in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    arrived: u64,
    answered: u64,
    failed: u64,
    in_flight: u64,
    last_ns: u64,
    area_ns: u128,
    sojourn_ns: u128,
    entered_sum_ns: u128,
}

impl Ledger {
    /// An empty system at `now_ns`.
    pub fn starting_at(now_ns: u64) -> Self {
        Self { last_ns: now_ns, ..Self::default() }
    }

    /// A request enters.
    pub fn enter(&mut self, now_ns: u64) {
        self.advance(now_ns);
        self.arrived += 1;
        self.in_flight += 1;
        self.entered_sum_ns += u128::from(now_ns);
    }

    /// A request that entered at `entered_ns` leaves.
    pub fn leave(&mut self, now_ns: u64, entered_ns: u64, outcome: Outcome) {
        self.advance(now_ns);
        match outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::Failed => self.failed += 1,
        }
        self.in_flight = self.in_flight.wrapping_sub(1);
        self.entered_sum_ns = self.entered_sum_ns.wrapping_sub(u128::from(entered_ns));
        self.sojourn_ns += u128::from(now_ns - entered_ns);
    }

    /// Requests that entered so far.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Requests that left with an answer.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Requests that left without one.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Requests in the system.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Mean time in the system of the requests that left, in nanoseconds; 0 when none did.
    pub fn mean_sojourn_ns(&self) -> f64 {
        match self.answered + self.failed {
            0 => 0.0,
            left => self.sojourn_ns as f64 / left as f64,
        }
    }

    /// Mean number of requests in the system between `from_ns`, where the ledger started, and now.
    pub fn mean_in_flight(&self, from_ns: u64) -> f64 {
        match self.last_ns.saturating_sub(from_ns) {
            0 => 0.0,
            span_ns => self.area_ns as f64 / span_ns as f64,
        }
    }

    /// Checks conservation and Little's law at `now_ns`.
    ///
    /// # Errors
    /// The law that does not hold.
    pub fn check(&self, now_ns: u64) -> Result<(), Violation> {
        let out = self.answered.wrapping_add(self.failed);
        if self.arrived != out.wrapping_add(self.in_flight) {
            return Err(self.violation(now_ns, "conservation (arrived = answered + failed + in flight)"));
        }
        if self.in_flight > self.arrived {
            return Err(self.violation(now_ns, "no negative counts (in flight)"));
        }
        let area_ns = self.area_ns + u128::from(now_ns - self.last_ns) * u128::from(self.in_flight);
        let waiting_ns = u128::from(self.in_flight) * u128::from(now_ns);
        // The ages of those inside are the sum of (now - entered), which an empty system has none of.
        let is_balanced =
            area_ns.wrapping_add(self.entered_sum_ns) == self.sojourn_ns.wrapping_add(waiting_ns);
        if !is_balanced || self.entered_sum_ns > waiting_ns {
            return Err(self.violation(now_ns, "Little's law"));
        }
        Ok(())
    }

    fn advance(&mut self, now_ns: u64) {
        self.area_ns += u128::from(now_ns - self.last_ns) * u128::from(self.in_flight);
        self.last_ns = now_ns;
    }

    #[cold]
    fn violation(&self, now_ns: u64, law: &'static str) -> Violation {
        Violation { now_ns, law, detail: format!("{self:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The means of a run come from here: they must be the exact ones.
    #[test]
    fn the_means_of_two_overlapping_requests_are_exact() {
        let mut ledger = Ledger::starting_at(100);
        ledger.enter(100);
        ledger.enter(110);
        ledger.check(115).expect("both inside");
        ledger.leave(120, 100, Outcome::Answered);
        ledger.leave(140, 110, Outcome::Failed);
        ledger.check(150).expect("both out");
        assert_eq!((ledger.arrived(), ledger.answered(), ledger.failed(), ledger.in_flight()), (2, 1, 1, 0));
        assert!((ledger.mean_sojourn_ns() - 25.0).abs() < 1e-12);
        assert!((ledger.mean_in_flight(100) - 50.0 / 40.0).abs() < 1e-12);
    }

    /// A lost or doubled request must stop the run, not skew its figures.
    #[test]
    fn a_request_that_leaves_twice_or_with_another_age_is_caught() {
        let mut twice = Ledger::starting_at(0);
        twice.enter(0);
        twice.leave(5, 0, Outcome::Answered);
        twice.leave(5, 0, Outcome::Answered);
        assert!(twice.check(5).is_err());
        for entered_ns in [2, 4] {
            let mut aged = Ledger::starting_at(0);
            aged.enter(3);
            aged.leave(5, entered_ns, Outcome::Answered);
            let violation = aged.check(5).expect_err("wrong age");
            assert!(violation.to_string().contains("Little's law"), "{violation}");
        }
    }
}
