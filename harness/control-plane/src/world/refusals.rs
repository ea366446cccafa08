//! Children that the API server has refused, so that the status of what they belong to can say why.
//!
//! An answer is about what was asked for: it counts for as long as the very same is wanted, and until the next try.

use std::collections::BTreeMap;

use super::applied::digest;
use super::{Key, Kind, Object, ObjectKey};

/// The API server's answer to a child that it does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: Kind,
    key: ObjectKey,
    digest: u64,
    /// One word of the API server's: `Invalid`, `Forbidden`.
    pub reason: String,
    /// Its sentence.
    pub message: String,
}

impl Refusal {
    /// The answer to `wanted`.
    #[must_use]
    pub fn new(wanted: &Object, reason: String, message: String) -> Self {
        Self { kind: wanted.kind(), key: wanted.key(), digest: digest(&wanted.to_json()), reason, message }
    }

    fn is_about(&self, wanted: &Object) -> bool {
        (self.kind, &self.key) == (wanted.kind(), &wanted.key()) && self.digest == digest(&wanted.to_json())
    }
}

/// Refused children, by the work in which they were to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<Key, Vec<Refusal>>);

impl Refusals {
    /// Notes what was refused in the last try. True = something else than in the one before.
    pub(super) fn note(&mut self, key: &Key, refused: Vec<Refusal>) -> bool {
        if self.0.get(key).map_or(&[][..], Vec::as_slice) == refused {
            return false;
        }
        if refused.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.clone(), refused);
        }
        true
    }

    pub(super) fn of(&self, key: &Key, wanted: &Object) -> Option<&Refusal> {
        self.0.get(key)?.iter().find(|refusal| refusal.is_about(wanted))
    }
}
