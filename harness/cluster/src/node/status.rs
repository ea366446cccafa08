//! The status of a pod from what the node knows of it: a pure function.

use k8s_openapi::{
    api::core::v1::{
        ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, ContainerUser, HostIP, LinuxContainerUser, Pod, PodCondition, PodIP, PodStatus,
        ResourceRequirements, VolumeMount, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{
    images,
    record::{ContainerRecord, ContainerState, PodRecord, Termination},
};

/// The status of a pod. Conditions keep their transition time as long as their status holds; conditions that others
/// have set stay.
#[must_use]
pub fn pod_status(pod: &Pod, record: &PodRecord, now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let phase = phase(pod, record);
    let failure = record.failure.as_ref().filter(|_| phase == "Failed");
    let is_over = matches!(phase, "Succeeded" | "Failed");
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        qos_class: before.qos_class.clone(),
        observed_generation: pod.metadata.generation,
        host_ip: record.host_ip.map(|ip| ip.to_string()),
        host_ips: record.host_ip.map(|ip| vec![HostIP { ip: ip.to_string() }]),
        pod_ip: record.pod_ip.map(|ip| ip.to_string()),
        pod_ips: record.pod_ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        start_time: record.start_time.map(Time),
        reason: failure.map(|(reason, _)| reason.clone()),
        message: failure.map(|(_, message)| message.clone()),
        resources: Some(spec_resources(pod)),
        ..PodStatus::default()
    };
    let of = |containers: &[ContainerRecord]| {
        let statuses: Vec<_> =
            containers.iter().map(|container| container_status(pod, container, record, is_over)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    status.container_statuses = of(&record.containers);
    status.init_container_statuses = of(&record.init_containers);
    status.conditions = Some(conditions(pod, record, phase, &before, now));
    status
}

/// The phase of a pod: a summary of its containers and its restart policy.
#[must_use]
pub fn phase(pod: &Pod, record: &PodRecord) -> &'static str {
    // A pod is not over while a container runs.
    let runs = record.init_containers.iter().chain(&record.containers).any(ContainerRecord::is_running);
    if record.failure.is_some() && !runs {
        return "Failed";
    }
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let inits = record.init_containers.iter().filter(|container| !container.is_sidecar);
    for init in inits.clone() {
        match init.ended() {
            Some(termination) if termination.is_success() => {}
            Some(_) if policy == "Never" => return "Failed",
            _ => return "Pending",
        }
    }
    let sidecars = record.init_containers.iter().filter(|container| container.is_sidecar);
    if sidecars
        .clone()
        .any(|sidecar| !sidecar.is_started && sidecar.last.is_none() && sidecar.ended().is_none())
    {
        return "Pending";
    }
    let containers = &record.containers;
    let has_never_run = |container: &ContainerRecord| {
        matches!(container.state, ContainerState::Waiting { .. }) && container.last.is_none()
    };
    if containers.iter().any(has_never_run) {
        return "Pending";
    }
    let restarts =
        containers.iter().any(|container| matches!(container.state, ContainerState::Waiting { .. }));
    if restarts || containers.iter().any(ContainerRecord::is_running) {
        return "Running";
    }
    if record.is_stopping || policy != "Always" {
        let succeeded =
            containers.iter().all(|container| container.ended().is_some_and(Termination::is_success));
        return match (succeeded, policy) {
            (true, _) => "Succeeded",
            (false, "OnFailure") if !record.is_stopping => "Running",
            (false, _) => "Failed",
        };
    }
    "Running"
}

fn container_status(
    pod: &Pod,
    container: &ContainerRecord,
    record: &PodRecord,
    is_over: bool,
) -> ContainerStatus {
    let spec = pod.spec.as_ref();
    let specified = spec
        .iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .find(|specified| specified.name == container.name);
    let is_init = record.init_containers.iter().any(|init| init.name == container.name);
    let is_done_init =
        is_init && !container.is_sidecar && container.ended().is_some_and(Termination::is_success);
    let ready =
        is_done_init || (container.is_ready && container.is_running() && !record.is_stopping && !is_over);
    let ran = !container.container_id.is_empty();
    ContainerStatus {
        name: container.name.clone(),
        image: if ran { images::with_default_tag(&container.image) } else { container.image.clone() },
        image_id: if ran {
            format!("process://{}", images::repository(&container.image))
        } else {
            String::new()
        },
        container_id: ran.then(|| container.container_id.clone()),
        ready,
        started: Some(container.is_started && container.is_running()),
        restart_count: container.restart_count,
        state: Some(api_state(&container.state)),
        last_state: Some(match &container.last {
            Some(last) => ApiState { terminated: Some(api_termination(last)), ..ApiState::default() },
            None => ApiState::default(),
        }),
        resources: ran.then(|| specified.and_then(|found| found.resources.clone()).unwrap_or_default()),
        volume_mounts: specified.and_then(|found| found.volume_mounts.as_deref()).map(mount_statuses),
        user: container.is_running().then(user),
        ..ContainerStatus::default()
    }
}

/// What the pod as a whole asked for.
fn spec_resources(pod: &Pod) -> ResourceRequirements {
    pod.spec.as_ref().and_then(|spec| spec.resources.clone()).unwrap_or_default()
}

fn mount_statuses(mounts: &[VolumeMount]) -> Vec<VolumeMountStatus> {
    let status = |mount: &VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|is| *is).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    };
    mounts.iter().map(status).collect()
}

