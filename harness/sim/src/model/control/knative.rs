//! Knative's pod autoscaler: the activator counts requests, the autoscaler's kernel decides.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, ConcurrencyReporter, ConditionStatus, Config, Observation, Trigger,
};

use super::{Cause, Seen, Verdict, Why};

/// From a status that the autoscaler writes until it sees it: one write to the API server and one watch event.
const STATUS_WRITE_NS: u64 = 5_000_000;

/// A revision's autoscaler with what feeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Knative {
    autoscaler: Autoscaler,
    reporter: ConcurrencyReporter,
    /// It is at zero without any data: nothing can follow but from a request or a change.
    rests: bool,
    /// Its metrics are lost.
    is_blind: bool,
}

impl Knative {
    /// The autoscaler of a revision without pods.
    pub(in crate::model) fn new(config: Config, now_ns: u64) -> Self {
        Self {
            autoscaler: Autoscaler::new(config, 0, now_ns),
            reporter: ConcurrencyReporter::new(),
            rests: false,
            is_blind: false,
        }
    }

    /// The settings in force.
    pub(in crate::model) fn config(&self) -> &Config {
        self.autoscaler.config()
    }

    /// Takes other settings; what it has seen so far stays.
    pub(in crate::model) fn reconfigure(&mut self, config: Config, now_ns: u64) {
        self.autoscaler.reconfigure(config, now_ns);
    }

    pub(super) fn request_in(&mut self, now_ns: u64) -> bool {
        match self.reporter.request_in(now_ns) {
            Some(stat) if !self.is_blind => self.autoscaler.record(&stat),
            _ => false,
        }
    }

    pub(super) fn request_out(&mut self, now_ns: u64) {
        self.reporter.request_out(now_ns);
    }

    pub(super) fn report(&mut self, now_ns: u64) -> bool {
        match self.reporter.report(now_ns) {
            Some(stat) if !self.is_blind => self.autoscaler.record(&stat),
            _ => false,
        }
    }

    /// Whether ticks would find nothing new until a request comes or something changes.
    pub(super) fn rests(&self) -> bool {
        self.rests && self.reporter.is_idle()
    }

    /// From now on its metrics are lost, or are not.
    pub(super) fn set_blind(&mut self, is_blind: bool) {
        self.is_blind = is_blind;
    }

    pub(super) fn awaits_report(&self) -> bool {
        !self.reporter.is_idle()
    }

    pub(super) fn first_scale(&self) -> u32 {
        let config = self.config();
        config.initial_scale.max(config.min_scale)
    }

    pub(super) fn decide(&mut self, cause: Cause, seen: &Seen) -> Verdict {
        let before: ConditionStatus = self.autoscaler.active().status;
        let trigger = match cause {
            Cause::Tick => Trigger::Tick,
            Cause::Poke => Trigger::Poke,
            Cause::Change => Trigger::Reconcile,
        };
        let decision = self.autoscaler.step(
            trigger,
            &Observation {
                now_ns: seen.now_ns,
                ready: seen.ready,
                current_replicas: seen.wanted,
                reachability: seen.reachability,
                activator_answers: true,
            },
        );
        // A status that has changed comes back as soon as it is written.
        let written_ns = (decision.active.status != before).then_some(STATUS_WRITE_NS);
        self.rests = !decision.valid
            && decision.desired <= 0
            && decision.replicas.is_none()
            && (seen.ready, seen.wanted) == (0, 0)
            && decision.requeue_after_ns.is_none()
            && written_ns.is_none();
        Verdict {
            replicas: decision.replicas,
            look_after_ns: [decision.requeue_after_ns, written_ns].into_iter().flatten().min(),
            why: Why::Kpa(Box::new(decision.explanation)),
        }
    }
}
