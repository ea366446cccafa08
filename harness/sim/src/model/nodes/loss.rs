//! Nodes that are lost: nobody knows at first, then the cluster notices, then it gives their pods up.
//!
//! What happens when, as Kubernetes has it:
//!
//! | when | what |
//! | --- | --- |
//! | at once | The machine answers nobody. Requests that it computes hang, those that are sent to it run into the connection's time-out. Its pods are ready, for all that the cluster knows, and further ones may be sent there. |
//! | after the monitor's grace period | The node is `NotReady`: its pods leave the endpoints. They exist, so nobody replaces them. |
//! | after the toleration as well | They are evicted: replaced elsewhere, and `Terminating` until the node is back or removed. |
//! | when it is back | What was evicted is deleted; other pods start there anew, image and model included. |
//!
//! Simplifications: the last heartbeat was at the moment of the loss, and nodes are given up all at once (upstream
//! taints one in ten seconds, and none where most of a zone is lost).

use super::super::clients::Failure;
use super::super::pods::{self, Life};
use super::super::server::Server;
use super::super::start::{Phase, Start};
use super::super::workloads::Readiness;
use super::super::{Event as Any, World};
use super::Event;
use crate::engine::{Key, Schedule};
use crate::fleet::{NodeId, PodId};
use windtunnel_scenario::Duration;

