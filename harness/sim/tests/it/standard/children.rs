//! What KServe's plan makes of a service, and what the simulator reads from it.

use super::{ready, standard};
use crate::setting::{Setting, fly};

/// Another model, and what stands beside the service.
fn with(model: &str, objects: &str) -> Setting {
    let event = format!(
        "[{{at: 10s, name: other, patch: {{kind: InferenceService, name: digits, merge: {{spec: {{predictor: {model}}}}}}}}}]"
    );
    Setting { events: event, objects: objects.to_owned(), ..standard("none", "minReplicas: 1") }
}

/// A model that spans several nodes is paid for on all of them: the workers are pods like others, without requests.
#[test]
fn workers_are_pods_too() {
    let runtime = "---\napiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: {name: spread}\nspec:\n  \
                   supportedModelFormats: [{name: onnx, autoSelect: true, priority: 3}]\n  containers: [{name: \
                   kserve-container, image: head, resources: {requests: {nvidia.com/gpu: '1'}, limits: {nvidia.com/gpu: \
                   '1'}}}]\n  workerSpec: {pipelineParallelSize: 3, tensorParallelSize: 1, containers: [{name: \
                   worker-container, image: worker}]}\n";
    let setting = with("{workerSpec: {}, model: {storageUri: 'pvc://models/v2'}}", runtime);
    let plan = setting.plan();
    let standard = plan.services[0].versions[1].standard.as_ref().expect("Standard mode");
    let worker = &standard.beside[0];
    assert_eq!(
        (worker.name(), worker.replicas),
        ("digits-predictor-worker", Some(2)),
        "three nodes less the head"
    );
    assert_eq!(worker.revision.template.requests.gpus, 1);
    let (recording, summary) = fly(&plan, 1);
    assert_eq!(summary.failed, 0);
    assert_eq!(ready(&recording, "digits-predictor-worker-00001", 20..=20), [2.0]);
    let workers = recording.revisions.iter().position(|revision| revision.name.contains("worker"));
    let mut requests = recording.requests.iter();
    assert!(requests.all(|request| request.revision.map(|at| at as usize) != workers));
}

/// A model that the storage secret locates is the one that is downloaded, and without the secret its pods would never
/// start.
#[test]
fn a_model_by_a_key_of_the_storage_secret() {
    let model = "{model: {storageUri: null, storage: {key: ours, path: digits/v2}}}";
    let refused = with(model, "").read().expect_err("a secret is missing");
    assert!(refused.contains("storage-config"), "{refused}");
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: storage-config}\nstringData:\n  ours: \
                  '{\"type\": \"s3\", \"bucket\": \"models\"}'\n";
    let plan = with(model, secret).plan();
    assert_eq!(plan.services[0].versions[1].storage_uri, "s3://models/digits/v2");
}

/// What logs requests stands beside every server, and its CPU counts where utilisation is measured.
#[test]
fn the_agent_is_part_of_the_pod() {
    let plain = standard("none", "minReplicas: 1").plan();
    let logged = standard("none", "minReplicas: 1, logger: {url: 'http://broker', mode: all}").plan();
    let requests = |plan: &windtunnel_sim::Plan| {
        let standard = plan.services[0].versions[0].standard.as_ref().expect("Standard mode");
        standard.stable.revision.template.requests.cpu_milli
    };
    assert_eq!((requests(&plain), requests(&logged)), (100, 200));
}
