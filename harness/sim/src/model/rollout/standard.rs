//! KServe's Standard mode: Deployments behind a Service each, weighted where there are canaries.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::Profile;
use windtunnel_kernel::rollout::kserve::standard::{Canary, Predictor, reconcile};

use super::super::{Event as Any, World};
use super::{Backend, Rollout};
use crate::engine::Schedule;
use crate::plan::{DeploymentPlan, ScalerPlan, StandardPlan};

/// An InferenceService with its Deployments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Standard {
    shares: Shares,
}

/// Which Deployments get requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shares {
    /// Each one and its percentage, the stable one first.
    pub(super) everyone: Vec<(u16, u32)>,
    /// The same of requests that meet the conditions of a test; empty where there is none.
    pub(super) matching: Vec<(u16, u32)>,
    /// The one that gets copies, and of how many requests in percent.
    pub(super) mirror: Option<(u16, u32)>,
}

impl World<'_> {
    /// The Deployments of a service are brought to what its manifest says, canaries first.
    pub(super) fn reconcile_standard(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        if self.deliver_version(now_ns, index, schedule) {
            return;
        }
        let number = self.state.services[index].version;
        let Some(plan) = self.plan.services[index].versions[number].standard.as_deref() else { return };
        let profile = self.kernel_profile();
        let predictor = self.predictor(index, plan, profile);
        let decision = reconcile(&predictor, profile);
        let mut applied = Vec::with_capacity(plan.canaries.len() + 1);
        for (canary, replicas) in plan.canaries.iter().zip(&decision.canary_replicas) {
            let held = held_at(&canary.deployment, *replicas);
            applied.push(self.apply_deployment(now_ns, index, &held, schedule));
        }
        let stable = with_minimum(&plan.stable, decision.stable_min_replicas);
        applied.insert(0, self.apply_deployment(now_ns, index, &stable, schedule));
        let backend = |at: &u16| {
            let name = self.state.deployments[usize::from(*at)].name();
            decision.backends.iter().find(|backend| backend.service == name)
        };
        let shares: Vec<(u16, u32)> = applied
            .iter()
            .filter_map(|at| Some((*at, u32::try_from(backend(at)?.weight).unwrap_or(0))))
            .collect();
        self.set_shares(now_ns, index, Shares { everyone: shares, ..Shares::default() });
        // Traffic has moved before anything goes.
        let orphans: Vec<u16> = (0..)
            .zip(&self.state.deployments)
            .filter(|(at, deployment)| {
                !deployment.is_gone() && deployment.service() == index && !applied.contains(at)
            })
            .map(|(at, _)| at)
            .collect();
        for orphan in orphans {
            self.delete_deployment(now_ns, orphan, schedule);
        }
    }

    /// Each Deployment that gets requests gets its percentage of them.
    pub(super) fn set_shares(&mut self, now_ns: u64, index: usize, shares: Shares) {
        let Rollout::Standard(standard) = &mut self.state.services[index].rollout else { return };
        if standard.shares != shares {
            let deployments = &self.state.deployments;
            let told =
                |(at, percent): &(u16, u32)| format!("{} {percent} %", deployments[usize::from(*at)].name());
            let list = |shares: &[(u16, u32)]| shares.iter().map(told).collect::<Vec<_>>().join(", ");
            let mut text = list(&shares.everyone);
            if !shares.matching.is_empty() {
                text += &format!("; those who match: {}", list(&shares.matching));
            }
            if let Some((at, percent)) = shares.mirror {
                let name = deployments[usize::from(at)].name();
                text += &format!("; {percent} % are mirrored to {name}");
            }
            standard.shares = shares;
            let name = self.plan.services[index].name.clone();
            self.note(now_ns, "traffic", &name, &text);
        }
        self.split_over_pods(index);
    }

    /// The pods of a service's Deployments changed: canaries may be ready now, and the Services lead elsewhere.
    pub(in crate::model) fn standard_readiness(
        &mut self,
        now_ns: u64,
        index: usize,
        schedule: &mut Schedule<Any>,
    ) {
        if self.delivery_readiness(now_ns, index, schedule) {
            return;
        }
        let number = self.state.services[index].version;
        let plan = self.plan.services[index].versions[number].standard.as_deref();
        if plan.is_some_and(|plan| !plan.canaries.is_empty()) {
            self.reconcile_standard(now_ns, index, schedule);
        } else {
            self.split_over_pods(index);
        }
    }

    /// The service as the kernel sees it. In upstream's 0.20 a canary counted as ready from the beginning, so that it
    /// got requests and the stable predictor made room before anybody could answer (kserve #5983).
    fn predictor(&self, index: usize, plan: &StandardPlan, profile: Profile) -> Predictor {
        let available = |name: &str| {
            let deployment = self
                .state
                .deployments
                .iter()
                .find(|deployment| !deployment.is_gone() && deployment.name() == name);
            let ready: u32 = deployment.map_or(0, |deployment| {
                let ready = |workload: u16| self.state.workloads[usize::from(workload)].ready();
                deployment.workloads().map(ready).sum()
            });
            i32::try_from(ready).unwrap_or(i32::MAX)
        };
        let least = i32::from(profile.has_upstream_bugs());
        Predictor {
            service: self.plan.services[index].name.clone(),
            name: plan.name.clone(),
            min_replicas: plan.min_replicas,
            canaries: plan
                .canaries
                .iter()
                .map(|canary| Canary {
                    name: canary.name.clone(),
                    traffic_percent: canary.percent,
                    min_replicas: canary.min_replicas,
                    available_replicas: available(canary.deployment.name()).max(least),
                })
                .collect(),
            stopped: false,
        }
    }

    /// Each Service spreads its share over the ready pods behind it, of whatever ReplicaSet.
    pub(super) fn split_over_pods(&mut self, index: usize) {
        let Rollout::Standard(standard) = &self.state.services[index].rollout else { return };
        let over_pods = |shares: &[(u16, u32)]| {
            let groups: Vec<(u32, Vec<(u16, u32)>)> = shares
                .iter()
                .map(|(at, percent)| {
                    let deployment = &self.state.deployments[usize::from(*at)];
                    let ready =
                        |workload: u16| (workload, self.state.workloads[usize::from(workload)].ready());
                    let mut sets: Vec<(u16, u32)> =
                        deployment.workloads().map(ready).filter(|(_, ready)| *ready > 0).collect();
                    if sets.is_empty() {
                        // Nobody answers; the newest is who should.
                        sets.push((deployment.newest(), 0));
                    }
                    (*percent, sets)
                })
                .collect();
            backends(&groups)
        };
        let Shares { everyone, matching, mirror } = &standard.shares;
        let everyone = over_pods(everyone);
        let matching = (!matching.is_empty()).then(|| over_pods(matching));
        let mirror = mirror.map(|(at, percent)| (percent, over_pods(&[(at, 100)])));
        let routes = &mut self.state.services[index].routes;
        routes.everyone.set(everyone);
        routes.test(matching);
        routes.copy(mirror);
    }
}

