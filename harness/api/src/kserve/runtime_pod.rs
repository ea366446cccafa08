//! The pod that comes of a runtime and a service: containers merged, what some servers need to know, the image's tag,
//! placeholders.

use serde_json::{Map, Value, json};
use windtunnel_kernel::Profile;

use super::inference_service::InferenceService;
use super::predictor::ModelSpec;
use super::runtime::{ModelStatusFailure, Runtime, Selected, Worker, protocol_rank};
use super::{merge, names, placeholders};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, WORKER_CONTAINER, raw_containers};

type Container = Map<String, Value>;

pub(super) fn build(
    service: &InferenceService,
    model: &ModelSpec,
    runtime: &Runtime,
    profile: Profile,
) -> Result<Selected, ModelStatusFailure> {
    let theirs: Vec<&Container> = raw_containers(&runtime.spec.pod, "containers").collect();
    if theirs.is_empty() {
        return Err(invalid("no container configuration found in selected serving runtime"));
    }
    let base = find(&theirs, SERVING_CONTAINER).ok_or_else(|| {
        invalid(&format!("failed to find {SERVING_CONTAINER} in ServingRuntime containers"))
    })?;
    let server = server_type(runtime);
    let protocol = protocol(model, runtime, server);
    let mut mine: Container =
        model.extension.container.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut labelled = service.clone();
    apply_server_defaults(&mut labelled, &mut mine, server, &protocol, model);

    let mut serving = merge::container(base, &mine);
    serving.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
    let mut serving = replaced(serving, &labelled, runtime, SERVING_CONTAINER)?;
    set_image(&mut serving, model.extension.runtime_version.as_deref(), server);

    let predictor = &service.spec.predictor;
    let own: Vec<&Container> = raw_containers(&predictor.pod, "containers").collect();
    let beside = match (find(&theirs, TRANSFORMER_CONTAINER), find(&own, TRANSFORMER_CONTAINER)) {
        (Some(base), Some(over)) => Some(merge::container(base, over)),
        (Some(only), None) | (None, Some(only)) => Some(only.clone()),
        (None, None) => None,
    };
    let mut all = vec![Value::Object(serving)];
    if let Some(transformer) = beside {
        all.push(Value::Object(replaced(transformer, &labelled, runtime, TRANSFORMER_CONTAINER)?));
    }
    let others = theirs.iter().filter(|container| !is(container, SERVING_CONTAINER)).chain(&own);
    let others = others.filter(|container| !is(container, TRANSFORMER_CONTAINER));
    all.extend(others.map(|container| Value::Object((*container).clone())));
    let mut pod = merge::pod_settings(&runtime.spec.pod, &predictor.pod, profile);
    pod.insert("containers".to_owned(), Value::Array(all));

    let own_labels = service.metadata.labels.as_ref();
    let mut labels = runtime.spec.labels.clone().unwrap_or_default();
    for (key, value) in labelled.metadata.labels.clone().unwrap_or_default() {
        if own_labels.is_none_or(|labels| labels.get(&key) != Some(&value)) {
            labels.insert(key, value);
        }
    }
    Ok(Selected {
        serving_runtime: runtime.namespace.is_some().then(|| runtime.name.clone()),
        cluster_serving_runtime: runtime.namespace.is_none().then(|| runtime.name.clone()),
        protocol,
        labels,
        annotations: runtime.spec.annotations.clone().unwrap_or_default(),
        pod,
        worker: worker(service, runtime, profile)?,
    })
}

fn invalid(message: &str) -> ModelStatusFailure {
    ModelStatusFailure::new("InvalidPredictorSpec", message)
}

fn is(container: &Container, name: &str) -> bool {
    container.get("name").and_then(Value::as_str) == Some(name)
}

fn find<'a>(containers: &[&'a Container], name: &str) -> Option<&'a Container> {
    containers.iter().copied().find(|container| is(container, name))
}

fn replaced(
    container: Container,
    service: &InferenceService,
    runtime: &Runtime,
    name: &str,
) -> Result<Container, ModelStatusFailure> {
    let mut value = Value::Object(container);
    placeholders::replace(&mut value, service).map_err(|_| {
        invalid(&format!(
            "failed to replace placeholders in serving runtime {} Container {name}",
            runtime.name
        ))
    })?;
    Ok(value.as_object().cloned().unwrap_or_default())
}

