//! Flagger's Canary with its MetricTemplates.

use std::collections::BTreeMap;

use windtunnel_api::manifest::Manifest;
use windtunnel_kernel::rollout::flagger::spec::{
    Analysis, DeploymentStrategy, HookType, Metric, Reference, Webhook,
};
use windtunnel_kernel::rollout::flagger::{CanarySpec, HookAnswer};

use super::measure::{DEFAULT_NS, Measure, Signal, duration_ns};
use super::{place_of, query_of, spec_of, target_of};
use crate::error::SimError;
use crate::plan::ServicePlan;

/// The provider that has nothing but Services.
const KUBERNETES: &str = "kubernetes";

/// Providers whose routes tell requests by their headers; the first is Flagger's own default.
const MATCHING: [&str; 7] = ["", "istio", "gatewayapi", "contour", "gloo", "nginx", "appmesh"];

/// Providers that copy requests to the canary.
const MIRRORING: [&str; 3] = ["", "istio", "gatewayapi"];

/// A Canary, bound to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct FlaggerPlan {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its specification. `targetRef` names what the simulation has in the target's place.
    pub spec: CanarySpec,
    /// What its metrics stand for, by name.
    pub measures: BTreeMap<String, Measure>,
    /// What its webhooks answer, by name.
    pub hooks: BTreeMap<String, HookPlan>,
    /// Percentage of the requests that are mirrored, where they are.
    pub mirror_percent: u32,
}

/// What a webhook answers. The load tester's addresses are known by their ends:
///
/// | end of the URL | answer |
/// | --- | --- |
/// | `/gate/approve` | yes |
/// | `/gate/halt` | no |
/// | `/gate/check` | no, until a command opens the gate |
/// | `/rollback/check` | no, until a command opens the rollback |
/// | any other | yes, but no where the type is `rollback` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookPlan {
    /// Always this.
    Says(HookAnswer),
    /// Whether the Canary's gate is open.
    Gate,
    /// Whether somebody has asked for a rollback.
    Rollback,
}

impl FlaggerPlan {
    pub(super) fn window_ns(&self) -> u64 {
        self.measures.values().map(Measure::window_ns).max().unwrap_or(0)
    }

    /// Whether it tests requests that match something. Services alone cannot tell them from others.
    pub(crate) fn tests_requests(&self) -> bool {
        let is_test = |analysis: &Analysis| analysis.strategy() == DeploymentStrategy::AbTesting;
        let is_analysed = !self.spec.skips_analysis() && self.spec.provider != KUBERNETES;
        is_analysed && self.spec.analysis().is_some_and(is_test)
    }
}

/// Reads a Canary; the place of its service comes first.
pub(super) fn read(
    manifest: &Manifest,
    manifests: &[Manifest],
    services: &[ServicePlan],
) -> Result<(usize, FlaggerPlan), SimError> {
    let place = place_of(manifest);
    let mut spec: CanarySpec = spec_of(manifest, &place)?;
    let Reference { api_version, kind, name, .. } = &spec.target_ref;
    let target = target_of((api_version, kind, name), services, &place)?;
    let service = &services[target];
    let (api_version, kind, name) = match &service.versions[0].standard {
        Some(plan) => ("apps/v1", "Deployment", plan.stable.name().to_owned()),
        None => ("serving.knative.dev/v1", "Service", service.predictor()),
    };
    spec.target_ref = Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name,
        ..Reference::default()
    };
    let analysis = spec.analysis().cloned().unwrap_or_default();
    let mirror_percent = check(&spec, &analysis, service.versions[0].standard.is_none(), &place)?;
    let mut measures = BTreeMap::new();
    for metric in &analysis.metrics {
        let measure = measure_of(metric, manifests).map_err(|message| SimError::Environment {
            place: format!("{place}: metric {:?}", metric.name),
            message,
        })?;
        measures.insert(metric.name.clone(), measure);
    }
    let hooks = analysis.webhooks.iter().map(|hook| (hook.name.clone(), answer_of(hook))).collect();
    let plan = FlaggerPlan {
        name: manifest.name.clone(),
        namespace: manifest.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        spec,
        measures,
        hooks,
        mirror_percent,
    };
    Ok((target, plan))
}

