//! One pod address: its connections, and whether it can be reached.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::replay::AttemptBody;

/// A pod that does not accept a connection for this long is treated as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections that are kept for an endpoint.
const MAX_IDLE: usize = 256;
/// Idle connections older than this are closed: below the keep-alive time-out of common model servers.
const MAX_IDLE_AGE: Duration = Duration::from_secs(4);
/// How long a connection may take to become reusable after the last byte of an answer.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A pod's address with its pool of connections.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    idle: Mutex<Vec<Idle>>,
    /// Gone from the route table: nothing is kept for it any more.
    retired: AtomicBool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection to a pod that carries one request at a time.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<AttemptBody>,
    /// Bytes that the pod has sent on it so far.
    received: Arc<AtomicU64>,
    /// True once it has carried a whole exchange.
    pub(crate) reused: bool,
}

impl Connection {
    /// Bytes received since the connection was opened.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()), retired: AtomicBool::new(false) }
    }

    /// A connection that is idle, else a new one.
    pub(crate) async fn connection(&self) -> io::Result<Connection> {
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() < MAX_IDLE_AGE && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address))
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted { stream, received: Arc::clone(&received) };
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(counted)).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a pod ended");
            }
        });
        Ok(Connection { sender, received, reused: false })
    }

    /// Opens and drops a connection: is anybody listening?
    pub(crate) async fn answers(&self) -> bool {
        matches!(timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await, Ok(Ok(_)))
    }

    /// Takes a connection back after a whole exchange.
    pub(crate) fn give_back(self: &Arc<Self>, mut connection: Connection) {
        connection.reused = true;
        if connection.sender.is_closed() || self.is_retired() {
            return;
        }
        if connection.sender.is_ready() {
            self.keep(connection);
            return;
        }
        // The last bytes of the exchange are still being accounted for in the connection's own task.
        let endpoint = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLE_TIMEOUT, connection.sender.ready()).await {
                endpoint.keep(connection);
            }
        });
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !self.is_retired() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes every idle connection: one of them turned out to be dead.
    pub(crate) fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes the idle connections that are too old.
    pub(crate) fn close_aged(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|idle| idle.since.elapsed() < MAX_IDLE_AGE && !idle.connection.sender.is_closed());
    }

    /// The pod is leaving: requests on their way finish, nothing is kept for later ones.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.forget_idle();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

/// A stream that counts what it receives, so that "no byte of an answer arrived" is a fact.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let got = buf.filled().len() - before;
        if got > 0 {
            self.received.fetch_add(got as u64, Ordering::AcqRel);
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
