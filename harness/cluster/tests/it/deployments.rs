//! The Deployment controller, with numbers recorded from a real one.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Value, json};
use windtunnel_cluster::world::Key;

use crate::model::{Model, change_image, deployment_of};

fn key() -> Key {
    Key::new("ns", "d")
}

fn started(replicas: i32, strategy: &Value) -> Model {
    let mut model = Model::new();
    model.create(deployment_of(replicas, strategy), |deployment: &mut Deployment| &mut deployment.metadata);
    model.settle();
    model.ready(usize::MAX);
    model.settle();
    model
}

fn rolling(surge: impl Into<Value>, unavailable: impl Into<Value>) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge.into(), "maxUnavailable": unavailable.into()}})
}

fn condition(deployment: &Value, kind: &str) -> (String, String, String) {
    let conditions = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// If this fails an update takes more pods out of service, or starts more at once, than the manifest allows.
#[test]
fn the_first_step_of_an_update_is_that_of_a_real_controller() {
    for (replicas, surge, unavailable, old, new) in [
        (4, json!("25%"), json!("25%"), 3, 2),
        (4, json!(1), json!(0), 4, 1),
        (4, json!(0), json!(1), 3, 1),
        (4, json!(2), json!(2), 2, 4),
        (3, json!("25%"), json!("25%"), 3, 1),
        (5, json!("50%"), json!("50%"), 3, 5),
        (4, json!(0), json!("1%"), 3, 1),
    ] {
        let mut model = started(replicas, &rolling(surge.clone(), unavailable.clone()));
        assert_eq!(model.sizes(), [(1, replicas)]);
        change_image(&mut model, "i:2");
        model.settle();
        assert_eq!(model.sizes(), [(1, old), (2, new)], "{replicas} replicas, {surge}, {unavailable}");
        let status = model.deployment()["status"].clone();
        assert_eq!(status["replicas"], old + new);
        assert_eq!(status["updatedReplicas"], new);
        assert_eq!(status["availableReplicas"], old);
        assert_eq!(status["unavailableReplicas"], new);
        assert_eq!(status["observedGeneration"], 2);
    }
}

/// If this fails an update stops half-way, or drops below the availability that was asked for on its way.
#[test]
fn an_update_runs_to_its_end_within_its_bounds() {
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 1), (5, 5)] {
        let mut model = started(5, &rolling(surge, unavailable));
        change_image(&mut model, "i:2");
        for _ in 0..100 {
            while model.step() {
                let total: i32 = model.sizes().iter().map(|(_, size)| size).sum();
                assert!(total <= 5 + surge, "{total} pods with surge {surge}");
                let available = model.deployment()["status"]["availableReplicas"].as_i64().unwrap_or(0);
                assert!(
                    available >= i64::from(5 - unavailable),
                    "{available} with unavailable {unavailable}"
                );
            }
            if model.sizes() == [(1, 0), (2, 5)] {
                break;
            }
            model.ready(1);
        }
        model.ready(usize::MAX);
        model.settle();
        assert_eq!(model.sizes(), [(1, 0), (2, 5)]);
        let deployment = model.deployment();
        let (status, reason, message) = condition(&deployment, "Progressing");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "NewReplicaSetAvailable"));
        assert!(
            message.starts_with("ReplicaSet \"d-") && message.ends_with("\" has successfully progressed.")
        );
        assert_eq!(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    }
}

/// If this fails pods that never worked block the update that would repair them.
#[test]
fn pods_that_do_not_work_are_replaced_first() {
    let mut model = Model::new();
    model.create(deployment_of(4, &rolling(1, 1)), |deployment: &mut Deployment| &mut deployment.metadata);
    model.settle();
    model.ready(2);
    model.settle();
    assert_eq!(condition(&model.deployment(), "Available").1, "MinimumReplicasUnavailable");
    change_image(&mut model, "i:2");
    model.settle();
    let mut sizes: Vec<i32> = model.sizes().iter().map(|(_, size)| *size).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3]);
    assert_eq!(model.deployment()["status"]["unavailableReplicas"], 3);
}

