//! The Job controller, against recorded facts of Kubernetes 1.36.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::job,
    world::{Key, Stored},
};

use crate::model::Model;

fn start(spec: &Value) -> (Model, Key) {
    let mut model = Model::new();
    let mut all = json!({
        "selector": {"matchLabels": {"job-name": "j"}},
        "template": {"metadata": {"labels": {"job-name": "j"}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i"}]}},
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
    });
    json_patch::merge(&mut all, spec);
    let key = model.put::<Job>(json!({"metadata": {"name": "j"}, "spec": all}), |job| &mut job.metadata);
    model.run(job::reconcile, &key);
    (model, key)
}

/// Ends so many unfinished pods in a phase.
fn end(model: &mut Model, count: usize, status: &Value) {
    let open: Vec<Key> = model
        .world
        .pods
        .iter()
        .filter(|(_, pod)| pod.status.is_none() && pod.metadata.deletion_timestamp.is_none())
        .map(|(key, _)| key.clone())
        .take(count)
        .collect();
    assert_eq!(open.len(), count, "pods that can end");
    for key in open {
        model.patch::<Pod>(&key, &json!({ "status": status }));
    }
}

fn conditions(job: &Value, field: &str) -> Vec<Value> {
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().map(|condition| condition[field].clone()).collect()
}

/// If this fails a Job runs too many pods at once, or counts them wrongly.
#[test]
fn a_job_runs_its_completions_so_many_at_a_time() {
    let (mut model, key) = start(&json!({"completions": 3, "parallelism": 2}));
    assert_eq!(model.world.pods.len(), 2);
    let (_, pod) = model.world.pods.iter().next().expect("a pod");
    assert_eq!(pod.metadata.finalizers, Some(vec!["batch.kubernetes.io/job-tracking".to_owned()]));
    assert_eq!(model.json::<Job>(&key)["status"]["active"], 2);
    end(&mut model, 2, &json!({"phase": "Succeeded"}));
    model.run(job::reconcile, &key);
    let status = model.json::<Job>(&key)["status"].clone();
    assert_eq!((&status["succeeded"], &status["active"]), (&json!(2), &json!(1)));
    assert_eq!((&status["ready"], &status["terminating"]), (&json!(0), &json!(0)));
    assert_eq!((status.get("failed"), status.get("conditions")), (None, None));
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    end(&mut model, 1, &json!({"phase": "Succeeded"}));
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!((&job["status"]["succeeded"], job["status"].get("active")), (&json!(3), None));
    assert_eq!(conditions(&job, "type"), ["SuccessCriteriaMet", "Complete"]);
    assert_eq!(conditions(&job, "reason"), ["CompletionsReached", "CompletionsReached"]);
    assert_eq!(conditions(&job, "message")[1], "Reached expected number of succeeded pods");
    assert!(job["status"]["completionTime"].is_string());
    let tracked = model.world.pods.iter().filter(|(_, pod)| job::is_tracked(pod)).count();
    assert_eq!(tracked, 0, "every pod was counted and let go");
}

/// If this fails a Job whose pods always fail never ends, or is retried without a pause.
#[test]
fn failures_are_retried_with_a_growing_pause_up_to_the_limit() {
    let (mut model, key) = start(&json!({"backoffLimit": 1}));
    let failed_at = |model: &Model| {
        json!({"phase": "Failed", "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 1, "finishedAt": model.now.to_string()}}}]})
    };
    let status = failed_at(&model);
    end(&mut model, 1, &status);
    model.run(job::reconcile, &key);
    assert_eq!(model.world.pods.len(), 1, "the next one waits");
    let wait = job::reconcile(&model.world, &key, model.now).requeue_after.expect("a pause");
    assert_eq!(wait.as_secs(), 10);
    model.now = model.now.checked_add(k8s_openapi::jiff::ToSpan::seconds(10)).expect("a time");
    model.run(job::reconcile, &key);
    assert_eq!(model.world.pods.len(), 2);
    let status = failed_at(&model);
    end(&mut model, 1, &status);
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!(job["status"]["failed"], 2);
    assert_eq!(conditions(&job, "type"), ["FailureTarget", "Failed"]);
    assert_eq!(conditions(&job, "reason")[1], "BackoffLimitExceeded");
    assert_eq!(model.world.pods.len(), 2, "no further pod");
}

/// If this fails a pod that must fail the Job is retried, or one that does not count ends it.
#[test]
fn the_pod_failure_policy_decides_by_exit_code_and_condition() {
    let policy = json!({"rules": [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]});
    let (mut model, key) = start(&json!({"backoffLimit": 0, "podFailurePolicy": policy}));
    end(
        &mut model,
        1,
        &json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}),
    );
    model.run(job::reconcile, &key);
    assert_eq!(model.json::<Job>(&key)["status"].get("failed"), None, "a disruption does not count");
    assert_eq!(conditions(&model.json::<Job>(&key), "type"), [Value::Null; 0]);
    end(
        &mut model,
        1,
        &json!({"phase": "Failed", "containerStatuses": [{"name": "c", "image": "i", "imageID": "i", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 42, "reason": "Error"}}}]}),
    );
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!(conditions(&job, "reason"), ["PodFailurePolicy", "PodFailurePolicy"]);
    assert_eq!(job["status"]["failed"], 1);
    let message = conditions(&job, "message")[1].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with("Container c for pod ns/j-"), "{message}");
    assert!(message.ends_with("failed with exit code 42 matching FailJob rule at index 0"), "{message}");
}

