//! Polling: to and from zero or idle.
//!
//! Source: `pkg/scaling/scale_handler.go` (`getScaledObjectState`) and `pkg/scaling/executor/scale_scaledobjects.go`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::fallback::{self, Answer, FallbackTarget, Health, Reading};
use super::spec::MetricType;
use super::triggers::Trigger;
use super::{Annotations, KedaError, SECOND_NS, ScaledObjectSpec};

/// What is seen at a poll. `readings[i]` belongs to `spec.triggers[i]`; a trigger without one counts as failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Now, nanoseconds since the Unix epoch. Must not run back.
    pub now_ns: u64,
    /// `spec.replicas` of the target.
    pub current_replicas: i32,
    /// Pods that run and are ready.
    pub ready_replicas: i32,
    /// A reading a trigger.
    pub readings: Vec<Reading>,
    /// The value of the formula, with modifiers; `None` = it could not be evaluated.
    pub composite: Option<f64>,
}

/// The `Active` condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActiveState {
    /// Not known: paused.
    #[default]
    Unknown,
    /// `ScalerActive`.
    Active,
    /// `ScalerNotActive`.
    NotActive,
    /// Not active, reason `ScalerCooldown`.
    Cooldown,
}

impl ActiveState {
    /// Status of the condition: `True`, `False` or `Unknown`.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Active => "True",
            Self::NotActive | Self::Cooldown => "False",
        }
    }

    /// Its reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Active => "ScalerActive",
            Self::NotActive => "ScalerNotActive",
            Self::Cooldown => "ScalerCooldown",
        }
    }
}

/// The `Ready` condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyState {
    /// `True`: defined correctly.
    #[default]
    Ready,
    /// `Unknown`, reason `PartialTriggerError`: some triggers fail.
    PartialTriggerError,
    /// `False`, reason `TriggerError`: triggers fail and none is active.
    TriggerError,
}

impl ReadyState {
    /// Status of the condition: `True`, `False` or `Unknown`.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Ready => "True",
            Self::PartialTriggerError => "Unknown",
            Self::TriggerError => "False",
        }
    }
}

/// What a request to scale is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Now, nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// `spec.replicas` of the target.
    pub current: i32,
    /// Whether a trigger is active.
    pub active: bool,
    /// Whether a trigger failed.
    pub failed: bool,
    /// When the object was active last.
    pub last_active_ns: Option<u64>,
    /// When the object was created.
    pub created_ns: u64,
}

/// What a request to scale leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Set the target to this many replicas; `None` = leave it.
    pub replicas: Option<i32>,
    /// The `Active` condition.
    pub active: ActiveState,
    /// The `Ready` condition.
    pub ready: ReadyState,
    /// Whether this is the time of the last activity from now on.
    pub is_last_active: bool,
    /// Why.
    pub why: String,
}

/// What to do at a poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Set the target to this many replicas; `None` = leave it.
    pub replicas: Option<i32>,
    /// The `Active` condition.
    pub active: ActiveState,
    /// The `Ready` condition.
    pub ready: ReadyState,
    /// The `Fallback` condition: a trigger is fallen back on.
    pub fallback: bool,
    /// The `Paused` condition.
    pub paused: bool,
    /// Whether there is a HorizontalPodAutoscaler.
    pub has_hpa: bool,
    /// Step again after this.
    pub requeue_after_ns: u64,
    /// Why.
    pub explanation: Explanation,
}

/// Triggers, and what followed. Displays as one line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Replicas before.
    pub current: i32,
    /// Each trigger: type and name, and what it counts as.
    pub triggers: Vec<(String, Answer)>,
    /// The formula's value, with modifiers.
    pub composite: Option<f64>,
    /// Whether the object is active.
    pub active: bool,
    /// What followed.
    pub why: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, answer) in &self.triggers {
            match answer {
                Answer::Measured { value_milli, active } => {
                    let value = super::super::hpa::Quantity::from_milli(*value_milli);
                    write!(f, "{name} {value} ({}); ", if *active { "active" } else { "not active" })?;
                }
                Answer::Fallback { value_milli } => {
                    let value = super::super::hpa::Quantity::from_milli(*value_milli);
                    write!(f, "{name} fails, falls back to {value}; ")?;
                }
                Answer::Nil => write!(f, "{name} not asked; ")?,
                Answer::Failed { message } => write!(f, "{name} fails: {message}; ")?,
            }
        }
        if let Some(composite) = self.composite {
            write!(f, "formula {composite}; ")?;
        }
        f.write_str(&self.why)
    }
}

