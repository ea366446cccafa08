//! How long it takes from the manifests to services that are ready: simulated once beforehand, where it follows from
//! sizes, machines and probes.

use windtunnel_record::{ColdStart, Decision, Event as Observed, Recorder, Request, Revision};
use windtunnel_scenario::{ModelLoad, Probe};

use super::{Cluster, Event, Sources, World, rollout};
use crate::engine::{Model as _, Schedule};
use crate::error::SimError;
use crate::plan::Plan;

/// Nobody waits longer than this for services to become ready.
const MOST_NS: u64 = 7_200_000_000_000;

/// Services that do not become ready in that time are given this long before the run begins: the progress deadline.
const OVERDUE_NS: u64 = 600_000_000_000;

/// When the manifests are applied: early enough for every service to be ready when the plan's lead begins.
///
/// # Errors
/// What keeps the plan from being simulated at all.
pub(crate) fn start_ns(plan: &Plan, seed: u64) -> Result<u64, SimError> {
    let start = &plan.environment.pod_start;
    let is_constant = matches!(start.load, ModelLoad::Takes(_)) && matches!(start.probe, Probe::Takes(_));
    if is_constant && Cluster::of(plan, 0)?.is_none() {
        return Ok(plan.start_ns());
    }
    let begin_ns = plan.epoch_ns.saturating_sub(MOST_NS + plan.lead_ns);
    let mut nowhere = Nowhere;
    let mut world = World::new(plan, seed, begin_ns, Sources::none(plan), &mut nowhere);
    let mut schedule = Schedule::starting_at(begin_ns);
    schedule.at(begin_ns, Event::Rollout(rollout::Event::Apply));
    let mut was_ready: Vec<bool> = Vec::new();
    let mut settled_ns = OVERDUE_NS;
    while let Some((now_ns, event)) = schedule.pop_until(begin_ns.saturating_add(MOST_NS)) {
        world.handle(now_ns, event, &mut schedule);
        if let Some(error) = world.take_fault() {
            return Err(error);
        }
        // What happens at one instant has happened before it counts.
        if schedule.next_ns() == Some(now_ns) {
            continue;
        }
        was_ready.resize(world.state.workloads.len(), false);
        for (was_ready, workload) in was_ready.iter_mut().zip(&world.state.workloads) {
            *was_ready |= workload.ready() >= workload.wanted;
        }
        if was_ready.iter().all(|was_ready| *was_ready) {
            settled_ns = now_ns - begin_ns;
            break;
        }
    }
    Ok(plan.epoch_ns.saturating_sub(plan.lead_ns).saturating_sub(settled_ns))
}

/// Takes no notice.
struct Nowhere;

impl Recorder for Nowhere {
    fn revision(&mut self, _: Revision) -> u16 {
        0
    }
    fn request(&mut self, _: Request) {}
    fn sample(&mut self, _: &str, _: &[(&str, &str)], _: u64, _: f64) {}
    fn decision(&mut self, _: Decision) {}
    fn event(&mut self, _: Observed) {}
    fn cold_start(&mut self, _: ColdStart) {}
}
