//! What the pod webhook does: storage, credentials, agent, metrics, accelerators. The values are upstream's.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret, ServiceAccount};
use serde_json::{Value, json};
use windtunnel_api::kserve::pod::{self, StorageUris, Surroundings};
use windtunnel_api::kserve::{ClusterStorageContainer, InferenceService, KserveConfig, StorageUri};

const URI: &str = "internal.serving.kserve.io/storage-initializer-sourceuri";

fn make(uri: &str, annotations: Value) -> Pod {
    let mut annotations = annotations;
    annotations[URI] = json!(uri);
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "annotations": annotations,
            "labels": {"serving.kserve.io/inferenceservice": "digits", "component": "predictor"}},
        "spec": {"containers": [
            {"name": "queue-proxy"},
            {"name": "kserve-container", "env": [{"name": "STORAGE_URI", "value": uri}]},
        ]},
    }))
    .unwrap()
}

/// The specification after the webhook, which must come to rest at once.
fn mutated_by(mut pod: Pod, config: &KserveConfig, around: &Surroundings<'_>) -> Result<Value, String> {
    pod::mutate(&mut pod, config, around)?;
    let once = pod.clone();
    pod::mutate(&mut pod, config, around)?;
    assert_eq!(once, pod, "a second call must change nothing");
    Ok(serde_json::to_value(pod).unwrap())
}

