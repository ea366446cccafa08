//! Arrival times of phases.
//!
//! Both processes are laid out on the axis of *expected arrivals*: the n-th constant arrival lies at n, the
//! Poisson arrivals lie at the sums of unit exponentials. The rate turns that axis into time (the time-change
//! theorem), exactly also in ramps: within a phase the expected arrivals until `t` are `r·t + k·t²/2`.

use super::stream::Stream;
use crate::scenario::{Phase, Process};

/// Arrival times in nanoseconds from the start, never decreasing.
pub(super) struct Times {
    process: Process,
    phases: std::vec::IntoIter<Phase>,
    random: Stream,
    current: Option<Shape>,
    /// When the current phase begins.
    start_ns: u64,
    /// Where the next arrival lies, in expected arrivals from the start of the current phase.
    next: f64,
}

/// A phase in seconds and arrivals.
struct Shape {
    length_ns: u64,
    length_s: f64,
    rate: f64,
    slope: f64,
    expected: f64,
}

impl Shape {
    fn new(phase: &Phase) -> Self {
        let length_s = phase.length.as_s();
        let rate = phase.rate.as_per_second();
        let to = phase.to.map_or(rate, |to| to.as_per_second());
        let slope = if length_s > 0.0 { (to - rate) / length_s } else { 0.0 };
        Self {
            length_ns: phase.length.as_ns(),
            length_s,
            rate,
            slope,
            expected: (rate + to) / 2.0 * length_s,
        }
    }

    /// When `expected` arrivals have come, in nanoseconds from the start of the phase.
    fn time_ns(&self, expected: f64) -> u64 {
        if expected <= 0.0 {
            return 0;
        }
        // The root of r·t + k·t²/2 = expected in the form that does not cancel when k is small.
        let root = (self.rate * self.rate + 2.0 * self.slope * expected).max(0.0).sqrt();
        let time_s = 2.0 * expected / (self.rate + root);
        let time_ns = (time_s.min(self.length_s) * 1e9) as u64;
        // Rounding must not carry an arrival into the next phase.
        time_ns.min(self.length_ns.saturating_sub(1))
    }
}

impl Times {
    pub(super) fn new(process: Process, phases: &[Phase], mut random: Stream) -> Self {
        let next = match process {
            Process::Constant => 0.0,
            Process::Poisson => random.exponential(),
        };
        let mut phases: std::vec::IntoIter<Phase> = Vec::from(phases).into_iter();
        let current = phases.next().map(|phase| Shape::new(&phase));
        Self { process, phases, random, current, start_ns: 0, next }
    }
}

impl Iterator for Times {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let shape = self.current.as_ref()?;
            if self.next < shape.expected {
                let at_ns = self.start_ns + shape.time_ns(self.next);
                self.next += match self.process {
                    Process::Constant => 1.0,
                    Process::Poisson => self.random.exponential(),
                };
                return Some(at_ns);
            }
            self.next -= shape.expected;
            self.start_ns = self.start_ns.saturating_add(shape.length_ns);
            self.current = self.phases.next().map(|phase| Shape::new(&phase));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stream;
    use crate::quantity::{Duration, Rate};

    fn phase(length_s: u64, rate: f64, to: Option<f64>) -> Phase {
        Phase {
            length: Duration::from_s(length_s),
            rate: Rate::per_second(rate),
            to: to.map(Rate::per_second),
        }
    }

    fn times(process: Process, phases: &[Phase], seed: u64) -> Vec<u64> {
        Times::new(process, phases, stream(seed, "arrivals")).collect()
    }

    /// The offered load would not be the one in the file.
    #[test]
    fn constant_arrivals_are_even_and_counted() {
        let at = times(Process::Constant, &[phase(2, 2.0, None)], 1);
        assert_eq!(at, [0, 500_000_000, 1_000_000_000, 1_500_000_000]);
        let silence_first = times(Process::Constant, &[phase(3, 0.0, None), phase(1, 2.0, None)], 1);
        assert_eq!(silence_first, [3_000_000_000, 3_500_000_000]);
        // 25 s at 20/s, a ramp of 5 s from 20/s to 100/s, 15 s at 150/s.
        let mixed = times(
            Process::Constant,
            &[phase(25, 20.0, None), phase(5, 20.0, Some(100.0)), phase(15, 150.0, None)],
            1,
        );
        assert_eq!(mixed.len(), 500 + 300 + 2_250);
    }

    /// A ramp would put its load at the wrong moment.
    #[test]
    fn a_ramp_is_exact() {
        // From 0/s to 10/s in 10 s: the n-th arrival at sqrt(2n) seconds.
        let at = times(Process::Constant, &[phase(10, 0.0, Some(10.0))], 1);
        assert_eq!(at.len(), 50);
        for (n, at_ns) in at.iter().enumerate() {
            let exact = (2.0 * n as f64).sqrt();
            assert!((*at_ns as f64 / 1e9 - exact).abs() < 1e-8, "{n}: {at_ns}");
        }
        // Downwards it is the mirror image in counts.
        let down = times(Process::Constant, &[phase(10, 10.0, Some(0.0))], 1);
        assert_eq!(down.len(), 50);
        assert!(down.windows(2).all(|pair| pair[1] - pair[0] >= 100_000_000 - 1));
    }

    /// Poisson load would be offered at another rate, or in another shape, than the file says.
    #[test]
    fn poisson_counts_follow_the_rate_in_every_part_of_a_ramp() {
        let phases = [phase(50, 20.0, None), phase(100, 20.0, Some(180.0))];
        let (mut flat, mut first_half, mut second_half) = (0u64, 0u64, 0u64);
        let seeds = 40;
        for seed in 0..seeds {
            for at_ns in times(Process::Poisson, &phases, seed) {
                match at_ns / 1_000_000_000 {
                    0..50 => flat += 1,
                    50..100 => first_half += 1,
                    _ => second_half += 1,
                }
            }
        }
        for (what, seen, expected) in [
            ("flat", flat, 1_000.0),
            ("first half", first_half, 3_000.0),
            ("second half", second_half, 7_000.0),
        ] {
            let expected = expected * seeds as f64;
            let deviation = (seen as f64 - expected) / expected.sqrt();
            assert!(deviation.abs() < 4.0, "{what}: {seen} instead of {expected}");
        }
    }

    /// Two what-ifs that differ in a late phase would not share their early load.
    #[test]
    fn a_later_phase_does_not_change_an_earlier_one() {
        let short = times(Process::Poisson, &[phase(10, 50.0, None)], 3);
        let long = times(Process::Poisson, &[phase(10, 50.0, None), phase(10, 500.0, None)], 3);
        assert_eq!(short[..], long[..short.len()]);
    }
}
