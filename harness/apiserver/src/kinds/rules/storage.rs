//! Rules for volumes, claims and storage classes.

use serde_json::{Value, json};

use super::{immutable, subdomain};
use crate::{
    kinds::quantity,
    object::{as_map, at, list, map_at, text},
    status::FieldError,
};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
/// Fields of a volume's spec that say where its data is.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub(crate) fn persistent_volume_claim(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    access_modes(new, "at least 1 access mode is required", errors);
    let key = "spec.resources[storage]";
    match at(new, &["spec", "resources", "requests", "storage"]).and_then(Value::as_str) {
        None => errors.push(FieldError::required(key, "")),
        Some(size) => positive(size, key, errors),
    }
    class_name(new, errors);
    volume_mode(new, errors);
    if let Some(old) = old {
        claim_update(new, old, errors);
    }
}

/// A claim is what its namespace's quota has counted: once made it may get a volume and a class, and grow when it is bound.
fn claim_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (mut before, mut after) = (old["spec"].clone(), new["spec"].clone());
    let mut follow = |field: &str| match after.get(field).cloned() {
        Some(value) => as_map(&mut before).insert(field.to_owned(), value),
        None => as_map(&mut before).shift_remove(field),
    };
    if text(old, &["spec", "volumeName"]).is_empty() {
        follow("volumeName");
        if old["spec"].get("storageClassName").is_none() {
            follow("storageClassName");
        }
    }
    if text(new, &["status", "phase"]) == "Bound" {
        follow("volumeAttributesClassName");
        let size = &old["spec"]["resources"]["requests"]["storage"];
        map_at(map_at(as_map(&mut after), "resources"), "requests").insert("storage".into(), size.clone());
    }
    if before != after {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
claims";
        errors.push(FieldError::forbidden("spec", why));
    }
    let size =
        |object: &Value, path: &[&str]| at(object, path).and_then(Value::as_str).and_then(quantity::nanos);
    let wanted = size(new, &["spec", "resources", "requests", "storage"]);
    if wanted < size(old, &["spec", "resources", "requests", "storage"])
        && wanted <= size(old, &["status", "capacity", "storage"])
    {
        let why = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", why));
    }
    if new["spec"]["volumeMode"] != old["spec"]["volumeMode"] {
        errors.push(FieldError::invalid("volumeMode", &new["spec"]["volumeMode"], "field is immutable"));
    }
}

pub(crate) fn persistent_volume(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    access_modes(new, "", errors);
    match at(new, &["spec", "capacity"]).and_then(Value::as_object).filter(|capacity| !capacity.is_empty()) {
        None => errors.push(FieldError::required("spec.capacity", "")),
        Some(capacity) => {
            if capacity.len() > 1 || !capacity.contains_key("storage") {
                let found = json!(capacity);
                errors.push(FieldError::not_supported("spec.capacity", &found, &["storage"]));
            }
            for (resource, size) in capacity {
                positive(size.as_str().unwrap_or_default(), &format!("spec.capacity[{resource}]"), errors);
            }
        }
    }
    let policy = text(new, &["spec", "persistentVolumeReclaimPolicy"]);
    let policies = ["Delete", "Recycle", "Retain"];
    if !policy.is_empty() && !policies.contains(&policy) {
        let field = "spec.persistentVolumeReclaimPolicy";
        errors.push(FieldError::not_supported(field, &policy.into(), &policies));
    }
    sources(new, errors);
    class_name(new, errors);
    volume_mode(new, errors);
    let Some(old) = old else { return };
    let source = |object: &Value| SOURCES.map(|source| object["spec"].get(source).cloned());
    if source(new) != source(old) {
        let why = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", why));
    }
    immutable(&["spec", "volumeMode"], new, Some(old), errors);
}

fn sources(volume: &Value, errors: &mut Vec<FieldError>) {
    let mut present = SOURCES.into_iter().filter(|source| volume["spec"][source].is_object());
    if present.next().is_none() {
        errors.push(FieldError::required("spec", "must specify a volume type"));
    }
    for other in present {
        let why = "may not specify more than 1 volume type";
        errors.push(FieldError::forbidden(format!("spec.{other}"), why));
    }
    for source in ["hostPath", "local"] {
        if !volume["spec"][source].is_object() {
            continue;
        }
        let path = text(volume, &["spec", source, "path"]);
        let field = format!("spec.{source}.path");
        if path.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if path.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(field, &path.into(), "must not contain '..'"));
        }
    }
    if volume["spec"]["local"].is_object() && !volume["spec"]["nodeAffinity"].is_object() {
        errors.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
    }
    let recycled = text(volume, &["spec", "persistentVolumeReclaimPolicy"]) == "Recycle";
    if recycled && text(volume, &["spec", "hostPath", "path"]) == "/" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(FieldError::forbidden("spec.persistentVolumeReclaimPolicy", why));
    }
}

pub(crate) fn storage_class(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let provisioner = text(new, &["provisioner"]);
    if provisioner.is_empty() {
        errors.push(FieldError::required("provisioner", ""));
    } else {
        for fault in crate::kinds::names::qualified_name_faults(&provisioner.to_lowercase()) {
            errors.push(FieldError::invalid("provisioner", &provisioner.into(), &fault));
        }
    }
    for (field, known) in [
        ("reclaimPolicy", &["Delete", "Retain"]),
        ("volumeBindingMode", &["Immediate", "WaitForFirstConsumer"]),
    ] {
        let found = text(new, &[field]);
        if !known.contains(&found) {
            errors.push(FieldError::not_supported(field, &found.into(), known));
        }
    }
    let Some(old) = old else { return };
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if new.get(field) != old.get(field) {
            errors.push(FieldError::forbidden(field, &format!("updates to {field} are forbidden.")));
        }
    }
    immutable(&["volumeBindingMode"], new, Some(old), errors);
}

fn access_modes(object: &Value, why_required: &str, errors: &mut Vec<FieldError>) {
    let modes = list(object, &["spec", "accessModes"]);
    if modes.is_empty() {
        errors.push(FieldError::required("spec.accessModes", why_required));
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.iter().any(|known| *mode == known)) {
        errors.push(FieldError::not_supported("spec.accessModes", mode, &ACCESS_MODES));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden("spec.accessModes", why));
    }
}

fn positive(size: &str, field: &str, errors: &mut Vec<FieldError>) {
    if quantity::nanos(size).is_some_and(|nanos| nanos <= 0) {
        errors.push(FieldError::invalid(field, &size.into(), "must be greater than zero"));
    }
}

fn class_name(object: &Value, errors: &mut Vec<FieldError>) {
    subdomain(text(object, &["spec", "storageClassName"]), "spec.storageClassName", errors);
}

fn volume_mode(object: &Value, errors: &mut Vec<FieldError>) {
    let mode = text(object, &["spec", "volumeMode"]);
    if !mode.is_empty() && !VOLUME_MODES.contains(&mode) {
        errors.push(FieldError::not_supported("spec.volumeMode", &mode.into(), &VOLUME_MODES));
    }
}
