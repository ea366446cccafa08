//! Scenarios and recordings for the tests.

use std::path::Path;

use windtunnel_record::{Meta, Recorder, Recording, Request, Revision, Source};
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::{Arrivals, Duration, Load, Phase, Process, Rate, Scenario};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A scenario of 100 s with these rules.
pub(crate) fn scenario(rules: &[&str]) -> Scenario {
    let duration = Duration::from_s(100);
    let phases = vec![Phase::flat(duration, Rate::per_second(1.0))];
    let objectives = rules
        .iter()
        .map(|rule| Objective::parse(rule).unwrap_or_else(|error| panic!("{rule}: {error}")))
        .collect();
    Scenario {
        path: Path::new("test.yaml").to_owned(),
        name: "test".into(),
        description: String::new(),
        duration,
        seed: 42,
        manifests: Vec::new(),
        storage: Default::default(),
        loads: vec![Load::new(
            "digits",
            "requests.jsonl",
            Arrivals::Phases { process: Process::Constant, phases },
        )],
        flight: None,
        events: Vec::new(),
        faults: Vec::new(),
        objectives,
        environment: Default::default(),
    }
}

/// An empty recording of 100 s with two revisions, the second made at 20 s.
pub(crate) fn recording(source: Source) -> Recording {
    let mut recording = Recording::new(Meta::new("test", source, 42, 100 * SECOND));
    for (name, created_ns) in [("a-00001", 0), ("a-00002", 20 * SECOND)] {
        let storage_uri = format!("s3://models/{name}");
        recording.revision(Revision { name: name.into(), storage_uri, created_ns });
    }
    recording
}

/// A recording of requests with these latencies in milliseconds, evenly over the run; 0 is a failure.
pub(crate) fn with_latencies(source: Source, latencies_ms: &[u64]) -> Recording {
    let mut recording = recording(source);
    let gap_ns = 100 * SECOND / (latencies_ms.len() as u64).max(1);
    for (n, ms) in (0..).zip(latencies_ms) {
        let request = Request::answered(n * gap_ns, ms * MS, 0);
        recording.request(if *ms == 0 { Request { status: 503, ..request } } else { request });
    }
    recording
}

/// `slow` requests of 500 ms among `total`, the others of 5 ms.
pub(crate) fn with_slow(total: usize, slow: usize) -> Recording {
    let mut latencies = vec![5; total - slow];
    latencies.extend(vec![500; slow]);
    with_latencies(Source::Simulated, &latencies)
}
