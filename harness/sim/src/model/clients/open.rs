//! Open-loop clients: requests come when the load says so, whatever becomes of them.

use serde::{Deserialize, Serialize};
use windtunnel_scenario::load::Arrival;

use super::super::deadlines::Deadlines;
use super::super::{Event as Any, World};
use super::Caller;
use super::users::Users;
use crate::engine::{Schedule, Streams};
use crate::error::SimError;
use crate::plan::{LoadPlan, Plan};

/// Where the arrivals of each load come from, in order of time. Not state: they are made again from the scenario
/// and the seed, and skipped to where the state is.
pub(crate) struct Sources<'a>(Vec<Box<dyn Iterator<Item = Arrival> + 'a>>);

impl<'a> Sources<'a> {
    /// The arrivals of every load of a plan.
    ///
    /// # Errors
    /// When a trace cannot be read.
    pub(crate) fn of(plan: &Plan, seed: u64) -> Result<Self, SimError> {
        Self::with_first(plan, seed, None)
    }

    /// Nothing ever comes.
    pub(crate) fn none(plan: &Plan) -> Self {
        Self(plan.loads.iter().map(|_| Box::new(std::iter::empty()) as _).collect())
    }

    /// Like [`Sources::of`], with the first load's arrivals replaced.
    ///
    /// # Errors
    /// As [`Sources::of`].
    pub(crate) fn with_first(
        plan: &Plan,
        seed: u64,
        mut first: Option<Box<dyn Iterator<Item = Arrival> + 'a>>,
    ) -> Result<Self, SimError> {
        let mut sources: Vec<Box<dyn Iterator<Item = Arrival> + 'a>> = Vec::with_capacity(plan.loads.len());
        for load in &plan.loads {
            match first.take() {
                Some(given) => sources.push(given),
                None => sources.push(load.arrivals(plan, seed)?),
            }
        }
        Ok(Self(sources))
    }
}

/// A load: how far its arrivals are, and those of its clients that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Load {
    /// The next arrival; `None` when there will be no more.
    pub(super) next: Option<Arrival>,
    /// When clients give up.
    pub(super) deadlines: Deadlines,
    /// What chance has for each request: how long it takes, how it ends, and how long its client waits before it
    /// tries again.
    pub(super) draws: Streams,
    pub(super) outcomes: Streams,
    pub(super) waits: Streams,
    /// Its users, when it is a closed loop.
    pub(in crate::model) users: Option<Box<Users>>,
    /// How often its clients tried again so far, and until the last sample.
    pub(in crate::model) retries: u64,
    pub(super) retries_sampled: u64,
}

impl Load {
    pub(in crate::model) fn new(plan: &Plan, load: &LoadPlan, seed: u64, index: usize) -> Self {
        Self {
            next: None,
            deadlines: Deadlines::default(),
            draws: Streams::named(seed, &format!("requests/{index}")),
            outcomes: Streams::named(seed, &format!("outcomes/{index}")),
            waits: Streams::named(seed, &format!("retries/{index}")),
            users: load.users.as_ref().map(|users| Box::new(Users::new(users, plan.epoch_ns, seed, index))),
            retries: 0,
            retries_sampled: 0,
        }
    }
}

impl World<'_> {
    /// Takes the next arrival of a load from its source.
    pub(in crate::model) fn draw_arrival(&mut self, load: usize) {
        let duration_ns = self.plan.duration_ns;
        let next = self.sources.0[load].next();
        self.state.loads[load].next = next.filter(|arrival| arrival.at_ns < duration_ns);
    }

    /// Puts the next arrival of all loads into the schedule's lane; of two at one instant, the first load's.
    pub(in crate::model) fn expect_arrival(&mut self, schedule: &mut Schedule<Any>) {
        let mut earliest: Option<(u64, u16)> = None;
        for (load, index) in self.state.loads.iter().zip(0_u16..) {
            if let Some(next) = &load.next
                && earliest.is_none_or(|(at_ns, _)| next.at_ns < at_ns)
            {
                earliest = Some((next.at_ns, index));
            }
        }
        if let Some((at_ns, load)) = earliest {
            let way_ns = self.plan.environment.network.gateway.as_ns();
            schedule.lane(self.plan.epoch_ns + at_ns + way_ns, Any::Arrival(load));
        }
    }

    /// Whether no load sends anything any more.
    pub(in crate::model) fn is_silent(&self) -> bool {
        self.state.loads.iter().all(|load| load.next.is_none())
    }

    /// A request reaches the gateway.
    pub(in crate::model) fn arrive(&mut self, now_ns: u64, load: u16, schedule: &mut Schedule<Any>) {
        let index = usize::from(load);
        let Some(arrival) = self.state.loads[index].next else { return };
        self.draw_arrival(index);
        self.expect_arrival(schedule);
        if self.plan.loads[index].queue.is_some() {
            return self.publish(now_ns, load, arrival, schedule);
        }
        self.state.ledger.enter(now_ns);
        self.route(now_ns, load, arrival, Caller::Once, schedule);
    }

    /// After a snapshot: the sources are fresh, and are brought to the first arrival that had not reached the
    /// gateway at `from_ns` of the run, `way_ns` being the latency of the way until then. True when that is
    /// another one than was expected: the load was changed.
    pub(in crate::model) fn skip_arrivals(&mut self, load: usize, from_ns: u64, way_ns: u64) -> bool {
        let sent_ns = from_ns.saturating_sub(way_ns);
        let duration_ns = self.plan.duration_ns;
        let next = self.sources.0[load].find(|arrival| arrival.at_ns >= sent_ns);
        let next = next.filter(|arrival| arrival.at_ns < duration_ns);
        let load = &mut self.state.loads[load];
        std::mem::replace(&mut load.next, next) != next
    }
}
