//! The PodDisruptionBudget controller: how many pods may be evicted now.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};

use super::{deployment::resolve, pods, selector};
use crate::{
    effect::{Effect, Outcome},
    world::{Key, World, controller_of},
};

/// Component name in events.
const COMPONENT: &str = "controllermanager";
/// How long an evicted pod that does not go counts as gone.
const DISRUPTION_TIMEOUT: Duration = Duration::from_mins(2);

/// What a budget asks for.
struct Need {
    expected: i32,
    healthy: i32,
}

/// Decides for one budget.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(budget) = world.pod_disruption_budgets.get(key) else { return outcome };
    if budget.metadata.deletion_timestamp.is_some() {
        return outcome;
    }
    let before = budget.status.clone().unwrap_or_default();
    let selected = selected(world, budget);
    if selected.is_empty() {
        outcome.push(Effect::tell(&**budget, COMPONENT, false, "NoPods", "No matching pods found"));
    }
    let mut status =
        PodDisruptionBudgetStatus { observed_generation: budget.metadata.generation, ..before.clone() };
    match need(world, budget, &selected) {
        Err(message) => {
            outcome.push(Effect::tell(
                &**budget,
                COMPONENT,
                true,
                "CalculateExpectedPodCountFailed",
                format!("Failed to calculate the number of expected pods: {message}"),
            ));
            status.disruptions_allowed = Some(0);
            set_condition(&mut status, budget, "SyncFailed", &message, now);
        }
        Ok(need) => {
            let disrupted = disrupted(&before, &selected, now, &mut outcome);
            let healthy = selected
                .iter()
                .filter(|pod| !pods::is_terminating(pod) && pods::is_ready(pod))
                .filter(|pod| pod.metadata.name.as_ref().is_none_or(|name| !disrupted.contains_key(name)))
                .count();
            let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
            let allowed = if need.expected > 0 { (healthy - need.healthy).max(0) } else { 0 };
            status.current_healthy = Some(healthy);
            status.desired_healthy = Some(need.healthy);
            status.expected_pods = Some(need.expected);
            status.disruptions_allowed = Some(allowed);
            status.disrupted_pods = Some(disrupted).filter(|pods| !pods.is_empty());
            let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
            set_condition(&mut status, budget, reason, "", now);
        }
    }
    outcome.effects.extend(Effect::status(&**budget, budget.status.as_ref(), &status));
    outcome
}

/// The pods that a budget is about; no selector selects none, an empty one all.
fn selected<'a>(world: &'a World, budget: &PodDisruptionBudget) -> Vec<&'a Arc<Pod>> {
    let Some(wanted) = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
        return Vec::new();
    };
    let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
    let pods = world.pods.in_namespace(namespace).map(|(_, pod)| pod);
    pods.filter(|pod| selector::matches(wanted, pod.metadata.labels.as_ref())).collect()
}

fn need(world: &World, budget: &PodDisruptionBudget, selected: &[&Arc<Pod>]) -> Result<Need, String> {
    let count = i32::try_from(selected.len()).unwrap_or(i32::MAX);
    let Some(spec) = &budget.spec else { return Ok(Need { expected: count, healthy: 0 }) };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = expected(world, selected)?;
            let healthy = (expected - resolve(most, expected, true)).max(0);
            Ok(Need { expected, healthy })
        }
        (None, Some(IntOrString::Int(least))) => Ok(Need { expected: count, healthy: *least }),
        (None, Some(least)) => {
            let expected = expected(world, selected)?;
            Ok(Need { expected, healthy: resolve(least, expected, true) })
        }
        (None, None) => Ok(Need { expected: count, healthy: 0 }),
    }
}

/// How many pods the controllers of the pods want together.
fn expected(world: &World, selected: &[&Arc<Pod>]) -> Result<i32, String> {
    let mut scales: BTreeMap<String, i32> = BTreeMap::new();
    for pod in selected {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let owner = controller_of(&pod.metadata)
            .ok_or_else(|| format!("found no controller ref for pod \"{name}\""))?;
        if scales.contains_key(&owner.uid) {
            continue;
        }
        let key = Key::new(pod.metadata.namespace.as_deref().unwrap_or_default(), owner.name.as_str());
        let (uid, scale) = scale_of(world, &owner.kind, &key)
            .ok_or_else(|| format!("found no controllers for pod \"{name}\""))?;
        scales.insert(owner.uid.clone(), 0);
        scales.insert(uid, scale);
    }
    Ok(scales.values().sum())
}

/// The object whose replicas count: the Deployment of a ReplicaSet, or the set itself.
fn scale_of(world: &World, kind: &str, key: &Key) -> Option<(String, i32)> {
    match kind {
        "ReplicaSet" => {
            let set = world.replica_sets.get(key)?;
            if let Some(owner) = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") {
                let key = Key::new(key.namespace.as_str(), owner.name.as_str());
                let deployment = world.deployments.get(&key)?;
                let replicas = deployment.spec.as_ref().map_or(0, |spec| spec.replicas.unwrap_or(1));
                return Some((deployment.metadata.uid.clone()?, replicas));
            }
            let replicas = set.spec.as_ref().map_or(0, |spec| spec.replicas.unwrap_or(1));
            // Not its own uid: that stands for having been looked up.
            Some((format!("{}/scale", set.metadata.uid.clone()?), replicas))
        }
        "StatefulSet" => {
            let set = world.stateful_sets.get(key)?;
            let replicas = set.spec.as_ref().map_or(0, |spec| spec.replicas.unwrap_or(1));
            Some((format!("{}/scale", set.metadata.uid.clone()?), replicas))
        }
        _ => None,
    }
}

/// Evicted pods that are still there, and count as gone for a while.
fn disrupted(
    before: &PodDisruptionBudgetStatus,
    selected: &[&Arc<Pod>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> BTreeMap<String, Time> {
    let mut kept = BTreeMap::new();
    for (name, since) in before.disrupted_pods.iter().flatten() {
        let is_there =
            selected.iter().any(|pod| pod.metadata.name.as_ref() == Some(name) && !pods::is_terminating(pod));
        let left = DISRUPTION_TIMEOUT.saturating_sub(pods::since(since.0, now));
        if is_there && !left.is_zero() {
            outcome.requeue(left);
            kept.insert(name.clone(), since.clone());
        }
    }
    kept
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    budget: &PodDisruptionBudget,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if reason == "SufficientPods" { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let present = conditions.iter().find(|condition| condition.type_ == "DisruptionAllowed");
    let since = present
        .filter(|present| present.status == value)
        .map_or(Time(now), |present| present.last_transition_time.clone());
    let wanted = Condition {
        type_: "DisruptionAllowed".into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: budget.metadata.generation,
        last_transition_time: since,
    };
    conditions.retain(|condition| condition.type_ != "DisruptionAllowed");
    conditions.push(wanted);
}
