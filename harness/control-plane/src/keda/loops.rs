//! One loop a ScaledObject: when to poll, and what follows from what a poll found.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;
use serde_json::{Value, json};
use windtunnel_api::keda::ScaledObject;
use windtunnel_kernel::autoscale::keda::triggers::kafka::Offsets;
use windtunnel_kernel::autoscale::keda::{Answer, Decision, Executor, Observation, Reading, Trigger, hpa};

use super::object::{self, Definition, Fault};
use super::sample::reading;
use super::status::{PAUSED, Status};
use super::{FINALIZER, NAME_LABEL, Polled, Question, Sample, Target, sources};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, Kind, ObjectKey, World};

const SECOND_NS: u64 = 1_000_000_000;
/// When an object that cannot work is looked at again.
const FAULT_AGAIN_NS: u64 = 2 * SECOND_NS;
/// A poll that takes longer than this is given up.
const POLL_LIMIT_NS: u64 = 120 * SECOND_NS;

/// The loops of all ScaledObjects.
#[derive(Debug, Default)]
pub struct Loops {
    loops: BTreeMap<ObjectKey, Loop>,
}

/// One ScaledObject's loop.
#[derive(Debug)]
struct Loop {
    /// The state of the object that it is about.
    stamp: String,
    running: Result<Box<Running>, Fault>,
    next_poll_ns: u64,
    is_started: bool,
    /// The HorizontalPodAutoscaler as it should be.
    autoscaler: Option<Box<HorizontalPodAutoscaler>>,
    /// What the triggers failed with last.
    failures: Vec<Option<String>>,
}

#[derive(Debug)]
struct Running {
    definition: Definition,
    executor: Executor,
    /// What each Kafka trigger saw last, by its place.
    offsets: BTreeMap<usize, Offsets>,
}

impl Loops {
    /// Something about the object has changed: starts its loop anew, ends it, or puts back what belongs to it.
    pub fn changed(&mut self, world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
        let found = world.scaled_objects.get(key).filter(|_| world.runs_keda());
        let Some(object) = found else {
            self.loops.remove(key);
            return Effects::new();
        };
        if object.metadata.deletion_timestamp.is_some() {
            self.loops.remove(key);
            return finalize(key, object);
        }
        let mut effects: Effects = adopt(key, object).into_iter().collect();
        let stamp = stamp(world, object);
        match self.loops.get(key) {
            Some(found) if found.stamp == stamp => {
                let wanted = found.autoscaler.as_deref();
                effects.extend(wanted.map(|autoscaler| Effect::Apply(autoscaler.clone().wrap())));
            }
            _ => {
                self.loops.insert(key.clone(), Loop::new(object, stamp, now_ns));
            }
        }
        effects
    }

