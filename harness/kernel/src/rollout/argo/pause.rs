//! Pauses and aborts that come up during a reconcile, and what of them is kept. Upstream: `rollout/pause.go`.

use super::spec::SECOND_NS;
use super::status::{PauseCondition, PauseReason, Status};

/// What a reconcile says about pauses and aborts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses {
    added: Vec<PauseReason>,
    removed: Vec<PauseReason>,
    clears: bool,
    aborts: Option<String>,
    resumes: bool,
}

impl Pauses {
    pub(super) fn add(&mut self, reason: PauseReason) {
        self.added.push(reason);
    }

    pub(super) fn remove(&mut self, reason: PauseReason) {
        self.removed.push(reason);
    }

    /// No pause and no abort from here on.
    pub(super) fn clear(&mut self) {
        self.clears = true;
        self.remove_abort();
    }

    pub(super) fn abort(&mut self, message: String) {
        self.aborts.get_or_insert(message);
    }

    pub(super) fn remove_abort(&mut self) {
        self.resumes = true;
    }

    pub(super) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    pub(super) fn is_aborted(&self, old: &Status) -> bool {
        !self.resumes && (self.aborts.is_some() || old.abort)
    }

    /// Writes abort and pauses. An aborted rollout is not paused.
    pub(super) fn settle(&self, old: &Status, next: &mut Status, now_ns: u64) {
        next.abort = self.aborts.is_some() || (!self.resumes && old.abort);
        next.aborted_at_ns = None;
        next.controller_pause = false;
        next.pause_conditions.clear();
        if next.abort {
            next.aborted_at_ns = Some(old.aborted_at_ns.unwrap_or(now_ns));
            if let Some(message) = &self.aborts {
                next.abort_message.clone_from(message);
            }
            return;
        }
        next.abort_message.clear();
        if self.clears {
            return;
        }
        let mut conditions = old.pause_conditions.clone();
        conditions.retain(|condition| !self.removed.contains(&condition.reason));
        let mut pauses = old.controller_pause;
        for &reason in &self.added {
            if old.pause(reason).is_none() && !conditions.iter().any(|condition| condition.reason == reason) {
                conditions.push(PauseCondition { reason, start_ns: now_ns - now_ns % SECOND_NS });
                pauses = true;
            }
        }
        if !conditions.is_empty() {
            next.controller_pause = pauses;
            next.pause_conditions = conditions;
        }
    }
}
