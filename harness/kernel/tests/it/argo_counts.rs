//! Replica counts of an Argo canary: the tables of argo-rollouts' `utils/replicaset/canary_test.go`.

use windtunnel_kernel::rollout::argo::replicas::{
    Counts, Versions, approximate_weighted_counts, meets_threshold, replicas_for_scale_down, size,
    traffic_weight_to_replicas,
};
use windtunnel_kernel::rollout::argo::spec::{
    Canary, CanaryScale, ProgressThreshold, ProgressUnit, Step, Strategy, TrafficRouting,
};
use windtunnel_kernel::rollout::argo::status::{Destination, TrafficWeights};
use windtunnel_kernel::rollout::argo::weights::desired_canary_weight;
use windtunnel_kernel::rollout::argo::{ReplicaSet, RolloutSpec, Status};
use windtunnel_kernel::rollout::value::IntOrText;

/// What only some of the cases have.
#[derive(Clone, Copy)]
struct More {
    older: Option<(i32, i32)>,
    scale: Option<(Option<i32>, Option<i32>, bool)>,
    routed: bool,
    promote_full: bool,
    abort: bool,
    abort_delay: Option<i32>,
    least: Option<i32>,
}

impl More {
    const NONE: Self = Self {
        older: None,
        scale: None,
        routed: false,
        promote_full: false,
        abort: false,
        abort_delay: None,
        least: None,
    };
}

type Case = (i32, i32, (&'static str, &'static str), (i32, i32), (i32, i32), (i32, i32), More);

fn amount(text: &str) -> IntOrText {
    text.parse().map_or_else(|_| IntOrText::from(text), IntOrText::Int)
}

fn spec(replicas: i32, canary: Canary) -> RolloutSpec {
    RolloutSpec {
        replicas: Some(replicas),
        strategy: Strategy { canary: Some(canary), ..Strategy::default() },
        ..RolloutSpec::default()
    }
}

fn set_weight(weight: i32) -> Step {
    Step { set_weight: Some(weight), ..Step::default() }
}

fn between() -> Status {
    Status {
        stable_hash: "stable".to_string(),
        current_pod_hash: "canary".to_string(),
        current_step_index: Some(0),
        ..Status::default()
    }
}

