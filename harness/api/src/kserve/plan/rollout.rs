//! `canaryTrafficPercent` in the Standard mode (profile Windtunnel; upstream ignores it there).
//!
//! # Design
//! The Deployment `{service}-predictor` always runs the revision that was rolled out last; the newest one runs beside it
//! as `{service}-predictor-{hash}` for as long as it has a part of the requests, with a Service and an autoscaler of
//! its own, and HTTPRoutes split by weight. So the name that everybody knows (the address inside the cluster, the
//! HPA's target) never moves, a rollback is the removal of the second Deployment without a restart of the first, and a
//! second update during a canary replaces the canary and keeps the base, as in the Knative mode.
//!
//! The last rolled-out pod template is kept where it runs: in the first Deployment. The alternative, a
//! ControllerRevision, would be a second truth that can differ from what serves, and one more object to write in the
//! right order; here every step is one idempotent apply, and a crash between two of them heals by planning again. An
//! annotation of the Deployment (not of its pods, which would restart) says which template it holds. On promotion (100 or
//! no percentage) the first Deployment rolls to the new template, and the second keeps its part until that is done.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use windtunnel_kernel::rollout::kserve::standard::Backend;

use super::super::component::ComponentExtension;
use super::super::status_types::{ComponentStatus, InferenceServiceStatus};
use super::autoscaler::Class;
use super::settings::Settings;
use super::workload::Workload;
use super::{Fault, Inputs, deployment, on_demand, standard};
use crate::Fields;
use crate::condition::{Condition, FALSE, TRUE};
use crate::knative::TrafficTarget;

/// Annotation of a predictor's Deployment: hash of the pod template that it was made with.
pub(super) const TEMPLATE_HASH: &str = "windtunnel.dev/template-hash";

/// The revisions of a predictor that serve now.
pub(super) struct Revisions {
    /// What the predictor's own Deployment runs, with the hash of its template.
    pub(super) base: (Workload, String),
    /// The newest revision beside it.
    pub(super) canary: Option<Canary>,
    /// Condition `CanaryPredictorReady`, where there is something to say.
    pub(super) condition: Option<Condition>,
}

/// The newest revision beside the one that was rolled out.
pub(super) struct Canary {
    pub(super) workload: Workload,
    pub(super) hash: String,
    pub(super) is_ready: bool,
    /// Its part of the requests once it is ready, 0 to 100.
    pub(super) percent: i32,
}

impl Revisions {
    /// Which revisions there are to be for the predictor that is wanted.
    pub(super) fn of(wanted: Workload, inputs: &Inputs<'_>, settings: &Settings) -> Result<Self, Fault> {
        let hash = hash(&wanted, settings)?;
        let percent = wanted.extension.canary_traffic_percent;
        let main = find(inputs, &wanted.name);
        let known = main.and_then(|main| main.annotations().get(TEMPLATE_HASH).cloned());
        let (Some(main), Some(known)) = (main, known) else {
            // The first revision gets everything, whatever the percentage.
            return Ok(Self { base: (wanted, hash), canary: None, condition: None });
        };
        let share = i32::try_from(percent.unwrap_or(100).clamp(0, 100)).unwrap_or(100);
        if known == hash {
            let left = (!is_rolled_out(main)).then(|| find(inputs, &canary_name(&wanted, &hash))).flatten();
            // Promoted: the canary keeps its part until its template has arrived everywhere.
            let canary = left.map(|left| Canary {
                workload: beside(&wanted, &hash, share_of_route(inputs, &wanted, &left.name_any())),
                hash: hash.clone(),
                is_ready: serves(inputs, &wanted, &hash, left),
                percent: share_of_route(inputs, &wanted, &left.name_any()),
            });
            return Ok(Self { base: (wanted, hash), canary, condition: None });
        }
        let can_split = settings.enable_gateway_api && inputs.cluster.gateway_api;
        if share == 100 || !can_split {
            let condition = (share < 100).then(|| {
                let message = "canaryTrafficPercent needs HTTPRoutes (ingress.enableGatewayApi) to split requests; the newest revision gets all of them";
                Condition::new(super::conditions::CANARY_READY, FALSE, "NoTrafficSplit", message)
            });
            let name = canary_name(&wanted, &hash);
            let canary = find(inputs, &name).map(|left| {
                let percent = share_of_route(inputs, &wanted, &name);
                Canary {
                    workload: beside(&wanted, &hash, percent),
                    hash: hash.clone(),
                    is_ready: serves(inputs, &wanted, &hash, left),
                    percent,
                }
            });
            return Ok(Self { base: (wanted, hash), canary, condition });
        }
        let canary = beside(&wanted, &hash, share);
        let is_ready = find(inputs, &canary.name).is_some_and(|found| serves(inputs, &wanted, &hash, found));
        let (status, reason) =
            if is_ready { (TRUE, "AllCanariesReady") } else { (FALSE, "CanariesNotReady") };
        Ok(Self {
            base: (as_observed(&wanted, main), known),
            canary: Some(Canary { workload: canary, hash, is_ready, percent: share }),
            condition: Some(Condition::new(super::conditions::CANARY_READY, status, reason, "")),
        })
    }

    /// The backends that the predictor's requests are split between; `None` where there is only one. A canary that is
    /// not ready gets none of them.
    pub(super) fn split(&self) -> Option<Vec<Backend>> {
        let canary = self.canary.as_ref()?;
        let weight = if canary.is_ready { canary.percent } else { 0 };
        Some(vec![
            Backend { service: self.base.0.name.clone(), weight: 100 - weight },
            Backend { service: canary.workload.name.clone(), weight },
        ])
    }

