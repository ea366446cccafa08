//! The nodes of a cluster, the pods on them and the pods that wait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::demand::{Demand, PodId, Workload};
use super::error::FleetError;
use super::node::{Node, NodeId, NodeState};
use super::pool::{MOST_NODES_OF_A_POOL, Pool};
use super::room::Room;
use super::score::{self, Scheduling};
use super::unschedulable::Unschedulable;

/// At most this many pods are known at once: what Kubernetes supports in one cluster is 150 000.
pub const MOST_PODS: usize = 1 << 20;

/// A pod that got a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Which pod.
    pub pod: PodId,
    /// Where.
    pub node: NodeId,
}

/// A pod that has no node yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Which pod.
    pub pod: PodId,
    /// Whose.
    pub workload: Workload,
    /// What it asks for.
    pub demand: Demand,
    /// Since when.
    pub since_ns: u64,
    /// The scheduler tried and found no node: the `Unschedulable` condition.
    pub unschedulable: bool,
}

/// The share of a pool's ready and draining nodes that pods have requested, 0 to 1. Without such nodes, or
/// where there is nothing to request, 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// Of CPU.
    pub cpu: f64,
    /// Of memory.
    pub memory: f64,
    /// Of GPUs, shares counted.
    pub gpus: f64,
    /// Of GPU memory.
    pub gpu_memory: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    node: NodeId,
    workload: Workload,
    demand: Demand,
    gpus: Vec<u32>,
}

/// The nodes of a cluster and its scheduler.
///
/// Pods are submitted, queue in order of arrival, and are bound by [`Fleet::schedule`]. A pod that fits nowhere
/// waits and lets others pass, as in Kubernetes; it is tried again when something was released or a node came.
///
/// ```
/// use windtunnel_sim::fleet::{Demand, Fleet, PodId, Pool, Scheduling, Workload};
/// let pool = Pool::new("cpu", 1, 4_000, 16 << 30);
/// let mut fleet = Fleet::new(vec![pool], Scheduling::Spread)?;
/// let demand = Demand { cpu_m: 3_000, memory: 1 << 30, ..Demand::default() };
/// for pod in [PodId(1), PodId(2)] {
///     fleet.submit(0, pod, Workload(0), demand.clone())?;
/// }
/// let mut bound = Vec::new();
/// fleet.schedule(&mut bound);
/// assert_eq!(bound.len(), 1);
/// let why = fleet.why_pending(PodId(2)).unwrap();
/// assert_eq!(why.to_string(), "0/1 nodes are available: 1 Insufficient cpu.");
/// bound.clear();
/// fleet.release(PodId(1));
/// fleet.schedule(&mut bound);
/// assert_eq!(bound[0].pod, PodId(2));
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    pools: Vec<Pool>,
    scheduling: Scheduling,
    nodes: BTreeMap<NodeId, Node>,
    next_node: u32,
    placed: BTreeMap<PodId, Placed>,
    /// By order of arrival.
    pending: BTreeMap<u64, Pending>,
    waiting: BTreeMap<PodId, u64>,
    next_arrival: u64,
    /// Pods that the scheduler has not tried yet.
    untried: usize,
    /// Something became free since the waiting pods were tried.
    freed: bool,
    changes: u64,
}

impl Fleet {
    /// A cluster with the nodes that its pools start with, all ready.
    ///
    /// # Errors
    /// No pools, two of one name, or a pool that cannot be.
    pub fn new(pools: Vec<Pool>, scheduling: Scheduling) -> Result<Self, FleetError> {
        if pools.is_empty() {
            let message = "are none; leave nodes out for one node without limits, or name a pool";
            return Err(FleetError::setting("nodes", "pools", message));
        }
        for (index, pool) in pools.iter().enumerate() {
            pool.check()?;
            if pools[..index].iter().any(|other| other.name == pool.name) {
                let place = format!("node pool {:?}", pool.name);
                return Err(FleetError::setting(place, "name", "is another pool's, too"));
            }
        }
        let mut fleet = Self {
            pools,
            scheduling,
            nodes: BTreeMap::new(),
            next_node: 0,
            placed: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_arrival: 0,
            untried: 0,
            freed: false,
            changes: 0,
        };
        for pool in 0..fleet.pools.len() {
            for _ in 0..fleet.pools[pool].count {
                fleet.insert(pool, NodeState::Ready);
            }
        }
        Ok(fleet)
    }

