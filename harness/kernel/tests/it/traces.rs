//! Flights computed by hand, from the first request to panic and back.

use windtunnel_kernel::autoscale::kpa::{ConditionStatus, Config, ServeMode, Trigger};

use crate::flight::{Flight, SECOND, at, ten_a_pod};

/// If it fails, the first user after a quiet night waits for the next tick, or for ever.
#[test]
fn cold_start_from_zero() {
    let mut flight = Flight::new(ten_a_pod(), 1, 0);
    // Before any data the decider has no opinion, so the Deployment keeps its initial scale.
    let decision = flight.reconcile(0.0);
    assert_eq!((decision.desired, decision.replicas), (-1, None));
    assert_eq!(decision.active.status, ConditionStatus::Unknown);
    assert_eq!(decision.active.reason, "Queued");
    assert_eq!(decision.requeue_after_ns, Some(630 * SECOND));
    let decision = flight.tick(2.0);
    assert!(!decision.valid, "no pod was ready, so there is no data");

    // The pod is up, nobody comes: a stable window later the revision becomes inactive.
    flight.ready = 1;
    let decision = flight.reconcile(3.0);
    assert_eq!(decision.active.status, ConditionStatus::True);
    assert_eq!(decision.active.since_ns, at(3.0));
    let decision = flight.tick(4.0);
    assert!(decision.valid, "the scrape of second 3 found no requests");
    assert_eq!((decision.desired, decision.replicas), (0, None));
    assert_eq!(decision.requeue_after_ns, Some(59 * SECOND));
    for second in (6..=62).step_by(2) {
        assert_eq!(flight.tick(f64::from(second)).replicas, None, "at {second} s");
    }
    let decision = flight.reconcile(63.0);
    assert_eq!(decision.active.status, ConditionStatus::False);
    assert_eq!(decision.active.reason, "NoTraffic");
    assert_eq!(decision.replicas, None, "the revision becomes inactive before its last pod goes");
    assert_eq!(decision.requeue_after_ns, Some(3 * SECOND), "the activator is in the path already");
    // One pod of 10 is less than the burst of 211, so the activator has been in the path all the time.
    let decision = flight.tick(64.0);
    assert_eq!(decision.replicas, Some(0));
    flight.ready = 0;
    assert_eq!(flight.reconcile(65.0).replicas, None);

    // A request comes: the activator's immediate report pokes, and one pod is wanted at once.
    assert!(flight.report(100.5, 1.0), "a request at zero pokes");
    let decision = flight.step(Trigger::Poke, 100.5);
    assert_eq!((decision.desired, decision.replicas), (1, Some(1)));
    assert_eq!(decision.active.status, ConditionStatus::Unknown);
    assert_eq!(decision.active.since_ns, at(100.0), "the API stores whole seconds");
    assert_eq!(decision.mode, ServeMode::Proxy);
    assert!(!flight.report(100.7, 1.0), "no poke while more than zero are wanted");
    flight.ready = 1;
    assert_eq!(flight.reconcile(102.0).active.status, ConditionStatus::True);
}

/// If it fails, a burst is served by too few pods, or its pods vanish in the middle of it.
#[test]
fn panic_entry_hold_and_exit() {
    let mut flight = Flight::new(ten_a_pod(), 1, 1);
    // 10 requests a second until 10 s, then 50 until 19 s.
    let concurrency = |second: u32| match second {
        1..=10 => 10.0,
        11..=19 => 50.0,
        _ => 0.0,
    };
    let mut desired = Vec::new();
    for second in 1..=84_u32 {
        flight.report(f64::from(second), concurrency(second));
        if second.is_multiple_of(2) {
            let decision = flight.tick(f64::from(second));
            desired.push((second, decision.desired));
            match second {
                // Stable 200/12 = 16.7 -> 2; panic (7..=12) 140/6 = 23.3 -> 3 = over twice the one ready pod.
                12 => assert_eq!(
                    decision.explanation.to_string(),
                    "concurrency 16.667/target 10 over 60 s -> 2; panic (6 s) 23.333 -> 3, panicking"
                ),
                // Last over the threshold at 16 s: 60 s later it still panics, strictly later it does not.
                76 => assert!(flight.autoscaler.is_panicking()),
                78 => assert!(!flight.autoscaler.is_panicking()),
                _ => {}
            }
        }
        // Pods follow one second after 16 s, and at once on the way down.
        if second == 17 || second > 60 {
            flight.ready = flight.replicas;
        }
    }
    let mut expected: Vec<(u32, i32)> = (2..=10).step_by(2).map(|second| (second, 1)).collect();
    expected.extend([(12, 3), (14, 4), (16, 5)]);
    expected.extend((18..=76).step_by(2).map(|second| (second, 5)));
    // Then half of the ready pods a tick.
    expected.extend([(78, 2), (80, 1), (82, 0), (84, 0)]);
    assert_eq!(desired, expected);
    // Active for long enough and always behind the activator: inactive at 82 s, gone at 84 s.
    assert_eq!(flight.autoscaler.active().since_ns, at(82.0));
    assert_eq!(flight.replicas, 0);
}

