//! Reads container logs back: the part and the form that a client asks for, and what follows.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use windtunnel_apiserver::{LogOptions, LogStream};

use super::logs::{FILES, Log, rotated};

/// Bytes that are sent at once, about.
const PIECE: usize = 32 * 1024;
/// Pieces that wait for a slow client.
const WAITING: usize = 8;

/// One line of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a str,
    stream: &'a str,
    is_partial: bool,
    text: &'a [u8],
}

/// What a client asked for, applied to one entry after the other.
#[derive(Debug)]
struct Filter {
    options: LogOptions,
    left: Option<u64>,
    is_continued: bool,
}

impl Filter {
    fn new(options: LogOptions) -> Self {
        let left = options.limit_bytes;
        Self { options, left, is_continued: false }
    }

    fn is_wanted(&self, entry: &Entry<'_>) -> bool {
        let is_recent = self
            .options
            .since
            .is_none_or(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time >= since));
        is_recent && self.options.stream.is_none_or(|stream| stream == entry.stream)
    }

    /// Writes an entry as the client wants it; false when the client has had all that it asked for.
    fn write(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        if !self.is_wanted(entry) {
            return true;
        }
        let before = out.len();
        if self.options.timestamps && !self.is_continued {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if !entry.is_partial {
            out.push(b'\n');
        }
        self.is_continued = entry.is_partial;
        let Some(left) = &mut self.left else { return true };
        let added = out.len() - before;
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(added);
        out.truncate(before + allowed);
        *left -= allowed as u64;
        *left > 0
    }
}

/// Reads a line as `TIME STREAM F|P TEXT`; `None` for one that is cut off.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\n")?;
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (time, stream, tag) = (text()?, text()?, text()?);
    Some(Entry { time, stream, is_partial: tag == "P", text: parts.next()? })
}

/// The log, as far as it was asked for.
pub(crate) fn read(log: &Log, options: LogOptions) -> LogStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let log = log.clone();
    tokio::task::spawn_blocking(move || {
        let follow = options.follow;
        let mut progress = log.progress();
        let seen = *progress.borrow_and_update();
        let Some(path) = log.path() else { return };
        let mut filter = Filter::new(options);
        let file = match replay(&path, &mut filter, &sender) {
            Ok(Some(file)) => file,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "a log can't be read");
                return;
            }
        };
        if follow {
            tokio::runtime::Handle::current().spawn(async move {
                let mut follower = Follower { file, rest: Vec::new(), rotations: seen.rotations };
                loop {
                    let now = *progress.borrow_and_update();
                    let mut out = Vec::new();
                    if !follower.catch_up(&path, now.rotations, &mut filter, &mut out) {
                        let _ = send(&sender, out).await;
                        return;
                    }
                    if !send(&sender, out).await || now.has_ended {
                        return;
                    }
                    tokio::select! {
                        changed = progress.changed() => if changed.is_err() { return },
                        () = sender.closed() => return,
                    }
                }
            });
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
}

async fn send(sender: &mpsc::Sender<Bytes>, out: Vec<u8>) -> bool {
    out.is_empty() || sender.send(Bytes::from(out)).await.is_ok()
}

