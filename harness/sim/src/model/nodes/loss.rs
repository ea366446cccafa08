//! Nodes that are lost with all that is on them, and come back empty.

use super::super::{Event as Any, World};
use crate::engine::{Key, Schedule};
use crate::fleet::NodeId;

impl World<'_> {
    /// Nodes are gone at once, with their pods, which are replaced at once.
    pub(in crate::model) fn lose_nodes(
        &mut self,
        now_ns: u64,
        nodes: &[NodeId],
        schedule: &mut Schedule<Any>,
    ) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let mut lost: Vec<Key> = Vec::new();
        for node in nodes {
            cluster.forget_disk(now_ns, *node);
            let pods = cluster.fleet.lose(*node);
            lost.extend(pods.into_iter().filter_map(|pod| cluster.key_of(pod)));
        }
        let mut workloads: Vec<u16> =
            lost.iter().filter_map(|key| self.state.pods.get(*key)).map(|pod| pod.workload).collect();
        workloads.sort_unstable();
        workloads.dedup();
        for key in lost {
            self.lose_pod(now_ns, key, schedule);
        }
        for workload in workloads {
            self.scale_pods(now_ns, workload, schedule);
        }
        self.expect_cluster(now_ns, schedule);
    }

    /// Lost nodes are back, those that nobody has removed.
    pub(in crate::model) fn nodes_return(
        &mut self,
        now_ns: u64,
        nodes: &[NodeId],
        schedule: &mut Schedule<Any>,
    ) {
        for node in nodes {
            let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
            let name = cluster.node_name(*node);
            if cluster.fleet.recover(*node) {
                self.note(now_ns, "node", &name, "back");
            }
        }
        self.place_pods(now_ns, schedule);
        self.expect_cluster(now_ns, schedule);
    }

    /// As people call a node.
    pub(in crate::model) fn node_name(&self, node: NodeId) -> String {
        self.state.cluster.as_deref().map_or_else(String::new, |cluster| cluster.node_name(node))
    }
}
