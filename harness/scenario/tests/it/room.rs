//! A folder with everything that a scenario names.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use windtunnel_scenario::{Faults, Scenario};

pub(crate) struct Room {
    folder: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let room = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        room.write("isvc.yaml", "kind: InferenceService\nmetadata: {name: digits}\nspec: {}\n");
        let canaries =
            "kind: Rollout\nmetadata: {name: digits}\n---\nkind: Canary\nmetadata: {name: digits}\n";
        room.write("canaries.yaml", canaries);
        room.write("requests.jsonl", "{\"body\": {\"instances\": [[1]]}}\n");
        room.write("arrivals.csv", "timestamp\n0\n1.5\n2\n9\n");
        let service = |name: &str| format!("kind: InferenceService\nmetadata: {{name: {name}}}\n");
        let three = ["digits", "iris", "functions"].map(service).join("---\n");
        room.write("three.yaml", three);
        room.write("latencies.txt", "# of one pod\n1.5\n0.5\n\n12\n");
        room.write("invocations.csv", "app,func,end_timestamp,duration\na1,f1,2.5,1.5\na2,f1,2.6,2.5\n");
        room.write("minutes.csv", "HashOwner,HashApp,HashFunction,Trigger,1,2\no,a1,f1,http,6,0\n");
        fs::create_dir(room.path().join("models")).expect("a folder");
        room
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("writing a file of the test");
        path
    }

    pub(crate) fn parse(&self, text: &str) -> Result<Scenario, Faults> {
        Scenario::parse(text, &self.path().join("scenario.yaml"))
    }

    /// JSON is YAML.
    pub(crate) fn parse_json(&self, document: &Value) -> Result<Scenario, Faults> {
        self.parse(&serde_json::to_string_pretty(document).expect("JSON"))
    }

    /// What a user would read, without the folder's random name.
    pub(crate) fn faults(&self, text: &str) -> String {
        let faults = self.parse(text).expect_err("the scenario is faulty");
        faults.to_string().replace(&format!("{}/", self.path().display()), "")
    }
}

/// All documents that together have every key that there is.
pub(crate) fn all_full() -> [Value; 3] {
    [full_with_phases(), full_with_trace(), full_with_users()]
}

/// A scenario with phases of every shape, a language model on nodes that scale, and everything that can break.
pub(crate) fn full_with_phases() -> Value {
    json!({
        "apiVersion": "windtunnel.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "full", "description": "Every key."},
        "spec": {
            "duration": "75s",
            "seed": 7,
            "manifests": ["isvc.yaml", "canaries.yaml"],
            "storage": {"s3://models/": "models"},
            "load": {
                "target": "digits",
                "protocol": "v2",
                "requests": "requests.jsonl",
                "timeout": "20s",
                "matching": "10%",
                "retries": {
                    "attempts": 3,
                    "backoff": "100ms",
                    "factor": 2,
                    "most": "10s",
                    "jitter": "50%",
                    "on": [502, 503, "timeout"],
                },
                "arrivals": {
                    "process": "poisson",
                    "phases": [
                        {"for": "25s", "rate": "20/s"},
                        {"for": "5s", "rate": "20/s", "to": "100/s"},
                        {"for": "15s", "rate": "150/s"},
                    ],
                },
            },
            "flight": {"from": "20s", "to": "60s", "compress": 4},
            "events": [
                {
                    "at": "20s",
                    "name": "canary v2",
                    "patch": {
                        "kind": "InferenceService",
                        "name": "digits",
                        "merge": {"spec": {"minReplicas": 1}},
                    },
                },
                {"at": "30s", "command": {"kind": "Rollout", "name": "digits", "verb": "promote-full"}},
            ],
            "faults": [
                {"at": "30s", "fault": "pod-crash", "target": "digits", "count": 2},
                {"every": "10s", "fault": "crash-loop", "target": "digits", "for": "5s"},
                {"at": "40s", "fault": "node-loss", "pool": "gpu", "count": 1, "for": "10s"},
                {"at": "45s", "fault": "slow-storage", "prefix": "s3://", "factor": 10, "for": "10s"},
                {"at": "50s", "fault": "storage-failure", "prefix": "s3://models/", "for": "2s"},
                {"at": "55s", "fault": "metrics-gap", "for": "3s"},
                {"at": "60s", "fault": "api-outage", "for": "3s"},
                {"at": "65s", "fault": "clock-phase", "shift": "7s"},
            ],
            "objectives": [
                "p99<300ms",
                {"rule": "error-rate<1%", "from": "10s", "to": "30s", "on": ["simulated", "live"]},
                "stable",
                "cost<2.5/h",
            ],
            "environment": {
                "knative": {"config-autoscaler": {"scale-to-zero-grace-period": "6s", "max-scale": 3}},
                "network": {"gateway": "300us", "round-trip": "40ms", "connect-timeout": "10s"},
                "service-time": {"distribution": "lognormal", "mean": "1ms", "cv": 0.2},
                "server": {
                    "cores": 2,
                    "workers": 64,
                    "llm": {
                        "prefill": "8000/s",
                        "decode": "60/s",
                        "slots": 32,
                        "slowdown": "2%",
                        "kv-tokens": 100_000,
                        "context": 1_000,
                        "generated": 200,
                    },
                    "warm-up": {"requests": 3, "factor": 4},
                },
                "models": [
                    {
                        "match": "s3://models/digits/v2",
                        "service-time": {"distribution": "gamma", "mean": "2ms", "cv": 0.5},
                        "error-rate": "2%",
                        "different": "5%",
                        "size": "7GiB",
                        "memory": {"base": "2GiB", "per-request": "50MiB"},
                        "gpu-memory": {"base": "14GiB", "per-request": "300MiB"},
                        "server": {
                            "batching": {"size": 8, "delay": "5ms", "base": "4ms", "per-item": "1ms"},
                        },
                    },
                    {
                        "match": "s3://models/",
                        "service-time": {"distribution": "pareto", "minimum": "1ms", "shape": 2.5},
                    },
                ],
                "pod-start": {
                    "schedule": "5ms",
                    "image-pull": {"size": "4GiB"},
                    "download": {"size": "7GiB"},
                    "load": {"rate": "1GiB/s"},
                    "probe": "period",
                    "propagate": "10ms",
                },
                "pod-stop": {"grace": "500ms"},
                "nodes": {
                    "pools": [
                        {
                            "name": "gpu",
                            "count": 2,
                            "least": 1,
                            "most": 10,
                            "cpu": 8,
                            "memory": "32GiB",
                            "gpus": 2,
                            "gpu-memory": "24GiB",
                            "price": "0.40/h",
                            "bandwidth": "10Gbit/s",
                            "zone": "a",
                        },
                        {"name": "cpu", "count": 1, "cpu": "7500m", "memory": "16GiB"},
                    ],
                    "scheduling": "pack",
                    "autoscaler": {"provisioning": "90s", "scan": "10s", "idle": "10m"},
                    "monitor-grace-period": "40s",
                    "unreachable-toleration": "30s",
                },
                "bandwidth": {"registry": "10Gbit/s", "storage": {"s3://": "20Gbit/s"}},
                "local-model-cache": ["s3://models/llama"],
                "images": [{"match": "vllm/vllm-openai:v1", "size": "12GiB"}, {"match": "vllm/", "size": "9GiB"}],
                "control": {
                    "kpa": {"scrape-time": {"distribution": "gamma", "mean": "20ms", "cv": 0.5}},
                    "activator": {"probe-timeout": "300ms", "late-connections": "dropped"},
                    "hpa": {"sync": "15s", "scrape": "15s", "delay": "30s", "version": "1.27"},
                    "keda": {"polling": "30s", "delay": "1s"},
                    "flagger": {"version": "1.0"},
                    "phases": {
                        "kpa": "0s",
                        "scrape": "1s",
                        "hpa": "2s",
                        "keda": "3s",
                        "canary": "4s",
                        "nodes": "5s",
                    },
                },
                "profile": "upstream",
                "drift": {
                    "feature": {"at": "10s", "shift": 0.5, "over": "60s"},
                    "predictions": {"at": "20s", "shift": -0.5, "over": "0s"},
                    "detector": {"test": "psi", "window": 500, "threshold": 0.2},
                },
            },
        },
    })
}

