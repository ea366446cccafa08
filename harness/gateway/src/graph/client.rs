//! Calls of steps: a POST over a connection that is kept for the next one.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::OnceCell,
    time::{timeout, timeout_at},
};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::{
    RouterError,
    error::{Cause, Failure},
    execute::Answer,
    plan::Service,
};

/// Idle connections older than this are closed: below the keep-alive time-out of common model servers.
const MAX_IDLE: Duration = Duration::from_secs(4);
/// Redirects that are followed, as Go's client does.
const MAX_REDIRECTS: usize = 10;
/// The administration port of a service mesh's proxy beside us.
const MESH_PROXY: &str = "http://127.0.0.1:15000/";
const MESH_TIMEOUT: Duration = Duration::from_secs(3);

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// Calls services.
pub(super) struct StepClient {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    max_body_bytes: usize,
    in_mesh: OnceCell<bool>,
}

impl StepClient {
    /// With the machine's certificate authorities where a step is called over TLS.
    pub(super) fn new(with_tls: bool, max_body_bytes: usize) -> Result<Self, RouterError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = if with_tls {
            builder
                .with_provider_and_native_roots(aws_lc_rs::default_provider())
                .map_err(RouterError::NoAuthorities)?
        } else {
            let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| RouterError::NoAuthorities(std::io::Error::other(error)))?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(config)
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .build(connector);
        Ok(Self { client, max_body_bytes, in_mesh: OnceCell::new() })
    }

    /// Posts `input` and reads the whole answer, in the time given if there is one.
    pub(super) async fn call(
        &self,
        service: &Service,
        headers: &HeaderMap,
        input: Bytes,
        limit: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let url = &service.url;
        let mut uri = match &service.uri {
            Ok(uri) => uri.clone(),
            Err(cause) => return Err(Cause::Url { url: url.clone(), cause: cause.clone() }.into()),
        };
        if uri.scheme_str() == Some("https") && self.is_in_mesh().await {
            // The proxy beside us makes the TLS connection; ours inside of it would be a second.
            uri = with_scheme(uri, "http");
        }
        let exchange = self.exchange(uri, headers, input);
        let answered = match limit.map(|limit| tokio::time::Instant::now() + limit) {
            None => exchange.await,
            Some(deadline) => timeout_at(deadline, exchange).await.unwrap_or_else(|_elapsed| {
                Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned())
            }),
        };
        answered.map_err(|cause| {
            tracing::warn!(url, cause, "step cannot be called");
            Cause::Call { url: url.clone(), cause }.into()
        })
    }

    async fn exchange(&self, mut uri: Uri, headers: &HeaderMap, input: Bytes) -> Result<Answer, String> {
        let mut headers = headers.clone();
        let mut sent = Some(input);
        for _ in 0..=MAX_REDIRECTS {
            let scheme = uri.scheme_str().unwrap_or_default();
            if !matches!(scheme, "http" | "https") {
                return Err(format!("unsupported protocol scheme {scheme:?}"));
            }
            let body: Body = match &sent {
                Some(input) => Full::new(input.clone()).boxed(),
                None => Empty::new().boxed(),
            };
            let mut request = Request::new(body);
            *request.method_mut() = if sent.is_some() { Method::POST } else { Method::GET };
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            let response = self.client.request(request).await.map_err(|error| call_cause(&error, &uri))?;
            let status = response.status();
            if let Some(target) = redirect(status, response.headers(), &uri)? {
                if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                    sent = None;
                    headers.remove(header::CONTENT_TYPE);
                }
                if target.host() != uri.host() {
                    // Credentials are for the host that they were sent to.
                    for secret in [header::AUTHORIZATION, header::COOKIE, header::WWW_AUTHENTICATE] {
                        headers.remove(secret);
                    }
                }
                uri = target;
                continue;
            }
            let body =
                Limited::new(response.into_body(), self.max_body_bytes).collect().await.map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        format!(
                            "the answer has more than {} bytes, the most that this router takes",
                            self.max_body_bytes
                        )
                    } else {
                        format!("the answer broke off: {}", innermost(error.as_ref()))
                    }
                })?;
            return Ok(Answer { status, body: body.to_bytes() });
        }
        Err(format!("stopped after {MAX_REDIRECTS} redirects"))
    }

    /// Asked once: a pod does not join a mesh later.
    async fn is_in_mesh(&self) -> bool {
        *self
            .in_mesh
            .get_or_init(|| async {
                let answer = timeout(MESH_TIMEOUT, self.client.get(Uri::from_static(MESH_PROXY))).await;
                matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::OK)
            })
            .await
    }
}

fn with_scheme(uri: Uri, scheme: &'static str) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = scheme.parse().ok();
    Uri::from_parts(parts).unwrap_or(uri)
}

/// Where an answer sends us, if it does.
fn redirect(status: StatusCode, headers: &HeaderMap, from: &Uri) -> Result<Option<Uri>, String> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(header::LOCATION) else { return Ok(None) };
    let bad = || format!("failed to parse Location header {location:?}");
    let target: Uri = location.to_str().map_err(|_| bad())?.parse().map_err(|_| bad())?;
    if target.authority().is_some() {
        return Ok(Some(target));
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = target.into_parts().path_and_query;
    Uri::from_parts(parts).map(Some).map_err(|_| bad())
}

/// Why a call failed, in the words of Go's client where it has some.
fn call_cause(error: &hyper_util::client::legacy::Error, uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let inner = innermost(error);
    let kind = io_kind(error);
    if error.is_connect() {
        return match kind {
            Some(std::io::ErrorKind::ConnectionRefused) => {
                format!("dial tcp {host}:{port}: connect: connection refused")
            }
            _ if chain(error).any(|cause| cause.to_string() == "dns error") => {
                format!("dial tcp: lookup {host}: {inner}")
            }
            _ => format!("dial tcp {host}:{port}: {inner}"),
        };
    }
    let broken = chain(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>());
    if broken.into_iter().any(|cause| cause.is_incomplete_message()) {
        return "EOF".to_owned();
    }
    inner
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn io_kind(error: &(dyn Error + 'static)) -> Option<std::io::ErrorKind> {
    chain(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind).last()
}
