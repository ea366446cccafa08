//! The storage initializer: an init container that downloads the model before the server starts, and claims
//! that are mounted instead.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume, VolumeMount,
};

use super::super::component::StorageUri;
use super::super::config::KserveConfig;
use super::super::local_model::{LOCAL_MODEL_CLAIM, LOCAL_MODEL_LABEL, LOCAL_MODEL_SOURCE_URI, storage_key};
use super::super::names::{
    self, AGENT, CONFIDENTIAL_ENABLED, CONFIDENTIAL_RESOURCE_ID, MODEL_MOUNT_PATH, STORAGE_CONTAINER_NAME,
    STORAGE_SOURCE_URI, STORAGE_SPEC, STORAGE_SPEC_KEY, STORAGE_SPEC_PARAMETERS,
};
use super::super::storage_container::StorageContainerSpec;
use super::super::validate::common_parent;
use super::containers::{
    add_if_absent, add_mount, add_volume, empty_volume, mount, named, named_mut, resources, set, variable,
    volume_name,
};
use super::credentials::{self, Place};
use super::{Surroundings, annotation, ca_bundle, label, namespace, oci, storage_container, storage_spec};
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, WORKER_CONTAINER};

/// Name of the init container that downloads the model.
pub const STORAGE_INITIALIZER: &str = "storage-initializer";
/// Name of the volume that the model is downloaded to.
pub const PROVISION_VOLUME: &str = "kserve-provision-location";
/// Name of the volume of a model on a persistent volume claim.
pub const CLAIM_VOLUME: &str = "kserve-pvc-source";

const CLAIM_SCHEME: &str = "pvc://";
/// Settings that make downloads from Hugging Face fast.
const HUGGING_FACE: [(&str, &str); 3] = [
    ("HF_HUB_ENABLE_HF_TRANSFER", "1"),
    ("HF_XET_HIGH_PERFORMANCE", "1"),
    ("HF_XET_NUM_CONCURRENT_RANGE_GETS", "8"),
];

/// Key of the storage secret, and parameters that override its entry.
type StorageSpec = (String, BTreeMap<String, String>);

/// What a download needs to know beside its URIs.
struct Download<'a> {
    namespace: &'a str,
    annotations: &'a BTreeMap<String, String>,
    config: &'a KserveConfig,
    around: &'a Surroundings<'a>,
    container: Option<&'a StorageContainerSpec>,
    /// Key and parameters, where the storage secret says where the model is.
    storage_spec: Option<StorageSpec>,
}

/// Adds the storage initializer (or, for `pvc://`, the claim) to a pod whose annotation names the model's URI.
///
/// # Errors
/// Upstream's words for what the pod or its surroundings lack.
pub(super) fn inject(pod: &mut Pod, config: &KserveConfig, around: &Surroundings<'_>) -> Result<(), String> {
    let Some(uri) = source(pod)? else { return Ok(()) };
    let name = annotation(pod, STORAGE_CONTAINER_NAME);
    let container = storage_container::choose(&uri, name, around.storage_containers)?;
    if annotation(pod, AGENT).is_some() || oci::is_served_otherwise(&uri, config) {
        return Ok(());
    }
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    let namespace = namespace(pod).to_owned();
    let download = Download {
        namespace: &namespace,
        annotations: &annotations,
        config,
        around,
        container,
        storage_spec: specification(&annotations)?,
    };
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    if has_initializer(spec) {
        return Ok(());
    }
    let readers = readers(spec)?;
    let read_only = is_read_only(&annotations);
    if let Some(claim) = uri.strip_prefix(CLAIM_SCHEME) {
        let (claim, path) = claim.split_once('/').unwrap_or((claim, ""));
        let mut mount = mount(CLAIM_VOLUME, MODEL_MOUNT_PATH, read_only);
        mount.sub_path = (!path.is_empty()).then(|| path.to_owned());
        share(spec, &readers, &mount, claim_volume(CLAIM_VOLUME, claim));
    } else {
        let mount = mount(PROVISION_VOLUME, MODEL_MOUNT_PATH, read_only);
        share(spec, &readers, &mount, empty_volume(PROVISION_VOLUME));
        add_initializer(spec, vec![uri, MODEL_MOUNT_PATH.to_owned()], &mount, &download)?;
    }
    let server = readers.first().and_then(|name| named_mut(spec, name));
    let variables = server.into_iter().flat_map(|container| container.env.iter_mut().flatten());
    for variable in variables.filter(|variable| variable.name == "STORAGE_URI") {
        if variable.value.as_ref().is_some_and(|value| !value.is_empty()) {
            variable.value = Some(MODEL_MOUNT_PATH.to_owned());
        }
    }
    Ok(())
}

