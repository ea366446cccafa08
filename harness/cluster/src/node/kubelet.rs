//! What the node does for the API server: logs, commands beside containers, attached streams, connections to ports.

use std::{
    io,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use rustix::process::Signal;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, duplex},
    net::TcpStream,
    sync::{broadcast, mpsc},
};
use windtunnel_apiserver::{
    ContainerRef, Duplex, ExitOutcome, Kubelet, LogOptions, LogStream, Refusal, Session, Streams,
    TerminalSize,
};

use super::{
    Context, log_reader,
    process::{Launch, Process},
    registry::Run,
    terminal::Terminal,
};
use crate::{controllers::endpoints::served_port, world::Key};

/// Bytes of a stream that wait for a slow client.
const BUFFER: usize = 64 * 1024;
/// What ends the input of a terminal: Ctrl-D.
const END_OF_INPUT: u8 = 4;
/// Sizes of a terminal that wait to be set.
const SIZES: usize = 4;

/// The node as the API server sees it. It does not keep the node: that has clients of the API server, and neither would ever
/// go.
pub(crate) struct NodeKubelet(pub(crate) Weak<Context>);

impl Kubelet for NodeKubelet {
    fn logs(
        &self,
        container: ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Refusal>> {
        let found = self.log_of(&container, options.previous);
        async move { found.map(|log| log_reader::read(&log, options)) }.boxed()
    }

    fn exec(
        &self,
        container: ContainerRef,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, Refusal>> {
        let started =
            self.node().and_then(|node| exec(&node, &running(&node, &container)?, &command, streams));
        async move { started }.boxed()
    }

    fn attach(
        &self,
        container: ContainerRef,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, Refusal>> {
        let run = self.node().and_then(|node| running(&node, &container));
        async move { Ok(attach(&run?, streams)) }.boxed()
    }

    fn connect(&self, pod: ContainerRef, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> {
        let key = Key::new(pod.namespace.as_str(), pod.pod.as_str());
        let found = self.0.upgrade().and_then(|node| node.store.read(|world| world.pods.get(&key).cloned()));
        async move {
            let pod = found.filter(|found| found.metadata.uid.as_deref() == Some(&pod.uid));
            let address = pod.as_ref().and_then(|pod| {
                let address: Ipv4Addr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                Some((address, u16::try_from(served_port(pod, i32::from(port))).ok()?))
            });
            let address = address.ok_or_else(|| io::Error::other("the pod has no address yet"))?;
            let stream = TcpStream::connect(address).await?;
            // Small answers are not held back.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream) as Box<dyn Duplex>)
        }
        .boxed()
    }
}

impl NodeKubelet {
    fn node(&self) -> Result<Arc<Context>, Refusal> {
        self.0.upgrade().ok_or_else(|| Refusal::internal("the node has stopped".to_owned()))
    }

    /// The log of the present run, or of the one before.
    fn log_of(&self, container: &ContainerRef, previous: bool) -> Result<super::logs::Log, Refusal> {
        let node = self.node()?;
        let ContainerRef { namespace, pod, uid, container: name } = container;
        let runs = node.registry.runs(uid, name);
        if previous {
            let message = format!("previous terminated container {name:?} in pod {pod:?} not found");
            // While it waits to be started again the run before is the one that ended last.
            let key = Key::new(namespace.as_str(), pod.as_str());
            let found = node.store.read(|world| world.pods.get(&key).cloned());
            let waits = found.as_deref().is_some_and(|pod| waiting_reason(pod, name).is_some());
            if let Some(run) = runs.present.filter(|run| waits && run.exit.borrow().is_some()) {
                return Ok(run.log.clone());
            }
            return runs.previous.ok_or_else(|| Refusal::bad_request(message));
        }
        if let Some(run) = runs.present {
            return Ok(run.log.clone());
        }
        let key = Key::new(namespace.as_str(), pod.as_str());
        let found = node.store.read(|world| world.pods.get(&key).cloned());
        let reason = found.as_deref().and_then(|pod| waiting_reason(pod, name));
        let reason = reason.unwrap_or_else(|| "ContainerCreating".to_owned());
        let message = format!("container {name:?} in pod {pod:?} is waiting to start: {reason}");
        Err(Refusal::bad_request(message))
    }
}

/// The run of a container that has not ended.
fn running(node: &Context, container: &ContainerRef) -> Result<Arc<Run>, Refusal> {
    let run = node.registry.runs(&container.uid, &container.container).present;
    run.filter(|run| run.exit.borrow().is_none()).ok_or_else(|| Refusal {
        code: 500,
        reason: "InternalError",
        message: format!("container not found ({:?})", container.container),
    })
}

/// Why a container waits, for people: the message of an image that can't be had, else the reason.
fn waiting_reason(pod: &Pod, container: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let mut statuses = lists.into_iter().flatten().flatten();
    let found: &ContainerStatus = statuses.find(|status| status.name == container)?;
    let waiting = found.state.as_ref()?.waiting.as_ref()?;
    match waiting.reason.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff") => Some("trying and failing to pull image".to_owned()),
        reason => reason.map(str::to_owned),
    }
}

/// The launch of a command beside a container.
///
/// # Errors
/// Why it can't be run there, in the words of container runtimes.
pub(crate) fn beside(run: &Run, command: &[String]) -> Result<Launch, String> {
    let program = command.first().map_or("", String::as_str);
    let directory = &run.launch.directory;
    let path = run.launch.env.get("PATH").map_or("", String::as_str);
    if run.enclosure.is_some() {
        run.view.check_program(program, path, directory)?;
    }
    Ok(match &run.enclosure {
        Some(enclosure) => Launch {
            argv: enclosure.join(run.process, command, directory),
            env: run.launch.env.clone(),
            directory: Path::new("/").to_owned(),
        },
        None => {
            let argv = command.iter().map(|text| run.paths.rewrite(text)).collect();
            Launch { argv, ..run.launch.clone() }
        }
    })
}

fn exec(node: &Context, run: &Arc<Run>, command: &[String], streams: Streams) -> Result<Session, Refusal> {
    let failed = |cause: String| {
        Refusal::internal(format!(
            "error executing command in container: failed to exec in container: {cause}"
        ))
    };
    let launch = beside(run, command).map_err(&failed)?;
    if streams.tty {
        let (terminal, theirs) = Terminal::open().map_err(|error| failed(error.to_string()))?;
        let mut launch = launch;
        launch.env.entry("TERM".into()).or_insert_with(|| "xterm".into());
        let process = node.processes.spawn_on(&launch, &theirs).map_err(|error| failed(error.to_string()))?;
        drop(theirs);
        let resize = sizes_of(terminal.clone());
        return Ok(Session {
            stdin: streams.stdin.then(|| Box::new(terminal.clone()) as Box<_>),
            stdout: streams.stdout.then(|| Box::new(terminal) as Box<_>),
            stderr: None,
            resize: Some(resize),
            exit: ended(process, run.clone()),
        });
    }
    let (process, (stdin, stdout, stderr)) =
        node.processes.spawn_piped(&launch).map_err(|error| failed(error.to_string()))?;
    Ok(Session {
        stdin: stdin.filter(|_| streams.stdin).map(|stdin| Box::new(stdin) as Box<_>),
        stdout: stdout.filter(|_| streams.stdout).map(|stdout| Box::new(stdout) as Box<_>),
        stderr: stderr.filter(|_| streams.stderr).map(|stderr| Box::new(stderr) as Box<_>),
        resize: None,
        exit: ended(process, run.clone()),
    })
}

/// Where the sizes of a terminal go.
fn sizes_of(terminal: Terminal) -> mpsc::Sender<TerminalSize> {
    let (resize, mut sizes) = mpsc::channel(SIZES);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            terminal.resize(size);
        }
    });
    resize
}

