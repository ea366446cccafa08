//! The thread that writes: everything that has queued up goes to disk in one transaction, then all of it is settled.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use tokio::sync::watch;

use super::{Folder, tables};
use crate::store::Batch;

/// Batches that one transaction takes at most.
const GROUP: usize = 4_096;

/// How far the disk is.
#[derive(Debug, Clone, Default)]
struct Settled {
    /// Everything up to this revision is on disk.
    revision: u64,
    /// Why nothing more will be.
    failure: Option<Arc<str>>,
}

/// The queue to the thread. Dropping it waits until everything queued is on disk and closes the file.
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Batch>>,
    /// The same as in `settled`, to be read without a lock.
    revision: Arc<AtomicU64>,
    settled: watch::Receiver<Settled>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `announce` is called after each transaction with what it held, before requests that wait for
    /// it go on.
    pub(crate) fn start(
        folder: Folder,
        revision: u64,
        announce: impl Fn(&[Batch]) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, queued) = mpsc::channel();
        let (settle, settled) = watch::channel(Settled { revision, failure: None });
        let shared = Arc::new(AtomicU64::new(revision));
        let reached = Arc::clone(&shared);
        let work = move || run(&folder, &queued, &reached, &settle, announce);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(work)?;
        Ok(Self { queue: Some(queue), revision: shared, settled, thread: Some(thread) })
    }

    /// Queues a batch. The callers' order is the order on disk.
    pub(crate) fn queue(&self, batch: Batch) {
        if let Some(queue) = &self.queue {
            // A thread that is gone has said why in `settled`.
            let _ = queue.send(batch);
        }
    }

    /// The newest revision on disk.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Why nothing more can be written, if so.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.settled.borrow().failure.clone()
    }

    /// Waits until a revision is on disk.
    ///
    /// # Errors
    /// Why it will not be.
    pub(crate) async fn settled(&self, revision: u64) -> Result<(), Arc<str>> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut settled = self.settled.clone();
        let reached = settled.wait_for(|now| now.revision >= revision || now.failure.is_some()).await;
        match reached.as_deref() {
            Ok(now) if now.revision >= revision => Ok(()),
            Ok(Settled { failure: Some(why), .. }) => Err(Arc::clone(why)),
            _ => Err("the thread that writes it has ended".into()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    folder: &Folder,
    queued: &mpsc::Receiver<Batch>,
    reached: &AtomicU64,
    settle: &watch::Sender<Settled>,
    announce: impl Fn(&[Batch]),
) {
    let mut group = Vec::new();
    while let Ok(first) = queued.recv() {
        group.clear();
        group.push(first);
        group.extend(queued.try_iter().take(GROUP - 1));
        let written = catch_unwind(AssertUnwindSafe(|| tables::write(&folder.database, None, &group)));
        let failure = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the embedded store panicked".to_owned()),
        };
        if let Some(why) = failure {
            tracing::error!(path = %folder.path.display(), %why, "the data directory cannot be written");
            settle.send_modify(|settled| settled.failure = Some(why.into()));
            break;
        }
        let revision = group.last().map_or(0, |batch| batch.revision);
        reached.store(revision, Ordering::Release);
        announce(&group);
        settle.send_modify(|settled| settled.revision = revision);
    }
    let _ = folder.lock.unlock();
}