/// Shares of groups, each spread over its sets in proportion to their ready pods, as whole weights.
fn backends(groups: &[(u32, Vec<(u16, u32)>)]) -> Vec<Backend> {
    let ready = |sets: &[(u16, u32)]| sets.iter().map(|(_, ready)| u64::from(*ready)).sum::<u64>().max(1);
    let product = groups.iter().fold(1_u64, |product, (_, sets)| product.saturating_mul(ready(sets)));
    let mut found: Vec<(u16, u32, u64, u64)> = Vec::new();
    for (percent, sets) in groups {
        let all = ready(sets);
        for (workload, pods) in sets {
            let pods = if all == 1 { 1 } else { u64::from(*pods) };
            let weight = u64::from(*percent).saturating_mul(pods).saturating_mul(product / all);
            found.push((*workload, *percent, u64::from(*percent) * pods / all, weight));
        }
    }
    let divisor = found.iter().fold(0, |divisor, (.., weight)| common(divisor, *weight)).max(1);
    let most = found.iter().map(|(.., weight)| weight / divisor).max().unwrap_or(0);
    let shift = (64 - most.leading_zeros()).saturating_sub(31);
    found
        .into_iter()
        .map(|(workload, share, percent, weight)| Backend {
            workload,
            percent: u32::try_from(percent).unwrap_or(100),
            share,
            weight: u32::try_from((weight / divisor) >> shift).unwrap_or(u32::MAX),
        })
        .collect()
}

/// The greatest common divisor.
fn common(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common(other, one % other) }
}

/// A canary's Deployment with its fixed number of replicas: an autoscaler between equal bounds holds it.
fn held_at(plan: &DeploymentPlan, replicas: i32) -> DeploymentPlan {
    let mut held = plan.clone();
    if held.is_scaled_by_an_object {
        return held;
    }
    match &mut held.scaler {
        ScalerPlan::Fixed => held.replicas = Some(u32::try_from(replicas).unwrap_or(0)),
        ScalerPlan::Hpa(spec) => {
            spec.min_replicas = Some(replicas.max(1));
            spec.max_replicas = replicas.max(1);
        }
        ScalerPlan::Keda(plan) => {
            plan.spec.min_replica_count = Some(replicas.max(0));
            plan.spec.max_replica_count = Some(replicas.max(1));
        }
    }
    held
}

/// The stable Deployment with what its canaries leave of its minimum.
fn with_minimum(plan: &DeploymentPlan, minimum: Option<i32>) -> DeploymentPlan {
    let mut stable = plan.clone();
    let Some(minimum) = minimum.filter(|_| !stable.is_scaled_by_an_object) else { return stable };
    match &mut stable.scaler {
        ScalerPlan::Fixed => {
            stable.replicas = stable.replicas.map(|_| u32::try_from(minimum).unwrap_or(0));
        }
        ScalerPlan::Hpa(spec) => spec.min_replicas = Some(minimum.max(1)),
        ScalerPlan::Keda(plan) => plan.spec.min_replica_count = Some(minimum),
    }
    stable
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Service knows pods and no versions: in an update each pod gets the same, and a canary's share is its
    /// percentage however many pods it has.
    #[test]
    fn shares_are_spread_over_pods() {
        let weights = |groups: &[(u32, Vec<(u16, u32)>)]| {
            backends(groups).iter().map(|backend| (backend.workload, backend.weight)).collect::<Vec<_>>()
        };
        assert_eq!(weights(&[(100, vec![(0, 3), (1, 1)])]), [(0, 3), (1, 1)]);
        // 90 % over three and one pods, 10 % over two: 67.5, 22.5 and 10.
        assert_eq!(weights(&[(90, vec![(0, 3), (1, 1)]), (10, vec![(2, 2)])]), [(0, 27), (1, 9), (2, 4)]);
        assert_eq!(weights(&[(100, vec![(0, 0)])]), [(0, 1)], "somebody has to refuse");
        assert_eq!(weights(&[(50, vec![(0, 2)]), (50, vec![(1, 0)])]), [(0, 1), (1, 1)]);
        let told = backends(&[(90, vec![(0, 3), (1, 1)]), (10, vec![(2, 2)])]);
        assert_eq!(
            told.iter().map(|backend| (backend.share, backend.percent)).collect::<Vec<_>>(),
            [(90, 67), (90, 22), (10, 10)]
        );
    }
}