    /// One node without limits.
    pub fn unlimited() -> Self {
        Self {
            pools: vec![Pool::unlimited()],
            scheduling: Scheduling::Spread,
            nodes: BTreeMap::from([(
                NodeId(0),
                Node::new(0, NodeState::Ready, Room::of(&Pool::unlimited())),
            )]),
            next_node: 1,
            placed: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_arrival: 0,
            untried: 0,
            freed: false,
            changes: 0,
        }
    }

    /// Puts a pod at the end of the queue.
    ///
    /// # Errors
    /// A pod that is known already, or more than [`MOST_PODS`].
    pub fn submit(
        &mut self,
        now_ns: u64,
        pod: PodId,
        workload: Workload,
        demand: Demand,
    ) -> Result<(), FleetError> {
        if self.placed.contains_key(&pod) || self.waiting.contains_key(&pod) {
            return Err(FleetError::KnownPod { pod });
        }
        if self.placed.len() + self.pending.len() >= MOST_PODS {
            return Err(FleetError::TooMany { what: "pods", most: MOST_PODS });
        }
        let waiting = Pending { pod, workload, demand, since_ns: now_ns, unschedulable: false };
        self.pending.insert(self.next_arrival, waiting);
        self.waiting.insert(pod, self.next_arrival);
        self.next_arrival += 1;
        self.untried += 1;
        self.changes += 1;
        Ok(())
    }

    /// Binds every waiting pod that fits, in order of arrival, and appends them to `bound`. Costs nothing when
    /// nothing has changed.
    pub fn schedule(&mut self, bound: &mut Vec<Bound>) {
        if !self.schedule_is_due() {
            return;
        }
        let mut hopeless: Vec<Demand> = Vec::new();
        let mut left = BTreeMap::new();
        for (arrival, mut waiting) in std::mem::take(&mut self.pending) {
            let untried = self.freed || !waiting.unschedulable;
            let best = if untried && !hopeless.contains(&waiting.demand) {
                self.best_node(&waiting.demand, waiting.workload)
            } else {
                None
            };
            if let Some(node) = best {
                bound.push(Bound { pod: waiting.pod, node });
                self.waiting.remove(&waiting.pod);
                self.bind(node, waiting);
                continue;
            }
            if untried && !hopeless.contains(&waiting.demand) {
                hopeless.push(waiting.demand.clone());
            }
            if !waiting.unschedulable {
                waiting.unschedulable = true;
                self.changes += 1;
            }
            left.insert(arrival, waiting);
        }
        self.pending = left;
        self.untried = 0;
        self.freed = false;
    }

    /// True when [`Fleet::schedule`] has something to try.
    pub fn schedule_is_due(&self) -> bool {
        self.untried > 0 || (self.freed && !self.pending.is_empty())
    }

    /// The pod is gone, wherever it was. Says on which node it was; `None` when it waited or is not known.
    pub fn release(&mut self, pod: PodId) -> Option<NodeId> {
        if let Some(placed) = self.placed.remove(&pod) {
            self.changes += 1;
            self.freed = true;
            let node = self.nodes.get_mut(&placed.node)?;
            node.pods.remove(&pod);
            node.room.give(&placed.demand, &placed.gpus);
            let (cpu_m, memory) = score::counted(&placed.demand);
            node.counted_cpu_m = node.counted_cpu_m.saturating_sub(cpu_m);
            node.counted_memory = node.counted_memory.saturating_sub(memory);
            if let Some(count) = node.workloads.get_mut(&placed.workload) {
                *count -= 1;
                if *count == 0 {
                    node.workloads.remove(&placed.workload);
                }
            }
            return Some(placed.node);
        }
        let waiting = self.pending.remove(&self.waiting.remove(&pod)?)?;
        self.untried -= usize::from(!waiting.unschedulable);
        self.changes += 1;
        None
    }

