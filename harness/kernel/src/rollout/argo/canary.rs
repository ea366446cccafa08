//! A canary's reconcile. Upstream: `rollout/canary.go`.

use super::reconcile::Reconcile;

impl Reconcile<'_> {
    pub(super) fn step_canary(&mut self) {
        if self.has_template_or_steps_changed() {
            return self.sync_canary();
        }
        if !self.route_traffic() {
            return;
        }
        self.run_experiment();
        self.run_canary_analyses();
        if self.pauses.has_added() {
            self.rule("pause: an analysis could not say");
            return self.sync_canary();
        }
        if !self.scale_canary() {
            self.pause_at_step();
        }
        self.sync_canary();
    }

    pub(super) fn has_template_changed(&self) -> bool {
        let hash = &self.old.current_pod_hash;
        !hash.is_empty() && *hash != self.seen.template_hash
    }

    fn has_template_or_steps_changed(&self) -> bool {
        self.old.current_steps.as_deref() != Some(self.spec.steps()) || self.has_template_changed()
    }

    /// Where the steps stand after this reconcile.
    fn sync_canary(&mut self) {
        let count = self.spec.step_count();
        let changed = self.has_template_or_steps_changed();
        self.next.current_steps = Some(self.spec.steps().to_vec());
        if changed {
            return self.begin_steps(count);
        }
        let mut index = super::weights::current_step(self.spec, self.old).1;
        if self.old.promote_full || self.is_rollback_within_window() {
            self.pauses.clear();
            if count > 0 {
                index = Some(count);
            }
        }
        if let Some(reason) = self.reason_to_promote() {
            return self.promote_stable(&reason);
        }
        if self.pauses.is_aborted(self.old) {
            let to_stable = self.next.stable_hash == self.seen.template_hash;
            self.next.current_step_index = (count > 0).then_some(if to_stable { count } else { 0 });
            return self.rule("aborted");
        }
        if self.has_completed_step() {
            self.complete_step(&mut index, count);
        }
        self.next.current_step_index = index;
    }

    /// A new version begins at the first step; a version that was there before needs none.
    fn begin_steps(&mut self, count: i32) {
        self.reset();
        self.rule("new version or new steps");
        let Some(canary) = self.canary.filter(|_| count > 0) else { return };
        if self.old.stable_hash == canary.hash {
            self.event("Rollback to stable ReplicaSets".to_string());
            self.next.current_step_index = Some(count);
        } else if self.is_rollback_within_window() && canary.spec_replicas > 0 {
            self.event("Rollback to active ReplicaSets within RollbackWindow".to_string());
            self.next.current_step_index = Some(count);
        }
    }
}
