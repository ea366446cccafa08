//! One HorizontalPodAutoscaler from observations to replicas.

use serde::{Deserialize, Serialize};

use super::behavior::{Bounds, LimitReason, Limited, Rate, limit_rate, limit_to_double};
use super::calculator::{
    MetricFault, PodSamples, Proposal, Rules, Timing, Tolerances, average, shared_value, total_milli,
    utilization, value,
};
use super::conditions::{Conditions, set};
use super::explain::{Explanation, Limit, MetricExplanation};
use super::history::{
    Recommendation, ScaleEvents, Undo, Windows, stabilize, stabilize_one_way, stabilize_within,
};
use super::observation::{Observation, Reading, Selector};
use super::spec::{MetricSpec, PolicyKind, ScalingRules, SelectPolicy, Target};
use super::{HpaSpec, Options, SpecError, Version};

const SECOND_NS: u64 = 1_000_000_000;

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Replicas that the target should have: `status.desiredReplicas`. After a failure, what it was before.
    pub desired: i32,
    /// Set the target to this many replicas; `None` = leave it. If that fails, tell with
    /// [`Autoscaler::rescale_failed`].
    pub replicas: Option<i32>,
    /// The conditions after this step.
    pub conditions: Conditions,
    /// Why, in upstream's words, as the event of a change says it; empty without a change.
    pub reason: String,
    /// Step again after this.
    pub requeue_after_ns: u64,
    /// Why, in numbers.
    pub explanation: Explanation,
}

/// The whole state of one HorizontalPodAutoscaler. It can be stored after any step and goes on with the same
/// decisions.
///
/// Source: `pkg/controller/podautoscaler/horizontal.go` of Kubernetes (`reconcileAutoscaler`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscaler {
    spec: HpaSpec,
    options: Options,
    /// `None` until the first step, which records the replicas that it finds, so that a controller that has just been
    /// started does not scale down at once.
    recommendations: Option<Vec<Recommendation>>,
    events: ScaleEvents,
    conditions: Conditions,
    /// The latest `desired`; `None` before the first.
    desired: Option<i32>,
    last_scale_ns: Option<u64>,
    /// How to take the latest change back.
    undo: Option<Rescale>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rescale {
    events: Option<Undo>,
    last_scale_ns: Option<u64>,
    scaled_to_zero: Option<super::Condition>,
    desired: Option<i32>,
}

/// What an autoscaler remembers, for one that is taken over from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Recommendations; an empty list is one that knows of none, not one that has never seen the target.
    pub recommendations: Vec<Recommendation>,
    /// Scale events.
    pub events: ScaleEvents,
    /// Whether it took the target to zero itself.
    pub scaled_to_zero: bool,
}

impl Autoscaler {
    /// An autoscaler that sees its target for the first time.
    ///
    /// # Errors
    /// A spec that the API server would refuse.
    pub fn new(spec: HpaSpec, options: Options) -> Result<Self, SpecError> {
        let spec = spec.defaulted();
        spec.check()?;
        Ok(Self {
            spec,
            options,
            recommendations: None,
            events: ScaleEvents::default(),
            conditions: Conditions::default(),
            desired: None,
            last_scale_ns: None,
            undo: None,
        })
    }

    /// An autoscaler that goes on with a history.
    ///
    /// # Errors
    /// A spec that the API server would refuse.
    pub fn resume(spec: HpaSpec, options: Options, history: History, now_ns: u64) -> Result<Self, SpecError> {
        let mut autoscaler = Self::new(spec, options)?;
        autoscaler.recommendations = Some(history.recommendations);
        autoscaler.events = history.events;
        if history.scaled_to_zero {
            autoscaler.set_scaled_to_zero(true, now_ns);
        }
        Ok(autoscaler)
    }

    /// Takes a changed spec; history and conditions stay.
    ///
    /// # Errors
    /// A spec that the API server would refuse; the old one stays.
    pub fn reconfigure(&mut self, spec: HpaSpec) -> Result<(), SpecError> {
        let spec = spec.defaulted();
        spec.check()?;
        self.spec = spec;
        Ok(())
    }