/// Refuses what the provider cannot route; how much of the traffic it mirrors, in percent.
fn check(spec: &CanarySpec, analysis: &Analysis, is_knative: bool, place: &str) -> Result<u32, SimError> {
    let refused = |what: &str, remedy: &str| {
        Err(SimError::Unsupported {
            place: place.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    let provider = if is_knative { "knative" } else { spec.provider.as_str() };
    if provider == KUBERNETES {
        // Neither is done: its controller says so and goes on as blue/green.
        return Ok(0);
    }
    let is_any = |known: &[&str]| known.iter().any(|known| provider.split(':').next() == Some(*known));
    if analysis.strategy() == DeploymentStrategy::AbTesting && !is_any(&MATCHING) {
        return refused(
            &format!(
                "an A/B test with the provider {provider}, which would send every request to the canary,"
            ),
            "leave out analysis.match, or use a provider that matches headers, such as istio, in Standard mode",
        );
    }
    if !analysis.mirror || analysis.strategy() == DeploymentStrategy::AbTesting {
        return Ok(0);
    }
    if !is_any(&MIRRORING) {
        return refused(
            &format!(
                "mirrored traffic with the provider {provider}, with which a canary never gets further,"
            ),
            "leave out analysis.mirror, or use the provider istio or gatewayapi:v1 in Standard mode",
        );
    }
    match u32::try_from(analysis.mirror_weight) {
        // Flagger's Gateway API router mirrors everything, whatever the weight says.
        Ok(_) if is_any(&["gatewayapi"]) => Ok(100),
        Ok(0) => Ok(100),
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err(SimError::Environment {
            place: place.to_owned(),
            message: format!(
                "analysis.mirrorWeight is {}; write a percentage from 0 (all of the traffic) to 100",
                analysis.mirror_weight
            ),
        }),
    }
}

fn measure_of(metric: &Metric, manifests: &[Manifest]) -> Result<Measure, String> {
    let window_ns = match metric.interval.as_str() {
        "" => DEFAULT_NS,
        text => duration_ns(text)
            .ok_or_else(|| format!("its interval {text:?} is no duration; write one such as 1m"))?,
    };
    if let Some(reference) = &metric.template_ref {
        let is_it = |known: &&Manifest| known.kind == "MetricTemplate" && known.name == reference.name;
        let template = manifests.iter().find(is_it).ok_or_else(|| {
            format!("there is no MetricTemplate {:?} in the manifests; add it", reference.name)
        })?;
        let own = template.value["spec"]["query"].as_str().unwrap_or_default();
        return Measure::of(query_of(template, &metric.name, own).trim(), window_ns);
    }
    match metric.name.as_str() {
        "request-success-rate" => Ok(Measure::of_canary(Signal::SuccessRate, window_ns, 100.0)),
        "request-duration" => Ok(Measure::of_canary(Signal::Latency(0.99), window_ns, 1.0)),
        _ if !metric.query.is_empty() => Measure::of(metric.query.trim(), window_ns),
        _ => Err("it has neither a templateRef nor a query, and it is not one of the built-in \
                  request-success-rate and request-duration"
            .to_owned()),
    }
}

/// What a webhook answers, see [`HookPlan`].
fn answer_of(hook: &Webhook) -> HookPlan {
    let url = hook.url.trim_end_matches('/');
    let says = |is_yes: bool| HookPlan::Says(HookAnswer::Status(if is_yes { 200 } else { 403 }));
    if url.ends_with("/gate/check") {
        HookPlan::Gate
    } else if url.ends_with("/rollback/check") {
        HookPlan::Rollback
    } else if url.ends_with("/gate/approve") {
        says(true)
    } else {
        says(hook.hook_type != HookType::Rollback && !url.ends_with("/gate/halt"))
    }
}
