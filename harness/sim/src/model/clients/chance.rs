//! What chance has for a request: how long it takes, whether it fails, whether its prediction differs. All of it is
//! a function of the seed, the load, and the number of the request and of its try.

use windtunnel_record::Prediction;
use windtunnel_scenario::load::{Arrival, Work};

use super::super::World;
use super::{Caller, Failure, Request};

/// What two tries of one request differ by (the golden ratio, in 64 bits).
const TRY: u64 = 0x9e37_79b9_7f4a_7c15;

impl World<'_> {
    /// How long a model computes for a request; nothing for a language model, whose tokens say it. Every try of a
    /// request takes the same.
    #[inline]
    pub(in crate::model) fn demand_ns(
        &self,
        load: u16,
        arrival: &Arrival,
        caller: Caller,
        workload: u16,
    ) -> u64 {
        let profile = &self.profiles[usize::from(workload)];
        match arrival.work {
            _ if profile.tokens.is_some() => 0,
            Work::Duration(time_ns) => time_ns,
            Work::Drawn | Work::Tokens { .. } => {
                let number = match caller {
                    Caller::Once | Caller::Message(_) => u64::from(arrival.row),
                    Caller::Call(_) | Caller::Mirror(_) => self.number_of(arrival, caller),
                };
                let mut draws = self.state.loads[usize::from(load)].draws.of(number);
                profile.service_time.draw(&mut draws)
            }
        }
    }

    /// Whether the model answers a request with an error.
    #[inline]
    pub(in crate::model) fn model_failure(&self, request: &Request) -> Option<Failure> {
        let error_rate = self.profiles[usize::from(request.workload)].error_rate;
        (error_rate > 0.0 && self.outcome(request)[0] < error_rate).then_some(Failure::Model)
    }

    /// Whether a prediction is that of the reference.
    #[inline]
    pub(super) fn prediction_of(&self, request: &Request) -> Prediction {
        let profile = &self.profiles[usize::from(request.workload)];
        if !profile.is_checked {
            return Prediction::Unchecked;
        }
        if profile.different > 0.0 && self.outcome(request)[1] < profile.different {
            return Prediction::Different;
        }
        Prediction::Equal
    }

    /// Two numbers in [0, 1) of a try.
    fn outcome(&self, request: &Request) -> [f64; 2] {
        let tries = match request.caller {
            Caller::Call(key) => self.state.calls.get(key).map_or(0, |call| u64::from(call.failed_tries)),
            Caller::Message(delivery) => delivery,
            Caller::Once | Caller::Mirror(_) => 0,
        };
        let number = self.number_of(&request.arrival, request.caller);
        let outcomes = &self.state.loads[usize::from(request.load)].outcomes;
        let mut stream = outcomes.of(number.wrapping_add(TRY.wrapping_mul(tries)));
        [stream.unit(), stream.unit()]
    }

    /// What a request's chance belongs to: its place in its load, or that among the requests of its user.
    pub(in crate::model) fn number_of(&self, arrival: &Arrival, caller: Caller) -> u64 {
        match caller {
            Caller::Call(key) => self.state.calls.get(key).map_or(u64::from(arrival.row), |call| call.number),
            Caller::Once | Caller::Message(_) => u64::from(arrival.row),
            Caller::Mirror(number) => number,
        }
    }

    /// Whom a request's headers belong to: its user, or else its place in its load. A further try has those of the
    /// first.
    pub(in crate::model) fn sender_of(&self, arrival: &Arrival, caller: Caller) -> u64 {
        let call = match caller {
            Caller::Call(key) => self.state.calls.get(key),
            Caller::Once | Caller::Message(_) | Caller::Mirror(_) => None,
        };
        match call.and_then(|call| call.user) {
            Some(user) => u64::from(user.index),
            None => self.number_of(arrival, caller),
        }
    }
}
