//! Probes by the gRPC health checking protocol (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use tokio::net::TcpStream;

use super::{probe::words, sandbox::Sandbox};

/// Field 1 of the answer, a number: the service's status.
const STATUS_TAG: u8 = 0x08;
const SERVING: u8 = 1;

/// Asks the service's health; `SERVING` is good.
///
/// # Errors
/// Why the answer is bad.
pub(super) async fn ask(sandbox: &Sandbox, grpc: &GRPCAction, timeout: Duration) -> Result<(), String> {
    let port = u16::try_from(grpc.port).map_err(|_| format!("port {} is none", grpc.port))?;
    let port = sandbox.surroundings.ports.get(&port).copied().unwrap_or(port);
    let address = format!("{}:{port}", sandbox.surroundings.pod_ip);
    let service = grpc.service.clone().unwrap_or_default();
    match tokio::time::timeout(timeout, check(&address, &service)).await {
        Ok(result) => result,
        Err(_) => Err(format!("timeout: failed to connect service {address:?} within {timeout:?}")),
    }
}

async fn check(address: &str, service: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("timeout: failed to connect service {address:?}: {}", words(&error)))?;
    let failed = |error: hyper::Error| format!("error: health rpc failed: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(failed)?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let early = grpc_status(answer.headers());
    let body = answer.into_body().collect().await.map_err(failed)?;
    let status = body.trailers().and_then(grpc_status).or(early);
    let data = body.to_bytes();
    driver.abort();
    match status {
        Some(0) => verdict(&data),
        Some(12) => {
            Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                .into())
        }
        Some(code) => Err(format!("error: health rpc failed: code {code}")),
        None => Err("error: health rpc failed: the answer has no grpc-status".into()),
    }
}

fn grpc_status(headers: &http::HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A `HealthCheckRequest` with its frame: not compressed, length, field 1 the service's name.
fn message(service: &str) -> Bytes {
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        body.push(u8::try_from(length).unwrap_or(0));
        body.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    framed.extend_from_slice(&body);
    framed.into()
}

fn verdict(data: &[u8]) -> Result<(), String> {
    let word = match data.get(5..) {
        Some([STATUS_TAG, SERVING, ..]) => return Ok(()),
        Some([STATUS_TAG, 2, ..]) => "NOT_SERVING",
        Some([STATUS_TAG, 3, ..]) => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Err(format!("service unhealthy (responded with {word:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a healthy gRPC server is restarted. The bytes follow from the protobuf encoding by hand.
    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"x".repeat(200))[..9], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01, b'x']);
        assert_eq!(verdict(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert!(verdict(&[0, 0, 0, 0, 2, 8, 2]).expect_err("bad").contains("NOT_SERVING"));
        assert!(verdict(&[0, 0, 0, 0, 0]).expect_err("bad").contains("UNKNOWN"));
    }
}
