//! The ReplicaSet controller.

use std::sync::Arc;

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::replica_set,
    effect::Effect,
    world::{Key, Kind},
};

use crate::model::Model;

fn set_of(replicas: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "r"}}, "template": {
            "metadata": {"labels": {"app": "r"}, "annotations": {"note": "kept"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }))
    .expect("a ReplicaSet")
}

fn with_set(replicas: i32) -> (Model, Key) {
    let mut model = Model::new();
    let key = model.create(set_of(replicas), |set: &mut ReplicaSet| &mut set.metadata);
    (model, key)
}

fn pod(name: &str, extra: &Value) -> Pod {
    let mut value = json!({"metadata": {"name": name, "namespace": "ns", "labels": {"app": "r"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json_patch::merge(&mut value, extra);
    serde_json::from_value(value).expect("a pod")
}

/// If this fails pods are missing, or have other labels and annotations than their template.
#[test]
fn missing_pods_are_made_from_the_template() {
    let (mut model, key) = with_set(3);
    model.settle();
    assert_eq!(model.world.pods.len(), 3);
    for (_, pod) in model.world.pods.iter() {
        let metadata = &pod.metadata;
        assert_eq!(metadata.annotations.as_ref().map(|all| all["note"].as_str()), Some("kept"));
        let owner = &metadata.owner_references.as_ref().expect("owners")[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str(), owner.controller),
            ("ReplicaSet", "r", Some(true))
        );
    }
    let status = model.world.replica_sets.get(&key).and_then(|set| set.status.clone()).expect("a status");
    assert_eq!((status.replicas, status.fully_labeled_replicas, status.ready_replicas), (3, Some(3), None));
}

/// If this fails a pod that was deleted or has failed is not replaced.
#[test]
fn deleted_and_failed_pods_are_replaced() {
    let (mut model, _) = with_set(2);
    model.settle();
    let keys: Vec<Key> = model.world.pods.iter().map(|(key, _)| key.clone()).collect();
    model.delete::<Pod>(&keys[0]);
    model.patch::<Pod>(&keys[1], &json!({"status": {"phase": "Failed"}}));
    model.settle();
    assert_eq!(model.world.pods.len(), 3, "two new ones beside the failed one");
}

/// If this fails a terminating pod counts as running, and scaling waits for its grace.
#[test]
fn terminating_pods_do_not_count() {
    let (mut model, key) = with_set(1);
    model.settle();
    let pod = model.world.pods.iter().map(|(key, _)| key.clone()).next().expect("a pod");
    model.patch::<Pod>(&pod, &json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}}));
    model.settle();
    assert_eq!(model.world.pods.len(), 2);
    let status = model.world.replica_sets.get(&key).and_then(|set| set.status.clone()).expect("a status");
    assert_eq!((status.replicas, status.terminating_replicas), (1, Some(1)));
}

/// If this fails pods made by hand are doubled, or a relabelled pod is deleted instead of set free.
#[test]
fn matching_orphans_are_adopted_and_strays_released() {
    let (mut model, _) = with_set(1);
    let orphan = model.create(pod("orphan", &json!({})), |pod: &mut Pod| &mut pod.metadata);
    model.settle();
    assert_eq!(model.world.pods.len(), 1);
    let owner = |model: &Model| {
        model
            .world
            .pods
            .get(&orphan)
            .and_then(|pod| pod.metadata.owner_references.clone())
            .unwrap_or_default()
    };
    assert_eq!(owner(&model).len(), 1);
    model.patch::<Pod>(&orphan, &json!({"metadata": {"labels": {"app": "other"}}}));
    model.settle();
    assert_eq!(owner(&model).len(), 0);
    assert_eq!(model.world.pods.len(), 2);
}

/// If this fails scaling down ends the pod that serves and keeps the one that does not.
#[test]
fn the_least_useful_pod_goes_first() {
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let ready = |since: &str| {
        json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions":
            [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}})
    };
    let (old, new) = ("2027-01-01T00:00:00Z", "2027-01-15T07:59:00Z");
    let mut cheap = ready(old);
    cheap["metadata"] = json!({"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}});
    let mut restarted = ready(old);
    restarted["status"]["containerStatuses"] =
        json!([{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 4}]);
    let in_order = [
        pod("unbound", &json!({"status": {"phase": "Pending"}})),
        pod("pending", &json!({"spec": {"nodeName": "n"}, "status": {"phase": "Pending"}})),
        pod("unready", &json!({"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})),
        pod("cheap", &cheap),
        pod("newly-ready", &ready(new)),
        pod("restarted", &restarted),
        pod("veteran", &ready(old)),
    ]
    .map(Arc::new);
    let shuffled: Vec<&Arc<Pod>> = [4, 6, 0, 5, 2, 1, 3].into_iter().map(|at| &in_order[at]).collect();
    let names = |pods: Vec<&Arc<Pod>>| -> Vec<String> {
        pods.iter().map(|pod| pod.metadata.name.clone().unwrap_or_default()).collect()
    };
    let expected: Vec<String> = names(in_order.iter().collect());
    assert_eq!(names(replica_set::victims(&shuffled, 7, now)), expected);
    assert_eq!(names(replica_set::victims(&shuffled, 2, now)), expected[..2]);
}

/// If this fails a quota or an admission denial leads to a storm of creations, or stays unknown to the user.
#[test]
fn a_creation_that_fails_is_shown_and_tried_one_at_a_time() {
    let (mut model, key) = with_set(5);
    model
        .world
        .pod_creation_failures
        .insert((Kind::ReplicaSet, key.clone()), "pods \"r-\" is forbidden: quota".into());
    let outcome = replica_set::reconcile(&model.world, &key, model.now);
    let creations = outcome.effects.iter().filter(|effect| matches!(effect, Effect::CreatePod(_))).count();
    assert_eq!(creations, 1);
    assert!(outcome.requeue_after.is_some());
    model.carry_out(outcome);
    let status = model.world.replica_sets.get(&key).and_then(|set| set.status.clone()).expect("a status");
    let condition = &status.conditions.expect("conditions")[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
}

/// If this fails pods count as available before `minReadySeconds` have passed, or never.
#[test]
fn availability_waits_for_min_ready_seconds() {
    let (mut model, key) = with_set(1);
    model.patch::<ReplicaSet>(&key, &json!({"spec": {"minReadySeconds": 10}}));
    model.settle();
    model.ready(1);
    let outcome = replica_set::reconcile(&model.world, &key, model.now);
    assert_eq!(outcome.requeue_after.map(|delay| delay.as_secs()), Some(10));
    model.carry_out(outcome);
    let available = |model: &Model| {
        model
            .world
            .replica_sets
            .get(&key)
            .and_then(|set| set.status.as_ref()?.available_replicas)
            .unwrap_or(0)
    };
    assert_eq!(available(&model), 0);
    model.now += k8s_openapi::jiff::SignedDuration::from_secs(10);
    model.settle();
    assert_eq!(available(&model), 1);
}
