//! The storage initializer.
//!
//! The contents of a folder land in the destination, a single file lands in it under its own name, as KServe's
//! initializer does. Files appear whole or not at all: they are copied beside their place and renamed into it. A
//! symbolic link is followed as long as it stays inside the storage that it is in; nothing outside is ever read.

mod copy;
mod map;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Serialize;
use thiserror::Error;

pub use map::StorageMap;

/// Why a model could not be fetched. The first sentence is KServe's where KServe has one.
#[derive(Debug, Error)]
pub enum StorageError {
    /// No storage answers to the URI.
    #[error(
        "Cannot recognize storage type for {uri}; map it to a local folder under the scenario's `storage` (WINDTUNNEL_STORAGE_MAP){mapped}, or use file:// or an absolute path"
    )]
    Unrecognized {
        /// The URI.
        uri: String,
        /// The prefixes that are mapped, as a clause.
        mapped: String,
    },
    /// The storage is there and has no such model.
    #[error("Failed to fetch model. No model found in {name}. It would be in {path}; check the storageUri {uri}", path = path.display())]
    NoModel {
        /// The URI.
        uri: String,
        /// The part of it after the storage's own name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The local path does not exist.
    #[error(
        "Local path {uri} does not exist. Check the storageUri; it is a path on the machine that runs the pod"
    )]
    NoLocalPath {
        /// The URI.
        uri: String,
    },
    /// The URI would lead out of its storage.
    #[error("{uri}: \"..\" is not allowed in a storage URI; name the model's own folder")]
    Traversal {
        /// The URI.
        uri: String,
    },
    /// The URI is malformed.
    #[error("{uri}: expected an absolute path after file://, such as file:///models/digits")]
    RelativeFile {
        /// The URI.
        uri: String,
    },
    /// A symbolic link leads out of its storage.
    #[error("{link}: this link leads out of {root}; put the file itself there", link = link.display(), root = root.display())]
    LinkOutside {
        /// The link.
        link: PathBuf,
        /// The folder that it must stay in.
        root: PathBuf,
    },
    /// A pipe, a socket or a device.
    #[error("{path}: neither a file nor a folder; remove it from the model", path = .0.display())]
    NotAFile(PathBuf),
    /// Too many files, or folders nested too deeply.
    #[error("{path}: {what}; is it a model's folder? Check the storageUri", path = path.display())]
    TooMuch {
        /// Where it was noticed.
        path: PathBuf,
        /// Of what.
        what: String,
    },
    /// Reading or writing failed.
    #[error("{path}: cannot {what}: {source}; check permissions and free space", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The map is malformed.
    #[error(
        "storage map entry \"{entry}\": expected PREFIX=FOLDER, such as s3://models/=/srv/models; entries are separated by \";\""
    )]
    Map {
        /// The entry.
        entry: String,
    },
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// One entry a URI, in the order given.
    pub models: Vec<FetchedModel>,
}

/// One fetched model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedModel {
    /// The URI that it came from.
    pub uri: String,
    /// The folder that it is in now.
    pub destination: PathBuf,
    /// Number of files.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, model) in self.models.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let FetchedModel { uri, destination, files, bytes, took } = model;
            let plural = if *files == 1 { "file" } else { "files" };
            write!(f, "{uri} -> {}: {files} {plural}, {bytes} bytes, {took:.1?}", destination.display())?;
        }
        Ok(())
    }
}

/// Copies each model into its folder, which is made if need be. A model that is there already is replaced.
///
/// # Errors
/// [`StorageError`] for the first model that cannot be fetched; of that one nothing is left behind, those before it
/// stay.
pub fn initialize(models: &[(String, PathBuf)], map: &StorageMap) -> Result<Fetched, StorageError> {
    let models =
        models.iter().map(|(uri, destination)| fetch(uri, destination, map)).collect::<Result<_, _>>()?;
    Ok(Fetched { models })
}

fn fetch(uri: &str, destination: &Path, map: &StorageMap) -> Result<FetchedModel, StorageError> {
    let started = Instant::now();
    let source = map.resolve(uri)?;
    tracing::info!(uri, from = %source.path.display(), to = %destination.display(), "fetching model");
    let copied = copy::into(&source, destination)?;
    Ok(FetchedModel {
        uri: uri.to_owned(),
        destination: destination.to_owned(),
        files: copied.files,
        bytes: copied.bytes,
        took: started.elapsed(),
    })
}
