//! The rate of a load over time, as pieces whose expected arrivals can be summed and inverted.
//!
//! Arrival processes are laid out on the axis of *expected arrivals*: the n-th constant arrival lies at n, the
//! Poisson arrivals lie at the sums of unit exponentials. The rate turns that axis into time (the time-change
//! theorem), so every shape is as exact as the inverse of its integral. Lines are inverted in closed form,
//! sines by Newton's method within a bracket; both use arithmetic that is the same on every machine.

use std::f64::consts::TAU;

use crate::quantity::{Duration, Rate};
use crate::scenario::{Phase, Shape};

/// Steps of Newton's method, each at worst a halving of the bracket.
const MAX_STEPS: u32 = 80;

/// The expected arrivals of a phase that begins `start` after the start of the load.
pub(crate) fn expected(phase: &Phase, start: Duration) -> f64 {
    pieces_of(phase, start.as_ns()).iter().map(Piece::expected).sum()
}

/// All phases, one after the other.
pub(super) fn pieces(phases: &[Phase]) -> Vec<Piece> {
    let mut start_ns = 0u64;
    let mut pieces = Vec::new();
    for phase in phases {
        pieces.extend(pieces_of(phase, start_ns));
        start_ns = start_ns.saturating_add(phase.length.as_ns());
    }
    pieces
}

fn pieces_of(phase: &Phase, start_ns: u64) -> Vec<Piece> {
    let rate = phase.rate.as_per_second();
    let line = |length: Duration, from: f64, to: f64| Piece::Line(Line::new(length, from, to));
    match phase.shape {
        Shape::Flat => vec![line(phase.length, rate, rate)],
        Shape::Ramp { to } => vec![line(phase.length, rate, to.as_per_second())],
        Shape::Spike { to, at, rise, hold, fall } => spike(phase, to, [at, rise, hold, fall]),
        Shape::Diurnal { amplitude, period, peak_at } => {
            vec![Piece::Day(Day::new(phase, start_ns, amplitude, period, peak_at))]
        }
    }
}

fn spike(phase: &Phase, to: Rate, parts: [Duration; 4]) -> Vec<Piece> {
    let (rate, to) = (phase.rate.as_per_second(), to.as_per_second());
    let rates = [(rate, rate), (rate, to), (to, to), (to, rate), (rate, rate)];
    let mut left_ns = phase.length.as_ns();
    let mut pieces = Vec::new();
    for (part, (from, to)) in parts.into_iter().chain([phase.length]).zip(rates) {
        // A spike that a file names lies within its phase; what doesn't is cut off.
        let length_ns = part.as_ns().min(left_ns);
        left_ns -= length_ns;
        if length_ns > 0 {
            pieces.push(Piece::Line(Line::new(Duration::from_ns(length_ns), from, to)));
        }
    }
    pieces
}

/// A stretch of time with one formula for its rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Line(Line),
    Day(Day),
}

impl Piece {
    pub(super) fn length_ns(&self) -> u64 {
        match self {
            Self::Line(line) => line.length_ns,
            Self::Day(day) => day.length_ns,
        }
    }

    /// Expected arrivals in all of it.
    pub(super) fn expected(&self) -> f64 {
        match self {
            Self::Line(line) => line.expected,
            Self::Day(day) => day.expected,
        }
    }

    /// Expected arrivals in its first `ns`.
    pub(super) fn until(&self, ns: u64) -> f64 {
        match self {
            Self::Line(line) => line.until(ns),
            Self::Day(day) => day.until(ns),
        }
    }

    /// When `expected` arrivals have come, in nanoseconds from the start of the piece and before its end.
    #[inline]
    pub(super) fn time_ns(&self, expected: f64) -> u64 {
        match self {
            Self::Line(line) => line.time_ns(expected),
            Self::Day(day) => day.time_ns(expected),
        }
    }
}

/// A rate that changes linearly, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    length_ns: u64,
    length_s: f64,
    rate: f64,
    slope: f64,
    expected: f64,
}