    /// When the next poll is due, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.loops.values().map(|found| found.next_poll_ns).min()
    }

    /// The polls that are due. Each begins now.
    pub fn due(&mut self, now_ns: u64) -> Vec<Question> {
        let mut questions = Vec::new();
        for (key, found) in self.loops.iter_mut().filter(|(_, found)| found.next_poll_ns <= now_ns) {
            found.next_poll_ns = now_ns.saturating_add(POLL_LIMIT_NS);
            questions.push(found.question(key, |_| true));
        }
        questions
    }

    /// Writes of the object have failed: it is polled again soon.
    pub fn write_failed(&mut self, key: &ObjectKey, now_ns: u64) {
        if let Some(found) = self.loops.get_mut(key) {
            found.next_poll_ns = found.next_poll_ns.min(now_ns.saturating_add(SECOND_NS));
        }
    }

    /// Decides by what a poll found.
    pub fn polled(&mut self, world: &World, key: &ObjectKey, polled: &Polled, now_ns: u64) -> Effects {
        let (Some(found), Some(object)) = (self.loops.get_mut(key), world.scaled_objects.get(key)) else {
            return Effects::new();
        };
        if found.stamp != polled.stamp {
            // The loop of the present state has its own poll.
            return Effects::new();
        }
        let mut step = Step { key, object, status: Status::of(object), effects: Effects::new() };
        if let Some(trigger) = polled.pushed {
            found.follow_push(&mut step, polled, trigger, now_ns);
            step.effects.extend(step.status.effect(key));
            return step.effects;
        }
        if let Ok(running) = &mut found.running {
            running.learn(&polled.triggers);
        }
        match found.judge(world, &step, polled) {
            Ok((target, autoscaler)) => {
                let interval_ns = found.follow(world, &mut step, target, autoscaler, polled, now_ns);
                found.next_poll_ns = now_ns.saturating_add(interval_ns);
            }
            Err(fault) => {
                found.next_poll_ns = now_ns.saturating_add(FAULT_AGAIN_NS);
                found.autoscaler = None;
                step.refuse(&fault);
            }
        }
        step.effects.extend(step.status.effect(key));
        step.effects
    }

    /// Who is to be listened to: a question a scaler, to be asked each time that the scaler says it is active.
    #[must_use]
    pub fn listening(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (key, found) in &self.loops {
            let Ok(running) = &found.running else { continue };
            if running.definition.annotations.is_paused() {
                continue;
            }
            let triggers = running.definition.spec.triggers.iter().enumerate();
            let pushing = triggers.filter(|(_, trigger)| trigger.kind == "external-push");
            questions.extend(
                pushing.map(|(index, _)| Question { pushed: Some(index), ..found.question(key, |_| false) }),
            );
        }
        questions
    }

    /// What to ask before an autoscaler's question for a metric can be answered.
    ///
    /// # Errors
    /// Why it has no answer.
    pub fn question(&self, key: &ObjectKey, metric: &str) -> Result<Question, String> {
        let nothing = || format!("no matching metrics found for {metric}");
        let found = self.loops.get(key).ok_or_else(nothing)?;
        let running = found.running.as_ref().map_err(Clone::clone)?;
        let definition = &running.definition;
        if definition.annotations.is_paused() {
            return Err(PAUSED.to_owned());
        }
        let is_composite = metric == hpa::COMPOSITE_METRIC && definition.formula.is_some();
        let named = definition.triggers.iter().zip(&definition.metrics);
        let named = named.filter(|(_, name)| name.as_deref() == Some(metric));
        let at: Vec<usize> = named.map(|(trigger, _)| trigger.index).collect();
        let asked = |index: usize| is_composite || at.contains(&index);
        if !is_composite && at.is_empty() {
            return Err(nothing());
        }
        Ok(found.question(key, asked))
    }

    /// The value of a metric for an autoscaler, thousandths.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(
        &mut self,
        key: &ObjectKey,
        metric: &str,
        polled: &Polled,
        now_ns: u64,
    ) -> Result<i64, String> {
        let nothing = || format!("no matching metrics found for {metric}");
        let found = self.loops.get_mut(key).filter(|found| found.stamp == polled.stamp);
        let running = found.ok_or_else(nothing)?.running.as_mut().map_err(|fault| fault.clone())?;
        let target = polled.target.as_ref().map_err(|why| object::target_fault(why))?;
        running.learn(&polled.triggers);
        let observation = running.observe(target, &polled.samples, now_ns);
        if metric == hpa::COMPOSITE_METRIC && running.definition.formula.is_some() {
            let triggers = 0..running.definition.triggers.len();
            let answers: Vec<Answer> =
                triggers.map(|trigger| running.executor.answer(trigger, &observation)).collect();
            let value = running.executor.composite(&answers, observation.composite);
            let value = value.ok_or("the formula of scalingModifiers has no value")?;
            return Ok((value * 1000.0) as i64);
        }
        let trigger = running.definition.metrics.iter().position(|name| name.as_deref() == Some(metric));
        match running.executor.answer(trigger.ok_or_else(nothing)?, &observation) {
            Answer::Measured { value_milli, .. } | Answer::Fallback { value_milli } => Ok(value_milli),
            Answer::Nil => Err(format!("{metric} is left to the formula")),
            Answer::Failed { message } => Err(message),
        }
    }
}

