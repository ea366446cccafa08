//! The StatefulSet controller, against recorded facts of Kubernetes 1.36.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use serde_json::{Value, json};
use windtunnel_cluster::{controllers::stateful_set, world::Key};

use crate::model::Model;

fn start(spec: &Value) -> (Model, Key) {
    let mut model = Model::new();
    let mut all = json!({
        "replicas": 2,
        "serviceName": "x",
        "selector": {"matchLabels": {"app": "s"}},
        "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    });
    json_patch::merge(&mut all, spec);
    let object = json!({"metadata": {"name": "s"}, "spec": all});
    let key = model.put::<StatefulSet>(object, |set| &mut set.metadata);
    model.run(stateful_set::reconcile, &key);
    (model, key)
}

/// Makes every pod ready, one after the other, until nothing more happens.
fn bring_up(model: &mut Model, key: &Key) {
    for _ in 0..20 {
        model.ready(usize::MAX);
        model.run(stateful_set::reconcile, key);
    }
}

fn status(model: &Model, key: &Key) -> Value {
    model.json::<StatefulSet>(key)["status"].clone()
}

fn images(model: &Model) -> Vec<String> {
    let image = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
    model.world.pods.iter().filter_map(|(_, pod)| image(pod)).collect()
}

/// If this fails members of a database start before those they need.
#[test]
fn the_next_pod_comes_when_the_one_before_is_ready() {
    let (mut model, key) = start(&json!({}));
    assert_eq!(model.pod_names(), ["s-0"]);
    let pod = model.json::<Pod>(&Key::new("ns", "s-0"));
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "s-0");
    assert!(labels["controller-revision-hash"].as_str().is_some_and(|hash| hash.starts_with("s-")));
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("s-0"), &json!("x")));
    bring_up(&mut model, &key);
    assert_eq!(model.pod_names(), ["s-0", "s-1"]);
    let status = status(&model, &key);
    for (field, count) in
        [("replicas", 2), ("readyReplicas", 2), ("availableReplicas", 2), ("collisionCount", 0)]
    {
        assert_eq!(status[field], count, "{field}");
    }
    assert_eq!(status["currentRevision"], status["updateRevision"]);
}

/// If this fails `Parallel` waits, or scaling down takes the wrong pod.
#[test]
fn parallel_sets_do_not_wait_and_the_highest_ordinal_goes_first() {
    let (mut model, key) =
        start(&json!({"podManagementPolicy": "Parallel", "replicas": 3, "ordinals": {"start": 5}}));
    assert_eq!(model.pod_names(), ["s-5", "s-6", "s-7"]);
    bring_up(&mut model, &key);
    model.patch::<StatefulSet>(&key, &json!({"spec": {"replicas": 1}}));
    model.run(stateful_set::reconcile, &key);
    assert_eq!(model.pod_names(), ["s-5"]);
    let (mut model, key) = start(&json!({"replicas": 3}));
    bring_up(&mut model, &key);
    model.patch::<StatefulSet>(&key, &json!({"spec": {"replicas": 1}}));
    let outcome = stateful_set::reconcile(&model.world, &key, model.now);
    model.carry_out(outcome);
    assert_eq!(model.pod_names(), ["s-0", "s-1"], "one at a time");
}

/// If this fails an update takes more than one member down, or ignores its partition.
#[test]
fn updates_go_from_the_highest_ordinal_down_to_the_partition() {
    let (mut model, key) = start(&json!({"replicas": 3}));
    bring_up(&mut model, &key);
    let first = status(&model, &key)["currentRevision"].clone();
    let change = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    model.patch::<StatefulSet>(&key, &change);
    let outcome = stateful_set::reconcile(&model.world, &key, model.now);
    model.carry_out(outcome);
    assert_eq!(model.pod_names(), ["s-0", "s-1"], "the highest goes first");
    bring_up(&mut model, &key);
    assert_eq!(images(&model), ["i:1", "i:2", "i:2"]);
    let now = status(&model, &key);
    assert_eq!((&now["currentRevision"], &now["updatedReplicas"]), (&first, &json!(2)));
    assert_ne!(now["updateRevision"], first);
    // A pod below the partition comes back as it was.
    model.delete::<Pod>(&Key::new("ns", "s-0"));
    bring_up(&mut model, &key);
    assert_eq!(images(&model), ["i:1", "i:2", "i:2"]);
    model.patch::<StatefulSet>(
        &key,
        &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),
    );
    model.run(stateful_set::reconcile, &key);
    bring_up(&mut model, &key);
    assert_eq!(images(&model), ["i:2", "i:2", "i:2"]);
    let now = status(&model, &key);
    assert_eq!(now["currentRevision"], now["updateRevision"]);
    assert_eq!(model.world.controller_revisions.len(), 2, "the old one is kept as history");
}

/// If this fails going back to an old template makes a new revision, or history grows for ever.
#[test]
fn an_old_template_is_found_again_and_history_is_limited() {
    let (mut model, key) = start(&json!({"revisionHistoryLimit": 1, "replicas": 0}));
    let first = status(&model, &key)["updateRevision"].clone();
    for image in ["i:2", "i:3", "i:4"] {
        let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
        model.patch::<StatefulSet>(&key, &change);
        model.run(stateful_set::reconcile, &key);
    }
    assert_eq!(model.world.controller_revisions.len(), 2, "the present one and one more");
    assert!(model.world.controller_revisions.iter().all(|(key, _)| first != key.name.as_str()));
    let present = status(&model, &key)["updateRevision"].clone();
    let change = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    model.patch::<StatefulSet>(&key, &change("i:3"));
    model.run(stateful_set::reconcile, &key);
    assert_ne!(status(&model, &key)["updateRevision"], present);
    model.patch::<StatefulSet>(&key, &change("i:4"));
    model.run(stateful_set::reconcile, &key);
    assert_eq!(status(&model, &key)["updateRevision"], present, "the same template is the same revision");
}

/// If this fails members lose their data, or scaling down keeps volumes that should go.
#[test]
fn claims_are_made_for_each_pod_and_kept_as_the_policy_says() {
    let templates = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    let (mut model, key) = start(&json!({"volumeClaimTemplates": templates,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"}}));
    bring_up(&mut model, &key);
    let claim = |model: &Model, name: &str| model.json::<PersistentVolumeClaim>(&Key::new("ns", name));
    let owner = |claim: &Value| claim["metadata"]["ownerReferences"][0]["kind"].clone();
    assert_eq!(owner(&claim(&model, "data-s-1")), "StatefulSet");
    assert_eq!(claim(&model, "data-s-1")["metadata"]["labels"], json!({"app": "s"}));
    let pod = model.json::<Pod>(&Key::new("ns", "s-1"));
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-s-1");
    model.patch::<StatefulSet>(&key, &json!({"spec": {"replicas": 1}}));
    let outcome = stateful_set::reconcile(&model.world, &key, model.now);
    model.carry_out(outcome);
    assert_eq!(owner(&claim(&model, "data-s-1")), "Pod", "it goes with its pod");
    assert_eq!(owner(&claim(&model, "data-s-0")), "StatefulSet");
    assert!(model.notes.contains(&"create Claim data-s-0 Pod s-0 in StatefulSet s success".to_owned()));
}