    /// The spec in force, with defaults filled in.
    #[must_use]
    pub fn spec(&self) -> &HpaSpec {
        &self.spec
    }

    /// The flags in force.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Recommendations before stabilisation, as far as they count.
    #[must_use]
    pub fn recommendations(&self) -> &[Recommendation] {
        self.recommendations.as_deref().unwrap_or_default()
    }

    /// Changes of the replica count, as far as they count.
    #[must_use]
    pub fn events(&self) -> &ScaleEvents {
        &self.events
    }

    /// When the target was scaled last, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn last_scale_ns(&self) -> Option<u64> {
        self.last_scale_ns
    }

    /// The change that the latest step asked for could not be made.
    pub fn rescale_failed(&mut self, message: &str, now_ns: u64) {
        let Some(undo) = self.undo.take() else { return };
        if let Some(events) = undo.events {
            self.events.undo(events);
        }
        self.last_scale_ns = undo.last_scale_ns;
        self.conditions.scaled_to_zero = undo.scaled_to_zero;
        self.desired = undo.desired;
        let message = format!("the HPA controller was unable to update the target scale: {message}");
        set(&mut self.conditions.able_to_scale, false, "FailedUpdateScale", message, now_ns);
    }

    /// Decides.
    pub fn step(&mut self, observation: &Observation) -> Decision {
        let now_ns = observation.now_ns;
        self.undo = None;
        let mut explanation = self.blank_explanation(observation);
        let Some(scale) = observation.scale else {
            let message = "the HPA controller was unable to get the target's current scale";
            set(&mut self.conditions.able_to_scale, false, "FailedGetScale", message, now_ns);
            explanation.note = "the target's scale could not be read".to_string();
            return self.keep(self.desired.unwrap_or(0), explanation);
        };
        let message = "the HPA controller was able to get the target's current scale";
        set(&mut self.conditions.able_to_scale, true, "SucceededGetScale", message, now_ns);
        let current = scale.spec_replicas;
        if self.recommendations.is_none() {
            self.recommendations = Some(vec![Recommendation { replicas: current, at_ns: now_ns }]);
        }

        let bounds = Bounds { minimum: self.spec.minimum(), maximum: self.spec.max_replicas };
        if current == 0 && !self.may_leave_zero(bounds.minimum) {
            let message = "scaling is disabled since the replica count of the target is zero";
            set(&mut self.conditions.scaling_active, false, "ScalingDisabled", message, now_ns);
            explanation.note = message.to_string();
            explanation.winner = "ScalingDisabled".to_string();
            return self.keep(0, explanation);
        }
        if current > bounds.maximum {
            explanation.note = "metrics are not looked at above maxReplicas".to_string();
            let limit = ("maxReplicas", bounds.maximum, "Current number of replicas above Spec.MaxReplicas");
            return self.enforce(current, limit, explanation, now_ns);
        }
        if current != 0 && current < bounds.minimum {
            explanation.note = "metrics are not looked at below minReplicas".to_string();
            let limit = ("minReplicas", bounds.minimum, "Current number of replicas below Spec.MinReplicas");
            return self.enforce(current, limit, explanation, now_ns);
        }

        let Some(best) = self.propose(observation, current, scale.status_replicas, &mut explanation) else {
            return self.keep(self.desired.unwrap_or(current), explanation);
        };
        let proposed = best.replicas.max(0);
        explanation.proposal = Some(proposed);
        explanation.winner.clone_from(&best.name);
        let mut reason = match proposed {
            proposed if proposed > current => {
                let metric = if best.replicas > 0 { best.name.as_str() } else { "" };
                format!("{metric} above target")
            }
            proposed if proposed < current => "All metrics below target".to_string(),
            _ => String::new(),
        };
        let mut desired = if self.spec.behavior.is_some() {
            self.normalize_with_behavior(current, proposed, bounds, &mut explanation, now_ns)
        } else {
            self.normalize(current, proposed, bounds, &mut explanation, now_ns)
        };
        if current == 0 && desired < bounds.minimum {
            let detail = format!("minReplicas {}", bounds.minimum);
            note(&mut explanation, "minReplicas", detail, desired, bounds.minimum);
            desired = bounds.minimum;
            if reason.is_empty() {
                reason = "Current number of replicas below Spec.MinReplicas".to_string();
            }
        }
        if desired == current {
            return self.keep(current, explanation);
        }
        self.rescale(current, desired, reason, explanation, now_ns)
    }

    /// Whether a target at zero replicas is looked at. Before Kubernetes 1.37: where `minReplicas` is 0. Since: where this
    /// autoscaler took it there, and (with `minReplicas` still 0) has a metric that exists without pods.
    fn may_leave_zero(&self, minimum: i32) -> bool {
        if self.options.version < Version::V1_37 {
            return minimum == 0;
        }
        let scaled_to_zero =
            self.conditions.scaled_to_zero.as_ref().is_some_and(|condition| condition.status);
        scaled_to_zero && (minimum != 0 || self.has_metric_without_pods())
    }

    fn has_metric_without_pods(&self) -> bool {
        let exists =
            |metric: &MetricSpec| matches!(metric, MetricSpec::Object { .. } | MetricSpec::External { .. });
        self.spec.metrics.iter().any(exists)
    }

    fn tolerances(&self) -> Tolerances {
        let mut tolerances = Tolerances::both(self.options.tolerance);
        if let (Some(behavior), true) = (&self.spec.behavior, self.options.version >= Version::V1_33) {
            let of = |rules: &Option<ScalingRules>| {
                rules.as_ref().and_then(|rules| rules.tolerance).map(super::Quantity::as_f64)
            };
            tolerances.up = of(&behavior.scale_up).unwrap_or(tolerances.up);
            tolerances.down = of(&behavior.scale_down).unwrap_or(tolerances.down);
        }
        tolerances
    }

    /// The highest proposal; `None` where all metrics failed, or some did and the others would scale down.
    fn propose(
        &mut self,
        observation: &Observation,
        current: i32,
        status_replicas: i32,
        explanation: &mut Explanation,
    ) -> Option<Best> {
        let now_ns = observation.now_ns;
        let selector = match observation.selector {
            Selector::Valid => None,
            Selector::Invalid => Some(("InvalidSelector", "the HPA target's scale has no usable selector")),
            Selector::Ambiguous => {
                Some(("AmbiguousSelector", "the pods of the target are controlled by more than one HPA"))
            }
        };
        if let Some((reason, message)) = selector {
            set(&mut self.conditions.scaling_active, false, reason, message, now_ns);
            explanation.note = message.to_string();
            return None;
        }
        let rules = Rules { current, tolerances: self.tolerances(), options: &self.options };
        let timing = Timing::of(&self.options, now_ns);
        let ready_pods = observation.ready_pods();
        let mut best: Option<Best> = None;
        let mut faults = Vec::new();
        for (index, metric) in self.spec.metrics.iter().enumerate() {
            let reading = observation.readings.get(index);
            let view = View { observation, ready_pods, status_replicas, timing, rules };
            let proposal = view.propose(metric, reading);
            let name = metric.label();
            let (outcome, fault) = match &proposal {
                Ok(proposal) => (Some((*proposal).into()), String::new()),
                Err(fault) => (None, fault.to_string()),
            };
            match proposal {
                Ok(proposal) => {
                    if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                        best = Some(Best { replicas: proposal.replicas, name: name.clone() });
                    }
                }
                Err(fault) => faults.push((metric, fault)),
            }
            explanation.metrics.push(MetricExplanation { name, target: metric.target(), outcome, fault });
        }
        let scales_down = best.as_ref().is_none_or(|best| best.replicas.max(0) < current);
        if let (Some((metric, fault)), true) = (faults.first(), scales_down) {
            let reason = format!("FailedGet{}Metric", metric_word(metric));
            let message = format!("the HPA was unable to compute the replica count: {fault}");
            explanation.note = if best.is_some() {
                "a metric failed and the others would scale down: nothing changes".to_string()
            } else {
                "every metric failed: nothing changes".to_string()
            };
            set(&mut self.conditions.scaling_active, false, &reason, message, now_ns);
            return None;
        }
        let best = best?;
        let message =
            format!("the HPA was able to successfully calculate a replica count from {}", best.name);
        set(&mut self.conditions.scaling_active, true, "ValidMetricFound", message, now_ns);
        Some(best)
    }

    /// Stabilisation and limits of an autoscaler without `behavior`.
    fn normalize(
        &mut self,
        current: i32,
        proposed: i32,
        bounds: Bounds,
        explanation: &mut Explanation,
        now_ns: u64,
    ) -> i32 {
        let window_ns = self.options.downscale_stabilization_ns;
        let log = self.recommendations.get_or_insert_default();
        let stabilized = stabilize(log, proposed, window_ns, now_ns);
        let detail = format!("highest recommendation of {} s", window_ns / SECOND_NS);
        note(explanation, "stabilisation", detail, proposed, stabilized);
        self.set_stabilized(stabilized != proposed, false, now_ns);
        let limited = limit_to_double(current, stabilized, bounds);
        self.finish_limits(stabilized, limited, bounds, "the scale-up limit", explanation, now_ns)
    }

    /// Stabilisation and limits of an autoscaler with `behavior`.
    fn normalize_with_behavior(
        &mut self,
        current: i32,
        proposed: i32,
        bounds: Bounds,
        explanation: &mut Explanation,
        now_ns: u64,
    ) -> i32 {
        let (up, down) = self.rules();
        let windows = Windows {
            up_s: up.stabilization_window_seconds.unwrap_or(0),
            down_s: down.stabilization_window_seconds.unwrap_or_else(|| {
                i32::try_from(self.options.downscale_stabilization_ns / SECOND_NS).unwrap_or(i32::MAX)
            }),
        };
        let log = self.recommendations.get_or_insert_default();
        let stabilized = if self.options.version >= Version::V1_21 {
            stabilize_within(log, current, proposed, windows, now_ns)
        } else {
            stabilize_one_way(log, current, proposed, windows, now_ns)
        };
        let detail = format!("windows {} s up, {} s down", windows.up_s, windows.down_s);
        note(explanation, "stabilisation", detail, proposed, stabilized);
        self.set_stabilized(stabilized != proposed, proposed >= current, now_ns);
        let rate = Rate {
            up: &up,
            down: &down,
            events: &self.events,
            both_directions: self.options.version >= Version::V1_27,
            now_ns,
        };
        let limited = limit_rate(current, stabilized, bounds, rate);
        let detail = match stabilized {
            stabilized if stabilized > current => describe("scaleUp", &up),
            stabilized if stabilized < current => describe("scaleDown", &down),
            _ => String::new(),
        };
        self.finish_limits(stabilized, limited, bounds, &detail, explanation, now_ns)
    }

    /// The rules of both directions; absent only if a spec came from elsewhere than the constructors.
    fn rules(&self) -> (ScalingRules, ScalingRules) {
        let behavior = self.spec.behavior.clone().unwrap_or_default();
        (ScalingRules::up(behavior.scale_up), ScalingRules::down(behavior.scale_down))
    }

    fn set_stabilized(&mut self, is_stabilized: bool, goes_up: bool, now_ns: u64) {
        let (reason, message) = match (is_stabilized, goes_up) {
            (false, _) => ("ReadyForNewScale", "recommended size matches current size"),
            (true, true) => (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation",
            ),
            (true, false) => (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation",
            ),
        };
        set(&mut self.conditions.able_to_scale, true, reason, message, now_ns);
    }

    fn finish_limits(
        &mut self,
        stabilized: i32,
        limited: Limited,
        bounds: Bounds,
        rate_name: &str,
        explanation: &mut Explanation,
        now_ns: u64,
    ) -> i32 {
        let is_limited = limited.replicas != stabilized;
        let reason = limited.reason;
        set(&mut self.conditions.scaling_limited, is_limited, reason.name(), reason.message(), now_ns);
        // Each rule with its own number, in an order in which only the one that decides changes the count.
        let by_bounds = matches!(reason, LimitReason::TooManyReplicas | LimitReason::TooFewReplicas);
        let after_rate = if by_bounds { stabilized } else { limited.replicas };
        if let Some(rate_limit) = limited.rate_limit {
            note(explanation, "rate", format!("{rate_name}: {rate_limit}"), stabilized, after_rate);
        }
        let name = match reason {
            LimitReason::TooManyReplicas => "maxReplicas",
            LimitReason::TooFewReplicas => "minReplicas",
            _ => "bounds",
        };
        let detail = format!("{} to {}", bounds.minimum, bounds.maximum);
        note(explanation, name, detail, after_rate, limited.replicas);
        limited.replicas
    }

    /// A target outside of its bounds is brought back at once: without metrics, stabilisation or rates.
    fn enforce(
        &mut self,
        current: i32,
        (name, bound, reason): (&str, i32, &str),
        mut explanation: Explanation,
        now_ns: u64,
    ) -> Decision {
        note(&mut explanation, name, bound.to_string(), current, bound);
        self.rescale(current, bound, reason.to_string(), explanation, now_ns)
    }

    fn rescale(
        &mut self,
        current: i32,
        desired: i32,
        reason: String,
        explanation: Explanation,
        now_ns: u64,
    ) -> Decision {
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        set(&mut self.conditions.able_to_scale, true, "SucceededRescale", message, now_ns);
        let mut undo = Rescale {
            events: None,
            last_scale_ns: self.last_scale_ns,
            scaled_to_zero: self.conditions.scaled_to_zero.clone(),
            desired: self.desired,
        };
        if self.spec.behavior.is_some() {
            let (up, down) = self.rules();
            undo.events = Some(self.events.record(current, desired, &up, &down, now_ns));
        }
        if self.options.version >= Version::V1_37 {
            let is_down = current > 0 && desired == 0;
            let took_it = is_down && self.spec.minimum() == 0 && self.has_metric_without_pods();
            self.set_scaled_to_zero(took_it, now_ns);
        }
        self.undo = Some(undo);
        self.last_scale_ns = Some(now_ns);
        self.desired = Some(desired);
        self.decide(desired, Some(desired), reason, explanation)
    }

    fn set_scaled_to_zero(&mut self, is_scaled: bool, now_ns: u64) {
        let (reason, message) = if is_scaled {
            ("ScaledToZero", "the HPA controller scaled the workload to zero")
        } else {
            ("NotScaledToZero", "the HPA controller did not scale the workload to zero")
        };
        set(&mut self.conditions.scaled_to_zero, is_scaled, reason, message, now_ns);
    }

    fn keep(&mut self, desired: i32, explanation: Explanation) -> Decision {
        self.desired = Some(desired);
        self.decide(desired, None, String::new(), explanation)
    }

    fn decide(
        &self,
        desired: i32,
        replicas: Option<i32>,
        reason: String,
        explanation: Explanation,
    ) -> Decision {
        Decision {
            desired,
            replicas,
            conditions: self.conditions.clone(),
            reason,
            requeue_after_ns: self.options.sync_period_ns,
            explanation,
        }
    }

    fn blank_explanation(&self, observation: &Observation) -> Explanation {
        let tolerances = self.tolerances();
        Explanation {
            current: observation.scale.map(|scale| scale.spec_replicas),
            status_replicas: observation.scale.map_or(0, |scale| scale.status_replicas),
            minimum: self.spec.minimum(),
            maximum: self.spec.max_replicas,
            version: self.options.version,
            tolerance_down: tolerances.down,
            tolerance_up: tolerances.up,
            metrics: Vec::new(),
            proposal: None,
            limits: Vec::new(),
            winner: String::new(),
            note: String::new(),
        }
    }
}