/// If this fails an Indexed Job runs an index twice or never, or its pods do not know which they are.
#[test]
fn an_indexed_job_runs_each_index_once() {
    let (mut model, key) = start(&json!({"completionMode": "Indexed", "completions": 3, "parallelism": 2}));
    let index = |pod: &Pod| {
        pod.metadata.labels.as_ref().expect("labels")["batch.kubernetes.io/job-completion-index"].clone()
    };
    let mut indexes: Vec<String> = model.world.pods.iter().map(|(_, pod)| index(pod)).collect();
    indexes.sort();
    assert_eq!(indexes, ["0", "1"]);
    let (pod_key, pod) = model.world.pods.iter().next().expect("a pod");
    assert!(pod_key.name.starts_with("j-0-"), "{pod_key}");
    let value = serde_json::to_value(&**pod).expect("JSON");
    assert_eq!(value["spec"]["hostname"], "j-0");
    assert_eq!(
        value["spec"]["containers"][0]["env"][0],
        json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef":
            {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}})
    );
    end(&mut model, 2, &json!({"phase": "Succeeded"}));
    model.run(job::reconcile, &key);
    assert_eq!(model.json::<Job>(&key)["status"]["completedIndexes"], "0,1");
    end(&mut model, 1, &json!({"phase": "Succeeded"}));
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!((&job["status"]["completedIndexes"], &job["status"]["succeeded"]), (&json!("0-2"), &json!(3)));
    assert_eq!(conditions(&job, "type"), ["SuccessCriteriaMet", "Complete"]);
}

/// If this fails a suspended Job keeps running, or loses its failures when it goes on.
#[test]
fn suspending_takes_the_pods_away_without_counting_them() {
    let (mut model, key) = start(&json!({"parallelism": 1, "completions": 2}));
    model.patch::<Job>(&key, &json!({"spec": {"suspend": true}}));
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!(model.world.pods.len(), 0);
    assert_eq!(job["status"].get("failed"), None);
    assert_eq!(conditions(&job, "type"), ["Suspended"]);
    model.patch::<Job>(&key, &json!({"spec": {"suspend": false}}));
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!(conditions(&job, "status"), ["False"]);
    assert_eq!(conditions(&job, "reason"), ["JobResumed"]);
    assert_eq!(model.world.pods.len(), 1);
}

/// If this fails a Job runs for ever, or a finished one is never tidied away.
#[test]
fn a_deadline_ends_a_job_and_its_time_to_live_removes_it() {
    let (mut model, key) = start(&json!({"activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 7}));
    let wait = job::reconcile(&model.world, &key, model.now).requeue_after.expect("the deadline");
    assert_eq!(wait.as_secs(), 5);
    model.now = model.now.checked_add(k8s_openapi::jiff::ToSpan::seconds(5)).expect("a time");
    model.run(job::reconcile, &key);
    let job = model.json::<Job>(&key);
    assert_eq!(conditions(&job, "reason")[0], "DeadlineExceeded");
    assert_eq!(conditions(&job, "type"), ["FailureTarget", "Failed"]);
    assert_eq!(model.world.pods.len(), 0);
    let wait = job::reconcile(&model.world, &key, model.now).requeue_after.expect("the time to live");
    assert_eq!(wait.as_secs(), 7);
    model.now = model.now.checked_add(k8s_openapi::jiff::ToSpan::seconds(7)).expect("a time");
    model.run(job::reconcile, &key);
    assert!(Job::table(&model.world).get(&key).is_none());
}

/// If this fails pods of a Job that is gone can never be deleted.
#[test]
fn pods_without_their_job_are_let_go() {
    let (mut model, key) = start(&json!({}));
    model.delete::<Job>(&key);
    model.run(job::reconcile, &key);
    assert!(model.world.pods.iter().all(|(_, pod)| !job::is_tracked(pod)));
}
