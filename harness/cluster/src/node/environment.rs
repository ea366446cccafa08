//! The environment of a container, and the launch of its process: pure functions over what was looked up before.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
};

use k8s_openapi::{
    api::core::v1::{
        ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    expansion::{PathMap, expand},
    process::Launch,
};
use crate::{Image, quantity};

/// ConfigMaps and Secrets that a pod refers to; `None` for those that do not exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// Tokens of service accounts.
    pub tokens: BTreeMap<TokenRequest, String>,
}

/// What a token is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    /// Name of the service account.
    pub account: String,
    /// Whom the token is for; empty for the API server.
    pub audience: String,
    /// Its life in seconds.
    pub expiration_s: i64,
}

/// Facts of the pod's sandbox.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Address of the pod.
    pub pod_ip: Ipv4Addr,
    /// Address of the node.
    pub host_ip: Ipv4Addr,
    /// Container ports that are served on another port.
    pub ports: BTreeMap<u16, u16>,
    /// Environment that every process of this machine needs (`PATH`, …).
    pub inherited: BTreeMap<String, String>,
    /// Folder for temporary files.
    pub temporary: PathBuf,
    /// What tells processes where Services are (`WEB_SERVICE_HOST`, …).
    pub services: BTreeMap<String, String>,
    /// Processor of the node in thousandths of a core, and memory in thousandths of a byte: what a container without
    /// limits may use.
    pub capacity: (i128, i128),
}

