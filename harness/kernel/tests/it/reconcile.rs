//! One reconciliation from the decider's word to status, path and replicas: rows of knative/serving `TestReconcile`.

use windtunnel_kernel::autoscale::kpa::activity::{
    Active, ConditionStatus, ScaleStatus, ServeMode, active_threshold, compute_status, serve_mode,
    update_active,
};
use windtunnel_kernel::autoscale::kpa::scaler::{ScalerConfig, Situation, scale};
use windtunnel_kernel::autoscale::kpa::{Autoscaler, Bugs, Config, Reachability, Stat, Trigger, target};

use crate::flight::{Flight, SECOND, at, ten_a_pod};

use ConditionStatus::{False, True, Unknown};
use Reachability::{Reachable, Unknown as NotKnown, Unreachable};
use ServeMode::{Proxy, Serve};

/// A row: what is found, and what comes of it.
struct Row {
    name: &'static str,
    bounds: (i32, i32),
    reachability: Reachability,
    before: (ConditionStatus, bool),
    decided: (i32, i32),
    ready: u32,
    replicas: i32,
    after: (ConditionStatus, bool),
    status_desired: i32,
    mode: ServeMode,
    patch: Option<i32>,
}

/// If it fails, a revision is called ready, active or idle when Knative would not call it so, or gets another path or
/// another number of replicas. (Bounds: min-scale and initial-scale. Before and after: the `Active` condition, and
/// whether the initial scale was ever reached. Decided: wanted pods and excess burst capacity.)
#[test]
fn reconciliations_come_out_as_upstreams() {
    for row in rows() {
        let config = ScalerConfig {
            min_scale: row.bounds.0,
            initial_scale: row.bounds.1,
            ..ScalerConfig::of(&Config::default(), row.reachability)
        };
        let (active, initialized) = row.before;
        let situation = Situation {
            active,
            active_for_ns: 0,
            initialized,
            mode: Proxy,
            proxy_for_ns: 0,
            activator_answers: true,
        };
        let scaling = scale(&config, &situation, row.decided.0);
        let status = compute_status(ScaleStatus::default(), row.ready, scaling.want);
        let threshold = active_threshold(&config, initialized);
        let initialized = initialized || i64::from(row.ready) >= i64::from(threshold);
        let mut active = Active { status: active, ..Active::unknown(0) };
        update_active(&mut active, scaling.want, row.ready, threshold, SECOND);
        let patch = (scaling.apply && scaling.want != row.replicas).then_some(scaling.want);
        assert_eq!((active.status, initialized), row.after, "{}", row.name);
        assert_eq!(status.desired, Some(row.status_desired), "{}", row.name);
        assert_eq!(status.actual, i32::try_from(row.ready).ok(), "{}", row.name);
        assert_eq!(serve_mode(scaling.want, row.decided.1), row.mode, "{}", row.name);
        assert_eq!(patch, row.patch, "{}", row.name);
    }
}

/// The numbers of activators of the same test (burst capacity 200, 100 a pod and 1000 an activator are its defaults
/// but for these rows of `TestComputeActivatorNum`). If it fails, activators drown or idle.
#[test]
fn activators_are_counted_as_upstream_counts_them() {
    for (ready, capacity, expected) in
        [(0, 200.0, 2), (1, 200.0, 3), (100, 0.0, 2), (5, -1.0, 5), (15, 200.0, 17)]
    {
        assert_eq!(target::activators(ready, 100.0, capacity, 100.0), expected, "{ready} pods, {capacity}");
    }
}

/// `TestMultiscalerCreateTBC42`, `…TBCMinus1`, `TestMultiScalerScaleFromZero`. If it fails, a new revision starts with
/// the wrong path, or one at zero does not wake up at its first request.
#[test]
fn a_new_decider_starts_and_is_poked_as_upstreams() {
    let with = |target_burst_capacity, initial_scale, total_value| {
        let config = Config { target_burst_capacity, initial_scale, total_value, ..ten_a_pod() };
        Flight::new(config, 0, 0).step(Trigger::Reconcile, 0.0)
    };
    let decision = with(42.0, 2, 25.0);
    assert_eq!((decision.desired, decision.excess_burst_capacity), (-1, 8));
    let decision = with(-1.0, 1, 25.0);
    assert_eq!((decision.desired, decision.excess_burst_capacity), (-1, -1));
    assert_eq!(with(0.0, 1, 25.0).excess_burst_capacity, 0);

    let mut flight = Flight::new(ten_a_pod(), 0, 0);
    assert!(!flight.report(1.0, 1.0), "nothing was decided yet");
    flight.report(1.0, 0.0);
    flight.tick(62.0);
    assert_eq!(flight.tick(62.0).desired, -1, "its data is too old");
    flight.report(63.0, 0.0);
    assert_eq!(flight.tick(64.0).desired, 0);
    assert!(flight.report(65.0, 1.0));
    assert!(!flight.report(65.0, 0.0));
}

