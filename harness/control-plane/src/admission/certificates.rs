//! The webhooks' certificates: an authority of our own and the server's certificate, kept in one Secret that all
//! replicas share, and made anew in time. Everything here is a function of the stored Secret and the clock.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{Span, Timestamp, tz::TimeZone};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Name of the Secret.
pub const SECRET: &str = "kserve-webhook-server-cert";

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";

/// How long a server's certificate is good for, and when it is made anew: a third before its end.
const SERVER_DAYS: i64 = 90;
const SERVER_RENEWED_DAYS_BEFORE: i64 = 30;
/// The same for the authority. For the rest of its life the old one is trusted beside the new one.
const AUTHORITY_DAYS: i64 = 3650;
const AUTHORITY_RENEWED_DAYS_BEFORE: i64 = 365;

/// A certificate that could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make {what}: {reason}; check the webhook's host names and the system's randomness")]
pub struct CertificateError {
    what: &'static str,
    reason: String,
}

fn fault<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> CertificateError {
    move |error| CertificateError { what, reason: error.to_string() }
}

/// A certificate with its private key, both as PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
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

/// What the webhook server and its callers need, from the Secret or new.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    /// The server's certificate.
    pub identity: Identity,
    /// The authorities that callers trust, PEM: the one in use first.
    pub ca_bundle_pem: String,
    /// The Secret to store, if what was stored is not this.
    pub secret: Option<Secret>,
    /// When to look again at the latest.
    pub renew_at: Timestamp,
}

/// The certificates for a server of these host names or addresses: those of the stored Secret as long as they are
/// good, else new ones for what has to be new. A Secret that cannot be read is replaced.
///
/// # Errors
/// A name that fits into no certificate, or no randomness.
pub fn ensure(
    stored: Option<&Secret>,
    namespace: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Issued, CertificateError> {
    let kept = stored.and_then(Kept::read);
    let authority = match kept.as_ref().filter(|kept| kept.authority_lasts(now)) {
        Some(kept) => kept.authority.clone(),
        None => new_authority(now)?,
    };
    let same_authority = kept.as_ref().is_some_and(|kept| kept.authority == authority);
    let identity = match kept.as_ref().filter(|kept| same_authority && kept.server_lasts(names, now)) {
        Some(kept) => kept.server.clone(),
        None => new_server(&authority, names, now)?,
    };
    // Who still has a connection or a configuration with the old authority goes on while it is good.
    let old = kept.iter().flat_map(|kept| kept.authorities.iter());
    let old = old.filter(|pem| **pem != authority.certificate_pem && ends(pem).is_some_and(|end| end > now));
    let ca_bundle_pem: String =
        std::iter::once(&authority.certificate_pem).chain(old).map(String::as_str).collect();
    let ends_at = [
        (ends(&authority.certificate_pem), AUTHORITY_RENEWED_DAYS_BEFORE),
        (ends(&identity.certificate_pem), SERVER_RENEWED_DAYS_BEFORE),
    ];
    let renewals = ends_at.into_iter().filter_map(|(end, before)| Some(days(end?, -before)));
    let renew_at = renewals.min().unwrap_or(now);
    let data = [
        (CERTIFICATE, &identity.certificate_pem),
        (KEY, &identity.key_pem),
        (AUTHORITIES, &ca_bundle_pem),
        (AUTHORITY_KEY, &authority.key_pem),
    ];
    let data: BTreeMap<String, ByteString> =
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))).collect();
    let secret = (stored.and_then(|stored| stored.data.as_ref()) != Some(&data)).then(|| Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            // Two replicas that make certificates at the same time: the second write must fail.
            resource_version: stored.and_then(|stored| stored.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    });
    Ok(Issued { identity, ca_bundle_pem, secret, renew_at })
}

/// What a Secret holds.
struct Kept {
    server: Identity,
    authority: Identity,
    /// All authorities, the one in use first.
    authorities: Vec<String>,
}

