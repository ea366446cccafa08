//! ONNX Runtime: where its library is, how to get it, and the one environment of the process.
//!
//! The library is not linked: it is found when the program runs. [`locate`] looks, in this order, at
//! `ORT_DYLIB_PATH`, the user's cache (where [`install`] puts it), the `onnxruntime` package of the user's Python
//! environments, and the system's library folders.

mod install;
mod locate;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{environment::Environment, logging::LogLevel};
use thiserror::Error;

pub use install::{install, locate_or_install};
pub use locate::{Places, cache_directory, locate};

/// The version of ONNX Runtime that is installed and tested with.
pub const VERSION: &str = "1.32.0";

/// The oldest minor version (`1.x`) whose C interface suffices.
pub const OLDEST_MINOR: u32 = 24;

/// Why ONNX Runtime cannot be used.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No library was found.
    #[error(
        "ONNX Runtime is not on this machine; run `windtunnel setup` to install version {VERSION} into your cache, \
         or set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.{OLDEST_MINOR} or newer, \
         or `pip install onnxruntime=={VERSION}` into your Python environment"
    )]
    NotFound,
    /// `ORT_DYLIB_PATH` does not name a file.
    #[error("ORT_DYLIB_PATH={path}: no such file; set it to a libonnxruntime.so, or unset it", path = .0.display())]
    NoSuchLibrary(PathBuf),
    /// The library is there and cannot be loaded.
    #[error("{path}: cannot be loaded as ONNX Runtime: {cause}; run `windtunnel setup`, or set ORT_DYLIB_PATH to version {VERSION}", path = path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// The loader's words.
        cause: String,
    },
    /// Another library is loaded already.
    #[error("{path}: this process has loaded ONNX Runtime from {loaded} already", path = path.display(), loaded = loaded.display())]
    LoadedAlready {
        /// The library that was asked for.
        path: PathBuf,
        /// The library that is in use.
        loaded: PathBuf,
    },
    /// The installation failed.
    #[error("installing ONNX Runtime {VERSION} into {directory}: {cause}; {remedy}", directory = directory.display())]
    Install {
        /// Where it was to go.
        directory: PathBuf,
        /// What went wrong.
        cause: String,
        /// What to do.
        remedy: String,
    },
}

static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of this process, from the library at `path`. The first call loads it; a process has one library.
pub(crate) fn environment(path: &Path) -> Result<Environment, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((library, environment)) = &*loaded {
        return if library == path {
            Ok(environment.clone())
        } else {
            Err(RuntimeError::LoadedAlready { path: path.to_owned(), loaded: library.clone() })
        };
    }
    let failed = |cause: String| RuntimeError::Load { path: path.to_owned(), cause };
    let environment = ort::init_from(path)
        .map_err(|error| failed(error.to_string()))?
        .with_name("windtunnel")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    *loaded = Some((path.to_owned(), environment.clone()));
    Ok(environment)
}
