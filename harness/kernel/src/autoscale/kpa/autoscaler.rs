//! One revision's autoscaling from stats to replicas.

use serde::{Deserialize, Serialize};

use super::activity::{
    Active, ScaleStatus, ServeMode, active_threshold, compute_status, serve_mode, update_active, whole_second,
};
use super::decider::{Decider, DeciderSpec, initial_excess_burst_capacity};
use super::explain::{Explanation, Limit};
use super::metrics::{Averages, Collector, Stat};
use super::scaler::{self, PROBE_PERIOD_NS, ScalerConfig, Situation};
use super::{Config, SECOND_NS, target};

/// Why a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// The decider's period of [`TICK_NS`](super::TICK_NS) has passed.
    Tick,
    /// [`Autoscaler::record`] asked for it: a revision at zero has a request.
    Poke,
    /// Pods changed, or a requeue came due: reconciles without a new evaluation.
    Reconcile,
}

/// Whether routes lead to a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reachability {
    /// A route leads to it.
    Reachable,
    /// None does: its minimum and its last pod are not kept.
    Unreachable,
    /// Not known yet; treated as reachable.
    #[default]
    Unknown,
}

/// What is seen at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Now, nanoseconds since the Unix epoch. Must not run back.
    pub now_ns: u64,
    /// Pods that are ready and not terminating.
    pub ready: u32,
    /// `spec.replicas` of the Deployment.
    pub current_replicas: u32,
    /// Whether routes lead here.
    pub reachability: Reachability,
    /// Whether a request to the revision is answered by the activator (always, where it is always in the path).
    pub activator_answers: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the latest evaluation had data. Without, nothing changes.
    pub valid: bool,
    /// Pods that the decider wants; -1 before its first data.
    pub desired: i32,
    /// Set the Deployment to this many replicas; `None` = leave it.
    pub replicas: Option<u32>,
    /// The `Active` condition after this step.
    pub active: Active,
    /// Which path requests should take.
    pub mode: ServeMode,
    /// How many more requests fit before burst capacity is used up.
    pub excess_burst_capacity: i32,
    /// Step again with [`Trigger::Reconcile`] after this, unless another step comes first.
    pub requeue_after_ns: Option<u64>,
    /// Why.
    pub explanation: Explanation,
}

/// Scrapes are assumed for at most so many seconds back: windows reach no further.
const WINDOW_LIMIT_S: u64 = 86_400;

/// The whole autoscaling state of one revision. It can be stored after any step and goes on with the same
/// decisions.
///
/// Feed every [`Stat`] to [`record`](Self::record); call [`step`](Self::step) each [`TICK_NS`](super::TICK_NS),
/// when `record` asks for it, when pods change and when a requeue comes due. Pods need not be scraped: for every
/// second in which pods were ready a scrape that found only proxied requests is assumed, because here every
/// request passes the activator. A revision with a burst capacity of -1 has no scrape target and assumes none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscaler {
    config: Config,
    collector: Collector,
    decider: Decider,
    desired: i32,
    excess_burst_capacity: i32,
    evaluated: Evaluated,
    active: Active,
    initialized: bool,
    mode: ServeMode,
    /// Since when the activator is in the path; `None` when it is not.
    proxy_since_ns: Option<u64>,
    status: ScaleStatus,
    started_ns: u64,
    /// The last second for which a scrape is settled.
    scraped_s: u64,
    ready_before: u32,
}

/// The latest evaluation, for explanations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Evaluated {
    valid: bool,
    averages: Option<Averages>,
    stable_pods: Option<f64>,
    panic_pods: Option<f64>,
    limits: Vec<Limit>,
}

