//! Which revision is the canary at a moment.
//!
//! While the traffic is split, the canary is the newest revision that takes part in the split. A revision
//! that was created but is not routed to yet does not.

use crate::recording::{Request, Revision};

pub(super) struct CanaryClock {
    /// When each revision got its first request of a split.
    first_split_ns: Vec<Option<u64>>,
    created_ns: Vec<u64>,
}

impl CanaryClock {
    /// From requests in order of intended time.
    pub(super) fn new(ordered: &[&Request], revisions: &[Revision]) -> Self {
        let mut first_split_ns = vec![None; revisions.len()];
        for request in ordered.iter().filter(|request| request.weight_percent < 100) {
            let Some(revision) = request.revision else { continue };
            if let Some(first) = first_split_ns.get_mut(usize::from(revision)) {
                first.get_or_insert(request.intended_ns);
            }
        }
        Self { first_split_ns, created_ns: revisions.iter().map(|revision| revision.created_ns).collect() }
    }

    /// Whether the canary answered; `None` when the traffic was not split or the revision is unknown.
    pub(super) fn is_canary(&self, request: &Request) -> Option<bool> {
        if request.weight_percent >= 100 {
            return None;
        }
        let revision = usize::from(request.revision?);
        Some(self.canary_at(request.intended_ns)? == revision)
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
