//! The cluster autoscaler: orders nodes for pods that are pending, removes nodes that are not needed.
//!
//! It works as `kubernetes/autoscaler`'s cluster-autoscaler, with its defaults: a scan every 10 s; a scale-up
//! orders nodes of one pool, the one that the expander likes best, as many as a simulated first-fit decreasing
//! packing of the pending pods needs; pods that fit on nodes that are on their way order nothing. A node is
//! unneeded while less than half of it is requested (of its GPUs, if it has some, else of CPU and memory, the
//! larger) and its pods fit elsewhere; after more than 10 min, and 10 min after the last scale-up, it is
//! removed: up to 10 empty nodes at once, or one that has to be drained. A pool never gets smaller than `least`
//! or larger than `most`.
//!
//! What is not modelled: failing orders and their back-off, pods that must not be evicted, disruption budgets.
//! Where upstream chooses by chance among equals, the lower price and then the first pool wins here.
//!
//! A scan that cannot find anything new is left out: the instants are those of a grid of scans, but only after
//! a change or when a waiting time ends ([`Autoscaler::wake_ns`]). An idle cluster costs nothing.

mod scale_down;
mod scale_up;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::demand::PodId;
use super::error::FleetError;
use super::node::{NodeId, NodeState};
use super::nodes::Fleet;

/// How a pool is chosen for a scale-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expander {
    /// The pool of which the least share of CPU plus memory would be left over: upstream's default.
    #[default]
    LeastWaste,
    /// The pool that costs the least an hour for each pod that gets a place.
    Cheapest,
}

/// The settings of the cluster autoscaler, named in the comments by upstream's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoscalerSettings {
    /// `--scan-interval`
    pub scan_ns: u64,
    /// From the order of a node until it is ready: the machine starts and joins the cluster.
    pub provisioning_ns: u64,
    /// `--scale-down-unneeded-time`
    pub idle_ns: u64,
    /// `--scale-down-unready-time`, for lost nodes
    pub unready_ns: u64,
    /// `--scale-down-utilization-threshold` (and `-gpu-`), 0 to 1
    pub utilisation_threshold: f64,
    /// `--scale-down-delay-after-add`
    pub delay_after_add_ns: u64,
    /// `--scale-down-delay-after-delete`
    pub delay_after_delete_ns: u64,
    /// `--expander`
    pub expander: Expander,
    /// `--scale-down-enabled`
    pub scale_down: bool,
    /// `--max-scale-down-parallelism`
    pub most_removed_at_once: u32,
    /// `--enforce-node-group-min-size`: order nodes for a pool that is smaller than its `least`.
    pub restore_least: bool,
}

impl Default for AutoscalerSettings {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            scan_ns: 10 * SECOND,
            provisioning_ns: 90 * SECOND,
            idle_ns: 600 * SECOND,
            unready_ns: 1_200 * SECOND,
            utilisation_threshold: 0.5,
            delay_after_add_ns: 600 * SECOND,
            delay_after_delete_ns: 0,
            expander: Expander::LeastWaste,
            scale_down: true,
            most_removed_at_once: 10,
            restore_least: false,
        }
    }
}

impl AutoscalerSettings {
    /// Whether there can be such an autoscaler.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), FleetError> {
        if self.scan_ns == 0 {
            return Err(FleetError::setting("autoscaler", "scan", "is 0; upstream's default is 10s"));
        }
        if !(0.0..=1.0).contains(&self.utilisation_threshold) {
            let message = format!("is {}; write a share from 0 to 1", self.utilisation_threshold);
            return Err(FleetError::setting("autoscaler", "utilisation-threshold", message));
        }
        if self.most_removed_at_once == 0 {
            let message = "is 0; to keep all nodes, turn scale-down off";
            return Err(FleetError::setting("autoscaler", "most-removed-at-once", message));
        }
        Ok(())
    }
}

/// What the autoscaler did to the fleet, for the world to act upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A node is on its way.
    Ordered {
        /// Which.
        node: NodeId,
        /// Of which pool.
        pool: usize,
        /// When it will be ready.
        ready_at_ns: u64,
    },
    /// A node has joined: give it a network card, and let the scheduler try again.
    Joined {
        /// Which.
        node: NodeId,
        /// Of which pool.
        pool: usize,
    },
    /// A node takes no more pods, and these are to be evicted: terminate them with grace, then release them.
    /// Their controllers make others.
    Drained {
        /// Which.
        node: NodeId,
        /// What is on it.
        evict: Vec<PodId>,
    },
    /// A node is gone. It had no pods.
    Removed {
        /// Which.
        node: NodeId,
        /// Of which pool.
        pool: usize,
        /// What was still on it, when it was lost.
        pods: Vec<PodId>,
    },
}