/// The URI that the pod names; with a cache of the node, the claim that has it.
fn source(pod: &Pod) -> Result<Option<String>, String> {
    let Some(uri) = annotation(pod, STORAGE_SOURCE_URI) else { return Ok(None) };
    if label(pod, LOCAL_MODEL_LABEL).is_none() {
        return Ok(Some(uri.to_owned()));
    }
    let cached = annotation(pod, LOCAL_MODEL_SOURCE_URI).unwrap_or_default();
    let rest = uri.strip_prefix(cached).unwrap_or(uri);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let claim = annotation(pod, LOCAL_MODEL_CLAIM)
        .ok_or_else(|| format!("Annotation {LOCAL_MODEL_CLAIM} not found"))?;
    Ok(Some(format!("{CLAIM_SCHEME}{claim}/models/{}{slash}{rest}", storage_key(cached))))
}

fn specification(annotations: &BTreeMap<String, String>) -> Result<Option<StorageSpec>, String> {
    if annotations.get(STORAGE_SPEC).map(String::as_str) != Some("true") {
        return Ok(None);
    }
    let parameters = match annotations.get(STORAGE_SPEC_PARAMETERS) {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            format!("annotation {STORAGE_SPEC_PARAMETERS} is no JSON map of text: {error}")
        })?,
        None => BTreeMap::new(),
    };
    Ok(Some((annotations.get(STORAGE_SPEC_KEY).cloned().unwrap_or_default(), parameters)))
}

fn is_read_only(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(names::STORAGE_READ_ONLY).is_none_or(|value| value != "false")
}

/// A storage container may give the init container another name, so its volume tells too.
fn has_initializer(spec: &PodSpec) -> bool {
    let mounts = |container: &Container| {
        container.volume_mounts.iter().flatten().any(|mount| mount.name == PROVISION_VOLUME)
    };
    let mut inits = spec.init_containers.iter().flatten();
    inits.any(|container| container.name == STORAGE_INITIALIZER || mounts(container))
}

/// The containers that see the model: the server (in worker pods the worker), and a transformer beside it.
fn readers(spec: &PodSpec) -> Result<Vec<String>, String> {
    let server = named(spec, SERVING_CONTAINER).or_else(|| named(spec, WORKER_CONTAINER));
    let server = server.ok_or("Invalid configuration: cannot find container")?;
    let transformer = named(spec, TRANSFORMER_CONTAINER);
    Ok([Some(server), transformer].into_iter().flatten().map(|container| container.name.clone()).collect())
}

/// Mounts a volume in the containers and adds it to the pod.
fn share(spec: &mut PodSpec, readers: &[String], mount: &VolumeMount, volume: Volume) {
    for name in readers {
        if let Some(container) = named_mut(spec, name) {
            add_mount(container, mount.clone());
        }
    }
    add_volume(spec, volume);
}

