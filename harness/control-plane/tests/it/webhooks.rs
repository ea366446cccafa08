//! The webhooks over HTTPS: their certificates, their reviews, and an API server that calls them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Span, Timestamp};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use windtunnel_api::kserve::{InferenceGraph, InferenceService};
use windtunnel_apiserver::ApiServer;
use windtunnel_control_plane::LiveConfig;
use windtunnel_control_plane::admission::certificates::{self, Issued};
use windtunnel_control_plane::admission::review::{PATHS, ReviewError, Webhooks};
use windtunnel_control_plane::admission::rotate::{self, ClusterWebhooks, WebhookOptions};
use windtunnel_control_plane::install;
use windtunnel_control_plane::install::webhooks::{WebhookAddress, mutating, validating};
use windtunnel_control_plane::metrics::Metrics;

use crate::digits;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn ensure(stored: Option<&Secret>, for_names: &[&str], days: i64) -> Issued {
    let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let now = start.checked_add(Span::new().hours(24 * days)).unwrap();
    certificates::ensure(stored, "kserve", &names(for_names), now).unwrap()
}

/// A certificate that ends, or an authority that callers don't know, stops every write to the cluster.
#[test]
fn certificates_are_renewed_in_time_and_trusted_before_they_are_shown() {
    let first = ensure(None, &["a.svc"], 0);
    let stored = first.secret.clone().unwrap();
    assert_eq!(first.ca_bundle_pem.matches("BEGIN CERTIFICATE").count(), 1);
    let again = ensure(Some(&stored), &["a.svc"], 59);
    assert_eq!((again.secret, &again.identity), (None, &first.identity), "nothing is due");
    assert_eq!(again.renew_at, "2026-04-30T00:00:00Z".parse().unwrap(), "90 days from 1 March less 30");

    let renewed = ensure(Some(&stored), &["a.svc"], 61);
    assert_ne!(renewed.identity, first.identity);
    assert_eq!(renewed.ca_bundle_pem, first.ca_bundle_pem, "the authority stays");
    assert!(renewed.secret.is_some());

    let other = ensure(Some(&stored), &["a.svc", "127.0.0.1"], 1);
    assert_ne!(other.identity, first.identity, "a name was missing");
    assert_eq!(ensure(other.secret.as_ref(), &["127.0.0.1"], 1).secret, None, "one name more does no harm");

    let late = ensure(Some(&stored), &["a.svc"], 3650 - 364);
    let bundle = late.ca_bundle_pem.clone();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2, "both are trusted");
    assert!(bundle.ends_with(&first.ca_bundle_pem) && !bundle.starts_with(&first.ca_bundle_pem));
    let much_later = ensure(late.secret.as_ref(), &["a.svc"], 3651);
    assert_eq!(much_later.ca_bundle_pem.matches("BEGIN CERTIFICATE").count(), 1, "the old one has ended");
}

/// A Secret that somebody has spoilt must not stop the webhooks.
#[test]
fn a_spoilt_secret_is_replaced() {
    let good = ensure(None, &["a"], 0).secret.unwrap();
    let other = ensure(None, &["a"], 0).secret.unwrap();
    for key in ["tls.crt", "tls.key", "ca.crt", "ca.key"] {
        for value in [None, Some(b"nonsense".to_vec()), Some(other.data.as_ref().unwrap()[key].0.clone())] {
            let mut spoilt = good.clone();
            let data = spoilt.data.as_mut().unwrap();
            match value {
                None => drop(data.remove(key)),
                Some(bytes) => drop(data.insert(key.to_owned(), k8s_openapi::ByteString(bytes))),
            }
            let issued = ensure(Some(&spoilt), &["a"], 0);
            let repaired = issued.secret.as_ref().unwrap_or(&spoilt);
            assert_eq!(ensure(Some(repaired), &["a"], 0).secret, None, "{key} is repaired at once");
        }
    }
}

fn review(
    version: &str,
    resource: (&str, &str, &str),
    operation: &str,
    object: &Value,
    old: &Value,
) -> Vec<u8> {
    json!({"apiVersion": format!("admission.k8s.io/{version}"), "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": operation, "namespace": "default", "name": "digits",
        "resource": {"group": resource.0, "version": resource.1, "resource": resource.2},
        "kind": {"group": resource.0, "version": resource.1, "kind": "X"},
        "userInfo": {}, "object": object, "oldObject": old, "dryRun": false}})
    .to_string()
    .into_bytes()
}

