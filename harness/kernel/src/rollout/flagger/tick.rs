//! One tick: what stands before the strategy. Upstream: `pkg/controller/scheduler.go`, `advanceCanary`.

use super::checks::{self, Failure, Sample};
use super::decision::{Decision, Effect, Event, Explanation, Observation, Outcome, Severity};
use super::hooks::{self, HookCall};
use super::machine::{Canary, Phase};
use super::options::PromotionFailure;
use super::spec::{Analysis, HookType, Webhook};
use super::weights::{Routes, max_weight, next_step};
use super::workload::{Readiness, TargetKind, Workload, daemon_set_readiness, deployment_readiness};

/// Iterations that the `kubernetes` provider forces.
const KUBERNETES_ITERATIONS: i32 = 10;

/// A tick under way.
pub(super) struct Tick<'a> {
    pub(super) canary: &'a mut Canary,
    pub(super) seen: &'a Observation,
    /// The analysis as it counts in this tick.
    pub(super) analysis: Analysis,
    /// The routes as this tick sees them.
    pub(super) routes: Routes,
    kind: TargetKind,
    effects: Vec<Effect>,
    events: Vec<Event>,
    calls: Vec<HookCall>,
    unanswered: Vec<String>,
    outcome: Option<Outcome>,
    rule: &'static str,
    note: String,
}

impl<'a> Tick<'a> {
    pub(super) fn new(canary: &'a mut Canary, seen: &'a Observation) -> Self {
        let analysis = canary.spec.analysis().cloned().unwrap_or_default();
        let kind = TargetKind::of(&canary.spec.target_ref);
        let mut tick = Self {
            routes: canary.routes,
            canary,
            seen,
            analysis,
            kind,
            effects: Vec::new(),
            events: Vec::new(),
            calls: Vec::new(),
            unanswered: Vec::new(),
            outcome: None,
            rule: "",
            note: String::new(),
        };
        if !tick.splits_traffic() {
            // Services cannot split: upstream tells the weights by the iterations.
            tick.routes = if tick.canary.status.iterations > 0 { Routes::CANARY } else { Routes::PRIMARY };
        }
        tick
    }

    pub(super) fn decide(mut self) -> Decision {
        let (phase_before, routes_before) = (self.canary.status.phase, self.canary.routes);
        self.run();
        let Canary { status, routes, spec, .. } = &*self.canary;
        Decision {
            phase: status.phase,
            routes: *routes,
            failed_checks: status.failed_checks,
            iterations: status.iterations,
            explanation: Explanation {
                phase_before,
                phase: status.phase,
                routes_before,
                routes: *routes,
                strategy: self.analysis.strategy(),
                failed_checks: status.failed_checks,
                threshold: self.analysis.failed_checks_allowed(),
                iterations: status.iterations,
                iterations_wanted: self.analysis.iterations,
                step: next_step(&self.analysis, routes_before.canary),
                max_weight: max_weight(&self.analysis),
                rule: self.rule.to_string(),
                note: self.note,
            },
            requeue_after_ns: spec.interval_ns(),
            effects: self.effects,
            events: self.events,
            hooks: self.calls,
            unanswered: self.unanswered,
            outcome: self.outcome,
        }
    }

    fn run(&mut self) {
        if self.canary.spec.suspend {
            self.info("skipping canary run as object is suspended".to_string());
            return self.because("suspended");
        }
        if !self.initialize() {
            return;
        }
        let changed = self.has_changed();
        if !self.should_advance(changed) {
            return self.because("nothing new");
        }
        if !self.primary_is_ready() || !self.has_started() {
            return;
        }
        if changed && matches!(self.phase(), Phase::Progressing | Phase::WaitingPromotion) {
            return self.restart();
        }
        if !self.canary_is_ready() {
            return;
        }
        if self.canary.spec.skips_analysis() {
            return self.promote_at_once();
        }
        if self.is_told_to_roll_back() {
            return;
        }
        match self.phase() {
            Phase::Promoting => return self.shift_back(),
            Phase::Finalising => return self.finish(),
            _ => {}
        }
        if self.canary.status.failed_checks >= self.analysis.failed_checks_allowed()
            && matches!(self.phase(), Phase::Progressing | Phase::WaitingPromotion)
        {
            self.because("failed checks threshold reached");
            return self.roll_back();
        }
        if self.checks_pass() {
            self.restrict_to_kubernetes();
            self.advance();
        }
    }

