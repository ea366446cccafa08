//! Container logs: files of bounded size in the form that kubelets use, the end of the output in memory, and the output
//! as it comes for those who are attached.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{broadcast, watch},
};

/// Size of a log file in bytes after which a new one is begun: kubelets' default.
pub(crate) const FILE_LIMIT: u64 = 10 * 1024 * 1024;
/// Files of one run, the present one included: kubelets' default. Older ones are `NAME.1` (the newest) to `NAME.4`.
pub(crate) const FILES: u32 = 5;
/// Longest line in bytes that is written as one entry; the rest follows as partial entries.
const LINE_LIMIT: usize = 16 * 1024;
/// How much of the output's end is kept for termination messages, in bytes and lines.
const TAIL_BYTES: usize = 2048;
const TAIL_LINES: usize = 80;
/// Pieces of output that an attached client may lag behind; more are lost to it, not to the log.
const LIVE: usize = 256;

/// The log of one run of a container; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
    progress: watch::Sender<Progress>,
    live: broadcast::Sender<(&'static str, Bytes)>,
}

/// How far a log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes written, all files together.
    pub(crate) written: u64,
    /// Files that were begun after the first.
    pub(crate) rotations: u64,
    /// Nothing more will come.
    pub(crate) has_ended: bool,
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
        Self {
            inner: Arc::new(Mutex::new(Inner { path, file, written: 0, tail: Vec::new() })),
            progress: watch::Sender::new(Progress::default()),
            live: broadcast::Sender::new(LIVE),
        }
    }

    /// The file that is written now.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.lock().path.clone()
    }

    /// Tells of what is written.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The output from now on, as it comes.
    pub(crate) fn live(&self) -> broadcast::Receiver<(&'static str, Bytes)> {
        self.live.subscribe()
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.progress.send_modify(|progress| progress.has_ended = true);
    }

    /// The last 2048 bytes or 80 lines of the output, whichever is less.
    pub(crate) fn tail(&self) -> String {
        let inner = self.lock();
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
            if self.live.receiver_count() > 0 {
                // Who has left in this moment misses nothing.
                let _ = self.live.send((stream, Bytes::copy_from_slice(&buffer[..count])));
            }
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
        let mut inner = self.lock();
        inner.tail.extend_from_slice(line);
        if tag == 'F' {
            inner.tail.push(b'\n');
        }
        let surplus = inner.tail.len().saturating_sub(TAIL_BYTES);
        inner.tail.drain(..surplus);
        let mut entry = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        entry.extend_from_slice(line);
        entry.push(b'\n');
        match inner.append(&entry) {
            Ok(is_new_file) => self.progress.send_modify(|progress| {
                progress.written += entry.len() as u64;
                progress.rotations += u64::from(is_new_file);
            }),
            Err(error) => {
                tracing::warn!(%error, path = ?inner.path, "a container log can't be written; its output is dropped");
                inner.file = None;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of a run that was so many rotations ago.
pub(crate) fn rotated(path: &Path, ago: u32) -> PathBuf {
    if ago == 0 {
        return path.to_owned();
    }
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{ago}"));
    name.into()
}

impl Inner {
    /// Writes an entry, into a new file if the present one is full; returns whether it was.
    fn append(&mut self, entry: &[u8]) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let full = self.path.as_ref().filter(|_| self.written > FILE_LIMIT);
        let Some(path) = full else {
            file.write_all(entry)?;
            self.written += entry.len() as u64;
            return Ok(false);
        };
        for ago in (0..FILES - 1).rev() {
            let from = rotated(path, ago);
            if from.exists() {
                fs::rename(from, rotated(path, ago + 1))?;
            }
        }
        let mut file = File::create(path)?;
        file.write_all(entry)?;
        self.written = entry.len() as u64;
        self.file = Some(file);
        Ok(true)
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
        for _ in 0..62 {
            log.clone().pump("stderr", &megabyte[..]).await;
        }
        let now = fs::metadata(&path).expect("the log").len();
        assert!(now < FILE_LIMIT, "{now}");
        for ago in 1..FILES {
            let before = fs::metadata(rotated(&path, ago)).expect("an older log").len();
            assert!(before <= FILE_LIMIT + 2 * LINE_LIMIT as u64, "{ago}: {before}");
        }
        assert!(!rotated(&path, FILES).exists(), "no more than {FILES} files are kept");
        let text = fs::read_to_string(&path).expect("text");
        let first = text.lines().next().expect("a line");
        assert_eq!(first.split(' ').skip(1).take(2).collect::<Vec<_>>(), ["stderr", "P"]);
    }
}
