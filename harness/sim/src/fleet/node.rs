//! One node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::demand::{PodId, Workload};
use super::room::Room;

/// Names a node; never used twice in a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Ordered; the cluster does not know it yet.
    Provisioning {
        /// When it will be ready.
        ready_at_ns: u64,
    },
    /// Takes pods.
    Ready,
    /// Cordoned: it takes no more pods and is removed once it is empty.
    Draining,
    /// Known to be out of reach (`NotReady`): it takes no more pods, and those that are on it wait for their eviction.
    Lost,
}

/// A machine of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its pool, an index.
    pub pool: usize,
    /// Where it is in its life.
    pub state: NodeState,
    /// The machine answers. When it does no longer, the cluster learns it later: see [`NodeState::Lost`].
    pub is_reachable: bool,
    pub(super) room: Room,
    pub(super) pods: BTreeSet<PodId>,
    pub(super) workloads: BTreeMap<Workload, u32>,
    /// Sums of requests as the scorer counts them.
    pub(super) counted_cpu_m: u64,
    pub(super) counted_memory: u64,
}

impl Node {
    pub(super) fn new(pool: usize, state: NodeState, room: Room) -> Self {
        Self {
            pool,
            state,
            is_reachable: true,
            room,
            pods: BTreeSet::new(),
            workloads: BTreeMap::new(),
            counted_cpu_m: 0,
            counted_memory: 0,
        }
    }

    /// The pods on it.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = PodId> {
        self.pods.iter().copied()
    }

    /// How many pods of a workload it has.
    pub fn pods_of(&self, workload: Workload) -> u32 {
        self.workloads.get(&workload).copied().unwrap_or(0)
    }
}
