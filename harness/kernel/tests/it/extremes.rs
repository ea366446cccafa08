//! No panic and no NaN, whatever goes in: the largest and smallest numbers, infinities, NaN, and the ends of time.

use proptest::prelude::*;
use windtunnel_kernel::autoscale::kpa::activity::{
    Active, ConditionStatus, ScaleStatus, ServeMode, active_threshold, compute_status, serve_mode,
    update_active,
};
use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec, initial_excess_burst_capacity};
use windtunnel_kernel::autoscale::kpa::max_window::TimeWindow;
use windtunnel_kernel::autoscale::kpa::metrics::{Averages, Collector, sample_size};
use windtunnel_kernel::autoscale::kpa::request_stats::{Path, RequestStats};
use windtunnel_kernel::autoscale::kpa::scaler::{ScalerConfig, Situation, scale};
use windtunnel_kernel::autoscale::kpa::scrape::{ScrapePlan, extrapolate};
use windtunnel_kernel::autoscale::kpa::target::{self, TargetInput};
use windtunnel_kernel::autoscale::kpa::window::{Window, smoothing_coefficient};
use windtunnel_kernel::autoscale::kpa::{
    Aggregation, Autoscaler, Bugs, ConcurrencyReporter, Config, GlobalConfig, Observation, Reachability,
    ScalingMetric, Stat, Trigger, next_on_grid, next_report_ns, next_tick_ns,
};
use windtunnel_kernel::drift::{self, Detector, Test};
use windtunnel_kernel::routing::balance::{
    Policy, RoundRobin, first_available, random, random_choice_of_two,
};
use windtunnel_kernel::routing::breaker::Breaker;
use windtunnel_kernel::routing::split::TrafficSplit;
use windtunnel_kernel::routing::throttler::{Share, assign, capacity, pick_indices};
use windtunnel_kernel::statistics::early_stopping::Rule;
use windtunnel_kernel::statistics::interval::{self, Moments};
use windtunnel_kernel::statistics::sequential::ShareTest;
use windtunnel_kernel::statistics::{binomial, chi_square, normal, quantile, regression, student};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => prop::sample::select(vec![
            0.0, -0.0, 1.0, -1.0, 0.5, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN,
            f64::MIN_POSITIVE, 5e-324, -5e-324, f64::EPSILON, 1e-9, 1e9, 1e300,
        ]),
        2 => any::<f64>(),
        2 => 0.0..100.0_f64,
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => prop::sample::select(vec![0, 1, 999_999_999, 1_000_000_000, u64::MAX, u64::MAX - 1, u64::MAX / 2]),
        1 => any::<u64>(),
        1 => 0..4_000_000_000_000_u64,
    ]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![2 => prop::sample::select(vec![0, 1, 2, u32::MAX, u32::MAX - 1, 1 << 31]), 2 => 0..1000_u32]
}

fn whole() -> impl Strategy<Value = i32> {
    prop_oneof![prop::sample::select(vec![-1, 0, 1, i32::MAX, i32::MIN]), -10..1000_i32]
}

fn aggregation() -> impl Strategy<Value = Aggregation> {
    prop::sample::select(vec![Aggregation::Linear, Aggregation::WeightedExponential])
}

fn reachability() -> impl Strategy<Value = Reachability> {
    prop::sample::select(vec![Reachability::Reachable, Reachability::Unreachable, Reachability::Unknown])
}

fn stat() -> impl Strategy<Value = Stat> {
    (time(), number(), number(), number(), number()).prop_map(|(at_ns, a, b, c, d)| Stat {
        at_ns,
        average_concurrency: a,
        average_proxied_concurrency: b,
        request_count: c,
        proxied_request_count: d,
    })
}

fn config() -> impl Strategy<Value = Config> {
    (
        (number(), number(), number(), number(), number(), number()),
        (time(), time(), time(), time(), time()),
        (count(), count(), count(), count()),
        aggregation(),
        any::<bool>(),
    )
        .prop_map(|(n, t, c, aggregation, bugs)| Config {
            aggregation,
            target_value: n.0,
            total_value: n.1,
            target_burst_capacity: n.2,
            panic_threshold: n.3,
            max_scale_up_rate: n.4,
            max_scale_down_rate: n.5,
            stable_window_ns: t.0,
            panic_window_ns: t.1,
            scale_down_delay_ns: t.2,
            scale_to_zero_grace_period_ns: t.3,
            progress_deadline_ns: t.4,
            min_scale: c.0,
            max_scale: c.1,
            initial_scale: c.2,
            activation_scale: c.3,
            bugs: Bugs { double_counted_scrapes: bugs, silence_is_idle: bugs, forgetful_delay: bugs },
            ..Config::default()
        })
}

