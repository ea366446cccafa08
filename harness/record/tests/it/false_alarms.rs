//! How often a verdict is wrong, on seeded samples.

use windtunnel_record::judge::{Verdict, judge};
use windtunnel_record::{Recorder, Recording, Request, Source};
use windtunnel_scenario::load::stream;

use crate::flights::{MS, SECOND, recording, scenario};

const SEEDS: u64 = 2_000;
const SAMPLES: u64 = 2_000;

/// Verdicts of many runs in which each request misses the limit with this probability.
fn verdicts(rule: &str, share: f64, miss: impl Fn(Request) -> Request) -> (u64, u64) {
    let scenario = scenario(&[rule]);
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = stream(seed, "false-alarms");
        let mut recording: Recording = recording(Source::Simulated);
        for n in 0..SAMPLES {
            let request = Request::answered(n * 100 * SECOND / SAMPLES, 5 * MS, 0);
            recording.request(if random.unit() < share { miss(request) } else { request });
        }
        match judge(&scenario, &recording)[0].verdict {
            Verdict::Pass => passed += 1,
            Verdict::Fail => failed += 1,
            Verdict::Inconclusive | Verdict::NotJudged => {}
        }
    }
    (passed, failed)
}

/// One build in three that just misses its objective would pass the gate, as it does with point estimates.
#[test]
fn a_service_at_the_limit_hardly_ever_passes_or_fails() {
    let slow = |request| Request { latency_ns: 500 * MS, ..request };
    let failing = |request| Request { status: 503, ..request };
    for (rule, share) in [("p99<300ms", 0.01), ("p95<300ms", 0.05), ("p50<300ms", 0.5)] {
        let (passed, failed) = verdicts(rule, share, slow);
        assert!(passed <= SEEDS / 100, "{rule}: {passed} of {SEEDS} passed at the limit");
        assert!(failed <= SEEDS / 100, "{rule}: {failed} of {SEEDS} failed at the limit");
    }
    let (passed, failed) = verdicts("error-rate<1%", 0.01, failing);
    assert!(passed <= SEEDS / 100 && failed <= SEEDS / 100, "error-rate: {passed} passed, {failed} failed");
}

/// A gate that never passes a good service and never fails a bad one is of no use.
#[test]
fn a_good_service_passes_and_a_bad_one_fails() {
    let slow = |request| Request { latency_ns: 500 * MS, ..request };
    let (passed, _) = verdicts("p99<300ms", 0.002, slow);
    assert!(passed >= SEEDS * 99 / 100, "only {passed} of {SEEDS} good runs passed");
    let (_, failed) = verdicts("p99<300ms", 0.025, slow);
    assert!(failed >= SEEDS * 99 / 100, "only {failed} of {SEEDS} bad runs failed");
}

/// The mean's verdict would be wrong more often than it says, also when neighbouring latencies are alike.
#[test]
fn a_mean_at_the_limit_hardly_ever_passes() {
    let scenario = scenario(&["avg<10ms"]);
    for correlation in [0.0, 0.8] {
        let (mut passed, mut failed) = (0, 0);
        for seed in 0..SEEDS {
            let mut random = stream(seed, "mean");
            let mut recording = recording(Source::Simulated);
            let mut excess = 0.0;
            for n in 0..SAMPLES {
                // A first-order process around 10 ms with uniform steps.
                excess = correlation * excess + (random.unit() - 0.5);
                let latency_ns = (10.0 * MS as f64 + excess * MS as f64) as u64;
                recording.request(Request::answered(n * 100 * SECOND / SAMPLES, latency_ns, 0));
            }
            match judge(&scenario, &recording)[0].verdict {
                Verdict::Pass => passed += 1,
                Verdict::Fail => failed += 1,
                Verdict::Inconclusive | Verdict::NotJudged => {}
            }
        }
        // 1 % nominal on each side; three standard errors of the simulation, and the blocks' remaining
        // correlation.
        assert!(passed <= SEEDS * 2 / 100, "correlation {correlation}: {passed} of {SEEDS} passed");
        assert!(failed <= SEEDS * 2 / 100, "correlation {correlation}: {failed} of {SEEDS} failed");
    }
}