    /// The node is out of reach, which nobody knows yet: the scheduler goes on giving it pods. Its pods are returned
    /// and stay on it. Nothing happens to a node that is provisioning, out of reach already or not there.
    pub fn lose(&mut self, node: NodeId) -> Vec<PodId> {
        let Some(entry) = self.nodes.get_mut(&node) else { return Vec::new() };
        if !matches!(entry.state, NodeState::Ready | NodeState::Draining) || !entry.is_reachable {
            return Vec::new();
        }
        entry.is_reachable = false;
        entry.pods().collect()
    }

    /// The cluster notices that a node is out of reach: it takes no more pods. Returns those that are on it. Nothing
    /// happens to a node that answers or is known to be lost.
    pub fn give_up(&mut self, node: NodeId) -> Vec<PodId> {
        let Some(entry) = self.nodes.get_mut(&node) else { return Vec::new() };
        if entry.is_reachable || entry.state == NodeState::Lost {
            return Vec::new();
        }
        entry.state = NodeState::Lost;
        self.changes += 1;
        entry.pods().collect()
    }

    /// A node that was out of reach is back, with the pods that were not released meanwhile. False when it was not.
    pub fn recover(&mut self, node: NodeId) -> bool {
        let Some(entry) = self.nodes.get_mut(&node) else { return false };
        if entry.is_reachable {
            return false;
        }
        entry.is_reachable = true;
        if entry.state == NodeState::Lost {
            entry.state = NodeState::Ready;
        }
        self.freed = true;
        self.changes += 1;
        true
    }

    /// A ready node takes no more pods (`kubectl cordon`). False when it was not ready.
    pub fn cordon(&mut self, node: NodeId) -> bool {
        let Some(entry) = self.nodes.get_mut(&node) else { return false };
        if entry.state != NodeState::Ready {
            return false;
        }
        entry.state = NodeState::Draining;
        self.changes += 1;
        true
    }

    /// Takes the node away and returns the pods that it still had, which are released.
    pub fn remove(&mut self, node: NodeId) -> Vec<PodId> {
        let pods = self.empty(node);
        if self.nodes.remove(&node).is_some() {
            self.changes += 1;
        }
        pods
    }

    /// A further node of a pool, ready at `ready_at_ns` (see [`Fleet::provisioned`]).
    ///
    /// # Errors
    /// A pool that is not there, or more than [`MOST_NODES_OF_A_POOL`] nodes in it.
    pub fn order(&mut self, pool: usize, ready_at_ns: u64) -> Result<NodeId, FleetError> {
        if pool >= self.pools.len() {
            return Err(FleetError::UnknownPool { pool, pools: self.pools.len() });
        }
        let most = MOST_NODES_OF_A_POOL as usize;
        if self.nodes_of(pool).count() >= most || self.next_node == u32::MAX {
            return Err(FleetError::TooMany { what: "nodes in a pool", most });
        }
        self.changes += 1;
        Ok(self.insert(pool, NodeState::Provisioning { ready_at_ns }))
    }

    /// Makes the nodes ready whose time has come, and appends them to `ready`.
    pub fn provisioned(&mut self, now_ns: u64, ready: &mut Vec<NodeId>) {
        for (id, node) in &mut self.nodes {
            if matches!(node.state, NodeState::Provisioning { ready_at_ns } if ready_at_ns <= now_ns) {
                node.state = NodeState::Ready;
                self.freed = true;
                self.changes += 1;
                ready.push(*id);
            }
        }
    }

    /// When the next node is ready.
    pub fn next_provisioned_ns(&self) -> Option<u64> {
        let instants = self.nodes.values().filter_map(|node| match node.state {
            NodeState::Provisioning { ready_at_ns } => Some(ready_at_ns),
            _ => None,
        });
        instants.min()
    }

    /// Why the pod has no node, judged now; `None` when it has one or is not known.
    pub fn why_pending(&self, pod: PodId) -> Option<Unschedulable> {
        let waiting = self.pending.get(self.waiting.get(&pod)?)?;
        Some(self.why(&waiting.demand))
    }

