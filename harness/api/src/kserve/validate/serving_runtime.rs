//! Rules of ServingRuntimes and ClusterServingRuntimes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::environment;
use super::multi_node::{GPU_RESOURCE_TYPES, has_unknown_gpu, list};
use crate::kserve::serving_runtime::{ServingRuntimeSpec, SupportedModelFormat};
use crate::pod_fields::{SERVING_CONTAINER, WORKER_CONTAINER, raw_containers, raw_environment};

/// Where a runtime is: the other runtimes there are those that it must not collide with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeScope<'a> {
    /// A ClusterServingRuntime.
    Cluster,
    /// A ServingRuntime of the namespace.
    Namespace(&'a str),
}

impl RuntimeScope<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Cluster => "ClusterServingRuntime",
            Self::Namespace(_) => "ServingRuntime",
        }
    }
}

/// Checks a runtime that is created or updated against those that are there, itself among them if it is
/// updated. Disabled runtimes are let through. Upstream looks at the runtime's own priorities only where
/// there is a runtime already; they are always looked at here.
///
/// # Errors
/// Upstream's message for the first rule that is broken.
pub fn serving_runtime(
    scope: RuntimeScope<'_>,
    name: &str,
    spec: &ServingRuntimeSpec,
    existing: &[(&str, &ServingRuntimeSpec)],
    custom_gpus: &[String],
) -> Result<(), String> {
    if spec.disabled == Some(true) {
        return Ok(());
    }
    if let Some(format) = different_priorities(spec) {
        let words = scope.kind().to_lowercase();
        return Err(format!(
            "different priorities assigned for the model format {format} under the {words} {name}"
        ));
    }
    for (other, other_spec) in existing.iter().filter(|(other, _)| *other != name) {
        if let Some(format) = same_priority(spec, other_spec) {
            let place = match scope {
                RuntimeScope::Cluster => format!("in the clusterservingruntimes {other} and {name}"),
                RuntimeScope::Namespace(namespace) => {
                    format!("in the servingruntimes {other} and {name} in namespace {namespace}")
                }
            };
            return Err(format!("same priority assigned for the model format {format} {place}"));
        }
    }
    let before = existing.iter().find(|(other, _)| *other == name).map(|(_, spec)| *spec);
    multi_node(spec, before, custom_gpus)
        .map_err(|what| format!("the {} {name} is invalid: {what}", scope.kind()))?;
    environment::no_blocked_variables_of_runtime(spec)
        .map_err(|what| format!("the {} {name:?} is invalid: {what}", scope.kind()))
}

fn formats(spec: &ServingRuntimeSpec) -> impl Iterator<Item = &SupportedModelFormat> {
    let all = spec.supported_model_formats.iter().flatten();
    all.filter(|format| format.auto_select == Some(true))
}

/// A format that has two priorities in one runtime.
fn different_priorities(spec: &ServingRuntimeSpec) -> Option<&str> {
    let mut seen: BTreeMap<&str, Option<i32>> = BTreeMap::new();
    formats(spec).find_map(|format| {
        let first = *seen.entry(&format.name).or_insert(format.priority);
        let differs = matches!((first, format.priority), (Some(a), Some(b)) if a != b);
        differs.then_some(format.name.as_str())
    })
}

/// A format that has one priority in two runtimes that serve one protocol.
fn same_priority<'a>(spec: &'a ServingRuntimeSpec, other: &ServingRuntimeSpec) -> Option<&'a str> {
    let multi_model = |spec: &ServingRuntimeSpec| spec.multi_model == Some(true);
    if multi_model(spec) != multi_model(other) || other.disabled == Some(true) {
        return None;
    }
    let protocols = |spec: &ServingRuntimeSpec| spec.protocol_versions.clone().unwrap_or_default();
    let theirs = protocols(other);
    if !protocols(spec).iter().any(|protocol| theirs.contains(protocol)) {
        return None;
    }
    formats(other).find_map(|there| {
        let same = formats(spec).find(|here| {
            here.name.eq_ignore_ascii_case(&there.name)
                && here.version == there.version
                && here.priority.is_some()
                && here.priority == there.priority
        });
        same.map(|format| format.name.as_str())
    })
}

fn multi_node(
    spec: &ServingRuntimeSpec,
    before: Option<&ServingRuntimeSpec>,
    custom_gpus: &[String],
) -> Result<(), String> {
    let workers =
        |spec: &ServingRuntimeSpec| spec.pod.get("workerSpec").filter(|spec| !spec.is_null()).cloned();
    let Some(workers) = workers(spec) else {
        return match before.and_then(workers) {
            Some(_) => Err("removing workerSpec where it already exists is not allowed".to_owned()),
            None => Ok(()),
        };
    };
    let empty = serde_json::Map::new();
    let workers = workers.as_object().unwrap_or(&empty).clone();
    let containers = list(&workers, "containers");
    let [worker] = containers[..] else {
        return Err(if containers.is_empty() {
            "spec.workerSpec.containers: Required value".to_owned()
        } else {
            "setting multiple containers in workerSpec is not allowed".to_owned()
        });
    };
    let annotation =
        spec.annotations.as_ref().and_then(|all| all.get(GPU_RESOURCE_TYPES)).map(String::as_str);
    let unknown = |name: &str| Err(format!("unknown GPU resource type in a container({name})"));
    let is = |container: &serde_json::Map<String, Value>, name: &str| {
        container.get("name").and_then(Value::as_str) == Some(name)
    };
    for container in raw_containers(&spec.pod, "containers").filter(|c| is(c, SERVING_CONTAINER)) {
        for variable in ["PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE"] {
            if raw_environment(container).any(|(name, _)| name == variable) {
                return Err(format!("setting {variable} in environment variables is not allowed"));
            }
        }
        if has_unknown_gpu(container, annotation, custom_gpus)? {
            return unknown(SERVING_CONTAINER);
        }
    }
    if is(worker, WORKER_CONTAINER) && has_unknown_gpu(worker, annotation, custom_gpus)? {
        return unknown(WORKER_CONTAINER);
    }
    for (key, field) in
        [("pipelineParallelSize", "PipelineParallelSize"), ("tensorParallelSize", "TensorParallelSize")]
    {
        if let Some(size) = workers.get(key).and_then(Value::as_i64).filter(|size| *size < 1) {
            return Err(format!("the WorkerSpec.{field} cannot be less than 1({size})"));
        }
    }
    Ok(())
}
