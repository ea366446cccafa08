//! Storage URIs to local paths.

use std::{
    env,
    path::{Component, Path, PathBuf},
};

use super::StorageError;

/// Environment variable with the map of a pod.
const VARIABLE: &str = "WINDTUNNEL_STORAGE_MAP";

/// Storage that is local in truth: URI prefixes and the folders that stand for them. Of several that match, the
/// longest prefix wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageMap {
    entries: Vec<(String, PathBuf)>,
}

/// A model in local storage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Nothing outside is read. `None`: the path itself is the limit.
    pub(super) root: Option<PathBuf>,
}

impl StorageMap {
    /// Reads `PREFIX=FOLDER;PREFIX=FOLDER`. An empty text is an empty map.
    ///
    /// # Errors
    /// [`StorageError::Map`] for an entry without `=` or with an empty side.
    pub fn parse(text: &str) -> Result<Self, StorageError> {
        let entries = text
            .split(';')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| match entry.split_once('=') {
                Some((prefix, folder)) if !prefix.is_empty() && !folder.is_empty() => {
                    Ok((prefix.to_owned(), PathBuf::from(folder)))
                }
                _ => Err(StorageError::Map { entry: entry.to_owned() }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// The map of this process: `WINDTUNNEL_STORAGE_MAP`.
    ///
    /// # Errors
    /// As [`StorageMap::parse`].
    pub fn from_environment() -> Result<Self, StorageError> {
        Self::parse(&env::var(VARIABLE).unwrap_or_default())
    }

    /// Where the model of a URI is.
    pub(super) fn resolve(&self, uri: &str) -> Result<Source, StorageError> {
        if let Some((name, folder)) = self.mapped(uri) {
            let name = name.trim_matches('/');
            if !is_inside(name) {
                return Err(StorageError::Traversal { uri: uri.to_owned() });
            }
            let path = folder.join(name);
            if !path.exists() {
                return Err(StorageError::NoModel { uri: uri.to_owned(), name: name.to_owned(), path });
            }
            return Ok(Source { path, root: Some(folder.to_owned()) });
        }
        let path = match uri.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Path::new(path),
            Some(("file", _)) => return Err(StorageError::RelativeFile { uri: uri.to_owned() }),
            None if uri.starts_with('/') => Path::new(uri),
            _ => return Err(StorageError::Unrecognized { uri: uri.to_owned(), mapped: self.prefixes() }),
        };
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(StorageError::Traversal { uri: uri.to_owned() });
        }
        if !path.exists() {
            return Err(StorageError::NoLocalPath { uri: uri.to_owned() });
        }
        Ok(Source { path: path.to_owned(), root: None })
    }

    /// The rest of the URI and the folder of the longest prefix that it has. A prefix ends where a name ends:
    /// `s3://models/iris` is none of `s3://models/iris2`.
    fn mapped<'a>(&'a self, uri: &'a str) -> Option<(&'a str, &'a Path)> {
        self.entries
            .iter()
            .filter_map(|(prefix, folder)| {
                let rest = uri.strip_prefix(&**prefix)?;
                let whole = prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/');
                whole.then_some((prefix.len(), rest, &**folder))
            })
            .max_by_key(|(length, _, _)| *length)
            .map(|(_, rest, folder)| (rest, folder))
    }

    fn prefixes(&self) -> String {
        if self.entries.is_empty() {
            return String::new();
        }
        let prefixes: Vec<&str> = self.entries.iter().map(|(prefix, _)| &**prefix).collect();
        format!(" (mapped are {})", prefixes.join(", "))
    }
}

fn is_inside(name: &str) -> bool {
    Path::new(name)
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}
