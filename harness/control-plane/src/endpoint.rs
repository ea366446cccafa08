//! Metrics and probes over HTTP, as Prometheus and kubelets ask for them: `/metrics`, `/healthz`, `/readyz`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// A client must send its request within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 64;

/// What is served at one address.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// `/metrics`.
    pub metrics: Option<Metrics>,
    /// `/healthz` and `/readyz`.
    pub health: Option<Health>,
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}: {source}; choose another address")]
pub struct EndpointError {
    /// The address.
    pub address: SocketAddr,
    /// What it is for.
    pub what: &'static str,
    /// The system's reason.
    #[source]
    pub source: std::io::Error,
}

/// A running server. It ends when the value is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Serves the pages on `address` (port 0 for any).
    ///
    /// # Errors
    /// An address that is taken or not ours.
    pub async fn start(address: SocketAddr, pages: Pages) -> Result<Self, EndpointError> {
        let what = match (&pages.metrics, &pages.health) {
            (Some(_), Some(_)) => "metrics and probes",
            (Some(_), None) => "metrics",
            _ => "probes",
        };
        let fault = |source| EndpointError { address, what, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::new(pages), stop.clone()));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and its connections.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, pages: Arc<Pages>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&pages)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for metrics or probes was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn connection(stream: TcpStream, pages: Arc<Pages>) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(respond(&pages, request.uri().path())) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection for metrics or probes ended");
    }
}

fn respond(pages: &Pages, path: &str) -> Response<Full<Bytes>> {
    match (path, &pages.metrics, &pages.health) {
        ("/metrics", Some(metrics), _) => answer(StatusCode::OK, CONTENT_TYPE, metrics.text()),
        ("/healthz", _, Some(health)) => probe(&[("ping", health.is_alive())]),
        ("/readyz", _, Some(health)) => {
            probe(&[("controllers", health.is_alive()), ("caches-synced", health.is_ready())])
        }
        _ => answer(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// The checks, one a line, as Kubernetes' own probes tell them.
fn probe(checks: &[(&str, bool)]) -> Response<Full<Bytes>> {
    let line = |(name, passed): &(&str, bool)| {
        if *passed { format!("[+]{name} ok\n") } else { format!("[-]{name} failed\n") }
    };
    let passed = checks.iter().all(|(_, passed)| *passed);
    let status = if passed { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    answer(status, PLAIN, checks.iter().map(line).collect())
}

fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
