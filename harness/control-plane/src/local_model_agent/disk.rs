//! The models' folders of a disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use windtunnel_api::kserve::local_models::{Disk, Folders};

/// The folders of each disk. A disk whose models' folder is not there yet has none.
///
/// # Errors
/// The folder that can't be read, and why.
pub(super) async fn folders(disks: Vec<Disk>) -> Result<BTreeMap<Disk, Folders>, String> {
    blocking(move || {
        disks
            .into_iter()
            .map(|disk| list(&disk).map(|folders| (disk.clone(), folders)).map_err(at(&disk)))
            .collect()
    })
    .await
}

/// Removes folders with everything in them; one that is gone is fine.
///
/// # Errors
/// The folder that can't be removed, and why.
pub(super) async fn remove(folders: Vec<(Disk, String)>) -> Result<(), String> {
    blocking(move || {
        folders.into_iter().try_for_each(|(disk, folder)| {
            let path = Path::new(&disk).join(folder);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(at(&path.display().to_string())(error))
                }
                _ => Ok(()),
            }
        })
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

fn at(path: &str) -> impl Fn(io::Error) -> String {
    move |error| {
        format!("{path}: {error}; the agent must be able to read and write the models' folder of its node")
    }
}

fn list(disk: &str) -> io::Result<Folders> {
    let entries = match fs::read_dir(disk) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Folders::new()),
        entries => entries?,
    };
    let mut folders = Folders::new();
    for entry in entries {
        let entry = entry?;
        // A link is not followed: what it leads to is not ours to remove.
        if entry.file_type()?.is_dir() {
            let is_full = fs::read_dir(entry.path()).is_ok_and(|mut inner| inner.next().is_some());
            folders.insert(entry.file_name().to_string_lossy().into_owned(), is_full);
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// An empty folder of this process, removed with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("windtunnel-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn disk(&self) -> Disk {
            self.0.display().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A file for a model, or a model for a file, would end in endless downloads or lost data.
    #[tokio::test]
    async fn folders_with_and_without_files() {
        let folder = Folder::new("disk");
        for name in ["full", "empty"] {
            fs::create_dir(folder.0.join(name)).unwrap();
        }
        fs::write(folder.0.join("full/model"), "m").unwrap();
        fs::write(folder.0.join("file"), "f").unwrap();
        std::os::unix::fs::symlink(folder.0.join("full"), folder.0.join("link")).unwrap();
        let absent = format!("{}/absent", folder.disk());
        let found = folders(vec![folder.disk(), absent.clone()]).await.unwrap();
        let expected = BTreeMap::from([("empty".to_owned(), false), ("full".to_owned(), true)]);
        assert_eq!(found, BTreeMap::from([(folder.disk(), expected), (absent, Folders::new())]));

        remove(vec![(folder.disk(), "full".to_owned()), (folder.disk(), "gone".to_owned())]).await.unwrap();
        assert!(!folder.0.join("full").exists() && folder.0.join("empty").exists());
    }

    /// Without the path and the remedy nobody finds out why nothing is downloaded.
    #[tokio::test]
    async fn a_disk_that_is_none() {
        let folder = Folder::new("none");
        let file = folder.0.join("file");
        fs::write(&file, "f").unwrap();
        let told = folders(vec![file.display().to_string()]).await.unwrap_err();
        assert!(
            told.starts_with(&file.display().to_string()) && told.contains("must be able to read"),
            "{told}"
        );
    }
}
