//! Scales and ticks.

use crate::figures;

/// Maps values of one axis to positions, and says where its ticks are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From 0 to `max`, which is a multiple of `step`.
    Linear {
        /// Value at the top.
        max: f64,
        /// Distance of two ticks.
        step: f64,
    },
    /// From `10^low` to `10^high`, one labelled tick a decade.
    Logarithmic {
        /// Exponent at the bottom.
        low: i32,
        /// Exponent at the top; greater than `low`.
        high: i32,
    },
}

impl Scale {
    /// The linear scale from 0 that holds `max`, with about `ticks` steps of 1, 2 or 5 times a power of ten.
    pub(crate) fn linear(max: f64, ticks: u32) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = nice_step(max / f64::from(ticks.max(1)));
        Self::Linear { max: (max / step - 1e-9).ceil().max(1.0) * step, step }
    }

    /// The linear scale of whole numbers (replicas).
    pub(crate) fn whole(max: f64, ticks: u32) -> Self {
        let max = if max.is_finite() { max.max(1.0) } else { 1.0 };
        let step = nice_step(max / f64::from(ticks.max(1))).max(1.0);
        Self::Linear { max: (max / step - 1e-9).ceil().max(1.0) * step, step }
    }

    /// The logarithmic scale of whole decades that holds `min..=max`.
    pub(crate) fn logarithmic(min: f64, max: f64) -> Self {
        let usable = |value: f64| value.is_finite() && value > 0.0;
        let (min, max) = match (usable(min), usable(max)) {
            (true, true) => (min, max),
            (true, false) => (min, min),
            (false, true) => (max, max),
            (false, false) => (1.0, 1.0),
        };
        let low = min.log10().floor() as i32;
        let high = (max.log10().ceil() as i32).max(low + 1);
        Self::Logarithmic { low, high }
    }

    /// 0 at the bottom, 1 at the top; values outside are held at the edge.
    pub(crate) fn fraction(self, value: f64) -> f64 {
        let fraction = match self {
            Self::Linear { max, .. } => value / max,
            Self::Logarithmic { low, high } => {
                (value.max(f64::MIN_POSITIVE).log10() - f64::from(low)) / f64::from(high - low)
            }
        };
        if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) }
    }

    /// Labelled ticks, from the bottom.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { max, step } => {
                (0..=(max / step).round() as u32).map(|index| f64::from(index) * step).collect()
            }
            Self::Logarithmic { low, high } => (low..=high).map(|exponent| 10_f64.powi(exponent)).collect(),
        }
    }

    /// Ticks without labels, between the labelled ones: 2 and 5 of each decade.
    pub(crate) fn minor_ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { .. } => Vec::new(),
            Self::Logarithmic { low, high } => (low..high)
                .flat_map(|exponent| [2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)))
                .collect(),
        }
    }
}

/// The time axis: where its ticks are and how they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimeAxis {
    /// Length of the axis, nanoseconds.
    pub(crate) end_ns: u64,
    step_s: u64,
}

impl TimeAxis {
    /// An axis from 0 to `end_ns` (at least one second) with at most `ticks` steps.
    pub(crate) fn new(end_ns: u64, ticks: u64) -> Self {
        const STEPS_S: [u64; 16] =
            [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200];
        let end_ns = end_ns.max(1_000_000_000);
        let end_s = end_ns.div_ceil(1_000_000_000);
        let ticks = ticks.max(1);
        let step_s = STEPS_S.into_iter().find(|step| end_s / step <= ticks).unwrap_or_else(|| {
            // Whole days beyond the table.
            (end_s / ticks).div_ceil(86_400).max(1) * 86_400
        });
        Self { end_ns, step_s }
    }

    /// Ticks: nanoseconds and label.
    pub(crate) fn ticks(&self) -> Vec<(u64, String)> {
        (0..)
            .map(|index| index * self.step_s)
            .take_while(|second| second * 1_000_000_000 <= self.end_ns)
            .map(|second| (second * 1_000_000_000, self.label(second)))
            .collect()
    }

    /// What the numbers under the axis are.
    pub(crate) fn title(&self) -> &'static str {
        if self.in_seconds() {
            "seconds since the load started"
        } else if self.end_ns < 3_600_000_000_000 {
            "time since the load started, min:s"
        } else {
            "time since the load started, h:min:s"
        }
    }

    fn in_seconds(&self) -> bool {
        self.end_ns <= 300_000_000_000
    }

    fn label(&self, second: u64) -> String {
        if self.in_seconds() { second.to_string() } else { figures::clock(second) }
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let digit = rough / power;
    let nice = if digit <= 1.0 + 1e-9 {
        1.0
    } else if digit <= 2.0 + 1e-9 {
        2.0
    } else if digit <= 5.0 + 1e-9 {
        5.0
    } else {
        10.0
    };
    nice * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Without it axes read 0, 37.5, 75 and replicas come in halves.
    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(Scale::linear(150.0, 4).ticks(), [0.0, 50.0, 100.0, 150.0]);
        assert_eq!(Scale::linear(153.0, 4).ticks(), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(Scale::whole(2.0, 4).ticks(), [0.0, 1.0, 2.0]);
        assert_eq!(Scale::whole(0.0, 4).ticks(), [0.0, 1.0]);
        assert_eq!(Scale::logarithmic(0.9e6, 1.1e9), Scale::Logarithmic { low: 5, high: 10 });
        let axis = TimeAxis::new(75_000_000_000, 10);
        assert_eq!(axis.ticks().last().map(|(_, label)| label.clone()), Some("70".to_owned()));
        assert_eq!(TimeAxis::new(600_000_000_000, 12).ticks()[1].1, "1:00");
    }

    proptest! {
        /// Without it an odd maximum loses its top off the panel, or freezes the report in a tick loop.
        #[test]
        fn every_scale_holds_its_values(max in 1e-6_f64..1e12, share in 0.0_f64..1.0, ticks in 1_u32..8) {
            for scale in [Scale::linear(max, ticks), Scale::whole(max, ticks)] {
                let marks = scale.ticks();
                prop_assert!(marks.len() >= 2 && marks.len() <= 2 + ticks as usize, "{marks:?}");
                prop_assert!(marks[marks.len() - 1] >= max * (1.0 - 1e-9));
                prop_assert!((0.0..=1.0).contains(&scale.fraction(max * share)));
            }
            let scale = Scale::logarithmic(max * share, max);
            prop_assert!(scale.ticks().len() >= 2);
            prop_assert!((0.0..=1.0).contains(&scale.fraction(max)));
        }

        /// Without it a run of a month draws a tick a second.
        #[test]
        fn time_ticks_are_bounded(end_ns in 0_u64..40_000_000_000_000_000, ticks in 1_u64..16) {
            let marks = TimeAxis::new(end_ns, ticks).ticks();
            prop_assert!(!marks.is_empty() && marks.len() as u64 <= ticks + 1, "{}", marks.len());
        }
    }
}