    /// Makes the primary and, the first time, empties the canary.
    fn initialize(&mut self) -> bool {
        let is_first = self.phase() == Phase::Initializing;
        let has_analysis = !self.canary.spec.skips_analysis();
        if self.seen.primary.is_none() && self.kind.is_scaled() {
            let replicas = self.seen.canary.spec_replicas.filter(|&replicas| replicas > 0).unwrap_or(1);
            self.effects.push(Effect::CreatePrimary { replicas });
        }
        if is_first && has_analysis && self.kind.is_scaled() {
            let readiness = self.primary_readiness();
            if let Readiness::Waiting(reason) | Readiness::Stuck(reason) = &readiness {
                self.warn(format!("{} not ready: {reason}", self.primary_name()));
                self.because_of("waiting for the primary", reason);
                if !readiness.is_retriable() {
                    self.because("primary is stuck");
                    self.roll_back();
                }
                return false;
            }
        }
        if !is_first {
            return true;
        }
        if self.canary.spec.autoscaler_ref.is_some() {
            self.effects.extend([Effect::SyncPrimaryAutoscaler, Effect::PauseAutoscaler]);
        }
        self.scale_to_zero();
        self.route(Routes::PRIMARY);
        self.sync_status(Phase::Initialized, 0);
        self.canary.status.last_promoted_spec.clone_from(&self.seen.template);
        self.info(format!("Initialization done! {}", self.canary_name()));
        true
    }

    /// Whether there is something to release: a template that is neither the one last analysed nor the one last
    /// promoted, or another configuration.
    fn has_changed(&self) -> bool {
        let status = &self.canary.status;
        let new_template = status.last_applied_spec.is_empty()
            || (status.last_promoted_spec != self.seen.template
                && status.last_applied_spec != self.seen.template);
        let tracks = matches!(self.kind, TargetKind::Deployment | TargetKind::DaemonSet);
        new_template || (tracks && status.tracked_configs != self.seen.configuration)
    }

    fn should_advance(&mut self, changed: bool) -> bool {
        match self.phase() {
            Phase::Progressing
            | Phase::Waiting
            | Phase::WaitingPromotion
            | Phase::Promoting
            | Phase::Finalising => true,
            Phase::Failed => {
                if !changed || self.canary.options.forgets_revision_of_failed {
                    self.note_revision();
                }
                changed
            }
            _ => changed,
        }
    }

    fn primary_is_ready(&mut self) -> bool {
        if self.canary.spec.skips_analysis() {
            return true;
        }
        let readiness = self.primary_readiness();
        let (Readiness::Waiting(reason) | Readiness::Stuck(reason)) = &readiness else {
            return true;
        };
        self.warn(format!("{} not ready: {reason}", self.primary_name()));
        if readiness.is_retriable() {
            self.because_of("waiting for the primary", reason);
        } else if matches!(self.phase(), Phase::Promoting | Phase::Finalising)
            && self.canary.options.promotion_failure == PromotionFailure::KeepsCanary
        {
            self.keep_canary(reason);
        } else {
            self.because_of("primary is stuck", reason);
            self.roll_back();
        }
        false
    }

    fn primary_readiness(&self) -> Readiness {
        if !self.kind.is_scaled() {
            return self.readiness_of(self.seen.primary.as_ref().unwrap_or(&Workload::default()), None);
        }
        let Some(primary) = &self.seen.primary else {
            return Readiness::Waiting("it was created only now".to_string());
        };
        let readiness = self.readiness_of(primary, self.analysis.primary_ready_threshold);
        if self.kind == TargetKind::Deployment
            && readiness.is_ready()
            && primary.spec_replicas == Some(0)
            && !self.canary.options.ignores_zero_primary
        {
            return Readiness::Stuck(format!(
                "halt {} advancement: primary deployment is scaled to zero",
                self.canary_name()
            ));
        }
        readiness
    }

    fn readiness_of(&self, workload: &Workload, threshold: Option<i32>) -> Readiness {
        let (deadline_s, threshold) = (self.canary.spec.progress_deadline_s(), threshold.unwrap_or(100));
        let now_ns = self.seen.now_ns;
        match self.kind {
            TargetKind::Deployment => deployment_readiness(workload, deadline_s, threshold, now_ns),
            TargetKind::DaemonSet => {
                let changed_ns = self.canary.status.last_transition_ns;
                daemon_set_readiness(workload, deadline_s, threshold, changed_ns, now_ns)
            }
            TargetKind::KnativeService if workload.updated < workload.replicas => {
                Readiness::Waiting("its revision is not ready".to_string())
            }
            TargetKind::Service | TargetKind::KnativeService => Readiness::Ready,
        }
    }

