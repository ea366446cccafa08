//! The Knative Service of an InferenceService's predictor.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::config::KserveConfig;
use super::inference_service::InferenceService;
use super::runtime::Selected;
use super::{canary_pointers, names, pod};
use crate::knative::{self, names as knative_names};

/// Annotations of the service itself that go to its Knative Service.
const SERVICE_ANNOTATIONS: [&str; 2] =
    [knative_names::ROLLOUT_DURATION, "serving.knative.openshift.io/enablePassthrough"];

/// Renders the Knative Service `{service}-predictor`: labels and annotations of pods, autoscaling bounds,
/// the pod specification, and the traffic between the newest revision and the last one that was rolled out
/// (which the service's status remembers).
#[must_use]
pub fn knative_service(
    service: &InferenceService,
    selected: &Selected,
    config: &KserveConfig,
) -> knative::Service {
    let predictor = &service.spec.predictor;
    let extension = &predictor.extension;
    let name = names::predictor_name(service.name());

    let mut labels = selected.labels.clone();
    labels.extend(service.metadata.labels.clone().unwrap_or_default());
    labels.extend(extension.labels.clone().unwrap_or_default());
    labels.insert(names::INFERENCE_SERVICE_LABEL.to_owned(), service.name().to_owned());
    labels.insert(names::COMPONENT_LABEL.to_owned(), "predictor".to_owned());

    let mut annotations = selected.annotations.clone();
    let own = service.metadata.annotations.clone().unwrap_or_default();
    annotations.extend(own.into_iter().filter(|(key, _)| !config.disallowed_annotations.contains(key)));
    annotations.extend(extension.annotations.clone().unwrap_or_default());
    for key in SERVICE_ANNOTATIONS {
        annotations.remove(key);
    }
    autoscaling_annotations(&mut annotations, extension);
    if let Some(uri) = predictor.storage_uri() {
        annotations.insert(names::STORAGE_SOURCE_URI.to_owned(), uri.to_owned());
    }

    let mut template_labels = labels.clone();
    template_labels.retain(|key, _| !config.disallowed_labels.contains(key));
    let mut pod = selected.pod.clone();
    if let Some(uris) = &predictor.storage_uris {
        pod::add_storage_uris(&mut pod, uris, config);
    }
    let spec = knative::ServiceSpec {
        template: knative::RevisionTemplate {
            metadata: Some(ObjectMeta {
                labels: Some(template_labels),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            }),
            spec: knative::RevisionSpec {
                container_concurrency: extension.container_concurrency,
                timeout_seconds: extension.timeout,
                response_start_timeout_seconds: extension.timeout,
                idle_timeout_seconds: None,
                pod,
            },
        },
        traffic: canary_pointers::traffic(
            extension.canary_traffic_percent,
            service.status.as_ref().and_then(|status| status.predictor()),
            service.annotation(names::ENABLE_TAG_ROUTING) == Some("true"),
        ),
        ..knative::ServiceSpec::default()
    };
    let mut rendered = knative::Service::new(&name, spec);
    rendered.metadata.namespace.clone_from(&service.metadata.namespace);
    rendered.metadata.labels = Some(labels);
    let kept: BTreeMap<String, String> = SERVICE_ANNOTATIONS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), service.annotation(key)?.to_owned())))
        .collect();
    rendered.metadata.annotations = (!kept.is_empty()).then_some(kept);
    rendered.metadata.owner_references = crate::owner::references(service);
    rendered
}

pub(super) fn autoscaling_annotations(
    annotations: &mut BTreeMap<String, String>,
    extension: &super::ComponentExtension,
) {
    annotations.entry(knative_names::CLASS.to_owned()).or_insert_with(|| knative_names::KPA_CLASS.to_owned());
    let min = extension.min_replicas.unwrap_or(1);
    annotations.insert(knative_names::MIN_SCALE.to_owned(), min.to_string());
    if let Some(max) = extension.max_replicas.filter(|max| *max != 0) {
        annotations.insert(knative_names::MAX_SCALE.to_owned(), max.to_string());
    }
    if let Some(target) = extension.scale_target {
        annotations.insert(knative_names::TARGET.to_owned(), target.to_string());
    }
    if let Some(metric) = &extension.scale_metric {
        annotations.insert(knative_names::METRIC.to_owned(), metric.clone());
    }
}
