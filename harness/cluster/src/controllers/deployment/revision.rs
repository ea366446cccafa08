//! Revisions: making the ReplicaSet of a new template, numbering, and the history that is kept.

use std::collections::BTreeMap;

use super::{
    REVISION, TEMPLATE_HASH,
    bounds::Bounds,
    fleet::{self, Fleet, Member, normal_template, owner},
    note,
    rollback::ROLLBACK_TO,
    rolling, scaling,
    status::NewReplicaSet,
};
use crate::{
    effect::{Effect, Outcome},
    world::{Key, Kind, World},
};
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Annotation: earlier revisions of a ReplicaSet that was rolled back to.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of the Deployment that its ReplicaSets do not get.
pub(super) const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    scaling::DESIRED,
    "deployment.kubernetes.io/max-replicas",
    ROLLBACK_TO,
];
/// Old ReplicaSets that are kept where the manifest says nothing.
const HISTORY_LIMIT: i32 = 10;
/// Letters of hashes: no vowels, so that no words come out.
const HASH_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash that names the ReplicaSet of a template: FNV-1a (32 bits) over the template as JSON and the number of
/// collisions so far, written in letters that make no words.
#[must_use]
pub fn template_hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let text = normal_template(template).to_string();
    let mut hash: u32 = 0x811c_9dc5;
    for byte in text.bytes().chain((collisions > 0).then(|| collisions.to_le_bytes()).into_iter().flatten()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string()
        .bytes()
        .map(|digit| char::from(HASH_LETTERS[usize::from(digit) % HASH_LETTERS.len()]))
        .collect()
}

/// Adds the ReplicaSet of the present template to the fleet, sized as the strategy allows.
pub(super) fn create_new(fleet: &mut Fleet<'_>, world: &World, outcome: &mut Outcome) -> NewReplicaSet {
    let deployment = fleet.deployment;
    let Some(spec) = &deployment.spec else { return NewReplicaSet::Known };
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = template_hash(&spec.template, collisions);
    let name = format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default());
    let key = Key::new(fleet.key().namespace, name.as_str());
    if world.replica_sets.get(&key).is_some() {
        // Somebody else's, or ours with another template: the next call hashes differently.
        return NewReplicaSet::Collided;
    }
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.to_owned(), hash);
    let mut annotations = copied(deployment.metadata.annotations.as_ref());
    annotations.insert(REVISION.to_owned(), next_revision(fleet).to_string());
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(key.namespace),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner(Kind::Deployment, &deployment.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: Some(rolling::new_size(fleet, 0)),
            selector,
            template: Some(template),
        }),
        status: None,
    };
    let size = fleet::size(&set);
    scaling::annotate_size(&mut set, fleet.wanted(), Bounds::of(deployment).surge);
    if size > 0 {
        let message = format!("Scaled up replica set {name} from 0 to {size}");
        outcome.push(note(deployment, false, "ScalingReplicaSet", message));
    }
    fleet.new_index = Some(fleet.members.len());
    fleet.members.push(Member { before: set.clone(), set, is_made: true });
    NewReplicaSet::Created
}

/// Keeps the annotations and the revision of the present template's ReplicaSet up to date; going back to an old
/// template gives it a new revision.
pub(super) fn annotate_new(fleet: &mut Fleet<'_>) {
    let Some(index) = fleet.new_index else { return };
    let next = next_revision(fleet);
    let copied = copied(fleet.deployment.metadata.annotations.as_ref());
    let min_ready_seconds = fleet.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let set = &mut fleet.members[index].set;
    let present = revision_of(set);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.extend(copied);
    if present < next {
        if present > 0 {
            let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
            *history = if history.is_empty() { present.to_string() } else { format!("{history},{present}") };
        }
        annotations.insert(REVISION.to_owned(), next.to_string());
    }
    if let Some(spec) = &mut set.spec {
        spec.min_ready_seconds = min_ready_seconds;
    }
}

/// Deletes old, empty ReplicaSets beyond the limit, lowest revision first.
pub(super) fn remove_history(fleet: &Fleet<'_>, outcome: &mut Outcome) {
    let limit =
        fleet.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(HISTORY_LIMIT);
    let mut old: Vec<&ReplicaSet> =
        fleet.old_sets().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|set| revision_of(set));
    for set in old.into_iter().take(surplus) {
        let status = set.status.as_ref();
        let seen = status.and_then(|status| status.observed_generation).unwrap_or(0);
        let is_empty = status.is_none_or(|status| status.replicas == 0) && fleet::size(set) == 0;
        if is_empty && seen >= set.metadata.generation.unwrap_or(0) {
            outcome.push(Effect::Delete {
                kind: Kind::ReplicaSet,
                key: Key::of(&set.metadata),
                uid: set.metadata.uid.clone().unwrap_or_default(),
            });
        }
    }
}

/// Revision of a ReplicaSet; 0 if it has none.
pub(super) fn revision_of(set: &ReplicaSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(REVISION)?.parse().ok()).unwrap_or(0)
}

fn next_revision(fleet: &Fleet<'_>) -> i64 {
    fleet.old_sets().map(revision_of).max().unwrap_or(0) + 1
}

/// The revision that the Deployment carries from now on, that of its present ReplicaSet; `None` if it does already.
pub(super) fn new_revision<'a>(fleet: &'a Fleet<'_>) -> Option<&'a String> {
    let revision = fleet.new_set()?.metadata.annotations.as_ref()?.get(REVISION)?;
    let annotations = fleet.deployment.metadata.annotations.as_ref();
    let present = annotations.and_then(|annotations| annotations.get(REVISION));
    (present != Some(revision)).then_some(revision)
}

pub(super) fn copied(annotations: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let pairs = annotations.into_iter().flatten();
    pairs
        .filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