fn finite(values: impl IntoIterator<Item = f64>, what: &str) -> Result<(), TestCaseError> {
    for value in values {
        prop_assert!(value.is_finite(), "{what}: {value}");
    }
    Ok(())
}

fn not_nan(values: impl IntoIterator<Item = f64>, what: &str) -> Result<(), TestCaseError> {
    for value in values {
        prop_assert!(!value.is_nan(), "{what}: NaN");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// If it fails, one absurd report or clock takes the whole control plane down, or a report shows NaN.
    #[test]
    fn autoscaler(
        config in config(),
        steps in prop::collection::vec((stat(), time(), count(), count(), reachability(), any::<bool>()), 1..8),
    ) {
        let mut autoscaler = Autoscaler::new(config.clone(), steps[0].2, steps[0].1);
        for (stat, now_ns, ready, current_replicas, reachability, activator_answers) in steps {
            let _ = (autoscaler.record(&stat), autoscaler.record_scrape(&stat));
            for trigger in [Trigger::Tick, Trigger::Poke, Trigger::Reconcile] {
                let seen = Observation { now_ns, ready, current_replicas, reachability, activator_answers };
                let decision = autoscaler.step(trigger, &seen);
                let why = &decision.explanation;
                finite([why.stable, why.panic, why.stable_pods, why.panic_pods].into_iter().flatten(), "explanation")?;
                prop_assert!(!why.to_string().contains("inf") || config.target_value.is_infinite());
            }
            autoscaler.reconfigure(Config { stable_window_ns: now_ns, ..config.clone() }, now_ns);
            let _ = (autoscaler.activators(ready), autoscaler.status(), autoscaler.is_panicking());
        }
    }

    /// The parts of the autoscaler, each by itself.
    #[test]
    fn parts_of_the_autoscaler(
        (a, b, c, d, e) in (number(), number(), number(), number(), number()),
        (s, t, u) in (time(), time(), time()),
        (m, n) in (count(), count()),
        (x, y, z) in (whole(), whole(), whole()),
        aggregation in aggregation(),
        reachability in reachability(),
        stat in stat(),
    ) {
        let mut window = Window::new(aggregation, s, t);
        let mut delay = TimeWindow::new(s, t);
        let mut collector = Collector::new(aggregation, s, t);
        for (at_ns, value) in [(s, a), (t, b), (u, c), (u, d), (s, e), (u64::MAX, a), (0, b)] {
            window.record(at_ns, value);
            delay.record(at_ns, x);
            collector.record(&Stat { at_ns, average_concurrency: value, ..stat });
            collector.record_scrape(&Stat { at_ns, request_count: value, ..stat });
            finite([window.average(s), window.average(t), window.average(u)], "window")?;
            for metric in [ScalingMetric::Concurrency, ScalingMetric::Rps] {
                let averages = collector.averages(metric, u, false).expect("no scrape target");
                finite([averages.stable, averages.panic], "averages")?;
            }
            window.resize(u, at_ns);
            collector.resize(t, u, at_ns);
            let _ = delay.current();
        }
        finite([smoothing_coefficient(m as usize), f64::from(sample_size(m))], "coefficient")?;

        for metric in [ScalingMetric::Concurrency, ScalingMetric::Rps] {
            let resolved = target::resolve(&TargetInput {
                metric,
                container_concurrency: m,
                concurrency_default: a,
                concurrency_fraction: b,
                rps_default: c,
                rps_fraction: d,
                target: Some(e),
                utilization_percentage: Some(a),
            });
            finite([resolved.target, resolved.total], "target")?;
        }
        let _ = (target::panic_window_ns(s, a), target::activators(m, a, b, c));

        let spec = DeciderSpec {
            target_value: a,
            total_value: b,
            target_burst_capacity: c,
            panic_threshold: d,
            max_scale_up_rate: e,
            max_scale_down_rate: a,
            stable_window_ns: s,
            activation_scale: x,
            reachable: reachability != Reachability::Unreachable,
            forgetful_delay: m > n,
        };
        let mut decider = Decider::new(m, s, t);
        for now_ns in [s, t, u] {
            let evaluation = decider.decide(&spec, n, Averages { stable: b, panic: c }, now_ns);
            finite([evaluation.stable_raw, evaluation.panic_raw], "pods")?;
        }
        let _ = initial_excess_burst_capacity(a, m, b);

        let config = ScalerConfig {
            min_scale: x,
            max_scale: y,
            initial_scale: z,
            enable_scale_to_zero: true,
            target_burst_capacity: a,
            stable_window_ns: s,
            grace_period_ns: t,
            pod_retention_ns: u,
            progress_deadline_ns: s,
            reachability,
        };
        for active in [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown] {
            let situation = Situation {
                active,
                active_for_ns: t,
                initialized: m > n,
                mode: ServeMode::Proxy,
                proxy_for_ns: u,
                activator_answers: n > m,
            };
            let scaling = scale(&config, &situation, z);
            let mut condition = Active::unknown(s);
            update_active(&mut condition, scaling.want, m, active_threshold(&config, n > m), t);
            let _ = (compute_status(ScaleStatus::default(), n, x), serve_mode(x, y), condition.for_ns(u));
        }

        let mut stats = RequestStats::new(s);
        let mut reporter = ConcurrencyReporter::new();
        for now_ns in [t, u, 0, u64::MAX] {
            stats.arrive(now_ns, Path::Proxied);
            stats.leave(t, Path::Direct);
            let report = stats.report(u);
            let stat = report.to_stat(now_ns, s);
            finite([stat.average_concurrency, stat.request_count, stat.proxied_request_count], "request stats")?;
            let first = reporter.request_in(now_ns);
            reporter.request_out(s);
            let reports = [first, reporter.report(t)];
            finite(reports.into_iter().flatten().map(|stat| stat.average_concurrency), "reporter")?;
        }
        let _ = (next_tick_ns(s), next_report_ns(t), next_on_grid(s, t, u));
        let mut word = s;
        let plan = ScrapePlan::new(m % 50, n % 50, &mut || { word = word.wrapping_add(t); word });
        let _ = plan.scrape(s, |_| Some(stat));
        let _ = extrapolate(&[], m as usize, s);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Where requests go.
    #[test]
    fn routes(weights in prop::collection::vec(count(), 0..5), loads in prop::collection::vec(count(), 0..5),
              (m, n, o) in (count(), count(), count()), backends in any::<i64>(), words in prop::collection::vec(any::<u64>(), 1..4)) {
        let mut split = TrafficSplit::new(&weights);
        prop_assert!((0..50).all(|_| split.next() < weights.len().max(1)));
        let mut next = words.iter().cycle().copied();
        let mut rng = || next.next().unwrap_or(0);
        for chosen in [random(loads.len(), &mut rng), random_choice_of_two(&loads, &mut rng), first_available(&loads, m),
                       RoundRobin::new().choose(&loads, n)] {
            prop_assert!(chosen.is_none_or(|pod| pod < loads.len()));
        }
        let _ = Policy::of(m);
        let share = Share { container_concurrency: m, backends, pod_trackers: n % 1000, activators: o, index: Some(m) };
        let _ = (capacity(&share), capacity(&Share { index: None, ..share }), pick_indices(m, n, o));
        prop_assert!(assign(m % 1000, Some(n), o).iter().all(|&pod| pod < m % 1000));
        let mut breaker = Breaker::new(m, n, o);
        for _ in 0..5 {
            let _ = (breaker.offer(), breaker.reserve(), breaker.finish(), breaker.update_capacity(n));
            breaker.abandon();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// What a sample allows to be said.
    #[test]
    fn statistics(
        (a, b, c) in (number(), number(), number()),
        values in prop::collection::vec(number(), 0..12),
        (m, n) in (prop_oneof![0..2_000_u64, Just(u64::MAX), Just(1 << 40)], prop_oneof![0..2_000_u64, Just(u64::MAX)]),
    ) {
        not_nan([normal::at_most(a), normal::at_least(a), normal::quantile(a)], "normal")?;
        not_nan([student::at_least(a, b), student::quantile(a, b)], "student")?;
        not_nan([chi_square::at_least(a, b), chi_square::at_most(a, b), chi_square::quantile(a, b)], "chi-square")?;
        let probabilities = [binomial::at_most(m, n, a), binomial::at_least(m, n, a), binomial::two_sided_p_value(m.min(5000), n.min(10_000), a)];
        prop_assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{probabilities:?}");
        let (low, high) = binomial::clopper_pearson(m.min(5000), n.min(10_000), a);
        not_nan([low, high], "clopper-pearson")?;
        let rule = Rule { percentile: a, confidence: b, tolerance: c };
        let _ = (rule.min_total(m.min(5000)), rule.judge(n.min(10_000), m.min(5000)));

        let points: Vec<(f64, f64)> = values.iter().map(|&value| (value, a)).collect();
        if let Some(line) = regression::line(&points, b) {
            finite([line.intercept, line.slope.low, line.slope.high], "line")?;
        }
        if let Some(slope) = regression::batch_slope(&values, a, 3, b) {
            finite([slope.estimate, slope.low, slope.high], "slope")?;
        }
        if let Some(mean) = interval::mean(&values, a) {
            finite([mean.estimate, mean.low, mean.high], "mean")?;
        }
        let moments: Moments = values.iter().copied().collect();
        finite([moments.mean(), moments.variance()].into_iter().flatten(), "moments")?;
        let _ = interval::quantile_positions(m.min(5000), a, b);
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let _ = interval::quantile(&sorted, a, b);
        not_nan([quantile::linear(&sorted, a), quantile::nearest_rank(&sorted, a)].into_iter().flatten(), "quantile")?;

        let mut test = ShareTest::new(a, b);
        for (samples, over) in [(m, n), (n, m), (1, 1)] {
            test.observe(samples, over);
            let (broken, kept) = test.ln_evidence();
            not_nan([broken, kept], "evidence")?;
        }
    }

    /// Whether values have drifted.
    #[test]
    fn drift(
        reference in prop::collection::vec(number(), 0..30),
        window in prop::collection::vec(number(), 0..30),
        counts in prop::collection::vec((any::<u64>(), any::<u64>()), 0..5),
        threshold in number(),
    ) {
        for test in Test::ALL {
            if let Ok(outcome) = drift::numeric(test, &reference, &window, threshold) {
                finite([outcome.statistic], test.name())?;
                prop_assert!(outcome.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{outcome:?}");
            }
            let (one, other): (Vec<u64>, Vec<u64>) = counts.iter().copied().unzip();
            if let Ok(outcome) = drift::categorical(test, &one, &other, threshold) {
                finite([outcome.statistic], test.name())?;
            }
            if let Ok(mut detector) = Detector::new(&reference, test, 3, threshold) {
                for (&value, now_ns) in window.iter().zip([0, u64::MAX, 5].into_iter().cycle()) {
                    let _ = detector.observe(value, now_ns);
                }
            }
        }
    }
}

/// If it fails, a configuration that upstream would refuse makes the autoscaler panic instead of being refused.
#[test]
fn every_absurd_annotation_is_an_error_or_a_number() {
    let words = [
        "",
        "0",
        "-1",
        "NaN",
        "inf",
        "1e999",
        "1e-999",
        "9999999999999999999",
        "0s",
        "1h",
        "99999h",
        "é",
        "true",
    ];
    for key in [
        "target",
        "window",
        "max-scale",
        "min-scale",
        "initial-scale",
        "target-burst-capacity",
        "scale-down-delay",
        "panic-window-percentage",
        "panic-threshold-percentage",
        "activation-scale",
        "metric",
        "target-utilization-percentage",
        "scale-to-zero-pod-retention-period",
        "metric-aggregation-algorithm",
    ] {
        for word in words {
            let annotations = [(format!("autoscaling.knative.dev/{key}"), word.to_string())].into();
            if let Ok(config) = Config::resolve(&GlobalConfig::default(), &annotations, 0, u64::MAX) {
                assert!(config.target_value.is_finite() && config.total_value.is_finite(), "{key}: {word}");
                assert!(config.target_burst_capacity.is_finite(), "{key}: {word}");
            }
        }
    }
}
