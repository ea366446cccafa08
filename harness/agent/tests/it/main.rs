//! The storage initializer on real folders.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use windtunnel_agent::storage::{Fetched, StorageError, StorageMap, initialize};

struct Fixture {
    root: tempfile::TempDir,
    map: StorageMap,
}

impl Fixture {
    /// A bucket `s3://models/` with these files, each with its own path as its content.
    fn new(files: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let bucket = root.path().join("bucket");
        fs::create_dir(&bucket).unwrap();
        for file in files {
            let path = bucket.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let map = StorageMap::parse(&format!("s3://models/={}", bucket.display())).unwrap();
        Self { root, map }
    }

    fn bucket(&self, path: &str) -> PathBuf {
        self.root.path().join("bucket").join(path)
    }

    fn volume(&self) -> PathBuf {
        self.root.path().join("volume")
    }

    fn fetch(&self, uri: &str) -> Result<Fetched, StorageError> {
        initialize(&[(uri.to_owned(), self.volume())], &self.map)
    }

    fn fails(&self, uri: &str) -> String {
        let error = self.fetch(uri).expect_err(uri);
        let left = if self.volume().exists() { tree(&self.volume()) } else { Vec::new() };
        assert!(left.is_empty(), "{uri} left {left:?} behind");
        error.to_string()
    }

    /// Files of the volume, with their content checked.
    fn fetched(&self) -> Vec<String> {
        tree(&self.volume())
    }
}

fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// A model server looks for its file in the folder itself; a second folder level would leave it without a model.
#[test]
fn the_contents_of_a_folder_land_in_the_destination() {
    for uri in ["s3://models/digits", "s3://models/digits/"] {
        let fixture = Fixture::new(&[
            "digits/model.onnx",
            "digits/extra/labels.txt",
            "digits2/model.onnx",
            "digits.txt",
        ]);
        let fetched = fixture.fetch(uri).unwrap();
        assert_eq!(fixture.fetched(), ["extra/labels.txt", "model.onnx"], "{uri}");
        let model = &fetched.models[0];
        assert_eq!((model.files, model.bytes), (2, 17 + 23));
        assert_eq!(fs::read_to_string(fixture.volume().join("model.onnx")).unwrap(), "digits/model.onnx");
        let said = fetched.to_string();
        assert!(said.starts_with(&format!("{uri} -> ")) && said.contains(": 2 files, 40 bytes, "), "{said}");
    }
}

/// A URI may name the model's file itself.
#[test]
fn a_single_file_keeps_its_name() {
    let fixture = Fixture::new(&["digits/v1.onnx", "digits/v2.onnx"]);
    fixture.fetch("s3://models/digits/v2.onnx").unwrap();
    assert_eq!(fixture.fetched(), ["v2.onnx"]);
}

/// Local storage needs no map.
#[test]
fn local_paths_are_copied() {
    let fixture = Fixture::new(&["digits/model.onnx"]);
    for uri in [
        format!("file://{}", fixture.bucket("digits").display()),
        fixture.bucket("digits").display().to_string(),
    ] {
        fixture.fetch(&uri).unwrap();
        assert_eq!(fixture.fetched(), ["model.onnx"]);
        fs::remove_dir_all(fixture.volume()).unwrap();
    }
}

/// A pod that restarts in its volume gets the model as it is now, without remains of the old one inside its folders.
#[test]
fn a_model_that_is_there_is_replaced() {
    let fixture = Fixture::new(&["digits/model.onnx", "digits/parts/a"]);
    fixture.fetch("s3://models/digits").unwrap();
    fs::remove_file(fixture.bucket("digits/parts/a")).unwrap();
    fs::write(fixture.bucket("digits/parts/b"), "b").unwrap();
    fs::write(fixture.bucket("digits/model.onnx"), "new").unwrap();
    fixture.fetch("s3://models/digits").unwrap();
    assert_eq!(fixture.fetched(), ["model.onnx", "parts/b"]);
    assert_eq!(fs::read_to_string(fixture.volume().join("model.onnx")).unwrap(), "new");
}

/// Several models go to their own folders, and the longest prefix decides.
#[test]
fn several_models_at_once() {
    let fixture = Fixture::new(&["digits/model.onnx", "team/iris/model.onnx"]);
    let map = StorageMap::parse(&format!(
        "s3://models={};s3://models/special/={}; ",
        fixture.bucket("").display(),
        fixture.bucket("team").display()
    ))
    .unwrap();
    let (one, other) = (fixture.root.path().join("a/b"), fixture.root.path().join("c"));
    let fetched = initialize(
        &[
            ("s3://models/digits".to_owned(), one.clone()),
            ("s3://models/special/iris".to_owned(), other.clone()),
        ],
        &map,
    )
    .unwrap();
    assert_eq!(fetched.models.len(), 2);
    assert_eq!(tree(&one), ["model.onnx"]);
    assert_eq!(fs::read_to_string(other.join("model.onnx")).unwrap(), "team/iris/model.onnx");
    assert!(initialize(&[("s3://models2/digits".to_owned(), one)], &map).is_err(), "another bucket");
}

/// What a user reads in the InferenceService's status, in KServe's words.
#[test]
fn missing_models_are_named() {
    let fixture = Fixture::new(&["digits/model.onnx"]);
    fs::create_dir(fixture.bucket("empty")).unwrap();
    for (uri, expected) in [
        ("s3://models/nope", "Failed to fetch model. No model found in nope."),
        ("s3://models/empty", "Failed to fetch model. No model found in "),
        ("file:///no/such/folder", "Local path file:///no/such/folder does not exist."),
        ("/no/such/folder", "Local path /no/such/folder does not exist."),
        (
            "pvc://claim/digits",
            "Cannot recognize storage type for pvc://claim/digits; map it to a local folder",
        ),
        ("s3://other/digits", "(mapped are s3://models/), or use file://"),
        ("models/digits", "Cannot recognize storage type for models/digits"),
        ("file://models/digits", "expected an absolute path after file://"),
    ] {
        let error = fixture.fails(uri);
        assert!(error.contains(expected), "{uri}: {error}");
    }
    for malformed in ["s3://models/", "=/srv", "s3://models/="] {
        assert!(matches!(StorageMap::parse(malformed), Err(StorageError::Map { .. })), "{malformed}");
    }
    assert_eq!(StorageMap::parse(" ; ").unwrap(), StorageMap::default());
}

/// A model's author must not be able to read the machine that serves it.
#[test]
fn nothing_outside_the_storage_is_read() {
    let fixture = Fixture::new(&["digits/model.onnx", "shared/weights"]);
    fs::write(fixture.root.path().join("secret"), "secret").unwrap();
    for uri in [
        "s3://models/../secret",
        "s3://models/digits/../../secret",
        "file:///tmp/../etc/passwd",
        "/tmp/../etc",
    ] {
        let error = fixture.fails(uri);
        assert!(error.contains("\"..\" is not allowed"), "{uri}: {error}");
    }
    // Inside the bucket a link is as good as the file.
    symlink("../shared/weights", fixture.bucket("digits/weights")).unwrap();
    fixture.fetch("s3://models/digits").unwrap();
    assert_eq!(fixture.fetched(), ["model.onnx", "weights"]);
    assert!(!fixture.volume().join("weights").is_symlink(), "the volume holds the file itself");
    fs::remove_dir_all(fixture.volume()).unwrap();

    for (link, target) in
        [("digits/leak", "../../secret"), ("digits/leak", "/etc"), ("digits/leak", "/etc/hostname")]
    {
        symlink(target, fixture.bucket(link)).unwrap();
        let error = fixture.fails("s3://models/digits");
        assert!(error.contains("this link leads out of"), "{target}: {error}");
        fs::remove_file(fixture.bucket(link)).unwrap();
    }
    symlink("../..", fixture.bucket("escape")).unwrap();
    assert!(fixture.fails("s3://models/escape").contains("this link leads out of"));
    // A link to its own parent has no end.
    symlink(".", fixture.bucket("digits/loop")).unwrap();
    assert!(fixture.fails("s3://models/digits").contains("nested deeper than"));
}

/// A pipe in a model's folder must not block the pod for ever.
#[test]
fn special_files_are_refused() {
    let fixture = Fixture::new(&["digits/model.onnx"]);
    let socket = std::os::unix::net::UnixListener::bind(fixture.bucket("digits/socket")).unwrap();
    let error = fixture.fails("s3://models/digits");
    assert!(error.contains("neither a file nor a folder"), "{error}");
    drop(socket);
}
