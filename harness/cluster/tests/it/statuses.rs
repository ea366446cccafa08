//! The status of a pod from what the node knows, with facts recorded from a real kubelet.

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use windtunnel_cluster::node::{
    record::{ContainerState, PodRecord, Termination},
    status,
};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn pod(policy: &str, inits: &[&str], containers: &[&str]) -> Pod {
    let of = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"name": name, "image": "i"})).collect()
    };
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "generation": 1},
        "spec": {"restartPolicy": policy, "initContainers": of(inits), "containers": of(containers)},
    }))
    .expect("a pod")
}

fn record(pod: &Pod) -> PodRecord {
    PodRecord::new(pod, Ipv4Addr::new(127, 64, 0, 1), now())
}

fn ended(exit_code: i32) -> ContainerState {
    ContainerState::Terminated(Termination {
        exit_code,
        reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
        message: String::new(),
        started_at: now(),
        finished_at: now(),
        container_id: "process://x".into(),
    })
}

fn running() -> ContainerState {
    ContainerState::Running { started_at: now() }
}

fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: String::new() }
}

/// If this fails Jobs never finish, or a crashing server looks finished.
#[test]
fn phases_follow_containers_and_restart_policy() {
    let again = |state: ContainerState| (state, true);
    let first = |state: ContainerState| (state, false);
    for (policy, states, phase) in [
        ("Always", vec![first(waiting("ContainerCreating"))], "Pending"),
        ("Always", vec![first(running())], "Running"),
        ("Always", vec![first(running()), first(waiting("ContainerCreating"))], "Pending"),
        ("Always", vec![first(ended(0))], "Running"),
        ("Always", vec![again(waiting("CrashLoopBackOff"))], "Running"),
        ("OnFailure", vec![first(ended(1))], "Running"),
        ("OnFailure", vec![first(ended(0))], "Succeeded"),
        ("Never", vec![first(ended(0)), first(ended(0))], "Succeeded"),
        ("Never", vec![first(ended(0)), first(ended(3))], "Failed"),
        ("Never", vec![first(ended(3)), first(running())], "Running"),
    ] {
        let names: Vec<String> = (0..states.len()).map(|at| format!("c{at}")).collect();
        let pod = pod(policy, &[], &names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut record = record(&pod);
        for (container, (state, has_run)) in record.containers.iter_mut().zip(&states) {
            container.state = state.clone();
            if *has_run && let ContainerState::Terminated(last) = ended(1) {
                container.last = Some(last);
            }
        }
        assert_eq!(status::phase(&pod, &record), phase, "{policy} {states:?}");
    }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found =
        status.conditions.iter().flatten().find(|condition| condition.type_ == kind).expect("a condition");
    (&found.status, found.reason.as_deref().unwrap_or_default(), found.message.as_deref().unwrap_or_default())
}

/// If this fails a user cannot see which container keeps a pod from being ready.
#[test]
fn conditions_name_the_container_at_fault() {
    let pod = pod("Always", &["i1"], &["c", "d"]);
    let mut record = record(&pod);
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(
        condition(&status, "Initialized"),
        ("False", "ContainersNotInitialized", "containers with incomplete status: [i1]")
    );
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    record.init_containers[0].state = ended(0);
    record.pod_ip = Some(Ipv4Addr::new(127, 64, 0, 2));
    for container in &mut record.containers {
        container.state = running();
        container.is_started = true;
    }
    record.containers[0].is_ready = true;
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(condition(&status, "Initialized").0, "True");
    assert_eq!(
        condition(&status, "Ready"),
        ("False", "ContainersNotReady", "containers with unready status: [d]")
    );
    record.containers[1].is_ready = true;
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(condition(&status, "Ready"), ("True", "", ""));
    assert_eq!(condition(&status, "ContainersReady").0, "True");
    assert_eq!(status.init_container_statuses.as_ref().map(|all| all[0].ready), Some(true));
    record.is_stopping = true;
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(condition(&status, "Ready").0, "False", "a pod that is being stopped takes no requests");
}

/// If this fails a failed init container is not recognised, or finished pods look unready for no reason.
#[test]
fn ends_are_told_as_a_kubelet_tells_them() {
    let pod = pod("Never", &["i1"], &["c"]);
    let mut record = record(&pod);
    record.init_containers[0].state = ended(5);
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let main = &status.container_statuses.as_ref().expect("statuses")[0];
    let reason = main.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    assert_eq!(reason, Some("PodInitializing"));
    assert_eq!(condition(&status, "Initialized").2, "containers with incomplete status: [i1]");
    record.init_containers[0].state = ended(0);
    record.containers[0].state = ended(3);
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(condition(&status, "Ready"), ("False", "PodFailed", ""));
    record.containers[0].state = ended(0);
    let status = status::pod_status(&pod, &record, now());
    assert_eq!(condition(&status, "Ready"), ("False", "PodCompleted", ""));
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
}

/// If this fails availability is counted from the wrong time, because transition times move without a transition.
#[test]
fn transition_times_stay_until_the_status_changes() {
    let mut pod = pod("Always", &[], &["c"]);
    let mut record = record(&pod);
    let first = status::pod_status(&pod, &record, now());
    pod.status = Some(first);
    record.containers[0].state = running();
    record.containers[0].is_ready = true;
    let later = now() + k8s_openapi::jiff::SignedDuration::from_secs(5);
    let second = status::pod_status(&pod, &record, later);
    let time = |status: &PodStatus, kind: &str| {
        let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
        condition.and_then(|condition| condition.last_transition_time.clone()).map(|time| time.0)
    };
    assert_eq!(time(&second, "Initialized"), Some(now()));
    assert_eq!(time(&second, "Ready"), Some(later));
}

/// If this fails people look for a readiness gate in the wrong place.
#[test]
fn readiness_gates_that_are_not_open_are_named() {
    let mut gated = pod("Always", &[], &["a"]);
    gated.spec.as_mut().expect("a spec").readiness_gates = serde_json::from_value(json!([
        {"conditionType": "example.com/none"}, {"conditionType": "example.com/off"}, {"conditionType": "example.com/on"}]))
    .expect("gates");
    gated.status = serde_json::from_value(json!({"conditions": [
        {"type": "example.com/off", "status": "Unknown"}, {"type": "example.com/on", "status": "True"}]}))
    .expect("a status");
    let mut seen = record(&gated);
    seen.containers[0].state = running();
    seen.containers[0].is_ready = true;
    let status = status::pod_status(&gated, &seen, now());
    let message = "corresponding condition of pod readiness gate \"example.com/none\" does not exist., the status of pod \
                   readiness gate \"example.com/off\" is not \"True\", but Unknown";
    assert_eq!(condition(&status, "Ready"), ("False", "ReadinessGatesNotReady", message));
    assert_eq!(condition(&status, "ContainersReady"), ("True", "", ""));
}
