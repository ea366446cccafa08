//! Finding the library, by looking at files only: starting Python to ask it costs more than starting the server.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{OLDEST_MINOR, RuntimeError, VERSION};

const LIBRARY: &str = "libonnxruntime.so";

/// Where to look. [`Places::of_process`] is the real thing; tests build their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// `ORT_DYLIB_PATH`.
    pub named: Option<PathBuf>,
    /// The folder of installed versions.
    pub cache: Option<PathBuf>,
    /// Folders with `lib/python3.*/site-packages` in them.
    pub python_prefixes: Vec<PathBuf>,
    /// Folders of libraries.
    pub system: Vec<PathBuf>,
}

/// The library, if it is anywhere that [`Places::of_process`] knows.
#[must_use]
pub fn locate() -> Option<PathBuf> {
    Places::of_process().find().ok()
}

/// The folder for downloaded things: `$XDG_CACHE_HOME/windtunnel`, else `~/.cache/windtunnel`. `None` without a home.
#[must_use]
pub fn cache_directory() -> Option<PathBuf> {
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("windtunnel"))
}

/// The library inside the cache, whether or not it is there.
pub(super) fn installed(cache: &Path) -> PathBuf {
    cache.join(format!("onnxruntime-{VERSION}")).join(format!("{LIBRARY}.{VERSION}"))
}

impl Places {
    /// The places that this process's environment names.
    #[must_use]
    pub fn of_process() -> Self {
        let prefixes = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(absolute);
        let local = absolute("HOME").map(|home| home.join(".local"));
        let on_path =
            env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let interpreters = on_path.iter().filter_map(|folder| {
            let interpreter = folder.join("python3");
            interpreter.exists().then(|| folder.parent().map(Path::to_owned)).flatten()
        });
        let searched = env::var_os("LD_LIBRARY_PATH")
            .map(|path| env::split_paths(&path).filter(|folder| folder.is_absolute()).collect::<Vec<_>>())
            .unwrap_or_default();
        let architecture = env::consts::ARCH;
        let standard = [
            "/usr/local/lib".to_owned(),
            format!("/usr/lib/{architecture}-linux-gnu"),
            "/usr/lib64".to_owned(),
            "/usr/lib".to_owned(),
        ];
        Self {
            named: env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from),
            cache: cache_directory(),
            python_prefixes: prefixes.chain(local).chain(interpreters).collect(),
            system: searched.into_iter().chain(standard.map(PathBuf::from)).collect(),
        }
    }

    /// The first library in these places.
    ///
    /// # Errors
    /// [`RuntimeError::NoSuchLibrary`] if `named` is no file, [`RuntimeError::NotFound`] if there is none anywhere.
    pub fn find(&self) -> Result<PathBuf, RuntimeError> {
        if let Some(named) = &self.named {
            return if named.is_file() {
                Ok(named.clone())
            } else {
                Err(RuntimeError::NoSuchLibrary(named.clone()))
            };
        }
        let cached = self.cache.iter().map(|cache| installed(cache)).find(|library| library.is_file());
        cached
            .or_else(|| self.python_prefixes.iter().find_map(|prefix| in_python(prefix)))
            .or_else(|| self.system.iter().find_map(|folder| newest(folder)))
            .ok_or(RuntimeError::NotFound)
    }
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn in_python(prefix: &Path) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        fs::read_dir(prefix.join("lib")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    versions.sort();
    versions
        .iter()
        .rev()
        .filter(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .find_map(|folder| newest(&folder.join("site-packages/onnxruntime/capi")))
}

/// The newest library of a folder that is new enough; its file name tells its version.
fn newest(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = version(path.file_name()?.to_str()?)?;
            (version >= (1, OLDEST_MINOR, 0) && path.is_file()).then_some((version, path))
        })
        .max()
        .map(|(_, path)| path)
}

fn version(file: &str) -> Option<(u32, u32, u32)> {
    let mut parts = file.strip_prefix(LIBRARY)?.strip_prefix('.')?.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    }

    /// The order is a promise: what the user names wins, and an old system library never does.
    #[test]
    fn places_are_searched_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mut places = Places {
            named: None,
            cache: Some(at("cache")),
            python_prefixes: vec![at("empty"), at("venv")],
            system: vec![at("lib")],
        };
        assert!(matches!(places.find(), Err(RuntimeError::NotFound)));
        for too_old in
            ["libonnxruntime.so.1.17.3", "libonnxruntime.so", "libonnxruntime.so.1", "libonnx.so.1.30.0"]
        {
            file(&at("lib"), too_old);
        }
        assert!(matches!(places.find(), Err(RuntimeError::NotFound)));
        file(&at("lib"), "libonnxruntime.so.1.24.0");
        let system = file(&at("lib"), "libonnxruntime.so.1.30.1");
        assert_eq!(places.find().unwrap(), system);
        let python =
            file(&at("venv/lib/python3.12/site-packages/onnxruntime/capi"), "libonnxruntime.so.1.25.0");
        assert_eq!(places.find().unwrap(), python);
        let cached = file(&at("cache/onnxruntime-1.32.0"), "libonnxruntime.so.1.32.0");
        assert_eq!(places.find().unwrap(), cached);
        places.named = Some(at("nothing.so"));
        assert!(matches!(places.find(), Err(RuntimeError::NoSuchLibrary(path)) if path == at("nothing.so")));
        places.named = Some(system.clone());
        assert_eq!(places.find().unwrap(), system);
    }
}
