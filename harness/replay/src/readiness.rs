//! Waiting until the service under test is Ready, and saying why when it does not become so.

use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::Client;
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{self, Event};
use tokio_util::sync::CancellationToken;
use windtunnel_api::kserve::InferenceService;

use crate::FlightError;

/// How long a service may take from its manifest to Ready.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the load needs to know of a ready service.
pub(crate) struct Ready {
    /// Host under which the gateway serves it.
    pub(crate) host: String,
}

/// Waits until the InferenceService is Ready at its present generation and has a URL.
pub(crate) async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    cancel: &CancellationToken,
) -> Result<Ready, FlightError> {
    let api = Api::<InferenceService>::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher::watcher(api, config));
    let ready = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(service) | Event::InitApply(service)) = event
                && let Some(ready) = ready(&service)
            {
                return Some(ready);
            }
        }
        None
    };
    tokio::select! {
        () = cancel.cancelled() => Err(FlightError::Interrupted),
        found = tokio::time::timeout(DEADLINE, ready) => match found {
            Ok(Some(ready)) => Ok(ready),
            Ok(None) | Err(_) => Err(FlightError::NotReady {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                waited: DEADLINE,
                diagnosis: diagnose(client, namespace, name).await,
            }),
        },
    }
}

fn ready(service: &InferenceService) -> Option<Ready> {
    let status = service.status.as_ref()?;
    let url = status.url.as_deref()?;
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?.to_owned();
    (status.is_ready() && !host.is_empty()).then_some(Ready { host })
}

/// The service's conditions and its pods' states, a line each.
async fn diagnose(client: &Client, namespace: &str, name: &str) -> String {
    let mut text = String::new();
    match Api::<InferenceService>::namespaced(client.clone(), namespace).get(name).await {
        Ok(service) => {
            for condition in service.status.iter().flat_map(|status| &status.conditions) {
                let _ = writeln!(
                    text,
                    "  {}={} {} {}",
                    condition.type_,
                    condition.status,
                    condition.reason.as_deref().unwrap_or_default(),
                    condition.message.as_deref().unwrap_or_default()
                );
            }
        }
        Err(error) => {
            let _ = writeln!(text, "  the service can't be read: {error}");
        }
    }
    let selector = format!("serving.kserve.io/inferenceservice={name}");
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    for pod in
        pods.list(&ListParams::default().labels(&selector)).await.map(|list| list.items).unwrap_or_default()
    {
        let pod_name = pod.metadata.name.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let _ = writeln!(text, "  pod {pod_name}: {}", status.phase.unwrap_or_default());
        let containers = status
            .init_container_statuses
            .into_iter()
            .flatten()
            .chain(status.container_statuses.into_iter().flatten());
        for container in containers.filter(|container| !container.ready) {
            let states = [container.state, container.last_state].into_iter().flatten();
            let why: Vec<String> = states.filter_map(explanation).collect();
            if !why.is_empty() {
                let _ = writeln!(text, "    container {}: {}", container.name, why.join("; before: "));
            }
        }
    }
    text
}

/// Why a container in this state does not run: the node's reason, or the end of its log.
fn explanation(state: ContainerState) -> Option<String> {
    let told = |reason: Option<String>, message: Option<String>| {
        [reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    let waiting = state.waiting.map(|waiting| told(waiting.reason, waiting.message));
    waiting.or_else(|| {
        let end = state.terminated?;
        Some(format!("ended with exit code {}: {}", end.exit_code, told(end.reason, end.message)))
    })
}
