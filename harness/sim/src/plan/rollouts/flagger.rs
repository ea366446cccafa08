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
    pub hooks: BTreeMap<String, HookAnswer>,
}

impl FlaggerPlan {
    pub(super) fn window_ns(&self) -> u64 {
        self.measures.values().map(Measure::window_ns).max().unwrap_or(0)
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
        None => ("serving.knative.dev/v1", "Service", format!("{}-predictor", service.name)),
    };
    spec.target_ref = Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name,
        ..Reference::default()
    };
    let analysis = spec.analysis().cloned().unwrap_or_default();
    check(&analysis, &place)?;
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
    };
    Ok((target, plan))
}

fn check(analysis: &Analysis, place: &str) -> Result<(), SimError> {
    let refused = |what: &str, remedy: &str| {
        Err(SimError::Unsupported {
            place: place.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    if analysis.strategy() == DeploymentStrategy::AbTesting {
        return refused("an A/B test by headers", "leave out analysis.match");
    }
    if analysis.mirror {
        return refused("mirrored traffic", "leave out analysis.mirror");
    }
    Ok(())
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

/// Everybody agrees: nobody asks for a rollback, and only the load tester's closed gate says no.
fn answer_of(hook: &Webhook) -> HookAnswer {
    let is_no =
        hook.hook_type == HookType::Rollback || hook.url.trim_end_matches('/').ends_with("/gate/halt");
    HookAnswer::Status(if is_no { 403 } else { 200 })
}
