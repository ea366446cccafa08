//! Files and folders of cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use windtunnel_scenario::reader::Reader;
use windtunnel_scenario::yaml;
use windtunnel_scenario::{Fault, Faults};

use super::{Case, decode};

/// Reads the cases of one file; `path` is used in messages.
///
/// # Errors
/// Everything that is wrong with it, each fault with its place and what to do.
pub fn read(text: &str, path: &Path) -> Result<Vec<Case>, Faults> {
    let documents = yaml::parse_all(text).map_err(|error| {
        Faults::one(Fault {
            file: path.to_owned(),
            line: error.place.line,
            column: error.place.column,
            message: format!("not readable as YAML: {}", error.message),
            hint: "check the indentation, quotes and brackets here and on the line above".to_owned(),
        })
    })?;
    let mut reader = Reader::new(path, text, &[]);
    let mut cases = Vec::new();
    if documents.is_empty() {
        reader.fault(
            yaml::Place::START,
            "no cases",
            "begin with apiVersion, kind: ConformanceCases and cases",
        );
    }
    for document in &documents {
        decode::document(&mut reader, document, &mut cases);
    }
    twice(&mut reader, &cases);
    if reader.faults.is_empty() { Ok(cases) } else { Err(Faults(reader.faults).sorted()) }
}

/// Reads every `*.yaml` file below a folder, or one file; ids must differ over all of them.
///
/// # Errors
/// Everything that is wrong with any file, or that a file or the folder cannot be read.
pub fn read_folder(path: &Path) -> Result<Vec<Case>, Faults> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    list(path, &mut files, &mut faults);
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in &files {
        match std::fs::read_to_string(file) {
            Ok(text) => match read(&text, file) {
                Ok(found) => cases.extend(found),
                Err(found) => faults.extend(found),
            },
            Err(error) => faults.push(unreadable(file, &error)),
        }
    }
    if files.is_empty() && faults.is_empty() {
        faults.push(Fault {
            file: path.to_owned(),
            line: 1,
            column: 1,
            message: "no file *.yaml below this folder".to_owned(),
            hint: "name a file or a folder of conformance cases".to_owned(),
        });
    }
    let mut known: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in &cases {
        if let Some(first) = known.insert(&case.id, case)
            && first.file != case.file
        {
            faults.push(Fault {
                file: case.file.clone(),
                line: case.line,
                column: 1,
                message: format!("the id {} is taken", case.id),
                hint: format!("{} has it; give this case another", first.position()),
            });
        }
    }
    if faults.is_empty() { Ok(cases) } else { Err(Faults(faults)) }
}

fn twice(reader: &mut Reader<'_>, cases: &[Case]) {
    let mut known: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in cases {
        if let Some(first) = known.insert(&case.id, case) {
            reader.faults.push(Fault {
                file: case.file.clone(),
                line: case.line,
                column: 1,
                message: format!("the id {} is taken", case.id),
                hint: format!("line {} has it; give this case another", first.line),
            });
        }
    }
}

fn list(path: &Path, files: &mut Vec<PathBuf>, faults: &mut Vec<Fault>) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(unreadable(path, &error));
            return;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files, faults);
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            files.push(path);
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault {
        file: path.to_owned(),
        line: 1,
        column: 1,
        message: format!("it cannot be read: {error}"),
        hint: "name a file in UTF-8 or a folder of conformance cases".to_owned(),
    }
}
