//! `spec.canary[]` in the Standard mode: predictors beside the stable one, each with a share of the requests.
//!
//! A canary is the stable predictor with the canary's own settings over it. It has a Deployment, a Service and an
//! autoscaler that holds its replicas. When a canary's name becomes the stable predictor's, its objects keep their
//! names and their content, so no pod is restarted; the old ones are simply not planned any more. Nothing is looked
//! up by label to be deleted, so workers of a model that spans several nodes are never touched. The rules are the
//! kernel's.

use serde_json::{Map, Value};
use windtunnel_kernel::rollout::kserve::standard::{self as rules, CanaryCondition};

use super::super::component::{AutoScaling, ComponentExtension};
use super::super::inference_service::{CanarySpec, InferenceService};
use super::super::names;
use super::super::predictor::PredictorSpec;
use super::super::status_types::CanaryStatus;
use super::autoscaler::Class;
use super::workload::{self, Workload};
use super::{Fault, Inputs, Profile, on_demand, standard};
use crate::condition::{FALSE, TRUE};

/// The canaries of a service, and what the rules say about them.
pub(super) struct Canaries {
    pub(super) rules: rules::Predictor,
    pub(super) decision: rules::Decision,
}

impl Canaries {
    /// From the specification, and from the Deployments that there are.
    pub(super) fn of(inputs: &Inputs<'_>) -> Self {
        let service = inputs.service;
        let stored = service.status.as_ref().and_then(|status| status.canary_statuses.as_ref());
        let available = |deployment: &str, canary: &str| {
            let deployments = inputs.observed.deployments.iter();
            let mut found = deployments.copied();
            let found = found.find(|found| found.metadata.name.as_deref() == Some(deployment))?;
            let available = found.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
            let was_ready = stored.into_iter().flatten().any(|old| old.name == canary && old.ready);
            let is_asleep = available == 0
                && on_demand::is_on_demand(found)
                && on_demand::serves(found, was_ready, &standard::pods_of(inputs, deployment));
            // A canary that wakes with the next request gets it.
            Some(if is_asleep { 1 } else { available })
        };
        let canary = |canary: &CanarySpec| {
            let name = canary.predictor.name.clone().unwrap_or_default();
            let deployment = names::predictor_service_name(service.name(), Some(&name));
            rules::Canary {
                available_replicas: available(&deployment, &name).unwrap_or(0),
                name,
                traffic_percent: canary.traffic_percent,
                min_replicas: canary.predictor.extension.min_replicas,
            }
        };
        let rules = rules::Predictor {
            service: service.name().to_owned(),
            name: service.spec.predictor.name.clone().unwrap_or_default(),
            min_replicas: service.spec.predictor.extension.min_replicas,
            canaries: service.spec.canary.iter().flatten().map(canary).collect(),
            stopped: false,
        };
        let decision = rules::reconcile(&rules, inputs.profile);
        Self { rules, decision }
    }

    /// The canaries' components.
    pub(super) fn workloads(&self, inputs: &Inputs<'_>, stable: &Workload) -> Result<Vec<Workload>, Fault> {
        let specs = inputs.service.spec.canary.iter().flatten();
        let mut workloads = Vec::new();
        for (spec, replicas) in specs.zip(&self.decision.canary_replicas) {
            let name = spec.predictor.name.as_deref().unwrap_or_default();
            let build = || -> Result<Workload, Fault> {
                let service = with_canary(inputs.service, spec, inputs.profile)?;
                let mut workload = workload::predictor(&service, inputs)?;
                let class = Class::of(stable, inputs.profile)?;
                workload.extension = extension(&workload.extension, stable, *replicas, class, inputs.profile);
                Ok(workload)
            };
            let workload = build().map_err(|fault| {
                // The stable model is fine, so its status says nothing about this.
                Fault::Component(format!("fails to build resources for canary {name}: {}", fault.message()))
            })?;
            workloads.push(workload);
        }
        Ok(workloads)
    }

    /// `status.canaryStatuses`. Upstream leaves the model's state out; here it is filled in.
    pub(super) fn statuses(&self, inputs: &Inputs<'_>) -> Vec<CanaryStatus> {
        let stored = inputs.service.status.as_ref().and_then(|status| status.canary_statuses.as_ref());
        let status = |canary: &rules::Canary| {
            let previous = stored.into_iter().flatten().find(|old| old.name == canary.name);
            let previous = previous.and_then(|old| old.model_status.clone()).unwrap_or_default();
            let deployment = names::predictor_service_name(inputs.service.name(), Some(&canary.name));
            CanaryStatus {
                name: canary.name.clone(),
                ready: canary.is_ready(),
                traffic_percent: canary.traffic_percent,
                model_status: (!inputs.profile.has_upstream_bugs())
                    .then(|| standard::model_status_of(inputs, &deployment, previous, canary.is_ready())),
                ..CanaryStatus::default()
            }
        };
        self.rules.canaries.iter().map(status).collect()
    }
}

