//! Clients that try again.

use serde::{Deserialize, Serialize};
use windtunnel_scenario::load::Arrival;

use super::super::{Event as Any, World};
use super::{Caller, Event, Failure};
use crate::client::{self, User};
use crate::engine::{Key, Schedule};

/// An intended request of which more is kept than its tries: one that failed before, or a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Call {
    /// As it was intended.
    pub(super) arrival: Arrival,
    pub(super) load: u16,
    /// What its chance belongs to.
    pub(super) number: u64,
    /// Tries that failed.
    pub(super) failed_tries: u32,
    /// When the present try was sent.
    pub(super) sent_ns: u64,
    /// Who waits for it, in a closed loop.
    pub(super) user: Option<User>,
}

impl World<'_> {
    /// A try failed. True when its client will try again: then this was not the end of the request.
    pub(super) fn tries_again(
        &mut self,
        now_ns: u64,
        load: u16,
        arrival: &Arrival,
        caller: Caller,
        failure: Failure,
        schedule: &mut Schedule<Any>,
    ) -> bool {
        let index = usize::from(load);
        let Some(policy) = &self.plan.loads[index].retries else { return false };
        let key = match caller {
            Caller::Once => None,
            Caller::Call(key) => Some(key),
            Caller::Message(_) | Caller::Mirror(_) => return false,
        };
        let mut call = key.and_then(|key| self.state.calls.get(key).copied()).unwrap_or(Call {
            arrival: *arrival,
            load,
            number: u64::from(arrival.row),
            failed_tries: 0,
            sent_ns: 0,
            user: None,
        });
        call.failed_tries = call.failed_tries.saturating_add(1);
        let failure = match failure.status() {
            0 => client::Failure::Timeout,
            status => client::Failure::Status(status),
        };
        // The n-th wait of a request is the same whatever the waits before it were.
        let number = call.number.wrapping_add(u64::from(call.failed_tries) << 56);
        let mut waits = self.state.loads[index].waits.of(number);
        let Some(delay_ns) = policy.next_delay_ns(call.failed_tries, failure, &mut waits) else {
            return false;
        };
        call.sent_ns = now_ns.saturating_add(delay_ns);
        let key = match key {
            Some(key) => {
                if let Some(kept) = self.state.calls.get_mut(key) {
                    *kept = call;
                }
                key
            }
            None => self.state.calls.insert(call),
        };
        self.state.loads[index].retries += 1;
        self.send_call(call.sent_ns, key, schedule);
        true
    }

    /// The try of a call leaves its client at `sent_ns`.
    pub(super) fn send_call(&self, sent_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let way_ns = self.plan.environment.network.gateway.as_ns();
        schedule.at(sent_ns.saturating_add(way_ns), Any::Client(Event::Arrive(key)));
    }

    /// The try of a call is at the gateway.
    pub(super) fn call_arrives(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(call) = self.state.calls.get(key).copied() else { return };
        self.state.ledger.enter(now_ns);
        self.route(now_ns, call.load, call.arrival, Caller::Call(key), schedule);
    }

    /// An intended request is over, and was recorded.
    pub(super) fn call_ends(&mut self, now_ns: u64, caller: Caller, schedule: &mut Schedule<Any>) {
        let Caller::Call(key) = caller else { return };
        let Some(call) = self.state.calls.remove(key) else { return };
        if let Some(user) = call.user {
            self.user_thinks(now_ns, &call, user, schedule);
        }
    }
}
