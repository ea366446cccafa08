//! The ConfigMap `inferenceservice-config`.

use std::collections::BTreeMap;

use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::kserve::config::OciMode;

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn fault(key: &str, text: &str) -> String {
    let (_, faults) = KserveConfig::default().updated(&data(&[(key, text)]));
    assert_eq!(faults.len(), 1, "{key}: {text}");
    assert_eq!(faults[0].key, key);
    faults[0].message.clone()
}

/// What is written must be read again as it was.
#[test]
fn the_shipped_map_says_what_the_defaults_say() {
    let default = KserveConfig::default();
    let map = default.to_config_map();
    assert_eq!(KserveConfig::from_config_map(&map), Ok(default.clone()));
    assert_eq!(KserveConfig::from_config_map(&BTreeMap::new()), Ok(default.clone()));
    let expected = [
        "agent",
        "autoscaler",
        "batcher",
        "credentials",
        "deploy",
        "explainers",
        "inferenceService",
        "ingress",
        "localModel",
        "logger",
        "metricsAggregator",
        "opentelemetryCollector",
        "router",
        "security",
        "storageInitializer",
    ];
    assert_eq!(map.keys().map(String::as_str).collect::<Vec<_>>(), expected);

    let mut changed = default;
    changed.default_deployment_mode = "Standard".to_owned();
    changed.ingress_domain = "cluster.local".to_owned();
    changed.ingress.enable_gateway_api = true;
    changed.service_cluster_ip_none = true;
    changed.custom_gpu_resource_types = vec!["x.com/gpu".to_owned()];
    changed.disallowed_annotations.push("mine/1".to_owned());
    changed.auto_mount_service_account_token = false;
    assert_eq!(KserveConfig::from_config_map(&changed.to_config_map()), Ok(changed));
}

