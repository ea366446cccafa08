//! The state of the machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::next_on_grid;

use crate::engine::Key;
use crate::error::SimError;
use crate::fleet::{
    Action, Autoscaler, Cost, Fleet, FleetError, ImageCache, Link, ModelCache, Network, NodeId, PodId,
};
use crate::plan::{ClusterPlan, Plan};

/// Machines, network, caches and the bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Cluster {
    /// The scenario names machines.
    pub(in crate::model) has_nodes: bool,
    pub(in crate::model) fleet: Fleet,
    pub(in crate::model) network: Network,
    pub(super) images: ImageCache,
    pub(super) models: ModelCache,
    autoscaler: Option<Autoscaler>,
    pub(in crate::model) cost: Cost,
    pub(super) gates: Vec<Gate>,
    keys: BTreeMap<PodId, Key>,
    next_pod: u64,
    /// Pods that were said to be pending, and since when they are.
    pub(super) pending_since: BTreeMap<PodId, u64>,
    pub(super) transfers_due_ns: Option<u64>,
    pub(super) wake_due_ns: Option<u64>,
    /// Machines that do not answer, and when the cluster notices that.
    pub(super) silent: BTreeMap<NodeId, u64>,
}

/// A part of the storage that a fault can slow down or stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gate {
    pub(super) prefix: String,
    pub(super) link: Link,
    pub(super) bits_per_s: u64,
}

impl Cluster {
    /// The cluster of a plan at `start_ns`; what it costs is counted from t=0 on.
    ///
    /// # Errors
    /// Machines that cannot be.
    pub(in crate::model) fn of(plan: &Plan, start_ns: u64) -> Result<Option<Box<Self>>, SimError> {
        let Some(planned) = ClusterPlan::of(plan)? else { return Ok(None) };
        let ClusterPlan { has_nodes, fleet, mut network, models, autoscaler, gates } = planned;
        // Scans begin with the cluster, or where the scenario has them.
        let phase = plan.environment.control.phases.nodes;
        let first_ns = phase.map_or(start_ns, |phase| {
            let period_ns = autoscaler.as_ref().map_or(1, |settings| settings.scan_ns.max(1));
            next_on_grid(start_ns, plan.epoch_ns.saturating_add(phase.as_ns()), period_ns)
        });
        let autoscaler = autoscaler.map(|settings| Autoscaler::new(settings, first_ns)).transpose()?;
        let gate = |(prefix, bits_per_s): (String, u64)| {
            Ok(Gate { link: network.transfers.add_link(bits_per_s)?, prefix, bits_per_s })
        };
        let gates = gates.into_iter().map(gate).collect::<Result<Vec<_>, FleetError>>()?;
        let mut cost = Cost::new(fleet.pools(), plan.epoch_ns);
        for pool in 0..fleet.pools().len() {
            cost.set(pool, fleet.billed(pool), start_ns);
        }
        Ok(Some(Box::new(Self {
            has_nodes,
            fleet,
            network,
            images: ImageCache::default(),
            models,
            autoscaler,
            cost,
            gates,
            keys: BTreeMap::new(),
            next_pod: 0,
            pending_since: BTreeMap::new(),
            transfers_due_ns: None,
            wake_due_ns: None,
            silent: BTreeMap::new(),
        })))
    }

    /// What a what-if changes: bounds, prices, bandwidths and the autoscaler's settings.
    ///
    /// # Errors
    /// Machines that are others than those that run.
    pub(in crate::model) fn reconfigure(&mut self, plan: &Plan, now_ns: u64) -> Result<(), SimError> {
        let Some(planned) = ClusterPlan::of(plan)? else {
            return Err(FleetError::none("the machines were taken away; keep them in the plan").into());
        };
        self.fleet.reconfigure(planned.fleet.pools())?;
        self.cost.set_prices(planned.fleet.pools(), now_ns);
        match (&mut self.autoscaler, planned.autoscaler) {
            (Some(held), Some(settings)) => held.reconfigure(settings)?,
            (held, settings) => {
                *held = settings.map(|settings| Autoscaler::new(settings, now_ns)).transpose()?;
            }
        }
        for prefix in planned.network.storage_prefixes() {
            self.network.rate_storage(now_ns, prefix, planned.network.storage_bits_per_s(prefix)?)?;
        }
        for (prefix, bits_per_s) in planned.gates {
            match self.gates.iter_mut().find(|gate| gate.prefix == prefix) {
                Some(gate) => gate.bits_per_s = bits_per_s,
                None => {
                    let link = self.network.transfers.add_link(bits_per_s)?;
                    self.gates.push(Gate { prefix, link, bits_per_s });
                }
            }
        }
        Ok(())
    }

    /// A name for a new pod.
    pub(super) fn name_pod(&mut self, key: Key) -> PodId {
        let id = PodId(self.next_pod);
        self.next_pod += 1;
        self.keys.insert(id, key);
        id
    }

    pub(super) fn key_of(&self, pod: PodId) -> Option<Key> {
        self.keys.get(&pod).copied()
    }

    pub(super) fn forget_pod(&mut self, now_ns: u64, pod: PodId) {
        self.fleet.release(pod);
        self.images.leave(now_ns, pod, &mut self.network.transfers);
        self.models.leave(now_ns, pod, &mut self.network.transfers);
        self.keys.remove(&pod);
        self.pending_since.remove(&pod);
    }

    /// The disk of a node is gone, and what was on its way there.
    pub(super) fn forget_disk(&mut self, now_ns: u64, node: NodeId) {
        self.images.forget(now_ns, node, &mut self.network.transfers);
        self.models.forget(now_ns, node, &mut self.network.transfers);
    }

    pub(super) fn forget_node(&mut self, now_ns: u64, node: NodeId) {
        self.silent.remove(&node);
        self.forget_disk(now_ns, node);
        self.network.remove_node(now_ns, node);
    }

    pub(super) fn count_cost(&mut self, pool: usize, now_ns: u64) {
        self.cost.set(pool, self.fleet.billed(pool), now_ns);
    }

    /// As people call a node: its pool with a number.
    pub(super) fn node_name(&self, node: NodeId) -> String {
        self.fleet.node(node).map_or_else(|| node.0.to_string(), |entry| self.node_name_of(entry.pool, node))
    }

    pub(super) fn node_name_of(&self, pool: usize, node: NodeId) -> String {
        format!("{}-{}", self.fleet.pools()[pool].name, node.0)
    }

    pub(super) fn step(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(autoscaler) = &mut self.autoscaler {
            autoscaler.step(now_ns, &mut self.fleet, &mut actions);
        }
        actions
    }

    pub(super) fn wake_ns(&self, now_ns: u64) -> Option<u64> {
        self.autoscaler.as_ref()?.wake_ns(&self.fleet, now_ns)
    }
}
