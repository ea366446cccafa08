//! InferenceServices in Standard mode: children, readiness, repair, stop and resume, without a server.

use serde_json::json;
use windtunnel_api::kserve::InferenceService;
use windtunnel_control_plane::{Effect, Kept, Kind, ObjectKey};

use crate::sandbox::Sandbox;

const NAME: &str = "digits";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// A service whose children have been made.
fn applied() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let service: InferenceService = serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {
            "name": NAME, "namespace": "default",
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": {"predictor": {"minReplicas": 2, "model": {
            "modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits/v1",
        }}},
    }))
    .unwrap();
    sandbox.put(service);
    sandbox.settle();
    sandbox
}

/// As a Deployment's status is when all its pods are ready.
fn available(sandbox: &mut Sandbox, name: &str) {
    let status = json!({"status": {
        "observedGeneration": 1, "availableReplicas": 2, "readyReplicas": 2, "replicas": 2, "updatedReplicas": 2,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ],
    }});
    sandbox.patch::<k8s_openapi::api::apps::v1::Deployment>(&key(name), &status);
    sandbox.settle();
}

fn condition(sandbox: &Sandbox, type_: &str) -> (String, String) {
    let status = sandbox.digits().status.as_ref().unwrap();
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    let found = found.unwrap_or_else(|| panic!("no {type_}: {:?}", status.conditions));
    (found.status.clone(), found.reason.clone().unwrap_or_default())
}

/// A user would wait for ever, or be told too early.
#[test]
fn a_service_is_ready_with_its_deployment() {
    let mut sandbox = applied();
    for kind in [Kind::Deployment, Kind::CoreService, Kind::HorizontalPodAutoscaler] {
        assert!(sandbox.world.object(kind, &key("digits-predictor")).is_some(), "{kind:?}");
    }
    assert_eq!(condition(&sandbox, "Ready").0, "False");
    available(&mut sandbox, "digits-predictor");
    assert_eq!(condition(&sandbox, "PredictorReady").0, "True");
    sandbox.written_kinds();
    // At rest.
    assert_eq!(sandbox.settle(), 0, "{:?}", sandbox.writes);
}

/// `kubectl wait` must neither come back before a change has arrived nor wait for ever after it has.
#[test]
fn the_observed_generation_is_that_of_what_runs() {
    let mut sandbox = applied();
    available(&mut sandbox, "digits-predictor");
    let observed = |sandbox: &Sandbox| sandbox.digits().status.as_ref().unwrap().observed_generation;
    assert_eq!(observed(&sandbox), Some(1));
    let change = json!({"spec": {"predictor": {"model": {"runtimeVersion": "other"}}}});
    sandbox.patch::<InferenceService>(&key(NAME), &change);
    sandbox.settle();
    assert_eq!(sandbox.digits().metadata.generation, Some(2));
    assert_eq!(observed(&sandbox), Some(1), "the Deployment's controller has not seen its change");
    let seen = json!({"status": {"observedGeneration": 2}});
    sandbox.patch::<k8s_openapi::api::apps::v1::Deployment>(&key("digits-predictor"), &seen);
    sandbox.settle();
    assert_eq!(observed(&sandbox), Some(2));
}

/// A hand-edited child would stay as it is; a deleted one would stay away.
#[test]
fn children_are_repaired() {
    let mut sandbox = applied();
    let name = key("digits-predictor");
    sandbox.patch::<k8s_openapi::api::core::v1::Service>(
        &name,
        &json!({"spec": {"selector": {"app": "other"}}}),
    );
    sandbox.delete::<k8s_openapi::api::apps::v1::Deployment>(&name);
    sandbox.settle();
    let service = sandbox.world.object(Kind::CoreService, &name).unwrap().to_json();
    assert_eq!(service["spec"]["selector"], json!({"app": "isvc.digits-predictor"}));
    assert!(sandbox.world.object(Kind::Deployment, &name).is_some());
}

/// The answer to an apply may come after the news that its object is gone; the object would stay away for ever.
#[test]
fn an_object_that_went_before_the_answer_comes_back() {
    let mut sandbox = applied();
    let name = key("digits-predictor");
    let service = sandbox.world.object(Kind::CoreService, &name).unwrap();
    sandbox.world.remove(Kind::CoreService, &name);
    assert!(!sandbox.world.note_applied(&service, &service), "the late answer counts");
    assert!(!sandbox.world.is_applied(&service));
    sandbox.settle();
    assert!(sandbox.world.object(Kind::CoreService, &name).is_some());
}

