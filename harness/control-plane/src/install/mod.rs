//! What must be on the API server before the controllers: definitions, namespaces, ConfigMaps, runtimes.
//! Everything is made only where it is absent: what is there belongs to somebody.

pub mod manifests;
pub mod rbac;
pub mod webhooks;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Service};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use windtunnel_api::gateway_api::{Gateway, GatewayClass, GatewayClassSpec, GatewaySpec, Listener};
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE, INGRESS_CLASS};
use windtunnel_api::kserve::plan::KubernetesVersion;
use windtunnel_api::kserve::{ClusterServingRuntime, ClusterStorageContainer, KserveConfig};
use windtunnel_api::{crds, runtimes};

use crate::{ControlPlaneError, gateway_routes};

/// Namespace of Knative's ConfigMaps.
pub const KNATIVE_NAMESPACE: &str = "knative-serving";
/// ConfigMap of the autoscaler.
pub const CONFIG_AUTOSCALER: &str = "config-autoscaler";
/// ConfigMap of the garbage collection of revisions.
pub const CONFIG_GC: &str = "config-gc";
/// ConfigMap of the network.
pub const CONFIG_NETWORK: &str = "config-network";
/// ConfigMap of the domains.
pub const CONFIG_DOMAIN: &str = "config-domain";

/// Name of the Service that leads to our gateway from inside the cluster, in Knative's namespace.
pub const LOCAL_GATEWAY: &str = "knative-local-gateway";

/// Name of the class of our Gateways.
pub const GATEWAY_CLASS: &str = "windtunnel";
/// Name of the Gateway in KServe's namespace, as upstream's configuration has it.
pub const GATEWAY: &str = "kserve-ingress-gateway";

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);
/// Wait before an API server is asked again that did not answer.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Installs everything but the controllers' permissions, for host names that end with `domain`.
///
/// # Errors
/// The first object that the API server refuses.
pub async fn install(client: &Client, domain: &str) -> Result<(), ControlPlaneError> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let namespaces = Api::<Namespace>::all(client.clone());
    let all = try_join_all(crds().into_iter().map(|crd| create_if_absent(&definitions, ours(crd))));
    let jobs = KserveConfig::default().local_model.job_namespace;
    let all_namespaces = [CONFIG_NAMESPACE, KNATIVE_NAMESPACE, &jobs]
        .map(|name| create_if_absent(&namespaces, namespace(name)));
    tokio::try_join!(all, try_join_all(all_namespaces))?;
    try_join_all(crds().iter().map(|crd| established(&definitions, crd.name_any()))).await?;

    let maps = config_maps(domain).into_iter().map(|map| {
        let api = Api::<ConfigMap>::namespaced(
            client.clone(),
            map.metadata.namespace.as_deref().unwrap_or_default(),
        );
        async move { create_if_absent(&api, map).await }
    });
    let cluster = Api::<ClusterServingRuntime>::all(client.clone());
    let shipped = runtimes::shipped().into_iter().map(|runtime| create_if_absent(&cluster, runtime));
    let containers = Api::<ClusterStorageContainer>::all(client.clone());
    let classes = Api::<GatewayClass>::all(client.clone());
    let ingress_classes = Api::<IngressClass>::all(client.clone());
    let gateways = Api::<Gateway>::namespaced(client.clone(), CONFIG_NAMESPACE);
    tokio::try_join!(
        try_join_all(maps),
        try_join_all(shipped),
        create_if_absent(&containers, runtimes::storage_container()),
        create_if_absent(&classes, gateway_class()),
        create_if_absent(&ingress_classes, ingress_class()),
        create_if_absent(&gateways, gateway()),
    )?;
    Ok(())
}

/// Makes the Service that leads to the gateway from inside the cluster, with the gateway's address of this start. An address
/// that stands for all of a machine's leads nowhere from there, so that there is no Service then.
///
/// # Errors
/// The object that the API server refuses.
pub async fn local_gateway(client: &Client, gateway: SocketAddr) -> Result<(), ControlPlaneError> {
    if gateway.ip().is_unspecified() {
        return Ok(());
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": LOCAL_GATEWAY, "namespace": KNATIVE_NAMESPACE},
        "spec": {"ports": [{"name": "http2", "port": 80, "protocol": "TCP"}]},
    });
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": LOCAL_GATEWAY, "namespace": KNATIVE_NAMESPACE},
        "subsets": [{
            "addresses": [{"ip": gateway.ip().to_string()}],
            "ports": [{"name": "http2", "port": gateway.port(), "protocol": "TCP"}],
        }],
    });
    let parameters = PatchParams::apply(MANAGED_BY.1).force();
    let failed = |kind: &str| {
        let what = format!("{kind} {KNATIVE_NAMESPACE}/{LOCAL_GATEWAY}");
        move |source: kube::Error| ControlPlaneError::Install { what, source: Box::new(source) }
    };
    let services = Api::<Service>::namespaced(client.clone(), KNATIVE_NAMESPACE);
    services.patch(LOCAL_GATEWAY, &parameters, &Patch::Apply(service)).await.map_err(failed("Service"))?;
    let all = Api::<Endpoints>::namespaced(client.clone(), KNATIVE_NAMESPACE);
    all.patch(LOCAL_GATEWAY, &parameters, &Patch::Apply(endpoints)).await.map_err(failed("Endpoints"))?;
    Ok(())
}

/// Label of the definitions that we have made.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "windtunnel");

fn ours(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let (label, value) = MANAGED_BY;
    definition.labels_mut().insert(label.to_owned(), value.to_owned());
    definition
}

