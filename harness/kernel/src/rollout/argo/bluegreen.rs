//! A blue/green rollout's reconcile. Upstream: `rollout/bluegreen.go`, `rollout/service.go`.

use super::decision::{Effect, Service};
use super::reconcile::Reconcile;
use super::spec::SECOND_NS;
use super::status::PauseReason;

impl Reconcile<'_> {
    pub(super) fn step_blue_green(&mut self) {
        let has_preview = self
            .spec
            .strategy
            .blue_green
            .as_ref()
            .is_some_and(|strategy| !strategy.preview_service.is_empty());
        if has_preview && self.halted().is_none() {
            self.switch(Service::Preview, self.seen.template_hash.clone());
        }
        if self.has_template_changed() {
            self.reset();
            self.rule("new version");
            return self.sync_blue_green();
        }
        self.scale_blue_green();
        self.pause_before_promotion();
        self.switch_active();
        self.run_blue_green_analyses();
        self.sync_blue_green();
    }

    fn sync_blue_green(&mut self) {
        if self.old.promote_full || self.is_rollback_within_window() {
            self.pauses.clear();
        }
        match self.reason_to_promote() {
            Some(reason) => self.promote_stable(&reason),
            None => self.next.scale_up_preview_check_point = self.has_passed_preview(),
        }
    }

    /// Whether the new version has its replicas and they serve.
    fn is_ready_for_pause(&self) -> bool {
        let wanted = self.wanted_of_preview();
        self.canary.is_some_and(|canary| canary.spec_replicas == wanted && canary.available == wanted)
    }

    /// Whether the new version has all replicas and they serve.
    pub(super) fn is_saturated(&self) -> bool {
        let replicas = self.spec.replicas();
        self.canary.is_some_and(|canary| {
            let desired = self.old.desired_replicas.get(&canary.hash);
            canary.spec_replicas == replicas
                && canary.available == replicas
                && desired.is_none_or(|&desired| desired == replicas)
        })
    }

    /// Whether nothing has to be waited for.
    fn is_fast_tracked(&self) -> bool {
        self.is_fast_rollback()
            || self.old.promote_full
            || self.old.active_selector.is_empty()
            || self.old.active_selector == self.seen.template_hash
    }

    fn pause_before_promotion(&mut self) {
        let Some(strategy) = &self.spec.strategy.blue_green else { return };
        if self.old.abort || !self.is_ready_for_pause() || self.halted().is_some() {
            return;
        }
        let needs_pause =
            strategy.auto_promotion_enabled == Some(false) || strategy.auto_promotion_seconds > 0;
        if self.is_fast_tracked() || self.old.scale_up_preview_check_point || !needs_pause {
            return self.pauses.remove(PauseReason::BlueGreenPause);
        }
        if !self.has_passed_pre_promotion() {
            return self.rule("waiting for the analysis before promotion");
        }
        match self.old.pause(PauseReason::BlueGreenPause) {
            None if self.old.controller_pause => {}
            None => self.pauses.add(PauseReason::BlueGreenPause),
            Some(_) if self.has_completed_pause_before_promotion() => {
                self.pauses.remove(PauseReason::BlueGreenPause);
            }
            Some(pause) => {
                self.rule("paused before promotion");
                if strategy.auto_promotion_seconds > 0 {
                    // It is over only after its end: a moment later.
                    let length_ns = auto_promotion_ns(strategy.auto_promotion_seconds);
                    self.wake(pause.start_ns.saturating_add(length_ns).saturating_add(1));
                }
            }
        }
    }

    fn has_passed_pre_promotion(&self) -> bool {
        let strategy = self.spec.strategy.blue_green.as_ref();
        strategy.is_none_or(|strategy| strategy.pre_promotion_analysis.is_none())
            || self.has_passed(self.next.runs.pre_promotion.as_ref())
    }

    /// Whether the pause is over: somebody has resumed, or its time has passed.
    fn has_completed_pause_before_promotion(&self) -> bool {
        let Some(strategy) = &self.spec.strategy.blue_green else { return false };
        if self.pauses.has_added() {
            return false;
        }
        if self.old.scale_up_preview_check_point {
            return true;
        }
        let pause = self.old.pause(PauseReason::BlueGreenPause);
        if strategy.auto_promotion_enabled == Some(false) {
            return self.old.controller_pause && pause.is_none();
        }
        if strategy.auto_promotion_seconds <= 0 {
            return true;
        }
        let length_ns = auto_promotion_ns(strategy.auto_promotion_seconds);
        pause.is_some_and(|pause| self.seen.now_ns > pause.start_ns.saturating_add(length_ns))
    }

    /// Points the users at the new version once it may be; back at the stable one after an abort.
    fn switch_active(&mut self) {
        if self.halted().is_some() {
            return;
        }
        if !self.is_ready_for_pause() || !self.is_saturated() {
            return self.rule("the new version is not fully available");
        }
        let mut hash = self.old.active_selector.clone();
        let may_promote = self.has_completed_pause_before_promotion() && self.has_passed_pre_promotion();
        if self.is_fast_tracked() || may_promote {
            hash.clone_from(&self.seen.template_hash);
        }
        if self.old.abort {
            hash.clone_from(&self.old.stable_hash);
        }
        self.switch(Service::Active, hash);
    }

    fn switch(&mut self, service: Service, hash: String) {
        let selector = match service {
            Service::Active => &mut self.next.active_selector,
            Service::Preview => &mut self.next.preview_selector,
        };
        if *selector != hash {
            let message = format!("Switched selector for {service:?} service from '{selector}' to '{hash}'");
            selector.clone_from(&hash);
            self.event(message);
            self.effects.push(Effect::SwitchService { service, hash });
        }
    }

    /// Whether the preview has passed, so that it may grow. Once it has, it has.
    fn has_passed_preview(&self) -> bool {
        let preview =
            self.spec.strategy.blue_green.as_ref().and_then(|strategy| strategy.preview_replica_count);
        let Some(preview) = preview else { return false };
        if self.old.scale_up_preview_check_point && !self.has_template_changed() {
            return true;
        }
        self.has_passed_pre_promotion()
            && self.has_completed_pause_before_promotion()
            && self.canary.is_some_and(|canary| canary.available == preview)
    }
}

fn auto_promotion_ns(seconds: i32) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * SECOND_NS
}
