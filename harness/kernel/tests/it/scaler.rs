//! Bounds and the sequence to zero beyond the shipped vectors.

use windtunnel_kernel::autoscale::kpa::activity::{Active, ScaleStatus, compute_status, update_active};
use windtunnel_kernel::autoscale::kpa::scaler::{ScalerConfig, Scaling, Situation, scale};
use windtunnel_kernel::autoscale::kpa::{ConditionStatus, Config, Reachability, ServeMode};

use crate::flight::{SECOND, at};

fn config() -> ScalerConfig {
    let config = Config {
        stable_window_ns: 300 * SECOND,
        scale_to_zero_grace_period_ns: 60 * SECOND,
        progress_deadline_ns: 121 * SECOND,
        ..Config::default()
    };
    ScalerConfig::of(&config, Reachability::Unknown)
}

fn situation(active: ConditionStatus, for_s: u64) -> Situation {
    Situation {
        active,
        active_for_ns: for_s * SECOND,
        initialized: false,
        mode: ServeMode::Serve,
        proxy_for_ns: 0,
        activator_answers: true,
    }
}

fn outcome(scaling: &Scaling) -> (i32, bool) {
    (scaling.want, scaling.apply)
}

/// If it fails, a revision that lost its load keeps ten pods while it waits to go to zero.
#[test]
fn active_revisions_go_to_one_first() {
    let scaling = scale(&config(), &situation(ConditionStatus::True, 299), 0);
    assert_eq!(outcome(&scaling), (1, true));
    assert_eq!(scaling.requeue_after_ns, Some(SECOND));
    assert_eq!(outcome(&scale(&config(), &situation(ConditionStatus::True, 300), 0)), (0, false));
}

/// If it fails, pods go although the activator has not been in the path for long enough, or stay although it has.
#[test]
fn time_in_the_activators_path_counts() {
    let inactive = situation(ConditionStatus::False, 59);
    let long = Situation { proxy_for_ns: 60 * SECOND, ..inactive };
    assert_eq!(outcome(&scale(&config(), &inactive, 0)), (0, false));
    assert_eq!(outcome(&scale(&config(), &long, 0)), (0, true));
    let retained = ScalerConfig { pod_retention_ns: 42 * SECOND, ..config() };
    assert_eq!(outcome(&scale(&retained, &long, 0)), (0, true));
    let unanswered = Situation { activator_answers: false, ..long };
    let scaling = scale(&config(), &unanswered, 0);
    assert_eq!((outcome(&scaling), scaling.probe), ((0, false), true));
}

/// If it fails, the initial scale is ignored, or never let go of.
#[test]
fn initial_scale_is_a_minimum_until_it_was_reached() {
    let five = ScalerConfig { initial_scale: 5, ..config() };
    let starting = situation(ConditionStatus::Unknown, 0);
    assert_eq!(outcome(&scale(&five, &starting, 1)), (5, true));
    assert_eq!(outcome(&scale(&five, &starting, -1)), (5, true));
    let reached = Situation { initialized: true, ..starting };
    assert_eq!(outcome(&scale(&five, &reached, 1)), (1, true));
    let unreachable = ScalerConfig { reachability: Reachability::Unreachable, ..five };
    assert_eq!(outcome(&scale(&unreachable, &situation(ConditionStatus::True, 120), 0)), (1, true));
}

/// If it fails, min-scale keeps pods of a revision that nobody can reach, or drops those of a new one.
#[test]
fn minimum_holds_unless_unreachable() {
    let minimum = ScalerConfig { min_scale: 2, max_scale: 8, ..config() };
    let inactive = situation(ConditionStatus::False, 60);
    assert_eq!(outcome(&scale(&minimum, &inactive, 0)), (2, true));
    assert_eq!(outcome(&scale(&minimum, &inactive, 10)), (8, true));
    let unreachable = ScalerConfig { reachability: Reachability::Unreachable, ..minimum };
    assert_eq!(outcome(&scale(&unreachable, &inactive, 0)), (0, true));
}

/// If it fails, users and dashboards read a wrong state off the revision.
#[test]
fn active_condition_follows_the_table() {
    use ConditionStatus::{False, True, Unknown};
    // Pods wanted, pods ready, threshold, status before and after.
    for (want, ready, threshold, before, after, reason) in [
        (0, 1, 1, True, False, "NoTraffic"),
        (0, 0, 1, Unknown, False, "TimedOut"),
        (1, 0, 1, False, Unknown, "Queued"),
        (1, 1, 2, True, Unknown, "Queued"),
        (1, 2, 2, False, True, ""),
        (-1, 0, 1, False, False, "NoTraffic"),
        (-1, 0, 1, Unknown, Unknown, "Queued"),
        (-1, 0, 1, True, Unknown, "Queued"),
        (-1, 1, 1, Unknown, True, ""),
        (-1, 1, 1, True, True, ""),
        (-1, 0, 0, Unknown, False, "NoTraffic"),
        (-1, 1, 0, True, False, "NoTraffic"),
    ] {
        let mut active = Active { status: before, ..Active::unknown(at(0.0)) };
        update_active(&mut active, want, ready, threshold, at(5.7));
        let case = format!("want {want} ready {ready} threshold {threshold} {before:?}");
        assert_eq!((active.status, active.reason.as_str()), (after, reason), "{case}");
        let since_s = if before == after && reason.is_empty() { 0.0 } else { 5.0 };
        assert_eq!(active.since_ns, at(since_s), "{case}");
    }
}

/// If it fails, a restart of the autoscaler shows -1 pods wanted to every user.
#[test]
fn no_opinion_does_not_replace_an_opinion() {
    let before = ScaleStatus { actual: Some(1), desired: Some(2) };
    assert_eq!(compute_status(before, 3, -1), ScaleStatus { actual: Some(3), desired: Some(2) });
    assert_eq!(compute_status(before, 3, 0), ScaleStatus { actual: Some(3), desired: Some(0) });
    assert_eq!(compute_status(ScaleStatus::default(), 0, -1).desired, Some(-1));
}
