//! Fixtures, seeds and golden helpers for tests.
//!
//! - [`until`] waits on a condition and, when its deadline passes, says what was seen last.
//! - [`workspace`] finds files of the repository from any crate's tests.
//! - [`Background`] is a child process that ends with the test, also when the test fails.

mod background;
mod wait;

use std::path::{Path, PathBuf};

pub use background::Background;
pub use wait::until;

/// A path inside the repository.
///
/// ```
/// assert!(windtunnel_testkit::workspace("Cargo.toml").is_file());
/// ```
#[must_use]
pub fn workspace(path: impl AsRef<Path>) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.map_or_else(PathBuf::new, Path::to_path_buf).join(path)
}

/// A tool that `ci/setup` installs, by name, or from the search path.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let ours = tools().map(|tools| tools.join("bin"));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let candidates = ours.into_iter().chain(std::env::split_paths(&search)).map(|folder| folder.join(name));
    candidates.into_iter().find(|path| path.is_file())
}

/// The folder of Python packages that `ci/setup` makes, for `PYTHONPATH`; `None` where it has not run.
#[must_use]
pub fn tools() -> Option<PathBuf> {
    cache().map(|cache| cache.join("test-tools")).filter(|folder| folder.is_dir())
}

/// The folder into which `ci/setup` installs KServe's SDK, for `PYTHONPATH`; `None` where it did not.
#[must_use]
pub fn kserve_sdk() -> Option<PathBuf> {
    cache().map(|cache| cache.join("kserve-sdk")).filter(|folder| folder.join(".installed").is_file())
}

/// The folder into which `ci/setup` unpacks Debian packages, as if it were the root folder; `None` where it could not.
#[must_use]
pub fn debian() -> Option<PathBuf> {
    cache().map(|cache| cache.join("debian")).filter(|folder| folder.join(".unpacked").is_file())
}

fn cache() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    cache.or_else(|| home.map(|home| home.join(".cache"))).map(|cache| cache.join("windtunnel"))
}
