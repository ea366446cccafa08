//! KServe's canaries: facts of kserve's `canary_controller_test.go`, `predictor_test.go`,
//! `httproute_reconciler_test.go`, `ksvc_reconciler_test.go` and `controller_test.go`.

use windtunnel_kernel::Profile;
use windtunnel_kernel::rollout::kserve::knative::{
    ObservedTarget, Pointers, ServiceStatus, propagate, reconcile, traffic_targets,
};
use windtunnel_kernel::rollout::kserve::standard::{
    self, Backend, Canary, CanaryCondition, CanaryError, Predictor, backends, canary_replicas,
    stable_min_replicas, validate,
};

fn canary(name: &str, percent: i32, available: i32) -> Canary {
    Canary {
        name: name.to_string(),
        traffic_percent: percent,
        available_replicas: available,
        ..Canary::default()
    }
}

fn predictor(min_replicas: i32, canaries: Vec<Canary>) -> Predictor {
    Predictor {
        service: "my-model".to_string(),
        min_replicas: Some(min_replicas),
        canaries,
        ..Predictor::default()
    }
}

/// If it fails, requests meet too few pods while a canary starts (kserve issue 5983), or twice as many are paid for.
/// (TestAdjustStableMinReplicasForCanaries, canary_controller_test.go)
#[test]
fn replicas_of_a_standard_canary() {
    let explicit = |available: i32| Canary { min_replicas: Some(3), ..canary("v2", 20, available) };
    for (stable, canaries, expected) in [
        (10, vec![], 10),
        (10, vec![canary("v2", 20, 0)], 10),
        (10, vec![canary("v2", 20, 2)], 8),
        (10, vec![canary("v2", 20, 2), canary("v3", 30, 0)], 8),
        (10, vec![canary("v2", 20, 2), canary("v3", 30, 3)], 5),
        (2, vec![canary("v2", 50, 1)], 1),
        (10, vec![explicit(3)], 7),
        (10, vec![explicit(0)], 10),
        (4, vec![canary("v2", 25, 1)], 3),
        (4, vec![canary("v2", 50, 2)], 2),
        (4, vec![canary("v2", 25, 1), canary("v3", 25, 1)], 2),
        (4, vec![canary("v2", 0, 1)], 4),
    ] {
        let predictor = predictor(stable, canaries);
        assert_eq!(stable_min_replicas(&predictor), Some(expected), "{predictor:?}");
    }
    let replicas = |stable: Option<i32>, percent: i32| {
        let predictor = Predictor { min_replicas: stable, ..predictor(0, vec![]) };
        canary_replicas(&predictor, &canary("v2", percent, 0))
    };
    assert_eq!((replicas(Some(4), 25), replicas(Some(4), 50), replicas(None, 20)), (1, 2, 1));
    assert_eq!((replicas(Some(10), 1), replicas(Some(10), 0)), (1, 0), "rounded up");
    assert_eq!(stable_min_replicas(&Predictor::default()), None, "an autoscaler's minimum is left alone");
}

/// If it fails, a canary without ready pods gets requests (503), or one that is ready gets none.
/// (TestApplyCanaryWeights)
#[test]
fn weights_of_a_standard_canary() {
    let to = |service: &str, weight: i32| Backend { service: service.to_string(), weight };
    let of =
        |canaries: Vec<Canary>| backends(&predictor(4, canaries), "my-model-predictor", Profile::Windtunnel);
    assert_eq!(
        of(vec![canary("v2", 20, 1)]),
        [to("my-model-predictor", 80), to("my-model-v2-predictor", 20)]
    );
    assert_eq!(
        of(vec![canary("v2", 20, 1), canary("v3", 30, 1)]),
        [to("my-model-predictor", 50), to("my-model-v2-predictor", 20), to("my-model-v3-predictor", 30)]
    );
    assert_eq!(
        of(vec![canary("v2", 20, 0), canary("v3", 30, 1)]),
        [to("my-model-predictor", 70), to("my-model-v3-predictor", 30)]
    );
    assert_eq!(of(vec![]), [to("my-model-predictor", 100)]);

    // A likely bug of upstream: requests that should pass the transformer go past it.
    let predictor = predictor(4, vec![canary("v2", 20, 1)]);
    let transformer = "my-model-transformer";
    assert_eq!(backends(&predictor, transformer, Profile::Windtunnel), [to(transformer, 100)]);
    assert_eq!(
        backends(&predictor, transformer, Profile::Upstream),
        [to(transformer, 80), to("my-model-v2-predictor", 20)]
    );
}

