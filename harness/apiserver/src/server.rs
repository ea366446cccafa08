//! The server handle: state behind one lock, and the signals that wake watchers.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use rand::Rng;
use rand_pcg::Pcg64;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    connect::Kubelet,
    durable::{Folder, Keys, StorageError, Writer},
    external_metrics::ExternalMetrics,
    http_layer,
    metrics::Metrics,
    pipeline::{self, Answer, Context, NAMESPACES, Request, State},
    security::{Authorization, AuthorizationLog, Peer, Pki, User, tokens::Tokens},
    status::ApiError,
    store::{Batch, Key, Store},
    webhook::{Clients, Transcript},
};

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Changes that the log of one kind keeps for watchers and old lists; older ones answer 410 Gone.
    pub event_log_capacity: usize,
    /// Largest request body in bytes; larger ones answer 413.
    pub body_limit_bytes: usize,
    /// Seconds within which a client must send the head of a request, and then its body; slower ones are cut off.
    pub request_limit_s: u64,
    /// Seconds between bookmarks for watchers that ask for them.
    pub bookmark_interval_s: u64,
    /// Seconds after which a watch without `timeoutSeconds` ends; clients reconnect.
    pub watch_limit_s: u64,
    /// Whether pods get the volume with their service account's token, as a node with a token issuer needs it.
    pub mount_service_account_tokens: bool,
    /// Where Services get their addresses: the network's address and the length of its prefix (at least 8).
    pub service_network: (Ipv4Addr, u8),
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
            request_limit_s: 60,
            bookmark_interval_s: 60,
            watch_limit_s: 1_800,
            mount_service_account_tokens: false,
            service_network: (Ipv4Addr::new(10, 96, 0, 0), 16),
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
    kubelet: RwLock<Option<Arc<dyn Kubelet>>>,
    external_metrics: OnceLock<Arc<dyn ExternalMetrics>>,
    pki: Pki,
    tokens: Tokens,
    webhooks: Clients,
    random: Mutex<Pcg64>,
    signals: Arc<Signals>,
    metrics: Arc<Metrics>,
    /// What the store is written to; unset for one that lives in memory.
    writer: OnceLock<Writer>,
}

/// The newest revision of each kind's shelf, for its watchers.
#[derive(Default)]
struct Signals(Mutex<BTreeMap<Arc<str>, watch::Sender<u64>>>);

