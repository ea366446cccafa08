//! The bounded log of changes of one kind.

use std::{collections::VecDeque, sync::Arc};

use super::{Key, Object};

/// Changes stop being kept beyond this estimate of their size, however few they are.
const LOG_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// One write: `before` absent is a creation, `after` absent is a deletion.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) after: Option<Arc<Object>>,
}

/// A reader asked for changes that have left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compacted {
    pub(crate) requested: u64,
    pub(crate) oldest: u64,
}

/// Newest changes at the back.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    changes: VecDeque<(Change, usize)>,
    size_bytes: usize,
    compacted: u64,
}

impl Log {
    /// The newest revision that is no longer kept.
    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Everything up to this revision has been lost.
    pub(super) fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision);
    }

    /// Adds a change; gives the revisions that have left.
    pub(super) fn push(&mut self, change: Change, capacity: usize) -> Vec<u64> {
        let mut forgotten = Vec::new();
        let size = change.after.as_ref().map_or(64, |object| size_bytes(&object.value));
        self.size_bytes += size;
        self.changes.push_back((change, size));
        while self.changes.len() > capacity || (self.size_bytes > LOG_LIMIT_BYTES && self.changes.len() > 1) {
            if let Some((oldest, size)) = self.changes.pop_front() {
                self.compacted = oldest.revision;
                self.size_bytes -= size;
                forgotten.push(oldest.revision);
            }
        }
        forgotten
    }

    pub(super) fn since(&self, revision: u64, limit: usize) -> Vec<Change> {
        let start = self.changes.partition_point(|(change, _)| change.revision <= revision);
        self.changes.range(start..).take(limit).map(|(change, _)| change.clone()).collect()
    }

    pub(super) fn newest_first_down_to(&self, revision: u64) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .rev()
            .map(|(change, _)| change)
            .take_while(move |change| change.revision > revision)
    }
}

/// A rough figure of the memory that a value takes.
fn size_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => 32 + text.len(),
        Value::Array(items) => 32 + items.iter().map(size_bytes).sum::<usize>(),
        Value::Object(map) => {
            64 + map.iter().map(|(key, value)| 64 + key.len() + size_bytes(value)).sum::<usize>()
        }
    }
}
