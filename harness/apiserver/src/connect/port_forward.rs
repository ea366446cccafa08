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
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    ContainerRef, Duplex, Extras, Kubelet, kubelet, parameters, target::PodTarget, tunnel,
    websocket::Handshake,
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
                let error =
                    FieldError::invalid("ports", &text.into(), "must be between 1 and 65535, inclusive");
                return Err(ApiError::invalid("", "PodPortForwardOptions", pod, &[error]));
            }
        }
    }
    Ok(found)
}

/// Carries two channels a port.
async fn serve<S>(socket: WebSocketStream<S>, dialer: Dialer, ports: Vec<u16>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
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
pub(super) mod tests {
    use futures::future::BoxFuture;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::connect::{LogOptions, LogStream, Refusal, Session, Streams};

    /// A node whose ports answer what they are sent; port 81 refuses.
    struct Echo;

    impl Kubelet for Echo {
        fn logs(&self, _: ContainerRef, _: LogOptions) -> BoxFuture<'static, Result<LogStream, Refusal>> {
            async { Err(Refusal::bad_request("no logs")) }.boxed()
        }

        fn exec(
            &self,
            _: ContainerRef,
            _: Vec<String>,
            _: Streams,
        ) -> BoxFuture<'static, Result<Session, Refusal>> {
            async { Err(Refusal::bad_request("no commands")) }.boxed()
        }

        fn attach(&self, _: ContainerRef, _: Streams) -> BoxFuture<'static, Result<Session, Refusal>> {
            async { Err(Refusal::bad_request("no streams")) }.boxed()
        }

        fn connect(&self, _: ContainerRef, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> {
            async move {
                if port == 81 {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let (ours, theirs) = duplex(1024);
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(theirs);
                    tokio::io::copy(&mut reader, &mut writer).await
                });
                Ok(Box::new(ours) as Box<dyn Duplex>)
            }
            .boxed()
        }
    }

    pub(in crate::connect) fn dialer() -> Dialer {
        let pod = ContainerRef {
            namespace: "n".into(),
            pod: "p".into(),
            uid: "u".into(),
            container: String::new(),
        };
        Dialer { kubelet: Arc::new(Echo), pod }
    }

    pub(in crate::connect) async fn sockets() -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>)
    {
        let (client, server) = duplex(1 << 16);
        (
            WebSocketStream::from_raw_socket(client, Role::Client, None).await,
            WebSocketStream::from_raw_socket(server, Role::Server, None).await,
        )
    }

    /// If this fails clients that speak the channel form (Python's, kube-rs) can't forward ports, or are not told that
    /// a port refuses.
    #[tokio::test]
    async fn each_port_has_two_channels() {
        let (mut client, server) = sockets().await;
        tokio::spawn(serve(server, dialer(), vec![80, 81]));
        client.send(Message::binary(b"\0ping".to_vec())).await.expect("sent");
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 6 {
            match client.next().await {
                Some(Ok(Message::Binary(data))) => seen.insert(data.to_vec()),
                other => panic!("after {seen:?}: {other:?}"),
            };
        }
        for (channel, port) in [(0, 80), (1, 80), (2, 81), (3, 81)] {
            assert!(
                seen.contains(&[channel, port, 0][..]),
                "channel {channel} opens with its port: {seen:?}"
            );
        }
        assert!(seen.contains(&b"\0ping"[..]));
        let failure = seen.iter().find(|data| data[0] == 3 && data.len() > 3).expect("a failure");
        assert!(String::from_utf8_lossy(failure).contains("error forwarding port 81 to pod p, uid u"));
    }

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
