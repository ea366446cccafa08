//! Which work a changed object makes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use windtunnel_api::keda::ScaledObject;
use windtunnel_api::knative::Route;
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::names;
use windtunnel_api::kserve::plan::ca_bundle::GLOBAL_CA_BUNDLE;
use windtunnel_api::kserve::plan::on_demand;

use crate::install::{CONFIG_AUTOSCALER, CONFIG_DOMAIN, CONFIG_GC, CONFIG_NETWORK, KNATIVE_NAMESPACE};
use crate::world::{Key, Kind, Object, ObjectKey, Target, World};
use crate::{autoscaler, gateway_routes, kserve};

/// The work that an object makes by being there, changing or going.
pub(super) fn by(world: &World, object: &Object) -> Vec<Key> {
    let key = object.key();
    let mut keys: Vec<Key> = owner(&key, object.metadata()).into_iter().collect();
    match object {
        Object::InferenceService(_) => {
            let graphs = world.inference_graphs.iter().filter(|(graph, found)| {
                graph.namespace == key.namespace && found.spec.names_service(&key.name)
            });
            keys.extend(graphs.map(|(graph, _)| Key::InferenceGraph(graph.clone())));
            let models = world.trained_models.iter().filter(|(model, found)| {
                model.namespace == key.namespace && found.spec.inference_service == key.name
            });
            keys.extend(models.map(|(model, _)| Key::TrainedModel(model.clone())));
            keys.extend(kserve::local_models_of(world, object));
            keys.push(Key::InferenceService(key));
        }
        Object::InferenceGraph(_) => keys.push(Key::InferenceGraph(key)),
        Object::TrainedModel(model) => {
            // Memory that one model gives back may do for another.
            let parent = &model.spec.inference_service;
            let siblings = world.trained_models.iter().filter(|(sibling, found)| {
                sibling.namespace == key.namespace && found.spec.inference_service == *parent
            });
            keys.extend(siblings.map(|(sibling, _)| Key::TrainedModel(sibling.clone())));
            keys.push(Key::InferenceService(key.sibling(parent.clone())));
            keys.push(Key::TrainedModel(key));
        }
        Object::ClusterStorageContainer(_) => {
            keys.extend(world.inference_services.keys().cloned().map(Key::InferenceService));
        }
        Object::ServingRuntime(_) | Object::ClusterServingRuntime(_) => {
            let everywhere = key.namespace.is_empty();
            let services = world.inference_services.keys();
            keys.extend(
                services
                    .filter(|service| everywhere || service.namespace == key.namespace)
                    .map(|service| Key::InferenceService(service.clone())),
            );
        }
        Object::Service(_) => keys.push(Key::Service(key)),
        Object::Configuration(_) => {
            keys.extend(routes_to(world, &key, None, Some(&key.name)));
            keys.push(Key::Configuration(key));
        }
        Object::Revision(revision) => {
            let configuration = controller(&revision.metadata).filter(|owner| owner.kind == "Configuration");
            let configuration = configuration.map(|owner| owner.name.as_str());
            keys.extend(routes_to(world, &key, Some(&key.name), configuration));
            keys.extend([Key::Revision(key.clone()), Key::Scale(Target::Revision(key))]);
        }
        Object::Route(_) => keys.push(Key::Route(key)),
        Object::Deployment(deployment) => {
            keys.extend(scaled_with(object));
            if on_demand::is_on_demand(deployment) || autoscaler::component(world, &key).is_some() {
                keys.push(Key::Scale(Target::Component(key)));
            }
        }
        Object::CoreService(_) => {
            keys.extend(scaled_with(object));
            keys.extend(gateway_routes::routes_of_service(world, &key).into_iter().map(Key::HttpRoute));
        }
        Object::Endpoints(_) => {
            if let Some(revision) = key.name.strip_suffix("-private") {
                let revision = key.sibling(revision);
                keys.extend([Key::Revision(revision.clone()), Key::Scale(Target::Revision(revision))]);
            }
            if autoscaler::component(world, &key).is_some() {
                keys.push(Key::Scale(Target::Component(key)));
            }
        }
        Object::Pod(pod) => {
            let service = pod.labels().get(names::INFERENCE_SERVICE_LABEL);
            keys.extend(service.map(|name| Key::InferenceService(key.sibling(name.clone()))));
        }
        Object::ConfigMap(_) => keys.extend(configured(world, &key)),
        Object::HttpRoute(route) => {
            keys.extend(gateway_routes::gateways_of_route(route).into_iter().map(Key::Gateway));
            keys.push(Key::HttpRoute(key));
        }
        Object::Gateway(_) => {
            keys.extend(gateway_routes::routes_of_gateway(world, &key).into_iter().map(Key::HttpRoute));
            keys.extend(components(world));
            keys.push(Key::Gateway(key));
        }
        Object::Ingress(_) => keys.push(Key::Ingress(key)),
        Object::IngressClass(_) => keys.extend(world.ingresses.keys().cloned().map(Key::Ingress)),
        Object::GatewayClass(_) => {
            let of_class =
                world.gateways.iter().filter(|(_, found)| found.spec.gateway_class_name == key.name);
            for gateway in of_class.map(|(gateway, _)| gateway.clone()) {
                let routes = gateway_routes::routes_of_gateway(world, &gateway);
                keys.extend(routes.into_iter().map(Key::HttpRoute));
                keys.push(Key::Gateway(gateway));
            }
            keys.extend(components(world));
            keys.push(Key::GatewayClass(key));
        }
        Object::ScaledObject(_) => keys.push(Key::ScaledObject(key)),
        Object::TriggerAuthentication(_) | Object::ClusterTriggerAuthentication(_) => {
            keys.extend(authenticated(world, &key));
        }
        Object::LocalModelCache(_)
        | Object::LocalModelNamespaceCache(_)
        | Object::LocalModelNodeGroup(_)
        | Object::LocalModelNode(_)
        | Object::Node(_)
        | Object::PersistentVolume(_)
        | Object::PersistentVolumeClaim(_) => keys.extend(kserve::local_models_of(world, object)),
        Object::Secret(_)
        | Object::ServiceAccount(_)
        | Object::HorizontalPodAutoscaler(_)
        | Object::VirtualService(_)
        | Object::OpenTelemetryCollector(_) => {}
    }
    keys
}

