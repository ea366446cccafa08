//! Rules for the volumes of a pod and where containers mount them.

use serde_json::Value;

use super::environment::{FILE_FIELDS, pod_field, resource_field};
use crate::{
    kinds::{names::check_label, quantity},
    object::{at, integer, list, text},
    status::FieldError,
};

/// Sources of volumes; of several that are given the first is meant.
const SOURCES: [&str; 28] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "projected",
    "csi",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const SHORTEST_TOKEN_S: i64 = 600;
const LONGEST_TOKEN_S: i64 = 1 << 32;

pub(super) fn volumes(volumes: &[Value], field: &str, errors: &mut Vec<FieldError>) {
    for (index, volume) in volumes.iter().enumerate() {
        let at = format!("{field}[{index}]");
        let name = text(volume, &["name"]);
        let is_again = volumes[..index].iter().any(|other| text(other, &["name"]) == name);
        source(volume, &at, errors);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else if is_again {
            errors.push(FieldError::duplicate(format!("{at}.name"), &name.into()));
        } else {
            for fault in check_label(name) {
                errors.push(FieldError::invalid(format!("{at}.name"), &name.into(), fault));
            }
        }
    }
}

fn source(volume: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut found = SOURCES
        .into_iter()
        .filter_map(|kind| Some((kind, volume.get(kind)?)))
        .filter(|(_, found)| found.is_object());
    let Some((kind, source)) = found.next() else {
        errors.push(FieldError::required(field, "must specify a volume type"));
        return;
    };
    for (other, _) in found {
        let why = "may not specify more than 1 volume type";
        errors.push(FieldError::forbidden(format!("{field}.{other}"), why));
    }
    let field = format!("{field}.{kind}");
    let required = |key: &str, errors: &mut Vec<FieldError>| {
        let is_missing = text(source, &[key]).is_empty();
        if is_missing {
            errors.push(FieldError::required(format!("{field}.{key}"), ""));
        }
        !is_missing
    };
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit").and_then(Value::as_str).and_then(quantity::nanos);
            if limit.is_some_and(|limit| limit < 0) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.push(FieldError::forbidden(format!("{field}.sizeLimit"), why));
            }
        }
        "hostPath" => host_path(source, &field, errors),
        "secret" | "configMap" => {
            required(if kind == "secret" { "secretName" } else { "name" }, errors);
            mode(source, "defaultMode", &field, errors);
            items(source, &field, errors);
        }
        "persistentVolumeClaim" => {
            required("claimName", errors);
        }
        "nfs" => {
            required("server", errors);
            required("path", errors);
            let path = text(source, &["path"]);
            if !path.starts_with('/') {
                let why = "must be an absolute path";
                errors.push(FieldError::invalid(format!("{field}.path"), &path.into(), why));
            }
        }
        "csi" => {
            required("driver", errors);
        }
        "downwardAPI" => {
            mode(source, "defaultMode", &field, errors);
            for file in list(source, &["items"]) {
                downward_file(file, &field, errors);
            }
        }
        "projected" => {
            mode(source, "defaultMode", &field, errors);
            projected(source, &field, errors);
        }
        _ => {}
    }
}

fn host_path(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let (path, kind) = (text(source, &["path"]), text(source, &["type"]));
    if path.is_empty() {
        errors.push(FieldError::required(format!("{field}.path"), ""));
        return;
    }
    no_steps_back(path, &format!("{field}.path"), errors);
    if !HOST_PATH_TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(format!("{field}.type"), &kind.into(), &HOST_PATH_TYPES));
    }
}

fn projected(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut paths: Vec<&str> = Vec::new();
    for (index, part) in list(source, &["sources"]).iter().enumerate() {
        let at_part = format!("{field}.sources[{index}]");
        let mut count = 0;
        for kind in ["secret", "configMap"] {
            let Some(found) = part.get(kind).filter(|found| found.is_object()) else { continue };
            count += 1;
            let name = text(found, &["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(format!("{at_part}.{kind}.name"), ""));
            }
            items(found, &format!("{at_part}.{kind}"), errors);
            for item in list(found, &["items"]) {
                claim_path(text(item, &["path"]), name, &mut paths, field, errors);
            }
        }
        if let Some(found) = part.get("downwardAPI").filter(|found| found.is_object()) {
            count += 1;
            for file in list(found, &["items"]) {
                downward_file(file, &format!("{at_part}.downwardAPI"), errors);
                let path = text(file, &["path"]);
                claim_path(path, path, &mut paths, field, errors);
            }
        }
        if let Some(token) = part.get("serviceAccountToken").filter(|found| found.is_object()) {
            count += 1;
            service_account_token(token, &format!("{at_part}.serviceAccountToken"), field, errors);
        }
        if part.get("clusterTrustBundle").is_some() {
            count += 1;
        }
        if count > 1 {
            let why = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(at_part, why));
        }
    }
}

