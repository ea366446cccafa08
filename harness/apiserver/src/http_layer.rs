//! The thin HTTP layer: requests in, answers and watch streams out, over a socket or in process.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    connect, external_metrics,
    pipeline::{Answer, Cursor, Payload, Request, WatchRequest},
    security::{Peer, gate, pki::user_of},
    server::ApiServer,
    status::ApiError,
};

/// Body of every response.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, Infallible>;

/// Connections at one time; further ones wait in the system's queue.
const LIMIT_CONNECTIONS: usize = 10_000;
/// What is read of a body that is too large, so that the client is still listening when it is told.
const REFUSED_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// A connection over HTTP/2 that is silent for this long is asked whether somebody is there, and has as long to answer.
const PING: Duration = Duration::from_secs(30);
/// A client must finish its part of the TLS handshake within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Open requests get this long to end at shutdown.
const DRAIN: Duration = Duration::from_millis(500);

/// Serves connections until `shutdown`.
pub(crate) async fn serve(
    server: ApiServer,
    listener: TcpListener,
    tls: TlsAcceptor,
    shutdown: CancellationToken,
) {
    let request_limit = Duration::from_secs(server.options().request_limit_s.max(1));
    let slots = Arc::new(Semaphore::new(LIMIT_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, slot)) = accepted else { continue };
        let server = server.clone();
        let shutdown = shutdown.clone();
        let tls = tls.clone();
        connections.spawn(async move {
            let handshake = timeout(HANDSHAKE_LIMIT.min(request_limit), tls.accept(stream));
            let stream = match shutdown.run_until_cancelled(handshake).await {
                Some(Ok(Ok(stream))) => stream,
                Some(Ok(Err(error))) => {
                    server.metrics().handshake_failed();
                    return tracing::debug!(%error, "TLS handshake failed");
                }
                Some(Err(_)) | None => return,
            };
            let speaks_http_2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let chain = stream.get_ref().1.peer_certificates();
            let peer = Peer::Connection(
                chain.and_then(|chain| chain.first()).and_then(|leaf| user_of(leaf)).map(Arc::new),
            );
            let is_used = Arc::new(AtomicBool::new(false));
            let used = Arc::clone(&is_used);
            let service = hyper::service::service_fn(move |request| {
                used.store(true, Ordering::Relaxed);
                let (server, peer) = (server.clone(), peer.clone());
                async move { Ok::<_, Infallible>(respond(&server, &peer, request).await) }
            });
            // Decided by ALPN, not by the first bytes: guessing has no time limit.
            let builder = auto::Builder::new(TokioExecutor::new());
            let mut builder = if speaks_http_2 { builder.http2_only() } else { builder.http1_only() };
            builder.http1().timer(TokioTimer::new()).header_read_timeout(request_limit);
            let pings = PING.min(request_limit);
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(1_000)
                .keep_alive_interval(pings)
                .keep_alive_timeout(pings);
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            tokio::pin!(connection);
            // A client that has got its connection and asks for nothing holds a place that others need.
            let unused = async {
                tokio::time::sleep(request_limit).await;
                if is_used.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = unused => {}
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(DRAIN, connection).await;
                }
            }
            drop(slot);
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, slot))
        }
        Err(error) => {
            // Out of descriptors, most likely: give others time to close theirs.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Answers one request, and counts it.
pub(crate) async fn respond<B>(
    server: &ApiServer,
    peer: &Peer,
    request: http::Request<B>,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let observed = server.metrics().begin(&head);
    let response = carry_out(server, peer, head, body).await;
    observed.end(server, response)
}

async fn carry_out<B>(server: &ApiServer, peer: &Peer, mut head: Parts, body: B) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let user = match gate(server, peer, &head) {
        Ok(user) => user,
        Err(refusal) => {
            drain(body).await;
            return plain(Answer::error(&refusal));
        }
    };
    let limit = server.options().body_limit_bytes;
    let request_limit = Duration::from_secs(server.options().request_limit_s.max(1));
    let body = match timeout(request_limit, read_body(body, limit)).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => {
            let message = format!("Request entity too large: limit is {limit}");
            return plain(Answer::error(&ApiError::new(413, "RequestEntityTooLarge", message)));
        }
        Ok(Err(why)) => return plain(Answer::error(&ApiError::bad_request(why))),
        Err(_) => {
            return plain(Answer::error(&ApiError::new(
                408,
                "Timeout",
                "the request body did not arrive in time",
            )));
        }
    };
    let text = |name: header::HeaderName| {
        let values = head.headers.get_all(name);
        values.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        accept: text(header::ACCEPT),
        content_type: text(header::CONTENT_TYPE),
        user_agent: text(header::USER_AGENT),
        if_none_match: text(header::IF_NONE_MATCH),
        body,
        user,
    };
    let upgrade = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let extras = connect::Extras { headers: &head.headers, upgrade };
    if let Some(response) = connect::respond(server, &request, extras).await {
        return response;
    }
    if request.path == "/metrics" && matches!(request.method.as_str(), "GET" | "HEAD") {
        let mut answer = Answer::text(200, server.metrics().text(&server.read()));
        answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
        return plain(answer);
    }
    if let Some(answer) = external_metrics::respond(server, &request).await {
        return plain(answer);
    }
    let answer = server.handle(&request).await;
    if let Payload::Watch(watch) = answer.payload {
        return follow(server, *watch, &answer.warnings);
    }
    plain(answer)
}

