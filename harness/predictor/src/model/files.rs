//! Which file is the model.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::PredictorError;

const ONE_FILE: &str = "put exactly one .onnx file there, or name the one to serve model.onnx";
const STORAGE: &str = "check the storageUri and the storage initializer's log";

/// Where models come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// One model: a folder with one `.onnx` file (or a `model.onnx` among several), or that file.
    Directory {
        /// Name that it is served under.
        name: String,
        /// The folder.
        path: PathBuf,
    },
    /// Many models: each `.onnx` file and each folder with one is a model of that name.
    Repository {
        /// The folder.
        path: PathBuf,
    },
}

/// Names and files of the models of a source, by name. They are not opened.
pub(crate) fn find(source: &ModelSource) -> Result<Vec<(String, PathBuf)>, PredictorError> {
    match source {
        ModelSource::Directory { name, path } => Ok(vec![(name.clone(), model_file(path)?)]),
        ModelSource::Repository { path } => repository(path),
    }
}

fn repository(path: &Path) -> Result<Vec<(String, PathBuf)>, PredictorError> {
    let mut models = Vec::new();
    for entry in entries(path)? {
        let Some(name) = entry.file_stem().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        let hidden = name.starts_with('.');
        if entry.is_dir() && !hidden {
            // A folder may have dots in its name.
            let name = entry.file_name().and_then(|name| name.to_str()).map_or(name, str::to_owned);
            models.push((name, model_file(&entry)?));
        } else if is_onnx(&entry) && !hidden {
            models.push((name, entry));
        }
    }
    models.sort();
    if models.is_empty() {
        return Err(refused(
            path,
            "no model in this folder",
            "put .onnx files or folders with one .onnx file there",
        ));
    }
    if let Some(pair) = models.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(refused(
            path,
            format!(
                "the model {} exists twice: {} and {}",
                pair[0].0,
                pair[0].1.display(),
                pair[1].1.display()
            ),
            "rename one of them",
        ));
    }
    Ok(models)
}

fn model_file(path: &Path) -> Result<PathBuf, PredictorError> {
    if path.is_file() {
        return if is_onnx(path) {
            Ok(path.to_owned())
        } else {
            Err(refused(path, "not an .onnx file", ONE_FILE))
        };
    }
    let mut models: Vec<PathBuf> = entries(path)?.into_iter().filter(|entry| is_onnx(entry)).collect();
    models.sort();
    match &*models {
        [] => Err(refused(path, "no .onnx file in this folder", ONE_FILE)),
        [only] => Ok(only.clone()),
        several => several.iter().find(|file| file.ends_with("model.onnx")).cloned().ok_or_else(|| {
            let names: Vec<_> = several
                .iter()
                .filter_map(|file| file.file_name())
                .map(|name| name.to_string_lossy())
                .collect();
            refused(
                path,
                format!("{} .onnx files in this folder ({})", several.len(), names.join(", ")),
                ONE_FILE,
            )
        }),
    }
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, PredictorError> {
    let cannot_read =
        |error: std::io::Error| refused(path, format!("cannot read the folder: {error}"), STORAGE);
    fs::read_dir(path)
        .map_err(cannot_read)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(cannot_read))
        .collect()
}

fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx") && path.is_file()
}

fn refused(path: &Path, cause: impl Into<String>, remedy: &'static str) -> PredictorError {
    PredictorError::ModelFiles { path: path.to_owned(), cause: cause.into(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn single(folder: &tempfile::TempDir) -> Result<String, String> {
        let source = ModelSource::Directory { name: "m".to_owned(), path: folder.path().to_owned() };
        match find(&source) {
            Ok(models) => Ok(models[0].1.strip_prefix(folder.path()).unwrap().display().to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A pod that serves another file than the one that was meant is worse than one that says why it won't start.
    #[test]
    fn the_model_is_unambiguous() {
        assert_eq!(single(&folder(&["digits.onnx", "README.md"])), Ok("digits.onnx".to_owned()));
        assert_eq!(single(&folder(&["a.onnx", "model.onnx"])), Ok("model.onnx".to_owned()));
        let two = single(&folder(&["a.onnx", "b.onnx"])).unwrap_err();
        assert!(two.contains("2 .onnx files in this folder (a.onnx, b.onnx); put exactly one"), "{two}");
        let none = single(&folder(&["model.pkl"])).unwrap_err();
        assert!(none.contains("no .onnx file in this folder"), "{none}");
        let missing = ModelSource::Directory { name: "m".to_owned(), path: "/nowhere/at/all".into() };
        let missing = find(&missing).unwrap_err().to_string();
        assert!(
            missing.starts_with("/nowhere/at/all: cannot read the folder") && missing.contains("storageUri")
        );
    }

    /// Every model of a repository is served under the name that its file or folder has.
    #[test]
    fn a_repository_is_files_and_folders() {
        let folder = folder(&["iris.onnx", "digits/v1.onnx", "notes.txt", ".git/x.onnx"]);
        let names = |path: &Path| {
            find(&ModelSource::Repository { path: path.to_owned() })
                .map(|models| models.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(names(folder.path()), Ok(vec!["digits".to_owned(), "iris".to_owned()]));
        fs::create_dir(folder.path().join("iris")).unwrap();
        fs::write(folder.path().join("iris/model.onnx"), "").unwrap();
        assert!(names(folder.path()).unwrap_err().contains("the model iris exists twice"));
        assert!(names(tempfile::tempdir().unwrap().path()).unwrap_err().contains("no model in this folder"));
    }
}
