//! The life of a pod's containers: volumes, init containers in their order, containers side by side.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Context, addresses,
    container::{ContainerTask, End, Role},
    dns,
    environment::{Sources, Surroundings},
    sandbox::{HOSTS_FILE, RESOLVER_FILE, Sandbox, Shared, note},
    sources::{self, Issued},
    volumes,
};
use crate::{
    controllers::endpoints::PORTS_ANNOTATION,
    world::{Key, Kind},
};

/// Pause before the next attempt at volumes that can't be made; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Time between two looks at what a pod's volumes show; a real node may take a minute.
const VOLUME_PERIOD: Duration = Duration::from_secs(5);
/// Grace in seconds of a pod that does not say.
const GRACE_S: i64 = 30;

/// Runs the pod's containers until all have ended for good, or the pod is stopped and they have ended.
pub(crate) async fn run(node: Arc<Context>, pod: Arc<Pod>, shared: Arc<Shared>) {
    let Some(sandbox) = make_sandbox(node, pod, shared.clone()).await else { return };
    let sandbox = Arc::new(sandbox);
    let updates = tokio::spawn(keep_volumes(sandbox.clone()));
    let _updates = tokio_util::task::AbortOnDropHandle::new(updates);
    warn_of_names(&sandbox);
    let spec = sandbox.pod.spec.as_ref();
    let task = |container: &Container, role| ContainerTask {
        sandbox: sandbox.clone(),
        container: container.clone(),
        role,
    };
    let mut sidecars = JoinSet::new();
    for init in spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()) {
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars.spawn(task(init, Role::Sidecar).run());
            let started =
                shared.until(|record| record.container(&init.name).is_none_or(|found| found.is_started));
            tokio::select! {
                () = started => {}
                () = shared.stopping() => {}
            }
        } else if task(init, Role::Init).run().await != End::Succeeded {
            end_sidecars(&sandbox, sidecars).await;
            return;
        }
        if shared.is_stopping() {
            end_sidecars(&sandbox, sidecars).await;
            return;
        }
    }
    let mut containers = JoinSet::new();
    for container in spec.iter().flat_map(|spec| &spec.containers) {
        containers.spawn(task(container, Role::Main).run());
    }
    while containers.join_next().await.is_some() {}
    end_sidecars(&sandbox, sidecars).await;
}

/// Says what a real node whose kubelet was given no name server says: names come from the node's own resolver, which here
/// knows those of the cluster.
fn warn_of_names(sandbox: &Sandbox) {
    let policy = sandbox.pod.spec.as_ref().and_then(|spec| spec.dns_policy.as_deref());
    if policy.unwrap_or("ClusterFirst") == "ClusterFirst" {
        let Key { namespace, name } = &sandbox.key;
        let message = format!(
            "pod: \"{name}_{namespace}({})\". kubelet does not have ClusterDNS IP configured and cannot create Pod \
             using \"ClusterFirst\" policy. Falling back to \"Default\" policy.",
            sandbox.uid
        );
        sandbox.report(String::new(), true, "MissingClusterDNS", message);
    }
}

/// Writes changes of ConfigMaps, Secrets and tokens into the pod's volumes; never ends.
async fn keep_volumes(sandbox: Arc<Sandbox>) {
    if !volumes::may_change(&sandbox.pod) {
        return;
    }
    loop {
        tokio::time::sleep(VOLUME_PERIOD).await;
        let Sandbox { node, pod, key, uid, folder, surroundings, tokens, .. } = &*sandbox;
        // Labels and annotations as they are now.
        let now = node.store.read(|world| world.pods.get(key).cloned());
        let pod = now.as_ref().filter(|now| now.metadata.uid.as_ref() == Some(uid)).unwrap_or(pod);
        if let Err(error) = make_volumes(node, pod, folder, surroundings, tokens).await {
            tracing::debug!(error, pod = %key, "volumes were not updated; trying again");
        }
    }
}

/// Sidecars end when what they stand beside has ended.
async fn end_sidecars(sandbox: &Sandbox, mut sidecars: JoinSet<End>) {
    if !sidecars.is_empty() {
        sandbox.shared.stop_by(Instant::now() + grace(&sandbox.pod));
        while sidecars.join_next().await.is_some() {}
    }
}

/// The pod's time between SIGTERM and SIGKILL.
pub(crate) fn grace(pod: &Pod) -> Duration {
    let asked = pod.metadata.deletion_grace_period_seconds;
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Duration::from_secs(u64::try_from(asked.or(own).unwrap_or(GRACE_S)).unwrap_or(0))
}

