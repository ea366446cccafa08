//! What the pod webhook does: it puts the storage initializer in front of the serving container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, Pod, PodSpec, ResourceRequirements,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::component::StorageUri;
use super::config::{KserveConfig, StorageInitializer};
use super::names;
use super::validate::common_parent;
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER};

/// Name of the init container that downloads the model.
pub const STORAGE_INITIALIZER: &str = "storage-initializer";
/// Name of the volume that the model is downloaded to.
pub const PROVISION_VOLUME: &str = "kserve-provision-location";
/// Name of the volume of a model on a persistent volume claim.
pub const CLAIM_VOLUME: &str = "kserve-pvc-source";

/// Whether the webhook wants to see a pod with these labels.
#[must_use]
pub fn is_ours(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.contains_key(names::INFERENCE_SERVICE_LABEL))
}

/// Adds the storage initializer (or, for `pvc://`, the claim's volume) to a pod of an InferenceService whose
/// annotation names the model's URI. Doing it again changes nothing.
pub fn mutate(pod: &mut Pod, config: &KserveConfig) {
    if !is_ours(pod.metadata.labels.as_ref()) {
        return;
    }
    let annotation =
        |key: &str| pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    let Some(uri) = annotation(names::STORAGE_SOURCE_URI).cloned() else { return };
    let read_only = annotation(names::STORAGE_READ_ONLY).is_none_or(|value| value != "false");
    let Some(spec) = &mut pod.spec else { return };
    let done = spec.init_containers.iter().flatten().any(|container| container.name == STORAGE_INITIALIZER)
        || spec.volumes.iter().flatten().any(|volume| volume.name == CLAIM_VOLUME);
    if done {
        return;
    }
    if let Some(claim) = uri.strip_prefix("pvc://") {
        mount_claim(spec, claim, read_only);
    } else {
        let args = vec![uri, names::MODEL_MOUNT_PATH.to_owned()];
        let container =
            initializer(&config.storage_initializer, args, PROVISION_VOLUME, names::MODEL_MOUNT_PATH);
        spec.init_containers.get_or_insert_with(Vec::new).push(container);
        add_volume(spec, empty_volume(PROVISION_VOLUME));
        mount(spec, PROVISION_VOLUME, names::MODEL_MOUNT_PATH, None, read_only);
    }
    for variable in spec.containers.iter_mut().flat_map(|container| container.env.iter_mut().flatten()) {
        if variable.name == "STORAGE_URI" {
            variable.value = Some(names::MODEL_MOUNT_PATH.to_owned());
        }
    }
}

/// Adds the init container and the volume for a list of model sources to a raw pod specification. Sources
/// on claims are mounted one by one.
pub(super) fn add_storage_uris(pod: &mut Fields, uris: &[StorageUri], config: &KserveConfig) {
    fn path(entry: &StorageUri) -> &str {
        entry.mount_path.as_deref().unwrap_or(names::MODEL_MOUNT_PATH)
    }
    let Ok(mut spec) = crate::pod_fields::pod_spec(pod) else { return };
    let (claims, downloads): (Vec<_>, Vec<_>) =
        uris.iter().partition(|entry| entry.uri.starts_with("pvc://"));
    for (index, entry) in claims.into_iter().enumerate() {
        let claim = entry.uri.trim_start_matches("pvc://").split('/').next().unwrap_or_default();
        let name = format!("{CLAIM_VOLUME}-{index}");
        add_volume(&mut spec, claim_volume(&name, claim, true));
        mount(&mut spec, &name, path(entry), None, true);
    }
    if !downloads.is_empty() {
        let paths: Vec<&str> = downloads.iter().map(|entry| path(entry)).collect();
        let parent = common_parent(&paths);
        let volume = parent.trim_start_matches('/').replace('/', "-");
        let args = downloads.iter().flat_map(|entry| [entry.uri.clone(), path(entry).to_owned()]).collect();
        let container = initializer(&config.storage_initializer, args, &volume, &parent);
        spec.init_containers.get_or_insert_with(Vec::new).push(container);
        add_volume(&mut spec, empty_volume(&volume));
        mount(&mut spec, &volume, &parent, None, true);
    }
    let value = serde_json::to_value(&spec).unwrap_or_else(|_| json!({}));
    for key in ["initContainers", "containers", "volumes"] {
        if let Some(list) = value.get(key).filter(|list| !list.is_null()) {
            pod.insert(key.to_owned(), Value::clone(list));
        }
    }
}

fn initializer(config: &StorageInitializer, args: Vec<String>, volume: &str, path: &str) -> Container {
    let quantities = |cpu: &str, memory: &str| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
        ]))
    };
    Container {
        name: STORAGE_INITIALIZER.to_owned(),
        image: Some(config.image.clone()),
        args: Some(args),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        resources: Some(ResourceRequirements {
            requests: quantities(&config.cpu_request, &config.memory_request),
            limits: quantities(&config.cpu_limit, &config.memory_limit),
            ..ResourceRequirements::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: volume.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn mount_claim(spec: &mut PodSpec, claim: &str, read_only: bool) {
    let (name, path) = claim.split_once('/').unwrap_or((claim, ""));
    add_volume(spec, claim_volume(CLAIM_VOLUME, name, read_only));
    mount(spec, CLAIM_VOLUME, names::MODEL_MOUNT_PATH, Some(path), read_only);
}

fn claim_volume(volume: &str, claim: &str, read_only: bool) -> Volume {
    Volume {
        name: volume.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: Some(read_only),
        }),
        ..Volume::default()
    }
}

fn empty_volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn add_volume(spec: &mut PodSpec, volume: Volume) {
    let volumes = spec.volumes.get_or_insert_with(Vec::new);
    if !volumes.iter().any(|old| old.name == volume.name) {
        volumes.push(volume);
    }
}

/// Mounts the volume in the containers that see the model: the serving one, else the first, and a
/// transformer beside it.
fn mount(spec: &mut PodSpec, volume: &str, path: &str, sub_path: Option<&str>, read_only: bool) {
    let serving =
        spec.containers.iter().position(|container| container.name == SERVING_CONTAINER).unwrap_or(0);
    for (index, container) in spec.containers.iter_mut().enumerate() {
        if index != serving && container.name != TRANSFORMER_CONTAINER {
            continue;
        }
        let mounts = container.volume_mounts.get_or_insert_with(Vec::new);
        if !mounts.iter().any(|old| old.mount_path == path) {
            mounts.push(VolumeMount {
                name: volume.to_owned(),
                mount_path: path.to_owned(),
                sub_path: sub_path.filter(|path| !path.is_empty()).map(str::to_owned),
                read_only: Some(read_only),
                ..VolumeMount::default()
            });
        }
    }
}
