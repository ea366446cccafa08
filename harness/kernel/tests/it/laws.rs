//! Laws that hold for any load, finite or not.

use proptest::prelude::*;
use windtunnel_kernel::Profile;
use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec};
use windtunnel_kernel::autoscale::kpa::metrics::Averages;
use windtunnel_kernel::autoscale::kpa::{
    Aggregation, Autoscaler, Bugs, Config, Decision, Observation, Reachability, ScalingMetric, Stat, Trigger,
};

use crate::flight::{SECOND, ZERO, at};

/// What happens to a revision.
#[derive(Clone, Debug)]
enum Happening {
    Report { after_ms: u64, concurrency: f64, count: f64 },
    Step { after_ms: u64, trigger: Trigger },
    Pods { ready: u32 },
    Route { reachability: Reachability, activator_answers: bool },
    Reconfigure { stable_window_s: u64, max_scale: u32 },
}

fn any_load() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..200.0_f64,
        1 => Just(0.0),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![
            f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, -1.0,
        ]),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let trigger = prop::sample::select(vec![Trigger::Tick, Trigger::Tick, Trigger::Poke, Trigger::Reconcile]);
    let reachability =
        prop::sample::select(vec![Reachability::Reachable, Reachability::Unreachable, Reachability::Unknown]);
    prop_oneof![
        6 => (0..1500_u64, any_load(), any_load())
            .prop_map(|(after_ms, concurrency, count)| Happening::Report { after_ms, concurrency, count }),
        6 => (0..4000_u64, trigger).prop_map(|(after_ms, trigger)| Happening::Step { after_ms, trigger }),
        1 => (0..200_000_u64).prop_map(|after_ms| Happening::Step { after_ms, trigger: Trigger::Tick }),
        2 => (0..30_u32).prop_map(|ready| Happening::Pods { ready }),
        1 => (reachability, any::<bool>()).prop_map(|(reachability, activator_answers)| Happening::Route {
            reachability,
            activator_answers,
        }),
        1 => (6..120_u64, 0..20_u32).prop_map(|(stable_window_s, max_scale)| Happening::Reconfigure {
            stable_window_s,
            max_scale: if max_scale == 0 { 0 } else { max_scale + 3 },
        }),
    ]
}

prop_compose! {
    fn any_config()(
        metric in prop::sample::select(vec![ScalingMetric::Concurrency, ScalingMetric::Rps]),
        aggregation in prop::sample::select(vec![Aggregation::Linear, Aggregation::WeightedExponential]),
        target_value in prop_oneof![Just(0.01), 0.1..100.0_f64],
        target_burst_capacity in prop::sample::select(vec![-1.0, 0.0, 211.0, 10.5]),
        stable_window_s in 6..120_u64,
        delay_s in prop::sample::select(vec![0_u64, 0, 30]),
        min_scale in 0..4_u32,
        max_scale in prop::sample::select(vec![0_u32, 4, 10]),
        initial_scale in 0..5_u32,
        activation_scale in prop::sample::select(vec![0_u32, 3]),
        retention_s in prop::sample::select(vec![0_u64, 45]),
        enable_scale_to_zero in any::<bool>(),
        profile in prop::sample::select(vec![Profile::Windtunnel, Profile::Upstream]),
    ) -> Config {
        Config {
            metric,
            aggregation,
            target_value,
            total_value: target_value * 1.25,
            target_burst_capacity,
            stable_window_ns: stable_window_s * SECOND,
            panic_window_ns: (stable_window_s / 10).max(1) * SECOND,
            scale_down_delay_ns: delay_s * SECOND,
            min_scale,
            max_scale,
            initial_scale,
            activation_scale,
            scale_to_zero_pod_retention_period_ns: retention_s * SECOND,
            enable_scale_to_zero,
            bugs: Bugs::of(profile),
            ..Config::default()
        }
    }
}

