//! One request to the gateway and what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// Most bytes of an answer that are read; a longer one counts as an error.
const LARGEST_ANSWER_BYTES: usize = 16 << 20;

/// Sends requests to one service behind one gateway over pooled HTTP/1.1 connections.
#[derive(Clone)]
pub(crate) struct ServiceClient {
    http: Client<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
    host: String,
    path: String,
    timeout: Duration,
}

/// What came back.
pub(crate) struct Answer {
    /// HTTP status; 0 where there was no answer.
    pub(crate) status: u16,
    /// Which revision answered, by the gateway's header.
    pub(crate) revision: Option<String>,
    /// The share that the revision had when the request was routed.
    pub(crate) weight_percent: u8,
    /// Time in the activator for lack of a ready pod.
    pub(crate) held_ns: u64,
    /// The answer's body, empty where there was none.
    pub(crate) body: Bytes,
    /// Why the request failed, where it did.
    pub(crate) error: Option<String>,
}

impl ServiceClient {
    /// A client for the service known as `host` at the gateway; `path` is the inference endpoint.
    pub(crate) fn new(gateway: SocketAddr, host: String, path: String, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { http, gateway, host, path, timeout }
    }

    /// Sends one body and reads the whole answer, within the client's time-out.
    pub(crate) async fn infer(&self, body: Bytes) -> Answer {
        match tokio::time::timeout(self.timeout, self.exchange(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(message)) => Answer::failed(message),
            Err(_) => Answer::failed(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<Answer, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{}", self.gateway, self.path))
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let response = self.http.request(request).await.map_err(|error| chain(&error))?;
        let (parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, LARGEST_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| format!("the answer broke off: {error}"))?
            .to_bytes();
        let status = parts.status.as_u16();
        Ok(Answer {
            status,
            revision: text(&parts.headers, "x-windtunnel-revision").map(str::to_owned),
            weight_percent: number(&parts.headers, "x-windtunnel-weight")
                .map_or(100, |percent| percent.min(100) as u8),
            held_ns: number(&parts.headers, "x-windtunnel-held-us").unwrap_or(0).saturating_mul(1_000),
            error: (!parts.status.is_success()).then(|| format!("HTTP {status}: {}", beginning(&body))),
            body,
        })
    }
}

impl Answer {
    fn failed(message: String) -> Self {
        Self {
            status: 0,
            revision: None,
            weight_percent: 100,
            held_ns: 0,
            body: Bytes::new(),
            error: Some(message),
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// The first 200 characters of a body, on one line.
fn beginning(body: &Bytes) -> String {
    String::from_utf8_lossy(body).chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
