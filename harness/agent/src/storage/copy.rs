//! Copying a model: beside its place first, then into it by renaming.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{StorageError, map::Source};

/// Deepest nesting of folders in a model.
const MAX_DEPTH: u32 = 32;
/// Most files and folders in a model.
const MAX_ENTRIES: u64 = 100_000;

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Copies the source's contents (or the single file that it is) into the folder `destination`.
pub(super) fn into(source: &Source, destination: &Path) -> Result<Copied, StorageError> {
    let limit = source.root.as_deref().unwrap_or(&source.path);
    let root = fs::canonicalize(limit).map_err(failed(limit, "read"))?;
    let path = fs::canonicalize(&source.path).map_err(failed(&source.path, "read"))?;
    if !path.starts_with(&root) {
        return Err(StorageError::LinkOutside { link: source.path.clone(), root });
    }
    fs::create_dir_all(destination).map_err(failed(destination, "make this folder"))?;
    // On the destination's own file system, so that the last step is a rename. Removed when this returns.
    let staging = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(destination)
        .map_err(failed(destination, "write into this folder"))?;

    let mut walk = Walk { root, copied: Copied::default(), entries: 0 };
    if path.is_dir() {
        walk.folder(&path, staging.path(), 0)?;
    } else {
        // Under the name that was asked for, not that of a link's target.
        let Some(name) = source.path.file_name() else { return Err(StorageError::NotAFile(path)) };
        walk.entry(&path, &source.path, &staging.path().join(name), 0)?;
    }
    if walk.copied.files == 0 {
        return Err(StorageError::NoModel {
            uri: source.path.display().to_string(),
            name: source.path.display().to_string(),
            path: source.path.clone(),
        });
    }
    for entry in list(staging.path())? {
        let Some(name) = entry.file_name() else { continue };
        let place = destination.join(name);
        if place.is_dir() && !place.is_symlink() {
            fs::remove_dir_all(&place).map_err(failed(&place, "replace this folder"))?;
        }
        fs::rename(&entry, &place).map_err(failed(&place, "write this"))?;
    }
    Ok(walk.copied)
}

struct Walk {
    root: PathBuf,
    copied: Copied,
    entries: u64,
}

impl Walk {
    fn folder(&mut self, from: &Path, to: &Path, depth: u32) -> Result<(), StorageError> {
        if depth > MAX_DEPTH {
            let what = format!("folders are nested deeper than {MAX_DEPTH}");
            return Err(StorageError::TooMuch { path: from.to_owned(), what });
        }
        for entry in list(from)? {
            let Some(name) = entry.file_name() else { continue };
            let real = fs::canonicalize(&entry).map_err(failed(&entry, "read"))?;
            if !real.starts_with(&self.root) {
                return Err(StorageError::LinkOutside { link: entry, root: self.root.clone() });
            }
            self.entry(&real, &entry, &to.join(name), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, real: &Path, named: &Path, to: &Path, depth: u32) -> Result<(), StorageError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let what = format!("more than {MAX_ENTRIES} files and folders");
            return Err(StorageError::TooMuch { path: named.to_owned(), what });
        }
        let kind = fs::metadata(real).map_err(failed(real, "read"))?.file_type();
        if kind.is_dir() {
            fs::create_dir(to).map_err(failed(to, "make this folder"))?;
            self.folder(real, to, depth + 1)
        } else if kind.is_file() {
            self.copied.bytes += fs::copy(real, to).map_err(failed(named, "copy this file"))?;
            self.copied.files += 1;
            Ok(())
        } else {
            Err(StorageError::NotAFile(named.to_owned()))
        }
    }
}

/// Entries in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        })
        .map_err(failed(folder, "read this folder"))?;
    entries.sort();
    Ok(entries)
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError::Io { path: path.to_owned(), what, source }
}
