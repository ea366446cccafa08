//! Which of the nodes that fit is the best: upstream's scores with their weights.

use k8s_openapi::api::core::v1::PreferredSchedulingTerm;

use super::{Candidate, Place, affinity, filter, resources, spread};
use crate::world::{controller_of, is_controlled_by};

/// Highest score of one kind.
const HIGHEST: i64 = 100;
const TAINTS_WEIGHT: i64 = 3;
const NODE_AFFINITY_WEIGHT: i64 = 2;
const SPREAD_WEIGHT: i64 = 2;
const POD_AFFINITY_WEIGHT: i64 = 2;
/// What a container without requests counts as, in thousandths of a core and of a byte.
const CPU_FLOOR: i128 = 100;
const MEMORY_FLOOR: i128 = 200 * 1024 * 1024 * 1_000;

/// The best of the nodes; among equals the one with the most processor left, then the first by name.
pub(super) fn best<'a, 'b>(
    candidate: &Candidate<'_>,
    fitting: &[&'a Place<'b>],
    places: &[Place<'_>],
) -> Option<&'a Place<'b>> {
    let avoided = normalized(fitting, true, |place| intolerable(candidate, place));
    let preferred = normalized(fitting, false, |place| node_preference(candidate, place));
    let crowding = normalized(fitting, true, |place| {
        spread::crowding(candidate, place, places) + siblings(candidate, place)
    });
    let near = normalized(fitting, false, |place| affinity::preference(candidate, place, places));
    let mut best: Option<(i64, i128, &Place<'_>)> = None;
    for (index, place) in fitting.iter().enumerate() {
        let score = TAINTS_WEIGHT * avoided[index]
            + NODE_AFFINITY_WEIGHT * preferred[index]
            + SPREAD_WEIGHT * crowding[index]
            + POD_AFFINITY_WEIGHT * near[index]
            + free(candidate, place);
        let left = cpu_left(candidate, place);
        if best.is_none_or(|(most, most_left, _)| (score, left) > (most, most_left)) {
            best = Some((score, left, place));
        }
    }
    best.map(|(_, _, place)| place)
}

/// Values from 0 to [`HIGHEST`]; `fewer_is_better` turns them round. All equal values score the same.
fn normalized(fitting: &[&Place<'_>], fewer_is_better: bool, value: impl Fn(&Place<'_>) -> i64) -> Vec<i64> {
    let values: Vec<i64> = fitting.iter().map(|place| value(place)).collect();
    let (least, most) = (values.iter().min().copied(), values.iter().max().copied());
    let (Some(least), Some(most)) = (least, most) else { return Vec::new() };
    let score = |value: i64| match most - least {
        0 => 0,
        range if fewer_is_better => (most - value) * HIGHEST / range,
        range => (value - least) * HIGHEST / range,
    };
    values.into_iter().map(score).collect()
}

/// Taints that ask to be avoided and are not tolerated.
fn intolerable(candidate: &Candidate<'_>, place: &Place<'_>) -> i64 {
    let tolerations: Vec<_> =
        candidate.pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).collect();
    let taints = place.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let soft = taints.filter(|taint| taint.effect == "PreferNoSchedule");
    let bad = soft.filter(|taint| !tolerations.iter().any(|toleration| filter::tolerates(toleration, taint)));
    i64::try_from(bad.count()).unwrap_or(i64::MAX)
}

fn node_preference(candidate: &Candidate<'_>, place: &Place<'_>) -> i64 {
    let affinity =
        candidate.pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
    let terms: &[PreferredSchedulingTerm] = affinity
        .and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default();
    let matching = terms.iter().filter(|term| filter::term_matches(&term.preference, place));
    matching.map(|term| i64::from(term.weight)).sum()
}

/// Pods of the same owner on the node; where nothing else is said they spread.
fn siblings(candidate: &Candidate<'_>, place: &Place<'_>) -> i64 {
    let spec = candidate.pod.spec.as_ref();
    if spec.is_some_and(|spec| spec.topology_spread_constraints.as_ref().is_some_and(|all| !all.is_empty())) {
        return 0;
    }
    let Some(owner) = controller_of(&candidate.pod.metadata) else { return 0 };
    let same = place.pods.iter().filter(|pod| is_controlled_by(&pod.metadata, &owner.uid)).count();
    i64::try_from(same).unwrap_or(i64::MAX)
}

/// Least allocated: how much of processor and memory would be left, on average.
fn free(candidate: &Candidate<'_>, place: &Place<'_>) -> i64 {
    let used = resources::of_pods(&place.pods);
    let share = |resource: &str, floor: i128| {
        let whole = place.allocatable.get(resource).copied().unwrap_or(0);
        let pods = i128::try_from(place.pods.len()).unwrap_or(0);
        let asked = candidate.requests.get(resource).copied().unwrap_or(0).max(floor);
        let taken = used.get(resource).copied().unwrap_or(0).max(floor * pods) + asked;
        if whole <= 0 || taken >= whole { 0 } else { (whole - taken) * i128::from(HIGHEST) / whole }
    };
    i64::try_from((share("cpu", CPU_FLOOR) + share("memory", MEMORY_FLOOR)) / 2).unwrap_or(0)
}

fn cpu_left(candidate: &Candidate<'_>, place: &Place<'_>) -> i128 {
    let of = |amounts: &resources::Amounts| amounts.get("cpu").copied().unwrap_or(0);
    of(&place.allocatable) - of(&resources::of_pods(&place.pods)) - of(&candidate.requests)
}
