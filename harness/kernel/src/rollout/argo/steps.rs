//! The step that a canary is at: whether it is done, and its pause. Upstream: `rollout/canary.go`,
//! `rollout/pause.go`.

use super::AnalysisPhase;
use super::reconcile::Reconcile;
use super::replicas::are_sized;
use super::spec::PauseStep;
use super::status::PauseReason;
use super::weights::current_step;

impl Reconcile<'_> {
    /// Begins the pause of a pause step.
    pub(super) fn pause_at_step(&mut self) {
        let (Some(step), _) = current_step(self.spec, self.old) else { return };
        let Some(pause) = step.pause.as_ref().filter(|_| !self.spec.paused && !self.old.promote_full) else {
            return;
        };
        match self.old.pause(PauseReason::CanaryPauseStep) {
            None if !self.old.controller_pause => self.pauses.add(PauseReason::CanaryPauseStep),
            None => {}
            Some(condition) => {
                if let Some(duration_ns) = pause.duration_ns() {
                    // It is over only after its end: a moment later.
                    self.wake(condition.start_ns.saturating_add(duration_ns).saturating_add(1));
                }
                self.rule("paused");
            }
        }
    }

    pub(super) fn has_completed_step(&mut self) -> bool {
        if self.spec.paused {
            self.rule("user paused");
            return false;
        }
        let (Some(step), Some(_)) = current_step(self.spec, self.old) else { return false };
        let weights = self.next.weights.as_ref();
        let is_sized = || are_sized(self.spec, self.old, &self.versions(), weights);
        if let Some(pause) = &step.pause {
            self.has_completed_pause(pause)
        } else if step.set_canary_scale.is_some() {
            is_sized()
        } else if step.set_weight.is_some() {
            is_sized() && weights.and_then(|weights| weights.verified) != Some(false)
        } else if step.experiment.is_some() {
            self.experiment_phase() == Some(AnalysisPhase::Successful)
        } else if step.analysis.is_some() {
            self.has_passed(self.next.runs.step.as_ref())
        } else if step.set_header_route.is_some() || step.set_mirror_route.is_some() {
            true
        } else {
            step.plugin.is_some() && self.seen.plugin_completed
        }
    }

    fn has_completed_pause(&self, pause: &PauseStep) -> bool {
        let condition = self.old.pause(PauseReason::CanaryPauseStep);
        match (condition, pause.duration_ns()) {
            (None, _) => self.old.controller_pause,
            (Some(condition), Some(duration_ns)) => {
                self.seen.now_ns > condition.start_ns.saturating_add(duration_ns)
            }
            (Some(_), None) => false,
        }
    }

    pub(super) fn complete_step(&mut self, index: &mut Option<i32>, count: i32) {
        let name = current_step(self.spec, self.old).0.map_or(String::new(), super::spec::Step::name);
        let next = index.unwrap_or(0).saturating_add(1).min(count);
        *index = Some(next);
        self.next.runs.step = None;
        self.event(format!("Rollout step {next}/{count} completed ({name})"));
        self.rule("step done");
        self.pauses.remove(PauseReason::CanaryPauseStep);
    }
}