/// API servers old and new must understand the answers.
#[test]
fn reviews_of_both_versions() {
    let webhooks = Webhooks::new(&LiveConfig::default());
    let resource = ("serving.kserve.io", "v1beta1", "inferenceservices");
    let service =
        json!({"metadata": {"name": "digits"}, "spec": {"predictor": {"onnx": {"storageUri": "s3://m"}}}});
    for version in ["v1", "v1beta1"] {
        let body = review(version, resource, "CREATE", &service, &Value::Null);
        let answer = webhooks.answer(PATHS[0].0, &body).unwrap();
        assert_eq!(answer["apiVersion"], format!("admission.k8s.io/{version}"));
        assert_eq!(answer["response"]["uid"], "u-1");
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut patched = service.clone();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched["spec"]["predictor"]["model"]["modelFormat"]["name"], "onnx");
        assert_eq!(patched["metadata"]["annotations"]["modelFormat"], "onnx");
    }
    let bad = json!({"metadata": {"name": "digits"}, "spec": {"predictor": {}}});
    let answer = webhooks.answer(PATHS[2].0, &review("v1", resource, "CREATE", &bad, &Value::Null)).unwrap();
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(answer["response"]["status"]["code"], 403);
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("exactly one of [Name, SKLearn, "), "{message}");
    let secret = json!({"metadata": {"name": "digits"}, "spec": {"predictor": {"model": {"modelFormat": {"name": "onnx"},
        "storageUri": "oci://m", "confidential": {"enabled": true}}}}});
    let answer = webhooks.answer(PATHS[2].0, &review("v1", resource, "UPDATE", &secret, &secret)).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    assert!(
        answer["response"]["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("confidential has no effect with OCI URIs")
    );
    let elsewhere = review("v1", ("apps", "v1", "deployments"), "CREATE", &bad, &Value::Null);
    assert_eq!(webhooks.answer(PATHS[2].0, &elsewhere).unwrap()["response"]["allowed"], true);
    assert!(matches!(webhooks.answer("/nowhere", b"{}"), Err(ReviewError::UnknownPath { .. })));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview"}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
    ] {
        let error = webhooks.answer(PATHS[0].0, body.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("the body is no AdmissionReview"), "{error}");
    }
}

/// The configurations that upstream installs, by name, path and rules.
#[test]
fn configurations_are_upstreams() {
    let address = WebhookAddress::Service { namespace: "kserve".to_owned() };
    let value = serde_json::to_value(mutating(&address, "PEM")).unwrap();
    let pods = &value["webhooks"][1];
    assert_eq!(
        pods["clientConfig"]["service"],
        json!({"name": "kserve-webhook-server-service", "namespace": "kserve",
        "path": "/mutate-pods"})
    );
    assert_eq!(pods["clientConfig"]["caBundle"], STANDARD.encode("PEM"));
    assert_eq!(pods["reinvocationPolicy"], "IfNeeded");
    assert_eq!(
        pods["objectSelector"]["matchExpressions"],
        json!([{"key": "serving.kserve.io/inferenceservice", "operator": "Exists"}])
    );
    assert_eq!(
        pods["namespaceSelector"]["matchExpressions"],
        json!([{"key": "control-plane", "operator": "DoesNotExist"}])
    );
    let all = validating(&address, "PEM");
    let found: Vec<String> = all.iter().filter_map(|one| one.metadata.name.clone()).collect();
    let kinds = [
        "inferenceservice",
        "trainedmodel",
        "inferencegraph",
        "clusterservingruntime",
        "servingruntime",
        "localmodelcache",
        "localmodelnamespacecache",
    ];
    assert_eq!(found, kinds.map(|kind| format!("{kind}.serving.kserve.io")));
    for (configuration, kind) in all.iter().zip(kinds) {
        let hook = serde_json::to_value(configuration).unwrap()["webhooks"][0].clone();
        let version = if kind == "inferenceservice" { "v1beta1" } else { "v1alpha1" };
        assert_eq!(
            hook["clientConfig"]["service"]["path"],
            format!("/validate-serving-kserve-io-{version}-{kind}")
        );
        assert_eq!(hook["failurePolicy"], "Fail");
    }
    assert_eq!(WebhookAddress::Url("https://[::1]:9443/x".to_owned()).names(), ["::1"]);
    assert_eq!(WebhookAddress::Url("https://host:9443".to_owned()).names(), ["host"]);
}

/// A port that is free now.
async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

struct Stage {
    client: Client,
    webhooks: ClusterWebhooks,
    options: WebhookOptions,
    live: LiveConfig,
    _server: ApiServer,
}

