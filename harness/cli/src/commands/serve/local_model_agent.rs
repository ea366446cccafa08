//! `windtunnel serve local-model-agent`: keeps the models of LocalModelCaches on the disk of its node, in place of
//! KServe's agent, with its variable and its folder.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use windtunnel_control_plane::local_model_agent::{LocalModelAgent as Agent, Options};

use crate::exit::{Exit, OrExit, Outcome};

/// Variable with the name of the node, filled from `spec.nodeName`.
const NODE_NAME: &str = "NODE_NAME";

/// The agent of a node that keeps models.
#[derive(Args)]
pub(crate) struct LocalModelAgent {
    /// Name of the node; without it that of the variable NODE_NAME.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Where the folder of the node's group is mounted.
    #[arg(long, value_name = "DIR", default_value = "/mnt/models")]
    models_dir: PathBuf,
}

impl LocalModelAgent {
    pub(crate) fn execute(self) -> Outcome {
        let node = self.node_name.or_else(|| std::env::var(NODE_NAME).ok()).filter(|name| !name.is_empty());
        let node = node
            .with_context(|| {
                format!("the node's name is not known; set {NODE_NAME} from the field spec.nodeName, or give --node-name")
            })
            .or_usage()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_environment()?;
        runtime
            .block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                let mut interrupt = signal(SignalKind::interrupt())?;
                let client = kube::Client::try_default().await.context(
                    "no cluster is reachable: run the agent in a pod with a service account, or set KUBECONFIG",
                )?;
                let agent = Agent::start(client, Options { node: Some(node), mount: Some(self.models_dir) });
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                agent.stop().await;
                anyhow::Ok(())
            })
            .or_environment()?;
        Ok(Exit::Passed)
    }
}
