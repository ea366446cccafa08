//! The runtimes that KServe ships, as a table of facts: names, images, formats, protocols, arguments, sizes
//! (upstream's `config/runtimes`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kserve::{
    ClusterServingRuntime, ClusterServingRuntimeSpec, ServingRuntimeSpec, SupportedModelFormat, names,
};

/// A model format: name, version, priority if it is selected automatically.
type Format = (&'static str, &'static str, Select);

#[derive(Clone, Copy)]
enum Select {
    /// Chosen without being named, with this priority.
    Auto(i32),
    /// Only by name; the priority is written and means nothing.
    Named(i32),
    /// Only by name.
    Plain,
}

use Select::{Auto, Named, Plain};

/// One runtime; what most have in common is not repeated.
struct Row {
    name: &'static str,
    server: &'static str,
    image: &'static str,
    formats: &'static [Format],
    protocols: &'static [&'static str],
    command: &'static [&'static str],
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    metrics_port: &'static str,
    /// User of images that name none.
    user: Option<i64>,
    /// Further fields of container and pod.
    more: Option<fn() -> More>,
}

/// Fields beside the table's.
struct More {
    container: Value,
    pod: Value,
}

/// How KServe's own servers are called.
const OWN: &[&str] = &["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080"];
const OWN_THREAD: &[&str] =
    &["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080", "--nthread=1"];
const V1_V2: &[&str] = &["v1", "v2"];

const COMMON: Row = Row {
    name: "",
    server: "",
    image: "",
    formats: &[],
    protocols: V1_V2,
    command: &[],
    args: OWN,
    env: &[],
    metrics_port: "8080",
    user: None,
    more: None,
};

