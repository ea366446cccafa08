//! Shares of one activator beyond the shipped vectors.

use windtunnel_kernel::Profile;
use windtunnel_kernel::routing::breaker::Offer;
use windtunnel_kernel::routing::throttler::{
    Bugs, QUEUE_DEPTH, Share, Throttler, assign, capacity, infer_index, pick_indices,
};

/// If it fails, a pod is used by nobody, or by two activators at once over its limit.
#[test]
fn every_pod_is_assigned_to_exactly_one_activator() {
    for (pods, activators) in [(2, 2), (3, 2), (20, 3), (24, 5), (150, 5)] {
        let mut assigned: Vec<u32> =
            (0..activators).flat_map(|index| assign(pods, Some(index), activators)).collect();
        assigned.sort_unstable();
        assert_eq!(assigned, (0..pods).collect::<Vec<_>>(), "{pods} pods, {activators} activators");
    }
    assert_eq!(assign(3, None, 2), [0, 1, 2], "an activator that is not listed yet may use all");
    assert_eq!(assign(2, Some(3), 5), [1], "more activators than pods share them");
}

/// If it fails, odd numbers from an API crash the activator.
#[test]
fn odd_numbers_do_no_harm() {
    assert_eq!(pick_indices(0, 3, 0).own, 0..0);
    assert_eq!(infer_index::<&str>(&[], "10.0.0.1"), None);
    let share = Share {
        container_concurrency: u32::MAX,
        backends: i64::MAX,
        pod_trackers: u32::MAX,
        activators: 0,
        index: Some(u32::MAX),
    };
    assert_eq!(capacity(&share), i32::MAX as u32);
    assert_eq!(capacity(&Share { pod_trackers: 0, backends: -1, ..share }), 0);
    assert_eq!(capacity(&Share { activators: u32::MAX, ..share }), i32::MAX as u32);
}

fn addresses(throttler: &Throttler) -> Vec<&str> {
    throttler.assigned().collect()
}

/// The destinations of `requests` that run at the same time, sorted and without repetition.
fn destinations(throttler: &mut Throttler, requests: usize) -> Vec<String> {
    let mut word = 0_u64;
    let mut rng = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word
    };
    let mut all: Vec<String> = Vec::new();
    for _ in 0..requests {
        assert_eq!(throttler.offer(), Offer::Admit);
        let chosen = throttler.choose(&mut rng).expect("a pod with room");
        all.push(throttler.address(chosen).unwrap_or("the service").to_string());
    }
    all.sort();
    all.dedup();
    all
}

/// knative/serving `TestThrottlerSuccesses`: where the requests of a revision go. If it fails, requests pile up on one
/// pod, or go to pods that are gone.
#[test]
fn requests_spread_over_pods_as_upstream_spreads_them() {
    /// Addresses, and whether requests go to the service's address instead.
    type Update<'a> = (&'a [&'a str], bool);
    /// Name, container concurrency, updates, requests at once, and where they go.
    type Case<'a> = (&'a str, u32, &'a [Update<'a>], usize, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        ("one pod", 1, &[(&["128.0.0.1:1234"], false), (&["128.0.0.1:1234"], false)], 1, &["128.0.0.1:1234"]),
        (
            "one pod without a limit",
            0,
            &[(&["128.0.0.2:1234", "128.0.0.32:1212"], false), (&["128.0.0.1:1234"], false)],
            1,
            &["128.0.0.1:1234"],
        ),
        (
            "the service's address",
            1,
            &[(&["128.0.0.1:1234", "128.0.0.2:1234"], false), (&["128.0.0.1:1234"], true)],
            1,
            &["the service"],
        ),
        (
            "spread",
            1,
            &[(&["128.0.0.3:1234"], false), (&["128.0.0.1:1234", "128.0.0.2:1234"], false)],
            2,
            &["128.0.0.1:1234", "128.0.0.2:1234"],
        ),
        (
            "clumped up to three a pod",
            3,
            &[(
                &["128.0.0.1:1234", "128.0.0.2:1234", "128.0.0.2:4236", "128.0.0.2:1233", "128.0.0.2:1230"],
                false,
            )],
            3,
            &["128.0.0.1:1234"],
        ),
        (
            "round robin from four a pod on",
            5,
            &[(&["128.0.0.1:1234", "128.0.0.2:1234", "211.212.213.214"], false)],
            3,
            &["128.0.0.1:1234", "128.0.0.2:1234", "211.212.213.214"],
        ),
        (
            "several to the service's address",
            1,
            &[(&["128.0.0.1:1234", "128.0.0.2:1234"], true)],
            2,
            &["the service"],
        ),
    ];
    for (name, container_concurrency, updates, requests, expected) in cases {
        let mut throttler = Throttler::new(container_concurrency, Bugs::default());
        throttler.update_activators(&["130.0.0.2"], "130.0.0.2");
        for (pods, by_service) in updates {
            throttler.update_pods(pods, *by_service);
        }
        assert_eq!(destinations(&mut throttler, requests), expected, "{name}");
    }
}

