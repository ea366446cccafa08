//! Plays the kubelet for pods that no node takes, as upstream's tests play it for a cluster without nodes.
//!
//! Such pods ask for a scheduler that does not exist. No kubelet ever sees them, so what is written to their status
//! stays, on any cluster; Deployments, ReplicaSets and Services take it for the truth.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::echo::Servers;
use super::objects::ObjectError;
use crate::case::{Kubelet, PodState};

/// The scheduler that such pods ask for.
pub const SCHEDULER: &str = "windtunnel-conform";

/// The next pod's number; addresses differ over all cases of a run.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The kubelet of one case.
pub(crate) struct Played {
    api: Api<Pod>,
    /// Servers behind the pods, where the gateway can reach this machine.
    servers: Option<Servers>,
}

impl Played {
    pub(crate) fn new(client: kube::Client, namespace: &str, is_local: bool) -> Self {
        Self { api: Api::namespaced(client, namespace), servers: is_local.then(Servers::default) }
    }

    /// Makes every pod ready that no node takes, until dropped.
    pub(crate) async fn keep_ready(&self) {
        let mut events =
            std::pin::pin!(watcher::watcher(self.api.clone(), watcher::Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event
                && is_ours(&pod)
                && !is_ready(&pod)
                && let Err(error) = self.write(&pod, PodState::Ready, None, 0).await
            {
                tracing::debug!(?error, "a pod's status was not taken");
            }
        }
    }

    /// Waits until there are enough pods and writes the status of each; the error says what was there.
    pub(crate) async fn play(&self, kubelet: &Kubelet, limit: Duration) -> Result<(), ObjectError> {
        let selector: Vec<String> =
            kubelet.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let config = watcher::Config::default().labels(&selector.join(","));
        let end = Instant::now() + limit;
        let mut events = std::pin::pin!(watcher::watcher(self.api.clone(), config).default_backoff());
        let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
        let mut is_listed = false;
        while pods.len() < kubelet.count || !is_listed {
            match tokio::time::timeout_at(end, events.next()).await {
                Err(_) | Ok(None) => {
                    return Err(ObjectError::Impossible(format!(
                        "{} of {} pods with {} came within {limit:?} that ask for the scheduler {SCHEDULER}",
                        pods.len(),
                        kubelet.count,
                        selector.join(","),
                    )));
                }
                Ok(Some(Ok(Event::Init))) => {
                    pods.clear();
                    is_listed = false;
                }
                Ok(Some(Ok(Event::Apply(pod) | Event::InitApply(pod)))) => {
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    if is_ours(&pod) {
                        pods.insert(name, pod);
                    } else {
                        pods.remove(&name);
                    }
                }
                Ok(Some(Ok(Event::Delete(pod)))) => {
                    pods.remove(&pod.metadata.name.unwrap_or_default());
                }
                Ok(Some(Ok(Event::InitDone))) => is_listed = true,
                Ok(Some(Err(_))) => {}
            }
        }
        for pod in pods.values() {
            self.write(pod, kubelet.state, kubelet.message.as_deref(), kubelet.exit_code).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        pod: &Pod,
        state: PodState,
        message: Option<&str>,
        exit_code: i32,
    ) -> Result<(), ObjectError> {
        let Some(name) = pod.metadata.name.as_deref() else { return Ok(()) };
        let known = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let ip = match known.and_then(|ip| ip.parse().ok()) {
            Some(ip) => ip,
            None => self.address(pod).await?,
        };
        let status = status(pod, state, message, exit_code, ip);
        self.api
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&json!({"status": status})))
            .await?;
        Ok(())
    }

    async fn address(&self, pod: &Pod) -> Result<IpAddr, ObjectError> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let [_, high, middle, low] = number.to_be_bytes();
            let Some(servers) = &self.servers else {
                return Ok(IpAddr::V4(Ipv4Addr::new(198, 18 | (high & 1), middle, low))); // RFC 2544: goes nowhere
            };
            let block = 200 + (std::process::id() % 50) as u8;
            let ip = Ipv4Addr::new(127, block, middle, low);
            match servers.serve(ip, pod).await {
                Ok(()) => return Ok(IpAddr::V4(ip)),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    return Err(ObjectError::Impossible(format!("answering for a pod at {ip}: {error}")));
                }
            }
        }
    }
}

/// A pod that no node takes and that stays.
fn is_ours(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let asks = spec.and_then(|spec| spec.scheduler_name.as_deref()) == Some(SCHEDULER);
    asks && spec.is_some_and(|spec| spec.node_name.is_none()) && pod.metadata.deletion_timestamp.is_none()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The status that a kubelet would write.
fn status(pod: &Pod, state: PodState, message: Option<&str>, exit_code: i32, ip: IpAddr) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let spec = pod.spec.as_ref();
    let ended = json!({"terminated": {
        "exitCode": exit_code, "reason": "Error", "message": message.unwrap_or(""), "startedAt": now, "finishedAt": now,
    }});
    let completed =
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
    let running = json!({"running": {"startedAt": now}});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let container = |name: &str,
                     image: Option<&String>,
                     state: &Value,
                     last: &Value,
                     ready: bool,
                     restarts: i32| {
        json!({
            "name": name, "image": image.cloned().unwrap_or_default(), "imageID": "", "ready": ready,
            "started": state.get("running").is_some(), "restartCount": restarts, "state": state, "lastState": last,
        })
    };
    let nothing = json!({});
    let is_initialized = !matches!(state, PodState::Initializing | PodState::InitFailed);
    let inits: Vec<Value> = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, init)| {
            let state = match state {
                PodState::Initializing if index == 0 => running.clone(),
                PodState::InitFailed if index == 0 => ended.clone(),
                PodState::Initializing | PodState::InitFailed => waiting("PodInitializing"),
                _ => completed.clone(),
            };
            let ready = state.get("terminated") == completed.get("terminated");
            container(&init.name, init.image.as_ref(), &state, &nothing, ready, 0)
        })
        .collect();
    let containers: Vec<Value> = spec
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(index, own)| {
            let (now, last, restarts) = match state {
                PodState::Ready | PodState::Running => (running.clone(), nothing.clone(), 0),
                PodState::Initializing | PodState::InitFailed => {
                    (waiting("PodInitializing"), nothing.clone(), 0)
                }
                PodState::CrashLoop if index == 0 => (waiting("CrashLoopBackOff"), ended.clone(), 3),
                PodState::CrashLoop => (running.clone(), nothing.clone(), 0),
            };
            container(&own.name, own.image.as_ref(), &now, &last, state == PodState::Ready, restarts)
        })
        .collect();
    let condition = |name: &str, holds: bool| json!({"type": name, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now});
    let ready = state == PodState::Ready;
    json!({
        "phase": if is_initialized { "Running" } else { "Pending" },
        "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": ip, "startTime": now,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", is_initialized),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "initContainerStatuses": inits,
        "containerStatuses": containers,
    })
}