fn claim_volume(volume: &str, claim: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The init container before anything is added to it.
pub(super) fn plain(config: &KserveConfig, args: Vec<String>) -> Container {
    let config = &config.storage_initializer;
    Container {
        name: STORAGE_INITIALIZER.to_owned(),
        image: Some(config.image.clone()),
        args: Some(args),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        resources: Some(resources(
            (&config.cpu_request, &config.memory_request),
            (&config.cpu_limit, &config.memory_limit),
        )),
        ..Container::default()
    }
}

/// Adds the init container: its credentials, authorities, the storage container's settings over them, and
/// what is only added where those leave it out.
fn add_initializer(
    spec: &mut PodSpec,
    args: Vec<String>,
    shared: &VolumeMount,
    download: &Download<'_>,
) -> Result<(), String> {
    let Download { namespace, annotations, config, around, .. } = *download;
    let mut container = plain(config, args);
    add_mount(&mut container, VolumeMount { read_only: None, ..shared.clone() });
    let annotated = annotations.get(&config.credentials.storage_secret_name_annotation).map(String::as_str);
    match &download.storage_spec {
        Some((key, parameters)) => storage_spec::add_to(
            &mut container,
            namespace,
            annotated,
            key,
            parameters,
            &config.credentials,
            around,
        )?,
        None => {
            let service_account = spec.service_account_name.clone().unwrap_or_default();
            let place = Place { namespace, annotated, service_account: &service_account };
            let volumes = spec.volumes.get_or_insert_default();
            credentials::add_to(&mut container, volumes, place, &config.credentials, around)?;
        }
    }
    let bundle = ca_bundle::of(&container, namespace, &config.storage_initializer);
    if let Some(over) = download.container {
        container = storage_container::merged(&container, &over.container)?;
    }
    if let Some(bundle) = bundle {
        bundle.mount(&mut container, spec);
    }
    for (name, value) in HUGGING_FACE {
        add_if_absent(&mut container, variable(name, value));
    }
    if annotations.get(CONFIDENTIAL_ENABLED).map(String::as_str) == Some("true") {
        set(&mut container, "CONFIDENTIAL_ENABLED", "true");
        if let Some(resource) = annotations.get(CONFIDENTIAL_RESOURCE_ID).filter(|text| !text.is_empty()) {
            set(&mut container, "CONFIDENTIAL_RESOURCE_ID", resource);
        }
    }
    spec.init_containers.get_or_insert_default().push(container);
    Ok(())
}

/// A list of model sources, for a pod that the controller renders.
#[derive(Clone, Copy, Debug)]
pub struct StorageUris<'a> {
    /// The sources.
    pub uris: &'a [StorageUri],
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Annotations of the pod.
    pub annotations: &'a BTreeMap<String, String>,
    /// Name of the ClusterStorageContainer, if the service names one.
    pub storage_container: Option<&'a str>,
}

/// Adds what brings the sources: one init container for all downloads, a mount for each claim, OCI images in
/// their own ways.
///
/// # Errors
/// Upstream's words for what the pod or its surroundings lack.
pub fn storage_uris(
    spec: &mut PodSpec,
    request: &StorageUris<'_>,
    config: &KserveConfig,
    around: &Surroundings<'_>,
) -> Result<(), String> {
    fn path(entry: &StorageUri) -> &str {
        entry.mount_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(MODEL_MOUNT_PATH)
    }
    let Some(first) = request.uris.first() else { return Ok(()) };
    if request.annotations.contains_key(AGENT) {
        return Ok(());
    }
    let container =
        storage_container::choose(&first.uri, request.storage_container, around.storage_containers)?;
    let sources: Vec<(&str, &str)> =
        request.uris.iter().map(|entry| (entry.uri.as_str(), path(entry))).collect();
    oci::add_sources(spec, &sources, config, request.namespace)?;
    if has_initializer(spec) {
        return Ok(());
    }
    let readers = readers(spec)?;
    if let Some(over) = container.filter(|over| over.supports_multi_model_download != Some(true)) {
        let name = over.container["name"].as_str().unwrap_or_default();
        return Err(format!(
            "storage container {name:?} does not support multi-model download; use the default kserve storage \
             initializer or a compatible storage container"
        ));
    }
    let read_only = is_read_only(request.annotations);
    let others = sources.into_iter().filter(|(uri, _)| !oci::is_oci(uri));
    let (claims, downloads): (Vec<_>, Vec<_>) = others.partition(|(uri, _)| uri.starts_with(CLAIM_SCHEME));
    for (uri, path) in claims {
        let claim = uri.trim_start_matches(CLAIM_SCHEME);
        let (claim, folder) = claim.split_once('/').unwrap_or((claim, ""));
        let name = volume_name(path);
        let mut mount = mount(&name, path, read_only);
        // Upstream leaves the folder inside the claim out.
        mount.sub_path = (!folder.is_empty()).then(|| folder.to_owned());
        share(spec, &readers, &mount, claim_volume(&name, claim));
    }
    if downloads.is_empty() {
        return Ok(());
    }
    let paths: Vec<&str> = downloads.iter().map(|(_, path)| *path).collect();
    let parent = common_parent(&paths);
    let name = volume_name(&parent);
    let mount = mount(&name, &parent, read_only);
    share(spec, &readers, &mount, empty_volume(&name));
    let args = downloads.iter().flat_map(|(uri, path)| [(*uri).to_owned(), (*path).to_owned()]).collect();
    let download = Download {
        namespace: request.namespace,
        annotations: request.annotations,
        config,
        around,
        container,
        storage_spec: None,
    };
    add_initializer(spec, args, &mount, &download)
}
