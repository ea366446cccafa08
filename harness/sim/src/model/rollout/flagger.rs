//! Flagger: a Canary with the Deployment (or Knative Service) that it watches.
//!
//! In Standard mode there are two Deployments: the target, which holds the newest template and is at zero between
//! releases, and the primary, which serves. In Knative mode there are revisions: the newest one is the canary, the
//! one that was promoted last the primary. What was there before the run has been initialised long ago.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::rollout::flagger::checks::Sample;
use windtunnel_kernel::rollout::flagger::spec::DeploymentStrategy;
use windtunnel_kernel::rollout::flagger::{
    Canary, CanarySpec, Decision, Effect, HookAnswer, Observation, Options, Phase, PromotionFailure, Routes,
    Severity, Workload,
};
use windtunnel_scenario::{FlaggerVersion, Verb};

use super::super::control::Why;
use super::super::{Event as Any, World};
use super::standard::Shares;
use super::{Backend, Delivery, Rollout};
use crate::engine::Schedule;
use crate::plan::{DeliveryPlan, DeploymentPlan, FlaggerPlan, HookPlan, ScalerPlan, Side};

/// A Canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Flagger {
    canary: Canary,
    /// When it looks next, nanoseconds since the Unix epoch; 0 before it was applied.
    pub(super) due_ns: u64,
    /// The Deployments.
    pair: Option<Pair>,
    /// The Knative revision that was promoted last.
    revision: Option<u16>,
    /// What webhooks that ask a gate are told.
    gate_is_open: bool,
    rollback_is_open: bool,
    /// What somebody has said of `spec.suspend`, instead of the manifest.
    suspended: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pair {
    target: Member,
    primary: Member,
    /// The version of the service that the primary's template is of.
    promoted: usize,
    /// Whether the target's autoscaler may do its work.
    is_scaled_up: bool,
}

/// A Deployment of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    deployment: u16,
    /// Since when too few of its pods are available.
    short_since_ns: Option<u64>,
}

impl Flagger {
    pub(super) fn new(plan: &FlaggerPlan) -> Self {
        let canary = Canary::new(&plan.name, &plan.namespace, plan.spec.clone(), Options::default());
        Self {
            canary,
            due_ns: 0,
            pair: None,
            revision: None,
            gate_is_open: false,
            rollback_is_open: false,
            suspended: None,
        }
    }

    pub(super) fn reconfigure(&mut self, plan: &FlaggerPlan, options: Options) {
        self.canary.set_options(options);
        let mut spec = plan.spec.clone();
        spec.suspend = self.suspended.unwrap_or(spec.suspend);
        if *self.canary.spec() != spec {
            self.canary.reconfigure(spec);
        }
    }

    pub(super) fn command(&mut self, verb: Verb) {
        match verb {
            Verb::OpenGate => self.gate_is_open = true,
            Verb::CloseGate => self.gate_is_open = false,
            Verb::OpenRollback => self.rollback_is_open = true,
            Verb::CloseRollback => self.rollback_is_open = false,
            Verb::Pause | Verb::Resume => {
                let suspend = verb == Verb::Pause;
                self.suspended = Some(suspend);
                self.canary.reconfigure(CanarySpec { suspend, ..self.canary.spec().clone() });
            }
            // A Rollout's; the plan has refused them.
            Verb::Promote | Verb::PromoteFull | Verb::Abort | Verb::Retry => {}
        }
    }

    /// What a webhook says now.
    fn answer(&self, hook: &HookPlan) -> HookAnswer {
        let is_open = match hook {
            HookPlan::Says(answer) => return answer.clone(),
            HookPlan::Gate => self.gate_is_open,
            HookPlan::Rollback => self.rollback_is_open,
        };
        HookAnswer::Status(if is_open { 200 } else { 403 })
    }

    /// Whether a version is on its way.
    fn is_busy(&self) -> bool {
        matches!(
            self.canary.status().phase,
            Phase::Progressing
                | Phase::Waiting
                | Phase::WaitingPromotion
                | Phase::Promoting
                | Phase::Finalising
        )
    }
}

