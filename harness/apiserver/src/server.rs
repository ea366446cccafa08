//! The server handle: state behind one lock, and the signals that wake watchers.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use rand::Rng;
use rand_pcg::Pcg64;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    http_layer,
    pipeline::{self, Answer, Context, Request, State},
    security::{Peer, Pki, User, tokens::Tokens},
    status::ApiError,
    webhook::{Clients, Transcript},
};

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Changes that the log of one kind keeps for watchers and old lists; older ones answer 410 Gone.
    pub event_log_capacity: usize,
    /// Largest request body in bytes; larger ones answer 413.
    pub body_limit_bytes: usize,
    /// Seconds between bookmarks for watchers that ask for them.
    pub bookmark_interval_s: u64,
    /// Seconds after which a watch without `timeoutSeconds` ends; clients reconnect.
    pub watch_limit_s: u64,
    /// Whether pods get the volume with their service account's token, as a node with a token issuer needs it.
    pub mount_service_account_tokens: bool,
    /// DNS names and addresses, besides the usual ones, for which the server's certificate is made.
    pub server_names: Vec<String>,
    /// Seed of uids and generated names; `None` draws one.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_log_capacity: 10_000,
            body_limit_bytes: 3 * 1024 * 1024,
            bookmark_interval_s: 60,
            watch_limit_s: 1_800,
            mount_service_account_tokens: false,
            server_names: Vec::new(),
            seed: None,
        }
    }
}

/// A handle on one API server; clones share it.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    state: RwLock<State>,
    admission: RwLock<Vec<Arc<dyn Admission>>>,
    pki: Pki,
    tokens: Tokens,
    webhooks: Clients,
    random: Mutex<Pcg64>,
    /// The newest revision of each kind's shelf, for its watchers.
    signals: Mutex<BTreeMap<Arc<str>, watch::Sender<u64>>>,
}

/// What stays the same when a request is carried out again with more answers of webhooks.
struct Attempt {
    now: jiff::Timestamp,
    draws: Vec<u128>,
    transcript: Transcript,
}

impl Attempt {
    fn new() -> Self {
        Self { now: jiff::Timestamp::now(), draws: Vec::new(), transcript: Transcript::default() }
    }
}