    /// Revisions and traffic in the predictor's status, named as Knative's are.
    pub(super) fn tell(&self, state: &mut ComponentStatus) {
        let revision = |hash: &str| Some(format!("{}-{hash}", self.base.0.name));
        let base = revision(&self.base.1);
        let target = |name: Option<String>, is_latest: bool, percent: i32, tag: &str| TrafficTarget {
            revision_name: name,
            latest_revision: Some(is_latest),
            percent: Some(i64::from(percent)),
            tag: Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
            ..TrafficTarget::default()
        };
        if state.latest_rolledout_revision != base {
            state.previous_rolledout_revision = state.latest_rolledout_revision.take();
        }
        state.latest_rolledout_revision.clone_from(&base);
        match &self.canary {
            None => {
                state.latest_created_revision.clone_from(&base);
                state.latest_ready_revision.clone_from(&base);
                state.traffic = vec![target(base, true, 100, "")];
            }
            Some(canary) => {
                let newest = revision(&canary.hash);
                let percent = if canary.is_ready { canary.percent } else { 0 };
                state.latest_created_revision.clone_from(&newest);
                state.latest_ready_revision = if canary.is_ready { newest.clone() } else { base.clone() };
                state.traffic = if newest == base {
                    vec![target(base, true, 100, "")]
                } else {
                    vec![target(newest, true, percent, ""), target(base, false, 100 - percent, "prev")]
                };
            }
        }
    }
}

/// The predictor under the name of one of its revisions, with its share of the replicas.
fn beside(wanted: &Workload, hash: &str, percent: i32) -> Workload {
    let least = wanted.extension.min_replicas.unwrap_or(1);
    let share = i64::from(least) * i64::from(percent);
    let replicas = share.div_euclid(100) + i64::from(share.rem_euclid(100) != 0);
    let extension = ComponentExtension {
        min_replicas: i32::try_from(replicas.max(i64::from(least.min(1)))).ok(),
        ..wanted.extension.clone()
    };
    Workload { name: canary_name(wanted, hash), extension, ..wanted.clone() }
}

fn canary_name(wanted: &Workload, hash: &str) -> String {
    format!("{}-{hash}", wanted.name)
}

/// The predictor with the pods that its Deployment has now.
fn as_observed(wanted: &Workload, main: &Deployment) -> Workload {
    let template = main.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    let mut labels = metadata.labels.unwrap_or_default();
    labels.remove("app");
    let pod: Fields = template
        .spec
        .and_then(|spec| serde_json::to_value(spec).ok())
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_else(|| wanted.pod.clone());
    Workload {
        labels,
        annotations: on_demand::unmarked(metadata.annotations.unwrap_or_default(), wanted),
        pod,
        ..wanted.clone()
    }
}

fn find<'a>(inputs: &Inputs<'a>, name: &str) -> Option<&'a Deployment> {
    inputs.observed.deployments.iter().copied().find(|deployment| deployment.name_any() == name)
}

/// Whether the Deployment of a revision answers requests.
fn serves(inputs: &Inputs<'_>, wanted: &Workload, hash: &str, deployment: &Deployment) -> bool {
    if !on_demand::is_on_demand(deployment) {
        return deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0) > 0;
    }
    let stored = inputs.service.status.as_ref().and_then(InferenceServiceStatus::predictor);
    let newest = stored.and_then(|state| state.latest_ready_revision.as_ref());
    let was_ready = newest.is_some_and(|newest| *newest == format!("{}-{hash}", wanted.name));
    on_demand::serves(deployment, was_ready, &standard::pods_of(inputs, &deployment.name_any()))
}

/// Whether all pods have the newest template and serve.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let count = |number: Option<i32>| number.unwrap_or(0);
    status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
        && count(status.updated_replicas) == count(status.replicas)
        && count(status.available_replicas) == count(status.replicas)
}

/// The weight that a Service has in the predictor's route now.
fn share_of_route(inputs: &Inputs<'_>, wanted: &Workload, service: &str) -> i32 {
    let name = format!("{}-predictor", inputs.service.name());
    let routes = inputs.observed.http_routes.iter().copied();
    let backends = routes
        .filter(|route| route.metadata.name.as_deref() == Some(&name))
        .flat_map(|route| route.spec.rules.iter().flat_map(|rule| &rule.backend_refs));
    let weight = backends.into_iter().find(|backend| backend.name == service && backend.name != wanted.name);
    weight.and_then(|backend| backend.weight).unwrap_or(0).clamp(0, 100)
}

/// FNV-1a over the pod template that the predictor's Deployment would have, as 8 hexadecimal digits.
fn hash(wanted: &Workload, settings: &Settings) -> Result<String, Fault> {
    let rendered = deployment::render(wanted, Class::Hpa, settings)?;
    let template = rendered.spec.map(|spec| spec.template).unwrap_or_default();
    // Sorted keys, so that the text of one template is always the same.
    let sorted: BTreeMap<String, serde_json::Value> = serde_json::to_value(template)
        .and_then(serde_json::from_value)
        .map_err(|error| Fault::Component(error.to_string()))?;
    let text = serde_json::to_string(&sorted).map_err(|error| Fault::Component(error.to_string()))?;
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff)))
}