/// If it fails, an InferenceService says that its canaries are ready when they are not.
#[test]
fn the_condition_of_a_standard_canary() {
    let condition = |canaries: Vec<Canary>, stopped: bool| {
        standard::reconcile(&Predictor { stopped, ..predictor(4, canaries) }, Profile::Windtunnel).condition
    };
    assert_eq!(condition(vec![], false), None);
    assert_eq!(condition(vec![canary("v2", 20, 1)], false), Some(CanaryCondition::AllCanariesReady));
    let mixed = vec![canary("v2", 20, 1), canary("v3", 20, 0)];
    assert_eq!(condition(mixed.clone(), false), Some(CanaryCondition::CanariesNotReady));
    assert_eq!(condition(mixed, true), Some(CanaryCondition::Stopped));
}

/// If it fails, a canary that KServe refuses is simulated, or one that it takes is refused.
#[test]
fn what_the_webhook_refuses() {
    let check =
        |canaries: Vec<Canary>| validate(&Predictor { name: "v1".to_string(), ..predictor(4, canaries) });
    assert_eq!(check(vec![canary("v2", 60, 0), canary("v3", 40, 0)]), Ok(()));
    for (canaries, expected) in [
        (vec![canary("", 10, 0)], CanaryError::NameRequired(0)),
        (vec![canary("v2", 10, 0), canary("v2", 10, 0)], CanaryError::Duplicated("v2".to_string())),
        (vec![canary("v1", 10, 0)], CanaryError::Conflicts("v1".to_string())),
        (vec![canary("v2", 101, 0)], CanaryError::Percent { name: "v2".to_string(), percent: 101 }),
        (
            vec![Canary { min_replicas: Some(5), ..canary("v2", 10, 0) }],
            CanaryError::TooManyReplicas { canary: 5, stable: 4 },
        ),
        (vec![canary("v2", 60, 0), canary("v3", 50, 0)], CanaryError::Sum(110)),
    ] {
        assert_eq!(check(canaries), Err(expected));
    }
    let said = check(vec![canary("v2", 101, 0)]).expect_err("too much").to_string();
    assert_eq!(said, "canary \"v2\" trafficPercent must be between 0 and 100, got 101");
}

/// If it fails, a canary percentage on Knative sends the wrong share to the new revision. (ksvc_reconciler_test.go)
#[test]
fn targets_of_a_percentage() {
    let split = traffic_targets(Some(20), "test-revision-1", true);
    assert_eq!(split.len(), 2);
    assert_eq!((split[0].percent, split[0].tag.as_deref()), (20, Some("latest")));
    assert_eq!(split[0].revision_name, None);
    assert_eq!(split[1].revision_name.as_deref(), Some("test-revision-1"));
    assert_eq!((split[1].percent, split[1].tag.as_deref()), (80, Some("prev")));
    for (percent, rolledout) in [(None, "test-revision-1"), (Some(100), "test-revision-1"), (Some(20), "")] {
        let all = traffic_targets(percent, rolledout, false);
        assert_eq!((all.len(), all[0].percent, all[0].tag.as_deref()), (1, 100, None), "{percent:?}");
    }
    assert_eq!(traffic_targets(Some(0), "a", false)[1].percent, 100);
}