/// (replicas, weight, (surge, unavailable), stable (asked, serving), canary (asked, serving),
/// expected (stable, canary), more)
const CASES: &[Case] = &[
    // Do not add extra RSs in scaleDownCount when .Spec.Replica < AvailableReplicas
    (10, 100, ("3", "0"), (7, 8), (6, 3), (7, 6), More::NONE),
    // Use max surge int to scale up canary
    (10, 20, ("2", "0"), (10, 10), (0, 0), (10, 2), More::NONE),
    // Use max surge percentage to scale up canary
    (10, 20, ("20%", "0"), (10, 10), (0, 0), (10, 2), More::NONE),
    // Scale down extra stable replicas
    (10, 20, ("20%", "0"), (10, 10), (2, 2), (8, 2), More::NONE),
    // Do not go past max surge
    (10, 30, ("2", "0"), (10, 10), (0, 0), (10, 2), More::NONE),
    // Use max unavailable int to scale down stableRS
    (10, 20, ("0", "2"), (10, 10), (0, 0), (8, 0), More::NONE),
    // Use max surge percentage to scale down stableRS
    (10, 20, ("0", "20%"), (10, 10), (0, 0), (8, 0), More::NONE),
    // Do not go past max unavailable
    (10, 30, ("0", "2"), (10, 10), (0, 0), (8, 0), More::NONE),
    // Use Max Surge and Max Unavailable
    (10, 50, ("2", "1"), (10, 10), (0, 0), (9, 2), More::NONE),
    // Scale canaryRS to zero on setWeight of 0%
    (10, 0, ("1", "1"), (10, 10), (1, 1), (10, 0), More::NONE),
    // Scale stable to zero on setWeight of 100%
    (10, 100, ("1", "1"), (1, 1), (10, 10), (0, 10), More::NONE),
    // Do not scale canaryRS down to zero on non-zero weight
    (1, 20, ("1", "0"), (1, 1), (0, 0), (1, 1), More::NONE),
    // Do not scale canaryRS down to zero on non-100 weight
    (1, 90, ("1", "0"), (1, 1), (0, 0), (1, 1), More::NONE),
    // Scale canaryRS to zero on <50 weight without surge
    (1, 49, ("0", "1"), (1, 1), (0, 0), (1, 0), More::NONE),
    // Scale stableRS down to zero on >=50 weight without surge
    (1, 51, ("0", "1"), (1, 1), (0, 0), (0, 0), More::NONE),
    // Scale canaryRS to one on >=50 weight without surge and stable replicas
    (1, 51, ("0", "1"), (0, 0), (0, 0), (0, 1), More::NONE),
    // Scale up Stable before canaryRS
    (10, 30, ("1", "0"), (1, 1), (0, 0), (7, 1), More { older: Some((3, 3)), ..More::NONE }),
    // Scale down canaryRS and stable
    (10, 30, ("0", "3"), (8, 5), (4, 4), (7, 3), More::NONE),
    // Scale down stable and canary available
    (10, 100, ("1", "0"), (10, 2), (10, 8), (2, 9), More::NONE),
    // Do not scale down canaryRS or stable when older RS count >= scaleDownCount
    (10, 30, ("0", "1"), (8, 6), (4, 2), (8, 4), More { older: Some((3, 3)), ..More::NONE }),
    // Do not round past maxSurge with uneven setWeight divisor
    (10, 5, ("0", "1"), (10, 10), (0, 0), (9, 0), More::NONE),
    // Do not round past maxSurge with uneven setWeight divisor (part 2)
    (10, 5, ("0", "1"), (9, 9), (0, 0), (9, 1), More::NONE),
    // Use maxUnavailable of 1 when percentage of maxUnavailable and maxSurge result in 0 replicas
    (10, 10, ("0%", "0%"), (10, 10), (0, 0), (9, 0), More::NONE),
    // For canary replicas, use setCanaryScale.replicas when specified along with trafficRouting (and ignore setWeight)
    (
        1,
        100,
        ("0", "0"),
        (1, 1),
        (0, 0),
        (1, 9),
        More { scale: Some((Some(9), None, false)), routed: true, ..More::NONE },
    ),
    // Use setCanaryScale.weight for canary replicas when specified with trafficRouting (and ignore setWeight)
    (
        4,
        100,
        ("0", "0"),
        (4, 4),
        (0, 0),
        (4, 8),
        More { scale: Some((None, Some(200), false)), routed: true, ..More::NONE },
    ),
    // Ignore setCanaryScale replicas/weight when matchTrafficWeight is true
    (
        10,
        20,
        ("20%", "0"),
        (10, 10),
        (0, 0),
        (10, 2),
        More { scale: Some((Some(9), Some(100), true)), routed: true, ..More::NONE },
    ),
    // Ignore setCanaryScale when trafficRouting is missing and use setWeight for replicas
    (
        10,
        20,
        ("20%", "0"),
        (10, 10),
        (0, 0),
        (10, 2),
        More { scale: Some((Some(9), Some(100), false)), ..More::NONE },
    ),
    // honor maxSurge during scale up when stableRS unavailable
    (4, 100, ("1", "0"), (4, 1), (0, 0), (4, 1), More::NONE),
    // scale down to maxunavailable without exceeding maxSurge
    (3, 99, ("0", "2"), (3, 3), (0, 0), (1, 0), More::NONE),
    // scale down to maxunavailable without exceeding maxSurge (part 2)
    (3, 99, ("0", "2"), (1, 1), (0, 0), (1, 2), More::NONE),
    // honor maxUnavailable during scale down stableRS unavailable
    (4, 100, ("1", "0"), (4, 1), (1, 1), (3, 1), More::NONE),
    // honor maxUnavailable when aborting or reducing weight part 1
    (4, 0, ("1", "0"), (0, 0), (4, 4), (1, 4), More::NONE),
    // honor maxUnavailable when aborting or reducing weight part 2
    (4, 0, ("1", "0"), (1, 0), (4, 4), (1, 4), More::NONE),
    // honor maxUnavailable when aborting or reducing weight part 3
    (4, 0, ("1", "0"), (1, 1), (4, 4), (1, 3), More::NONE),
    // promote full does not consider weight
    (4, 1, ("4", "4"), (4, 4), (0, 0), (0, 4), More { promote_full: true, ..More::NONE }),
    // promote full still honors maxSurge/maxUnavailable
    (4, 1, ("3", "0"), (4, 4), (0, 0), (4, 3), More { promote_full: true, ..More::NONE }),
    // aborted with abortScaleDownDelaySeconds:0 and setCanaryScale
    (
        1,
        0,
        ("0", "0"),
        (1, 1),
        (1, 1),
        (1, 1),
        More {
            scale: Some((Some(1), None, false)),
            routed: true,
            abort_delay: Some(0),
            abort: true,
            ..More::NONE
        },
    ),
    // aborted with abortScaleDownDelaySeconds>0 and setCanaryScale
    (
        1,
        0,
        ("0", "0"),
        (1, 1),
        (1, 1),
        (1, 0),
        More {
            scale: Some((Some(1), None, false)),
            routed: true,
            abort_delay: Some(30),
            abort: true,
            ..More::NONE
        },
    ),
    // Honor MinPodsPerReplicaSet when using trafficRouting and starting canary
    (10, 5, ("0", "0"), (10, 10), (0, 0), (10, 2), More { routed: true, least: Some(2), ..More::NONE }),
    // Cap MinPodsPerReplicaSet when it exceeds rollout replicas with trafficRouting
    (
        1,
        100,
        ("0", "0"),
        (1, 1),
        (0, 0),
        (1, 1),
        More { routed: true, promote_full: true, least: Some(2), ..More::NONE },
    ),
];