impl Stage {
    async fn start() -> Self {
        let server = ApiServer::new(windtunnel_apiserver::Options::default());
        let client = server.client();
        install::install(&client, "example.com").await.unwrap();
        let port = free_port().await;
        let options = WebhookOptions {
            namespace: "kserve".to_owned(),
            address: WebhookAddress::Url(format!("https://127.0.0.1:{port}")),
            listen: ([127, 0, 0, 1], port).into(),
        };
        let live = LiveConfig::default();
        let webhooks = ClusterWebhooks::start(client.clone(), options.clone(), &live, &Metrics::default())
            .await
            .unwrap();
        Self { client, webhooks, options, live, _server: server }
    }
}

/// On a cluster of others the webhooks are only as good as the calls that reach them.
#[tokio::test]
async fn an_api_server_calls_the_webhooks() {
    let stage = Stage::start().await;
    let services = Api::<InferenceService>::namespaced(stage.client.clone(), "default");
    let made = digits("v1", json!({"model": null, "onnx": {"storageUri": "s3://m"}}));
    let created = services.create(&PostParams::default(), &made).await.unwrap();
    assert_eq!(created.spec.predictor.model.as_ref().unwrap().model_format.name, "onnx");
    let mut wrong = digits("v1", json!({"minReplicas": 3, "maxReplicas": 1}));
    wrong.metadata.name = Some("wrong".to_owned());
    let Err(kube::Error::Api(refused)) = services.create(&PostParams::default(), &wrong).await else {
        panic!("it must be refused")
    };
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message,
        "admission webhook \"inferenceservice.kserve-webhook-server.validator\" denied the request: 'MinReplicas' cannot \
         be greater than MaxReplicas"
    );
    let graph: InferenceGraph =
        serde_json::from_value(json!({"metadata": {"name": "g"}, "spec": {"nodes": {"root": {
        "routerType": "Sequence", "steps": [{"nodeName": "a"}]}, "a": {"routerType": "Sequence", "steps":
        [{"nodeName": "root"}]}}}}))
        .unwrap();
    let graphs = Api::<InferenceGraph>::namespaced(stage.client.clone(), "default");
    let error = graphs.create(&PostParams::default(), &graph).await.unwrap_err().to_string();
    assert!(error.contains("has a circle of nodes: a -> root -> a"), "{error}");

    let mut config = (*stage.live.get()).clone();
    config.storage_initializer.image = "mine:1".to_owned();
    stage.live.set(config);
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p",
        "labels": {"serving.kserve.io/inferenceservice": "digits"},
        "annotations": {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://m/v1"}},
        "spec": {"containers": [{"name": "kserve-container", "image": "x"}]}}))
    .unwrap();
    let pods = Api::<Pod>::namespaced(stage.client.clone(), "default");
    let created = pods.create(&PostParams::default(), &pod).await.unwrap();
    assert_eq!(created.spec.unwrap().init_containers.unwrap()[0].image.as_deref(), Some("mine:1"));
    stage.webhooks.stop().await;
}

/// A second replica shares the certificates; a lost Secret is made again, and the API server is told.
#[tokio::test]
async fn replicas_share_one_secret() {
    let stage = Stage::start().await;
    let now = Timestamp::now();
    let first = rotate::certificates(&stage.client, &stage.options, now).await.unwrap();
    assert_eq!(first.secret, None, "the first replica has stored it");
    let two = tokio::join!(
        rotate::certificates(&stage.client, &stage.options, now),
        rotate::certificates(&stage.client, &stage.options, now)
    );
    assert_eq!(two.0.unwrap().identity, two.1.unwrap().identity);

    let secrets = Api::<Secret>::namespaced(stage.client.clone(), "kserve");
    secrets.delete(certificates::SECRET, &DeleteParams::default()).await.unwrap();
    let (a, b) = tokio::join!(
        rotate::certificates(&stage.client, &stage.options, now),
        rotate::certificates(&stage.client, &stage.options, now)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.identity, b.identity, "the slower one takes the faster one's");
    assert_ne!(a.identity, first.identity);
    rotate::register(&stage.client, &stage.options.address, &a.ca_bundle_pem).await.unwrap();
    let configurations = Api::<ValidatingWebhookConfiguration>::all(stage.client.clone());
    let configuration = configurations.get("inferencegraph.serving.kserve.io").await.unwrap();
    let bundle = configuration.webhooks.unwrap()[0].client_config.ca_bundle.clone().unwrap();
    assert_eq!(String::from_utf8(bundle.0).unwrap(), a.ca_bundle_pem);
    stage.webhooks.stop().await;
}