/// The highest proposal so far.
struct Best {
    replicas: i32,
    name: String,
}

/// What a metric is calculated from.
struct View<'a> {
    observation: &'a Observation,
    ready_pods: i64,
    status_replicas: i32,
    timing: Timing,
    rules: Rules<'a>,
}

impl View<'_> {
    fn propose(&self, metric: &MetricSpec, reading: Option<&Reading>) -> Result<Proposal, MetricFault> {
        match (metric, reading) {
            (_, None) => Err(MetricFault::Empty),
            (_, Some(Reading::Failed { message })) => Err(MetricFault::Failed(message.clone())),
            (
                MetricSpec::Resource { name, target } | MetricSpec::ContainerResource { name, target, .. },
                Some(Reading::Pods { samples, requests_milli, others_milli }),
            ) => {
                let samples = self.samples(samples, others_milli, name == "cpu");
                match target {
                    Target::Utilization(percent) => {
                        utilization(samples, requests_milli, *percent, self.rules)
                    }
                    Target::AverageValue(target) | Target::Value(target) => {
                        average(samples, target.milli(), self.rules)
                    }
                }
            }
            (MetricSpec::Pods { target, .. }, Some(Reading::Pods { samples, others_milli, .. })) => {
                average(self.samples(samples, others_milli, false), milli_of_target(*target), self.rules)
            }
            (
                MetricSpec::Object { target, .. } | MetricSpec::External { target, .. },
                Some(Reading::Values { values_milli }),
            ) => {
                let is_external = matches!(metric, MetricSpec::External { .. });
                if values_milli.is_empty() {
                    return Err(MetricFault::Empty);
                }
                let total = total_milli(values_milli);
                Ok(match target {
                    Target::AverageValue(target) => {
                        shared_value(total, target.milli(), self.status_replicas, is_external, self.rules)
                    }
                    Target::Value(target) => {
                        value(total, target.milli(), &self.observation.pods, self.ready_pods, self.rules)?
                    }
                    Target::Utilization(_) => return Err(MetricFault::WrongForm),
                })
            }
            _ => Err(MetricFault::WrongForm),
        }
    }

    fn samples<'b>(
        &'b self,
        samples: &'b [Option<super::Sample>],
        others_milli: &'b [i64],
        is_cpu: bool,
    ) -> PodSamples<'b> {
        PodSamples { pods: &self.observation.pods, samples, others_milli, is_cpu, timing: self.timing }
    }
}

