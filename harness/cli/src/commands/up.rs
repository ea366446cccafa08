//! `windtunnel up`: a local KServe on the embedded cluster, in the foreground or detached.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use windtunnel_cluster::{Image, read_images};
use windtunnel_replay::{EmbeddedStack, StackOptions};

use super::setup::ensure_runtime;
use crate::commands::status::{Running, State};
use crate::exit::{Exit, OrExit, Outcome};
use crate::interrupt::Interrupt;

/// What the detached process prints when it is ready.
const READY: &str = "ready";
/// More nodes than anybody needs on one machine.
const MOST_NODES: i64 = 1000;
/// Longest start of a detached process.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Starts a local KServe on the embedded cluster.
#[derive(Args)]
pub(crate) struct Up {
    /// Return when it is ready; the last line on stdout is the kubeconfig's path.
    #[arg(long)]
    detach: bool,
    /// Where this machine finds a storage URI prefix, for example s3://models/=./models; repeatable.
    #[arg(long, value_name = "PREFIX=FOLDER", value_parser = storage_mapping)]
    storage: Vec<(String, PathBuf)>,
    /// Keep the cluster's objects and volumes in this folder, over `down`, restarts and crashes; without it they live
    /// in memory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many nodes the cluster has; all of them run their pods on this machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MOST_NODES))]
    nodes: u16,
    /// YAML file that says what to run for the images of other programs:
    /// `images: [{image: NAME, command: [PROGRAM, ARGUMENT], env: {NAME: VALUE}, root: FOLDER}]`.
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
}

impl Up {
    pub(crate) fn execute(self) -> Outcome {
        let state = State::here().or_environment()?;
        if let Some(running) = state.running() {
            println!("already running (process {}); gateway {}", running.pid, running.gateway);
            println!("{}", running.kubeconfig.display());
            return Ok(Exit::Passed);
        }
        // Mistakes are told here, not in the log of a process in the background.
        self.read_images().or_environment()?;
        let library = ensure_runtime(|text| eprintln!("{text}"))?;
        if self.detach { self.start_detached(&state).or_environment() } else { self.stay(&state, library) }
    }

    /// The images that the file maps.
    fn read_images(&self) -> anyhow::Result<Vec<Image>> {
        let Some(path) = &self.images else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--images: {} can't be read", path.display()))?;
        Ok(read_images(&text, &path.display().to_string())?)
    }

    /// Starts this binary again without a terminal, and waits until that one says that it is ready.
    fn start_detached(&self, state: &State) -> anyhow::Result<Exit> {
        std::fs::create_dir_all(state.folder())
            .with_context(|| format!("{} can't be made", state.folder().display()))?;
        let log_path = state.folder().join("up.log");
        let log = std::fs::File::create(&log_path)
            .with_context(|| format!("{} can't be written", log_path.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        for (prefix, folder) in &self.storage {
            command.arg("--storage").arg(format!("{prefix}={}", folder.display()));
        }
        if let Some(folder) = &self.data_dir {
            command.arg("--data-dir").arg(folder);
        }
        command.arg("--nodes").arg(self.nodes.to_string());
        if let Some(file) = &self.images {
            command.arg("--images").arg(file);
        }
        let mut child = command.spawn().context("the background process did not start")?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("the background process has no output"))?;
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let ready = loop {
            match heard.recv_timeout(START_DEADLINE) {
                Ok(line) if line.trim() == READY => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        match state.running() {
            Some(running) if ready => {
                running.print();
                println!("{}", running.kubeconfig.display());
                Ok(Exit::Passed)
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let tail = std::fs::read_to_string(&log_path).unwrap_or_default();
                bail!("the local KServe did not become ready; its log ({}):\n{tail}", log_path.display())
            }
        }
    }

    /// Runs until Ctrl-C or SIGTERM.
    fn stay(self, state: &State, library: PathBuf) -> Outcome {
        let runtime = tokio::runtime::Runtime::new().or_environment()?;
        runtime.block_on(async {
            let interrupt = Interrupt::listen().or_environment()?;
            let executable = std::env::current_exe().or_environment()?;
            let options = StackOptions {
                runtime: Some(library),
                images: self.read_images().or_environment()?,
                nodes: self.nodes,
                data_directory: self.data_dir,
                storage: self.storage.into_iter().collect::<BTreeMap<_, _>>(),
                ..StackOptions::new(state.folder().join("cluster"), executable)
            };
            let stack = EmbeddedStack::start(options).await.or_environment()?;
            let running = Running {
                pid: std::process::id(),
                server: stack.cluster().server_url().to_string(),
                gateway: format!("http://{}", stack.gateway_address()),
                metrics: format!("http://{}/metrics", stack.metrics_address()),
                kubeconfig: stack.cluster().kubeconfig().to_path_buf(),
                isolation: format!(
                    "{}; names below cluster.local at {}",
                    stack.cluster().isolation(),
                    stack.cluster().name_server()
                ),
            };
            state.write(&running).or_environment()?;
            running.print();
            println!("{READY}");
            let _ = std::io::stdout().flush();
            interrupt.token().cancelled().await;
            stack.stop().await;
            state.remove().or_environment()?;
            Ok(Exit::Passed)
        })
    }
}

fn storage_mapping(text: &str) -> Result<(String, PathBuf), String> {
    let (prefix, folder) =
        text.split_once('=').ok_or("expected PREFIX=FOLDER, for example s3://models/=./models")?;
    if !prefix.contains("://") {
        return Err(format!("`{prefix}` is no storage URI prefix; expected something like s3://models/"));
    }
    let folder = std::path::absolute(folder).map_err(|error| error.to_string())?;
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    Ok((prefix.to_owned(), folder))
}
