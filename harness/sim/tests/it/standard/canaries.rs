//! `spec.canary[]`: second Deployments with a share of the traffic.

use super::{assert_resumable, decided, notes, ready, standard};
use crate::setting::{MS, S, Setting, fly};

const CANARY: &str = "{at: 10500ms, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {canary: \
                      [{trafficPercent: 25, predictor: {name: v2, model: {modelFormat: {name: onnx}, storageUri: \
                      's3://models/digits/v2'}}}]}}}}";

fn canary(events: &str) -> Setting {
    Setting {
        duration: "40s".to_owned(),
        load: "process: constant, phases: [{for: 40s, rate: 100/s}]".to_owned(),
        events: format!("[{CANARY}{events}]"),
        ..standard("none", "minReplicas: 4")
    }
}

/// A canary gets nothing until it can answer, then exactly its share; and the stable Deployment makes room then, not
/// before.
#[test]
fn a_canary_gets_its_share_when_it_is_ready() {
    let plan = canary("").plan();
    let (recording, summary) = fly(&plan, 1);
    assert_eq!(summary.failed, 0);
    assert_eq!(notes(&recording, "traffic"), [(11_500, "digits-predictor 75 %, digits-v2-predictor 25 %")]);
    assert_eq!(decided(&recording), [(11_500, "deployment", 4, 3)], "ceil(4 x 25 %) = 1 is the canary's");
    assert_eq!(ready(&recording, "digits-predictor-00001", 10..=12), [4.0, 4.0, 3.0]);
    assert_eq!(ready(&recording, "digits-v2-predictor-00001", 11..=12), [0.0, 1.0]);
    let split: Vec<_> = recording.requests.iter().filter(|request| request.weight_percent != 100).collect();
    assert!(split.iter().all(|request| request.intended_ns >= 11_500 * MS));
    let share = split.iter().filter(|request| request.revision == Some(1)).count() as f64;
    assert!((share - split.len() as f64 / 4.0).abs() <= 1.0, "{share} of {}", split.len());
    for request in split {
        assert_eq!(request.weight_percent, if request.revision == Some(1) { 25 } else { 75 });
    }
    assert_resumable(&plan, &[10_500 * MS, 11 * S, 11_500 * MS, 30 * S]);
}

/// kserve #5983: requests for a canary that is not there yet. A quarter of them fails for a second, and the stable
/// Deployment has shrunk already.
#[test]
fn upstreams_canary_gets_requests_before_it_is_ready() {
    let mut setting = canary("");
    setting.environment_keys.push_str("\nprofile: upstream");
    let (recording, summary) = fly(&setting.plan(), 1);
    assert_eq!(notes(&recording, "traffic"), [(10_500, "digits-predictor 75 %, digits-v2-predictor 25 %")]);
    assert_eq!(decided(&recording), [(10_500, "deployment", 4, 3)]);
    assert_eq!(summary.failed, 25, "a quarter of 100 a second");
    let failed = recording.requests.iter().filter(|request| request.status == 503);
    assert!(failed.clone().all(|request| request.revision == Some(1)));
}

/// A promotion renames: the canary's pods serve on without a restart, and the old ones go.
#[test]
fn a_promotion_restarts_nothing() {
    let promote = ", {at: 20500ms, name: promote, patch: {kind: InferenceService, name: digits, merge: {spec: {canary: null, \
                   predictor: {name: v2, model: {storageUri: 's3://models/digits/v2'}}}}}}";
    let (recording, summary) = fly(&canary(promote).plan(), 1);
    assert_eq!(summary.failed, 0);
    assert_eq!(recording.revisions.len(), 2, "{:?}", recording.revisions);
    assert_eq!(notes(&recording, "traffic")[1], (20_500, "digits-v2-predictor 100 %"));
    assert_eq!(ready(&recording, "digits-v2-predictor-00001", 20..=22), [1.0, 1.0, 4.0]);
    assert_eq!(ready(&recording, "digits-predictor-00001", 20..=21), [3.0, 0.0]);
    let mut late = recording.requests.iter().filter(|request| request.intended_ns >= 20_500 * MS);
    assert!(late.all(|request| request.revision == Some(1) && request.weight_percent == 100));
}

/// A rollback takes the canary away and gives the stable Deployment its replicas back.
#[test]
fn a_canary_that_is_taken_back_leaves_nothing() {
    let back = ", {at: 20500ms, name: back, patch: {kind: InferenceService, name: digits, merge: {spec: {canary: null}}}}";
    let (recording, summary) = fly(&canary(back).plan(), 1);
    assert_eq!(summary.failed, 0);
    assert_eq!(notes(&recording, "traffic")[1], (20_500, "digits-predictor 100 %"));
    assert_eq!(ready(&recording, "digits-v2-predictor-00001", 20..=21), [1.0, 0.0]);
    assert_eq!(ready(&recording, "digits-predictor-00001", 22..=22), [4.0]);
}

