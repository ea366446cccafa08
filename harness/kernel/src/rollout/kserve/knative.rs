//! `canaryTrafficPercent`: which revision gets which share, and which revisions count as rolled out.
//!
//! Upstream: `reconcilers/knative/ksvc_reconciler.go` (targets) and `InferenceServiceStatus.PropagateStatus`
//! (pointers). What follows from them: the first revision gets everything, whatever the percentage says; a
//! percentage of 100 rolls out; taking the field away rolls out; two updates below 100 keep the last revision that
//! was rolled out; and 0 after a full rollout goes back to the revision before, one reconcile later.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A target that the controller writes to the Knative service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTarget {
    /// The revision; `None` = the latest ready one.
    pub revision_name: Option<String>,
    /// Its percentage.
    pub percent: i64,
    /// Its tag: `latest`, `prev` or none.
    pub tag: Option<String>,
}

/// A component's pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pointers {
    /// The newest revision.
    pub latest_created_revision: String,
    /// The newest revision that is ready.
    pub latest_ready_revision: String,
    /// The revision that was rolled out last; empty = none.
    pub latest_rolledout_revision: String,
    /// The one before; empty = none.
    pub previous_rolledout_revision: String,
}

/// A target as the Knative service's status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTarget {
    /// The revision.
    pub revision_name: String,
    /// Whether the target follows the latest ready revision.
    pub latest_revision: bool,
    /// Its percentage.
    pub percent: Option<i64>,
}

/// A Knative service's `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// The newest revision.
    pub latest_created_revision_name: String,
    /// The newest revision that is ready.
    pub latest_ready_revision_name: String,
    /// Where requests go.
    pub traffic: Vec<ObservedTarget>,
}

/// What a reconcile has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What to write to the Knative service.
    pub targets: Vec<TrafficTarget>,
    /// The pointers after it.
    pub pointers: Pointers,
    /// Why.
    pub explanation: Explanation,
}

/// Why a reconcile has come to that. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What the manifest says.
    pub canary_traffic_percent: Option<i64>,
    /// What the service says.
    pub latest_ready_revision: String,
    /// Pointer before.
    pub rolledout_before: String,
    /// Pointer after.
    pub rolledout: String,
    /// The rule of the targets.
    pub rule: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.canary_traffic_percent {
            None => f.write_str("no canaryTrafficPercent")?,
            Some(percent) => write!(f, "canaryTrafficPercent {percent}")?,
        }
        let name = |name: &'_ str| if name.is_empty() { "none".to_string() } else { name.to_string() };
        write!(f, ", ready {}", name(&self.latest_ready_revision))?;
        write!(f, ", rolled out {}", name(&self.rolledout_before))?;
        if self.rolledout != self.rolledout_before {
            write!(f, " -> {}", name(&self.rolledout))?;
        }
        write!(f, ": {}", self.rule)
    }
}

/// The targets for a percentage: all to the latest revision without one or without a revision that was rolled out,
/// else the percentage, and the rest to the revision that was rolled out last.
///
/// A percentage outside of 0..=100 is written as it is: Knative refuses it.
#[must_use]
pub fn traffic_targets(
    canary_traffic_percent: Option<i64>,
    latest_rolledout_revision: &str,
    tag_routing: bool,
) -> Vec<TrafficTarget> {
    let tag = tag_routing.then(|| "latest".to_string());
    let latest = |percent: i64| TrafficTarget { revision_name: None, percent, tag: tag.clone() };
    match canary_traffic_percent.filter(|_| !latest_rolledout_revision.is_empty()) {
        None => vec![latest(100)],
        Some(percent) if percent < 100 => vec![
            latest(percent),
            TrafficTarget {
                revision_name: Some(latest_rolledout_revision.to_string()),
                percent: 100_i64.saturating_sub(percent),
                tag: Some("prev".to_string()),
            },
        ],
        Some(percent) => vec![latest(percent)],
    }
}

/// The pointers after the service's status was seen.
///
/// A revision that gets everything is rolled out. One that was, and whose service splits requests between it and
/// itself, was rolled back: the one before is the rolled out one again.
#[must_use]
pub fn propagate(pointers: &Pointers, service: &ServiceStatus) -> Pointers {
    let ready = &service.latest_ready_revision_name;
    let mut next = Pointers {
        latest_created_revision: service.latest_created_revision_name.clone(),
        ..pointers.clone()
    };
    let sum: i64 = service
        .traffic
        .iter()
        .filter(|target| target.revision_name == *ready)
        .filter_map(|target| target.percent)
        .fold(0, i64::saturating_add);
    for target in &service.traffic {
        let Some(percent) =
            target.percent.filter(|_| target.latest_revision && target.revision_name == *ready)
        else {
            continue;
        };
        if next.latest_rolledout_revision != *ready {
            if percent == 100 {
                next.previous_rolledout_revision = std::mem::take(&mut next.latest_rolledout_revision);
                next.latest_rolledout_revision.clone_from(ready);
            }
        } else if *ready == service.latest_created_revision_name
            && percent < 100
            && sum == 100
            && !next.previous_rolledout_revision.is_empty()
        {
            next.latest_rolledout_revision.clone_from(&next.previous_rolledout_revision);
        }
    }
    next.latest_ready_revision.clone_from(ready);
    next
}

/// One reconcile: targets by the pointers that there are, then pointers by what the service says.
///
/// ```
/// use windtunnel_kernel::rollout::kserve::knative::{ObservedTarget, Pointers, ServiceStatus, reconcile};
///
/// let all_to = |revision: &str| ServiceStatus {
///     latest_created_revision_name: revision.to_string(),
///     latest_ready_revision_name: revision.to_string(),
///     traffic: vec![ObservedTarget {
///         revision_name: revision.to_string(),
///         latest_revision: true,
///         percent: Some(100),
///     }],
/// };
/// let first = reconcile(&Pointers::default(), Some(20), false, &all_to("v1"));
/// assert_eq!(first.targets[0].percent, 100, "the first revision gets everything");
/// let second = reconcile(&first.pointers, Some(20), false, &all_to("v1"));
/// assert_eq!((second.targets[0].percent, second.targets[1].percent), (20, 80));
/// ```
#[must_use]
pub fn reconcile(
    pointers: &Pointers,
    canary_traffic_percent: Option<i64>,
    tag_routing: bool,
    service: &ServiceStatus,
) -> Decision {
    let rolledout = &pointers.latest_rolledout_revision;
    let targets = traffic_targets(canary_traffic_percent, rolledout, tag_routing);
    let rule = match (canary_traffic_percent, rolledout.is_empty()) {
        (None, _) => "everything to the latest revision".to_string(),
        (Some(_), true) => "everything to the first revision".to_string(),
        (Some(percent), false) if percent >= 100 => "everything to the latest revision".to_string(),
        (Some(percent), false) => {
            format!("{percent} to the latest revision, {} to {rolledout}", 100_i64.saturating_sub(percent))
        }
    };
    let next = propagate(pointers, service);
    let explanation = Explanation {
        canary_traffic_percent,
        latest_ready_revision: service.latest_ready_revision_name.clone(),
        rolledout_before: rolledout.clone(),
        rolledout: next.latest_rolledout_revision.clone(),
        rule,
    };
    Decision { targets, pointers: next, explanation }
}