/// If it fails, a canary takes more pods than the cluster has room for, or leaves fewer than the users need.
#[test]
fn counts_of_a_canary() {
    for &(replicas, weight, (surge, unavailable), stable, canary, expected, more) in CASES {
        let scale = more.scale.map(|(replicas, weight, match_traffic_weight)| CanaryScale {
            weight,
            replicas,
            match_traffic_weight,
        });
        let spec = spec(
            replicas,
            Canary {
                steps: vec![Step { set_canary_scale: scale, ..set_weight(weight) }],
                max_surge: Some(amount(surge)),
                max_unavailable: Some(amount(unavailable)),
                traffic_routing: more.routed.then(TrafficRouting::default),
                abort_scale_down_delay_seconds: more.abort_delay,
                min_pods_per_replica_set: more.least,
                ..Canary::default()
            },
        );
        let status = Status { promote_full: more.promote_full, abort: more.abort, ..between() };
        let (new, old) =
            (ReplicaSet::new("canary", canary.0, canary.1), ReplicaSet::new("stable", stable.0, stable.1));
        let others: Vec<_> =
            more.older.iter().map(|older| ReplicaSet::new("older", older.0, older.1)).collect();
        let versions = Versions { canary: Some(&new), stable: Some(&old), others: &others };
        let sizing = size(&spec, &status, &versions, None);
        let found = (sizing.counts.stable, sizing.counts.canary);
        assert_eq!(found, expected, "{replicas} at {weight}, stable {stable:?} canary {canary:?}: {sizing}");
    }
}

