//! Whom a fault strikes.

use super::super::clients::Failure;
use super::super::{Event as Any, World};
use crate::engine::{Key, Schedule, Stream};
use crate::fleet::{NodeId, NodeState};

impl World<'_> {
    /// Pods of a service with a container that runs: all of them, or `count` by chance.
    pub(super) fn running_pods(&self, service: &str, count: Option<u32>, chance: &mut Stream) -> Vec<Key> {
        let services = &self.plan.services;
        let workloads = self.state.workloads.iter().filter(|set| services[set.service].name == service);
        let mut pods: Vec<Key> = workloads
            .flat_map(|workload| workload.pods.iter().copied())
            .filter(|key| self.state.pods.get(*key).is_some_and(|pod| pod.has_container()))
            .collect();
        draw(&mut pods, count, chance);
        pods
    }

    /// Nodes of a pool that are there, `count` of them by chance.
    pub(super) fn nodes_to_lose(&self, pool: &str, count: u32, chance: &mut Stream) -> Vec<NodeId> {
        let Some(cluster) = self.state.cluster.as_deref() else { return Vec::new() };
        let fleet = &cluster.fleet;
        let Some(pool) = fleet.pools().iter().position(|known| known.name == pool) else { return Vec::new() };
        let is_there = |state| matches!(state, NodeState::Ready | NodeState::Draining);
        let mut nodes: Vec<NodeId> = fleet
            .nodes_of(pool)
            .filter(|(_, node)| node.is_reachable && is_there(node.state))
            .map(|(id, _)| id)
            .collect();
        draw(&mut nodes, Some(count), chance);
        nodes
    }

    pub(super) fn crash_all(&mut self, now_ns: u64, pods: &[Key], why: &str, schedule: &mut Schedule<Any>) {
        for pod in pods {
            self.crash(now_ns, *pod, why, Failure::ContainerDied, schedule);
        }
    }
}

/// Leaves `count` of some, each with the same chance, in their order.
fn draw<T>(from: &mut Vec<T>, count: Option<u32>, chance: &mut Stream) {
    let Some(count) = count else { return };
    while from.len() > count as usize {
        let at = (chance.unit() * from.len() as f64) as usize;
        from.remove(at.min(from.len() - 1));
    }
}
