//! A run can be stored at any instant and gone on with: under the same plan as if nothing had been, under another
//! plan with the same requests and the same luck.

use windtunnel_record::Recording;
use windtunnel_scenario::Cores;
use windtunnel_sim::{Plan, SimError, Snapshot, resume, simulate_until};

use crate::setting::{MS, S, Setting, bytes, fly};

/// A canary at 15 s, a burst that panics from 22 s on, and scale to zero before the load comes.
fn eventful() -> Setting {
    Setting {
        predictor: "minReplicas: 0, maxReplicas: 20, scaleTarget: 2".to_owned(),
        annotations: "autoscaling.knative.dev/initial-scale: '0'".to_owned(),
        load: "process: poisson, phases: [{for: 5s, rate: 0/s}, {for: 15s, rate: 20/s}, \
               {for: 2s, rate: 20/s, to: 400/s}, {for: 8s, rate: 400/s}, {for: 30s, rate: 50/s}]"
            .to_owned(),
        service_time: "distribution: lognormal, mean: 60ms, cv: 0.8".to_owned(),
        autoscaler: "allow-zero-initial-scale: 'true', stable-window: 12s, panic-window-percentage: '25'".to_owned(),
        timeout: "600ms".to_owned(),
        gateway: "300us".to_owned(),
        events: "[{at: 15s, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {canaryTrafficPercent: 30, model: {storageUri: 's3://models/digits/v2'}}}}}}]"
            .to_owned(),
        ..Setting::default()
    }
}

fn first_part(plan: &Plan, at_ns: u64) -> (Snapshot, Recording) {
    let mut recording = plan.recording(42);
    let snapshot = simulate_until(plan, 42, at_ns, &mut recording).expect("a sound simulation");
    (snapshot, recording)
}

fn stored(snapshot: &Snapshot) -> Snapshot {
    let text = snapshot.to_json().expect("storable");
    let read = Snapshot::from_json(&text).expect("what was stored");
    assert_eq!(read, *snapshot);
    assert_eq!(read.to_json().expect("storable"), text);
    read
}

/// A fork that does not continue the run it was taken from compares two futures of different pasts.
#[test]
fn two_parts_are_the_whole_byte_for_byte() {
    for cores in [None, Some(1.0)] {
        let mut plan = eventful().plan();
        plan.environment.server.cores = cores.map_or(Cores::Unlimited, Cores::Number);
        let (whole, summary) = fly(&plan, 42);
        assert!(whole.decisions.iter().any(|decision| decision.text.contains("panicking")));
        assert!(whole.cold_starts.iter().any(|start| start.activated));
        // Before anything, in the middle of the first cold start, on an arrival's own instant, in the canary's
        // cold start, on a tick, in the panic, at the end.
        let arrival_ns = whole.requests[100].intended_ns + 300_000;
        let cold_ns = whole.cold_starts[0].t_ns + 450 * MS;
        for at_ns in
            [0, cold_ns, arrival_ns, 15 * S, 15 * S + 500 * MS, 24 * S, 26 * S + 1, 29_123_456_789, 60 * S]
        {
            let (snapshot, mut recording) = first_part(&plan, at_ns);
            assert!(recording.events.iter().all(|event| event.t_ns < at_ns.max(1)), "{at_ns}");
            let rest = resume(&plan, stored(&snapshot), &mut recording).expect("a sound simulation");
            assert_eq!(bytes(&recording), bytes(&whole), "cut at {at_ns} ns");
            assert_eq!(
                (rest.events, rest.requests, rest.failed),
                (summary.events, summary.requests, summary.failed)
            );
            assert_eq!(rest.virtual_ns, summary.virtual_ns);
            assert!((rest.mean_sojourn_ns - summary.mean_sojourn_ns).abs() < 1e-9);
        }
    }
}

/// Both parts can go to files of their own: a request names the same revision in each.
#[test]
fn the_rest_can_be_recorded_apart() {
    let plan = eventful().plan();
    let (whole, _) = fly(&plan, 42);
    let (snapshot, first) = first_part(&plan, 27 * S);
    let mut rest = plan.recording(42);
    resume(&plan, snapshot, &mut rest).expect("a sound simulation");
    assert_eq!(rest.revisions, whole.revisions);
    let mut joined = first;
    joined.requests.extend(rest.requests);
    joined.events.extend(rest.events);
    joined.decisions.extend(rest.decisions);
    joined.cold_starts.extend(rest.cold_starts);
    for (key, points) in rest.series {
        joined.series.entry(key).or_default().extend(points);
    }
    assert_eq!(bytes(&joined), bytes(&whole));
}

/// "What if maxReplicas had been 20?" must be answered by the revision that runs, at once, and not by a cold start.
#[test]
fn other_bounds_are_taken_in_place() {
    let small =
        Setting { predictor: "minReplicas: 1, maxReplicas: 3, scaleTarget: 2".to_owned(), ..eventful() };
    let large =
        Setting { predictor: "minReplicas: 1, maxReplicas: 20, scaleTarget: 2".to_owned(), ..eventful() };
    let plan = small.plan();
    let (as_it_was, _) = fly(&plan, 42);
    let (snapshot, mut recording) = first_part(&plan, 28 * S);
    resume(&large.plan(), snapshot, &mut recording).expect("a sound simulation");
    assert_eq!(recording.revisions, as_it_was.revisions, "no new revision");
    let most = |recording: &Recording, from_ns: u64| {
        let late = recording.decisions.iter().filter(|decision| decision.t_ns >= from_ns);
        late.map(|decision| decision.to).max().unwrap_or(0)
    };
    assert!(most(&as_it_was, 0) <= 3);
    assert!(most(&recording, 28 * S) > 3, "{:?}", most(&recording, 28 * S));
    assert!(recording.events.iter().any(|event| event.t_ns == 28 * S && event.text.contains("what-if")));
    // The past is the same.
    let early = |recording: &Recording| {
        recording.requests.iter().filter(|request| request.done_ns() < 28 * S).cloned().collect::<Vec<_>>()
    };
    assert_eq!(early(&recording), early(&as_it_was));
    // A minimum holds from that instant on, on both revisions.
    let (snapshot, mut recording) = first_part(&plan, 50 * S);
    let least =
        Setting { predictor: "minReplicas: 3, maxReplicas: 3, scaleTarget: 2".to_owned(), ..eventful() };
    resume(&least.plan(), snapshot, &mut recording).expect("a sound simulation");
    for revision in ["digits-predictor-00001", "digits-predictor-00002"] {
        let wanted = recording.points("replicas.wanted", &[("revision", revision)]);
        let at = |t_ns: u64| wanted.iter().find(|point| point.t_ns == t_ns).map(|point| point.value);
        assert_eq!(at(50 * S), Some(3.0), "{revision}");
    }
}