/// If it fails, a canary without a traffic router gets another share of the requests than its step says.
#[test]
fn nearest_numbers_of_pods() {
    // (replicas, weight, surge, canary, stable)
    for (replicas, weight, surge, canary, stable) in [
        (0, 0, 0, 0, 0),
        (0, 50, 0, 0, 0),
        (0, 100, 0, 0, 0),
        (0, 0, 1, 0, 0),
        (0, 50, 1, 0, 0),
        (0, 100, 1, 0, 0),
        (1, 0, 0, 0, 1),
        (1, 1, 0, 0, 1),
        (1, 49, 0, 0, 1),
        (1, 50, 0, 1, 0),
        (1, 99, 0, 1, 0),
        (1, 100, 0, 1, 0),
        (1, 0, 1, 0, 1),
        (1, 1, 1, 1, 1),
        (1, 49, 1, 1, 1),
        (1, 50, 1, 1, 1),
        (1, 99, 1, 1, 1),
        (1, 100, 1, 1, 0),
        (2, 0, 0, 0, 2),
        (2, 1, 0, 1, 1),
        (2, 50, 0, 1, 1),
        (2, 99, 0, 1, 1),
        (2, 100, 0, 2, 0),
        (2, 0, 1, 0, 2),
        (2, 1, 1, 1, 2),
        (2, 50, 1, 1, 1),
        (2, 99, 1, 2, 1),
        (2, 100, 1, 2, 0),
        (3, 10, 0, 1, 2),
        (3, 25, 0, 1, 2),
        (3, 33, 0, 1, 2),
        (3, 34, 0, 1, 2),
        (3, 49, 0, 1, 2),
        (3, 50, 0, 2, 1),
        (3, 10, 1, 1, 3),
        (3, 25, 1, 1, 3),
        (3, 33, 1, 1, 2),
        (3, 34, 1, 1, 2),
        (3, 49, 1, 2, 2),
        (3, 50, 1, 2, 2),
        (10, 0, 1, 0, 10),
        (10, 1, 0, 1, 9),
        (10, 14, 0, 1, 9),
        (10, 15, 0, 2, 8),
        (10, 16, 0, 2, 8),
        (10, 99, 0, 9, 1),
        (10, 100, 1, 10, 0),
        (10, 0, 1, 0, 10),
        (10, 1, 1, 1, 10),
        (10, 18, 1, 2, 9),
        (10, 19, 1, 2, 9),
        (10, 20, 1, 2, 8),
        (10, 23, 1, 2, 8),
        (10, 24, 1, 3, 8),
        (10, 25, 1, 3, 8),
        (10, 99, 1, 10, 1),
        (10, 100, 1, 10, 0),
    ] {
        assert_eq!(
            approximate_weighted_counts(replicas, weight, 100, surge),
            Counts { canary, stable },
            "{replicas} replicas at {weight}, surge {surge}"
        );
    }
}

/// If it fails, a canary behind a router has too few pods for its share.
#[test]
fn pods_for_a_weight() {
    for (replicas, weight, of, expected) in [
        (10, 0, 100, 0),
        (10, 20, 100, 2),
        (10, 25, 100, 3),
        (10, 33, 100, 4),
        (10, 99, 100, 10),
        (10, 100, 100, 10),
        (23, 100_000_000, 100_000_000, 23),
    ] {
        assert_eq!(traffic_weight_to_replicas(replicas, weight, of), expected, "{replicas} at {weight}/{of}");
    }
}

/// If it fails, an abort with dynamicStableScale drops requests: one version shrinks before the other has grown.
/// (TestCalculateReplicaCountsForCanaryTrafficRoutingDynamicScale)
#[test]
fn a_stable_version_that_shrinks_and_grows() {
    // (step weight, abort, (canary weight, stable weight), canary, (stable asked, serving), expected canary, stable)
    for (steps, abort, weights, canary, stable, expected) in [
        (vec![20, 60], true, (60, 40), Some(6), Some((4, 4)), (6, 8)),
        (vec![20, 60], true, (60, 40), Some(1), Some((4, 4)), (6, 8)),
        (vec![20, 60], true, (60, 40), Some(2), Some((8, 4)), (6, 8)),
        (vec![20, 60], true, (60, 40), None, None, (6, 10)),
        (vec![10], false, (10, 90), None, None, (1, 9)),
        (vec![20], false, (10, 90), None, None, (2, 9)),
        (vec![20], true, (20, 80), None, None, (2, 10)),
        (vec![20], true, (10, 90), None, None, (1, 10)),
    ] {
        let spec = spec(
            10,
            Canary {
                steps: steps.iter().map(|&weight| set_weight(weight)).collect(),
                traffic_routing: Some(TrafficRouting::default()),
                dynamic_stable_scale: true,
                ..Canary::default()
            },
        );
        let new = canary.map(|pods| ReplicaSet::new("canary", pods, pods));
        let old = stable.map(|(asked, serving)| ReplicaSet::new("stable", asked, serving));
        let versions = Versions { canary: new.as_ref(), stable: old.as_ref(), others: &[] };
        let status = Status { abort, ..between() };
        let sizing = size(&spec, &status, &versions, Some(&weights_of(weights)));
        assert_eq!((sizing.counts.canary, sizing.counts.stable), expected, "{steps:?} {weights:?} {abort}");
    }
}

