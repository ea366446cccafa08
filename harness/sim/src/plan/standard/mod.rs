//! KServe's Standard mode: an InferenceService as Deployments with autoscalers, the stable one and its canaries.

pub(crate) mod autoscaling;
pub(crate) mod strategy;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use windtunnel_api::kserve::runtime::{self, Runtime, Selected};
use windtunnel_api::kserve::{
    ComponentExtension, InferenceService, KserveConfig, PredictorSpec, names, render,
};
use windtunnel_api::pod_fields;
use windtunnel_kernel::autoscale::hpa::HpaSpec;
use windtunnel_kernel::autoscale::keda::ScaledObjectSpec;
use windtunnel_kernel::rollout::kserve::standard::service_name;

use self::autoscaling::{AutoscalerClass, deployment_replicas, hpa_spec, scaled_object_spec};
use self::strategy::Strategy;
use super::{ControlPlan, RevisionPlan, Template};

/// Longest time for one request where a manifest does not say: the timeout of KServe's HTTPRoutes, in seconds.
const DEFAULT_TIMEOUT_S: i64 = 60;

/// Annotations that say how to scale and do not reach the pods' template.
const SCALING_PREFIX: &str = "autoscaling.knative.dev/";

const SECOND_NS: u64 = 1_000_000_000;

/// An InferenceService in Standard mode.
#[derive(Clone, Debug, PartialEq)]
pub struct StandardPlan {
    /// `spec.predictor.name`; empty when it has none.
    pub name: String,
    /// `spec.predictor.minReplicas`.
    pub min_replicas: Option<i32>,
    /// What answers what the canaries do not.
    pub stable: DeploymentPlan,
    /// `spec.canary`, in order.
    pub canaries: Vec<CanaryPlan>,
    /// `canaryTrafficPercent`, which this mode ignores.
    pub ignored_percent: Option<i64>,
}

/// A canary of a service in Standard mode.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryPlan {
    /// `predictor.name`.
    pub name: String,
    /// Its percentage of the requests.
    pub percent: i32,
    /// `predictor.minReplicas`; `None` follows from the percentage.
    pub min_replicas: Option<i32>,
    /// What answers them.
    pub deployment: DeploymentPlan,
}

/// A Deployment with its autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentPlan {
    /// What its pods are; the name is the Deployment's.
    pub revision: RevisionPlan,
    /// Tells one pod template from another.
    pub hash: u64,
    /// How it replaces its pods.
    pub strategy: Strategy,
    /// How long a pod has to be ready to count as available.
    pub min_ready_ns: u64,
    /// After so long without progress an update counts as failed.
    pub progress_deadline_ns: u64,
    /// `spec.replicas`, where the manifest says it.
    pub replicas: Option<u32>,
    /// Who decides how many replicas it has.
    pub scaler: ScalerPlan,
    /// The scaler is an object of its own in the manifests: KServe does not touch its bounds.
    pub is_scaled_by_an_object: bool,
}

/// Who decides how many replicas a Deployment has.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalerPlan {
    /// Nobody.
    Fixed,
    /// A HorizontalPodAutoscaler.
    Hpa(Box<HpaSpec>),
    /// A ScaledObject.
    Keda(Box<KedaPlan>),
}

/// A ScaledObject.
#[derive(Clone, Debug, PartialEq)]
pub struct KedaPlan {
    /// Its name.
    pub name: String,
    /// Its specification.
    pub spec: ScaledObjectSpec,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl StandardPlan {
    /// Reads an admitted service.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub(super) fn of(
        service: &InferenceService,
        selected: &Selected,
        runtimes: &[Runtime],
        kserve: &KserveConfig,
    ) -> Result<Self, String> {
        let predictor = &service.spec.predictor;
        let name = predictor.name.clone().unwrap_or_default();
        let extension = &predictor.extension;
        let stable = DeploymentPlan::of(service, selected, &name, kserve)?;
        let mut canaries = Vec::new();
        for canary in service.spec.canary.iter().flatten() {
            let mut own = service.clone();
            own.spec.predictor = merged(predictor, &canary.predictor)?;
            own.spec.canary = None;
            // A canary's replicas follow from the stable predictor's; its autoscaler holds them.
            own.spec.predictor.extension.min_replicas = canary.predictor.extension.min_replicas;
            let name = canary.predictor.name.clone().unwrap_or_default();
            let selected = runtime::select(&own, runtimes).map_err(|failure| failure.to_string())?;
            canaries.push(CanaryPlan {
                percent: canary.traffic_percent,
                min_replicas: canary.predictor.extension.min_replicas,
                deployment: DeploymentPlan::of(&own, &selected, &name, kserve)?,
                name,
            });
        }
        Ok(Self {
            name,
            min_replicas: extension.min_replicas,
            stable,
            canaries,
            ignored_percent: extension.canary_traffic_percent,
        })
    }

    /// The Deployments, the stable one first.
    pub fn deployments(&self) -> impl Iterator<Item = &DeploymentPlan> {
        std::iter::once(&self.stable).chain(self.canaries.iter().map(|canary| &canary.deployment))
    }

    /// The Deployments, to be changed.
    pub(super) fn deployments_mut(&mut self) -> impl Iterator<Item = &mut DeploymentPlan> {
        std::iter::once(&mut self.stable).chain(self.canaries.iter_mut().map(|canary| &mut canary.deployment))
    }