impl Loop {
    fn new(object: &ScaledObject, stamp: String, now_ns: u64) -> Self {
        Self {
            stamp,
            running: Running::new(object).map(Box::new),
            next_poll_ns: now_ns,
            is_started: false,
            autoscaler: None,
            failures: Vec::new(),
        }
    }

    fn question(&self, key: &ObjectKey, is_asked: impl Fn(usize) -> bool) -> Question {
        let stamp = self.stamp.clone();
        let nothing = || Question {
            key: key.clone(),
            stamp: stamp.clone(),
            spec: serde_json::from_value(json!({"scaleTargetRef": {"name": ""}, "triggers": []}))
                .expect("the least of specs can be read"),
            triggers: Vec::new(),
            asked: Vec::new(),
            pushed: None,
        };
        let Ok(running) = &self.running else { return nothing() };
        let definition = &running.definition;
        let is_paused = definition.annotations.is_paused();
        let asked = (0..definition.spec.triggers.len()).map(|index| !is_paused && is_asked(index)).collect();
        Question {
            key: key.clone(),
            stamp,
            spec: definition.spec.clone(),
            triggers: definition.triggers.clone(),
            asked,
            pushed: None,
        }
    }

    /// Whether the object can work, and with which autoscaler.
    fn judge<'a>(
        &self,
        world: &World,
        step: &Step<'_>,
        polled: &'a Polled,
    ) -> Result<(&'a Target, Option<HorizontalPodAutoscaler>), Fault> {
        let running = self.running.as_ref().map_err(Clone::clone)?;
        let target = polled.target.as_ref().map_err(|why| object::target_fault(why))?;
        if let Some(fault) = object::conflict(world, step.key, step.object, &running.definition, target) {
            return Err(fault);
        }
        Ok((target, object::autoscaler(step.object, &running.definition, target)?))
    }

    /// Scales, and writes what there is to write; returns the time until the next poll.
    fn follow(
        &mut self,
        world: &World,
        step: &mut Step<'_>,
        target: &Target,
        autoscaler: Option<HorizontalPodAutoscaler>,
        polled: &Polled,
        now_ns: u64,
    ) -> u64 {
        let Ok(running) = &mut self.running else { return FAULT_AGAIN_NS };
        let observation = running.observe(target, &polled.samples, now_ns);
        let decision = running.executor.step(&observation);
        step.describe(target, &running.definition);
        let was_paused = step.status.is("Paused", "True");
        if let Some(replicas) = decision.replicas {
            let active = active(&running.definition, &decision);
            step.scale(target, &running.definition, &decision, replicas, &active);
        }
        let own = step.key.sibling(hpa::name(&running.definition.spec, &step.key.name));
        let before = step.status.field("hpaName").as_str().map(|name| step.key.sibling(name));
        let is_ours = |key: &ObjectKey| {
            let owners = world.autoscalers.get(key).map(|found| found.owner_references().to_vec());
            owners.is_some_and(|owners| {
                owners.iter().any(|owner| Some(&owner.uid) == step.object.uid().as_ref())
            })
        };
        if let Some(old) = before.filter(|old| *old != own && is_ours(old)) {
            step.effects.push(Effect::Delete { kind: Kind::HorizontalPodAutoscaler, key: old });
        }
        let is_stopped = running.definition.annotations.is_paused();
        if is_stopped {
            self.autoscaler = None;
            if is_ours(&own) {
                step.effects.push(Effect::Delete { kind: Kind::HorizontalPodAutoscaler, key: own });
            }
            if !was_paused {
                step.event("Normal", "KEDAScalersStopped", "Stopped scalers watch");
            }
            self.is_started = false;
            step.status.set("Ready", "True", "ScaledObjectReady", PAUSED);
        } else {
            if let Some(autoscaler) = autoscaler {
                step.status.put("hpaName", own.name.into());
                self.autoscaler = Some(Box::new(autoscaler.clone()));
                step.effects.push(Effect::Apply(autoscaler.wrap()));
            }
            if !self.is_started {
                for trigger in &running.definition.spec.triggers {
                    step.event("Normal", "KEDAScalersStarted", &format!("Scaler {} is built", trigger.kind));
                }
                step.event("Normal", "KEDAScalersStarted", "Started scalers watch");
                self.is_started = true;
            }
            if !step.status.is("Ready", "True")
                && step
                    .status
                    .condition("Ready", "reason")
                    .is_none_or(|reason| !matches!(reason, "PartialTriggerError" | "TriggerError"))
            {
                step.event("Normal", "ScaledObjectReady", "ScaledObject is ready for scaling");
            }
            step.decided(world, running, &decision, now_ns);
            step.failed(running, &decision, &mut self.failures);
        }
        step.pause(decision.paused, running.definition.annotations.paused_replicas);
        decision.requeue_after_ns
    }
}

