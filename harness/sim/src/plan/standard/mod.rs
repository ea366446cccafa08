//! KServe's Standard mode: what the Deployments, autoscalers and routes that KServe makes of an InferenceService mean
//! to the simulator.

pub(crate) mod status;
pub(crate) mod strategy;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::kserve::plan::Children;
use windtunnel_api::kserve::{InferenceService, names};
use windtunnel_kernel::autoscale::hpa::HpaSpec;
use windtunnel_kernel::autoscale::keda::ScaledObjectSpec;

use self::strategy::Strategy;
use super::{ControlPlan, Kserve, RevisionPlan, Template};
use crate::error::SimError;

pub(crate) use self::status::Counts;

/// Annotations by which people tell KEDA what to do with a ScaledObject.
const KEDA_PREFIX: &str = "autoscaling.keda.sh/";

const SECOND_NS: u64 = 1_000_000_000;

/// Seconds that nobody waits.
const FOR_EVER_S: u64 = 1_000_000_000;

/// What KServe makes of an InferenceService in Standard mode, once everything is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct StandardPlan {
    /// The predictor's own: what answers what nothing else does.
    pub stable: DeploymentPlan,
    /// The others: canaries, and the workers of a model that spans several nodes.
    pub beside: Vec<DeploymentPlan>,
    /// How long a request may take in the gateway.
    pub timeout_ns: u64,
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
    /// Why KServe, or the API server, would make nothing of it, or what is not simulated; `after` says after which
    /// event.
    pub(super) fn of(service: &InferenceService, kserve: &Kserve, after: &str) -> Result<Self, SimError> {
        let children = kserve.settled(service, after)?;
        let timeout_ns = timeout_ns(&children.http_routes);
        let mut beside = deployments(&children, service, kserve, (timeout_ns, after))?;
        let predictor = service.spec.predictor.name.as_deref();
        let name = names::predictor_service_name(service.name(), predictor);
        let stable = beside.iter().position(|deployment| deployment.name() == name);
        let stable = beside.remove(stable.unwrap_or(0));
        Ok(Self { stable, beside, timeout_ns })
    }

    /// The Deployments, the stable one first.
    pub fn deployments(&self) -> impl Iterator<Item = &DeploymentPlan> {
        std::iter::once(&self.stable).chain(&self.beside)
    }

    /// The Deployments, to be changed.
    pub(super) fn deployments_mut(&mut self) -> impl Iterator<Item = &mut DeploymentPlan> {
        std::iter::once(&mut self.stable).chain(&mut self.beside)
    }

    /// Replicas that the stable Deployment begins with.
    pub fn first_scale(&self) -> u32 {
        self.stable.first_scale()
    }
}

/// The Deployments among the children of a service, in KServe's order.
///
/// # Errors
/// What the API server would refuse of them, or what is not simulated.
pub(crate) fn deployments(
    children: &Children,
    service: &InferenceService,
    kserve: &Kserve,
    (timeout_ns, after): (u64, &str),
) -> Result<Vec<DeploymentPlan>, SimError> {
    let refused =
        |message| SimError::Refused { service: service.name().to_owned(), after: after.to_owned(), message };
    let read = |deployment: &Deployment| {
        let annotations = deployment.metadata.annotations.as_ref();
        let class = annotations.and_then(|all| all.get(names::AUTOSCALER_CLASS));
        if class.is_some_and(|class| class == "kpa") {
            return Err(SimError::Unsupported {
                place: format!("InferenceService {:?}{after}", service.name()),
                what: "the autoscaler class kpa in Standard mode".to_owned(),
                remedy: format!(
                    "annotate it with {}: {} to have that autoscaler",
                    names::DEPLOYMENT_MODE,
                    names::KNATIVE
                ),
            });
        }
        DeploymentPlan::of(deployment, children, service, kserve, timeout_ns).map_err(refused)
    };
    children.deployments.iter().map(read).collect()
}

impl DeploymentPlan {
    fn of(
        deployment: &Deployment,
        children: &Children,
        service: &InferenceService,
        kserve: &Kserve,
        timeout_ns: u64,
    ) -> Result<Self, String> {
        let name = deployment.metadata.name.clone().unwrap_or_default();
        let spec = deployment.spec.clone().unwrap_or_default();
        let (template, storage_uri) = Template::read(&spec.template, service, kserve)?;
        let strategy = serde_json::to_value(&spec.strategy).map_err(|error| error.to_string())?;
        let seconds_ns = |seconds: i32| u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND_NS);
        Ok(Self {
            hash: hash_of(&spec.template)?,
            strategy: Strategy::of(Some(&strategy))?,
            min_ready_ns: seconds_ns(spec.min_ready_seconds.unwrap_or(0)),
            progress_deadline_ns: seconds_ns(spec.progress_deadline_seconds.unwrap_or(600)),
            replicas: spec.replicas.map(|replicas| u32::try_from(replicas).unwrap_or(0)),
            scaler: scaler(&name, children)?,
            is_scaled_by_an_object: false,
            revision: RevisionPlan {
                name,
                storage_uri,
                template,
                timeout_ns,
                // Nothing in front of the pods counts requests in this mode.
                container_concurrency: 0,
                control: ControlPlan::Deployment,
            },
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

/// What KServe lets scale the Deployment `name`.
fn scaler(name: &str, children: &Children) -> Result<ScalerPlan, String> {
    let mut autoscalers = children.autoscalers.iter();
    if let Some(found) = autoscalers.find(|found| found.spec.scale_target_ref.name == name) {
        return Ok(ScalerPlan::Hpa(Box::new(spec(&found.spec)?)));
    }
    let mut objects = children.scaled_objects.iter();
    let Some(found) = objects.find(|found| found.spec.scale_target_ref.name == name) else {
        return Ok(ScalerPlan::Fixed);
    };
    let annotations = found.metadata.annotations.iter().flatten();
    let annotations = annotations.filter(|(key, _)| key.starts_with(KEDA_PREFIX));
    Ok(ScalerPlan::Keda(Box::new(KedaPlan {
        name: found.metadata.name.clone().unwrap_or_default(),
        spec: spec(&found.spec)?,
        annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
    })))
}

/// An autoscaler's specification as its kernel reads it.
fn spec<T: DeserializeOwned>(object: &impl Serialize) -> Result<T, String> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the autoscaler's spec: {error}"))
}

/// How long the routes let a request take: what their rules say, else for ever.
fn timeout_ns(routes: &[HttpRoute]) -> u64 {
    let mut rules = routes.iter().flat_map(|route| &route.spec.rules);
    let request = rules.find_map(|rule| rule.timeouts.as_ref()?.request.as_deref());
    let seconds = request.and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok());
    seconds.filter(|seconds| *seconds > 0).unwrap_or(FOR_EVER_S).saturating_mul(SECOND_NS)
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
