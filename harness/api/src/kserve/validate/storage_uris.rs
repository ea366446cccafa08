//! Rules of the list `storageUris`.

use std::collections::BTreeSet;

use super::super::component::StorageUri;
use super::super::inference_service::InferenceService;
use super::super::names::MODEL_MOUNT_PATH;
use crate::Fields;
use crate::pod_fields::{raw_containers, raw_environment};

pub(super) fn check(service: &InferenceService) -> Result<(), String> {
    let spec = &service.spec;
    if let Some(transformer) = &spec.transformer {
        one_way(custom_storage_uri(&transformer.pod), transformer.storage_uris.as_deref())?;
    }
    if let Some(explainer) = &spec.explainer {
        let art = explainer.art.as_ref().and_then(|art| art["storageUri"].as_str());
        let single = art.filter(|uri| !uri.is_empty()).or_else(|| custom_storage_uri(&explainer.pod));
        one_way(single, explainer.storage_uris.as_deref())?;
    }
    one_way(spec.predictor.storage_uri(), spec.predictor.storage_uris.as_deref())
}

fn custom_storage_uri(pod: &Fields) -> Option<&str> {
    raw_environment(raw_containers(pod, "containers").next()?)
        .find_map(|(name, value)| if name == "STORAGE_URI" { value } else { None })
}

fn one_way(single: Option<&str>, list: Option<&[StorageUri]>) -> Result<(), String> {
    if single.is_some() && list.is_some() {
        return Err("Setting both StorageURI and StorageURIs is not supported.".to_owned());
    }
    let list = list.unwrap_or_default();
    let (mut claims, mut folders) = (Vec::new(), Vec::new());
    for entry in list {
        let path = entry.mount_path.as_deref().unwrap_or(MODEL_MOUNT_PATH);
        if entry.uri.is_empty() {
            return Err("storage URI cannot be empty".to_owned());
        }
        if path == "/" {
            return Err("storage path cannot be empty".to_owned());
        }
        if !path.starts_with('/') {
            return Err(format!("storage path must be absolute: {path}"));
        }
        if path.contains("..") {
            return Err(format!("storage path cannot contain '..' for security reasons: {path}"));
        }
        if entry.uri.starts_with("pvc://") { claims.push(path) } else { folders.push(path) }
    }
    // Upstream checks claims only beside two or more other sources; two claims in one place never work.
    if claims.iter().collect::<BTreeSet<_>>().len() < claims.len() {
        return Err("PVC storage paths must be unique".to_owned());
    }
    if folders.len() > 1 && common_parent(&folders) == "/" {
        return Err(format!(
            "storage paths must have a common parent directory. Current paths: [{}] have no common parent beyond root",
            folders.join(" ")
        ));
    }
    Ok(())
}

/// The deepest folder that all paths are in (or are).
pub(in super::super) fn common_parent(paths: &[&str]) -> String {
    let mut common: Option<Vec<&str>> = None;
    for path in paths {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        common = Some(match common {
            None => parts,
            Some(old) => old.into_iter().zip(parts).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    format!("/{}", common.unwrap_or_default().join("/"))
}
