//! Machines under the pods: who is where, what is on its way to whom, which machines come and go, what they cost.
//!
//! Adapter of [`crate::fleet`]. There is one only where a scenario names machines or sizes; without, pods are placed at
//! once and every phase of a start has a length of its own.

mod cluster;
mod loss;
mod transfers;

use serde::{Deserialize, Serialize};
use windtunnel_scenario::Duration;

pub(super) use cluster::Cluster;

use super::{Event as Any, World};
use crate::engine::{Key, Schedule, Violation};
use crate::error::SimError;
use crate::fleet::{Action, Bound, Demand, NodeId, PodId, Workload};

/// What happens to machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A transfer may have ended.
    Transfers,
    /// The cluster's autoscaler looks, or a machine is ready.
    Wake,
    /// A machine has not answered for so long that it counts as lost.
    NotReady(NodeId),
}

impl World<'_> {
    /// Something that machines waited for.
    pub(super) fn node_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let due_ns = match event {
            Event::Transfers => &mut cluster.transfers_due_ns,
            Event::Wake => &mut cluster.wake_due_ns,
            Event::NotReady(node) => return self.node_not_ready(now_ns, node, schedule),
        };
        if *due_ns != Some(now_ns) {
            return;
        }
        *due_ns = None;
        match event {
            Event::Transfers => self.transfers_end(now_ns, schedule),
            Event::Wake => self.cluster_wakes(now_ns, schedule),
            Event::NotReady(_) => {}
        }
    }

    /// A new pod asks for a place; [`World::place_pods`] gives it one.
    pub(super) fn submit_pod(&mut self, now_ns: u64, key: Key) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let template = &self.state.workloads[usize::from(pod.workload)].template;
        let demand = Demand {
            cpu_m: template.reserved.cpu_milli,
            memory: template.reserved.memory_bytes,
            gpus: template.reserved.gpus,
            gpu_memory: 0,
            selector: template.selector.clone(),
        };
        let id = cluster.name_pod(key);
        pod.place = Some(id);
        if let Err(error) = cluster.fleet.submit(now_ns, id, Workload(u32::from(pod.workload)), demand) {
            self.fault = Some(error.into());
        }
    }

    /// Gives places to the pods that wait for one, as far as there are some.
    pub(super) fn place_pods(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        if self.state.cluster.is_none() || self.api_is_out(now_ns) {
            return;
        }
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let mut bound = Vec::new();
        cluster.fleet.schedule(&mut bound);
        for Bound { pod, node } in bound {
            let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
            if cluster.fleet.is_over_allocated(node) {
                let detail = cluster.node_name(node);
                let law = "no node has given away more than it has";
                self.fault = Some(SimError::Violation(Violation { now_ns, law, detail }));
            }
            let Some(key) = cluster.key_of(pod) else { continue };
            let waited_since_ns = cluster.pending_since.remove(&pod);
            let is_reachable = cluster.fleet.node(node).is_none_or(|node| node.is_reachable);
            let node = cluster.node_name(node);
            if let Some(since_ns) = waited_since_ns
                && let Some(pod) = self.state.pods.get(key)
            {
                let name = pod.name.clone();
                let waited = Duration::from_ns(now_ns.saturating_sub(since_ns));
                self.note(now_ns, "pod", &name, &format!("Scheduled: to {node}, after {waited}"));
            }
            if is_reachable {
                self.begin_phase(now_ns, key, super::start::PHASES[0], schedule);
            } else {
                self.cut_off(key);
            }
        }
        self.tell_pending(now_ns);
        self.expect_cluster(now_ns, schedule);
    }

    /// Pods that found no place are said to be pending, once, in the scheduler's words.
    fn tell_pending(&mut self, now_ns: u64) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let mut told: Vec<(Key, String)> = Vec::new();
        let mut last: Option<(Demand, String)> = None;
        for waiting in cluster.fleet.pending().filter(|waiting| waiting.unschedulable) {
            if cluster.pending_since.contains_key(&waiting.pod) {
                continue;
            }
            let why = match &last {
                Some((demand, why)) if *demand == waiting.demand => why.clone(),
                _ => cluster.fleet.why(&waiting.demand).to_string(),
            };
            last = Some((waiting.demand.clone(), why.clone()));
            cluster.pending_since.insert(waiting.pod, waiting.since_ns);
            if let Some(key) = cluster.key_of(waiting.pod) {
                told.push((key, why));
            }
        }
        for (key, why) in told {
            let Some(name) = self.state.pods.get(key).map(|pod| pod.name.clone()) else { continue };
            self.note(now_ns, "pod", &name, &format!("FailedScheduling: {why}"));
        }
    }

    /// A pod is gone: its place is free, and what was on its way to it is not needed.
    pub(super) fn release_place(&mut self, now_ns: u64, place: PodId, schedule: &mut Schedule<Any>) {
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        cluster.forget_pod(now_ns, place);
        self.place_pods(now_ns, schedule);
        self.expect_cluster(now_ns, schedule);
    }

    fn cluster_wakes(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        if self.api_is_out(now_ns) {
            return self.expect_cluster(now_ns, schedule);
        }
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        for action in cluster.step(now_ns) {
            let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
            match action {
                Action::Ordered { node, pool, ready_at_ns } => {
                    cluster.count_cost(pool, now_ns);
                    let name = cluster.node_name(node);
                    let waits = cluster.fleet.pending().filter(|pod| pod.unschedulable).count();
                    let after = Duration::from_ns(ready_at_ns.saturating_sub(now_ns));
                    let text = format!("TriggeredScaleUp: {waits} pods are pending; ready in {after}");
                    self.note(now_ns, "node", &name, &text);
                }
                Action::Joined { node, pool } => {
                    let bits = cluster.fleet.pools()[pool].bandwidth_bits;
                    let name = cluster.node_name(node);
                    if let Err(error) = cluster.network.add_node(node, bits) {
                        self.fault = Some(error.into());
                    }
                    self.note(now_ns, "node", &name, "ready");
                }
                Action::Drained { node, evict } => {
                    let name = cluster.node_name(node);
                    let keys: Vec<Key> = evict.into_iter().filter_map(|pod| cluster.key_of(pod)).collect();
                    self.note(now_ns, "node", &name, &format!("ScaleDown: {} pods are evicted", keys.len()));
                    for key in keys {
                        self.evict_pod(now_ns, key, schedule);
                    }
                }
                Action::Removed { node, pool, pods } => {
                    let keys: Vec<Key> = pods.into_iter().filter_map(|pod| cluster.key_of(pod)).collect();
                    cluster.forget_node(now_ns, node);
                    cluster.count_cost(pool, now_ns);
                    let name = cluster.node_name_of(pool, node);
                    self.note(now_ns, "node", &name, "ScaleDown: removed");
                    self.pods_of_removed_node(now_ns, &keys, schedule);
                }
            }
        }
        self.place_pods(now_ns, schedule);
        self.expect_cluster(now_ns, schedule);
    }

    /// Sees to it that the cluster is called when something is due.
    pub(super) fn expect_cluster(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        let back_ns = self.api_back_ns(now_ns);
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        let transfers_ns = cluster.network.transfers.next_end_ns();
        if transfers_ns != cluster.transfers_due_ns {
            cluster.transfers_due_ns = transfers_ns;
            if let Some(due_ns) = transfers_ns {
                schedule.at(due_ns, Any::Node(Event::Transfers));
            }
        }
        let wake_ns = cluster.wake_ns(now_ns).map(|wake_ns| wake_ns.max(back_ns));
        if wake_ns != cluster.wake_due_ns {
            cluster.wake_due_ns = wake_ns;
            if let Some(due_ns) = wake_ns {
                schedule.at(due_ns, Any::Node(Event::Wake));
            }
        }
    }

    /// Each pod is known to the cluster once, with a place or waiting for one.
    pub(super) fn check_places(&self, now_ns: u64) -> Result<(), Violation> {
        let Some(cluster) = self.state.cluster.as_deref() else { return Ok(()) };
        let violated =
            |detail| Err(Violation { now_ns, law: "a pod is on one node, or waits for one", detail });
        let (known, there) = (cluster.fleet.pod_count(), self.state.pods.len());
        let on_nodes: usize = cluster.fleet.nodes().map(|(_, node)| node.pods().len()).sum();
        let waiting = cluster.fleet.pending().len();
        if known != there || on_nodes + waiting != known {
            return violated(format!("{there} pods, {known} known, {on_nodes} on nodes, {waiting} waiting"));
        }
        Ok(())
    }
}