impl Loop {
    /// An external scaler has said by itself that it is active.
    fn follow_push(&mut self, step: &mut Step<'_>, polled: &Polled, trigger: usize, now_ns: u64) {
        let (Ok(running), Ok(target)) = (&mut self.running, &polled.target) else { return };
        let definition = &running.definition;
        let named = definition.triggers.iter().zip(&definition.metrics);
        let metric = named.filter(|(known, _)| known.index == trigger).find_map(|(_, name)| name.clone());
        // Before the first poll nothing has been checked yet, and that poll is under way.
        let Some(metric) = metric.filter(|_| self.is_started) else { return };
        let decision = running.executor.pushed(now_ns, target.replicas);
        if let Some(replicas) = decision.replicas {
            step.scale(target, &running.definition, &decision, replicas, &[&metric]);
        }
        if running.executor.last_active_ns() == Some(now_ns) {
            step.status.put("lastActiveTime", json!(time(now_ns)));
            step.status.activate(&decision, running.definition.annotations.force_activation);
        }
    }
}

impl Running {
    fn new(object: &ScaledObject) -> Result<Self, Fault> {
        let definition = object::read(object)?;
        let created_ns = object.creation_timestamp().map_or(0, |time| unix_ns(&time.0.to_string()));
        let executor = Executor::new(definition.spec.clone(), object.annotations(), created_ns)
            .map_err(|error| error.to_string())?;
        let status = object.status.as_ref().map_or(Value::Null, |status| json!(status));
        let last_active_ns = status["lastActiveTime"].as_str().map(unix_ns);
        let failures = |metric: &Option<String>| {
            let count = metric.as_ref().and_then(|name| status["health"][name]["numberOfFailures"].as_i64());
            count.and_then(|count| i32::try_from(count).ok()).unwrap_or(0)
        };
        let failures: Vec<i32> = definition.metrics.iter().map(failures).collect();
        let offsets = BTreeMap::new();
        Ok(Self { executor: executor.resumed(last_active_ns, &failures), definition, offsets })
    }

    /// Takes what only the sources know of the triggers.
    fn learn(&mut self, triggers: &[Trigger]) {
        if self.definition.triggers != triggers {
            self.definition.triggers = triggers.to_vec();
            self.definition.metrics = triggers.iter().map(Trigger::metric_name).collect();
            self.executor.ask_for(triggers.to_vec());
        }
    }

    fn observe(&mut self, target: &Target, samples: &[Sample], now_ns: u64) -> Observation {
        let triggers = self.definition.triggers.iter().enumerate();
        let readings: Vec<Reading> = triggers
            .map(|(index, trigger)| {
                let offsets = self.offsets.entry(trigger.index).or_default();
                reading(trigger, samples.get(index).unwrap_or(&Sample::NotAsked), offsets, now_ns)
            })
            .collect();
        let formula = self.definition.formula.as_ref();
        let composite = formula.and_then(|formula| formula.of_readings(&self.definition.triggers, &readings));
        Observation {
            now_ns,
            current_replicas: target.replicas,
            ready_replicas: target.ready_replicas,
            readings,
            composite,
        }
    }
}

