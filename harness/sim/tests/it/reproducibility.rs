//! The same seed is the same flight; only what differs between two scenarios differs between their flights.

use windtunnel_record::Recording;

use crate::setting::{Setting, fly};

fn busy() -> Setting {
    Setting {
        predictor: "minReplicas: 0, maxReplicas: 20, scaleTarget: 2".to_owned(),
        load: "process: poisson, phases: [{for: 20s, rate: 20/s}, {for: 10s, rate: 20/s, to: 400/s}, \
               {for: 30s, rate: 50/s}]"
            .to_owned(),
        service_time: "distribution: lognormal, mean: 20ms, cv: 0.8".to_owned(),
        events: "[{at: 15s, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {canaryTrafficPercent: 30, model: {storageUri: 's3://models/digits/v2'}}}}}}]"
            .to_owned(),
        ..Setting::default()
    }
}

fn bytes(recording: &Recording) -> Vec<u8> {
    let mut text = Vec::new();
    recording.write_jsonl(&mut text).expect("written to memory");
    text
}

/// A failure in CI that cannot be reproduced from its seed cannot be fixed.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (first, _) = fly(&busy().plan(), 42);
    let (second, _) = fly(&busy().plan(), 42);
    assert!(first.requests.len() > 3_000 && !first.decisions.is_empty() && first.revisions.len() == 2);
    assert_eq!(bytes(&first), bytes(&second));
    let (other, _) = fly(&busy().plan(), 43);
    assert_ne!(bytes(&first), bytes(&other));
}

/// Two variants are compared on the same load: what is asked of them must not change what comes.
#[test]
fn objectives_and_limits_leave_the_arrivals_alone() {
    let strict = Setting { objectives: "[p99<1ms, cold-starts<=0]".to_owned(), ..busy() };
    let small = Setting {
        predictor: "minReplicas: 1, maxReplicas: 2, scaleTarget: 2".to_owned(),
        service_time: "distribution: constant, mean: 3ms".to_owned(),
        ..busy()
    };
    let arrivals = |setting: &Setting| {
        let (recording, _) = fly(&setting.plan(), 42);
        let mut arrivals: Vec<(u64, u32)> =
            recording.requests.iter().map(|request| (request.intended_ns, request.row)).collect();
        arrivals.sort_unstable();
        arrivals
    };
    let expected = arrivals(&busy());
    assert_eq!(arrivals(&strict), expected);
    assert_eq!(arrivals(&small), expected);
}

/// Everything a live flight observes must be there, or the comparison of the two is empty.
#[test]
fn a_recording_holds_every_kind_of_observation() {
    let (recording, summary) = fly(&busy().plan(), 42);
    assert_eq!(recording.requests.len() as u64, summary.requests);
    assert_eq!(summary.answered + summary.failed, summary.requests);
    for kind in ["scenario", "revision", "traffic", "pod"] {
        assert!(recording.events.iter().any(|event| event.kind == kind), "no event of kind {kind}");
    }
    for name in ["replicas.wanted", "replicas.ready", "traffic.percent"] {
        for revision in ["digits-predictor-00001", "digits-predictor-00002"] {
            assert!(!recording.points(name, &[("revision", revision)]).is_empty(), "{name} of {revision}");
        }
    }
    assert!(recording.cold_starts.iter().all(|start| start.phases.len() == 6));
    assert!(recording.events.is_sorted_by_key(|event| event.t_ns));
}
