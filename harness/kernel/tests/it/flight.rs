//! A revision flown by hand: its autoscaler, its pods, and a clock that the test moves.

use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, Config, Decision, Observation, Reachability, Stat, Trigger,
};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// Time zero of every trace: a whole, even second.
pub(crate) const ZERO: u64 = 1_700_000_000 * SECOND;

/// Seconds after time zero.
pub(crate) fn at(seconds: f64) -> u64 {
    ZERO + (seconds * 1e9).round() as u64
}

pub(crate) struct Flight {
    pub(crate) autoscaler: Autoscaler,
    pub(crate) ready: u32,
    pub(crate) replicas: u32,
    pub(crate) reachability: Reachability,
    pub(crate) activator_answers: bool,
}

impl Flight {
    /// A revision whose Deployment starts with `replicas`, of which `ready` are ready at time zero.
    pub(crate) fn new(config: Config, replicas: u32, ready: u32) -> Self {
        Self {
            autoscaler: Autoscaler::new(config, ready, at(0.0)),
            ready,
            replicas,
            reachability: Reachability::Reachable,
            activator_answers: true,
        }
    }

    /// Steps at `seconds` and carries out what was decided, except that pods do not follow by themselves.
    pub(crate) fn step(&mut self, trigger: Trigger, seconds: f64) -> Decision {
        let decision = self.autoscaler.step(
            trigger,
            &Observation {
                now_ns: at(seconds),
                ready: self.ready,
                current_replicas: self.replicas,
                reachability: self.reachability,
                activator_answers: self.activator_answers,
            },
        );
        if let Some(replicas) = decision.replicas {
            self.replicas = replicas;
        }
        decision
    }

    pub(crate) fn tick(&mut self, seconds: f64) -> Decision {
        self.step(Trigger::Tick, seconds)
    }

    pub(crate) fn reconcile(&mut self, seconds: f64) -> Decision {
        self.step(Trigger::Reconcile, seconds)
    }

    /// A report of the activator; says whether it pokes.
    pub(crate) fn report(&mut self, seconds: f64, concurrency: f64) -> bool {
        self.autoscaler.record(&Stat {
            at_ns: at(seconds),
            average_concurrency: concurrency,
            request_count: concurrency,
            ..Stat::default()
        })
    }
}

/// One pod carries exactly 10 concurrent requests.
pub(crate) fn ten_a_pod() -> Config {
    Config { target_value: 10.0, total_value: 10.0, ..Config::default() }
}