/// One slip in one key must not take the others down, nor the cluster with them.
#[test]
fn a_broken_key_keeps_its_last_good_value() {
    let good = data(&[
        ("agent", r#"{"image": "mine:1"}"#),
        ("storageInitializer", r#"{"image": "store:1", "cpuLimit": "2"}"#),
        ("deploy", r#"{"defaultDeploymentMode": "RawDeployment"}"#),
    ]);
    let (first, faults) = KserveConfig::default().updated(&good);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(first.default_deployment_mode, "Standard");
    assert_eq!(first.storage_initializer.memory_limit, "1Gi");
    let broken = data(&[
        ("agent", "{"),
        ("storageInitializer", r#"{"image": "store:2", "cpuLimit": "many"}"#),
        ("deploy", r#"{"defaultDeploymentMode": "Serverless"}"#),
    ]);
    let (second, faults) = first.updated(&broken);
    assert_eq!(
        faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(),
        ["storageInitializer", "agent"]
    );
    assert_eq!(second.agent.image, "mine:1");
    assert_eq!(second.storage_initializer.image, "store:1");
    assert_eq!(second.default_deployment_mode, "Knative");
    let (third, faults) = second.updated(&BTreeMap::new());
    assert!(faults.is_empty());
    assert_eq!(third, KserveConfig::default(), "keys that are gone take their defaults");
    let error = KserveConfig::from_config_map(&broken).unwrap_err().to_string();
    assert!(
        error.starts_with("ConfigMap kserve/inferenceservice-config, key storageInitializer: "),
        "{error}"
    );
}

/// Operators look for upstream's words.
#[test]
fn faults_in_upstreams_words() {
    let ingress = |rest: &str| format!(r#"{{"ingressGateway": "a/b"{rest}}}"#);
    for (key, text, message) in [
        ("deploy", "{}".to_owned(), "invalid deploy config, defaultDeploymentMode is required"),
        (
            "deploy",
            r#"{"defaultDeploymentMode": "Odd"}"#.to_owned(),
            "invalid deployment mode. Supported modes are Knative, Standard and ModelMesh",
        ),
        ("ingress", "{}".to_owned(), "invalid ingress config - ingressGateway is required"),
        (
            "ingress",
            ingress(r#", "enableGatewayApi": true"#),
            "invalid ingress config - kserveIngressGateway is required",
        ),
        (
            "ingress",
            ingress(r#", "enableGatewayApi": true, "kserveIngressGateway": "a""#),
            "invalid ingress config - kserveIngressGateway should be in the format <namespace>/<name>",
        ),
        (
            "ingress",
            ingress(r#", "enableGatewayApi": true, "kserveIngressGateway": "A/b""#),
            "invalid ingress config - kserveIngressGateway gateway namespace is invalid",
        ),
        (
            "ingress",
            ingress(r#", "enableGatewayApi": true, "kserveIngressGateway": "a/b_""#),
            "invalid ingress config - kserveIngressGateway gateway name is invalid",
        ),
        (
            "ingress",
            ingress(r#", "pathTemplate": "/{{ .Name }}""#),
            "invalid ingress config - ingressDomain is required if pathTemplate is given",
        ),
        (
            "ingress",
            ingress(r#", "pathTemplate": "/{{ .Name", "ingressDomain": "x""#),
            "invalid ingress config, unable to parse pathTemplate: unclosed action",
        ),
        (
            "storageInitializer",
            r#"{"ociModelMode": "odd"}"#.to_owned(),
            "invalid \"storageInitializer\".ociModelMode \"odd\": must be one of \"modelcar\", \"native\", \"fetch\"",
        ),
        (
            "storageInitializer",
            r#"{"cpuLimit": "x"}"#.to_owned(),
            "failed to parse resource configuration for \"storageInitializer\".\"cpuLimit\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' (it is \"x\")",
        ),
    ] {
        assert_eq!(fault(key, &text), message, "{key}: {text}");
    }
    for (key, start) in [
        ("deploy", "unable to parse deploy config json: "),
        ("ingress", "unable to parse ingress config json: "),
        ("credentials", "unable to parse credential config json: "),
        ("explainers", "unable to unmarshall explainers json string due to "),
        ("multiNode", "unable to unmarshall multiNode json string due to "),
        ("opentelemetryCollector", "unable to parse otel config json: "),
        ("autoscaler", "unable to parse autoscaler config json: "),
        ("service", "unable to parse service config json: "),
        ("inferenceService", "unable to parse isvc config json: "),
        ("logger", "unable to unmarshall logger json string due to "),
        ("batcher", "unable to unmarshall batcher json string due to "),
    ] {
        for text in ["{", "[1]x", "3", r#""text""#] {
            let message = fault(key, text);
            assert!(message.starts_with(start), "{key} {text}: {message}");
        }
    }
    for key in ["localModel", "security", "metricsAggregator", "router", "agent", "storageInitializer"] {
        fault(key, "nonsense");
    }
}

/// Lists are appended to what never goes to pods; switches decide over images as models.
#[test]
fn lists_and_switches() {
    let read = |key: &str, text: &str| KserveConfig::from_config_map(&data(&[(key, text)])).unwrap();
    let config = read(
        "inferenceService",
        r#"{"serviceAnnotationDisallowedList": ["a"], "serviceLabelDisallowedList": ["b"]}"#,
    );
    assert_eq!(config.disallowed_annotations.len(), 6);
    assert_eq!(config.disallowed_labels, ["networking.knative.dev/visibility", "b"]);
    assert_eq!(config.resources, None, "no resources are written where none are given");
    for (text, mode) in [
        ("{}", Some(OciMode::Modelcar)),
        (r#"{"enableModelcar": false}"#, None),
        (r#"{"enableModelcar": false, "enableOciModelSupport": true}"#, Some(OciMode::Modelcar)),
        (r#"{"enableModelcar": false, "ociModelMode": "native"}"#, Some(OciMode::Native)),
        (r#"{"ociModelMode": "fetch"}"#, Some(OciMode::Fetch)),
    ] {
        assert_eq!(read("storageInitializer", text).storage_initializer.oci_mode(), mode, "{text}");
    }
    let gateway = read("ingress", r#"{"ingressGateway": "a/b", "localGatewayService": "local"}"#);
    assert_eq!(gateway.ingress.knative_local_gateway_service, "local");
}
