//! The worker of one pod: runs its containers, writes its status, and ends it when it is deleted.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
    time::Instant,
};

use super::{
    Context, lifecycle,
    record::{ContainerState, PodRecord, Termination},
    sandbox::{Shared, note},
    status,
};
use crate::{
    controllers::selector,
    effect::merge_patch,
    world::{Key, Kind, World},
};

/// How long a stopping pod waits at most for its address to leave all Endpoints.
const ENDPOINTS_LIMIT: Duration = Duration::from_millis(500);
/// Further pause after its address has left, for those who route by Endpoints to take the change in.
const ROUTES_SETTLE: Duration = Duration::from_millis(50);
/// Grace of a pod that was removed from the API without grace.
const FORCED_GRACE: Duration = Duration::from_secs(1);
/// Longest grace when the whole cluster stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Pause after a status that could not be written.
const STATUS_RETRY: Duration = Duration::from_millis(50);

/// The latest that is known of a pod from outside.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) pod: Arc<Pod>,
    /// It is not in the API any more.
    pub(crate) is_gone: bool,
}

/// Aborts a task when dropped.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks after one pod until its processes have ended and the API knows it no more (or the node stops).
pub(crate) async fn run(node: Arc<Context>, mut updates: watch::Receiver<Update>) {
    let pod = updates.borrow_and_update().pod.clone();
    let record = PodRecord::new(&pod, node.network.node_address(), Timestamp::now());
    let shared = Arc::new(Shared::new(record));
    let lifecycle = tokio::spawn(lifecycle::run(node.clone(), pod.clone(), shared.clone()));
    let _abort = AbortOnDrop(lifecycle.abort_handle());
    let worker = Worker {
        key: Key::of(&pod.metadata),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        node,
        shared,
        written: pod.status.clone().unwrap_or_default(),
    };
    worker.look_after(lifecycle, updates).await;
}

struct Worker {
    node: Arc<Context>,
    key: Key,
    uid: String,
    shared: Arc<Shared>,
    /// The status as it was last written.
    written: PodStatus,
}

/// What is being done about the pod's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing: the pod runs, or has run.
    Not,
    /// It waits to be out of service; the processes get SIGTERM at this time at the latest.
    Withdrawing(Instant),
    /// The processes are ending.
    Ordered,
}

impl Worker {
    async fn look_after(mut self, mut lifecycle: JoinHandle<()>, mut updates: watch::Receiver<Update>) {
        let mut changes = self.shared.changes();
        let mut endpoints = self.node.store.endpoints_changes.subscribe();
        let active_deadline = active_deadline(&updates.borrow().pod);
        let mut has_finished = false;
        let mut ending = Ending::Not;
        let mut must_end_by = None;
        let mut retry_status = !self.write_status(&updates).await;
        loop {
            let update = updates.borrow_and_update().clone();
            let is_wanted_gone = update.is_gone || update.pod.metadata.deletion_timestamp.is_some();
            if is_wanted_gone && ending == Ending::Not {
                let was_ready =
                    self.shared.read(|record| record.containers.iter().all(|container| container.is_ready));
                self.shared.update(|record| record.is_stopping = true);
                // The grace counts from now; the withdrawal is part of it.
                let grace = if update.is_gone { FORCED_GRACE } else { lifecycle::grace(&update.pod) };
                let deadline = Instant::now() + grace;
                // Its address may have left the Endpoints already, but routers still have it.
                let withdraws = was_ready && self.node.store.read(|world| is_selected(world, &update.pod));
                let until = Instant::now() + if withdraws { ENDPOINTS_LIMIT } else { Duration::ZERO };
                must_end_by = Some(deadline);
                ending = Ending::Withdrawing(until.min(deadline));
            }
            if update.is_gone && ending == Ending::Ordered {
                self.shared.stop_by(Instant::now() + FORCED_GRACE);
            }
            if let Ending::Withdrawing(until) = ending {
                let is_in_service = self.node.store.read(|world| is_in_service(world, &self.key, &self.uid));
                if has_finished || Instant::now() >= until {
                    self.shared.stop_by(must_end_by.unwrap_or_else(Instant::now));
                    ending = Ending::Ordered;
                } else if !is_in_service && until > Instant::now() + ROUTES_SETTLE {
                    ending = Ending::Withdrawing(Instant::now() + ROUTES_SETTLE);
                }
            }
            if has_finished && is_wanted_gone {
                break;
            }
            let withdraw_until = match ending {
                Ending::Withdrawing(until) => Some(until),
                _ => None,
            };
            tokio::select! {
                biased;
                () = self.node.stop.cancelled() => {
                    self.stop_quickly(lifecycle, has_finished, &updates).await;
                    return;
                }
                changed = updates.changed() => if changed.is_err() { break },
                _ = changes.changed() => retry_status = !self.write_status(&updates).await,
                result = &mut lifecycle, if !has_finished => {
                    has_finished = true;
                    if let Err(error) = result {
                        self.lose(&error.to_string());
                    }
                }
                _ = endpoints.changed(), if withdraw_until.is_some() => {}
                () = sleep_until(withdraw_until), if withdraw_until.is_some() => {}
                () = tokio::time::sleep(STATUS_RETRY), if retry_status => {
                    retry_status = !self.write_status(&updates).await;
                }
                () = sleep_until(active_deadline), if active_deadline.is_some() && !has_finished && ending == Ending::Not => {
                    let message = "Pod was active on the node longer than the specified deadline";
                    self.fail("DeadlineExceeded", message);
                    let note = note(&self.key, &self.uid, String::new(), false, "DeadlineExceeded", message.into());
                    self.node.recorder.report(note);
                    self.shared.stop_by(Instant::now() + lifecycle::grace(&update.pod));
                    ending = Ending::Ordered;
                }
            }
        }
        let is_gone = updates.borrow().is_gone;
        if !is_gone {
            self.write_status(&updates).await;
            self.remove_from_api(&mut updates).await;
        }
        self.clean_up();
    }

