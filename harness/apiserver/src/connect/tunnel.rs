//! A SPDY session inside of a WebSocket: how kubectl forwards ports.
//!
//! For each connection the client opens two streams with the same request number: `error`, on which it hears of
//! failures, and `data`.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    port_forward::{Dialer, read_piece, write_all},
    spdy::{Decoder, Encoder, Frame},
};

/// Frames that wait for a slow client, and pieces that wait for a slow pod.
const WAITING: usize = 16;
/// Streams of one session at a time.
const STREAMS: usize = 2_000;

struct Session {
    dialer: Dialer,
    encoder: Encoder,
    sender: mpsc::Sender<Message>,
    /// Error streams by request number, until their data streams come.
    errors: HashMap<String, u32>,
    /// Where the data of streams goes.
    inlets: HashMap<u32, mpsc::Sender<Bytes>>,
    tasks: JoinSet<u32>,
}

/// Carries connections until the client goes.
pub(super) async fn serve<S>(socket: WebSocketStream<S>, dialer: Dialer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sink, mut source) = socket.split();
    let (sender, mut waiting) = mpsc::channel::<Message>(WAITING);
    let writer = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    let mut session = Session {
        dialer,
        encoder: Encoder::default(),
        sender,
        errors: HashMap::new(),
        inlets: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let mut decoder = Decoder::new();
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(data) = message else { continue };
        decoder.push(&data);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => session.take(frame).await,
                Ok(None) => break,
                Err(cause) => {
                    tracing::debug!(cause, "a port-forward session is not SPDY 3.1");
                    drop(session);
                    writer.abort();
                    return;
                }
            }
        }
        while let Some(ended) = session.tasks.try_join_next() {
            if let Ok(stream) = ended {
                session.inlets.remove(&stream);
            }
        }
    }
    drop(session);
    writer.abort();
}

impl Session {
    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Open { stream, is_last, headers } => self.open(stream, is_last, &headers).await,
            Frame::Data { stream, is_last, data } => {
                if !data.is_empty()
                    && let Some(inlet) = self.inlets.get(&stream)
                {
                    // A connection that has ended takes nothing more.
                    let _ = inlet.send(data).await;
                }
                if is_last {
                    self.inlets.remove(&stream);
                }
            }
            Frame::Reset { stream } => {
                self.inlets.remove(&stream);
            }
            Frame::Ping { id } => self.send(Encoder::ping(id)).await,
            Frame::Farewell | Frame::Other => {}
        }
    }

    async fn open(&mut self, stream: u32, is_last: bool, headers: &[(String, String)]) {
        let header = |wanted: &str| {
            headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value)
        };
        let (kind, request) = (header("streamtype"), header("requestid").to_owned());
        let port = header("port").parse::<u16>().ok().filter(|port| *port > 0);
        let is_known = matches!(kind, "error" | "data");
        let (Some(port), true, true) = (port, is_known, self.inlets.len() < STREAMS) else {
            self.send(Encoder::reset(stream)).await;
            return;
        };
        let reply = self.encoder.reply(stream);
        self.send(reply).await;
        if kind == "error" {
            if self.errors.len() < STREAMS {
                self.errors.insert(request, stream);
            }
            return;
        }
        let error_stream = self.errors.remove(&request);
        let (inlet, inbox) = mpsc::channel(WAITING);
        if !is_last {
            self.inlets.insert(stream, inlet);
        }
        self.tasks.spawn(forward(
            stream,
            error_stream,
            port,
            self.dialer.clone(),
            inbox,
            self.sender.clone(),
        ));
    }

    async fn send(&self, frame: Vec<u8>) {
        // A client that has gone is noticed by the reader.
        let _ = self.sender.send(Message::binary(frame)).await;
    }
}

/// One connection; returns its data stream.
async fn forward(
    stream: u32,
    error_stream: Option<u32>,
    port: u16,
    dialer: Dialer,
    inbox: mpsc::Receiver<Bytes>,
    sender: mpsc::Sender<Message>,
) -> u32 {
    let send = |frame: Vec<u8>| {
        let sender = sender.clone();
        async move { sender.send(Message::binary(frame)).await.is_ok() }
    };
    match dialer.dial(port).await {
        Ok(connection) => {
            let (mut reader, writer) = tokio::io::split(connection);
            let down = async {
                while let Some(piece) = read_piece(&mut reader).await {
                    if !send(Encoder::data(stream, &piece, false)).await {
                        return;
                    }
                }
                send(Encoder::data(stream, &[], true)).await;
            };
            // It has ended when the pod has ended: what the client writes after that has no reader.
            let up = async {
                write_all(writer, inbox).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = down => {}
                () = up => {}
            }
        }
        Err(cause) => {
            if let Some(error_stream) = error_stream {
                send(Encoder::data(error_stream, cause.as_bytes(), false)).await;
            }
            send(Encoder::data(stream, &[], true)).await;
        }
    }
    if let Some(error_stream) = error_stream {
        send(Encoder::data(error_stream, &[], true)).await;
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{
        port_forward::tests::{dialer, sockets},
        spdy::tests::Opener,
    };

    /// If this fails `kubectl port-forward` carries one connection only, mixes connections up, or is silent where a
    /// port refuses.
    #[tokio::test]
    async fn connections_are_carried_side_by_side() {
        let (mut client, server) = sockets().await;
        tokio::spawn(serve(server, dialer()));
        let mut opener = Opener::new();
        let mut bytes = Vec::new();
        for (request, port) in [("0", "80"), ("1", "80"), ("2", "81")] {
            let first = 4 * request.parse::<u32>().expect("a number") + 1;
            for (stream, kind) in [(first, "error"), (first + 2, "data")] {
                bytes.extend(
                    opener.open(stream, &[("streamtype", kind), ("port", port), ("requestid", request)]),
                );
            }
            bytes.extend(Encoder::data(first + 2, format!("to {request}").as_bytes(), true));
        }
        client.send(Message::binary(bytes)).await.expect("sent");
        let mut reader = Decoder::new();
        let (mut texts, mut ends) = (HashMap::<u32, String>::new(), std::collections::BTreeSet::new());
        while ends.len() < 6 {
            match client.next().await {
                Some(Ok(Message::Binary(data))) => reader.push(&data),
                other => panic!("after {texts:?} {ends:?}: {other:?}"),
            }
            while let Some(frame) = reader.next().expect("frames") {
                if let Frame::Data { stream, is_last, data } = frame {
                    *texts.entry(stream).or_default() += &String::from_utf8_lossy(&data);
                    if is_last {
                        ends.insert(stream);
                    }
                }
            }
        }
        assert_eq!((texts[&3].as_str(), texts[&7].as_str()), ("to 0", "to 1"));
        assert!(texts[&9].contains("error forwarding port 81"), "{texts:?}");
        assert_eq!(texts[&11], "");
    }
}