const ROWS: [Row; 13] = [
    Row {
        name: "kserve-tensorflow-serving",
        server: "tensorflow-serving",
        image: "tensorflow/serving:2.6.2",
        formats: &[("tensorflow", "1", Auto(2)), ("tensorflow", "2", Auto(2))],
        protocols: &["v1", "grpc-v1"],
        command: &["/usr/bin/tensorflow_model_server"],
        args: &[
            "--model_name={{.Name}}",
            "--port=9000",
            "--rest_api_port=8080",
            "--model_base_path=/mnt/models",
            "--rest_api_timeout_in_ms=60000",
        ],
        user: Some(1000),
        ..COMMON
    },
    Row {
        name: "kserve-sklearnserver",
        server: "sklearnserver",
        image: "kserve/sklearnserver:latest",
        formats: &[("sklearn", "1", Auto(1))],
        ..COMMON
    },
    Row {
        name: "kserve-predictiveserver",
        server: "predictiveserver",
        image: "kserve/predictiveserver:latest",
        formats: &[("sklearn", "1", Named(3)), ("xgboost", "2", Named(3)), ("lightgbm", "4", Named(3))],
        args: &[
            "--model_name={{.Name}}",
            "--model_dir=/mnt/models",
            "--http_port=8080",
            "--framework={{.Annotations.modelFormat}}",
            "--nthread=1",
        ],
        ..COMMON
    },
    Row {
        name: "kserve-mlserver",
        server: "mlserver",
        image: "docker.io/seldonio/mlserver:1.7.1",
        formats: &[
            ("sklearn", "0", Auto(2)),
            ("sklearn", "1", Auto(2)),
            ("xgboost", "1", Auto(2)),
            ("xgboost", "2", Auto(2)),
            ("lightgbm", "3", Auto(2)),
            ("lightgbm", "4", Auto(2)),
            ("mlflow", "1", Auto(1)),
            ("mlflow", "2", Auto(1)),
        ],
        protocols: &["v2"],
        args: &[],
        env: &[
            ("MLSERVER_MODEL_IMPLEMENTATION", "{{.Labels.modelClass}}"),
            ("MLSERVER_HTTP_PORT", "8080"),
            ("MLSERVER_GRPC_PORT", "9000"),
        ],
        ..COMMON
    },
    Row {
        name: "kserve-xgbserver",
        server: "xgbserver",
        image: "kserve/xgbserver:latest",
        formats: &[("xgboost", "2", Auto(1))],
        args: OWN_THREAD,
        ..COMMON
    },
    Row {
        name: "kserve-tritonserver",
        server: "tritonserver",
        image: "nvcr.io/nvidia/tritonserver:23.05-py3",
        formats: &[
            ("tensorrt", "8", Auto(1)),
            ("tensorflow", "1", Auto(1)),
            ("tensorflow", "2", Auto(1)),
            ("onnx", "1", Auto(1)),
            ("pytorch", "1", Plain),
            ("triton", "2", Auto(1)),
        ],
        protocols: &["v2", "grpc-v2"],
        args: &[
            "tritonserver",
            "--model-store=/mnt/models",
            "--grpc-port=9000",
            "--http-port=8080",
            "--allow-grpc=true",
            "--allow-http=true",
        ],
        metrics_port: "8002",
        user: Some(1000),
        ..COMMON
    },
    Row {
        name: "kserve-pmmlserver",
        server: "pmmlserver",
        image: "kserve/pmmlserver:latest",
        formats: &[("pmml", "3", Auto(1)), ("pmml", "4", Auto(1))],
        ..COMMON
    },
    Row {
        name: "kserve-paddleserver",
        server: "paddleserver",
        image: "kserve/paddleserver:latest",
        formats: &[("paddle", "2", Auto(1))],
        ..COMMON
    },
    Row {
        name: "kserve-lgbserver",
        server: "lgbserver",
        image: "kserve/lgbserver:latest",
        formats: &[("lightgbm", "4", Auto(1))],
        args: OWN_THREAD,
        ..COMMON
    },
    Row {
        name: "kserve-torchserve",
        server: "torchserve",
        image: "pytorch/torchserve-kfs:0.9.0",
        formats: &[("pytorch", "1", Auto(2))],
        protocols: &["v1", "v2", "grpc-v2"],
        args: &[
            "torchserve",
            "--start",
            "--model-store=/mnt/models/model-store",
            "--ts-config=/mnt/models/config/config.properties",
        ],
        env: &[("TS_SERVICE_ENVELOPE", "{{.Labels.serviceEnvelope}}")],
        metrics_port: "8082",
        user: Some(1000),
        ..COMMON
    },
    Row {
        name: "kserve-huggingfaceserver",
        server: "huggingfaceserver",
        image: "kserve/huggingfaceserver:latest",
        formats: &[("huggingface", "1", Auto(1))],
        protocols: &["v2", "v1"],
        args: &["--model_name={{.Name}}"],
        env: &[("LMCACHE_USE_EXPERIMENTAL", "True")],
        more: Some(|| More { container: shared_memory("devshm"), pod: memory_volume("devshm", None) }),
        ..COMMON
    },
    Row {
        name: "kserve-autogluonserver",
        server: "autogluonserver",
        image: "kserve/autogluonserver:latest",
        formats: &[("autogluon", "1", Auto(1))],
        ..COMMON
    },
    Row {
        name: "kserve-vllmserver",
        server: "vllmserver",
        image: "vllm/vllm-openai:latest",
        formats: &[("vLLM", "1", Auto(1))],
        protocols: &[],
        command: &["python", "-m", "vllm.entrypoints.openai.api_server"],
        args: &["--port=8080", "--served-model-name={{.Name}}", "--model=/mnt/models"],
        env: &[
            ("LMCACHE_USE_EXPERIMENTAL", "True"),
            ("HF_HOME", "/tmp"),
            ("VLLM_CONFIG_ROOT", "/tmp"),
            ("VLLM_WORKER_MULTIPROC_METHOD", "spawn"),
        ],
        more: Some(vllm),
        ..COMMON
    },
];

fn shared_memory(volume: &str) -> Value {
    json!({"volumeMounts": [{"name": volume, "mountPath": "/dev/shm"}]})
}

fn memory_volume(volume: &str, limit: Option<&str>) -> Value {
    let mut source = json!({"medium": "Memory"});
    if let Some(limit) = limit {
        source["sizeLimit"] = json!(limit);
    }
    json!({"volumes": [{"name": volume, "emptyDir": source}]})
}

