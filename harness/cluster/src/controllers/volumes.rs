//! Volumes: claims are bound to volumes that are there, or to folders of this machine that are made for them.
//!
//! [`claim`] decides for a claim, [`volume`] for a volume. The folders lie below the one that the storage class names
//! in its parameter `directory`.

use k8s_openapi::{
    api::{
        core::v1::{
            HostPathVolumeSource, ObjectReference, PersistentVolume, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PersistentVolumeSpec, Pod,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{deployment::owner, pods, selector};
use crate::{
    effect::{Effect, Outcome, merge_patch},
    quantity,
    world::{Key, Kind, World},
};

/// Component name in events.
const COMPONENT: &str = "persistentvolume-controller";
/// The provisioner that makes folders of this machine.
pub const PROVISIONER: &str = "cluster.windtunnel.dev/host-path";
/// Name of the storage class that claims get which name none.
pub const DEFAULT_CLASS: &str = "standard";
/// Parameter of a storage class: the folder below which volumes are made.
pub const DIRECTORY: &str = "directory";
/// Annotation of a storage class that is the default one.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
/// Annotation of a claim: the scheduler has chosen the node of its first pod.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Finalizer of claims: they stay while pods use them.
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Finalizer of volumes: they stay while they are bound to a claim.
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// The default storage class, whose volumes lie below a folder.
#[must_use]
pub fn default_class(directory: &str) -> StorageClass {
    StorageClass {
        metadata: ObjectMeta {
            name: Some(DEFAULT_CLASS.to_owned()),
            annotations: Some([(IS_DEFAULT.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.to_owned(),
        parameters: Some([(DIRECTORY.to_owned(), directory.to_owned())].into()),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

/// Whether a claim is bound to its volume.
#[must_use]
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Whether a claim's volume is made only when a pod that uses it has a node.
#[must_use]
pub fn waits_for_consumer(world: &World, claim: &PersistentVolumeClaim) -> bool {
    let class = class_of(world, claim);
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

/// The pod with the folders of its claims' volumes in place of the claims, as a node mounts them.
///
/// # Errors
/// A claim that is not bound, or whose volume is no folder of this machine.
pub fn as_host_paths(world: &World, pod: &Pod) -> Result<Pod, String> {
    let mut pod = pod.clone();
    let (namespace, name) =
        (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
    for volume in pod.spec.iter_mut().flat_map(|spec| spec.volumes.iter_mut().flatten()) {
        let claim_name = match (volume.persistent_volume_claim.take(), volume.ephemeral.take()) {
            (Some(source), _) => source.claim_name,
            (None, Some(_)) => format!("{name}-{}", volume.name),
            (None, None) => continue,
        };
        let claim = world
            .persistent_volume_claims
            .get(&Key::new(namespace.as_str(), claim_name.as_str()))
            .ok_or_else(|| format!("persistentvolumeclaim \"{claim_name}\" not found"))?;
        let bound =
            claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|_| is_bound(claim));
        let bound =
            bound.ok_or_else(|| format!("persistentvolumeclaim \"{claim_name}\" is not bound yet"))?;
        let found = world.persistent_volumes.get(&Key::cluster(bound)).and_then(|found| found.spec.as_ref());
        let local = found
            .and_then(|spec| spec.local.as_ref())
            .map(|local| HostPathVolumeSource { path: local.path.clone(), type_: None });
        volume.host_path =
            Some(found.and_then(|spec| spec.host_path.clone()).or(local).ok_or_else(|| {
                format!("persistentvolume \"{bound}\" is no folder of this machine; give it a hostPath")
            })?);
    }
    Ok(pod)
}

/// Makes the claims of a pod's generic ephemeral volumes that are not there; they go with the pod. Returns whether one was
/// missing.
pub(crate) fn create_ephemeral(world: &World, pod: &Pod, outcome: &mut Outcome) -> bool {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut is_missing = false;
    for (name, template) in pods::ephemeral_claims(pod) {
        if world.persistent_volume_claims.get(&Key::new(namespace.as_str(), name.as_str())).is_some() {
            continue;
        }
        is_missing = true;
        let given = template.metadata.clone().unwrap_or_default();
        outcome.push(Effect::create(&PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.clone()),
                labels: given.labels,
                annotations: given.annotations,
                owner_references: Some(vec![owner(Kind::Pod, &pod.metadata)]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec.clone()),
            status: None,
        }));
    }
    is_missing
}

/// Whether a claim was made for this pod.
pub(crate) fn is_of_pod(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}

/// Decides for one claim.
#[must_use]
pub fn claim(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(claim) = world.persistent_volume_claims.get(key) else { return outcome };
    let Some(spec) = &claim.spec else { return outcome };
    if claim.metadata.deletion_timestamp.is_some() {
        release_when_unused(world, claim, &mut outcome);
        return outcome;
    }
    protect(Kind::PersistentVolumeClaim, &claim.metadata, CLAIM_PROTECTION, &mut outcome);
    if spec.storage_class_name.is_none() && spec.volume_name.is_none() {
        // A claim that was there before the default class gets it, too.
        if let Some(class) = default_of(world) {
            outcome.push(patch(
                Kind::PersistentVolumeClaim,
                key,
                json!({"spec": {"storageClassName": class.metadata.name}}),
            ));
            return outcome;
        }
    }
    match spec.volume_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => follow(world, claim, name, &mut outcome),
        None => find_volume(world, claim, spec, &mut outcome),
    }
    outcome
}

/// The claim names its volume: binds both together, or says that the volume is not there.
fn follow(world: &World, claim: &PersistentVolumeClaim, name: &str, outcome: &mut Outcome) {
    let key = Key::of(&claim.metadata);
    let Some(volume) = world.persistent_volumes.get(&Key::cluster(name)) else {
        if is_bound(claim) {
            set_phase(claim, "Lost", None, outcome);
            let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            outcome.push(Effect::note(claim, COMPONENT, true, "ClaimLost", message));
        }
        return;
    };
    let Some(volume_spec) = &volume.spec else { return };
    match &volume_spec.claim_ref {
        Some(reference) if is_reference_to(reference, claim) => {
            if reference.uid.is_none() {
                reserve(volume, claim, outcome);
            }
            let annotations = claim.metadata.annotations.as_ref();
            if annotations.is_none_or(|annotations| !annotations.contains_key(BIND_COMPLETED)) {
                let patched = json!({"metadata": {"annotations": {BIND_COMPLETED: "yes"}}});
                outcome.push(patch(Kind::PersistentVolumeClaim, &key, patched));
            }
            set_phase(claim, "Bound", Some(volume_spec), outcome);
        }
        None => reserve(volume, claim, outcome),
        Some(_) => {
            let message = format!("volume \"{name}\" already bound to a different claim.");
            outcome.push(Effect::tell(claim, COMPONENT, true, "FailedBinding", message));
        }
    }
}

/// The claim names no volume: the smallest that fits, else one is made for it.
fn find_volume(
    world: &World,
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
    outcome: &mut Outcome,
) {
    let key = Key::of(&claim.metadata);
    let annotations = claim.metadata.annotations.as_ref();
    let has_node = annotations.is_some_and(|annotations| annotations.contains_key(SELECTED_NODE));
    let waits = waits_for_consumer(world, claim) && !has_node;
    let mut best: Option<(bool, i128, &PersistentVolume)> = None;
    for (_, volume) in world.persistent_volumes.iter() {
        let Some(size) = fit(volume, claim, spec) else { continue };
        let is_meant = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
        if waits && !is_meant {
            continue;
        }
        if best.is_none_or(|(meant, smallest, _)| (!is_meant, size) < (!meant, smallest)) {
            best = Some((is_meant, size, volume));
        }
    }
    if let Some((_, _, volume)) = best {
        reserve(volume, claim, outcome);
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        outcome.push(patch(
            Kind::PersistentVolumeClaim,
            &key,
            json!({"metadata": {"annotations": {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}},
                "spec": {"volumeName": name}}),
        ));
        return;
    }
    if waits {
        let message = "waiting for first consumer to be created before binding";
        outcome.push(Effect::tell(claim, COMPONENT, false, "WaitForFirstConsumer", message));
        return;
    }
    match (spec.storage_class_name.as_deref().filter(|name| !name.is_empty()), class_of(world, claim)) {
        (None, _) => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            outcome.push(Effect::tell(claim, COMPONENT, false, "FailedBinding", message));
        }
        (Some(name), None) => {
            let message = format!("storageclass.storage.k8s.io \"{name}\" not found");
            outcome.push(Effect::tell(claim, COMPONENT, true, "ProvisioningFailed", message));
        }
        (Some(_), Some(class)) if class.provisioner == PROVISIONER => provision(claim, spec, class, outcome),
        (Some(_), Some(class)) => {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{}' or manually by the \
system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
registered.",
                class.provisioner
            );
            outcome.push(Effect::tell(claim, COMPONENT, false, "ExternalProvisioning", message));
        }
    }
}

/// Makes a volume for a claim: a folder below that of the class.
fn provision(
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
    class: &StorageClass,
    outcome: &mut Outcome,
) {
    let Some(directory) = class.parameters.as_ref().and_then(|parameters| parameters.get(DIRECTORY)) else {
        let message =
            format!("the storage class has no parameter `{DIRECTORY}`: say where volumes are to be made");
        outcome.push(Effect::tell(claim, COMPONENT, true, "ProvisioningFailed", message));
        return;
    };
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default());
    let size = requested(spec).cloned().unwrap_or_else(|| Quantity("0".to_owned()));
    outcome.push(Effect::create(&PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some([(PROVISIONED_BY.to_owned(), class.provisioner.clone())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes.clone(),
            capacity: Some([("storage".to_owned(), size)].into()),
            claim_ref: Some(reference_to(claim)),
            host_path: Some(HostPathVolumeSource {
                path: format!("{}/{name}", directory.trim_end_matches('/')),
                type_: Some("DirectoryOrCreate".to_owned()),
            }),
            mount_options: class.mount_options.clone(),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: spec.storage_class_name.clone(),
            volume_mode: spec.volume_mode.clone(),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }));
    let message = format!("Successfully provisioned volume {name}");
    outcome.push(Effect::note(claim, COMPONENT, false, "ProvisioningSucceeded", message));
}

/// Decides for one volume.
#[must_use]
pub fn volume(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(volume) = world.persistent_volumes.get(key) else { return outcome };
    let Some(spec) = &volume.spec else { return outcome };
    let is_terminating = volume.metadata.deletion_timestamp.is_some();
    if !is_terminating {
        protect(Kind::PersistentVolume, &volume.metadata, VOLUME_PROTECTION, &mut outcome);
    }
    let phase = match &spec.claim_ref {
        None => "Available",
        // Meant for a claim that need not be there yet.
        Some(reference) if reference.uid.is_none() => "Available",
        Some(reference) => {
            let claim = world.persistent_volume_claims.get(&Key::new(
                reference.namespace.as_deref().unwrap_or_default(),
                reference.name.as_deref().unwrap_or_default(),
            ));
            match claim.filter(|claim| claim.metadata.uid == reference.uid) {
                Some(_) => "Bound",
                None => "Released",
            }
        }
    };
    let is_ours = volume
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(PROVISIONED_BY))
        .is_some_and(|provisioner| provisioner == PROVISIONER);
    if phase == "Released" && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") && is_ours {
        if let Some(path) = &spec.host_path {
            outcome.push(Effect::RemoveFolder { path: path.path.clone() });
        }
        if !is_terminating {
            outcome.push(Effect::delete(&**volume));
        }
    }
    let before = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if before != Some(phase) {
        outcome.push(Effect::Patch {
            kind: Kind::PersistentVolume,
            key: key.clone(),
            status: true,
            patch: json!({"status": {"phase": phase}}),
        });
    }
    if is_terminating && phase != "Bound" {
        release(Kind::PersistentVolume, &volume.metadata, VOLUME_PROTECTION, &mut outcome);
    }
    outcome
}

fn patch(kind: Kind, key: &Key, patch: Value) -> Effect {
    Effect::Patch { kind, key: key.clone(), status: false, patch }
}

/// Gives a volume to a claim.
fn reserve(volume: &PersistentVolume, claim: &PersistentVolumeClaim, outcome: &mut Outcome) {
    let present = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if present.is_some_and(|reference| reference.uid == claim.metadata.uid) {
        return;
    }
    let mut patched = json!({"spec": {"claimRef": reference_to(claim)}});
    if present.is_none() {
        patched["metadata"] = json!({"annotations": {BOUND_BY_CONTROLLER: "yes"}});
    }
    outcome.push(patch(Kind::PersistentVolume, &Key::of(&volume.metadata), patched));
}

fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn is_reference_to(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (reference.uid.is_none() || reference.uid == claim.metadata.uid)
}

fn set_phase(
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolumeSpec>,
    outcome: &mut Outcome,
) {
    let before = claim.status.as_ref().map_or_else(|| json!({}), |status| json!(status));
    let mut after = before.clone();
    after["phase"] = phase.into();
    if let Some(volume) = volume {
        after["accessModes"] = json!(volume.access_modes);
        after["capacity"] = json!(volume.capacity);
    }
    if let Some(change) = merge_patch(&before, &after) {
        outcome.push(Effect::Patch {
            kind: Kind::PersistentVolumeClaim,
            key: Key::of(&claim.metadata),
            status: true,
            patch: json!({ "status": change }),
        });
    }
}

fn requested(spec: &PersistentVolumeClaimSpec) -> Option<&Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get("storage")
}

/// The size of a volume that a claim may have; `None` if it may not.
fn fit(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeClaimSpec,
) -> Option<i128> {
    let volume_spec = volume.spec.as_ref().filter(|_| volume.metadata.deletion_timestamp.is_none())?;
    let is_free = volume_spec.claim_ref.as_ref().is_none_or(|reference| is_reference_to(reference, claim));
    let class = |name: Option<&String>| name.cloned().unwrap_or_default();
    let modes = volume_spec.access_modes.as_deref().unwrap_or_default();
    let wanted_modes = spec.access_modes.as_deref().unwrap_or_default();
    let mode = |mode: Option<&String>| mode.cloned().unwrap_or_else(|| "Filesystem".to_owned());
    let fits = is_free
        && class(volume_spec.storage_class_name.as_ref()) == class(spec.storage_class_name.as_ref())
        && wanted_modes.iter().all(|mode| modes.contains(mode))
        && mode(volume_spec.volume_mode.as_ref()) == mode(spec.volume_mode.as_ref())
        && spec
            .selector
            .as_ref()
            .is_none_or(|wanted| selector::matches(wanted, volume.metadata.labels.as_ref()));
    let size = volume_spec.capacity.as_ref()?.get("storage").and_then(quantity::milli)?;
    let wanted = requested(spec).and_then(quantity::milli).unwrap_or(0);
    (fits && size >= wanted).then_some(size)
}

fn class_of<'a>(world: &'a World, claim: &PersistentVolumeClaim) -> Option<&'a StorageClass> {
    let name = claim.spec.as_ref()?.storage_class_name.as_deref()?;
    world.storage_classes.get(&Key::cluster(name)).map(|class| &**class)
}

