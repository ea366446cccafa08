//! Argo's analysis runs: facts of argo-rollouts' `analysis/analysis_test.go`.

use std::collections::BTreeMap;

use windtunnel_kernel::rollout::argo::AnalysisPhase::{
    self, Error, Failed, Inconclusive, Pending, Running, Successful,
};
use windtunnel_kernel::rollout::argo::analysis::assess::{Tally, assess_metric, passed_limit};
use windtunnel_kernel::rollout::argo::analysis::run::{Measurement, MetricResult, Task};
use windtunnel_kernel::rollout::argo::analysis::spec::Metric;
use windtunnel_kernel::rollout::argo::analysis::{AnalysisSpec, Measured, Run};
use windtunnel_kernel::rollout::value::{IntOrText, Value};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000_000 * SECOND;

fn spec(text: &str) -> AnalysisSpec {
    serde_json::from_str(text).expect("an AnalysisTemplate's spec")
}

fn measurement(phase: AnalysisPhase, finished_s_ago: u64) -> Measurement {
    let at_ns = NOW - finished_s_ago * SECOND;
    Measurement {
        phase,
        started_at_ns: at_ns,
        finished_at_ns: phase.is_completed().then_some(at_ns),
        ..Measurement::default()
    }
}

fn result(phase: AnalysisPhase, measurements: Vec<Measurement>) -> MetricResult {
    MetricResult { tally: Tally { phase, ..Tally::default() }, measurements, ..MetricResult::default() }
}

fn results(list: Vec<(&str, MetricResult)>) -> BTreeMap<String, MetricResult> {
    list.into_iter().map(|(name, result)| (name.to_string(), result)).collect()
}

fn measured(list: &[(&str, Measured)]) -> BTreeMap<String, Measured> {
    list.iter().map(|(name, measured)| ((*name).to_string(), measured.clone())).collect()
}

/// If it fails, a release is aborted for a single bad minute, or promoted in spite of many.
/// (TestAssessMetricStatus…)
#[test]
fn how_a_metric_stands() {
    let limits = |failure: Option<i32>, success: Option<i32>, count: Option<i32>| Metric {
        interval: "60s".to_string(),
        failure_limit: failure.map(IntOrText::Int),
        consecutive_success_limit: success.map(IntOrText::Int),
        count: count.map(IntOrText::Int),
        ..Metric::default()
    };
    let tally = |failed, successful, consecutive_success, count| Tally {
        last: Some(Failed),
        failed,
        successful,
        consecutive_success,
        count,
        ..Tally::default()
    };
    // (metric, tally, as it goes on, as it is to end)
    for (metric, tally, running, terminating) in [
        (Metric::default(), Tally::default(), Pending, Successful),
        (Metric::default(), Tally { last: Some(Running), ..Tally::default() }, Running, Running),
        (limits(Some(2), None, None), tally(3, 0, 0, 3), Failed, Failed),
        (limits(Some(3), None, None), tally(3, 0, 0, 3), Running, Successful),
        (limits(Some(-1), Some(3), None), tally(3, 4, 3, 7), Successful, Successful),
        (limits(Some(-1), Some(5), None), tally(3, 4, 3, 7), Running, Successful),
        (limits(Some(-1), Some(5), Some(7)), tally(3, 4, 3, 7), Failed, Failed),
        (limits(Some(-1), Some(3), Some(7)), tally(3, 4, 3, 7), Successful, Successful),
        (limits(Some(-1), Some(3), Some(9)), tally(3, 4, 3, 7), Successful, Successful),
        (limits(Some(-1), Some(5), Some(9)), tally(3, 4, 3, 7), Running, Successful),
        (limits(Some(4), Some(4), None), tally(3, 4, 3, 7), Running, Successful),
        (limits(Some(4), Some(4), None), tally(5, 9, 0, 9), Failed, Failed),
        (limits(Some(4), Some(4), None), tally(3, 5, 4, 8), Successful, Successful),
        (limits(Some(4), Some(4), None), tally(5, 5, 4, 10), Failed, Failed),
        (limits(Some(4), Some(4), Some(10)), tally(4, 6, 3, 10), Inconclusive, Inconclusive),
        (limits(Some(4), Some(4), Some(10)), tally(5, 5, 3, 10), Failed, Failed),
        (limits(Some(4), Some(4), Some(10)), tally(4, 6, 4, 10), Successful, Successful),
        (limits(Some(4), Some(4), Some(10)), tally(3, 5, 3, 8), Running, Successful),
        (limits(Some(4), Some(4), Some(10)), tally(5, 3, 3, 8), Failed, Failed),
        (limits(Some(4), Some(4), Some(10)), tally(3, 5, 4, 8), Successful, Successful),
        (limits(Some(4), Some(4), Some(10)), tally(5, 4, 4, 9), Failed, Failed),
        (
            Metric { count: Some(IntOrText::Int(10)), ..Metric::default() },
            Tally { last: Some(Successful), successful: 10, count: 10, ..Tally::default() },
            Successful,
            Successful,
        ),
        (
            Metric { count: Some(IntOrText::Int(10)), ..Metric::default() },
            Tally { last: Some(Successful), successful: 5, inconclusive: 5, count: 10, ..Tally::default() },
            Inconclusive,
            Inconclusive,
        ),
        (
            Metric { inconclusive_limit: Some(IntOrText::from("3")), ..limits(None, None, None) },
            Tally { last: Some(Inconclusive), inconclusive: 3, count: 3, ..Tally::default() },
            Running,
            Successful,
        ),
        (
            limits(None, None, None),
            Tally { last: Some(Error), consecutive_error: 5, count: 5, ..Tally::default() },
            Error,
            Error,
        ),
        (
            limits(None, None, None),
            Tally { last: Some(Error), consecutive_error: 4, count: 5, ..Tally::default() },
            Running,
            Successful,
        ),
        (Metric::default(), Tally { phase: Failed, ..Tally::default() }, Failed, Failed),
    ] {
        assert_eq!(assess_metric(&metric, &tally, false).phase, running, "{metric:?} {tally:?}");
        assert_eq!(assess_metric(&metric, &tally, true).phase, terminating, "{metric:?} {tally:?}");
    }
    let passed = passed_limit(&Metric::default(), &Tally { failed: 1, ..Tally::default() }).expect("a limit");
    assert_eq!(passed.to_string(), "Failed: failed (1) > failureLimit (0)");
}

