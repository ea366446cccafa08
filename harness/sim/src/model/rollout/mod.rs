//! Rollouts: from what a manifest says to workloads and shares of the traffic, one file a way of doing it.
//!
//! A rollout makes workloads ([`World::create_revision`]) and says how the traffic is split over them
//! ([`World::set_traffic`]). It is asked again when a manifest changes and when a workload becomes ready. A new one
//! is a file here, a variant of [`Rollout`] and an arm where that is matched.

mod analysis;
mod argo;
mod delivery;
mod flagger;
mod knative;
mod standard;
mod table;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::Reachability;
use windtunnel_scenario::load::Arrival;

pub(super) use analysis::{Analysis, End};
pub(super) use argo::Argo;
pub(super) use delivery::Delivery;
pub(super) use flagger::Flagger;
pub(super) use knative::Knative;
pub(super) use standard::Standard;
pub(super) use table::Backend;
use table::{Routes, is_among};

use super::clients::Caller;
use super::control::Cause;
use super::{Event as Any, World};
use crate::engine::Schedule;
use crate::error::SimError;
use crate::plan::{Change, ChangeKind, MILLION, ServicePlan};

/// After so many reconciliations in a row without an end, something is wrong.
const MOST_PASSES: u32 = 16;

/// What happens to services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The manifests are applied.
    Apply,
    /// The scenario changes something: an index into the plan's changes.
    Change(u32),
    /// The controller of a service's canaries looks.
    Tick(u16),
}

/// A service: its manifest's way into the world, and the traffic that comes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Service {
    /// Which of the plan's versions of the manifest is in force.
    pub(super) version: usize,
    pub(super) rollout: Rollout,
    /// What rolls out new versions instead of KServe, if something does.
    pub(super) delivery: Option<Delivery>,
    routes: Routes,
}

/// How a service's versions come into the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Rollout {
    /// Knative revisions and a route.
    Knative(Box<Knative>),
    /// Deployments and Services.
    Standard(Box<Standard>),
}

impl Service {
    pub(super) fn new(plan: &ServicePlan) -> Self {
        Self {
            version: 0,
            rollout: match &plan.versions[0].standard {
                Some(_) => Rollout::Standard(Box::default()),
                None => Rollout::Knative(Box::new(Knative::new(plan))),
            },
            delivery: plan.delivery.as_ref().map(Delivery::new),
            routes: Routes::default(),
        }
    }

    /// The workload of the next request and its weight in percent.
    #[inline]
    pub(super) fn choose_backend(&mut self, is_match: bool) -> Option<(u16, u8)> {
        self.routes.next(is_match)
    }

    /// Where a copy of the present request goes, if there is to be one.
    #[inline]
    pub(super) fn choose_mirror(&mut self) -> Option<u16> {
        self.routes.next_copy()
    }

    /// Whether requests that meet the conditions of a test have routes of their own.
    #[inline]
    pub(super) fn is_tested(&self) -> bool {
        self.routes.is_tested()
    }

    /// A workload's share of the traffic, where so many parts of a million meet the conditions of a test; 0 when no
    /// route leads to it.
    pub(super) fn percent_of(&self, workload: u16, parts: u32) -> u32 {
        self.routes.percent_of(workload, parts)
    }
}

