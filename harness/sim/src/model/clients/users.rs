//! Users in a closed loop: each sends, waits for the answer, thinks, and sends again.

use serde::{Deserialize, Serialize};
use windtunnel_scenario::load::{Arrival, Work};

use super::super::{Event as Any, World};
use super::{Call, Event};
use crate::client::{Change, Population, User};
use crate::engine::{Schedule, Streams};
use crate::plan::UsersPlan;

/// The users of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Users {
    population: Population,
    /// Requests that each one has sent so far.
    sent: Vec<u32>,
    /// Requests that all have sent so far.
    row: u32,
    /// How long they think.
    thoughts: Streams,
}

impl Users {
    pub(super) fn new(plan: &UsersPlan, epoch_ns: u64, seed: u64, index: usize) -> Self {
        Self {
            population: plan.population(epoch_ns),
            sent: Vec::new(),
            row: 0,
            thoughts: Streams::named(seed, &format!("thoughts/{index}")),
        }
    }

    pub(super) fn active(&self) -> u32 {
        self.population.active()
    }

    /// A user sends its next request: its number in the load, and what its chance belongs to.
    fn next_request(&mut self, user: User) -> (u32, u64) {
        let place = user.index as usize;
        if place >= self.sent.len() {
            self.sent.resize(place + 1, 0);
        }
        let (row, own) = (self.row, self.sent[place]);
        self.row = self.row.wrapping_add(1);
        self.sent[place] = own.wrapping_add(1);
        (row, (u64::from(user.index) + 1) << 32 | u64::from(own))
    }
}

impl World<'_> {
    /// The first users come at t=0.
    pub(in crate::model) fn start_users(&self, schedule: &mut Schedule<Any>) {
        for index in (0_u16..).take(self.state.loads.len()) {
            self.expect_users(index, schedule);
        }
    }

    fn expect_users(&self, index: u16, schedule: &mut Schedule<Any>) {
        let users = self.state.loads[usize::from(index)].users.as_ref();
        if let Some(change_ns) = users.and_then(|users| users.population.next_change_ns()) {
            schedule.at(change_ns, Any::Client(Event::Users(index)));
        }
    }

    /// Users come and go.
    pub(super) fn users_change(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let mut changes = Vec::new();
        if let Some(users) = &mut self.state.loads[usize::from(index)].users {
            users.population.advance(now_ns, &mut changes);
        }
        for change in changes {
            if let Change::Joined(user) = change {
                self.user_sends(now_ns, index, user, schedule);
            }
        }
        self.expect_users(index, schedule);
    }

    /// A user sends a request, unless it has left meanwhile or the run is over.
    pub(super) fn user_sends(&mut self, now_ns: u64, index: u16, user: User, schedule: &mut Schedule<Any>) {
        let at_ns = self.run_ns(now_ns);
        if now_ns >= self.end_ns() {
            return;
        }
        let Some(users) = &mut self.state.loads[usize::from(index)].users else { return };
        if !users.population.is_active(user) {
            return;
        }
        let (row, number) = users.next_request(user);
        let arrival = Arrival { at_ns, row, work: Work::Drawn };
        let call = Call { arrival, load: index, number, failed_tries: 0, sent_ns: now_ns, user: Some(user) };
        let key = self.state.calls.insert(call);
        self.send_call(now_ns, key, schedule);
    }

    /// A user has its answer.
    pub(super) fn user_thinks(&mut self, now_ns: u64, call: &Call, user: User, schedule: &mut Schedule<Any>) {
        let Some(users) = &self.state.loads[usize::from(call.load)].users else { return };
        let mut thoughts = users.thoughts.of(call.number);
        if let Some(think_ns) = users.population.think_ns(user, &mut thoughts) {
            schedule.at(now_ns.saturating_add(think_ns), Any::Client(Event::Thought(call.load, user)));
        }
    }

    /// After a snapshot: the users of another plan come and go as it says.
    pub(in crate::model) fn replan_users(&mut self, from_ns: u64, schedule: &mut Schedule<Any>) {
        let epoch_ns = self.plan.epoch_ns;
        for (index, plan) in (0_u16..).zip(&self.plan.loads) {
            let users = self.state.loads[usize::from(index)].users.as_mut();
            let Some((users, plan)) = users.zip(plan.users.as_ref()) else { continue };
            if users.population.follow(epoch_ns.saturating_add(from_ns), plan.population(epoch_ns)) {
                schedule.retain(|event| event != Any::Client(Event::Users(index)));
                self.expect_users(index, schedule);
            }
        }
    }
}
