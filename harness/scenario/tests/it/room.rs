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
        room.write("requests.jsonl", "{\"body\": {\"instances\": [[1]]}}\n");
        room.write("arrivals.csv", "timestamp\n0\n1.5\n2\n9\n");
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

/// A scenario with every key that there is, with phases.
pub(crate) fn full_with_phases() -> Value {
    json!({
        "apiVersion": "windtunnel.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "full", "description": "Every key."},
        "spec": {
            "duration": "75s",
            "seed": 7,
            "manifests": ["isvc.yaml"],
            "storage": {"s3://models/": "models"},
            "load": {
                "target": "digits",
                "protocol": "v2",
                "requests": "requests.jsonl",
                "timeout": "20s",
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
            "events": [{
                "at": "20s",
                "name": "canary v2",
                "patch": {"kind": "InferenceService", "name": "digits", "merge": {"spec": {"minReplicas": 1}}},
            }],
            "objectives": [
                "p99<300ms",
                {"rule": "error-rate<1%", "from": "10s", "to": "30s", "on": ["simulated", "live"]},
            ],
            "environment": {
                "knative": {"config-autoscaler": {"scale-to-zero-grace-period": "6s", "max-scale": 3}},
                "network": {"gateway": "300us"},
                "service-time": {"distribution": "lognormal", "mean": "1ms", "cv": 0.2},
                "pod-start": {
                    "schedule": "5ms",
                    "image-pull": "0ms",
                    "download": "40ms",
                    "load": "250ms",
                    "probe": "50ms",
                    "propagate": "10ms",
                },
                "pod-stop": {"grace": "500ms"},
            },
        },
    })
}

/// The same with a trace.
pub(crate) fn full_with_trace() -> Value {
    let mut document = full_with_phases();
    document["spec"]["load"]["arrivals"] = json!({
        "trace": {"file": "arrivals.csv", "format": "timestamps", "from": "1s", "to": "9s", "optional": true},
    });
    document
}