fn milli_of_target(target: Target) -> i64 {
    match target {
        Target::Utilization(percent) => i64::from(percent) * 1000,
        Target::AverageValue(value) | Target::Value(value) => value.milli(),
    }
}

/// The word for a metric in the reason of a failure.
fn metric_word(metric: &MetricSpec) -> &'static str {
    match metric {
        MetricSpec::Resource { .. } => "Resource",
        MetricSpec::ContainerResource { .. } => "ContainerResource",
        MetricSpec::Pods { .. } => "Pods",
        MetricSpec::Object { .. } => "Object",
        MetricSpec::External { .. } => "External",
    }
}

/// Notes a rule; one that changes the count is the winner so far.
fn note(explanation: &mut Explanation, name: &str, detail: String, from: i32, to: i32) {
    if from != to {
        explanation.winner = name.to_string();
    }
    explanation.limits.push(Limit { name: name.to_string(), detail, from, to });
}

/// The policies of a direction in words.
fn describe(direction: &str, rules: &ScalingRules) -> String {
    let select = match rules.select_policy {
        Some(SelectPolicy::Disabled) => return format!("{direction} disabled"),
        Some(SelectPolicy::Min) => "least of ",
        Some(SelectPolicy::Max) | None => "most of ",
    };
    let policies = rules.policies.as_deref().unwrap_or_default();
    let words = policies.iter().map(|policy| {
        let unit = match policy.kind {
            PolicyKind::Pods => "pods",
            PolicyKind::Percent => "%",
        };
        format!("{} {unit} in {} s", policy.value, policy.period_seconds)
    });
    let words: Vec<String> = words.collect();
    let select = if policies.len() > 1 { select } else { "" };
    format!("{direction} {select}{}", words.join(", "))
}
