//! KServe in a scenario: its configuration, what stands around its services, and what its controller makes of them, by
//! the very function that the live controller calls.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ByteString, Metadata};
use serde::de::DeserializeOwned;
use windtunnel_api::condition::{Condition, TRUE};
use windtunnel_api::gateway_api::{HttpRoute, HttpRouteStatus, RouteParentStatus};
use windtunnel_api::kserve::plan::{self, Capabilities, Children, Inputs, Observed};
use windtunnel_api::kserve::pod::{self, Surroundings};
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{
    ClusterServingRuntime, ClusterStorageContainer, InferenceService, KserveConfig, ServingRuntime,
};
use windtunnel_api::manifest::Manifest;
use windtunnel_api::{knative, runtimes};
use windtunnel_kernel::Profile;

use super::standard::Counts;
use crate::error::SimError;

/// Kinds of others that the simulator models. Nothing of Istio is: its virtual hosts lead where Knative's routes do.
const CLUSTER: Capabilities = Capabilities { istio: false, ..Capabilities::ALL };

/// Plans in a row after which nothing may change any more.
const MOST_PLANS: u32 = 16;

/// KServe's settings and what its controller and its pod webhook look at beside a service.
#[derive(Clone, Debug)]
pub struct Kserve {
    /// `inferenceservice-config`.
    pub config: KserveConfig,
    /// Runtimes to choose from: those that are shipped, and the manifests' own.
    pub runtimes: Vec<Runtime>,
    /// Upstream as it is, or as it is meant.
    pub profile: Profile,
    /// Whether `config-autoscaler` lets revisions begin without pods.
    pub allow_zero_initial_scale: bool,
    storage_containers: Vec<ClusterStorageContainer>,
    secrets: Vec<Secret>,
    service_accounts: Vec<ServiceAccount>,
}

impl Kserve {
    /// KServe as `windtunnel up` installs it, with what a scenario's manifests bring along.
    ///
    /// # Errors
    /// A runtime, storage container, Secret or ServiceAccount that cannot be read.
    pub(super) fn of(
        manifests: &[Manifest],
        profile: Profile,
        allow_zero_initial_scale: bool,
    ) -> Result<Self, SimError> {
        let mut kserve = Self {
            config: KserveConfig::installed("example.com"),
            runtimes: runtimes::shipped().iter().map(Runtime::from).collect(),
            profile,
            allow_zero_initial_scale,
            storage_containers: vec![runtimes::storage_container()],
            secrets: Vec::new(),
            service_accounts: Vec::new(),
        };
        for manifest in manifests {
            match manifest.kind.as_str() {
                "ClusterServingRuntime" => {
                    kserve.runtimes.push(Runtime::from(&read::<ClusterServingRuntime>(manifest)?));
                }
                "ServingRuntime" => {
                    kserve.runtimes.push(Runtime::from(&read::<ServingRuntime>(manifest)?));
                }
                "ClusterStorageContainer" => {
                    let container: ClusterStorageContainer = read(manifest)?;
                    kserve.storage_containers.retain(|known| known.metadata.name != container.metadata.name);
                    kserve.storage_containers.push(container);
                }
                "Secret" => {
                    let mut secret: Secret = read(manifest)?;
                    let texts = secret.string_data.take().unwrap_or_default();
                    let texts = texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
                    secret.data.get_or_insert_default().extend(texts);
                    kserve.secrets.push(secret);
                }
                "ServiceAccount" => kserve.service_accounts.push(read(manifest)?),
                _ => {}
            }
        }
        Ok(kserve)
    }

    /// What the controller wants for a service, given what there is of it.
    pub(crate) fn plan(&self, service: &InferenceService, observed: Observed<'_>) -> plan::Plan {
        self.around(service, |around| {
            plan::plan(&Inputs {
                cluster: CLUSTER,
                profile: self.profile,
                observed,
                allow_zero_initial_scale: self.allow_zero_initial_scale,
                around,
                ..Inputs::new(service, &self.config, &self.runtimes)
            })
        })
    }

    /// The Knative Service of a service of which there is nothing yet.
    ///
    /// # Errors
    /// KServe's words for why it cannot be made; `after` says after which event.
    pub(crate) fn knative_service(
        &self,
        service: &InferenceService,
        after: &str,
    ) -> Result<knative::Service, SimError> {
        let made = self.plan(service, Observed::default());
        if let Some(error) = refusal(&made, service.name(), after) {
            return Err(error);
        }
        made.children.knative_services.into_iter().next().ok_or_else(|| nothing(service.name(), after))
    }

