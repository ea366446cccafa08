//! Laws of the HorizontalPodAutoscaler that hold for any metrics.

use proptest::prelude::*;
use windtunnel_kernel::Profile;
use windtunnel_kernel::autoscale::hpa::spec::{
    Behavior, MetricIdentifier, MetricSpec, ObjectReference, PolicyKind, ScalingPolicy, ScalingRules,
    SelectPolicy,
};
use windtunnel_kernel::autoscale::hpa::{
    Autoscaler, Decision, HpaSpec, Observation, Options, Phase, Pod, Quantity, Readiness, Reading,
    ReadyStatus, Sample, Scale, Selector, Target, Version,
};

use crate::hpa_upstream::{NOW, SECOND};

fn any_milli() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..100_000_i64,
        1 => Just(0),
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MAX, i64::MIN, -1, 1]),
    ]
}

fn any_instant() -> impl Strategy<Value = u64> {
    prop_oneof![6 => (0..900_u64).prop_map(|ago| NOW - ago * SECOND), 1 => any::<u64>()]
}

prop_compose! {
    fn any_pod()(
        phase in prop::sample::select(vec![Phase::Running, Phase::Running, Phase::Running, Phase::Pending, Phase::Failed]),
        deleting in prop::bool::weighted(0.1),
        status in prop::sample::select(vec![ReadyStatus::True, ReadyStatus::True, ReadyStatus::False, ReadyStatus::Unknown]),
        since_ns in any_instant(),
        started_ns in prop::option::weighted(0.9, any_instant()),
        has_condition in prop::bool::weighted(0.9),
    ) -> Pod {
        Pod { phase, deleting, ready: has_condition.then_some(Readiness { status, since_ns }), started_ns }
    }
}

fn any_reading(pods: usize) -> impl Strategy<Value = Reading> {
    let sample = (any_milli(), any_instant()).prop_map(|(value_milli, at_ns)| Sample {
        value_milli,
        at_ns,
        window_ns: 30 * SECOND,
    });
    prop_oneof![
        1 => Just(Reading::Failed { message: "timed out".to_string() }),
        4 => (
            prop::collection::vec(prop::option::weighted(0.8, sample), 0..=pods + 1),
            prop::collection::vec(prop::option::weighted(0.95, any_milli()), 0..=pods + 1),
            prop::collection::vec(any_milli(), 0..2),
        )
            .prop_map(|(samples, requests_milli, others_milli)| Reading::Pods {
                samples,
                requests_milli,
                others_milli,
            }),
        4 => prop::collection::vec(any_milli(), 0..3).prop_map(|values_milli| Reading::Values { values_milli }),
    ]
}

/// What is seen at one sync, `after_s` after the one before.
#[derive(Clone, Debug)]
struct Sight {
    after_s: u64,
    /// Somebody else sets the replicas.
    outside: Option<i32>,
    status_replicas: i32,
    selector: Selector,
    pods: Vec<Pod>,
    readings: Vec<Reading>,
}

fn any_sight(metrics: usize) -> impl Strategy<Value = Sight> {
    let outside =
        prop_oneof![8 => Just(None), 1 => (0..30_i32).prop_map(Some), 1 => any::<i32>().prop_map(Some)];
    let status = prop_oneof![6 => 0..20_i32, 1 => any::<i32>()];
    let selector =
        prop::sample::select(vec![Selector::Valid, Selector::Valid, Selector::Valid, Selector::Ambiguous]);
    (0..8_usize).prop_flat_map(move |count| {
        (
            prop_oneof![6 => 0..60_u64, 1 => 0..4000_u64],
            outside.clone(),
            status.clone(),
            selector.clone(),
            prop::collection::vec(any_pod(), count),
            prop::collection::vec(any_reading(count), metrics),
        )
            .prop_map(|(after_s, outside, status_replicas, selector, pods, readings)| Sight {
                after_s,
                outside,
                status_replicas,
                selector,
                pods,
                readings,
            })
    })
}

fn any_metric() -> impl Strategy<Value = MetricSpec> {
    let metric = || MetricIdentifier { name: "queue".to_string(), selector: None };
    let amount = prop_oneof![1..100_000_i64, Just(1), Just(i64::MAX)].prop_map(Quantity::from_milli);
    let percent = prop_oneof![1..200_i32, Just(i32::MAX)];
    let name = prop::sample::select(vec!["cpu".to_string(), "memory".to_string()]);
    prop_oneof![
        (name.clone(), percent)
            .prop_map(|(name, percent)| MetricSpec::Resource { name, target: Target::Utilization(percent) }),
        (name, amount.clone()).prop_map(|(name, value)| MetricSpec::ContainerResource {
            name,
            container: "app".to_string(),
            target: Target::AverageValue(value)
        }),
        amount.clone().prop_map(move |value| MetricSpec::Pods {
            metric: metric(),
            target: Target::AverageValue(value)
        }),
        amount.clone().prop_map(move |value| MetricSpec::Object {
            described_object: ObjectReference::default(),
            metric: metric(),
            target: Target::Value(value),
        }),
        (amount, any::<bool>()).prop_map(move |(value, is_total)| MetricSpec::External {
            metric: metric(),
            target: if is_total { Target::Value(value) } else { Target::AverageValue(value) },
        }),
    ]
}

