//! The cluster's folder: one cluster at a time, and never somebody else's files.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use crate::ClusterError;

/// Marks a folder as a cluster's; locked while the cluster lives.
const MARK: &str = ".windtunnel-cluster";
/// How often a removal is tried: processes that were just killed may still write for a moment.
const REMOVALS: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

/// A folder that belongs to this cluster for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
    is_removed: RwLock<bool>,
}

impl Directory {
    /// Takes a new or empty folder, or one that a cluster of a killed program has left, which is emptied.
    pub(crate) fn claim(path: &Path) -> Result<Self, ClusterError> {
        let at_fault = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| ClusterError::Directory { path, source }
        };
        fs::create_dir_all(path).map_err(at_fault(path))?;
        // Processes work elsewhere, so their paths must be whole.
        let path = fs::canonicalize(path).map_err(at_fault(path))?;
        let mark = path.join(MARK);
        if !mark.exists()
            && let Some(other) = fs::read_dir(&path).map_err(at_fault(&path))?.next()
        {
            let other = other.map_err(at_fault(&path))?;
            return Err(ClusterError::DirectoryNotOurs {
                first: other.file_name().to_string_lossy().into_owned(),
                path,
            });
        }
        let options = || OpenOptions::new().create(true).truncate(false).write(true).open(&mark);
        let lock = options().map_err(at_fault(&mark))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(ClusterError::DirectoryInUse { path }),
            Err(error) => return Err(at_fault(&mark)(error.into())),
        }
        for entry in fs::read_dir(&path).map_err(at_fault(&path))? {
            let entry = entry.map_err(at_fault(&path))?;
            if entry.file_name() == MARK {
                continue;
            }
            let is_folder = entry.file_type().map_err(at_fault(&entry.path()))?.is_dir();
            let removal =
                if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            removal.map_err(at_fault(&entry.path()))?;
        }
        Ok(Self { path, _lock: lock, is_removed: RwLock::new(false) })
    }

    /// Where it is, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Does something that makes files in the folder, unless it has been removed; the removal waits for it.
    ///
    /// # Errors
    /// Those of `work`, and one of kind `Interrupted` if the folder has been removed.
    pub(crate) fn hold<R>(&self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let is_removed = self.is_removed.read().unwrap_or_else(PoisonError::into_inner);
        if *is_removed {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the cluster is stopping"));
        }
        work()
    }

    /// Removes the folder with all that is in it.
    pub(crate) fn remove(&self) {
        let mut is_removed = self.is_removed.write().unwrap_or_else(PoisonError::into_inner);
        *is_removed = true;
        for attempt in 1..=REMOVALS {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.exists() => return,
                Err(error) if attempt == REMOVALS => {
                    tracing::warn!(%error, path = %self.path.display(), "the cluster's folder was not removed");
                }
                Err(_) => std::thread::sleep(REMOVAL_PAUSE),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails stopping a cluster deletes files of its user.
    #[test]
    fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("thesis.tex"), "").expect("a file");
        let refusal = Directory::claim(folder.path()).expect_err("refused");
        assert!(refusal.to_string().contains("thesis.tex"), "{refusal}");
        assert!(folder.path().join("thesis.tex").exists());
    }

    /// If this fails two clusters write into each other's folder, or a second run after a crash needs manual work.
    #[test]
    fn a_folder_is_used_once_at_a_time_and_again_after_a_crash() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a/cluster");
        let first = Directory::claim(&path).expect("new");
        fs::create_dir_all(path.join("pods/x")).expect("a folder");
        assert!(matches!(Directory::claim(&path), Err(ClusterError::DirectoryInUse { .. })));
        drop(first);
        let second = Directory::claim(&path).expect("left by a crash");
        assert!(!path.join("pods").exists(), "stale files are removed");
        second.remove();
        assert!(!path.exists());
        assert!(second.hold(|| fs::create_dir_all(path.join("late"))).is_err(), "nothing comes back");
        assert!(!path.exists());
    }
}
