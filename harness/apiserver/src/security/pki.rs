//! The cluster's certificates: an authority made at start, the server's certificate, and those of clients.
//!
//! Keys are P-256: making them and signing with them takes well under a millisecond.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{AUTHENTICATED, User};

/// Years that certificates are valid.
const LIFETIME_YEARS: i32 = 10;

/// A failure to make or read a certificate; says which.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {what}: {reason}")]
pub struct PkiError {
    what: &'static str,
    reason: String,
}

/// A certificate with its private key, both as PEM text.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// The cluster's certificate authority.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pki").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

fn at_fault<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> PkiError {
    move |error| PkiError { what, reason: error.to_string() }
}

/// The one crypto provider of the binary.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Pki {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, PkiError> {
        const WHAT: &str = "the certificate authority";
        let key = KeyPair::generate().map_err(at_fault(WHAT))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "windtunnel-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        valid(&mut params);
        let certificate = params.self_signed(&key).map_err(at_fault(WHAT))?;
        Ok(Self {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate as PEM text: what clients trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A client certificate: the user is its common name, the group its organization.
    ///
    /// # Errors
    /// When a name cannot be written into a certificate.
    pub fn client(&self, user: &str, group: &str) -> Result<Identity, PkiError> {
        const WHAT: &str = "a client certificate";
        let key = KeyPair::generate().map_err(at_fault(WHAT))?;
        let mut params = leaf(ExtendedKeyUsagePurpose::ClientAuth);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, user);
        let certificate = params.signed_by(&key, &self.issuer).map_err(at_fault(WHAT))?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// The server's side of TLS: a certificate for `names` and `addresses`, HTTP/2 and HTTP/1.1 by ALPN, and
    /// client certificates of this authority welcome but not demanded.
    pub(crate) fn server(&self, names: &[String], addresses: &[IpAddr]) -> Result<ServerConfig, PkiError> {
        const WHAT: &str = "the server's certificate";
        let key = KeyPair::generate().map_err(at_fault(WHAT))?;
        let mut params = leaf(ExtendedKeyUsagePurpose::ServerAuth);
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into().map_err(at_fault(WHAT))?));
        }
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        let certificate = params.signed_by(&key, &self.issuer).map_err(at_fault(WHAT))?;
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(at_fault(WHAT))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(at_fault(WHAT))?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(at_fault(WHAT))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(at_fault(WHAT))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn leaf(usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    valid(&mut params);
    params
}

fn valid(params: &mut CertificateParams) {
    let year = i32::from(jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year());
    // From last year on, so that a clock that is behind by a little does no harm.
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + LIFETIME_YEARS, 1, 1);
}

/// The user of a verified client certificate; `None` for one without a common name.
pub(crate) fn user_of(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(ToOwned::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(User { name, groups, ..User::default() })
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::parse_x509_pem;

    use super::*;

    /// If this fails users lose the groups that their roles are bound to.
    #[test]
    fn a_client_certificate_carries_user_and_groups() {
        let pki = Pki::generate().unwrap();
        let identity = pki.client("jane", "devs").unwrap();
        let (_, pem) = parse_x509_pem(identity.certificate_pem.as_bytes()).unwrap();
        let user = user_of(&pem.contents).unwrap();
        assert_eq!(user.name, "jane");
        assert_eq!(user.groups, ["devs", "system:authenticated"]);
        assert!(identity.key_pem.contains("PRIVATE KEY") && !format!("{identity:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        assert_eq!(user_of(b"\x30\x03nonsense"), None);
    }
}