fn any_rules() -> impl Strategy<Value = ScalingRules> {
    let policy = (any::<bool>(), prop_oneof![1..50_i32, Just(i32::MAX)], 1..=1800_i32).prop_map(
        |(is_pods, value, period_seconds)| ScalingPolicy {
            kind: if is_pods { PolicyKind::Pods } else { PolicyKind::Percent },
            value,
            period_seconds,
        },
    );
    let select = prop::sample::select(vec![SelectPolicy::Max, SelectPolicy::Min, SelectPolicy::Disabled]);
    (
        prop::option::of(0..600_i32),
        prop::option::of(select),
        prop::option::of(prop::collection::vec(policy, 1..3)),
        prop::option::of((0..2000_i64).prop_map(Quantity::from_milli)),
    )
        .prop_map(|(stabilization_window_seconds, select_policy, policies, tolerance)| ScalingRules {
            stabilization_window_seconds,
            select_policy,
            policies,
            tolerance,
        })
}

prop_compose! {
    fn any_spec()(
        min_replicas in prop::option::of(0..5_i32),
        more in prop_oneof![0..20_i32, Just(i32::MAX - 10)],
        metrics in prop::collection::vec(any_metric(), 1..4),
        behavior in prop::option::of((prop::option::of(any_rules()), prop::option::of(any_rules()))),
    ) -> HpaSpec {
        HpaSpec {
            scale_target_ref: ObjectReference::default(),
            min_replicas,
            max_replicas: (min_replicas.unwrap_or(1) + more).max(1),
            metrics,
            behavior: behavior.map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }),
            selection_strategy: None,
        }
    }
}

fn any_options() -> impl Strategy<Value = Options> {
    let version = prop::sample::select(Version::ALL.to_vec());
    let profile = prop::sample::select(vec![Profile::Windtunnel, Profile::Upstream]);
    (version, profile).prop_map(|(version, profile)| Options { version, ..Options::of(profile) })
}

prop_compose! {
    fn any_flight()(spec in any_spec(), options in any_options())(
        sights in prop::collection::vec(any_sight(spec.metrics.len()), 1..25),
        spec in Just(spec),
        options in Just(options),
    ) -> (HpaSpec, Options, Vec<Sight>) {
        (spec, options, sights)
    }
}

/// Plays a flight; hands every decision to `check`, with the replicas before it.
fn play(
    spec: &HpaSpec,
    options: &Options,
    sights: &[Sight],
    store: bool,
    mut check: impl FnMut(i32, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut autoscaler = Autoscaler::new(spec.clone(), options.clone()).expect("an allowed spec");
    let (mut now_ns, mut replicas) = (NOW, 3);
    for sight in sights {
        now_ns += sight.after_s * SECOND;
        replicas = sight.outside.unwrap_or(replicas);
        let decision = autoscaler.step(&Observation {
            now_ns,
            scale: Some(Scale { spec_replicas: replicas, status_replicas: sight.status_replicas }),
            selector: sight.selector,
            pods: sight.pods.clone(),
            readings: sight.readings.clone(),
        });
        check(replicas, &decision)?;
        replicas = decision.replicas.unwrap_or(replicas);
        if store {
            let text = serde_json::to_string(&autoscaler).expect("an autoscaler is JSON");
            autoscaler = serde_json::from_str(&text).expect("the same autoscaler");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// If it fails, a bill or an outage: more pods than maxReplicas or fewer than minReplicas; a crash on a metric that
    /// somebody has got wrong; or a number in a report that is none.
    #[test]
    fn bounds_hold_and_numbers_are_numbers((spec, options, sights) in any_flight()) {
        let (minimum, maximum) = (spec.minimum(), spec.max_replicas);
        play(&spec, &options, &sights, false, |before, decision| {
            if let Some(replicas) = decision.replicas {
                prop_assert!((minimum..=maximum).contains(&replicas), "{replicas} outside of {minimum}..={maximum}");
                prop_assert!(replicas != before, "a change that changes nothing");
                prop_assert_eq!(decision.desired, replicas);
            } else {
                let is_inside = (minimum..=maximum).contains(&before);
                prop_assert!(is_inside || before == 0, "{before} is left outside of {minimum}..={maximum}");
            }
            for metric in decision.explanation.metrics.iter().filter_map(|metric| metric.outcome) {
                prop_assert!(metric.ratio.is_none_or(f64::is_finite));
                prop_assert!(metric.dampened_ratio.is_none_or(f64::is_finite));
            }
            let text = decision.explanation.to_string();
            prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            prop_assert!(!text.contains('\n'), "one line: {text}");
            Ok(())
        })?;
    }

    /// If it fails, a control plane that restarts, or a simulation that resumes, decides differently.
    #[test]
    fn a_stored_autoscaler_goes_on_the_same((spec, options, sights) in any_flight()) {
        let decisions = |store| {
            let mut decisions = Vec::new();
            play(&spec, &options, &sights, store, |_, decision| {
                decisions.push(decision.clone());
                Ok(())
            })?;
            Ok::<_, TestCaseError>(decisions)
        };
        prop_assert_eq!(decisions(false)?, decisions(true)?);
    }

    /// If it fails, the order in which somebody wrote metrics into a manifest decides how many pods they pay for.
    #[test]
    fn the_order_of_metrics_does_not_matter((spec, options, sights) in any_flight()) {
        let desired = |spec: &HpaSpec, sights: &[Sight]| {
            let mut desired = Vec::new();
            play(spec, &options, sights, false, |_, decision| {
                desired.push((decision.replicas, decision.desired, decision.explanation.proposal));
                Ok(())
            })?;
            Ok::<_, TestCaseError>(desired)
        };
        let mut turned = spec.clone();
        turned.metrics.rotate_left(1);
        let mut turned_sights = sights.clone();
        for sight in &mut turned_sights {
            sight.readings.rotate_left(1);
        }
        prop_assert_eq!(desired(&spec, &sights)?, desired(&turned, &turned_sights)?);
    }
}