/// Writes of one poll.
struct Step<'a> {
    key: &'a ObjectKey,
    object: &'a ScaledObject,
    status: Status,
    effects: Effects,
}

impl Step<'_> {
    fn event(&mut self, severity: &'static str, reason: &str, message: &str) {
        self.effects.push(event(self.key, self.object, severity, reason, message));
    }

    /// It cannot work.
    fn refuse(&mut self, fault: &str) {
        if self.status.condition("Ready", "message") != Some(fault) {
            self.event("Warning", "ScaledObjectCheckFailed", fault);
        }
        self.status.set("Ready", "False", "ScaledObjectCheckFailed", fault);
        self.status.set("Active", "Unknown", "UnknownState", "ScaledObject check failed");
    }

    /// What is scaled, and by what.
    fn describe(&mut self, target: &Target, definition: &Definition) {
        self.status.put("scaleTargetKind", target.kind_text().into());
        let parts = json!({"group": target.group, "version": target.version, "kind": target.kind,
            "resource": target.resource});
        self.status.put("scaleTargetGVKR", parts);
        if self.status.field("originalReplicaCount").is_null() {
            self.status.put("originalReplicaCount", target.replicas.into());
        }
        let list = |names: Vec<&str>| if names.is_empty() { Value::Null } else { json!(names) };
        let external = definition.metrics.iter().filter_map(Option::as_deref).collect();
        self.status.put("externalMetricNames", list(external));
        let triggers = &definition.spec.triggers;
        let resources = triggers.iter().filter(|trigger| trigger.is_resource());
        self.status
            .put("resourceMetricNames", list(resources.map(|trigger| trigger.kind.as_str()).collect()));
        let composite = definition.formula.as_ref().map_or(Value::Null, |_| hpa::COMPOSITE_METRIC.into());
        self.status.put("compositeScalerName", composite);
        let mut kinds: Vec<&str> = Vec::new();
        for trigger in triggers {
            if !kinds.contains(&trigger.kind.as_str()) {
                kinds.push(&trigger.kind);
            }
        }
        self.status.put("triggersTypes", kinds.join(",").into());
    }

    fn scale(
        &mut self,
        target: &Target,
        definition: &Definition,
        decision: &Decision,
        replicas: i32,
        active: &[&str],
    ) {
        let name = &definition.spec.scale_target_ref.name;
        let path = sources::path(&target.api_version(), &self.key.namespace, &target.resource, name);
        self.effects.push(Effect::Scale { path: format!("{path}/scale"), replicas });
        let (kind, namespace, before) = (target.kind_text(), &self.key.namespace, target.replicas);
        if decision.paused && !decision.has_hpa {
            return;
        }
        let is_forced = definition.annotations.force_activation;
        if decision.explanation.active || is_forced {
            let cause = if is_forced {
                "caused by forced activation annotation".to_owned()
            } else {
                format!("triggered by {}", active.join(";"))
            };
            let message = format!("Scaled {kind} {namespace}/{name} from {before} to {replicas}, {cause}");
            self.event("Normal", "KEDAScaleTargetActivated", &message);
        } else if replicas < before {
            let message = format!("Deactivated {kind} {namespace}/{name} from {before} to {replicas}");
            self.event("Normal", "KEDAScaleTargetDeactivated", &message);
        }
    }

    /// Conditions, activity and health after a decision.
    fn decided(&mut self, world: &World, running: &Running, decision: &Decision, now_ns: u64) {
        let definition = &running.definition;
        let had_fallen_back = self.status.is("Fallback", "True");
        let has_fallback = definition.spec.fallback.is_some();
        self.status.decide(decision, definition.annotations.force_activation, has_fallback);
        match (had_fallen_back, self.status.is("Fallback", "True")) {
            (false, true) => {
                self.event("Normal", "ScaledObjectFallbackActivated", "ScaledObject fallback is active");
            }
            (true, false) => {
                let message = "ScaledObject fallback is no longer active";
                self.event("Normal", "ScaledObjectFallbackDeactivated", message);
            }
            _ => {}
        }
        if running.executor.last_active_ns() == Some(now_ns) {
            self.status.put("lastActiveTime", json!(time(now_ns)));
        }
        let mut activity = json!({});
        let mut health = json!({});
        let answers = decision.explanation.triggers.iter().zip(running.executor.health());
        for (metric, ((_, answer), failures)) in definition.metrics.iter().zip(answers) {
            let Some(metric) = metric else { continue };
            activity[metric] = json!({"isActive": is_active(answer)});
            if has_fallback {
                let state = if failures.failures == 0 { "Happy" } else { "Failing" };
                health[metric] = json!({"numberOfFailures": failures.failures, "status": state});
            }
        }
        self.status.put("triggersActivity", activity);
        self.status.put("health", if has_fallback { health } else { Value::Null });
        let hpa = self.status.field("hpaName").as_str().map(|name| self.key.sibling(name));
        if let Some(hpa) = hpa.and_then(|key| world.autoscalers.get(&key)) {
            let conditions = hpa.status.iter().flat_map(|status| status.conditions.iter().flatten());
            for condition in conditions.filter(|condition| condition.type_ == "ScalingActive") {
                let reason = condition.reason.as_deref().unwrap_or_default();
                let message = condition.message.as_deref().unwrap_or_default();
                match (condition.status.as_str(), reason) {
                    ("True", _) => {
                        self.status.set("HPAActive", "True", "HPAActive", "HPA is actively scaling");
                    }
                    (_, "ScalingDisabled") => self.status.set("HPAActive", "True", reason, message),
                    (_, reason) => {
                        let reason = if reason.is_empty() { "HPAMetricsUnavailable" } else { reason };
                        let message = format!("HPA is not actively scaling: {message}");
                        self.status.set("HPAActive", "False", reason, &message);
                    }
                }
            }
        }
    }

    /// Tells of triggers that fail, once for each reason.
    fn failed(&mut self, running: &Running, decision: &Decision, before: &mut Vec<Option<String>>) {
        before.resize(running.definition.triggers.len(), None);
        for ((label, answer), known) in decision.explanation.triggers.iter().zip(before) {
            let message = match answer {
                Answer::Failed { message } => Some(format!("{label}: {message}")),
                _ => None,
            };
            if let Some(message) = message.as_ref().filter(|message| known.as_ref() != Some(message)) {
                self.event("Warning", "KEDAScalerFailed", message);
            }
            *known = message;
        }
    }

    fn pause(&mut self, is_paused: bool, replicas: Option<i32>) {
        let was_paused = self.status.is("Paused", "True");
        self.status.put("pausedReplicaCount", replicas.map_or(Value::Null, Value::from));
        if is_paused {
            if !was_paused {
                self.event("Normal", "ScaledObjectPaused", PAUSED);
            }
            self.status.set("Paused", "True", "ScaledObjectPaused", PAUSED);
        } else if was_paused {
            let message = "pause annotation removed for ScaledObject";
            self.event("Normal", "ScaledObjectUnpaused", message);
            self.status.set("Paused", "False", "ScaledObjectUnpaused", message);
        }
    }
}

