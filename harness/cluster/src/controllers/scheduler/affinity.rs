//! Pod affinity and anti-affinity: near to, or away from, pods with certain labels.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};

use super::{Candidate, Place, Refusal};
use crate::{
    controllers::selector,
    world::{Key, World},
};

/// Whether a node fulfils the required terms of the pod and those of the pods that are there.
pub(super) fn fit(candidate: &Candidate<'_>, place: &Place<'_>, places: &[Place<'_>]) -> Result<(), Refusal> {
    // Those who are there do not want the newcomer.
    for other in places {
        for pod in &other.pods {
            let unwanted = required_anti(pod).iter().any(|term| {
                same_domain(term, other, place) && selects(candidate.world, term, pod, candidate.pod)
            });
            if unwanted {
                return Err(Refusal::passing("node(s) didn't satisfy existing pods anti-affinity rules"));
            }
        }
    }
    let is_near = |term: &PodAffinityTerm| near(candidate, term, place, places) > 0;
    if required_anti(candidate.pod).iter().any(is_near) {
        return Err(Refusal::passing("node(s) didn't match pod anti-affinity rules"));
    }
    let wanted = required(candidate.pod);
    if wanted.is_empty() {
        return Ok(());
    }
    let has_labels = wanted.iter().all(|term| domain(place, &term.topology_key).is_some());
    let is_met = wanted.iter().all(is_near);
    // The first of a group that wants to be near itself has nobody to be near to.
    let is_first = || {
        wanted.iter().all(|term| {
            selects(candidate.world, term, candidate.pod, candidate.pod)
                && !places
                    .iter()
                    .flat_map(|place| &place.pods)
                    .any(|pod| selects(candidate.world, term, candidate.pod, pod))
        })
    };
    if has_labels && (is_met || is_first()) {
        return Ok(());
    }
    Err(Refusal::fixed("node(s) didn't match pod affinity rules"))
}

/// How much the preferred terms speak for a node: of the pod about others, and of others about the pod.
pub(super) fn preference(candidate: &Candidate<'_>, place: &Place<'_>, places: &[Place<'_>]) -> i64 {
    let mut sum = 0;
    for (term, weight) in preferred(candidate.pod) {
        sum += weight * near(candidate, term, place, places);
    }
    for other in places {
        for pod in &other.pods {
            for (term, weight) in preferred(pod) {
                if same_domain(term, other, place) && selects(candidate.world, term, pod, candidate.pod) {
                    sum += weight;
                }
            }
        }
    }
    sum
}

/// How many pods that the term selects are in the node's domain.
fn near(candidate: &Candidate<'_>, term: &PodAffinityTerm, place: &Place<'_>, places: &[Place<'_>]) -> i64 {
    let there = places.iter().filter(|other| same_domain(term, other, place)).flat_map(|other| &other.pods);
    let count = there.filter(|pod| selects(candidate.world, term, candidate.pod, pod)).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn domain<'a>(place: &'a Place<'_>, key: &str) -> Option<&'a String> {
    place.node.metadata.labels.as_ref()?.get(key)
}

fn same_domain(term: &PodAffinityTerm, one: &Place<'_>, other: &Place<'_>) -> bool {
    let key = &term.topology_key;
    domain(one, key).is_some_and(|value| domain(other, key) == Some(value))
}

/// Whether a term of `owner` is about `pod`.
fn selects(world: &World, term: &PodAffinityTerm, owner: &Arc<Pod>, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let listed = term.namespaces.as_deref().unwrap_or_default();
    let by_label = term.namespace_selector.as_ref().is_some_and(|wanted| {
        let found = world.namespaces.get(&Key::cluster(namespace));
        selector::matches(wanted, found.and_then(|found| found.metadata.labels.as_ref()))
    });
    let is_own = listed.is_empty()
        && term.namespace_selector.is_none()
        && owner.metadata.namespace.as_deref() == Some(namespace);
    let in_scope = is_own || by_label || listed.iter().any(|name| name == namespace);
    let Some(wanted) = term.label_selector.as_ref().filter(|_| in_scope) else { return false };
    let (mine, theirs) = (owner.metadata.labels.as_ref(), pod.metadata.labels.as_ref());
    let value =
        |labels: Option<&selector::Labels>, key: &String| labels.and_then(|all| all.get(key).cloned());
    selector::matches(wanted, theirs)
        && term
            .match_label_keys
            .iter()
            .flatten()
            .all(|key| value(mine, key).is_none() || value(mine, key) == value(theirs, key))
        && term
            .mismatch_label_keys
            .iter()
            .flatten()
            .all(|key| value(mine, key).is_none() || value(mine, key) != value(theirs, key))
}

fn required(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_affinity.as_ref());
    affinity
        .and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

fn required_anti(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    affinity
        .and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

/// Preferred terms with their weights; those against have negative ones.
fn preferred(pod: &Pod) -> Vec<(&PodAffinityTerm, i64)> {
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return Vec::new() };
    let near = affinity
        .pod_affinity
        .iter()
        .flat_map(|terms| terms.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .map(|term| (&term.pod_affinity_term, i64::from(term.weight)));
    let away = affinity
        .pod_anti_affinity
        .iter()
        .flat_map(|terms| terms.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .map(|term| (&term.pod_affinity_term, -i64::from(term.weight)));
    near.chain(away).collect()
}
