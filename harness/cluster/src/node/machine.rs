//! The Node object.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
    jiff::Timestamp,
};

use crate::quantity;

/// Name of the node.
pub const NODE_NAME: &str = "windtunnel";

/// The names of so many nodes: the first is [`NODE_NAME`], the others have a number behind it, from 2 on.
pub fn node_names(count: u16) -> impl Iterator<Item = String> {
    (1..=count.max(1))
        .map(|number| if number == 1 { NODE_NAME.to_owned() } else { format!("{NODE_NAME}-{number}") })
}

/// Whether a node of this name is one of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(NODE_NAME) else { return false };
    rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u16>().is_ok())
}
/// What the node offers. Requests are promises, not use: manifests that were written for a cluster's machines must
/// fit a laptop too, so the node offers what a large machine has, whatever this one is.
const CPU: &str = "256";
const MEMORY: &str = "1Ti";
const STORAGE: &str = "1Ti";
const PODS: &str = "1000";

/// Processor (thousandths of a core) and memory (thousandths of a byte) that the node offers.
pub(crate) fn capacity() -> (i128, i128) {
    let of = |text: &str| quantity::milli(&Quantity(text.to_owned())).unwrap_or(0);
    (of(CPU), of(MEMORY))
}

/// The Node object: its status is written on its own. Only the first node is the control plane's.
#[must_use]
pub fn node(name: &str, address: Ipv4Addr, now: Timestamp) -> Node {
    let amounts: BTreeMap<String, Quantity> =
        [("cpu", CPU), ("memory", MEMORY), ("ephemeral-storage", STORAGE), ("pods", PODS)]
            .into_iter()
            .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
            .collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let labels = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
    ];
    let labels = labels.into_iter().filter(|(label, _)| name == NODE_NAME || !label.starts_with("node-role"));
    let condition = |kind: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        },
        spec: Some(Default::default()),
        status: Some(NodeStatus {
            capacity: Some(amounts.clone()),
            allocatable: Some(amounts),
            addresses: Some(vec![
                NodeAddress { type_: "InternalIP".into(), address: address.to_string() },
                NodeAddress { type_: "Hostname".into(), address: name.into() },
            ]),
            conditions: Some(vec![
                condition(
                    "MemoryPressure",
                    "False",
                    "KubeletHasSufficientMemory",
                    "node has sufficient memory",
                ),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "node has no disk pressure"),
                condition(
                    "PIDPressure",
                    "False",
                    "KubeletHasSufficientPID",
                    "node has sufficient process ids",
                ),
                condition("Ready", "True", "KubeletReady", "pods run as processes of this machine"),
            ]),
            daemon_endpoints: Some(NodeDaemonEndpoints::default()),
            node_info: Some(NodeSystemInfo {
                architecture: architecture.to_owned(),
                operating_system: "linux".to_owned(),
                os_image: "Windtunnel embedded cluster".to_owned(),
                container_runtime_version: format!("process://{}", env!("CARGO_PKG_VERSION")),
                kubelet_version: "v1.36.2".to_owned(),
                kernel_version: read_line("/proc/sys/kernel/osrelease"),
                boot_id: read_line("/proc/sys/kernel/random/boot_id"),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
