//! Everything that must exist for an InferenceService, and what its status says, as one pure function of what is
//! observed: [`plan`].
//!
//! A controller gathers [`Inputs`], calls [`plan`], applies the [`Children`] (server-side, field manager
//! [`FIELD_MANAGER`]), deletes what the service controls and the plan does not name any more, and writes the
//! status. Stopping, promoting a canary, changing the autoscaler's class or the kind of ingress need no logic of
//! their own: the children of the next plan are simply others.
//!
//! | file | decides |
//! | --- | --- |
//! | `standard` | Deployments, Services, autoscalers and routes of the Standard mode |
//! | `knative_mode` | Knative Services and what leads to them |
//! | `canary` | `spec.canary[]` of the Standard mode |
//! | `rollout` | `canaryTrafficPercent` in the Standard mode (profile Windtunnel) |
//! | `on_demand` | scaling by requests in the Standard mode (profile Windtunnel) |
//! | `workload` | a component's names, labels, annotations and pod |
//!
//! The order of decisions and the wordings are those of upstream's reconciler
//! (`pkg/controller/v1beta1/inferenceservice`).

pub mod ca_bundle;
pub mod graph;
pub mod local_models;
pub mod on_demand;
pub mod trained_models;

mod autoscaler;
mod canary;
mod conditions;
mod deployment;
mod domain;
mod events;
mod gateway;
mod image_volumes;
mod ingress;
mod knative_mode;
mod model_state;
mod multi_node;
mod rollout;
mod scaled_object;
mod service;
mod settings;
mod standard;
mod stop;
mod virtual_service;
mod workload;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;

use super::config::KserveConfig;
use super::inference_service::InferenceService;
use super::names;
use super::pod::Surroundings;
use super::runtime::{ModelStatusFailure, Runtime};
use super::status_types::InferenceServiceStatus;
use crate::condition::{Condition, FALSE};
use crate::gateway_api::HttpRoute;
use crate::istio::VirtualService;
use crate::keda::ScaledObject;
use crate::knative;
use crate::opentelemetry::OpenTelemetryCollector;

pub use image_volumes::KubernetesVersion;
pub use windtunnel_kernel::Profile;

/// Who owns the fields of the children that are applied.
pub const FIELD_MANAGER: &str = "kserve-controller-manager";

/// What a plan is made of: the service, the settings around it, and what is there.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The service, as stored (defaulted and validated).
    pub service: &'a InferenceService,
    /// The ConfigMap `inferenceservice-config`.
    pub config: &'a KserveConfig,
    /// Runtimes to choose from: the namespace's and the cluster's.
    pub runtimes: &'a [Runtime],
    /// Which foreign kinds the cluster serves.
    pub cluster: Capabilities,
    /// Upstream as it is, or as it is meant, with our extensions.
    pub profile: Profile,
    /// What there is of the service now.
    pub observed: Observed<'a>,
    /// Whether Knative's `config-autoscaler` has `allow-zero-initial-scale: "true"`.
    pub allow_zero_initial_scale: bool,
    /// ClusterStorageContainers, Secrets and ServiceAccounts, for `storageUris` and the schemes of model URIs.
    pub around: Surroundings<'a>,
    /// The list of the service's TrainedModels (`models.json` of `modelconfig-{service}-0`); `None` is the empty list.
    /// Only a server of many models has one.
    pub models_json: Option<&'a str>,
    /// The version of the API server; `None` where it is not known.
    pub kubernetes: Option<&'a KubernetesVersion>,
}

impl<'a> Inputs<'a> {
    /// The inputs for a service of which nothing exists yet, on a cluster that serves all kinds.
    #[must_use]
    pub fn new(service: &'a InferenceService, config: &'a KserveConfig, runtimes: &'a [Runtime]) -> Self {
        Self {
            service,
            config,
            runtimes,
            cluster: Capabilities::ALL,
            profile: Profile::default(),
            observed: Observed::default(),
            allow_zero_initial_scale: false,
            around: Surroundings::EMPTY,
            models_json: None,
            kubernetes: None,
        }
    }
}

