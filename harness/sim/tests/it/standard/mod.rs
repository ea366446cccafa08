//! Standard mode by hand: Deployments, HorizontalPodAutoscalers, KEDA, canaries.

mod canaries;
mod children;
mod hpa;
mod keda;
mod rolling;
mod wrong;

use windtunnel_record::Recording;
use windtunnel_sim::{Plan, Snapshot, resume, simulate_until};

use crate::setting::{MS, Setting, bytes, fly};

/// A service in Standard mode with pods that are ready after a second, metrics that are read at 14 s, 29 s, … and
/// HorizontalPodAutoscalers that look at 0 s, 15 s, 30 s, ….
fn standard(class: &str, predictor: &str) -> Setting {
    Setting {
        predictor: predictor.to_owned(),
        annotations: format!(
            "serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: {class}"
        ),
        service_time: "distribution: constant, mean: 10ms".to_owned(),
        environment_keys: "control: {phases: {hpa: 0s, scrape: 14s, keda: 5s}}".to_owned(),
        ..Setting::default()
    }
}

/// What was decided: milliseconds, actor, from, to.
fn decided(recording: &Recording) -> Vec<(u64, &str, i64, i64)> {
    let decisions = recording.decisions.iter();
    decisions.map(|one| (one.t_ns / MS, one.actor.as_str(), one.from, one.to)).collect()
}

fn notes<'a>(recording: &'a Recording, kind: &str) -> Vec<(u64, &'a str)> {
    let events = recording.events.iter().filter(|event| event.kind == kind);
    events.map(|event| (event.t_ns / MS, event.text.as_str())).collect()
}

/// Ready pods of a revision at whole seconds of the run.
fn ready(recording: &Recording, revision: &str, seconds: std::ops::RangeInclusive<u64>) -> Vec<f64> {
    let points = recording.points("replicas.ready", &[("revision", revision)]);
    let within = points.iter().filter(|point| seconds.contains(&(point.t_ns / (1_000 * MS))));
    within.map(|point| point.value).collect()
}

/// Stored and gone on with at each of these instants, a run must be what it is in one go.
fn assert_resumable(plan: &Plan, at_ns: &[u64]) {
    let (whole, _) = fly(plan, 42);
    for at_ns in at_ns {
        let mut recording = plan.recording(42);
        let snapshot = simulate_until(plan, 42, *at_ns, &mut recording).expect("a sound simulation");
        let text = snapshot.to_json().expect("storable");
        let read = Snapshot::from_json(&text).expect("what was stored");
        assert_eq!(read, snapshot);
        resume(plan, read, &mut recording).expect("a sound simulation");
        assert_eq!(bytes(&recording), bytes(&whole), "cut at {at_ns} ns");
    }
}
