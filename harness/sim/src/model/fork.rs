//! Going on from a stored state, under the plan that it came from or under another one.

use super::rollout;
use super::{Event, Sources, State, World};
use crate::engine::Schedule;
use crate::error::SimError;
use crate::plan::Plan;
use windtunnel_record::Recorder;

impl<'a> World<'a> {
    /// A world that goes on with `state`, in which everything before `from_ns` of the run has happened, `way_ns`
    /// having been the latency of the way to the gateway.
    ///
    /// Where the plan is another one than the state's, its difference happens now: what was scheduled of the old
    /// one is taken back. With the same plan nothing happens at all.
    pub(crate) fn resumed(
        plan: &'a Plan,
        state: State,
        sources: Sources<'a>,
        recorder: &'a mut dyn Recorder,
        (from_ns, way_ns): (u64, u64),
        schedule: &mut Schedule<Event>,
    ) -> Self {
        let (profiles, finished) = (Vec::new(), Vec::new());
        let (scrape_time, fault) = match super::scrape_time_of(plan) {
            Ok(scrape_time) => (scrape_time, None),
            Err(error) => (None, Some(error)),
        };
        let mut world = Self {
            plan,
            recorder,
            sources,
            state,
            profiles,
            finished,
            tokens: None,
            round_trip_ns: plan.environment.network.round_trip.as_ns(),
            scrape_time,
            book: super::outputs::Book::default(),
            fault,
        };
        world.resolve_profiles();
        for workload in &mut world.state.workloads {
            workload.observed = world.recorder.revision(workload.observation(plan.epoch_ns));
        }
        world.replan_arrivals(from_ns, way_ns, schedule);
        world.replan_users(from_ns, schedule);
        world.replan_changes(from_ns, schedule);
        world.replan_drift(from_ns, schedule);
        world.replan_faults(from_ns, schedule);
        world.replan_end(schedule);
        schedule.advance_to(plan.epoch_ns.saturating_add(from_ns));
        world.replan_cluster(plan.epoch_ns.saturating_add(from_ns), schedule);
        world.replan_servers(plan.epoch_ns.saturating_add(from_ns), schedule);
        world.probe_again(plan.epoch_ns.saturating_add(from_ns), schedule);
        for service in 0..world.state.services.len() {
            world.replan(from_ns, service, schedule);
        }
        world
    }

    fn replan_arrivals(&mut self, from_ns: u64, way_ns: u64, schedule: &mut Schedule<Event>) {
        let mut is_other = way_ns != self.plan.environment.network.gateway.as_ns();
        for load in 0..self.state.loads.len() {
            is_other |= self.skip_arrivals(load, from_ns, way_ns);
        }
        if is_other {
            schedule.retain(|event| !matches!(event, Event::Arrival(_)));
            self.expect_arrival(schedule);
        }
    }

    fn replan_changes(&self, from_ns: u64, schedule: &mut Schedule<Event>) {
        let index_of = |event| match event {
            Event::Rollout(rollout::Event::Change(index)) => Some(index),
            _ => None,
        };
        let mut due: Vec<(u64, u32)> =
            schedule.iter().filter_map(|(at_ns, event)| Some((at_ns, index_of(event)?))).collect();
        due.sort_unstable();
        let planned = (0_u32..).zip(&self.plan.changes).filter(|(_, change)| change.at_ns >= from_ns);
        if !planned.map(|(index, change)| (self.plan.epoch_ns + change.at_ns, index)).eq(due) {
            schedule.retain(|event| index_of(event).is_none());
            self.schedule_changes(from_ns, schedule);
        }
    }

    fn replan_cluster(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        let outcome = match self.state.cluster.as_deref_mut() {
            Some(cluster) => cluster.reconfigure(self.plan, now_ns),
            None => match super::nodes::Cluster::of(self.plan, now_ns) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(SimError::Snapshot {
                    message: "it was taken of a run without machines and sizes, and the plan has some"
                        .to_owned(),
                    remedy: "simulate from the start".to_owned(),
                }),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Err(error) => self.fault = Some(error),
            Ok(()) => {
                self.rate_storage(now_ns, schedule);
                self.place_pods(now_ns, schedule);
            }
        }
    }

    fn replan_end(&mut self, schedule: &mut Schedule<Event>) {
        let end_ns = self.end_ns();
        let is_due = schedule.iter().any(|(at_ns, event)| event == Event::End && at_ns == end_ns);
        if !is_due && !self.state.time_is_over {
            schedule.retain(|event| event != Event::End);
            schedule.at(end_ns, Event::End);
        }
    }
}