/// Kinds of others that may be missing in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `gateway.networking.k8s.io/v1 HTTPRoute`.
    pub gateway_api: bool,
    /// `serving.knative.dev/v1 Service`.
    pub knative: bool,
    /// `keda.sh/v1alpha1 ScaledObject`.
    pub keda: bool,
    /// `networking.istio.io/v1beta1 VirtualService`.
    pub istio: bool,
    /// `opentelemetry.io/v1beta1 OpenTelemetryCollector`.
    pub opentelemetry: bool,
}

impl Capabilities {
    /// All of them.
    pub const ALL: Self =
        Self { gateway_api: true, knative: true, keda: true, istio: true, opentelemetry: true };
}

/// What there is of a service: the objects of its namespace that it controls, and its pods. More than that does no
/// harm: objects are looked up by name and label.
#[derive(Clone, Debug, Default)]
pub struct Observed<'a> {
    /// Deployments.
    pub deployments: Vec<&'a Deployment>,
    /// Services.
    pub services: Vec<&'a Service>,
    /// HTTPRoutes.
    pub http_routes: Vec<&'a HttpRoute>,
    /// Ingresses.
    pub ingresses: Vec<&'a Ingress>,
    /// Knative Services.
    pub knative_services: Vec<&'a knative::Service>,
    /// Pods with the label `serving.kserve.io/inferenceservice`.
    pub pods: Vec<&'a Pod>,
}

/// What to do for a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Everything that must exist now.
    pub children: Children,
    /// Whether objects that the service controls and that are not in `children` are to be deleted. It is `false`
    /// where no children could be made (no runtime, a wrong setting): what serves goes on serving.
    pub prune: bool,
    /// The wanted status. Transition times of changed conditions are left to [`crate::condition::stamp`].
    pub status: InferenceServiceStatus,
    /// Events to tell. They follow from a change between the stored and the wanted status, so a second plan on the
    /// same objects has none.
    pub events: Vec<PlannedEvent>,
    /// When to plan again although nothing has changed, in milliseconds from now.
    pub requeue_ms: Option<u64>,
}

/// The objects of a service, each with its controller reference and labels.
///
/// A field that others decide is not set (`spec.replicas` of a Deployment with an autoscaler), so that applying the
/// object takes nothing away from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Children {
    /// Deployments of components, canaries and workers.
    pub deployments: Vec<Deployment>,
    /// Services.
    pub services: Vec<Service>,
    /// HorizontalPodAutoscalers.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// KEDA's ScaledObjects.
    pub scaled_objects: Vec<ScaledObject>,
    /// OpenTelemetryCollectors.
    pub collectors: Vec<OpenTelemetryCollector>,
    /// HTTPRoutes.
    pub http_routes: Vec<HttpRoute>,
    /// Ingresses.
    pub ingresses: Vec<Ingress>,
    /// Knative Services.
    pub knative_services: Vec<knative::Service>,
    /// Istio's VirtualServices.
    pub virtual_services: Vec<VirtualService>,
    /// ConfigMaps: the model list of a server of many models.
    pub config_maps: Vec<ConfigMap>,
}

/// An event about the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    /// `Normal` or `Warning`.
    pub type_: &'static str,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Why a component's objects cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// The model cannot be served: the model status says why.
    Model(ModelStatusFailure),
    /// A setting cannot be used: condition reason `ReconcileFailed` with this message.
    Component(String),
    /// A condition reason of its own, with its message.
    Reason(&'static str, String),
}

impl Fault {
    /// A model that cannot be served. Missing workers are a condition's reason and none of the model's.
    fn of(failure: ModelStatusFailure) -> Self {
        match failure.reason.as_str() {
            "InvalidWorkerSpecNotSet" => Self::Reason("InvalidWorkerSpecNotSet", failure.message),
            _ => Self::Model(failure),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Model(_) | Self::Component(_) => "ReconcileFailed",
            Self::Reason(reason, _) => reason,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Model(failure) => &failure.message,
            Self::Component(message) | Self::Reason(_, message) => message,
        }
    }
}