/// Two parts of a projected volume can't write the same file.
fn claim_path<'a>(
    path: &'a str,
    culprit: &str,
    paths: &mut Vec<&'a str>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    if path.is_empty() {
        return;
    }
    if paths.contains(&path) {
        errors.push(FieldError::invalid(field, &culprit.into(), "conflicting duplicate paths"));
    } else {
        paths.push(path);
    }
}

fn service_account_token(token: &Value, field: &str, volume: &str, errors: &mut Vec<FieldError>) {
    let seconds = integer(token, &["expirationSeconds"]).unwrap_or_default();
    let mut too = |why: &str| {
        errors.push(FieldError::invalid(format!("{field}.expirationSeconds"), &seconds.into(), why));
    };
    if seconds < SHORTEST_TOKEN_S {
        too("may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST_TOKEN_S {
        too("may not specify a duration larger than 2^32 seconds");
    }
    // The real server names the volume here, not its part.
    match text(token, &["path"]) {
        "" => errors.push(FieldError::required(format!("{volume}.path"), "")),
        path => local_path(path, &format!("{volume}.path"), errors),
    }
}

fn downward_file(file: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let path = text(file, &["path"]);
    if path.is_empty() {
        errors.push(FieldError::required(format!("{field}.path"), ""));
    }
    local_path(path, &format!("{field}.path"), errors);
    match (file.get("fieldRef"), file.get("resourceFieldRef")) {
        (Some(reference), other) => {
            pod_field(reference, &FILE_FIELDS, &format!("{field}.fieldRef"), errors);
            if other.is_some() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(field, &"resource".into(), why));
            }
        }
        (None, Some(reference)) => {
            resource_field(reference, true, &format!("{field}.resourceFieldRef"), errors);
        }
        (None, None) => {
            errors.push(FieldError::required(field, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    mode(file, "mode", field, errors);
}

/// The keys of a ConfigMap or Secret that become files.
fn items(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in list(source, &["items"]).iter().enumerate() {
        let field = format!("{field}.items[{index}]");
        for required in ["key", "path"] {
            if text(item, &[required]).is_empty() {
                errors.push(FieldError::required(format!("{field}.{required}"), ""));
            }
        }
        local_path(text(item, &["path"]), &format!("{field}.path"), errors);
        mode(item, "mode", &field, errors);
    }
}

fn mode(holder: &Value, key: &str, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(mode) = integer(holder, &[key]).filter(|mode| !(0..=0o777).contains(mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(FieldError::invalid(format!("{field}.{key}"), &mode.into(), why));
    }
}

/// A path below a folder that does not begin like the files that the node keeps there for itself.
fn local_path(path: &str, field: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    descending_path(path, field, errors);
    if errors.len() == before && path.starts_with("..") && !path.starts_with("../") {
        errors.push(FieldError::invalid(field, &path.into(), "must not start with '..'"));
    }
}

fn descending_path(path: &str, field: &str, errors: &mut Vec<FieldError>) {
    if path.starts_with('/') {
        errors.push(FieldError::invalid(field, &path.into(), "must be a relative path"));
    }
    no_steps_back(path, field, errors);
}

fn no_steps_back(path: &str, field: &str, errors: &mut Vec<FieldError>) {
    if path.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(field, &path.into(), "must not contain '..'"));
    }
}

/// Where a container mounts the volumes of these names.
pub(super) fn mounts(container: &Value, volumes: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    let all = format!("{field}.volumeMounts");
    let mounts = list(container, &["volumeMounts"]);
    for (index, mount) in mounts.iter().enumerate() {
        let field = format!("{all}[{index}]");
        let (name, path) = (text(mount, &["name"]), text(mount, &["mountPath"]));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        }
        if !volumes.contains(&name) {
            errors.push(FieldError::not_found(format!("{field}.name"), &name.into()));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{field}.mountPath"), ""));
        }
        if mounts[..index].iter().any(|other| text(other, &["mountPath"]) == path) {
            errors.push(FieldError::invalid(format!("{field}.mountPath"), &path.into(), "must be unique"));
        }
        let (sub_path, expression) = (text(mount, &["subPath"]), text(mount, &["subPathExpr"]));
        // The real server names the list here, not the mount.
        descending_path(sub_path, &format!("{all}.subPath"), errors);
        if !expression.is_empty() {
            if !sub_path.is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.push(FieldError::invalid(format!("{field}.subPathExpr"), &expression.into(), why));
            }
            descending_path(expression, &format!("{all}.subPathExpr"), errors);
        }
        propagation(container, mount, &format!("{all}.mountPropagation"), errors);
    }
}

fn propagation(container: &Value, mount: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(found) = mount.get("mountPropagation").and_then(Value::as_str) else { return };
    let known = ["Bidirectional", "HostToContainer", "None"];
    if !known.contains(&found) {
        errors.push(FieldError::not_supported(field, &found.into(), &known));
    }
    let is_privileged = at(container, &["securityContext", "privileged"]) == Some(&Value::Bool(true));
    if found == "Bidirectional" && !is_privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(FieldError::forbidden(field, why));
    }
}