fn is_active(answer: &Answer) -> bool {
    matches!(answer, Answer::Measured { active: true, .. } | Answer::Fallback { .. })
}

/// The metrics of active triggers.
fn active<'a>(definition: &'a Definition, decision: &Decision) -> Vec<&'a str> {
    let answers = decision.explanation.triggers.iter();
    let named = definition.metrics.iter().zip(answers).filter(|(_, (_, answer))| is_active(answer));
    named.filter_map(|(metric, _)| metric.as_deref()).collect()
}

fn event(
    key: &ObjectKey,
    object: &ScaledObject,
    severity: &'static str,
    reason: &str,
    message: &str,
) -> Effect {
    Effect::Event {
        api_version: "keda.sh/v1alpha1",
        kind: "ScaledObject",
        key: key.clone(),
        uid: object.uid().unwrap_or_default(),
        severity,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

/// The finalizer and the label that the object must have.
fn adopt(key: &ObjectKey, object: &ScaledObject) -> Option<Effect> {
    let mut metadata = json!({});
    if !object.finalizers().iter().any(|name| name == FINALIZER) {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(FINALIZER.to_owned());
        metadata["finalizers"] = json!(finalizers);
    }
    if object.labels().get(NAME_LABEL) != Some(&key.name) {
        metadata["labels"] = json!({NAME_LABEL: key.name});
    }
    if metadata == json!({}) {
        return None;
    }
    let patch = json!({"metadata": metadata});
    Some(Effect::Patch { kind: Kind::ScaledObject, key: key.clone(), patch, status: false })
}

/// The object is going: its target gets back what it had, if that was asked for.
fn finalize(key: &ObjectKey, object: &ScaledObject) -> Effects {
    if !object.finalizers().iter().any(|name| name == FINALIZER) {
        return Effects::new();
    }
    let mut effects = Effects::new();
    let status = object.status.as_ref().map_or(Value::Null, |status| json!(status));
    let restores = object
        .spec
        .advanced
        .as_ref()
        .is_some_and(|advanced| advanced["restoreToOriginalReplicaCount"].as_bool().unwrap_or(false));
    let parts = &status["scaleTargetGVKR"];
    let text = |field: &str| parts[field].as_str().unwrap_or_default();
    let replicas = status["originalReplicaCount"].as_i64().and_then(|count| i32::try_from(count).ok());
    if let (true, true, Some(replicas)) = (restores, parts.is_object(), replicas) {
        let api_version = match text("group") {
            "" => text("version").to_owned(),
            group => format!("{group}/{}", text("version")),
        };
        let name = &object.spec.scale_target_ref.name;
        let path = sources::path(&api_version, &key.namespace, text("resource"), name);
        effects.push(Effect::Scale { path: format!("{path}/scale"), replicas });
    }
    let rest: Vec<&String> = object.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": rest}});
    effects.push(Effect::Patch { kind: Kind::ScaledObject, key: key.clone(), patch, status: false });
    effects.push(event(key, object, "Warning", "ScaledObjectDeleted", "ScaledObject was deleted"));
    effects
}

/// What makes a loop begin anew: the object itself, its spec and annotations, and where its secrets come from.
fn stamp(world: &World, object: &ScaledObject) -> String {
    let namespace = object.namespace().unwrap_or_default();
    let references = object.spec.triggers.iter().filter_map(|trigger| trigger.authentication_ref.as_ref());
    let versions: Vec<Option<String>> = references
        .map(|reference| match reference.kind.as_deref() {
            Some("ClusterTriggerAuthentication") => {
                let key = ObjectKey::new("", reference.name.clone());
                world.cluster_trigger_authentications.get(&key).and_then(|found| found.resource_version())
            }
            _ => {
                let key = ObjectKey::new(namespace.clone(), reference.name.clone());
                world.trigger_authentications.get(&key).and_then(|found| found.resource_version())
            }
        })
        .collect();
    let (uid, annotations) = (object.uid(), object.annotations());
    json!([uid, object.metadata.generation, annotations, object.labels(), versions]).to_string()
}

/// An instant of a status, nanoseconds since the Unix epoch; 0 for none.
fn unix_ns(text: &str) -> u64 {
    let instant = text.parse::<jiff::Timestamp>().map_or(0, |instant| instant.as_nanosecond());
    u64::try_from(instant).unwrap_or(0)
}
