//! Shares of one activator beyond the shipped vectors.

use windtunnel_kernel::routing::throttler::{Share, assign, capacity, infer_index, pick_indices};

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
