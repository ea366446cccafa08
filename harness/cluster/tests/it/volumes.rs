//! Volumes and claims.

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::{scheduler, volumes},
    effect::Effect,
    world::{Key, Stored},
};

use crate::model::Model;

fn claim(model: &mut Model, spec: &Value) -> Key {
    let mut all = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut all, spec);
    model.put::<PersistentVolumeClaim>(json!({"metadata": {"name": "c"}, "spec": all}), |claim| {
        &mut claim.metadata
    })
}

fn class(model: &mut Model, mode: &str) {
    let mut class = volumes::default_class("/data");
    class.volume_binding_mode = Some(mode.to_owned());
    class.metadata.namespace = Some(String::new());
    model.create(class, |class: &mut StorageClass| &mut class.metadata);
}

fn volume(model: &mut Model, name: &str, size: &str, class: &str) -> Key {
    let spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/x"}});
    let object = json!({"metadata": {"name": name, "namespace": ""}, "spec": spec});
    model.put::<PersistentVolume>(object, |volume| &mut volume.metadata)
}

/// Both controllers, until they rest.
fn settle(model: &mut Model, claim: &Key) {
    for _ in 0..5 {
        model.run(volumes::claim, claim);
        let keys: Vec<Key> = model.world.persistent_volumes.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            model.run(volumes::volume, &key);
        }
    }
}

/// If this fails a claim waits for ever, or its data has no folder.
#[test]
fn a_claim_without_class_gets_a_folder_of_the_default_class() {
    let mut model = Model::new();
    class(&mut model, "Immediate");
    let key = claim(&mut model, &json!({}));
    settle(&mut model, &key);
    let claim = model.json::<PersistentVolumeClaim>(&key);
    assert_eq!(claim["spec"]["storageClassName"], "standard");
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["status"]["capacity"], json!({"storage": "1Gi"}));
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let name = claim["spec"]["volumeName"].as_str().expect("a volume").to_owned();
    let volume = model.json::<PersistentVolume>(&Key::cluster(name.as_str()));
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(volume["spec"]["hostPath"]["path"], format!("/data/{name}"));
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    // The claim goes, and with it volume and folder.
    model.patch::<PersistentVolumeClaim>(
        &key,
        &json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}}),
    );
    model.run(volumes::claim, &key);
    assert!(PersistentVolumeClaim::table(&model.world).get(&key).is_none());
    let outcome = volumes::volume(&model.world, &Key::cluster(name.as_str()), model.now);
    assert!(matches!(&outcome.effects[0], Effect::RemoveFolder { path } if *path == format!("/data/{name}")));
    assert!(matches!(&outcome.effects[1], Effect::Delete { .. }));
    // The deletion waits for the finalizer, and goes through: the claim is gone.
    let deleted = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}});
    model.patch::<PersistentVolume>(&Key::cluster(name.as_str()), &deleted);
    let mut outcome = volumes::volume(&model.world, &Key::cluster(name.as_str()), model.now);
    outcome.effects.retain(|effect| !matches!(effect, Effect::RemoveFolder { .. }));
    model.carry_out(outcome);
    assert!(PersistentVolume::table(&model.world).get(&Key::cluster(name.as_str())).is_none());
}

/// If this fails deleting a volume takes the data of a claim that is still bound to it.
#[test]
fn a_volume_that_is_deleted_stays_until_its_claim_lets_go() {
    let mut model = Model::new();
    let volume_key = volume(&mut model, "v", "2Gi", "a");
    let key = claim(&mut model, &json!({"storageClassName": "a"}));
    settle(&mut model, &key);
    let stored = model.json::<PersistentVolume>(&volume_key);
    assert_eq!(stored["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
    let deleted = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}});
    model.patch::<PersistentVolume>(&volume_key, &deleted);
    model.run(volumes::volume, &volume_key);
    assert_eq!(
        model.json::<PersistentVolume>(&volume_key)["status"]["phase"],
        "Bound",
        "in use, so it stays"
    );
    model.delete::<PersistentVolumeClaim>(&key);
    model.run(volumes::volume, &volume_key);
    assert!(PersistentVolume::table(&model.world).get(&volume_key).is_none());
}