/// If it fails, two scrapes that land in one second double the load again (knative/serving#6743), or the reports of
/// several activators no longer add up.
#[test]
fn two_scrapes_of_a_second_count_once_unless_asked() {
    use windtunnel_kernel::Profile;
    let average = |bugs, is_scrape, second_value| {
        let mut autoscaler = Autoscaler::new(Config { bugs, ..ten_a_pod() }, 1, at(0.0));
        for (seconds, average_concurrency) in [(1.0, 30.0), (2.0, 30.0), (2.9, second_value), (3.0, 30.0)] {
            let stat = Stat { at_ns: at(seconds), average_concurrency, ..Stat::default() };
            let _ = if is_scrape { autoscaler.record_scrape(&stat) } else { autoscaler.record(&stat) };
        }
        let seen = windtunnel_kernel::autoscale::kpa::Observation {
            now_ns: at(3.1),
            ready: 3,
            current_replicas: 3,
            reachability: Reachable,
            activator_answers: true,
        };
        autoscaler.step(Trigger::Tick, &seen).explanation.stable
    };
    let (as_meant, as_upstream) = (Bugs::default(), Bugs::of(Profile::Upstream));
    assert_eq!(average(as_meant, true, 30.0), Some(30.0));
    assert_eq!(average(as_meant, true, 60.0), Some(40.0), "the later one counts");
    assert_eq!(average(as_meant, true, f64::NAN), Some(30.0));
    assert_eq!(average(as_upstream, true, 30.0), Some(40.0));
    for bugs in [as_meant, as_upstream] {
        assert_eq!(average(bugs, false, 30.0), Some(40.0));
    }
}

/// If it fails, an autoscaler that restarts scales a revision under load to zero, or one without load never.
#[test]
fn silence_is_no_load_only_after_a_while() {
    use windtunnel_kernel::Profile;
    let config = |profile| Config { target_burst_capacity: -1.0, bugs: Bugs::of(profile), ..ten_a_pod() };
    let mut meant = Flight::new(config(Profile::Windtunnel), 1, 1);
    assert_eq!(meant.tick(2.0).desired, -1);
    assert_eq!(meant.tick(58.0).desired, -1);
    assert_eq!(meant.tick(60.0).desired, 0);
    let mut heard = Flight::new(config(Profile::Windtunnel), 1, 1);
    heard.report(3.0, 25.0);
    assert_eq!(heard.tick(4.0).desired, 3);
    assert_eq!(Flight::new(config(Profile::Upstream), 1, 1).tick(2.0).desired, 0);
}

