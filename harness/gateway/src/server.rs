//! The listening side: accepts HTTP/1.1 and HTTP/2 with prior knowledge, and drains on shutdown.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, broadcast},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use windtunnel_kernel::autoscale::kpa;

use crate::{
    meter::{self, RevisionStat},
    proxy,
    router::Router,
    table::{RevisionKey, RouteTable},
};

/// A client that sends no complete request head within this time is disconnected.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after `accept` failed, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How long after a second of the clock its report comes.
const REPORT_MARGIN: Duration = Duration::from_millis(2);

/// How a [`Gateway`] runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Client connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Reports that a slow receiver of [`GatewayHandle::stats`] may be behind before it loses the oldest.
    pub stats_capacity: usize,
    /// How long [`Gateway::shutdown`] waits for requests to end before it breaks them off.
    pub drain_timeout: Duration,
    /// Seed of the random choice between pods.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            stats_capacity: 4096,
            drain_timeout: Duration::from_secs(30),
            seed: 42,
        }
    }
}

/// A running gateway. Dropping it stops it at once; [`Gateway::shutdown`] lets requests end first.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    handle: GatewayHandle,
    options: Options,
    /// No new connections and no further requests on kept-alive ones.
    stopping: CancellationToken,
    /// Everything ends now.
    aborting: CancellationToken,
    connections: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
}

/// Controls a [`Gateway`] from elsewhere.
#[derive(Clone)]
pub struct GatewayHandle {
    address: SocketAddr,
    router: Arc<Router>,
    stats: broadcast::Sender<RevisionStat>,
}

impl std::fmt::Debug for GatewayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayHandle").finish_non_exhaustive()
    }
}

impl GatewayHandle {
    /// Where the gateway listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the whole route table, atomically. A split whose revisions and shares did not change keeps its
    /// position; requests on their way to pods that are gone finish there.
    pub fn apply(&self, table: RouteTable) {
        self.router.apply(table);
    }

    /// The concurrency reports from now on: one for each busy revision each second, and one at once for the first
    /// request of an idle revision.
    #[must_use]
    pub fn stats(&self) -> broadcast::Receiver<RevisionStat> {
        self.stats.subscribe()
    }

    /// Requests between arrival and the last byte of their answer, those that wait for a pod included.
    #[must_use]
    pub fn in_flight(&self, revision: &RevisionKey) -> u32 {
        self.router.in_flight(revision)
    }
}

impl Gateway {
    /// Listens on `address` (port 0 lets the system choose) with an empty route table.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stats, _) = broadcast::channel(options.stats_capacity);
        let router = Arc::new(Router::new(stats.clone(), options.seed));
        let stopping = CancellationToken::new();
        let aborting = CancellationToken::new();
        let connections = TaskTracker::new();
        let acceptor = Acceptor {
            listener,
            router: Arc::clone(&router),
            slots: Arc::new(Semaphore::new(options.max_connections)),
            stopping: stopping.clone(),
            aborting: aborting.clone(),
            connections: connections.clone(),
        };
        let tasks =
            vec![tokio::spawn(acceptor.run()), tokio::spawn(report(Arc::clone(&router), aborting.clone()))];
        let handle = GatewayHandle { address, router, stats };
        Ok(Self { address, handle, options, stopping, aborting, connections, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle for the control plane.
    #[must_use]
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// Stops accepting, lets the requests on their way end (at most [`Options::drain_timeout`]) and closes every
    /// connection.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        self.connections.close();
        if timeout(self.options.drain_timeout, self.connections.wait()).await.is_err() {
            tracing::warn!(
                left = self.connections.len(),
                "requests broken off at the end of the drain timeout"
            );
            self.aborting.cancel();
            self.connections.wait().await;
        }
        self.aborting.cancel();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "gateway task ended abnormally");
            }
        }
        // No pod is connected to any more.
        self.handle.apply(RouteTable::default());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.aborting.cancel();
    }
}

/// Reports with every second of the clock; a little after it, so that a timer that is early by a hair does not report
/// for the second before.
async fn report(router: Arc<Router>, aborting: CancellationToken) {
    loop {
        let now_ns = meter::now_ns();
        let left = Duration::from_nanos(kpa::next_report_ns(now_ns) - now_ns) + REPORT_MARGIN;
        if aborting.run_until_cancelled(sleep(left)).await.is_none() {
            return;
        }
        router.report();
    }
}

struct Acceptor {
    listener: TcpListener,
    router: Arc<Router>,
    slots: Arc<Semaphore>,
    stopping: CancellationToken,
    aborting: CancellationToken,
    connections: TaskTracker,
}

impl Acceptor {
    async fn run(self) {
        loop {
            let accepted = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            let Some((slot, accepted)) = self.stopping.run_until_cancelled(accepted).await else { return };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let serving =
                Connection { router: Arc::clone(&self.router), stopping: self.stopping.clone(), client };
            let aborting = self.aborting.clone();
            self.connections.spawn(async move {
                // Breaks the connection off, requests included, when the drain timeout is over.
                let _ = aborting.run_until_cancelled(serving.serve(stream)).await;
                drop(slot);
            });
        }
    }
}

struct Connection {
    router: Arc<Router>,
    stopping: CancellationToken,
    client: SocketAddr,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch Nagle's algorithm off");
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder.http2().timer(TokioTimer::new());
        let router = self.router;
        let client = self.client.ip();
        let service = service_fn(move |request| {
            let router = Arc::clone(&router);
            async move { Ok::<_, std::convert::Infallible>(proxy::serve(&router, request, client).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, client = %self.client, "client connection ended");
        }
    }
}