impl Line {
    fn new(length: Duration, rate: f64, to: f64) -> Self {
        let length_s = length.as_s();
        let slope = if length_s > 0.0 { (to - rate) / length_s } else { 0.0 };
        let expected = (rate + to) / 2.0 * length_s;
        Self { length_ns: length.as_ns(), length_s, rate, slope, expected }
    }

    fn until(&self, ns: u64) -> f64 {
        if ns >= self.length_ns {
            return self.expected;
        }
        let time_s = ns as f64 / 1e9;
        (self.rate + self.slope * time_s / 2.0) * time_s
    }

    #[inline]
    fn time_ns(&self, expected: f64) -> u64 {
        if expected <= 0.0 {
            return 0;
        }
        let time_s = if self.slope == 0.0 {
            expected / self.rate
        } else {
            // The root of r·t + k·t²/2 = expected in the form that does not cancel when k is small.
            let root = (self.rate * self.rate + 2.0 * self.slope * expected).max(0.0).sqrt();
            2.0 * expected / (self.rate + root)
        };
        let time_ns = (time_s.min(self.length_s) * 1e9) as u64;
        // Rounding must not carry an arrival into the next piece.
        time_ns.min(self.length_ns.saturating_sub(1))
    }
}

/// A sine around a mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Day {
    length_ns: u64,
    expected: f64,
    rate: f64,
    amplitude: f64,
    period_ns: u64,
    /// From the last peak to the start of the piece; below `period_ns`.
    since_peak_ns: u64,
}

impl Day {
    fn new(phase: &Phase, start_ns: u64, amplitude: f64, period: Duration, peak_at: Duration) -> Self {
        let period_ns = period.as_ns().max(1);
        let peak_ns = peak_at.as_ns() % period_ns;
        let mut day = Self {
            length_ns: phase.length.as_ns(),
            expected: 0.0,
            rate: phase.rate.as_per_second(),
            amplitude: amplitude.clamp(0.0, 1.0),
            period_ns,
            since_peak_ns: (start_ns % period_ns + (period_ns - peak_ns)) % period_ns,
        };
        day.expected = day.sum(day.length_ns);
        day
    }

    fn until(&self, ns: u64) -> f64 {
        if ns >= self.length_ns { self.expected } else { self.sum(ns) }
    }

    /// Expected arrivals from the start of the piece; whole periods are counted, not integrated.
    fn sum(&self, ns: u64) -> f64 {
        let since_peak_ns = self.since_peak_ns.saturating_add(ns);
        let (periods, rest_ns) = (since_peak_ns / self.period_ns, since_peak_ns % self.period_ns);
        let whole = periods as f64 * self.per_period();
        (whole + self.after_peak(rest_ns as f64) - self.after_peak(self.since_peak_ns as f64)).max(0.0)
    }

    fn per_period(&self) -> f64 {
        self.rate * (self.period_ns as f64 / 1e9)
    }

    /// Expected arrivals in the first `ns` after a peak, up to a period.
    fn after_peak(&self, ns: f64) -> f64 {
        let angle = ns / self.period_ns as f64 * TAU;
        self.rate / 1e9 * (ns + self.amplitude * self.period_ns as f64 / TAU * libm::sin(angle))
    }

    #[inline(never)]
    fn time_ns(&self, expected: f64) -> u64 {
        if expected <= 0.0 {
            return 0;
        }
        let target = expected + self.after_peak(self.since_peak_ns as f64);
        let periods = (target / self.per_period()).floor();
        let rest_ns = self.invert((target - periods * self.per_period()).max(0.0));
        // Below the length of the piece, which is below 100 years.
        let since_peak_ns = (periods as u64).saturating_mul(self.period_ns).saturating_add(rest_ns);
        since_peak_ns.saturating_sub(self.since_peak_ns).min(self.length_ns.saturating_sub(1))
    }

