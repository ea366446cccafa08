//! One reconcile: what both strategies share. Upstream: `rollout/controller.go`, `rollout/sync.go`.

use super::decision::{Decision, Effect, Explanation, Observation};
use super::pause::Pauses;
use super::replicas::{ReplicaSet, Sizing, Versions, meets_threshold, size};
use super::spec::RolloutSpec;
use super::status::{PauseReason, RolloutPhase, Status};
use super::weights::current_step;

/// A reconcile under way: `old` is what was kept, `next` what will be.
pub(super) struct Reconcile<'a> {
    pub(super) spec: &'a RolloutSpec,
    pub(super) old: &'a Status,
    pub(super) seen: &'a Observation,
    pub(super) next: Status,
    pub(super) canary: Option<&'a ReplicaSet>,
    pub(super) stable: Option<&'a ReplicaSet>,
    pub(super) others: Vec<ReplicaSet>,
    pub(super) pauses: Pauses,
    pub(super) effects: Vec<Effect>,
    events: Vec<String>,
    rules: Vec<String>,
    /// When to look again, nanoseconds since the Unix epoch.
    wakes: Vec<u64>,
    is_scaled: bool,
}

impl<'a> Reconcile<'a> {
    pub(super) fn new(spec: &'a RolloutSpec, old: &'a Status, seen: &'a Observation) -> Self {
        let find = |hash: &str| {
            let mut versions = seen.replica_sets.iter();
            versions.find(|version| version.hash == hash && !hash.is_empty())
        };
        let (canary, stable) = (find(&seen.template_hash), find(&old.stable_hash));
        let is_other = |version: &&ReplicaSet| {
            version.hash != seen.template_hash && stable.is_none_or(|stable| version.hash != stable.hash)
        };
        let others = seen.replica_sets.iter().filter(is_other).cloned().collect();
        let mut pauses = Pauses::default();
        if old.is_fully_promoted() && old.abort {
            pauses.remove_abort();
        }
        Self {
            spec,
            old,
            seen,
            next: old.clone(),
            canary,
            stable,
            others,
            pauses,
            effects: Vec::new(),
            events: Vec::new(),
            rules: Vec::new(),
            wakes: Vec::new(),
            is_scaled: false,
        }
    }

    pub(super) fn decide(mut self) -> (Status, Decision) {
        self.read_runs();
        if self.canary.is_none() {
            let hash = self.seen.template_hash.clone();
            self.rule("the version is not there yet");
            self.effects.push(Effect::CreateReplicaSet { hash });
            self.is_scaled = true;
        } else if self.is_scaling_event() {
            self.rule("the number of replicas has changed");
            self.scale_only();
            self.settle();
        } else if self.spec.strategy.blue_green.is_some() {
            self.step_blue_green();
            self.settle();
        } else if self.spec.strategy.canary.is_some() {
            self.step_canary();
            self.settle();
        } else {
            self.rule("there is no strategy");
        }
        self.conclude()
    }

    /// Whether the rollout's replicas have changed since the new or the stable version was scaled last.
    fn is_scaling_event(&self) -> bool {
        let replicas = self.spec.replicas();
        [self.canary, self.stable].into_iter().flatten().any(|version| {
            version.spec_replicas > 0
                && self.old.desired_replicas.get(&version.hash).is_some_and(|&then| then != replicas)
        })
    }

    fn scale_only(&mut self) {
        if self.spec.strategy.blue_green.is_some() {
            self.scale_blue_green();
        } else {
            self.scale_canary();
        }
    }

