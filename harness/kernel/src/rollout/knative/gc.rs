//! Which revisions of a Configuration are deleted, among those that no Route points at any more.
//!
//! Upstream: `pkg/reconciler/gc/gc.go` and `pkg/gc/config.go`. A revision is stale once both times since are over that are
//! not disabled; stale ones go, the longest unused first, until the minimum is left; then others go that are more than the
//! maximum, however young.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::autoscale::kpa::ConfigError;
use crate::duration;

const HOUR_NS: u64 = 3600 * 1_000_000_000;
/// The word that switches a limit off.
const DISABLED: &str = "disabled";

/// The keys of `config-gc`, with upstream's defaults. `None` is a limit that is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `retain-since-create-time`: younger revisions are not stale, nanoseconds.
    pub retain_since_create_time_ns: Option<u64>,
    /// `retain-since-last-active-time`: revisions that were routed to later are not stale, nanoseconds.
    pub retain_since_last_active_time_ns: Option<u64>,
    /// `min-non-active-revisions`: so many stay, however old.
    pub min_non_active_revisions: u64,
    /// `max-non-active-revisions`: no more than these stay, however young.
    pub max_non_active_revisions: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retain_since_create_time_ns: Some(48 * HOUR_NS),
            retain_since_last_active_time_ns: Some(15 * HOUR_NS),
            min_non_active_revisions: 20,
            max_non_active_revisions: Some(1000),
        }
    }
}

impl Policy {
    /// Reads the data of a `config-gc` ConfigMap over the defaults; unknown keys are left alone.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut policy = Self::default();
        for (key, slot) in [
            ("retain-since-create-time", &mut policy.retain_since_create_time_ns),
            ("retain-since-last-active-time", &mut policy.retain_since_last_active_time_ns),
        ] {
            let read = |text: &str| duration::parse_ns(text).and_then(|value| u64::try_from(value).ok());
            limit(data, key, slot, read, "a duration such as 48h, or disabled")?;
        }
        if let Some(text) = data.get("min-non-active-revisions") {
            policy.min_non_active_revisions = text
                .trim()
                .parse()
                .map_err(|_| refuse("min-non-active-revisions", text, "a whole number of at least 0"))?;
        }
        let read = |text: &str| text.parse().ok();
        let expected = "a whole number of at least 0, or disabled";
        limit(data, "max-non-active-revisions", &mut policy.max_non_active_revisions, read, expected)?;
        if let Some(most) = policy.max_non_active_revisions
            && policy.min_non_active_revisions > most
        {
            let least = policy.min_non_active_revisions.to_string();
            let expected = format!("at most max-non-active-revisions ({most})");
            return Err(refuse("min-non-active-revisions", &least, &expected));
        }
        Ok(policy)
    }
}

fn limit(
    data: &BTreeMap<String, String>,
    key: &str,
    slot: &mut Option<u64>,
    read: impl Fn(&str) -> Option<u64>,
    expected: &str,
) -> Result<(), ConfigError> {
    match data.get(key).map(|text| text.trim()) {
        None | Some("") => {}
        Some(text) if text.eq_ignore_ascii_case(DISABLED) => *slot = None,
        Some(text) => *slot = Some(read(text).ok_or_else(|| refuse(key, text, expected))?),
    }
    Ok(())
}

fn refuse(key: &str, value: &str, expected: &str) -> ConfigError {
    ConfigError { key: key.to_string(), value: value.to_string(), expected: expected.to_string() }
}

/// A revision of the Configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Whether it must stay: it is the latest ready one, a Route points at it or may yet do so, or it is preserved
    /// (`serving.knative.dev/no-gc`).
    pub is_kept: bool,
    /// When it was made, nanoseconds since the Unix epoch.
    pub created_ns: u64,
    /// When a Route last began or ceased to point at it; else when it was made.
    pub last_active_ns: u64,
}

/// Why a revision goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It is stale.
    Stale,
    /// There are too many.
    TooMany,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "stale",
            Self::TooMany => "more than max-non-active-revisions",
        })
    }
}

/// What is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Names and reasons, in order.
    pub deleted: Vec<(String, Why)>,
    /// When the next revision becomes stale, nanoseconds since the Unix epoch; `None` if none will by itself.
    pub look_again_ns: Option<u64>,
}

/// Decides over all revisions of a Configuration.
#[must_use]
pub fn collect(policy: &Policy, revisions: &[Candidate], now_ns: u64) -> Decision {
    let mut decision = Decision::default();
    let least = usize::try_from(policy.min_non_active_revisions).unwrap_or(usize::MAX);
    let mut idle: Vec<&Candidate> = revisions.iter().filter(|revision| !revision.is_kept).collect();
    if idle.len() <= least {
        return decision;
    }
    // Names only make the order one of its own.
    idle.sort_by(|a, b| (a.last_active_ns, &a.name).cmp(&(b.last_active_ns, &b.name)));
    let most_deleted = idle.len() - least;
    let mut fresh = Vec::new();
    for revision in idle {
        match stale_at_ns(policy, revision) {
            Some(at_ns) if at_ns <= now_ns => {
                if decision.deleted.len() < most_deleted {
                    decision.deleted.push((revision.name.clone(), Why::Stale));
                }
            }
            at_ns => fresh.push((revision, at_ns)),
        }
    }
    if decision.deleted.len() >= most_deleted {
        return decision;
    }
    decision.look_again_ns = fresh.iter().filter_map(|(_, at_ns)| *at_ns).min();
    if let Some(most) = policy.max_non_active_revisions {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let extra = fresh.len().saturating_sub(most);
        decision
            .deleted
            .extend(fresh.iter().take(extra).map(|(found, _)| (found.name.clone(), Why::TooMany)));
    }
    decision
}

/// When a revision becomes stale; never where both times are disabled.
fn stale_at_ns(policy: &Policy, revision: &Candidate) -> Option<u64> {
    let after = |since_ns: u64, retain: Option<u64>| retain.map(|retain| since_ns.saturating_add(retain));
    let by_creation = after(revision.created_ns, policy.retain_since_create_time_ns);
    let by_use = after(revision.last_active_ns, policy.retain_since_last_active_time_ns);
    by_creation.max(by_use)
}
