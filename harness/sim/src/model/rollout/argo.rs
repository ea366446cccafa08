//! Argo Rollouts: a Rollout in the place of a Deployment, with its analyses.
//!
//! Its ReplicaSets are those of the Deployment that it is bound to; it gives them their sizes. With a traffic router
//! its weights are what the gateway splits by, without one each ready pod gets the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::rollout::argo::analysis::{self, Measured, Run};
use windtunnel_kernel::rollout::argo::decision::{RunKind, RunReport};
use windtunnel_kernel::rollout::argo::status::{Destination, TrafficWeights};
use windtunnel_kernel::rollout::argo::{
    Decision, Effect, Observation, ReplicaSet, Rollout as Kernel, RolloutPhase,
};
use windtunnel_kernel::rollout::value::Value;
use windtunnel_scenario::Verb;

use super::super::{Event as Any, World};
use super::standard::Shares;
use super::{Backend, Delivery};
use crate::engine::{Schedule, Violation};
use crate::error::SimError;
use crate::plan::{ArgoPlan, DeliveryPlan, DeploymentPlan, ScalerPlan, Side};

/// Reconciles in a row after which a Rollout must have settled.
const MOST_STEPS: u32 = 10_000;

/// A Rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Argo {
    rollout: Kernel,
    /// When it looks next, nanoseconds since the Unix epoch.
    pub(super) due_ns: Option<u64>,
    /// The Deployment whose ReplicaSets it sizes.
    deployment: Option<u16>,
    runs: Vec<ActiveRun>,
    /// What somebody has said of `spec.paused`, instead of the manifest.
    paused: Option<bool>,
}

/// An analysis that is on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ActiveRun {
    id: u64,
    kind: RunKind,
    run: Run,
    /// When it has to be looked at, nanoseconds since the Unix epoch; `None` = not by itself.
    due_ns: Option<u64>,
}

impl Argo {
    pub(super) fn new(plan: &ArgoPlan) -> Self {
        let rollout = Kernel::new(plan.spec.clone());
        Self { rollout, due_ns: None, deployment: None, runs: Vec::new(), paused: None }
    }

    pub(super) fn reconfigure(&mut self, plan: &ArgoPlan) {
        let mut spec = plan.spec.clone();
        spec.paused = self.paused.unwrap_or(spec.paused);
        if *self.rollout.spec() != spec {
            self.rollout.reconfigure(spec);
        }
    }

    fn command(&mut self, verb: Verb) {
        match verb {
            Verb::Promote => self.rollout.promote(),
            Verb::PromoteFull => self.rollout.promote_full(),
            Verb::Abort => self.rollout.abort(),
            Verb::Retry => self.rollout.retry(),
            Verb::Pause => self.rollout.pause(),
            Verb::Resume => self.rollout.resume(),
            // A Canary's; the plan has refused them.
            Verb::OpenGate | Verb::CloseGate | Verb::OpenRollback | Verb::CloseRollback => return,
        }
        if !matches!(verb, Verb::Abort | Verb::Retry) {
            self.paused = Some(self.rollout.spec().paused);
        }
    }
}

/// How a rollout calls a template.
fn text_of(hash: u64) -> String {
    format!("{hash:016x}")
}

