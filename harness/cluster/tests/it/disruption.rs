//! The PodDisruptionBudget controller.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
    policy::v1::PodDisruptionBudget,
};
use serde_json::{Value, json};
use windtunnel_cluster::{controllers::disruption, world::Key};

use crate::model::Model;

/// A Deployment of ten with `count` pods that are there, so many of them ready.
fn world(count: usize, ready: usize) -> Model {
    let mut model = Model::new();
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}});
    let selector = json!({"matchLabels": {"app": "a"}});
    let spec = json!({"replicas": 10, "selector": selector, "template": template});
    let deployment = json!({"metadata": {"name": "d"}, "spec": spec});
    let key = model.put::<Deployment>(deployment, |object| &mut object.metadata);
    let owner = |kind: &str, object: &Value| {
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": object["metadata"]["name"],
            "uid": object["metadata"]["uid"], "controller": true}])
    };
    let owners = owner("Deployment", &model.json::<Deployment>(&key));
    let set = json!({"metadata": {"name": "r", "ownerReferences": owners}, "spec": spec});
    let key = model.put::<ReplicaSet>(set, |object| &mut object.metadata);
    let owners = owner("ReplicaSet", &model.json::<ReplicaSet>(&key));
    for index in 0..count {
        let status = if index < ready { "True" } else { "False" };
        let pod = json!({"metadata": {"name": format!("p{index}"), "labels": {"app": "a"}, "ownerReferences": owners},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
        model.put::<Pod>(pod, |object| &mut object.metadata);
    }
    model
}

fn judge(model: &mut Model, spec: &Value) -> Value {
    let mut all = json!({"selector": {"matchLabels": {"app": "a"}}});
    json_patch::merge(&mut all, spec);
    let budget = json!({"metadata": {"name": "b"}, "spec": all});
    let key = model.put::<PodDisruptionBudget>(budget, |object| &mut object.metadata);
    model.run(disruption::reconcile, &key);
    model.json::<PodDisruptionBudget>(&key)["status"].clone()
}

/// If this fails evictions take a service down, or nothing can ever be evicted.
#[test]
fn what_may_be_disrupted_follows_from_numbers_and_percentages() {
    for (spec, ready, expected, desired, allowed) in [
        (json!({"minAvailable": 3}), 8, 9, 3, 5),
        // Of what the Deployment wants (10), not of what is there (9); rounded up.
        (json!({"minAvailable": "75%"}), 9, 10, 8, 1),
        (json!({"maxUnavailable": 2}), 9, 10, 8, 1),
        (json!({"maxUnavailable": "25%"}), 8, 10, 7, 1),
        (json!({"maxUnavailable": 1}), 8, 10, 9, 0),
    ] {
        let status = judge(&mut world(9, ready), &spec);
        let found = (
            status["expectedPods"].as_i64(),
            status["desiredHealthy"].as_i64(),
            status["disruptionsAllowed"].as_i64(),
        );
        assert_eq!(found, (Some(expected), Some(desired), Some(allowed)), "{spec}");
        assert_eq!(status["currentHealthy"], ready);
        let condition = &status["conditions"][0];
        let (value, reason) =
            if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        assert_eq!((&condition["status"], &condition["reason"]), (&json!(value), &json!(reason)));
        assert_eq!(status["observedGeneration"], 1);
    }
}

/// If this fails a budget without pods, or one over bare pods, lets evictions through by accident.
#[test]
fn a_budget_that_cannot_be_computed_allows_nothing() {
    let mut model = Model::new();
    let pod = json!({"metadata": {"name": "p", "labels": {"app": "a"}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    model.put::<Pod>(pod, |object| &mut object.metadata);
    let status = judge(&mut model, &json!({"maxUnavailable": 1}));
    assert_eq!(
        (&status["disruptionsAllowed"], &status["conditions"][0]["reason"]),
        (&json!(0), &json!("SyncFailed"))
    );
    let status = judge(&mut Model::new(), &json!({"minAvailable": 0}));
    assert_eq!(status["disruptionsAllowed"], 0);
}

/// If this fails two evictions in a row take more than the budget allows, or a pod that stays is counted as gone.
#[test]
fn evicted_pods_count_as_gone_until_they_are() {
    let mut model = world(4, 4);
    judge(&mut model, &json!({"minAvailable": 3}));
    let key = Key::new("ns", "b");
    let patch = json!({"status": {"disruptionsAllowed": 0, "disruptedPods": {"p0": model.now.to_string()}}});
    model.patch::<PodDisruptionBudget>(&key, &patch);
    model.run(disruption::reconcile, &key);
    assert_eq!(model.json::<PodDisruptionBudget>(&key)["status"]["currentHealthy"], 3);
    let wait = disruption::reconcile(&model.world, &key, model.now).requeue_after.expect("a time");
    assert_eq!(wait.as_secs(), 120);
    model.now = model.now.checked_add(k8s_openapi::jiff::ToSpan::seconds(120)).expect("a time");
    model.run(disruption::reconcile, &key);
    let status = model.json::<PodDisruptionBudget>(&key)["status"].clone();
    assert_eq!((&status["currentHealthy"], status.get("disruptedPods")), (&json!(4), None));
}
