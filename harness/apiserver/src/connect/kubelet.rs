//! What the API server asks of the node.

use std::{fmt, io};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

/// The output of a container, in pieces as they come.
pub type LogStream = BoxStream<'static, Bytes>;

/// A connection to a port of a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The node that runs pods. Pods are looked up and requests are checked before it is asked.
pub trait Kubelet: Send + Sync {
    /// The log of a container.
    fn logs(
        &self,
        container: ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Refusal>>;

    /// Runs a command beside a container. Dropping the session ends the command.
    fn exec(
        &self,
        container: ContainerRef,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, Refusal>>;

    /// Joins the streams of a container's own process.
    fn attach(
        &self,
        container: ContainerRef,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, Refusal>>;

    /// Connects to a port of the pod; the container's name does not matter.
    fn connect(&self, pod: ContainerRef, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>>;
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
}

/// Which part of a log, and in which form: the query parameters of `pods/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as the container writes, until it ends.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Only lines written since.
    pub since: Option<jiff::Timestamp>,
    /// A time before each line.
    pub timestamps: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only `stdout` or only `stderr`.
    pub stream: Option<&'static str>,
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streams {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Output of failures; with a terminal it comes as output.
    pub stderr: bool,
    /// The process gets a terminal.
    pub tty: bool,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A running command, or a container that was attached to.
pub struct Session {
    /// Where input goes; dropping it is the end of input.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Output of failures.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Where new sizes of the terminal go.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// How it ends.
    pub exit: BoxFuture<'static, ExitOutcome>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").finish_non_exhaustive()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitOutcome {
    /// With this exit code; 128 and the signal's number if a signal ended it.
    Code(i32),
    /// It could not be run to its end, for this reason.
    Failed(String),
}

/// Why a node does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason such as `BadRequest`.
    pub reason: &'static str,
    /// What the user reads.
    pub message: String,
}

impl Refusal {
    /// A 400: it can't be done with this pod as it is.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into() }
    }

    /// A 500 in the words of Kubernetes.
    pub fn internal(message: impl fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self { code: 500, reason: "InternalError", message }
    }
}
