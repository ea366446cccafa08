//! The schema of machines and of what moves between them.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::quantities::{BandwidthText, BytesText, DurationText, PriceText};
use crate::scenario::Scheduling;

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct NodesFile {
    /// Machines of one kind each.
    #[schemars(length(min = 1))]
    pools: Vec<PoolFile>,
    /// Which of the nodes that fit is taken; spread unless given.
    scheduling: Option<Scheduling>,
    /// What adds and removes nodes; nothing does unless given.
    autoscaler: Option<NodeAutoscalerFile>,
    /// How long a node may be silent until the cluster takes it for lost and its pods leave the endpoints: the
    /// controller manager's --node-monitor-grace-period. 50s unless given, as since Kubernetes 1.32; 40s before.
    monitor_grace_period: Option<DurationText>,
    /// How long pods then stay bound to it before they are replaced, unless their own tolerations say otherwise: the
    /// API server's --default-unreachable-toleration-seconds. 300s unless given.
    unreachable_toleration: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PoolFile {
    /// What people call it.
    name: String,
    /// How many nodes there are at the start.
    #[schemars(range(min = 0, max = 10_000))]
    count: u32,
    /// The fewest that the autoscaler keeps; count unless given.
    #[schemars(range(min = 0, max = 10_000))]
    least: Option<u32>,
    /// The most that the autoscaler adds up to; count unless given.
    #[schemars(range(min = 0, max = 10_000))]
    most: Option<u32>,
    /// Cores of a node: 8, 7.5 or 7500m.
    cpu: CoresText,
    /// Memory of a node.
    memory: BytesText,
    /// GPUs of a node; 0 unless given.
    #[schemars(range(min = 0, max = 1_024))]
    gpus: Option<u32>,
    /// Memory of each GPU.
    gpu_memory: Option<BytesText>,
    /// What a node costs; nothing unless given.
    price: Option<PriceText>,
    /// How fast a node downloads; without a limit unless given.
    bandwidth: Option<BandwidthText>,
    /// Its failure zone.
    zone: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum CoresText {
    Number(f64),
    Milli(#[schemars(regex(pattern = r"^[0-9]+m$"))] String),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NodeAutoscalerFile {
    /// From the decision to a node that takes pods; 90s unless given.
    provisioning: Option<DurationText>,
    /// How often it looks; 10s unless given.
    scan: Option<DurationText>,
    /// How long a node is not needed before it goes; 10m unless given.
    idle: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct SharedBandwidthFile {
    /// How fast the image registry gives, all nodes together.
    registry: Option<BandwidthText>,
    /// How fast storage gives, all nodes together, by prefix of the storage URI.
    storage: Option<BTreeMap<String, BandwidthText>>,
}