/// The whole state of one ScaledObject. It can be stored after any step and goes on with the same decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executor {
    spec: ScaledObjectSpec,
    annotations: Annotations,
    triggers: Vec<Trigger>,
    health: Vec<Health>,
    /// What each trigger counted as at the last poll, for `useCachedMetrics`.
    cached: Vec<Option<Answer>>,
    last_active_ns: Option<u64>,
    created_ns: u64,
}

impl Executor {
    /// The executor of an object that is created now.
    ///
    /// # Errors
    /// A spec, a trigger or an annotation that KEDA would refuse.
    pub fn new(
        spec: ScaledObjectSpec,
        annotations: &BTreeMap<String, String>,
        created_ns: u64,
    ) -> Result<Self, KedaError> {
        spec.check()?;
        let triggers = Trigger::read_all(&spec.triggers)?;
        Ok(Self {
            annotations: Annotations::read(annotations)?,
            health: vec![Health::default(); triggers.len()],
            cached: vec![None; triggers.len()],
            triggers,
            spec,
            last_active_ns: None,
            created_ns,
        })
    }

    /// The spec in force.
    #[must_use]
    pub fn spec(&self) -> &ScaledObjectSpec {
        &self.spec
    }

    /// Goes on where another one of the same object ended: when it was active last, and failures in a row by trigger.
    #[must_use]
    pub fn resumed(mut self, last_active_ns: Option<u64>, failures: &[i32]) -> Self {
        self.last_active_ns = last_active_ns;
        for (health, failures) in self.health.iter_mut().zip(failures) {
            health.failures = *failures;
        }
        self
    }

    /// Takes triggers of which more is known than the `spec` says: with the metrics that external scalers name. What is
    /// known of a metric that stays is kept.
    pub fn ask_for(&mut self, triggers: Vec<Trigger>) {
        let before = |trigger: &Trigger| {
            let is_same = |known: &Trigger| {
                known.index == trigger.index && known.metric_name() == trigger.metric_name()
            };
            let at = self.triggers.iter().position(is_same)?;
            Some((self.health[at], self.cached[at].clone()))
        };
        let (health, cached) = triggers.iter().map(|trigger| before(trigger).unwrap_or_default()).unzip();
        (self.health, self.cached, self.triggers) = (health, cached, triggers);
    }

    /// Failures in a row, by trigger. Without a fallback nobody counts.
    #[must_use]
    pub fn health(&self) -> &[Health] {
        &self.health
    }

    /// Whether a trigger is fallen back on.
    #[must_use]
    pub fn has_fallen_back(&self) -> bool {
        self.is_falling_back()
    }