/// If it fails, pods that were wanted while a route was away are forgotten when it comes back within the delay.
#[test]
fn the_delay_remembers_what_was_wanted_without_a_route() {
    use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec};
    use windtunnel_kernel::autoscale::kpa::metrics::Averages;
    let both = |value| Averages { stable: value, panic: value };
    let wanted = |forgetful_delay| {
        let config = Config { panic_threshold: 100.0, ..ten_a_pod() };
        let reachable = DeciderSpec { forgetful_delay, ..DeciderSpec::of(&config, true) };
        let unreachable = DeciderSpec { reachable: false, ..reachable };
        let mut decider = Decider::new(0, 300 * SECOND, at(0.0));
        let meanwhile = decider.decide(&unreachable, 0, both(40.0), at(2.0)).desired;
        (meanwhile, decider.decide(&reachable, 0, both(0.0), at(60.0)).desired)
    };
    assert_eq!(wanted(false), (4, 4));
    assert_eq!(wanted(true), (4, 0));
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "steady state",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, true),
            decided: (11, 0),
            ready: 1,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "scale up deployment",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, true),
            decided: (11, 0),
            ready: 1,
            replicas: 1,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: Some(11),
        },
        Row {
            name: "pa activates",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (False, true),
            decided: (11, 0),
            ready: 0,
            replicas: 11,
            after: (Unknown, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "sks is still not ready",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, false),
            decided: (11, 0),
            ready: 11,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "sks becomes ready",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 0,
            replicas: 11,
            after: (Unknown, false),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "not ready without min-scale pods when reachable",
            bounds: (2, 1),
            reachability: Reachable,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 1,
            replicas: 11,
            after: (Unknown, false),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "not ready without min-scale pods when not known",
            bounds: (2, 1),
            reachability: NotKnown,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 1,
            replicas: 11,
            after: (Unknown, false),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "ready without min-scale pods when unreachable",
            bounds: (2, 1),
            reachability: Unreachable,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 1,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "ready with min-scale pods when reachable",
            bounds: (2, 1),
            reachability: Reachable,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 2,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "ready with min-scale pods when not known",
            bounds: (2, 1),
            reachability: NotKnown,
            before: (Unknown, false),
            decided: (11, 0),
            ready: 2,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "overscaled, inactive",
            bounds: (11, 1),
            reachability: Reachable,
            before: (False, true),
            decided: (0, 0),
            ready: 12,
            replicas: 12,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: Some(11),
        },
        Row {
            name: "overscaled, activating",
            bounds: (11, 1),
            reachability: Reachable,
            before: (False, true),
            decided: (1, 0),
            ready: 12,
            replicas: 12,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: Some(11),
        },
        Row {
            name: "over max-scale for real, active",
            bounds: (11, 1),
            reachability: Reachable,
            before: (True, true),
            decided: (12, 0),
            ready: 12,
            replicas: 12,
            after: (True, true),
            status_desired: 12,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "need to scale down, active",
            bounds: (11, 1),
            reachability: Reachable,
            before: (True, true),
            decided: (1, 0),
            ready: 12,
            replicas: 12,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: Some(11),
        },
        Row {
            name: "scaled to 0, no scale data",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (False, true),
            decided: (-1, 0),
            ready: 0,
            replicas: 11,
            after: (False, true),
            status_desired: -1,
            mode: Proxy,
            patch: None,
        },
        Row {
            name: "steady, not enough capacity",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, true),
            decided: (11, -42),
            ready: 1,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Proxy,
            patch: None,
        },
        Row {
            name: "no longer enough burst capacity",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, true),
            decided: (11, -18),
            ready: 1,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Proxy,
            patch: None,
        },
        Row {
            name: "now enough burst capacity",
            bounds: (0, 1),
            reachability: NotKnown,
            before: (True, true),
            decided: (11, 1),
            ready: 1,
            replicas: 11,
            after: (True, true),
            status_desired: 11,
            mode: Serve,
            patch: None,
        },
        Row {
            name: "initial scale not reached",
            bounds: (11, 20),
            reachability: Reachable,
            before: (Unknown, false),
            decided: (11, -42),
            ready: 11,
            replicas: 11,
            after: (Unknown, false),
            status_desired: 20,
            mode: Proxy,
            patch: Some(20),
        },
        Row {
            name: "initial scale reached",
            bounds: (0, 20),
            reachability: Reachable,
            before: (Unknown, false),
            decided: (11, -42),
            ready: 20,
            replicas: 11,
            after: (True, true),
            status_desired: 20,
            mode: Proxy,
            patch: Some(20),
        },
        Row {
            name: "initial scale zero: to zero",
            bounds: (0, 0),
            reachability: Reachable,
            before: (Unknown, false),
            decided: (-1, 0),
            ready: 0,
            replicas: 0,
            after: (False, true),
            status_desired: -1,
            mode: Proxy,
            patch: None,
        },
        Row {
            name: "initial scale zero: stays",
            bounds: (0, 0),
            reachability: Reachable,
            before: (Unknown, true),
            decided: (-1, 0),
            ready: 0,
            replicas: 0,
            after: (Unknown, true),
            status_desired: -1,
            mode: Proxy,
            patch: None,
        },
        Row {
            name: "initial scale zero: more than zero",
            bounds: (0, 0),
            reachability: Reachable,
            before: (Unknown, true),
            decided: (2, -42),
            ready: 2,
            replicas: 2,
            after: (True, true),
            status_desired: 2,
            mode: Proxy,
            patch: None,
        },
    ]
}
