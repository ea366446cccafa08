//! What lies on the disks of nodes, what is on its way there, and which pods wait for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::demand::PodId;
use super::error::FleetError;
use super::node::NodeId;
use super::transfers::{Link, TransferKey, Transfers};

/// Named things of known size on nodes. What two pods of a node want is transferred once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blobs {
    nodes: BTreeMap<NodeId, Disk>,
    waiting: BTreeMap<PodId, Waiting>,
    underway: BTreeMap<TransferKey, Coming>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Disk {
    present: BTreeSet<String>,
    coming: BTreeMap<String, TransferKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    node: NodeId,
    missing: BTreeSet<TransferKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Coming {
    node: NodeId,
    name: String,
    /// It stays on the node when it has arrived.
    keep: bool,
    waiters: BTreeSet<PodId>,
}

/// One thing that a pod needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    pub(super) keep: bool,
}

impl Blobs {
    /// Begins to transfer what is missing and nobody fetches yet. True when the pod has all at once.
    pub(super) fn fetch(
        &mut self,
        now_ns: u64,
        (node, pod): (NodeId, PodId),
        wanted: &[Wanted<'_>],
        links: &[Link],
        transfers: &mut Transfers,
    ) -> Result<bool, FleetError> {
        if self.waiting.contains_key(&pod) {
            return Err(FleetError::KnownPod { pod });
        }
        let mut missing = BTreeSet::new();
        for Wanted { name, bytes, keep } in wanted.iter().copied() {
            let disk = self.nodes.entry(node).or_default();
            if disk.present.contains(name) {
                continue;
            }
            if bytes == 0 {
                if keep {
                    disk.present.insert(name.to_owned());
                }
                continue;
            }
            let key = match disk.coming.get(name) {
                Some(key) => *key,
                None => match transfers.start(now_ns, bytes, links) {
                    Ok(key) => {
                        disk.coming.insert(name.to_owned(), key);
                        let coming = Coming { node, name: name.to_owned(), keep, waiters: BTreeSet::new() };
                        self.underway.insert(key, coming);
                        key
                    }
                    Err(error) => {
                        self.waiting.insert(pod, Waiting { node, missing });
                        self.leave(now_ns, pod, true, transfers);
                        return Err(error);
                    }
                },
            };
            missing.insert(key);
            if let Some(coming) = self.underway.get_mut(&key) {
                coming.waiters.insert(pod);
            }
        }
        if missing.is_empty() {
            return Ok(true);
        }
        self.waiting.insert(pod, Waiting { node, missing });
        Ok(false)
    }

    /// A transfer has ended: appends the pods that have all they need now. False when it was none of these.
    pub(super) fn arrived(&mut self, key: TransferKey, ready: &mut Vec<PodId>) -> bool {
        let Some(coming) = self.underway.remove(&key) else { return false };
        if let Some(disk) = self.nodes.get_mut(&coming.node) {
            disk.coming.remove(&coming.name);
            if coming.keep {
                disk.present.insert(coming.name);
            }
        }
        for pod in coming.waiters {
            let Some(waiting) = self.waiting.get_mut(&pod) else { continue };
            waiting.missing.remove(&key);
            if waiting.missing.is_empty() {
                self.waiting.remove(&pod);
                ready.push(pod);
            }
        }
        true
    }

    /// The pod waits no longer. What nobody else waits for goes on, or is cancelled.
    pub(super) fn leave(&mut self, now_ns: u64, pod: PodId, cancel: bool, transfers: &mut Transfers) -> bool {
        let Some(waiting) = self.waiting.remove(&pod) else { return false };
        for key in waiting.missing {
            let Some(coming) = self.underway.get_mut(&key) else { continue };
            coming.waiters.remove(&pod);
            if cancel && coming.waiters.is_empty() {
                self.drop_transfer(now_ns, key, transfers);
            }
        }
        true
    }

    /// The node is gone, and what it had. Its pods wait no longer.
    pub(super) fn forget(&mut self, now_ns: u64, node: NodeId, transfers: &mut Transfers) {
        self.nodes.remove(&node);
        self.waiting.retain(|_, waiting| waiting.node != node);
        let keys: Vec<TransferKey> =
            self.underway.iter().filter(|(_, coming)| coming.node == node).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_transfer(now_ns, key, transfers);
        }
    }

    pub(super) fn put(&mut self, node: NodeId, name: &str) {
        self.nodes.entry(node).or_default().present.insert(name.to_owned());
    }

    pub(super) fn has(&self, node: NodeId, name: &str) -> bool {
        self.nodes.get(&node).is_some_and(|disk| disk.present.contains(name))
    }

    pub(super) fn is_waiting(&self, pod: PodId) -> bool {
        self.waiting.contains_key(&pod)
    }

    fn drop_transfer(&mut self, now_ns: u64, key: TransferKey, transfers: &mut Transfers) {
        transfers.cancel(now_ns, key);
        let Some(coming) = self.underway.remove(&key) else { return };
        if let Some(disk) = self.nodes.get_mut(&coming.node) {
            disk.coming.remove(&coming.name);
        }
    }
}
