//! Canaries as KServe does them.

use windtunnel_record::Recording;

use crate::setting::{MS, S, Setting, fly};

const CANARY: &str = "{at: 10s, name: canary v2, patch: {kind: InferenceService, name: digits, merge: \
                      {spec: {predictor: {canaryTrafficPercent: 10, model: {storageUri: 's3://models/digits/v2'}}}}}}";

fn canary(events: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 3".to_owned(),
        load: "process: poisson, phases: [{for: 40s, rate: 50/s}]".to_owned(),
        duration: "40s".to_owned(),
        events: format!("[{CANARY}{events}]"),
        ..Setting::default()
    }
}

fn traffic(recording: &Recording) -> Vec<(u64, &str)> {
    let events = recording.events.iter().filter(|event| event.kind == "traffic");
    events.map(|event| (event.t_ns / MS, event.text.as_str())).collect()
}

/// A canary that gets another share than was asked for is judged on the wrong evidence.
#[test]
fn a_canary_gets_its_share_to_within_one_request() {
    let (recording, summary) = fly(&canary("").plan(), 7);
    assert_eq!(summary.failed, 0);
    let names: Vec<(&str, &str, u64)> = recording
        .revisions
        .iter()
        .map(|revision| (revision.name.as_str(), revision.storage_uri.as_str(), revision.created_ns / MS))
        .collect();
    assert_eq!(
        names,
        [
            ("digits-predictor-00001", "s3://models/digits/v1", 0),
            ("digits-predictor-00002", "s3://models/digits/v2", 10_000)
        ]
    );
    assert_eq!(traffic(&recording), [(11_000, "digits-predictor-00002 10 %, digits-predictor-00001 90 %")]);
    let split: Vec<_> = recording.requests.iter().filter(|request| request.weight_percent != 100).collect();
    assert!(split.len() > 1_000, "{}", split.len());
    assert!(split.iter().all(|request| request.intended_ns >= 11 * S), "no split before the canary is ready");
    let canary = split.iter().filter(|request| request.revision == Some(1)).count() as f64;
    assert!((canary - split.len() as f64 / 10.0).abs() <= 1.0, "{canary} of {}", split.len());
    for request in &split {
        assert_eq!(request.weight_percent, if request.revision == Some(1) { 10 } else { 90 });
    }
}

/// After a promotion nobody must reach the old version, and its last pod must go.
#[test]
fn a_promotion_moves_all_traffic_and_the_old_revision_goes_to_zero() {
    let promote = ", {at: 20s, name: promote, patch: {kind: InferenceService, name: digits, merge: \
                   {spec: {predictor: {canaryTrafficPercent: null}}}}}";
    let setting = Setting {
        duration: "60s".to_owned(),
        autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 6s".to_owned(),
        ..canary(promote)
    };
    let (recording, _) = fly(&setting.plan(), 7);
    assert_eq!(traffic(&recording)[1], (20_000, "digits-predictor-00002 100 %"));
    let late = recording.requests.iter().filter(|request| request.intended_ns > 20 * S);
    assert!(late.clone().count() > 500);
    assert!(late.clone().all(|request| request.revision == Some(1) && request.weight_percent == 100));
    let old = recording.points("replicas.ready", &[("revision", "digits-predictor-00001")]);
    assert_eq!(old.last().map(|point| point.value), Some(0.0), "{old:?}");
    let new = recording.points("replicas.ready", &[("revision", "digits-predictor-00002")]);
    assert_eq!(new.last().map(|point| point.value), Some(1.0), "its minimum holds: {new:?}");
}

/// A rollback must lead back to the last good version.
#[test]
fn zero_percent_pins_traffic_to_the_previous_revision() {
    let roll_back = ", {at: 20s, name: roll back, patch: {kind: InferenceService, name: digits, merge: \
                     {spec: {predictor: {canaryTrafficPercent: 0}}}}}";
    let (recording, _) = fly(&canary(roll_back).plan(), 7);
    assert_eq!(traffic(&recording)[1], (20_000, "digits-predictor-00002 0 %, digits-predictor-00001 100 %"));
    let mut late = recording.requests.iter().filter(|request| request.intended_ns > 20 * S);
    assert!(late.all(|request| request.revision == Some(0)));
    assert_eq!(recording.revisions.len(), 2, "a change of traffic alone makes no revision");
}

/// The series that a report plots: one point a second and revision, from the revision's creation on.
#[test]
fn shares_and_replicas_are_sampled_each_second() {
    let (recording, _) = fly(&canary("").plan(), 7);
    let share = recording.points("traffic.percent", &[("revision", "digits-predictor-00002")]);
    let seconds: Vec<u64> = share.iter().map(|point| point.t_ns / S).collect();
    assert_eq!(seconds, (10..=40).collect::<Vec<_>>());
    assert!(share.iter().all(|point| point.t_ns % S == 0));
    assert_eq!(share.last().map(|point| point.value), Some(10.0));
    assert_eq!(recording.points("requests.in_flight", &[]).len(), 41);
}
