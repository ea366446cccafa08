//! Container logs: files of bounded size in the form that kubelets use, and the end of the output in memory.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Size of a log file in bytes after which a new one is begun; the one before is kept as `NAME.1`.
const FILE_LIMIT: u64 = 10 * 1024 * 1024;
/// Longest line in bytes that is written as one entry; the rest follows as partial entries.
const LINE_LIMIT: usize = 16 * 1024;
/// How much of the output's end is kept for termination messages, in bytes and lines.
const TAIL_BYTES: usize = 2048;
const TAIL_LINES: usize = 80;

/// The log of one run of a container; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<File>,
    written: u64,
    tail: Vec<u8>,
}

impl Log {
    /// A log that is written to a file (with folders as needed), lines as `TIME STREAM F|P TEXT`.
    pub(crate) fn to_file(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(path)?;
        Ok(Self::with(Some(path.to_owned()), Some(file)))
    }

    /// A log of which only the end is kept.
    pub(crate) fn in_memory() -> Self {
        Self::with(None, None)
    }

    fn with(path: Option<PathBuf>, file: Option<File>) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { path, file, written: 0, tail: Vec::new() })) }
    }

    /// The last 2048 bytes or 80 lines of the output, whichever is less.
    pub(crate) fn tail(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&inner.tail);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].concat()
    }

    /// Copies a stream of the process into the log until it ends.
    pub(crate) async fn pump(self, stream: &'static str, mut source: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; LINE_LIMIT];
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let count = match source.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                pending.extend_from_slice(piece);
                if let Some(line) = pending.strip_suffix(b"\n") {
                    self.write(stream, 'F', line);
                    pending.clear();
                } else if pending.len() >= LINE_LIMIT {
                    self.write(stream, 'P', &pending);
                    pending.clear();
                }
            }
        }
        if !pending.is_empty() {
            self.write(stream, 'P', &pending);
        }
    }

    fn write(&self, stream: &str, tag: char, line: &[u8]) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tail.extend_from_slice(line);
        if tag == 'F' {
            inner.tail.push(b'\n');
        }
        let surplus = inner.tail.len().saturating_sub(TAIL_BYTES);
        inner.tail.drain(..surplus);
        let mut entry = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        entry.extend_from_slice(line);
        entry.push(b'\n');
        if let Err(error) = inner.append(&entry) {
            tracing::warn!(%error, path = ?inner.path, "a container log can't be written; its output is dropped");
            inner.file = None;
        }
    }
}

impl Inner {
    fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(entry)?;
        self.written += entry.len() as u64;
        if let Some(path) = self.path.as_ref().filter(|_| self.written > FILE_LIMIT) {
            let mut older = path.clone().into_os_string();
            older.push(".1");
            fs::rename(path, older)?;
            self.file = Some(File::create(path)?);
            self.written = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails the reason for a crash is missing from the pod's status, or a chatty server fills memory.
    #[tokio::test]
    async fn the_tail_is_bounded_and_keeps_the_end() {
        let log = Log::in_memory();
        log.clone().pump("stdout", &b"one\ntwo\nlast"[..]).await;
        assert_eq!(log.tail(), "one\ntwo\nlast");
        let text = "x".repeat(100) + "\n";
        log.clone().pump("stdout", text.repeat(1000).as_bytes()).await;
        assert!(log.tail().len() <= TAIL_BYTES);
        let log = Log::in_memory();
        log.clone().pump("stdout", "a\n".repeat(500).as_bytes()).await;
        assert_eq!(log.tail().lines().count(), TAIL_LINES);
    }

    /// If this fails a server without line ends in its output grows the node's memory without bound, or a full log
    /// fills the disk.
    #[tokio::test]
    async fn files_are_bounded_and_long_lines_are_split() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("logs/c/0.log");
        let log = Log::to_file(&path).expect("a log");
        let megabyte = vec![b'z'; 1024 * 1024];
        for _ in 0..12 {
            log.clone().pump("stderr", &megabyte[..]).await;
        }
        let now = fs::metadata(&path).expect("the log").len();
        let before = fs::metadata(path.with_extension("log.1")).expect("the older log").len();
        assert!(now < FILE_LIMIT && before <= FILE_LIMIT + 2 * LINE_LIMIT as u64, "{now} {before}");
        let text = fs::read_to_string(&path).expect("text");
        let first = text.lines().next().expect("a line");
        assert_eq!(first.split(' ').skip(1).take(2).collect::<Vec<_>>(), ["stderr", "P"]);
    }
}