/// Sends what is there; returns the present file at its end if the client wants more.
fn replay(
    path: &Path,
    filter: &mut Filter,
    sender: &mpsc::Sender<Bytes>,
) -> io::Result<Option<BufReader<File>>> {
    let mut files = Vec::new();
    for ago in (0..FILES).rev() {
        match File::open(rotated(path, ago)) {
            Ok(file) => files.push(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut line = Vec::new();
    let mut out = Vec::new();
    // The last lines are only known when all have been seen.
    let tail = filter.options.tail_lines.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    for file in &mut files {
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if !line.ends_with(b"\n") {
                // It is being written; it is read when it is whole.
                file.seek_relative(-i64::try_from(line.len()).unwrap_or(0))?;
                break;
            }
            let Some(entry) = entry(&line) else { continue };
            if let Some(tail) = tail {
                if filter.is_wanted(&entry) {
                    last.push_back(line.clone());
                }
                while last.len() > tail {
                    last.pop_front();
                }
                continue;
            }
            let goes_on = filter.write(&entry, &mut out);
            if out.len() >= PIECE && sender.blocking_send(Bytes::from(std::mem::take(&mut out))).is_err() {
                return Ok(None);
            }
            if !goes_on {
                let _ = sender.blocking_send(Bytes::from(out));
                return Ok(None);
            }
        }
    }
    for line in last {
        let goes_on = entry(&line).is_none_or(|entry| filter.write(&entry, &mut out));
        if !goes_on {
            let _ = sender.blocking_send(Bytes::from(out));
            return Ok(None);
        }
    }
    if !out.is_empty() && sender.blocking_send(Bytes::from(out)).is_err() {
        return Ok(None);
    }
    Ok(files.pop())
}

struct Follower {
    file: BufReader<File>,
    rest: Vec<u8>,
    rotations: u64,
}

impl Follower {
    /// Reads what has come since; false when the client has had all that it asked for.
    fn catch_up(&mut self, path: &Path, rotations: u64, filter: &mut Filter, out: &mut Vec<u8>) -> bool {
        loop {
            if self.file.read_to_end(&mut self.rest).is_err() {
                return false;
            }
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let rest = self.rest.split_off(whole);
            let lines = std::mem::replace(&mut self.rest, rest);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                if entry(line).is_some_and(|entry| !filter.write(&entry, out)) {
                    return false;
                }
            }
            if self.rotations >= rotations {
                return true;
            }
            // The next file after this one; of more than are kept the oldest is taken.
            self.rotations += 1;
            let ago = u32::try_from(rotations - self.rotations).unwrap_or(FILES).min(FILES - 1);
            match File::open(rotated(path, ago)) {
                Ok(file) => self.file = BufReader::new(file),
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(stream: LogStream) -> String {
        let pieces: Vec<Bytes> = stream.collect().await;
        String::from_utf8(pieces.concat()).expect("text")
    }

    /// If this fails `kubectl logs --tail`, `--limit-bytes`, `--since-time` or `--timestamps` show something else.
    #[tokio::test]
    async fn a_log_is_read_as_it_was_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = Log::to_file(&folder.path().join("0.log")).expect("a log");
        log.clone().pump("stdout", &b"one\ntwo\n"[..]).await;
        log.clone().pump("stderr", &b"three\nfour"[..]).await;
        let base = LogOptions::default();
        let of = |options: LogOptions| collect(read(&log, options));
        assert_eq!(of(base.clone()).await, "one\ntwo\nthree\nfour");
        assert_eq!(of(LogOptions { tail_lines: Some(2), ..base.clone() }).await, "three\nfour");
        assert_eq!(of(LogOptions { tail_lines: Some(0), ..base.clone() }).await, "");
        assert_eq!(of(LogOptions { limit_bytes: Some(6), ..base.clone() }).await, "one\ntw");
        assert_eq!(of(LogOptions { stream: Some("stderr"), ..base.clone() }).await, "three\nfour");
        let future = "2999-01-01T00:00:00Z".parse().ok();
        assert_eq!(of(LogOptions { since: future, ..base.clone() }).await, "");
        let stamped = of(LogOptions { timestamps: true, ..base }).await;
        let first = stamped.lines().next().expect("a line");
        let (time, text) = first.split_once(' ').expect("a time");
        assert_eq!(text, "one");
        assert!(time.parse::<Timestamp>().is_ok() && time.ends_with('Z') && time.contains('.'), "{time}");
    }

    /// If this fails `kubectl logs -f` stops, repeats or loses lines where a log file is full.
    #[tokio::test]
    async fn following_goes_on_over_rotations_to_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = Log::to_file(&folder.path().join("0.log")).expect("a log");
        log.clone().pump("stdout", &b"first\n"[..]).await;
        let stream = read(&log, LogOptions { follow: true, ..LogOptions::default() });
        let reader = tokio::spawn(collect(stream));
        let line = "x".repeat(10_000);
        let mut expected = String::from("first\n");
        for number in 0..2_500 {
            let text = format!("{number} {line}\n");
            log.clone().pump("stdout", text.as_bytes()).await;
            expected += &text;
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        log.end();
        let text = reader.await.expect("the reader");
        assert_eq!(text.len(), expected.len());
        assert!(text == expected, "the same lines in the same order");
    }
}
