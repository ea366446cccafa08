//! The gradual rollout of a Route's newest revisions: the kernel's steps on a Route's status.
//!
//! Upstream keeps the state in an annotation of the Route's Ingress. There is no Ingress here: the gateway reads the Route's
//! status, so the annotation is the Route's own. And a target with a tag has one set of shares, the route's, where upstream
//! steps those of the tag's host apart.

use std::collections::BTreeMap;

use windtunnel_kernel::duration;
use windtunnel_kernel::rollout::knative::gradual::{ConfigurationRollout, RevisionRollout, Rollout};

use super::{Route, RouteStatus, TrafficTarget, names};
use crate::condition::{self, Condition, UNKNOWN};

const SECOND_NS: u64 = 1_000_000_000;
/// Upstream's older spelling of [`names::ROLLOUT_DURATION`].
const OLD_SPELLING: &str = "serving.knative.dev/rolloutDuration";

/// What a Route's rollouts have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolledOut {
    /// The annotation [`names::ROLLOUT_STATE`] that the Route must have; `None` = none.
    pub annotation: Option<String>,
    /// When to look again, nanoseconds since the Unix epoch.
    pub next_ns: Option<u64>,
}

/// Seconds that a rollout takes: the Route's annotation, else the cluster's `config-network`; 0 = everything at once.
#[must_use]
pub fn rollout_duration_s(
    annotations: Option<&BTreeMap<String, String>>,
    network: &BTreeMap<String, String>,
) -> u64 {
    let own_s = own_rollout_duration_s(annotations).unwrap_or(0);
    if own_s > 0 {
        return own_s;
    }
    default_rollout_duration_s(network).unwrap_or(0)
}

/// Seconds that a rollout takes by the annotation of a Service or Route; 0 without any.
///
/// # Errors
/// What upstream's webhook refuses, in words.
pub fn own_rollout_duration_s(annotations: Option<&BTreeMap<String, String>>) -> Result<u64, String> {
    let keys = [names::ROLLOUT_DURATION, OLD_SPELLING].iter();
    let Some((key, text)) = keys.clone().find_map(|key| Some((key, annotations?.get(*key)?))) else {
        return Ok(0);
    };
    if text.is_empty() {
        return Ok(0);
    }
    let value = duration::parse_ns(text).and_then(|value| u64::try_from(value).ok());
    let whole = value.filter(|value| value.is_multiple_of(SECOND_NS));
    whole.map(|value| value / SECOND_NS).ok_or_else(|| {
        format!("annotation {key}: {text:?} is not usable, expected a duration in whole seconds such as 60s")
    })
}

/// Seconds that a rollout takes by `config-network`; 0 where it does not say.
///
/// # Errors
/// What is wrong with it, in words.
pub fn default_rollout_duration_s(network: &BTreeMap<String, String>) -> Result<u64, String> {
    let keys = ["rollout-duration", "rolloutDuration"].iter();
    let Some((key, text)) = keys.clone().find_map(|key| Some((key, network.get(*key)?))) else {
        return Ok(0);
    };
    let expected = "expected whole seconds such as 60";
    text.trim().parse().map_err(|_| format!("{key}: {text:?} is not usable, {expected}"))
}