impl Kept {
    fn read(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let authorities = split(&text(AUTHORITIES)?);
        let authority =
            Identity { certificate_pem: authorities.first()?.clone(), key_pem: text(AUTHORITY_KEY)? };
        let server = Identity { certificate_pem: text(CERTIFICATE)?, key_pem: text(KEY)? };
        Some(Self { server, authority, authorities })
    }

    fn authority_lasts(&self, now: Timestamp) -> bool {
        fits(&self.authority) && lasts(&self.authority.certificate_pem, AUTHORITY_RENEWED_DAYS_BEFORE, now)
    }

    fn server_lasts(&self, names: &[String], now: Timestamp) -> bool {
        fits(&self.server)
            && lasts(&self.server.certificate_pem, SERVER_RENEWED_DAYS_BEFORE, now)
            && names.iter().all(|name| is_for(&self.server.certificate_pem, name))
    }
}

/// The certificates of a PEM text.
fn split(pem: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----\n";
    pem.split_inclusive(END).filter(|part| part.ends_with(END)).map(str::to_owned).collect()
}

fn der(pem: &str) -> Option<Vec<u8>> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem.contents)
}

fn ends(pem: &str) -> Option<Timestamp> {
    let der = der(pem)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn lasts(pem: &str, renewed_days_before: i64, now: Timestamp) -> bool {
    ends(pem).is_some_and(|end| now < days(end, -renewed_days_before))
}

/// Whether the key is the certificate's.
fn fits(identity: &Identity) -> bool {
    let Some(der) = der(&identity.certificate_pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    KeyPair::from_pem(&identity.key_pem)
        .is_ok_and(|key| certificate.public_key().subject_public_key.data == key.public_key_raw())
}

fn is_for(pem: &str, name: &str) -> bool {
    let Some(der) = der(pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|own| match own {
        GeneralName::DNSName(own) => *own == name,
        GeneralName::IPAddress(own) => match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => *own == address.octets(),
            Ok(IpAddr::V6(address)) => *own == address.octets(),
            Err(_) => false,
        },
        _ => false,
    })
}

fn days(from: Timestamp, days: i64) -> Timestamp {
    from.checked_add(Span::new().hours(days * 24)).unwrap_or(from)
}

/// From yesterday on, so that a clock that is behind by a little does no harm.
fn valid(params: &mut CertificateParams, now: Timestamp, for_days: i64) {
    let date = |time: Timestamp| {
        let date = time.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    params.not_before = date(days(now, -1));
    params.not_after = date(days(now, for_days));
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "kserve-webhook-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, AUTHORITY_DAYS);
    params
}

fn new_authority(now: Timestamp) -> Result<Identity, CertificateError> {
    const WHAT: &str = "the webhooks' certificate authority";
    let key = KeyPair::generate().map_err(fault(WHAT))?;
    let certificate = authority_params(now).self_signed(&key).map_err(fault(WHAT))?;
    Ok(Identity { certificate_pem: lines(&certificate.pem()), key_pem: key.serialize_pem() })
}

fn new_server(authority: &Identity, names: &[String], now: Timestamp) -> Result<Identity, CertificateError> {
    const WHAT: &str = "the webhook server's certificate";
    let issuer_key = KeyPair::from_pem(&authority.key_pem).map_err(fault(WHAT))?;
    // What is signed repeats the authority's name and the digest of its key, and those are these.
    let issuer = Issuer::new(authority_params(now), issuer_key);
    let key = KeyPair::generate().map_err(fault(WHAT))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "kserve-webhook-server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into().map_err(fault(WHAT))?),
        });
    }
    valid(&mut params, now, SERVER_DAYS);
    let certificate = params.signed_by(&key, &issuer).map_err(fault(WHAT))?;
    Ok(Identity { certificate_pem: lines(&certificate.pem()), key_pem: key.serialize_pem() })
}

/// PEM text with plain line ends and one at its end, as it is split again.
fn lines(pem: &str) -> String {
    format!("{}\n", pem.replace("\r\n", "\n").trim_end())
}