    /// The children of a service in Standard mode once all its pods are ready.
    ///
    /// # Errors
    /// KServe's words for why they cannot be made; `after` says after which event.
    pub(super) fn settled(&self, service: &InferenceService, after: &str) -> Result<Children, SimError> {
        let mut service = service.clone();
        let mut children = Children::default();
        for _ in 0..MOST_PLANS {
            let deployments: Vec<_> = children.deployments.iter().cloned().map(serving).collect();
            let routes: Vec<_> = children.http_routes.iter().cloned().map(accepted).collect();
            let observed = Observed {
                deployments: deployments.iter().collect(),
                http_routes: routes.iter().collect(),
                ..Observed::default()
            };
            let made = self.plan(&service, observed);
            if let Some(error) = refusal(&made, service.name(), after) {
                return Err(error);
            }
            // Once ready, a service without automatic updates is left alone.
            if !made.prune || made.children == children && service.status.as_ref() == Some(&made.status) {
                break;
            }
            (children, service.status) = (made.children, Some(made.status));
        }
        if children.deployments.is_empty() {
            return Err(nothing(service.name(), after));
        }
        Ok(children)
    }

    /// The pod as the pod webhook lets it in.
    ///
    /// # Errors
    /// The webhook's words.
    pub(super) fn admit(&self, pod: &mut Pod, service: &InferenceService) -> Result<(), String> {
        self.around(service, |around| pod::mutate(pod, &self.config, &around))
    }

    fn around<T>(&self, service: &InferenceService, act: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let secret = |namespace: &str, name: &str| find(&self.secrets, namespace, name);
        let service_account = |namespace: &str, name: &str| find(&self.service_accounts, namespace, name);
        act(Surroundings {
            secret: &secret,
            service_account: &service_account,
            storage_containers: &self.storage_containers,
            service: Some(service),
        })
    }
}

/// Why a plan has no children, if it could not be made.
pub(crate) fn refusal(made: &plan::Plan, service: &str, after: &str) -> Option<SimError> {
    if made.prune {
        return None;
    }
    let (service, after) = (service.to_owned(), after.to_owned());
    let model = made.status.model_status.as_ref().filter(|model| model.transition_status == "InvalidSpec");
    let failure = model.and_then(|model| model.last_failure_info.as_ref());
    if let Some(failure) = failure {
        let message = failure.message.clone().unwrap_or_default();
        let is_about_runtimes = failure.reason.as_deref().is_some_and(|reason| reason.contains("Runtime"));
        return Some(if is_about_runtimes {
            SimError::Runtime { service, after, message }
        } else {
            SimError::Refused { service, after, message }
        });
    }
    let mut failed = made.status.conditions.iter().filter(|found| found.is_false());
    let told = failed.find(|found| matches!(found.type_.as_str(), "PredictorReady" | "IngressReady"))?;
    Some(SimError::Refused { service, after, message: told.message().to_owned() })
}

fn nothing(service: &str, after: &str) -> SimError {
    SimError::Refused {
        service: service.to_owned(),
        after: after.to_owned(),
        message: "nothing is made of it, so there is nothing to simulate".to_owned(),
    }
}

/// A route that its gateway serves.
pub(crate) fn accepted(mut route: HttpRoute) -> HttpRoute {
    let conditions = ["Accepted", "ResolvedRefs"].map(|type_| Condition::new(type_, TRUE, type_, ""));
    let parent = |parent: &_| RouteParentStatus {
        parent_ref: Clone::clone(parent),
        conditions: conditions.to_vec(),
        ..RouteParentStatus::default()
    };
    route.status = Some(HttpRouteStatus { parents: route.spec.parent_refs.iter().map(parent).collect() });
    route
}

/// A Deployment all of whose pods are ready.
fn serving(mut deployment: Deployment) -> Deployment {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let counts =
        Counts { replicas, updated: replicas, available: replicas, is_available: true, is_overdue: false };
    deployment.status = Some(counts.status(deployment.metadata.generation));
    deployment
}

fn read<T: DeserializeOwned>(manifest: &Manifest) -> Result<T, SimError> {
    serde_json::from_value(manifest.value.clone()).map_err(|error| SimError::Environment {
        place: format!("{} {:?}", manifest.kind, manifest.name),
        message: error.to_string(),
    })
}

fn find<T: Metadata<Ty = ObjectMeta> + Clone>(objects: &[T], namespace: &str, name: &str) -> Option<T> {
    let is_it = |object: &&T| {
        let meta = object.metadata();
        meta.name.as_deref() == Some(name) && meta.namespace.as_deref().unwrap_or("default") == namespace
    };
    objects.iter().find(is_it).cloned()
}
