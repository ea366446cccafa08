//! The webhooks over HTTPS, for API servers that are not embedded, with certificates that can be replaced while
//! connections are open.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::LiveConfig;
use super::certificates::Identity;
use super::review::{PATHS, ReviewError, Webhooks};
use crate::metrics::Metrics;

/// The largest review that is read: an API server sends at most two objects of 3 MiB.
const LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// A client that does not finish its handshake or its review within this time is cut off.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long open connections have when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why the webhooks cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address} for webhooks: {source}; choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Certificate and key are not what TLS needs.
    #[error("the webhooks' certificate cannot be used: {0}; delete its Secret to have a new one made")]
    Certificate(String),
}

/// The running server. It stops with [`WebhookServer::stop`] or when the value is dropped.
#[derive(Debug)]
pub struct WebhookServer {
    address: SocketAddr,
    tls: Arc<RwLock<Arc<ServerConfig>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl WebhookServer {
    /// Serves the webhooks over `live` on `address` (port 0 for any).
    ///
    /// # Errors
    /// An address or a certificate that cannot be used.
    pub async fn start(
        address: SocketAddr,
        identity: &Identity,
        live: &LiveConfig,
        metrics: &Metrics,
    ) -> Result<Self, ServeError> {
        let tls = Arc::new(RwLock::new(Arc::new(server_config(identity)?)));
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stop = CancellationToken::new();
        let webhooks = Arc::new(Counted { webhooks: Webhooks::new(live), metrics: metrics.clone() });
        let accepting = accept(listener, Arc::clone(&tls), webhooks, stop.clone());
        let task = tokio::spawn(accepting);
        Ok(Self { address, tls, stop, task })
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Uses another certificate for connections from now on.
    ///
    /// # Errors
    /// A certificate that cannot be used; the old one stays in use.
    pub fn replace(&self, identity: &Identity) -> Result<(), ServeError> {
        let config = Arc::new(server_config(identity)?);
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Takes no more connections, and waits a little for the open ones.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the webhook server's task failed");
        }
    }
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn server_config(identity: &Identity) -> Result<ServerConfig, ServeError> {
    let wrong = |error: &dyn std::fmt::Display| ServeError::Certificate(error.to_string());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn accept(
    listener: TcpListener,
    tls: Arc<RwLock<Arc<ServerConfig>>>,
    webhooks: Arc<Counted>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let config = Arc::clone(&tls.read().unwrap_or_else(PoisonError::into_inner));
                    connections.spawn(connection(stream, config, Arc::clone(&webhooks), stop.clone()));
                }
                Err(error) => {
                    // Out of files: others will be closed.
                    tracing::warn!(%error, "a webhook connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_WITHIN, rest).await.is_err() {
        tracing::warn!("webhook connections were cut off while stopping");
    }
}

async fn connection(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    webhooks: Arc<Counted>,
    stop: CancellationToken,
) {
    let stream = match timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a webhook client did not agree on TLS");
            return;
        }
        Err(_) => return,
    };
    let service = hyper::service::service_fn(move |request| {
        let webhooks = Arc::clone(&webhooks);
        async move { Ok::<_, Infallible>(webhooks.respond(request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => break,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The webhooks, and where their answers are counted.
struct Counted {
    webhooks: Webhooks,
    metrics: Metrics,
}

/// A review that is being answered; it counts as broken off if it is dropped before its end.
struct Review<'a> {
    metrics: &'a Metrics,
    path: &'a str,
    since: Instant,
    code: u16,
}

/// The status of a request whose client went away.
const CLOSED: u16 = 499;

impl Drop for Review<'_> {
    fn drop(&mut self) {
        self.metrics.reviewed(self.path, self.code, self.since.elapsed());
    }
}

impl Counted {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        if path == "/healthz" || path == "/readyz" {
            return plain(StatusCode::OK, "ok");
        }
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "webhooks take POST");
        }
        // Paths of others must not fill the memory.
        let Some((known, _)) = PATHS.iter().find(|(known, _)| *known == path) else {
            return plain(StatusCode::NOT_FOUND, &ReviewError::UnknownPath { path }.to_string());
        };
        self.metrics.review_begun(known);
        let mut review = Review { metrics: &self.metrics, path: known, since: Instant::now(), code: CLOSED };
        let response = self.answer(known, request).await;
        review.code = response.status().as_u16();
        response
    }

    async fn answer(&self, path: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = match timeout(PATIENCE, Limited::new(request.into_body(), LIMIT_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                return plain(StatusCode::BAD_REQUEST, &format!("the body was not read: {error}"));
            }
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        // An object that is too much for a reviewer is refused, and the connection goes on.
        match catch_unwind(AssertUnwindSafe(|| self.webhooks.answer(path, &body))) {
            Ok(Ok(review)) => {
                let mut response = Response::new(Full::new(Bytes::from(review.to_string())));
                let json = header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Ok(Err(error @ ReviewError::UnknownPath { .. })) => {
                plain(StatusCode::NOT_FOUND, &error.to_string())
            }
            Ok(Err(error)) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the review failed: an internal error"),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