/// Refuses to take over an object that somebody else controls.
fn is_free<K: kube::Resource<DynamicType = ()>>(
    service: &InferenceService,
    observed: &[&K],
    name: &str,
) -> Result<(), Fault> {
    let Some(found) = observed.iter().find(|object| object.meta().name.as_deref() == Some(name)) else {
        return Ok(());
    };
    let owners = found.meta().owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    let ours = controllers.next().is_some_and(|owner| Some(&owner.uid) == service.metadata.uid.as_ref());
    if ours || service.metadata.uid.is_none() {
        return Ok(());
    }
    let kind = K::kind(&());
    let message = format!(
        "{kind} {name} exists and does not belong to this InferenceService; delete it or choose another name for the InferenceService"
    );
    Err(Fault::Reason("NotOwned", message))
}

/// Plans a service.
///
/// ```
/// use windtunnel_api::kserve::plan::{Inputs, plan};
/// use windtunnel_api::kserve::{InferenceService, KserveConfig, runtime::Runtime};
/// use windtunnel_api::{manifest, runtimes};
///
/// let text = "
/// apiVersion: serving.kserve.io/v1beta1
/// kind: InferenceService
/// metadata:
///   name: digits
///   namespace: default
///   annotations: {serving.kserve.io/deploymentMode: Standard}
/// spec:
///   predictor:
///     model: {modelFormat: {name: onnx}, storageUri: 's3://models/digits/v1'}
/// ";
/// let manifests = manifest::parse(text, "digits.yaml").unwrap();
/// let service = manifests[0].inference_service().unwrap();
/// let runtimes: Vec<Runtime> = runtimes::shipped().iter().map(Runtime::from).collect();
/// let plan = plan(&Inputs::new(service, &KserveConfig::default(), &runtimes));
/// assert_eq!(plan.children.deployments[0].metadata.name.as_deref(), Some("digits-predictor"));
/// assert_eq!(plan.status.deployment_mode.as_deref(), Some("Standard"));
/// ```
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut plan = decide(inputs);
    events::add(inputs.service, &mut plan);
    plan
}

fn decide(inputs: &Inputs<'_>) -> Plan {
    let mode = deployment_mode(inputs.service, inputs.config);
    let service = inputs.service;
    let stored = service.status.clone().unwrap_or_default();
    if service.annotation(names::DISABLE_AUTO_UPDATE) == Some("true") && stored.is_ready() {
        return Plan { status: stored, ..Plan::default() };
    }
    let mut plan = if stop::is_stopped(service) {
        stop::plan(inputs, mode)
    } else {
        match mode {
            names::KNATIVE => knative_mode::plan(inputs),
            names::STANDARD => standard::plan(inputs),
            _ => standard::unsupported(inputs, mode),
        }
    };
    image_volumes::advise(inputs, &mut plan.status);
    plan
}

/// The status of a service that cannot be planned, because the settings around it cannot be read: the predictor's
/// condition says why, and everything else stays as it was.
#[must_use]
pub fn not_reconciled(service: &InferenceService, reason: &str, message: &str) -> InferenceServiceStatus {
    let mut status = service.status.clone().unwrap_or_default();
    conditions::set(&mut status, Condition::new(conditions::PREDICTOR_READY, FALSE, reason, message));
    if status.url.is_none() {
        conditions::no_ingress(&mut status, "Predictor ingress not created", "");
    }
    conditions::complete(&mut status);
    status
}

/// The mode of a service: what its status remembers, else its annotation, else the configuration.
#[must_use]
pub fn deployment_mode(service: &InferenceService, config: &KserveConfig) -> &'static str {
    let remembered = service.status.as_ref().and_then(|status| status.deployment_mode.as_deref());
    let mode = |text: Option<&str>| text.filter(|text| !text.is_empty()).and_then(names::deployment_mode);
    mode(remembered)
        .or_else(|| mode(service.annotation(names::DEPLOYMENT_MODE)))
        .or_else(|| mode(Some(&config.default_deployment_mode)))
        .unwrap_or(names::KNATIVE)
}
