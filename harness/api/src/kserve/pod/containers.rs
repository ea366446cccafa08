//! Pieces of pods: containers by name, variables, volumes and mounts that are added once.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, PodSpec, ResourceRequirements, SecretKeySelector,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A container by name.
pub(super) fn named<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Container> {
    spec.containers.iter().find(|container| container.name == name)
}

/// A container by name, to change.
pub(super) fn named_mut<'a>(spec: &'a mut PodSpec, name: &str) -> Option<&'a mut Container> {
    spec.containers.iter_mut().find(|container| container.name == name)
}

/// A variable with a literal value.
pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), ..EnvVar::default() }
}

/// A variable with the value of a secret's key.
pub(super) fn secret_variable(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The value of a literal variable.
pub(super) fn value_of<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let variable = container.env.iter().flatten().find(|variable| variable.name == name)?;
    Some(variable.value.as_deref().unwrap_or_default())
}

/// Whether there is a variable of that name.
pub(super) fn has_variable(container: &Container, name: &str) -> bool {
    container.env.iter().flatten().any(|variable| variable.name == name)
}

/// Adds variables at the end, whatever is there.
pub(super) fn add(container: &mut Container, variables: impl IntoIterator<Item = EnvVar>) {
    let mut variables = variables.into_iter().peekable();
    if variables.peek().is_some() {
        container.env.get_or_insert_default().extend(variables);
    }
}

/// Adds a variable unless there is one of that name.
pub(super) fn add_if_absent(container: &mut Container, variable: EnvVar) {
    if !has_variable(container, &variable.name) {
        add(container, [variable]);
    }
}

/// Sets a literal variable, where it stands or at the end.
pub(super) fn set(container: &mut Container, name: &str, value: &str) {
    let present = container.env.iter_mut().flatten().find(|variable| variable.name == name);
    match present {
        Some(present) => present.value = Some(value.to_owned()),
        None => add(container, [variable(name, value)]),
    }
}

/// Puts variables over those of the same names (their literal values, as upstream does) and adds the others.
pub(super) fn merge(container: &mut Container, variables: Vec<EnvVar>) {
    for variable in variables {
        let present = container.env.iter_mut().flatten().find(|old| old.name == variable.name);
        match present {
            Some(present) => {
                present.value = variable.value;
                if variable.value_from.is_some() {
                    present.value_from = variable.value_from;
                }
            }
            None => add(container, [variable]),
        }
    }
}

/// Adds a volume unless there is one of that name.
pub(super) fn add_volume(spec: &mut PodSpec, volume: Volume) {
    let volumes = spec.volumes.get_or_insert_default();
    if !volumes.iter().any(|old| old.name == volume.name) {
        volumes.push(volume);
    }
}

/// Whether there is a volume of that name.
pub(super) fn has_volume(spec: &PodSpec, name: &str) -> bool {
    spec.volumes.iter().flatten().any(|volume| volume.name == name)
}

/// A volume that begins empty.
pub(super) fn empty_volume(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

/// A mount.
pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Adds a mount unless the container has one of that volume; tells whether it did.
pub(super) fn add_mount(container: &mut Container, mount: VolumeMount) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|old| old.name == mount.name) {
        return false;
    }
    mounts.push(mount);
    true
}

/// Requests and limits of CPU and memory.
pub(super) fn resources(requests: (&str, &str), limits: (&str, &str)) -> ResourceRequirements {
    let quantities = |(cpu, memory): (&str, &str)| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
        ]))
    };
    ResourceRequirements {
        requests: quantities(requests),
        limits: quantities(limits),
        ..ResourceRequirements::default()
    }
}

/// Name of a volume for a folder: its path with dashes.
pub(super) fn volume_name(path: &str) -> String {
    path.trim_matches('/').replace('/', "-")
}

/// The folder that a folder is in.
pub(super) fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
