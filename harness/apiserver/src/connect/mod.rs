//! Subresources of pods that are answered by the node that runs them: `log`, `exec`, `attach`, `portforward`, `proxy`.
//!
//! The API server looks the pod up, checks what is asked and speaks the streaming protocols; a [`Kubelet`] does the
//! rest. A server without one answers 501.

mod http_proxy;
mod kubelet;
mod log;
mod port_forward;
mod remote_command;
mod spdy;
mod target;
mod tunnel;
mod websocket;

use http::{HeaderMap, Response};
use hyper::upgrade::OnUpgrade;

pub use kubelet::{
    ContainerRef, Duplex, ExitOutcome, Kubelet, LogOptions, LogStream, Refusal, Session, Streams,
    TerminalSize,
};

use crate::{
    http_layer::ResponseBody,
    pipeline::{Answer, Request, route},
    security::attributes::Attributes,
    server::ApiServer,
    status::ApiError,
};

/// What came in beside the request's text: its headers, and the connection if the client wants another protocol.
pub(crate) struct Extras<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// Answers a request for one of these subresources; `None` for all others.
pub(crate) async fn respond(
    server: &ApiServer,
    request: &Request,
    extras: Extras<'_>,
) -> Option<Response<ResponseBody>> {
    let route::Route::Resource(path) = route::parse(&request.path) else { return None };
    if !path.group.is_empty() || path.version != "v1" || path.watch {
        return None;
    }
    let (verb, below) = path.subresource.split_once('/').unwrap_or((&path.subresource, ""));
    if let ("pods", "exec" | "attach" | "portforward", "") = (path.resource.as_str(), verb, below)
        && let Err(refusal) = check_may_create(server, request, &path)
    {
        return Some(crate::http_layer::plain(Answer::error(&refusal)));
    }
    let answer = match (path.resource.as_str(), verb, below) {
        ("pods", "log", "") => log::respond(server, request, &path).await,
        ("pods", "exec", "") => remote_command::respond(server, request, &path, extras, true).await,
        ("pods", "attach", "") => remote_command::respond(server, request, &path, extras, false).await,
        ("pods", "portforward", "") => port_forward::respond(server, request, &path, extras).await,
        ("pods" | "services", "proxy", below) => {
            http_proxy::respond(server, request, &path, below, extras.headers).await
        }
        _ => return None,
    };
    Some(answer.unwrap_or_else(|error| crate::http_layer::plain(Answer::error(&error))))
}

/// A WebSocket begins with GET, which roles know as `get`: whoever opens a session must be allowed to create one, as over
/// POST. Kubernetes asks for both since 1.35.
fn check_may_create(
    server: &ApiServer,
    request: &Request,
    path: &route::ResourcePath,
) -> Result<(), ApiError> {
    let mut attributes = Attributes::of(&request.method, &request.path, &request.query);
    if attributes.verb == "create" {
        return Ok(());
    }
    attributes.verb = "create".to_owned();
    let decision = server.read().rbac.authorize(&request.user, &attributes);
    if decision.allowed {
        return Ok(());
    }
    let name = path.name.as_deref().unwrap_or_default();
    Err(ApiError::forbidden(&path.group, &path.resource, name, &decision.reason))
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.reason, refusal.message)
    }
}

fn kubelet(server: &ApiServer) -> Result<std::sync::Arc<dyn Kubelet>, ApiError> {
    server.kubelet().ok_or_else(|| {
        ApiError::new(501, "NotImplemented", "this API server has no node: it runs no pods to connect to")
    })
}

/// The parameters of a query, in their order.
fn parameters(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(request.query.as_bytes()).into_owned().collect()
}

fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}