/// `TestPodAssignmentFinite`, `TestPodAssignmentInfinite`. If it fails, several activators overload the same pod.
#[test]
fn an_activator_gets_its_slice_of_the_pods_and_loses_it() {
    let pods = ["ip4", "ip3", "ip5", "ip2", "ip1", "ip0"];
    let mut limited = Throttler::new(42, Bugs::default());
    limited.update_pods(&pods, false);
    limited.update_activators(&["a", "b", "c", "d"], "a");
    assert_eq!(addresses(&limited), ["ip0", "ip4"]);
    assert_eq!(limited.capacity(), 84);
    limited.update_pods::<&str>(&[], false);
    assert_eq!((addresses(&limited).len(), limited.capacity()), (0, 0));
    assert_eq!(limited.offer(), Offer::Queue);

    let mut unlimited = Throttler::new(0, Bugs::default());
    unlimited.update_pods(&["ip3", "ip2", "ip1"], false);
    assert_eq!(addresses(&unlimited), ["ip1", "ip2", "ip3"]);
    assert_eq!(unlimited.capacity(), 1);
    unlimited.update_pods::<&str>(&[], false);
    assert_eq!((addresses(&unlimited).len(), unlimited.capacity()), (0, 0));
}

/// `TestActivatorsIndexUpdate`, `TestMultipleActivators`, `TestInfiniteBreaker`. If it fails, an activator that joins or
/// leaves changes nobody else's share.
#[test]
fn shares_follow_the_activators() {
    let pods = ["128.0.0.1:1234", "128.0.0.2:1234", "128.0.0.23:1234"];
    let mut throttler = Throttler::new(1, Bugs::default());
    throttler.update_pods(&pods, false);
    assert_eq!(throttler.capacity(), 3, "not listed yet: all of them");
    throttler.update_activators(&["130.0.0.1", "130.0.0.2"], "130.0.0.2");
    assert_eq!((throttler.capacity(), addresses(&throttler).len()), (1, 1));
    // Of two requests the second one waits.
    assert_eq!([throttler.offer(), throttler.offer()], [Offer::Admit, Offer::Queue]);
    throttler.update_activators(&["130.0.0.9"], "130.0.0.2");
    assert_eq!(throttler.capacity(), 1, "not among them any more: nothing changes");
    assert_eq!(throttler.update_activators(&["130.0.0.2"], "130.0.0.2"), 1, "the second one runs");
    assert_eq!(throttler.capacity(), 3);

    let mut unlimited = Throttler::new(0, Bugs::default());
    assert_eq!([unlimited.offer(), unlimited.offer()], [Offer::Queue; 2]);
    assert_eq!(unlimited.update_pods(&["a"], false), 2);
    assert_eq!(unlimited.update_pods::<&str>(&[], false), 0);
    assert_eq!(unlimited.offer(), Offer::Queue);
}

/// If it fails, a request on a pod that went away takes a place of the pods that are left, or frees one twice.
#[test]
fn pods_may_go_while_they_serve() {
    let mut throttler = Throttler::new(1, Bugs::default());
    throttler.update_pods(&["a", "b"], false);
    let one = (throttler.offer(), throttler.choose(&mut || 0)).1.expect("a");
    let other = (throttler.offer(), throttler.choose(&mut || 0)).1.expect("b");
    assert_eq!(throttler.offer(), Offer::Queue);
    throttler.update_pods(&["b"], false);
    assert_eq!(throttler.address(one), None);
    assert_eq!(throttler.finish(one), 0, "b is still busy");
    assert_eq!(throttler.finish(other), 1);
    assert_eq!(throttler.choose(&mut || 0), Some(other));
    assert_eq!(throttler.choose(&mut || 0), None, "nobody else was admitted");
}

/// If it fails, an overload hides in a queue without an end; or the upstream profile rejects what upstream keeps.
#[test]
fn the_queue_ends_unless_upstreams_does_not() {
    for container_concurrency in [0, 1] {
        let mut bounded = Throttler::new(container_concurrency, Bugs::default());
        assert!((0..QUEUE_DEPTH).all(|_| bounded.offer() == Offer::Queue));
        assert_eq!(bounded.offer(), Offer::Reject);
        bounded.abandon();
        assert_eq!(bounded.offer(), Offer::Queue);

        let mut endless = Throttler::new(container_concurrency, Bugs::of(Profile::Upstream));
        assert!((0..=QUEUE_DEPTH).all(|_| endless.offer() == Offer::Queue));
        assert_eq!(endless.queued(), QUEUE_DEPTH + 1);
    }
}