/// If this fails `Recreate` runs two versions at once, which is what it was chosen to avoid.
#[test]
fn recreate_ends_the_old_pods_first() {
    let mut model = started(2, &json!({"type": "Recreate"}));
    change_image(&mut model, "i:2");
    let mut saw_nothing = false;
    while model.step() {
        let running: Vec<_> = model.sizes().into_iter().filter(|(_, size)| *size > 0).collect();
        assert!(running.len() <= 1);
        saw_nothing |= model.world.pods.is_empty();
    }
    assert!(saw_nothing);
    assert_eq!(model.sizes(), [(1, 0), (2, 2)]);
    let deployment = model.deployment();
    assert_eq!(condition(&deployment, "Available").2, "Deployment does not have minimum availability.");
    assert_eq!(deployment["status"]["unavailableReplicas"], 2);
    assert_eq!(deployment["status"].get("readyReplicas"), None);
}

/// If this fails scaling to zero leaves counts of pods that are gone, or scaling up again makes a new revision.
#[test]
fn scaling_to_zero_and_back_keeps_the_revision() {
    let mut model = started(3, &rolling(1, 0));
    model.patch::<Deployment>(&key(), &json!({"spec": {"replicas": 0}}));
    model.settle();
    assert_eq!(model.sizes(), [(1, 0)]);
    let status = model.deployment()["status"].clone();
    for field in ["replicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "updatedReplicas"]
    {
        assert_eq!(status.get(field), None, "{field}");
    }
    assert_eq!(status["terminatingReplicas"], 0);
    assert!(model.world.pods.is_empty());
    model.patch::<Deployment>(&key(), &json!({"spec": {"replicas": 2}}));
    model.settle();
    assert_eq!(model.sizes(), [(1, 2)]);
    assert_eq!(model.world.pods.len(), 2);
    assert!(model.notes.iter().any(|note| note.ends_with("from 0 to 3")), "{:?}", model.notes);
}

/// If this fails a scale in the middle of an update gives all pods to one side.
#[test]
fn a_scale_during_an_update_keeps_the_proportions() {
    let mut model = started(10, &rolling(3, 2));
    change_image(&mut model, "i:2");
    model.settle();
    assert_eq!(model.sizes(), [(1, 8), (2, 5)]);
    model.patch::<Deployment>(&key(), &json!({"spec": {"replicas": 15}}));
    model.settle();
    // The example of the Kubernetes documentation: of 5 further pods 3 go to the larger ReplicaSet, 2 to the other.
    assert_eq!(model.sizes(), [(1, 11), (2, 7)]);
}

/// If this fails `kubectl rollout undo` makes a third ReplicaSet, or history grows without bound.
#[test]
fn revisions_are_numbered_reused_and_forgotten() {
    let mut model = Model::new();
    let mut deployment = deployment_of(0, &rolling(1, 0));
    deployment.spec.as_mut().expect("a specification").revision_history_limit = Some(1);
    model.create(deployment, |deployment: &mut Deployment| &mut deployment.metadata);
    model.settle();
    assert_eq!(condition(&model.deployment(), "Progressing").1, "NewReplicaSetAvailable");
    change_image(&mut model, "i:2");
    model.settle();
    change_image(&mut model, "i:1");
    model.settle();
    assert_eq!(model.sizes(), [(2, 0), (3, 0)]);
    let back = model.world.replica_sets.iter().find_map(|(_, set)| {
        let annotations = set.metadata.annotations.as_ref()?;
        (annotations["deployment.kubernetes.io/revision"] == "3").then(|| annotations.clone())
    });
    let expected = [
        ("deployment.kubernetes.io/desired-replicas", "0"),
        ("deployment.kubernetes.io/max-replicas", "1"),
        ("deployment.kubernetes.io/revision", "3"),
        ("deployment.kubernetes.io/revision-history", "1"),
    ];
    let back = back.expect("the ReplicaSet that was gone back to");
    assert_eq!(back.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    for version in 3..6 {
        change_image(&mut model, &format!("i:{version}"));
        model.settle();
    }
    assert_eq!(model.sizes(), [(5, 0), (6, 0)]);
}

/// If this fails a roll-out that hangs is never reported, or a slow one that recovered stays failed.
#[test]
fn a_rollout_without_progress_is_reported_and_recovers() {
    let mut model = Model::new();
    let mut deployment = deployment_of(1, &rolling(1, 0));
    deployment.spec.as_mut().expect("a specification").progress_deadline_seconds = Some(10);
    model.create(deployment, |deployment: &mut Deployment| &mut deployment.metadata);
    model.settle();
    assert_eq!(condition(&model.deployment(), "Progressing").0, "True");
    model.now += k8s_openapi::jiff::SignedDuration::from_secs(11);
    model.settle();
    let (status, reason, message) = condition(&model.deployment(), "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ProgressDeadlineExceeded"));
    assert!(message.ends_with("\" has timed out progressing."), "{message}");
    model.ready(1);
    model.settle();
    assert_eq!(condition(&model.deployment(), "Progressing").1, "NewReplicaSetAvailable");
    assert_eq!(condition(&model.deployment(), "Available").2, "Deployment has minimum availability.");
}

/// If this fails a paused Deployment rolls out nevertheless, or cannot be scaled.
#[test]
fn a_paused_deployment_scales_but_does_not_roll_out() {
    let mut model = started(2, &rolling(1, 0));
    model.patch::<Deployment>(&key(), &json!({"spec": {"paused": true}}));
    change_image(&mut model, "i:2");
    model.patch::<Deployment>(&key(), &json!({"spec": {"replicas": 3}}));
    model.settle();
    assert_eq!(model.sizes(), [(1, 3)]);
    assert_eq!(condition(&model.deployment(), "Progressing").1, "DeploymentPaused");
    model.patch::<Deployment>(&key(), &json!({"spec": {"paused": false}}));
    model.settle();
    assert_eq!(model.sizes(), [(1, 3), (2, 1)]);
}

/// If this fails two templates with the same hash share a ReplicaSet and one of them never runs.
#[test]
fn a_name_that_is_taken_leads_to_another_hash() {
    let mut model = Model::new();
    let deployment = deployment_of(1, &rolling(1, 0));
    let template = deployment.spec.as_ref().expect("a specification").template.clone();
    let hash = windtunnel_cluster::controllers::deployment::template_hash(&template, 0);
    let stranger: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": format!("d-{hash}"), "namespace": "ns", "annotations": {"deployment.kubernetes.io/revision": "7"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "other"}},
            "template": {"metadata": {"labels": {"app": "other"}}}},
    }))
    .expect("a ReplicaSet");
    model.create(stranger, |set: &mut ReplicaSet| &mut set.metadata);
    model.create(deployment, |deployment: &mut Deployment| &mut deployment.metadata);
    model.settle();
    assert_eq!(model.sizes(), [(1, 1), (7, 0)]);
    assert_eq!(model.deployment()["status"]["collisionCount"], 1);
}