impl Autoscaler {
    /// The autoscaler of a revision that has `ready` pods now: none for a new one, more for one that is taken
    /// over, whose scale is then kept for a stable window.
    #[must_use]
    pub fn new(config: Config, ready: u32, now_ns: u64) -> Self {
        Self {
            collector: Collector::of(&config),
            decider: Decider::new(ready, config.scale_down_delay_ns, now_ns),
            desired: scaler::SCALE_UNKNOWN,
            excess_burst_capacity: initial_excess_burst_capacity(
                config.target_burst_capacity,
                config.initial_scale,
                config.total_value,
            ),
            evaluated: Evaluated::default(),
            active: Active::unknown(now_ns),
            initialized: false,
            mode: ServeMode::Proxy,
            proxy_since_ns: Some(whole_second(now_ns)),
            status: ScaleStatus::default(),
            started_ns: now_ns,
            scraped_s: now_ns / SECOND_NS,
            ready_before: ready,
            config,
        }
    }

    /// Takes a changed configuration. Windows are resized with what they hold; how they aggregate and the
    /// scale-down delay stay as they were made.
    pub fn reconfigure(&mut self, config: Config, now_ns: u64) {
        self.collector.resize(config.stable_window_ns, config.panic_window_ns, now_ns);
        if config.bugs != self.config.bugs {
            self.collector.set_bugs(config.bugs);
        }
        self.config = config;
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes a stat. True = call [`step`](Self::step) with [`Trigger::Poke`] now: the revision was decided to be
    /// at zero and there is load.
    #[must_use = "true asks for an immediate step"]
    pub fn record(&mut self, stat: &Stat) -> bool {
        self.collector.record(stat);
        self.desired == 0 && stat.average_concurrency != 0.0
    }

    /// Takes the scrape of the revision's pods. Where pods are scraped for real, the zeros that are assumed for each
    /// second add nothing to it. True as for [`record`](Self::record).
    #[must_use = "true asks for an immediate step"]
    pub fn record_scrape(&mut self, stat: &Stat) -> bool {
        self.collector.record_scrape(stat);
        self.desired == 0 && stat.average_concurrency != 0.0
    }

    /// Decides.
    pub fn step(&mut self, trigger: Trigger, observation: &Observation) -> Decision {
        self.assume_scrapes(observation);
        if trigger != Trigger::Reconcile {
            self.evaluate(observation);
        }
        self.reconcile(observation)
    }

    /// The `Active` condition as of the latest step.
    #[must_use]
    pub fn active(&self) -> &Active {
        &self.active
    }

    /// Ready and wanted pods as of the latest step.
    #[must_use]
    pub fn status(&self) -> ScaleStatus {
        self.status
    }

    /// Whether the decider panics.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.decider.panic_since_ns.is_some()
    }

    /// Whether the initial scale was ever reached.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// How many activators the revision should have for `ready` pods.
    #[must_use]
    pub fn activators(&self, ready: u32) -> u32 {
        target::activators(
            ready,
            self.config.total_value,
            self.config.target_burst_capacity,
            self.config.activator_capacity,
        )
    }

    /// Records the scrapes of the seconds that have ended, see the type's documentation.
    fn assume_scrapes(&mut self, observation: &Observation) {
        let ended_s = (observation.now_ns / SECOND_NS).saturating_sub(1);
        if self.config.has_scrape_target() && self.ready_before > 0 && observation.ready > 0 {
            let window_s = self.config.stable_window_ns.div_ceil(SECOND_NS).clamp(1, WINDOW_LIMIT_S);
            let from_s = self.scraped_s.saturating_add(1).max(ended_s.saturating_sub(window_s));
            for second in from_s..=ended_s {
                self.collector.record(&Stat { at_ns: second.saturating_mul(SECOND_NS), ..Stat::default() });
            }
        }
        self.scraped_s = self.scraped_s.max(ended_s);
        self.ready_before = observation.ready;
    }

    fn evaluate(&mut self, observation: &Observation) {
        let has_scrape_target = self.config.has_scrape_target();
        let averages = self.collector.averages(self.config.metric, observation.now_ns, has_scrape_target);
        let Some(averages) = averages.filter(|_| !self.is_too_early(observation.now_ns)) else {
            self.evaluated = Evaluated::default();
            return;
        };
        let reachable = observation.reachability != Reachability::Unreachable;
        let spec = DeciderSpec::of(&self.config, reachable);
        let evaluation = self.decider.decide(&spec, observation.ready, averages, observation.now_ns);
        self.desired = evaluation.desired;
        self.excess_burst_capacity = evaluation.excess_burst_capacity;
        self.evaluated = Evaluated {
            valid: true,
            averages: Some(averages),
            stable_pods: Some(evaluation.stable_raw),
            panic_pods: Some(evaluation.panic_raw),
            limits: evaluation.limits,
        };
    }

