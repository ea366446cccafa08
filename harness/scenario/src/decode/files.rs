//! Files that a scenario names: they must exist, relative to the scenario's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::reader::Reader;
use crate::suggest;
use crate::yaml::{Node, Place, Value};

/// How many names of a folder are looked at for a suggestion.
const MAX_NAMES: usize = 1_000;

pub(super) fn manifests(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<PathBuf>> {
    let items = reader.list(node, "spec.manifests")?;
    if items.is_empty() {
        reader.fault(
            node.place,
            "spec.manifests is empty",
            "name at least one file with an InferenceService, such as [inferenceservice.yaml]",
        );
        return None;
    }
    let mut paths = Vec::new();
    let mut sound = true;
    for (index, item) in items.iter().enumerate() {
        match file(reader, item, &format!("spec.manifests[{index}]"), "inferenceservice.yaml") {
            Some(path) => paths.push(path),
            None => sound = false,
        }
    }
    sound.then_some(paths)
}

pub(super) fn storage(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeMap<String, PathBuf>> {
    let Value::Map(entries) = &node.value else {
        reader.fault(
            node.place,
            format!("spec.storage is {}, not a mapping", node.describe()),
            "write a storage URI prefix and a folder, such as {\"s3://models/\": models/}",
        );
        return None;
    };
    // The keys are the user's own; this finds repeated ones.
    reader.fields(node, "spec.storage")?;
    let mut storage = BTreeMap::new();
    let mut sound = true;
    for entry in entries {
        let path = format!("spec.storage[\"{}\"]", entry.key.escape_debug());
        if !entry.key.contains("://") {
            reader.fault(
                entry.place,
                format!("\"{}\" is not the beginning of a storage URI", entry.key.escape_debug()),
                "write a prefix such as s3://models/",
            );
            sound = false;
        }
        let folder = reader
            .text(&entry.node, &path, "../fixtures/models/")
            .map(|text| resolve(reader.file, text))
            .filter(|folder| exists(reader, entry.node.place, &path, folder, Path::is_dir, "folder"));
        match folder {
            Some(folder) => drop(storage.insert(entry.key.clone(), folder)),
            None => sound = false,
        }
    }
    sound.then_some(storage)
}

/// A file that must exist.
pub(super) fn file(reader: &mut Reader<'_>, node: &Node, path: &str, example: &str) -> Option<PathBuf> {
    let named = resolve(reader.file, reader.text(node, path, example)?);
    exists(reader, node.place, path, &named, Path::is_file, "file").then_some(named)
}

/// A path as the scenario means it: relative to the scenario's folder, nothing expanded.
pub(super) fn resolve(scenario: &Path, text: &str) -> PathBuf {
    scenario.parent().unwrap_or(Path::new("")).join(text)
}

fn exists(
    reader: &mut Reader<'_>,
    place: Place,
    path: &str,
    named: &Path,
    right: fn(&Path) -> bool,
    what: &str,
) -> bool {
    if right(named) {
        return true;
    }
    let message = if named.exists() {
        format!("{path}: {} is not a {what}", named.display())
    } else {
        format!("{path}: {} does not exist", named.display())
    };
    let hint = sibling(named).map_or_else(
        || {
            "paths are relative to the folder of the scenario; environment variables are not expanded"
                .to_owned()
        },
        |name| format!("did you mean \"{name}\" in the same folder?"),
    );
    reader.fault(place, message, hint);
    false
}

/// The name in the same folder that is nearest to a missing one.
fn sibling(missing: &Path) -> Option<String> {
    let folder = missing.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = missing.file_name()?.to_str()?;
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .take(MAX_NAMES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    // Folders have no order of their own; a message should not depend on the machine.
    names.sort();
    let near = suggest::nearest(name, names.iter().map(String::as_str));
    near.first().filter(|near| **near != name).map(|near| (*near).to_owned())
}