    /// Its triggers, in order.
    #[must_use]
    pub fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// When it was active last, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn last_active_ns(&self) -> Option<u64> {
        self.last_active_ns
    }

    /// Takes changed annotations.
    ///
    /// # Errors
    /// An annotation that KEDA would refuse.
    pub fn annotate(&mut self, annotations: &BTreeMap<String, String>) -> Result<(), KedaError> {
        self.annotations = Annotations::read(annotations)?;
        Ok(())
    }

    /// Decides at a poll.
    pub fn step(&mut self, observation: &Observation) -> Decision {
        let mut explanation = Explanation { current: observation.current_replicas, ..Explanation::default() };
        if self.annotations.is_paused() {
            let wanted = self.annotations.paused_replicas;
            explanation.why = "paused by annotation".to_string();
            return Decision {
                replicas: wanted.filter(|&wanted| wanted != observation.current_replicas),
                active: ActiveState::Unknown,
                ready: ReadyState::Ready,
                fallback: false,
                paused: true,
                has_hpa: false,
                requeue_after_ns: self.spec.polling_interval_ns(),
                explanation,
            };
        }
        let answers: Vec<Answer> = (0..self.triggers.len())
            .map(|index| self.ask(index, observation.readings.get(index), observation))
            .collect();
        self.cached = answers.iter().cloned().map(Some).collect();
        let failed = answers.iter().any(|answer| matches!(answer, Answer::Failed { .. }));
        let is_active = |answer: &Answer| {
            matches!(answer, Answer::Measured { active: true, .. } | Answer::Fallback { .. })
        };
        let mut active = answers.iter().any(is_active);
        if let Some(modifiers) = self.spec.modifiers() {
            let activation: f64 = modifiers.activation_target.parse().unwrap_or(0.0);
            let composite = self.composite(&answers, observation.composite);
            explanation.composite = composite.filter(|composite| composite.is_finite());
            active = !failed && composite.is_some_and(|composite| composite > activation);
        }
        if self.spec.triggers.iter().all(super::ScaleTrigger::is_resource) && !failed {
            active = true;
        }
        let request = request_scale(
            &self.spec,
            &self.annotations,
            &Situation {
                now_ns: observation.now_ns,
                current: observation.current_replicas,
                active,
                failed,
                last_active_ns: self.last_active_ns,
                created_ns: self.created_ns,
            },
        );
        if request.is_last_active {
            self.last_active_ns = Some(observation.now_ns);
        }
        explanation.active = active;
        explanation.why.clone_from(&request.why);
        explanation.triggers = self.triggers.iter().map(Trigger::label).zip(answers).collect();
        Decision {
            replicas: request.replicas,
            active: request.active,
            ready: request.ready,
            fallback: self.is_falling_back(),
            paused: self.annotations.paused_scale_in || self.annotations.paused_scale_out,
            has_hpa: true,
            requeue_after_ns: self.spec.polling_interval_ns(),
            explanation,
        }
    }

    /// Decides when an external scaler says by itself that it is active (`external-push`): up from zero or idle, or the time
    /// of the last activity. That it is no longer active, only polls find out.
    pub fn pushed(&mut self, now_ns: u64, current_replicas: i32) -> Decision {
        let situation = Situation {
            now_ns,
            current: current_replicas,
            active: true,
            failed: false,
            last_active_ns: self.last_active_ns,
            created_ns: self.created_ns,
        };
        let request = request_scale(&self.spec, &self.annotations, &situation);
        if request.is_last_active {
            self.last_active_ns = Some(now_ns);
        }
        let is_paused = self.annotations.is_paused();
        Decision {
            replicas: request.replicas,
            active: request.active,
            ready: request.ready,
            fallback: self.is_falling_back(),
            paused: is_paused || self.annotations.paused_scale_in || self.annotations.paused_scale_out,
            has_hpa: !is_paused,
            requeue_after_ns: self.spec.polling_interval_ns(),
            explanation: Explanation {
                current: current_replicas,
                active: !is_paused,
                why: request.why,
                ..Explanation::default()
            },
        }
    }

    /// What the HorizontalPodAutoscaler gets when it asks for a trigger's value, which it does at its own pace: asking
    /// counts failures just as polling does. With `useCachedMetrics` it gets what the last poll gave. With modifiers, ask
    /// for every trigger and take [`Executor::composite`] of the answers.
    pub fn answer(&mut self, trigger: usize, observation: &Observation) -> Answer {
        let spec = self.triggers.get(trigger).and_then(|trigger| self.spec.triggers.get(trigger.index));
        let uses_cache = spec.is_some_and(|trigger| trigger.use_cached_metrics);
        if let (true, Some(Some(cached))) = (uses_cache, self.cached.get(trigger)) {
            return cached.clone();
        }
        self.ask(trigger, observation.readings.get(trigger), observation)
    }

    /// The composite value: the fallback's where a trigger has fallen back, otherwise the formula's.
    #[must_use]
    pub fn composite(&self, answers: &[Answer], formula: Option<f64>) -> Option<f64> {
        let fallen_back = answers.iter().find_map(|answer| match answer {
            Answer::Fallback { value_milli } => Some(*value_milli as f64 / 1000.0),
            _ => None,
        });
        // The formula's value is cut at thousandths.
        fallen_back.or_else(|| formula.map(|formula| (formula * 1000.0).trunc() / 1000.0))
    }

    fn ask(&mut self, trigger: usize, reading: Option<&Reading>, observation: &Observation) -> Answer {
        let (Some(spec), Some(health)) = (self.triggers.get(trigger), self.health.get_mut(trigger)) else {
            return Answer::Failed { message: "there is no such trigger".to_string() };
        };
        let missing = Reading::Failed { message: "the trigger was not asked".to_string() };
        let reading = if spec.is_resource() { &Reading::Resource } else { reading.unwrap_or(&missing) };
        let modifiers = self.spec.modifiers();
        let target = match modifiers {
            Some(modifiers) => FallbackTarget {
                target: modifiers.target.parse().unwrap_or(0.0),
                is_total: modifiers.metric_type == Some(MetricType::Value),
            },
            None => FallbackTarget { target: spec.target(), is_total: spec.is_total() },
        };
        // Upstream falls back with modifiers only where their target is a whole number.
        let is_usable =
            modifiers.is_none_or(|modifiers| modifiers.target.parse::<i64>().is_ok_and(|target| target > 0));
        fallback::answer(
            health,
            reading,
            self.spec.fallback.as_ref().filter(|_| is_usable),
            target,
            observation.current_replicas,
            observation.ready_replicas,
        )
    }

    fn is_falling_back(&self) -> bool {
        let Some(fallback) = self.spec.fallback else { return false };
        self.health.iter().any(|health| health.failures > fallback.failure_threshold)
    }
}

