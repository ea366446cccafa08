//! Argo's canary: facts of argo-rollouts' `rollout/canary_test.go`.

use windtunnel_kernel::rollout::argo::decision::{RunKind, RunReport};
use windtunnel_kernel::rollout::argo::status::{PauseCondition, PauseReason};
use windtunnel_kernel::rollout::argo::{
    AnalysisPhase, Decision, Effect, Observation, ReplicaSet, Rollout, RolloutPhase, RolloutSpec, Status,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOW: u64 = 1_000_000 * SECOND;

/// A rollout's spec with a canary of these steps.
pub(crate) fn canary(replicas: i32, surge: &str, unavailable: &str, steps: &str) -> RolloutSpec {
    with(replicas, &format!(r#""maxSurge": {surge}, "maxUnavailable": {unavailable}, "steps": {steps}"#))
}

/// A rollout's spec with these fields of its canary.
pub(crate) fn with(replicas: i32, fields: &str) -> RolloutSpec {
    let text = format!(r#"{{"replicas": {replicas}, "strategy": {{"canary": {{{fields}}}}}}}"#);
    serde_json::from_str(&text).expect("a Rollout's spec")
}

/// In the middle of an update from `v1` to `v2`, at a step.
pub(crate) fn at_step(spec: &RolloutSpec, index: i32) -> Status {
    Status {
        stable_hash: "v1".to_string(),
        current_pod_hash: "v2".to_string(),
        current_steps: Some(spec.steps().to_vec()),
        current_step_index: Some(index),
        ..Status::default()
    }
}

pub(crate) fn paused(status: Status, reason: PauseReason, seconds_ago: u64) -> Status {
    let condition = PauseCondition { reason, start_ns: NOW - seconds_ago * SECOND };
    Status { controller_pause: true, pause_conditions: vec![condition], ..status }
}

pub(crate) fn seen(template: &str, versions: &[(&str, i32, i32)]) -> Observation {
    Observation {
        now_ns: NOW,
        template_hash: template.to_string(),
        replica_sets: versions
            .iter()
            .enumerate()
            .map(|(index, &(hash, replicas, available))| ReplicaSet {
                revision: index as i64 + 1,
                created_ns: NOW - 3600 * SECOND + index as u64 * SECOND,
                ..ReplicaSet::new(hash, replicas, available)
            })
            .collect(),
        ..Observation::default()
    }
}

pub(crate) fn step(spec: &RolloutSpec, status: Status, seen: &Observation) -> (Rollout, Decision) {
    let mut rollout = Rollout::new(spec.clone()).resumed(status);
    let decision = rollout.step(seen);
    (rollout, decision)
}

pub(crate) fn scale(hash: &str, from: i32, to: i32) -> Effect {
    Effect::Scale { hash: hash.to_string(), from, to }
}

/// If it fails, a pause step is run over, or never ends. (TestCanaryRolloutEnterPauseState, …NoProgressWhilePaused,
/// …IncrementStepAfterUnPaused, TestSyncRolloutWait…, TestResumeRolloutAfterPauseDuration,
/// TestNoResumeAfterPauseDurationIfUserPaused)
#[test]
fn pauses() {
    let spec = canary(10, "1", "0", r#"[{"pause": {}}]"#);
    let both = seen("v2", &[("v1", 10, 10), ("v2", 0, 0)]);
    let (mut rollout, decision) = step(&spec, at_step(&spec, 0), &both);
    assert_eq!((decision.phase, decision.message.as_str()), (RolloutPhase::Paused, "CanaryPauseStep"));
    assert!(rollout.status().controller_pause);
    assert_eq!(rollout.status().pause(PauseReason::CanaryPauseStep).map(|pause| pause.start_ns), Some(NOW));

    let again = rollout.step(&both);
    assert_eq!((again.step, again.effects.as_slice()), (Some(0), [].as_slice()));
    assert_eq!(rollout.step(&both).requeue_after_ns, None, "until somebody says so");
    rollout.promote();
    let resumed = rollout.step(&both);
    assert_eq!(resumed.step, Some(1));
    assert!(!rollout.status().controller_pause);

    let timed = canary(10, "1", "0", r#"[{"setWeight": 10}, {"pause": {"duration": "10s"}}, {"pause": {}}]"#);
    let sized = seen("v2", &[("v1", 9, 9), ("v2", 1, 1)]);
    let of = |seconds_ago: u64| paused(at_step(&timed, 1), PauseReason::CanaryPauseStep, seconds_ago);
    let mut rollout = Rollout::new(timed.clone()).resumed(of(4));
    rollout.step(&sized);
    assert_eq!(rollout.step(&sized).requeue_after_ns, Some(6 * SECOND + 1));
    let (_, exact) = step(&timed, of(10), &sized);
    assert_eq!(exact.step, Some(1), "strictly after the duration");
    let (after, over) = step(&timed, of(11), &sized);
    assert_eq!((over.step, after.status().controller_pause), (Some(2), false));
    assert_eq!(after.status().pause_conditions, []);

    let mut user_paused = timed.clone();
    user_paused.paused = true;
    let (_, held) = step(&user_paused, of(63), &sized);
    assert_eq!((held.step, held.message.as_str()), (Some(1), "manually paused"));
}

/// If it fails, a release that is done is never stable, or one that was changed goes on at the wrong step.
/// (TestCanaryRolloutUpdateStatusWhenAtEndOfSteps, TestResetCurrentStepIndexOn…, TestRollBackToStable…)
#[test]
fn where_steps_begin_and_end() {
    let spec = canary(10, "1", "0", r#"[{"pause": {}}]"#);
    let (_, done) = step(&spec, at_step(&spec, 1), &seen("v2", &[("v1", 0, 0), ("v2", 10, 10)]));
    assert_eq!((done.stable_hash.as_str(), done.phase), ("v2", RolloutPhase::Healthy));
    assert!(done.explanation.to_string().contains("Completed all 1 canary steps"), "{}", done.explanation);

    let more_steps = canary(10, "1", "0", r#"[{"pause": {}}, {"pause": {}}]"#);
    let (_, steps_changed) =
        step(&more_steps, at_step(&spec, 1), &seen("v2", &[("v1", 10, 10), ("v2", 0, 0)]));
    assert_eq!(steps_changed.step, Some(0));
    let three = seen("v3", &[("v1", 10, 10), ("v2", 0, 0), ("v3", 0, 0)]);
    let (rollout, template_changed) = step(&spec, at_step(&spec, 1), &three);
    assert_eq!(template_changed.step, Some(0));
    assert_eq!(rollout.status().current_pod_hash, "v3");

    let weighted = canary(10, "1", "0", r#"[{"setWeight": 10}]"#);
    let back = seen("v1", &[("v1", 9, 9), ("v2", 1, 1)]);
    assert_eq!(step(&weighted, at_step(&weighted, 0), &back).1.step, Some(1), "back to the stable version");
    let mut changed = at_step(&weighted, 0);
    changed.current_steps = Some(Vec::new());
    assert_eq!(step(&weighted, changed, &back).1.step, Some(1), "also when the steps have changed");

    let (_, new) = step(&spec, Status::default(), &seen("v1", &[]));
    assert_eq!(new.effects, [Effect::CreateReplicaSet { hash: "v1".to_string() }]);
    assert_eq!(new.requeue_after_ns, Some(0));
}

/// If it fails, a rollback in an emergency walks through all steps again, or a far one through none.
/// (TestRollBackToActiveReplicaSetWithinWindow)
#[test]
fn the_rollback_window() {
    let versions = seen("v1", &[("v1", 1, 1), ("v2", 0, 0), ("v3", 1, 1)]);
    for (revisions, expected) in [(1, 0), (2, 1), (0, 0)] {
        let mut spec = canary(1, "1", "0", r#"[{"setWeight": 10}]"#);
        spec.rollback_window =
            serde_json::from_str(&format!(r#"{{"revisions": {revisions}}}"#)).expect("a window");
        let mut status = at_step(&spec, 1);
        (status.stable_hash, status.current_pod_hash) = ("v3".to_string(), "v3".to_string());
        let (_, decision) = step(&spec, status, &versions);
        assert_eq!(decision.step, Some(expected), "a window of {revisions}");
    }
}

/// If it fails, more pods are taken away than the users can spare. (TestCanaryRolloutScale…, TestGradualShiftToNewStable)
#[test]
fn one_version_is_scaled_at_a_time() {
    let scaled = |spec: &RolloutSpec, index: i32, template: &str, versions: &[(&str, i32, i32)]| {
        let mut status = at_step(spec, index);
        status.current_pod_hash = template.to_string();
        step(spec, status, &seen(template, versions)).1.effects
    };
    let forty = canary(5, "0", "1", r#"[{"setWeight": 40}]"#);
    assert_eq!(scaled(&forty, 0, "v2", &[("v1", 3, 3), ("v2", 1, 1)]), [scale("v2", 1, 2)]);
    let ten = canary(10, "0", "1", r#"[{"setWeight": 10}]"#);
    assert_eq!(scaled(&ten, 0, "v2", &[("v1", 10, 10), ("v2", 0, 0)]), [scale("v1", 10, 9)]);
    let surging = canary(10, "1", "0", r#"[{"setWeight": 10}]"#);
    assert_eq!(scaled(&surging, 0, "v2", &[("v1", 10, 10), ("v2", 0, 0)]), [scale("v2", 0, 1)]);
    let interrupted = [("v1", 9, 9), ("v2", 1, 1), ("v3", 1, 1)];
    assert_eq!(scaled(&surging, 0, "v3", &interrupted), [scale("v2", 1, 0)], "old versions go");
    let gradual = canary(10, "3", "0", r#"[{"setWeight": 10}]"#);
    assert_eq!(scaled(&gradual, 1, "v2", &[("v1", 9, 9), ("v2", 4, 4)]), [scale("v1", 9, 6)]);

    // TestCanaryRolloutScaleDownOldRsDontScaleDownTooMuch: newest first, no more than can be spared.
    let spec = with(4, r#""maxSurge": 1, "maxUnavailable": 0"#);
    let mut status = at_step(&spec, 0);
    (status.stable_hash, status.current_pod_hash) = ("v3".to_string(), "v3".to_string());
    status.current_step_index = None;
    let (_, decision) = step(&spec, status, &seen("v3", &[("v1", 5, 5), ("v2", 5, 5), ("v3", 5, 0)]));
    assert_eq!(decision.effects, [scale("v2", 5, 0), scale("v1", 5, 4)]);
}

/// If it fails, an autoscaler cannot scale a rollout that waits. (TestCanaryRolloutScaleWhilePaused)
#[test]
fn a_paused_rollout_is_scaled() {
    let spec = canary(10, "1", "0", r#"[{"setWeight": 20}]"#);
    let mut status = paused(at_step(&spec, 0), PauseReason::CanaryPauseStep, 5);
    status.desired_replicas = [("v1".to_string(), 5)].into();
    let (_, decision) = step(&spec, status, &seen("v2", &[("v1", 5, 5), ("v2", 0, 0)]));
    assert_eq!(decision.effects, [scale("v1", 5, 8)]);
    assert_eq!(decision.step, Some(0));
}

/// If it fails, a step counts as done before its pods are there. (TestCanaryRolloutIncrementStepIfSetWeightsAreCorrect,
/// TestAtDesiredReplicaCountsForCanary)
#[test]
fn a_weight_step_is_done_with_its_pods() {
    let spec = canary(4, "1", "1", r#"[{"setWeight": 50}, {"pause": {}}]"#);
    let replicas = |canary: (i32, i32), stable: (i32, i32, i32)| {
        let mut seen = seen("v2", &[("v1", stable.0, stable.2), ("v2", canary.0, canary.1)]);
        seen.replica_sets[0].replicas = stable.1;
        step(&spec, at_step(&spec, 0), &seen).1.step
    };
    assert_eq!(replicas((2, 2), (2, 2, 2)), Some(1));
    assert_eq!(replicas((2, 1), (2, 2, 2)), Some(0), "a canary pod does not serve yet");
    assert_eq!(replicas((2, 2), (2, 2, 1)), Some(1), "stable pods only have to be there");
    assert_eq!(replicas((2, 2), (2, 3, 2)), Some(0), "a stable pod is still going");

    let ten = canary(10, "1", "0", r#"[{"setWeight": 10}]"#);
    let mut status = at_step(&ten, 0);
    status.current_pod_hash = "v3".to_string();
    let (_, decision) = step(&ten, status, &seen("v3", &[("v1", 9, 9), ("v2", 0, 0), ("v3", 1, 1)]));
    assert_eq!(decision.step, Some(1));
}

/// If it fails, an abort does not bring the stable version back, or can never be undone. (TestHandleCanaryAbort)
#[test]
fn aborts_and_retries() {
    let spec = canary(10, "1", "0", r#"[{"setWeight": 10}, {"setWeight": 20}, {"setWeight": 30}]"#);
    let mut rollout = Rollout::new(spec.clone()).resumed(at_step(&spec, 1));
    rollout.abort();
    let both = seen("v2", &[("v1", 9, 9), ("v2", 1, 1)]);
    let decision = rollout.step(&both);
    assert_eq!(decision.effects, [scale("v1", 9, 10)]);
    assert_eq!((decision.step, decision.phase, decision.aborted), (Some(0), RolloutPhase::Degraded, true));
    assert!(decision.message.starts_with("RolloutAborted"), "{}", decision.message);
    assert_eq!(rollout.status().aborted_at_ns, Some(NOW));

    rollout.retry();
    let decision = rollout.step(&both);
    assert_eq!((decision.aborted, decision.step), (false, Some(1)), "its first step is done already");
    assert_eq!(rollout.status().aborted_at_ns, None);

    let mut promoted = at_step(&spec, 3);
    (promoted.current_pod_hash, promoted.abort) = ("v1".to_string(), true);
    let (_, decision) = step(&spec, promoted, &seen("v1", &[("v1", 10, 10)]));
    assert_eq!((decision.aborted, decision.step), (false, Some(3)), "there is nothing to abort");
}

/// If it fails, a full promotion goes through the steps, or over the surge. (canary.go, syncRolloutStatusCanary)
#[test]
fn a_full_promotion() {
    let spec = canary(4, "1", "0", r#"[{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}]"#);
    let mut rollout =
        Rollout::new(spec.clone()).resumed(paused(at_step(&spec, 1), PauseReason::CanaryPauseStep, 5));
    rollout.promote_full();
    let decision = rollout.step(&seen("v2", &[("v1", 3, 3), ("v2", 1, 1)]));
    assert_eq!(decision.effects, [scale("v2", 1, 2)]);
    assert_eq!(decision.step, Some(3));
    assert_eq!(rollout.status().pause_conditions, []);
    let decision = rollout.step(&seen("v2", &[("v1", 0, 0), ("v2", 4, 4)]));
    assert_eq!(decision.stable_hash, "v2");
    assert!(!rollout.status().promote_full);
}

/// If it fails, a bad release goes on, or a good one waits for ever. (rollout/analysis_test.go)
#[test]
fn analyses_of_a_canary() {
    let spec = with(
        4,
        r#""maxSurge": 1, "maxUnavailable": 0, "analysis": {"templates": [{"templateName": "errors"}],
            "startingStep": 1},
            "steps": [{"setWeight": 25}, {"analysis": {"templates": [{"templateName": "latency"}]}},
                {"pause": {}}]"#,
    );
    let both = seen("v2", &[("v1", 3, 3), ("v2", 1, 1)]);
    let mut rollout = Rollout::new(spec.clone()).resumed(at_step(&spec, 0));
    assert_eq!(rollout.step(&both).step, Some(1), "no analysis before its step");
    let begun = rollout.step(&both);
    let started = [
        Effect::StartAnalysis { id: 1, kind: RunKind::Step(1) },
        Effect::StartAnalysis { id: 2, kind: RunKind::Background },
    ];
    assert_eq!(begun.effects, started);
    let report = |id: u64, phase: AnalysisPhase| RunReport { id, phase, message: "why".to_string() };

    let after = |phases: [AnalysisPhase; 2]| {
        let (mut rollout, mut both) = (rollout.clone(), both.clone());
        both.runs = vec![report(1, phases[0]), report(2, phases[1])];
        let decision = rollout.step(&both);
        (rollout, decision)
    };
    use AnalysisPhase::{Error, Failed, Inconclusive, Running, Successful};
    assert_eq!(after([Running, Running]).1.step, Some(1));
    assert_eq!(after([Successful, Running]).1.step, Some(2));
    for (phases, what) in [
        ([Failed, Running], "Step-based analysis phase error/failed: why"),
        ([Running, Error], "Background analysis phase error/failed: why"),
    ] {
        let (rollout, decision) = after(phases);
        assert!(decision.aborted, "{what}");
        assert_eq!(rollout.status().abort_message, what);
        assert_eq!(decision.step, Some(0));
    }

    // argo-rollouts issues 3850, 3873: one that could not say pauses; nothing new begins until somebody resumes.
    let (mut rollout, decision) = after([Running, Inconclusive]);
    assert_eq!(decision.message, "InconclusiveAnalysisRun");
    let mut both = both.clone();
    both.runs = vec![report(1, Running), report(2, Inconclusive)];
    assert_eq!(rollout.step(&both).effects, []);
    rollout.promote();
    assert_eq!(rollout.step(&both).effects, [Effect::StartAnalysis { id: 3, kind: RunKind::Background }]);

    // Where the step's own could not say, a word to promote leaves the step out (promote.go, `isInconclusive`), and one
    // that only ends a user's pause does not.
    let (mut rollout, decision) = after([Inconclusive, Running]);
    assert_eq!((decision.step, decision.message.as_str()), (Some(1), "InconclusiveAnalysisRun"));
    rollout.pause();
    rollout.resume();
    assert_eq!((rollout.status().current_step_index, rollout.spec().paused), (Some(1), false));
    rollout.promote();
    let status = rollout.status();
    assert_eq!((status.current_step_index, status.controller_pause), (Some(2), false));
    assert_eq!(status.pause_conditions, []);

    let (mut rollout, _) = after([Running, Running]);
    rollout.promote_full();
    both.runs = vec![report(1, Running), report(2, Running)];
    let ends = [Effect::TerminateAnalysis { id: 1 }, Effect::TerminateAnalysis { id: 2 }];
    assert_eq!(rollout.step(&both).effects[..2], ends);
}

/// If it fails, a release that is stuck is never noticed, or one that waits on purpose counts as stuck.
/// (utils/conditions, RolloutTimedOut; spec.progressDeadlineAbort)
#[test]
fn no_progress() {
    let mut spec = canary(4, "1", "0", r#"[{"setWeight": 25}, {"pause": {}}]"#);
    spec.progress_deadline_seconds = Some(60);
    let mut stuck = seen("v2", &[("v1", 4, 4), ("v2", 1, 0)]);
    let mut rollout = Rollout::new(spec.clone()).resumed(at_step(&spec, 0));
    rollout.step(&stuck);
    let waiting = rollout.step(&stuck);
    assert_eq!((waiting.phase, waiting.requeue_after_ns), (RolloutPhase::Progressing, Some(61 * SECOND)));
    stuck.now_ns += 61 * SECOND;
    let late = rollout.step(&stuck);
    assert_eq!(late.phase, RolloutPhase::Degraded);
    assert!(late.message.starts_with("ProgressDeadlineExceeded"), "{}", late.message);

    spec.progress_deadline_abort = true;
    let mut rollout = Rollout::new(spec.clone()).resumed(at_step(&spec, 0));
    stuck.now_ns = NOW;
    rollout.step(&stuck);
    stuck.now_ns += 61 * SECOND;
    assert!(rollout.step(&stuck).aborted);

    let mut pausing = seen("v2", &[("v1", 3, 3), ("v2", 1, 1)]);
    let mut rollout = Rollout::new(spec.clone()).resumed(at_step(&spec, 1));
    rollout.step(&pausing);
    pausing.now_ns += 3600 * SECOND;
    assert_eq!(rollout.step(&pausing).phase, RolloutPhase::Paused);
}
