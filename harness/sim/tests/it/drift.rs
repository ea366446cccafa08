//! Drift of inputs and predictions: found in time, and not seen where there is none.

use windtunnel_record::{Event, Recording};
use windtunnel_sim::{Snapshot, resume, simulate_until};

use crate::setting::{S, Setting, bytes, fly};

/// A hundred requests a second for a minute.
fn drifting(drift: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1".to_owned(),
        load: "process: constant, phases: [{for: 60s, rate: 100/s}]".to_owned(),
        environment_keys: format!("drift: {drift}"),
        ..Setting::default()
    }
}

fn alarms(recording: &Recording, feature: &str) -> Vec<u64> {
    let is_it = |event: &&Event| event.kind == Event::DRIFT_DETECTED && event.target == feature;
    recording.events.iter().filter(is_it).map(|event| event.t_ns).collect()
}

/// A shift of one standard deviation separates the distribution functions by 0.38; 200 values tell that from chance
/// (0.1) without fail. Windows are 2 s long: the first whole one after 31 s ends at 34 s at the latest.
#[test]
fn a_large_shift_is_found_within_two_windows() {
    for test in ["ks, threshold: 0.000001", "psi, threshold: 0.5"] {
        let drift = format!("{{feature: {{at: 31s, shift: 1}}, detector: {{test: {test}, window: 200}}}}");
        for seed in 0..5 {
            let (recording, _) = fly(&drifting(&drift).plan(), seed);
            let found = alarms(&recording, "feature");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!((31 * S..=34 * S + S / 10).contains(&found[0]), "{found:?}");
            let began = recording.events.iter().find(|event| event.kind == Event::DRIFT_BEGAN);
            assert_eq!(began.map(|event| (event.t_ns, event.target.as_str())), Some((31 * S, "feature")));
            let statistic = recording.points("drift.statistic", &[("feature", "feature")]);
            assert!(statistic.len() > 50, "{}", statistic.len());
            let last = statistic.last().map_or(0.0, |point| point.value);
            assert!(last > 0.3, "{last}");
        }
    }
}

/// A false alarm costs somebody a night. At a threshold of 1 % each of the 600 windows is one with that chance at most:
/// more than 17 would have a chance of less than one in ten thousand.
#[test]
fn without_drift_alarms_are_as_rare_as_the_threshold_says() {
    let setting = Setting {
        load: "process: constant, phases: [{for: 60s, rate: 1000/s}]".to_owned(),
        ..drifting("{predictions: {at: 59999ms, shift: 0.5}, detector: {window: 100, threshold: 0.01}}")
    };
    let (recording, _) = fly(&setting.plan(), 1);
    let found = alarms(&recording, "predictions");
    assert!((1..=17).contains(&found.len()), "{}", found.len());
    let texts = recording.events.iter().filter(|event| event.kind == Event::DRIFT_DETECTED);
    assert!(
        texts.clone().all(|event| event.text.contains("a false alarm")),
        "{:?}",
        texts.collect::<Vec<_>>()
    );
    assert!(alarms(&recording, "feature").is_empty(), "nobody watches the feature");
}

/// A slow drift is found later than a step, and not before it has begun.
#[test]
fn a_ramp_is_found_later_than_a_step() {
    let found = |over: &str| {
        let drift = format!(
            "{{feature: {{at: 20s, shift: 1, over: {over}}}, detector: {{window: 100, threshold: 0.0001}}}}"
        );
        alarms(&fly(&drifting(&drift).plan(), 2).0, "feature")[0]
    };
    assert!(found("0s") < found("30s"));
    assert!(found("30s") > 22 * S);
}

/// A fork must watch with what it has seen so far.
#[test]
fn a_watch_goes_on_from_a_snapshot() {
    let plan = drifting("{feature: {at: 31s, shift: 1}, predictions: {at: 40s, shift: -1, over: 5s}}").plan();
    let (whole, _) = fly(&plan, 3);
    for cut_s in [20, 33, 42] {
        let mut recording = plan.recording(3);
        let snapshot = simulate_until(&plan, 3, cut_s * S + 1, &mut recording).expect("a sound simulation");
        let read = Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
        resume(&plan, read, &mut recording).expect("a sound simulation");
        assert!(bytes(&recording) == bytes(&whole), "cut at {cut_s} s");
    }
}
