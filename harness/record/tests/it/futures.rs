//! Both futures of a fork.

use windtunnel_record::futures::{FigureUnit, compare_recordings};
use windtunnel_record::{ColdStart, Decision, Recorder, Recording, Request, Source};

use crate::flights::{MS, SECOND, recording};

/// A run that waits from 40 s on, unless it may have four replicas.
fn run(most: u32) -> Recording {
    let mut recording = recording(Source::Simulated);
    for n in 0..1_000_u64 {
        let slow = n >= 450 && most < 4;
        let request = Request::answered(n * 100 * MS, if slow { 800 * MS } else { 20 * MS }, 0);
        let failed = slow && n % 10 == 0;
        recording.request(if failed { Request { status: 503, ..request } } else { request });
    }
    for t_s in 0..100_u64 {
        let replicas = if t_s < 42 { 2 } else { most.min(4) };
        recording.sample("replicas.ready", &[("revision", "a-00001")], t_s * SECOND, f64::from(replicas));
        recording.sample("cost.per_hour", &[], t_s * SECOND, 0.5 * f64::from(replicas));
    }
    for (t_s, to) in [(10, 2), (40, most.min(4))] {
        recording.decision(Decision {
            t_ns: t_s * SECOND,
            actor: "kpa".into(),
            target: "a-00001".into(),
            from: 2,
            to: i64::from(to),
            text: String::new(),
            explanation: serde_json::Value::Null,
        });
    }
    if most >= 4 {
        recording.cold_start(ColdStart {
            t_ns: 40 * SECOND,
            revision: "a-00001".into(),
            pod: "p".into(),
            phases: Vec::new(),
            activated: false,
        });
    }
    recording
}

/// A user would not see what a change does, or would see it where there is nothing.
#[test]
fn both_futures_are_laid_side_by_side() {
    let futures = compare_recordings(&run(2), &run(4), 40 * SECOND, "maxReplicas=4");
    let figure = |name: &str| futures.figures.iter().find(|row| row.name == name).expect(name).clone();
    let divergence = futures.divergence.as_ref().expect("they differ");
    assert_eq!(divergence.t_ns, 40 * SECOND);
    assert_eq!(divergence.what, "decided: kpa a-00001 to 4, instead of kpa a-00001 to 2");
    let p99 = figure("latency p99");
    assert_eq!(p99.unit, FigureUnit::Nanoseconds);
    assert!((p99.values.original.unwrap() / 800e6 - 1.0).abs() < 0.002);
    assert!((p99.values.changed.unwrap() / 20e6 - 1.0).abs() < 0.002);
    assert!((p99.relative.unwrap() + 0.975).abs() < 0.001);
    // 550 requests from 45 s on, one in ten fails.
    let failed = figure("failed");
    assert_eq!((failed.values.original, failed.values.changed), (Some(55.0), Some(0.0)));
    assert_eq!((failed.difference, failed.relative), (Some(-55.0), Some(-1.0)));
    assert_eq!(figure("pods started").difference, Some(1.0));
    // Two replicas for a minute against two for 2 s and four for 58 s, at 0.5 an hour each.
    let cost = figure("cost");
    assert!((cost.values.original.unwrap() - 60.0 / 3_600.0).abs() < 1e-12);
    assert!((cost.values.changed.unwrap() - (2.0 + 2.0 * 58.0) / 3_600.0).abs() < 1e-12);
    assert_eq!(figure("replicas, most").values.changed, Some(4.0));
    assert!(futures.replicas.changed.iter().any(|point| point.value == 4.0));
    let text = serde_json::to_string(&futures).expect("JSON");
    assert_eq!(serde_json::from_str::<windtunnel_record::futures::Futures>(&text).expect("futures"), futures);
}

/// A change without effect would seem to have one, or a difference before the fork would be blamed on it.
#[test]
fn the_same_future_twice_does_not_diverge() {
    let futures = compare_recordings(&run(2), &run(2), 40 * SECOND, "maxReplicas=2");
    assert_eq!(futures.divergence, None);
    assert!(futures.figures.iter().all(|row| row.difference.is_none_or(|difference| difference == 0.0)));
    let mut before = run(2);
    before.requests[5].status = 500;
    assert_eq!(compare_recordings(&run(2), &before, 40 * SECOND, "x").divergence, None);
    let mut request = run(2);
    request.requests[990].latency_ns += MS;
    let divergence =
        compare_recordings(&run(2), &request, 40 * SECOND, "x").divergence.expect("a difference");
    assert!((99 * SECOND..100 * SECOND).contains(&divergence.t_ns), "{divergence:?}");
}
