//! The little that a scenario must know about its manifests: which objects they hold.
//!
//! What the objects say is checked by those who understand it.

use std::path::PathBuf;

use crate::fault::Fault;
use crate::yaml::{self, Value};

/// Kinds and names of the objects in a set of manifests.
pub(crate) struct Manifests {
    objects: Vec<(String, String)>,
    complete: bool,
}

impl Manifests {
    /// Nothing is known, so nothing can be said to be missing.
    pub(crate) fn unknown() -> Self {
        Self { objects: Vec::new(), complete: false }
    }

    /// Reads the files; those that are not YAML become faults at their own places.
    pub(crate) fn read(paths: &[PathBuf], faults: &mut Vec<Fault>) -> Self {
        let mut manifests = Self { objects: Vec::new(), complete: true };
        for path in paths {
            let fault = |line, column, message: String, hint: &str| Fault {
                file: path.clone(),
                line,
                column,
                message,
                hint: hint.to_owned(),
            };
            let documents = match std::fs::read_to_string(path) {
                Ok(text) => yaml::parse_all(&text).map_err(|error| {
                    let message = format!("not readable as YAML: {}", error.message);
                    let hint = "check the indentation, quotes and brackets here and on the line above";
                    fault(error.place.line, error.place.column, message, hint)
                }),
                Err(error) => Err(fault(
                    1,
                    1,
                    format!("the manifest cannot be read: {error}"),
                    "give a text file in UTF-8",
                )),
            };
            match documents {
                Ok(documents) => manifests.objects.extend(documents.iter().filter_map(object)),
                Err(fault) => {
                    faults.push(fault);
                    manifests.complete = false;
                }
            }
        }
        manifests
    }

    /// Whether every file could be read.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// The names of all objects of a kind, in the order of the files.
    pub(crate) fn names_of(&self, kind: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in self.objects.iter().filter(|(held, _)| held == kind) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The kinds of all objects, each once.
    pub(crate) fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = Vec::new();
        for (kind, _) in &self.objects {
            if !kinds.contains(&kind.as_str()) {
                kinds.push(kind);
            }
        }
        kinds
    }
}

fn object(document: &yaml::Node) -> Option<(String, String)> {
    let text = |node: Option<&yaml::Node>| match &node?.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    Some((text(document.get("kind"))?, text(document.get("metadata")?.get("name"))?))
}
