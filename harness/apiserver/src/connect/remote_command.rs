//! `pods/exec` and `pods/attach`: the streams of a process over a WebSocket.
//!
//! Each message begins with the number of its channel: 0 input, 1 output, 2 failures, 3 how it ended (a `Status`),
//! 4 sizes of the terminal as JSON. Since version 5 channel 255 closes the channel that its one byte names. In the
//! base64 form numbers are ASCII digits and the rest is base64 in text messages.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, stream::SplitStream};
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    ExitOutcome, Extras, Refusal, Session, Streams, TerminalSize, is_true, kubelet, parameters,
    target::PodTarget, websocket::Handshake,
};
use crate::{
    http_layer::ResponseBody,
    pipeline::{Request, route::ResourcePath},
    server::ApiServer,
    status::{ApiError, FieldError},
};

const BASE64: &str = "v4.base64.channel.k8s.io";
const PROTOCOLS: [&str; 4] = ["v5.channel.k8s.io", "v4.channel.k8s.io", BASE64, "channel.k8s.io"];
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Messages that wait for a slow client.
const WAITING: usize = 16;
/// Most bytes of output in one message.
const PIECE: usize = 32 * 1024;

pub(super) async fn respond(
    server: &ApiServer,
    request: &Request,
    path: &ResourcePath,
    extras: Extras<'_>,
    is_exec: bool,
) -> Result<Response<ResponseBody>, ApiError> {
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(ApiError::method_not_allowed());
    }
    let name = path.name.as_deref().unwrap_or_default();
    let mut streams = Streams::default();
    let (mut container, mut command) = (String::new(), Vec::new());
    for (key, value) in parameters(request) {
        match key.as_str() {
            "container" => container = value,
            "command" => command.push(value),
            "stdin" => streams.stdin = is_true(&value),
            "stdout" => streams.stdout = is_true(&value),
            "stderr" => streams.stderr = is_true(&value),
            "tty" => streams.tty = is_true(&value),
            _ => {}
        }
    }
    let kind = if is_exec { "PodExecOptions" } else { "PodAttachOptions" };
    let mut errors = Vec::new();
    if !(streams.stdin || streams.stdout || streams.stderr) {
        errors.push(FieldError::required("", "one of stdin, stdout, stderr must be true"));
    }
    if is_exec && command.is_empty() {
        errors.push(FieldError::required("command", ""));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", kind, name, &errors));
    }
    let pod = PodTarget::find(server, path, name)?;
    if matches!(pod.phase(), "Succeeded" | "Failed") {
        let message =
            format!("cannot exec into a container in a completed pod; current phase is {}", pod.phase());
        return Err(ApiError::bad_request(message));
    }
    let container = pod.container(&container)?;
    if !pod.is_scheduled() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let kubelet = kubelet(server)?;
    let handshake = Handshake::begin(extras, &PROTOCOLS)?;
    let protocol = handshake.protocol;
    let session = if is_exec {
        kubelet.exec(container, command.clone(), streams)
    } else {
        kubelet.attach(container, streams)
    };
    Ok(handshake.finish(move |socket| {
        async move {
            let session = session.await;
            serve(socket, protocol == BASE64, session, &command).await;
        }
        .boxed()
    }))
}

/// Carries the streams to and fro until the process ends or the client goes.
async fn serve<S>(
    socket: WebSocketStream<S>,
    is_text: bool,
    session: Result<Session, Refusal>,
    command: &[String],
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sink, source) = socket.split();
    let (sender, mut waiting) = mpsc::channel::<Message>(WAITING);
    let writer = async move {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    let outlet = Outlet { sender, is_text };
    let worker = async move {
        let status = match session {
            Ok(session) => match carry(session, source, &outlet).await {
                Some(outcome) => status(&outcome, command),
                None => return,
            },
            Err(refusal) => failure(&refusal),
        };
        outlet.send(ERROR, status.to_string().as_bytes()).await;
        let farewell = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = outlet.sender.send(Message::Close(Some(farewell))).await;
    };
    tokio::join!(writer, worker);
}

/// `None` if the client has gone.
async fn carry<S>(
    session: Session,
    mut source: SplitStream<WebSocketStream<S>>,
    outlet: &Outlet,
) -> Option<ExitOutcome>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut outputs = JoinSet::new();
    // The client knows by this that the streams are there.
    outlet.send(STDOUT, &[]).await;
    for (channel, output) in [(STDOUT, session.stdout), (STDERR, session.stderr)] {
        if let Some(output) = output {
            outputs.spawn(pump(output, channel, outlet.clone()));
        }
    }
    let (mut stdin, resize, is_text) = (session.stdin, session.resize, outlet.is_text);
    let inputs = async move {
        while let Some(Ok(message)) = source.next().await {
            let Some((channel, data)) = decode(message, is_text) else { continue };
            match channel {
                STDIN => {
                    if let Some(open) = &mut stdin {
                        let is_written = open.write_all(&data).await.is_ok() && open.flush().await.is_ok();
                        if !is_written {
                            stdin = None;
                        }
                    }
                }
                CLOSE if data.first() == Some(&STDIN) => stdin = None,
                RESIZE => {
                    if let (Some(resize), Ok(size)) = (&resize, serde_json::from_slice::<Size>(&data)) {
                        let size = TerminalSize { width: size.width, height: size.height };
                        let _ = resize.send(size).await;
                    }
                }
                _ => {}
            }
        }
    };
    let outcome = tokio::select! {
        outcome = session.exit => Some(outcome),
        () = inputs => None,
    };
    if outcome.is_some() {
        // What was written before the end comes before the word that it has ended.
        while outputs.join_next().await.is_some() {}
    }
    outcome
}