impl World<'_> {
    /// Nodes answer no more.
    pub(in crate::model) fn lose_nodes(
        &mut self,
        now_ns: u64,
        nodes: &[NodeId],
        schedule: &mut Schedule<Any>,
    ) {
        let grace_ns = self.plan.environment.monitor_grace_period().as_ns();
        for node in nodes {
            let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
            cluster.forget_disk(now_ns, *node);
            let due_ns = now_ns.saturating_add(grace_ns);
            cluster.silent.insert(*node, due_ns);
            schedule.at(due_ns, Any::Node(Event::NotReady(*node)));
            let lost = cluster.fleet.lose(*node);
            for key in self.keys_of(&lost) {
                self.cut_off(key);
            }
        }
        self.expect_cluster(now_ns, schedule);
    }

    /// A pod is on a node that does not answer.
    pub(super) fn cut_off(&mut self, key: Key) {
        self.consumer_drains(key);
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        pod.is_cut_off = true;
        pod.server.halt();
        if let Life::Starting(start) = &mut pod.life {
            start.expect(None);
        }
    }

    /// The cluster notices that a node does not answer: its pods are not ready, and their time runs.
    pub(super) fn node_not_ready(&mut self, now_ns: u64, node: NodeId, schedule: &mut Schedule<Any>) {
        let back_ns = self.api_back_ns(now_ns);
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        if cluster.silent.get(&node) != Some(&now_ns) {
            return;
        }
        if back_ns > now_ns {
            cluster.silent.insert(node, back_ns);
            return schedule.at(back_ns, Any::Node(Event::NotReady(node)));
        }
        let name = cluster.node_name(node);
        let lost = cluster.fleet.give_up(node);
        let grace = self.plan.environment.monitor_grace_period();
        self.note(now_ns, "node", &name, &format!("NotReady: no heartbeat for {grace}"));
        for key in self.keys_of(&lost) {
            self.consumer_gone(now_ns, key, schedule);
            self.tolerate(now_ns, key, schedule);
            self.out_of_endpoints(now_ns, key, schedule);
        }
        self.place_pods(now_ns, schedule);
        self.expect_cluster(now_ns, schedule);
    }

    /// From now on a pod has as long as it tolerates that its node is out of reach.
    fn tolerate(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let default = self.plan.environment.unreachable_toleration();
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        if matches!(pod.life, Life::Stopping) {
            return;
        }
        let toleration = self.state.workloads[usize::from(pod.workload)].template.toleration;
        if let Some(length_ns) = toleration.length_ns(default.as_ns()) {
            let due_ns = now_ns.saturating_add(length_ns);
            pod.evict_due_ns = Some(due_ns);
            schedule.at(due_ns, Any::Pod(key, pods::Event::Evict));
        }
    }

    /// A pod that was ready is so no longer, and waits to start again.
    fn out_of_endpoints(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        if self.state.pods.get(key).is_some_and(super::super::pods::Pod::is_ready) {
            self.leave_endpoints(key);
        } else if !self.leave_probing(key) {
            return;
        }
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        pod.life = Life::Starting(Start::again_from(now_ns, Phase::ImagePull));
        pod.condition.set_ready(now_ns, false);
        let index = pod.workload;
        self.endpoints_changed(now_ns, index, Readiness::Lost, schedule);
    }

    /// A pod's toleration has passed.
    pub(in crate::model) fn toleration_over(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let back_ns = self.api_back_ns(now_ns);
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        if pod.evict_due_ns != Some(now_ns) || matches!(pod.life, Life::Stopping) {
            return;
        }
        if back_ns > now_ns {
            pod.evict_due_ns = Some(back_ns);
            return schedule.at(back_ns, Any::Pod(key, pods::Event::Evict));
        }
        pod.evict_due_ns = None;
        let name = pod.name.clone();
        self.note(now_ns, "pod", &name, "TaintManagerEviction: its node is out of reach");
        self.evict_pod(now_ns, key, schedule);
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
            cluster.silent.remove(node);
            if !cluster.fleet.recover(*node) {
                continue;
            }
            let there: Vec<PodId> =
                cluster.fleet.node(*node).map(|node| node.pods().collect()).unwrap_or_default();
            self.note(now_ns, "node", &name, "back");
            for key in self.keys_of(&there) {
                self.start_anew(now_ns, key, schedule);
            }
        }
        self.place_pods(now_ns, schedule);
        self.expect_cluster(now_ns, schedule);
    }

    /// The node of a pod is back: what it computed is lost, and it starts with everything, or is deleted at last.
    fn start_anew(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let (index, name) = (pod.workload, pod.name.clone());
        let is_stopping = matches!(pod.life, Life::Stopping);
        pod.is_cut_off = false;
        pod.evict_due_ns = None;
        self.out_of_endpoints(now_ns, key, schedule);
        let freed = self.lose_requests(now_ns, key, Failure::NodeLost, schedule);
        if is_stopping {
            self.remove_pod(now_ns, key, schedule);
        } else {
            self.consumer_gone(now_ns, key, schedule);
            self.note(now_ns, "pod", &name, "its node is back; it starts anew");
            if let Some(pod) = self.state.pods.get_mut(key) {
                pod.server = Server::new(&self.profiles[usize::from(index)]);
                if let Life::Starting(start) = &mut pod.life {
                    start.again(now_ns, Phase::ImagePull);
                }
            }
            self.begin_phase(now_ns, key, Phase::ImagePull, schedule);
        }
        for _ in 0..freed {
            self.slot_freed(now_ns, index, schedule);
        }
    }

    /// A node that was lost is removed from the cluster, and its pods with it.
    pub(super) fn pods_of_removed_node(&mut self, now_ns: u64, pods: &[Key], schedule: &mut Schedule<Any>) {
        let of = |key: &Key| self.state.pods.get(*key).map(|pod| pod.workload);
        let mut workloads: Vec<u16> = pods.iter().filter_map(of).collect();
        workloads.sort_unstable();
        workloads.dedup();
        for key in pods {
            self.lose_pod(now_ns, *key, schedule);
        }
        for workload in workloads {
            self.scale_pods(now_ns, workload, schedule);
        }
    }

    fn keys_of(&self, pods: &[PodId]) -> Vec<Key> {
        let Some(cluster) = self.state.cluster.as_deref() else { return Vec::new() };
        pods.iter().filter_map(|pod| cluster.key_of(*pod)).collect()
    }

    /// Whether the machine of a request's pod does not answer.
    pub(in crate::model) fn is_cut_off(&self, pod: Key) -> bool {
        // Nearly always there is no such machine.
        self.state.cluster.as_deref().is_some_and(|cluster| !cluster.silent.is_empty())
            && self.state.pods.get(pod).is_some_and(|pod| pod.is_cut_off)
    }

    /// How long a connection to a machine is tried that does not answer.
    pub(in crate::model) fn connect_timeout(&self) -> Duration {
        self.plan.environment.network.connect_timeout
    }

    /// As people call a node.
    pub(in crate::model) fn node_name(&self, node: NodeId) -> String {
        self.state.cluster.as_deref().map_or_else(String::new, |cluster| cluster.node_name(node))
    }
}
