//! Flagger's metrics and webhooks: facts of flagger's `pkg/controller/scheduler_metrics_test.go`,
//! `scheduler_metrics.go` and `webhook_test.go`.

use windtunnel_kernel::rollout::flagger::checks::Sample;
use windtunnel_kernel::rollout::flagger::hooks::{HookAnswer, answer_of, retry_wait_ns, timeout_ns};
use windtunnel_kernel::rollout::flagger::spec::Webhook;
use windtunnel_kernel::rollout::flagger::{
    Canary, CanarySpec, Observation, Options, Routes, Status, Workload,
};
use windtunnel_kernel::rollout::flagger::{Decision, Phase};

/// A tick of a canary at 10 percent with these metrics, and what they say.
fn check(metrics: &str, samples: &[(&str, Sample)]) -> Decision {
    let text = format!(
        r#"{{"targetRef": {{"kind": "Deployment", "name": "podinfo"}},
            "analysis": {{"threshold": 9, "stepWeight": 10, "metrics": [{metrics}]}}}}"#
    );
    let spec: CanarySpec = serde_json::from_str(&text).expect("a Canary's spec");
    let status = Status {
        phase: Phase::Progressing,
        last_applied_spec: "v2".to_string(),
        last_promoted_spec: "v1".to_string(),
        ..Status::default()
    };
    let canary = Canary::new("podinfo", "default", spec, Options::default());
    canary.resumed(status, Routes::split(10, false)).step(&Observation {
        template: "v2".to_string(),
        primary: Some(Workload::ready(1)),
        canary: Workload::ready(1),
        metrics: samples.iter().map(|(name, sample)| ((*name).to_string(), sample.clone())).collect(),
        ..Observation::default()
    })
}

