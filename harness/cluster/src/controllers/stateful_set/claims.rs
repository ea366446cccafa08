//! The volume claims of a StatefulSet's pods, and when they go.

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde_json::json;

use super::COMPONENT;
use crate::{
    effect::{Effect, Outcome},
    world::{Key, Kind, World},
};

/// The claims that the pod with this ordinal needs, named after their templates.
fn wanted<'a>(
    set: &'a StatefulSet,
    ordinal: i32,
) -> impl Iterator<Item = (String, &'a PersistentVolumeClaim)> + 'a {
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    templates.map(move |template| {
        let volume = template.metadata.name.as_deref().unwrap_or_default();
        (format!("{volume}-{name}-{ordinal}"), template)
    })
}

/// Makes the pod use its claims: a volume of the template's name each.
pub(super) fn mount(set: &StatefulSet, ordinal: i32, spec: &mut PodSpec) {
    let volumes = spec.volumes.get_or_insert_default();
    for (claim_name, template) in wanted(set, ordinal) {
        let name = template.metadata.name.clone().unwrap_or_default();
        volumes.retain(|volume| volume.name != name);
        volumes.push(Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name,
                read_only: Some(false),
            }),
            ..Volume::default()
        });
    }
}

/// Makes the claims of a pod that are not there.
pub(super) fn create(world: &World, set: &StatefulSet, pod: &str, ordinal: i32, outcome: &mut Outcome) {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    for (name, template) in wanted(set, ordinal) {
        if world.persistent_volume_claims.get(&Key::new(namespace, name.as_str())).is_some() {
            continue;
        }
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(
            set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default(),
        );
        outcome.push(Effect::create(&PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        }));
        let set_name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("create Claim {name} Pod {pod} in StatefulSet {set_name} success");
        outcome.push(Effect::note(set, COMPONENT, false, "SuccessfulCreate", message));
    }
}

/// Brings the owners of a pod's claims to what the retention policy says: the set, where they go with it; the pod,
/// where they go when it is scaled away.
pub(super) fn retain(
    world: &World,
    set: &StatefulSet,
    pod: Option<&Pod>,
    ordinal: i32,
    is_condemned: bool,
    outcome: &mut Outcome,
) {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |policy: Option<&String>| policy.map(String::as_str) == Some("Delete");
    let with_set = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    let when_scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let reference = |kind: Kind, metadata: &ObjectMeta| OwnerReference {
        // Nobody waits for a claim.
        block_owner_deletion: None,
        controller: None,
        ..crate::controllers::deployment::owner(kind, metadata)
    };
    for (name, _) in wanted(set, ordinal) {
        let key = Key::new(namespace, name);
        let Some(claim) = world.persistent_volume_claims.get(&key) else { continue };
        let before = claim.metadata.owner_references.clone().unwrap_or_default();
        let mut after = before.clone();
        let is_pod = |owner: &OwnerReference| owner.kind == "Pod" && owner.api_version == "v1";
        let is_set = |owner: &OwnerReference| {
            owner.kind == "StatefulSet" && Some(&owner.uid) == set.metadata.uid.as_ref()
        };
        after.retain(|owner| !is_pod(owner) && !is_set(owner));
        if when_scaled && is_condemned {
            match pod {
                Some(pod) => after.push(reference(Kind::Pod, &pod.metadata)),
                // The pod has gone before its claim knew it; the claim goes with the reference that it has.
                None => after.extend(before.iter().filter(|owner| is_pod(owner)).cloned()),
            }
        } else if with_set {
            after.push(reference(Kind::StatefulSet, &set.metadata));
        }
        if before != after {
            outcome.push(Effect::Patch {
                kind: Kind::PersistentVolumeClaim,
                key,
                status: false,
                patch: json!({"metadata": {"ownerReferences": after}}),
            });
        }
    }
}
