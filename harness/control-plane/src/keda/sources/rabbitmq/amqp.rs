//! The number of messages of a queue by AMQP 0-9-1: a connection, a channel, and a passive declaration, whose answer has it.
//!
//! Source: <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>. A frame is a type, a channel, a length, that many bytes
//! and an end mark; the bytes of a method are its class, its number and its arguments.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::tls::{Connection, Tls};

/// What opens a connection: the protocol's name and version.
const PROTOCOL: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
const METHOD_FRAME: u8 = 1;
const FRAME_END: u8 = 0xce;
/// Larger frames are failures: RabbitMQ's own limit.
const LIMIT_BYTES: usize = 131_072;
/// The one channel.
const CHANNEL: u16 = 1;
/// For the whole connection.
const NO_CHANNEL: u16 = 0;

/// Class and number of a method.
type Method = (u16, u16);
const CONNECTION_START: Method = (10, 10);
const CONNECTION_START_OK: Method = (10, 11);
const CONNECTION_TUNE: Method = (10, 30);
const CONNECTION_TUNE_OK: Method = (10, 31);
const CONNECTION_OPEN: Method = (10, 40);
const CONNECTION_OPEN_OK: Method = (10, 41);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const QUEUE_DECLARE: Method = (50, 10);
const QUEUE_DECLARE_OK: Method = (50, 11);
/// Only look, make nothing.
const PASSIVE: u8 = 1;

/// Where the broker is and who asks.
pub(super) struct Broker<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: Option<&'a Tls>,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) virtual_host: &'a str,
}

/// How many messages wait in the queue.
///
/// # Errors
/// Why nobody knows: the broker is not there, refuses the user, or has no such queue.
pub(super) async fn messages(broker: &Broker<'_>, queue: &str) -> Result<u32, String> {
    let mut session = Session {
        connection: Connection::open(broker.host, broker.port, broker.tls, &[]).await?,
        place: format!("{}:{}", broker.host, broker.port),
    };
    session.send(&PROTOCOL).await?;
    session.wait(CONNECTION_START).await?;
    let login = format!("\0{}\0{}", broker.user, broker.password);
    let start = Arguments::default().table(&tells_why()).short("PLAIN").long(login.as_bytes()).short("en_US");
    session.call(NO_CHANNEL, CONNECTION_START_OK, start).await?;
    let tune = session.wait(CONNECTION_TUNE).await?;
    // As the broker has it, without heartbeats: the connection lives for one question.
    let limits = tune.get(..6).ok_or_else(|| session.nonsense())?.to_vec();
    session.call(NO_CHANNEL, CONNECTION_TUNE_OK, Arguments(limits).number(0)).await?;
    let open = Arguments::default().short(broker.virtual_host).short("").bits(0);
    session.call(NO_CHANNEL, CONNECTION_OPEN, open).await?;
    session.wait(CONNECTION_OPEN_OK).await?;
    session.call(CHANNEL, CHANNEL_OPEN, Arguments::default().short("")).await?;
    session.wait(CHANNEL_OPEN_OK).await?;
    let declare = Arguments::default().number(0).short(queue).bits(PASSIVE).table(&[]);
    session.call(CHANNEL, QUEUE_DECLARE, declare).await?;
    let found = session.wait(QUEUE_DECLARE_OK).await?;
    // The name, then the number of messages.
    let name_bytes = found.first().map_or(0, |length| usize::from(*length));
    let count = found.get(1 + name_bytes..5 + name_bytes).and_then(|bytes| bytes.try_into().ok());
    let count = u32::from_be_bytes(count.ok_or_else(|| session.nonsense())?);
    // The broker would log a client that just goes.
    let goodbye = Arguments::default().number(200).short("").number(0).number(0);
    session.call(NO_CHANNEL, CONNECTION_CLOSE, goodbye).await?;
    Ok(count)
}

/// Says that a refusal of the user is to be told, where the broker would otherwise close the connection.
fn tells_why() -> Vec<u8> {
    let inner = Arguments::default().short("authentication_failure_close").bits(b't').bits(1);
    Arguments::default().short("capabilities").bits(b'F').table(&inner.0).0
}

struct Session {
    connection: Connection,
    place: String,
}

impl Session {
    async fn call(&mut self, channel: u16, method: Method, arguments: Arguments) -> Result<(), String> {
        let payload = Arguments::default().number(method.0).number(method.1).0;
        let length = u32::try_from(payload.len() + arguments.0.len()).unwrap_or(u32::MAX);
        let mut frame = vec![METHOD_FRAME];
        frame.extend(channel.to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.extend(payload);
        frame.extend(arguments.0);
        frame.push(FRAME_END);
        self.send(&frame).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = async {
            self.connection.write_all(bytes).await?;
            self.connection.flush().await
        };
        sent.await.map_err(|error: std::io::Error| format!("{}: {error}", self.place))
    }

    /// The arguments of the method that comes next, which must be this one.
    async fn wait(&mut self, wanted: Method) -> Result<Vec<u8>, String> {
        loop {
            let broken = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    format!(
                        "{}: the broker closed the connection; it refuses the user, or wants TLS",
                        self.place
                    )
                }
                _ => format!("{}: {error}", self.place),
            };
            let kind = self.connection.read_u8().await.map_err(broken)?;
            self.connection.read_u16().await.map_err(broken)?;
            let length = self.connection.read_u32().await.map_err(broken)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= LIMIT_BYTES);
            let mut payload = vec![0; length.ok_or_else(|| self.nonsense())?];
            self.connection.read_exact(&mut payload).await.map_err(broken)?;
            if self.connection.read_u8().await.map_err(broken)? != FRAME_END {
                return Err(self.nonsense());
            }
            if kind != METHOD_FRAME {
                continue;
            }
            let Some((method, arguments)) = payload.split_first_chunk::<4>() else {
                return Err(self.nonsense());
            };
            let [class_high, class, number_high, number] = *method;
            let method = (u16::from_be_bytes([class_high, class]), u16::from_be_bytes([number_high, number]));
            return match method {
                found if found == wanted => Ok(arguments.to_vec()),
                // A code, and a text with its length.
                CONNECTION_CLOSE | CHANNEL_CLOSE => {
                    let text = arguments.get(2..).and_then(|rest| {
                        let (length, rest) = rest.split_first()?;
                        rest.get(..usize::from(*length))
                    });
                    let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
                    Err(format!("{}: {text}", self.place))
                }
                _ => Err(self.nonsense()),
            };
        }
    }

    fn nonsense(&self) -> String {
        format!("{}: this is no AMQP 0-9-1, or a listener with TLS, which amqps:// is for", self.place)
    }
}

/// Arguments of a method.
#[derive(Default)]
struct Arguments(Vec<u8>);

impl Arguments {
    fn number(mut self, number: u16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn bits(mut self, bits: u8) -> Self {
        self.0.push(bits);
        self
    }

    /// A text of at most 255 bytes; RabbitMQ takes no longer names.
    fn short(mut self, text: &str) -> Self {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.0.push(length);
        self.0.extend(&text.as_bytes()[..usize::from(length)]);
        self
    }

    fn long(mut self, bytes: &[u8]) -> Self {
        self.0.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    fn table(self, entries: &[u8]) -> Self {
        self.long(entries)
    }
}
