//! The end of a try, and the record of the request that it was for.

use windtunnel_record::{Prediction, Request as Record};
use windtunnel_scenario::load::Arrival;

use super::super::rollout::End;
use super::super::{Event as Any, World};
use super::{Caller, Failure, Request, Stage};
use crate::engine::{Outcome, Schedule};

impl World<'_> {
    /// A try that reached no workload has failed.
    pub(in crate::model) fn turn_away(
        &mut self,
        now_ns: u64,
        load: u16,
        arrival: Arrival,
        caller: Caller,
        schedule: &mut Schedule<Any>,
    ) {
        self.state.ledger.leave(now_ns, now_ns, Outcome::Failed);
        let failure = Failure::NoRoute;
        if self.tries_again(now_ns, load, &arrival, caller, failure, schedule) {
            return;
        }
        self.recorder.request(Record {
            status: failure.status(),
            error: Some(failure.text().to_owned()),
            ..self.record(now_ns, &arrival)
        });
        self.call_ends(now_ns, caller, schedule);
    }

    /// A pod has answered `request`.
    pub(in crate::model) fn close_answered(
        &mut self,
        now_ns: u64,
        request: &Request,
        held_ns: u64,
        schedule: &mut Schedule<Any>,
    ) {
        let workload = &mut self.state.workloads[usize::from(request.workload)];
        workload.running -= 1;
        workload.answered += 1;
        if let Caller::Message(delivery) = request.caller {
            return self.message_answered(now_ns, request, delivery);
        }
        workload.control.request_out(now_ns);
        if let Caller::Mirror(_) = request.caller {
            let prediction = self.prediction_of(request);
            return self.mirror_ends(now_ns, request, false, prediction);
        }
        self.state.ledger.leave(now_ns, request.entered_ns, Outcome::Answered);
        self.record_answered(now_ns, request, held_ns);
        if request.caller != Caller::Once {
            self.call_ends(now_ns, request.caller, schedule);
        }
    }

    /// A request failed, and its client or broker is told. What a pod computes for it is not touched.
    pub(in crate::model) fn close_failed(
        &mut self,
        now_ns: u64,
        request: &Request,
        failure: Failure,
        schedule: &mut Schedule<Any>,
    ) {
        let workload = &mut self.state.workloads[usize::from(request.workload)];
        workload.failed += 1;
        let held_ns = match request.stage {
            Stage::Waiting { held: true } => {
                workload.waiting_live -= 1;
                now_ns - request.entered_ns
            }
            Stage::Waiting { held: false } => {
                workload.waiting_live -= 1;
                0
            }
            Stage::Running { held_ns, .. } => {
                workload.running -= 1;
                held_ns
            }
            Stage::Returning { held_ns, .. } => {
                workload.returning -= 1;
                held_ns
            }
            Stage::Abandoned { .. } => 0,
        };
        if let Caller::Message(delivery) = request.caller {
            return self.message_failed(now_ns, request, delivery, failure);
        }
        workload.control.request_out(now_ns);
        let latency_ns = now_ns.saturating_sub(request.entered_ns);
        let (is_failure, prediction) = (!(200..500).contains(&failure.status()), Prediction::Unchecked);
        if let Caller::Mirror(_) = request.caller {
            return self.mirror_ends(now_ns, request, is_failure, prediction);
        }
        self.count_end(now_ns, request.workload, &End { latency_ns, is_failure, prediction });
        self.state.ledger.leave(now_ns, request.entered_ns, Outcome::Failed);
        let (load, caller) = (request.load, request.caller);
        if self.tries_again(now_ns, load, &request.arrival, caller, failure, schedule) {
            return;
        }
        let observed = self.state.workloads[usize::from(request.workload)].observed;
        self.recorder.request(Record {
            status: failure.status(),
            revision: Some(observed),
            weight_percent: request.weight_percent,
            held_ns,
            error: Some(failure.text().to_owned()),
            ..self.record(now_ns, &request.arrival)
        });
        self.call_ends(now_ns, caller, schedule);
    }

    /// The end of a copy: its workload is judged by it, and its answer is thrown away.
    fn mirror_ends(&mut self, now_ns: u64, request: &Request, is_failure: bool, prediction: Prediction) {
        self.state.mirrored -= 1;
        self.state.workloads[usize::from(request.workload)].mirrored.inside -= 1;
        let latency_ns = now_ns.saturating_sub(request.entered_ns);
        self.count_end(now_ns, request.workload, &End { latency_ns, is_failure, prediction });
    }

    /// Writes down a request with its answer.
    pub(in crate::model) fn record_answered(&mut self, now_ns: u64, request: &Request, held_ns: u64) {
        let observed = self.state.workloads[usize::from(request.workload)].observed;
        let prediction = self.prediction_of(request);
        let latency_ns = now_ns.saturating_sub(request.entered_ns);
        self.count_end(now_ns, request.workload, &End { latency_ns, is_failure: false, prediction });
        self.watch_drift(now_ns, request);
        // Every field by itself: a record that is copied from another one right away costs more than all of this.
        self.recorder.request(Record {
            intended_ns: request.arrival.at_ns,
            sent_ns: request.arrival.at_ns,
            latency_ns: self.run_ns(now_ns) - request.arrival.at_ns,
            status: 200,
            revision: Some(observed),
            weight_percent: request.weight_percent,
            held_ns,
            row: request.arrival.row,
            first_token_ns: self.tokens.map(|(first_ns, _)| first_ns),
            token_ns: self.tokens.and_then(|(_, each_ns)| each_ns),
            prediction,
            error: None,
        });
    }

    /// Writes down a message that no pod will be through with.
    pub(in crate::model) fn record_undelivered(&mut self, now_ns: u64, arrival: &Arrival, failure: Failure) {
        self.recorder.request(Record {
            status: failure.status(),
            error: Some(failure.text().to_owned()),
            ..self.record(now_ns, arrival)
        });
    }

    fn record(&self, now_ns: u64, arrival: &Arrival) -> Record {
        Record {
            intended_ns: arrival.at_ns,
            sent_ns: arrival.at_ns,
            latency_ns: self.run_ns(now_ns) - arrival.at_ns,
            status: 0,
            revision: None,
            weight_percent: 100,
            held_ns: 0,
            first_token_ns: None,
            token_ns: None,
            row: arrival.row,
            prediction: Prediction::Unchecked,
            error: None,
        }
    }
}
