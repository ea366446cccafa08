//! Patience: clients and the gateway give up on what takes too long.

use super::super::{Event as Any, World, gateway};
use super::{Caller, Event, Failure, Request, Stage};
use crate::engine::{Key, Schedule};

impl World<'_> {
    /// Watches over a request that was let in.
    pub(in crate::model) fn watch(&mut self, key: Key, schedule: &mut Schedule<Any>) {
        let Some(request) = self.state.requests.get(key) else { return };
        let (index, workload, entered_ns) = (request.load, request.workload, request.entered_ns);
        let load = usize::from(index);
        let sent_ns = match request.caller {
            Caller::Call(call) => self.state.calls.get(call).map_or(entered_ns, |call| call.sent_ns),
            Caller::Once | Caller::Message(_) => self.plan.epoch_ns + request.arrival.at_ns,
            // No client waits for a copy; the route's time is all that it has.
            Caller::Mirror(_) => u64::MAX,
        };
        let client_due_ns = sent_ns.saturating_add(self.plan.loads[load].timeout_ns);
        let requests = &self.state.requests;
        let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
        if client_due_ns < u64::MAX
            && let Some(timer_ns) = self.state.loads[load].deadlines.push(client_due_ns, key, is_live)
        {
            schedule.at(timer_ns, Any::Client(Event::Deadline(index)));
        }
        let route = &mut self.state.workloads[usize::from(workload)];
        let route_due_ns = entered_ns + route.timeout_ns;
        if route_due_ns < client_due_ns
            && let Some(timer_ns) = route.route_deadlines.push(route_due_ns, key, is_live)
        {
            schedule.at(timer_ns, Any::Gateway(gateway::Event::RouteDeadline(workload)));
        }
    }

    /// Clients whose patience ends now go away.
    pub(super) fn client_deadline(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let load = usize::from(index);
        loop {
            let requests = &self.state.requests;
            let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
            let Some(key) = self.state.loads[load].deadlines.overdue(now_ns, is_live) else { break };
            self.give_up(now_ns, key, Failure::ClientTimeout, schedule);
        }
        if let Some(timer_ns) = self.state.loads[load].deadlines.rearm() {
            schedule.at(timer_ns, Any::Client(Event::Deadline(index)));
        }
    }

    /// Nobody waits for `key` any more. A pod that computes for it goes on, unless its server drops it.
    pub(in crate::model) fn give_up(
        &mut self,
        now_ns: u64,
        key: Key,
        failure: Failure,
        schedule: &mut Schedule<Any>,
    ) {
        let Some(request) = self.state.requests.get(key).copied() else { return };
        if !request.is_awaited() {
            return;
        }
        self.close_failed(now_ns, &request, failure, schedule);
        match request.stage {
            Stage::Running { pod, .. } => {
                if !self.hangs_up(now_ns, key, pod, schedule)
                    && !self.drop_generation(now_ns, key, &request, pod, schedule)
                {
                    self.compute_for_nobody(key, request.workload, pod);
                }
            }
            Stage::Waiting { .. } => {
                self.state.requests.remove(key);
                self.leave_queue(request.workload);
            }
            // The gateway closes the connection: its place is free at once.
            Stage::Returning { .. } => {
                self.state.requests.remove(key);
                self.slot_freed(now_ns, request.workload, schedule);
            }
            Stage::Abandoned { .. } => {}
        }
    }

    /// A pod goes on computing for a request that nobody waits for.
    pub(in crate::model) fn compute_for_nobody(&mut self, key: Key, workload: u16, pod: Key) {
        self.state.workloads[usize::from(workload)].abandoned += 1;
        self.state.abandoned += 1;
        if let Some(request) = self.state.requests.get_mut(key) {
            request.stage = Stage::Abandoned { pod };
        }
    }
}
