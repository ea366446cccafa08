//! Getting ONNX Runtime.

use std::{fs, thread};

use windtunnel_predictor::runtime::{self, RuntimeError};

/// A first run on a new machine, from several processes at once, ends with one whole library and nothing else.
#[test]
#[ignore = "downloads 28 MB from the Python package index"]
fn concurrent_installations_agree() {
    let cache = tempfile::tempdir().unwrap();
    let libraries: Vec<_> = thread::scope(|scope| {
        let installing: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| runtime::install(cache.path(), &mut |line| println!("{line}")).unwrap()))
            .collect();
        installing.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(libraries.iter().all(|library| *library == libraries[0]));
    assert!(fs::metadata(&libraries[0]).unwrap().len() > 10_000_000);
    let left: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [format!("onnxruntime-{}", runtime::VERSION).as_str()]);
}

/// A machine where it cannot be had must say so, and leave nothing behind.
#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = runtime::install(&file.join("cache"), &mut |_| {}).unwrap_err();
    assert!(matches!(error, RuntimeError::Install { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("installing ONNX Runtime 1.32.0 into") && text.contains("XDG_CACHE_HOME"),
        "{text}"
    );
}
