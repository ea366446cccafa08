//! The CustomResourceDefinitions of all kinds in this crate.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{gateway_api, keda, knative, kserve, opentelemetry};

/// Definitions to install before anything else, InferenceService first. Istio's are not among them: where it is not
/// installed nobody would serve them. Istio's VirtualService is not among them: it
/// is only made where somebody serves it.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        kserve::InferenceService::crd(),
        kserve::ServingRuntime::crd(),
        kserve::ClusterServingRuntime::crd(),
        kserve::InferenceGraph::crd(),
        kserve::TrainedModel::crd(),
        kserve::ClusterStorageContainer::crd(),
        kserve::LocalModelCache::crd(),
        kserve::LocalModelNamespaceCache::crd(),
        kserve::LocalModelNodeGroup::crd(),
        kserve::LocalModelNode::crd(),
        knative::Service::crd(),
        knative::Configuration::crd(),
        knative::Revision::crd(),
        knative::Route::crd(),
        gateway_api::GatewayClass::crd(),
        gateway_api::Gateway::crd(),
        gateway_api::HttpRoute::crd(),
        keda::ScaledObject::crd(),
        keda::TriggerAuthentication::crd(),
        keda::ClusterTriggerAuthentication::crd(),
        opentelemetry::OpenTelemetryCollector::crd(),
    ]
}