/// Whether we have made the definition of this name: others' kinds have controllers of others.
pub(crate) async fn is_ours(client: &Client, name: &str) -> bool {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    loop {
        match definitions.get_opt(name).await {
            Ok(found) => {
                let ours = |found: CustomResourceDefinition| {
                    found.labels().get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1)
                };
                return found.is_some_and(ours);
            }
            Err(kube::Error::Api(answer)) if answer.code == 403 => {
                tracing::warn!(
                    name,
                    error = answer.message,
                    "nobody knows whose definition this is, so it is left to others"
                );
                return false;
            }
            Err(error) => {
                tracing::warn!(name, %error, "whose definition this is is asked again");
                tokio::time::sleep(ASKED_AGAIN).await;
            }
        }
    }
}

/// What version the API server says that it is.
pub(crate) async fn kubernetes_version(client: &Client) -> Option<KubernetesVersion> {
    match client.apiserver_version().await {
        Ok(info) => Some(KubernetesVersion { major: info.major, minor: info.minor }),
        Err(error) => {
            tracing::warn!(%error, "the API server's version is not known, so nothing is said of what it can't do");
            None
        }
    }
}

/// Makes a ServiceAccount with its roles and bindings, or brings those that are there to what it needs.
///
/// # Errors
/// The first object that the API server refuses.
pub async fn install_access(client: &Client, access: rbac::Access) -> Result<(), ControlPlaneError> {
    let namespaced = |namespace: &Option<String>| namespace.clone().unwrap_or_default();
    let accounts = Api::namespaced(client.clone(), &namespaced(&access.account.metadata.namespace));
    create_if_absent(&accounts, access.account).await?;
    put(&Api::all(client.clone()), &access.cluster_role).await?;
    put(&Api::all(client.clone()), &access.cluster_binding).await?;
    for role in &access.roles {
        put(&Api::namespaced(client.clone(), &namespaced(&role.metadata.namespace)), role).await?;
    }
    for binding in &access.bindings {
        put(&Api::namespaced(client.clone(), &namespaced(&binding.metadata.namespace)), binding).await?;
    }
    Ok(())
}

/// Makes an object what it should be, whatever it was.
async fn put<K>(api: &Api<K>, object: &K) -> Result<(), ControlPlaneError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let params = PatchParams::apply(MANAGED_BY.1).force();
    let name = object.name_any();
    let written = api.patch(&name, &params, &Patch::Apply(object)).await;
    written.map(|_| ()).map_err(|source| ControlPlaneError::Install {
        what: format!("{} {name}", K::kind(&())),
        source: Box::new(source),
    })
}

/// The class of the Gateways that our gateway serves.
fn gateway_class() -> GatewayClass {
    let controller_name = gateway_routes::CONTROLLER.to_owned();
    GatewayClass::new(GATEWAY_CLASS, GatewayClassSpec { controller_name, ..GatewayClassSpec::default() })
}

/// The class of the Ingresses that our gateway serves; not the default one, which is for whoever runs the cluster to say.
fn ingress_class() -> IngressClass {
    IngressClass {
        metadata: ObjectMeta { name: Some(INGRESS_CLASS.to_owned()), ..ObjectMeta::default() },
        spec: Some(IngressClassSpec {
            controller: Some(gateway_routes::INGRESS_CONTROLLER.to_owned()),
            ..IngressClassSpec::default()
        }),
    }
}

/// The Gateway that routes of InferenceServices name: HTTP, for routes of every namespace.
fn gateway() -> Gateway {
    let listener = Listener {
        name: "http".to_owned(),
        port: 80,
        protocol: "HTTP".to_owned(),
        allowed_routes: Some(json!({"namespaces": {"from": "All"}})),
        ..Listener::default()
    };
    Gateway::new(
        GATEWAY,
        GatewaySpec {
            gateway_class_name: GATEWAY_CLASS.to_owned(),
            listeners: vec![listener],
            ..GatewaySpec::default()
        },
    )
}

/// The ConfigMaps with their first contents.
#[must_use]
pub fn config_maps(domain: &str) -> Vec<ConfigMap> {
    let kserve = KserveConfig::installed(domain);
    let make = |namespace: &str, name: &str, data: BTreeMap<String, String>| ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: (!data.is_empty()).then_some(data),
        ..ConfigMap::default()
    };
    vec![
        make(CONFIG_NAMESPACE, CONFIG_MAP, kserve.to_config_map()),
        make(KNATIVE_NAMESPACE, CONFIG_AUTOSCALER, BTreeMap::new()),
        make(KNATIVE_NAMESPACE, CONFIG_GC, BTreeMap::new()),
        make(KNATIVE_NAMESPACE, CONFIG_NETWORK, BTreeMap::new()),
        make(KNATIVE_NAMESPACE, CONFIG_DOMAIN, BTreeMap::from([(domain.to_owned(), String::new())])),
    ]
}

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    }
}

async fn create_if_absent<K>(api: &Api<K>, object: K) -> Result<(), ControlPlaneError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        // Webhooks of ours that do not run yet refuse also what is there.
        Err(_) if matches!(api.get_opt(&object.name_any()).await, Ok(Some(_))) => Ok(()),
        Err(source) => Err(ControlPlaneError::Install {
            what: format!("{} {}", K::kind(&()), object.name_any()),
            source: Box::new(source),
        }),
    }
}

async fn established(api: &Api<CustomResourceDefinition>, name: String) -> Result<(), ControlPlaneError> {
    let waiting = await_condition(api.clone(), &name, conditions::is_crd_established());
    match tokio::time::timeout(ESTABLISHED_WITHIN, waiting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            Err(ControlPlaneError::NotEstablished { name, waited_s: ESTABLISHED_WITHIN.as_secs() })
        }
    }
}
