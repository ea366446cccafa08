//! A server behind a pod that the runner plays: it answers every request with what it is and what it got.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Longest body that is read.
const LONGEST_BODY: usize = 1 << 20;

/// Servers that end when this is dropped.
#[derive(Default)]
pub(crate) struct Servers {
    tasks: Mutex<JoinSet<()>>,
}

impl Servers {
    /// Answers for a pod on its first container's ports, or 8080.
    pub(crate) async fn serve(&self, ip: Ipv4Addr, pod: &Pod) -> io::Result<()> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports: Vec<u16> = containers
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| u16::try_from(port.container_port).ok())
            .collect();
        if !ports.contains(&8080) {
            ports.push(8080);
        }
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let about = Arc::new(json!({
            "pod": pod.metadata.name, "app": labels.get("app"), "labels": labels, "uid": pod.metadata.uid,
        }));
        for port in ports {
            let listener = TcpListener::bind(SocketAddr::from((ip, port))).await?;
            let about = Arc::clone(&about);
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(accept(listener, about));
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, about: Arc<serde_json::Value>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let about = Arc::clone(&about);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&about)));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a played pod broke off");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    request: Request<Incoming>,
    about: Arc<serde_json::Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body =
        Limited::new(body, LONGEST_BODY).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers: serde_json::Map<String, serde_json::Value> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let mut answer = (*about).clone();
    answer["method"] = json!(parts.method.as_str());
    answer["path"] = json!(parts.uri.to_string());
    answer["headers"] = headers.into();
    answer["received"] = json!(String::from_utf8_lossy(&body));
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}
