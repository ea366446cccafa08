//! Probes: what to ask, how often, and what a row of answers means.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{grpc_probe, https_probe, kubelet::beside, logs::Log, registry::Run, sandbox::Sandbox};

/// The three questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Has it started? Until it has, the others are not asked.
    Startup,
    /// Shall it get requests?
    Readiness,
    /// Does it live?
    Liveness,
}

impl Question {
    /// The word in events.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// The numbers of a probe, with Kubernetes' defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Wait after the container's start.
    pub initial_delay: Duration,
    /// Time from one question to the next.
    pub period: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that mean success.
    pub success_threshold: u32,
    /// Bad answers in a row that mean failure.
    pub failure_threshold: u32,
}

impl Numbers {
    /// The numbers of a probe.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32, least: u32| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(least)
        };
        let seconds = |value, default, least| Duration::from_secs(u64::from(number(value, default, least)));
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            success_threshold: number(probe.success_threshold, 1, 1),
            failure_threshold: number(probe.failure_threshold, 3, 1),
        }
    }
}

/// Counts answers of one kind in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<bool>,
    in_a_row: u32,
}

impl Tally {
    /// Takes in an answer; `Some` when it and those before it settle the question.
    pub fn record(&mut self, is_good: bool, numbers: &Numbers) -> Option<bool> {
        self.in_a_row = if self.last == Some(is_good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(is_good);
        let needed = if is_good { numbers.success_threshold } else { numbers.failure_threshold };
        (self.in_a_row >= needed).then_some(is_good)
    }
}

/// Asks once.
///
/// # Errors
/// Why the answer is bad, in the words of the event `Unhealthy`.
pub(crate) async fn ask(
    sandbox: &Sandbox,
    container: &Container,
    probe: &Probe,
    run: &Run,
) -> Result<(), String> {
    let timeout = Numbers::of(probe).timeout;
    if let Some(get) = &probe.http_get {
        return http_get(sandbox, container, get, timeout).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port_number(sandbox, container, &tcp.port)?;
        let host = tcp.host.clone().unwrap_or_else(|| sandbox.surroundings.pod_ip.to_string());
        let connect = TcpStream::connect((host.as_str(), port));
        return match tokio::time::timeout(timeout, connect).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: connect: {}", words(&error))),
            Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
        };
    }
    if let Some(command) = probe.exec.as_ref().and_then(|exec| exec.command.as_deref()) {
        return exec(sandbox, command, run, timeout).await;
    }
    if let Some(grpc) = &probe.grpc {
        return grpc_probe::ask(sandbox, grpc, timeout).await;
    }
    Err("this node can ask by httpGet, tcpSocket, grpc and exec; use one of those".to_owned())
}

/// Runs a command in the surroundings of the container.
///
/// # Errors
/// Its output if it exits with another code than 0, or why it did not run to its end.
pub(crate) async fn exec(
    sandbox: &Sandbox,
    command: &[String],
    run: &Run,
    timeout: Duration,
) -> Result<(), String> {
    let log = Log::in_memory();
    let launch = beside(run, command)?;
    let mut process = sandbox.node.processes.spawn(&launch, &log).map_err(|error| {
        format!("exec: {:?}: {}", command.first().map_or("", String::as_str), words(&error))
    })?;
    match tokio::time::timeout(timeout, process.wait()).await {
        Ok(0) => Ok(()),
        Ok(code) => {
            let output = log.tail();
            Err(if output.is_empty() { format!("command exited with code {code}") } else { output })
        }
        Err(_) => Err(format!("command timed out: {command:?} timed out after {}s", timeout.as_secs())),
    }
}

/// A connection, with or without TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What went wrong with TLS; a server without it is told as Kubernetes tells it.
fn tls_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    if text.contains("InvalidContentType") {
        "http: server gave HTTP response to HTTPS client".to_owned()
    } else {
        text
    }
}

/// Sends a GET request to the container; an answer from 200 to 399 is good.
///
/// # Errors
/// Why the answer is bad.
pub(crate) async fn http_get(
    sandbox: &Sandbox,
    container: &Container,
    get: &HTTPGetAction,
    timeout: Duration,
) -> Result<(), String> {
    let port = port_number(sandbox, container, &get.port)?;
    let host = get.host.clone().unwrap_or_else(|| sandbox.surroundings.pod_ip.to_string());
    let path = get.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let is_https = get.scheme.as_deref() == Some("HTTPS");
    let scheme = if is_https { "https" } else { "http" };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let shown_host =
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host.clone() };
    let url = format!("{scheme}://{shown_host}:{port}{slash}{path}");
    let at_fault = |cause: String| format!("Get \"{url}\": {cause}");
    let exchange = async {
        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| at_fault(format!("dial tcp {shown_host}:{port}: connect: {}", words(&error))))?;
        let stream: Box<dyn Connection> = if is_https {
            Box::new(https_probe::connect(&host, stream).await.map_err(|error| at_fault(tls_words(&error)))?)
        } else {
            Box::new(stream)
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| at_fault(error.to_string()))?;
        let mut request = http::Request::get(format!("{slash}{path}"))
            .header("host", format!("{shown_host}:{port}"))
            .header("user-agent", "kube-probe/1.36")
            .header("accept", "*/*")
            .header("connection", "close");
        for header in get.http_headers.iter().flatten() {
            request = request.header(header.name.as_str(), header.value.as_str());
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| at_fault(error.to_string()))?;
        // Nobody reads the body, so the connection would not end by itself.
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        driver.abort();
        let answer = answer.map_err(|error| at_fault(error.to_string()))?;
        let status = answer.status().as_u16();
        if (200..400).contains(&status) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {status}"))
        }
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result,
        Err(_) => {
            Err(at_fault("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into()))
        }
    }
}

/// The port to ask: by number or the name of a container port, and where that is served.
fn port_number(sandbox: &Sandbox, container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named =
                ports.iter().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|&number| number > 0);
    let number = number.ok_or_else(|| format!("the container has no port {port:?}"))?;
    Ok(sandbox.surroundings.ports.get(&number).copied().unwrap_or(number))
}

/// The system's words for an error, in lower case and without its number.
pub(super) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails one lost probe takes a healthy pod out of service, or a dead one stays in.
    #[test]
    fn answers_count_in_a_row() {
        let numbers =
            Numbers { success_threshold: 2, failure_threshold: 3, ..Numbers::of(&Probe::default()) };
        let mut tally = Tally::default();
        let answers = [true, false, false, true, true, true, false, false, false, false, true];
        let settled: Vec<Option<bool>> =
            answers.iter().map(|answer| tally.record(*answer, &numbers)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(settled, [None, None, None, None, yes, yes, None, None, no, no, None]);
    }

    /// If this fails probes run at another pace than on a real node.
    #[test]
    fn numbers_have_kubernetes_defaults() {
        let numbers = Numbers::of(&Probe::default());
        assert_eq!(numbers.period.as_secs(), 10);
        assert_eq!(numbers.timeout.as_secs(), 1);
        assert_eq!((numbers.success_threshold, numbers.failure_threshold), (1, 3));
        let numbers =
            Numbers::of(&Probe { period_seconds: Some(0), failure_threshold: Some(-1), ..Probe::default() });
        assert_eq!((numbers.period.as_secs(), numbers.failure_threshold), (1, 3));
    }
}
