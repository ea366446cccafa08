//! Argo's blue/green: facts of argo-rollouts' `rollout/bluegreen_test.go`.

use windtunnel_kernel::rollout::argo::decision::{RunKind, RunReport, Service};
use windtunnel_kernel::rollout::argo::status::PauseReason;
use windtunnel_kernel::rollout::argo::{
    AnalysisPhase, Effect, Observation, ReplicaSet, Rollout, RolloutPhase, RolloutSpec, Status,
};

use crate::argo_rollout::{NOW, SECOND, paused, scale, seen, step};

fn blue_green(replicas: i32, fields: &str) -> RolloutSpec {
    let text = format!(
        r#"{{"replicas": {replicas}, "strategy": {{"blueGreen": {{"activeService": "active"{fields}}}}}}}"#
    );
    serde_json::from_str(&text).expect("a Rollout's spec")
}

/// In the middle of an update from `v1`, which is active, to `v2`.
fn update() -> Status {
    Status {
        stable_hash: "v1".to_string(),
        current_pod_hash: "v2".to_string(),
        active_selector: "v1".to_string(),
        current_steps: None,
        ..Status::default()
    }
}

fn activate(hash: &str) -> Effect {
    Effect::SwitchService { service: Service::Active, hash: hash.to_string() }
}

