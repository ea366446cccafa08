//! Machines, transfers and faults, by hand.

mod faults;
mod idle;
mod places;
mod resumed;
mod starts;
mod wrong;

use windtunnel_record::Recording;

use crate::setting::{MS, Setting};

/// Another model from 10 s on: a new revision with its own pods.
const CANARY: &str = "{at: 10s, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                      {model: {storageUri: 's3://models/digits/v2'}}}}}}";

/// Another number of replicas from so many seconds on.
fn scaled(at_s: u32, replicas: u32) -> String {
    format!(
        "{{at: {at_s}s, name: scale to {replicas}, patch: {{kind: InferenceService, name: digits, merge: {{spec: \
         {{predictor: {{minReplicas: {replicas}}}}}}}}}}}"
    )
}

/// Pods of a tenth of a core and 128 MiB each, ready after a second, in Standard mode and of a fixed number.
fn fixed(replicas: u32, environment: &str) -> Setting {
    Setting {
        predictor: format!("minReplicas: {replicas}"),
        annotations: "serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: none"
            .to_owned(),
        environment_keys: environment.to_owned(),
        ..Setting::default()
    }
}

/// Events of a kind: milliseconds, target, text.
fn told<'a>(recording: &'a Recording, kind: &str) -> Vec<(u64, &'a str, &'a str)> {
    let events = recording.events.iter().filter(|event| event.kind == kind);
    events.map(|event| (event.t_ns / MS, event.target.as_str(), event.text.as_str())).collect()
}

/// The phases of each cold start, milliseconds.
fn phases(recording: &Recording) -> Vec<Vec<u64>> {
    let starts = recording.cold_starts.iter();
    starts.map(|start| start.phases.iter().map(|(_, length_ns)| length_ns / MS).collect()).collect()
}

/// The values of a series at whole seconds.
fn values(recording: &Recording, name: &str, labels: &[(&str, &str)], at_s: &[u64]) -> Vec<f64> {
    let points = recording.points(name, labels);
    let at = |second: &u64| points.iter().find(|point| point.t_ns == second * 1_000 * MS);
    at_s.iter().map(|second| at(second).map_or(f64::NAN, |point| point.value)).collect()
}