fn mutated(pod: Pod) -> Value {
    mutated_by(pod, &KserveConfig::default(), &Surroundings::EMPTY).unwrap()["spec"].clone()
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn secret(name: &str, annotations: &Value, data: &[(&str, &str)]) -> Secret {
    let mut secret: Secret = from(json!({"metadata": {"name": name, "annotations": annotations}}));
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
    secret.data = Some(data.collect());
    secret
}

/// The init container of a pod whose service account is `models` with the secret `keys`.
fn with_secret(secret: &Secret, account_annotations: &Value) -> Value {
    let account: ServiceAccount = from(json!({"metadata": {"name": "models", "namespace": "default",
        "annotations": account_annotations}, "secrets": [{"name": "keys"}]}));
    let around = Surroundings {
        secret: &|namespace, name| (namespace == "default" && name == "keys").then(|| secret.clone()),
        service_account: &|_, name| (name == "models").then(|| account.clone()),
        ..Surroundings::EMPTY
    };
    let mut pod = make("s3://m/v1", json!({}));
    pod.spec.as_mut().unwrap().service_account_name = Some("models".to_owned());
    mutated_by(pod, &KserveConfig::default(), &around).unwrap()["spec"].clone()
}

fn variables(container: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match (value["value"].as_str(), value["valueFrom"]["secretKeyRef"].as_object())
    {
        (Some(text), None) => text.to_owned(),
        (None, Some(reference)) => {
            format!("{}/{}", reference["name"].as_str().unwrap(), reference["key"].as_str().unwrap())
        }
        odd => panic!("{odd:?}"),
    };
    let all = container["env"].as_array().cloned().unwrap_or_default();
    let ours = all.iter().filter(|entry| !entry["name"].as_str().unwrap().starts_with("HF_"));
    ours.map(|entry| (entry["name"].as_str().unwrap().to_owned(), text(entry))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// The server would start before its model is there.
#[test]
fn the_storage_initializer_comes_first() {
    insta::assert_yaml_snapshot!(mutated(make("s3://models/digits/v1", json!({}))));
}

/// A claim is mounted, not downloaded; a writable model folder stays writable.
#[test]
fn claims_and_writable_folders() {
    let spec = mutated(make("pvc://shelf/digits/v1", json!({"storage.kserve.io/readonly": "false"})));
    assert!(spec["initContainers"].is_null());
    assert_eq!(
        spec["volumes"],
        json!([{"name": "kserve-pvc-source",
        "persistentVolumeClaim": {"claimName": "shelf"}}])
    );
    let server = &spec["containers"][1];
    assert_eq!(
        server["volumeMounts"],
        json!([{"name": "kserve-pvc-source", "mountPath": "/mnt/models",
        "subPath": "digits/v1"}])
    );
    assert_eq!(server["env"][0]["value"], "/mnt/models");
    let read_only = mutated(make("pvc://shelf", json!({})));
    assert_eq!(
        read_only["containers"][1]["volumeMounts"],
        json!([{"name": "kserve-pvc-source",
        "mountPath": "/mnt/models", "readOnly": true}])
    );
}

/// Other people's pods must not be touched.
#[test]
fn pods_of_others() {
    let mut pod = make("s3://m", json!({}));
    pod.metadata.labels = None;
    let before = pod.clone();
    pod::mutate(&mut pod, &KserveConfig::default(), &Surroundings::EMPTY).unwrap();
    assert_eq!(pod, before);
}

/// With a cache the model is on a claim already; without its annotation the pod would start without a model.
#[test]
fn local_models() {
    let uri = "s3://mybucket/mymodel";
    let mut pod = make(
        &format!("{uri}/sub"),
        json!({
        "internal.serving.kserve.io/localmodel-sourceuri": uri,
        "internal.serving.kserve.io/localmodel-pvc-name": "cache-gpu1"}),
    );
    let labels = pod.metadata.labels.as_mut().unwrap();
    labels.insert("internal.serving.kserve.io/localmodel".into(), "cache".into());
    let spec = mutated(pod.clone());
    assert_eq!(spec["volumes"][0]["persistentVolumeClaim"]["claimName"], "cache-gpu1");
    // sha256("s3://mybucket/mymodel"), the first 16 digits.
    assert_eq!(spec["containers"][1]["volumeMounts"][0]["subPath"], "models/89da10faf446bbf1/sub");
    pod.metadata.annotations.as_mut().unwrap().remove("internal.serving.kserve.io/localmodel-pvc-name");
    assert_eq!(
        mutated_by(pod, &KserveConfig::default(), &Surroundings::EMPTY),
        Err("Annotation internal.serving.kserve.io/localmodel-pvc-name not found".to_owned())
    );
}

/// Wrong or missing variables show only when the download fails.
#[test]
fn credentials_by_the_keys_of_a_secret() {
    let none = json!({});
    let cases: &[(Secret, &[(&str, &str)])] = &[
        (
            secret(
                "keys",
                &json!({"serving.kserve.io/s3-endpoint": "s3.aws.com",
                "serving.kserve.io/s3-region": "us-east-2", "serving.kserve.io/s3-verifyssl": "0",
                "serving.kserve.io/s3-usevirtualbucket": "true", "serving.kserve.io/s3-useaccelerate": "true",
                "serving.kserve.io/s3-useanoncredential": "false"}),
                &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")],
            ),
            &[
                ("AWS_ACCESS_KEY_ID", "keys/AWS_ACCESS_KEY_ID"),
                ("AWS_SECRET_ACCESS_KEY", "keys/AWS_SECRET_ACCESS_KEY"),
                ("S3_ENDPOINT", "s3.aws.com"),
                ("AWS_ENDPOINT_URL", "https://s3.aws.com"),
                ("S3_VERIFY_SSL", "0"),
                ("awsAnonymousCredential", "false"),
                ("AWS_DEFAULT_REGION", "us-east-2"),
                ("S3_USER_VIRTUAL_BUCKET", "true"),
                ("S3_USE_ACCELERATE", "true"),
            ],
        ),
        (
            secret(
                "keys",
                &json!({"serving.kserve.io/s3-endpoint": "minio:9000", "serving.kserve.io/s3-usehttps": "0"}),
                &[("AWS_SECRET_ACCESS_KEY", "b")],
            ),
            &[
                ("AWS_ACCESS_KEY_ID", "keys/AWS_ACCESS_KEY_ID"),
                ("AWS_SECRET_ACCESS_KEY", "keys/AWS_SECRET_ACCESS_KEY"),
                ("S3_USE_HTTPS", "0"),
                ("S3_ENDPOINT", "minio:9000"),
                ("AWS_ENDPOINT_URL", "http://minio:9000"),
            ],
        ),
        (
            // A scheme in the endpoint decides, whatever else is said; the data count where there is no annotation.
            secret(
                "keys",
                &json!({"serving.kserve.io/s3-usehttps": "1"}),
                &[("AWS_SECRET_ACCESS_KEY", "b"), ("S3_ENDPOINT", " HTTP://minio:9000 ")],
            ),
            &[
                ("AWS_ACCESS_KEY_ID", "keys/AWS_ACCESS_KEY_ID"),
                ("AWS_SECRET_ACCESS_KEY", "keys/AWS_SECRET_ACCESS_KEY"),
                ("S3_USE_HTTPS", "0"),
                ("S3_ENDPOINT", "minio:9000"),
                ("AWS_ENDPOINT_URL", "HTTP://minio:9000"),
            ],
        ),
        (
            secret("keys", &none, &[("gcloud-application-credentials.json", "{}")]),
            &[("GOOGLE_APPLICATION_CREDENTIALS", "/var/secrets/gcloud-application-credentials.json")],
        ),
        (
            secret(
                "keys",
                &none,
                &[
                    ("AZ_SUBSCRIPTION_ID", ""),
                    ("AZ_TENANT_ID", ""),
                    ("AZ_CLIENT_ID", ""),
                    ("AZ_CLIENT_SECRET", ""),
                ],
            ),
            &[
                ("AZURE_SUBSCRIPTION_ID", "keys/AZ_SUBSCRIPTION_ID"),
                ("AZURE_TENANT_ID", "keys/AZ_TENANT_ID"),
                ("AZURE_CLIENT_ID", "keys/AZ_CLIENT_ID"),
                ("AZURE_CLIENT_SECRET", "keys/AZ_CLIENT_SECRET"),
            ],
        ),
        (
            secret("keys", &none, &[("AZURE_CLIENT_ID", "")]),
            &[("AZURE_TENANT_ID", "keys/AZURE_TENANT_ID"), ("AZURE_CLIENT_ID", "keys/AZURE_CLIENT_ID")],
        ),
        (
            secret("keys", &none, &[("AZURE_STORAGE_ACCESS_KEY", "x")]),
            &[("AZURE_STORAGE_ACCESS_KEY", "keys/AZURE_STORAGE_ACCESS_KEY")],
        ),
        (
            secret("keys", &none, &[("https-host", "example.com"), ("headers", "{\"a\":\"b\"}")]),
            &[("example.com-headers", "{\"a\":\"b\"}")],
        ),
        (secret("keys", &none, &[("https-host", "example.com")]), &[]),
        (
            secret("keys", &none, &[("MODELSCOPE_API_TOKEN", "t")]),
            &[("MODELSCOPE_API_TOKEN", "keys/MODELSCOPE_API_TOKEN")],
        ),
        (secret("keys", &none, &[("other", "t")]), &[]),
    ];
    for (secret, expected) in cases {
        let spec = with_secret(secret, &json!({}));
        assert_eq!(variables(&spec["initContainers"][0]), pairs(expected), "{secret:?}");
    }
    let token = with_secret(&secret("keys", &none, &[("HF_TOKEN", "t")]), &json!({}));
    assert!(token["initContainers"][0]["env"].to_string().contains("\"key\":\"HF_TOKEN\""));
    for (key, volume, path) in [
        ("gcloud-application-credentials.json", "user-gcp-sa", "/var/secrets/"),
        ("HDFS_NAMENODE", "hdfs-secrets", "/var/secrets/kserve-hdfscreds"),
    ] {
        let spec = with_secret(&secret("keys", &none, &[(key, "x")]), &json!({}));
        assert_eq!(spec["volumes"][1], json!({"name": volume, "secret": {"secretName": "keys"}}));
        let mount = json!({"name": volume, "mountPath": path, "readOnly": true});
        assert_eq!(spec["initContainers"][0]["volumeMounts"][1], mount);
    }
}

/// A role on AWS gives S3 its settings without keys; a secret goes over them.
#[test]
fn roles_of_service_accounts() {
    let role = json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/s3", "serving.kserve.io/s3-region": "us-east-2"});
    let spec = with_secret(&secret("keys", &json!({}), &[]), &role);
    assert_eq!(variables(&spec["initContainers"][0]), pairs(&[("AWS_DEFAULT_REGION", "us-east-2")]));
    let over =
        secret("keys", &json!({"serving.kserve.io/s3-region": "eu-1"}), &[("AWS_SECRET_ACCESS_KEY", "b")]);
    let spec = with_secret(&over, &role);
    let keys = [
        ("AWS_ACCESS_KEY_ID", "keys/AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "keys/AWS_SECRET_ACCESS_KEY"),
    ];
    let expected = [&[("AWS_DEFAULT_REGION", "eu-1")], &keys[..]].concat();
    assert_eq!(variables(&spec["initContainers"][0]), pairs(&expected));
}

/// An annotated secret is the only one that counts, and must be there.
#[test]
fn annotated_secrets() {
    let account: ServiceAccount =
        from(json!({"metadata": {"name": "default"}, "secrets": [{"name": "listed"}]}));
    let around = Surroundings {
        secret: &|_, name| (name == "named").then(|| secret("named", &json!({}), &[("HF_TOKEN", "t")])),
        service_account: &|_, name| (name == "default").then(|| account.clone()),
        ..Surroundings::EMPTY
    };
    let named = make("hf://org/model", json!({"serving.kserve.io/storageSecretName": "named"}));
    let spec = mutated_by(named, &KserveConfig::default(), &around).unwrap();
    assert_eq!(spec["spec"]["initContainers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"], "named");
    let listed = mutated_by(make("hf://org/model", json!({})), &KserveConfig::default(), &around);
    assert_eq!(listed, Err("secrets \"listed\" not found".to_owned()));
}

/// The storage secret says where the model is; what it lacks must be said by name.
#[test]
fn storage_specifications() {
    let entry = |entry: &str| secret("storage-config", &json!({}), &[("minio", entry), ("default_s3", "{}")]);
    let ask = |secret: Option<Secret>, key: &str, parameters: &str| {
        let around = Surroundings {
            secret: &|_, name| secret.clone().filter(|_| name == "storage-config"),
            ..Surroundings::EMPTY
        };
        let pod = make(
            "<scheme-placeholder>://digits/v1",
            json!({
            "internal.serving.kserve.io/storage-spec": "true",
            "internal.serving.kserve.io/storage-spec-param": parameters,
            "internal.serving.kserve.io/storage-spec-key": key}),
        );
        mutated_by(pod, &KserveConfig::default(), &around).map(|pod| pod["spec"]["initContainers"][0].clone())
    };
    let full = r#"{"type": "s3", "bucket": "models", "cabundle_configmap": "authorities"}"#;
    let container = ask(Some(entry(full)), "minio", "{}").unwrap();
    assert_eq!(container["args"], json!(["s3://models/digits/v1", "/mnt/models"]));
    assert_eq!(
        variables(&container),
        pairs(&[
            ("AWS_CA_BUNDLE_CONFIGMAP", "authorities"),
            ("STORAGE_CONFIG", "storage-config/minio"),
            ("CA_BUNDLE_CONFIGMAP_NAME", "authorities"),
            ("CA_BUNDLE_VOLUME_MOUNT_POINT", "/etc/ssl/custom-certs")
        ])
    );
    let container = ask(None, "", r#"{"type": "hdfs", "x": "y"}"#).unwrap();
    assert_eq!(container["args"][0], "hdfs://digits/v1");
    assert_eq!(variables(&container), pairs(&[("STORAGE_OVERRIDE_CONFIG", r#"{"type":"hdfs","x":"y"}"#)]));
    let container = ask(Some(entry(full)), "", r#"{"type": "s3", "bucket": "b"}"#).unwrap();
    assert_eq!(container["args"][0], "s3://b/digits/v1");
    assert_eq!(variables(&container)[0], ("STORAGE_CONFIG".into(), "storage-config/default_s3".into()));
    for (secret, key, parameters, message) in [
        (
            Some(entry(full)),
            "none",
            "{}",
            "specified storage key none not found in storage secret storage-config",
        ),
        (
            None,
            "minio",
            "{}",
            "can't read storage secret storage-config: secrets \"storage-config\" not found",
        ),
        (None, "", "{}", "unable to determine storage type"),
        (Some(entry("{}")), "minio", "{}", "unable to determine storage type"),
        (
            Some(entry(r#"{"type": "s3"}"#)),
            "minio",
            "{}",
            "format [s3] requires a bucket but one wasn't found in storage data or parameters",
        ),
        (
            Some(entry(r#"{"type": "gs"}"#)),
            "minio",
            "{}",
            "storage type must be one of [s3, hdfs, webhdfs]. storage type [gs] is not supported",
        ),
    ] {
        assert_eq!(ask(secret, key, parameters), Err(message.to_owned()));
    }
    let odd = ask(Some(entry("{")), "minio", "{}").unwrap_err();
    assert!(
        odd.starts_with("invalid json encountered in key minio of storage secret storage-config: "),
        "{odd}"
    );
}

/// Private registries and stores need the operator's authorities, in the namespaces of users under another name.
#[test]
fn authorities() {
    let mut config = KserveConfig::default();
    config.storage_initializer.ca_bundle_config_map_name = "authorities".to_owned();
    for (namespace, expected) in [("default", "global-ca-bundle"), ("kserve", "authorities")] {
        let mut pod = make("s3://m", json!({}));
        pod.metadata.namespace = Some(namespace.to_owned());
        let spec = mutated_by(pod, &config, &Surroundings::EMPTY).unwrap()["spec"].clone();
        assert_eq!(spec["volumes"][1], json!({"name": "cabundle-cert", "configMap": {"name": expected}}));
        let mount = json!({"name": "cabundle-cert", "mountPath": "/etc/ssl/custom-certs", "readOnly": true});
        assert_eq!(spec["initContainers"][0]["volumeMounts"][1], mount);
    }
}

fn container(name: &str, more: &Value) -> ClusterStorageContainer {
    let mut all = json!({"metadata": {"name": name}, "spec": {
        "container": {"name": "storage-initializer", "image": format!("{name}:1"), "env": [{"name": "name", "value": "value"}],
            "resources": {"limits": {"memory": "2Gi"}}},
        "supportedUriFormats": [{"prefix": "custom://"}, {"regex": "https://(.+?).core.windows.net/(.+)"}]}});
    for (key, value) in more.as_object().unwrap() {
        if key == "disabled" { all[key] = value.clone() } else { all["spec"][key] = value.clone() }
    }
    from(all)
}

/// The wrong downloader, or none, would be found only when the pod fails.
#[test]
fn storage_containers_by_uri_and_by_name() {
    let all = [
        container("job", &json!({"workloadType": "localModelDownloadJob"})),
        container("off", &json!({"disabled": true})),
        container("custom", &json!({})),
    ];
    let around = Surroundings { storage_containers: &all, ..Surroundings::EMPTY };
    let image = |uri: &str, name: Option<&str>| {
        let mut pod = make(uri, json!({}));
        if let Some(name) = name {
            let key = "internal.serving.kserve.io/storage-container-name";
            pod.metadata.annotations.as_mut().unwrap().insert(key.into(), name.into());
        }
        mutated_by(pod, &KserveConfig::default(), &around).map(|pod| pod["spec"]["initContainers"][0].clone())
    };
    let custom = image("custom://m/v1", None).unwrap();
    assert_eq!(custom["image"], "custom:1");
    assert_eq!(custom["args"], json!(["custom://m/v1", "/mnt/models"]));
    assert_eq!(
        custom["resources"],
        json!({"requests": {"cpu": "100m", "memory": "100Mi"},
        "limits": {"cpu": "1", "memory": "2Gi"}})
    );
    assert_eq!(variables(&custom), pairs(&[("name", "value")]));
    assert_eq!(image("https://x.blob.core.windows.net/m", None).unwrap()["image"], "custom:1");
    assert_eq!(image("s3://m", None).unwrap()["image"], "windtunnel/storage-initializer:latest");
    assert_eq!(image("custom://m", Some("custom")).unwrap()["image"], "custom:1");
    for (name, message) in [
        ("none", "ClusterStorageContainer \"none\" not found"),
        ("off", "ClusterStorageContainer \"off\" is disabled"),
        (
            "job",
            "ClusterStorageContainer \"job\" has workloadType \"localModelDownloadJob\"; explicit selection requires \"initContainer\"",
        ),
        ("custom", "ClusterStorageContainer \"custom\" does not support storageUri \"s3://m\""),
    ] {
        assert_eq!(image("s3://m", Some(name)), Err(message.to_owned()));
    }
    let broken = [container("broken", &json!({"supportedUriFormats": [{"regex": "("}]}))];
    let around = Surroundings { storage_containers: &broken, ..Surroundings::EMPTY };
    let error = mutated_by(make("s3://m", json!({})), &KserveConfig::default(), &around).unwrap_err();
    assert!(error.starts_with("error checking storage container broken: error parsing regexp: "), "{error}");
}

/// An image's files must be where the server looks, in each of the three ways.
#[test]
fn images_as_models() {
    let mut shown = mutated(make("oci://registry/m:1", json!({})));
    let containers = shown["containers"].as_array_mut().unwrap();
    let car = containers.iter_mut().find(|container| container["name"] == "modelcar").unwrap();
    let link = format!("ln -sf /proc/$$$$/{}/models /mnt/models && sleep infinity", "root");
    assert_eq!(car["args"][2], link);
    car["args"][2] = json!("[the link to the model]");
    insta::assert_yaml_snapshot!("modelcar", shown);

    let native = mutated(make("oci+native://registry/m:1", json!({})));
    assert_eq!(
        native["volumes"],
        json!([{"name": "mnt-models",
        "image": {"reference": "registry/m:1", "pullPolicy": "IfNotPresent"}}])
    );
    assert_eq!(
        native["containers"][1]["volumeMounts"],
        json!([{"name": "mnt-models", "mountPath": "/mnt/models",
        "subPath": "models", "readOnly": true}])
    );

    let mut pod = make("oci+fetch://registry/m:1", json!({}));
    pod.spec.as_mut().unwrap().image_pull_secrets = Some(vec![from(json!({"name": "pull"}))]);
    let fetch = mutated(pod);
    let init = &fetch["initContainers"][0];
    assert_eq!(init["args"], json!(["oci://registry/m:1", "/mnt/models"]));
    assert_eq!(
        init["env"],
        json!([{"name": "KSERVE_OCI_DOCKER_CONFIG", "value": "/mnt/oci-fetch-auth/config.json"}])
    );
    assert_eq!(
        fetch["volumes"][0]["secret"],
        json!({"secretName": "pull", "defaultMode": 256,
        "items": [{"key": ".dockerconfigjson", "path": "config.json"}]})
    );

    let mut off = KserveConfig::default();
    off.storage_initializer.enable_modelcar = false;
    let plain = mutated_by(make("oci://registry/m:1", json!({})), &off, &Surroundings::EMPTY).unwrap();
    assert_eq!(plain["spec"]["initContainers"][0]["name"], "storage-initializer");
}

/// Before the sidecar runs, only its own user gets through.
#[test]
fn the_user_under_istio() {
    let user = |annotations: Value, more: Value| {
        let mut pod = serde_json::to_value(make("s3://m", annotations)).unwrap();
        for container in more.as_array().unwrap() {
            pod["spec"]["containers"].as_array_mut().unwrap().push(container.clone());
        }
        let spec = mutated(from(pod));
        spec["initContainers"][0]["securityContext"]["runAsUser"].as_i64()
    };
    let redirected = json!({"sidecar.istio.io/interceptionMode": "REDIRECT",
        "sidecar.istio.io/status": "{\"containers\": [\"istio-proxy\"]}"});
    assert_eq!(user(json!({}), json!([{"name": "istio-proxy"}])), None);
    assert_eq!(user(redirected.clone(), json!([{"name": "istio-proxy"}])), Some(1337));
    let own = json!([{"name": "istio-proxy", "securityContext": {"runAsUser": 2501}}]);
    assert_eq!(user(redirected, own), Some(2501));
    assert_eq!(user(json!({"serving.kserve.io/storage-initializer-uid": "1501"}), json!([])), Some(1501));
    assert_eq!(user(json!({"serving.kserve.io/storage-initializer-uid": "x"}), json!([])), None);
}

/// Payloads would be lost, or requests would bypass the agent.
#[test]
fn the_agent_logs_and_batches() {
    let annotations = json!({
        "internal.serving.kserve.io/logger": "true",
        "internal.serving.kserve.io/logger-sink-url": "http://sink",
        "internal.serving.kserve.io/logger-mode": "request",
        "internal.serving.kserve.io/logger-metadata-annotations": "team,none",
        "internal.serving.kserve.io/batcher": "true",
        "internal.serving.kserve.io/batcher-max-batchsize": "32",
        "team": "red"});
    let mut pod: Pod = from(json!({
        "metadata": {"name": "p", "namespace": "ns", "annotations": annotations,
            "labels": {"serving.kserve.io/inferenceservice": "digits", "component": "predictor"}},
        "spec": {"containers": [{"name": "kserve-container", "ports": [{"containerPort": 8085}],
            "securityContext": {"runAsNonRoot": true},
            "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8085}}}]}}));
    let spec = mutated(pod.clone());
    let agent = &spec["containers"][1];
    assert_eq!(
        agent["args"],
        json!([
            "--enable-batcher",
            "--max-batchsize",
            "32",
            "--log-url",
            "http://sink",
            "--source-uri",
            "p",
            "--log-mode",
            "request",
            "--inference-service",
            "digits",
            "--namespace",
            "ns",
            "--endpoint",
            "",
            "--component",
            "predictor",
            "--metadata-annotations",
            "team=red",
            "--logger-tls-skip-verify",
            "false",
            "--component-port",
            "8085"
        ])
    );
    assert_eq!(agent["ports"], json!([{"name": "agent-port", "containerPort": 9081, "protocol": "TCP"}]));
    assert_eq!(agent["securityContext"], json!({"runAsNonRoot": true}));
    assert_eq!(
        agent["env"],
        json!([{"name": "SERVING_READINESS_PROBE",
        "value": "{\"httpGet\":{\"path\":\"/v2/health/ready\",\"port\":8085}}"}])
    );
    assert_eq!(
        agent["readinessProbe"]["httpGet"],
        json!({"path": "/v2/health/ready", "port": 9081,
        "scheme": "HTTP", "httpHeaders": [{"name": "K-Network-Probe", "value": "queue"}]})
    );

    let service: InferenceService =
        from(json!({"metadata": {"name": "digits"}, "spec": {"predictor": {"logger": {
        "mode": "all", "storage": {"path": "/logs", "parameters": {"format": "parquet"}, "key": "k"},
        "marshallerUrl": "http://marshal", "batchSize": 10, "batchInterval": "1m"}}}}));
    let around = Surroundings { service: Some(&service), ..Surroundings::EMPTY };
    let stored = mutated_by(pod.clone(), &KserveConfig::default(), &around).unwrap();
    let args: Vec<&str> = stored["spec"]["containers"][1]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    assert_eq!(
        args[17..27],
        [
            "--log-store-path",
            "/logs",
            "--log-store-format",
            "parquet",
            "--log-marshaller-url",
            "http://marshal",
            "--log-batch-size",
            "10",
            "--log-batch-interval",
            "1m"
        ]
    );

    // With Knative's proxy the agent has the proxy's settings, and the proxy sends to the agent.
    pod.spec.as_mut().unwrap().containers.push(from(json!({"name": "queue-proxy",
        "env": [{"name": "USER_PORT", "value": "8085"}, {"name": "X", "value": "y"}]})));
    let spec = mutated(pod);
    assert_eq!(spec["containers"][1]["env"][0]["value"], "9081");
    assert_eq!(
        spec["containers"][2]["env"],
        json!([{"name": "USER_PORT", "value": "8085"}, {"name": "X", "value": "y"}])
    );
    assert_eq!(spec["containers"][2]["readinessProbe"]["httpGet"]["path"], "/");
}

/// A server of many models gets them from the agent, in one folder.
#[test]
fn the_agent_pulls_models() {
    let annotations = json!({
        "internal.serving.kserve.io/agent": "true",
        "internal.serving.kserve.io/configVolumeName": "modelconfig-digits-0",
        "internal.serving.kserve.io/configMountPath": "/mnt/configs",
        "internal.serving.kserve.io/modelDir": "/mnt/models"});
    let pod = make("s3://m", annotations);
    let spec = mutated(pod.clone());
    assert!(spec["initContainers"].is_null());
    let agent = &spec["containers"][2];
    assert_eq!(
        agent["args"],
        json!([
            "--enable-puller",
            "--config-dir",
            "/mnt/configs",
            "--model-dir",
            "/mnt/models",
            "--component-port",
            "8080"
        ])
    );
    assert_eq!(
        agent["volumeMounts"],
        json!([{"name": "model-dir", "mountPath": "/mnt/models"},
        {"name": "model-config", "mountPath": "/mnt/configs"}])
    );
    assert_eq!(
        spec["containers"][1]["volumeMounts"],
        json!([{"name": "model-dir", "mountPath": "/mnt/models"}])
    );
    assert_eq!(
        spec["volumes"],
        json!([{"name": "model-dir", "emptyDir": {}},
        {"name": "model-config", "configMap": {"name": "modelconfig-digits-0"}}])
    );
    let mut without = pod;
    without.metadata.annotations.as_mut().unwrap().remove("internal.serving.kserve.io/configVolumeName");
    assert_eq!(
        mutated_by(without, &KserveConfig::default(), &Surroundings::EMPTY),
        Err("can not find internal.serving.kserve.io/configVolumeName label".to_owned())
    );
}

/// Metrics that nobody scrapes are found missing when they are needed.
#[test]
fn metrics_and_accelerators() {
    let pod = make(
        "s3://m",
        json!({"serving.kserve.io/enable-metric-aggregation": "true",
        "serving.kserve.io/enable-prometheus-scraping": "true", "prometheus.kserve.io/port": "8082"}),
    );
    let pod = mutated_by(pod, &KserveConfig::default(), &Surroundings::EMPTY).unwrap();
    let proxy = &pod["spec"]["containers"][0];
    assert_eq!(
        variables(proxy),
        pairs(&[
            ("KSERVE_CONTAINER_PROMETHEUS_METRICS_PORT", "8082"),
            ("KSERVE_CONTAINER_PROMETHEUS_METRICS_PATH", "/metrics"),
            ("AGGREGATE_PROMETHEUS_METRICS_PORT", "9088")
        ])
    );
    assert_eq!(proxy["ports"], json!([{"name": "aggr-metric", "containerPort": 9088, "protocol": "TCP"}]));
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9088");
    let mut config = KserveConfig::default();
    config.metrics_aggregator.enable_prometheus_scraping = "true".to_owned();
    let pod = mutated_by(make("s3://m", json!({})), &config, &Surroundings::EMPTY).unwrap();
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9091");
    assert_eq!(pod["metadata"]["annotations"]["serving.kserve.io/enable-metric-aggregation"], "false");
    assert!(pod["spec"]["containers"][0]["ports"].is_null());

    for (limits, expected) in [
        (json!({"nvidia.com/gpu": "1"}), json!({"cloud.google.com/gke-accelerator": "t4"})),
        (json!({}), Value::Null),
    ] {
        let mut pod =
            serde_json::to_value(make("s3://m", json!({"serving.kserve.io/gke-accelerator": "t4"}))).unwrap();
        pod["spec"]["containers"][1]["resources"] = json!({"limits": limits});
        assert_eq!(mutated(from(pod))["nodeSelector"], expected);
    }
}

/// Several sources share one init container; what would hide each other is refused.
#[test]
fn lists_of_sources() {
    let add = |uris: &[(&str, &str)], containers: &[ClusterStorageContainer]| {
        let mut spec: PodSpec = from(json!({"containers": [{"name": "kserve-container"}]}));
        let uris: Vec<StorageUri> = uris
            .iter()
            .map(|(uri, path)| StorageUri {
                uri: (*uri).into(),
                mount_path: Some((*path).into()),
                ..StorageUri::default()
            })
            .collect();
        let annotations = Default::default();
        let request = StorageUris {
            uris: &uris,
            namespace: "default",
            annotations: &annotations,
            storage_container: None,
        };
        let around = Surroundings { storage_containers: containers, ..Surroundings::EMPTY };
        pod::storage_uris(&mut spec, &request, &KserveConfig::default(), &around)?;
        Ok::<_, String>(serde_json::to_value(spec).unwrap())
    };
    let spec = add(
        &[
            ("s3://b/base", "/mnt/models/base"),
            ("hf://o/lora", "/mnt/models/lora"),
            ("pvc://shelf/x", "/mnt/shelf"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(
        spec["initContainers"][0]["args"],
        json!(["s3://b/base", "/mnt/models/base", "hf://o/lora", "/mnt/models/lora"])
    );
    assert_eq!(
        spec["initContainers"][0]["volumeMounts"],
        json!([{"name": "mnt-models", "mountPath": "/mnt/models"}])
    );
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([
        {"name": "mnt-shelf", "mountPath": "/mnt/shelf", "subPath": "x", "readOnly": true},
        {"name": "mnt-models", "mountPath": "/mnt/models", "readOnly": true}])
    );
    assert_eq!(
        add(&[("custom://x", "/mnt/models")], &[container("single", &json!({}))]),
        Err("storage container \"storage-initializer\" does not support multi-model download; use the default kserve \
             storage initializer or a compatible storage container".to_owned())
    );
    assert_eq!(
        add(&[("oci://a", "/mnt/models/a"), ("oci://b", "/mnt/models/b")], &[]),
        Err("OCI mount paths \"/mnt/models/a\" and \"/mnt/models/b\" share parent directory \"/mnt/models\", which would \
             cause volume mount shadowing; use mount paths with distinct parent directories".to_owned())
    );
    let two = add(&[("oci://a", "/mnt/a/m"), ("oci://b", "/mnt/b/m")], &[]).unwrap();
    let names: Vec<&str> =
        two["containers"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kserve-container", "modelcar", "modelcar-1"]);
    assert_eq!(
        two["containers"][2]["args"][2],
        format!("mkdir -p /mnt/b && ln -sf /proc/$$$$/{}/models /mnt/b/m && sleep infinity", "root")
    );
    let many: Vec<(&str, &str)> = vec![("oci://a", "/x/m"); 11];
    assert_eq!(add(&many, &[]), Err("too many OCI sources (11); maximum is 10 per pod".to_owned()));
}