/// If it fails, users get a new version before, or long after, they should. (TestBlueGreenHandlePause)
#[test]
fn when_the_new_version_becomes_active() {
    let both = seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]);
    let auto = blue_green(1, "");
    let (_, decision) = step(&auto, update(), &both);
    assert_eq!(decision.effects, [activate("v2")]);
    assert_eq!((decision.stable_hash.as_str(), decision.phase), ("v2", RolloutPhase::Healthy));

    let (_, unhealthy) = step(&auto, update(), &seen("v2", &[("v1", 1, 1), ("v2", 1, 0)]));
    assert_eq!(unhealthy.effects, []);

    let manual = blue_green(1, r#", "autoPromotionEnabled": false"#);
    let (mut rollout, decision) = step(&manual, update(), &both);
    assert_eq!((decision.effects.as_slice(), decision.message.as_str()), ([].as_slice(), "BlueGreenPause"));
    rollout.step(&both);
    assert_eq!(rollout.step(&both).requeue_after_ns, None);
    rollout.promote();
    assert_eq!(rollout.step(&both).effects, [activate("v2")]);
    assert_eq!(rollout.status().stable_hash, "v2");

    let timed = blue_green(1, r#", "autoPromotionSeconds": 10"#);
    let of = |seconds_ago: u64| paused(update(), PauseReason::BlueGreenPause, seconds_ago);
    let (mut rollout, early) = step(&timed, of(4), &both);
    assert_eq!(early.effects, []);
    assert_eq!(rollout.step(&both).requeue_after_ns, Some(6 * SECOND + 1));
    let (rollout, late) = step(&timed, of(60), &both);
    assert_eq!(late.effects, [activate("v2")]);
    assert_eq!(rollout.status().pause_conditions, []);
    let mut user_paused = timed;
    user_paused.paused = true;
    assert_eq!(step(&user_paused, of(60), &both).1.effects, []);

    let mut full = of(0);
    full.promote_full = true;
    assert_eq!(step(&manual, full, &both).1.effects, [activate("v2")]);
}

/// If it fails, the first version of a service never gets a user.
#[test]
fn the_first_version() {
    let spec = blue_green(1, r#", "previewService": "preview""#);
    let mut rollout = Rollout::new(spec);
    assert_eq!(rollout.step(&seen("v1", &[])).effects, [Effect::CreateReplicaSet { hash: "v1".to_string() }]);
    let mut now = seen("v1", &[("v1", 0, 0)]);
    let preview = Effect::SwitchService { service: Service::Preview, hash: "v1".to_string() };
    assert_eq!(rollout.step(&now).effects, [preview, scale("v1", 0, 1)]);
    now.replica_sets[0] = ReplicaSet { created_ns: NOW, ..ReplicaSet::new("v1", 1, 1) };
    assert_eq!(rollout.step(&now).effects, [activate("v1")]);
    assert_eq!(rollout.step(&now).phase, RolloutPhase::Healthy);
}

/// If it fails, a preview costs as much as the whole service, or users meet a version with too few pods.
/// (TestPreviewReplicaCountHandleScaleUpPreviewCheckPoint, TestBlueGreenRolloutIgnoringScalingUsePreviewRSCount)
#[test]
fn a_small_preview() {
    let spec = blue_green(5, r#", "previewReplicaCount": 3"#);
    let (rollout, _) = step(&spec, update(), &seen("v2", &[("v1", 5, 5), ("v2", 3, 3)]));
    assert!(rollout.status().scale_up_preview_check_point);
    let (_, grown) = {
        let mut rollout = rollout;
        let decision = rollout.step(&seen("v2", &[("v1", 5, 5), ("v2", 3, 3)]));
        (rollout, decision)
    };
    assert_eq!(grown.effects, [scale("v2", 3, 5)]);

    let mut switched = update();
    (switched.active_selector, switched.scale_up_preview_check_point) = ("v2".to_string(), true);
    let (rollout, _) = step(&spec, switched, &seen("v2", &[("v1", 5, 5), ("v2", 5, 5)]));
    assert!(!rollout.status().scale_up_preview_check_point);

    let two = blue_green(2, r#", "previewReplicaCount": 3"#);
    let mut status = update();
    status.desired_replicas = [("v2".to_string(), 1)].into();
    let (_, decision) = step(&two, status, &seen("v2", &[("v1", 2, 2), ("v2", 1, 1)]));
    assert_eq!(decision.effects, [scale("v2", 1, 3)]);
}

/// If it fails, the version before is gone when it is needed, or never goes. (TestBlueGreen…ScaleDown…,
/// TestFastRollback)
#[test]
fn the_version_before() {
    let spec = blue_green(1, "");
    let promoted = |deadlines: &[(&str, u64)]| Status {
        stable_hash: "v2".to_string(),
        active_selector: "v2".to_string(),
        scale_down_deadlines: deadlines.iter().map(|&(hash, at)| (hash.to_string(), at)).collect(),
        ..update()
    };
    let both = seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]);
    let (rollout, decision) = step(&spec, promoted(&[]), &both);
    assert_eq!(decision.effects, []);
    assert_eq!(rollout.status().scale_down_deadlines["v1"], NOW + 30 * SECOND);
    let (_, kept) = step(&spec, promoted(&[("v1", NOW + 10 * SECOND)]), &both);
    assert_eq!(kept.effects, []);
    let (_, gone) = step(&spec, promoted(&[("v1", NOW - 10 * SECOND)]), &both);
    assert_eq!(gone.effects, [scale("v1", 1, 0)]);

    let limited = blue_green(1, r#", "scaleDownDelayRevisionLimit": 1"#);
    let mut status = promoted(&[("v1", NOW + 10 * SECOND), ("v2", NOW + 10 * SECOND)]);
    (status.stable_hash, status.active_selector) = ("v3".to_string(), "v3".to_string());
    status.current_pod_hash = "v3".to_string();
    let three = seen("v3", &[("v1", 1, 1), ("v2", 1, 1), ("v3", 1, 1)]);
    assert_eq!(step(&limited, status, &three).1.effects, [scale("v1", 1, 0)]);

    // A version that was not scaled down yet needs no pause.
    let manual = blue_green(1, r#", "autoPromotionEnabled": false"#);
    let mut status = promoted(&[("v1", NOW + 10 * SECOND)]);
    status.current_pod_hash = "v1".to_string();
    let back = seen("v1", &[("v1", 1, 1), ("v2", 1, 1)]);
    assert_eq!(step(&manual, status, &back).1.effects, [activate("v1")]);
}

/// If it fails, an abort leaves the users with the version that was aborted. (TestBlueGreenAbort)
#[test]
fn an_abort() {
    let mut status = update();
    (status.active_selector, status.abort) = ("v2".to_string(), true);
    status.aborted_at_ns = Some(NOW - 5 * SECOND);
    let (rollout, decision) = step(&blue_green(1, ""), status, &seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]));
    assert_eq!(decision.effects, [activate("v1")]);
    assert_eq!(decision.phase, RolloutPhase::Degraded);
    assert_eq!(rollout.status().scale_down_deadlines["v2"], NOW + 30 * SECOND);
}

/// If it fails, analyses before and after the promotion do not keep a bad version from the users.
#[test]
fn analyses_around_the_promotion() {
    let analysis = |name: &str| format!(r#", "{name}": {{"templates": [{{"templateName": "t"}}]}}"#);
    let spec =
        blue_green(1, &format!("{}{}", analysis("prePromotionAnalysis"), analysis("postPromotionAnalysis")));
    let mut both: Observation = seen("v2", &[("v1", 1, 1), ("v2", 1, 1)]);
    let (rollout, begun) = step(&spec, update(), &both);
    assert_eq!(begun.effects, [Effect::StartAnalysis { id: 1, kind: RunKind::PrePromotion }]);
    let report = |id: u64, phase: AnalysisPhase| RunReport { id, phase, message: String::new() };

    both.runs = vec![report(1, AnalysisPhase::Failed)];
    assert!(rollout.clone().step(&both).aborted);
    both.runs = vec![report(1, AnalysisPhase::Inconclusive)];
    assert_eq!(rollout.clone().step(&both).message, "InconclusiveAnalysisRun");

    both.runs = vec![report(1, AnalysisPhase::Successful)];
    let mut rollout = rollout;
    assert_eq!(rollout.step(&both).effects, [activate("v2")]);
    let after = rollout.step(&both);
    assert_eq!(after.effects, [Effect::StartAnalysis { id: 2, kind: RunKind::PostPromotion }]);
    assert_eq!(after.stable_hash, "v1");
    both.runs.push(report(2, AnalysisPhase::Successful));
    assert_eq!(rollout.step(&both).stable_hash, "v2");
}