impl World<'_> {
    /// Schedules the plan's changes from `from_ns` of the run on.
    pub(super) fn schedule_changes(&self, from_ns: u64, schedule: &mut Schedule<Any>) {
        for (index, change) in (0_u32..).zip(&self.plan.changes).filter(|(_, change)| change.at_ns >= from_ns)
        {
            schedule.at(self.plan.epoch_ns + change.at_ns, Any::Rollout(Event::Change(index)));
        }
    }

    /// Something that a service waited for.
    pub(super) fn rollout_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Apply => {
                for service in 0..self.state.services.len() {
                    self.reconcile(now_ns, service, schedule);
                }
            }
            Event::Change(index) => self.change(now_ns, index, schedule),
            Event::Tick(service) => self.delivery_tick(now_ns, service, schedule),
        }
    }

    /// A service's objects are brought to where its manifest wants them.
    pub(super) fn reconcile(&mut self, now_ns: u64, service: usize, schedule: &mut Schedule<Any>) {
        match self.state.services[service].rollout {
            Rollout::Knative(_) => self.reconcile_knative(now_ns, service, schedule),
            Rollout::Standard(_) => self.reconcile_standard(now_ns, service, schedule),
        }
    }

    /// A what-if: a service as the plan has it at `from_ns` of the run, where it differs from what is.
    pub(super) fn replan(&mut self, from_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let is_past = |change: &&Change| change.service == index && change.at_ns < from_ns;
        let past = self.plan.changes.iter().filter(is_past).filter_map(Change::version).next_back();
        let service = &mut self.state.services[index];
        service.version = past.unwrap_or(0);
        let now_ns = self.plan.epoch_ns.saturating_add(from_ns);
        self.replan_delivery(index);
        let service = &self.state.services[index];
        let is_standard = self.plan.services[index].versions[service.version].standard.is_some();
        match service.rollout {
            Rollout::Knative(_) if !is_standard => self.replan_knative(now_ns, index, schedule),
            Rollout::Standard(_) if is_standard => self.reconcile_standard(now_ns, index, schedule),
            _ => {
                self.fault = Some(SimError::Snapshot {
                    message: "it holds a service in another deployment mode than the plan's".to_owned(),
                    remedy: "keep the annotation serving.kserve.io/deploymentMode".to_owned(),
                });
            }
        }
    }

    /// Whether a request of a load meets the conditions of a test: the share of the load's requests, or of its users,
    /// that the scenario says, evenly spread.
    pub(super) fn is_match(&self, load: u16, arrival: &Arrival, caller: Caller) -> bool {
        let Some(parts) = self.plan.loads[usize::from(load)].matching else { return false };
        is_among(self.sender_of(arrival, caller), parts, MILLION)
    }

    /// A workload has a new ready pod. That matters to its service until the workload is ready.
    pub(super) fn workload_gained(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let service = self.state.workloads[usize::from(index)].service;
        let was_ready = match &self.state.services[service].rollout {
            Rollout::Knative(knative) => knative.is_ready(index),
            // Told by its Deployment.
            Rollout::Standard(_) => true,
        };
        if !was_ready {
            self.reconcile(now_ns, service, schedule);
        }
    }

    /// An event of the scenario happens.
    fn change(&mut self, now_ns: u64, index: u32, schedule: &mut Schedule<Any>) {
        let plan = self.plan;
        let change = &plan.changes[index as usize];
        let planned = &plan.services[change.service];
        self.note(now_ns, "scenario", &planned.name, &change.name);
        let version = match change.kind {
            ChangeKind::Version(version) => version,
            ChangeKind::Command(verb) => {
                return self.command_delivery(now_ns, change.service, verb, schedule);
            }
        };
        let service = &mut self.state.services[change.service];
        service.version = version;
        match &mut service.rollout {
            Rollout::Knative(knative) => knative.apply(&planned.versions[version].manifest),
            Rollout::Standard(_) => {}
        }
        self.reconcile(now_ns, change.service, schedule);
    }

    /// The gateway learns the traffic of a settled service, the controllers which workloads are reachable.
    pub(super) fn set_traffic(
        &mut self,
        now_ns: u64,
        index: usize,
        backends: Vec<Backend>,
        schedule: &mut Schedule<Any>,
    ) {
        if self.state.services[index].routes.everyone.set(backends) {
            let shares: Vec<String> = self.state.services[index]
                .routes
                .everyone
                .backends
                .iter()
                .map(|backend| {
                    let name = &self.state.workloads[usize::from(backend.workload)].name;
                    format!("{name} {} %", backend.percent)
                })
                .collect();
            let name = self.plan.services[index].name.clone();
            self.note(now_ns, "traffic", &name, &shares.join(", "));
        }
        let service = &self.state.services[index];
        let Rollout::Knative(knative) = &service.rollout else { return };
        let moved: Vec<(u16, Reachability)> = knative
            .workloads()
            .filter_map(|workload| {
                let before = self.state.workloads[usize::from(workload)].reachability;
                let is_reachable = service.routes.leads_to(workload);
                let after = match (is_reachable, before) {
                    (true, _) => Reachability::Reachable,
                    (false, Reachability::Unknown) => Reachability::Unknown,
                    (false, _) => Reachability::Unreachable,
                };
                (after != before).then_some((workload, after))
            })
            .collect();
        for (workload, reachability) in moved {
            self.state.workloads[usize::from(workload)].reachability = reachability;
            self.decide(now_ns, workload, Cause::Change, schedule);
        }
    }
}

/// The generation of an object after its specification changed, or did not.
fn next_generation(before: Option<i64>, is_new: bool) -> Option<i64> {
    Some(before.unwrap_or(0) + i64::from(is_new))
}