fn percentage(events: &str) -> Setting {
    let event = "{at: 10500ms, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {canaryTrafficPercent: 25, model: {storageUri: 's3://models/digits/v2'}}}}}}";
    Setting { events: format!("[{event}{events}]"), ..canary("") }
}

/// The Deployment of a revision has a hash for a name; that and the ReplicaSet's number are left out of a note.
fn without_hashes(text: &str) -> String {
    let word = |word: &str| match word.strip_prefix("digits-predictor-") {
        Some(_) => "canary".to_owned(),
        None => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// `canaryTrafficPercent` splits requests in this mode, too, as the controller does it live: the newest revision stands
/// beside the one that was rolled out, gets nothing until it can answer, then its share. In upstream's profile nothing of
/// the kind happens, and who is not told waits for a canary that never comes.
#[test]
fn the_other_modes_percentage_splits_requests() {
    let mut setting = percentage("");
    let plan = setting.plan();
    let (recording, summary) = fly(&plan, 1);
    assert_eq!(summary.failed, 0);
    let told: Vec<(u64, String)> =
        notes(&recording, "traffic").into_iter().map(|(at_ms, text)| (at_ms, without_hashes(text))).collect();
    assert_eq!(
        told,
        [
            (10_500, "digits-predictor 100 %, canary 0 %".to_owned()),
            (11_500, "digits-predictor 75 %, canary 25 %".to_owned())
        ]
    );
    assert_eq!(decided(&recording), [], "the revision that was rolled out keeps its replicas");
    assert_eq!(ready(&recording, "digits-predictor-00001", 10..=12), [4.0, 4.0, 4.0]);
    let newest = recording.revisions[1].name.clone();
    assert_eq!(ready(&recording, &newest, 11..=12), [0.0, 1.0], "ceil(4 x 25 %)");
    let split: Vec<_> = recording.requests.iter().filter(|request| request.weight_percent != 100).collect();
    assert!(split.iter().all(|request| request.intended_ns >= 11_500 * MS));
    let share = split.iter().filter(|request| request.revision == Some(1)).count() as f64;
    assert!((share - split.len() as f64 / 4.0).abs() <= 1.0, "{share} of {}", split.len());
    assert_resumable(&plan, &[10_500 * MS, 11 * S, 11_500 * MS, 30 * S]);

    setting.environment_keys.push_str("\nprofile: upstream");
    let (recording, _) = fly(&setting.plan(), 1);
    assert_eq!(ready(&recording, "digits-predictor-00002", 30..=30), [4.0], "a rolling update to all of it");
    assert!(recording.requests.iter().all(|request| request.weight_percent == 100));
}

/// On promotion the first Deployment rolls to the new template, and the canary keeps its part until that is done: no
/// request is lost, and in the end there is one Deployment again.
#[test]
fn the_newest_revision_is_promoted_in_place() {
    let promote = ", {at: 20500ms, name: promote, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                   {canaryTrafficPercent: null}}}}}";
    let plan = percentage(promote).plan();
    let (recording, summary) = fly(&plan, 1);
    assert_eq!(summary.failed, 0);
    let names: Vec<&str> = recording.revisions.iter().map(|revision| revision.name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[2]), (3, "digits-predictor-00001", "digits-predictor-00002"));
    // Surge and gap of one: two new pods are there at 21.5 s, the other two a second later.
    assert_eq!(ready(&recording, names[2], 21..=23), [0.0, 2.0, 4.0]);
    assert_eq!(ready(&recording, names[0], 21..=23), [3.0, 1.0, 0.0]);
    assert_eq!(ready(&recording, names[1], 22..=23), [1.0, 0.0], "until the template has arrived everywhere");
    let (at_ms, text) = notes(&recording, "traffic")[2];
    assert_eq!((at_ms, text), (22_500, "digits-predictor 100 %"));
    let mut late = recording.requests.iter().filter(|request| request.intended_ns > 22_500 * MS);
    assert!(late.all(|request| request.revision == Some(2) && request.weight_percent == 100));
    assert_resumable(&plan, &[20_500 * MS, 21_500 * MS, 22_500 * MS]);
}

/// A rollback takes the newest revision away; the one that was rolled out never stopped.
#[test]
fn a_rollback_restarts_nothing() {
    let back = ", {at: 20500ms, name: back, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                {canaryTrafficPercent: null, model: {storageUri: 's3://models/digits/v1'}}}}}}";
    let (recording, summary) = fly(&percentage(back).plan(), 1);
    assert_eq!(summary.failed, 0);
    assert_eq!(recording.revisions.len(), 2, "{:?}", recording.revisions);
    assert_eq!(notes(&recording, "traffic")[2], (20_500, "digits-predictor 100 %"));
    assert_eq!(ready(&recording, "digits-predictor-00001", 19..=22), [4.0; 4]);
    assert_eq!(ready(&recording, &recording.revisions[1].name, 20..=21), [1.0, 0.0]);
}
