//! The server's side of a WebSocket: the handshake's answer, and messages over the upgraded connection.

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::Extras;
use crate::{http_layer::ResponseBody, status::ApiError};

/// Largest message that a client may send, in bytes.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// A WebSocket over the client's connection.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A handshake that is complete but for its answer.
pub(super) struct Handshake {
    upgrade: OnUpgrade,
    accept_key: HeaderValue,
    /// The subprotocol that was chosen; empty if the client has named none.
    pub(super) protocol: &'static str,
}

impl Handshake {
    /// Chooses the first of the client's subprotocols that the server speaks.
    ///
    /// # Errors
    /// 400 if the client does not ask for a WebSocket, or only for protocols that are unknown here.
    pub(super) fn begin(extras: Extras<'_>, known: &[&'static str]) -> Result<Self, ApiError> {
        let headers = extras.headers;
        let asks = has_token(headers, &header::CONNECTION, "upgrade")
            && has_token(headers, &header::UPGRADE, "websocket");
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let (Some(upgrade), Some(key), true) = (extras.upgrade, key, asks) else {
            let why = if has_token(headers, &header::UPGRADE, "spdy/3.1") {
                "unable to upgrade: this server streams over WebSocket only; use a client of Kubernetes 1.30 or newer"
            } else {
                "Upgrade request required"
            };
            return Err(ApiError::bad_request(why));
        };
        let accept_key = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let offered: Vec<&str> = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
        let chosen = offered.iter().find_map(|offer| known.iter().find(|known| *known == offer).copied());
        let protocol = match chosen {
            Some(protocol) => protocol,
            None if offered.is_empty() => "",
            None => {
                let why = format!(
                    "unable to upgrade: no subprotocol of {offered:?} is known here; use one of {known:?}"
                );
                return Err(ApiError::bad_request(why));
            }
        };
        Ok(Self { upgrade, accept_key, protocol })
    }

    /// The answer to the handshake; `serve` gets the socket once the client has it.
    pub(super) fn finish(
        self,
        serve: impl FnOnce(Socket) -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Response<ResponseBody> {
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept_key);
        if !self.protocol.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol));
        }
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            match upgrade.await {
                Ok(connection) => {
                    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT));
                    let io = TokioIo::new(connection);
                    serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
                }
                Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
            }
        });
        response
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}