/// If this fails a client of the first API can't go back, or goes back again and again (events as in Kubernetes'
/// pkg/controller/deployment/rollback.go).
#[test]
fn an_annotation_rolls_back() {
    let mut model = started(2, &rolling(1, 0));
    change_image(&mut model, "i:2");
    model.settle();
    let image =
        |model: &Model| model.deployment()["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let annotations = |model: &Model| model.deployment()["metadata"]["annotations"].clone();
    for (asked, then, told) in [
        ("77", "i:2", "Unable to find the revision to rollback to."),
        ("2", "i:2", "The rollback revision contains the same template as current deployment \"d\""),
        ("0", "i:1", "Rolled back deployment \"d\" to revision 1"),
        ("2", "i:2", "Rolled back deployment \"d\" to revision 2"),
    ] {
        let patch =
            json!({"metadata": {"annotations": {"deprecated.deployment.rollback.to": asked, "note": asked}}});
        model.patch::<Deployment>(&key(), &patch);
        model.settle();
        assert_eq!(image(&model), then, "to {asked}");
        assert_eq!(annotations(&model)["deprecated.deployment.rollback.to"], Value::Null, "to {asked}");
        assert!(model.notes.iter().any(|note| note == told), "to {asked}: {:?}", model.notes);
        model.ready(usize::MAX);
        model.settle();
    }
    let labels = model.deployment()["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(labels.get("pod-template-hash"), None, "{labels}");
}
