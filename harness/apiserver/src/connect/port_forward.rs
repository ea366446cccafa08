//! `pods/portforward`: connections to ports of a pod over one WebSocket.
//!
//! Two forms: a SPDY session inside of the socket's messages (`SPDY/3.1+portforward.k8s.io`, what kubectl speaks), and
//! two channels a port of the query (`v4.channel.k8s.io`): 2n data, 2n+1 failures, each opened by the server with the
//! port's number.

use std::{io, sync::Arc};

use bytes::{Buf as _, Bytes};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::Response;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    ContainerRef, Duplex, Extras, Kubelet, kubelet, parameters,
    target::PodTarget,
    tunnel,
    websocket::{Handshake, Socket},
};
use crate::{
    http_layer::ResponseBody,
    pipeline::{Request, route::ResourcePath},
    server::ApiServer,
    status::{ApiError, FieldError},
};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Messages that wait for a slow client, and for a slow pod.
const WAITING: usize = 16;
/// Most bytes in one message.
const PIECE: usize = 32 * 1024;
/// As many ports as two channels each leave room for.
const PORTS: usize = 127;

/// Where a pod's ports are reached.
#[derive(Clone)]
pub(super) struct Dialer {
    kubelet: Arc<dyn Kubelet>,
    pod: ContainerRef,
}

impl Dialer {
    /// Connects; a failure is told in a sentence.
    pub(super) async fn dial(&self, port: u16) -> Result<Box<dyn Duplex>, String> {
        let connected = self.kubelet.connect(self.pod.clone(), port).await;
        connected.map_err(|error: io::Error| {
            format!("error forwarding port {port} to pod {}, uid {}: {error}", self.pod.pod, self.pod.uid)
        })
    }
}

pub(super) async fn respond(
    server: &ApiServer,
    request: &Request,
    path: &ResourcePath,
    extras: Extras<'_>,
) -> Result<Response<ResponseBody>, ApiError> {
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(ApiError::method_not_allowed());
    }
    let name = path.name.as_deref().unwrap_or_default();
    let ports = ports(&parameters(request), name)?;
    let pod = PodTarget::find(server, path, name)?;
    if !pod.is_scheduled() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let dialer = Dialer { kubelet: kubelet(server)?, pod: pod.reference("") };
    let handshake = Handshake::begin(extras, &[TUNNEL, CHANNELS])?;
    if handshake.protocol == TUNNEL {
        return Ok(handshake.finish(move |socket| tunnel::serve(socket, dialer).boxed()));
    }
    if ports.is_empty() {
        return Err(ApiError::bad_request("query parameter \"ports\" is required"));
    }
    Ok(handshake.finish(move |socket| serve(socket, dialer, ports).boxed()))
}

fn ports(parameters: &[(String, String)], pod: &str) -> Result<Vec<u16>, ApiError> {
    let named = parameters.iter().filter(|(key, _)| matches!(key.as_str(), "ports" | "port"));
    let texts = named.flat_map(|(_, value)| value.split(','));
    let mut found = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(port) if port > 0 && found.len() < PORTS => found.push(port),
            _ => {
                let error = FieldError::invalid("ports", &text.into(), "must be between 1 and 65535, inclusive");
                return Err(ApiError::invalid("", "PodPortForwardOptions", pod, &[error]));
            }
        }
    }
    Ok(found)
}

/// Carries two channels a port.
async fn serve(socket: Socket, dialer: Dialer, ports: Vec<u16>) {
    let (mut sink, mut source) = socket.split();
    let (sender, mut waiting) = mpsc::channel::<Message>(WAITING);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut inlets = Vec::new();
    for (number, port) in (0_u8..).zip(ports) {
        let (inlet, inbox) = mpsc::channel::<Bytes>(WAITING);
        inlets.push(inlet);
        tasks.spawn(forward(number * 2, port, dialer.clone(), inbox, sender.clone()));
    }
    drop(sender);
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(mut data) = message else { continue };
        if !data.has_remaining() {
            continue;
        }
        let channel = data.get_u8();
        if channel % 2 == 0
            && let Some(inlet) = inlets.get(usize::from(channel / 2))
        {
            // A port whose connection has ended takes nothing more.
            let _ = inlet.send(data).await;
        }
    }
}

async fn forward(
    channel: u8,
    port: u16,
    dialer: Dialer,
    inbox: mpsc::Receiver<Bytes>,
    sender: mpsc::Sender<Message>,
) {
    let tell = |channel: u8, data: &[u8]| {
        let message = Message::binary([&[channel][..], data].concat());
        let sender = sender.clone();
        async move { sender.send(message).await.is_ok() }
    };
    for opened in [channel, channel + 1] {
        tell(opened, &port.to_le_bytes()).await;
    }
    match dialer.dial(port).await {
        Ok(connection) => {
            let (reader, writer) = tokio::io::split(connection);
            let up = write_all(writer, inbox);
            let down = async {
                let mut reader = reader;
                while let Some(piece) = read_piece(&mut reader).await {
                    if !tell(channel, &piece).await {
                        return;
                    }
                }
            };
            tokio::join!(up, down);
        }
        Err(cause) => {
            tell(channel + 1, cause.as_bytes()).await;
        }
    }
}

/// Writes what comes in; the end of it is the end of the connection's input.
pub(super) async fn write_all(mut writer: WriteHalf<Box<dyn Duplex>>, mut inbox: mpsc::Receiver<Bytes>) {
    while let Some(data) = inbox.recv().await {
        if writer.write_all(&data).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// The next piece of what the pod sends; `None` at its end.
pub(super) async fn read_piece(reader: &mut ReadHalf<Box<dyn Duplex>>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; PIECE];
    match reader.read(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            buffer.truncate(count);
            Some(buffer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a port that is none ends in a panic or in silence.
    #[test]
    fn ports_are_checked() {
        let of = |text: &str| ports(&[("ports".into(), text.into())], "p");
        assert_eq!(of("80,8080").expect("ports"), [80, 8080]);
        for bad in ["0", "65536", "x", "-1", ""] {
            assert_eq!(of(bad).expect_err(bad).code, 422, "{bad}");
        }
    }
}
