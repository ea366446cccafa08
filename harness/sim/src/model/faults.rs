//! What goes wrong on purpose: at given times, or at random ones with a given mean gap.
//!
//! A fault strikes, is written down as an event of the kind that `recovery` is measured from, and is over after its
//! length. What only has to be known while it lasts is asked for: [`World::metrics_are_out`], [`World::api_is_out`].
//! While the API server is out, nothing is decided, no pod is made, placed or taken away, and no new endpoint
//! is known; what kubelets have begun goes on, and a container that dies is restarted by them. Ticks keep their
//! grid. A pod that dies leaves the gateway's list at once, as failed connections would have it.

mod victims;

use serde::{Deserialize, Serialize};
use windtunnel_record::Event as Record;
use windtunnel_scenario::{Disturbance, DisturbanceKind, Duration, When};

use super::control::{self, Cause};
use super::{Event as Any, World, deployments};
use crate::engine::{Schedule, Stream};
use crate::fleet::NodeId;
use crate::plan::{Plan, is_all_local};

/// What happens to faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A fault of the plan strikes: its place there.
    Strike(u32),
    /// A fault that struck is over: its number.
    Over(u32),
}

/// Faults that will strike and those that last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Faults {
    planned: Vec<Planned>,
    active: Vec<Active>,
    struck: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Planned {
    disturbance: Disturbance,
    gaps: Stream,
    victims: Stream,
}

/// A fault that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Active {
    number: u32,
    kind: DisturbanceKind,
    until_ns: u64,
    nodes: Vec<NodeId>,
}

impl Faults {
    pub(super) fn new(plan: &Plan, seed: u64) -> Self {
        let planned = |(index, disturbance): (usize, &Disturbance)| Planned {
            disturbance: disturbance.clone(),
            gaps: Stream::named(seed, &format!("faults/{index}/gaps")),
            victims: Stream::named(seed, &format!("faults/{index}/victims")),
        };
        let planned = plan.faults.iter().enumerate().map(planned).collect();
        Self { planned, active: Vec::new(), struck: 0 }
    }

    fn until_ns(&self, is_it: impl Fn(&DisturbanceKind) -> bool) -> Option<u64> {
        self.active.iter().filter(|active| is_it(&active.kind)).map(|active| active.until_ns).max()
    }
}