/// The default class; of several the youngest.
fn default_of(world: &World) -> Option<&StorageClass> {
    let classes = world.storage_classes.iter().map(|(_, class)| &**class);
    let defaults = classes.filter(|class| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(IS_DEFAULT)).map(String::as_str) == Some("true")
    });
    defaults.max_by_key(|class| class.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Adds a finalizer that is not there: the API server gives it to new objects, those of before it may lack it.
fn protect(kind: Kind, metadata: &ObjectMeta, finalizer: &str, outcome: &mut Outcome) {
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|present| present == finalizer) {
        let all: Vec<&str> = finalizers.iter().map(String::as_str).chain([finalizer]).collect();
        outcome.push(patch(kind, &Key::of(metadata), json!({"metadata": {"finalizers": all}})));
    }
}

/// Takes a finalizer away, if it is there.
fn release(kind: Kind, metadata: &ObjectMeta, finalizer: &str, outcome: &mut Outcome) {
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    let rest: Vec<&String> = finalizers.iter().filter(|present| *present != finalizer).collect();
    if rest.len() < finalizers.len() {
        let patched = json!({"metadata": {"uid": metadata.uid, "finalizers": rest}});
        outcome.push(patch(kind, &Key::of(metadata), patched));
    }
}

/// A claim that is being deleted goes when no pod uses it any more.
fn release_when_unused(world: &World, claim: &PersistentVolumeClaim, outcome: &mut Outcome) {
    let key = Key::of(&claim.metadata);
    let mut users = world.pods.in_namespace(&key.namespace);
    if !users.any(|(_, pod)| !pods::is_finished(pod) && pods::claims(pod).any(|name| name == key.name)) {
        release(Kind::PersistentVolumeClaim, &claim.metadata, CLAIM_PROTECTION, outcome);
    }
}
