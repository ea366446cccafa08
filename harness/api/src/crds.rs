//! The CustomResourceDefinitions of all kinds in this crate.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{gateway_api, istio, keda, knative, kserve, opentelemetry};

/// Definitions to install before anything else, InferenceService first.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        kserve::InferenceService::crd(),
        kserve::ServingRuntime::crd(),
        kserve::ClusterServingRuntime::crd(),
        knative::Service::crd(),
        knative::Configuration::crd(),
        knative::Revision::crd(),
        knative::Route::crd(),
        gateway_api::GatewayClass::crd(),
        gateway_api::Gateway::crd(),
        gateway_api::HttpRoute::crd(),
        keda::ScaledObject::crd(),
        istio::VirtualService::crd(),
        opentelemetry::OpenTelemetryCollector::crd(),
    ]
}
