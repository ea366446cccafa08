//! `pods/NAME:PORT/proxy` and `services/NAME:PORT/proxy`: one HTTP request, passed on.

use std::convert::Infallible;

use http::{HeaderMap, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

use super::{ContainerRef, kubelet, target::PodTarget};
use crate::{
    http_layer::ResponseBody,
    object::{list, text},
    pipeline::{Request, route::ResourcePath},
    server::ApiServer,
    status::ApiError,
    store::Key,
};

/// Headers that are about one connection, and the caller's credentials, which are not the pod's business.
const OWN: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
];

pub(super) async fn respond(
    server: &ApiServer,
    request: &Request,
    path: &ResourcePath,
    below: &str,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, ApiError> {
    let whole = path.name.as_deref().unwrap_or_default();
    // `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
    let parts: Vec<&str> = whole.split(':').collect();
    let (scheme, name, port) = match parts[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => return Err(ApiError::bad_request(format!("invalid proxy target {whole:?}"))),
    };
    if scheme == "https" {
        return Err(ApiError::bad_request(
            "this server passes requests on by HTTP only; leave out the scheme",
        ));
    }
    let (pod, port) = if path.resource == "pods" {
        let pod = PodTarget::find(server, path, name)?;
        let port = if port.is_empty() { Some(pod.first_port().unwrap_or(80)) } else { pod.port(port) };
        (pod.reference(""), port.ok_or_else(|| no_port(whole))?)
    } else {
        endpoint(server, path, name, port)?
    };
    let unreachable = |cause: String| {
        ApiError::new(503, "ServiceUnavailable", format!("error trying to reach service: {cause}"))
    };
    let connection = kubelet(server)?.connect(pod, port).await;
    let connection = connection.map_err(|error| unreachable(format!("dial tcp :{port}: {error}")))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, driver) = handshake.map_err(|error| unreachable(error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "a connection to a pod ended");
        }
    });
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut outgoing = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("/{below}{query}"))
        .header(header::HOST, format!("{name}:{port}"))
        .body(Full::new(request.body.clone()))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    for (name, value) in headers.iter().filter(|(name, _)| !OWN.contains(name)) {
        outgoing.headers_mut().append(name, value.clone());
    }
    let answer = sender.send_request(outgoing).await.map_err(|error| unreachable(error.to_string()))?;
    let (mut head, body) = answer.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    // A body that breaks off ends early; its length tells the client.
    let frames =
        futures::StreamExt::filter_map(http_body_util::BodyStream::new(body.map_err(|_| ())), |frame| {
            std::future::ready(frame.ok().map(Ok::<_, Infallible>))
        });
    Ok(Response::from_parts(head, http_body_util::StreamBody::new(frames).boxed_unsync()))
}

fn no_port(target: &str) -> ApiError {
    ApiError::new(503, "ServiceUnavailable", format!("no endpoints available for service {target:?}"))
}

/// A ready pod behind a service, and its port.
fn endpoint(
    server: &ApiServer,
    path: &ResourcePath,
    name: &str,
    port: &str,
) -> Result<(ContainerRef, u16), ApiError> {
    let namespace = path.namespace.clone().ok_or_else(ApiError::no_such_resource)?;
    let state = server.read();
    let key = Key::new(&namespace, name);
    let service = state.store.get("/services", &key);
    let service = service.ok_or_else(|| ApiError::not_found("", "services", name))?;
    let ports = list(&service.value, &["spec", "ports"]);
    let wanted = ports.iter().find(|found| {
        (port.is_empty() && ports.len() == 1)
            || text(found, &["name"]) == port && !port.is_empty()
            || found["port"].as_u64().is_some_and(|number| number.to_string() == port)
    });
    let wanted = text(wanted.ok_or_else(|| no_port(name))?, &["name"]);
    let endpoints = state.store.get("/endpoints", &key).ok_or_else(|| no_port(name))?;
    for subset in list(&endpoints.value, &["subsets"]) {
        let port = list(subset, &["ports"]).iter().find(|found| text(found, &["name"]) == wanted);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let address = list(subset, &["addresses"]).first();
        if let (Some(port), Some(address)) = (port, address) {
            let pod = ContainerRef {
                namespace,
                pod: text(address, &["targetRef", "name"]).to_owned(),
                uid: text(address, &["targetRef", "uid"]).to_owned(),
                container: String::new(),
            };
            return Ok((pod, port));
        }
    }
    Err(no_port(name))
}