/// If it fails, restarting the control plane drops pods that are in use.
#[test]
fn a_restarted_autoscaler_keeps_what_it_finds() {
    let mut flight = Flight::new(ten_a_pod(), 3, 3);
    for second in (2..=60).step_by(2) {
        let decision = flight.tick(f64::from(second));
        assert_eq!((decision.desired, decision.replicas), (3, None), "at {second} s");
    }
    assert_eq!(flight.tick(62.0).desired, 1);
}

/// If it fails, reports that cross in one second lose load, or a revision panics for no reason.
#[test]
fn reports_of_one_second_add_up() {
    let mut flight = Flight::new(ten_a_pod(), 1, 1);
    for _ in 0..3 {
        flight.report(1.2, 5.0);
    }
    let decision = flight.tick(2.0);
    assert_eq!(decision.explanation.stable, Some(15.0));
    assert_eq!(decision.desired, 2);
}

/// If it fails, a team that asked for more pods at the start, or none, gets something else.
#[test]
fn initial_scale_is_reached_once_then_left() {
    let mut flight = Flight::new(Config { initial_scale: 3, ..ten_a_pod() }, 1, 0);
    assert_eq!(flight.reconcile(0.0).replicas, Some(3));
    flight.ready = 2;
    assert_eq!(flight.tick(4.0).active.status, ConditionStatus::Unknown);
    flight.ready = 3;
    assert_eq!(flight.reconcile(5.0).active.status, ConditionStatus::True);
    assert!(flight.autoscaler.is_initialized());
    // No load; at most half of the pods go in a tick.
    assert_eq!(flight.tick(6.0).replicas, Some(1));
    flight.ready = 1;
    assert_eq!(flight.tick(8.0).desired, 0);
    assert_eq!(flight.replicas, 1);
}

/// If it fails, `initial-scale: 0` either starts a pod for nobody or never answers.
#[test]
fn initial_scale_zero_waits_for_the_first_request() {
    let mut flight = Flight::new(Config { initial_scale: 0, ..ten_a_pod() }, 0, 0);
    let decision = flight.reconcile(0.0);
    assert_eq!((decision.desired, decision.replicas), (-1, None));
    assert_eq!(decision.active.status, ConditionStatus::False);
    assert_eq!(decision.active.reason, "NoTraffic");
    assert_eq!(flight.tick(2.0).active.status, ConditionStatus::False);
    // There was no decision for zero yet, so nothing pokes: the next tick takes it up.
    assert!(!flight.report(10.3, 1.0));
    let decision = flight.tick(12.0);
    assert_eq!((decision.desired, decision.replicas), (1, Some(1)));
    assert_eq!(decision.active.status, ConditionStatus::Unknown);
    flight.ready = 1;
    assert_eq!(flight.reconcile(13.0).active.status, ConditionStatus::True);
}

/// If it fails, min-scale and max-scale are only decoration, or nobody learns which of them won.
#[test]
fn bounds_win_and_say_so() {
    let mut flight = Flight::new(Config { max_scale: 3, min_scale: 1, ..ten_a_pod() }, 1, 1);
    flight.report(1.0, 90.0);
    let decision = flight.tick(2.0);
    assert_eq!((decision.desired, decision.replicas), (9, Some(3)));
    assert_eq!(decision.explanation.winner, "max-scale");
    assert_eq!(
        decision.explanation.to_string(),
        "concurrency 90/target 10 over 60 s -> 9; panic (6 s) 90 -> 9, panicking; limited to 3 by max-scale"
    );
    let mut flight = Flight::new(Config { min_scale: 2, ..ten_a_pod() }, 2, 1);
    let decision = flight.tick(2.0);
    assert_eq!((decision.desired, decision.explanation.want), (0, 2));
    assert_eq!(
        decision.explanation.to_string(),
        "concurrency 0/target 10 over 60 s -> 0; panic (6 s) 0 -> 0; raised to 2 by min-scale"
    );
}

/// If it fails, a changed window forgets the load and scales a busy revision down.
#[test]
fn reconfiguring_keeps_what_the_windows_hold() {
    let mut flight = Flight::new(ten_a_pod(), 4, 4);
    for second in 1..=60 {
        flight.report(f64::from(second), 40.0);
    }
    assert_eq!(flight.tick(60.0).desired, 4);
    let config = Config { stable_window_ns: 30 * SECOND, panic_window_ns: 3 * SECOND, ..ten_a_pod() };
    flight.autoscaler.reconfigure(config, at(61.0));
    let decision = flight.tick(62.0);
    assert_eq!(decision.explanation.stable_window_ns, 30 * SECOND);
    // Second 61 was scraped empty, nothing came in it; second 62 has no data yet and is left out.
    assert_eq!(decision.explanation.stable, Some(38.62069));
    assert_eq!(decision.desired, 4);
}
