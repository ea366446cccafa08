//! The templates that a StatefulSet has had, as ControllerRevisions.

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};

use crate::{
    controllers::{
        deployment::{normal_template, owner, template_hash},
        selector,
    },
    effect::{Effect, Outcome},
    world::{Key, Kind, World, controller_of, is_controlled_by},
};

/// Label of a revision with the hash of its template.
const HASH: &str = "controller.kubernetes.io/hash";
/// Old revisions that are kept where the manifest says nothing.
const HISTORY_LIMIT: i32 = 10;

/// A template with the name of its revision.
#[derive(Clone)]
pub(super) struct Revision {
    pub(super) name: String,
    pub(super) template: PodTemplateSpec,
}

/// The revisions of a StatefulSet.
pub(super) struct Revisions {
    /// What pods shall be updated to: the present template.
    pub(super) update: Revision,
    /// What pods were before the update; the same one where none is under way.
    pub(super) current: Revision,
    /// Hash collisions so far.
    pub(super) collisions: i32,
}

/// Finds the revisions, makes the one of the present template if there is none, and removes old ones.
pub(super) fn keep(world: &World, set: &StatefulSet, in_use: &[String], outcome: &mut Outcome) -> Revisions {
    let key = Key::of(&set.metadata);
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let spec = set.spec.clone().unwrap_or_default();
    let mut collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let mut owned: Vec<&ControllerRevision> = Vec::new();
    for (revision_key, revision) in world.controller_revisions.in_namespace(&key.namespace) {
        if is_controlled_by(&revision.metadata, uid) {
            owned.push(revision);
        } else if controller_of(&revision.metadata).is_none()
            && selector::matches(&spec.selector, revision.metadata.labels.as_ref())
            && set.metadata.deletion_timestamp.is_none()
        {
            let owners = [owner(Kind::StatefulSet, &set.metadata)];
            let patch = json!({"metadata": {"ownerReferences": owners}});
            outcome.push(Effect::adopt(set, Kind::ControllerRevision, revision_key, patch));
        }
    }
    owned.sort_by_key(|revision| (revision.revision, revision.metadata.name.clone()));
    let wanted = normal_template(&spec.template);
    let is_wanted = |revision: &ControllerRevision| {
        template_of(revision).is_some_and(|template| normal_template(&template) == wanted)
    };
    let latest = owned.last().map_or(0, |revision| revision.revision);
    let name_of = |revision: &ControllerRevision| revision.metadata.name.clone().unwrap_or_default();
    let update = match owned.iter().rev().find(|revision| is_wanted(revision)) {
        Some(found) => {
            if found.revision < latest {
                // Going back to an old template makes it the latest.
                outcome.push(Effect::Patch {
                    kind: Kind::ControllerRevision,
                    key: Key::of(&found.metadata),
                    status: false,
                    patch: json!({"revision": latest + 1}),
                });
            }
            name_of(found)
        }
        None => {
            let name = |collisions: i32| {
                let hash = template_hash(&spec.template, collisions);
                (format!("{}-{hash}", key.name), hash)
            };
            let is_taken = |name: &str| {
                world.controller_revisions.get(&Key::new(key.namespace.as_str(), name)).is_some()
            };
            while is_taken(&name(collisions).0) {
                collisions += 1;
            }
            let (name, hash) = name(collisions);
            outcome.push(Effect::create(&revision_of(set, &name, &hash, latest + 1)));
            name
        }
    };
    let update = Revision { name: update, template: spec.template.clone() };
    let current_name = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = owned
        .iter()
        .find(|revision| revision.metadata.name.as_deref() == current_name)
        .and_then(|revision| Some(Revision { name: name_of(revision), template: template_of(revision)? }))
        .unwrap_or_else(|| update.clone());
    let live = |revision: &&&ControllerRevision| {
        let name = name_of(revision);
        name == update.name || name == current.name || in_use.contains(&name)
    };
    let old: Vec<_> = owned.iter().filter(|revision| !live(revision)).collect();
    let limit = usize::try_from(spec.revision_history_limit.unwrap_or(HISTORY_LIMIT)).unwrap_or(0);
    let surplus = old.len().saturating_sub(limit);
    for revision in old.into_iter().take(surplus) {
        outcome.push(Effect::delete(*revision));
    }
    Revisions { update, current, collisions }
}

fn revision_of(set: &StatefulSet, name: &str, hash: &str, revision: i64) -> ControllerRevision {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut labels =
        template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.insert(HASH.to_owned(), hash.to_owned());
    let mut template = serde_json::to_value(template).unwrap_or_default();
    if let Some(members) = template.as_object_mut() {
        members.insert("$patch".into(), "replace".into());
    }
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![owner(Kind::StatefulSet, &set.metadata)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": template}}))),
        revision,
    }
}

fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let data: &Value = &revision.data.as_ref()?.0;
    serde_json::from_value(data.pointer("/spec/template")?.clone()).ok()
}