/// Reads a body; one that is larger than the limit is let go by, and is `None`.
///
/// # Errors
/// Why it broke off.
async fn read_body<B>(body: B, limit: usize) -> Result<Option<Bytes>, String>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut whole: Vec<u8> = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.into().to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > REFUSED_LIMIT_BYTES {
            return Ok(None);
        }
        if size > limit {
            (first, whole) = (Bytes::new(), Vec::new());
        } else if size == data.len() {
            // Most bodies come in one piece.
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok((size <= limit).then(|| if whole.is_empty() { first } else { Bytes::from(whole) }))
}

/// Reads the small body of a request that is refused by its head alone, so that the connection can go on; with a body
/// that is larger or late the connection ends.
async fn drain<B>(body: B)
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    const LIMIT_BYTES: usize = 256 * 1024;
    const LIMIT: Duration = Duration::from_secs(2);
    let _ = timeout(LIMIT, Limited::new(body, LIMIT_BYTES).collect()).await;
}

pub(crate) fn plain(answer: Answer) -> Response<ResponseBody> {
    let bytes = match answer.payload {
        Payload::Empty | Payload::Watch(_) => Bytes::new(),
        Payload::Json(value) => {
            let mut text = value.to_string();
            text.push('\n');
            Bytes::from(text)
        }
        Payload::Bytes(bytes) => bytes,
        Payload::List(list) => Bytes::from(list.json_line()),
        Payload::Text(text) => Bytes::from(text),
    };
    let mut response = Response::new(Full::new(bytes).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(etag) = answer.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        headers.insert(header::ETAG, etag);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    add_warnings(headers, &answer.warnings);
    response
}

fn add_warnings(headers: &mut http::HeaderMap, warnings: &[String]) {
    /// As many bytes of warnings as the real server sends.
    const LIMIT_BYTES: usize = 4 * 1024;
    let mut size = 0;
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        size += quoted.len();
        if size > LIMIT_BYTES {
            break;
        }
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(header::WARNING, value);
        }
    }
}

fn follow(server: &ApiServer, watch: WatchRequest, warnings: &[String]) -> Response<ResponseBody> {
    let lines = events(server.clone(), watch).map(|lines| Ok::<_, Infallible>(Frame::data(lines)));
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    add_warnings(headers, warnings);
    response
}

struct Follower {
    server: ApiServer,
    cursor: Cursor,
    signal: tokio::sync::watch::Receiver<u64>,
    end: Instant,
    next_bookmark: Instant,
    over: bool,
}

/// The events of a watch. Nothing is read ahead of the client.
fn events(server: ApiServer, watch: WatchRequest) -> impl Stream<Item = Bytes> + Send + 'static {
    let signal = server.subscribe(watch.cursor.shelf());
    let seconds = watch.timeout_s.unwrap_or(server.options().watch_limit_s).min(24 * 3600);
    let follower = Follower {
        end: Instant::now() + Duration::from_secs(seconds),
        next_bookmark: Instant::now() + Duration::from_secs(server.options().bookmark_interval_s.max(1)),
        cursor: watch.cursor,
        signal,
        server,
        over: false,
    };
    stream::unfold(follower, |mut follower| async move {
        let lines = follower.next().await?;
        Some((lines, follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over || self.cursor.ended() {
                return None;
            }
            self.signal.borrow_and_update();
            let (lines, current) = {
                let state = self.server.read();
                let visible = self.server.visible(&state);
                (self.cursor.step(&state, visible, jiff::Timestamp::now()), visible)
            };
            if !lines.is_empty() {
                return Some(Bytes::from(lines));
            }
            if self.cursor.revision() < current {
                continue;
            }
            tokio::select! {
                changed = self.signal.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = sleep_until(self.next_bookmark) => {
                    let interval = Duration::from_secs(self.server.options().bookmark_interval_s.max(1));
                    self.next_bookmark = Instant::now() + interval;
                    let lines = self.cursor.idle_bookmark(jiff::Timestamp::now());
                    if !lines.is_empty() {
                        return Some(Bytes::from(lines));
                    }
                }
                () = sleep_until(self.end) => {
                    self.over = true;
                    let lines = self.cursor.idle_bookmark(jiff::Timestamp::now());
                    if !lines.is_empty() {
                        return Some(Bytes::from(lines));
                    }
                }
            }
        }
    }
}
