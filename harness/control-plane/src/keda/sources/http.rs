//! HTTP requests to sources: TLS with the system's authorities or a trigger's own, basic authentication, limits.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Larger answers are failures.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

type Requests = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Makes requests; connections with the system's authorities are kept for the next poll.
#[derive(Clone, Debug, Default)]
pub(super) struct Http {
    usual: Arc<OnceLock<Requests>>,
}

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

/// An address without its user, who is sent as basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `http` or `https`.
    pub(super) scheme: String,
    /// Host and port.
    pub(super) authority: String,
    /// Path as it was written, without a query.
    pub(super) path: String,
    /// User and password, decoded.
    pub(super) user: Option<(String, String)>,
}

impl Address {
    /// Reads `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`. The text is not shown in the error: it may hold a password.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("the address has no scheme such as http://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = rest.split(['?', '#']).next().unwrap_or_default().to_owned();
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, authority) = match authority.rsplit_once('@') {
            None => (None, authority),
            Some((user, authority)) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                (Some((decode(name), decode(password))), authority)
            }
        };
        if authority.is_empty() {
            return Err("the address has no host".to_owned());
        }
        let scheme = scheme.to_ascii_lowercase();
        Ok(Self { scheme, authority: authority.to_owned(), path, user })
    }

    /// Scheme and host, to show.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// The value of an `Authorization` header.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

impl Http {
    /// Gets a document: its status and body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn get(
        &self,
        uri: &str,
        headers: &[(String, String)],
        tls: &Tls,
    ) -> Result<(u16, Bytes), String> {
        let mut request = http::Request::get(uri).header(http::header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let response = self.client(tls)?.request(request).await.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }

    fn client(&self, tls: &Tls) -> Result<Requests, String> {
        if *tls != Tls::default() {
            return make(tls);
        }
        if let Some(client) = self.usual.get() {
            return Ok(client.clone());
        }
        let client = make(tls)?;
        Ok(self.usual.get_or_init(|| client).clone())
    }
}

fn make(tls: &Tls) -> Result<Requests, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config(tls)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn config(tls: &Tls) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder();
    let builder = if tls.is_unsafe {
        let provider = Arc::clone(builder.crypto_provider());
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
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

/// Trusts everybody, as `unsafeSsl` asks for.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A password with a sign in it that addresses encode would be refused by the broker.
    #[test]
    fn addresses_with_users() {
        let address =
            Address::parse("https://user:p%40ss@rabbit:15672/prefix/v%2Fhost?x=1").expect("an address");
        assert_eq!(address.origin(), "https://rabbit:15672");
        assert_eq!(address.path, "/prefix/v%2Fhost");
        assert_eq!(address.user, Some(("user".to_owned(), "p@ss".to_owned())));
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "RFC 7617");
        for wrong in ["rabbit:15672", "http://", "http://user:secret@/x"] {
            let error = Address::parse(wrong).expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
