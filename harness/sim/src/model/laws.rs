//! The laws of the model: conservation on every workload, every pod and every request.

use super::World;
use super::control::Control;
use super::workloads::Workload;
use crate::engine::Violation;

impl World<'_> {
    /// The laws that can be checked in constant time: after each event.
    pub(super) fn check_touched(&self, now_ns: u64) -> Result<(), Violation> {
        let state = &self.state;
        state.ledger.check(now_ns)?;
        let mut computed = 0;
        for queue in &state.queues {
            queue.check(now_ns)?;
            computed += queue.computed();
        }
        if state.requests.len() as u64
            != state.ledger.in_flight() + state.mirrored + state.abandoned + computed
        {
            let detail = format!("{} kept, {} in flight", state.requests.len(), state.ledger.in_flight());
            return Err(Violation { now_ns, law: "a request is kept while it is in flight", detail });
        }
        match state.touched {
            Some(index) => check_workload(&state.workloads[usize::from(index)], now_ns),
            None => self.check_all(now_ns),
        }
    }

    /// The laws that need a walk over everything: after each event that is not about one request.
    fn check_all(&self, now_ns: u64) -> Result<(), Violation> {
        let mut occupied = 0_u64;
        for workload in &self.state.workloads {
            check_workload(workload, now_ns)?;
            for key in &workload.pods {
                let Some(pod) = self.state.pods.get(*key) else {
                    let detail = format!("{} lists a pod that is gone", workload.name);
                    return Err(Violation { now_ns, law: "a listed pod exists", detail });
                };
                if workload.endpoints.get(pod.position).is_some_and(|at| at == key) != pod.is_ready() {
                    let detail = format!("{} of {}", pod.name, workload.name);
                    return Err(Violation { now_ns, law: "a pod is an endpoint while it is ready", detail });
                }
            }
        }
        for (_, pod) in self.state.pods.iter() {
            occupied += u64::from(pod.in_flight);
        }
        for (index, deployment) in (0_u16..).zip(&self.state.deployments) {
            for workload in deployment.workloads() {
                let workload = &self.state.workloads[usize::from(workload)];
                let is_its_own = workload.control == Control::Deployment(index);
                if !is_its_own || deployment.is_gone() && !workload.pods.is_empty() {
                    let detail = format!("{} of {}", workload.name, deployment.name());
                    let law = "a ReplicaSet is its Deployment's and goes with it";
                    return Err(Violation { now_ns, law, detail });
                }
            }
        }
        let running: u64 =
            self.state.workloads.iter().map(|workload| workload.running + workload.abandoned).sum();
        self.check_places(now_ns)?;
        if occupied != running {
            let detail = format!("pods hold {occupied}, workloads run {running}");
            return Err(Violation { now_ns, law: "every running request is on one pod", detail });
        }
        Ok(())
    }
}

fn check_workload(workload: &Workload, now_ns: u64) -> Result<(), Violation> {
    let violated = |law, detail: String| Err(Violation { now_ns, law, detail });
    let pods = workload.pods.len();
    let ready = workload.endpoints.len();
    if ready > pods {
        return violated("ready <= pods", format!("{}: {ready} of {pods}", workload.name));
    }
    let inside = workload.waiting_live + workload.running + workload.returning;
    if workload.routed != workload.answered + workload.failed + inside {
        return violated(
            "conservation on a workload (routed = answered + failed + waiting + running + returning)",
            format!(
                "{}: {} = {} + {} + {} + {} + {}",
                workload.name,
                workload.routed,
                workload.answered,
                workload.failed,
                workload.waiting_live,
                workload.running,
                workload.returning
            ),
        );
    }
    Ok(())
}