    /// Goes on with an analysis that has begun; begins one that is allowed to.
    fn has_started(&mut self) -> bool {
        if matches!(
            self.phase(),
            Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting | Phase::Finalising
        ) {
            return true;
        }
        for hook in self.hooks_of(HookType::ConfirmRollout) {
            if self.ask(&hook, self.phase()).is_err() {
                if self.phase() != Phase::Waiting {
                    self.set_phase(Phase::Waiting);
                    self.warn(format!(
                        "Halt {} advancement waiting for approval {}",
                        self.canary_name(),
                        hook.name
                    ));
                }
                self.because_of("waiting for approval", &hook.name);
                return false;
            }
            self.info(format!("Confirm-rollout check {} passed", hook.name));
        }
        self.info(format!("New revision detected! Scaling up {}", self.target_name()));
        if self.canary.spec.autoscaler_ref.is_some() {
            self.effects.push(Effect::ResumeAutoscaler);
        }
        if self.kind.is_scaled() {
            let replicas = self.replicas_from_zero();
            self.effects.push(Effect::ScaleCanary { replicas });
        }
        self.sync_status(Phase::Progressing, 0);
        self.because("new revision");
        false
    }

    /// The target's own number, else the autoscaler's least, else the primary's, else 1.
    fn replicas_from_zero(&self) -> i32 {
        let above = |replicas: Option<i32>, least: i32| replicas.filter(|&replicas| replicas > least);
        let other = if self.canary.spec.autoscaler_ref.is_some() {
            above(self.seen.autoscaler_min, 1)
        } else {
            above(self.seen.primary.as_ref().and_then(|primary| primary.spec_replicas), 0)
        };
        above(self.seen.canary.spec_replicas, 0).or(other).unwrap_or(1)
    }

    fn restart(&mut self) {
        self.info(format!("New revision detected! Restarting analysis for {}", self.target_name()));
        self.route(Routes::PRIMARY);
        self.sync_status(Phase::Progressing, 0);
        self.because("revision changed");
    }

    fn canary_is_ready(&mut self) -> bool {
        let readiness = self.readiness_of(&self.seen.canary, self.analysis.canary_ready_threshold);
        let (Readiness::Waiting(reason) | Readiness::Stuck(reason)) = &readiness else {
            return true;
        };
        self.warn(format!("canary {} not ready: {reason}", self.target_name()));
        if readiness.is_retriable() {
            self.because_of("waiting for the canary", reason);
        } else {
            self.because_of("canary is stuck", reason);
            self.roll_back();
        }
        false
    }

    fn is_told_to_roll_back(&mut self) -> bool {
        let phase = self.phase();
        if !matches!(phase, Phase::Progressing | Phase::Waiting | Phase::WaitingPromotion) {
            return false;
        }
        for hook in self.hooks_of(HookType::Rollback) {
            if self.ask(&hook, phase).is_ok() {
                self.warn(format!("Rollback check {} passed", hook.name));
                self.warn(format!("Rolling back {} manual webhook invoked", self.canary_name()));
                self.because_of("rollback webhook", &hook.name);
                self.roll_back();
                return true;
            }
            self.info(format!("Rollback hook {} not signaling a rollback", hook.name));
        }
        false
    }

    /// Runs the checks of this tick: pre-rollout webhooks as long as the canary sees no traffic, then rollout
    /// webhooks and metrics.
    fn checks_pass(&mut self) -> bool {
        let is_mirrored = self.analysis.mirror && self.routes.mirrored;
        let failed = if self.routes.canary == 0 && self.canary.status.iterations == 0 && !is_mirrored {
            self.info(format!("Starting canary analysis for {}", self.target_name()));
            self.hook_check_fails(HookType::PreRollout)
        } else {
            self.hook_check_fails(HookType::Rollout) || self.metric_check_fails()
        };
        if failed {
            let status = &mut self.canary.status;
            status.failed_checks = status.failed_checks.saturating_add(1);
            status.last_transition_ns = self.seen.now_ns;
            self.rule = "check failed";
        }
        !failed
    }

    fn hook_check_fails(&mut self, hook_type: HookType) -> bool {
        for hook in self.hooks_of(hook_type) {
            match (self.ask(&hook, Phase::Progressing), hook_type) {
                (Err(reason), _) => {
                    let kind = if hook_type == HookType::PreRollout { "pre-rollout" } else { "external" };
                    let message = format!("{kind} check {} failed {reason}", hook.name);
                    self.warn(format!("Halt {} advancement {message}", self.canary_name()));
                    self.note = message;
                    return true;
                }
                (Ok(()), HookType::PreRollout) => {
                    self.info(format!("Pre-rollout check {} passed", hook.name));
                }
                (Ok(()), _) => {}
            }
        }
        false
    }