/// The cluster autoscaler.
///
/// ```
/// use windtunnel_sim::fleet::{Action, Autoscaler, AutoscalerSettings, Demand, Fleet, PodId, Pool, Scheduling, Workload};
/// let pool = Pool { most: 5, ..Pool::new("cpu", 1, 4_000, 16 << 30) };
/// let mut fleet = Fleet::new(vec![pool], Scheduling::Spread)?;
/// let mut autoscaler = Autoscaler::new(AutoscalerSettings::default(), 0)?;
/// for pod in 0..4 {
///     let demand = Demand { cpu_m: 2_000, memory: 1 << 30, ..Demand::default() };
///     fleet.submit(1, PodId(pod), Workload(0), demand)?;
/// }
/// fleet.schedule(&mut Vec::new());
/// // Two pods wait; the next scan orders a node for both, which joins 90 s later.
/// let mut actions = Vec::new();
/// assert_eq!(autoscaler.wake_ns(&fleet, 1), Some(10_000_000_000));
/// autoscaler.step(10_000_000_000, &mut fleet, &mut actions);
/// assert!(matches!(actions[..], [Action::Ordered { ready_at_ns: 100_000_000_000, .. }]));
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscaler {
    settings: AutoscalerSettings,
    first_scan_ns: u64,
    last_scan_ns: Option<u64>,
    /// The fleet's count of changes at the last scan.
    seen: Option<u64>,
    last_add_ns: Option<u64>,
    last_delete_ns: Option<u64>,
    /// Nodes that could go, and since when.
    unneeded: BTreeMap<NodeId, u64>,
}

impl Autoscaler {
    /// Scans at `first_scan_ns` and at whole periods after it.
    ///
    /// # Errors
    /// A setting that cannot be.
    pub fn new(settings: AutoscalerSettings, first_scan_ns: u64) -> Result<Self, FleetError> {
        settings.check()?;
        Ok(Self {
            settings,
            first_scan_ns,
            last_scan_ns: None,
            seen: None,
            last_add_ns: None,
            last_delete_ns: None,
            unneeded: BTreeMap::new(),
        })
    }

    /// When to call [`Autoscaler::step`] next, if nothing changes before; ask again after each change of the
    /// fleet. `None` when nothing is to come.
    pub fn wake_ns(&self, fleet: &Fleet, now_ns: u64) -> Option<u64> {
        let drained = fleet.nodes().any(|(_, node)| is_drained(node)).then_some(now_ns);
        let instants = [drained, fleet.next_provisioned_ns(), self.scan_is_due_ns(fleet, now_ns)];
        instants.into_iter().flatten().min().map(|instant_ns| instant_ns.max(now_ns))
    }

    /// Lets nodes join and go whose time has come, and scans if a scan is due. Appends what happened to
    /// `actions`, in order. Call [`Fleet::schedule`] afterwards: new nodes have room.
    pub fn step(&mut self, now_ns: u64, fleet: &mut Fleet, actions: &mut Vec<Action>) {
        let mut joined = Vec::new();
        fleet.provisioned(now_ns, &mut joined);
        for node in joined {
            if let Some(pool) = fleet.node(node).map(|node| node.pool) {
                actions.push(Action::Joined { node, pool });
            }
        }
        let drained: Vec<NodeId> =
            fleet.nodes().filter(|(_, node)| is_drained(node)).map(|(id, _)| id).collect();
        for node in drained {
            self.remove(now_ns, node, fleet, actions);
        }
        if self.scan_is_due_ns(fleet, now_ns).is_some_and(|due_ns| due_ns <= now_ns) {
            self.scan(now_ns, fleet, actions);
        }
    }

    /// Takes other settings; what it has seen so far stays.
    ///
    /// # Errors
    /// A setting that cannot be.
    pub fn reconfigure(&mut self, settings: AutoscalerSettings) -> Result<(), FleetError> {
        settings.check()?;
        if settings != self.settings {
            self.settings = settings;
            self.seen = None;
        }
        Ok(())
    }

    /// Nodes that could go, and since when they could.
    pub fn unneeded(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.unneeded.iter().map(|(node, since_ns)| (*node, *since_ns))
    }

    /// The settings.
    pub fn settings(&self) -> &AutoscalerSettings {
        &self.settings
    }

    fn scan(&mut self, now_ns: u64, fleet: &mut Fleet, actions: &mut Vec<Action>) {
        self.last_scan_ns = Some(now_ns);
        self.seen = Some(fleet.changes());
        let orders = scale_up::orders(&self.settings, fleet);
        let ready_at_ns = now_ns.saturating_add(self.settings.provisioning_ns);
        let mut ordered = false;
        for (pool, count) in orders {
            for _ in 0..count {
                let Ok(node) = fleet.order(pool, ready_at_ns) else { break };
                actions.push(Action::Ordered { node, pool, ready_at_ns });
                ordered = true;
            }
        }
        if ordered {
            // As upstream, the loop ends with a scale-up.
            self.last_add_ns = Some(now_ns);
            return;
        }
        if self.settings.scale_down {
            self.unneeded =
                scale_down::unneeded(self.settings.utilisation_threshold, &self.unneeded, now_ns, fleet);
            if self.cooled_down_ns().is_none_or(|from_ns| from_ns <= now_ns) {
                self.scale_down(now_ns, fleet, actions);
            }
        }
    }

