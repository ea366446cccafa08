//! Pods, clients and tables for the tests.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use windtunnel_gateway::{
    Backend, Gateway, GatewayHandle, Options, RevisionBackend, RevisionKey, Route, RouteTable,
};

/// Longest that a test waits for anything: far beyond what a loaded machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const HOST: &str = "digits-default.example.com";

/// Fails the test instead of hanging it.
pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until something that has no event of its own is so.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    in_time(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[derive(Clone)]
struct PodState {
    name: &'static str,
    gate: Option<Arc<Semaphore>>,
    now: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    total: Arc<AtomicU32>,
    connections: Arc<AtomicU32>,
}

/// How long a pod that ends must have been left alone before it stops listening.
const QUIET: Duration = Duration::from_millis(100);

/// A pod that answers with its name, the path and the request's body.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    state: PodState,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Pod {
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), name, None)
    }

    /// Each answer takes one permit of `gate`.
    pub(crate) async fn gated(name: &'static str, gate: &Arc<Semaphore>) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), name, Some(Arc::clone(gate)))
    }

    pub(crate) fn serve(listener: TcpListener, name: &'static str, gate: Option<Arc<Semaphore>>) -> Self {
        let address = listener.local_addr().unwrap();
        let state = PodState {
            name,
            gate,
            now: Arc::default(),
            most: Arc::default(),
            total: Arc::default(),
            connections: Arc::default(),
        };
        let connections = Arc::clone(&state.connections);
        let listener = listener.tap_io(move |_| {
            connections.fetch_add(1, Ordering::SeqCst);
        });
        let app = Router::new().fallback(answer).with_state(state.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { address, state, stop, task }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.state.now.load(Ordering::SeqCst)
    }

    /// Most requests at one time.
    pub(crate) fn most(&self) -> u32 {
        self.state.most.load(Ordering::SeqCst)
    }

    pub(crate) fn total(&self) -> u32 {
        self.state.total.load(Ordering::SeqCst)
    }

    /// As a well-behaved pod ends: it serves until nobody has come for a while, then closes what is idle.
    pub(crate) async fn stop(self) {
        let seen = || self.total() + self.state.connections.load(Ordering::SeqCst);
        loop {
            let before = seen();
            tokio::time::sleep(QUIET).await;
            if seen() == before && self.in_flight() == 0 {
                break;
            }
        }
        self.vanish().await;
    }

    /// Stops listening at once; requests that it has read are answered, others get a closed connection.
    pub(crate) async fn vanish(self) {
        self.stop.cancel();
        in_time("pod ends", self.task).await.unwrap();
    }
}

/// Counts a request out also when its connection breaks.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(State(pod): State<PodState>, request: Request) -> Response {
    let now = pod.now.fetch_add(1, Ordering::SeqCst) + 1;
    let counted = Counted(Arc::clone(&pod.now));
    pod.most.fetch_max(now, Ordering::SeqCst);
    pod.total.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return Response::builder().status(StatusCode::BAD_REQUEST).body(Body::empty()).unwrap();
    };
    if let Some(gate) = &pod.gate {
        gate.acquire().await.unwrap().forget();
    }
    drop(counted);
    let mut response =
        Response::builder().header("x-pod", pod.name).header("connection", "keep-alive, x-secret");
    response = response.header("x-secret", "1").header("x-path", head.uri.to_string());
    for (name, value) in &head.headers {
        response = response.header(format!("seen-{name}"), value);
    }
    response.body(Body::from(body)).unwrap()
}

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(HttpConnector::new())
}

pub(crate) fn post(gateway: SocketAddr, host: &str, body: impl Into<Bytes>) -> http::Request<Full<Bytes>> {
    http::Request::post(format!("http://{gateway}/v1/models/digits:predict?row=1"))
        .header("host", host)
        .body(Full::new(body.into()))
        .unwrap()
}

pub(crate) async fn text(response: http::Response<Incoming>) -> String {
    let body = in_time("body", response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(crate) fn header<'a, B>(response: &'a http::Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

pub(crate) fn key(name: &str) -> RevisionKey {
    RevisionKey::new("default", name)
}

/// One host, one revision.
pub(crate) fn table(container_concurrency: u32, endpoints: &[SocketAddr]) -> RouteTable {
    split_table(&[("digits-00001", 100, endpoints)], container_concurrency)
}

pub(crate) fn split_table(backends: &[(&str, u32, &[SocketAddr])], container_concurrency: u32) -> RouteTable {
    RouteTable {
        routes: vec![Route::split(
            vec![HOST.to_owned(), "digits.default.svc.cluster.local".to_owned()],
            backends
                .iter()
                .map(|(name, percent, _)| Backend { revision: key(name), percent: *percent })
                .collect(),
            50_000,
        )],
        revisions: backends
            .iter()
            .map(|(name, _, endpoints)| RevisionBackend {
                key: key(name),
                container_concurrency,
                activated: true,
                endpoints: endpoints.to_vec(),
            })
            .collect(),
    }
}

/// A gateway that already has a table.
pub(crate) async fn gateway(table: RouteTable) -> (Gateway, GatewayHandle) {
    let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    let handle = gateway.handle();
    handle.apply(table);
    (gateway, handle)
}