impl World<'_> {
    fn argo(&mut self, index: usize) -> Option<&mut Argo> {
        match &mut self.state.services[index].delivery {
            Some(Delivery::Argo(argo)) => Some(argo),
            _ => None,
        }
    }

    fn argo_plan(&self, index: usize) -> Option<&ArgoPlan> {
        match &self.plan.services[index].delivery {
            Some(DeliveryPlan::Argo(plan)) => Some(plan),
            _ => None,
        }
    }

    /// The Deployment as the manifest has it now, without an autoscaler: the Rollout has the replicas.
    fn argo_deployment(&self, index: usize) -> Option<DeploymentPlan> {
        let version = &self.plan.services[index].versions[self.state.services[index].version];
        let stable = version.standard.as_ref()?.stable.clone();
        Some(DeploymentPlan { replicas: Some(0), scaler: ScalerPlan::Fixed, ..stable })
    }

    /// KServe applies a service: the Rollout sees another template, maybe.
    pub(super) fn apply_argo(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let Some(plan) = self.argo_deployment(index) else { return };
        let deployment = self.apply_deployment(now_ns, index, &plan, schedule);
        self.state.deployments[usize::from(deployment)].hand_over();
        if let Some(argo) = self.argo(index) {
            argo.deployment = Some(deployment);
        }
        self.argo_looks(now_ns, index, now_ns, schedule);
        self.argo_traffic(now_ns, index, schedule);
    }

    /// Somebody tells it what to do: it looks at once.
    pub(super) fn command_argo(
        &mut self,
        now_ns: u64,
        index: usize,
        verb: Verb,
        schedule: &mut Schedule<Any>,
    ) {
        if let Some(argo) = self.argo(index) {
            argo.command(verb);
        }
        self.argo_looks(now_ns, index, now_ns, schedule);
    }

    /// Pods came or went: it looks at once.
    pub(super) fn argo_sees_pods(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        self.argo_looks(now_ns, index, now_ns, schedule);
        self.argo_traffic(now_ns, index, schedule);
    }

    /// It looks at an instant, unless it does so earlier.
    fn argo_looks(&mut self, now_ns: u64, index: usize, at_ns: u64, schedule: &mut Schedule<Any>) {
        let Some(argo) = self.argo(index) else { return };
        if argo.due_ns.is_none_or(|due_ns| due_ns > at_ns || due_ns < now_ns) {
            argo.due_ns = Some(at_ns);
            self.wake_delivery(at_ns, index, schedule);
        }
    }

    /// Analyses measure what is due, then the Rollout is reconciled until it rests.
    pub(super) fn argo_tick(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        if let Some(argo) = self.argo(index) {
            argo.due_ns = None;
        }
        let back_ns = self.api_back_ns(now_ns);
        if back_ns > now_ns {
            return self.argo_looks(now_ns, index, back_ns, schedule);
        }
        for _ in 0..MOST_STEPS {
            let reports = self.run_analyses(now_ns, index);
            let seen = self.argo_observation(now_ns, index, reports);
            let Some(argo) = self.argo(index) else { return };
            let status = argo.rollout.status();
            let before = Before { phase: status.phase, weight: weight_of(status.weights.as_ref()) };
            let decision = argo.rollout.step(&seen);
            self.argo_decided(now_ns, index, &before, &decision, schedule);
            let is_later = |run: &ActiveRun| run.due_ns.is_none_or(|due_ns| due_ns > now_ns);
            let is_measured = self.argo(index).is_none_or(|argo| argo.runs.iter().all(is_later));
            if decision.requeue_after_ns != Some(0) && is_measured {
                let Some(argo) = self.argo(index) else { return };
                let own_ns = decision.requeue_after_ns.map(|after_ns| now_ns.saturating_add(after_ns));
                let next_ns = argo.runs.iter().filter_map(|run| run.due_ns).chain(own_ns).min();
                if let Some(next_ns) = next_ns {
                    self.argo_looks(now_ns, index, next_ns.max(now_ns + 1), schedule);
                }
                return self.argo_traffic(now_ns, index, schedule);
            }
        }
        let detail = format!("the Rollout of {}", self.plan.services[index].name);
        self.fault = Some(SimError::Violation(Violation { now_ns, law: "a rollout comes to rest", detail }));
    }

    fn argo_observation(&self, now_ns: u64, index: usize, runs: Vec<RunReport>) -> Observation {
        let mut seen = Observation { now_ns, runs, ..Observation::default() };
        let Some(Delivery::Argo(argo)) = &self.state.services[index].delivery else { return seen };
        let Some(deployment) = argo.deployment else { return seen };
        seen.template_hash = text_of(self.state.deployments[usize::from(deployment)].hash());
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let set = |(revision, (hash, workload, available)): (i64, (u64, u16, u32))| {
            let workload = &self.state.workloads[usize::from(workload)];
            ReplicaSet {
                hash: text_of(hash),
                created_ns: workload.created_ns,
                revision,
                spec_replicas: i32::try_from(workload.wanted).unwrap_or(i32::MAX),
                replicas: count(workload.pods.len()),
                ready: count(workload.endpoints.len()),
                available: i32::try_from(available).unwrap_or(i32::MAX),
            }
        };
        seen.replica_sets = (1..).zip(self.sets_of(now_ns, deployment)).map(set).collect();
        seen.weight_verified = Some(true);
        seen
    }

    /// Takes the measurements that are due; how the analyses stand then.
    fn run_analyses(&mut self, now_ns: u64, index: usize) -> Vec<RunReport> {
        let Some(argo) = self.argo(index) else { return Vec::new() };
        let mut runs = std::mem::take(&mut argo.runs);
        let mut reports = Vec::with_capacity(runs.len());
        for active in &mut runs {
            if active.due_ns.is_some_and(|due_ns| due_ns <= now_ns) {
                self.run_analysis(now_ns, index, active);
            }
            reports.push(RunReport {
                id: active.id,
                phase: active.run.phase(),
                message: active.run.message().to_owned(),
            });
        }
        // What has come to its end is told once.
        runs.retain(|active| !active.run.phase().is_completed());
        if let Some(argo) = self.argo(index) {
            argo.runs = runs;
        }
        reports
    }

    fn run_analysis(&mut self, now_ns: u64, index: usize, active: &mut ActiveRun) {
        // What a measurement makes due is looked at in the same turn.
        for _ in 0..MOST_STEPS {
            let measured = self.measured(now_ns, index, active);
            let is_measured = !measured.is_empty();
            let before = active.run.phase();
            let decision = active.run.step(now_ns, &measured);
            if is_measured || before != decision.phase {
                self.analysis_decided(now_ns, index, active, &decision, before);
            }
            active.due_ns = decision.requeue_after_ns.map(|after_ns| now_ns.saturating_add(after_ns));
            if decision.due.is_empty() && active.due_ns.is_none_or(|due_ns| due_ns > now_ns) {
                return;
            }
        }
    }

    /// A measurement of each metric that is due: a vector of one number as a Prometheus returns it, or an empty one.
    fn measured(&self, now_ns: u64, index: usize, active: &ActiveRun) -> BTreeMap<String, Measured> {
        let plan = self.argo_plan(index).and_then(|plan| plan.analyses.get(&active.kind));
        let due = active.run.due(now_ns);
        let is_out = self.metrics_are_out(now_ns);
        due.into_keys()
            .map(|name| {
                let measure = plan.and_then(|plan| plan.measures.get(&name));
                let analysis = self.state.analysis.as_ref();
                let value = measure.zip(analysis).and_then(|(measure, analysis)| {
                    analysis.answer(now_ns, measure, |side| self.argo_side(index, side))
                });
                let numbers: Vec<f64> = value.into_iter().collect();
                let measured = if is_out {
                    Measured::Error("the metrics are out".to_owned())
                } else {
                    Measured::Result(Value::numbers(&numbers))
                };
                (name, measured)
            })
            .collect()
    }

    fn argo_side(&self, index: usize, side: Side) -> Vec<u16> {
        let Some(Delivery::Argo(argo)) = &self.state.services[index].delivery else { return Vec::new() };
        let Some(deployment) = argo.deployment else { return Vec::new() };
        let deployment = &self.state.deployments[usize::from(deployment)];
        let stable = &argo.rollout.status().stable_hash;
        match side {
            Side::Canary => vec![deployment.newest()],
            Side::Stable => u64::from_str_radix(stable, 16)
                .ok()
                .and_then(|hash| deployment.set_of(hash))
                .into_iter()
                .collect(),
        }
    }

    fn analysis_decided(
        &mut self,
        now_ns: u64,
        index: usize,
        active: &ActiveRun,
        decision: &analysis::Decision,
        before: analysis::Phase,
    ) {
        let Some(plan) = self.argo_plan(index) else { return };
        let target = format!("{}-analysis-{}", plan.name, active.id);
        let text = decision.explanation.to_string();
        let value = serde_json::to_value(&decision.explanation).unwrap_or_default();
        self.record_delivery(
            now_ns,
            ("argo", &target),
            (before as i64, decision.phase as i64),
            (text, value),
        );
        if decision.phase != before && decision.phase.is_completed() {
            let message =
                if decision.message.is_empty() { String::new() } else { format!(": {}", decision.message) };
            self.note(now_ns, "analysis", &target, &format!("{}{message}", decision.phase));
        }
    }

    fn argo_decided(
        &mut self,
        now_ns: u64,
        index: usize,
        before: &Before,
        decision: &Decision,
        schedule: &mut Schedule<Any>,
    ) {
        let Some(plan) = self.argo_plan(index) else { return };
        let name = plan.name.clone();
        for event in &decision.events {
            self.note(now_ns, "rollout", &name, event);
        }
        if decision.phase != before.phase {
            let message =
                if decision.message.is_empty() { String::new() } else { format!(": {}", decision.message) };
            self.note(now_ns, "rollout", &name, &format!("{} -> {}{message}", before.phase, decision.phase));
        }
        let weight = weight_of(decision.weights.as_ref());
        let has_stepped = decision.explanation.step_before != decision.step;
        if has_stepped || weight != before.weight || !decision.effects.is_empty() {
            let value = serde_json::to_value(&decision.explanation).unwrap_or_default();
            let text = decision.explanation.to_string();
            self.record_delivery(now_ns, ("argo", &name), (before.weight, weight), (text, value));
        }
        for effect in &decision.effects {
            self.argo_effect(now_ns, index, effect, decision, schedule);
        }
    }

    fn argo_effect(
        &mut self,
        now_ns: u64,
        index: usize,
        effect: &Effect,
        decision: &Decision,
        schedule: &mut Schedule<Any>,
    ) {
        match effect {
            Effect::Scale { hash, from, to } => {
                let deployment = self.argo(index).and_then(|argo| argo.deployment);
                let set =
                    deployment.zip(u64::from_str_radix(hash, 16).ok()).and_then(|(deployment, hash)| {
                        self.state.deployments[usize::from(deployment)].set_of(hash)
                    });
                let Some(workload) = set else { return };
                let held = &mut self.state.workloads[usize::from(workload)];
                held.wanted = u32::try_from(*to).unwrap_or(0);
                let target = held.name.clone();
                let counts = (i64::from(*from), i64::from(*to));
                let value = serde_json::to_value(&decision.explanation).unwrap_or_default();
                self.record_delivery(
                    now_ns,
                    ("argo", &target),
                    counts,
                    (decision.explanation.to_string(), value),
                );
                self.scale_pods(now_ns, workload, schedule);
            }
            Effect::StartAnalysis { id, kind } => {
                let plan = self.argo_plan(index).and_then(|plan| plan.analyses.get(kind));
                let run = Run::new(plan.map(|plan| plan.spec.clone()).unwrap_or_default());
                let active = ActiveRun { id: *id, kind: *kind, run, due_ns: Some(now_ns) };
                if let Some(argo) = self.argo(index) {
                    argo.runs.push(active);
                }
            }
            Effect::TerminateAnalysis { id } => {
                let Some(argo) = self.argo(index) else { return };
                if let Some(active) = argo.runs.iter_mut().find(|active| active.id == *id) {
                    active.run.terminate();
                    active.due_ns = Some(now_ns);
                }
            }
            // The set of a template is there as soon as the template is; where requests go is read from the status;
            // what else there is, the plan has refused.
            Effect::CreateReplicaSet { .. }
            | Effect::SetWeights(_)
            | Effect::SwitchService { .. }
            | Effect::RemoveManagedRoutes
            | Effect::SetHeaderRoute(_)
            | Effect::SetMirrorRoute(_)
            | Effect::StartExperiment { .. }
            | Effect::TerminateExperiment { .. } => {}
        }
    }

    /// The gateway learns where requests go.
    fn argo_traffic(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let Some(Delivery::Argo(argo)) = &self.state.services[index].delivery else { return };
        let Some(deployment) = argo.deployment else { return };
        let held = &self.state.deployments[usize::from(deployment)];
        let set_of = |hash: &str| held.set_of(u64::from_str_radix(hash, 16).ok()?);
        let status = argo.rollout.status();
        let number = |weight: i32| u32::try_from(weight).unwrap_or(0);
        let backends = match (&status.weights, status.active_selector.as_str()) {
            (Some(weights), _) => {
                let sides = [&weights.canary, &weights.stable].into_iter().filter(|side| side.weight > 0);
                let all = sides.clone().map(|side| number(side.weight)).sum::<u32>().max(1);
                let backend = |side: &Destination| {
                    let percent = number(side.weight) * 100 / all;
                    let workload = set_of(&side.pod_template_hash)?;
                    Some(Backend { weight: number(side.weight), ..Backend::of(workload, percent) })
                };
                sides.filter_map(backend).collect()
            }
            (None, "") => Vec::new(),
            (None, active) => set_of(active).map(|workload| Backend::of(workload, 100)).into_iter().collect(),
        };
        if backends.is_empty() {
            // Nobody splits by weights: the Service leads to every ready pod.
            self.set_shares(now_ns, index, Shares { everyone: vec![(deployment, 100)], ..Shares::default() });
        } else {
            self.set_traffic(now_ns, index, backends, schedule);
        }
    }
}

/// What a rollout was before a reconcile.
struct Before {
    phase: RolloutPhase,
    weight: i64,
}

/// The canary's weight; 0 where no router has one.
fn weight_of(weights: Option<&TrafficWeights>) -> i64 {
    weights.map_or(0, |weights| i64::from(weights.canary.weight))
}