impl World<'_> {
    /// Whether no autoscaler and no analysis gets a metric now.
    pub(super) fn metrics_are_out(&self, now_ns: u64) -> bool {
        let until_ns = self.state.faults.until_ns(|kind| matches!(kind, DisturbanceKind::MetricsGap { .. }));
        until_ns.is_some_and(|until_ns| now_ns < until_ns)
    }

    /// Whether the API server does not answer now: nothing can be changed.
    pub(super) fn api_is_out(&self, now_ns: u64) -> bool {
        now_ns < self.api_back_ns(now_ns)
    }

    /// When the API server answers (again): now, if it does.
    pub(super) fn api_back_ns(&self, now_ns: u64) -> u64 {
        if self.state.faults.active.is_empty() {
            return now_ns;
        }
        let until_ns = self.state.faults.until_ns(|kind| matches!(kind, DisturbanceKind::ApiOutage { .. }));
        until_ns.unwrap_or(now_ns).max(now_ns)
    }

    /// Schedules the first strike of each fault from `from_ns` of the run on.
    pub(super) fn schedule_faults(&mut self, from_ns: u64, schedule: &mut Schedule<Any>) {
        let (epoch_ns, end_ns) = (self.plan.epoch_ns, self.end_ns());
        for (index, planned) in (0_u32..).zip(&mut self.state.faults.planned) {
            let at_ns = match planned.disturbance.when {
                When::At(at) if at.as_ns() < from_ns => continue,
                When::At(at) => epoch_ns.saturating_add(at.as_ns()),
                When::Every(mean) => {
                    let gap_ns = (planned.gaps.exponential() * mean.as_ns() as f64) as u64;
                    epoch_ns.saturating_add(from_ns).saturating_add(gap_ns)
                }
            };
            if at_ns < end_ns {
                schedule.at(at_ns, Any::Fault(Event::Strike(index)));
            }
        }
    }

    /// A what-if with other faults: those of the plan instead of those that were due.
    pub(super) fn replan_faults(&mut self, from_ns: u64, schedule: &mut Schedule<Any>) {
        let held = self.state.faults.planned.iter().map(|planned| &planned.disturbance);
        if held.eq(&self.plan.faults) {
            return;
        }
        schedule.retain(|event| !matches!(event, Any::Fault(Event::Strike(_))));
        let mut faults = Faults::new(self.plan, self.state.seed);
        faults.active = std::mem::take(&mut self.state.faults.active);
        faults.struck = self.state.faults.struck;
        self.state.faults = faults;
        self.schedule_faults(from_ns, schedule);
    }

    /// Something that faults waited for.
    pub(super) fn fault_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Strike(index) => self.strike(now_ns, index, schedule),
            Event::Over(number) => {
                let active = &mut self.state.faults.active;
                let Some(at) = active.iter().position(|active| active.number == number) else { return };
                let over = active.remove(at);
                self.fault_over(now_ns, &over, schedule);
            }
        }
    }

    fn strike(&mut self, now_ns: u64, index: u32, schedule: &mut Schedule<Any>) {
        let end_ns = self.end_ns();
        let Some(planned) = self.state.faults.planned.get_mut(index as usize) else { return };
        let kind = planned.disturbance.kind.clone();
        if let When::Every(mean) = planned.disturbance.when {
            let gap_ns = (planned.gaps.exponential() * mean.as_ns() as f64) as u64;
            let next_ns = now_ns.saturating_add(gap_ns.max(1));
            if next_ns < end_ns {
                schedule.at(next_ns, Any::Fault(Event::Strike(index)));
            }
        }
        let mut chance = planned.victims.clone();
        let number = self.state.faults.struck;
        self.state.faults.struck = number.wrapping_add(1);
        let place = self.state.faults.active.len();
        if let Some(length) = kind.length() {
            let until_ns = now_ns.saturating_add(length.as_ns());
            schedule.at(until_ns, Any::Fault(Event::Over(number)));
            let nodes = Vec::new();
            self.state.faults.active.push(Active { number, kind: kind.clone(), until_ns, nodes });
        }
        self.take_effect(now_ns, &kind, place, &mut chance, schedule);
        if let Some(planned) = self.state.faults.planned.get_mut(index as usize) {
            planned.victims = chance;
        }
    }

    /// The fault is written down and does what it does.
    fn take_effect(
        &mut self,
        now_ns: u64,
        kind: &DisturbanceKind,
        place: usize,
        chance: &mut Stream,
        schedule: &mut Schedule<Any>,
    ) {
        match kind {
            DisturbanceKind::PodCrash { target, count } => {
                let victims = self.running_pods(target, Some(*count), chance);
                let text = match victims.len() {
                    0 => "pod-crash: no pod of it runs".to_owned(),
                    1 => "pod-crash: 1 pod".to_owned(),
                    more => format!("pod-crash: {more} pods"),
                };
                self.tell_fault(now_ns, target, &text);
                self.crash_all(now_ns, &victims, "crashed", schedule);
            }
            DisturbanceKind::CrashLoop { target, length } => {
                let victims = self.running_pods(target, None, chance);
                self.tell_fault(now_ns, target, &format!("crash-loop for {length}: {} pods", victims.len()));
                self.crash_all(now_ns, &victims, "crashed", schedule);
            }
            DisturbanceKind::NodeLoss { pool, count, length } => {
                let nodes = self.nodes_to_lose(pool, *count, chance);
                let names: Vec<String> = nodes.iter().map(|node| self.node_name(*node)).collect();
                let lasting = length.map_or_else(String::new, |length| format!(" for {length}"));
                let which = if names.is_empty() { "no node is there".to_owned() } else { names.join(", ") };
                self.tell_fault(now_ns, pool, &format!("node-loss{lasting}: {which}"));
                self.lose_nodes(now_ns, &nodes, schedule);
                if let Some(active) = self.state.faults.active.get_mut(place) {
                    active.nodes = nodes;
                }
            }
            DisturbanceKind::SlowStorage { prefix, factor, length } => {
                let effect = self.storage_effect(prefix);
                let text = format!("slow-storage for {length}: slower by {factor}{effect}");
                self.tell_fault(now_ns, prefix, &text);
                self.rate_storage(now_ns, schedule);
            }
            DisturbanceKind::StorageFailure { prefix, length } => {
                let effect = self.storage_effect(prefix);
                let text = format!("storage-failure for {length}: downloads stand still{effect}");
                self.tell_fault(now_ns, prefix, &text);
                self.rate_storage(now_ns, schedule);
            }
            DisturbanceKind::MetricsGap { length } => {
                self.tell_fault(
                    now_ns,
                    "",
                    &format!("metrics-gap for {length}: no autoscaler and no analysis gets a metric"),
                );
                self.set_blind(true);
            }
            DisturbanceKind::ApiOutage { length } => {
                self.tell_fault(now_ns, "", &format!("api-outage for {length}: nothing can be changed"));
            }
            DisturbanceKind::ClockPhase { shift } => {
                self.tell_fault(now_ns, "", &format!("clock-phase: control loops come {shift} later"));
                shift_loops(*shift, schedule);
            }
        }
    }

    /// A word about a fault of storage that strikes nobody.
    fn storage_effect(&self, prefix: &str) -> &'static str {
        if is_all_local(self.plan, prefix) {
            "; without effect: all models from there lie on the nodes already"
        } else {
            ""
        }
    }

    fn tell_fault(&mut self, now_ns: u64, target: &str, text: &str) {
        self.note(now_ns, Record::FAULT, target, text);
    }

    fn fault_over(&mut self, now_ns: u64, over: &Active, schedule: &mut Schedule<Any>) {
        self.note(now_ns, "fault-over", over.kind.name(), "over");
        match &over.kind {
            DisturbanceKind::NodeLoss { .. } => self.nodes_return(now_ns, &over.nodes, schedule),
            DisturbanceKind::SlowStorage { .. } | DisturbanceKind::StorageFailure { .. } => {
                self.rate_storage(now_ns, schedule);
            }
            DisturbanceKind::MetricsGap { .. } => {
                let is_out = self.metrics_are_out(now_ns);
                self.set_blind(is_out);
            }
            DisturbanceKind::ApiOutage { .. } if !self.api_is_out(now_ns) => {
                self.api_is_back(now_ns, schedule)
            }
            DisturbanceKind::PodCrash { .. }
            | DisturbanceKind::CrashLoop { .. }
            | DisturbanceKind::ApiOutage { .. }
            | DisturbanceKind::ClockPhase { .. } => {}
        }
    }

    /// Storage services have what the faults that last leave of their bandwidth; of several the strongest counts.
    pub(super) fn rate_storage(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        let active = &self.state.faults.active;
        let share = |storage: &str| {
            active.iter().fold(1.0_f64, |share, active| match &active.kind {
                DisturbanceKind::SlowStorage { prefix, factor, .. } if storage.starts_with(prefix) => {
                    share.min(1.0 / factor)
                }
                DisturbanceKind::StorageFailure { prefix, .. } if storage.starts_with(prefix) => 0.0,
                _ => share,
            })
        };
        let Some(cluster) = self.state.cluster.as_deref_mut() else { return };
        if let Err(error) = cluster.rate_storage(now_ns, share) {
            self.fault = Some(error.into());
        }
        self.expect_cluster(now_ns, schedule);
    }

    /// The API server answers again: what was decided before is carried out, and controllers look anew.
    fn api_is_back(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        for index in 0..self.state.workloads.len() {
            let index = self.state.workloads[index].index;
            self.scale_pods(now_ns, index, schedule);
            self.decide(now_ns, index, Cause::Change, schedule);
        }
        self.place_pods(now_ns, schedule);
    }

    /// Puts off what cannot happen while the API server is out. True when it was put off.
    pub(super) fn puts_off(&self, now_ns: u64, event: Any, schedule: &mut Schedule<Any>) -> bool {
        let back_ns = self.api_back_ns(now_ns);
        if back_ns <= now_ns {
            return false;
        }
        let period_ns = match event {
            Any::Deployment(_, deployments::Event::Tick) => self.plan.environment.control.hpa.sync.as_ns(),
            _ => 0,
        };
        // A period keeps its grid.
        let at_ns = match period_ns {
            0 => back_ns,
            period_ns => {
                let periods = (back_ns - now_ns).div_ceil(period_ns);
                now_ns.saturating_add(periods.saturating_mul(period_ns))
            }
        };
        schedule.at(at_ns, event);
        true
    }

    /// Whether the containers of a service die as soon as they have started.
    pub(super) fn is_crash_looping(&self, service: usize) -> bool {
        let faults = &self.state.faults.active;
        !faults.is_empty()
            && faults.iter().any(|active| match &active.kind {
                DisturbanceKind::CrashLoop { target, .. } => *target == self.plan.services[service].name,
                _ => false,
            })
    }
}

/// What control loops wait for comes later.
fn shift_loops(shift: Duration, schedule: &mut Schedule<Any>) {
    let is_loop = |event: Any| {
        matches!(
            event,
            Any::Control(_, control::Event::Tick)
                | Any::Deployment(_, deployments::Event::Tick | deployments::Event::Poll)
                | Any::Scrape
        )
    };
    let mut loops: Vec<(u64, Any)> = schedule.iter().filter(|(_, event)| is_loop(*event)).collect();
    loops.sort_by_key(|(at_ns, _)| *at_ns);
    schedule.retain(|event| !is_loop(event));
    for (at_ns, event) in loops {
        schedule.at(at_ns.saturating_add(shift.as_ns()), event);
    }
}
