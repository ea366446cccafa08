//! Argo's weights: facts of argo-rollouts' `rollout/trafficrouting_test.go`.

use windtunnel_kernel::rollout::argo::decision::ExperimentReport;
use windtunnel_kernel::rollout::argo::status::{Destination, ExperimentRef, TrafficWeights};
use windtunnel_kernel::rollout::argo::weights::{can_serve, interrupted_version};
use windtunnel_kernel::rollout::argo::{
    AnalysisPhase, Decision, Effect, Observation, ReplicaSet, Rollout, RolloutSpec, Status,
};

use crate::argo_rollout::{NOW, SECOND, at_step, scale, seen, step, with};

fn routed(replicas: i32, fields: &str, steps: &str) -> RolloutSpec {
    let surge = r#""maxSurge": 1, "maxUnavailable": 0, "trafficRouting": {"istio": {}}"#;
    with(replicas, &format!(r#"{surge}, "steps": {steps}{fields}"#))
}

fn weights(canary: (&str, i32), stable: (&str, i32)) -> TrafficWeights {
    let to = |(hash, weight): (&str, i32)| Destination {
        weight,
        pod_template_hash: hash.to_string(),
        service_name: String::new(),
    };
    TrafficWeights { canary: to(canary), stable: to(stable), ..TrafficWeights::default() }
}

fn set(decision: &Decision) -> Option<i32> {
    decision.effects.iter().find_map(|effect| match effect {
        Effect::SetWeights(weights) => Some(weights.canary.weight),
        _ => None,
    })
}

const DYNAMIC: &str = r#", "dynamicStableScale": true"#;

/// If it fails, users are sent to a canary that is not there yet. (TestRolloutUseDesiredWeight, …100,
/// …UsePreviousSetWeight, TestRolloutSetWeightToZeroWhenFullyRolledOut)
#[test]
fn weights_of_steps() {
    let paused = routed(10, "", r#"[{"setWeight": 10}, {"pause": {}}]"#);
    let one = seen("v2", &[("v1", 10, 10), ("v2", 1, 1)]);
    assert_eq!(set(&step(&paused, at_step(&paused, 1), &one).1), Some(10));
    let all = seen("v2", &[("v1", 10, 10), ("v2", 10, 10)]);
    assert_eq!(set(&step(&paused, at_step(&paused, 2), &all).1), Some(100), "past the last step");

    let two = routed(10, "", r#"[{"setWeight": 10}, {"setWeight": 20}]"#);
    let (_, decision) = step(&two, at_step(&two, 1), &one);
    assert_eq!(set(&decision), Some(10), "the weight before, until there are pods for the new one");
    assert!(decision.effects.contains(&scale("v2", 1, 2)));

    let mut promoted = at_step(&paused, 2);
    promoted.current_pod_hash = "v1".to_string();
    assert_eq!(set(&step(&paused, promoted, &seen("v1", &[("v1", 10, 10)])).1), Some(0));

    let none = seen("v2", &[("v1", 10, 10), ("v2", 1, 0)]);
    assert_eq!(set(&step(&paused, at_step(&paused, 1), &none).1), Some(0), "no canary serves");

    let (_, unrouted) = step(&with(10, r#""steps": []"#), Status::default(), &one);
    assert_eq!(unrouted.weights, None);
}

/// If it fails, `maxTrafficWeight` means percent. (TestCanaryRolloutWithMaxWeightInTrafficRouting)
#[test]
fn weights_of_a_thousand() {
    for (max_weight, weight, expected) in [(100, 10, 1), (1000, 200, 2)] {
        let spec = with(
            10,
            &format!(
                r#""trafficRouting": {{"nginx": {{}}, "maxTrafficWeight": {max_weight}}},
                    "steps": [{{"setWeight": {weight}}}]"#
            ),
        );
        let (_, decision) = step(&spec, at_step(&spec, 0), &seen("v2", &[("v1", 10, 10), ("v2", 0, 0)]));
        assert!(decision.effects.contains(&scale("v2", 0, expected)), "{max_weight}");
        let weights = decision.weights.expect("a router");
        assert_eq!((weights.canary.weight, weights.stable.weight), (0, max_weight));
    }
}

/// If it fails, a promotion at once takes the stable version's traffic before there are pods for it.
/// (TestRolloutUseDynamicWeightOnPromoteFull)
#[test]
fn weights_of_a_full_promotion() {
    for (fields, expected) in [(DYNAMIC, 50), ("", 5)] {
        let spec = routed(10, fields, r#"[{"setWeight": 5}, {"setWeight": 25}]"#);
        let mut status = at_step(&spec, 1);
        status.promote_full = true;
        status.weights = Some(weights(("v2", 5), ("v1", 95)));
        let (_, decision) = step(&spec, status, &seen("v2", &[("v1", 10, 10), ("v2", 10, 5)]));
        assert_eq!(decision.weights.map(|weights| weights.canary.weight), Some(expected), "{fields:?}");
    }
}

/// If it fails, an abort drops requests, or brings traffic back to what was aborted.
/// (TestDynamicScaling…WhenAborted, TestDynamicScalingAbortWithZeroReplicas)
#[test]
fn weights_after_an_abort() {
    let half = r#"[{"setWeight": 50}, {"pause": {}}]"#;
    // (replicas, dynamic, steps, weight now, stable serving, canary (asked, serving), expected)
    for (replicas, fields, steps, now, stable, canary, expected) in [
        (5, DYNAMIC, half, Some(0), 4, (0, 0), 0),
        (5, DYNAMIC, half, Some(100), 3, (4, 4), 50),
        (5, DYNAMIC, r#"[{"pause": {}}]"#, Some(100), 1, (4, 4), 80),
        (5, DYNAMIC, half, Some(20), 5, (0, 0), 0),
        (0, DYNAMIC, half, None, 0, (0, 0), 0),
        (5, "", half, Some(50), 5, (3, 3), 0),
    ] {
        let spec = routed(replicas, fields, steps);
        let mut status = at_step(&spec, 1);
        (status.abort, status.aborted_at_ns) = (true, Some(NOW - 60 * SECOND));
        status.weights = now.map(|now| weights(("v2", now), ("v1", 100 - now)));
        let both = seen("v2", &[("v1", replicas, stable), ("v2", canary.0, canary.1)]);
        let (_, decision) = step(&spec, status, &both);
        let found = decision.weights.expect("a router");
        assert_eq!(
            found.canary.weight, expected,
            "{fields} {steps} {now:?} {stable}: {}",
            decision.explanation
        );
        assert_eq!(found.canary.weight + found.stable.weight, 100);
    }
}

/// If it fails, going back to the stable version sends everything to the one pod that is left of it.
/// (TestDontWeightToZeroWhenDynamicallyRollingBackToStable, TestCheckReplicaSetAvailable)
#[test]
fn back_to_a_stable_version_that_is_too_small() {
    let spec = routed(10, DYNAMIC, r#"[{"setWeight": 90}, {"pause": {}}]"#);
    let mut status = at_step(&spec, 1);
    status.current_pod_hash = "v1".to_string();
    let interrupted = weights(("v2", 10), ("v1", 90));
    status.weights = Some(interrupted.clone());
    let (rollout, decision) = step(&spec, status, &seen("v1", &[("v1", 1, 1), ("v2", 9, 9)]));
    assert_eq!(set(&decision), None, "one pod of ten cannot serve 90 percent");
    assert_eq!(rollout.status().weights.as_ref(), Some(&interrupted));
    assert!(decision.effects.contains(&scale("v1", 1, 10)), "{:?}", decision.effects);
}

/// If it fails, a release that replaces another one in the middle sends users to pods that are not there.
/// (TestNewRolloutResetsWeightBeforeUpdatingHash, TestDynamicStableScaleNewCanarySupersedeShouldNotOverloadStable,
/// TestCanaryDontScaleDownOldRsDuringInterruptedUpdate)
#[test]
fn a_third_version() {
    let third = |fields: &str, now: (i32, i32), versions: &[(&str, i32, i32)]| {
        let spec = routed(10, fields, r#"[{"setWeight": 5}, {"pause": {}}]"#);
        let mut status = at_step(&spec, 0);
        status.current_pod_hash = "v3".to_string();
        status.weights = Some(weights(("v2", now.0), ("v1", now.1)));
        step(&spec, status, &seen("v3", versions)).1
    };
    let reset = third("", (5, 95), &[("v1", 10, 10), ("v2", 1, 1), ("v3", 0, 0)]);
    let new = reset.weights.expect("a router");
    assert_eq!((new.canary.weight, new.canary.pod_template_hash.as_str()), (0, "v3"));

    let kept = third(DYNAMIC, (90, 10), &[("v1", 1, 1), ("v2", 9, 9), ("v3", 0, 0)]);
    assert_eq!(set(&kept), None, "a stable version of one pod cannot take everything");

    let referenced = third("", (5, 95), &[("v1", 10, 10), ("v2", 5, 5), ("v3", 1, 1)]);
    let down = |effect: &Effect| matches!(effect, Effect::Scale { hash, .. } if hash == "v2");
    assert!(!referenced.effects.iter().any(down), "v2 still gets requests: {:?}", referenced.effects);
    let free = third("", (0, 100), &[("v1", 10, 10), ("v2", 5, 5), ("v3", 1, 1)]);
    assert!(!free.effects.iter().any(down), "as its hash is still in the weights");
}

/// If it fails, an intermediate version without requests keeps its pods for ever.
/// (TestCanaryScaleDownOldRsDuringInterruptedUpdate)
#[test]
fn an_intermediate_version_goes() {
    let spec = routed(5, "", r#"[{"setWeight": 100}, {"pause": {}}]"#);
    let mut status = at_step(&spec, 1);
    status.current_pod_hash = "v3".to_string();
    let (mut rollout, _) = step(&spec, status, &seen("v3", &[("v1", 5, 5), ("v2", 5, 5), ("v3", 5, 5)]));
    let decision = rollout.step(&seen("v3", &[("v1", 5, 5), ("v2", 5, 5), ("v3", 5, 5)]));
    assert!(!decision.effects.contains(&scale("v3", 5, 0)));
    let (_, decision) = {
        let mut status = at_step(&spec, 1);
        status.current_pod_hash = "v3".to_string();
        step(&spec, status, &seen("v3", &[("v1", 5, 5), ("v2", 5, 5), ("v3", 5, 5)]))
    };
    assert!(decision.effects.contains(&scale("v2", 5, 0)), "{:?}", decision.effects);
}

/// If it fails, pods go before their last requests are answered. (TestCanaryWithTrafficRoutingAddScaleDownDelay,
/// …ScaleDownLimit; abortScaleDownDelaySeconds)
#[test]
fn versions_are_kept_for_a_while() {
    let spec = routed(1, "", r#"[{"setWeight": 10}]"#);
    let mut status = at_step(&spec, 1);
    status.stable_hash = "v2".to_string();
    status.weights = Some(weights(("v2", 0), ("v2", 100)));
    let both = seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]);
    let (mut rollout, _) = step(&spec, status.clone(), &both);
    assert_eq!(rollout.status().scale_down_deadlines["v1"], NOW + 30 * SECOND);
    let waiting = rollout.step(&both);
    assert_eq!((waiting.effects.as_slice(), waiting.requeue_after_ns), ([].as_slice(), Some(30 * SECOND)));
    let later = Observation { now_ns: NOW + 30 * SECOND, ..both.clone() };
    assert_eq!(rollout.step(&later).effects, [scale("v1", 1, 0)]);
    assert!(rollout.status().scale_down_deadlines.is_empty());

    let limited = routed(1, r#", "scaleDownDelayRevisionLimit": 1"#, r#"[{"setWeight": 10}]"#);
    (status.stable_hash, status.current_pod_hash) = ("v3".to_string(), "v3".to_string());
    status.weights = Some(weights(("v3", 0), ("v3", 100)));
    let soon = NOW + 10 * SECOND;
    status.scale_down_deadlines = [("v1".to_string(), soon), ("v2".to_string(), soon)].into();
    let three = seen("v3", &[("v1", 1, 1), ("v2", 1, 1), ("v3", 1, 1)]);
    assert_eq!(step(&limited, status, &three).1.effects, [scale("v1", 1, 0)], "the newest one is kept");

    for (delay, expected) in [("", Some(30)), (r#", "abortScaleDownDelaySeconds": 5"#, Some(5))] {
        let spec = routed(4, delay, r#"[{"setWeight": 50}]"#);
        let mut status = at_step(&spec, 0);
        status.abort = true;
        let mut both = seen("v2", &[("v1", 4, 4), ("v2", 2, 2)]);
        let (mut rollout, _) = step(&spec, status, &both);
        let deadline = rollout.status().scale_down_deadlines.get("v2").copied();
        assert_eq!(deadline, expected.map(|seconds| NOW + seconds * SECOND));
        both.now_ns = deadline.unwrap_or(NOW);
        assert!(rollout.step(&both).effects.contains(&scale("v2", 2, 0)));
    }
    let spec = routed(4, r#", "abortScaleDownDelaySeconds": 0"#, r#"[{"setCanaryScale": {"replicas": 2}}]"#);
    let mut status = at_step(&spec, 0);
    status.abort = true;
    let (rollout, decision) = step(&spec, status, &seen("v2", &[("v1", 4, 4), ("v2", 2, 2)]));
    assert!(rollout.status().scale_down_deadlines.is_empty());
    assert!(!decision.effects.contains(&scale("v2", 2, 0)), "0 = the aborted version stays");
}

/// If it fails, a rollout goes on although its router has not done yet what it was told.
/// (TestReconcileTrafficRoutingVerifyWeight…)
#[test]
fn weights_are_verified() {
    let spec = routed(10, "", r#"[{"setWeight": 10}, {"setWeight": 20}]"#);
    let mut status = at_step(&spec, 0);
    status.weights = Some(weights(("v2", 10), ("v1", 90)));
    let mut one = seen("v2", &[("v1", 10, 10), ("v2", 1, 1)]);
    one.weight_verified = Some(false);
    let (mut rollout, _) = step(&spec, status.clone(), &one);
    let waiting = rollout.step(&one);
    assert_eq!((waiting.step, waiting.requeue_after_ns), (Some(0), Some(10 * SECOND)));
    one.weight_verified = Some(true);
    assert_eq!(step(&spec, status, &one).1.step, Some(1));

    let mut end = at_step(&spec, 2);
    end.weights = Some(weights(("v2", 100), ("v1", 0)));
    let mut all = seen("v2", &[("v1", 10, 10), ("v2", 10, 10)]);
    all.weight_verified = Some(false);
    assert_eq!(step(&spec, end.clone(), &all).1.stable_hash, "v1", "not promoted before everything is there");
    all.weight_verified = Some(true);
    assert_eq!(step(&spec, end, &all).1.stable_hash, "v2");
}

/// If it fails, an experiment's versions get no requests, or keep them. (TestRolloutWithExperimentStep)
#[test]
fn weights_of_an_experiment() {
    let spec = routed(
        10,
        "",
        r#"[{"setWeight": 10}, {"experiment": {"duration": "1h", "templates": [
            {"name": "a", "specRef": "canary", "weight": 5}, {"name": "b", "specRef": "stable"}]}}]"#,
    );
    let mut one = seen("v2", &[("v1", 10, 10), ("v2", 1, 1)]);
    let (mut rollout, begun) = step(&spec, at_step(&spec, 1), &one);
    assert!(begun.effects.contains(&Effect::StartExperiment { id: 1, step: 1 }));
    assert_eq!(rollout.status().experiment, Some(ExperimentRef { id: 1, step: 1 }));
    let version = |hash: &str| Destination { pod_template_hash: hash.to_string(), ..Destination::default() };
    let mut report = ExperimentReport {
        id: 1,
        phase: AnalysisPhase::Pending,
        message: String::new(),
        templates: vec![("a".to_string(), version("v2")), ("b".to_string(), version("v1"))],
    };
    one.experiment = Some(report.clone());
    assert_eq!(rollout.step(&one).weights.expect("a router").additional, []);
    report.phase = AnalysisPhase::Running;
    one.experiment = Some(report.clone());
    let running = rollout.step(&one).weights.expect("a router");
    assert_eq!((running.canary.weight, running.stable.weight), (10, 85));
    assert_eq!(running.additional, [Destination { weight: 5, ..version("v2") }]);
    for (phase, step_after, aborts) in [
        (AnalysisPhase::Successful, Some(2), false),
        (AnalysisPhase::Failed, Some(0), true),
        (AnalysisPhase::Inconclusive, Some(1), false),
    ] {
        report.phase = phase;
        one.experiment = Some(report.clone());
        let decision = rollout.clone().step(&one);
        assert_eq!((decision.step, decision.aborted), (step_after, aborts), "{phase}");
    }
}

/// If it fails, a header route of a release stays when the release is over.
#[test]
fn routes_of_steps() {
    let spec = routed(
        1,
        "",
        r#"[{"setCanaryScale": {"replicas": 1}},
            {"setHeaderRoute": {"name": "test", "match": [{"headerName": "test", "headerValue": {"prefix": "x"}}]}},
            {"pause": {}}]"#,
    );
    let both = seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]);
    let (mut rollout, decision) = step(&spec, at_step(&spec, 1), &both);
    assert!(decision.effects.iter().any(|effect| matches!(effect, Effect::SetHeaderRoute(_))));
    assert_eq!(decision.step, Some(2));
    rollout.abort();
    assert!(rollout.step(&both).effects.contains(&Effect::RemoveManagedRoutes));
}

/// If it fails, traffic moves to a version that is too small for it. (TestCheckReplicasAvailableWith…,
/// TestIsDynamicallyRollingBackToStable)
#[test]
fn who_can_serve() {
    let threshold = r#", "replicaProgressThreshold": {"type": "Percent", "value": 80}"#;
    for (fields, serving, expected) in [(threshold, 4, true), (threshold, 3, false), ("", 4, false)] {
        let spec = routed(10, fields, "[]");
        assert_eq!(can_serve(&spec, Some(&ReplicaSet::new("v1", 5, serving)), 50), expected, "{serving}");
    }
    let large = r#""trafficRouting": {"smi": {}, "maxTrafficWeight": 100000000}"#;
    for (serving, weight, expected) in
        [(1, 50_000_000, true), (0, 50_000_000, false), (2, 100_000_000, true), (0, 0, true)]
    {
        let version = ReplicaSet::new("v1", 2, serving);
        assert_eq!(can_serve(&with(2, large), Some(&version), weight), expected, "{serving} {weight}");
    }
    assert!(!can_serve(&routed(10, "", "[]"), None, 0));

    let spec = routed(10, DYNAMIC, "[]");
    let status = |canary: &str, stable: &str, serving: Option<&str>| Status {
        current_pod_hash: canary.to_string(),
        stable_hash: stable.to_string(),
        weights: serving.map(|hash| weights((hash, 10), (stable, 90))),
        ..Status::default()
    };
    let small = ReplicaSet::new("a", 1, 1);
    let interrupted = |status: &Status| interrupted_version(&spec, status, Some(&small));
    assert_eq!(interrupted(&status("a", "b", Some("b"))), None, "an update");
    assert_eq!(interrupted(&status("a", "a", None)), None);
    assert_eq!(interrupted(&status("a", "a", Some("a"))), None);
    assert_eq!(interrupted(&status("a", "a", Some("b"))), Some("b".to_string()));
    let full = ReplicaSet::new("a", 10, 10);
    assert_eq!(interrupted_version(&spec, &status("a", "a", Some("b")), Some(&full)), None);
    let plain = routed(10, "", "[]");
    assert_eq!(interrupted_version(&plain, &status("a", "a", Some("b")), Some(&small)), None);
}

/// If it fails, a canary behind a router never comes to its end.
#[test]
fn a_whole_release() {
    let spec = routed(4, "", r#"[{"setWeight": 25}, {"pause": {"duration": 30}}, {"setWeight": 50}]"#);
    let mut rollout = Rollout::new(spec.clone()).resumed(Status {
        current_pod_hash: "v1".to_string(),
        current_step_index: Some(3),
        ..at_step(&spec, 0)
    });
    let mut now = seen("v2", &[("v1", 4, 4)]);
    let mut walk = Vec::new();
    for _ in 0..200 {
        let decision = rollout.step(&now);
        let weight = decision.weights.as_ref().map(|weights| weights.canary.weight);
        if walk.last() != Some(&(decision.step, weight)) {
            walk.push((decision.step, weight));
        }
        for effect in &decision.effects {
            match effect {
                Effect::CreateReplicaSet { hash } => now.replica_sets.push(ReplicaSet {
                    created_ns: now.now_ns,
                    revision: 2,
                    ..ReplicaSet::new(hash, 0, 0)
                }),
                Effect::Scale { hash, to, .. } => {
                    for version in now.replica_sets.iter_mut().filter(|version| version.hash == *hash) {
                        *version = ReplicaSet {
                            created_ns: version.created_ns,
                            revision: version.revision,
                            ..ReplicaSet::new(hash, *to, *to)
                        };
                    }
                }
                _ => {}
            }
        }
        match decision.requeue_after_ns {
            None => break,
            Some(after_ns) => now.now_ns += after_ns,
        }
    }
    let weights: Vec<_> = walk.iter().map(|(_, weight)| weight.unwrap_or(0)).collect();
    let mut distinct = weights;
    distinct.dedup();
    assert_eq!(distinct, [0, 25, 50, 100, 0], "{walk:?}");
    assert_eq!(rollout.status().stable_hash, "v2");
    assert_eq!(now.replica_sets[0].spec_replicas, 0, "the old version is gone after 30 s");
    assert_eq!(rollout.step(&now).requeue_after_ns, None, "and nothing is left to do");
}
