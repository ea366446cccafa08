//! The machines that pods run on, and what moves between them and the outside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quantity::{Bandwidth, Bytes, Duration, Price};

/// Pools of machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// At least one; no two share a name.
    pub pools: Vec<Pool>,
    /// Which of the nodes that fit is taken.
    pub scheduling: Scheduling,
    /// What adds and removes nodes; `None` keeps each pool at its count.
    pub autoscaler: Option<NodeAutoscaler>,
    /// How long a node may be silent until the cluster takes it for lost.
    pub monitor_grace_period: Duration,
    /// How long pods stay on a node that is lost, unless they say otherwise.
    pub unreachable_toleration: Duration,
}

impl Nodes {
    /// The controller manager's `--node-monitor-grace-period` since Kubernetes 1.32; 40 s before.
    pub const MONITOR_GRACE_PERIOD: Duration = Duration::from_s(50);
    /// The API server's `--default-unreachable-toleration-seconds`.
    pub const UNREACHABLE_TOLERATION: Duration = Duration::from_s(300);
}

/// Machines of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// What people call it.
    pub name: String,
    /// How many there are at the start, from `least` to `most`.
    pub count: u32,
    /// The fewest that the autoscaler keeps.
    pub least: u32,
    /// The most that the autoscaler adds up to.
    pub most: u32,
    /// Allocatable CPU of a node in thousandths of a core.
    pub cpu_milli: u64,
    /// Allocatable memory of a node.
    pub memory: Bytes,
    /// GPUs of a node.
    pub gpus: u32,
    /// Memory of each GPU.
    pub gpu_memory: Bytes,
    /// What a node costs.
    pub price: Price,
    /// How fast a node downloads; `None` has no limit of its own.
    pub bandwidth: Option<Bandwidth>,
    /// Its failure zone; empty when there is none.
    pub zone: String,
}

/// Which of the nodes that fit is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduling {
    /// The emptiest.
    #[default]
    Spread,
    /// The fullest.
    Pack,
}

/// A cluster autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAutoscaler {
    /// From the decision to a node that takes pods.
    pub provisioning: Duration,
    /// How often it looks.
    pub scan: Duration,
    /// How long a node is not needed before it goes.
    pub idle: Duration,
}

impl Default for NodeAutoscaler {
    /// Looks every 10 s and removes after 10 min, as the Kubernetes Cluster Autoscaler does; a node takes 90 s.
    fn default() -> Self {
        Self { provisioning: Duration::from_s(90), scan: Duration::from_s(10), idle: Duration::from_s(600) }
    }
}

/// How fast the services that pods download from give, shared by all downloads from each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedBandwidth {
    /// The image registry; `None` has no limit.
    pub registry: Option<Bandwidth>,
    /// Storage services by prefix of the storage URI; the longest that matches counts, and what matches none
    /// has no limit.
    pub storage: BTreeMap<String, Bandwidth>,
}