/// Which kind of server it is: the runtime's annotation, else its name without `kserve-`.
fn server_type(runtime: &Runtime) -> &str {
    let annotated = runtime.annotations.get(names::SERVER_TYPE).map(String::as_str);
    annotated
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| runtime.name.strip_prefix("kserve-").unwrap_or(&runtime.name))
}

/// The protocol that the service asks for; else the one that the server prefers, or the runtime's lowest.
fn protocol(model: &ModelSpec, runtime: &Runtime, server: &str) -> String {
    if let Some(given) = &model.extension.protocol_version {
        return given.clone();
    }
    match server {
        "mlserver" | "tritonserver" => "v2".to_owned(),
        "torchserve" => "v1".to_owned(),
        _ => {
            let listed = runtime.spec.protocol_versions.iter().flatten();
            listed.min_by_key(|name| protocol_rank(name)).cloned().unwrap_or_else(|| "v1".to_owned())
        }
    }
}

/// What some servers need to know besides their arguments.
fn apply_server_defaults(
    service: &mut InferenceService,
    container: &mut Container,
    server: &str,
    protocol: &str,
    model: &ModelSpec,
) {
    let has_storage = model.extension.storage_uri.is_some() || model.extension.storage.is_some();
    match server {
        "mlserver" => {
            if has_storage {
                add_variable(container, "MLSERVER_MODEL_NAME", service.name());
                add_variable(container, "MLSERVER_MODEL_URI", names::MODEL_MOUNT_PATH);
            } else {
                add_variable(container, "MLSERVER_LOAD_MODELS_AT_STARTUP", "false");
            }
            let class = match model.model_format.name.as_str() {
                "xgboost" => "mlserver_xgboost.XGBoostModel",
                "lightgbm" => "mlserver_lightgbm.LightGBMModel",
                "mlflow" => "mlserver_mlflow.MLflowRuntime",
                _ => "mlserver_sklearn.SKLearnModel",
            };
            let labels = service.metadata.labels.get_or_insert_default();
            labels.insert(names::MODEL_CLASS.to_owned(), class.to_owned());
        }
        "torchserve" => {
            let envelope = if matches!(protocol, "v2" | "grpc-v2") { "kservev2" } else { "kserve" };
            let labels = service.metadata.labels.get_or_insert_default();
            labels.insert(names::SERVICE_ENVELOPE.to_owned(), envelope.to_owned());
            add_variable(container, "PROTOCOL_VERSION", protocol);
        }
        "tritonserver" if !has_storage => {
            let args = container.entry("args").or_insert_with(|| json!([]));
            if let Some(args) = args.as_array_mut() {
                args.push(json!("--model-control-mode=explicit"));
            }
        }
        _ => {}
    }
}

fn add_variable(container: &mut Container, name: &str, value: &str) {
    let variables = container.entry("env").or_insert_with(|| json!([]));
    let Some(variables) = variables.as_array_mut() else { return };
    if !variables.iter().any(|variable| variable["name"] == *name) {
        variables.push(json!({"name": name, "value": value}));
    }
}

/// The runtime version replaces the image's tag. Without one, servers with a build of their own for GPUs (or without
/// them) get that build. An image by digest stays.
fn set_image(container: &mut Container, version: Option<&str>, server: &str) {
    let limits =
        container.get("resources").and_then(|resources| resources.get("limits")).and_then(Value::as_object);
    let has_gpu = limits.is_some_and(|limits| {
        limits.keys().any(|key| key == "nvidia.com/gpu" || key.starts_with("nvidia.com/mig"))
    });
    let Some(Value::String(image)) = container.get_mut("image") else { return };
    if image.contains("@sha256:") {
        return;
    }
    let tag_at = image.rfind(':').filter(|colon| !image[*colon..].contains('/'));
    if let Some(version) = version.filter(|version| !version.is_empty()) {
        image.truncate(tag_at.unwrap_or(image.len()));
        image.push(':');
        image.push_str(version);
        return;
    }
    let Some(tag_at) = tag_at else { return };
    match server {
        "tensorflow-serving" | "torchserve" | "huggingfaceserver" if has_gpu && !image.ends_with("-gpu") => {
            image.push_str("-gpu");
        }
        "vllmserver" if !has_gpu && !image[..tag_at].ends_with("-cpu") => image.insert_str(tag_at, "-cpu"),
        _ => {}
    }
}

