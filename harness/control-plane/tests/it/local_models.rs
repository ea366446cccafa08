//! Caches of models on nodes, on a world in memory: the test plays the nodes' agents.

use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};
use windtunnel_api::kserve::{
    InferenceService, LocalModelCache, LocalModelNamespaceCache, LocalModelNode, LocalModelNodeGroup,
};
use windtunnel_control_plane::{Kept, Kind, ObjectKey};

use crate::digits;
use crate::sandbox::Sandbox;

const CLUSTER: &str = "";

fn read<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("an object")
}

/// A world with local models, two nodes of the group `gpu` and one that is of no group.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let kinds = [Kind::Node, Kind::PersistentVolume, Kind::PersistentVolumeClaim];
    sandbox.world.served.extend(kinds);
    enable(&mut sandbox, true);
    for (name, kind) in [("a", "gpu"), ("b", "gpu"), ("c", "cpu")] {
        sandbox.put::<Node>(read(json!({"metadata": {"name": name, "labels": {"kind": kind}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})));
    }
    sandbox.put::<LocalModelNodeGroup>(read(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNodeGroup", "metadata": {"name": "gpu"},
        "spec": {"storageLimit": "10Gi",
            "persistentVolumeSpec": {"hostPath": {"path": "/models"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                    [{"key": "kind", "operator": "In", "values": ["gpu"]}]}]}}},
            "persistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"]}}})));
    sandbox
}

fn enable(sandbox: &mut Sandbox, enabled: bool) {
    let map = ObjectKey::new("kserve", "inferenceservice-config");
    sandbox
        .patch::<ConfigMap>(&map, &json!({"data": {"localModel": json!({"enabled": enabled}).to_string()}}));
}

fn spec(uri: &str) -> Value {
    json!({"sourceModelUri": uri, "modelSize": "1Gi", "nodeGroups": ["gpu"]})
}

fn put_cache(sandbox: &mut Sandbox, name: &str) {
    sandbox.put::<LocalModelCache>(read(json!({"apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LocalModelCache", "metadata": {"name": name}, "spec": spec("s3://models/digits")})));
}

fn put_near(sandbox: &mut Sandbox, name: &str) {
    sandbox.put::<LocalModelNamespaceCache>(read(json!({"apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LocalModelNamespaceCache", "metadata": {"name": name, "namespace": "team"},
        "spec": spec("s3://models/digits")})));
}

fn put_user(sandbox: &mut Sandbox, namespace: &str, labels: &Value) {
    let mut service: Value = json!(digits("v1", json!({})));
    service["metadata"]["namespace"] = json!(namespace);
    service["metadata"]["labels"] = labels.clone();
    sandbox.put::<InferenceService>(read(service));
}

fn keys<K: Kept>(sandbox: &Sandbox) -> Vec<String> {
    sandbox.world.store::<K>().keys().map(ToString::to_string).collect()
}

fn models(sandbox: &Sandbox, node: &str) -> Vec<String> {
    let list = &sandbox.world.model_nodes[&ObjectKey::new(CLUSTER, node)];
    list.spec.local_models.iter().map(|info| info.status_key()).collect()
}

fn status(sandbox: &Sandbox, name: &str) -> Value {
    json!(sandbox.world.local_models[&ObjectKey::new(CLUSTER, name)].status)
}

