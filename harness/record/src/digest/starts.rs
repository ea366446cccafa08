//! Cold starts by phase.

use crate::histogram::LatencyHistogram;
use crate::recording::ColdStart;

/// Phases told apart, at most; the rest is counted together.
pub const MOST_PHASES: usize = 24;

/// Starts kept with all that is known of them, at most.
pub const MOST_KEPT: usize = 256;

/// Starts of pods, by phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starts {
    /// Names and lengths of phases, in order of their first appearance.
    pub(super) phases: Vec<(String, LatencyHistogram)>,
    /// Lengths of whole starts.
    pub(super) total: LatencyHistogram,
    /// Starts from zero that a request waited for.
    pub(super) from_zero: u64,
    /// The first of them.
    pub(super) kept: Vec<ColdStart>,
}

impl Starts {
    pub(super) fn add(&mut self, start: ColdStart) {
        let mut total_ns = 0_u64;
        for (phase, length_ns) in &start.phases {
            total_ns = total_ns.saturating_add(*length_ns);
            let known = self.phases.iter().position(|(name, _)| name == phase);
            let place = known.unwrap_or_else(|| {
                if self.phases.len() < MOST_PHASES {
                    let is_last = self.phases.len() + 1 == MOST_PHASES;
                    let name = if is_last { "other phases".to_owned() } else { phase.clone() };
                    self.phases.push((name, LatencyHistogram::new()));
                }
                self.phases.len() - 1
            });
            self.phases[place].1.record(*length_ns);
        }
        self.total.record(total_ns);
        self.from_zero += u64::from(start.activated);
        if self.kept.len() < MOST_KEPT {
            self.kept.push(start);
        }
    }

    /// Names and lengths of the phases, in order of their first appearance.
    pub fn phases(&self) -> impl Iterator<Item = (&str, &LatencyHistogram)> {
        self.phases.iter().map(|(name, lengths)| (name.as_str(), lengths))
    }

    /// Lengths of whole starts.
    pub fn total(&self) -> &LatencyHistogram {
        &self.total
    }

    /// How many starts there were.
    pub fn len(&self) -> u64 {
        self.total.len()
    }

    /// Whether no pod was started.
    pub fn is_empty(&self) -> bool {
        self.total.is_empty()
    }

    /// Starts from zero that a request waited for.
    pub fn from_zero(&self) -> u64 {
        self.from_zero
    }

    /// The first starts with all that is known of them.
    pub fn kept(&self) -> &[ColdStart] {
        &self.kept
    }
}
