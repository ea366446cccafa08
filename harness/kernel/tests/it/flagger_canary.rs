//! Flagger's ticks: facts of flagger's `pkg/controller/scheduler_deployment_test.go`, `scheduler_svc_test.go`,
//! `scheduler_metrics_test.go` and of its source.

use windtunnel_kernel::Profile;
use windtunnel_kernel::rollout::flagger::checks::Sample;
use windtunnel_kernel::rollout::flagger::hooks::HookAnswer;
use windtunnel_kernel::rollout::flagger::spec::DeploymentStrategy;
use windtunnel_kernel::rollout::flagger::{
    Canary, CanarySpec, Decision, Effect, Observation, Options, Outcome, Phase, PromotionFailure, Readiness,
    Routes, Status, Workload,
};

/// The canary of upstream's fixture: `podinfo.default`, steps of 10 up to 50, ten failed checks.
fn spec(analysis: &str) -> CanarySpec {
    full_spec(&format!(r#""analysis": {analysis}"#))
}

fn full_spec(fields: &str) -> CanarySpec {
    let text = format!(
        r#"{{"targetRef": {{"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}},
            "service": {{"port": 9898}}, {fields}}}"#
    );
    serde_json::from_str(&text).expect("a Canary's spec")
}

const FIXTURE: &str = r#"{"threshold": 10, "stepWeight": 10, "maxWeight": 50}"#;

fn seen(template: &str) -> Observation {
    Observation {
        now_ns: 1_000_000_000,
        template: template.to_string(),
        primary: Some(Workload::ready(2)),
        canary: Workload::ready(2),
        ..Observation::default()
    }
}

fn initialized(spec: CanarySpec, options: Options) -> Canary {
    let mut canary = Canary::new("podinfo", "default", spec, options);
    assert_eq!(canary.step(&seen("v1")).phase, Phase::Initialized);
    canary
}

/// A canary that has found `v2` and scaled it up.
fn progressing(spec: CanarySpec) -> Canary {
    let mut canary = initialized(spec, Options::default());
    assert_eq!(canary.step(&seen("v2")).phase, Phase::Progressing);
    canary
}

fn stuck() -> Workload {
    let reason = Some("ProgressDeadlineExceeded".to_string());
    Workload { available: 0, progressing_reason: reason, ..Workload::ready(2) }
}

fn says(decision: &Decision, text: &str) -> bool {
    decision.events.iter().any(|event| event.message.contains(text))
}

fn answers(seen: &mut Observation, list: &[(&str, u16)]) {
    seen.hooks = list.iter().map(|&(name, status)| (name.to_string(), HookAnswer::Status(status))).collect();
}

/// If it fails, a service is taken over before there is anything that can answer for it. (TestScheduler_DeploymentInit,
/// …NewRevision)
#[test]
fn from_nothing_to_a_new_revision() {
    let mut canary = Canary::new("podinfo", "default", spec(FIXTURE), Options::default());
    let nothing = Observation { primary: None, ..seen("v1") };
    let first = canary.step(&nothing);
    assert_eq!(
        (first.phase, first.effects),
        (Phase::Initializing, vec![Effect::CreatePrimary { replicas: 2 }])
    );
    let starting =
        Observation { primary: Some(Workload { available: 0, ..Workload::ready(2) }), ..seen("v1") };
    assert_eq!(canary.step(&starting).phase, Phase::Initializing);
    let done = canary.step(&seen("v1"));
    assert_eq!(done.effects, [Effect::ScaleCanary { replicas: 0 }, Effect::Route(Routes::PRIMARY)]);
    assert!(says(&done, "Initialization done! podinfo.default"));
    assert_eq!(canary.step(&seen("v1")).explanation.rule, "nothing new");

    let mut second = seen("v2");
    second.canary = Workload { spec_replicas: Some(0), ..Workload::default() };
    let found = canary.step(&second);
    assert_eq!(found.phase, Phase::Progressing);
    assert_eq!(found.effects, [Effect::ScaleCanary { replicas: 2 }], "as many as the primary has");
    assert!(says(&found, "New revision detected! Scaling up podinfo.default"));
    assert_eq!(found.requeue_after_ns, 60_000_000_000);
}

