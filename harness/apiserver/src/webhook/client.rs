//! Calls of webhooks: HTTPS with the configuration's own authority, connections kept for the next call.

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Hook, Outcome};
use crate::security::pki::provider;

/// Clients that are kept; beyond that all are closed.
const KEPT_CLIENTS: usize = 128;
/// Larger answers are failures.
const LIMIT_BYTES: usize = 10 * 1024 * 1024;
/// Connections that nobody uses are closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// The authority that is trusted, and the one endpoint if there is one.
type Key = (Arc<str>, Option<SocketAddr>);
type Requests = Client<HttpsConnector<HttpConnector<Fixed>>, Full<Bytes>>;

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// As messages show it.
    pub(crate) url: String,
    /// Where the connection goes, if not where the URL says: a pod behind a service. Or why there is none.
    pub(crate) endpoint: Result<Option<SocketAddr>, String>,
}

/// A review that a webhook is to make.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) hook: Arc<Hook>,
    pub(crate) destination: Destination,
    /// `request` of the review, without its uid.
    pub(crate) request: Value,
}

impl Call {
    /// What tells this call from others.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.hook.id, self.request)
    }
}

/// The clients of all webhooks, by authority and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: Mutex<HashMap<Key, Requests>>,
}

impl Clients {
    /// Makes one call; `uid` is the review's.
    pub(crate) async fn call(&self, call: &Call, uid: &str) -> Outcome {
        let shown = format!("{}?timeout={}s", call.destination.url, call.hook.timeout_s);
        let post = |why: &str| Outcome::Failed(format!("failed to call webhook: Post \"{shown}\": {why}"));
        let endpoint = match &call.destination.endpoint {
            Ok(endpoint) => *endpoint,
            Err(why) => return post(why),
        };
        let client = match self.client(&call.hook.client.ca_bundle, endpoint) {
            Ok(client) => client,
            Err(why) => return Outcome::Failed(format!("failed to call webhook: {why}")),
        };
        // Without a port in the address the connector takes the endpoint's.
        let address = if endpoint.is_some() { without_port(&shown) } else { shown.clone() };
        let mut review = call.request.clone();
        review["uid"] = uid.into();
        let version = &call.hook.review_version;
        let body = serde_json::json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"),
            "request": review});
        let request = http::Request::post(address)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, "kube-apiserver-admission")
            .body(Full::new(Bytes::from(body.to_string())));
        let request = match request {
            Ok(request) => request,
            Err(error) => return post(&error.to_string()),
        };
        let answered = async {
            let response = client.request(request).await.map_err(|error| post(&chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LIMIT_BYTES).collect().await;
            let body = body.map_err(|error| post(&error.to_string()))?.to_bytes();
            if status.is_success() {
                return Ok(body);
            }
            let text = String::from_utf8_lossy(body.get(..256).unwrap_or(&body)).into_owned();
            Err(Outcome::Failed(format!("failed to call webhook: the server answered {status}: {text}")))
        };
        match tokio::time::timeout(Duration::from_secs(call.hook.timeout_s), answered).await {
            Ok(Ok(body)) => Outcome::read(&body, version, uid),
            Ok(Err(failure)) => failure,
            Err(_) => post("context deadline exceeded"),
        }
    }

    fn client(&self, ca_bundle: &Arc<str>, endpoint: Option<SocketAddr>) -> Result<Requests, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(ca_bundle), endpoint);
        if let Some(client) = known.get(&key) {
            return Ok(client.clone());
        }
        let mut connector = HttpConnector::new_with_resolver(Fixed { endpoint });
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(ca_bundle)?)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        if known.len() >= KEPT_CLIENTS {
            known.clear();
        }
        known.insert(key, Requests::clone(&client));
        Ok(client)
    }
}

/// Finds names as the system does, or is told the one address there is.
#[derive(Debug, Clone)]
struct Fixed {
    endpoint: Option<SocketAddr>,
}

impl tower::Service<Name> for Fixed {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let endpoint = self.endpoint;
        Box::pin(async move {
            match endpoint {
                Some(endpoint) => Ok(vec![endpoint].into_iter()),
                None => {
                    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect::<Vec<_>>().into_iter())
                }
            }
        })
    }
}

fn tls(ca_bundle: &str) -> Result<ClientConfig, String> {
    let provider = provider();
    let mut trusted = Vec::new();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle.as_bytes()) {
        let certificate =
            certificate.map_err(|error| format!("unable to load root certificates: {error}"))?;
        roots
            .add(certificate.clone())
            .map_err(|error| format!("unable to load root certificates: {error}"))?;
        trusted.push(certificate);
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if trusted.is_empty() {
        // Nothing is trusted that the configuration does not name.
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let verifier = Arc::new(Verifier { chains, trusted, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Verifies chains up to the bundle, and takes a server whose own certificate is in the bundle: many webhooks serve
/// with a self-signed certificate that calls itself an authority, which the usual verifier refuses as a server's.
#[derive(Debug)]
struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !self.trusted.iter().any(|certificate| certificate.as_ref() == end_entity.as_ref()) {
            return self.chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        let bad = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(end_entity).map_err(bad)?;
        let second = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if second < parsed.validity().not_before.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        if second > parsed.validity().not_after.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Expired));
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn without_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host.split(':').next().unwrap_or_default())
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_service_is_not_the_port_of_its_pod() {
        assert_eq!(without_port("https://a.b.svc:8443/x?timeout=1s"), "https://a.b.svc/x?timeout=1s");
        assert_eq!(without_port("https://a.b.svc:443"), "https://a.b.svc");
    }
}
