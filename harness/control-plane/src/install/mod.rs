//! What must be on the API server before the controllers: definitions, namespaces, ConfigMaps, runtimes.
//! Everything is made only where it is absent: what is there belongs to somebody.

pub mod manifests;
pub mod rbac;
pub mod webhooks;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use windtunnel_api::gateway_api::{Gateway, GatewayClass, GatewayClassSpec, GatewaySpec, Listener};
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::{ClusterServingRuntime, ClusterStorageContainer, KserveConfig};
use windtunnel_api::{crds, runtimes};

use crate::{ControlPlaneError, gateway_routes};

/// Namespace of Knative's ConfigMaps.
pub const KNATIVE_NAMESPACE: &str = "knative-serving";
/// ConfigMap of the autoscaler.
pub const CONFIG_AUTOSCALER: &str = "config-autoscaler";
/// ConfigMap of the domains.
pub const CONFIG_DOMAIN: &str = "config-domain";

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
    let both =
        [CONFIG_NAMESPACE, KNATIVE_NAMESPACE].map(|name| create_if_absent(&namespaces, namespace(name)));
    tokio::try_join!(all, try_join_all(both))?;
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
    let gateways = Api::<Gateway>::namespaced(client.clone(), CONFIG_NAMESPACE);
    tokio::try_join!(
        try_join_all(maps),
        try_join_all(shipped),
        create_if_absent(&containers, runtimes::storage_container()),
        create_if_absent(&classes, gateway_class()),
        create_if_absent(&gateways, gateway()),
    )?;
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

/// Makes the ServiceAccount, the roles and the bindings of controllers in KServe's namespace, or brings those that are
/// there to what the controllers need.
///
/// # Errors
/// The first object that the API server refuses.
pub async fn install_access(client: &Client, parts: rbac::Parts) -> Result<(), ControlPlaneError> {
    let access = rbac::access(CONFIG_NAMESPACE, parts);
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
    let mut kserve = KserveConfig { ingress_domain: domain.to_owned(), ..KserveConfig::default() };
    // Our gateway speaks the Gateway API.
    kserve.ingress.enable_gateway_api = true;
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