/// If it fails, metrics are measured too often, too late, or not at all. (TestCalculateNextReconcile…)
#[test]
fn when_to_measure_next() {
    let one = r#"{"metrics": [{"name": "a", "interval": "60s"}]}"#;
    let next_s = |run: &Run| run.next_reconcile_ns(NOW).map(|at_ns| (at_ns as f64 - NOW as f64) / 1e9);
    let of = |spec_text: &str, list: Vec<(&str, MetricResult)>| {
        Run::new(spec(spec_text)).resumed(Some(NOW - 30 * SECOND), results(list))
    };

    let run = of(one, vec![("a", result(Running, vec![measurement(Successful, 30)]))]);
    assert_eq!(next_s(&run), Some(30.0), "an interval after the last measurement");
    let run = of(one, vec![("a", result(Running, vec![measurement(Running, 30)]))]);
    assert_eq!(next_s(&run), None, "one that is under way says itself when");
    let run = of(one, vec![("a", result(Successful, vec![measurement(Successful, 120)]))]);
    assert_eq!(next_s(&run), None, "a metric that is done");

    let two = r#"{"metrics": [{"name": "a", "interval": "60s"},
        {"name": "b", "interval": "60s", "initialDelay": "40s"}]}"#;
    let first = || vec![("a", result(Running, vec![measurement(Successful, 30)]))];
    assert_eq!(next_s(&of(two, first())), Some(10.0), "the delay of the other one ends first");
    let invalid = two.replace("40s", "not-valid-start-delay");
    assert_eq!(next_s(&of(&invalid, first())), Some(30.0));

    let counted = r#"{"metrics": [{"name": "a", "count": 1}]}"#;
    let run = of(counted, vec![("a", result(Successful, vec![measurement(Successful, 0)]))]);
    assert_eq!(next_s(&run), None);

    let both = r#"{"metrics": [{"name": "a", "interval": "60s"}, {"name": "b", "interval": "60s"}]}"#;
    let run = of(
        both,
        vec![
            ("a", result(Running, vec![measurement(Successful, 30)])),
            ("b", result(Running, vec![measurement(Successful, 50)])),
        ],
    );
    assert_eq!(next_s(&run), Some(10.0), "the earliest of all");

    let mut resumed = measurement(Running, 30);
    resumed.resume_at_ns = Some(NOW + 10 * SECOND);
    let run = of(one, vec![("a", result(Running, vec![resumed]))]);
    assert_eq!(next_s(&run), Some(10.0), "when it says itself");

    for interval in ["", r#", "interval": "5m""#] {
        let text = format!(r#"{{"metrics": [{{"name": "a"{interval}}}]}}"#);
        let run = of(&text, vec![("a", result(Running, vec![measurement(Error, 0)]))]);
        assert_eq!(next_s(&run), Some(10.0), "10 s after an error, whatever the interval");
    }
}