    fn metric_check_fails(&mut self) -> bool {
        let (seen, unanswered) = (self.seen, &mut self.unanswered);
        let target = format!("{}.{}", self.canary.spec.target_ref.name, self.canary.namespace);
        let checked = checks::run(&self.analysis, &target, |metric| match seen.metrics.get(&metric.name) {
            Some(sample) => sample.clone(),
            None => {
                unanswered.push(metric.name.clone());
                Sample::NoValues
            }
        });
        let Err(failure) = checked else { return false };
        let (message, note) = match failure {
            Failure::Halt(text) => (format!("Halt {} advancement {text}", self.canary_name()), text),
            Failure::Plain(text) => (text.clone(), text),
        };
        self.warn(message);
        self.note = note;
        true
    }

    /// Services cannot split traffic: blue/green is all that there is.
    fn restrict_to_kubernetes(&mut self) {
        if self.splits_traffic() {
            return;
        }
        if !self.analysis.matches.is_empty() {
            self.warn("A/B testing is not supported when using the kubernetes provider".to_string());
            self.analysis.matches.clear();
        }
        if self.analysis.iterations < 1 {
            self.warn("Progressive traffic is not supported when using the kubernetes provider".to_string());
            self.warn(format!("Setting canaryAnalysis.iterations: {KUBERNETES_ITERATIONS}"));
            self.analysis.iterations = KUBERNETES_ITERATIONS;
        }
    }

    fn promote_at_once(&mut self) {
        self.route(Routes::PRIMARY);
        self.copy_to_primary();
        if self.canary.spec.autoscaler_ref.is_some() {
            self.effects.extend([Effect::SyncPrimaryAutoscaler, Effect::PauseAutoscaler]);
        }
        self.scale_to_zero();
        self.set_phase(Phase::Succeeded);
        self.end(true, true);
        self.post_rollout(Phase::Succeeded);
        self.info(format!("Promotion completed! Canary analysis was skipped for {}", self.target_name()));
        self.because("analysis skipped");
    }

    fn finish(&mut self) {
        if self.canary.spec.autoscaler_ref.is_some() {
            self.effects.push(Effect::PauseAutoscaler);
        }
        self.scale_to_zero();
        self.set_phase(Phase::Succeeded);
        self.end(true, false);
        self.post_rollout(Phase::Succeeded);
        self.info(format!("Promotion completed! Scaling down {}", self.target_name()));
        self.because("promotion completed");
    }

    /// Back to the primary.
    fn roll_back(&mut self) {
        let failed_checks = self.canary.status.failed_checks;
        if failed_checks >= self.analysis.failed_checks_allowed() {
            self.warn(format!(
                "Rolling back {} failed checks threshold reached {failed_checks}",
                self.canary_name()
            ));
        }
        self.route(Routes::PRIMARY);
        self.warn(format!("Canary failed! Scaling down {}", self.canary_name()));
        if self.canary.spec.autoscaler_ref.is_some() {
            self.effects.push(Effect::PauseAutoscaler);
        }
        self.scale_to_zero();
        self.sync_status(Phase::Failed, 0);
        self.end(false, false);
        self.post_rollout(Phase::Failed);
    }

    /// Away from a primary that is stuck, to the canary, which is all that works.
    fn keep_canary(&mut self, reason: &str) {
        self.warn(format!("Promotion of {} failed, primary not ready: {reason}", self.target_name()));
        self.route(Routes::CANARY);
        self.sync_status(Phase::Failed, Routes::CANARY.canary);
        self.end(false, false);
        self.post_rollout(Phase::Failed);
        self.because_of("promotion failed, canary kept", reason);
    }

    fn post_rollout(&mut self, phase: Phase) {
        for hook in self.hooks_of(HookType::PostRollout) {
            if let Err(reason) = self.ask(&hook, phase) {
                self.warn(format!("Post-rollout hook {} failed {reason}", hook.name));
                break;
            }
            self.info(format!("Post-rollout check {} passed", hook.name));
        }
    }

    fn end(&mut self, succeeded: bool, skipped: bool) {
        self.outcome = Some(Outcome { succeeded, skipped, strategy: self.analysis.strategy() });
    }

    pub(super) fn phase(&self) -> Phase {
        self.canary.status.phase
    }