/// The work that an object of the world makes by going.
pub(super) fn by_key(world: &World, kind: Kind, key: &ObjectKey) -> Vec<Key> {
    world.object(kind, key).map(|object| by(world, &object)).unwrap_or_default()
}

/// The revision whose autoscaler looks at the object.
fn scaled_with(object: &Object) -> Option<Key> {
    let owner = controller(object.metadata()).filter(|owner| owner.kind == "Revision")?;
    Some(Key::Scale(Target::Revision(object.key().sibling(owner.name.clone()))))
}

/// The work on an object's controller, if it is one of ours.
fn owner(key: &ObjectKey, metadata: &ObjectMeta) -> Option<Key> {
    let owner = controller(metadata)?;
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let of = key.sibling(owner.name.clone());
    match (group, owner.kind.as_str()) {
        ("serving.kserve.io", "InferenceService") => Some(Key::InferenceService(of)),
        ("serving.kserve.io", "InferenceGraph") => Some(Key::InferenceGraph(of)),
        ("serving.knative.dev", "Service") => Some(Key::Service(of)),
        ("serving.knative.dev", "Route") => Some(Key::Route(of)),
        ("serving.knative.dev", "Configuration") => Some(Key::Configuration(of)),
        ("serving.knative.dev", "Revision") => Some(Key::Revision(of)),
        ("keda.sh", "ScaledObject") => Some(Key::ScaledObject(of)),
        _ => None,
    }
}

/// The ScaledObjects with a trigger that names the (Cluster)TriggerAuthentication.
fn authenticated(world: &World, key: &ObjectKey) -> Vec<Key> {
    let names_it = |object: &ScaledObject| {
        let references =
            object.spec.triggers.iter().filter_map(|trigger| trigger.authentication_ref.as_ref());
        references.into_iter().any(|reference| reference.name == key.name)
    };
    let objects = world.scaled_objects.iter();
    let near = objects.filter(|(found, _)| key.namespace.is_empty() || found.namespace == key.namespace);
    near.filter(|(_, object)| names_it(object)).map(|(found, _)| Key::ScaledObject(found.clone())).collect()
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
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

/// The autoscalers of all components that are scaled by their requests.
fn components(world: &World) -> impl Iterator<Item = Key> {
    let components = world.deployments.iter().filter(|(_, found)| on_demand::is_on_demand(found));
    components.map(|(key, _)| Key::Scale(Target::Component(key.clone())))
}

fn configured(world: &World, key: &ObjectKey) -> Vec<Key> {
    let services = |namespace: &str| -> Vec<Key> {
        let all = world.inference_services.keys();
        let those = all.filter(|service| namespace.is_empty() || service.namespace == namespace);
        those.cloned().map(Key::InferenceService).collect()
    };
    let ca_bundle = world.kserve_config().map(|config| config.storage_initializer.ca_bundle_config_map_name);
    if key.namespace == CONFIG_NAMESPACE && ca_bundle.is_ok_and(|name| name == key.name) {
        return services("");
    }
    if key.name == GLOBAL_CA_BUNDLE {
        return services(&key.namespace);
    }
    match (key.namespace.as_str(), key.name.as_str()) {
        (CONFIG_NAMESPACE, CONFIG_MAP) => {
            let graphs = world.inference_graphs.keys().cloned().map(Key::InferenceGraph);
            let services = services("").into_iter().chain(components(world));
            graphs.chain(services).chain(kserve::local_model_keys(world)).collect()
        }
        (KNATIVE_NAMESPACE, CONFIG_AUTOSCALER) => {
            let revisions = world.revisions.keys().cloned();
            let revisions =
                revisions.flat_map(|key| [Key::Revision(key.clone()), Key::Scale(Target::Revision(key))]);
            revisions.chain(components(world)).collect()
        }
        (KNATIVE_NAMESPACE, CONFIG_DOMAIN | CONFIG_NETWORK) => {
            world.routes.keys().cloned().map(Key::Route).collect()
        }
        (KNATIVE_NAMESPACE, CONFIG_GC) => {
            world.configurations.keys().cloned().map(Key::Configuration).collect()
        }
        _ => Vec::new(),
    }
}
