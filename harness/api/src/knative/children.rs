//! The children of a Knative Service, Configuration and Revision, except the Deployment.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service as CoreService, ServicePort, ServiceSpec as CoreServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;

use super::names;
use super::{
    Configuration, ConfigurationSpec, Revision, Route, RouteSpec, Service, TrafficTarget, serving_port,
};

/// The Configuration of a service, with the service's name and template.
#[must_use]
pub fn configuration_of(service: &Service) -> Configuration {
    let mut configuration = Configuration::new(
        service.metadata.name.as_deref().unwrap_or_default(),
        ConfigurationSpec { template: service.spec.template.clone(), ..ConfigurationSpec::default() },
    );
    configuration.metadata = child_of_service(service);
    configuration
}

/// The Route of a service, with the service's name. Targets that follow the newest revision name the
/// Configuration; no targets at all means everything to the newest revision.
#[must_use]
pub fn route_of(service: &Service) -> Route {
    let name = service.metadata.name.clone().unwrap_or_default();
    let traffic = if service.spec.traffic.is_empty() {
        vec![TrafficTarget {
            configuration_name: Some(name.clone()),
            latest_revision: Some(true),
            percent: Some(100),
            ..TrafficTarget::default()
        }]
    } else {
        let target_of = |target: &TrafficTarget| {
            let mut target = target.clone();
            if target.revision_name.as_deref().unwrap_or_default().is_empty() {
                target.revision_name = None;
                target.configuration_name = Some(name.clone());
                target.latest_revision = Some(true);
            } else {
                target.latest_revision = Some(false);
            }
            target
        };
        service.spec.traffic.iter().map(target_of).collect()
    };
    let mut route = Route::new(&name, RouteSpec { traffic, ..RouteSpec::default() });
    route.metadata = child_of_service(service);
    if let Some(duration) = service.metadata.annotations.as_ref().and_then(|a| a.get(names::ROLLOUT_DURATION))
    {
        route.metadata.annotations =
            Some(BTreeMap::from([(names::ROLLOUT_DURATION.to_owned(), duration.clone())]));
    }
    route
}

/// Name of the revision that a Configuration's present generation makes: `{configuration}-{generation:05}`,
/// unless the template names it.
#[must_use]
pub fn revision_name(configuration: &Configuration) -> String {
    if let Some(name) =
        configuration.spec.template.metadata.as_ref().and_then(|metadata| metadata.name.clone())
    {
        return name;
    }
    let name = configuration.metadata.name.as_deref().unwrap_or_default();
    format!("{name}-{:05}", configuration.metadata.generation.unwrap_or(1))
}

/// The revision that a Configuration's present generation makes. Its routing state is `pending` until a
/// Route points at it.
#[must_use]
pub fn revision_of(configuration: &Configuration) -> Revision {
    let template = &configuration.spec.template;
    let mut revision = Revision::new(&revision_name(configuration), template.spec.clone());
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut labels = metadata.labels.unwrap_or_default();
    for key in [names::SERVICE, names::SERVICE_UID] {
        if let Some(value) = configuration.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            labels.insert(key.to_owned(), value.clone());
        }
    }
    let generation = configuration.metadata.generation.unwrap_or(1);
    labels.insert(names::CONFIGURATION.to_owned(), configuration.metadata.name.clone().unwrap_or_default());
    labels
        .insert(names::CONFIGURATION_UID.to_owned(), configuration.metadata.uid.clone().unwrap_or_default());
    labels.insert(names::CONFIGURATION_GENERATION.to_owned(), generation.to_string());
    labels.insert(names::ROUTING_STATE.to_owned(), names::PENDING.to_owned());
    revision.metadata = ObjectMeta {
        name: revision.metadata.name,
        namespace: configuration.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: metadata.annotations,
        owner_references: owner(configuration),
        ..ObjectMeta::default()
    };
    if revision.spec.timeout_seconds.is_none() {
        revision.spec.timeout_seconds = Some(super::DEFAULT_TIMEOUT_S);
    }
    if revision.spec.container_concurrency.is_none() {
        revision.spec.container_concurrency = Some(0);
    }
    revision
}