/// The end of a command; it ends with the container that it runs beside.
fn ended(mut process: Process, run: Arc<Run>) -> BoxFuture<'static, ExitOutcome> {
    async move {
        let code = tokio::select! {
            code = process.wait() => code,
            () = run.stop.cancelled() => {
                process.signal(Signal::KILL);
                process.wait().await
            }
        };
        ExitOutcome::Code(code)
    }
    .boxed()
}

fn attach(run: &Arc<Run>, streams: Streams) -> Session {
    let output = |name: &'static str, is_wanted: bool| {
        let live = run.log.live();
        is_wanted.then(|| {
            let (ours, theirs) = duplex(BUFFER);
            tokio::spawn(copy(live, name, ours, run.clone()));
            Box::new(theirs) as Box<_>
        })
    };
    let (stdout, stderr) = (output("stdout", streams.stdout), output("stderr", streams.stderr));
    let stdin = streams.stdin.then(|| {
        let (ours, theirs) = duplex(BUFFER);
        tokio::spawn(feed(ours, run.clone()));
        Box::new(theirs) as Box<dyn AsyncWrite + Send + Unpin>
    });
    let resize = run.terminal.clone().map(sizes_of);
    let run = run.clone();
    let exit = async move {
        let mut exit = run.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            // Who is attached is told that it has ended, not how.
            Ok(_) => ExitOutcome::Code(0),
            Err(_) => ExitOutcome::Failed("the container is gone".to_owned()),
        }
    };
    Session { stdin, stdout, stderr, resize, exit: exit.boxed() }
}

/// Copies what a container writes from now on until it ends.
async fn copy(
    mut live: broadcast::Receiver<(&'static str, Bytes)>,
    name: &'static str,
    mut to: tokio::io::DuplexStream,
    run: Arc<Run>,
) {
    let mut exit = run.exit.subscribe();
    loop {
        let received = tokio::select! {
            biased;
            received = live.recv() => received,
            _ = exit.wait_for(Option::is_some) => return,
        };
        match received {
            Ok((stream, data)) if stream == name => {
                if to.write_all(&data).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Copies a client's input into the container.
async fn feed(mut from: tokio::io::DuplexStream, run: Arc<Run>) {
    let mut stdin = run.stdin.lock().await;
    let Some(open) = stdin.as_mut() else { return };
    let is_written = tokio::io::copy(&mut from, open).await.is_ok();
    if run.is_stdin_once || !is_written {
        if run.is_stdin_once && run.terminal.is_some() {
            // A terminal can't be closed from one side: this character is the end of its input.
            let _ = open.write_all(&[END_OF_INPUT]).await;
        }
        *stdin = None;
    }
}
