//! Arrival times around a rate: evenly, independently, or in bursts.

use super::curve::{Piece, pieces};
use super::stream::{Stream, stream};
use crate::scenario::{Burst, Phase, Process};

/// Arrival times in nanoseconds from the start of the load, never decreasing. A stretch without load takes no
/// work.
pub(super) fn times(
    process: Process,
    phases: &[Phase],
    seed: u64,
    name: &str,
) -> Box<dyn Iterator<Item = u64> + Send> {
    let pieces = pieces(phases).into_iter();
    let random = stream(seed, name);
    match process {
        Process::Constant => Box::new(Steady::new(Gaps::One, pieces)),
        Process::Poisson => Box::new(Steady::new(Gaps::Exponential(random), pieces)),
        Process::Bursty(burst) => {
            let states = States::new(burst, stream(seed, &format!("{name}/bursts")));
            Box::new(Bursty::new(pieces, random, states))
        }
    }
}

/// Gaps between neighbours on the axis of expected arrivals.
enum Gaps {
    One,
    Exponential(Stream),
}

impl Gaps {
    fn next(&mut self) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Exponential(random) => random.exponential(),
        }
    }
}

/// Constant and Poisson arrivals.
struct Steady {
    gaps: Gaps,
    pieces: std::vec::IntoIter<Piece>,
    current: Option<Piece>,
    /// When the current piece begins.
    start_ns: u64,
    /// Where the next arrival lies, in expected arrivals from the start of the current piece.
    next: f64,
    last_ns: u64,
}

impl Steady {
    fn new(mut gaps: Gaps, mut pieces: std::vec::IntoIter<Piece>) -> Self {
        let next = match &mut gaps {
            Gaps::One => 0.0,
            Gaps::Exponential(random) => random.exponential(),
        };
        let current = pieces.next();
        Self { gaps, pieces, current, start_ns: 0, next, last_ns: 0 }
    }
}

impl Iterator for Steady {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let piece = self.current.as_ref()?;
            if self.next < piece.expected() {
                let at_ns = self.start_ns.saturating_add(piece.time_ns(self.next));
                self.next += self.gaps.next();
                self.last_ns = at_ns.max(self.last_ns);
                return Some(self.last_ns);
            }
            self.next -= piece.expected();
            self.start_ns = self.start_ns.saturating_add(piece.length_ns());
            self.current = self.pieces.next();
        }
    }
}

/// The two states of a Markov-modulated process, from switch to switch.
#[derive(Clone, Debug)]
pub(crate) struct States {
    burst: Burst,
    random: Stream,
    bursting: bool,
    /// When the state changes next.
    switch_ns: u64,
}

impl States {
    /// In equilibrium at time 0, so that the mean rate is kept from the first moment.
    pub(crate) fn new(burst: Burst, mut random: Stream) -> Self {
        let bursting = random.unit() < burst.share();
        let mut states = Self { burst, random, bursting, switch_ns: 0 };
        states.stay();
        states
    }

    /// What the rate is multiplied by.
    pub(crate) fn factor(&self) -> f64 {
        if self.bursting { self.burst.factor } else { self.burst.quiet_factor() }
    }

    /// When the state changes next.
    pub(crate) fn switch_ns(&self) -> u64 {
        self.switch_ns
    }

    /// To the other state.
    pub(crate) fn switch(&mut self) {
        self.bursting = !self.bursting;
        self.stay();
    }

    /// To a later moment in one step, however many changes lie before it: what is left of a stay does not
    /// depend on how long it has lasted, and the state after a time follows from the chain's transition
    /// probability.
    pub(crate) fn skip_to(&mut self, ns: u64) {
        if self.switch_ns >= ns {
            return;
        }
        let after_switch = if self.bursting { 0.0 } else { 1.0 };
        let passed_s = (ns - self.switch_ns) as f64 / 1e9;
        let speed = 1.0 / self.burst.on.as_s() + 1.0 / self.burst.off.as_s();
        let share = self.burst.share();
        self.bursting = self.random.unit() < share + (after_switch - share) * libm::exp(-speed * passed_s);
        self.switch_ns = ns;
        self.stay();
    }

    fn stay(&mut self) {
        let mean = if self.bursting { self.burst.on } else { self.burst.off };
        let stay_ns = (self.random.exponential() * mean.as_ns() as f64) as u64;
        self.switch_ns = self.switch_ns.saturating_add(stay_ns.max(1));
    }
}

/// Arrivals of a Markov-modulated Poisson process.
struct Bursty {
    pieces: std::vec::IntoIter<Piece>,
    current: Option<Piece>,
    start_ns: u64,
    random: Stream,
    states: States,
    /// How far the current piece is used up, in arrivals that its own rate would be expected to have.
    used: f64,
    /// How many arrivals of the modulated rate are expected until the next.
    until_next: f64,
    last_ns: u64,
}

impl Bursty {
    fn new(mut pieces: std::vec::IntoIter<Piece>, mut random: Stream, states: States) -> Self {
        let until_next = random.exponential();
        let current = pieces.next();
        Self { pieces, current, start_ns: 0, random, states, used: 0.0, until_next, last_ns: 0 }
    }
}

impl Iterator for Bursty {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let piece = self.current.as_ref()?;
            let end_ns = self.start_ns.saturating_add(piece.length_ns());
            if piece.expected() <= 0.0 {
                self.states.skip_to(end_ns);
            } else {
                let switching = self.states.switch_ns() < end_ns;
                let until = if switching {
                    piece.until(self.states.switch_ns().saturating_sub(self.start_ns))
                } else {
                    piece.expected()
                };
                let factor = self.states.factor();
                let here = factor * (until - self.used).max(0.0);
                if self.until_next < here {
                    self.used += self.until_next / factor;
                    self.until_next = self.random.exponential();
                    let at_ns = self.start_ns.saturating_add(piece.time_ns(self.used));
                    self.last_ns = at_ns.max(self.last_ns);
                    return Some(self.last_ns);
                }
                self.until_next -= here;
                self.used = until.max(self.used);
                if switching {
                    self.states.switch();
                    continue;
                }
            }
            self.used = 0.0;
            self.start_ns = end_ns;
            self.current = self.pieces.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Duration, Rate};

    fn phase(length_s: u64, rate: f64, to: Option<f64>) -> Phase {
        let (length, rate) = (Duration::from_s(length_s), Rate::per_second(rate));
        to.map_or(Phase::flat(length, rate), |to| Phase::ramp(length, rate, Rate::per_second(to)))
    }

    fn times(process: Process, phases: &[Phase], seed: u64) -> Vec<u64> {
        super::times(process, phases, seed, "arrivals").collect()
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