/// If this fails a claim takes a volume that is too small, too big, or somebody else's.
#[test]
fn a_claim_takes_the_smallest_volume_that_fits() {
    let mut model = Model::new();
    for (name, size, class) in
        [("big", "9Gi", "a"), ("fits", "2Gi", "a"), ("small", "500Mi", "a"), ("other", "1Gi", "b")]
    {
        volume(&mut model, name, size, class);
    }
    let key = claim(&mut model, &json!({"storageClassName": "a"}));
    settle(&mut model, &key);
    let claim = model.json::<PersistentVolumeClaim>(&key);
    assert_eq!((&claim["spec"]["volumeName"], &claim["status"]["phase"]), (&json!("fits"), &json!("Bound")));
    assert_eq!(claim["status"]["capacity"]["storage"], "2Gi", "what it has, not what it asked for");
    let phase = |name: &str| model.json::<PersistentVolume>(&Key::cluster(name))["status"]["phase"].clone();
    assert_eq!((phase("fits"), phase("big")), (json!("Bound"), json!("Available")));
    model.delete::<PersistentVolumeClaim>(&key);
    model.run(volumes::volume, &Key::cluster("fits"));
    let phase = model.json::<PersistentVolume>(&Key::cluster("fits"))["status"]["phase"].clone();
    assert_eq!(phase, "Released", "kept volumes are not given to the next one");
}

/// If this fails a pod starts before its volume is there, or both wait for each other.
#[test]
fn a_volume_for_the_first_consumer_is_made_when_the_pod_has_a_node() {
    let mut model = Model::new();
    class(&mut model, "WaitForFirstConsumer");
    let key = claim(&mut model, &json!({"storageClassName": "standard"}));
    settle(&mut model, &key);
    assert_eq!(model.world.persistent_volumes.len(), 0);
    assert!(model.notes.contains(&"waiting for first consumer to be created before binding".to_owned()));
    let node = json!({"metadata": {"name": "n", "namespace": ""},
        "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}}});
    model.put::<k8s_openapi::api::core::v1::Node>(node, |node| &mut node.metadata);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    let pod = model.put::<Pod>(pod, |pod| &mut pod.metadata);
    let outcome = scheduler::reconcile(&model.world, &pod, model.now);
    assert!(!outcome.effects.iter().any(|effect| matches!(effect, Effect::Bind { .. })));
    model.carry_out(outcome);
    settle(&mut model, &key);
    assert_eq!(model.json::<PersistentVolumeClaim>(&key)["status"]["phase"], "Bound");
    let outcome = scheduler::reconcile(&model.world, &pod, model.now);
    assert!(outcome.effects.iter().any(|effect| matches!(effect, Effect::Bind { .. })));
    // While a pod uses it, it stays.
    model.patch::<PersistentVolumeClaim>(
        &key,
        &json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}}),
    );
    model.run(volumes::claim, &key);
    assert!(PersistentVolumeClaim::table(&model.world).get(&key).is_some());
}

/// If this fails a pod sees an empty folder where its data should be.
#[test]
fn a_claim_is_mounted_as_the_folder_of_its_volume() {
    let mut model = Model::new();
    class(&mut model, "Immediate");
    let key = claim(&mut model, &json!({}));
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {}}]}}))
    .expect("a pod");
    let refusal = volumes::as_host_paths(&model.world, &pod).expect_err("not bound");
    assert_eq!(refusal, "persistentvolumeclaim \"c\" is not bound yet");
    settle(&mut model, &key);
    let mounted = volumes::as_host_paths(&model.world, &pod).expect("bound");
    let spec = serde_json::to_value(mounted.spec).expect("JSON");
    let path = spec["volumes"][0]["hostPath"]["path"].as_str().unwrap_or_default().to_owned();
    assert!(path.starts_with("/data/pvc-"), "{path}");
    assert_eq!(spec["volumes"][1], json!({"name": "e", "emptyDir": {}}));
}
