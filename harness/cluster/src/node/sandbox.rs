//! What the containers of one pod share.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use tokio::{sync::watch, time::Instant};

use super::{Context, environment::Surroundings, record::PodRecord, sources::Issued};
use crate::{
    effect::Note,
    world::{Key, Kind},
};

/// Name of a pod's hosts file in its folder.
pub(crate) const HOSTS_FILE: &str = "etc-hosts";
/// Name of its resolver's settings there, if it has its own.
pub(crate) const RESOLVER_FILE: &str = "etc-resolv.conf";

/// A pod whose address and volumes are there.
pub(crate) struct Sandbox {
    pub(crate) node: Arc<Context>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) surroundings: Surroundings,
    /// Host folder of each volume.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    /// Tokens in its volumes.
    pub(crate) tokens: tokio::sync::Mutex<Issued>,
    /// Folder of the pod.
    pub(crate) folder: PathBuf,
    /// Folder of the pod's logs.
    pub(crate) logs: PathBuf,
}

impl Sandbox {
    /// The hosts file of the pod.
    pub(crate) fn hosts_file(&self) -> PathBuf {
        self.folder.join(HOSTS_FILE)
    }

    /// The settings of the pod's resolver, if they are not the machine's.
    pub(crate) fn resolver_file(&self) -> Option<PathBuf> {
        let file = self.folder.join(RESOLVER_FILE);
        file.exists().then_some(file)
    }

    /// Writes an Event about a container.
    pub(crate) fn report(&self, field_path: String, warning: bool, reason: &str, message: String) {
        self.node.recorder.report(note(&self.key, &self.uid, field_path, warning, reason, message));
    }
}

/// An Event about a pod.
pub(crate) fn note(
    key: &Key,
    uid: &str,
    field_path: String,
    warning: bool,
    reason: &str,
    message: String,
) -> Note {
    Note {
        kind: Kind::Pod,
        key: key.clone(),
        uid: uid.to_owned(),
        field_path,
        warning,
        reason: reason.to_owned(),
        action: String::new(),
        message,
        component: super::COMPONENT,
    }
}

/// What is known of a pod, written by its containers and read by its status; and the order to stop.
#[derive(Debug)]
pub(crate) struct Shared {
    record: Mutex<PodRecord>,
    changes: watch::Sender<u64>,
    /// The time by which the containers must have ended, once they shall end.
    deadline: watch::Sender<Option<Instant>>,
}

impl Shared {
    pub(crate) fn new(record: PodRecord) -> Self {
        Self {
            record: Mutex::new(record),
            changes: watch::Sender::new(0),
            deadline: watch::Sender::new(None),
        }
    }

    /// Changes the record; who waits for changes is told if it differs.
    pub(crate) fn update(&self, change: impl FnOnce(&mut PodRecord)) {
        let is_changed = {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            let before = record.clone();
            change(&mut record);
            *record != before
        };
        if is_changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&PodRecord) -> R) -> R {
        look(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts changes of the record.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Orders the containers to end by `deadline`; a later order can only make it sooner.
    pub(crate) fn stop_by(&self, deadline: Instant) {
        self.deadline.send_modify(|present| {
            *present = Some(present.map_or(deadline, |present| present.min(deadline)));
        });
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits for the order to end.
    pub(crate) async fn stopping(&self) {
        let mut deadline = self.deadline.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = deadline.wait_for(Option::is_some).await;
    }

    /// Waits until a time; false if the order to end comes before.
    pub(crate) async fn waits_until(&self, at: Instant) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(at) => true,
            () = self.stopping() => false,
        }
    }

    /// Waits until the time to end is over.
    pub(crate) async fn overdue(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let at = *deadline.borrow_and_update();
            let changed = deadline.changed();
            match at {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => return,
                    _ = changed => {}
                },
                None => {
                    let _ = changed.await;
                }
            }
        }
    }

    /// Waits until the record is as `is_so` wants it.
    pub(crate) async fn until(&self, is_so: impl Fn(&PodRecord) -> bool) {
        let mut changes = self.changes();
        while !self.read(&is_so) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
