//! The folder that keeps a server's state: one embedded store, written in groups and on disk before anybody hears of it.
//!
//! The state in memory is what requests see; the [`Writer`] follows it. Whatever a request has seen or written is
//! answered only when the disk has it, so that a crash takes back nothing that a client knows: no write, and no
//! revision that another client has read. The store is one redb file: a B-tree that is never changed in place, whose
//! commits are atomic and end with a sync.

mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

pub(crate) use tables::Keys;
pub(crate) use writer::Writer;

use crate::store::{Batch, Store};

/// The store's file.
const FILE: &str = "apiserver.redb";
/// The store's file until all that a server needs is in it.
const NEW_FILE: &str = "apiserver.redb.new";
/// Locked while a server uses the folder.
const LOCK: &str = "lock";
/// Memory for pages of the file; objects are in memory anyway.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The folder or a file in it can't be made, read or locked.
    #[error("data directory: {path}: {source}; choose a folder that you may write to")]
    Directory {
        /// The folder or file at fault.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server has it open.
    #[error(
        "data directory {path} is in use by a running cluster; stop that one or choose another directory"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is damaged, or no store of ours.
    #[error(
        "data directory: {path} cannot be read: {reason}; restore a copy of it, or choose another directory"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file could not be written.
    #[error("data directory: {path} cannot be written: {reason}; is the disk full?")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// An open folder.
pub(crate) struct Folder {
    path: PathBuf,
    database: Database,
    is_new: bool,
    lock: File,
}

impl Folder {
    /// Opens or makes a folder. A new one counts from [`Folder::begin`] on; until then a crash leaves nothing behind
    /// that the next start would trip over.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let at_fault = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| StorageError::Directory { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at_fault(path))?;
        let path = fs::canonicalize(path).map_err(at_fault(path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(at_fault(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StorageError::InUse { path }),
            Err(fs::TryLockError::Error(error)) => return Err(at_fault(&lock_path)(error)),
        }
        let is_new = !path.join(FILE).exists();
        let file_path = path.join(if is_new { NEW_FILE } else { FILE });
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(is_new)
            .truncate(is_new)
            .mode(0o600)
            .open(&file_path)
            .map_err(at_fault(&file_path))?;
        let backend = FileBackend::new(file).map_err(|error| unreadable(&path, &error))?;
        let database = open(backend).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StorageError::InUse { path: path.clone() },
            error => unreadable(&path, &error),
        })?;
        Ok(Self { path, database, is_new, lock })
    }

    /// The state that the folder keeps; `None` for a new one.
    pub(crate) fn load(&self, log_capacity: usize) -> Result<Option<(Store, Keys)>, StorageError> {
        if self.is_new {
            return Ok(None);
        }
        let unreadable = |error: tables::Error| unreadable(&self.path, &error);
        tables::load(&self.database, log_capacity).map(Some).map_err(unreadable)
    }

    /// Stores the first changes since the folder was opened, and for a new folder the keys, which makes it count.
    pub(crate) fn begin(&mut self, keys: &Keys, batch: &Batch) -> Result<(), StorageError> {
        let unwritable = |reason: String| StorageError::Unwritable { path: self.path.join(FILE), reason };
        let keys = self.is_new.then_some(keys);
        tables::write(&self.database, keys, [batch]).map_err(|error| unwritable(error.to_string()))?;
        if self.is_new {
            fs::rename(self.path.join(NEW_FILE), self.path.join(FILE))
                .and_then(|()| File::open(&self.path)?.sync_all())
                .map_err(|error| unwritable(error.to_string()))?;
            self.is_new = false;
        }
        Ok(())
    }
}

impl Folder {
    /// Hands the folder to the thread that writes; see [`Writer`].
    pub(crate) fn follow(
        self,
        revision: u64,
        announce: impl Fn(&[Batch]) + Send + 'static,
    ) -> Result<Writer, StorageError> {
        let path = self.path.clone();
        Writer::start(self, revision, announce).map_err(|source| StorageError::Directory { path, source })
    }

    /// The file has been read, and what is in it makes no sense.
    pub(crate) fn unreadable(&self, error: &dyn std::fmt::Display) -> StorageError {
        unreadable(&self.path, error)
    }
}

fn open(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    // Every page is looked at, so that a damaged file is an error now and no surprise later.
    Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(backend)
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> StorageError {
    StorageError::Unreadable { path: path.join(FILE), reason: error.to_string() }
}