    /// Whether silence may still be that of an autoscaler which has only just started to listen; see
    /// [`Bugs::silence_is_idle`](super::Bugs::silence_is_idle).
    fn is_too_early(&self, now_ns: u64) -> bool {
        !self.config.bugs.silence_is_idle
            && now_ns.saturating_sub(self.started_ns) < self.config.stable_window_ns
            && self.collector.is_empty(self.config.metric, now_ns)
    }

    fn reconcile(&mut self, observation: &Observation) -> Decision {
        let now_ns = observation.now_ns;
        self.track_proxy(observation.ready, now_ns);
        let config = ScalerConfig::of(&self.config, observation.reachability);
        let situation = Situation {
            active: self.active.status,
            active_for_ns: self.active.for_ns(now_ns),
            initialized: self.initialized,
            mode: self.mode,
            proxy_for_ns: self.proxy_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns)),
            activator_answers: observation.activator_answers,
        };
        let scaling = scaler::scale(&config, &situation, self.desired);

        self.mode = serve_mode(scaling.want, self.excess_burst_capacity);
        self.track_proxy(observation.ready, now_ns);
        self.status = compute_status(self.status, observation.ready, scaling.want);
        let threshold = active_threshold(&config, self.initialized);
        if i64::from(observation.ready) >= i64::from(threshold) {
            self.initialized = true;
        }
        update_active(&mut self.active, scaling.want, observation.ready, threshold, now_ns);

        let replicas = u32::try_from(scaling.want)
            .ok()
            .filter(|&want| scaling.apply && want != observation.current_replicas);
        Decision {
            valid: self.evaluated.valid,
            desired: self.desired,
            replicas,
            active: self.active.clone(),
            mode: self.mode,
            excess_burst_capacity: self.excess_burst_capacity,
            requeue_after_ns: scaling.requeue_after_ns.or(scaling.probe.then_some(PROBE_PERIOD_NS)),
            explanation: self.explain(observation, &scaling),
        }
    }

    /// The activator is in the path when asked for, and while no pod is ready.
    fn track_proxy(&mut self, ready: u32, now_ns: u64) {
        let in_path = self.mode == ServeMode::Proxy || ready == 0;
        match (in_path, self.proxy_since_ns) {
            (true, None) => self.proxy_since_ns = Some(whole_second(now_ns)),
            (false, _) => self.proxy_since_ns = None,
            (true, Some(_)) => {}
        }
    }

    fn explain(&self, observation: &Observation, scaling: &scaler::Scaling) -> Explanation {
        let evaluated = &self.evaluated;
        let mut limits = evaluated.limits.clone();
        if let Some((name, from, to)) = scaling.bound {
            limits.push(Limit::new(name, from, to));
        }
        let panicking = self.is_panicking();
        let winner = match limits.last() {
            Some(limit) => limit.name.clone(),
            None if evaluated.averages.is_none() => "no data".to_string(),
            None if panicking && evaluated.panic_pods > evaluated.stable_pods => "panic".to_string(),
            None => "stable".to_string(),
        };
        Explanation {
            metric: self.config.metric,
            target: self.config.target_value,
            ready: observation.ready,
            current: observation.current_replicas,
            stable: evaluated.averages.map(|averages| averages.stable),
            panic: evaluated.averages.map(|averages| averages.panic),
            stable_window_ns: self.config.stable_window_ns,
            panic_window_ns: self.config.panic_window_ns,
            stable_pods: evaluated.stable_pods,
            panic_pods: evaluated.panic_pods,
            panicking,
            desired: self.desired,
            want: scaling.want,
            limits,
            winner,
            note: scaling.note.unwrap_or_default().to_string(),
        }
    }
}