/// What a scaled object does, by activity and errors.
#[must_use]
pub fn request_scale(spec: &ScaledObjectSpec, annotations: &Annotations, situation: &Situation) -> Request {
    let current = situation.current;
    let minimum = spec.minimum();
    if annotations.is_paused() {
        return Request { why: "paused by annotation".to_string(), ..Request::default() };
    }
    if situation.active || annotations.force_activation {
        let mut request = Request { active: ActiveState::Active, ..Request::default() };
        if current == 0 || (spec.idle_replica_count.is_some() && current < minimum) {
            if annotations.paused_scale_out {
                request.why = "active, but scaling out is paused".to_string();
            } else {
                request.replicas = Some(minimum.max(1));
                request.is_last_active = true;
                request.why = format!("active: from {current} to {}", minimum.max(1));
            }
        } else if situation.failed {
            request.ready = ReadyState::PartialTriggerError;
            request.why = "active, and some triggers fail".to_string();
        } else {
            request.is_last_active = true;
            request.why = "active: the HorizontalPodAutoscaler decides".to_string();
        }
        return request;
    }
    let mut request = Request { active: ActiveState::NotActive, ..Request::default() };
    let is_above_idle = spec.idle_replica_count.is_some_and(|idle| current > idle);
    match (situation.failed, spec.fallback) {
        (true, Some(fallback)) if fallback.replicas != 0 => {
            request.why = "triggers fail: waits for the fallback".to_string();
        }
        (true, None) => {
            request.ready = ReadyState::TriggerError;
            request.why = "triggers fail: nothing changes".to_string();
        }
        _ if is_above_idle || (current > 0 && minimum == 0) => {
            scale_in(spec, annotations, situation, &mut request);
        }
        _ if spec.idle_replica_count.is_none() && current < minimum => {
            request.replicas = Some(minimum);
            request.why = format!("not active: up from {current} to the minimum of {minimum}");
        }
        _ => request.why = "not active: nothing changes".to_string(),
    }
    request
}

/// To idle or the minimum, if nothing has been active for long enough.
fn scale_in(
    spec: &ScaledObjectSpec,
    annotations: &Annotations,
    situation: &Situation,
    request: &mut Request,
) {
    if annotations.paused_scale_in {
        request.why = "not active, but scaling in is paused".to_string();
        return;
    }
    let (since_ns, period_ns, name) = match situation.last_active_ns {
        None => (situation.created_ns, spec.initial_cooldown_ns(), "initialCooldownPeriod"),
        Some(last_ns) => (last_ns, spec.cooldown_ns(), "cooldownPeriod"),
    };
    let over_ns = since_ns.saturating_add(period_ns);
    if over_ns >= situation.now_ns {
        request.active = ActiveState::Cooldown;
        let left_s = (over_ns - situation.now_ns) / SECOND_NS;
        request.why = format!("not active: {left_s} s of {name} left");
        return;
    }
    let (replicas, what) = match spec.idle_replica_count {
        Some(idle) => (idle, "idle"),
        None => (spec.minimum(), "minimum"),
    };
    request.replicas = Some(replicas);
    request.why = format!("not active: from {} to {what} ({replicas})", situation.current);
}
