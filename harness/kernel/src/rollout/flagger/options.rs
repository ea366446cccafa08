//! Upstream's version and likely bugs.

use serde::{Deserialize, Serialize};

use crate::Profile;

/// What happens when the primary is stuck while it is being promoted.
///
/// Changed in 1.44.0 of July 2026 (fluxcd/flagger pull request 1931, for issue 1898).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromotionFailure {
    /// Up to 1.43: as any other failure. All traffic goes to the primary, which is the one that is stuck, and the canary
    /// is scaled to zero.
    RollsBack,
    /// From 1.44 on: all traffic goes to the canary, which is kept.
    #[default]
    KeepsCanary,
}

/// What of upstream is reproduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Options {
    /// Upstream's version, as far as a stuck primary is concerned.
    pub promotion_failure: PromotionFailure,
    /// Likely bug: the test for "the primary was scaled to zero" compares two pointers, so that it never holds. Off,
    /// a primary at zero stops the analysis and rolls it back, as the code says that it should.
    pub ignores_zero_primary: bool,
    /// Likely bug (fluxcd/flagger issue 379): a failed canary takes note of a new revision each tick before it
    /// looks whether it may start with it. If the primary is not ready in that tick, the revision is never
    /// analysed. Off, it starts once the primary is ready.
    pub forgets_revision_of_failed: bool,
    /// Likely bug: a promotion by steps that finds no traffic on the canary does nothing at all, for ever. Off, it
    /// finishes.
    pub stalls_without_canary_traffic: bool,
}

impl Options {
    /// Upstream's newest version, with or without its likely bugs.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        let bugs = profile.has_upstream_bugs();
        Self {
            promotion_failure: PromotionFailure::default(),
            ignores_zero_primary: bugs,
            forgets_revision_of_failed: bugs,
            stalls_without_canary_traffic: bugs,
        }
    }
}
