//! A Deployment with its ReplicaSets: the working copy that one call changes and then writes.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use serde_json::{Value, json};

use super::{TEMPLATE_HASH, bounds};
use crate::{
    controllers::selector,
    effect::{Effect, Outcome, merge_patch},
    world::{Key, Kind, World, controller_of},
};

/// One ReplicaSet as it is and as it shall be.
pub(super) struct Member {
    pub(super) before: ReplicaSet,
    pub(super) set: ReplicaSet,
    /// It is made by this call, so nothing is to be patched.
    pub(super) is_made: bool,
}

/// A Deployment with its ReplicaSets, oldest first.
pub(super) struct Fleet<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) members: Vec<Member>,
    /// Which member has the present template.
    pub(super) new_index: Option<usize>,
    orphans: Vec<Key>,
}

impl<'a> Fleet<'a> {
    pub(super) fn gather(world: &World, deployment: &'a Deployment) -> Self {
        let key = Key::of(&deployment.metadata);
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let spec = deployment.spec.as_ref();
        let mut members = Vec::new();
        let mut orphans = Vec::new();
        for (set_key, set) in world.replica_sets.in_namespace(&key.namespace) {
            let is_ours = match controller_of(&set.metadata) {
                Some(owner) => owner.uid == uid,
                None => {
                    let selected = set.metadata.deletion_timestamp.is_none()
                        && deployment.metadata.deletion_timestamp.is_none()
                        && spec.is_some_and(|spec| {
                            selector::matches(&spec.selector, set.metadata.labels.as_ref())
                        });
                    if selected {
                        orphans.push(set_key.clone());
                    }
                    selected
                }
            };
            if is_ours {
                members.push(Member { before: (**set).clone(), set: (**set).clone(), is_made: false });
            }
        }
        members.sort_by(|a, b| {
            let age = |member: &Member| {
                let metadata = &member.set.metadata;
                (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.name.clone())
            };
            age(a).cmp(&age(b))
        });
        let wanted = spec.map(|spec| normal_template(&spec.template));
        let new_index = members.iter().position(|member| {
            member.set.metadata.deletion_timestamp.is_none()
                && member.set.spec.as_ref().and_then(|spec| spec.template.as_ref()).map(normal_template)
                    == wanted
        });
        Self { deployment, members, new_index, orphans }
    }

    pub(super) fn key(&self) -> Key {
        Key::of(&self.deployment.metadata)
    }

    /// The wanted number of replicas.
    pub(super) fn wanted(&self) -> i32 {
        self.deployment.spec.as_ref().map_or(0, bounds::replicas)
    }

    pub(super) fn new_set(&self) -> Option<&ReplicaSet> {
        self.new_index.map(|index| &self.members[index].set)
    }

    pub(super) fn old_indices(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|index| Some(*index) != self.new_index).collect()
    }

    pub(super) fn old_sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.members
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.new_index)
            .map(|(_, member)| &member.set)
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.members.iter().map(|member| &member.set)
    }

    /// Sum of the wanted replicas of all ReplicaSets.
    pub(super) fn total(&self) -> i32 {
        self.sets().map(size).sum()
    }

    /// Sum of the available replicas of all ReplicaSets.
    pub(super) fn available(&self) -> i32 {
        self.sets().map(available).sum()
    }

    /// Makes this Deployment the owner of matching ReplicaSets that have none.
    pub(super) fn adopt(&self, outcome: &mut Outcome) {
        for key in &self.orphans {
            let owners = [owner(Kind::Deployment, &self.deployment.metadata)];
            let patch = json!({"metadata": {"ownerReferences": owners}});
            outcome.push(Effect::adopt(self.deployment, Kind::ReplicaSet, key, patch));
        }
    }

    /// Turns the changes of the working copy into effects.
    pub(super) fn write(&self, outcome: &mut Outcome) {
        for member in &self.members {
            if member.is_made {
                outcome.push(Effect::create(&member.set));
                continue;
            }
            let value = |set: &ReplicaSet| serde_json::to_value(set).unwrap_or(Value::Null);
            if let Some(patch) = merge_patch(&value(&member.before), &value(&member.set)) {
                outcome.push(Effect::Patch {
                    kind: Kind::ReplicaSet,
                    key: Key::of(&member.set.metadata),
                    status: false,
                    patch,
                });
            }
        }
    }
}

/// Wanted replicas of a ReplicaSet.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().map_or(0, |spec| spec.replicas.unwrap_or(1))
}

/// Available replicas of a ReplicaSet.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// A controlling owner reference.
pub(crate) fn owner(
    kind: Kind,
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A template as a value that compares equal when the pods would be: without the hash label and empty members.
pub(crate) fn normal_template(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or(Value::Null);
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    strip_empty(&mut value);
    value
}

fn strip_empty(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(strip_empty);
            // An empty object can mean something (`emptyDir: {}`), but it means the same on both sides only if it is
            // kept on both; nulls and empty metadata are what servers drop or add.
            members.retain(|name, member| {
                let is_empty = member.as_object().is_some_and(serde_json::Map::is_empty);
                let means_nothing = ["metadata", "labels", "annotations", "resources", "securityContext"];
                !(member.is_null() || is_empty && means_nothing.contains(&name.as_str()))
            });
        }
        Value::Array(items) => items.iter_mut().for_each(strip_empty),
        _ => {}
    }
}