impl ApiServer {
    /// A server with the built-in kinds and the namespaces `default`, `kube-system`, `kube-public` and
    /// `kube-node-lease`, the default roles, and a certificate authority of its own.
    ///
    /// # Panics
    /// When the system has no randomness to make keys of.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let seed = options.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let server = Self {
            inner: Arc::new(Inner {
                state: RwLock::new(State::new(options.event_log_capacity)),
                admission: RwLock::default(),
                pki: Pki::generate().expect("keys can be made where there is randomness"),
                tokens: Tokens::generate(),
                webhooks: Clients::default(),
                random: Mutex::new(Pcg64::new(u128::from(seed), 0x0a02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96)),
                signals: Mutex::default(),
                options,
            }),
        };
        server.write().bootstrap(jiff::Timestamp::now(), &mut || server.random());
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let request = Request {
                method: "POST".into(),
                path: "/api/v1/namespaces".into(),
                user_agent: "kube-apiserver".into(),
                user: Arc::new(User::master("system:apiserver")),
                body: Bytes::from(format!("{{\"metadata\":{{\"name\":\"{namespace}\"}}}}")),
                ..Request::default()
            };
            let answer = server.attempt(&request, &mut Attempt::new());
            debug_assert_eq!(answer.code, 201, "{answer:?}");
        }
        server
    }

    /// Adds a reviewer of writes, behind those already there.
    pub fn add_admission(&self, admission: Arc<dyn Admission>) {
        self.inner.admission.write().unwrap_or_else(PoisonError::into_inner).push(admission);
    }

    /// Serves these objects as `metrics.k8s.io/v1beta1` in place of those of before: `NodeMetrics` with `metadata.name`,
    /// and `PodMetrics` with `metadata.namespace`, too; both with `timestamp`, `window` and usage.
    pub fn publish_metrics(&self, nodes: Vec<serde_json::Value>, pods: Vec<serde_json::Value>) {
        let mut state = self.write();
        state.publish("nodes", nodes);
        state.publish("pods", pods);
        // Nobody watches metrics: there is no such verb.
        state.take_dirty();
    }

    /// A client that calls this server in process, without a socket, as a user who may do anything. Needs a tokio
    /// runtime.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client_named("windtunnel")
    }

    /// As [`ApiServer::client`], for a program of the given name: what it writes is recorded under it in
    /// `managedFields`.
    #[must_use]
    pub fn client_named(&self, program: &'static str) -> kube::Client {
        let server = self.clone();
        let peer = Peer::Trusted(Arc::new(User::master("system:admin")));
        let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
            let (server, peer) = (server.clone(), peer.clone());
            let agent = http::HeaderValue::from_static(program);
            request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
            async move { Ok::<_, Infallible>(http_layer::respond(&server, &peer, request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Serves HTTP/1.1 and HTTP/2 over TLS on `listener` until `shutdown` is cancelled, then ends the open
    /// connections. Users show a client certificate of [`ApiServer::pki`] or a service account's token; who shows
    /// neither is anonymous.
    ///
    /// # Errors
    /// When a certificate for the listener's address cannot be made.
    pub fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
        let address = listener.local_addr()?.ip();
        let (names, addresses) = self.certificate_names(address);
        let config = self.inner.pki.server(&names, &addresses).map_err(std::io::Error::other)?;
        Ok(http_layer::serve(self.clone(), listener, TlsAcceptor::from(Arc::new(config)), shutdown))
    }

    /// The cluster's certificate authority.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.inner.pki
    }

    fn certificate_names(&self, listening: IpAddr) -> (Vec<String>, Vec<IpAddr>) {
        let mut names: Vec<String> = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        if !listening.is_unspecified() && !addresses.contains(&listening) {
            addresses.push(listening);
        }
        for name in &self.inner.options.server_names {
            match name.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => names.push(name.clone()),
            }
        }
        (names, addresses)
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// 128 random bits.
    fn random(&self) -> u128 {
        let mut generator = self.inner.random.lock().unwrap_or_else(PoisonError::into_inner);
        (u128::from(generator.next_u64()) << 64) | u128::from(generator.next_u64())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Answers a request; a watch is answered with its description.
    pub(crate) async fn handle(&self, request: &Request) -> Answer {
        /// Attempts to get through all webhooks while others change the same object.
        const ATTEMPTS: usize = 100;
        let mut attempt = Attempt::new();
        for _ in 0..ATTEMPTS {
            let answer = self.attempt(request, &mut attempt);
            let calls = attempt.transcript.take_pending();
            if calls.is_empty() {
                return answer;
            }
            let made = calls.into_iter().map(|call| async move {
                let uid = pipeline::uid(self.random());
                let outcome = self.inner.webhooks.call(&call, &uid).await;
                (call.key(), outcome)
            });
            for (key, outcome) in futures::future::join_all(made).await {
                attempt.transcript.store(key, outcome);
            }
        }
        let why = "the object went on changing while admission webhooks were asked; please try again";
        Answer::error(&ApiError::new(409, "Conflict", why))
    }

    /// One attempt: complete unless it leaves calls of webhooks pending, and then without effect.
    fn attempt(&self, request: &Request, attempt: &mut Attempt) -> Answer {
        let admission = self.inner.admission.read().unwrap_or_else(PoisonError::into_inner);
        attempt.transcript.begin();
        let (draws, mut drawn) = (&mut attempt.draws, 0);
        let mut random = || {
            if drawn == draws.len() {
                draws.push(self.random());
            }
            drawn += 1;
            draws[drawn - 1]
        };
        let mut context = Context {
            now: attempt.now,
            admission: &admission,
            options: &self.inner.options,
            pki: &self.inner.pki,
            tokens: &self.inner.tokens,
            transcript: &mut attempt.transcript,
            random: &mut random,
        };
        if !pipeline::is_write(request) {
            return pipeline::read(&self.read(), &context, request);
        }
        let mut state = self.write();
        let answer = pipeline::write(&mut state, &mut context, request);
        let dirty = state.take_dirty();
        let revision = state.store.revision();
        drop(state);
        if !dirty.is_empty() {
            let signals = self.signals();
            for shelf in dirty {
                if let Some(signal) = signals.get(&shelf) {
                    signal.send_replace(revision);
                }
            }
        }
        answer
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal that changes with every write to a shelf.
    pub(crate) fn subscribe(&self, shelf: &Arc<str>) -> watch::Receiver<u64> {
        let mut signals = self.signals();
        signals.entry(Arc::clone(shelf)).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.inner.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn signals(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, watch::Sender<u64>>> {
        self.inner.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