impl Signals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake<'a>(&self, shelves: impl IntoIterator<Item = &'a Arc<str>>, revision: u64) {
        let signals = self.lock();
        for shelf in shelves {
            if let Some(signal) = signals.get(shelf) {
                signal.send_replace(revision);
            }
        }
    }
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
    /// A server in memory with the built-in kinds and the namespaces `default`, `kube-system`, `kube-public` and
    /// `kube-node-lease`, the default roles, and a certificate authority of its own.
    ///
    /// # Panics
    /// When the system has no randomness to make keys of.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let pki = Pki::generate().expect("keys can be made where there is randomness");
        let state = State::new(options.event_log_capacity);
        Self::with(options, state, pki, Tokens::generate())
    }

    /// A server whose state lies in a folder: what it has answered is on disk, and the next server that is opened
    /// there goes on with the same objects, revisions, certificate authority and token key. Its watchers can go on,
    /// too, as far as the log of changes reaches back.
    ///
    /// # Errors
    /// When the folder is in use or cannot be written, or when what is in it cannot be read.
    ///
    /// # Panics
    /// When the system has no randomness to make keys of.
    pub fn open(options: Options, folder: &Path) -> Result<Self, StorageError> {
        let mut folder = Folder::open(folder)?;
        let (mut state, pki, tokens) = match folder.load(options.event_log_capacity)? {
            None => {
                let pki = Pki::generate().expect("keys can be made where there is randomness");
                (State::new(options.event_log_capacity), pki, Tokens::generate())
            }
            Some((store, keys)) => {
                let pki = Pki::restore(&keys.certificate, &keys.certificate_key)
                    .map_err(|error| folder.unreadable(&error))?;
                let tokens = Tokens::restore(&keys.token_key)
                    .ok_or_else(|| folder.unreadable(&"the key of the tokens is damaged"))?;
                (State::restore(store), pki, tokens)
            }
        };
        state.store.follow();
        let server = Self::with(options, state, pki, tokens);
        let (batch, revision) = {
            let mut state = server.write();
            (state.store.take_unsaved().unwrap_or_default(), state.store.revision())
        };
        let (pki, tokens) = (&server.inner.pki, &server.inner.tokens);
        let keys = Keys {
            certificate: pki.certificate_pem().to_owned(),
            certificate_key: pki.key_pem(),
            token_key: tokens.key(),
        };
        folder.begin(&keys, &Batch { revision, ..batch })?;
        let signals = Arc::clone(&server.inner.signals);
        let writer = folder.follow(revision, move |batches| {
            for batch in batches {
                signals.wake(batch.changes.iter().map(|(shelf, _)| shelf), batch.revision);
            }
        })?;
        let _ = server.inner.writer.set(writer);
        Ok(server)
    }

    fn with(options: Options, state: State, pki: Pki, tokens: Tokens) -> Self {
        let seed = options.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        // A restored state goes on with other numbers than those that it was made of.
        let seed = u128::from(seed) | (u128::from(state.store.revision() - Store::FIRST_REVISION) << 64);
        let server = Self {
            inner: Arc::new(Inner {
                state: RwLock::new(state),
                admission: RwLock::default(),
                kubelet: RwLock::default(),
                external_metrics: OnceLock::new(),
                pki,
                tokens,
                webhooks: Clients::default(),
                random: Mutex::new(Pcg64::new(seed, 0x0a02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96)),
                signals: Arc::default(),
                metrics: Arc::default(),
                writer: OnceLock::new(),
                options,
            }),
        };
        server.write().bootstrap(jiff::Timestamp::now(), &mut || server.random());
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            if server.read().store.get(NAMESPACES, &Key::new("", namespace)).is_some() {
                continue;
            }
            let request = Request {
                method: "POST".into(),
                path: "/api/v1/namespaces".into(),
                user_agent: "kube-apiserver".into(),
                user: Arc::new(User::master("system:apiserver")),
                body: Bytes::from(format!("{{\"metadata\":{{\"name\":\"{namespace}\"}}}}")),
                ..Request::default()
            };
            let (answer, _) = server.attempt(&request, &mut Attempt::new());
            debug_assert_eq!(answer.code, 201, "{answer:?}");
        }
        server
    }

    /// Adds a reviewer of writes, behind those already there.
    pub fn add_admission(&self, admission: Arc<dyn Admission>) {
        self.inner.admission.write().unwrap_or_else(PoisonError::into_inner).push(admission);
    }

    /// Sets the node that answers `pods/log`, `exec`, `attach`, `portforward` and `proxy`.
    pub fn set_kubelet(&self, kubelet: Arc<dyn Kubelet>) {
        *self.inner.kubelet.write().unwrap_or_else(PoisonError::into_inner) = Some(kubelet);
    }

    pub(crate) fn kubelet(&self) -> Option<Arc<dyn Kubelet>> {
        self.inner.kubelet.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves `external.metrics.k8s.io/v1beta1` with what this one knows. Only the first call counts.
    pub fn serve_external_metrics(&self, source: Arc<dyn ExternalMetrics>) {
        let _ = self.inner.external_metrics.set(source);
        self.write().registry.serves_external_metrics = true;
    }

    pub(crate) fn external_metrics(&self) -> Option<Arc<dyn ExternalMetrics>> {
        self.inner.external_metrics.get().cloned()
    }

    /// Serves these objects as `metrics.k8s.io/v1beta1` in place of those of before: `NodeMetrics` with `metadata.name`,
    /// and `PodMetrics` with `metadata.namespace`, too; both with `timestamp`, `window` and usage.
    pub fn publish_metrics(&self, nodes: Vec<serde_json::Value>, pods: Vec<serde_json::Value>) {
        let mut state = self.write();
        state.publish("nodes", nodes);
        state.publish("pods", pods);
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
        self.client_as(User::master("system:admin"), program)
    }

    /// As [`ApiServer::client_named`], as any user: the roles say what it may do.
    #[must_use]
    pub fn client_as(&self, user: User, program: &'static str) -> kube::Client {
        let server = self.clone();
        let peer = Peer::Trusted(Arc::new(user));
        let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
            let (server, peer) = (server.clone(), peer.clone());
            let agent = http::HeaderValue::from_static(program);
            request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
            async move { Ok::<_, Infallible>(http_layer::respond(&server, &peer, request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Keeps from now on what users other than administrators ask for and what the roles say to it.
    pub fn log_authorizations(&self) {
        self.read().rbac.log.get_or_init(AuthorizationLog::default);
    }

    /// The different decisions since [`ApiServer::log_authorizations`].
    #[must_use]
    pub fn authorizations(&self) -> BTreeSet<Authorization> {
        self.read().rbac.log.get().map(AuthorizationLog::entries).unwrap_or_default()
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

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
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
        if let Some(why) = self.inner.writer.get().and_then(Writer::failure) {
            return Self::unwritable(&why);
        }
        let mut attempt = Attempt::new();
        for _ in 0..ATTEMPTS {
            let (answer, revision) = self.attempt(request, &mut attempt);
            let calls = attempt.transcript.take_pending();
            if calls.is_empty() {
                return self.settle(answer, revision).await;
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

    /// Nobody hears of a revision that a crash could take back.
    async fn settle(&self, answer: Answer, revision: u64) -> Answer {
        let Some(writer) = self.inner.writer.get() else { return answer };
        match writer.settled(revision).await {
            Ok(()) => answer,
            Err(why) => Self::unwritable(&why),
        }
    }

    fn unwritable(why: &str) -> Answer {
        Answer::error(&ApiError::internal(format!(
            "the data directory cannot be written: {why}; make room on the disk and start the cluster again"
        )))
    }

    /// One attempt: complete unless it leaves calls of webhooks pending, and then without effect. Gives the revision
    /// that the answer has seen, too.
    fn attempt(&self, request: &Request, attempt: &mut Attempt) -> (Answer, u64) {
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
            let state = self.read();
            let answer = pipeline::read(&state, &context, request);
            return (answer, state.store.revision());
        }
        let mut state = self.write();
        let answer = pipeline::write(&mut state, &mut context, request);
        pipeline::expire(&mut state, attempt.now);
        let dirty = state.take_dirty();
        let revision = state.store.revision();
        match self.inner.writer.get() {
            // The disk's order is that of the revisions, so the queue is filled under the lock. Watchers are woken when
            // the disk has it.
            Some(writer) => {
                if let Some(batch) = state.store.take_unsaved() {
                    writer.queue(batch);
                }
            }
            None => {
                drop(state);
                if !dirty.is_empty() {
                    self.inner.signals.wake(&dirty, revision);
                }
            }
        }
        (answer, revision)
    }

    /// The newest revision that watchers may hear of.
    pub(crate) fn visible(&self, state: &State) -> u64 {
        self.inner.writer.get().map_or_else(|| state.store.revision(), Writer::revision)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signal that changes with every write to a shelf.
    pub(crate) fn subscribe(&self, shelf: &Arc<str>) -> watch::Receiver<u64> {
        let mut signals = self.inner.signals.lock();
        signals.entry(Arc::clone(shelf)).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.inner.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