/// Plays a history; hands every decision to `check`, with the observation and whether it panicked before.
fn play(
    config: Config,
    history: &[Happening],
    store: bool,
    mut check: impl FnMut(&Autoscaler, &Observation, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut autoscaler = Autoscaler::new(config, 0, ZERO);
    let mut seen = Observation {
        now_ns: ZERO,
        ready: 0,
        current_replicas: 1,
        reachability: Reachability::Reachable,
        activator_answers: true,
    };
    for happening in history {
        match *happening {
            Happening::Report { after_ms, concurrency, count } => {
                seen.now_ns += after_ms * 1_000_000;
                let _pokes = autoscaler.record(&Stat {
                    at_ns: seen.now_ns,
                    average_concurrency: concurrency,
                    request_count: count,
                    ..Stat::default()
                });
            }
            Happening::Step { after_ms, trigger } => {
                seen.now_ns += after_ms * 1_000_000;
                let decision = autoscaler.step(trigger, &seen);
                check(&autoscaler, &seen, &decision)?;
                seen.current_replicas = decision.replicas.unwrap_or(seen.current_replicas);
            }
            Happening::Pods { ready } => seen.ready = ready,
            Happening::Route { reachability, activator_answers } => {
                (seen.reachability, seen.activator_answers) = (reachability, activator_answers);
            }
            Happening::Reconfigure { stable_window_s, max_scale } => {
                let config = Config {
                    stable_window_ns: stable_window_s * SECOND,
                    max_scale,
                    ..autoscaler.config().clone()
                };
                autoscaler.reconfigure(config, seen.now_ns);
            }
        }
        if store {
            let text = serde_json::to_string(&autoscaler).expect("an autoscaler is JSON");
            let restored: Autoscaler = serde_json::from_str(&text).expect("the same autoscaler");
            prop_assert_eq!(&restored, &autoscaler);
            autoscaler = restored;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// If it fails, a bill or an outage: more pods than max-scale, or fewer than min-scale; or a number in a report
    /// that is none.
    #[test]
    fn bounds_hold_and_numbers_are_numbers(
        config in any_config(),
        history in prop::collection::vec(happening(), 1..120),
    ) {
        play(config, &history, false, |autoscaler, seen, decision| {
            let config = autoscaler.config();
            if let Some(replicas) = decision.replicas {
                let floor = if seen.reachability == Reachability::Unreachable { 0 } else { config.min_scale };
                prop_assert!(replicas >= floor, "{replicas} under min-scale {floor}");
                // Until it was reached once, the initial scale is a minimum, which wins over the maximum.
                let ceiling = config.max_scale.max(floor).max(config.initial_scale);
                prop_assert!(config.max_scale == 0 || replicas <= ceiling, "{replicas} over {ceiling}");
                prop_assert!(replicas != seen.current_replicas, "a patch that changes nothing");
                prop_assert!(config.enable_scale_to_zero || replicas > 0, "zero although it is disabled");
            }
            prop_assert!(decision.desired >= -1);
            prop_assert_eq!(decision.active.since_ns % SECOND, 0);
            let explanation = &decision.explanation;
            for number in [explanation.stable, explanation.panic, explanation.stable_pods, explanation.panic_pods] {
                prop_assert!(number.is_none_or(f64::is_finite), "{explanation:?}");
            }
            prop_assert!(!explanation.to_string().contains("NaN"));
            Ok(())
        })?;
    }

    /// If it fails, a control plane that restarts, or a simulation that resumes, decides differently.
    #[test]
    fn a_stored_autoscaler_goes_on_the_same(
        config in any_config(),
        history in prop::collection::vec(happening(), 1..60),
    ) {
        let mut decisions = Vec::new();
        play(config.clone(), &history, false, |_, _, decision| {
            decisions.push(decision.clone());
            Ok(())
        })?;
        let mut restored = Vec::new();
        play(config, &history, true, |_, _, decision| {
            restored.push(decision.clone());
            Ok(())
        })?;
        prop_assert_eq!(decisions, restored);
    }

    /// If it fails, pods are taken away in the middle of a burst; or an infinite average crashes the autoscaler.
    #[test]
    fn never_down_while_panicking(
        ready in prop::collection::vec(0..200_u32, 1..60),
        load in prop::collection::vec((any_load(), any_load()), 60),
        activation_scale in 0..5_i32,
        target_burst_capacity in prop::sample::select(vec![-1.0, 0.0, 211.0]),
    ) {
        let config = Config { target_burst_capacity, ..Config::default() };
        let spec = DeciderSpec { activation_scale, ..DeciderSpec::of(&config, true) };
        let mut decider = Decider::new(ready[0], 0, at(0.0));
        let mut held = decider.max_panic_pods;
        for (tick, (&ready, &(stable, panic))) in ready.iter().zip(&load).enumerate() {
            let panicked = decider.panic_since_ns.is_some();
            let evaluation = decider.decide(&spec, ready, Averages { stable, panic }, at(2.0 * tick as f64));
            prop_assert!(evaluation.desired >= 0);
            if panicked && evaluation.panicking {
                prop_assert!(evaluation.desired >= held, "{evaluation:?} after {held}");
            }
            held = evaluation.desired;
        }
    }
}
