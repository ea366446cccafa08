//! The HTTP server around the models.

mod metrics;
mod routes;
mod shutdown;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use axum::serve::ListenerExt as _;
use tokio::{net::TcpListener, sync::oneshot, time::timeout};

use crate::{
    error::PredictorError,
    model::{Model, files, pool::Pool},
    options::ServerOptions,
    runtime::{self, Places},
};
use metrics::Metrics;
use shutdown::Activity;
pub use shutdown::{Shutdown, Trigger};

/// What all requests share.
#[derive(Debug)]
struct Serving {
    /// Every model by name; empty until it is loaded.
    models: BTreeMap<String, OnceLock<Arc<Model>>>,
    pool: Pool,
    metrics: Metrics,
    activity: Arc<Activity>,
    max_body_bytes: usize,
    /// No further model is to be loaded.
    stopping: AtomicBool,
}

/// How long the end of the server waits for threads that are inside ONNX Runtime: its library must not be torn down
/// under them.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// A server that listens. Models are loaded while it runs: until then it is alive but not ready.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    files: Vec<(String, std::path::PathBuf)>,
    library: std::path::PathBuf,
    options: ServerOptions,
    serving: Arc<Serving>,
}

impl Server {
    /// Finds the models and ONNX Runtime's library, and listens.
    ///
    /// # Errors
    /// [`PredictorError`] if the model folder, the library or the port is not to be had.
    pub async fn bind(options: ServerOptions) -> Result<Self, PredictorError> {
        let files = files::find(&options.source)?;
        let library = match &options.library {
            Some(library) => library.clone(),
            None => Places::of_process().find()?,
        };
        let address = SocketAddr::new(options.bind, options.http_port);
        let cannot_bind = |source| PredictorError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
        let address = listener.local_addr().map_err(cannot_bind)?;
        let pool = Pool::start(options.workers.max(1), options.queue_depth)
            .map_err(|source| PredictorError::System { what: "cannot start a worker thread", source })?;
        let serving = Arc::new(Serving {
            models: files.iter().map(|(name, _)| (name.clone(), OnceLock::new())).collect(),
            pool,
            metrics: Metrics::new(),
            activity: Arc::new(Activity::new()),
            max_body_bytes: options.max_body_bytes,
            stopping: AtomicBool::new(false),
        });
        Ok(Self { listener, address, files, library, options, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the models and serves until `shutdown` says otherwise.
    ///
    /// # Errors
    /// [`PredictorError`] if ONNX Runtime or a model cannot be loaded.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), PredictorError> {
        let Self { listener, address, files, library, options, serving } = self;
        let shared = Arc::clone(&serving);
        let mut loading = load(files, library, options.workers.max(1), Arc::clone(&serving))?;
        tracing::info!(%address, "listening");

        let activity = Arc::clone(&serving.activity);
        let seen = Arc::clone(&activity);
        let listener = listener.tap_io(move |stream| {
            seen.seen();
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot switch Nagle's algorithm off");
            }
        });
        let drained = shutdown.clone().drained(activity, options.quiet, options.grace);
        let serve = axum::serve(listener, routes::router(serving)).with_graceful_shutdown(drained);
        let loaded = &mut loading;
        let failed = async {
            match loaded.await {
                Ok(Err(error)) => error,
                // Loaded, or the thread is gone with the process.
                Ok(Ok(())) | Err(_) => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            served = async { serve.await } => {
                served.map_err(|source| PredictorError::System { what: "the listener failed", source })
            }
            error = failed => Err(error),
            () = shutdown.expired(options.grace) => Ok(()),
        };
        shared.stopping.store(true, Ordering::Release);
        let inside = async {
            if !loading.is_terminated() {
                // What it loads now is of no interest any more.
                let _ = loading.await;
            }
            shared.pool.rest().await;
        };
        if timeout(LAST_CALLS, inside).await.is_err() {
            tracing::warn!("a model is still being loaded or run");
        }
        ended
    }
}

/// Listens and serves until `shutdown` says otherwise: [`Server::bind`] and [`Server::run`] in one.
///
/// # Errors
/// As both.
pub async fn serve(options: ServerOptions, shutdown: Shutdown) -> Result<(), PredictorError> {
    Server::bind(options).await?.run(shutdown).await
}

/// Loads every model on a thread of its own, as that may take long.
fn load(
    files: Vec<(String, std::path::PathBuf)>,
    library: std::path::PathBuf,
    workers: usize,
    serving: Arc<Serving>,
) -> Result<oneshot::Receiver<Result<(), PredictorError>>, PredictorError> {
    let (report, loading) = oneshot::channel();
    let work = move || {
        let environment = runtime::environment(&library)?;
        for (name, path) in files {
            if serving.stopping.load(Ordering::Acquire) {
                break;
            }
            let started = std::time::Instant::now();
            let model = Model::load(&environment, &name, &path, workers)?;
            tracing::info!(model = name, path = %path.display(), took = ?started.elapsed(), "model loaded");
            if let Some(slot) = serving.models.get(&name) {
                // Each model is loaded once.
                let _ = slot.set(Arc::new(model));
            }
        }
        Ok(())
    };
    thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            // The server may have been told to stop meanwhile.
            let _ = report.send(work());
        })
        .map_err(|source| PredictorError::System { what: "cannot start a thread to load models", source })?;
    Ok(loading)
}
