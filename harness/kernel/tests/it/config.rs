//! Settings: defaults, precedence, and what is refused.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::kpa::{Aggregation, Config, GlobalConfig, ScalingMetric};

use crate::flight::SECOND;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|&(key, value)| (key.to_string(), value.to_string())).collect()
}

fn annotations(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|&(key, value)| (format!("autoscaling.knative.dev/{key}"), value.to_string()))
        .collect()
}

fn resolve(entries: &[(&str, &str)]) -> Result<Config, String> {
    Config::resolve(&GlobalConfig::default(), &annotations(entries), 0, 600)
        .map_err(|error| error.to_string())
}

/// If it fails, a revision without annotations scales differently from one on Knative.
#[test]
fn defaults_are_upstreams() {
    let config = resolve(&[]).expect("defaults resolve");
    assert_eq!(config, Config::default());
    assert_eq!((config.target_value, config.total_value), (70.0, 100.0));
    assert_eq!((config.stable_window_ns, config.panic_window_ns), (60 * SECOND, 6 * SECOND));
    assert_eq!((config.panic_threshold, config.target_burst_capacity), (2.0, 211.0));
    assert_eq!(GlobalConfig::from_config_map(&map(&[("_example", "x")])), Ok(GlobalConfig::default()));
}

/// If it fails, an annotation that a user wrote has no effect, or another one.
#[test]
fn annotations_win_over_the_cluster() {
    let global = GlobalConfig::from_config_map(&map(&[
        ("container-concurrency-target-percentage", "80"),
        ("stable-window", "30s"),
        ("scale-to-zero-grace-period", "6s"),
        ("allow-zero-initial-scale", "true"),
        ("max-scale", "9"),
    ]))
    .expect("a good config map");
    let config = Config::resolve(&global, &annotations(&[("initial-scale", "0")]), 4, 120).expect("resolves");
    assert_eq!((config.target_value, config.total_value), (3.2, 4.0));
    assert_eq!((config.initial_scale, config.max_scale), (0, 9));
    assert_eq!(config.scale_to_zero_grace_period_ns, 6 * SECOND);
    assert_eq!((config.stable_window_ns, config.panic_window_ns), (30 * SECOND, 3 * SECOND));

    let config = Config::resolve(
        &global,
        &annotations(&[
            ("metric", "rps"),
            ("target", "150"),
            ("target-utilization-percentage", "50"),
            ("window", "1m40s"),
            ("panic-window-percentage", "20"),
            ("panic-threshold-percentage", "150"),
            ("min-scale", "2"),
            ("max-scale", "5"),
            ("activation-scale", "3"),
            ("initial-scale", "4"),
            ("scale-down-delay", "15m"),
            ("scale-to-zero-pod-retention-period", "1m5s"),
            ("target-burst-capacity", "-1"),
            ("metric-aggregation-algorithm", "weightedExponential"),
        ]),
        4,
        120,
    )
    .expect("resolves");
    let expected = Config {
        metric: ScalingMetric::Rps,
        aggregation: Aggregation::WeightedExponential,
        target_value: 75.0,
        total_value: 150.0,
        target_burst_capacity: -1.0,
        stable_window_ns: 100 * SECOND,
        panic_window_ns: 20 * SECOND,
        panic_threshold: 1.5,
        min_scale: 2,
        max_scale: 5,
        activation_scale: 3,
        initial_scale: 4,
        scale_down_delay_ns: 900 * SECOND,
        scale_to_zero_pod_retention_period_ns: 65 * SECOND,
        scale_to_zero_grace_period_ns: 6 * SECOND,
        progress_deadline_ns: 120 * SECOND,
        container_concurrency: 4,
        ..Config::default()
    };
    assert_eq!(config, expected);
    assert!(!config.has_scrape_target());
    assert_eq!(resolve(&[("initial-scale", "0")]).expect("falls back").initial_scale, 1);
}

/// If it fails, a typo in a manifest becomes a silent default.
#[test]
fn bad_annotations_are_refused_with_what_is_expected() {
    for (key, value, expected) in [
        ("metric", "cpu", "concurrency or rps"),
        ("target", "0", "a number of at least 0.01"),
        ("target", "NaN", "a number of at least 0.01"),
        ("target", "ten", "a number of at least 0.01"),
        ("target-utilization-percentage", "0.7", "a percentage in [1, 100]"),
        ("window", "5s", "a duration from 6s to 3600s, in whole seconds"),
        ("window", "6500ms", "a duration from 6s to 3600s, in whole seconds"),
        ("window", "60", "a duration from 6s to 3600s, in whole seconds"),
        ("panic-window-percentage", "101", "a percentage in [1, 100]"),
        ("panic-threshold-percentage", "100", "a percentage in [110, 1000]"),
        ("min-scale", "-1", "a whole number from 0 to 2147483647"),
        ("max-scale", "many", "a whole number from 0 to 2147483647"),
        ("activation-scale", "1", "at least 2"),
        ("scale-down-delay", "2h", "a duration from 0s to 3600s, in whole seconds"),
        ("scale-to-zero-pod-retention-period", "-5s", "a duration from 0s to 3600s"),
        ("target-burst-capacity", "-2", "a number of at least 0, or -1 for the activator always in the path"),
        ("metric-aggregation-algorithm", "median", "linear, weightedExponential or weighted-exponential"),
    ] {
        let message = format!("autoscaling.knative.dev/{key}: {value:?} is not usable, expected {expected}");
        assert_eq!(resolve(&[(key, value)]), Err(message));
    }
    assert!(resolve(&[("min-scale", "3"), ("max-scale", "2")]).is_err());
    assert!(resolve(&[("activation-scale", "4"), ("max-scale", "3")]).is_err());
}

/// If it fails, a broken ConfigMap takes the whole cluster's autoscaling with it, unnoticed.
#[test]
fn bad_config_maps_are_refused() {
    for (key, value) in [
        ("max-scale-up-rate", "1"),
        ("max-scale-down-rate", "0.5"),
        ("container-concurrency-target-percentage", "0"),
        ("container-concurrency-target-percentage", "101"),
        ("container-concurrency-target-default", "0.001"),
        ("activator-capacity", "0"),
        ("enable-scale-to-zero", "maybe"),
        ("initial-scale", "0"),
        ("stable-window", "2s"),
        ("scale-to-zero-grace-period", "0s"),
        ("scale-down-delay", "1500ms"),
        ("max-scale-limit", "5"),
    ] {
        let error = GlobalConfig::from_config_map(&map(&[(key, value)])).expect_err(key);
        assert!(error.to_string().contains("expected"), "{error}");
    }
}
