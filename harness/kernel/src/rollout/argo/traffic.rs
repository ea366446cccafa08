//! Where requests go. Upstream: `rollout/trafficrouting.go`.

use super::AnalysisPhase;
use super::decision::Effect;
use super::reconcile::Reconcile;
use super::replicas::are_sized;
use super::status::{Destination, TrafficWeights};
use super::weights::{
    can_serve, current_experiment, current_set_weight, current_step, interrupted_version,
    previous_set_weight, weight_of_available, weight_on_the_way_back,
};

/// How long a router gets to do as it was told before it is asked again: 10 s.
const VERIFY_RETRY_NS: u64 = 10_000_000_000;

impl Reconcile<'_> {
    /// Sets the weights; false = stop here, the router has not done yet what ends the rollout.
    pub(super) fn route_traffic(&mut self) -> bool {
        if !self.spec.is_traffic_routed() {
            self.next.weights = None;
            return true;
        }
        let max_weight = self.spec.max_weight();
        let (desired, canary_hash, additional) = self.desired_weights();
        let desired = desired.clamp(0, max_weight);
        if !can_serve(self.spec, self.stable, max_weight - desired) {
            self.rule("the stable version cannot serve its share yet");
            return true;
        }
        self.set_routes();
        let weights = self.weights(desired, canary_hash, additional);
        let is_same = self.old.weights.as_ref().is_some_and(|old| {
            old.canary == weights.canary
                && old.stable == weights.stable
                && old.additional == weights.additional
        });
        if !is_same {
            let before = self.old.weights.as_ref().map(|old| old.canary.weight);
            self.event(match before {
                Some(before) if before != desired => {
                    format!("Traffic weight updated from {before} to {desired}")
                }
                _ => format!("Traffic weight updated to {desired}"),
            });
            self.effects.push(Effect::SetWeights(weights.clone()));
        }
        // What the router says is about the weights before these.
        let verified = self.seen.weight_verified.map(|verified| verified && is_same);
        self.next.weights = Some(TrafficWeights { verified, ..weights });
        if verified == Some(false) {
            self.wake(self.seen.now_ns.saturating_add(VERIFY_RETRY_NS));
            if desired == max_weight {
                self.rule("end of rollout, weight not yet verified");
                return false;
            }
        }
        true
    }

    /// The canary's weight, the version that it is for, and the weights of an experiment.
    fn desired_weights(&mut self) -> (i32, String, Vec<Destination>) {
        let (spec, old) = (self.spec, self.old);
        let hash = self.canary.map_or(String::new(), |canary| canary.hash.clone());
        if let Some(serving) = interrupted_version(spec, old, self.canary) {
            self.rule("back to the stable version as it grows");
            return (weight_on_the_way_back(spec, old, &self.versions()), serving, Vec::new());
        }
        if old.is_fully_promoted() {
            self.remove_managed_routes();
            return (0, hash, Vec::new());
        }
        if self.pauses.is_aborted(old) {
            self.remove_managed_routes();
            return (weight_on_the_way_back(spec, old, &self.versions()), hash, Vec::new());
        }
        let Some(canary) = self.canary.filter(|canary| canary.available > 0) else {
            self.rule("no canary serves");
            self.remove_managed_routes();
            return (0, hash, self.experiment_weights());
        };
        if old.promote_full {
            self.remove_managed_routes();
            let now = old.weights.as_ref().map_or(0, |weights| weights.canary.weight);
            return (
                if spec.is_dynamic() { weight_of_available(spec, canary) } else { now },
                hash,
                Vec::new(),
            );
        }
        let (_, Some(index)) = current_step(spec, old) else { return (0, hash, Vec::new()) };
        if !are_sized(spec, old, &self.versions(), None) {
            self.rule("the canary is not ready for a new weight");
            return (previous_set_weight(spec, old), hash, self.experiment_weights());
        }
        if index >= spec.step_count() {
            return (spec.max_weight(), hash, Vec::new());
        }
        (current_set_weight(spec, old), hash, self.experiment_weights())
    }

    fn weights(&self, desired: i32, canary_hash: String, additional: Vec<Destination>) -> TrafficWeights {
        let services = self.spec.canary().map(|canary| (&canary.canary_service, &canary.stable_service));
        let (canary_service, stable_service) = services.unzip();
        let mut rest = self.spec.max_weight() - desired;
        let mut fitted = Vec::new();
        for destination in additional {
            // As much as is left: weights cannot be negative.
            let weight = destination.weight.clamp(0, rest);
            rest -= weight;
            fitted.push(Destination { weight, ..destination });
        }
        TrafficWeights {
            canary: Destination {
                weight: desired,
                pod_template_hash: canary_hash,
                service_name: canary_service.cloned().unwrap_or_default(),
            },
            stable: Destination {
                weight: rest,
                pod_template_hash: self.stable.map_or(String::new(), |stable| stable.hash.clone()),
                service_name: stable_service.cloned().unwrap_or_default(),
            },
            additional: fitted,
            verified: None,
        }
    }

    /// Weights of the versions of an experiment that runs.
    fn experiment_weights(&self) -> Vec<Destination> {
        let Some(step) = current_experiment(self.spec, self.old) else { return Vec::new() };
        let Some(report) = self.experiment_report().filter(|it| it.phase == AnalysisPhase::Running) else {
            return Vec::new();
        };
        let weight_of = |name: &str| step.templates.iter().find(|template| template.name == name)?.weight;
        report
            .templates
            .iter()
            .filter_map(|(name, it)| Some(Destination { weight: weight_of(name)?, ..it.clone() }))
            .collect()
    }

    fn set_routes(&mut self) {
        if self.old.stable_hash.is_empty() {
            return;
        }
        let Some(step) = current_step(self.spec, self.old).0 else { return };
        if let Some(route) = &step.set_header_route
            && self.note_route(&route.name, route.matches.is_empty())
        {
            self.effects.push(Effect::SetHeaderRoute(route.clone()));
        }
        if let Some(route) = &step.set_mirror_route
            && self.note_route(&route.name, route.matches.is_empty())
        {
            self.effects.push(Effect::SetMirrorRoute(route.clone()));
        }
    }

    /// Whether the routes are to change.
    fn note_route(&mut self, name: &str, is_removed: bool) -> bool {
        if is_removed {
            self.next.managed_routes.remove(name)
        } else {
            self.next.managed_routes.insert(name.to_string())
        }
    }

    fn remove_managed_routes(&mut self) {
        if !self.next.managed_routes.is_empty() {
            self.next.managed_routes.clear();
            self.effects.push(Effect::RemoveManagedRoutes);
        }
    }
}