    /// Replicas that the stable Deployment begins with.
    pub fn first_scale(&self) -> u32 {
        self.stable.first_scale()
    }
}

impl DeploymentPlan {
    fn of(
        service: &InferenceService,
        selected: &Selected,
        predictor_name: &str,
        kserve: &KserveConfig,
    ) -> Result<Self, String> {
        let name = service_name(service.name(), predictor_name);
        let extension = &service.spec.predictor.extension;
        let rendered = render::knative_service(service, selected, kserve).spec.template;
        let mut metadata = rendered.metadata.unwrap_or_default();
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|key, _| !key.starts_with(SCALING_PREFIX));
        }
        if let Some(labels) = &mut metadata.labels {
            labels.insert("app".to_owned(), format!("isvc.{name}"));
        }
        let template = PodTemplateSpec {
            metadata: Some(metadata),
            spec: Some(pod_fields::pod_spec(&rendered.spec.pod)?),
        };
        let timeout_s = extension.timeout.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_TIMEOUT_S);
        let class = AutoscalerClass::of(service.annotation(names::AUTOSCALER_CLASS))?;
        let replicas = deployment_replicas(class, extension);
        Ok(Self {
            revision: RevisionPlan {
                storage_uri: service.spec.predictor.storage_uri().unwrap_or_default().to_owned(),
                template: Template::of(&template, kserve)?,
                timeout_ns: u64::try_from(timeout_s).unwrap_or(0).saturating_mul(SECOND_NS),
                // Nothing in front of the pods counts requests in this mode.
                container_concurrency: 0,
                control: ControlPlan::Deployment,
                name: name.clone(),
            },
            hash: hash_of(&template)?,
            strategy: Strategy::of(extension.deployment_strategy.as_ref())?,
            min_ready_ns: 0,
            progress_deadline_ns: 600 * SECOND_NS,
            replicas: replicas.map(|replicas| u32::try_from(replicas).unwrap_or(0)),
            scaler: scaler(class, &name, service.namespace(), extension)?,
            is_scaled_by_an_object: false,
        })
    }

    /// The Deployment's name.
    pub fn name(&self) -> &str {
        &self.revision.name
    }

    /// Replicas of a Deployment that is new: the API server's default is 1. Where an autoscaler has a higher minimum
    /// it says so at its first sync; before the run begins that has happened.
    pub(crate) fn first_scale(&self) -> u32 {
        let least = match &self.scaler {
            ScalerPlan::Fixed => 0,
            ScalerPlan::Hpa(spec) => spec.minimum(),
            ScalerPlan::Keda(plan) => plan.spec.minimum(),
        };
        let least = u32::try_from(least).unwrap_or(0);
        match (self.replicas, &self.scaler) {
            (Some(replicas), _) => replicas.max(least),
            (None, ScalerPlan::Fixed | ScalerPlan::Hpa(_)) => least.max(1),
            (None, ScalerPlan::Keda(_)) => least,
        }
    }
}

fn scaler(
    class: AutoscalerClass,
    name: &str,
    namespace: &str,
    extension: &ComponentExtension,
) -> Result<ScalerPlan, String> {
    Ok(match class {
        AutoscalerClass::None | AutoscalerClass::External => ScalerPlan::Fixed,
        AutoscalerClass::Hpa => ScalerPlan::Hpa(Box::new(hpa_spec(name, extension)?)),
        AutoscalerClass::Keda => ScalerPlan::Keda(Box::new(KedaPlan {
            name: name.to_owned(),
            spec: scaled_object_spec(name, namespace, extension)?,
            annotations: BTreeMap::new(),
        })),
    })
}

/// The stable predictor with what a canary says instead: what the canary leaves out, or leaves empty, is the stable
/// predictor's.
fn merged(stable: &PredictorSpec, canary: &PredictorSpec) -> Result<PredictorSpec, String> {
    let value = |spec: &PredictorSpec| serde_json::to_value(spec).map_err(|error| error.to_string());
    let mut merged = value(stable)?;
    let mut own = value(canary)?;
    drop_empty(&mut own);
    json_patch::merge(&mut merged, &own);
    serde_json::from_value(merged).map_err(|error| error.to_string())
}

/// Takes out what counts as not given: null, zero, false, and what is empty.
fn drop_empty(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_set) => *is_set,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => {
            fields.retain(|_, field| drop_empty(field));
            !fields.is_empty()
        }
    }
}

/// FNV-1a over the template's text: two templates are one when they say the same.
fn hash_of(template: &PodTemplateSpec) -> Result<u64, String> {
    let text = serde_json::to_string(template).map_err(|error| error.to_string())?;
    Ok(text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

impl KedaPlan {
    /// The specification with triggers that the kernel knows: an `external` one that asks an OpenTelemetry scaler is
    /// a query with a threshold a pod, as a Prometheus one is.
    pub(crate) fn simulated(&self) -> ScaledObjectSpec {
        let mut spec = self.spec.clone();
        for trigger in spec.triggers.iter_mut().filter(|trigger| trigger.kind == "external") {
            if let (Some(query), Some(target)) =
                (trigger.metadata.get("metricQuery"), trigger.metadata.get("targetValue"))
            {
                let metadata = [("query", query.clone()), ("threshold", target.clone())];
                trigger.metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
                trigger.kind = "prometheus".to_owned();
            }
        }
        spec
    }
}