    /// The whole cluster stops: ends the processes without a word to the API.
    async fn stop_quickly(
        self,
        lifecycle: JoinHandle<()>,
        has_finished: bool,
        updates: &watch::Receiver<Update>,
    ) {
        let grace = lifecycle::grace(&updates.borrow().pod).min(SHUTDOWN_GRACE);
        self.shared.stop_by(Instant::now() + grace);
        if !has_finished && let Err(error) = lifecycle.await {
            tracing::debug!(%error, pod = %self.key, "the pod did not end by itself");
        }
        self.clean_up();
    }

    /// The node ends the pod for a reason of its own.
    fn fail(&self, reason: &str, message: &str) {
        self.shared.update(|record| record.failure = Some((reason.to_owned(), message.to_owned())));
    }

    /// Nobody looks after the pod's containers any more.
    fn lose(&self, cause: &str) {
        self.shared.update(|record| {
            for container in record.init_containers.iter_mut().chain(&mut record.containers) {
                if let ContainerState::Running { started_at } = container.state {
                    container.state = ContainerState::Terminated(Termination {
                        exit_code: 137,
                        reason: "ContainerStatusUnknown".into(),
                        message: "The container could not be located when the pod was terminated".into(),
                        started_at,
                        finished_at: Timestamp::now(),
                        container_id: container.container_id.clone(),
                    });
                }
            }
        });
        self.fail("NodeError", &format!("the node lost the pod: {cause}"));
    }

    /// Writes the status if it differs from what was written; returns whether the API has it now.
    async fn write_status(&mut self, updates: &watch::Receiver<Update>) -> bool {
        let update = updates.borrow().clone();
        if update.is_gone {
            return true;
        }
        let mut pod = (*update.pod).clone();
        let others = pod.status.take().and_then(|status| status.conditions).unwrap_or_default();
        let mut base = self.written.clone();
        let conditions = base.conditions.get_or_insert_default();
        for other in others {
            if !conditions.iter().any(|condition| condition.type_ == other.type_) {
                conditions.push(other);
            }
        }
        pod.status = Some(base);
        let status = self.shared.read(|record| status::pod_status(&pod, record, Timestamp::now()));
        let value = |status: &PodStatus| serde_json::to_value(status).unwrap_or_else(|_| json!({}));
        let Some(patch) = merge_patch(&value(&self.written), &value(&status)) else { return true };
        let patch = json!({"metadata": {"uid": self.uid}, "status": patch});
        match self.node.executor.patch(Kind::Pod, &self.key, true, &patch).await {
            Ok(()) => {
                self.written = status;
                true
            }
            Err(kube::Error::Api(answer)) if answer.is_conflict() && answer.message.contains("UID") => true,
            Err(error) => {
                tracing::debug!(%error, pod = %self.key, "a status was not written; trying again");
                false
            }
        }
    }

    /// Tells the API that the pod has ended.
    async fn remove_from_api(&self, updates: &mut watch::Receiver<Update>) {
        loop {
            match self.node.executor.remove_pod(&self.key, &self.uid).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, pod = %self.key, "an ended pod was not removed; trying again")
                }
            }
            tokio::select! {
                () = self.node.stop.cancelled() => break,
                () = tokio::time::sleep(STATUS_RETRY) => {}
                _ = updates.changed() => if updates.borrow().is_gone { break },
            }
        }
    }

    fn clean_up(&self) {
        if let Some(address) = self.shared.read(|record| record.reserved_ip) {
            self.node.network.release(address);
        }
        let folder = self.node.pod_folder(&self.uid);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "a pod's folder was not removed");
        }
        self.node.registry.forget(&self.uid);
        self.node.hosts.remove(&self.uid);
        self.node.retire_logs(&self.key, &self.uid);
    }
}

/// Whether a Service selects this pod.
fn is_selected(world: &World, pod: &Pod) -> bool {
    let key = Key::of(&pod.metadata);
    let mut services = world.services.in_namespace(&key.namespace);
    services.any(|(_, service)| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| selector::has_all(selector, pod.metadata.labels.as_ref()))
    })
}

/// Whether an Endpoints object sends requests to this pod.
fn is_in_service(world: &World, key: &Key, uid: &str) -> bool {
    let mut endpoints = world.endpoints.in_namespace(&key.namespace);
    endpoints.any(|(_, endpoints)| {
        let subsets = endpoints.subsets.iter().flatten();
        let mut addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
        addresses
            .any(|address| address.target_ref.as_ref().and_then(|target| target.uid.as_deref()) == Some(uid))
    })
}

fn active_deadline(pod: &Pod) -> Option<Instant> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    Some(Instant::now() + Duration::from_secs(u64::try_from(seconds).ok()?))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