    fn scale_down(&mut self, now_ns: u64, fleet: &mut Fleet, actions: &mut Vec<Action>) {
        let mut drain = fleet.nodes().all(|(_, node)| node.state != NodeState::Draining);
        let mut left = self.settings.most_removed_at_once;
        let due = |(id, since_ns): (&NodeId, &u64)| {
            let waited = self.removable_ns(*id, *since_ns, fleet).is_some_and(|from_ns| from_ns <= now_ns);
            // Nobody can move what is on a lost node; it goes with it.
            let empty =
                fleet.node(*id).is_some_and(|node| node.pods().len() == 0 || node.state == NodeState::Lost);
            waited.then_some((!empty, *id))
        };
        let mut removable: Vec<(bool, NodeId)> = self.unneeded.iter().filter_map(due).collect();
        removable.sort_unstable();
        for (occupied, id) in removable {
            let Some(node) = fleet.node(id) else { continue };
            let pool = node.pool;
            if left == 0 || fleet.wanted(pool) <= fleet.pools()[pool].least {
                continue;
            }
            if !occupied {
                self.remove(now_ns, id, fleet, actions);
                left -= 1;
            } else if drain {
                let evict = node.pods().collect();
                fleet.cordon(id);
                self.unneeded.remove(&id);
                self.last_delete_ns = Some(now_ns);
                actions.push(Action::Drained { node: id, evict });
                drain = false;
                left -= 1;
            }
        }
    }

    fn remove(&mut self, now_ns: u64, id: NodeId, fleet: &mut Fleet, actions: &mut Vec<Action>) {
        let Some(pool) = fleet.node(id).map(|node| node.pool) else { return };
        let pods = fleet.node(id).map(|node| node.pods().collect()).unwrap_or_default();
        fleet.remove(id);
        self.unneeded.remove(&id);
        self.last_delete_ns = Some(now_ns);
        actions.push(Action::Removed { node: id, pool, pods });
    }

    /// The first instant on the grid, not before `now_ns`, at which a scan can find something new.
    fn scan_is_due_ns(&self, fleet: &Fleet, now_ns: u64) -> Option<u64> {
        let earliest_ns = self.last_scan_ns.map_or(self.first_scan_ns, |last_ns| last_ns.saturating_add(1));
        if self.seen != Some(fleet.changes()) && self.is_interesting(fleet) {
            return Some(self.grid_ns(now_ns.max(earliest_ns)));
        }
        let cooled_down_ns = self.cooled_down_ns().unwrap_or(0);
        let deadlines = self.unneeded.iter().filter_map(|(id, since_ns)| {
            let due_ns = self.grid_ns(self.removable_ns(*id, *since_ns, fleet)?.max(cooled_down_ns));
            // A deadline that was looked at and left the node is over: only a change brings another chance.
            (due_ns >= earliest_ns).then_some(due_ns)
        });
        deadlines.min()
    }

    /// Something waits for a node, or some node could go.
    fn is_interesting(&self, fleet: &Fleet) -> bool {
        fleet.pending().len() > 0
            || fleet.pools().iter().enumerate().any(|(index, pool)| {
                let wanted = fleet.wanted(index);
                (self.settings.scale_down && wanted > pool.least)
                    || (self.settings.restore_least && wanted < pool.least)
            })
    }

    /// From when on nodes may be removed after the last scale-up and removal.
    fn cooled_down_ns(&self) -> Option<u64> {
        let added = self.last_add_ns.map(|ns| ns.saturating_add(self.settings.delay_after_add_ns));
        let deleted = self.last_delete_ns.map(|ns| ns.saturating_add(self.settings.delay_after_delete_ns));
        added.max(deleted)
    }

    /// From when on an unneeded node may be removed: upstream wants more than the waiting time to have passed.
    fn removable_ns(&self, id: NodeId, since_ns: u64, fleet: &Fleet) -> Option<u64> {
        let wait_ns = match fleet.node(id)?.state {
            NodeState::Ready => self.settings.idle_ns,
            NodeState::Lost => self.settings.unready_ns,
            NodeState::Provisioning { .. } | NodeState::Draining => return None,
        };
        since_ns.checked_add(wait_ns)?.checked_add(1)
    }

    fn grid_ns(&self, from_ns: u64) -> u64 {
        let periods = from_ns.saturating_sub(self.first_scan_ns).div_ceil(self.settings.scan_ns);
        self.first_scan_ns.saturating_add(periods.saturating_mul(self.settings.scan_ns))
    }
}

fn is_drained(node: &super::node::Node) -> bool {
    node.state == NodeState::Draining && node.pods().len() == 0
}

#[cfg(test)]
mod tests;
