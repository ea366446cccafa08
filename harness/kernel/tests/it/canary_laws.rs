//! Laws of progressive delivery that hold for any manifest, any workload and any metric.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windtunnel_kernel::Profile;
use windtunnel_kernel::rollout::argo::analysis::condition::evaluate;
use windtunnel_kernel::rollout::argo::analysis::{AnalysisSpec, Measured, Run};
use windtunnel_kernel::rollout::argo::decision::RunReport;
use windtunnel_kernel::rollout::argo::replicas::{Versions, size};
use windtunnel_kernel::rollout::argo::spec::{
    Canary as ArgoCanary, Step, Strategy as ArgoStrategy, TrafficRouting,
};
use windtunnel_kernel::rollout::argo::{
    AnalysisPhase, Effect as ArgoEffect, Observation as ArgoObservation, ReplicaSet, Rollout, RolloutSpec,
    Status as ArgoStatus,
};
use windtunnel_kernel::rollout::flagger::checks::Sample;
use windtunnel_kernel::rollout::flagger::hooks::HookAnswer;
use windtunnel_kernel::rollout::flagger::spec::{Analysis, HookType, Metric, Reference, Webhook};
use windtunnel_kernel::rollout::flagger::{
    Canary, CanarySpec, Decision, Observation, Options, Phase, Workload,
};
use windtunnel_kernel::rollout::value::{IntOrText, Value};

const SECOND: u64 = 1_000_000_000;

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..200.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN, -0.0]),
    ]
}

fn any_weight() -> impl Strategy<Value = i32> {
    prop_oneof![6 => 0..=100_i32, 1 => prop::sample::select(vec![-1, 150, i32::MAX, i32::MIN])]
}

fn any_workload() -> impl Strategy<Value = Workload> {
    prop_oneof![
        8 => (0..4_i32).prop_map(Workload::ready),
        1 => (0..4_i32, 0..4_i32, 0..4_i32).prop_map(|(replicas, updated, available)| Workload {
            replicas, updated, available, ..Workload::ready(2)
        }),
        1 => Just(Workload {
            available: 0,
            progressing_reason: Some("ProgressDeadlineExceeded".to_string()),
            ..Workload::ready(2)
        }),
        1 => (any::<i32>(), any::<i32>(), any::<i32>(), any::<i32>(), any::<u64>()).prop_map(
            |(wanted, replicas, updated, available, since_ns)| Workload {
                spec_replicas: Some(wanted),
                replicas,
                updated,
                available,
                progressing_reason: Some(String::new()),
                unavailable_since_ns: Some(since_ns),
                ..Workload::default()
            },
        ),
    ]
}

prop_compose! {
    fn any_analysis()(
        weights in (any_weight(), any_weight(), any_weight()),
        step_weights in prop::collection::vec(any_weight(), 0..4),
        iterations in prop_oneof![3 => Just(0), 2 => 1..4_i32, 1 => prop::sample::select(vec![-1, i32::MAX])],
        is_test in any::<bool>(),
        mirror in any::<bool>(),
        threshold in 0..4_i32,
        hooks in prop::collection::vec(prop::sample::select(vec![
            HookType::Rollout, HookType::PreRollout, HookType::PostRollout, HookType::ConfirmRollout,
            HookType::ConfirmPromotion, HookType::ConfirmTrafficIncrease, HookType::Rollback,
        ]), 0..3),
        threshold_value in any_number(),
    ) -> Analysis {
        Analysis {
            step_weight: weights.0,
            max_weight: weights.1,
            step_weight_promotion: weights.2,
            step_weights,
            iterations,
            mirror,
            threshold,
            matches: if is_test { vec![Value::Nil] } else { Vec::new() },
            metrics: vec![
                Metric { name: "request-success-rate".to_string(), threshold: threshold_value, ..Metric::default() },
                Metric { name: "request-duration".to_string(), threshold: threshold_value, ..Metric::default() },
            ],
            webhooks: hooks
                .into_iter()
                .map(|hook_type| Webhook { hook_type, name: format!("{hook_type:?}"), ..Webhook::default() })
                .collect(),
            ..Analysis::default()
        }
    }
}

/// What a tick of a Flagger canary sees.
#[derive(Clone, Debug)]
struct Tick {
    after_s: u64,
    template: u8,
    primary: Workload,
    canary: Workload,
    rate: f64,
    duration: f64,
    hook: u16,
}

