//! A connection to one broker: requests and their answers, one after the other, once the user has proved who it is.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::tls::{Connection, Tls};
use super::messages::{self, API_VERSIONS, Address, Kind, SASL_AUTHENTICATE, SASL_HANDSHAKE, words};
use super::sasl::{Mechanism, Scram, plain};
use super::wire::{Malformed, Reader, Writer};

/// Larger answers are failures.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// Who asks.
const CLIENT: &str = "windtunnel";

/// How brokers are spoken to.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) tls: Option<Tls>,
    /// Mechanism, user and password.
    pub(super) sasl: Option<(Mechanism, String, String)>,
}

/// A broker that can be asked.
pub(super) struct Broker {
    connection: Connection,
    place: String,
    correlation: i32,
}

impl Broker {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The broker is not there, or lets nobody in.
    pub(super) async fn open((host, port): &Address, access: &Access) -> Result<Self, String> {
        let connection = Connection::open(host, *port, access.tls.as_ref(), &[]).await?;
        let mut broker = Self { connection, place: format!("{host}:{port}"), correlation: 0 };
        if let Some((mechanism, user, password)) = &access.sasl {
            broker.log_in(*mechanism, user, password).await?;
        }
        Ok(broker)
    }

    /// Whether it knows a request in its version.
    pub(super) async fn knows(&mut self, kind: Kind) -> Result<bool, String> {
        let (error, versions) = self.ask(API_VERSIONS, Writer::default(), messages::read_versions).await?;
        if error != 0 {
            return Err(self.refused(API_VERSIONS, error));
        }
        let known = versions.get(&kind.key);
        Ok(known.is_some_and(|(from, to)| (*from..=*to).contains(&kind.version)))
    }

    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not what the protocol says.
    pub(super) async fn ask<T>(
        &mut self,
        kind: Kind,
        body: Writer,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, String> {
        self.correlation += 1;
        let request = body.request(kind.key, kind.version, self.correlation, CLIENT);
        let broken = |error: std::io::Error| {
            let why = match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    "the broker closed the connection; a listener with TLS or SASL does so with clients without"
                        .to_owned()
                }
                _ => error.to_string(),
            };
            format!("{}: {}: {why}", self.place, kind.name)
        };
        self.connection.write_all(&request).await.map_err(broken)?;
        self.connection.flush().await.map_err(broken)?;
        let length = self.connection.read_u32().await.map_err(broken)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= LIMIT_BYTES);
        let length = length.ok_or_else(|| {
            format!("{}: {}: this is no Kafka listener, or one with TLS", self.place, kind.name)
        })?;
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer).await.map_err(broken)?;
        let malformed = |Malformed| format!("{}: {}: the answer cannot be read", self.place, kind.name);
        let mut reader = Reader::new(&answer);
        if reader.int32().map_err(malformed)? != self.correlation {
            return Err(malformed(Malformed));
        }
        read(&mut reader).map_err(malformed)
    }

    /// An error of an answer.
    pub(super) fn refused(&self, kind: Kind, code: i16) -> String {
        format!("{}: {}: {}", self.place, kind.name, words(code))
    }

    async fn log_in(&mut self, mechanism: Mechanism, user: &str, password: &str) -> Result<(), String> {
        let asked = Writer::default().string(mechanism.name());
        let read = |reader: &mut Reader<'_>| Ok((reader.int16()?, reader.array(Reader::string)?));
        let (error, known) = self.ask(SASL_HANDSHAKE, asked, read).await?;
        if error != 0 {
            let refused = self.refused(SASL_HANDSHAKE, error);
            return Err(format!("{refused}: {}, the broker has {}", mechanism.name(), known.join(", ")));
        }
        if mechanism == Mechanism::Plain {
            return self.authenticate(&plain(user, password)).await.map(drop);
        }
        let mut scram = Scram::new(mechanism == Mechanism::ScramSha512, user, password)?;
        let first = self.authenticate(scram.first().as_bytes()).await?;
        let last = scram.last(&first).map_err(|why| format!("{}: {why}", self.place))?;
        let verdict = self.authenticate(last.as_bytes()).await?;
        scram.check(&verdict).map_err(|why| format!("{}: {why}", self.place))
    }

    async fn authenticate(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let read =
            |reader: &mut Reader<'_>| Ok((reader.int16()?, reader.string()?, reader.bytes()?.to_vec()));
        let (error, text, answer) =
            self.ask(SASL_AUTHENTICATE, Writer::default().bytes(message), read).await?;
        match error {
            0 => Ok(answer),
            code => Err(format!("{}: {text}", self.refused(SASL_AUTHENTICATE, code))),
        }
    }
}