/// Who a container's processes are: root as they see it, which is this program's user.
fn user() -> ContainerUser {
    ContainerUser { linux: Some(LinuxContainerUser { uid: 0, gid: 0, supplemental_groups: Some(vec![0]) }) }
}

fn api_state(state: &ContainerState) -> ApiState {
    match state {
        ContainerState::Waiting { reason, message } => ApiState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: Some(message.clone()).filter(|message| !message.is_empty()),
            }),
            ..ApiState::default()
        },
        ContainerState::Running { started_at } => ApiState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*started_at)) }),
            ..ApiState::default()
        },
        ContainerState::Terminated(termination) => {
            ApiState { terminated: Some(api_termination(termination)), ..ApiState::default() }
        }
    }
}

fn api_termination(termination: &Termination) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: termination.exit_code,
        reason: Some(termination.reason.clone()),
        message: Some(termination.message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(Time(termination.started_at)),
        finished_at: Some(Time(termination.finished_at)),
        container_id: Some(termination.container_id.clone()).filter(|id| !id.is_empty()),
        signal: None,
    }
}

fn conditions(
    pod: &Pod,
    record: &PodRecord,
    phase: &str,
    before: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let over = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let incomplete: Vec<&str> = record
        .init_containers
        .iter()
        .filter(|container| {
            if container.is_sidecar {
                !container.is_started
            } else {
                !container.ended().is_some_and(Termination::is_success)
            }
        })
        .map(|container| container.name.as_str())
        .collect();
    // A sidecar that starts anew does not undo what was once done.
    let has_begun = record.containers.iter().any(|main| main.is_running() || main.ended().is_some());
    let initialized = if incomplete.is_empty() || has_begun || phase == "Succeeded" {
        ("True", over.filter(|_| phase == "Succeeded"), String::new())
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        ("False", Some("ContainersNotInitialized"), message)
    };
    let sidecars = record.init_containers.iter().filter(|container| container.is_sidecar);
    let unready: Vec<&str> = sidecars
        .chain(&record.containers)
        .filter(|container| !(container.is_ready && container.is_running()) || record.is_stopping)
        .map(|container| container.name.as_str())
        .collect();
    let containers_ready = if let Some(reason) = over {
        ("False", Some(reason), String::new())
    } else if unready.is_empty() {
        ("True", None, String::new())
    } else {
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        ("False", Some("ContainersNotReady"), message)
    };
    let ready = gated(pod, before, containers_ready.clone());
    let has_address = if record.pod_ip.is_some() && over.is_none() { "True" } else { "False" };
    let mut conditions: Vec<PodCondition> = Vec::new();
    let wanted = [
        ("PodReadyToStartContainers", (has_address, None, String::new())),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", ("True", None, String::new())),
    ];
    let earlier = before.conditions.as_deref().unwrap_or_default();
    for (kind, (status, reason, message)) in wanted {
        let present = earlier.iter().find(|condition| condition.type_ == kind && condition.status == status);
        conditions.push(PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            message: Some(message).filter(|message| !message.is_empty()),
            last_transition_time: present
                .and_then(|condition| condition.last_transition_time.clone())
                .or(Some(Time(now))),
            observed_generation: pod.metadata.generation,
            last_probe_time: None,
        });
    }
    let others = earlier.iter().filter(|other| !wanted_types().contains(&other.type_.as_str()));
    conditions.extend(others.cloned());
    conditions
}

fn wanted_types() -> [&'static str; 5] {
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
}

/// Readiness gates: conditions that others set and that Ready waits for.
fn gated<'a>(
    pod: &Pod,
    before: &PodStatus,
    containers_ready: (&'a str, Option<&'a str>, String),
) -> (&'a str, Option<&'a str>, String) {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    if containers_ready.0 != "True" || gates.is_empty() {
        return containers_ready;
    }
    let unmet: Vec<String> =
        gates.iter().filter_map(|gate| unmet_gate(&gate.condition_type, before)).collect();
    if unmet.is_empty() {
        return containers_ready;
    }
    ("False", Some("ReadinessGatesNotReady"), unmet.join(", "))
}

/// What is said of a readiness gate that is not open; nothing of one that is.
fn unmet_gate(kind: &str, before: &PodStatus) -> Option<String> {
    let mut conditions = before.conditions.iter().flatten();
    match conditions.find(|condition| condition.type_ == kind) {
        None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
        Some(condition) if condition.status == "True" => None,
        Some(condition) => Some(format!(
            "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
            condition.status
        )),
    }
}
