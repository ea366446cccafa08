//! The start of a pod: phases one after the other, each timed as it happens.

use serde::{Deserialize, Serialize};

/// A part of a pod's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Until a node is chosen and told.
    Schedule,
    /// Until the image is on the node.
    ImagePull,
    /// Until the model's files are there.
    Download,
    /// Until the server has loaded the model.
    Load,
    /// Until the readiness probe has noticed.
    Probe,
    /// Until the gateway knows the address.
    Propagate,
}

/// All phases, in the order in which they happen.
pub(super) const PHASES: [Phase; 6] =
    [Phase::Schedule, Phase::ImagePull, Phase::Download, Phase::Load, Phase::Probe, Phase::Propagate];

impl Phase {
    /// As recordings and scenarios name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::ImagePull => "image-pull",
            Self::Download => "download",
            Self::Load => "load",
            Self::Probe => "probe",
            Self::Propagate => "propagate",
        }
    }
}

/// How far a pod's start is. When a phase ends is decided outside: after a time, or when a transfer is through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    phase: Phase,
    /// When the phase began.
    since_ns: u64,
    /// When it ends, where that is known: an event of another instant is void.
    due_ns: Option<u64>,
    /// How long each phase took, those that are over.
    lengths_ns: [u64; PHASES.len()],
}

impl Start {
    /// The first phase begins.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { phase: PHASES[0], since_ns: now_ns, due_ns: None, lengths_ns: [0; PHASES.len()] }
    }

    /// The start of a pod that was ready before, which begins with `phase`: what comes before is there.
    pub(super) fn again_from(now_ns: u64, phase: Phase) -> Self {
        Self { phase, ..Self::new(now_ns) }
    }

    /// What was begun is void, and the start goes on with `phase`.
    pub(super) fn again(&mut self, now_ns: u64, phase: Phase) {
        self.lengths_ns[self.phase as usize] += now_ns - self.since_ns;
        (self.phase, self.since_ns, self.due_ns) = (phase, now_ns, None);
    }

    /// The present phase.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// The present phase will end then; `None` when that depends on others.
    pub(super) fn expect(&mut self, due_ns: Option<u64>) {
        self.due_ns = due_ns;
    }

    /// Whether the end of the present phase is known.
    pub(super) fn is_timed(&self) -> bool {
        self.due_ns.is_some()
    }

    /// Whether the present phase ends now.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns == Some(now_ns)
    }

    /// The present phase ends. Returns the one that begins now; `None` when that was the last.
    pub(super) fn end_phase(&mut self, now_ns: u64) -> Option<Phase> {
        let position = self.phase as usize;
        self.lengths_ns[position] += now_ns - self.since_ns;
        (self.since_ns, self.due_ns) = (now_ns, None);
        let next = PHASES.get(position + 1).copied();
        self.phase = next.unwrap_or(self.phase);
        next
    }

    /// Names and lengths of the phases.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (Phase, u64)> + '_ {
        PHASES.into_iter().zip(self.lengths_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report's breakdown of a cold start is this: no phase may be lost or counted for another.
    #[test]
    fn each_phase_is_timed_from_the_end_of_the_one_before() {
        let mut start = Start::new(100);
        let ends_ns = [100, 130, 130, 200, 210, 215];
        let begun: Vec<Option<Phase>> = ends_ns.iter().map(|at_ns| start.end_phase(*at_ns)).collect();
        assert_eq!(begun[..5], PHASES[1..].iter().map(|phase| Some(*phase)).collect::<Vec<_>>());
        assert_eq!(begun[5], None);
        let lengths: Vec<u64> = start.lengths().map(|(_, length_ns)| length_ns).collect();
        assert_eq!(lengths, [0, 30, 0, 70, 10, 5]);
    }
}
