//! `windtunnel serve …`: what runs inside containers. Flags are those of the official servers.

pub(crate) mod controller;
mod graph_router;
mod local_model_agent;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use clap::{Args, Subcommand};
use windtunnel_agent::storage;
use windtunnel_predictor::{ModelSource, ServerOptions, Shutdown, serve};

use super::setup::ensure_runtime;
use crate::exit::{Exit, OrExit, Outcome};

/// The variable by which ONNX Runtime is told to keep no telemetry.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// Entrypoints of the containers.
#[derive(Subcommand)]
pub(crate) enum Serve {
    /// The model server: V1 and V2 protocols over ONNX Runtime.
    Predictor(Predictor),
    /// Fetches models before a server starts.
    StorageInitializer(StorageInitializer),
    /// Routes requests through the steps of an InferenceGraph.
    GraphRouter(graph_router::GraphRouter),
    /// Keeps the models of caches on the disk of a node.
    LocalModelAgent(local_model_agent::LocalModelAgent),
    /// The control plane, for any cluster: controllers, webhooks, metrics and probes.
    Controller(Box<controller::Controller>),
}

/// The model server.
#[derive(Args)]
pub(crate) struct Predictor {
    /// Name under which the model is served.
    #[arg(long = "model_name", default_value = "model")]
    model_name: String,
    /// Folder that holds the model.
    #[arg(long = "model_dir", default_value = "/mnt/models", conflicts_with = "model_repository")]
    model_dir: PathBuf,
    /// Folder that holds a folder or an .onnx file a model.
    #[arg(long = "model_repository", value_name = "DIR")]
    model_repository: Option<PathBuf>,
    /// Port of the REST protocols.
    #[arg(long = "http_port", default_value_t = 8080)]
    http_port: u16,
    /// Predictions that are computed at a time.
    #[arg(long = "workers", default_value_t = 1)]
    workers: usize,
}

/// The storage initializer.
#[derive(Args)]
pub(crate) struct StorageInitializer {
    /// Storage URI and folder, in turn.
    #[arg(required = true, num_args = 2.., value_names = ["URI", "FOLDER"])]
    pairs: Vec<String>,
}

impl Serve {
    pub(crate) fn execute(self) -> Outcome {
        match self {
            Self::Predictor(predictor) => predictor.execute(),
            Self::StorageInitializer(initializer) => initializer.execute(),
            Self::GraphRouter(router) => router.execute(),
            Self::LocalModelAgent(agent) => agent.execute(),
            Self::Controller(controller) => controller.execute(),
        }
    }
}

impl Predictor {
    fn execute(self) -> Outcome {
        disable_telemetry().or_environment()?;
        let library = ensure_runtime(|text| eprintln!("{text}"))?;
        let source = match self.model_repository {
            Some(path) => ModelSource::Repository { path },
            None => ModelSource::Directory { name: self.model_name, path: self.model_dir },
        };
        let options = ServerOptions {
            http_port: self.http_port,
            workers: self.workers,
            library: Some(library),
            ..ServerOptions::new(source)
        };
        let options = options.with_pod_environment().or_usage()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .or_environment()?;
        runtime.block_on(async { serve(options, Shutdown::on_termination()?).await }).or_environment()?;
        Ok(Exit::Passed)
    }
}

/// ONNX Runtime keeps a telemetry store in the user's cache as soon as it is loaded, unless this variable is set before. A
/// process can't safely change its own environment, so it starts again in its place with the variable set.
fn disable_telemetry() -> anyhow::Result<()> {
    if std::env::var_os(NO_TELEMETRY).is_some() {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.args(std::env::args_os().skip(1)).env(NO_TELEMETRY, "1").exec().into())
}

impl StorageInitializer {
    fn execute(self) -> Outcome {
        let map = storage::StorageMap::from_environment().or_usage()?;
        let pairs: Vec<(String, PathBuf)> =
            self.pairs.chunks_exact(2).map(|pair| (pair[0].clone(), PathBuf::from(&pair[1]))).collect();
        // The official initializer answers every failure with exit code 1; its message goes to the termination log.
        match storage::initialize(&pairs, &map).context("storage initializer") {
            Ok(fetched) => {
                println!("{fetched}");
                Ok(Exit::Passed)
            }
            Err(error) => {
                eprintln!("{error:#}");
                Ok(Exit::Failed)
            }
        }
    }
}
