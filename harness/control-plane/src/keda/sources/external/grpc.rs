//! Calls by gRPC: over one connection, with or without TLS, one message there and one or many back.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;

use super::super::http::chain;
use super::super::tls::{Connection, Tls, host_and_port};

/// Larger messages are failures: gRPC's own default.
const LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// How often an open stream's other end is asked whether it is still there: servers take more than one in five minutes for an
/// attack.
const ALIVE: Duration = Duration::from_secs(360);
/// Code of a method that the server does not have.
pub(super) const UNIMPLEMENTED: u32 = 12;
/// The message's length is behind a byte that says whether it is compressed.
const PREFIX_BYTES: usize = 5;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// gRPC's code; `None` where the connection failed.
    pub(super) code: Option<u32>,
    pub(super) message: String,
}

/// A connection to a server.
pub(super) struct Channel {
    requests: SendRequest<Full<Bytes>>,
    scheme: &'static str,
    address: String,
    driver: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Channel {
    /// Connects to `HOST:PORT`, also written as `dns:///HOST:PORT`.
    ///
    /// # Errors
    /// Why there is no connection, with the address.
    pub(super) async fn open(address: &str, tls: Option<&Tls>) -> Result<Self, String> {
        let plain = address.strip_prefix("dns:").map_or(address, |rest| rest.trim_start_matches('/'));
        let (host, port) = host_and_port(plain)
            .ok_or_else(|| format!("scalerAddress: {address:?} is not allowed, expected HOST:PORT"))?;
        let connection = Connection::open(host, port, tls, &[b"h2"]).await?;
        let (requests, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(ALIVE)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(|error| format!("{address}: {}", chain(&error)))?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = driver.await;
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { requests, scheme, address: plain.to_owned(), driver })
    }

    /// Calls a method that answers once.
    ///
    /// # Errors
    /// What the server refused, or how the connection broke.
    pub(super) async fn call(&self, method: &str, message: &[u8]) -> Result<Bytes, Fault> {
        let mut stream = self.stream(method, message).await?;
        let answer = stream.next().await?;
        // The status is behind the message.
        stream.next().await?;
        answer.ok_or_else(|| stream.broken("there is no answer"))
    }

    /// Calls a method that answers many times.
    ///
    /// # Errors
    /// What the server refused, or how the connection broke.
    pub(super) async fn stream(&self, method: &str, message: &[u8]) -> Result<Stream, Fault> {
        let place = format!("{} {method}", self.address);
        let broken = |why: String| Fault { code: None, message: format!("{place}: {why}") };
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        framed.extend(message);
        let uri = format!("{}://{}/externalscaler.ExternalScaler/{method}", self.scheme, self.address);
        let request = http::Request::post(uri)
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("windtunnel/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(framed)))
            .map_err(|error| broken(error.to_string()))?;
        let response = self.requests.clone().send_request(request).await;
        let response = response.map_err(|error| broken(chain(&error)))?;
        let mut stream = Stream { body: None, rest: BytesMut::new(), place: place.clone() };
        // A server that refuses at once has nothing but headers.
        if response.headers().contains_key("grpc-status") {
            stream.status(response.headers())?;
            return Ok(stream);
        }
        if response.status() != http::StatusCode::OK {
            return Err(broken(format!("this is no gRPC server, it answers HTTP {}", response.status())));
        }
        stream.body = Some(response.into_body());
        Ok(stream)
    }
}

/// Answers of a call.
pub(super) struct Stream {
    body: Option<Incoming>,
    rest: BytesMut,
    place: String,
}

impl Stream {
    /// The next answer; `None` after the last one.
    ///
    /// # Errors
    /// What the server refused, or how the connection broke.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(Some(message));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(self.broken(&chain(&error))),
                None => return Err(self.broken("the stream ended without a status")),
            };
            match frame.into_data() {
                Ok(data) => self.rest.extend_from_slice(&data),
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    self.body = None;
                    self.status(&trailers)?;
                }
            }
        }
    }

    /// A whole message of what has come.
    fn message(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some((prefix, rest)) = self.rest.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [is_compressed, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if is_compressed != 0 || length > LIMIT_BYTES {
            return Err(self.broken("the answer is compressed or larger than 4 MiB"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.rest.advance(PREFIX_BYTES);
        Ok(Some(self.rest.split_to(length).freeze()))
    }

    fn status(&self, headers: &http::HeaderMap) -> Result<(), Fault> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let code = text("grpc-status").and_then(|code| code.parse().ok());
        match code {
            Some(0) => Ok(()),
            Some(code) => {
                let words = percent_decode_str(text("grpc-message").unwrap_or_default()).decode_utf8_lossy();
                let name = NAMES.get(code as usize).copied().unwrap_or("UNKNOWN");
                Err(Fault { code: Some(code), message: format!("{}: {name}: {words}", self.place) })
            }
            None => Err(self.broken("the stream ended without a status")),
        }
    }

    fn broken(&self, why: &str) -> Fault {
        Fault { code: None, message: format!("{}: {why}", self.place) }
    }
}

/// Names of codes, by number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