/// The same with a trace, and an environment of times only.
pub(crate) fn full_with_trace() -> Value {
    let mut document = full_with_phases();
    document["spec"]["load"]["arrivals"] = json!({
        "trace": {
            "file": "arrivals.csv",
            "format": "timestamps",
            "from": "1s",
            "to": "9s",
            "optional": true,
            "scale": 1,
            "stretch": 1,
        },
    });
    document["spec"]["environment"] = json!({
        "service-time": {"distribution": "empirical", "recording": "latencies.txt"},
        "server": {
            "cores": "manifest",
            "batching": {"size": 8, "delay": "5ms", "base": "4ms", "per-item": "1ms"},
        },
        "pod-start": {"image-pull": "0ms", "download": "40ms", "load": "250ms", "probe": "50ms"},
        "nodes": {"pools": [{"name": "gpu", "count": 1, "cpu": 1.5, "memory": "1GiB"}]},
    });
    document
}

/// Two services: messages that come in bursts and spikes, and users in a closed loop.
pub(crate) fn full_with_users() -> Value {
    let mut document = full_with_phases();
    document["spec"]["load"] = json!([
        {
            "target": "digits",
            "requests": "requests.jsonl",
            "queue": {
                "broker": "kafka",
                "partitions": 4,
                "prefetch": 10,
                "visibility-timeout": "30s",
                "deliveries": 5,
            },
            "arrivals": {
                "process": "bursty",
                "burst": {"factor": 5, "on": "2s", "off": "18s"},
                "phases": [
                    {
                        "for": "40s",
                        "rate": "10/s",
                        "spike": {"to": "200/s", "at": "10s", "rise": "2s", "hold": "5s", "fall": "10s"},
                    },
                    {
                        "for": "30s",
                        "rate": "100/s",
                        "diurnal": {"amplitude": "80%", "period": "24h", "peak-at": "14h"},
                    },
                ],
            },
        },
        {
            "target": "iris",
            "requests": "requests.jsonl",
            "arrivals": {
                "users": [{"for": "30s", "count": 50}, {"for": "30s", "count": 50, "to": 200}],
                "think-time": {"distribution": "exponential", "mean": "1s"},
            },
        },
        {
            "target": "functions",
            "requests": "requests.jsonl",
            "arrivals": {
                "process": "constant",
                "trace": [
                    {"file": "invocations.csv", "format": "azure-functions-2021", "app": "a1", "func": "f1"},
                    {"file": "minutes.csv", "format": "azure-functions-2019", "to": "10s"},
                ],
            },
        },
    ]);
    document["spec"]["manifests"] = json!(["three.yaml", "canaries.yaml"]);
    document["spec"]["environment"] = json!({});
    document["spec"]["faults"] = json!([{"at": "5s", "fault": "pod-crash", "target": "iris"}]);
    document
}