/// Gives the pod an address, ports, and its volumes; `None` if it is stopped meanwhile.
async fn make_sandbox(node: Arc<Context>, pod: Arc<Pod>, shared: Arc<Shared>) -> Option<Sandbox> {
    let key = Key::of(&pod.metadata);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let folder = node.pod_folder(&uid);
    let mut retry = FIRST_RETRY;
    let pod_ip = loop {
        if let Some(address) = node.network.allocate() {
            break address;
        }
        let message = "no pod address is left on this node".to_owned();
        if !pause(&node, &shared, &key, &uid, "FailedCreatePodSandBox", message, &mut retry).await {
            return None;
        }
    };
    // From here on the address is given back with the record.
    let mut surroundings = Surroundings {
        pod_ip,
        host_ip: node.network.node_address(),
        ports: BTreeMap::new(),
        inherited: node.inherited.clone(),
        temporary: folder.join("tmp"),
        services: BTreeMap::new(),
        capacity: node.capacity,
    };
    shared.update(|record| record.reserved_ip = Some(pod_ip));
    loop {
        match addresses::replaced_ports(pod_ip, &container_ports(&pod)) {
            Ok(ports) if ports.is_empty() => break,
            Ok(ports) => {
                let text: BTreeMap<String, u16> =
                    ports.iter().map(|(from, to)| (from.to_string(), *to)).collect();
                let annotation = json!(text).to_string();
                let patch = json!({"metadata": {"annotations": {PORTS_ANNOTATION: annotation}}});
                match node.executor.patch(Kind::Pod, &key, false, &patch).await {
                    Ok(()) => {
                        surroundings.ports = ports;
                        break;
                    }
                    Err(error) => {
                        let message = format!("writing annotation {PORTS_ANNOTATION}: {error}");
                        if !pause(&node, &shared, &key, &uid, "FailedCreatePodSandBox", message, &mut retry)
                            .await
                        {
                            return None;
                        }
                    }
                }
            }
            Err(error) => {
                let message = format!("no port is left on {pod_ip}: {error}");
                if !pause(&node, &shared, &key, &uid, "FailedCreatePodSandBox", message, &mut retry).await {
                    return None;
                }
            }
        }
    }
    shared.update(|record| record.pod_ip = Some(pod_ip));
    let tokens = tokio::sync::Mutex::default();
    let volumes = loop {
        match make_volumes(&node, &pod, &folder, &surroundings, &tokens).await {
            Ok(volumes) => break volumes,
            Err(message) => {
                if !pause(&node, &shared, &key, &uid, "FailedMount", message, &mut retry).await {
                    return None;
                }
            }
        }
    };
    let write = || {
        node.store.read(|world| node.hosts.add(world, &pod, pod_ip, &folder.join(HOSTS_FILE)))?;
        match dns::resolver_file(&pod, node.name_server) {
            Some(text) => std::fs::write(folder.join(RESOLVER_FILE), text),
            None => Ok(()),
        }
    };
    if let Err(error) = node.directory.hold(write) {
        let message = format!("writing the pod's hosts file and resolver: {error}");
        node.recorder.report(note(&key, &uid, String::new(), true, "FailedCreatePodSandBox", message));
    }
    let logs = node.log_folder(&key, &uid);
    Some(Sandbox { node, pod, key, uid, shared, surroundings, volumes, tokens, folder, logs })
}

async fn make_volumes(
    node: &Context,
    pod: &Pod,
    folder: &Path,
    surroundings: &Surroundings,
    tokens: &tokio::sync::Mutex<Issued>,
) -> Result<BTreeMap<String, std::path::PathBuf>, String> {
    let start = |error: std::io::Error| format!("{}: {error}", folder.display());
    node.directory.hold(|| std::fs::create_dir_all(&surroundings.temporary)).map_err(start)?;
    let names = volumes::referenced(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut found: Sources =
        sources::fetch(&node.client, namespace, &names).await.map_err(|error| error.to_string())?;
    let requests = volumes::referenced_tokens(pod);
    found.tokens =
        sources::tokens(&node.client, pod, &requests, tokens).await.map_err(|error| error.to_string())?;
    let pod = &node.store.read(|world| crate::controllers::volumes::as_host_paths(world, pod))?;
    let make = || Ok(volumes::make(pod, &folder.join("volumes"), &found, surroundings));
    node.directory.hold(make).map_err(start)?
}

/// Tells of a failure and waits before the next attempt; returns false if the pod is stopped meanwhile.
async fn pause(
    node: &Context,
    shared: &Shared,
    key: &Key,
    uid: &str,
    reason: &str,
    message: String,
    retry: &mut Duration,
) -> bool {
    node.recorder.report(note(key, uid, String::new(), true, reason, message));
    let wait = *retry;
    *retry = (wait * 2).min(LAST_RETRY);
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = shared.stopping() => false,
    }
}

/// The TCP ports that the pod's containers say they listen on.
fn container_ports(pod: &Pod) -> Vec<u16> {
    let spec = pod.spec.as_ref();
    let containers =
        spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    tcp.filter_map(|port| u16::try_from(port.container_port).ok()).filter(|&port| port > 0).collect()
}