    pub(super) fn versions(&self) -> Versions<'_> {
        Versions { canary: self.canary, stable: self.stable, others: &self.others }
    }

    /// Pods, as upstream counts them.
    fn count(&mut self) {
        let all = &self.seen.replica_sets;
        let sum = |of: fn(&ReplicaSet) -> i32| all.iter().map(of).fold(0, i32::saturating_add);
        self.next.replicas = sum(|version| version.replicas);
        self.next.ready_replicas = sum(|version| version.ready);
        self.next.available_replicas = sum(|version| version.available);
        self.next.updated_replicas = self.canary.map_or(0, |version| version.replicas);
        if self.spec.strategy.blue_green.is_some()
            && let Some(active) = all.iter().find(|version| version.hash == self.next.active_selector)
        {
            self.next.ready_replicas = active.ready;
            self.next.available_replicas = active.available;
        }
        self.next.current_pod_hash.clone_from(&self.seen.template_hash);
    }

    /// Progress, pauses, aborts and the phase.
    fn settle(&mut self) {
        self.count();
        if !(self.next.promote_full && self.next.current_pod_hash != self.next.stable_hash) {
            self.next.promote_full = false;
        }
        self.watch_progress();
        self.pauses.settle(self.old, &mut self.next, self.seen.now_ns);
        self.next.progress.suspended = self.is_paused() || self.next.abort;
        (self.next.phase, self.next.message) = self.phase();
        let hashes = |hash: &String| self.seen.replica_sets.iter().any(|version| version.hash == *hash);
        self.next.scale_down_deadlines.retain(|hash, _| hashes(hash));
        self.next.desired_replicas.retain(|hash, _| hashes(hash));
    }

    fn is_paused(&self) -> bool {
        self.spec.paused || !self.next.pause_conditions.is_empty()
    }

    /// Notes progress; without any for too long the rollout is stuck, and aborted where the manifest says so.
    /// Upstream: `utils/conditions`, `RolloutProgressing`, `RolloutTimedOut`.
    fn watch_progress(&mut self) {
        let (old, now_ns) = (self.old, self.seen.now_ns);
        let next = &self.next;
        let old_pods = |status: &Status| i64::from(status.replicas) - i64::from(status.updated_replicas);
        let moved = next.updated_replicas != old.updated_replicas
            || old_pods(next) < old_pods(old)
            || next.ready_replicas > old.ready_replicas
            || next.available_replicas > old.available_replicas
            || next.stable_hash != old.stable_hash
            || next.current_pod_hash != old.current_pod_hash
            || next.current_step_index != old.current_step_index
            || next.active_selector != old.active_selector
            || next.preview_selector != old.preview_selector;
        let is_suspended = self.is_paused() || self.pauses.is_aborted(old);
        let resumed = old.progress.suspended && !is_suspended;
        let progress = &mut self.next.progress;
        if moved || resumed || progress.at_ns.is_none() {
            progress.at_ns = Some(now_ns);
            progress.timed_out = false;
            return self.wake_for_progress();
        }
        if is_suspended || self.next.is_fully_promoted() || self.is_indefinite() {
            return;
        }
        let deadline_ns = self.spec.progress_deadline_ns();
        let limit_ns = self.next.progress.at_ns.unwrap_or(now_ns).saturating_add(deadline_ns);
        if limit_ns >= now_ns {
            return self.wake_for_progress();
        }
        self.rule("no progress within its deadline");
        if self.spec.progress_deadline_abort {
            let hash = &self.seen.template_hash;
            self.pauses.abort(format!("ReplicaSet \"{hash}\" has timed out progressing."));
        } else {
            self.next.progress.timed_out = true;
        }
    }

    fn wake_for_progress(&mut self) {
        if !self.next.is_fully_promoted() && !self.is_indefinite() && !self.is_paused() {
            let at_ns = self.next.progress.at_ns.unwrap_or(self.seen.now_ns);
            // A second more, as upstream, so that the deadline has passed for certain.
            self.wake(at_ns.saturating_add(self.spec.progress_deadline_ns()).saturating_add(1_000_000_000));
        }
    }

    /// Whether the step may take as long as it likes, or old versions wait for their end.
    fn is_indefinite(&self) -> bool {
        let waits = current_step(self.spec, self.old)
            .0
            .is_some_and(|step| step.pause.is_some() || step.analysis.is_some() || step.experiment.is_some());
        let other_waits =
            self.others.iter().any(|version| self.next.scale_down_deadlines.contains_key(&version.hash));
        waits || other_waits
    }

    fn phase(&self) -> (RolloutPhase, String) {
        let (spec, next) = (self.spec, &self.next);
        let progressing = |message: &str| (RolloutPhase::Progressing, message.to_string());
        if next.abort {
            let because = if next.abort_message.is_empty() {
                String::new()
            } else {
                format!(": {}", next.abort_message)
            };
            return (RolloutPhase::Degraded, format!("RolloutAborted: Rollout aborted update{because}"));
        }
        if next.progress.timed_out {
            let hash = &next.current_pod_hash;
            let message =
                format!("ProgressDeadlineExceeded: ReplicaSet \"{hash}\" has timed out progressing.");
            return (RolloutPhase::Degraded, message);
        }
        if spec.paused {
            return (RolloutPhase::Paused, "manually paused".to_string());
        }
        if let Some(pause) = next.pause_conditions.first() {
            return (RolloutPhase::Paused, format!("{:?}", pause.reason));
        }
        if next.updated_replicas < spec.replicas() {
            return progressing("more replicas need to be updated");
        }
        if next.available_replicas < next.updated_replicas {
            return progressing("updated replicas are still becoming available");
        }
        if spec.strategy.blue_green.is_some() {
            if next.active_selector.is_empty() || next.active_selector != next.current_pod_hash {
                return progressing("active service cutover pending");
            }
            if next.stable_hash.is_empty() || !next.is_fully_promoted() {
                return progressing("waiting for analysis to complete");
            }
        } else {
            if !spec.is_traffic_routed() && next.replicas > next.updated_replicas {
                return progressing("old replicas are pending termination");
            }
            if next.stable_hash.is_empty() || !next.is_fully_promoted() {
                return progressing("waiting for all steps to complete");
            }
        }
        (RolloutPhase::Healthy, String::new())
    }

    fn sizing(&self) -> Option<Sizing> {
        self.spec.canary()?;
        let weights = self.old.weights.as_ref();
        self.canary.map(|_| size(self.spec, self.old, &self.versions(), weights))
    }

    fn conclude(self) -> (Status, Decision) {
        let changed = self.next != *self.old || self.is_scaled;
        let now_ns = self.seen.now_ns;
        let wakes = self.wakes.iter().map(|at_ns| at_ns.saturating_sub(now_ns));
        let requeue_after_ns = if changed { Some(0) } else { wakes.min() };
        let sizing = self.sizing();
        let next = self.next;
        let explanation = Explanation {
            step_before: self.old.current_step_index,
            step: next.current_step_index,
            steps: self.spec.step_count(),
            step_name: current_step(self.spec, &next).0.map_or(String::new(), super::spec::Step::name),
            weight: next.weights.as_ref().map(|weights| weights.canary.weight),
            sizing,
            phase: next.phase,
            rules: self.rules,
        };
        let decision = Decision {
            phase: next.phase,
            message: next.message.clone(),
            step: next.current_step_index,
            weights: next.weights.clone(),
            stable_hash: next.stable_hash.clone(),
            aborted: next.abort,
            effects: self.effects,
            events: self.events,
            requeue_after_ns,
            explanation,
        };
        (next, decision)
    }

    /// Forgets everything about the version before.
    pub(super) fn reset(&mut self) {
        self.pauses.clear();
        let next = &mut self.next;
        next.promote_full = false;
        next.runs.pre_promotion = None;
        next.runs.post_promotion = None;
        next.runs.step = None;
        next.runs.background = None;
        next.scale_up_preview_check_point = false;
        next.current_step_index = (!self.spec.steps().is_empty()).then_some(0);
    }

    /// Makes the new version the stable one.
    pub(super) fn promote_stable(&mut self, reason: &str) {
        self.pauses.clear();
        let count = self.spec.step_count();
        self.next.promote_full = false;
        self.next.scale_up_preview_check_point = false;
        if self.spec.canary().is_some() {
            self.next.current_step_index = (count > 0).then_some(count);
        }
        let hash = self.seen.template_hash.clone();
        if self.next.stable_hash != hash {
            self.event(format!("Rollout completed update to {hash}: {reason}"));
            self.next.stable_hash = hash;
        }
        self.rule(reason);
    }

    /// Whether the new version is older than the stable one by few enough revisions that it needs no steps.
    pub(super) fn is_rollback_within_window(&self) -> bool {
        let (Some(canary), Some(stable), Some(window)) =
            (self.canary, self.stable, self.spec.rollback_window)
        else {
            return false;
        };
        if canary.created_ns >= stable.created_ns || window.revisions <= 0 {
            return false;
        }
        let between = self.seen.replica_sets.iter().filter(|version| {
            canary.created_ns < version.created_ns && version.created_ns < stable.created_ns
        });
        between.count() < usize::try_from(window.revisions).unwrap_or(0)
    }

    /// Whether the way back is short: to the stable version, within the window, or to a version that has not been
    /// scaled down yet (blue/green).
    pub(super) fn is_fast_rollback(&self) -> bool {
        let (Some(canary), Some(stable)) = (self.canary, self.stable) else { return false };
        let to_stable = self.old.stable_hash == canary.hash;
        let is_older = canary.created_ns < stable.created_ns;
        if !to_stable && !is_older {
            return false;
        }
        let deadline_ns = self.old.scale_down_deadlines.get(&canary.hash);
        let is_kept = deadline_ns.is_some_and(|&deadline_ns| deadline_ns > self.seen.now_ns);
        to_stable || self.is_rollback_within_window() || (is_kept && self.spec.strategy.blue_green.is_some())
    }

    /// Why the new version is to be promoted now; `None` = it is not.
    pub(super) fn reason_to_promote(&self) -> Option<String> {
        let reason = |text: &str| Some(text.to_string());
        if self.stable.is_none() {
            return reason("Initial deploy");
        }
        let fast_rollback = || {
            if !self.is_fast_rollback() {
                None
            } else if self.is_rollback_within_window() {
                reason("Rollback within window")
            } else {
                reason("Fast rollback")
            }
        };
        let Some(strategy) = &self.spec.strategy.blue_green else {
            if self.pauses.is_aborted(self.old) {
                return None;
            }
            let (canary, replicas) = (self.canary?, self.spec.replicas());
            let threshold = self.spec.canary().and_then(|canary| canary.replica_progress_threshold);
            if canary.available < replicas && !meets_threshold(threshold, Some(canary), replicas) {
                return None;
            }
            if self.old.promote_full {
                return reason("Full promotion requested");
            }
            let count = self.spec.step_count();
            let is_done = count == 0 || self.old.current_step_index == Some(count);
            return fast_rollback()
                .or_else(|| is_done.then(|| format!("Completed all {count} canary steps")));
        };
        if self.next.active_selector.is_empty() {
            return reason("Initial deploy");
        }
        if self.next.active_selector != self.seen.template_hash {
            return None;
        }
        if self.old.promote_full {
            return reason("Full promotion requested");
        }
        if let Some(reason) = fast_rollback() {
            return Some(reason);
        }
        if self.pauses.is_aborted(self.old) {
            return None;
        }
        let passed = |run: &Option<super::status::RunRef>| {
            run.as_ref().is_some_and(|run| run.phase == super::AnalysisPhase::Successful)
        };
        let is_analysed =
            strategy.post_promotion_analysis.is_none() || passed(&self.next.runs.post_promotion);
        if is_analysed { reason("Completed blue-green update") } else { None }
    }

    /// Why nothing is scaled or switched; `None` = it is.
    pub(super) fn halted(&self) -> Option<&'static str> {
        if self.spec.paused {
            Some("user paused")
        } else if self.old.pause(PauseReason::InconclusiveAnalysisRun).is_some() {
            Some("inconclusive analysis")
        } else {
            None
        }
    }

    pub(super) fn wake(&mut self, at_ns: u64) {
        self.wakes.push(at_ns);
    }

    pub(super) fn rule(&mut self, rule: &str) {
        self.rules.push(rule.to_string());
    }

    pub(super) fn event(&mut self, message: String) {
        self.events.push(message);
    }

    /// Scales a version; whether its number has changed.
    pub(super) fn scale(&mut self, version: &ReplicaSet, to: i32) -> bool {
        let (from, to) = (version.spec_replicas, to.max(0));
        self.next.desired_replicas.insert(version.hash.clone(), self.spec.replicas());
        if from == to {
            return false;
        }
        if to == 0 && !self.delays_scale_down_on_abort() {
            self.next.scale_down_deadlines.remove(&version.hash);
        }
        let direction = if from < to { "up" } else { "down" };
        self.event(format!("Scaled {direction} ReplicaSet {} from {from} to {to}", version.hash));
        self.effects.push(Effect::Scale { hash: version.hash.clone(), from, to });
        self.is_scaled = true;
        true
    }
}
