//! From the last request to no pods.

use windtunnel_kernel::autoscale::kpa::{ConditionStatus, Config, Reachability, ServeMode};

use crate::flight::{Flight, SECOND, at, ten_a_pod};

/// Never in the path while pods serve, so the grace period counts from becoming inactive.
fn direct() -> Config {
    Config { target_burst_capacity: 0.0, ..ten_a_pod() }
}

/// Serves until second 10 and is idle afterwards; becomes inactive at second 70.
fn idle_since_ten_seconds(config: Config) -> Flight {
    let mut flight = Flight::new(config, 1, 1);
    assert_eq!(flight.reconcile(0.0).active.status, ConditionStatus::True);
    for second in 1..=69_u32 {
        if second <= 10 {
            flight.report(f64::from(second), 5.0);
        }
        if second.is_multiple_of(2) {
            let decision = flight.tick(f64::from(second));
            assert_eq!((decision.desired, decision.replicas), (1, None), "at {second} s");
            assert_eq!(decision.mode, ServeMode::Serve, "at {second} s");
        }
    }
    // The window of second 70 is 11..=70: the load has drained.
    let decision = flight.tick(70.0);
    assert_eq!((decision.desired, decision.replicas), (0, None));
    assert_eq!(decision.mode, ServeMode::Proxy);
    assert_eq!(decision.active.status, ConditionStatus::False);
    assert_eq!(decision.active.since_ns, at(70.0));
    flight
}

/// If it fails, the last pod goes before the activator has its place, and requests are lost; or it never goes and
/// costs money.
#[test]
fn stable_window_then_grace_period() {
    let mut flight = idle_since_ten_seconds(direct());
    let decision = flight.tick(72.0);
    assert_eq!((decision.replicas, decision.requeue_after_ns), (None, Some(28 * SECOND)));
    assert_eq!(flight.reconcile(99.9).replicas, None);
    assert_eq!(flight.reconcile(100.0).replicas, Some(0));
}

/// If it fails, the last pod goes while the activator does not know the revision, and requests are lost.
#[test]
fn waits_until_the_activator_answers() {
    let mut flight = idle_since_ten_seconds(direct());
    flight.activator_answers = false;
    let decision = flight.reconcile(105.0);
    assert_eq!((decision.replicas, decision.requeue_after_ns), (None, Some(SECOND)));
    flight.activator_answers = true;
    assert_eq!(flight.reconcile(106.0).replicas, Some(0));
}

/// If it fails, a team that pays for a warm last pod does not get it.
#[test]
fn retention_keeps_the_last_pod() {
    let retained = || Config { scale_to_zero_pod_retention_period_ns: 45 * SECOND, ..direct() };
    let mut flight = idle_since_ten_seconds(retained());
    let decision = flight.reconcile(100.0);
    assert_eq!((decision.replicas, decision.requeue_after_ns), (None, Some(15 * SECOND)));
    assert_eq!(flight.reconcile(115.0).replicas, Some(0));

    let mut flight = idle_since_ten_seconds(retained());
    flight.reachability = Reachability::Unreachable;
    assert_eq!(flight.reconcile(100.0).replicas, Some(0), "nobody can reach it, so it is not kept warm");
}

/// If it fails, a revision whose load stops soon after it started keeps all of its pods for a window.
#[test]
fn goes_to_one_while_it_waits_to_become_inactive() {
    let mut flight = Flight::new(Config { target_burst_capacity: -1.0, ..ten_a_pod() }, 4, 0);
    flight.reconcile(0.0);
    flight.ready = 4;
    flight.reconcile(30.0);
    flight.report(31.0, 0.0);
    // No scrape target: silence means no load. Not more than half of the pods go in a tick.
    assert_eq!(flight.tick(32.0).replicas, Some(2));
    flight.ready = 2;
    assert_eq!(flight.tick(34.0).replicas, Some(1));
    flight.ready = 1;
    let decision = flight.tick(36.0);
    assert_eq!((decision.desired, decision.replicas), (0, None));
    assert_eq!(decision.requeue_after_ns, Some(54 * SECOND));
    assert_eq!(decision.excess_burst_capacity, -1);
    // Inactive at 90 s, the activator always in the path: zero at the next look.
    assert_eq!(flight.reconcile(90.0).active.status, ConditionStatus::False);
    assert_eq!(flight.reconcile(93.0).replicas, Some(0));
}

/// If it fails, a revision that cannot start is restarted for ever, or is given up while it still might.
#[test]
fn an_activation_that_takes_too_long_is_given_up() {
    let mut flight = Flight::new(Config { progress_deadline_ns: 5 * SECOND, ..ten_a_pod() }, 1, 0);
    assert_eq!(flight.reconcile(0.0).requeue_after_ns, Some(35 * SECOND));
    assert_eq!(flight.reconcile(35.0).replicas, None, "strictly longer than deadline and buffer");
    let decision = flight.reconcile(35.1);
    assert_eq!(decision.replicas, Some(0));
    assert_eq!(decision.active.status, ConditionStatus::False);
    assert_eq!(decision.active.reason, "TimedOut");
}

/// If it fails, a cluster that forbids zero loses its last pod.
#[test]
fn disabled_scale_to_zero_keeps_one() {
    let mut flight = Flight::new(Config { enable_scale_to_zero: false, ..ten_a_pod() }, 1, 1);
    for second in (0..=200).step_by(2) {
        assert_eq!(flight.tick(f64::from(second)).replicas, None, "at {second} s");
    }
    assert_eq!(flight.autoscaler.active().status, ConditionStatus::True);
}

/// If it fails, a revision that requests come back to while it winds down answers late.
#[test]
fn load_that_returns_stops_the_wind_down() {
    let mut flight = idle_since_ten_seconds(direct());
    assert!(flight.report(80.0, 1.0), "decided to be at zero, so it pokes although a pod is still there");
    let decision = flight.tick(80.0);
    assert_eq!((decision.desired, decision.replicas), (1, None));
    assert_eq!(decision.active.status, ConditionStatus::True);
    assert_eq!(decision.active.since_ns, at(80.0), "the wait starts anew");
    assert_eq!(decision.mode, ServeMode::Serve);
}