    /// Why no node takes such a pod now. Empty reasons when one does.
    pub fn why(&self, demand: &Demand) -> Unschedulable {
        let mut why = Unschedulable::default();
        for node in self.nodes.values() {
            let reasons = match node.state {
                NodeState::Provisioning { .. } => continue,
                NodeState::Draining => vec!["node(s) were unschedulable"],
                NodeState::Lost => vec!["node(s) had untolerated taint {node.kubernetes.io/unreachable: }"],
                NodeState::Ready => match self.pools[node.pool].refuses(demand) {
                    Some(reason) => vec![reason],
                    None => node.room.fit(demand).err().map(|short| short.0).unwrap_or_default(),
                },
            };
            why.nodes += 1;
            for reason in reasons {
                *why.reasons.entry(reason.to_owned()).or_insert(0) += 1;
            }
        }
        why
    }

    /// Pods without a node, the first to come first.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Pending> {
        self.pending.values()
    }

    /// How many pods wait for each main reason ([`Unschedulable::main_reason`]). Pods that were not tried yet
    /// are not counted.
    pub fn pending_by_reason(&self) -> BTreeMap<String, usize> {
        let mut by_demand: BTreeMap<&Demand, usize> = BTreeMap::new();
        for waiting in self.pending.values().filter(|waiting| waiting.unschedulable) {
            *by_demand.entry(&waiting.demand).or_insert(0) += 1;
        }
        let mut by_reason = BTreeMap::new();
        for (demand, count) in by_demand {
            *by_reason.entry(self.why(demand).main_reason().to_owned()).or_insert(0) += count;
        }
        by_reason
    }

    /// The node of a pod.
    pub fn node_of(&self, pod: PodId) -> Option<NodeId> {
        self.placed.get(&pod).map(|placed| placed.node)
    }

    /// The numbers of the GPUs that a pod has; one that shares can have the same twice.
    pub fn gpus_of(&self, pod: PodId) -> &[u32] {
        self.placed.get(&pod).map_or(&[], |placed| &placed.gpus)
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// Every node, the oldest first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The nodes of a pool, whatever their state, the oldest first.
    pub fn nodes_of(&self, pool: usize) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes().filter(move |(_, node)| node.pool == pool)
    }

    /// The pools.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// Nodes that take pods.
    pub fn ready(&self, pool: usize) -> u32 {
        self.count(pool, |state| state == NodeState::Ready)
    }

    /// Nodes that there should be: all but those that are being drained.
    pub fn wanted(&self, pool: usize) -> u32 {
        self.count(pool, |state| state != NodeState::Draining)
    }

    /// Nodes that are paid for: all, from order to removal.
    pub fn billed(&self, pool: usize) -> u32 {
        self.count(pool, |_| true)
    }

    /// What pods have requested of a pool.
    pub fn allocation(&self, pool: usize) -> Allocation {
        let Some(kind) = self.pools.get(pool) else { return Allocation::default() };
        let mut used = [0_u128; 4];
        let mut capacity = [0_u128; 4];
        let counted = |state| matches!(state, NodeState::Ready | NodeState::Draining);
        for (_, node) in self.nodes_of(pool).filter(|(_, node)| counted(node.state)) {
            let gpu_free = node.room.gpus.iter().flatten().fold((0, 0), |(slots, memory), gpu| {
                (slots + u128::from(gpu.slots), memory + u128::from(gpu.memory))
            });
            let slots = u128::from(kind.gpu_slots());
            let memory = u128::from(kind.gpu_memory) * u128::from(kind.gpus);
            let of_node = [u128::from(kind.cpu_m), u128::from(kind.memory), slots, memory];
            let free = [u128::from(node.room.cpu_m), u128::from(node.room.memory), gpu_free.0, gpu_free.1];
            for index in 0..4 {
                capacity[index] += of_node[index];
                used[index] += of_node[index].saturating_sub(free[index]);
            }
        }
        let share = |index: usize| match capacity[index] {
            0 => 0.0,
            capacity => used[index] as f64 / capacity as f64,
        };
        Allocation { cpu: share(0), memory: share(1), gpus: share(2), gpu_memory: share(3) }
    }

    /// How many pods are known, those without a node included.
    pub fn pod_count(&self) -> usize {
        self.placed.len() + self.pending.len()
    }

    /// Whether the pod waits for a node.
    pub fn is_pending(&self, pod: PodId) -> bool {
        self.waiting.contains_key(&pod)
    }

    /// Whether the pods of a node have requested more than it has, summed anew. Never, or the books are wrong.
    pub fn is_over_allocated(&self, node: NodeId) -> bool {
        let Some(entry) = self.nodes.get(&node) else { return false };
        let pool = &self.pools[entry.pool];
        if pool.unlimited {
            return false;
        }
        let (mut cpu_m, mut memory, mut gpus) = (0_u128, 0_u128, 0_u64);
        for demand in entry.pods.iter().filter_map(|pod| self.demand_of(*pod)) {
            cpu_m += u128::from(demand.cpu_m);
            memory += u128::from(demand.memory);
            gpus += u64::from(demand.gpu_slots());
        }
        cpu_m > u128::from(pool.cpu_m)
            || memory > u128::from(pool.memory)
            || gpus > u64::from(pool.gpu_slots())
            || entry.pods.len() > pool.most_pods as usize
    }

    /// Takes changed bounds and prices of the pools. The machines stay what they are.
    ///
    /// # Errors
    /// Other pools, or pools of other machines.
    pub fn reconfigure(&mut self, pools: &[Pool]) -> Result<(), FleetError> {
        let machine =
            |pool: &Pool| Pool { count: 0, least: 0, most: 0, price_micro_per_hour: 0, ..pool.clone() };
        if !self.pools.iter().map(machine).eq(pools.iter().map(machine)) {
            let message = "are others than those that run; change their bounds and prices, or start anew";
            return Err(FleetError::setting("nodes", "pools", message));
        }
        for (held, pool) in self.pools.iter_mut().zip(pools) {
            pool.check()?;
            if held != pool {
                *held = pool.clone();
                self.changes += 1;
            }
        }
        Ok(())
    }

    /// Counts up whenever something changes that a scheduler or an autoscaler could act on.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn count(&self, pool: usize, holds: impl Fn(NodeState) -> bool) -> u32 {
        let count = self.nodes_of(pool).filter(|(_, node)| holds(node.state)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn insert(&mut self, pool: usize, state: NodeState) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, Node::new(pool, state, Room::of(&self.pools[pool])));
        id
    }

    fn empty(&mut self, node: NodeId) -> Vec<PodId> {
        let pods: Vec<PodId> = self.nodes.get(&node).map(|node| node.pods().collect()).unwrap_or_default();
        for pod in &pods {
            self.release(*pod);
        }
        pods
    }

    fn bind(&mut self, id: NodeId, waiting: Pending) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let gpus = node.room.take(&waiting.demand);
        node.pods.insert(waiting.pod);
        *node.workloads.entry(waiting.workload).or_insert(0) += 1;
        let (cpu_m, memory) = score::counted(&waiting.demand);
        node.counted_cpu_m = node.counted_cpu_m.saturating_add(cpu_m);
        node.counted_memory = node.counted_memory.saturating_add(memory);
        let placed = Placed { node: id, workload: waiting.workload, demand: waiting.demand, gpus };
        self.placed.insert(waiting.pod, placed);
        self.changes += 1;
    }

    fn best_node(&self, demand: &Demand, workload: Workload) -> Option<NodeId> {
        let accepts: Vec<bool> = self.pools.iter().map(|pool| pool.refuses(demand).is_none()).collect();
        let schedulable = |node: &Node| node.state == NodeState::Ready && accepts[node.pool];
        let (ids, candidates): (Vec<NodeId>, Vec<(&Node, &Pool)>) = self
            .nodes()
            .filter(|(_, node)| schedulable(node) && node.room.fits(demand))
            .map(|(id, node)| (id, (node, &self.pools[node.pool])))
            .unzip();
        if ids.len() < 2 {
            return ids.first().copied();
        }
        let known = self.nodes.values().filter(|node| schedulable(node));
        let zones = score::by_zone(known.map(|node| (node, &self.pools[node.pool])), workload);
        let scores = score::scores(&candidates, demand, workload, self.scheduling, &zones);
        let best = ids.iter().zip(scores).max_by_key(|(id, score)| (*score, std::cmp::Reverse(**id)));
        best.map(|(id, _)| *id)
    }

    /// What a bound pod asked for.
    pub(super) fn demand_of(&self, pod: PodId) -> Option<&Demand> {
        self.placed.get(&pod).map(|placed| &placed.demand)
    }
}

#[cfg(test)]
mod tests;
