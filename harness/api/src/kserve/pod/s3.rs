//! Variables for S3: from annotations, else from the secret's data, else from the configuration.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::EnvVar;

use super::super::config::S3Credentials;
use super::containers::variable;

/// Variable that names a ConfigMap with further authorities.
pub(super) const CA_BUNDLE_CONFIG_MAP: &str = "AWS_CA_BUNDLE_CONFIGMAP";
/// Variable with the path of a file with further authorities.
pub(super) const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

type Annotations = BTreeMap<String, String>;
type Data = BTreeMap<String, ByteString>;

struct Sources<'a> {
    annotations: Option<&'a Annotations>,
    data: Option<&'a Data>,
}

impl Sources<'_> {
    fn value(&self, annotation: &str, key: &str, configured: &str) -> String {
        let annotation = self.annotations.and_then(|all| all.get(&format!("serving.kserve.io/{annotation}")));
        if let Some(text) = annotation {
            return text.clone();
        }
        match self.data.and_then(|data| data.get(key)) {
            Some(bytes) => String::from_utf8_lossy(&bytes.0).into_owned(),
            None => configured.to_owned(),
        }
    }
}

/// The variables that have a value.
pub(super) fn variables(
    annotations: Option<&Annotations>,
    data: Option<&Data>,
    config: &S3Credentials,
) -> Vec<EnvVar> {
    let from = Sources { annotations, data };
    let mut all = endpoint(&from, config);
    let rest = [
        ("S3_VERIFY_SSL", "s3-verifyssl", &config.s3_verify_ssl),
        ("awsAnonymousCredential", "s3-useanoncredential", &config.s3_use_anonymous_credential),
        ("AWS_DEFAULT_REGION", "s3-region", &config.s3_region),
        ("S3_USER_VIRTUAL_BUCKET", "s3-usevirtualbucket", &config.s3_use_virtual_bucket),
        ("S3_USE_ACCELERATE", "s3-useaccelerate", &config.s3_use_accelerate),
        (CA_BUNDLE, "s3-cabundle", &config.s3_ca_bundle),
        (CA_BUNDLE_CONFIG_MAP, "s3-cabundle-configmap", &config.s3_ca_bundle_config_map),
    ];
    for (name, annotation, configured) in rest {
        let value = from.value(annotation, name, configured);
        if !value.is_empty() {
            all.push(variable(name, value));
        }
    }
    all
}

/// The endpoint as host and as URL. A scheme in it decides over HTTPS; without one HTTPS it is unless said
/// otherwise.
fn endpoint(from: &Sources<'_>, config: &S3Credentials) -> Vec<EnvVar> {
    let endpoint = from.value("s3-endpoint", "S3_ENDPOINT", &config.s3_endpoint);
    if endpoint.is_empty() {
        return Vec::new();
    }
    let endpoint = endpoint.trim();
    let starts =
        |scheme: &str| endpoint.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme));
    let (https, host, url) = if starts("https://") {
        ("1".to_owned(), &endpoint[8..], endpoint.to_owned())
    } else if starts("http://") {
        ("0".to_owned(), &endpoint[7..], endpoint.to_owned())
    } else {
        let https = from.value("s3-usehttps", "S3_USE_HTTPS", &config.s3_use_https);
        let scheme = if https == "0" { "http" } else { "https" };
        (https, endpoint, format!("{scheme}://{endpoint}"))
    };
    let https = (!https.is_empty()).then(|| variable("S3_USE_HTTPS", https));
    https.into_iter().chain([variable("S3_ENDPOINT", host), variable("AWS_ENDPOINT_URL", url)]).collect()
}