/// Status and reason of `CanaryPredictorReady`.
pub(super) fn condition_words(condition: CanaryCondition) -> (&'static str, &'static str) {
    match condition {
        CanaryCondition::AllCanariesReady => (TRUE, "AllCanariesReady"),
        CanaryCondition::CanariesNotReady => (FALSE, "CanariesNotReady"),
        CanaryCondition::Stopped => (FALSE, "Stopped"),
    }
}

/// The settings that a canary's objects follow from: as many replicas as the rules say, no more and no less.
///
/// Upstream drops everything else, so that a canary's Service leads past its agent, its Deployment has another
/// strategy, and its ScaledObject has no trigger, which KEDA refuses: likely bugs, which the Windtunnel profile
/// leaves out.
fn extension(
    merged: &ComponentExtension,
    stable: &Workload,
    replicas: i32,
    class: Class,
    profile: Profile,
) -> ComponentExtension {
    if profile.has_upstream_bugs() {
        return ComponentExtension { min_replicas: Some(replicas), ..ComponentExtension::default() };
    }
    if class == Class::Kpa {
        // It follows its own requests; the rules say how few replicas it may have.
        return ComponentExtension { min_replicas: Some(replicas), ..merged.clone() };
    }
    let (replicas, metrics) = match class {
        Class::Keda => {
            let scaling = stable.extension.auto_scaling.as_ref();
            (replicas.max(1), scaling.and_then(|scaling| scaling.metrics.clone()))
        }
        _ => (replicas, None),
    };
    ComponentExtension {
        min_replicas: Some(replicas),
        max_replicas: None,
        scale_target: None,
        scale_metric: None,
        scale_metric_type: None,
        auto_scaling: metrics.map(|metrics| AutoScaling { metrics: Some(metrics), ..AutoScaling::default() }),
        ..merged.clone()
    }
}

/// The service with the canary's predictor in the place of the stable one.
fn with_canary(
    service: &InferenceService,
    canary: &CanarySpec,
    profile: Profile,
) -> Result<InferenceService, Fault> {
    let mut own = service.clone();
    own.spec.predictor =
        merged(&service.spec.predictor, &canary.predictor, profile).map_err(Fault::Component)?;
    own.spec.canary = None;
    Ok(own)
}

/// The stable predictor with everything over it that the canary gives. What is empty or zero is not given, so a
/// canary cannot take a setting away.
///
/// A canary that says where its model is gets no second place from the stable predictor, where upstream would keep
/// both and fail.
fn merged(stable: &PredictorSpec, canary: &PredictorSpec, profile: Profile) -> Result<PredictorSpec, String> {
    let value = |spec: &PredictorSpec| serde_json::to_value(spec).map_err(|error| error.to_string());
    let mut base = value(stable)?;
    let mut own = value(canary)?;
    is_given(&mut own);
    let own = own.as_object().cloned().unwrap_or_default();
    if !profile.has_upstream_bugs() {
        let model = own.get("model").and_then(Value::as_object);
        let gives = |key: &str| model.is_some_and(|model| model.contains_key(key));
        let (uri, storage, uris) = (gives("storageUri"), gives("storage"), own.contains_key("storageUris"));
        if uri || storage {
            remove(&mut base, "", "storageUris");
        }
        if uri || uris {
            remove(&mut base, "model", "storage");
        }
        if storage || uris {
            remove(&mut base, "model", "storageUri");
        }
    }
    if let Value::Object(base) = &mut base {
        put_over(base, own);
    }
    serde_json::from_value(base).map_err(|error| error.to_string())
}

fn remove(base: &mut Value, below: &str, key: &str) {
    let parent = if below.is_empty() { Some(base) } else { base.get_mut(below) };
    if let Some(Value::Object(parent)) = parent {
        parent.remove(key);
    }
}

fn put_over(base: &mut Map<String, Value>, own: Map<String, Value>) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(own)) => put_over(base, own),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Takes out what counts as not given (null, zero, false, and what is empty) and says whether anything is left.
fn is_given(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_set) => *is_set,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => {
            fields.retain(|_, field| is_given(field));
            !fields.is_empty()
        }
    }
}