/// What others own in our objects (the autoscaler's replicas) must not be fought over.
#[test]
fn fields_of_others_are_left_alone() {
    let mut sandbox = applied();
    let name = key("digits-predictor");
    sandbox.written_kinds();
    sandbox.patch::<k8s_openapi::api::apps::v1::Deployment>(&name, &json!({"spec": {"replicas": 7}}));
    assert_eq!(sandbox.settle(), 0, "{:?}", sandbox.writes);
    let deployment = sandbox.world.object(Kind::Deployment, &name).unwrap().to_json();
    assert_eq!(deployment["spec"]["replicas"], 7);
}

/// Stopping must free everything, and resuming bring it back.
#[test]
fn stop_and_resume() {
    let mut sandbox = applied();
    available(&mut sandbox, "digits-predictor");
    let stop =
        |value: serde_json::Value| json!({"metadata": {"annotations": {"serving.kserve.io/stop": value}}});
    sandbox.patch::<InferenceService>(&key(NAME), &stop(json!("true")));
    sandbox.settle();
    for kind in
        [Kind::Deployment, Kind::CoreService, Kind::HorizontalPodAutoscaler, Kind::Ingress, Kind::HttpRoute]
    {
        assert_eq!(sandbox.world.keys(kind), [], "{kind:?}");
    }
    assert_eq!(condition(&sandbox, "Stopped").0, "True");
    assert_eq!(condition(&sandbox, "PredictorReady"), ("False".to_owned(), "Stopped".to_owned()));
    sandbox.patch::<InferenceService>(&key(NAME), &stop(json!(null)));
    sandbox.settle();
    assert!(sandbox.world.object(Kind::Deployment, &key("digits-predictor")).is_some());
    assert_eq!(condition(&sandbox, "Stopped").0, "False");
}

/// An object of somebody else that has the child's name must not be taken over.
#[test]
fn foreign_objects_are_not_touched() {
    let mut sandbox = Sandbox::new();
    let foreign: k8s_openapi::api::core::v1::Service = serde_json::from_value(json!({
        "metadata": {"name": "digits-predictor", "namespace": "default"}, "spec": {"clusterIP": "None"},
    }))
    .unwrap();
    sandbox.put(foreign.clone());
    let mut with_service = applied_into(sandbox);
    assert_eq!(condition(&with_service, "PredictorReady"), ("False".to_owned(), "NotOwned".to_owned()));
    let writes = std::mem::take(&mut with_service.writes);
    assert!(!writes.iter().any(|effect| matches!(effect, Effect::Apply(_))), "{writes:?}");
    let kept = with_service.world.object(Kind::CoreService, &key("digits-predictor")).unwrap();
    assert_eq!(kept.to_json()["spec"], foreign.wrap().to_json()["spec"]);
}

fn applied_into(mut sandbox: Sandbox) -> Sandbox {
    let service = applied().digits().clone();
    sandbox.put(InferenceService { status: None, ..service });
    sandbox.settle();
    sandbox
}

/// Pods that trust the operator's authorities wait for the copy; who removes it must get it back.
#[test]
fn certificate_authorities_are_copied() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let mut sandbox = applied();
    let map = ObjectKey::new("kserve", "inferenceservice-config");
    let settings = json!({"caBundleConfigMapName": "own-ca"}).to_string();
    sandbox.patch::<ConfigMap>(&map, &json!({"data": {"storageInitializer": settings}}));
    sandbox.settle();
    assert_eq!(condition(&sandbox, "PredictorReady"), ("False".to_owned(), "ReconcileFailed".to_owned()));
    assert!(sandbox.world.deployments.contains_key(&key("digits-predictor")), "what serves goes on serving");

    let source = |bundle: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "own-ca", "namespace": "kserve"},
            "data": {"cabundle.crt": bundle}}))
        .unwrap()
    };
    let copy = |sandbox: &Sandbox| {
        let found = sandbox.world.config_maps.get(&key("global-ca-bundle"))?;
        found.data.as_ref()?.get("cabundle.crt").cloned()
    };
    for bundle in ["one", "two"] {
        sandbox.put(source(bundle));
        sandbox.settle();
        assert_eq!(copy(&sandbox).as_deref(), Some(bundle));
    }
    assert_ne!(condition(&sandbox, "PredictorReady").1, "ReconcileFailed");
    let owners = &sandbox.world.config_maps[&key("global-ca-bundle")].metadata.owner_references;
    assert!(owners.is_none(), "the copy is the whole namespace's: {owners:?}");
    sandbox.delete::<ConfigMap>(&key("global-ca-bundle"));
    sandbox.settle();
    assert_eq!(copy(&sandbox).as_deref(), Some("two"));
    assert_eq!(sandbox.settle(), 0);
}
