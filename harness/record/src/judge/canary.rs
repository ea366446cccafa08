//! Which revision is the canary at a moment.
//!
//! While the traffic is split, the canary is the newest revision that takes part in the split. A revision
//! that was created but is not routed to yet does not.

use crate::recording::Revision;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CanaryClock {
    /// When each revision got its first request of a split.
    first_split_ns: Vec<Option<u64>>,
    created_ns: Vec<u64>,
}

impl CanaryClock {
    /// A new revision.
    pub(super) fn revision(&mut self, revision: &Revision) {
        self.first_split_ns.push(None);
        self.created_ns.push(revision.created_ns);
    }

    /// A request of a split, in any order.
    pub(super) fn split(&mut self, revision: u16, intended_ns: u64) {
        if let Some(first) = self.first_split_ns.get_mut(usize::from(revision)) {
            *first = Some(first.map_or(intended_ns, |held| held.min(intended_ns)));
        }
    }

    /// Whether a request of a split that `revision` answered is the canary's.
    pub(super) fn is_canary(&self, revision: u16, intended_ns: u64) -> Option<bool> {
        Some(self.canary_at(intended_ns)? == usize::from(revision))
    }

    /// The index of the canary; `None` while there is only one revision.
    pub(super) fn canary_at(&self, t_ns: u64) -> Option<usize> {
        let in_split = |index: &usize| self.first_split_ns[*index].is_some_and(|first_ns| first_ns <= t_ns);
        let mut routed = (0..self.first_split_ns.len()).filter(in_split);
        match (routed.next(), routed.next_back()) {
            (Some(_), Some(newest)) => Some(newest),
            // Before the canary's first request, and for ever when it gets none, it is the newest one made. The
            // very first revision has nothing to be a canary of.
            _ => (1..self.created_ns.len()).rev().find(|index| self.created_ns[*index] <= t_ns),
        }
    }
}