/// If it fails, a threshold lets a bad release pass, or stops a good one.
#[test]
fn thresholds() {
    let rate = |rule: &str| format!(r#"{{"name": "request-success-rate", {rule}}}"#);
    let duration = |rule: &str| format!(r#"{{"name": "request-duration", {rule}}}"#);
    let custom = |rule: &str| format!(r#"{{"name": "custom", "templateRef": {{"name": "envoy"}}, {rule}}}"#);
    let query = |rule: &str| format!(r#"{{"name": "custom", "query": "up", {rule}}}"#);
    let number = Sample::Number;
    for (metric, sample, passes) in [
        // Both ends are good.
        (rate(r#""thresholdRange": {"min": 99, "max": 100}"#), number(99.0), true),
        (rate(r#""thresholdRange": {"min": 99, "max": 100}"#), number(100.0), true),
        (rate(r#""thresholdRange": {"min": 99}"#), number(98.999), false),
        (rate(r#""thresholdRange": {"max": 50}"#), number(50.1), false),
        // Deprecated: a minimum for the success rate, a maximum for everything else.
        (rate(r#""threshold": 99"#), number(99.0), true),
        (rate(r#""threshold": 99"#), number(98.0), false),
        (duration(r#""threshold": 500"#), number(500.9), true),
        (duration(r#""threshold": 500"#), number(501.0), false),
        (custom(r#""threshold": 5"#), number(5.1), false),
        (custom(r#""threshold": 5"#), number(4.0), true),
        (query(r#""threshold": 5"#), number(5.1), false),
        // Whole milliseconds.
        (duration(r#""thresholdRange": {"max": 500.9}"#), number(500.99), true),
        (duration(r#""thresholdRange": {"max": 500.9}"#), number(501.0), false),
        (duration(r#""thresholdRange": {"min": 10}"#), number(9.99), false),
        (custom(r#""thresholdRange": {"min": 0, "max": 100}"#), number(100.0), true),
        (query(r#""thresholdRange": {"min": 0, "max": 50}"#), number(100.0), false),
        // No numbers.
        (rate(r#""threshold": 0"#), Sample::NoValues, false),
        (rate(r#""threshold": 0"#), number(f64::NAN), false),
        (custom(r#""threshold": 5"#), number(f64::NAN), false),
        (custom(r#""threshold": 5"#), Sample::Failed("refused".to_string()), false),
        (custom(r#""threshold": 5"#), number(f64::INFINITY), false),
        (custom(r#""threshold": 5"#), number(f64::NEG_INFINITY), true),
        (duration(r#""threshold": 500"#), number(f64::INFINITY), false),
        (duration(r#""threshold": 500"#), number(f64::NEG_INFINITY), true),
    ] {
        let name = metric.split('"').nth(3).expect("a name").to_string();
        let decision = check(&metric, &[(name.as_str(), sample.clone())]);
        assert_eq!(decision.failed_checks, i32::from(!passes), "{metric} {sample:?}");
        assert_eq!(decision.routes.canary, if passes { 20 } else { 10 }, "{metric} {sample:?}");
    }
}

/// If it fails, a metric that asks nobody counts as good. (TestController_runMetricChecks: undefined metric)
#[test]
fn a_metric_without_a_source() {
    let decision = check(r#"{"name": "undefined metric", "thresholdRange": {"min": 0, "max": 100}}"#, &[]);
    assert_eq!(decision.failed_checks, 1);
    assert!(decision.events[0].message.contains("no usable metrics template and query were configured"));
    let both = r#"{"name": "m", "templateRef": {"name": "t"}, "query": "up", "threshold": 1}"#;
    assert_eq!(check(both, &[("m", Sample::Number(1.0))]).failed_checks, 0, "a template and a query");
}

/// If it fails, a webhook's yes counts as a no. (TestCallWebhook, …_StatusCode, …_Retries)
#[test]
fn what_a_webhook_answers() {
    for (status, yes, retried) in [
        (200, true, false),
        (202, true, false),
        (203, false, false),
        (302, false, false),
        (404, false, false),
        (429, false, true),
        (500, false, true),
        (501, false, false),
        (503, false, true),
    ] {
        let answer = HookAnswer::Status(status);
        assert_eq!((answer.is_yes(), answer.is_retried()), (yes, retried), "{status}");
    }
    let hook = |retries: i32| Webhook { retries, ..Webhook::default() };
    let broken = || HookAnswer::Status(500);
    let fine = || HookAnswer::Status(202);
    assert_eq!(answer_of(&hook(1), &[broken(), fine()]), Some(fine()));
    assert_eq!(answer_of(&hook(0), &[broken(), fine()]), Some(broken()));
    assert_eq!(answer_of(&hook(2), &[broken()]), None, "another try is due");
    assert_eq!(answer_of(&hook(5), &[HookAnswer::Status(404), fine()]), Some(HookAnswer::Status(404)));
    let waits: Vec<u64> = (1..8).map(|number| retry_wait_ns(number) / 1_000_000_000).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);

    let timeout = |text: &str| timeout_ns(&Webhook { timeout: text.to_string(), ..Webhook::default() });
    assert_eq!(timeout(""), Some(10_000_000_000));
    assert_eq!(timeout("5"), Some(10_000_000_000), "fewer than two characters");
    assert_eq!(timeout("30s"), Some(30_000_000_000));
    assert_eq!(timeout("30"), None);
}

/// If it fails, a webhook cannot tell two releases apart. (TestCanaryChecksum)
#[test]
fn checksums_tell_revisions_apart() {
    let of = |template: &str, configuration: Option<&str>| {
        let text = r#"{"targetRef": {"name": "podinfo"}, "analysis": {"stepWeight": 10,
            "webhooks": [{"type": "rollout", "name": "a", "url": "http://a/"}]}}"#;
        let spec: CanarySpec = serde_json::from_str(text).expect("a Canary's spec");
        let status = Status {
            phase: Phase::Progressing,
            last_applied_spec: template.to_string(),
            tracked_configs: configuration.map(str::to_string),
            ..Status::default()
        };
        let canary = Canary::new("podinfo", "default", spec, Options::default());
        let decision = canary.resumed(status, Routes::split(10, false)).step(&Observation {
            template: template.to_string(),
            configuration: configuration.map(str::to_string),
            primary: Some(Workload::ready(1)),
            canary: Workload::ready(1),
            ..Observation::default()
        });
        assert_eq!(decision.hooks[0].phase, Phase::Progressing);
        decision.hooks[0].checksum.clone()
    };
    let sums = [
        of("5f56684589", Some("484637c76acaa7c6")),
        of("5f56684589", Some("9fc3a7c76acaa7c6")),
        of("4cb74184589", Some("484637c76acaa7c6")),
        of("4cb74184589", None),
        of("4cb74184589", Some("")),
    ];
    for (index, sum) in sums.iter().enumerate() {
        assert!(!sums[..index].contains(sum), "{sums:?}");
    }
    assert_eq!(sums[0], of("5f56684589", Some("484637c76acaa7c6")));
}