async fn pump(mut output: Box<dyn AsyncRead + Send + Unpin>, channel: u8, outlet: Outlet) {
    let mut buffer = vec![0; PIECE];
    loop {
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if !outlet.send(channel, &buffer[..count]).await {
                    return;
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Outlet {
    sender: mpsc::Sender<Message>,
    is_text: bool,
}

impl Outlet {
    async fn send(&self, channel: u8, data: &[u8]) -> bool {
        let message = if self.is_text {
            Message::text(format!("{channel}{}", STANDARD.encode(data)))
        } else {
            let mut bytes = Vec::with_capacity(data.len() + 1);
            bytes.push(channel);
            bytes.extend_from_slice(data);
            Message::binary(bytes)
        };
        self.sender.send(message).await.is_ok()
    }
}

/// The channel of a message and what it carries.
fn decode(message: Message, is_text: bool) -> Option<(u8, Bytes)> {
    let data = match message {
        Message::Binary(data) => data,
        Message::Text(text) => Bytes::from(text),
        _ => return None,
    };
    let channel = *data.first()?;
    let rest = data.slice(1..);
    if is_text {
        return Some((channel.checked_sub(b'0')?, STANDARD.decode(rest).ok()?.into()));
    }
    Some((channel, rest))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

fn status(outcome: &ExitOutcome, command: &[String]) -> Value {
    match outcome {
        ExitOutcome::Code(0) => json!({"metadata": {}, "status": "Success"}),
        ExitOutcome::Code(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
                command.join(" ")
            ),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExitOutcome::Failed(cause) => failure(&Refusal::internal(cause)),
    }
}

fn failure(refusal: &Refusal) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": refusal.message,
        "reason": refusal.reason,
        "details": {"causes": [{"message": refusal.message}]},
        "code": refusal.code,
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A session that echoes its input in capitals until it ends, then exits with 3; and the client's side of it.
    async fn echo(is_text: bool) -> (WebSocketStream<DuplexStream>, tokio::task::JoinHandle<()>) {
        let (client, server) = duplex(1 << 16);
        let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let (stdin, mut from) = duplex(1024);
        let (mut to, stdout) = duplex(1024);
        let exit = async move {
            let mut input = Vec::new();
            from.read_to_end(&mut input).await.expect("input");
            to.write_all(&input.to_ascii_uppercase()).await.expect("output");
            drop(to);
            ExitOutcome::Code(3)
        };
        let session = Session {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize: None,
            exit: exit.boxed(),
        };
        let task = tokio::spawn(async move { serve(server, is_text, Ok(session), &["x".into()]).await });
        (client, task)
    }

    /// If this fails `echo | kubectl exec -i` hangs, loses output or exits with another code.
    #[tokio::test]
    async fn input_ends_output_is_complete_and_the_code_arrives_last() {
        let (mut client, task) = echo(false).await;
        client.send(Message::binary(b"\0abc".to_vec())).await.expect("sent");
        client.send(Message::binary(vec![CLOSE, STDIN])).await.expect("sent");
        let mut seen = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            match message {
                Message::Binary(data) => seen.push(data),
                Message::Close(frame) => {
                    assert_eq!(frame.map(|frame| frame.code), Some(CloseCode::Normal));
                    break;
                }
                _ => {}
            }
        }
        assert_eq!(seen[0][..], [STDOUT], "the first message says that the streams are there");
        let output: Vec<u8> =
            seen.iter().filter(|data| data[0] == STDOUT).flat_map(|data| data[1..].to_vec()).collect();
        assert_eq!(output, b"ABC");
        let last = seen.last().expect("messages");
        assert_eq!(last[0], ERROR);
        let status: Value = serde_json::from_slice(&last[1..]).expect("a status");
        assert_eq!(status["details"]["causes"][0]["message"], "3");
        drop(client);
        task.await.expect("the session ends");
    }

    /// If this fails commands go on running when `kubectl exec` is interrupted, and pile up.
    #[tokio::test]
    async fn a_client_that_goes_ends_the_session() {
        let (client, task) = echo(true).await;
        drop(client);
        tokio::time::timeout(std::time::Duration::from_secs(30), task)
            .await
            .expect("in time")
            .expect("no panic");
    }

    /// If this fails `kubectl exec` exits with another code than the command.
    #[test]
    fn the_end_is_told_as_clients_read_it() {
        let command = ["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()];
        assert_eq!(status(&ExitOutcome::Code(0), &command)["status"], "Success");
        let failed = status(&ExitOutcome::Code(3), &command);
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
        assert_eq!(status(&ExitOutcome::Failed("x".into()), &command)["reason"], "InternalError");
    }

    /// If this fails input goes astray, or a malformed message ends the session.
    #[test]
    fn messages_are_read_in_both_forms() {
        let binary = decode(Message::binary(vec![4, b'{']), false);
        assert_eq!(binary, Some((4, Bytes::from_static(b"{"))));
        let text = decode(Message::text("0aGk="), true);
        assert_eq!(text, Some((0, Bytes::from_static(b"hi"))));
        assert_eq!(decode(Message::binary(vec![]), false), None);
        assert_eq!(decode(Message::text("0***"), true), None);
    }
}
