//! Models in OCI images: in a sidecar whose files the server sees (`modelcar`), as a volume of the image
//! (`native`), or pulled layer by layer (`fetch`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ImageVolumeSource, KeyToPath, Pod, PodSpec, SecretVolumeSource, SecurityContext, Volume,
};

use super::super::config::{KserveConfig, OciMode, StorageInitializer};
use super::super::names::{MODEL_MOUNT_PATH, STORAGE_SOURCE_URI};
use super::containers::{
    add, add_mount, add_volume, empty_volume, has_volume, mount, named, named_mut, parent, resources, set,
    variable, volume_name,
};
use super::storage_initializer::{PROVISION_VOLUME, STORAGE_INITIALIZER, plain};
use super::{annotation, ca_bundle, namespace};
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, WORKER_CONTAINER};

const SIDECAR: &str = "modelcar";
const INIT: &str = "modelcar-init";
/// Images in one pod: each takes two containers and a volume.
const MOST_IMAGES: usize = 10;
/// A process's view of the file system, in its folder of `/proc`.
const PROCESS_ROOT: &str = "root";
const DOCKER_CONFIG_VOLUME: &str = "kserve-oci-fetch-docker-config";
const DOCKER_CONFIG_FOLDER: &str = "/mnt/oci-fetch-auth";

/// The image of an OCI URI, and the mode that its scheme names (`oci+native://`).
fn parse(uri: &str) -> Option<(Option<OciMode>, &str)> {
    if let Some(image) = uri.strip_prefix("oci://") {
        return Some((None, image));
    }
    let (mode, image) = uri.strip_prefix("oci+")?.split_once("://")?;
    if mode.is_empty() {
        return None;
    }
    // Upstream takes a word that it does not know for the sidecar.
    let mode = match mode {
        "native" => OciMode::Native,
        "fetch" => OciMode::Fetch,
        _ => OciMode::Modelcar,
    };
    Some((Some(mode), image))
}

/// Whether the URI names an OCI image, in whatever mode.
pub(super) fn is_oci(uri: &str) -> bool {
    parse(uri).is_some()
}

/// Whether an OCI image is served without the storage initializer of the other schemes.
pub(super) fn is_served_otherwise(uri: &str, config: &KserveConfig) -> bool {
    parse(uri).is_some_and(|(mode, _)| mode.or(config.storage_initializer.oci_mode()).is_some())
}

/// Makes the annotated image's files visible to the server and to a transformer beside it.
///
/// # Errors
/// Upstream's words for a pod without a server, or a mount path that is taken.
pub(super) fn inject(pod: &mut Pod, config: &KserveConfig) -> Result<(), String> {
    let Some(configured) = config.storage_initializer.oci_mode() else { return Ok(()) };
    let Some(uri) = annotation(pod, STORAGE_SOURCE_URI) else { return Ok(()) };
    let Some((mode, image)) = parse(uri) else { return Ok(()) };
    let image = image.to_owned();
    let namespace = namespace(pod).to_owned();
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    let source = Source { image: &image, path: MODEL_MOUNT_PATH, index: 0, namespace: &namespace };
    if server(spec).is_none() {
        return Err(format!("Invalid configuration: cannot find container: {SERVING_CONTAINER}"));
    }
    add_source(spec, mode.unwrap_or(configured), source, config)
}

/// Adds the OCI images of a list of sources (URI, folder); the others are left alone.
///
/// # Errors
/// Upstream's words for too many images, or folders that hide each other.
pub(super) fn add_sources(
    spec: &mut PodSpec,
    sources: &[(&str, &str)],
    config: &KserveConfig,
    namespace: &str,
) -> Result<(), String> {
    let configured = config.storage_initializer.oci_mode();
    let images: Vec<_> = sources
        .iter()
        .filter_map(|(uri, path)| parse(uri).map(|(mode, image)| (mode, image, *path)))
        .collect();
    let served: Vec<_> =
        images.iter().filter_map(|(mode, image, path)| Some((mode.or(configured)?, *image, *path))).collect();
    if served.is_empty() {
        return Ok(());
    }
    if server(spec).is_none() {
        return Err("Invalid configuration: cannot find container".to_owned());
    }
    if images.len() > MOST_IMAGES {
        return Err(format!("too many OCI sources ({}); maximum is {MOST_IMAGES} per pod", images.len()));
    }
    let paths: Vec<&str> = images.iter().map(|(_, _, path)| *path).collect();
    distinct(&paths, configured)?;
    for (index, (mode, image, path)) in served.into_iter().enumerate() {
        add_source(spec, mode, Source { image, path, index, namespace }, config)?;
    }
    Ok(())
}