/// Puts the shares of rollouts that are under way into a status whose targets have just been resolved. What a revision had
/// that does not exist any more goes to the newest one.
pub fn roll_out(
    route: &Route,
    status: &mut RouteStatus,
    exists: impl Fn(&str) -> bool,
    duration_s: u64,
    now_ns: u64,
) -> RolledOut {
    if duration_s == 0 || !condition::is_true(&status.conditions, "AllTrafficAssigned") {
        let annotation = stored(route).filter(|_| duration_s > 0).cloned();
        return RolledOut { annotation, next_ns: None };
    }
    let goal = goal(route, status);
    let mut previous = stored(route)
        .and_then(|text| serde_json::from_str::<Rollout>(text).ok())
        .filter(Rollout::is_valid)
        .map(|mut previous| {
            // The gateway routes by a status as soon as it is written.
            previous.observe_ready(now_ns, duration_s);
            previous
        })
        .unwrap_or_else(|| now(route));
    for found in &mut previous.configurations {
        found.revisions.retain(|revision| exists(&revision.revision_name));
        let left: u32 = found.revisions.iter().map(|revision| revision.percent).sum();
        if let Some(newest) = found.revisions.last_mut() {
            newest.percent += found.percent.saturating_sub(left);
        }
    }
    let (state, next_ns) = goal.step(Some(&previous), now_ns);
    let followed: Vec<Option<String>> =
        followed(route, status.traffic.len()).into_iter().map(|name| name.map(str::to_owned)).collect();
    let targets = status.traffic.drain(..).zip(followed);
    status.traffic = targets.flat_map(|(target, name)| shares(target, name.as_deref(), &state)).collect();
    if !state.is_done() {
        let message = "A gradual rollout of the latest revision(s) is in progress.";
        let waiting = Condition::new("IngressReady", UNKNOWN, "RolloutInProgress", message);
        condition::set(&mut status.conditions, waiting);
        condition::summarise(&mut status.conditions, "Ready", &["AllTrafficAssigned", "IngressReady"]);
    }
    RolledOut { annotation: serde_json::to_string(&state).ok(), next_ns }
}

fn stored(route: &Route) -> Option<&String> {
    route.metadata.annotations.as_ref()?.get(names::ROLLOUT_STATE)
}

/// The Configuration that each resolved target follows, if it is the only target that does: targets are resolved in the
/// order of the specification.
fn followed(route: &Route, targets: usize) -> Vec<Option<&str>> {
    let named = route
        .spec
        .traffic
        .iter()
        .filter(|spec| spec.revision_name.is_some() || spec.configuration_name.is_some());
    let follows = |spec: &TrafficTarget| spec.revision_name.is_none();
    let names: Vec<Option<&str>> =
        named.map(|spec| spec.configuration_name.as_deref().filter(|_| follows(spec))).collect();
    if names.len() != targets {
        return vec![None; targets];
    }
    let is_only = |name: &&str| names.iter().filter(|other| **other == Some(*name)).count() == 1;
    names.iter().map(|name| name.filter(is_only)).collect()
}

/// Where everything goes in the end.
fn goal(route: &Route, status: &RouteStatus) -> Rollout {
    let names = followed(route, status.traffic.len());
    let wanted = status.traffic.iter().zip(names).filter_map(|(target, name)| {
        let percent = u32::try_from(target.percent?).ok().filter(|percent| *percent > 0)?;
        let revision_name = target.revision_name.clone().filter(|_| target.latest_revision == Some(true))?;
        Some(ConfigurationRollout {
            configuration_name: name?.to_owned(),
            percent,
            revisions: vec![RevisionRollout { revision_name, percent }],
            ..ConfigurationRollout::default()
        })
    });
    let mut configurations: Vec<ConfigurationRollout> = wanted.collect();
    configurations.sort_by(|a, b| a.configuration_name.cmp(&b.configuration_name));
    Rollout { configurations }
}

/// Where everything goes now, for a Route that has not rolled out anything gradually yet.
fn now(route: &Route) -> Rollout {
    route.status.as_ref().map(|status| goal(route, status)).unwrap_or_default()
}

/// A target as the targets that it is for now, oldest revision first.
fn shares(target: TrafficTarget, followed: Option<&str>, state: &Rollout) -> Vec<TrafficTarget> {
    let name = followed.filter(|_| target.percent.unwrap_or(0) > 0);
    let found =
        name.and_then(|name| state.configurations.iter().find(|found| found.configuration_name == name));
    match found {
        Some(found) if found.revisions.len() > 1 => {
            let share = |revision: &RevisionRollout| TrafficTarget {
                revision_name: Some(revision.revision_name.clone()),
                percent: Some(i64::from(revision.percent)),
                ..target.clone()
            };
            found.revisions.iter().map(share).collect()
        }
        _ => vec![target],
    }
}