/// If it fails, an aborted canary that is kept for a while is kept for ever.
/// (TestGetDesiredCanaryWeightOnAbortWithScaleDownDelay, argo-rollouts issue 4898)
#[test]
fn the_way_back_does_not_wait_for_a_canary_that_is_kept() {
    for (delay, serving, expected) in [(None, 9, 10), (Some(30), 5, 10), (Some(30), 9, 0), (Some(0), 9, 10)] {
        let spec = spec(
            10,
            Canary {
                steps: vec![set_weight(10), set_weight(50)],
                traffic_routing: Some(TrafficRouting::default()),
                dynamic_stable_scale: true,
                abort_scale_down_delay_seconds: delay,
                ..Canary::default()
            },
        );
        let (new, old) = (ReplicaSet::new("canary", 5, 5), ReplicaSet::new("stable", serving, serving));
        let versions = Versions { canary: Some(&new), stable: Some(&old), others: &[] };
        let status = Status { abort: true, ..between() };
        assert_eq!(desired_canary_weight(&spec, &status, &versions), expected, "{delay:?} {serving}");
        if (delay, serving) == (Some(30), 9) {
            let sizing = size(&spec, &status, &versions, Some(&weights_of((10, 90))));
            assert_eq!(sizing.counts.stable, 10);
        }
    }
}

/// If it fails, a rollout goes on with too few pods, or waits for the last of a hundred. (TestAllReplicaProgressThresholdMet,
/// TestAllDesiredAreAvailable, TestGetReplicasForScaleDown)
#[test]
fn enough_pods() {
    let percent = |value: i32| Some(ProgressThreshold { unit: ProgressUnit::Percent, value });
    let pods = |value: i32| Some(ProgressThreshold { unit: ProgressUnit::Pods, value });
    for (threshold, asked, serving, desired, expected) in [
        (percent(90), 0, 9, 10, true),
        (pods(9), 0, 9, 10, true),
        (percent(90), 0, 8, 10, false),
        (pods(8), 0, 7, 10, false),
        (pods(-100), 10, 10, 10, true),
        (None, 5, 10, 10, false),
        (None, 10, 10, 10, true),
        (None, 10, 9, 10, false),
        (percent(90), 0, 0, 0, true),
    ] {
        let version = ReplicaSet::new("canary", asked, serving);
        assert_eq!(meets_threshold(threshold, Some(&version), desired), expected, "{threshold:?} {serving}");
    }
    assert!(!meets_threshold(pods(5), None, 10), "no version serves nothing");

    assert_eq!(replicas_for_scale_down(None, false), 0);
    assert_eq!(replicas_for_scale_down(Some(&ReplicaSet::new("a", 3, 5)), false), 3);
    assert_eq!(replicas_for_scale_down(Some(&ReplicaSet::new("a", 3, 2)), true), 3);
    assert_eq!(replicas_for_scale_down(Some(&ReplicaSet::new("a", 3, 2)), false), 2);
}

/// If it fails, a default manifest surges by 25 pods instead of a quarter: upstream's default has no percent sign.
#[test]
fn the_lax_percent_rule() {
    for (replicas, surge, unavailable, expected) in [
        (10, None, None, (3, 2)),
        (4, None, None, (1, 1)),
        (1, None, None, (1, 0)),
        (10, Some("0"), Some("0"), (0, 1)),
        (10, Some("20"), Some("20%"), (20, 2)),
        (0, None, None, (0, 0)),
    ] {
        let canary = Canary {
            max_surge: surge.map(amount),
            max_unavailable: unavailable.map(amount),
            ..Canary::default()
        };
        assert_eq!(spec(replicas, canary).fence_posts(), expected, "{replicas} {surge:?} {unavailable:?}");
    }
}

fn weights_of((canary, stable): (i32, i32)) -> TrafficWeights {
    TrafficWeights {
        canary: Destination { weight: canary, ..Destination::default() },
        stable: Destination { weight: stable, ..Destination::default() },
        ..TrafficWeights::default()
    }
}
