//! What a pod asks of a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names a pod. The caller chooses; a number is not used again while its pod is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodId(pub u64);

/// Names what a pod belongs to (a replica set, a revision): pods of one workload are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload(pub u32);

/// The resource requests of a pod, all containers together.
///
/// ```
/// use windtunnel_sim::fleet::Demand;
/// let small = Demand { cpu_m: 500, memory: 1 << 30, ..Demand::default() };
/// let on_a_gpu = Demand { gpus: 1, ..small.clone() }.with_label("topology.kubernetes.io/zone", "a");
/// assert_eq!(on_a_gpu.selector.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Demand {
    /// `requests.cpu` in thousandths of a core.
    pub cpu_m: u64,
    /// `requests.memory` in bytes.
    pub memory: u64,
    /// `limits["nvidia.com/gpu"]`: whole GPUs, or shares of GPUs where a pool slices them by time.
    pub gpus: u32,
    /// GPU memory in bytes that must be free, over all its GPUs together; each must have an equal part of it.
    /// Kubernetes alone does not look at it (0); schedulers for shared GPUs do. Memory without a count of GPUs
    /// asks for one.
    pub gpu_memory: u64,
    /// `nodeSelector`: every label must be on the node.
    pub selector: BTreeMap<String, String>,
}

impl Demand {
    /// The same, on nodes with this label only.
    #[must_use]
    pub fn with_label(mut self, key: &str, value: &str) -> Self {
        self.selector.insert(key.to_owned(), value.to_owned());
        self
    }

    /// How many GPUs, or shares, it takes.
    pub(super) fn gpu_slots(&self) -> u32 {
        if self.gpu_memory > 0 { self.gpus.max(1) } else { self.gpus }
    }

    /// Memory on each of its GPUs.
    pub(super) fn memory_per_slot(&self) -> u64 {
        match self.gpu_slots() {
            0 => 0,
            slots => self.gpu_memory.div_ceil(u64::from(slots)),
        }
    }
}
