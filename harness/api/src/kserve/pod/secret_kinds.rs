//! What a secret is for, by its keys, and what a container gets from it.

use k8s_openapi::api::core::v1::{Container, EnvVar, Secret, SecretVolumeSource, Volume};

use super::super::config::Credentials;
use super::containers::{add, add_mount, merge, mount, secret_variable, variable};
use super::s3;

/// Azure's variables; the first four have older keys.
const AZURE: [(&str, Option<&str>); 9] = [
    ("AZURE_SUBSCRIPTION_ID", Some("AZ_SUBSCRIPTION_ID")),
    ("AZURE_TENANT_ID", Some("AZ_TENANT_ID")),
    ("AZURE_CLIENT_ID", Some("AZ_CLIENT_ID")),
    ("AZURE_CLIENT_SECRET", Some("AZ_CLIENT_SECRET")),
    (AZURE_STORAGE_ACCESS_KEY, None),
    ("AZURE_ACCESS_TOKEN", None),
    ("AZURE_ACCESS_EXPIRES_ON_SECONDS", None),
    ("AZURE_ACCOUNT_NAME", None),
    ("AZURE_SERVICE_URL", None),
];
const AZURE_STORAGE_ACCESS_KEY: &str = "AZURE_STORAGE_ACCESS_KEY";
/// Upstream refers to this key even where the secret lacks it.
const AZURE_ALWAYS: &str = "AZURE_TENANT_ID";

/// Adds the secret's credentials to the container and its volumes to the pod's. Secrets of no known kind add
/// nothing.
pub(super) fn add_credentials(
    secret: &Secret,
    config: &Credentials,
    container: &mut Container,
    volumes: &mut Vec<Volume>,
) {
    let empty = std::collections::BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let has = |key: &str| data.contains_key(key);
    let or = |text: &'_ str, default: &'static str| {
        if text.is_empty() { default.to_owned() } else { text.to_owned() }
    };
    let secret_key = or(&config.s3.s3_secret_access_key_name, "awsSecretAccessKey");
    let access_key = or(&config.s3.s3_access_key_id_name, "awsAccessKeyID");
    let file = or(&config.gcs.gcs_credential_file_name, "gcloud-application-credentials.json");
    if has(&secret_key) {
        let mut variables = vec![
            secret_variable("AWS_ACCESS_KEY_ID", name, &access_key),
            secret_variable("AWS_SECRET_ACCESS_KEY", name, &secret_key),
        ];
        variables.extend(s3::variables(secret.metadata.annotations.as_ref(), Some(data), &config.s3));
        merge(container, variables);
    } else if has(&file) {
        add_secret_volume("user-gcp-sa", name, "/var/secrets/", container, volumes);
        add(container, [variable("GOOGLE_APPLICATION_CREDENTIALS", format!("/var/secrets/{file}"))]);
    } else if has("AZ_CLIENT_ID") || has("AZURE_CLIENT_ID") || has("AZURE_ACCESS_TOKEN") {
        add(container, azure(name, &has));
    } else if has(AZURE_STORAGE_ACCESS_KEY) {
        add(container, [secret_variable(AZURE_STORAGE_ACCESS_KEY, name, AZURE_STORAGE_ACCESS_KEY)]);
    } else if let Some(host) = data.get("https-host") {
        if let Some(headers) = data.get("headers") {
            let text = |bytes: &k8s_openapi::ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
            add(container, [variable(&format!("{}-headers", text(host)), text(headers))]);
        }
    } else if has("HDFS_NAMENODE") {
        add_secret_volume("hdfs-secrets", name, "/var/secrets/kserve-hdfscreds", container, volumes);
    } else if let Some(token) = ["HF_TOKEN", "MODELSCOPE_API_TOKEN"].into_iter().find(|token| has(token)) {
        add(container, [secret_variable(token, name, token)]);
    }
}

fn azure(secret: &str, has: &dyn Fn(&str) -> bool) -> Vec<EnvVar> {
    let variables = AZURE.into_iter().filter_map(|(name, older)| {
        let key = older.filter(|older| has(older)).unwrap_or(name);
        (has(key) || key == AZURE_ALWAYS).then(|| secret_variable(name, secret, key))
    });
    variables.collect()
}

fn add_secret_volume(
    volume: &str,
    secret: &str,
    path: &str,
    container: &mut Container,
    volumes: &mut Vec<Volume>,
) {
    if !volumes.iter().any(|old| old.name == volume) {
        volumes.push(Volume {
            name: volume.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_owned()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    add_mount(container, mount(volume, path, true));
}
