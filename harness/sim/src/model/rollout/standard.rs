//! KServe's Standard mode: Deployments behind a Service each, weighted where there are canaries. What there is to be,
//! the plan of KServe's controller says; here it is applied.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use serde::{Deserialize, Serialize};
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::kserve::plan::Observed;
use windtunnel_api::kserve::{InferenceService, names};

use super::super::{Event as Any, World};
use super::{Backend, MOST_PASSES, Rollout, next_generation};
use crate::engine::Schedule;
use crate::error::SimError;
use crate::plan::{Counts, accepted, deployments, objects, refusal};

/// An InferenceService with its children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Standard {
    manifest: InferenceService,
    /// As they were applied, with what is seen of their pods.
    deployments: Vec<Deployment>,
    routes: Vec<HttpRoute>,
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
    /// A service is brought to what its controller's plan says, until that says nothing new.
    pub(super) fn reconcile_standard(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        if self.deliver_version(now_ns, index, schedule) {
            return;
        }
        for _ in 0..MOST_PASSES {
            match self.reconcile_children(now_ns, index, schedule) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.fault = Some(error);
                    return;
                }
            }
        }
        let service = self.plan.services[index].name.clone();
        self.fault = Some(SimError::Unsettled { service, passes: MOST_PASSES });
    }

    /// One plan, carried out; true when it differs from the one before.
    fn reconcile_children(
        &mut self,
        now_ns: u64,
        index: usize,
        schedule: &mut Schedule<Any>,
    ) -> Result<bool, SimError> {
        let plan = self.plan;
        let version = &plan.services[index].versions[self.state.services[index].version];
        let Some(settled) = version.standard.as_deref() else { return Ok(false) };
        let statuses = self.statuses(now_ns, index);
        let Rollout::Standard(standard) = &mut self.state.services[index].rollout else { return Ok(false) };
        let status = standard.manifest.status.take();
        standard.manifest = InferenceService { status, ..version.manifest.clone() };
        for (deployment, status) in standard.deployments.iter_mut().zip(statuses) {
            deployment.status = status;
        }
        let made = plan.kserve.plan(
            &standard.manifest,
            Observed {
                deployments: standard.deployments.iter().collect(),
                http_routes: standard.routes.iter().collect(),
                ..Observed::default()
            },
        );
        if let Some(error) = refusal(&made, standard.manifest.name(), "") {
            return Err(error);
        }
        let mut is_new = standard.manifest.status.as_ref() != Some(&made.status);
        standard.manifest.status = Some(made.status);
        if !made.prune {
            // What serves is left alone.
            return Ok(is_new);
        }
        let after = (settled.timeout_ns, "");
        let mut wanted = deployments(&made.children, &standard.manifest, &plan.kserve, after)?;
        objects::attach(&plan.objects, &mut wanted)?;
        let applied = made.children.deployments.into_iter().map(|deployment| applied(deployment, standard));
        let applied: Vec<Deployment> = applied.collect();
        let routes: Vec<HttpRoute> = made.children.http_routes.into_iter().map(accepted).collect();
        is_new |= applied != standard.deployments || routes != standard.routes;
        standard.deployments = applied;
        standard.routes = routes;
        let shares = shares_of(&standard.routes, standard.manifest.name(), settled.stable.name());

        let applied: Vec<u16> =
            wanted.iter().map(|one| self.apply_deployment(now_ns, index, one, schedule)).collect();
        let of = |name: &str| {
            let is_it = |at: &&u16| self.state.deployments[usize::from(**at)].name() == name;
            applied.iter().find(is_it).copied()
        };
        let shares = shares.iter().filter_map(|(name, percent)| Some((of(name)?, *percent))).collect();
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
        Ok(is_new)
    }

    /// What the Deployment controller says of a service's Deployments.
    ///
    /// In upstream's 0.20 a canary counted as ready from the beginning, so that it got requests and the stable predictor
    /// made room before anybody could answer (kserve #5983).
    fn statuses(&self, now_ns: u64, index: usize) -> Vec<Option<DeploymentStatus>> {
        let Rollout::Standard(standard) = &self.state.services[index].rollout else { return Vec::new() };
        let is_blind = self.kernel_profile().has_upstream_bugs();
        let version = &self.plan.services[index].versions[self.state.services[index].version];
        let canaries: Vec<String> = version
            .manifest
            .spec
            .canary
            .iter()
            .flatten()
            .filter(|_| is_blind)
            .map(|canary| {
                names::predictor_service_name(version.manifest.name(), canary.predictor.name.as_deref())
            })
            .collect();
        let status = |object: &Deployment| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let is_it =
                |known: &super::super::deployments::Deployment| !known.is_gone() && known.name() == name;
            let at = self.state.deployments.iter().position(is_it)?;
            let counts = self.counts_of(now_ns, u16::try_from(at).unwrap_or(u16::MAX));
            let mut status = counts.status(object.metadata.generation);
            if canaries.iter().any(|canary| canary == name) {
                status.available_replicas = Some(counts.available.max(1));
            }
            Some(status)
        };
        standard.deployments.iter().map(status).collect()
    }

    /// A Deployment's pods, counted.
    fn counts_of(&self, now_ns: u64, at: u16) -> Counts {
        let deployment = &self.state.deployments[usize::from(at)];
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let pods = |workload: u16| self.state.workloads[usize::from(workload)].pods.len();
        let available: u32 = self.sets_of(now_ns, at).iter().map(|(.., available)| available).sum();
        let least = deployment.replicas().saturating_sub(deployment.most_unavailable());
        Counts {
            replicas: count(deployment.workloads().map(pods).sum()),
            updated: count(pods(deployment.newest())),
            available: i32::try_from(available).unwrap_or(i32::MAX),
            is_available: available >= least,
            is_overdue: deployment.is_overdue(),
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
        if self.is_news(now_ns, index) {
            self.reconcile_standard(now_ns, index, schedule);
        } else {
            self.split_over_pods(index);
        }
    }

    /// Whether a plan of now would look at something else than the last one did. Of a single Deployment it looks at the
    /// conditions, of several ones also at their pods.
    fn is_news(&self, now_ns: u64, index: usize) -> bool {
        let Rollout::Standard(standard) = &self.state.services[index].rollout else { return false };
        let statuses = self.statuses(now_ns, index);
        if let ([known], [status]) = (standard.deployments.as_slice(), statuses.as_slice()) {
            let conditions =
                |status: Option<&DeploymentStatus>| status.map(|status| status.conditions.clone());
            return conditions(known.status.as_ref()) != conditions(status.as_ref());
        }
        standard.deployments.iter().map(|known| &known.status).ne(&statuses)
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

/// A Deployment after it was applied, with the generation that the API server gives it and the status that it had.
fn applied(mut wanted: Deployment, standard: &Standard) -> Deployment {
    let name = &wanted.metadata.name;
    let known = standard.deployments.iter().find(|known| known.metadata.name == *name);
    let is_new = known.is_none_or(|known| known.spec != wanted.spec);
    wanted.metadata.generation = next_generation(known.and_then(|known| known.metadata.generation), is_new);
    wanted.status = known.and_then(|known| known.status.clone());
    wanted
}

/// How a service's own route splits requests, by Service and in percent. Before there is one, the predictor's Service
/// leads to its pods.
fn shares_of(routes: &[HttpRoute], service: &str, stable: &str) -> Vec<(String, u32)> {
    let route = routes.iter().find(|route| route.metadata.name.as_deref() == Some(service));
    let backends = route.and_then(|route| route.spec.rules.first()).map(|rule| rule.backend_refs.as_slice());
    match backends.unwrap_or_default() {
        [] => vec![(stable.to_owned(), 100)],
        [only] => vec![(only.name.clone(), 100)],
        several => several
            .iter()
            .map(|backend| (backend.name.clone(), u32::try_from(backend.weight.unwrap_or(1)).unwrap_or(0)))
            .collect(),
    }
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
