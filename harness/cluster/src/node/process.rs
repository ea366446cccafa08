//! Processes in groups of their own, none of which outlives the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinSet,
};

use super::{logs::Log, terminal::Terminal, warden::Warden};

/// How long the output of an ended process is read; a process that left its group may hold the pipe for ever.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub directory: PathBuf,
}

/// All processes of a cluster.
#[derive(Debug)]
pub(crate) struct Processes {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    groups: BTreeSet<i32>,
    warden: Warden,
    is_closed: bool,
}

impl Processes {
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let warden = Warden::start()?;
        Ok(Arc::new(Self { inner: Mutex::new(Inner { groups: BTreeSet::new(), warden, is_closed: false }) }))
    }

    /// Starts a process in a group of its own, with its output in `log`.
    pub(crate) fn spawn(self: &Arc<Self>, launch: &Launch, log: &Log) -> io::Result<Process> {
        let mut command = command(launch)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let (mut child, group) = self.launch(&mut command)?;
        let mut pumps = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            pumps.spawn(log.clone().pump("stdout", stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            pumps.spawn(log.clone().pump("stderr", stderr));
        }
        let stdin = child.stdin.take();
        Ok(Process { child, group, pumps, stdin, processes: self.clone(), has_ended: false })
    }

    /// Starts a process in a group of its own whose streams the caller keeps.
    pub(crate) fn spawn_piped(self: &Arc<Self>, launch: &Launch) -> io::Result<(Process, Pipes)> {
        let mut command = command(launch)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let (mut child, group) = self.launch(&mut command)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process {
            child,
            group,
            pumps: JoinSet::new(),
            stdin: None,
            processes: self.clone(),
            has_ended: false,
        };
        Ok((process, pipes))
    }

    /// Starts a process as the leader of a session whose terminal is `terminal`.
    pub(crate) fn spawn_on(self: &Arc<Self>, launch: &Launch, terminal: &File) -> io::Result<Process> {
        // It takes the terminal, then becomes the program; its id does not change, because it leads no group.
        let mut argv = vec!["setsid".to_owned(), "--ctty".to_owned(), "--".to_owned()];
        argv.extend_from_slice(&launch.argv);
        let mut command = command(&Launch { argv, ..launch.clone() })?;
        let end = || terminal.try_clone().map(Stdio::from);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let (child, group) = self.launch(&mut command)?;
        Ok(Process {
            child,
            group,
            pumps: JoinSet::new(),
            stdin: None,
            processes: self.clone(),
            has_ended: false,
        })
    }

    fn launch(&self, command: &mut Command) -> io::Result<(Child, Pid)> {
        // The lock is held while starting, so that nothing starts behind the back of `kill_all`.
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the cluster is stopping"));
        }
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else { return Err(io::Error::other("the process has no id")) };
        inner.groups.insert(group.as_raw_nonzero().get());
        inner.warden.watch(group.as_raw_nonzero().get());
        Ok((child, group))
    }

    /// Kills every process group, at once and without waiting, and lets no new one start.
    pub(crate) fn kill_all(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        for group in &inner.groups {
            if let Some(group) = Pid::from_raw(*group) {
                kill(group, Signal::KILL);
            }
        }
    }

    /// Kills what is left and ends the supervision.
    pub(crate) fn close(&self) {
        self.kill_all();
        self.lock().warden.stop();
    }

    fn forget(&self, group: Pid) {
        let group = group.as_raw_nonzero().get();
        let mut inner = self.lock();
        inner.groups.remove(&group);
        if !inner.is_closed {
            inner.warden.forget(group);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Input, output and failures of a process.
pub(crate) type Pipes = (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>);

fn command(launch: &Launch) -> io::Result<Command> {
    let Some((program, arguments)) = launch.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command specified"));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&launch.env).current_dir(&launch.directory);
    Ok(command)
}

/// A process and its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    pumps: JoinSet<()>,
    /// Our own servers exit when this pipe ends; see `WINDTUNNEL_EXIT_WITH_PARENT`.
    stdin: Option<ChildStdin>,
    processes: Arc<Processes>,
    has_ended: bool,
}

impl Process {
    /// Process id, which is the group's too.
    pub(crate) fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// The process's input, to be kept open as long as the process lives.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Writes what comes out of a terminal to a log.
    pub(crate) fn record(&mut self, terminal: Terminal, log: &Log) {
        self.pumps.spawn(log.clone().pump("stdout", terminal));
    }

    /// Sends a signal to the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.has_ended {
            kill(self.group, signal);
        }
    }

    /// Waits for the process to end, ends what is left of its group, and reads the rest of its output. Returns the
    /// exit code, 128 and the signal's number if a signal ended it. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> i32 {
        let status = self.child.wait().await;
        if !self.has_ended {
            kill(self.group, Signal::KILL);
            self.has_ended = true;
            self.processes.forget(self.group);
        }
        let drained = async { while self.pumps.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
            self.pumps.abort_all();
        }
        status.map_or(255, exit_code)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended {
            kill(self.group, Signal::KILL);
            self.processes.forget(self.group);
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

fn kill(group: Pid, signal: Signal) {
    // A group that has just ended can't be signalled, which is as well.
    if let Err(error) = kill_process_group(group, signal) {
        tracing::trace!(%error, group = group.as_raw_nonzero().get(), "signal not delivered");
    }
}
