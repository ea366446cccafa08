//! Which work a changed object makes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use windtunnel_api::knative::Route;
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::names;

use crate::install::{CONFIG_AUTOSCALER, CONFIG_DOMAIN, KNATIVE_NAMESPACE};
use crate::world::{Key, Kind, Object, ObjectKey, World};

/// The work that an object makes by being there, changing or going.
pub(super) fn by(world: &World, object: &Object) -> Vec<Key> {
    let key = object.key();
    match object {
        Object::InferenceService(_) => vec![Key::InferenceService(key)],
        Object::ServingRuntime(_) | Object::ClusterServingRuntime(_) => {
            let everywhere = key.namespace.is_empty();
            let services = world.inference_services.keys();
            services
                .filter(|service| everywhere || service.namespace == key.namespace)
                .map(|service| Key::InferenceService(service.clone()))
                .collect()
        }
        Object::Service(service) => {
            let owner = owner(&service.metadata, "InferenceService");
            let mut keys = vec![Key::Service(key.clone())];
            keys.extend(owner.map(|name| Key::InferenceService(key.sibling(name))));
            keys
        }
        Object::Configuration(configuration) => {
            let mut keys = vec![Key::Configuration(key.clone())];
            keys.extend(
                owner(&configuration.metadata, "Service").map(|name| Key::Service(key.sibling(name))),
            );
            keys.extend(routes_to(world, &key, None, Some(&key.name)));
            keys
        }
        Object::Revision(revision) => {
            let configuration = owner(&revision.metadata, "Configuration");
            let mut keys = vec![Key::Revision(key.clone()), Key::Scale(key.clone())];
            keys.extend(routes_to(world, &key, Some(&key.name), configuration.as_deref()));
            keys.extend(configuration.map(|name| Key::Configuration(key.sibling(name))));
            keys
        }
        Object::Route(route) => {
            let mut keys = vec![Key::Route(key.clone())];
            keys.extend(owner(&route.metadata, "Service").map(|name| Key::Service(key.sibling(name))));
            keys
        }
        Object::Deployment(deployment) => revision_and_scale(&key, owner(&deployment.metadata, "Revision")),
        Object::CoreService(service) => revision_and_scale(&key, owner(&service.metadata, "Revision")),
        Object::Endpoints(_) => {
            revision_and_scale(&key, key.name.strip_suffix("-private").map(str::to_owned))
        }
        Object::Pod(pod) => {
            let service = pod.labels().get(names::INFERENCE_SERVICE_LABEL);
            service.map(|name| Key::InferenceService(key.sibling(name.clone()))).into_iter().collect()
        }
        Object::ConfigMap(_) => configured(world, &key),
    }
}

/// The work that an object of the world makes by going.
pub(super) fn by_key(world: &World, kind: Kind, key: &ObjectKey) -> Vec<Key> {
    world.object(kind, key).map(|object| by(world, &object)).unwrap_or_default()
}

fn revision_and_scale(key: &ObjectKey, revision: Option<String>) -> Vec<Key> {
    revision
        .map(|name| vec![Key::Revision(key.sibling(name.clone())), Key::Scale(key.sibling(name))])
        .unwrap_or_default()
}

/// Name of the controller, if it is of the kind.
fn owner(metadata: &ObjectMeta, kind: &str) -> Option<String> {
    let owners = metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true) && owner.kind == kind);
    controllers.next().map(|owner| owner.name.clone())
}

fn routes_to(
    world: &World,
    key: &ObjectKey,
    revision: Option<&str>,
    configuration: Option<&str>,
) -> Vec<Key> {
    let points_here = |route: &Route| {
        let status = route.status.iter().flat_map(|status| &status.traffic);
        route.spec.traffic.iter().chain(status).any(|target| {
            (revision.is_some() && target.revision_name.as_deref() == revision)
                || (configuration.is_some() && target.configuration_name.as_deref() == configuration)
        })
    };
    world
        .routes
        .range(ObjectKey::new(key.namespace.clone(), "")..)
        .take_while(|(found, _)| found.namespace == key.namespace)
        .filter(|(_, route)| points_here(route))
        .map(|(found, _)| Key::Route(found.clone()))
        .collect()
}

fn configured(world: &World, key: &ObjectKey) -> Vec<Key> {
    match (key.namespace.as_str(), key.name.as_str()) {
        (CONFIG_NAMESPACE, CONFIG_MAP) => {
            world.inference_services.keys().cloned().map(Key::InferenceService).collect()
        }
        (KNATIVE_NAMESPACE, CONFIG_AUTOSCALER) => {
            let revisions = world.revisions.keys().cloned();
            revisions.flat_map(|key| [Key::Revision(key.clone()), Key::Scale(key)]).collect()
        }
        (KNATIVE_NAMESPACE, CONFIG_DOMAIN) => world.routes.keys().cloned().map(Key::Route).collect(),
        _ => Vec::new(),
    }
}
