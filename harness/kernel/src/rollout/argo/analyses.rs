//! The analyses and experiments of a rollout: when they begin and end, and what follows from them. Upstream:
//! `rollout/analysis.go`, `rollout/experiment.go`.

use super::AnalysisPhase;
use super::decision::{Effect, ExperimentReport, RunKind};
use super::reconcile::Reconcile;
use super::spec::TemplateRef;
use super::status::{ExperimentRef, PauseReason, RunRef};
use super::weights::{current_step, is_before_starting_step};

impl Reconcile<'_> {
    /// Takes note of how the analyses stand.
    pub(super) fn read_runs(&mut self) {
        let runs = &mut self.next.runs;
        let all = [&mut runs.background, &mut runs.step, &mut runs.pre_promotion, &mut runs.post_promotion];
        for run in all.into_iter().flatten() {
            if let Some(report) = self.seen.runs.iter().find(|report| report.id == run.id) {
                run.phase = report.phase;
                run.message.clone_from(&report.message);
            }
        }
    }

    pub(super) fn has_passed(&self, run: Option<&RunRef>) -> bool {
        run.is_some_and(|run| run.phase == AnalysisPhase::Successful)
    }

    /// Whether analyses have nothing to say: there is nothing to analyse, or somebody has decided already.
    fn skips_analyses(&self) -> bool {
        self.old.is_fully_promoted()
            || self.pauses.is_aborted(self.old)
            || self.old.promote_full
            || self.is_fast_rollback()
            || self.old.stable_hash.is_empty()
    }

    pub(super) fn run_canary_analyses(&mut self) {
        let (step, background) = (self.next.runs.step.take(), self.next.runs.background.take());
        if self.skips_analyses() {
            self.cancel(step);
            self.cancel(background);
            return;
        }
        self.next.runs.step = self.step_run(step);
        self.next.runs.background = self.background_run(background);
    }

    fn step_run(&mut self, current: Option<RunRef>) -> Option<RunRef> {
        if !self.old.pause_conditions.is_empty() || self.old.abort {
            return current;
        }
        let (step, index) = current_step(self.spec, self.old);
        let analysis = step.and_then(|step| step.analysis.as_ref());
        let is_anothers = current.as_ref().is_some_and(|run| run.step != index);
        let (Some(index), Some(_), false) =
            (index, analysis.filter(|analysis| !analysis.templates.is_empty()), is_anothers)
        else {
            self.cancel(current);
            return None;
        };
        if self.needs_new_run(current.as_ref()) {
            return Some(self.start(RunKind::Step(index)));
        }
        self.follow(current.as_ref(), "Step-based analysis phase error/failed");
        current
    }

    fn background_run(&mut self, current: Option<RunRef>) -> Option<RunRef> {
        let analysis = self.spec.canary().and_then(|canary| canary.analysis.as_ref());
        let is_wanted = analysis.is_some_and(|analysis| !analysis.templates.is_empty())
            && !self.old.current_pod_hash.is_empty()
            && !is_before_starting_step(self.spec, self.old);
        if !is_wanted {
            self.cancel(current);
            return None;
        }
        if self.old.pause(PauseReason::InconclusiveAnalysisRun).is_some() {
            return current;
        }
        if self.needs_new_run(current.as_ref()) {
            return Some(self.start(RunKind::Background));
        }
        self.follow(current.as_ref(), "Background analysis phase error/failed");
        current
    }

    pub(super) fn run_blue_green_analyses(&mut self) {
        if self.skips_analyses() {
            for run in [self.next.runs.pre_promotion.clone(), self.next.runs.post_promotion.clone()] {
                self.cancel(run);
            }
            return;
        }
        let Some(strategy) = &self.spec.strategy.blue_green else { return };
        let templates = |analysis: Option<&super::spec::AnalysisRef>| {
            analysis.map_or(Vec::new(), |analysis| analysis.templates.clone())
        };
        let pre = templates(strategy.pre_promotion_analysis.as_ref());
        let post = templates(strategy.post_promotion_analysis.as_ref());
        let current = self.next.runs.pre_promotion.take();
        let skips = self.skips_pre_promotion(current.as_ref());
        let run = self.promotion_run(current, &pre, skips, RunKind::PrePromotion);
        self.follow(run.as_ref(), "Blue/green pre-promotion analysis phase error/failed");
        self.next.runs.pre_promotion = run;
        let current = self.next.runs.post_promotion.take();
        let skips = self.skips_post_promotion_of(current.as_ref());
        let run = self.promotion_run(current, &post, skips, RunKind::PostPromotion);
        self.follow(run.as_ref(), "Blue/green post-promotion analysis phase error/failed");
        self.next.runs.post_promotion = run;
    }

    fn promotion_run(
        &mut self,
        current: Option<RunRef>,
        templates: &[TemplateRef],
        skips: bool,
        kind: RunKind,
    ) -> Option<RunRef> {
        if templates.is_empty() || skips {
            let kept = current.clone().filter(|_| skips && !templates.is_empty());
            self.cancel(current);
            return kept;
        }
        if self.old.pause(PauseReason::InconclusiveAnalysisRun).is_none()
            && self.needs_new_run(current.as_ref())
        {
            return Some(self.start(kind));
        }
        current
    }

    /// Before the new version is active, once it is as large as it should be.
    fn skips_pre_promotion(&self, current: Option<&RunRef>) -> bool {
        let (old, hash) = (self.old, &self.seen.template_hash);
        if old.stable_hash == *hash || old.active_selector.is_empty() || old.active_selector == *hash {
            return true;
        }
        if current.is_some() {
            return false;
        }
        let preview =
            self.spec.strategy.blue_green.as_ref().and_then(|strategy| strategy.preview_replica_count);
        match (preview, self.canary) {
            (Some(preview), Some(canary)) => canary.spec_replicas != preview || canary.available != preview,
            _ => !self.is_saturated(),
        }
    }

    pub(super) fn skips_post_promotion(&self) -> bool {
        self.skips_post_promotion_of(self.next.runs.post_promotion.as_ref())
    }

    /// After the new version has become active, before it is stable.
    fn skips_post_promotion_of(&self, current: Option<&RunRef>) -> bool {
        let (old, hash) = (self.old, &self.seen.template_hash);
        if old.stable_hash == *hash || old.active_selector != *hash {
            return true;
        }
        current.is_none() && !self.is_saturated()
    }

    /// Whether an analysis must begin (again): there is none, the last one could not say and somebody has resumed
    /// since, or an aborted rollout is tried again.
    fn needs_new_run(&self, current: Option<&RunRef>) -> bool {
        let Some(run) = current else { return true };
        let pauses = [PauseReason::CanaryPauseStep, PauseReason::BlueGreenPause];
        if self.old.controller_pause && pauses.iter().all(|&reason| self.old.pause(reason).is_none()) {
            return run.phase == AnalysisPhase::Inconclusive;
        }
        self.old.aborted_at_ns.is_some()
    }

    /// A failed analysis aborts; one that could not say pauses.
    fn follow(&mut self, run: Option<&RunRef>, what: &str) {
        let Some(run) = run else { return };
        match run.phase {
            AnalysisPhase::Inconclusive => self.pauses.add(PauseReason::InconclusiveAnalysisRun),
            AnalysisPhase::Error | AnalysisPhase::Failed => {
                let message = match run.message.as_str() {
                    "" => what.to_string(),
                    why => format!("{what}: {why}"),
                };
                self.rule("abort: an analysis has failed");
                self.pauses.abort(message);
            }
            AnalysisPhase::Pending | AnalysisPhase::Running | AnalysisPhase::Successful => {}
        }
    }

    fn start(&mut self, kind: RunKind) -> RunRef {
        self.next.run_count += 1;
        let id = self.next.run_count;
        self.effects.push(Effect::StartAnalysis { id, kind });
        let step = match kind {
            RunKind::Step(index) => Some(index),
            _ => None,
        };
        RunRef { id, step, phase: AnalysisPhase::Pending, message: String::new(), terminating: false }
    }

    /// Ends an analysis that is still on its way.
    fn cancel(&mut self, run: Option<RunRef>) {
        let Some(run) = run.filter(|run| !run.phase.is_completed() && !run.terminating) else { return };
        self.effects.push(Effect::TerminateAnalysis { id: run.id });
        let runs = &mut self.next.runs;
        for kept in [&mut runs.pre_promotion, &mut runs.post_promotion].into_iter().flatten() {
            kept.terminating |= kept.id == run.id;
        }
    }

    pub(super) fn experiment_report(&self) -> Option<&ExperimentReport> {
        let id = self.old.experiment?.id;
        self.seen.experiment.as_ref().filter(|report| report.id == id)
    }

    /// How the experiment of the current step stands; `None` = there is none.
    pub(super) fn experiment_phase(&self) -> Option<AnalysisPhase> {
        let index = current_step(self.spec, self.old).1;
        self.old.experiment.filter(|experiment| Some(experiment.step) == index)?;
        self.experiment_report().map(|report| report.phase)
    }

    pub(super) fn run_experiment(&mut self) {
        if self.pauses.is_aborted(self.old) || self.old.promote_full {
            return self.end_experiment();
        }
        let could_not_say = [PauseReason::InconclusiveAnalysisRun, PauseReason::InconclusiveExperiment];
        if could_not_say.iter().any(|&reason| self.old.pause(reason).is_some()) {
            return;
        }
        let (step, index) = current_step(self.spec, self.old);
        let Some((_, index)) = step.and_then(|step| step.experiment.as_ref()).zip(index) else {
            return self.end_experiment();
        };
        if self.old.experiment.is_none_or(|experiment| experiment.step != index) {
            self.end_experiment();
            if self.stable.is_some() {
                self.next.run_count += 1;
                let id = self.next.run_count;
                self.next.experiment = Some(ExperimentRef { id, step: index });
                self.effects.push(Effect::StartExperiment { id, step: index });
            }
            return;
        }
        let message = self.experiment_report().map_or(String::new(), |report| report.message.clone());
        match self.experiment_phase() {
            Some(AnalysisPhase::Inconclusive) => self.pauses.add(PauseReason::InconclusiveExperiment),
            Some(AnalysisPhase::Error | AnalysisPhase::Failed) => {
                let what = "Experiment analysis phase is error/failed";
                let message =
                    if message.is_empty() { what.to_string() } else { format!("{what}: {message}") };
                self.rule("abort: an experiment has failed");
                self.pauses.abort(message);
            }
            Some(AnalysisPhase::Successful) => {}
            Some(AnalysisPhase::Pending | AnalysisPhase::Running) | None => return,
        }
        self.next.experiment = None;
    }

    fn end_experiment(&mut self) {
        let Some(experiment) = self.next.experiment.take() else { return };
        let is_over = self.experiment_report().is_some_and(|report| report.phase.is_completed());
        if !is_over {
            self.effects.push(Effect::TerminateExperiment { id: experiment.id });
        }
    }
}
