//! Kubernetes manifests from YAML text, with the place of every fault.

mod check;
mod located;
mod possible;
mod suggest;

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::kserve::InferenceService;
use located::{Located, Position};

pub use possible::impossible;

/// One document of a manifest file.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// For example `serving.kserve.io/v1beta1`.
    pub api_version: String,
    /// For example `InferenceService`.
    pub kind: String,
    /// `metadata.name`, or the empty string.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// Line of the document's first key, from 1.
    pub line: usize,
    /// The whole object.
    pub value: Value,
    typed: Option<InferenceService>,
}

impl Manifest {
    /// The object as an InferenceService, if it is one.
    #[must_use]
    pub fn inference_service(&self) -> Option<&InferenceService> {
        self.typed.as_ref()
    }
}

/// A fault in a manifest file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFault {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong, with the field's path.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Parses every document of a manifest file. InferenceServices are checked field by field: unknown fields
/// and values of the wrong type are refused, with a suggestion where a known name is near. Other kinds are
/// taken as they are.
///
/// # Errors
/// All faults of the file: one if it is not YAML, else one a fault.
pub fn parse(text: &str, path: &str) -> Result<Vec<Manifest>, Vec<ManifestFault>> {
    let documents = located::documents(text).map_err(|(position, message)| {
        vec![fault(path, position, message, Some("the file must be valid YAML".to_owned()))]
    })?;
    let mut manifests = Vec::with_capacity(documents.len());
    let mut faults = Vec::new();
    for document in &documents {
        match manifest(document, path) {
            Ok(Some(manifest)) => manifests.push(manifest),
            Ok(None) => {}
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() { Ok(manifests) } else { Err(faults) }
}

/// Like [`parse`], and refuses values that can never work as well (see [`impossible`]): what a tool asks that is going to
/// use the manifests.
///
/// # Errors
/// All faults of form of the file; where there are none, all of value.
pub fn read(text: &str, path: &str) -> Result<Vec<Manifest>, Vec<ManifestFault>> {
    let manifests = parse(text, path)?;
    let faults: Vec<_> = manifests.iter().flat_map(|manifest| impossible(manifest, text, path)).collect();
    if faults.is_empty() { Ok(manifests) } else { Err(faults) }
}

fn fault(path: &str, position: Position, message: String, hint: Option<String>) -> ManifestFault {
    ManifestFault { file: path.to_owned(), line: position.line, column: position.column, message, hint }
}

fn manifest(document: &Located, path: &str) -> Result<Option<Manifest>, Vec<ManifestFault>> {
    let value = document.to_value();
    if value.is_null() {
        return Ok(None);
    }
    let at = |path_in: &[&str]| document.find(path_in).map_or(document.position, |found| found.position);
    let text = |path_in: &[&str]| document.find(path_in).and_then(Located::as_str).map(str::to_owned);
    let mut faults = Vec::new();
    if document.as_map().is_none() {
        let hint = Some("a manifest starts with apiVersion and kind".to_owned());
        return Err(vec![fault(path, document.position, "a manifest must be a mapping".to_owned(), hint)]);
    }
    let mut required = |path_in: &[&str]| {
        text(path_in).filter(|text| !text.is_empty()).unwrap_or_else(|| {
            let message = format!("{} is missing or not a string", path_in.join("."));
            let hint = Some("every Kubernetes object has apiVersion, kind and metadata.name".to_owned());
            faults.push(fault(path, at(path_in), message, hint));
            String::new()
        })
    };
    let api_version = required(&["apiVersion"]);
    let kind = required(&["kind"]);
    let name = if text(&["metadata", "generateName"]).is_some() {
        text(&["metadata", "name"]).unwrap_or_default()
    } else {
        required(&["metadata", "name"])
    };

    let mut typed = None;
    if kind == "InferenceService" && api_version.starts_with("serving.kserve.io/") {
        if api_version == "serving.kserve.io/v1beta1" {
            faults.extend(
                check::inference_service(document)
                    .into_iter()
                    .map(|found| fault(path, found.position, found.message, found.hint)),
            );
            if faults.is_empty() {
                match InferenceService::deserialize(&value) {
                    Ok(service) => typed = Some(service),
                    Err(error) => faults.push(fault(path, document.position, error.to_string(), None)),
                }
            }
        } else {
            let message = format!("apiVersion {api_version:?} has no InferenceService");
            let hint = Some("use serving.kserve.io/v1beta1".to_owned());
            faults.push(fault(path, at(&["apiVersion"]), message, hint));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let namespace = text(&["metadata", "namespace"]);
    Ok(Some(Manifest { api_version, kind, name, namespace, line: document.position.line, value, typed }))
}
