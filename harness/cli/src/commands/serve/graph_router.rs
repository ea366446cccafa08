//! `windtunnel serve graph-router`: stands in for KServe's router image, with its flag and its variable.

use std::io::Read as _;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use windtunnel_gateway::graph::{self, Graph, Options, Profile, Propagation};

use crate::exit::{Exit, OrExit, Outcome};

/// Patterns of headers that every step gets.
const PROPAGATE_HEADERS: &str = "PROPAGATE_HEADERS";
/// Set by a node whose death is to end the router: its pipe to us ends with it.
const EXIT_WITH_PARENT: &str = "WINDTUNNEL_EXIT_WITH_PARENT";

/// The InferenceGraph router.
#[derive(Args)]
pub(crate) struct GraphRouter {
    /// `spec` of the InferenceGraph, as JSON.
    #[arg(long = "graph-json", value_name = "JSON")]
    graph_json: String,
    /// Port of the graph's endpoint and of /readyz.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Answer as upstream's router also where that hides a failure.
    #[arg(long)]
    upstream: bool,
}

impl GraphRouter {
    pub(crate) fn execute(self) -> Outcome {
        let graph = Graph::from_json(&self.graph_json).or_usage()?;
        let (propagation, dropped) = match std::env::var(PROPAGATE_HEADERS) {
            Ok(list) => Propagation::parse(&list),
            Err(_absent) => (Propagation::default(), Vec::new()),
        };
        for reason in dropped {
            eprintln!("{PROPAGATE_HEADERS}: {reason}");
        }
        let address = graph::pod_address(self.port).or_usage()?;
        let profile = if self.upstream { Profile::Upstream } else { Profile::Windtunnel };
        let options = Options { propagation, profile, ..Options::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .or_environment()?;
        runtime
            .block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                let mut interrupt = signal(SignalKind::interrupt())?;
                let router = graph::GraphRouter::bind(address, graph, options).await?;
                eprintln!("graph router listens on {}", router.address());
                if std::env::var(EXIT_WITH_PARENT).is_ok_and(|value| value == "1") {
                    std::thread::spawn(|| {
                        let _ = std::io::stdin().read_to_end(&mut Vec::new());
                        std::process::exit(Exit::Passed.code());
                    });
                }
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tokio::select! {
                    () = router.shutdown() => {}
                    // A second signal ends at once.
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                anyhow::Ok(())
            })
            .or_environment()?;
        Ok(Exit::Passed)
    }
}
