//! The listening side of the graph router.

use std::{
    fmt,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Graph, Profile, Propagation, RouterError,
    client::StepClient,
    error::Failure,
    execute::{Answer, Run},
    gjson,
    splitter::Dice,
    timed::{Progress, Timed},
};

/// Where a kubelet asks whether requests may come.
const READY_PATH: &str = "/readyz";
/// Pause after `accept` failed, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How a [`GraphRouter`] runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Headers that go on to the steps.
    pub propagation: Propagation,
    /// Whose behaviour counts.
    pub profile: Profile,
    /// Seed of the splitters' choices; `None` differs from router to router.
    pub seed: Option<u64>,
    /// Longest request body and step answer, in bytes.
    pub max_body_bytes: usize,
    /// A router that ends serves on until no request has come for this long: who sends them hears late that it ends.
    pub quiet: Duration,
    /// Longest that it serves on.
    pub drain_delay: Duration,
    /// Longest that it then waits for requests to end before it breaks them off.
    pub drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            propagation: Propagation::default(),
            profile: Profile::default(),
            seed: None,
            max_body_bytes: 256 * 1024 * 1024,
            quiet: Duration::from_secs(1),
            drain_delay: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// A running graph router. Dropping it stops it at once; [`GraphRouter::shutdown`] lets requests end first.
pub struct GraphRouter {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    aborting: CancellationToken,
    connections: TaskTracker,
    acceptor: JoinHandle<()>,
}

impl fmt::Debug for GraphRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphRouter").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    graph: Graph,
    client: StepClient,
    dice: Dice,
    options: Options,
    ending: AtomicBool,
    /// Requests to the graph that have come so far.
    arrived: AtomicU64,
    /// Those that have not ended.
    in_flight: AtomicU64,
}

/// Ends a connection without an answer.
#[derive(Debug, Error)]
enum Abandoned {
    #[error("no answer within the graph's serverWrite timeout")]
    WriteTimeout,
    #[error("the request broke off")]
    Client,
}

impl GraphRouter {
    /// Serves a graph on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address cannot be bound, or a step needs certificate authorities and there are none.
    pub async fn bind(address: SocketAddr, graph: Graph, options: Options) -> Result<Self, RouterError> {
        let client = StepClient::new(graph.has_https(), options.max_body_bytes)?;
        let listener =
            TcpListener::bind(address).await.map_err(|cause| RouterError::Listen { address, cause })?;
        let address = listener.local_addr().map_err(|cause| RouterError::Listen { address, cause })?;
        let shared = Arc::new(Shared {
            dice: Dice::new(options.seed),
            graph,
            client,
            options,
            ending: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        });
        let (stopping, aborting) = (CancellationToken::new(), CancellationToken::new());
        let connections = TaskTracker::new();
        let acceptor = tokio::spawn(accept(
            listener,
            Arc::clone(&shared),
            stopping.clone(),
            aborting.clone(),
            connections.clone(),
        ));
        Ok(Self { address, shared, stopping, aborting, connections, acceptor })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests on their way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// `/readyz` answers 503 from now on; everything else is served as before.
    pub fn begin_shutdown(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
    }

    /// Refuses readiness, serves on until no request comes any more ([`Options::quiet`], at most [`Options::drain_delay`]),
    /// lets the last requests end ([`Options::drain_timeout`]) and closes every connection.
    pub async fn shutdown(mut self) {
        self.begin_shutdown();
        let deadline = Instant::now() + self.shared.options.drain_delay;
        let _ = timeout_at(deadline, async {
            loop {
                let before = self.shared.arrived.load(Ordering::SeqCst);
                sleep(self.shared.options.quiet).await;
                if self.shared.arrived.load(Ordering::SeqCst) == before {
                    return;
                }
            }
        })
        .await;
        self.stopping.cancel();
        self.connections.close();
        if timeout(self.shared.options.drain_timeout, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.in_flight(), "requests broken off at the end of the drain timeout");
            self.aborting.cancel();
            self.connections.wait().await;
        }
        if let Err(error) = (&mut self.acceptor).await {
            tracing::error!(%error, "acceptor ended abnormally");
        }
    }
}

impl Drop for GraphRouter {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.aborting.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    stopping: CancellationToken,
    aborting: CancellationToken,
    connections: TaskTracker,
) {
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = connection(Arc::clone(&shared), stream, stopping.clone());
        let aborting = aborting.clone();
        connections.spawn(async move {
            let _ = aborting.run_until_cancelled(serving).await;
        });
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, stopping: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch Nagle's algorithm off");
    }
    let (stream, progress) = Timed::new(stream, &shared.graph.timeouts);
    let service = service_fn(move |request| {
        let (shared, progress) = (Arc::clone(&shared), progress.clone());
        async move { shared.answer(request, &progress).await }
    });
    // Slow heads are `Timed`'s business.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended");
    }
}

/// Counts a request out also when its connection breaks.
struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    async fn answer(
        &self,
        request: Request<Incoming>,
        progress: &Progress,
    ) -> Result<Response<Full<Bytes>>, Abandoned> {
        let response = if request.uri().path() == READY_PATH {
            Ok(self.ready())
        } else {
            self.arrived.fetch_add(1, Ordering::SeqCst);
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let _counted = InFlight(&self.in_flight);
            match self.graph.timeouts.write {
                None => self.route(request, progress).await,
                // Upstream's client sees its connection closed, too.
                Some(limit) => timeout(limit, self.route(request, progress))
                    .await
                    .unwrap_or(Err(Abandoned::WriteTimeout)),
            }
        };
        progress.answered();
        response
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.ending.load(Ordering::SeqCst) {
            respond(StatusCode::SERVICE_UNAVAILABLE, Some("text/plain; charset=utf-8"), "shutting down\n")
        } else {
            respond(StatusCode::OK, None, "")
        }
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        progress: &Progress,
    ) -> Result<Response<Full<Bytes>>, Abandoned> {
        let (head, body) = request.into_parts();
        let input = match Limited::new(body, self.options.max_body_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let cause = format!(
                    "the request body has more than {} bytes, the most that this router takes",
                    self.options.max_body_bytes
                );
                return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE, &cause));
            }
            Err(_broken) => return Err(Abandoned::Client),
        };
        progress.request_read();
        let run = Run {
            graph: &self.graph,
            client: &self.client,
            headers: self.options.propagation.select(&head.headers),
            dice: &self.dice,
            profile: self.options.profile,
        };
        Ok(match run.node(self.graph.root, input).await {
            Ok(Answer { status, body }) => respond(status, content_type(&body), body),
            Err(Failure { status, cause }) => {
                tracing::warn!(%cause, %status, "failed to process request");
                refuse(status, &cause.to_string())
            }
        })
    }
}

/// JSON is what parses as such; of the rest, text is told from bytes.
fn content_type(body: &[u8]) -> Option<&'static str> {
    if gjson::is_valid(body) {
        Some("application/json")
    } else if body.is_empty() {
        None
    } else if std::str::from_utf8(body).is_ok() {
        Some("text/plain; charset=utf-8")
    } else {
        Some("application/octet-stream")
    }
}

fn refuse(status: StatusCode, cause: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"error": "Failed to process request", "cause": cause});
    respond(status, Some("application/json"), body.to_string())
}

fn respond(
    status: StatusCode,
    content_type: Option<&'static str>,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}