/// The workers of a service that asks for some.
fn worker(
    service: &InferenceService,
    runtime: &Runtime,
    profile: Profile,
) -> Result<Option<Worker>, ModelStatusFailure> {
    let Some(wanted) = service.spec.predictor.worker_spec.as_ref().and_then(Value::as_object) else {
        return Ok(None);
    };
    let Some(theirs) = runtime.spec.pod.get("workerSpec").and_then(Value::as_object) else {
        return Err(ModelStatusFailure::new(
            "InvalidWorkerSpecNotSet",
            "you cannot set WorkerSpec in the InferenceService if the ServingRuntime does not have a WorkerSpec",
        ));
    };
    let fields =
        |object: &Container| -> Fields { object.iter().map(|(k, v)| (k.clone(), v.clone())).collect() };
    let (theirs, wanted) = (fields(theirs), fields(wanted));
    let containers: Vec<&Container> = raw_containers(&theirs, "containers").collect();
    if containers.is_empty() {
        return Err(invalid("No workerSpec container configuration found in selected serving runtime"));
    }
    let base = find(&containers, WORKER_CONTAINER)
        .ok_or_else(|| invalid(&format!("failed to find {WORKER_CONTAINER} in ServingRuntime containers")))?;
    let over = raw_containers(&wanted, "containers").next().cloned().unwrap_or_default();
    let mut container = merge::container(base, &over);
    container.insert("name".to_owned(), Value::from(WORKER_CONTAINER));
    let mut pod = merge::pod_settings(&theirs, &wanted, profile);
    let sizes = ["pipelineParallelSize", "tensorParallelSize"];
    for key in sizes {
        pod.remove(key);
    }
    pod.insert("containers".to_owned(), json!([container]));
    let [pipeline, tensor] = sizes.map(|key| {
        let size = |fields: &Fields| fields.get(key).and_then(Value::as_i64);
        size(&wanted).or_else(|| size(&theirs)).unwrap_or(1)
    });
    let map = |key: &str| theirs.get(key).cloned().and_then(|value| serde_json::from_value(value).ok());
    let backend = runtime.spec.annotations.as_ref().and_then(|all| all.get("multinode/executor-backend"));
    Ok(Some(Worker {
        labels: map("labels").unwrap_or_default(),
        annotations: map("annotations").unwrap_or_default(),
        pod,
        pipeline_parallel_size: pipeline,
        tensor_parallel_size: tensor,
        is_multiprocessing: backend.is_some_and(|backend| backend == "mp"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(image: &str, version: Option<&str>, server: &str, gpu: Option<&str>) -> String {
        let limits = gpu.map_or_else(|| json!({}), |gpu| json!({gpu: "1"}));
        let container = json!({"image": image, "resources": {"limits": limits}});
        let mut container = container.as_object().cloned().unwrap_or_default();
        set_image(&mut container, version, server);
        container["image"].as_str().unwrap_or_default().to_owned()
    }

    /// utils_test.go, `TestUpdateImageTag`: a model would run on the wrong build, or not at all.
    #[test]
    fn tags() {
        let (tf, gpu) = ("tensorflow-serving", Some("nvidia.com/gpu"));
        assert_eq!(image("tfserving:1.14.0", Some("2.6.2"), tf, None), "tfserving:2.6.2");
        assert_eq!(image("tfserving", Some("2.6.2"), tf, None), "tfserving:2.6.2");
        assert_eq!(
            image("localhost:8888/tfserving", Some("2.6.2"), tf, None),
            "localhost:8888/tfserving:2.6.2"
        );
        assert_eq!(
            image("localhost:8888/tfserving:1", Some("2.6.2"), tf, None),
            "localhost:8888/tfserving:2.6.2"
        );
        assert_eq!(image("tfserving:1.14.0", None, tf, gpu), "tfserving:1.14.0-gpu");
        assert_eq!(
            image("tfserving:1.14.0", None, tf, Some("nvidia.com/mig-1g.5gb")),
            "tfserving:1.14.0-gpu"
        );
        assert_eq!(image("tfserving:1.14.0-gpu", None, tf, gpu), "tfserving:1.14.0-gpu");
        assert_eq!(image("tfserving:1.14.0", Some("2.6.2"), tf, gpu), "tfserving:2.6.2");
        assert_eq!(image("sklearn:1", None, "sklearnserver", gpu), "sklearn:1");
        assert_eq!(image("vllm/vllm-openai:v1", None, "vllmserver", None), "vllm/vllm-openai-cpu:v1");
        assert_eq!(image("vllm/vllm-openai:v1", None, "vllmserver", gpu), "vllm/vllm-openai:v1");
        assert_eq!(image("a@sha256:0123", Some("2"), tf, gpu), "a@sha256:0123");
    }
}
