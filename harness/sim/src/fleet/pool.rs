//! Node pools: machines of one kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::demand::Demand;
use super::error::FleetError;

/// Labels under which clouds put the name of a node's pool; a `nodeSelector` on any of them finds the pool.
pub const POOL_LABELS: [&str; 4] = [
    "pool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
];

/// The label of a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// `--max-pods` of the kubelet where nothing is set.
pub const MOST_PODS_OF_A_NODE: u32 = 110;

/// A pool has at most this many nodes: what Kubernetes supports in one cluster.
pub const MOST_NODES_OF_A_POOL: u32 = 5_000;

/// A node has at most this many GPUs.
pub const MOST_GPUS_OF_A_NODE: u32 = 64;

/// The most that a node costs, in millionths of the currency an hour.
pub const MOST_PRICE_MICRO_PER_HOUR: u64 = 1 << 40;

/// Machines of one kind that are added and removed together. What a node has is what pods may request of it
/// (`status.allocatable`), so what the system keeps for itself is already taken off.
///
/// ```
/// use windtunnel_sim::fleet::Pool;
/// let gpu = Pool { gpus: 1, gpu_memory: 24 << 30, price_micro_per_hour: 1_200_000, ..Pool::new("gpu", 2, 8_000, 32 << 30) };
/// assert!(gpu.check().is_ok());
/// assert!(Pool { least: 3, ..gpu }.check().unwrap_err().to_string().contains("least"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Nodes at the start.
    pub count: u32,
    /// An autoscaler goes no lower.
    pub least: u32,
    /// An autoscaler goes no higher.
    pub most: u32,
    /// Thousandths of a core of a node.
    pub cpu_m: u64,
    /// Bytes of memory of a node.
    pub memory: u64,
    /// GPUs of a node.
    pub gpus: u32,
    /// Bytes of memory of one of its GPUs.
    pub gpu_memory: u64,
    /// How many pods share a GPU by time (`timeSlicing.resources[].replicas` of NVIDIA's device plugin): the
    /// node offers so many times its GPUs, and pods on one GPU share its memory. 1 is no sharing.
    pub gpu_shares: u32,
    /// The nodes carry the taint `nvidia.com/gpu=present:NoSchedule`, so that only pods with a GPU go there.
    pub only_for_gpus: bool,
    /// Pods of a node at most.
    pub most_pods: u32,
    /// Millionths of the currency that a node costs an hour.
    pub price_micro_per_hour: u64,
    /// Bits a second of a node's network; `None` is no limit.
    pub bandwidth_bits: Option<u64>,
    /// The zone of its nodes; empty is none.
    pub zone: String,
    /// Further labels of its nodes, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// A machine that always has room: a cluster whose nodes are not simulated.
    pub unlimited: bool,
}

impl Pool {
    /// `count` nodes that an autoscaler leaves alone, without GPUs, for nothing, in no zone.
    pub fn new(name: &str, count: u32, cpu_m: u64, memory: u64) -> Self {
        Self {
            name: name.to_owned(),
            count,
            least: count,
            most: count,
            cpu_m,
            memory,
            gpus: 0,
            gpu_memory: 0,
            gpu_shares: 1,
            only_for_gpus: false,
            most_pods: MOST_PODS_OF_A_NODE,
            price_micro_per_hour: 0,
            bandwidth_bits: None,
            zone: String::new(),
            labels: BTreeMap::new(),
            unlimited: false,
        }
    }

    /// One node without limits.
    pub fn unlimited() -> Self {
        Self { unlimited: true, most_pods: u32::MAX, ..Self::new("node", 1, u64::MAX, u64::MAX) }
    }

    /// Whether there can be such a pool.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), FleetError> {
        let wrong = |field, message: String| {
            Err(FleetError::setting(format!("node pool {:?}", self.name), field, message))
        };
        if self.name.is_empty() {
            return wrong("name", "is empty; nodes and costs are reported by it".to_owned());
        }
        if self.least > self.count || self.count > self.most {
            return wrong(
                "least, count, most",
                format!("are {}, {} and {}; they must not decrease", self.least, self.count, self.most),
            );
        }
        if self.most > MOST_NODES_OF_A_POOL {
            return wrong("most", format!("is {}; at most {MOST_NODES_OF_A_POOL} are simulated", self.most));
        }
        if self.cpu_m == 0 || self.memory == 0 || self.most_pods == 0 {
            return wrong("cpu, memory, most-pods", "must be more than zero, or no pod ever fits".to_owned());
        }
        if self.gpus > MOST_GPUS_OF_A_NODE {
            return wrong("gpus", format!("is {}; a node has at most {MOST_GPUS_OF_A_NODE}", self.gpus));
        }
        if self.gpu_shares == 0 || self.gpu_shares > 1_024 {
            return wrong("gpu-shares", format!("is {}; write 1 (no sharing) to 1024", self.gpu_shares));
        }
        if self.gpus == 0 && self.only_for_gpus && !self.unlimited {
            return wrong("only-for-gpus", "is set on nodes without a GPU; no pod could go there".to_owned());
        }
        if self.bandwidth_bits == Some(0) {
            return wrong("bandwidth", "is 0; leave it out for no limit".to_owned());
        }
        if self.price_micro_per_hour > MOST_PRICE_MICRO_PER_HOUR {
            return wrong("price", format!("is more than {} an hour", MOST_PRICE_MICRO_PER_HOUR / 1_000_000));
        }
        Ok(())
    }

    /// GPUs that a node offers to pods, shares counted.
    pub fn gpu_slots(&self) -> u32 {
        self.gpus.saturating_mul(self.gpu_shares)
    }

    /// Why none of its nodes takes such a pod however empty they are, in the scheduler's words and the order of
    /// its plugins (`TaintToleration`, `NodeAffinity`).
    pub(super) fn refuses(&self, demand: &Demand) -> Option<&'static str> {
        if self.only_for_gpus && demand.gpu_slots() == 0 {
            return Some("node(s) had untolerated taint {nvidia.com/gpu: present}");
        }
        let matches = demand.selector.iter().all(|(key, value)| {
            self.labels.get(key) == Some(value)
                || (key == ZONE_LABEL && *value == self.zone)
                || (POOL_LABELS.contains(&key.as_str()) && *value == self.name)
        });
        if matches { None } else { Some("node(s) didn't match Pod's node affinity/selector") }
    }
}
