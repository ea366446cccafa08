//! TLS to sources, with the system's authorities or a trigger's own, and connections that may be plain or TLS.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_rustls::ConfigBuilderExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use windtunnel_apiserver::AnyCertificate;

use super::authentication::Parameters;

/// How a server is trusted, and the client's own certificate.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Trust whoever answers.
    pub(super) is_unsafe: bool,
    /// Authorities beside the system's, PEM.
    pub(super) ca: Option<String>,
    /// Certificate and key of the client, PEM.
    pub(super) client: Option<(String, String)>,
}

impl Tls {
    /// What a trigger's parameters say: PEM by the names that its scaler has for them, and `unsafeSsl`.
    ///
    /// # Errors
    /// One of certificate and key without the other, or a key with a password.
    pub(super) fn of(
        parameters: &Parameters,
        ca: &str,
        certificate: &str,
        key: &str,
    ) -> Result<Self, String> {
        let text = |name: &str| parameters.secret(name).map(ToOwned::to_owned);
        if parameters.secret("keyPassword").is_some() {
            return Err("keyPassword is not supported, expected a key without a password".to_owned());
        }
        let client = match (text(certificate), text(key)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => return Err(format!("{key} must be provided with {certificate}")),
            (None, Some(_)) => return Err(format!("{certificate} must be provided with {key}")),
        };
        Ok(Self { is_unsafe: parameters.is_true("unsafeSsl"), ca: text(ca), client })
    }
}

/// A connection to a source.
pub(super) enum Connection {
    /// Without TLS.
    Plain(TcpStream),
    /// With it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Connects to a host; with `tls` the host's certificate is checked for its name. `protocols` are offered in the
    /// handshake (ALPN).
    ///
    /// # Errors
    /// Why there is no connection, with the address.
    pub(super) async fn open(
        host: &str,
        port: u16,
        tls: Option<&Tls>,
        protocols: &[&[u8]],
    ) -> Result<Self, String> {
        let place = |error: io::Error| format!("{host}:{port}: {error}");
        let stream = TcpStream::connect((host, port)).await.map_err(place)?;
        // Requests are small and wait for their answers.
        stream.set_nodelay(true).map_err(place)?;
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let mut config = config(tls)?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|error| format!("{host}: no name for TLS: {error}"))?,
        };
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok(Self::Tls(Box::new(stream.map_err(place)?)))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// `HOST:PORT`, where the host may be an IPv6 address in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// The settings of rustls.
///
/// # Errors
/// A parameter that is no PEM.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder();
    let builder = if tls.is_unsafe {
        let provider = Arc::clone(builder.crypto_provider());
        builder.dangerous().with_custom_certificate_verifier(AnyCertificate::new(provider))
    } else if let Some(ca) = &tls.ca {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("parameter ca is no PEM: {error:?}"))?;
            roots.add(certificate).map_err(|error| format!("parameter ca: {error}"))?;
        }
        builder.with_root_certificates(roots)
    } else {
        match builder.with_native_roots() {
            Ok(builder) => builder,
            // A machine without authorities can still speak plain HTTP.
            Err(_) => ClientConfig::builder().with_root_certificates(RootCertStore::empty()),
        }
    };
    let Some((certificate, key)) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("parameter cert is no PEM: {error:?}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| format!("parameter key is no PEM: {error:?}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("parameters cert and key: {error}"))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    /// A broker would be looked for at another address.
    #[test]
    fn addresses() {
        assert_eq!(host_and_port("kafka.team:9092"), Some(("kafka.team", 9092)));
        assert_eq!(host_and_port("[::1]:9092"), Some(("::1", 9092)));
        for wrong in ["kafka", "kafka:", ":9092", "kafka:0", "kafka:70000", ""] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }
}