    /// How long after a peak `target` arrivals are expected, for a target within one period.
    fn invert(&self, target: f64) -> u64 {
        let period_ns = self.period_ns as f64;
        let (mut low, mut high) = (0.0, period_ns);
        let mut guess = (target / self.per_period() * period_ns).clamp(low, high);
        for _ in 0..MAX_STEPS {
            let excess = self.after_peak(guess) - target;
            if excess > 0.0 {
                high = guess
            } else {
                low = guess
            }
            let slope = self.rate / 1e9 * (1.0 + self.amplitude * libm::cos(guess / period_ns * TAU));
            let newton = guess - excess / slope;
            // Where the rate is near zero, Newton's step leads far away (or nowhere, as NaN).
            let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
            let step = (next - guess).abs();
            guess = next;
            if step < 0.25 {
                break;
            }
        }
        guess as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(amplitude: f64, period_s: u64, peak_s: u64, start_s: u64, length_s: u64) -> Piece {
        let shape = Shape::Diurnal {
            amplitude,
            period: Duration::from_s(period_s),
            peak_at: Duration::from_s(peak_s),
        };
        let phase = Phase { length: Duration::from_s(length_s), rate: Rate::per_second(10.0), shape };
        pieces_of(&phase, start_s * 1_000_000_000).remove(0)
    }

    /// A day's load would come at another hour, or in another amount, than the file says.
    #[test]
    fn a_sine_is_integrated_and_inverted() {
        // Whole days have the mean rate whatever their phase.
        for (peak, start) in [(0, 0), (50_400, 0), (50_400, 12_345), (86_399, 86_400 * 3 + 1)] {
            let expected = day(0.8, 86_400, peak, start, 2 * 86_400).expected();
            assert!((expected - 10.0 * 2.0 * 86_400.0).abs() < 1e-3, "{peak} {start}: {expected}");
        }
        // Half a day around the peak: r·(P/2)·(1 + 2A/π).
        let around = day(0.8, 1_000, 500, 250, 500).expected();
        let exact = 10.0 * 500.0 * (1.0 + 2.0 * 0.8 / std::f64::consts::PI);
        assert!((around - exact).abs() < 1e-6, "{around} {exact}");
        // The inverse is the inverse, also where the rate touches zero.
        for amplitude in [0.1, 0.8, 1.0] {
            let piece = day(amplitude, 1_000, 300, 77, 5_000);
            for n in 0..2_000 {
                let expected = piece.expected() * f64::from(n) / 2_000.0;
                let back = piece.until(piece.time_ns(expected));
                assert!((back - expected).abs() < 1e-5, "{amplitude} {n}: {back} {expected}");
            }
        }
    }

    /// A spike would have another area than the file draws.
    #[test]
    fn a_spike_has_the_area_of_its_trapezoid() {
        let shape = Shape::Spike {
            to: Rate::per_second(200.0),
            at: Duration::from_s(60),
            rise: Duration::from_s(2),
            hold: Duration::from_s(5),
            fall: Duration::from_s(10),
        };
        let phase = Phase { length: Duration::from_s(600), rate: Rate::per_second(10.0), shape };
        // 10/s throughout, and above it a trapezoid of 190/s over 5 s and (2 + 10)/2 s of slopes.
        assert!((expected(&phase, Duration::ZERO) - (6_000.0 + 190.0 * (5.0 + 6.0))).abs() < 1e-6);
        let pieces = pieces_of(&phase, 0);
        assert_eq!(pieces.len(), 5);
        assert_eq!(pieces.iter().map(Piece::length_ns).sum::<u64>(), phase.length.as_ns());
        let early = Shape::Spike {
            to: Rate::per_second(20.0),
            at: Duration::ZERO,
            rise: Duration::ZERO,
            hold: Duration::from_s(1),
            fall: Duration::ZERO,
        };
        let phase = Phase { shape: early, ..phase };
        assert_eq!(pieces_of(&phase, 0).len(), 2, "a step up and down again");
    }
}