/// The list of models is served only once the model is loaded, which may take half an hour.
fn vllm() -> More {
    let probe = |failures: i32, period_s: i32, timeout_s: i32| {
        json!({"httpGet": {"path": "/v1/models", "port": 8080}, "failureThreshold": failures,
            "periodSeconds": period_s, "successThreshold": 1, "timeoutSeconds": timeout_s})
    };
    let mut container = shared_memory("devshm");
    container["readinessProbe"] = probe(3, 10, 5);
    container["startupProbe"] = probe(60, 30, 10);
    container["startupProbe"]["initialDelaySeconds"] = json!(30);
    // Unlike the other images this one runs as root.
    container["securityContext"] = json!({"allowPrivilegeEscalation": false, "privileged": false,
        "capabilities": {"drop": ["ALL"]}});
    More { container, pod: memory_volume("devshm", None) }
}

/// KServe's own ClusterServingRuntimes in the order in which it installs them, without the one that spans
/// several nodes (that is [`multi_node`]).
pub(super) fn all() -> Vec<ClusterServingRuntime> {
    ROWS.iter().map(make).collect()
}

fn make(row: &Row) -> ClusterServingRuntime {
    let size = json!({"cpu": "1", "memory": "2Gi"});
    let mut security = json!({"allowPrivilegeEscalation": false, "privileged": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}});
    if let Some(user) = row.user {
        security["runAsUser"] = json!(user);
    }
    let mut container = json!({"name": "kserve-container", "image": row.image, "securityContext": security,
        "resources": {"requests": size, "limits": size}});
    for (key, list) in [("command", row.command), ("args", row.args)] {
        if !list.is_empty() {
            container[key] = json!(list);
        }
    }
    if !row.env.is_empty() {
        let env = row.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
        container["env"] = env.collect();
    }
    let more = row.more.map(|more| more());
    let pod = more.as_ref().map(|more| more.pod.clone()).unwrap_or_default();
    for (key, value) in more.iter().filter_map(|more| more.container.as_object()).flatten() {
        container[key] = value.clone();
    }
    let mut fields = BTreeMap::from([("containers".to_owned(), json!([container]))]);
    fields.extend(pod.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    runtime(row.name, row.server, row.formats, row.protocols, row.metrics_port, fields)
}

/// A runtime of its parts.
fn runtime(
    name: &str,
    server: &str,
    formats: &[Format],
    protocols: &[&str],
    metrics_port: &str,
    pod: crate::Fields,
) -> ClusterServingRuntime {
    let format = |(name, version, select): &Format| {
        let (auto_select, priority) = match select {
            Auto(priority) => (Some(true), Some(*priority)),
            Named(priority) => (Some(false), Some(*priority)),
            Plain => (None, None),
        };
        SupportedModelFormat {
            name: (*name).to_owned(),
            version: Some((*version).to_owned()),
            auto_select,
            priority,
            ..SupportedModelFormat::default()
        }
    };
    let protocols: Vec<String> = protocols.iter().map(|&protocol| protocol.to_owned()).collect();
    let spec = ServingRuntimeSpec {
        supported_model_formats: Some(formats.iter().map(format).collect()),
        protocol_versions: (!protocols.is_empty()).then_some(protocols),
        multi_model: (name == "kserve-predictiveserver").then_some(false),
        annotations: Some(BTreeMap::from([
            ("prometheus.kserve.io/path".to_owned(), "/metrics".to_owned()),
            ("prometheus.kserve.io/port".to_owned(), metrics_port.to_owned()),
        ])),
        pod,
        ..ServingRuntimeSpec::default()
    };
    let mut runtime = ClusterServingRuntime::new(name, ClusterServingRuntimeSpec { runtime: spec });
    runtime.metadata.annotations = Some(BTreeMap::from([(names::SERVER_TYPE.to_owned(), server.to_owned())]));
    runtime
}

