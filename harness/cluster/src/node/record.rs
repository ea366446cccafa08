//! What the node knows of a pod that it runs: the input of its status.

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};

/// What is known of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRecord {
    /// Address of the node.
    pub host_ip: Option<Ipv4Addr>,
    /// Address of the pod, once clients may see it.
    pub pod_ip: Option<Ipv4Addr>,
    /// Address that is taken for the pod and must be given back.
    pub reserved_ip: Option<Ipv4Addr>,
    /// When the node took the pod over.
    pub start_time: Option<Timestamp>,
    /// Init containers in their order.
    pub init_containers: Vec<ContainerRecord>,
    /// Containers in their order.
    pub containers: Vec<ContainerRecord>,
    /// The pod is being stopped: it is not ready any more, whatever its probes say.
    pub is_stopping: bool,
    /// Why the node has ended the pod, as reason and message.
    pub failure: Option<(String, String)>,
}

/// What is known of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Name in the specification.
    pub name: String,
    /// Image in the specification.
    pub image: String,
    /// Whether the container is a restartable init container (a sidecar).
    pub is_sidecar: bool,
    /// Identity of the last process, `process://…`; empty before the first.
    pub container_id: String,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the last time, if it was started again or waits for that.
    pub last: Option<Termination>,
    /// Its readiness probe passes (or it has none and runs).
    pub is_ready: bool,
    /// Its startup probe has passed (or it has none and runs).
    pub is_started: bool,
    /// How often it was started again.
    pub restart_count: i32,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// It does not run, but will or might.
    Waiting {
        /// Reason in one CamelCase word.
        reason: String,
        /// A sentence for people; may be empty.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It has ended.
    Terminated(Termination),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// Exit code; 128 and the signal's number for a process that a signal ended.
    pub exit_code: i32,
    /// `Completed`, `Error`, `StartError` or `ContainerStatusUnknown`.
    pub reason: String,
    /// What the container left in its termination message file, or the end of its log.
    pub message: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Identity of the process.
    pub container_id: String,
}

impl Termination {
    /// Whether the container ended with success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit_code == 0
    }
}

impl PodRecord {
    /// The record of a pod of which nothing has run.
    #[must_use]
    pub fn new(pod: &Pod, host_ip: Ipv4Addr, now: Timestamp) -> Self {
        let spec = pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let reason = if inits.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        Self {
            host_ip: Some(host_ip),
            start_time: Some(now),
            init_containers: inits
                .iter()
                .map(|container| ContainerRecord::new(container, "PodInitializing"))
                .collect(),
            containers: containers.iter().map(|container| ContainerRecord::new(container, reason)).collect(),
            ..Self::default()
        }
    }

    /// The container with this name, init containers too.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerRecord> {
        self.init_containers.iter().chain(&self.containers).find(|container| container.name == name)
    }

    /// The same, to change it.
    pub fn container_mut(&mut self, name: &str) -> Option<&mut ContainerRecord> {
        self.init_containers.iter_mut().chain(&mut self.containers).find(|container| container.name == name)
    }
}

impl ContainerRecord {
    fn new(container: &Container, reason: &str) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            is_sidecar: container.restart_policy.as_deref() == Some("Always"),
            container_id: String::new(),
            state: ContainerState::Waiting { reason: reason.to_owned(), message: String::new() },
            last: None,
            is_ready: false,
            is_started: false,
            restart_count: 0,
        }
    }

    /// How the container ended, if it does not run now.
    #[must_use]
    pub fn ended(&self) -> Option<&Termination> {
        match &self.state {
            ContainerState::Terminated(termination) => Some(termination),
            _ => None,
        }
    }

    /// Whether the container runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running { .. })
    }
}
