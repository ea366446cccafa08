//! Containers that run or have run: where logs are, and what commands can be run beside.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{io::AsyncWrite, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{
    expansion::PathMap, isolation::Enclosure, logs::Log, process::Launch, rootfs::View, terminal::Terminal,
};

/// Where a process reads from: a pipe or a terminal.
pub(crate) trait Input: AsyncWrite + fmt::Debug + Send + Unpin {}
impl<T: AsyncWrite + fmt::Debug + Send + Unpin> Input for T {}

/// A run of a container.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) log: Log,
    pub(crate) process: i32,
    /// The program as it was started, without what encloses it.
    pub(crate) launch: Launch,
    pub(crate) enclosure: Option<Enclosure>,
    pub(crate) view: View,
    /// How paths are rewritten where there are no mounts.
    pub(crate) paths: PathMap,
    /// Input of the process, for who attaches.
    pub(crate) stdin: Arc<tokio::sync::Mutex<Option<Box<dyn Input>>>>,
    /// The terminal that the process has for its input and output, if it wants one.
    pub(crate) terminal: Option<Terminal>,
    /// Whether the input ends when the first who attached has gone.
    pub(crate) is_stdin_once: bool,
    /// The exit code, once it has ended.
    pub(crate) exit: watch::Sender<Option<i32>>,
    /// Ends what was started beside it.
    pub(crate) stop: CancellationToken,
}

/// The present run of a container and the one before.
#[derive(Debug, Default, Clone)]
pub(crate) struct Runs {
    pub(crate) present: Option<Arc<Run>>,
    pub(crate) previous: Option<Log>,
}

/// All containers of the node, by uid of the pod and name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    runs: Mutex<BTreeMap<(String, String), Runs>>,
}

impl Registry {
    /// A container was started; returns the log that is now too old to be kept.
    pub(crate) fn begin(&self, uid: &str, container: &str, run: Arc<Run>) -> Option<Log> {
        let mut runs = self.lock();
        let entry = runs.entry((uid.to_owned(), container.to_owned())).or_default();
        let before = entry.present.replace(run).map(|run| run.log.clone());
        std::mem::replace(&mut entry.previous, before)
    }

    pub(crate) fn runs(&self, uid: &str, container: &str) -> Runs {
        self.lock().get(&(uid.to_owned(), container.to_owned())).cloned().unwrap_or_default()
    }

    /// The pod is gone, and its logs with it.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().retain(|(owner, _), _| owner != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Runs>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
