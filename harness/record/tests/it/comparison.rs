//! Simulation against flight.

use windtunnel_record::compare::{Pair, WorstSecond, compare};
use windtunnel_record::{ColdStart, Recorder, Recording, Request, Source};

use crate::flights::{MS, SECOND, recording, with_latencies};

fn with_replicas(source: Source, counts: &[(&str, &[u64])]) -> Recording {
    let mut recording = recording(source);
    for (revision, counts) in counts {
        recording.meta.duration_ns = (counts.len() as u64 - 1) * SECOND;
        for (t_s, count) in (0..).zip(*counts) {
            recording.sample("replicas.ready", &[("revision", revision)], t_s * SECOND, *count as f64);
        }
    }
    recording
}

/// The report would claim an agreement that is not there.
#[test]
fn replicas_are_compared_second_by_second() {
    let simulated = with_replicas(
        Source::Simulated,
        &[("a", &[0, 1, 1, 3, 3, 3, 3, 3, 1, 0]), ("b", &[0, 0, 1, 1, 1, 1, 1, 1, 1, 1])],
    );
    let live = with_replicas(
        Source::Live,
        &[("a", &[0, 1, 1, 1, 2, 3, 3, 3, 3, 0]), ("b", &[0, 0, 0, 1, 1, 1, 1, 1, 1, 1])],
    );
    let comparison = compare(&simulated, &live);
    assert_eq!(comparison.replicas.len(), 2);
    let a = &comparison.replicas[0];
    assert_eq!((a.revision.as_str(), a.seconds, a.within_one_percent), ("a", 10, 80.0));
    assert_eq!(a.worst, WorstSecond { t_s: 3, simulated: 3.0, live: 1.0 });
    assert_eq!(comparison.replicas[1].within_one_percent, 100.0);
    assert_eq!(comparison.replicas_within_one_percent, 80.0);
}

/// A revision that only one side made, or a sample that is late, would be left out.
#[test]
fn missing_samples_keep_the_last_value() {
    let simulated = with_replicas(Source::Simulated, &[("a", &[2, 2, 2, 2, 2])]);
    let mut live = recording(Source::Live);
    live.meta.duration_ns = 4 * SECOND;
    live.sample("replicas.ready", &[("revision", "b")], SECOND / 2, 5.0);
    let comparison = compare(&simulated, &live);
    let names: Vec<&str> = comparison.replicas.iter().map(|replicas| replicas.revision.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(comparison.replicas[0].worst, WorstSecond { t_s: 0, simulated: 2.0, live: 0.0 });
    assert_eq!(comparison.replicas[1].within_one_percent, 20.0, "only before its first sample");
    let nothing = compare(&recording(Source::Simulated), &recording(Source::Live));
    assert_eq!(nothing.replicas_within_one_percent, 0.0, "nothing measured is no agreement");
    assert_eq!(nothing.latency.p99, Pair { simulated: None, live: None });
}

/// Latencies, errors and cold starts of the two sides would be mixed up.
#[test]
fn everything_else_is_counted_on_its_own_side() {
    let simulated = with_latencies(Source::Simulated, &(1..=100).collect::<Vec<u64>>());
    let mut live = with_latencies(Source::Live, &[10, 20, 0]);
    live.request(Request { status: 0, error: Some("reset".into()), ..Request::answered(0, MS, 0) });
    for activated in [true, false] {
        live.cold_start(ColdStart {
            t_ns: 0,
            revision: "a-00001".into(),
            pod: "x".into(),
            phases: Vec::new(),
            activated,
        });
    }
    let comparison = compare(&simulated, &live);
    assert_eq!(comparison.latency.p50, Pair { simulated: Some(50 * MS), live: Some(10 * MS) });
    assert_eq!(comparison.latency.p95, Pair { simulated: Some(95 * MS), live: Some(20 * MS) });
    assert_eq!(comparison.requests, Pair { simulated: 100, live: 4 });
    assert_eq!(comparison.errors, Pair { simulated: 0, live: 2 });
    assert_eq!(comparison.throughput_per_s, Pair { simulated: 1.0, live: 0.02 });
    assert_eq!(comparison.cold_starts, Pair { simulated: 0, live: 1 });
}