impl World<'_> {
    fn flagger(&mut self, index: usize) -> Option<&mut Flagger> {
        match &mut self.state.services[index].delivery {
            Some(Delivery::Flagger(flagger)) => Some(flagger),
            _ => None,
        }
    }

    fn flagger_plan(&self, index: usize) -> Option<&FlaggerPlan> {
        match &self.plan.services[index].delivery {
            Some(DeliveryPlan::Flagger(plan)) => Some(plan),
            _ => None,
        }
    }

    /// KServe applies a service in Standard mode: the target gets its template, which Flagger will see at its next
    /// tick.
    pub(super) fn apply_flagger(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let Some(pair) = self.flagger(index).map(|flagger| flagger.pair) else { return };
        if pair.is_some() {
            self.apply_pair(now_ns, index, schedule);
            return;
        }
        let version = self.state.services[index].version;
        let Some(stable) = self.standard_of(index, version) else { return };
        let primary = self.apply_deployment(now_ns, index, &self.primary_plan(index, &stable), schedule);
        let empty = DeploymentPlan { replicas: Some(0), scaler: ScalerPlan::Fixed, ..stable };
        let target = self.apply_deployment(now_ns, index, &empty, schedule);
        let side = |deployment| Member { deployment, short_since_ns: None };
        let pair =
            Pair { target: side(target), primary: side(primary), promoted: version, is_scaled_up: false };
        if let Some(flagger) = self.flagger(index) {
            flagger.pair = Some(pair);
        }
        self.set_shares(now_ns, index, Shares { everyone: vec![(primary, 100)], ..Shares::default() });
        self.start_flagger(now_ns, index, Some(Workload::ready(1)), schedule);
    }

    /// The first look of a controller that has been there for long: the primary is ready, the target empty.
    fn start_flagger(
        &mut self,
        now_ns: u64,
        index: usize,
        primary: Option<Workload>,
        schedule: &mut Schedule<Any>,
    ) {
        let options = self.flagger_options();
        let template = self.template_of(index);
        let Some(plan) = self.flagger_plan(index) else { return };
        let canary = Canary::new(&plan.name, &plan.namespace, plan.spec.clone(), options);
        let (name, interval_ns) = (plan.name.clone(), plan.spec.interval_ns());
        let phase = self.plan.environment.control.phases.canary;
        let due_ns = self.next_cycle(now_ns, phase, interval_ns, &format!("canary/{name}"));
        let Some(flagger) = self.flagger(index) else { return };
        flagger.canary = canary;
        flagger.due_ns = due_ns;
        let seen =
            Observation { now_ns, template, primary, canary: Workload::ready(0), ..Observation::default() };
        flagger.canary.step(&seen);
        self.wake_delivery(due_ns, index, schedule);
    }

    /// Whose rules it follows.
    pub(super) fn flagger_options(&self) -> Options {
        let promotion_failure = match self.plan.environment.control.flagger.version {
            FlaggerVersion::V1_0 => PromotionFailure::RollsBack,
            FlaggerVersion::V1_44 => PromotionFailure::KeepsCanary,
        };
        Options { promotion_failure, ..Options::of(self.kernel_profile()) }
    }

    /// The stable Deployment of a version.
    fn standard_of(&self, index: usize, version: usize) -> Option<DeploymentPlan> {
        let version = self.plan.services[index].versions.get(version)?;
        Some(version.standard.as_ref()?.stable.clone())
    }

    /// The primary's Deployment: a copy of the target, with an autoscaler if the Canary names one.
    fn primary_plan(&self, index: usize, target: &DeploymentPlan) -> DeploymentPlan {
        let mut primary = target.clone();
        primary.revision.name = format!("{}-primary", target.name());
        let has_autoscaler = self.flagger_plan(index).is_some_and(|plan| plan.spec.autoscaler_ref.is_some());
        if !has_autoscaler {
            primary.replicas = Some(target.first_scale());
            primary.scaler = ScalerPlan::Fixed;
        }
        primary
    }

    /// Both Deployments are brought to what they should be; only Flagger changes how many pods they have.
    fn apply_pair(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let Some(pair) = self.flagger(index).and_then(|flagger| flagger.pair) else { return };
        let version = self.state.services[index].version;
        if let Some(mut target) = self.standard_of(index, version) {
            target.replicas = None;
            if !pair.is_scaled_up {
                target.scaler = ScalerPlan::Fixed;
            }
            self.apply_deployment(now_ns, index, &target, schedule);
        }
        if let Some(target) = self.standard_of(index, pair.promoted) {
            let primary = DeploymentPlan { replicas: None, ..self.primary_plan(index, &target) };
            self.apply_deployment(now_ns, index, &primary, schedule);
        }
    }

    /// The target's template as Flagger tells it from others.
    fn template_of(&self, index: usize) -> String {
        match &self.state.services[index].rollout {
            Rollout::Standard(_) => match &self.state.services[index].delivery {
                Some(Delivery::Flagger(flagger)) => flagger.pair.map_or(String::new(), |pair| {
                    let target = &self.state.deployments[usize::from(pair.target.deployment)];
                    format!("{:016x}", target.hash())
                }),
                _ => String::new(),
            },
            Rollout::Knative(knative) => knative.newest().map_or(String::new(), |(name, ..)| name.to_owned()),
        }
    }

    /// A Deployment as Flagger sees it.
    fn deployment_as_workload(&self, now_ns: u64, side: Member) -> Workload {
        let deployment = &self.state.deployments[usize::from(side.deployment)];
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let pods = |workload: u16| self.state.workloads[usize::from(workload)].pods.len();
        let sets = self.sets_of(now_ns, side.deployment);
        let available: u32 = sets.iter().map(|(.., available)| available).sum();
        let reason =
            if deployment.is_overdue() { "ProgressDeadlineExceeded" } else { "NewReplicaSetAvailable" };
        Workload {
            spec_replicas: i32::try_from(deployment.replicas()).ok(),
            replicas: count(deployment.workloads().map(pods).sum()),
            updated: count(pods(deployment.newest())),
            available: i32::try_from(available).unwrap_or(i32::MAX),
            progressing_reason: Some(reason.to_owned()),
            unavailable_since_ns: side.short_since_ns,
            ..Workload::default()
        }
    }

    /// Pods came or went: traffic goes to those that are ready, and it is noted since when there are too few.
    pub(super) fn flagger_sees_pods(&mut self, now_ns: u64, index: usize) {
        self.split_over_pods(index);
        let Some(mut pair) = self.flagger(index).and_then(|flagger| flagger.pair) else { return };
        for side in [&mut pair.target, &mut pair.primary] {
            let deployment = &self.state.deployments[usize::from(side.deployment)];
            let least = deployment.replicas().saturating_sub(deployment.most_unavailable());
            let available: u32 =
                self.sets_of(now_ns, side.deployment).iter().map(|(.., available)| available).sum();
            side.short_since_ns = (available < least).then(|| side.short_since_ns.unwrap_or(now_ns));
        }
        if let Some(flagger) = self.flagger(index) {
            flagger.pair = Some(pair);
        }
    }

    /// An analysis interval has passed.
    pub(super) fn flagger_tick(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        if self.flagger(index).is_some_and(|flagger| flagger.pair.is_some()) {
            self.flagger_sees_pods(now_ns, index);
        }
        if self.api_is_out(now_ns) {
            // Nothing can be seen or changed; the next tick may.
            let Some(flagger) = self.flagger(index) else { return };
            flagger.due_ns = now_ns.saturating_add(flagger.canary.spec().interval_ns().max(1));
            let due_ns = flagger.due_ns;
            return self.wake_delivery(due_ns, index, schedule);
        }
        let seen = self.flagger_observation(now_ns, index);
        let Some(flagger) = self.flagger(index) else { return };
        let decision = flagger.canary.step(&seen);
        flagger.due_ns = now_ns.saturating_add(decision.requeue_after_ns.max(1));
        let due_ns = flagger.due_ns;
        self.wake_delivery(due_ns, index, schedule);
        self.write_down(now_ns, index, &decision);
        for effect in &decision.effects {
            self.flagger_effect(now_ns, index, effect, &decision, schedule);
        }
    }

    fn flagger_observation(&self, now_ns: u64, index: usize) -> Observation {
        let template = self.template_of(index);
        let mut seen = Observation { now_ns, template, ..Observation::default() };
        let Some(Delivery::Flagger(flagger)) = &self.state.services[index].delivery else { return seen };
        let Some(plan) = self.flagger_plan(index) else { return seen };
        let (mut canary, mut primary) = (Vec::new(), Vec::new());
        match (&self.state.services[index].rollout, flagger.pair) {
            (Rollout::Standard(_), Some(pair)) => {
                seen.primary = Some(self.deployment_as_workload(now_ns, pair.primary));
                seen.canary = self.deployment_as_workload(now_ns, pair.target);
                let of = |side: Member| self.state.deployments[usize::from(side.deployment)].workloads();
                canary.extend(of(pair.target));
                primary.extend(of(pair.primary));
            }
            (Rollout::Knative(knative), _) => {
                let revision = |is_ready: bool| Workload {
                    updated: i32::from(is_ready),
                    replicas: 1,
                    ..Workload::default()
                };
                let newest = knative.newest();
                seen.primary = Some(revision(true));
                seen.canary = revision(newest.is_some_and(|(.., is_ready)| is_ready));
                canary.extend(newest.map(|(_, workload, _)| workload));
                primary.extend(flagger.revision);
            }
            (Rollout::Standard(_), None) => {}
        }
        let version = self.state.services[index].version;
        seen.autoscaler_min = self.standard_of(index, version).and_then(|plan| match plan.scaler {
            ScalerPlan::Fixed => None,
            ScalerPlan::Hpa(spec) => Some(spec.minimum()),
            ScalerPlan::Keda(keda) => Some(keda.spec.minimum()),
        });
        seen.hooks = plan.hooks.iter().map(|(name, hook)| (name.clone(), flagger.answer(hook))).collect();
        let is_out = self.metrics_are_out(now_ns);
        for (name, measure) in &plan.measures {
            let sides = |side| if side == Side::Canary { canary.clone() } else { primary.clone() };
            let analysis = self.state.analysis.as_ref();
            let value = analysis.and_then(|analysis| analysis.answer(now_ns, measure, sides));
            let sample = if is_out {
                Sample::Failed("the metrics are out".to_owned())
            } else {
                value.map_or(Sample::NoValues, Sample::Number)
            };
            seen.metrics.insert(name.clone(), sample);
        }
        seen
    }

    fn write_down(&mut self, now_ns: u64, index: usize, decision: &Decision) {
        let Some(plan) = self.flagger_plan(index) else { return };
        let name = plan.name.clone();
        for event in &decision.events {
            let level = if event.severity == Severity::Warning { "warning: " } else { "" };
            self.note(now_ns, "canary", &name, &format!("{level}{}", event.message));
        }
        let explanation = &decision.explanation;
        if explanation.phase_before != decision.phase {
            let text = format!("{} -> {}", explanation.phase_before, decision.phase);
            self.note(now_ns, "canary", &name, &text);
        }
        if !matches!(explanation.rule.as_str(), "nothing new" | "suspended") {
            let weights = (i64::from(explanation.routes_before.canary), i64::from(decision.routes.canary));
            let value = serde_json::to_value(explanation).unwrap_or_default();
            self.record_delivery(now_ns, ("flagger", &name), weights, (explanation.to_string(), value));
        }
    }

    fn flagger_effect(
        &mut self,
        now_ns: u64,
        index: usize,
        effect: &Effect,
        decision: &Decision,
        schedule: &mut Schedule<Any>,
    ) {
        let is_knative = matches!(self.state.services[index].rollout, Rollout::Knative(_));
        if is_knative {
            if let Effect::Promote { .. } = effect {
                let newest = self.newest_revision(index);
                if let Some(flagger) = self.flagger(index) {
                    flagger.revision = newest;
                }
            }
            if let Effect::Promote { .. } | Effect::Route(_) = effect {
                self.reconcile_knative(now_ns, index, schedule);
            }
            return;
        }
        let Some(mut pair) = self.flagger(index).and_then(|flagger| flagger.pair) else { return };
        let why = || Why::Rollout("flagger", decision.explanation.to_string());
        let number = |replicas: i32| u32::try_from(replicas).unwrap_or(0);
        match effect {
            Effect::ScaleCanary { replicas } => {
                pair.is_scaled_up = *replicas > 0;
                self.set_pair(index, pair);
                self.apply_pair(now_ns, index, schedule);
                self.resize(now_ns, pair.target.deployment, number(*replicas), &why(), schedule);
                self.flagger_sees_pods(now_ns, index);
            }
            Effect::Promote { replicas } => {
                pair.promoted = self.state.services[index].version;
                self.set_pair(index, pair);
                self.apply_pair(now_ns, index, schedule);
                if let Some(replicas) = replicas {
                    self.resize(now_ns, pair.primary.deployment, number(*replicas), &why(), schedule);
                }
                self.flagger_sees_pods(now_ns, index);
            }
            Effect::Route(routes) => {
                let percent = number(routes.canary).min(100);
                let (primary, target) = (pair.primary.deployment, pair.target.deployment);
                let mut split = vec![(primary, 100 - percent), (target, percent)];
                split.retain(|(_, percent)| *percent > 0);
                let is_test = decision.explanation.strategy == DeploymentStrategy::AbTesting;
                let mirror_percent = self.flagger_plan(index).map_or(0, |plan| plan.mirror_percent);
                let shares = if is_test && percent > 0 {
                    // Only the route of requests that match has weights; all others go to the primary.
                    Shares { everyone: vec![(primary, 100)], matching: split, mirror: None }
                } else {
                    let mirror = routes.mirrored.then_some((target, mirror_percent));
                    Shares { everyone: split, matching: Vec::new(), mirror }
                };
                self.set_shares(now_ns, index, shares);
            }
            // The primary is there from the beginning, and its autoscaler is the target's; the target's works while
            // the target is scaled up.
            Effect::CreatePrimary { .. }
            | Effect::PauseAutoscaler
            | Effect::ResumeAutoscaler
            | Effect::SyncPrimaryAutoscaler => {}
        }
    }

    fn set_pair(&mut self, index: usize, pair: Pair) {
        if let Some(flagger) = self.flagger(index) {
            flagger.pair = Some(pair);
        }
    }

    fn newest_revision(&self, index: usize) -> Option<u16> {
        match &self.state.services[index].rollout {
            Rollout::Knative(knative) => knative.newest().map(|(_, workload, _)| workload),
            Rollout::Standard(_) => None,
        }
    }

    /// The traffic of a service in Knative mode, which KServe would send to the newest ready revision: as the Canary
    /// has it.
    pub(super) fn flagger_backends(
        &mut self,
        now_ns: u64,
        index: usize,
        backends: Vec<Backend>,
        schedule: &mut Schedule<Any>,
    ) -> Vec<Backend> {
        let newest = self.newest_revision(index);
        let Some(flagger) = self.flagger(index) else { return backends };
        let Some(primary) = flagger.revision else {
            // The first revision serves; the controller has been there for long.
            if let Some(first) = backends.first().map(|backend| backend.workload) {
                flagger.revision = Some(first);
                self.start_flagger(now_ns, index, None, schedule);
            }
            return backends;
        };
        let Routes { canary, .. } = flagger.canary.routes();
        let canary = u32::try_from(canary).unwrap_or(0).min(100);
        let is_busy = flagger.is_busy();
        match newest.filter(|newest| *newest != primary && (is_busy || canary > 0)) {
            Some(newest) => vec![Backend::of(newest, canary), Backend::of(primary, 100 - canary)],
            None => vec![Backend::of(primary, 100)],
        }
    }
}