fn any_tick() -> impl Strategy<Value = Tick> {
    let template = prop_oneof![12 => Just(2_u8), 1 => 1..4_u8];
    let hook = prop_oneof![3 => Just(200_u16), 1 => Just(500_u16)];
    (0..120_u64, template, any_workload(), any_workload(), any_number(), any_number(), hook).prop_map(
        |(after_s, template, primary, canary, rate, duration, hook)| Tick {
            after_s,
            template,
            primary,
            canary,
            rate,
            duration,
            hook,
        },
    )
}

fn flagger(analysis: Analysis, provider: &str, profile: Profile) -> Canary {
    let spec = CanarySpec {
        provider: provider.to_string(),
        target_ref: Reference {
            kind: "Deployment".to_string(),
            name: "podinfo".to_string(),
            ..Reference::default()
        },
        analysis: Some(analysis),
        ..CanarySpec::default()
    };
    Canary::new("podinfo", "default", spec, Options::of(profile))
}

fn play(
    mut canary: Canary,
    ticks: &[Tick],
    store: bool,
    mut check: impl FnMut(&Canary, &Canary, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let hooks: Vec<String> = canary
        .spec()
        .analysis()
        .map_or(Vec::new(), |it| it.webhooks.iter().map(|hook| hook.name.clone()).collect());
    let mut now_ns = 1_000_000 * SECOND;
    for tick in ticks {
        now_ns += tick.after_s * SECOND;
        let seen = Observation {
            now_ns,
            template: format!("v{}", tick.template),
            primary: Some(tick.primary.clone()),
            canary: tick.canary.clone(),
            hooks: hooks.iter().map(|name| (name.clone(), HookAnswer::Status(tick.hook))).collect(),
            metrics: BTreeMap::from([
                ("request-success-rate".to_string(), Sample::Number(tick.rate)),
                ("request-duration".to_string(), Sample::Number(tick.duration)),
            ]),
            ..Observation::default()
        };
        let before = canary.clone();
        let decision = canary.step(&seen);
        check(&before, &canary, &decision)?;
        if store {
            let text = serde_json::to_string(&canary).expect("a canary is JSON");
            canary = serde_json::from_str(&text).expect("the same canary");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// If it fails, requests go nowhere, or a failed check is forgotten within an analysis.
    #[test]
    fn weights_add_up_and_failures_do_not_go_away(
        analysis in any_analysis(),
        provider in prop::sample::select(vec!["", "istio", "kubernetes"]),
        profile in prop::sample::select(vec![Profile::Windtunnel, Profile::Upstream]),
        ticks in prop::collection::vec(any_tick(), 1..60),
    ) {
        play(flagger(analysis, provider, profile), &ticks, false, |before, after, decision| {
            let routes = decision.routes;
            prop_assert!((0..=100).contains(&routes.primary) && (0..=100).contains(&routes.canary));
            prop_assert_eq!(routes.primary + routes.canary, 100);
            prop_assert!((0..=100).contains(&after.status().canary_weight));
            let (then, now) = (before.status(), after.status());
            let analysed = |phase: Phase| matches!(phase, Phase::Progressing | Phase::WaitingPromotion);
            let is_same = then.last_applied_spec == now.last_applied_spec
                && analysed(then.phase) && analysed(now.phase);
            if is_same {
                prop_assert!(now.failed_checks >= then.failed_checks);
                prop_assert!(now.failed_checks <= then.failed_checks + 1);
            }
            if now.phase == Phase::Succeeded || now.phase == Phase::Initialized {
                prop_assert_eq!(routes.primary, 100, "what was promoted is the primary");
            }
            prop_assert!(decision.requeue_after_ns >= 10 * SECOND);
            prop_assert!(!decision.explanation.to_string().contains("NaN"));
            Ok(())
        })?;
    }

    /// If it fails, a control plane that restarts in the middle of a release decides differently.
    #[test]
    fn a_stored_canary_goes_on_the_same(
        // Thresholds are the manifest's: JSON has finite ones only.
        analysis in any_analysis().prop_map(|mut analysis| {
            for metric in &mut analysis.metrics {
                metric.threshold = if metric.threshold.is_finite() { metric.threshold } else { 99.0 };
            }
            analysis
        }),
        ticks in prop::collection::vec(any_tick(), 1..40),
    ) {
        let mut decisions = [Vec::new(), Vec::new()];
        for (store, list) in [false, true].into_iter().zip(&mut decisions) {
            play(flagger(analysis.clone(), "istio", Profile::Upstream), &ticks, store, |_, _, decision| {
                list.push(decision.clone());
                Ok(())
            })?;
        }
        prop_assert_eq!(&decisions[0], &decisions[1]);
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let analysis = r#"{"analysis": {"templates": [{"templateName": "t"}]}}"#;
    let other = prop::sample::select(vec![
        r#"{"pause": {}}"#,
        r#"{"pause": {"duration": 20}}"#,
        r#"{"pause": {"duration": "1m"}}"#,
        r#"{"setCanaryScale": {"replicas": 2}}"#,
        r#"{"setCanaryScale": {"weight": 50}}"#,
        r#"{"setCanaryScale": {"matchTrafficWeight": true}}"#,
        r#"{"setHeaderRoute": {"name": "h", "match": [{"headerName": "x"}]}}"#,
        r#"{"experiment": {"templates": [{"name": "a", "weight": 30}]}}"#,
        r#"{"plugin": {"name": "p"}}"#,
        "{}",
        analysis,
    ]);
    prop_oneof![
        any_weight().prop_map(|weight| Step { set_weight: Some(weight), ..Step::default() }),
        other.prop_map(|text| serde_json::from_str(text).expect("a step")),
    ]
}

fn any_amount() -> impl Strategy<Value = Option<IntOrText>> {
    prop::option::of(prop_oneof![
        (0..4_i32).prop_map(IntOrText::Int),
        prop::sample::select(vec!["25%", "0%", "100%", "25", "x"]).prop_map(IntOrText::from),
    ])
}

prop_compose! {
    fn any_canary()(
        steps in prop::collection::vec(any_step(), 0..5),
        routed in any::<bool>(),
        dynamic in any::<bool>(),
        max_weight in prop::option::of(prop::sample::select(vec![1, 100, 1000, i32::MAX])),
        max_surge in any_amount(),
        max_unavailable in any_amount(),
        delays in (prop::option::of(0..60_i32), prop::option::of(0..60_i32)),
        least in prop::option::of(0..4_i32),
        analysis in any::<bool>(),
    ) -> ArgoCanary {
        ArgoCanary {
            steps,
            traffic_routing: routed
                .then(|| TrafficRouting { max_traffic_weight: max_weight, ..TrafficRouting::default() }),
            dynamic_stable_scale: dynamic && routed,
            max_surge,
            max_unavailable,
            abort_scale_down_delay_seconds: delays.0,
            scale_down_delay_seconds: delays.1,
            min_pods_per_replica_set: least,
            analysis: analysis
                .then(|| serde_json::from_str(r#"{"templates": [{"templateName": "t"}]}"#).expect("an analysis")),
            ..ArgoCanary::default()
        }
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Step { after_s: u64, lag: i32, verified: Option<bool> },
    Release,
    Back,
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Scale(i32),
    Analysis(AnalysisPhase),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let verified = prop_oneof![4 => Just(None), 2 => Just(Some(true)), 1 => Just(Some(false))];
    prop_oneof![
        24 => (0..40_u64, 0..2_i32, verified)
            .prop_map(|(after_s, lag, verified)| Happening::Step { after_s, lag, verified }),
        2 => Just(Happening::Release),
        1 => Just(Happening::Back),
        1 => Just(Happening::Abort),
        1 => Just(Happening::Retry),
        2 => Just(Happening::Promote),
        1 => Just(Happening::PromoteFull),
        1 => (0..9_i32).prop_map(Happening::Scale),
        2 => prop::sample::select(vec![
            AnalysisPhase::Running, AnalysisPhase::Successful, AnalysisPhase::Successful,
            AnalysisPhase::Failed, AnalysisPhase::Inconclusive,
        ]).prop_map(Happening::Analysis),
    ]
}

/// A small cluster that does what a rollout says, its pods a little late.
fn release(
    spec: RolloutSpec,
    happenings: &[Happening],
    store: bool,
    mut check: impl FnMut(
        &Rollout,
        &ArgoObservation,
        &windtunnel_kernel::rollout::argo::Decision,
    ) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut rollout = Rollout::new(spec);
    let mut version = 1;
    let mut phase = AnalysisPhase::Running;
    let mut now = ArgoObservation {
        now_ns: 1_000_000 * SECOND,
        template_hash: "v1".to_string(),
        plugin_completed: true,
        ..ArgoObservation::default()
    };
    for happening in happenings {
        match happening {
            Happening::Release => {
                version += 1;
                now.template_hash = format!("v{version}");
            }
            Happening::Back => now.template_hash = rollout.status().stable_hash.clone(),
            Happening::Abort => rollout.abort(),
            Happening::Retry => rollout.retry(),
            Happening::Promote => rollout.promote(),
            Happening::PromoteFull => rollout.promote_full(),
            Happening::Scale(replicas) => rollout.scale(*replicas),
            Happening::Analysis(next) => phase = *next,
            Happening::Step { after_s, lag, verified } => {
                if now.template_hash.is_empty() {
                    now.template_hash = format!("v{version}");
                }
                now.now_ns += after_s * SECOND;
                now.weight_verified = *verified;
                now.runs = (1..=rollout.status().run_count)
                    .map(|id| RunReport { id, phase, message: String::new() })
                    .collect();
                for _ in 0..12 {
                    let decision = rollout.step(&now);
                    check(&rollout, &now, &decision)?;
                    apply(&mut now, &decision.effects, *lag);
                    if decision.requeue_after_ns != Some(0) {
                        break;
                    }
                }
            }
        }
        if store {
            let text = serde_json::to_string(&rollout).expect("a rollout is JSON");
            rollout = serde_json::from_str(&text).expect("the same rollout");
        }
    }
    Ok(())
}

fn apply(now: &mut ArgoObservation, effects: &[ArgoEffect], lag: i32) {
    for version in &mut now.replica_sets {
        (version.replicas, version.ready) = (version.spec_replicas, version.spec_replicas);
        version.available = version.spec_replicas;
    }
    for effect in effects {
        match effect {
            ArgoEffect::CreateReplicaSet { hash } => {
                let revision = now.replica_sets.len() as i64 + 1;
                let created_ns = now.now_ns + u64::try_from(revision).unwrap_or(0);
                now.replica_sets.push(ReplicaSet { created_ns, revision, ..ReplicaSet::new(hash, 0, 0) });
            }
            ArgoEffect::Scale { hash, to, .. } => {
                for version in now.replica_sets.iter_mut().filter(|version| version.hash == *hash) {
                    version.spec_replicas = *to;
                    version.available = version.available.min(*to);
                    if lag == 0 {
                        (version.replicas, version.ready, version.available) = (*to, *to, *to);
                    }
                }
            }
            _ => {}
        }
    }
}

fn rollout_spec(replicas: i32, canary: ArgoCanary) -> RolloutSpec {
    RolloutSpec {
        replicas: Some(replicas),
        strategy: ArgoStrategy { canary: Some(canary), ..ArgoStrategy::default() },
        ..RolloutSpec::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// If it fails, requests go nowhere in the middle of a release.
    #[test]
    fn weights_of_a_rollout_add_up(
        replicas in 0..7_i32,
        canary in any_canary(),
        happenings in prop::collection::vec(any_happening(), 1..60),
    ) {
        let spec = rollout_spec(replicas, canary);
        let max_weight = spec.max_weight();
        release(spec, &happenings, false, |rollout, _, decision| {
            if let Some(weights) = &decision.weights {
                let mut all = vec![weights.canary.weight, weights.stable.weight];
                all.extend(weights.additional.iter().map(|destination| destination.weight));
                prop_assert!(all.iter().all(|weight| (0..=max_weight).contains(weight)), "{all:?}");
                prop_assert_eq!(all.iter().map(|&weight| i64::from(weight)).sum::<i64>(), i64::from(max_weight));
            }
            for effect in &decision.effects {
                if let ArgoEffect::Scale { from, to, .. } = effect {
                    prop_assert!(*to >= 0 && from != to);
                }
            }
            let steps = i32::try_from(rollout.spec().steps().len()).unwrap_or(0);
            prop_assert!(decision.step.is_none_or(|step| (0..=steps).contains(&step)));
            Ok(())
        })?;
    }

    /// If it fails, a release takes more pods than the cluster has, or users meet fewer than they need.
    #[test]
    fn a_basic_canary_keeps_its_bounds(
        replicas in 0..12_i32,
        weight in 0..=100_i32,
        surge in any_amount(),
        unavailable in any_amount(),
        stable in (0..14_i32, 0..14_i32),
        canary in (0..14_i32, 0..14_i32),
        promote_full in any::<bool>(),
    ) {
        let step = Step { set_weight: Some(weight), ..Step::default() };
        let spec = rollout_spec(replicas, ArgoCanary {
            steps: vec![step],
            max_surge: surge,
            max_unavailable: unavailable,
            ..ArgoCanary::default()
        });
        let status = ArgoStatus {
            stable_hash: "stable".to_string(),
            current_pod_hash: "canary".to_string(),
            current_step_index: Some(0),
            promote_full,
            ..ArgoStatus::default()
        };
        let old = ReplicaSet::new("stable", stable.0, stable.1.min(stable.0));
        let new = ReplicaSet::new("canary", canary.0, canary.1.min(canary.0));
        let versions = Versions { canary: Some(&new), stable: Some(&old), others: &[] };
        let counts = size(&spec, &status, &versions, None).counts;
        let (max_surge, max_unavailable) = spec.fence_posts();
        let (before, after) = (stable.0 + canary.0, counts.canary + counts.stable);
        prop_assert!(counts.canary >= 0 && counts.stable >= 0);
        prop_assert!(after <= (replicas + max_surge).max(before), "{counts:?} of {before}");
        let serving = |counts: (i32, i32)| old.available.min(counts.0) + new.available.min(counts.1);
        let (then, now) = (serving((stable.0, canary.0)), serving((counts.stable, counts.canary)));
        // Pods that serve are taken away only while enough are left; what never served may go.
        let taken = then - now;
        prop_assert!(taken <= 0 || now >= (replicas - max_unavailable).min(then) || before > replicas + max_surge,
            "{now} of {then} serve, at least {}", replicas - max_unavailable);
    }

    /// If it fails, a control plane that restarts in the middle of a release decides differently.
    #[test]
    fn a_stored_rollout_goes_on_the_same(
        canary in any_canary(),
        happenings in prop::collection::vec(any_happening(), 1..40),
    ) {
        let mut decisions = [Vec::new(), Vec::new()];
        for (store, list) in [false, true].into_iter().zip(&mut decisions) {
            release(rollout_spec(4, canary.clone()), &happenings, store, |_, _, decision| {
                list.push(decision.clone());
                Ok(())
            })?;
        }
        prop_assert_eq!(&decisions[0], &decisions[1]);
    }

    /// If it fails, a metric that is not a number stops an analysis, or the whole control plane.
    #[test]
    fn analyses_end_or_go_on_for_any_number(
        numbers in prop::collection::vec((any_number(), 0..90_u64, 0..5_u8), 1..40),
        failure_limit in -1..3_i32,
        success_limit in 0..3_i32,
        count in 0..6_i32,
    ) {
        let text = format!(
            r#"{{"metrics": [{{"name": "a", "interval": "30s", "failureLimit": {failure_limit},
                "consecutiveSuccessLimit": {success_limit}, "count": {count},
                "successCondition": "result[0] >= 0.95", "failureCondition": "result[0] < 0.5"}}]}}"#
        );
        let spec: AnalysisSpec = serde_json::from_str(&text).expect("a spec");
        let (mut run, mut restored) = (Run::new(spec.clone()), Run::new(spec));
        let mut now_ns = 1_000_000 * SECOND;
        let mut ended = None;
        for (number, after_s, kind) in numbers {
            now_ns += after_s * SECOND;
            let measured = match kind {
                0 => Measured::Error("unreachable".to_string()),
                1 => Measured::UnderWay { resume_at_ns: Some(now_ns + 5 * SECOND) },
                2 => Measured::Result(Value::numbers(&[])),
                _ => Measured::Result(Value::numbers(&[number])),
            };
            let measured = BTreeMap::from([("a".to_string(), measured)]);
            let decision = run.step(now_ns, &measured);
            let stored = serde_json::to_string(&restored).expect("a run is JSON");
            restored = serde_json::from_str(&stored).expect("the same run");
            prop_assert_eq!(&decision, &restored.step(now_ns, &measured));
            prop_assert!(ended.is_none_or(|phase| phase == decision.phase), "an end is an end");
            ended = decision.phase.is_completed().then_some(decision.phase);
            if ended.is_none() {
                prop_assert!(decision.requeue_after_ns.is_some() || !decision.due.is_empty());
            }
        }
    }

    /// If it fails, a condition in a manifest can stop the control plane.
    #[test]
    fn any_condition_has_an_answer_or_an_error(
        text in prop_oneof![
            "\\PC{0,60}",
            prop::collection::vec(prop::sample::select(vec![
                "result", "[", "]", "(", ")", "0", "1.5", "-1", "==", ">=", "and", "or", "not", "in", "len",
                "all", "{", "}", "#", ",", ".x", "'a'", "+", "-", "*", "/", "%", "**", "?", ":", "??", "nil",
                "default", "isNaN", "sum",
            ]), 0..24).prop_map(|words| words.join(" ")),
        ],
        numbers in prop::collection::vec(any_number(), 0..4),
    ) {
        let _answer = evaluate(&text, &Value::numbers(&numbers));
    }
}