/// If it fails, a metric is measured before its time or after the end. (TestGenerateMetricTasks…)
#[test]
fn what_is_due() {
    let due = |run: &Run| run.due(NOW).into_iter().collect::<Vec<_>>();
    let of = |text: &str, list: Vec<(&str, MetricResult)>| Run::new(spec(text)).resumed(None, results(list));
    let a = |task: Task| vec![("a".to_string(), task)];

    let interval = r#"{"metrics": [{"name": "a", "interval": "60s"}]}"#;
    let ago =
        |seconds: u64| of(interval, vec![("a", result(Running, vec![measurement(Successful, seconds)]))]);
    assert_eq!(due(&ago(50)), []);
    assert_eq!(due(&ago(60)), [], "strictly after the interval");
    assert_eq!(due(&ago(61)), a(Task::Measure));

    let plain = r#"{"metrics": [{"name": "a"}, {"name": "b"}]}"#;
    assert_eq!(
        due(&of(plain, vec![("b", result(Failed, vec![]))])),
        [],
        "a metric that failed ends the others"
    );
    assert_eq!(due(&of(plain, vec![])).len(), 2);

    let once = r#"{"metrics": [{"name": "a"}]}"#;
    let mut done = result(Running, vec![measurement(Successful, 50)]);
    done.tally.count = 1;
    assert_eq!(due(&of(once, vec![("a", done)])), []);
    assert_eq!(due(&of(once, vec![("a", result(Running, vec![measurement(Running, 50)]))])), a(Task::Resume));
    assert_eq!(due(&of(once, vec![("a", result(Running, vec![measurement(Error, 120)]))])), a(Task::Measure));

    let delayed = r#"{"metrics": [{"name": "a", "initialDelay": "20s"}]}"#;
    let started = |ago_s: Option<u64>, text: &str| {
        Run::new(spec(text)).resumed(ago_s.map(|ago_s| NOW - ago_s * SECOND), BTreeMap::new())
    };
    assert_eq!(due(&started(None, delayed)), []);
    assert_eq!(due(&started(Some(10), delayed)), []);
    assert_eq!(due(&started(Some(20), delayed)), a(Task::Measure));
    assert_eq!(due(&started(Some(20), &delayed.replace("20s", "nonsense"))), []);

    let resume_at = |at_ns: u64| Measurement { resume_at_ns: Some(at_ns), ..measurement(Running, 50) };
    let run = of(
        plain,
        vec![
            ("a", result(Running, vec![resume_at(NOW + 10 * SECOND)])),
            ("b", result(Running, vec![resume_at(NOW - 10 * SECOND)])),
        ],
    );
    assert_eq!(due(&run), [("b".to_string(), Task::Resume)]);
}