fn mark_going<K: Kept>(sandbox: &mut Sandbox, key: &ObjectKey) {
    sandbox.patch::<K>(key, &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
}

/// Without the lists no node downloads, without the volumes no download finds its disk.
#[test]
fn a_cache_gets_volumes_lists_and_status() {
    let mut sandbox = sandbox();
    put_cache(&mut sandbox, "digits");
    sandbox.settle();
    assert_eq!(keys::<PersistentVolume>(&sandbox), ["digits-gpu-download"]);
    assert_eq!(keys::<PersistentVolumeClaim>(&sandbox), ["kserve-localmodel-jobs/digits-gpu"]);
    assert_eq!(keys::<LocalModelNode>(&sandbox), ["a", "b"]);
    assert_eq!(models(&sandbox, "a"), ["digits"]);
    assert_eq!(status(&sandbox, "digits")["copies"], json!({"available": 0, "total": 2, "failed": 0}));
    let cache = &sandbox.world.local_models[&ObjectKey::new(CLUSTER, "digits")];
    assert_eq!(cache.metadata.finalizers.as_deref().unwrap_or_default(), ["localmodel.kserve.io/finalizer"]);

    let agent = json!({"status": {"modelStatus": {"digits": "ModelDownloaded"}}});
    sandbox.patch::<LocalModelNode>(&ObjectKey::new(CLUSTER, "a"), &agent);
    sandbox.settle();
    assert_eq!(
        status(&sandbox, "digits")["nodeStatus"],
        json!({"a": "NodeDownloaded", "b": "NodeDownloadPending"})
    );
    assert_eq!(sandbox.settle(), 0);
}

/// A pod would wait for ever for its claim, or claims of services that are gone would pile up.
#[test]
fn services_get_claims_and_give_them_back() {
    let mut sandbox = sandbox();
    put_cache(&mut sandbox, "digits");
    put_near(&mut sandbox, "digits");
    let far = json!({"internal.serving.kserve.io/localmodel": "digits"});
    let mut near = far.clone();
    near["internal.serving.kserve.io/localmodel-namespace"] = json!("team");
    put_user(&mut sandbox, "default", &far);
    put_user(&mut sandbox, "team", &near);
    sandbox.settle();
    let claims = [
        "default/digits-gpu",
        "kserve-localmodel-jobs/digits-gpu",
        "kserve-localmodel-jobs/digits-gpu-team-download",
        "team/digits-gpu",
    ];
    assert_eq!(keys::<PersistentVolumeClaim>(&sandbox), claims);
    assert_eq!(
        keys::<PersistentVolume>(&sandbox),
        ["digits-gpu-default", "digits-gpu-download", "digits-gpu-team", "digits-gpu-team-download"]
    );
    assert_eq!(models(&sandbox, "a"), ["digits", "team/digits"]);
    let service = json!([{"namespace": "default", "name": "digits"}]);
    assert_eq!(status(&sandbox, "digits")["inferenceServices"], service);

    put_user(&mut sandbox, "default", &json!({}));
    put_user(&mut sandbox, "team", &json!({}));
    sandbox.settle();
    assert_eq!(keys::<PersistentVolumeClaim>(&sandbox), claims[1..3]);
    assert_eq!(keys::<PersistentVolume>(&sandbox), ["digits-gpu-download", "digits-gpu-team-download"]);
}

/// Upstream's volume of a claim that was deleted stays released, and the claim that is made again waits for ever.
#[test]
fn a_volume_that_has_lost_its_claim_is_made_again() {
    let mut sandbox = sandbox();
    put_cache(&mut sandbox, "digits");
    sandbox.settle();
    let volume = ObjectKey::new(CLUSTER, "digits-gpu-download");
    let before = sandbox.world.persistent_volumes[&volume].metadata.uid.clone();
    sandbox.patch::<PersistentVolume>(&volume, &json!({"status": {"phase": "Released"}}));
    sandbox.delete::<PersistentVolumeClaim>(&ObjectKey::new("kserve-localmodel-jobs", "digits-gpu"));
    sandbox.settle();
    assert_ne!(sandbox.world.persistent_volumes[&volume].metadata.uid, before);
    assert_eq!(keys::<PersistentVolumeClaim>(&sandbox), ["kserve-localmodel-jobs/digits-gpu"]);
}

/// A cache that goes too early leaves its model on the disks, one that waits for nothing never goes.
#[test]
fn a_cache_goes_after_its_entries() {
    let mut sandbox = sandbox();
    put_cache(&mut sandbox, "digits");
    put_near(&mut sandbox, "digits");
    sandbox.settle();
    for kind in ["far", "near"] {
        sandbox.writes.clear();
        if kind == "far" {
            mark_going::<LocalModelCache>(&mut sandbox, &ObjectKey::new(CLUSTER, "digits"));
        } else {
            mark_going::<LocalModelNamespaceCache>(&mut sandbox, &ObjectKey::new("team", "digits"));
        }
        sandbox.settle();
        // The lists first, then the finalizer.
        let order: Vec<Kind> = sandbox
            .writes
            .iter()
            .filter_map(|effect| match effect {
                windtunnel_control_plane::Effect::Patch { kind, .. } => Some(*kind),
                _ => None,
            })
            .collect();
        let own = if kind == "far" { Kind::LocalModelCache } else { Kind::LocalModelNamespaceCache };
        assert_eq!(order, [Kind::LocalModelNode, Kind::LocalModelNode, own]);
    }
    assert_eq!(models(&sandbox, "a"), Vec::<String>::new());
    let far = &sandbox.world.local_models[&ObjectKey::new(CLUSTER, "digits")];
    let near = &sandbox.world.namespace_models[&ObjectKey::new("team", "digits")];
    for metadata in [&far.metadata, &near.metadata] {
        assert!(metadata.finalizers.iter().flatten().next().is_none(), "{metadata:?}");
    }
    // What a namespace's cache cannot own is deleted for it.
    assert_eq!(keys::<PersistentVolumeClaim>(&sandbox), Vec::<String>::new());
    assert_eq!(keys::<PersistentVolume>(&sandbox), Vec::<String>::new());
    assert_eq!(sandbox.settle(), 0);
}

/// Somebody who has not asked for local models must not find volumes and finalizers; who turns them off can still delete.
#[test]
fn nothing_is_done_while_local_models_are_off() {
    let mut sandbox = sandbox();
    enable(&mut sandbox, false);
    put_cache(&mut sandbox, "digits");
    assert_eq!(sandbox.settle(), 0);

    enable(&mut sandbox, true);
    sandbox.settle();
    enable(&mut sandbox, false);
    mark_going::<LocalModelCache>(&mut sandbox, &ObjectKey::new(CLUSTER, "digits"));
    sandbox.settle();
    let cache = &sandbox.world.local_models[&ObjectKey::new(CLUSTER, "digits")];
    assert!(cache.metadata.finalizers.iter().flatten().next().is_none());
    assert_eq!(models(&sandbox, "a"), Vec::<String>::new());
}

/// Nodes that are not known yet are not nodes without models.
#[test]
fn nothing_is_decided_on_half_of_the_objects() {
    let mut sandbox = sandbox();
    sandbox.world.served.remove(&Kind::Node);
    put_cache(&mut sandbox, "digits");
    sandbox.settle();
    assert_eq!(keys::<PersistentVolume>(&sandbox), Vec::<String>::new());
    assert_eq!(status(&sandbox, "digits"), Value::Null);
}
