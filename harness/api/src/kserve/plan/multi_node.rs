//! A model that spans several nodes (`predictor.workerSpec`): a head and workers, each a Deployment of its own, that
//! find each other through headless Services.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{Deployment, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::super::runtime::Worker;
use super::super::{merge, names};
use super::autoscaler::Class;
use super::settings::Settings;
use super::workload::{self, Workload, allowed, set_variable};
use super::{Fault, Inputs, deployment};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, WORKER_CONTAINER};

/// Label of head and workers.
const ROLE: &str = "multinode/role";

/// Nodes of a model and the GPUs on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nodes {
    count: i64,
    head_gpus: i64,
    worker_gpus: i64,
}

/// Turns the predictor into the head and makes the workers beside it.
pub(super) fn split(
    head: &mut Workload,
    worker: &Worker,
    inputs: &Inputs<'_>,
    settings: &Settings,
) -> Result<Workload, Fault> {
    let service = inputs.service;
    let generation = service.metadata.generation.unwrap_or(0).to_string();
    let annotated = allowed(service.metadata.annotations.as_ref(), inputs.config);
    let mut annotations = worker.annotations.clone();
    annotations.extend(annotated);
    let bring = [names::STORAGE_SOURCE_URI, names::STORAGE_CONTAINER_NAME];
    annotations.extend(
        head.annotations
            .iter()
            .filter(|(key, _)| bring.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    annotations.extend(allowed(head.extension.annotations.as_ref(), inputs.config));
    let mut labels = worker.labels.clone();
    labels.extend(service.metadata.labels.clone().unwrap_or_default());
    labels.extend(head.extension.labels.clone().unwrap_or_default());
    for key in [names::INFERENCE_SERVICE_LABEL, names::COMPONENT_LABEL] {
        labels.extend(head.labels.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    labels.insert(names::GENERATION_LABEL.to_owned(), generation.clone());
    head.labels.insert(names::GENERATION_LABEL.to_owned(), generation.clone());
    let mut workers = Workload {
        name: format!("{}-worker", head.name),
        labels,
        annotations,
        pod: worker.pod.clone(),
        selected: None,
        ..head.clone()
    };

    let nodes = nodes(worker, &head.pod, &workers.pod, &settings.gpu_types)?;
    let source = head.annotations.get(names::STORAGE_SOURCE_URI).map(String::as_str).unwrap_or_default();
    let has_folder = source.starts_with("pvc://") || source.starts_with("oci://");
    let sizes = [
        ("PIPELINE_PARALLEL_SIZE", worker.pipeline_parallel_size.to_string()),
        ("TENSOR_PARALLEL_SIZE", worker.tensor_parallel_size.to_string()),
        ("RAY_NODE_COUNT", nodes.count.to_string()),
    ];
    if let Some(container) = named_container(&mut head.pod, SERVING_CONTAINER) {
        for (name, value) in &sizes {
            set_variable(container, name, value);
        }
        set_variable(container, "REQUEST_GPU_COUNT", &nodes.head_gpus.to_string());
        set_variable(container, "MODEL_NAME", service.name());
        if has_folder {
            set_variable(container, "MODEL_DIR", names::MODEL_MOUNT_PATH);
        }
        set_gpus(container, nodes.head_gpus, &settings.gpu_types);
    }
    let (head_service, worker_service) =
        (service_name(head, "head", &generation), service_name(head, "workers", &generation));
    if let Some(container) = named_container(&mut workers.pod, WORKER_CONTAINER) {
        for (name, value) in sizes.iter().skip(2).chain(&sizes[..2]) {
            set_variable(container, name, value);
        }
        set_variable(container, "REQUEST_GPU_COUNT", &nodes.worker_gpus.to_string());
        set_variable(container, "ISVC_NAME", service.name());
        set_variable(container, "HEAD_SVC", &head_service);
        set_variable(container, "WORKER_SVC", &worker_service);
        set_gpus(container, nodes.worker_gpus, &settings.gpu_types);
    }
    let uris = service.spec.predictor.storage_uris.as_deref();
    let container = service.spec.predictor.storage_container_name.as_deref();
    let annotations = workers.annotations.clone();
    workload::add_storage_uris(&mut workers.pod, uris, container, &annotations, inputs)?;
    workers.extension.min_replicas = i32::try_from((nodes.count - 1).max(0)).ok();
    Ok(workers)
}

/// The workers' Deployment. Its replicas are ours, and old workers go only when all new ones are there.
pub(super) fn deployment(workers: &Workload, settings: &Settings) -> Result<Deployment, Fault> {
    let mut deployment = deployment::render(workers, Class::None, settings)?;
    if let Some(strategy) = deployment.spec.as_mut().and_then(|spec| spec.strategy.as_mut())
        && strategy.type_.as_deref() == Some("RollingUpdate")
    {
        strategy.rolling_update = Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::String("0%".to_owned())),
            max_surge: Some(IntOrString::String("100%".to_owned())),
        });
    }
    Ok(deployment)
}

/// The headless Services of head and workers, for the present generation and for those whose pods are still there:
/// pods that are being replaced would lose each other otherwise.
pub(super) fn services(head: &Workload, inputs: &Inputs<'_>) -> Vec<Service> {
    let mut generations = BTreeSet::from([inputs.service.metadata.generation.unwrap_or(0).to_string()]);
    let apps = [head.app(), format!("{}-worker", head.app())];
    for pod in &inputs.observed.pods {
        let Some(labels) = &pod.metadata.labels else { continue };
        if labels.get("app").is_some_and(|app| apps.contains(app)) {
            generations.extend(labels.get(names::GENERATION_LABEL).cloned());
        }
    }
    let headless = |role: &str, part: &str, app: String, generation: &str| {
        let mut metadata = head.metadata();
        metadata.name = Some(service_name(head, part, generation));
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(ROLE.to_owned(), role.to_owned());
        labels.insert(names::GENERATION_LABEL.to_owned(), generation.to_owned());
        let selector = BTreeMap::from([
            ("app".to_owned(), app),
            (names::GENERATION_LABEL.to_owned(), generation.to_owned()),
        ]);
        Service {
            metadata,
            spec: Some(ServiceSpec {
                selector: Some(selector),
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    };
    let [head_app, worker_app] = apps;
    generations
        .iter()
        .flat_map(|generation| {
            [
                headless("head", "head", head_app.clone(), generation),
                headless("worker", "workers", worker_app.clone(), generation),
            ]
        })
        .collect()
}

fn service_name(head: &Workload, part: &str, generation: &str) -> String {
    let service = head.name.strip_suffix("-predictor").unwrap_or(&head.name);
    format!("{service}-{part}-{generation}")
}

fn named_container<'a>(pod: &'a mut Fields, name: &str) -> Option<&'a mut Map<String, Value>> {
    let containers = pod.get_mut("containers").and_then(Value::as_array_mut)?;
    containers
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .find(|container| container.get("name").and_then(Value::as_str) == Some(name))
}

/// How many nodes there are. With processes: one for each stage, with a GPU for each part of it. With Ray: as many as
/// the GPUs need, as upstream's `computeRayNodeAndGPUs` counts them.
fn nodes(worker: &Worker, head: &Fields, workers: &Fields, gpu_types: &[String]) -> Result<Nodes, Fault> {
    let (pipeline, tensor) = (worker.pipeline_parallel_size, worker.tensor_parallel_size);
    if worker.is_multiprocessing {
        return Ok(Nodes { count: pipeline, head_gpus: tensor, worker_gpus: tensor });
    }
    let total = pipeline.saturating_mul(tensor);
    let needed = |gpus: i64, each: i64| {
        if each == 0 { 1 } else { gpus.max(0).div_euclid(each) + i64::from(gpus.rem_euclid(each) != 0) }
    };
    let (mut head_gpus, mut worker_gpus) = (requested(head, gpu_types), requested(workers, gpu_types));
    let count;
    if worker_gpus > 0 {
        let mut nodes = needed(total, worker_gpus);
        let rest = total - worker_gpus * (nodes - 1);
        if head_gpus > 0 {
            if needed(total, head_gpus) == 1 {
                nodes = 1;
            }
        } else {
            head_gpus = rest;
        }
        if nodes == 1 {
            (worker_gpus, head_gpus) = (0, total);
        }
        count = nodes;
    } else if head_gpus > 0 {
        worker_gpus = 1;
        let rest = total - head_gpus;
        count = if rest > 0 { needed(rest, worker_gpus) + 1 } else { 1 };
    } else {
        return Ok(Nodes { count: total, head_gpus: 1, worker_gpus: 1 });
    }
    let given = worker_gpus * (count - 1);
    if total > head_gpus + given {
        let message = format!(
            "the total required number of GPUs({total}) is less than the number of GPUs assigned to the head node({head_gpus}) + worker node({given})"
        );
        return Err(Fault::Reason("InvalidGPUAllocation", message));
    }
    Ok(Nodes { count, head_gpus, worker_gpus })
}

/// GPUs that the first container requests.
fn requested(pod: &Fields, gpu_types: &[String]) -> i64 {
    let first = crate::pod_fields::raw_containers(pod, "containers").next();
    let requests = first.and_then(|container| container.get("resources")?.get("requests")?.as_object());
    let found = requests.and_then(|requests| gpu_types.iter().find_map(|kind| requests.get(kind)));
    match found {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

/// Sets request and limit of the GPUs of the kind that the container asks for, NVIDIA's if it asks for none.
fn set_gpus(container: &mut Map<String, Value>, count: i64, gpu_types: &[String]) {
    let kind = gpu_types.iter().find(|kind| {
        ["limits", "requests"].iter().any(|list| {
            let quantity =
                container.get("resources").and_then(|resources| resources.get(list)?.get(kind.as_str()));
            quantity.is_some_and(|quantity| *quantity != json!("0") && *quantity != json!(0))
        })
    });
    let kind = kind.map_or("nvidia.com/gpu", String::as_str);
    let quantity = json!({kind: count.to_string()});
    let wanted = json!({"resources": {"limits": quantity, "requests": quantity}});
    *container = merge::container(container, wanted.as_object().unwrap_or(&Map::new()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(gpus: i64) -> Fields {
        let requests = if gpus > 0 { json!({"nvidia.com/gpu": gpus.to_string()}) } else { json!({}) };
        [("containers".to_owned(), json!([{"name": "c", "resources": {"requests": requests}}]))].into()
    }

    fn count(pipeline: i64, tensor: i64, head: i64, worker: i64) -> Result<(i64, i64, i64), String> {
        let sizes = Worker {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pod: Fields::new(),
            pipeline_parallel_size: pipeline,
            tensor_parallel_size: tensor,
            is_multiprocessing: false,
        };
        nodes(&sizes, &pod(head), &pod(worker), &["nvidia.com/gpu".to_owned()])
            .map(|nodes| (nodes.count, nodes.worker_gpus, nodes.head_gpus))
            .map_err(|fault| fault.message().to_owned())
    }

    /// predictor_test.go, `computeRayNodeAndGPUs`, worked out by hand from its four cases.
    #[test]
    fn nodes_and_gpus() {
        // Neither says: a node for each GPU.
        assert_eq!(count(2, 2, 0, 0), Ok((4, 1, 1)));
        // Workers with 2 GPUs share 8: four nodes, the head has the rest.
        assert_eq!(count(2, 4, 0, 2), Ok((4, 2, 2)));
        assert_eq!(count(1, 3, 0, 2), Ok((2, 2, 1)));
        // The head alone is enough.
        assert_eq!(count(1, 4, 4, 2), Ok((1, 0, 4)));
        // Only the head says: the others have one each.
        assert_eq!(count(1, 4, 2, 0), Ok((3, 1, 2)));
        // One worker of 3 and a head of 1 are not 5.
        assert_eq!(
            count(1, 5, 1, 3),
            Err("the total required number of GPUs(5) is less than the number of GPUs assigned to the head node(1) + worker node(3)".to_owned())
        );
    }
}
