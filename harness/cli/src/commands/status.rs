//! `windtunnel status`, and the state file that `up`, `down` and `status` share.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, OrExit, Outcome};

/// Says whether the local KServe runs, and where.
#[derive(Args)]
pub(crate) struct Status {
    /// `json` for scripts.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

impl Status {
    pub(crate) fn execute(self) -> Outcome {
        let running = State::here().or_environment()?.running();
        match (&running, self.output) {
            (Some(running), Output::Text) => running.print(),
            (None, Output::Text) => println!("not running; start it with: windtunnel up --detach"),
            (Some(running), Output::Json) => {
                let mut object = serde_json::to_value(running).or_environment()?;
                object["running"] = true.into();
                println!("{object:#}");
            }
            (None, Output::Json) => println!("{:#}", serde_json::json!({"running": false})),
        }
        Ok(if running.is_some() { Exit::Passed } else { Exit::Environment })
    }
}

/// A local KServe that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) pid: u32,
    /// URL of the API server.
    pub(crate) server: String,
    /// URL of the gateway.
    pub(crate) gateway: String,
    /// URL of the control plane's metrics.
    #[serde(default)]
    pub(crate) metrics: String,
    /// Path of the kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// What keeps pods apart from the machine.
    #[serde(default)]
    pub(crate) isolation: String,
}

impl Running {
    /// Tells a person where everything is.
    pub(crate) fn print(&self) {
        println!("KServe runs (process {})", self.pid);
        println!("  API server  {}", self.server);
        println!("  gateway     {}   (send the service's host name in the Host header)", self.gateway);
        println!("  metrics     {}", self.metrics);
        println!("  isolation   {}", self.isolation);
        println!("  next        kubectl --kubeconfig {} get isvc -A", self.kubeconfig.display());
        println!("              windtunnel down");
    }
}

/// The folder `.windtunnel` of the working directory.
pub(crate) struct State {
    folder: PathBuf,
}

impl State {
    /// The state of the working directory.
    pub(crate) fn here() -> anyhow::Result<Self> {
        Ok(Self {
            folder: std::env::current_dir().context("there is no working directory")?.join(".windtunnel"),
        })
    }

    /// Where the state lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The running stack, if its process is alive.
    pub(crate) fn running(&self) -> Option<Running> {
        let text = std::fs::read_to_string(self.file()).ok()?;
        let running: Running = serde_json::from_str(&text).ok()?;
        alive(running.pid).then_some(running)
    }

    /// Writes the state file, whole or not at all.
    pub(crate) fn write(&self, running: &Running) -> anyhow::Result<()> {
        let partial = self.folder.join("state.json.partial");
        std::fs::write(&partial, serde_json::to_vec_pretty(running)?)
            .and_then(|()| std::fs::rename(&partial, self.file()))
            .with_context(|| format!("{} can't be written", self.file().display()))
    }

    /// Removes the folder.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} can't be removed", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("state.json")
    }
}

/// Whether a process runs that is a `windtunnel` (a process identifier may have been given to somebody else since).
pub(crate) fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "windtunnel")
        && std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}