fn service(created: &str, ready: &str, traffic: &[(&str, bool, i64)]) -> ServiceStatus {
    ServiceStatus {
        latest_created_revision_name: created.to_string(),
        latest_ready_revision_name: ready.to_string(),
        traffic: traffic
            .iter()
            .map(|&(revision, latest_revision, percent)| ObservedTarget {
                revision_name: revision.to_string(),
                latest_revision,
                percent: Some(percent),
            })
            .collect(),
    }
}

/// If it fails, a promotion or a rollback by percentage sends users to a revision that was never rolled out.
/// (controller_test.go "When doing canary out with inference service"; kserve issues 1968, 2130)
#[test]
fn pointers_of_a_release() {
    let v1 = service("v1", "v1", &[("v1", true, 100)]);
    let first = reconcile(&Pointers::default(), None, false, &v1);
    assert_eq!(first.pointers.latest_rolledout_revision, "v1");
    assert_eq!(first.pointers.previous_rolledout_revision, "");

    let split = service("v2", "v2", &[("v2", true, 20), ("v1", false, 80)]);
    let canary = reconcile(&first.pointers, Some(20), false, &split);
    assert_eq!(canary.targets[1].revision_name.as_deref(), Some("v1"));
    assert_eq!(canary.pointers.latest_ready_revision, "v2");
    assert_eq!(canary.pointers.latest_rolledout_revision, "v1");
    assert_eq!(
        canary.explanation.to_string(),
        "canaryTrafficPercent 20, ready v2, rolled out v1: 20 to the latest revision, 80 to v1"
    );

    // Another update in between: the last revision that was rolled out stays the other one.
    let third = service("v3", "v3", &[("v3", true, 20), ("v1", false, 80)]);
    let consecutive = propagate(&canary.pointers, &third);
    assert_eq!(consecutive.latest_rolledout_revision, "v1");

    let all = service("v2", "v2", &[("v2", true, 100)]);
    let promoted = reconcile(&canary.pointers, None, false, &all);
    assert_eq!(promoted.targets.len(), 1);
    assert_eq!(promoted.pointers.latest_rolledout_revision, "v2");
    assert_eq!(promoted.pointers.previous_rolledout_revision, "v1");

    // Rollback after a full rollout: split over the same revision first, then back to the one before.
    let back = reconcile(&promoted.pointers, Some(0), false, &all);
    assert_eq!(back.targets[1].revision_name.as_deref(), Some("v2"));
    let same = service("v2", "v2", &[("v2", true, 0), ("v2", false, 100)]);
    let flipped = reconcile(&back.pointers, Some(0), false, &same);
    assert_eq!(flipped.pointers.latest_rolledout_revision, "v1");
    let done = reconcile(&flipped.pointers, Some(0), false, &same);
    assert_eq!(done.targets[1].revision_name.as_deref(), Some("v1"));
    assert_eq!(done.targets[1].percent, 100);
}

/// If it fails, a revision that never became ready counts as rolled out, or a rollback happens by itself.
#[test]
fn pointers_that_stay() {
    let rolled = Pointers {
        latest_created_revision: "v2".to_string(),
        latest_ready_revision: "v2".to_string(),
        latest_rolledout_revision: "v2".to_string(),
        previous_rolledout_revision: "v1".to_string(),
    };
    let newer = service("v3", "v2", &[("v2", true, 50), ("v2", false, 50)]);
    assert_eq!(propagate(&rolled, &newer).latest_rolledout_revision, "v2", "v3 is not ready yet");
    let elsewhere = service("v2", "v2", &[("v2", true, 50), ("v1", false, 50)]);
    assert_eq!(propagate(&rolled, &elsewhere).latest_rolledout_revision, "v2");
    let no_previous = Pointers { previous_rolledout_revision: String::new(), ..rolled };
    let same = service("v2", "v2", &[("v2", true, 0), ("v2", false, 100)]);
    assert_eq!(propagate(&no_previous, &same).latest_rolledout_revision, "v2");
    let unready = service("v2", "", &[]);
    assert_eq!(propagate(&Pointers::default(), &unready).latest_rolledout_revision, "");
}
