//! The ClusterServingRuntimes and the ClusterStorageContainer that Windtunnel ships.

mod upstream;

use std::collections::BTreeMap;

use serde_json::json;

use crate::knative::{AGGRESSIVE_PERIOD_MS, AGGRESSIVE_PROBE_MS};
use crate::kserve::config::StorageInitializer;
use crate::kserve::{
    ClusterServingRuntime, ClusterServingRuntimeSpec, ClusterStorageContainer, ServingRuntimeSpec,
    SupportedModelFormat, names,
};

/// Name of the runtime for ONNX models.
pub const ONNX_SERVER: &str = "windtunnel-onnxserver";
/// Image of our model server.
pub const PREDICTOR_IMAGE: &str = "windtunnel/predictor:latest";

/// The runtimes to install: our own first, then KServe's.
#[must_use]
pub fn shipped() -> Vec<ClusterServingRuntime> {
    let mut all = vec![onnx_server()];
    all.extend(upstream());
    all
}

/// KServe's own ClusterServingRuntimes, with upstream's images: what manifests that name them, or formats that
/// ours does not serve, are rendered with.
#[must_use]
pub fn upstream() -> Vec<ClusterServingRuntime> {
    let mut all = upstream::all();
    all.push(upstream::multi_node());
    all
}

/// The default ClusterStorageContainer: the storage initializer for every scheme that it downloads.
#[must_use]
pub fn storage_container() -> ClusterStorageContainer {
    let default = StorageInitializer::default();
    let object = json!({
        "metadata": {"name": "default"},
        "spec": {
            "container": {
                "name": "storage-initializer",
                "image": default.image,
                "imagePullPolicy": "IfNotPresent",
                "resources": {
                    "requests": {"cpu": default.cpu_request, "memory": default.memory_request},
                    "limits": {"cpu": default.cpu_limit, "memory": default.memory_limit},
                },
            },
            "supportedUriFormats": [
                {"prefix": "gs://"}, {"prefix": "s3://"}, {"prefix": "hdfs://"}, {"prefix": "hf://"},
                {"prefix": "modelscope://"}, {"prefix": "webhdfs://"},
                {"regex": "https://(.+?).blob.core.windows.net/(.+)"},
                {"regex": "https://(.+?).file.core.windows.net/(.+)"},
                {"regex": "https?://(.+)/(.+)"},
            ],
            "workloadType": "initContainer",
            "supportsMultiModelDownload": true,
        },
    });
    serde_json::from_value(object).unwrap_or_default()
}

/// Our model server for ONNX models over V1 and V2. Its priority is above that of upstream's runtimes for ONNX,
/// so that it wins where both are installed.
fn onnx_server() -> ClusterServingRuntime {
    let format = |version: Option<&str>| SupportedModelFormat {
        name: "onnx".to_owned(),
        version: version.map(str::to_owned),
        auto_select: Some(true),
        priority: Some(2),
        ..SupportedModelFormat::default()
    };
    let containers = json!([{
        "name": "kserve-container",
        "image": PREDICTOR_IMAGE,
        "args": ["--model_name={{.Name}}", "--model_dir=/mnt/models", "--http_port=8080"],
        "ports": [{"containerPort": 8080, "name": "http1", "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/v2/models/{{.Name}}/ready", "port": 8080},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "2Gi"},
        },
    }]);
    let mut runtime = ClusterServingRuntime::new(
        ONNX_SERVER,
        ClusterServingRuntimeSpec {
            runtime: ServingRuntimeSpec {
                supported_model_formats: Some(vec![format(None), format(Some("1"))]),
                protocol_versions: Some(vec!["v1".to_owned(), "v2".to_owned()]),
                annotations: Some(BTreeMap::from([
                    ("prometheus.kserve.io/path".to_owned(), "/metrics".to_owned()),
                    ("prometheus.kserve.io/port".to_owned(), "8080".to_owned()),
                    // It starts faster than a probe a second would find out.
                    (AGGRESSIVE_PROBE_MS.to_owned(), AGGRESSIVE_PERIOD_MS.to_owned()),
                ])),
                pod: BTreeMap::from([("containers".to_owned(), containers)]),
                ..ServingRuntimeSpec::default()
            },
        },
    );
    runtime.metadata.annotations =
        Some(BTreeMap::from([(names::SERVER_TYPE.to_owned(), "windtunnel".to_owned())]));
    runtime
}