/// If it fails, an analysis never ends, or ends before it has measured. (TestReconcileAnalysisRunInitial)
#[test]
fn a_run_from_its_beginning() {
    let good = |text: &str| {
        let mut run = Run::new(spec(text));
        let first = run.step(NOW, &BTreeMap::new());
        assert_eq!(first.phase, Running);
        assert_eq!(first.due, BTreeMap::from([("success-rate".to_string(), Task::Measure)]));
        run.step(NOW, &measured(&[("success-rate", Measured::Result(Value::numbers(&[1.0])))]))
    };
    let endless = good(r#"{"metrics": [{"name": "success-rate", "interval": "60s"}]}"#);
    assert_eq!((endless.phase, endless.requeue_after_ns), (Running, Some(60 * SECOND + 1)));
    let once = good(r#"{"metrics": [{"name": "success-rate", "interval": "60s", "count": 1}]}"#);
    assert_eq!((once.phase, once.requeue_after_ns), (Successful, None));
    let neither = good(r#"{"metrics": [{"name": "success-rate", "count": 0}]}"#);
    assert_eq!(neither.phase, Successful);
    assert_eq!(neither.explanation.to_string(), "Successful; success-rate Successful: count (1) reached");

    let texts = [
        r#"{"metrics": []}"#,
        r#"{"metrics": [{"name": "a"}, {"name": "a"}]}"#,
        r#"{"metrics": [{"name": "a", "count": 2}]}"#,
        r#"{"metrics": [{"name": "a", "interval": "soon"}]}"#,
        r#"{"metrics": [{"name": "a"}], "dryRun": [{"metricName": "b"}]}"#,
    ];
    for text in texts {
        let decision = Run::new(spec(text)).step(NOW, &BTreeMap::new());
        assert_eq!(decision.phase, Error, "{text}");
        assert!(decision.message.starts_with("Analysis spec invalid: "), "{}", decision.message);
    }
}

/// If it fails, a run goes on measuring a release that has failed already.
/// (TestReconcileAnalysisRunTerminateSiblingAfterFail)
#[test]
fn a_metric_that_fails_ends_the_others() {
    for bad in [Failed, Inconclusive, Error] {
        let mut failed = result(bad, vec![measurement(bad, 60)]);
        match bad {
            Failed => failed.tally.failed = 1,
            Inconclusive => failed.tally.inconclusive = 1,
            _ => failed.tally.error = 1,
        }
        let list = vec![("forever", result(Running, vec![measurement(Running, 60)])), ("failed", failed)];
        let text = r#"{"metrics": [{"name": "forever"}, {"name": "failed"}]}"#;
        let mut run = Run::new(spec(text)).resumed(Some(NOW - 60 * SECOND), results(list));
        assert_eq!(run.due(NOW), BTreeMap::from([("forever".to_string(), Task::Terminate)]));
        let decision = run.step(NOW, &measured(&[("forever", Measured::Phase(Inconclusive))]));
        assert_eq!(decision.phase, bad);
        let ended = &run.results()["forever"];
        assert_eq!(ended.tally.phase, Inconclusive);
        assert_eq!(ended.message, "Metric Terminated");
        assert_eq!(ended.measurements[0].finished_at_ns, Some(NOW));
    }
}

/// If it fails, a metric that is only tried out aborts a release. (TestAssessRunStatus…InDryRunMode)
#[test]
fn metrics_that_do_not_count() {
    for (dry_run, expected) in [("[]", Failed), (r#"[{"metricName": "err.*"}]"#, Successful)] {
        let text = format!(
            r#"{{"metrics": [{{"name": "errors", "successCondition": "result[0] < 0.1"}}, {{"name": "latency"}}],
                "dryRun": {dry_run}}}"#
        );
        let mut run = Run::new(spec(&text));
        let value = |number: f64| Measured::Result(Value::numbers(&[number]));
        run.step(NOW, &measured(&[("errors", value(0.5)), ("latency", value(3.0))]));
        assert_eq!(run.phase(), expected, "{dry_run}");
        assert_eq!(run.results()["errors"].dry_run, expected == Successful);
        if expected == Failed {
            assert_eq!(
                run.message(),
                "Metric \"errors\" assessed Failed due to failed (1) > failureLimit (0)"
            );
        }
    }
}

/// If it fails, an analysis that was ended by hand aborts its release (argo-rollouts issue 1329: it is a success).
#[test]
fn a_run_that_is_ended() {
    let mut run = Run::new(spec(r#"{"metrics": [{"name": "a", "interval": "60s"}]}"#));
    run.step(NOW, &BTreeMap::new());
    run.terminate();
    let decision = run.step(NOW + SECOND, &BTreeMap::new());
    assert_eq!((decision.phase, decision.message.as_str()), (Successful, "Run Terminated"));
    assert!(decision.due.is_empty());
}

/// If it fails, an unreachable Prometheus counts as bad results, or a single good answer is forgotten.
/// (TestRunMeasurementsResetConsecutiveErrorCounter)
#[test]
fn errors_in_a_row() {
    let mut run = Run::new(spec(
        r#"{"metrics": [{"name": "a", "interval": "60s", "consecutiveErrorLimit": 1,
            "successCondition": "result > 0.9"}]}"#,
    ));
    let mut now_ns = NOW;
    let mut take = |run: &mut Run, measured_now: Measured| {
        now_ns += 61 * SECOND;
        run.step(now_ns, &measured(&[("a", measured_now)])).phase
    };
    let error = || Measured::Error("no route to host".to_string());
    assert_eq!(take(&mut run, error()), Running);
    assert_eq!(take(&mut run, Measured::Result(Value::Float(1.0))), Running);
    assert_eq!(run.results()["a"].tally.consecutive_error, 0);
    assert_eq!(take(&mut run, error()), Running);
    assert_eq!(take(&mut run, Measured::Result(Value::Nil)), Error, "no data is an error as well");
    let result = &run.results()["a"];
    assert_eq!((result.tally.error, result.tally.count), (3, 1), "errors are no measurements");
    assert!(run.message().contains("consecutiveErrors (2) > consecutiveErrorLimit (1)"), "{}", run.message());
    assert_eq!(take(&mut run, Measured::Result(Value::Float(1.0))), Error, "it is over");
}

/// If it fails, a long run eats the memory of its controller. (TestTrimMeasurementHistory)
#[test]
fn old_measurements_are_forgotten() {
    let mut run = Run::new(spec(
        r#"{"metrics": [{"name": "a", "interval": "10s"}, {"name": "b", "interval": "10s"}],
            "measurementRetention": [{"metricName": "b", "limit": 3}]}"#,
    ));
    for step in 0..30 {
        let good = || Measured::Phase(Successful);
        run.step(NOW + step * 11 * SECOND, &measured(&[("a", good()), ("b", good())]));
    }
    assert_eq!(run.results()["a"].measurements.len(), 10);
    assert_eq!(run.results()["b"].measurements.len(), 3);
    assert_eq!(run.results()["b"].tally.count, 30);
}
