//! What a load test has found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use windtunnel_kernel::statistics::quantile::nearest_rank;
use windtunnel_record::judge::{Verdict, judge};
use windtunnel_record::quantile::sorted_latencies;
use windtunnel_record::result::RunResult;
use windtunnel_record::{Prediction, Recording};
use windtunnel_scenario::Duration;
use windtunnel_scenario::objective::Metric;
use windtunnel_scenario::scenario::{Arrivals, Environment, Load, Process, Scenario};

use crate::Attack;
use crate::users::MOST_REQUESTS;

/// What a load test has found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadResult {
    /// The verdict over all rules, the rules one by one, and reasons. The caller fills in `reproduce` and versions.
    #[serde(flatten)]
    pub outcome: RunResult,
    /// Users at once.
    pub users: usize,
    /// From the first request to the last answer, in seconds.
    pub duration_s: f64,
    /// Requests that were sent and came to an end.
    pub requests: u64,
    /// Those that got a successful answer: 2xx, complete, within the time-out.
    pub succeeded: u64,
    /// Successful answers a second.
    pub rps: f64,
    /// The others by status, in ascending order.
    pub failures: Vec<Failed>,
    /// Latency of successful requests, from sending to the last byte of the answer; `None` when there were none.
    pub latency: Option<Latency>,
    /// Answers that were held against a reference answer.
    pub checked: u64,
    /// Those of them that differ.
    pub mismatches: u64,
    /// Whether the load was ended before its time.
    pub interrupted: bool,
    /// Every request; its revisions are those that our gateway names.
    #[serde(skip)]
    pub recording: Recording,
}

/// Failed requests of one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// HTTP status; 0 where there was no HTTP answer, 2xx where the answer broke off.
    pub status: u16,
    /// How many.
    pub count: u64,
    /// What went wrong the first time.
    pub example: String,
}

/// Latencies in nanoseconds; each quantile is a latency that really occurred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean_ns: f64,
    /// The median.
    pub p50_ns: u64,
    /// The 90th percentile.
    pub p90_ns: u64,
    /// The 95th percentile.
    pub p95_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

impl LoadResult {
    /// Counts and judges what was recorded.
    pub(crate) fn of(attack: &Attack, recording: Recording, interrupted: bool) -> Self {
        let requests = recording.requests.len() as u64;
        let latencies = sorted_latencies(recording.requests.iter());
        let succeeded = latencies.len() as u64;
        let duration_s = recording.meta.duration_ns as f64 / 1e9;
        let predicted = |wanted| recording.requests.iter().filter(|r| r.prediction == wanted).count() as u64;
        let mismatches = predicted(Prediction::Different);
        Self {
            outcome: outcome(attack, &recording, requests, succeeded, interrupted),
            users: attack.users,
            duration_s,
            requests,
            succeeded,
            rps: succeeded as f64 / duration_s,
            failures: failures(&recording),
            latency: Latency::of(&latencies),
            checked: mismatches + predicted(Prediction::Equal),
            mismatches,
            interrupted,
            recording,
        }
    }
}

/// The verdict: that of the rules, and none better than the load itself allows.
fn outcome(
    attack: &Attack,
    recording: &Recording,
    requests: u64,
    succeeded: u64,
    interrupted: bool,
) -> RunResult {
    let gates = judge(&as_scenario(attack, recording), recording);
    let mut outcome = RunResult::new(&attack.url, 0, gates, None, String::new());
    if requests > 0 && succeeded == 0 {
        outcome.verdict = Verdict::Fail;
        outcome.exit_code = outcome.verdict.exit_code();
        outcome.reasons.insert(0, format!("FAIL None of {requests} requests got a successful answer."));
    } else if requests == 0 {
        outcome.doubt("No request came to an end.".to_owned());
    }
    if interrupted {
        outcome.doubt("interrupted: the load is only as long as it got".to_owned());
    } else if recording.requests.len() >= MOST_REQUESTS {
        outcome.doubt(format!("ended early: {MOST_REQUESTS} requests are the most that one load keeps"));
    }
    outcome
}

/// A load test as the scenario that judging asks for: its rules, over its whole length.
fn as_scenario(attack: &Attack, recording: &Recording) -> Scenario {
    Scenario {
        path: PathBuf::new(),
        name: attack.url.clone(),
        description: String::new(),
        duration: Duration::from_ns(recording.meta.duration_ns),
        seed: 0,
        manifests: Vec::new(),
        storage: BTreeMap::new(),
        loads: vec![Load {
            timeout: Duration::from_ns(u64::try_from(attack.timeout.as_nanos()).unwrap_or(u64::MAX)),
            ..Load::new(
                "",
                PathBuf::new(),
                Arrivals::Phases { process: Process::Constant, phases: Vec::new() },
            )
        }],
        flight: None,
        events: Vec::new(),
        faults: Vec::new(),
        objectives: attack.rules.clone(),
        environment: Environment::default(),
    }
}

fn failures(recording: &Recording) -> Vec<Failed> {
    let mut by_status: BTreeMap<u16, Failed> = BTreeMap::new();
    for request in recording.requests.iter().filter(|request| !request.succeeded()) {
        let failed = by_status.entry(request.status).or_insert_with(|| Failed {
            status: request.status,
            count: 0,
            example: request.error.clone().unwrap_or_default(),
        });
        failed.count += 1;
    }
    by_status.into_values().collect()
}

impl Latency {
    fn of(sorted: &[u64]) -> Option<Self> {
        let rank = |q| nearest_rank(sorted, q);
        Some(Self {
            mean_ns: sorted.iter().map(|ns| *ns as f64).sum::<f64>() / sorted.len() as f64,
            p50_ns: rank(0.5)?,
            p90_ns: rank(0.9)?,
            p95_ns: rank(0.95)?,
            p99_ns: rank(0.99)?,
            max_ns: *sorted.last()?,
        })
    }
}

impl fmt::Display for LoadResult {
    /// The figures in a few lines; the verdict is for a table of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |ns: u64| Metric::Average.show(ns as f64);
        writeln!(
            f,
            "{} requests of {} users in {:.1} s: {} answered, {} failed, {} successful",
            self.requests,
            self.users,
            self.duration_s,
            self.succeeded,
            self.requests - self.succeeded,
            Metric::Throughput.show(self.rps)
        )?;
        if let Some(latency) = &self.latency {
            writeln!(
                f,
                "latency   mean {}  p50 {}  p90 {}  p95 {}  p99 {}  max {}  (closed loop)",
                Metric::Average.show(latency.mean_ns),
                show(latency.p50_ns),
                show(latency.p90_ns),
                show(latency.p95_ns),
                show(latency.p99_ns),
                show(latency.max_ns)
            )?;
        }
        for failed in &self.failures {
            let status = if failed.status == 0 { "no answer".to_owned() } else { failed.status.to_string() };
            writeln!(f, "failed    {} x {status}, the first: {}", failed.count, failed.example)?;
        }
        if self.checked > 0 {
            writeln!(
                f,
                "answers   {} of {} checked ones differ from the reference",
                self.mismatches, self.checked
            )?;
        }
        Ok(())
    }
}