/// The Service by which a Route, or one of its tags, has a name inside the cluster: another name for `gateway`.
#[must_use]
pub fn placeholder_service_of(route: &Route, tag: Option<&str>, gateway: &str) -> CoreService {
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let mut labels = BTreeMap::from([(names::ROUTE.to_owned(), name.to_owned())]);
    if let Some(service) = route.metadata.labels.as_ref().and_then(|labels| labels.get(names::SERVICE)) {
        labels.insert(names::SERVICE.to_owned(), service.clone());
    }
    CoreService {
        metadata: ObjectMeta {
            name: Some(tag.map_or_else(|| name.to_owned(), |tag| format!("{tag}-{name}"))),
            namespace: route.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: owner(route),
            ..ObjectMeta::default()
        },
        spec: Some(CoreServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(gateway.to_owned()),
            session_affinity: Some("None".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some("http2".to_owned()),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(80)),
                ..ServicePort::default()
            }]),
            ..CoreServiceSpec::default()
        }),
        ..CoreService::default()
    }
}

/// Name of the Service whose Endpoints are a revision's ready pods.
#[must_use]
pub fn private_service_name(revision: &str) -> String {
    format!("{revision}-private")
}

/// The Service whose Endpoints are a revision's ready pods.
#[must_use]
pub fn private_service_of(revision: &Revision) -> CoreService {
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    let (port_name, port) = serving_port(&revision.spec);
    CoreService {
        metadata: ObjectMeta {
            name: Some(private_service_name(name)),
            namespace: revision.metadata.namespace.clone(),
            labels: Some(revision_labels(revision)),
            owner_references: owner(revision),
            ..ObjectMeta::default()
        },
        spec: Some(CoreServiceSpec {
            selector: Some(selector(revision)),
            ports: Some(vec![ServicePort {
                name: Some(port_name),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..CoreServiceSpec::default()
        }),
        ..CoreService::default()
    }
}

/// URL of a route under Knative's recommended domain template: `http://{name}-{namespace}.{domain}`, with
/// `{tag}-` in front for a tagged target.
#[must_use]
pub fn route_url(name: &str, namespace: &str, tag: Option<&str>, domain: &str) -> String {
    match tag {
        Some(tag) => format!("http://{tag}-{name}-{namespace}.{domain}"),
        None => format!("http://{name}-{namespace}.{domain}"),
    }
}

/// Labels of everything that belongs to a revision.
pub(super) fn revision_labels(revision: &Revision) -> BTreeMap<String, String> {
    let mut labels = revision.metadata.labels.clone().unwrap_or_default();
    labels.remove(names::ROUTING_STATE);
    let name = revision.metadata.name.clone().unwrap_or_default();
    labels.entry("app".to_owned()).or_insert_with(|| name.clone());
    labels.insert(names::REVISION.to_owned(), name);
    labels.insert(names::REVISION_UID.to_owned(), revision.metadata.uid.clone().unwrap_or_default());
    labels
}

/// The labels that tell a revision's pods from all others.
pub(super) fn selector(revision: &Revision) -> BTreeMap<String, String> {
    BTreeMap::from([(names::REVISION_UID.to_owned(), revision.metadata.uid.clone().unwrap_or_default())])
}

/// The controller reference to an object, once the object has a UID.
pub(super) fn owner<K: Resource<DynamicType = ()>>(object: &K) -> Option<Vec<OwnerReference>> {
    crate::owner::references(object)
}

fn child_of_service(service: &Service) -> ObjectMeta {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(names::SERVICE.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(names::SERVICE_UID.to_owned(), service.metadata.uid.clone().unwrap_or_default());
    ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: owner(service),
        ..ObjectMeta::default()
    }
}