/// Volumes of images may stand beside each other; a sidecar's volume covers the folder above the model's.
fn distinct(paths: &[&str], configured: Option<OciMode>) -> Result<(), String> {
    if configured == Some(OciMode::Native) {
        let mut seen = BTreeSet::new();
        return match paths.iter().find(|path| !seen.insert(**path)) {
            None => Ok(()),
            Some(path) => Err(format!(
                "OCI mount path {path:?} is specified more than once; each native ImageVolume must have a unique \
                 mount path"
            )),
        };
    }
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for path in paths {
        if let Some(before) = seen.insert(parent(path), path) {
            return Err(format!(
                "OCI mount paths {before:?} and {path:?} share parent directory {:?}, which would cause volume mount \
                 shadowing; use mount paths with distinct parent directories",
                parent(path)
            ));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Source<'a> {
    image: &'a str,
    path: &'a str,
    /// Number among the pod's images: the first keeps the plain names.
    index: usize,
    namespace: &'a str,
}

/// Name of the container that serves: in worker pods the worker.
fn server(spec: &PodSpec) -> Option<&'static str> {
    [SERVING_CONTAINER, WORKER_CONTAINER].into_iter().find(|name| named(spec, name).is_some())
}

fn add_source(
    spec: &mut PodSpec,
    mode: OciMode,
    source: Source<'_>,
    config: &KserveConfig,
) -> Result<(), String> {
    let readers = [server(spec), Some(TRANSFORMER_CONTAINER).filter(|name| named(spec, name).is_some())];
    for reader in readers.into_iter().flatten() {
        match mode {
            OciMode::Modelcar => modelcar(spec, reader, source, &config.storage_initializer),
            OciMode::Native => native(spec, reader, source)?,
            OciMode::Fetch => fetch(spec, reader, source, config),
        }
    }
    Ok(())
}

fn modelcar(spec: &mut PodSpec, reader: &str, source: Source<'_>, config: &StorageInitializer) {
    let numbered = |name: &str| match source.index {
        0 => name.to_owned(),
        index => format!("{name}-{index}"),
    };
    let (sidecar, init, volume) = (numbered(SIDECAR), numbered(INIT), numbered(PROVISION_VOLUME));
    add_volume(spec, empty_volume(&volume));
    if let Some(container) = named_mut(spec, reader) {
        // The server must wait for the files.
        set(container, "MODEL_INIT_MODE", "async");
        add_mount(container, mount(&volume, parent(source.path), false));
        if config.uid_modelcar.is_some() {
            let context = container.security_context.get_or_insert_with(SecurityContext::default);
            context.run_as_user = config.uid_modelcar;
        }
    }
    if named(spec, &sidecar).is_none() {
        let or =
            |text: &'_ str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let (cpu, memory) = (or(&config.cpu_modelcar, "10m"), or(&config.memory_modelcar, "15Mi"));
        let shell = |command: String| Some(vec!["sh".to_owned(), "-c".to_owned(), command]);
        let container = |name: String, args| Container {
            name,
            image: Some(source.image.to_owned()),
            args,
            resources: Some(resources((&cpu, &memory), (&cpu, &memory))),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        let mut car = container(sidecar, shell(link_command(source.path)));
        add_mount(&mut car, mount(&volume, parent(source.path), false));
        car.security_context = config
            .uid_modelcar
            .map(|user| SecurityContext { run_as_user: Some(user), ..SecurityContext::default() });
        spec.containers.push(car);
        let check = container(init, shell(check_command(source.image)));
        spec.init_containers.get_or_insert_default().push(check);
    }
    // The sidecar's files are seen through its process.
    spec.share_process_namespace = Some(true);
}

/// Links the image's models to where the server looks. `$$$$` is the shell's own number after Kubernetes has
/// read the arguments.
fn link_command(path: &str) -> String {
    let link = format!("ln -sf /proc/$$$$/{PROCESS_ROOT}/models {} && sleep infinity", quoted(path));
    if path == MODEL_MOUNT_PATH { link } else { format!("mkdir -p {} && {link}", quoted(parent(path))) }
}

fn check_command(image: &str) -> String {
    format!(
        "echo 'Pre-fetching modelcar {image}: ' && [ -d /models ] && [ \"$$(ls -A /models)\" ] && echo 'OK ... \
         Prefetched and valid (/models exists)' || (echo 'NOK ... Prefetched but modelcar is invalid (/models does \
         not exist or is empty)' && exit 1)"
    )
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn native(spec: &mut PodSpec, reader: &str, source: Source<'_>) -> Result<(), String> {
    let name = Some(volume_name(source.path)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "oci-model".to_owned());
    if let Some(container) = named_mut(spec, reader) {
        let mounts = container.volume_mounts.iter().flatten();
        let mut taken = mounts.filter(|mount| mount.mount_path == source.path && mount.name != name);
        if let Some(other) = taken.next() {
            return Err(format!("mountPath {:?} already used by volume {:?}", source.path, other.name));
        }
        let mut mount = mount(&name, source.path, true);
        mount.sub_path = Some("models".to_owned());
        add_mount(container, mount);
    }
    let image = ImageVolumeSource {
        reference: Some(source.image.to_owned()),
        pull_policy: Some("IfNotPresent".to_owned()),
    };
    add_volume(spec, Volume { name, image: Some(image), ..Volume::default() });
    Ok(())
}

fn fetch(spec: &mut PodSpec, reader: &str, source: Source<'_>, config: &KserveConfig) {
    let pair = [format!("oci://{}", source.image), source.path.to_owned()];
    let inits = spec.init_containers.get_or_insert_default();
    let position = inits.iter().position(|container| container.name == STORAGE_INITIALIZER);
    let mut container = match position {
        Some(position) => inits.remove(position),
        None => {
            let mut container = plain(config, pair.to_vec());
            add_docker_config(&mut container, spec);
            // Unlike other downloads, a registry's authorities are only the operator's.
            if let Some(bundle) = ca_bundle::of(&container, source.namespace, &config.storage_initializer) {
                bundle.mount(&mut container, spec);
            }
            if config.storage_initializer.oci_insecure_registry {
                add(&mut container, [variable("KSERVE_OCI_INSECURE_REGISTRY", "true")]);
            }
            container
        }
    };
    let args = container.args.get_or_insert_default();
    if !args.chunks(2).any(|present| present == pair) {
        args.extend(pair);
    }
    let name = Some(volume_name(source.path)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "oci-fetch-model".to_owned());
    add_mount(&mut container, mount(&name, source.path, false));
    let inits = spec.init_containers.get_or_insert_default();
    inits.insert(position.unwrap_or(inits.len()), container);
    if let Some(reader) = named_mut(spec, reader) {
        add_mount(reader, mount(&name, source.path, false));
    }
    add_volume(spec, empty_volume(&name));
}

/// The first pull secret of the pod as the registry's credentials.
fn add_docker_config(container: &mut Container, spec: &mut PodSpec) {
    let Some(secret) = spec.image_pull_secrets.iter().flatten().next().map(|secret| secret.name.clone())
    else {
        return;
    };
    if has_volume(spec, DOCKER_CONFIG_VOLUME) {
        return;
    }
    let source = SecretVolumeSource {
        secret_name: Some(secret),
        default_mode: Some(0o400),
        items: Some(vec![KeyToPath {
            key: ".dockerconfigjson".to_owned(),
            path: "config.json".to_owned(),
            mode: None,
        }]),
        ..SecretVolumeSource::default()
    };
    add_volume(
        spec,
        Volume { name: DOCKER_CONFIG_VOLUME.to_owned(), secret: Some(source), ..Volume::default() },
    );
    add_mount(container, mount(DOCKER_CONFIG_VOLUME, DOCKER_CONFIG_FOLDER, true));
    add(container, [variable("KSERVE_OCI_DOCKER_CONFIG", format!("{DOCKER_CONFIG_FOLDER}/config.json"))]);
}
