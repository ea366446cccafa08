//! What an analysis does once its checks have passed: canary, blue/green, A/B test, and the shift back.

use super::decision::Effect;
use super::machine::Phase;
use super::spec::{DeploymentStrategy, HookType, TOTAL_WEIGHT};
use super::tick::Tick;
use super::weights::{self, Routes, max_weight, next_step};

impl Tick<'_> {
    /// One step further.
    pub(super) fn advance(&mut self) {
        match self.analysis.strategy() {
            DeploymentStrategy::AbTesting => self.test_requests(),
            DeploymentStrategy::BlueGreen => self.test_blue_green(),
            DeploymentStrategy::Canary => {
                if next_step(&self.analysis, self.routes.canary) <= 0 {
                    return self.because("no step");
                }
                let asks = !self.routes.mirrored
                    && !matches!(
                        self.phase(),
                        Phase::Promoting | Phase::WaitingPromotion | Phase::Finalising
                    );
                if !asks || self.may_increase() {
                    self.walk();
                }
            }
        }
    }

    /// Moves traffic back to the promoted primary.
    pub(super) fn shift_back(&mut self) {
        if self.canary.spec.autoscaler_ref.is_some() {
            self.push(Effect::SyncPrimaryAutoscaler);
        }
        if !self.splits_traffic() {
            self.set_phase(Phase::Finalising);
            return self.because("promoted");
        }
        let step = self.analysis.step_weight_promotion;
        let is_stalled = self.routes.canary <= 0;
        if step == 0 || (is_stalled && !self.canary.options.stalls_without_canary_traffic) {
            self.info("Routing all traffic to primary".to_string());
            self.route(Routes::PRIMARY);
            self.set_phase(Phase::Finalising);
            return self.because("promoted");
        }
        if is_stalled {
            return self.because("no traffic to shift back");
        }
        let routes = weights::shift_back(self.routes, step);
        self.route(routes);
        self.info(format!("Advance {} primary weight {}", self.canary_name(), routes.primary));
        if routes.primary == TOTAL_WEIGHT {
            self.set_phase(Phase::Finalising);
        } else {
            self.set_weight(routes.canary);
        }
        self.because("shift back");
    }

    fn walk(&mut self) {
        if self.routes.canary >= max_weight(&self.analysis) {
            return self.promote();
        }
        let routes = weights::advance(&self.analysis, self.routes);
        self.route(routes);
        self.set_weight(routes.canary);
        self.info(format!("Advance {} canary weight {}", self.canary_name(), routes.canary));
        self.because("advance");
    }

    fn test_requests(&mut self) {
        let (done, wanted) = (self.canary.status.iterations, self.analysis.iterations);
        if done < wanted {
            self.route(Routes::CANARY);
            return self.iterate();
        }
        if done == wanted {
            self.promote();
        } else if self.may_promote() {
            // As upstream: a test that was shortened under way never ends.
            self.because("more iterations than wanted");
        }
    }

    fn test_blue_green(&mut self) {
        let (done, wanted) = (self.canary.status.iterations, self.analysis.iterations);
        if done < wanted {
            if self.splits_traffic() && self.analysis.mirror && !self.routes.mirrored {
                self.route(Routes::split(0, true));
            }
            return self.iterate();
        }
        if done > wanted {
            return self.promote();
        }
        if !self.may_promote() {
            return;
        }
        if self.splits_traffic() {
            let stops = if self.analysis.mirror { "Stop traffic mirroring and route" } else { "Routing" };
            self.info(format!("{stops} all traffic to canary"));
            self.route(Routes::CANARY);
        }
        self.set_iterations(done.saturating_add(1));
        self.because("all traffic to the canary");
    }

    fn iterate(&mut self) {
        let iterations = self.canary.status.iterations.saturating_add(1);
        self.set_iterations(iterations);
        self.info(format!(
            "Advance {} canary iteration {iterations}/{}",
            self.canary_name(),
            self.analysis.iterations
        ));
        self.because("iterate");
    }

    fn promote(&mut self) {
        if self.may_promote() {
            self.copy_to_primary();
            self.set_phase(Phase::Promoting);
            self.because("promote");
        }
    }

    fn may_increase(&mut self) -> bool {
        for hook in self.hooks_of(HookType::ConfirmTrafficIncrease) {
            if self.ask(&hook, Phase::Progressing).is_err() {
                self.warn(format!(
                    "Halt {} advancement waiting for traffic increase approval {}",
                    self.canary_name(),
                    hook.name
                ));
                self.because_of("waiting for approval of more traffic", &hook.name);
                return false;
            }
            self.info(format!("Confirm-traffic-increase check {} passed", hook.name));
        }
        true
    }

    fn may_promote(&mut self) -> bool {
        for hook in self.hooks_of(HookType::ConfirmPromotion) {
            if self.ask(&hook, Phase::Progressing).is_err() {
                if self.phase() == Phase::WaitingPromotion {
                    self.set_iterations(self.analysis.iterations.saturating_sub(1));
                } else {
                    self.set_phase(Phase::WaitingPromotion);
                    self.warn(format!(
                        "Halt {} advancement waiting for promotion approval {}",
                        self.canary_name(),
                        hook.name
                    ));
                }
                self.because_of("waiting for approval of the promotion", &hook.name);
                return false;
            }
            self.info(format!("Confirm-promotion check {} passed", hook.name));
        }
        true
    }
}