/// Names of the ConfigMaps and Secrets that the containers' environments refer to.
#[must_use]
pub fn referenced(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    let Some(spec) = &pod.spec else { return (config_maps, secrets) };
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for source in container.env_from.iter().flatten() {
            config_maps.extend(source.config_map_ref.iter().map(|reference| reference.name.clone()));
            secrets.extend(source.secret_ref.iter().map(|reference| reference.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            config_maps.extend(source.config_map_key_ref.iter().map(|reference| reference.name.clone()));
            secrets.extend(source.secret_key_ref.iter().map(|reference| reference.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// The launch of a container's process.
///
/// `paths` rewrites mount paths in the command, the arguments, the values of the environment and the working
/// directory; `default_directory` is where a process works whose container names no directory of this machine.
///
/// # Errors
/// A sentence for the waiting status `CreateContainerConfigError`, such as a missing ConfigMap.
pub fn launch(
    pod: &Pod,
    container: &Container,
    image: &Image,
    sources: &Sources,
    surroundings: &Surroundings,
    paths: &PathMap,
    default_directory: PathBuf,
) -> Result<Launch, String> {
    let declared = declared(pod, container, sources, surroundings)?;
    let known = |name: &str| declared.get(name).or_else(|| surroundings.services.get(name)).cloned();
    let value = |text: &str| paths.rewrite(&expand(text, known));
    let mut argv: Vec<String> = match container.command.as_deref().unwrap_or_default() {
        [] => image.argv.clone(),
        command => command.iter().map(|text| value(text)).collect(),
    };
    argv.extend(container.args.iter().flatten().map(|text| value(text)));
    if argv.is_empty() {
        return Err("no command specified".to_owned());
    }
    let directory = match container.working_dir.as_deref().filter(|directory| !directory.is_empty()) {
        None => default_directory,
        Some(inner) => match paths.host_path(inner) {
            Some(host) => host,
            None if PathBuf::from(inner).is_dir() => PathBuf::from(inner),
            None => default_directory.join(inner.trim_start_matches('/')),
        },
    };
    let mut env = surroundings.inherited.clone();
    env.insert("HOSTNAME".into(), pod.metadata.name.clone().unwrap_or_default());
    env.insert("TMPDIR".into(), surroundings.temporary.to_string_lossy().into_owned());
    env.extend(image.env.clone());
    env.extend(surroundings.services.clone());
    env.extend(declared.iter().map(|(name, value)| (name.clone(), paths.rewrite(value))));
    env.insert("WINDTUNNEL_BIND".into(), surroundings.pod_ip.to_string());
    env.insert("WINDTUNNEL_EXIT_WITH_PARENT".into(), "1".into());
    if !surroundings.ports.is_empty() {
        let pairs: Vec<String> = surroundings.ports.iter().map(|(from, to)| format!("{from}={to}")).collect();
        env.insert("WINDTUNNEL_PORTS".into(), pairs.join(","));
    }
    Ok(Launch { argv, env, directory })
}

/// The variables that the container declares, in order, so that each can refer to those before it.
fn declared(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    surroundings: &Surroundings,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            match sources.config_maps.get(&reference.name).and_then(Option::as_ref) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match sources.secrets.get(&reference.name).and_then(Option::as_ref) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value_from, &variable.value) {
            (Some(source), _) => match from_source(pod, container, source, sources, surroundings)? {
                Some(value) => value,
                None => continue,
            },
            (None, Some(value)) => {
                expand(value, |name| env.get(name).or_else(|| surroundings.services.get(name)).cloned())
            }
            (None, None) => String::new(),
        };
        env.insert(variable.name.clone(), value);
    }
    Ok(env)
}

/// The value of a `valueFrom`; `None` if it is optional and absent.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    surroundings: &Surroundings,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        return field(pod, reference, surroundings).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource_field(pod, container, reference, surroundings).map(Some);
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(reference) = &source.config_map_key_ref {
        let map = sources.config_maps.get(&reference.name).and_then(Option::as_ref);
        let value = map.and_then(|map| map.data.as_ref()?.get(&reference.key).cloned());
        return match (map, value) {
            (_, Some(value)) => Ok(Some(value)),
            _ if reference.optional == Some(true) => Ok(None),
            (None, _) => Err(format!("configmap \"{}\" not found", reference.name)),
            (Some(_), None) => Err(format!(
                "couldn't find key {} in ConfigMap {namespace}/{}",
                reference.key, reference.name
            )),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = sources.secrets.get(&reference.name).and_then(Option::as_ref);
        let value = secret.and_then(|secret| Some(text(&secret.data.as_ref()?.get(&reference.key)?.0)));
        return match (secret, value) {
            (_, Some(value)) => Ok(Some(value)),
            _ if reference.optional == Some(true) => Ok(None),
            (None, _) => Err(format!("secret \"{}\" not found", reference.name)),
            (Some(_), None) => {
                Err(format!("couldn't find key {} in Secret {namespace}/{}", reference.key, reference.name))
            }
        };
    }
    Err("valueFrom has no source that this node knows (fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef)".into())
}

/// A field of the pod.
///
/// # Errors
/// If the field is not one that can be referred to.
pub(crate) fn field(
    pod: &Pod,
    reference: &ObjectFieldSelector,
    surroundings: &Surroundings,
) -> Result<String, String> {
    let path = reference.field_path.as_str();
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let subscript = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(metadata.labels.as_ref().and_then(|labels| labels.get(key).cloned()).unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(metadata.annotations.as_ref().and_then(|all| all.get(key).cloned()).unwrap_or_default());
    }
    let all = |pairs: Option<&BTreeMap<String, String>>| {
        let lines: Vec<String> =
            pairs.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
        lines.join("\n")
    };
    Ok(match path {
        "metadata.name" => metadata.name.clone().unwrap_or_default(),
        "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
        "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
        "metadata.labels" => all(metadata.labels.as_ref()),
        "metadata.annotations" => all(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => {
            spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
        }
        "status.podIP" | "status.podIPs" => surroundings.pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => surroundings.host_ip.to_string(),
        other => return Err(format!("unsupported fieldPath: {other}")),
    })
}

/// A request or limit of a container in units of the divisor, rounded up. A container without a limit may use the
/// whole node.
pub(crate) fn resource_field(
    pod: &Pod,
    container: &Container,
    reference: &ResourceFieldSelector,
    surroundings: &Surroundings,
) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let named = reference.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        None => container,
        Some(name) => spec
            .and_then(|spec| spec.containers.iter().find(|container| container.name == name))
            .ok_or_else(|| format!("container \"{name}\" not found"))?,
    };
    let resources = container.resources.as_ref();
    let (kind, name) = reference
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource: {}", reference.resource))?;
    let of = |list: Option<&BTreeMap<String, Quantity>>| {
        list.and_then(|list| list.get(name)).and_then(quantity::milli)
    };
    let limit = of(resources.and_then(|resources| resources.limits.as_ref()));
    let request = of(resources.and_then(|resources| resources.requests.as_ref()));
    let whole = match name {
        "cpu" => surroundings.capacity.0,
        "memory" => surroundings.capacity.1,
        _ => 0,
    };
    let amount = match kind {
        "limits" => limit.unwrap_or(whole),
        "requests" => request.or(limit).unwrap_or(0),
        _ => return Err(format!("unsupported container resource: {}", reference.resource)),
    };
    let divisor =
        reference.divisor.as_ref().and_then(quantity::milli).filter(|&divisor| divisor > 0).unwrap_or(1_000);
    Ok((amount / divisor + i128::from(amount % divisor != 0)).to_string())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            pod_ip: Ipv4Addr::new(127, 64, 0, 2),
            host_ip: Ipv4Addr::new(127, 64, 0, 1),
            ports: [(8080, 41234)].into(),
            inherited: [("PATH".to_owned(), "/bin".to_owned())].into(),
            temporary: "/pods/p/tmp".into(),
            services: [("WEB_SERVICE_HOST".to_owned(), "127.64.128.1".to_owned())].into(),
            capacity: (4_000, 8_000),
        }
    }

    fn run(container: &serde_json::Value) -> Result<Launch, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}},
            "spec": {"containers": [container], "nodeName": "node"},
        }))
        .expect("a pod");
        let map = json!({"data": {"k": "from-map"}});
        let secret = json!({"data": {"s": "c2VjcmV0"}});
        let sources = Sources {
            config_maps: [
                ("m".to_owned(), serde_json::from_value(map).expect("a ConfigMap")),
                ("absent".to_owned(), None),
            ]
            .into(),
            secrets: [("s".to_owned(), serde_json::from_value(secret).expect("a Secret"))].into(),
            tokens: BTreeMap::new(),
        };
        let mut paths = PathMap::default();
        paths.insert("/mnt/models", "/pods/p/volumes/models");
        let image =
            Image { env: [("FROM_IMAGE".into(), "1".into())].into(), ..Image::new("i", ["serve", "--x"]) };
        let container = &pod.spec.as_ref().expect("a specification").containers[0];
        launch(&pod, container, &image, &sources, &surroundings(), &paths, "/pods/p/work".into())
    }

    /// If this fails a server starts with other arguments than its manifest says.
    #[test]
    fn the_command_line_is_that_of_the_manifest() {
        let launch = run(&json!({"name": "c", "args": ["--dir=/mnt/models", "--port=$(PORT)", "$(NOT)"],
            "env": [{"name": "PORT", "value": "8080"}]}))
        .expect("a launch");
        assert_eq!(launch.argv, ["serve", "--x", "--dir=/pods/p/volumes/models", "--port=8080", "$(NOT)"]);
        let launch = run(&json!({"name": "c", "command": ["sh"], "args": ["-c", "ls /mnt/models"],
            "workingDir": "/mnt/models/a"}))
        .expect("a launch");
        assert_eq!(launch.argv, ["sh", "-c", "ls /pods/p/volumes/models"]);
        assert_eq!(launch.directory, PathBuf::from("/pods/p/volumes/models/a"));
    }

    /// If this fails a server does not find what its manifest put into its environment.
    #[test]
    fn the_environment_has_values_fields_and_keys() {
        let launch = run(&json!({"name": "c",
        "resources": {"limits": {"cpu": "1500m"}},
        "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}},
            {"configMapRef": {"name": "absent", "optional": true}}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(C)-$$(A)"},
            {"name": "C", "value": "late"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "s"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": true}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
            {"name": "DIR", "value": "/mnt/models/x"},
            {"name": "URL", "value": "http://$(WEB_SERVICE_HOST)"},
        ]}))
        .expect("a launch");
        let expected = [
            ("A", "1"),
            ("B", "1-$(C)-$(A)"),
            ("NAME", "p"),
            ("APP", "x"),
            ("IP", "127.64.0.2"),
            ("KEY", "from-map"),
            ("SECRET", "secret"),
            ("M_k", "from-map"),
            ("CPU", "2"),
            ("MEMORY", "8"),
            ("DIR", "/pods/p/volumes/models/x"),
            ("URL", "http://127.64.128.1"),
            ("WEB_SERVICE_HOST", "127.64.128.1"),
            ("PATH", "/bin"),
            ("FROM_IMAGE", "1"),
            ("HOSTNAME", "p"),
            ("WINDTUNNEL_BIND", "127.64.0.2"),
            ("WINDTUNNEL_PORTS", "8080=41234"),
            ("WINDTUNNEL_EXIT_WITH_PARENT", "1"),
        ];
        for (name, value) in expected {
            assert_eq!(launch.env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!launch.env.contains_key("NONE"));
    }

    /// If this fails a pod with a missing ConfigMap runs half configured.
    #[test]
    fn what_is_missing_is_named() {
        let from = |source: serde_json::Value| {
            run(&json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).expect_err("refused")
        };
        assert_eq!(
            from(json!({"configMapKeyRef": {"name": "absent", "key": "k"}})),
            "configmap \"absent\" not found"
        );
        assert_eq!(
            from(json!({"configMapKeyRef": {"name": "m", "key": "z"}})),
            "couldn't find key z in ConfigMap n/m"
        );
        assert_eq!(from(json!({"secretKeyRef": {"name": "t", "key": "z"}})), "secret \"t\" not found");
        assert_eq!(from(json!({"fieldRef": {"fieldPath": "spec.x"}})), "unsupported fieldPath: spec.x");
    }
}