/// Another model, unlike another bound, is another revision: with a cold start from the fork on.
#[test]
fn another_template_is_a_new_revision_at_the_fork() {
    let plan = Setting { events: "[]".to_owned(), ..eventful() }.plan();
    let mut other = plan.clone();
    let manifest = &mut other.services[0].versions[0].manifest;
    let model = manifest.spec.predictor.model.as_mut().expect("a model");
    model.extension.storage_uri = Some("s3://models/digits/v9".to_owned());
    let (snapshot, mut recording) = first_part(&plan, 20 * S);
    resume(&other, snapshot, &mut recording).expect("a sound simulation");
    let made: Vec<_> = recording
        .revisions
        .iter()
        .map(|revision| (revision.storage_uri.as_str(), revision.created_ns))
        .collect();
    assert_eq!(made[1..], [("s3://models/digits/v9", 20 * S)]);
    assert!(recording.requests.iter().any(|request| request.revision == Some(1)));
}

/// Two futures differ by their difference, not by luck: the same requests come and need the same time.
#[test]
fn both_futures_have_the_same_requests_with_the_same_demands() {
    let plenty = Setting {
        predictor: "minReplicas: 20, maxReplicas: 20".to_owned(),
        timeout: "30s".to_owned(),
        ..eventful()
    };
    let plan = plenty.plan();
    let mut slow = plan.clone();
    slow.environment.network.gateway = windtunnel_scenario::Duration::from_ms(7);
    let (snapshot, _) = first_part(&plan, 27 * S);
    let futures = [&plan, &slow].map(|plan| {
        let mut recording = plan.recording(42);
        resume(plan, snapshot.clone(), &mut recording).expect("a sound simulation");
        recording.sort();
        recording
    });
    let late = |recording: &Recording| -> Vec<(u32, u64, u64)> {
        let late = recording.requests.iter().filter(|request| request.intended_ns >= 27 * S);
        late.map(|request| (request.row, request.intended_ns, request.latency_ns)).collect()
    };
    let [same, slower] = [late(&futures[0]), late(&futures[1])];
    assert_eq!(same.len(), slower.len());
    assert!(same.len() > 2_000);
    let difference_ns = 7 * MS - 300_000;
    let coupled = same
        .iter()
        .zip(&slower)
        .filter(|(one, other)| (one.0, one.1, one.2 + difference_ns) == (other.0, other.1, other.2));
    assert_eq!(coupled.count(), same.len(), "the latency of the way is the only difference");
}

/// A longer run, or other events, must not lose what was planned before.
#[test]
fn later_events_and_the_end_can_be_others() {
    let plan = eventful().plan();
    let (snapshot, _) = first_part(&plan, 10 * S);
    let mut other = plan;
    other.changes[0].at_ns = 30 * S;
    other.duration_ns = 40 * S;
    let mut recording = other.recording(42);
    resume(&other, snapshot, &mut recording).expect("a sound simulation");
    assert_eq!(recording.revisions[1].created_ns, 30 * S);
    assert!(recording.requests.iter().all(|request| request.intended_ns < 40 * S));
    assert!(recording.requests.iter().any(|request| request.intended_ns > 39 * S));
    let samples = recording.points("requests.in_flight", &[]);
    assert_eq!(samples.last().map(|point| point.t_ns), Some(40 * S));
}

/// A file that is no snapshot, or not this one, must be refused with a remedy instead of read as something else.
#[test]
fn a_wrong_snapshot_is_refused_by_name() {
    let plan = eventful().plan();
    let (snapshot, _) = first_part(&plan, 10 * S);
    let text = snapshot.to_json().expect("storable");
    let refused = |text: &str| Snapshot::from_json(text).expect_err("wrong on purpose").to_string();
    assert!(refused("nonsense").contains("no stored snapshot"));
    assert!(refused("{\"format\": \"a cake\", \"version\": 1}").contains("a cake"));
    assert!(refused(&text.replacen("\"version\":1", "\"version\":7", 1)).contains("version 7"));
    assert!(refused(&text[..text.len() / 2]).contains("no stored snapshot"));
    assert!(refused(&text.replacen("\"seed\":42", "\"seed\":43", 1)).contains("checksum"));

    let mut other = plan.clone();
    other.services[0].name = "letters".to_owned();
    let error = resume(&other, snapshot, &mut plan.recording(42)).expect_err("another service").to_string();
    assert!(error.contains("digits") && error.contains("letters"), "{error}");
    let error = simulate_until(&plan, 42, 61 * S, &mut plan.recording(42)).expect_err("after the end");
    assert!(matches!(error, SimError::Snapshot { .. }) && error.to_string().contains("1m"), "{error}");
}