/// If it fails, the walk is not the one that the manifest says. (TestScheduler_ServicePromotion…)
#[test]
fn the_walk_of_weights() {
    for (analysis, walk) in [
        (r#"{"stepWeight": 20, "maxWeight": 50}"#, vec![20, 40, 60]),
        (r#"{"stepWeight": 50, "maxWeight": 100}"#, vec![50, 100]),
        (r#"{"stepWeights": [1, 2, 10, 80]}"#, vec![1, 2, 10, 80]),
        (r#"{"stepWeights": [1, 2, 10, 200]}"#, vec![1, 2, 10, 100]),
        (r#"{"stepWeight": 30}"#, vec![30, 60, 90, 100]),
    ] {
        let mut canary = progressing(spec(analysis));
        let found: Vec<i32> = walk.iter().map(|_| canary.step(&seen("v2")).routes.canary).collect();
        assert_eq!(found, walk, "{analysis}");
        let promoted = canary.step(&seen("v2"));
        assert_eq!(promoted.phase, Phase::Promoting, "{analysis}");
        assert!(promoted.effects.contains(&Effect::Promote { replicas: Some(2) }));
        let back = canary.step(&seen("v2"));
        assert_eq!((back.phase, back.routes), (Phase::Finalising, Routes::PRIMARY));
        let end = canary.step(&seen("v2"));
        assert_eq!((end.phase, end.effects), (Phase::Succeeded, vec![Effect::ScaleCanary { replicas: 0 }]));
        assert_eq!(canary.step(&seen("v2")).explanation.rule, "nothing new");
    }
    let mut stalled = progressing(spec(r#"{"stepWeights": [50, 20]}"#));
    stalled.step(&seen("v2"));
    let decision = stalled.step(&seen("v2"));
    assert_eq!((decision.phase, decision.routes.canary), (Phase::Progressing, 50));
    assert!(decision.effects.is_empty(), "upstream neither goes back nor promotes: {}", decision.explanation);
}

/// If it fails, users are switched over without the steps that the manifest asks for.
/// (TestScheduler_DeploymentABTesting, …BlueGreenAnalysisPhases)
#[test]
fn ab_tests_and_blue_green() {
    let mut ab = progressing(spec(r#"{"threshold": 10, "iterations": 2, "match": [{"headers": {}}]}"#));
    let trace: Vec<(Phase, i32, i32)> = (0..5)
        .map(|_| ab.step(&seen("v2")))
        .map(|decision| (decision.phase, decision.routes.canary, decision.iterations))
        .collect();
    assert_eq!(
        trace,
        [
            (Phase::Progressing, 100, 1),
            (Phase::Progressing, 100, 2),
            (Phase::Promoting, 100, 2),
            (Phase::Finalising, 0, 0),
            (Phase::Succeeded, 0, 0),
        ]
    );
    let mut mirrored = progressing(spec(r#"{"iterations": 2, "mirror": true}"#));
    let routes: Vec<String> = (0..5).map(|_| mirrored.step(&seen("v2")).routes.to_string()).collect();
    assert_eq!(routes, ["100/0 mirrored", "100/0 mirrored", "0/100", "0/100", "100/0"]);
}

/// If it fails, a plain Kubernetes service is promoted at once. (scheduler.go: the kubernetes provider)
#[test]
fn services_cannot_split() {
    let text = r#""provider": "kubernetes", "analysis": {"stepWeight": 10, "match": [{"uri": {}}]}"#;
    let mut canary = progressing(full_spec(text));
    let first = canary.step(&seen("v2"));
    assert!(
        says(&first, "A/B testing is not supported") && says(&first, "Setting canaryAnalysis.iterations: 10")
    );
    for iteration in 2..=10 {
        assert_eq!(canary.step(&seen("v2")).iterations, iteration);
    }
    assert_eq!(canary.step(&seen("v2")).iterations, 11, "where others route everything to the canary");
    assert_eq!(canary.step(&seen("v2")).phase, Phase::Promoting);
    let decision = canary.step(&seen("v2"));
    assert_eq!((decision.phase, decision.routes), (Phase::Finalising, Routes::PRIMARY));
    assert!(!decision.effects.iter().any(|effect| matches!(effect, Effect::Route(_))));
}

/// If it fails, a bad release stays, or a rollback is triggered one failure early.
/// (TestScheduler_DeploymentRollback: the N-th failure rolls back on the tick after it)
#[test]
fn failed_checks_add_up() {
    let text = r#"{"threshold": 2, "stepWeight": 10, "metrics": [
        {"name": "request-success-rate", "thresholdRange": {"min": 99}}]}"#;
    let mut canary = progressing(spec(text));
    let with = |rate: f64| {
        let mut seen = seen("v2");
        seen.metrics.insert("request-success-rate".to_string(), Sample::Number(rate));
        seen
    };
    assert_eq!(canary.step(&with(50.0)).routes.canary, 10, "no checks without traffic");
    let failed = canary.step(&with(98.0));
    assert_eq!((failed.failed_checks, failed.routes.canary), (1, 10));
    assert!(
        says(&failed, "Halt podinfo.default advancement success rate 98.00% < 99%"),
        "{:?}",
        failed.events
    );
    let passed = canary.step(&with(99.0));
    assert_eq!((passed.failed_checks, passed.routes.canary), (1, 20), "a success takes no failure away");
    assert_eq!(canary.step(&with(98.9)).failed_checks, 2);
    let rolled_back = canary.step(&with(100.0));
    assert_eq!((rolled_back.phase, rolled_back.routes), (Phase::Failed, Routes::PRIMARY));
    assert!(says(&rolled_back, "failed checks threshold reached 2"));
    assert_eq!(canary.step(&with(100.0)).explanation.rule, "nothing new", "until there is another revision");
    assert_eq!(
        canary.step(&Observation { template: "v3".to_string(), ..with(100.0) }).phase,
        Phase::Progressing
    );
    // Back to what was promoted is no release. (spec.go: manual rollback)
    let mut failed = progressing(spec(text)).resumed(
        Status {
            phase: Phase::Failed,
            last_applied_spec: "v2".to_string(),
            last_promoted_spec: "v1".to_string(),
            ..Status::default()
        },
        Routes::PRIMARY,
    );
    assert_eq!(failed.step(&seen("v1")).phase, Phase::Failed);
}

/// If it fails, no traffic counts as good (flagger issue 1252: it is a failed check).
#[test]
fn no_values_are_a_failed_check() {
    let text = r#"{"threshold": 5, "stepWeight": 10, "metrics": [
        {"name": "request-duration", "thresholdRange": {"max": 500}}]}"#;
    let mut canary = progressing(spec(text));
    canary.step(&seen("v2"));
    let decision = canary.step(&seen("v2"));
    assert_eq!(decision.failed_checks, 1);
    assert_eq!(decision.unanswered, ["request-duration"]);
    assert!(says(&decision, "probably podinfo.default is not receiving traffic"), "{:?}", decision.events);
}

/// If it fails, users stay on a broken primary, or the only version that works is taken away.
/// (TestScheduler_DeploymentPromotionPrimaryNotReady, …PromotionFailedAfterTrafficShift; issues 1898, 1931)
#[test]
fn a_primary_that_is_stuck_in_promotion() {
    let broken = Observation { primary: Some(stuck()), ..seen("v2") };
    for (phase, routes) in [
        (Phase::Promoting, Routes { primary: 50, canary: 50, mirrored: false }),
        (Phase::Finalising, Routes::PRIMARY),
    ] {
        for version in [PromotionFailure::KeepsCanary, PromotionFailure::RollsBack] {
            let status = Status { phase, last_applied_spec: "v2".to_string(), ..Status::default() };
            let options = Options { promotion_failure: version, ..Options::default() };
            let canary = Canary::new("podinfo", "default", spec(FIXTURE), options);
            let mut canary = canary.resumed(status, routes);
            let decision = canary.step(&broken);
            let is_scaled = decision.effects.contains(&Effect::ScaleCanary { replicas: 0 });
            let weight = canary.status().canary_weight;
            let expected = match version {
                PromotionFailure::KeepsCanary => (Routes::CANARY, false, 100),
                PromotionFailure::RollsBack => (Routes::PRIMARY, true, 0),
            };
            assert_eq!((decision.routes, is_scaled, weight), expected, "{phase} {version:?}");
            assert_eq!(decision.phase, Phase::Failed);
        }
    }
    let mut early = progressing(spec(FIXTURE));
    early.step(&seen("v2"));
    let decision = early.step(&broken);
    assert_eq!((decision.phase, decision.routes), (Phase::Failed, Routes::PRIMARY), "before the promotion");
    let mut waiting = progressing(spec(FIXTURE));
    let not_yet = Workload { available: 1, ..Workload::ready(2) };
    let decision = waiting.step(&Observation { primary: Some(not_yet), ..seen("v2") });
    assert_eq!((decision.phase, decision.failed_checks), (Phase::Progressing, 0));
}

/// If it fails, an analysis goes on with numbers of another revision. (TestScheduler_DeploymentNewRevisionReset,
/// TestScheduler_DeploymentPromotion: configuration counts as well)
#[test]
fn a_new_revision_begins_again() {
    let mut canary = progressing(spec(FIXTURE));
    assert_eq!(canary.step(&seen("v2")).routes.canary, 10);
    let reset = canary.step(&seen("v3"));
    assert_eq!((reset.routes, reset.phase, reset.failed_checks), (Routes::PRIMARY, Phase::Progressing, 0));
    assert_eq!(canary.step(&seen("v3")).routes.canary, 10);
    let configured = Observation { configuration: Some("color=blue".to_string()), ..seen("v3") };
    assert_eq!(canary.step(&configured).routes, Routes::PRIMARY);
    assert_eq!(canary.step(&configured).routes.canary, 10);
}

/// If it fails, a release goes on without the yes that it waits for. (scheduler_hooks.go; flagger issues 1202, 1591)
#[test]
fn gates() {
    let hooks = |kinds: &[&str]| {
        let list: Vec<String> = kinds
            .iter()
            .map(|kind| format!(r#"{{"type": "{kind}", "name": "{kind}", "url": "http://gate/"}}"#))
            .collect();
        format!(r#"{{"threshold": 3, "stepWeight": 50, "maxWeight": 50, "webhooks": [{}]}}"#, list.join(", "))
    };
    let mut canary = initialized(spec(&hooks(&["confirm-rollout"])), Options::default());
    let mut now = seen("v2");
    let waiting = canary.step(&now);
    assert_eq!((waiting.phase, waiting.unanswered), (Phase::Waiting, vec!["confirm-rollout".to_string()]));
    assert!(waiting.effects.is_empty());
    answers(&mut now, &[("confirm-rollout", 403)]);
    assert_eq!(canary.step(&now).events, [], "the event is sent once");
    answers(&mut now, &[("confirm-rollout", 200)]);
    let approved = canary.step(&now);
    assert_eq!(approved.phase, Phase::Progressing);
    assert!(says(&approved, "Confirm-rollout check confirm-rollout passed"));

    let mut canary = progressing(spec(&hooks(&["pre-rollout", "confirm-traffic-increase", "rollout"])));
    let mut now = seen("v2");
    answers(&mut now, &[("pre-rollout", 500)]);
    assert_eq!(canary.step(&now).failed_checks, 1);
    answers(&mut now, &[("pre-rollout", 202), ("confirm-traffic-increase", 500)]);
    let held = canary.step(&now);
    assert_eq!((held.routes.canary, held.failed_checks), (0, 1), "waiting is no failure");
    answers(&mut now, &[("pre-rollout", 200), ("confirm-traffic-increase", 200)]);
    assert_eq!(canary.step(&now).routes.canary, 50);
    assert_eq!(canary.step(&now).failed_checks, 2, "a rollout webhook without an answer");

    let mut canary = progressing(spec(&hooks(&["confirm-promotion", "rollback", "post-rollout"])));
    let mut now = seen("v2");
    assert_eq!(canary.step(&now).routes.canary, 50);
    let waiting = canary.step(&now);
    assert_eq!((waiting.phase, waiting.iterations), (Phase::WaitingPromotion, -1));
    assert_eq!(canary.status().canary_weight, 0, "shown, although 50 percent are routed");
    assert_eq!(waiting.routes.canary, 50);
    let mut approved = canary.clone();
    answers(&mut now, &[("confirm-promotion", 200)]);
    assert_eq!(approved.step(&now).phase, Phase::Promoting);
    answers(&mut now, &[("rollback", 200), ("post-rollout", 500)]);
    let rolled_back = canary.step(&now);
    assert_eq!(rolled_back.phase, Phase::Failed);
    let asked: Vec<(&str, Phase)> =
        rolled_back.hooks.iter().map(|call| (call.name.as_str(), call.phase)).collect();
    assert_eq!(asked, [("rollback", Phase::WaitingPromotion), ("post-rollout", Phase::Failed)]);
}

/// If it fails, an A/B test that waits for approval is promoted without one, or never.
#[test]
fn a_test_that_waits_for_its_promotion() {
    let text = r#"{"threshold": 3, "iterations": 2, "match": [{}],
        "webhooks": [{"type": "confirm-promotion", "name": "gate", "url": "http://gate/"}]}"#;
    let mut canary = progressing(spec(text));
    let mut now = seen("v2");
    let trace: Vec<(Phase, i32)> =
        (0..5).map(|_| canary.step(&now)).map(|decision| (decision.phase, decision.iterations)).collect();
    let waiting = Phase::WaitingPromotion;
    assert_eq!(
        trace,
        [(Phase::Progressing, 1), (Phase::Progressing, 2), (waiting, 1), (waiting, 2), (waiting, 1)]
    );
    answers(&mut now, &[("gate", 200)]);
    canary.step(&now);
    assert_eq!(canary.step(&now).phase, Phase::Promoting);
}

/// If it fails, dashboards count releases that did not happen. (TestController_MetricsStateTransition)
#[test]
fn outcomes() {
    let mut canary = progressing(spec(FIXTURE));
    assert_eq!(Phase::Initialized.gauge(), 1);
    let first = canary.step(&seen("v2"));
    assert_eq!((first.phase.gauge(), first.routes.primary, first.routes.canary), (0, 90, 10));
    let ended: Vec<Outcome> = (0..10).filter_map(|_| canary.step(&seen("v2")).outcome).collect();
    let strategy = DeploymentStrategy::Canary;
    assert_eq!(ended, [Outcome { succeeded: true, skipped: false, strategy }]);

    let status = Status {
        phase: Phase::Progressing,
        failed_checks: 10,
        last_applied_spec: "v2".to_string(),
        ..Status::default()
    };
    let mut failing = progressing(spec(FIXTURE)).resumed(status, Routes::split(30, false));
    let decision = failing.step(&seen("v2"));
    assert_eq!(decision.outcome, Some(Outcome { succeeded: false, skipped: false, strategy }));
    assert_eq!((decision.phase.gauge(), decision.routes), (2, Routes::PRIMARY));

    // TestScheduler_DeploymentSkipAnalysis
    let text = format!(r#""skipAnalysis": true, "analysis": {FIXTURE}"#);
    let mut skipping = initialized(full_spec(&text), Options::default());
    skipping.step(&seen("v2"));
    let decision = skipping.step(&seen("v2"));
    assert_eq!(decision.phase, Phase::Succeeded);
    assert_eq!(decision.outcome, Some(Outcome { succeeded: true, skipped: true, strategy }));
    assert_eq!(
        decision.effects,
        [
            Effect::Route(Routes::PRIMARY),
            Effect::Promote { replicas: Some(2) },
            Effect::ScaleCanary { replicas: 0 },
        ]
    );
    let mut without = initialized(full_spec(r#""provider": "istio""#), Options::default());
    without.step(&seen("v2"));
    assert_eq!(without.step(&seen("v2")).phase, Phase::Succeeded, "no analysis is skipped as well");
}

/// If it fails, a canary that somebody has suspended goes on.
#[test]
fn suspended() {
    let text = format!(r#""suspend": true, "analysis": {FIXTURE}"#);
    let mut canary = Canary::new("podinfo", "default", full_spec(&text), Options::default());
    let decision = canary.step(&seen("v1"));
    assert_eq!((decision.phase, decision.effects), (Phase::Initializing, vec![]));
}

/// If it fails, a profile reproduces the wrong bugs.
#[test]
fn likely_bugs_of_upstream() {
    let with = |profile: Profile| Options::of(profile);
    let zero = Observation { primary: Some(Workload::ready(0)), ..seen("v2") };
    for (profile, expected) in [(Profile::Windtunnel, Phase::Failed), (Profile::Upstream, Phase::Progressing)]
    {
        let mut canary = initialized(spec(FIXTURE), with(profile));
        canary.step(&seen("v2"));
        assert_eq!(canary.step(&zero).phase, expected, "the primary was scaled to zero, {profile}");
    }
    let restarting =
        Observation { primary: Some(Workload { available: 0, ..Workload::ready(2) }), ..seen("v3") };
    for (profile, expected) in [(Profile::Windtunnel, Phase::Progressing), (Profile::Upstream, Phase::Failed)]
    {
        let failed = Status {
            phase: Phase::Failed,
            last_applied_spec: "v2".to_string(),
            last_promoted_spec: "v1".to_string(),
            ..Status::default()
        };
        let mut canary = initialized(spec(FIXTURE), with(profile)).resumed(failed, Routes::PRIMARY);
        canary.step(&restarting);
        assert_eq!(canary.step(&seen("v3")).phase, expected, "a revision that came at a bad time, {profile}");
    }
    for (profile, expected) in
        [(Profile::Windtunnel, Phase::Finalising), (Profile::Upstream, Phase::Promoting)]
    {
        let status =
            Status { phase: Phase::Promoting, last_applied_spec: "v2".to_string(), ..Status::default() };
        let text = r#"{"stepWeight": 50, "stepWeightPromotion": 50}"#;
        let mut canary = initialized(spec(text), with(profile)).resumed(status, Routes::PRIMARY);
        assert_eq!(canary.step(&seen("v2")).phase, expected, "nothing to shift back, {profile}");
    }
}

/// If it fails, a release is rolled back while its pods still start, or waits for pods that never will.
/// (pkg/canary/deployment_ready_test.go, daemonset_ready_test.go)
#[test]
fn readiness() {
    use windtunnel_kernel::rollout::flagger::workload::{daemon_set_readiness, deployment_readiness};
    const NOW: u64 = 1_000_000_000_000;
    let of = |replicas: i32, updated: i32, available: i32| Workload {
        replicas,
        updated,
        available,
        ..Workload::default()
    };
    let ready = |workload: &Workload, deadline_s: i32, threshold: i32| {
        deployment_readiness(workload, deadline_s, threshold, NOW)
    };
    for threshold in [50, 100] {
        let unobserved = Workload { observed_generation: -1, ..Workload::default() };
        assert!(
            matches!(ready(&unobserved, 0, threshold), Readiness::Waiting(why) if why.contains("generation"))
        );
        assert_eq!(ready(&of(1, 1, 1), 0, threshold), Readiness::Ready);
    }
    let old = Workload { spec_replicas: Some(2), ..of(0, 1, 0) };
    assert!(matches!(ready(&old, 0, 100), Readiness::Waiting(why) if why.contains("new replicas")));
    assert!(matches!(ready(&of(2, 1, 0), 0, 100), Readiness::Waiting(why) if why.contains("termination")));
    assert!(matches!(ready(&of(0, 2, 1), 0, 100), Readiness::Waiting(why) if why.contains("available")));
    assert_eq!(ready(&of(0, 4, 2), 0, 50), Readiness::Ready);
    assert!(matches!(ready(&of(0, 4, 1), 0, 50), Readiness::Waiting(why) if why.contains("available")));
    let exceeded = Workload { progressing_reason: stuck().progressing_reason, ..Workload::default() };
    assert!(matches!(ready(&exceeded, 0, 100), Readiness::Stuck(why) if why.contains("exceeded")));
    let since = |seconds: u64, reason: Option<&str>| Workload {
        progressing_reason: reason.map(str::to_string),
        unavailable_since_ns: Some(NOW - seconds * 1_000_000_000),
        ..of(0, 2, 1)
    };
    assert!(!ready(&since(10, Some("")), 5, 100).is_retriable());
    assert!(ready(&since(5, Some("")), 5, 100).is_retriable(), "strictly after the deadline");
    assert!(ready(&since(10, None), 5, 100).is_retriable(), "without the condition there is no deadline");

    let nodes = |wanted: i32, updated: i32, available: i32| Workload {
        spec_replicas: Some(wanted),
        updated,
        available,
        ..Workload::default()
    };
    let daemon = |workload: &Workload, deadline_s: i32, threshold: i32| {
        daemon_set_readiness(workload, deadline_s, threshold, NOW, NOW)
    };
    let unobserved = Workload { observed_generation: -1, ..Workload::default() };
    assert!(matches!(daemon(&unobserved, 600, 100), Readiness::Waiting(_)));
    assert_eq!(daemon(&nodes(1, 1, 1), 600, 100), Readiness::Ready);
    assert!(matches!(daemon(&nodes(1, 0, 0), -1_000_000, 100), Readiness::Stuck(_)));
    assert!(
        matches!(daemon(&nodes(1, 0, 1), 1_000_000, 100), Readiness::Waiting(why) if why.contains("new pods"))
    );
    assert!(
        matches!(daemon(&nodes(1, 1, 0), 1_000_000, 100), Readiness::Waiting(why) if why.contains("available"))
    );
    assert_eq!(daemon(&nodes(4, 4, 2), 600, 50), Readiness::Ready);
    assert!(!daemon(&nodes(4, 4, 1), 1_000_000, 50).is_ready());
}

/// If it fails, an analysis ticks at another pace than its manifest says. (v1beta1, GetAnalysisInterval)
#[test]
fn the_pace() {
    for (interval, expected_s) in
        [("", 60), ("1m", 60), ("30s", 30), ("5s", 10), ("-1m", 10), ("soon", 60), ("1h30m", 5400)]
    {
        let text = format!(r#"{{"interval": "{interval}", "stepWeight": 10}}"#);
        assert_eq!(spec(&text).interval_ns(), expected_s * 1_000_000_000, "{interval:?}");
    }
    assert_eq!(full_spec(r#""provider": "istio""#).interval_ns(), 60_000_000_000);
    let old = full_spec(r#""canaryAnalysis": {"interval": "20s"}"#);
    assert_eq!((old.interval_ns(), old.skips_analysis()), (20_000_000_000, false));
    assert_eq!(
        (old.progress_deadline_s(), spec("{}").analysis.map(|it| it.failed_checks_allowed())),
        (600, Some(1))
    );
}
