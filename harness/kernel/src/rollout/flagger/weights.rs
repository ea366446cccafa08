//! The walk of weights.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::{Analysis, TOTAL_WEIGHT};

/// Where requests go. The two weights add up to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// Percentage of requests that the primary answers.
    pub primary: i32,
    /// Percentage of requests that the canary answers.
    pub canary: i32,
    /// Whether the canary also gets copies of requests that the primary answers.
    pub mirrored: bool,
}

impl Routes {
    /// Everything to the primary.
    pub const PRIMARY: Self = Self { primary: TOTAL_WEIGHT, canary: 0, mirrored: false };

    /// Everything to the canary.
    pub const CANARY: Self = Self { primary: 0, canary: TOTAL_WEIGHT, mirrored: false };

    /// `canary` percent to the canary, cut to 0..=100, and the rest to the primary.
    #[must_use]
    pub fn split(canary: i32, mirrored: bool) -> Self {
        let canary = canary.clamp(0, TOTAL_WEIGHT);
        Self { primary: TOTAL_WEIGHT - canary, canary, mirrored }
    }

    /// The same, if its weights could be real.
    pub(super) fn checked(self) -> Self {
        if self.primary.checked_add(self.canary) == Some(TOTAL_WEIGHT)
            && self.primary >= 0
            && self.canary >= 0
        {
            self
        } else {
            Self::split(self.canary, self.mirrored)
        }
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.primary, self.canary)?;
        if self.mirrored { f.write_str(" mirrored") } else { Ok(()) }
    }
}

/// The weight at which the walk ends: the last of `stepWeights`, `maxWeight`, or 100.
#[must_use]
pub fn max_weight(analysis: &Analysis) -> i32 {
    match analysis.step_weights.last() {
        Some(&last) => last.min(TOTAL_WEIGHT),
        None if analysis.max_weight > 0 => analysis.max_weight,
        None => TOTAL_WEIGHT,
    }
}

/// By how much the canary's weight grows next. 0 or less = not at all, and not to promotion either.
///
/// With `stepWeights`: the first one from 0, the way to the next one from one of them, the way to 100 from anything
/// else. A canary at 100 gets 1, so that it goes on to promotion.
#[must_use]
pub fn next_step(analysis: &Analysis, canary_weight: i32) -> i32 {
    let steps = &analysis.step_weights;
    let (true, Some(&first)) = (analysis.step_weight <= 0, steps.first()) else {
        return analysis.step_weight;
    };
    let rest = TOTAL_WEIGHT.saturating_sub(canary_weight);
    if rest == 0 {
        return 1;
    }
    if canary_weight == 0 {
        return first.min(rest);
    }
    steps
        .windows(2)
        .find(|pair| pair[0] == canary_weight)
        .map_or(rest, |pair| pair[1].saturating_sub(canary_weight).min(rest))
}

/// The next routes of the walk. With `mirror` the first step mirrors at weight 0 and the second one shifts.
#[must_use]
pub fn advance(analysis: &Analysis, routes: Routes) -> Routes {
    let step = next_step(analysis, routes.canary);
    if analysis.mirror && routes.canary == 0 {
        if routes.mirrored { Routes::split(step, false) } else { Routes::split(0, true) }
    } else {
        Routes::split(routes.canary.saturating_add(step), routes.mirrored)
    }
}

/// The next routes of the promotion, by `step` back to the primary.
#[must_use]
pub fn shift_back(routes: Routes, step: i32) -> Routes {
    Routes::split(routes.canary.saturating_sub(step), false)
}