/// The Hugging Face server over several nodes: a head and its workers, joined by Ray. The commands wait for the
/// others, join them and start the server; they are our own words for upstream's steps.
pub(super) fn multi_node() -> ClusterServingRuntime {
    let check = "python ./huggingfaceserver/health_check.py";
    let probe = |command: String, failures: i32, period_s: i32, timeout_s: i32, delay_s: Option<i32>| {
        let mut probe = json!({"exec": {"command": ["bash", "-c", command]}, "failureThreshold": failures,
            "periodSeconds": period_s, "successThreshold": 1, "timeoutSeconds": timeout_s});
        if let Some(delay_s) = delay_s {
            probe["initialDelaySeconds"] = json!(delay_s);
        }
        probe
    };
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resources =
        json!({"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"cpu": "4", "memory": "12Gi"}});
    let local = "--health_check_url http://localhost:8080";
    let head_command = format!(
        "set -u\n\
         folder=${{MODEL_DIR:-${{MODEL_ID:-}}}}\n\
         export RAY_ADDRESS=${{POD_IP}}:${{RAY_PORT}}\n\
         ray start --head --disable-usage-stats --include-dashboard false\n\
         {check} registered_nodes --retries 200 --probe_name runtime_start\n\
         python -m huggingfaceserver ${{folder:+--model_dir=${{folder}}}} \
         --tensor-parallel-size=${{TENSOR_PARALLEL_SIZE}} \
         --pipeline-parallel-size=${{PIPELINE_PARALLEL_SIZE}} $0 $@\n"
    );
    let image = "kserve/huggingfaceserver:latest-gpu";
    let mut head = shared_memory("shm");
    let worker_command = "head=${HEAD_SVC}.${POD_NAMESPACE}.svc.cluster.local:6379\n\
         until ray health-check --address \"${head}\"; do echo \"waiting for ${head}\"; sleep 5; done\n\
         ray start --address=\"${head}\" --block\n";
    let head_fields = json!({
        "name": "kserve-container",
        "image": image,
        "command": ["bash", "-c", head_command],
        "args": ["--model_name={{.Name}}"],
        "env": [variable("RAY_PORT", "6379"), field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"), variable("VLLM_CONFIG_ROOT", "/tmp"),
            variable("HF_HUB_CACHE", "/tmp")],
        "resources": resources,
        "livenessProbe": probe(
            format!("{check} registered_node_and_runtime_health {local} --probe_name head_liveness"), 2, 5, 15, None),
        "readinessProbe": probe(format!("{check} runtime_health {local} --probe_name head_readiness"), 2, 5, 15, None),
        "startupProbe": probe(
            format!("{check} registered_node_and_runtime_health {local} --probe_name head_startup"), 40, 30, 30, Some(60)),
    });
    merge(&mut head, head_fields);
    let address = "export RAY_ADDRESS=${HEAD_SVC}.${POD_NAMESPACE}.svc.cluster.local:6379";
    let models = "http://${HEAD_SVC}.${POD_NAMESPACE}.svc.cluster.local:8080/v1/models";
    let mut worker = shared_memory("shm");
    let worker_fields = json!({
        "name": "worker-container",
        "image": image,
        "command": ["bash", "-c", worker_command],
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "resources": resources,
        "livenessProbe": probe(
            format!("{address}\n{check} registered_nodes --probe_name worker_liveness\n"), 2, 5, 15, None),
        "startupProbe": probe(
            format!(
                "{address}\n{check} registered_node_and_runtime_models --runtime_url {models} \
                 --probe_name worker_startup\n"
            ),
            40, 30, 30, Some(60)),
    });
    merge(&mut worker, worker_fields);
    let volumes = memory_volume("shm", Some("3Gi"));
    let mut workers = json!({"pipelineParallelSize": 1, "tensorParallelSize": 1, "containers": [worker]});
    merge(&mut workers, volumes.clone());
    let pod = BTreeMap::from([
        ("containers".to_owned(), json!([head])),
        ("volumes".to_owned(), volumes["volumes"].clone()),
        ("workerSpec".to_owned(), workers),
    ]);
    let formats = [("huggingface", "1", Auto(2))];
    let name = "kserve-huggingfaceserver-multinode";
    runtime(name, "huggingfaceserver", &formats, &["v2", "v1"], "8080", pod)
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
