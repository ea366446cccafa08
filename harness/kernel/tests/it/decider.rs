//! The decider beyond the shipped vectors.

use windtunnel_kernel::autoscale::kpa::Config;
use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec, initial_excess_burst_capacity};
use windtunnel_kernel::autoscale::kpa::metrics::Averages;

use crate::flight::{SECOND, at};

fn spec() -> DeciderSpec {
    let config = Config { target_value: 10.0, total_value: 10.0, ..Config::default() };
    DeciderSpec::of(&config, true)
}

fn both(value: f64) -> Averages {
    Averages { stable: value, panic: value }
}

/// If it fails, a model that needs two pods to start is started with one.
#[test]
fn activation_scale_exceeds_rate_limits_but_not_when_idle() {
    let spec = DeciderSpec { activation_scale: 5, max_scale_up_rate: 2.0, ..spec() };
    let mut decider = Decider::default();
    assert_eq!(decider.decide(&spec, 1, both(0.0), at(0.0)).desired, 0);
    let evaluation = decider.decide(&spec, 1, both(1.0), at(2.0));
    assert_eq!(evaluation.desired, 5);
    assert_eq!(evaluation.limits.last().map(|limit| limit.name.as_str()), Some("activation-scale"));
}

/// If it fails, an unreachable revision is kept by a delay that is meant for live ones.
#[test]
fn delay_holds_while_reachable_only() {
    let mut decider = Decider::new(0, 300 * SECOND, at(0.0));
    let calm = DeciderSpec { panic_threshold: 100.0, ..spec() };
    assert_eq!(decider.decide(&calm, 0, both(40.0), at(2.0)).desired, 4);
    let held = decider.decide(&calm, 0, both(0.0), at(60.0));
    assert_eq!(held.desired, 4);
    assert_eq!(held.limits.last().map(|limit| limit.name.as_str()), Some("scale-down-delay"));
    let unreachable = DeciderSpec { reachable: false, ..calm };
    assert_eq!(decider.decide(&unreachable, 0, both(0.0), at(62.0)).desired, 0);
}

/// If it fails, a burst arrives at pods that have no room for it.
#[test]
fn burst_capacity() {
    let capacity = |target_burst_capacity, ready, load| {
        let spec = DeciderSpec { target_burst_capacity, ..spec() };
        Decider::default().decide(&spec, ready, both(load), at(0.0)).excess_burst_capacity
    };
    assert_eq!(capacity(211.0, 0, 0.0), -211, "no ready pod has no room");
    assert_eq!(capacity(211.0, 22, 9.5), -1, "rounded down: -0.5");
    assert_eq!(capacity(211.0, 23, 0.0), 19);
    assert_eq!(capacity(0.0, 1, 1e6), 0);
    assert_eq!(capacity(-1.0, 100, 0.0), -1);
    assert_eq!(initial_excess_burst_capacity(211.0, 1, 10.0), -201);
    assert_eq!(initial_excess_burst_capacity(0.5, 1, 10.0), 9);
    assert_eq!(initial_excess_burst_capacity(-1.0, 1, 10.0), -1);
    assert_eq!(initial_excess_burst_capacity(0.0, 1, 10.0), 0);
}
