//! TLS of probes by HTTPS. As kubelets do, it takes any certificate: a probe asks whether the server answers, not who it is.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName},
};
use windtunnel_apiserver::AnyCertificate;

/// Speaks TLS over a connection to a container.
///
/// # Errors
/// If the other side does not speak TLS, or `host` is no name and no address.
pub(super) async fn connect(host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(AnyCertificate::new(provider))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