    /// Whether traffic can be split at all.
    pub(super) fn splits_traffic(&self) -> bool {
        self.canary.spec.provider != "kubernetes"
    }

    pub(super) fn hooks_of(&self, hook_type: HookType) -> Vec<Webhook> {
        self.analysis.webhooks.iter().filter(|hook| hook.hook_type == hook_type).cloned().collect()
    }

    /// Asks a webhook; the error says why its answer is a no.
    pub(super) fn ask(&mut self, hook: &Webhook, phase: Phase) -> Result<(), String> {
        let answer = match (self.seen.hooks.get(&hook.name), hooks::timeout_ns(hook)) {
            (_, None) => Err(format!("time: invalid duration {:?}", hook.timeout)),
            (Some(answer), _) if answer.is_yes() => Ok(()),
            (Some(answer), _) => Err(answer.reason()),
            (None, _) => {
                self.unanswered.push(hook.name.clone());
                Err("no answer".to_string())
            }
        };
        let status = &self.canary.status;
        self.calls.push(HookCall {
            name: hook.name.clone(),
            phase,
            checksum: hooks::checksum(&status.last_applied_spec, status.tracked_configs.as_deref()),
            yes: answer.is_ok(),
        });
        answer
    }

    pub(super) fn route(&mut self, routes: Routes) {
        self.routes = routes;
        if self.splits_traffic() {
            self.canary.routes = routes;
            self.effects.push(Effect::Route(routes));
        }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn copy_to_primary(&mut self) {
        self.info(format!("Copying {} template spec to {}", self.target_name(), self.primary_name()));
        let has_autoscaler = self.canary.spec.autoscaler_ref.is_some();
        let replicas = self.seen.canary.spec_replicas.filter(|_| !has_autoscaler && self.kind.is_scaled());
        self.effects.push(Effect::Promote { replicas });
    }

    fn scale_to_zero(&mut self) {
        if self.kind.is_scaled() {
            self.effects.push(Effect::ScaleCanary { replicas: 0 });
        }
    }

    /// Sets the phase. Most phases show a weight of 0, whatever is routed.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        let iterations_wanted = self.analysis.iterations;
        let status = &mut self.canary.status;
        status.phase = phase;
        status.last_transition_ns = self.seen.now_ns;
        if !matches!(phase, Phase::Progressing | Phase::Waiting | Phase::Promoting) {
            status.canary_weight = 0;
            status.iterations =
                if phase == Phase::WaitingPromotion { iterations_wanted.saturating_sub(1) } else { 0 };
        }
        if matches!(phase, Phase::Initialized | Phase::Succeeded) {
            status.last_promoted_spec.clone_from(&status.last_applied_spec);
        }
    }

    pub(super) fn set_weight(&mut self, weight: i32) {
        self.canary.status.canary_weight = weight;
        self.canary.status.last_transition_ns = self.seen.now_ns;
    }

    pub(super) fn set_iterations(&mut self, iterations: i32) {
        self.canary.status.iterations = iterations;
        self.canary.status.last_transition_ns = self.seen.now_ns;
    }

    /// Begins a new chapter: counts from zero, with the revision that is there now.
    fn sync_status(&mut self, phase: Phase, canary_weight: i32) {
        let status = &mut self.canary.status;
        (status.phase, status.canary_weight) = (phase, canary_weight);
        (status.failed_checks, status.iterations) = (0, 0);
        self.note_revision();
    }

    fn note_revision(&mut self) {
        let status = &mut self.canary.status;
        status.last_applied_spec.clone_from(&self.seen.template);
        status.tracked_configs.clone_from(&self.seen.configuration);
        status.last_transition_ns = self.seen.now_ns;
    }

    pub(super) fn because(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    pub(super) fn because_of(&mut self, rule: &'static str, note: &str) {
        self.rule = rule;
        self.note = note.to_string();
    }

    pub(super) fn info(&mut self, message: String) {
        self.events.push(Event { severity: Severity::Info, message });
    }

    pub(super) fn warn(&mut self, message: String) {
        self.events.push(Event { severity: Severity::Warning, message });
    }

    pub(super) fn canary_name(&self) -> String {
        format!("{}.{}", self.canary.name, self.canary.namespace)
    }

    pub(super) fn target_name(&self) -> String {
        format!("{}.{}", self.canary.spec.target_ref.name, self.canary.namespace)
    }

    fn primary_name(&self) -> String {
        format!("{}-primary.{}", self.canary.spec.target_ref.name, self.canary.namespace)
    }
}
