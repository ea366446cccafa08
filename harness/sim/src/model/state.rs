//! The state of the world: everything that a snapshot keeps.

use serde::{Deserialize, Serialize};

use super::clients::{Call, Load, Request};
use super::deployments::Deployment;
use super::drift::Drift;
use super::faults::Faults;
use super::gateway::Gateway;
use super::metrics::Metrics;
use super::nodes::Cluster;
use super::outputs::Outputs;
use super::pods::Pod;
use super::queue::{Queue, queues_of};
use super::rollout::{Analysis, Service};
use super::workloads::Workload;
use crate::engine::{Ledger, Slab};
use crate::plan::Plan;

/// Everything that changes while a simulation runs, except the schedule. Each concept has its own field, of a
/// type that lives in that concept's file; instants are nanoseconds since the Unix epoch.
///
/// What is not here is in the plan, or is made again from the plan and the seed: arrivals, and the streams of
/// chance that are functions of a request's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Where every random stream is derived from.
    pub(crate) seed: u64,
    /// The requests' bookkeeping, all loads together.
    pub(crate) ledger: Ledger,
    /// One a load of the plan.
    pub(super) loads: Vec<Load>,
    /// Requests between their arrival at the gateway and their last trace.
    pub(super) requests: Slab<Request>,
    /// What clients keep of a request between its tries, or while it is a user's.
    pub(super) calls: Slab<Call>,
    /// Requests that a pod computes for although nobody waits for the answer.
    pub(super) abandoned: u64,
    /// Copies of requests that are on their way.
    pub(super) mirrored: u64,
    /// One a load with a broker.
    pub(super) queues: Vec<Queue>,
    pub(super) gateway: Gateway,
    /// One a service of the plan.
    pub(super) services: Vec<Service>,
    pub(super) workloads: Vec<Workload>,
    /// What canary analyses read, where there are any.
    pub(super) analysis: Option<Box<Analysis>>,
    /// What drifts, where something does.
    pub(super) drift: Option<Box<Drift>>,
    /// What makes workloads and scales them, in Standard mode.
    pub(super) deployments: Vec<Deployment>,
    pub(super) metrics: Metrics,
    pub(super) pods: Slab<Pod>,
    /// The machines, where there are any to be looked at.
    pub(super) cluster: Option<Box<Cluster>>,
    pub(super) faults: Faults,
    pub(super) outputs: Outputs,
    /// The workload whose bookkeeping the last event may have changed.
    pub(super) touched: Option<u16>,
    /// Nothing new arrives; what is under way is awaited.
    pub(super) time_is_over: bool,
}

impl State {
    /// How many loads there are.
    pub(crate) fn load_count(&self) -> usize {
        self.loads.len()
    }

    /// Requests and messages that have no end yet.
    pub(super) fn in_flight(&self) -> u64 {
        self.ledger.in_flight() + self.queues.iter().map(|queue| queue.ledger.in_flight()).sum::<u64>()
    }

    /// How often clients tried again.
    pub(crate) fn retries(&self) -> u64 {
        self.loads.iter().map(|load| load.retries).sum()
    }

    /// The books of requests and messages.
    pub(crate) fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        std::iter::once(&self.ledger).chain(self.queues.iter().map(|queue| &queue.ledger))
    }

    /// Whether a load is a closed loop.
    pub(crate) fn has_users(&self, load: usize) -> bool {
        self.loads.get(load).is_some_and(|load| load.users.is_some())
    }

    /// How the broker of a load works, if it has one.
    pub(crate) fn queue_settings(&self, load: usize) -> Option<&windtunnel_scenario::Queue> {
        let queue = self.queues.iter().find(|queue| usize::from(queue.load) == load)?;
        Some(&queue.settings)
    }

    /// When the simulation started, nanoseconds since the Unix epoch.
    pub(crate) fn started_ns(&self) -> u64 {
        self.gateway.started_ns
    }

    /// The world before anything was applied, at `start_ns`.
    pub(super) fn new(plan: &Plan, seed: u64, start_ns: u64) -> Self {
        Self {
            seed,
            ledger: Ledger::starting_at(start_ns),
            loads: plan
                .loads
                .iter()
                .enumerate()
                .map(|(index, load)| Load::new(plan, load, seed, index))
                .collect(),
            requests: Slab::default(),
            calls: Slab::default(),
            abandoned: 0,
            mirrored: 0,
            queues: queues_of(plan, start_ns),
            gateway: Gateway::starting_at(start_ns),
            services: plan.services.iter().map(Service::new).collect(),
            workloads: Vec::new(),
            analysis: Analysis::of(plan),
            drift: None,
            deployments: Vec::new(),
            metrics: Metrics::default(),
            pods: Slab::default(),
            cluster: None,
            faults: Faults::new(plan, seed),
            outputs: Outputs::default(),
            touched: None,
            time_is_over: false,
        }
    }
}
