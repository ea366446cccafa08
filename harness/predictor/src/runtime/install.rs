//! Getting the library from the Python package index, through the user's own pip.
//!
//! pip knows the user's index, proxy and certificates. One wheel for each architecture is pinned, whatever the
//! version of the Python at hand, and pip checks its hash before a byte of it is unpacked.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    RuntimeError, VERSION,
    locate::{Places, installed},
};

/// A wheel and how pip finds it.
struct Wheel {
    architecture: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const PYTHON_VERSION: &str = "3.12";

const WHEELS: [Wheel; 2] = [
    Wheel {
        architecture: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
    },
    Wheel {
        architecture: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
    },
];

/// Unpacks the library, and nothing else, from the wheel `argv[1]` into the folder `argv[2]`.
const UNPACK: &str = r#"
import os, shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    found = [n for n in wheel.namelist() if n.startswith("onnxruntime/capi/libonnxruntime.so")]
    for name in found:
        with wheel.open(name) as packed, open(os.path.join(sys.argv[2], os.path.basename(name)), "wb") as out:
            shutil.copyfileobj(packed, out)
sys.exit(0 if found else "no libonnxruntime.so in the wheel")
"#;

const OFFLINE: &str = "check the network and pip's index (`python3 -m pip config list`), or set ORT_DYLIB_PATH to a libonnxruntime.so of this version";

/// Installs ONNX Runtime into `cache` (see [`super::cache_directory`]) and returns the library's path; at once if it
/// is there already. Any number of processes may do so at the same time. `progress` is told what happens, a line
/// at a time.
///
/// # Errors
/// [`RuntimeError::Install`] if Python, pip, the network or the disk fails; nothing is left behind then.
pub fn install(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, RuntimeError> {
    let library = installed(cache);
    if library.is_file() {
        return Ok(library);
    }
    let job = Install { cache };
    let wheel =
        WHEELS.iter().find(|wheel| wheel.architecture == env::consts::ARCH && cfg!(target_os = "linux"));
    let Some(wheel) = wheel else {
        return Err(job.failed(
            format!("no wheel is pinned for {} on {}", env::consts::ARCH, env::consts::OS),
            "build or download ONNX Runtime for this machine and set ORT_DYLIB_PATH to its library",
        ));
    };
    fs::create_dir_all(cache).map_err(|error| job.disk(&error))?;
    // Inside the cache, so that the last step is a rename on one file system. Removed when this returns.
    let scratch = tempfile::Builder::new()
        .prefix(".installing-")
        .tempdir_in(cache)
        .map_err(|error| job.disk(&error))?;
    progress(&format!("getting ONNX Runtime {VERSION} from the Python package index (about 28 MB) …"));
    let wheel = job.download(wheel, &scratch)?;
    progress(&format!("unpacking it into {} …", cache.display()));
    job.unpack(&wheel, &scratch)?;
    let unpacked = scratch.path().join("unpacked");
    let Some(target) = library.parent() else { return Err(job.disk(&ErrorKind::NotFound.into())) };
    if let Err(error) = fs::rename(&unpacked, target) {
        // Somebody else was quicker, or the folder is there without the library.
        if !library.is_file() {
            return Err(job.disk(&error));
        }
    }
    if library.is_file() {
        progress(&format!("ONNX Runtime {VERSION} is in {}", library.display()));
        Ok(library)
    } else {
        Err(job.failed(format!("the wheel has no {}", library.display()), OFFLINE))
    }
}

/// The library, from wherever [`super::locate`] finds it, else installed into the user's cache.
///
/// # Errors
/// As [`install`]; [`RuntimeError::NoSuchLibrary`] if the user named one that is not there; [`RuntimeError::NotFound`]
/// without a home folder.
pub fn locate_or_install(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, RuntimeError> {
    match Places::of_process().find() {
        Err(RuntimeError::NotFound) => {
            install(&super::cache_directory().ok_or(RuntimeError::NotFound)?, progress)
        }
        found => found,
    }
}

struct Install<'a> {
    cache: &'a Path,
}

impl Install<'_> {
    fn download(&self, wheel: &Wheel, scratch: &TempDir) -> Result<PathBuf, RuntimeError> {
        let requirements = scratch.path().join("requirements.txt");
        let pinned = format!("onnxruntime=={VERSION} --hash=sha256:{}\n", wheel.sha256);
        fs::write(&requirements, pinned).map_err(|error| self.disk(&error))?;
        let downloaded = scratch.path().join("downloaded");
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "download",
            "--quiet",
            "--no-deps",
        ])
        .args(["--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--implementation", "cp"])
        .args(["--python-version", PYTHON_VERSION, "--platform", wheel.platform])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(&downloaded);
        self.run(pip, "pip")?;
        let mut wheels = fs::read_dir(&downloaded)
            .map_err(|error| self.disk(&error))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
        wheels.next().ok_or_else(|| self.failed("pip downloaded no wheel".to_owned(), OFFLINE))
    }

    fn unpack(&self, wheel: &Path, scratch: &TempDir) -> Result<(), RuntimeError> {
        let unpacked = scratch.path().join("unpacked");
        fs::create_dir(&unpacked).map_err(|error| self.disk(&error))?;
        let mut python = Command::new("python3");
        python.args(["-I", "-c", UNPACK]).arg(wheel).arg(&unpacked);
        self.run(python, "unpacking")
    }

    fn run(&self, mut command: Command, what: &str) -> Result<(), RuntimeError> {
        let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.failed(
                "python3 is not on the PATH".to_owned(),
                "install Python 3 with pip, or set ORT_DYLIB_PATH to a libonnxruntime.so of this version",
            ),
            _ => self.failed(format!("cannot start python3: {error}"), OFFLINE),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No module named pip") {
            return Err(self.failed(
                "this Python has no pip".to_owned(),
                "install it (`python3 -m ensurepip --user`, or the package python3-pip), or set ORT_DYLIB_PATH to a libonnxruntime.so of this version",
            ));
        }
        let last: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(self.failed(format!("{what} failed ({}): {}", output.status, last.join(" / ")), OFFLINE))
    }

    fn disk(&self, error: &std::io::Error) -> RuntimeError {
        self.failed(
            error.to_string(),
            "free some space or set XDG_CACHE_HOME to a folder that can be written to",
        )
    }

    fn failed(&self, cause: String, remedy: &str) -> RuntimeError {
        RuntimeError::Install { directory: self.cache.to_owned(), cause, remedy: remedy.to_owned() }
    }
}
