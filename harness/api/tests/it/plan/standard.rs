//! Children of the Standard mode.

use serde_json::{Value, json};
use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::kserve::plan::{Inputs, Profile, plan};

use super::{condition, first, names, runtimes, tensorflow, value};

const CLASS: &str = "serving.kserve.io/autoscalerClass";

/// rawkube_controller_test.go, `getDeploymentWithKServiceLabel`: what upstream asserts of the whole specification.
#[test]
fn the_deployment_is_upstreams() {
    let service = tensorflow(&json!({"automountServiceAccountToken": false}), &json!({CLASS: "hpa"}));
    let plan = first(&service);
    let deployment = value(&plan.children.deployments[0]);
    assert_eq!(deployment["metadata"]["name"], "raw-foo-predictor");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "isvc-uid");
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["controller"], true);
    assert_eq!(
        deployment["spec"],
        json!({
            "selector": {"matchLabels": {"app": "isvc.raw-foo-predictor"}},
            "template": {
                "metadata": {
                    "name": "raw-foo-predictor",
                    "namespace": "default",
                    "labels": {
                        "app": "isvc.raw-foo-predictor",
                        "component": "predictor",
                        "serving.kserve.io/inferenceservice": "raw-foo",
                    },
                    "annotations": {
                        "internal.serving.kserve.io/storage-initializer-sourceuri": "s3://test/mnist/export",
                        "serving.kserve.io/deploymentMode": "Standard",
                        "serving.kserve.io/autoscalerClass": "hpa",
                    },
                },
                "spec": {
                    "containers": [{
                        "image": "tensorflow/serving:1.14.0",
                        "name": "kserve-container",
                        "command": ["/usr/bin/tensorflow_model_server"],
                        "args": [
                            "--port=9000",
                            "--rest_api_port=8080",
                            "--model_base_path=/mnt/models",
                            "--rest_api_timeout_in_ms=60000",
                        ],
                        "env": [{"name": "INFERENCE_SERVICE_NAME", "value": "raw-foo"}],
                        "resources": {
                            "limits": {"cpu": "1", "memory": "2Gi"},
                            "requests": {"cpu": "1", "memory": "2Gi"},
                        },
                        "readinessProbe": {
                            "tcpSocket": {"port": 8080},
                            "timeoutSeconds": 1,
                            "periodSeconds": 10,
                            "successThreshold": 1,
                            "failureThreshold": 3,
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "File",
                        "imagePullPolicy": "IfNotPresent",
                    }],
                    "schedulerName": "default-scheduler",
                    "restartPolicy": "Always",
                    "terminationGracePeriodSeconds": 30,
                    "dnsPolicy": "ClusterFirst",
                    "securityContext": {},
                    "automountServiceAccountToken": false,
                },
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        })
    );
}

/// rawkube_controller_test.go, `getExectedService`.
#[test]
fn the_service_is_upstreams() {
    let plan = first(&tensorflow(&json!({}), &json!({})));
    let service = value(&plan.children.services[0]);
    assert_eq!(
        service["spec"],
        json!({
            "ports": [{"name": "raw-foo-predictor", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            "selector": {"app": "isvc.raw-foo-predictor"},
        })
    );
    assert_eq!(service["metadata"]["labels"]["app"], "isvc.raw-foo-predictor");
}

/// service_reconciler_test.go: several ports, gRPC, the agent in front, a transformer beside the predictor.
#[test]
fn ports_of_the_service() {
    let ports = |predictor: &Value| {
        let plan = first(&tensorflow(predictor, &json!({})));
        value(&plan.children.services[0])["spec"]["ports"].clone()
    };
    let two = json!([
        {"containerPort": 8080, "name": "http1", "protocol": "TCP"},
        {"containerPort": 9000, "name": "h2c"},
    ]);
    assert_eq!(
        ports(&json!({"model": {"ports": two}})),
        json!([
            {"name": "http1", "port": 80, "protocol": "TCP", "targetPort": 8080},
            {"name": "h2c", "port": 9000, "protocol": "TCP", "targetPort": 9000, "appProtocol": "kubernetes.io/h2c"},
        ])
    );
    let grpc_first = json!([{"containerPort": 9000, "name": "grpc-port"}]);
    assert_eq!(
        ports(&json!({"model": {"ports": grpc_first}})),
        json!([{"name": "grpc-port", "port": 80, "protocol": "TCP", "targetPort": 9000, "appProtocol": "kubernetes.io/h2c"}])
    );
    for part in [json!({"logger": {"mode": "all"}}), json!({"batcher": {"maxBatchSize": 2}})] {
        assert_eq!(ports(&part)[0]["targetPort"], 9081, "{part}");
        assert_eq!(ports(&part)[0]["port"], 80);
    }
    let beside = json!({"containers": [{
        "name": "transformer-container", "image": "t", "ports": [{"containerPort": 8088, "protocol": "TCP"}],
    }]});
    assert_eq!(ports(&beside), json!([{"port": 80, "protocol": "TCP", "targetPort": 8088}]));
}

/// What users write goes to pods by priority (component, service, runtime), and some annotations never do.
#[test]
fn labels_and_annotations() {
    let mut service = tensorflow(
        &json!({
            "labels": {"tier": "component", "own": "1"},
            "annotations": {"note": "component", "autoscaling.knative.dev/min-scale": "3"},
        }),
        &json!({
            "note": "service",
            "kept": "yes",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "autoscaling.knative.dev/max-scale": "3",
            "team/secret": "x",
        }),
    );
    service.metadata.labels = Some(
        [("tier".to_owned(), "service".to_owned()), ("networking.knative.dev/visibility".into(), "x".into())]
            .into(),
    );
    let mut runtimes = runtimes();
    runtimes[0].spec.labels =
        Some([("tier".to_owned(), "runtime".to_owned()), ("r".into(), "1".into())].into());
    runtimes[0].spec.annotations = Some(
        [
            ("note".to_owned(), "runtime".to_owned()),
            ("team/secret".into(), "y".into()),
            ("r".into(), "2".into()),
        ]
        .into(),
    );
    let config = KserveConfig::from_config_map(
        &[(
            "inferenceService".to_owned(),
            r#"{"serviceAnnotationDisallowedList": ["team/secret"]}"#.to_owned(),
        )]
        .into(),
    )
    .unwrap();
    let plan = plan(&Inputs::new(&service, &config, &runtimes));
    let metadata = value(&plan.children.deployments[0])["spec"]["template"]["metadata"].clone();
    assert_eq!(
        metadata["labels"],
        json!({
            "tier": "component", "own": "1", "r": "1", "networking.knative.dev/visibility": "x",
            "app": "isvc.raw-foo-predictor", "component": "predictor",
            "serving.kserve.io/inferenceservice": "raw-foo",
        })
    );
    assert_eq!(
        metadata["annotations"],
        json!({
            "note": "component", "kept": "yes", "r": "2",
            "serving.kserve.io/deploymentMode": "Standard",
            "internal.serving.kserve.io/storage-initializer-sourceuri": "s3://test/mnist/export",
        })
    );
}

/// hpa_reconciler_test.go and the envtests: what decides bounds and metrics.
#[test]
fn horizontal_pod_autoscalers() {
    let hpa = |predictor: &Value| {
        let plan = first(&tensorflow(predictor, &json!({})));
        value(&plan.children.autoscalers[0])["spec"].clone()
    };
    let cpu = |percent: i32| {
        json!([{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}])
    };
    assert_eq!(
        hpa(&json!({})),
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "raw-foo-predictor"},
            "minReplicas": 1, "maxReplicas": 3, "metrics": cpu(80), "behavior": {},
        })
    );
    let bounds = |predictor: &Value| {
        let spec = hpa(predictor);
        (spec["minReplicas"].as_i64().unwrap(), spec["maxReplicas"].as_i64().unwrap())
    };
    assert_eq!(bounds(&json!({"minReplicas": 0})), (1, 3));
    assert_eq!(bounds(&json!({"minReplicas": 5, "maxReplicas": 0})), (5, 5));
    assert_eq!(bounds(&json!({"minReplicas": null, "maxReplicas": null})), (1, 1));
    assert_eq!(hpa(&json!({"scaleMetric": "cpu", "scaleTarget": 75}))["metrics"], cpu(75));
    assert_eq!(
        hpa(&json!({"scaleMetric": "memory", "scaleTarget": 50}))["metrics"],
        json!([{"type": "Resource", "resource": {
            "name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}])
    );
    assert_eq!(hpa(&json!({"scaleMetric": "memory"}))["metrics"], json!([]));
    let given = json!({"metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "10Gi"}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}}},
    ]});
    assert_eq!(
        hpa(&json!({"autoScaling": given}))["metrics"],
        json!([
            cpu(80)[0],
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "10Gi"}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}}},
        ])
    );
}

/// `autoScaling.behavior` is ignored by upstream; users who write it get it here.
#[test]
fn behaviour_of_the_autoscaler() {
    let service = tensorflow(
        &json!({"autoScaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}}}}),
        &json!({}),
    );
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let behavior = |profile| {
        let inputs = Inputs { profile, ..Inputs::new(&service, &config, &runtimes) };
        value(&plan(&inputs).children.autoscalers[0])["spec"]["behavior"].clone()
    };
    assert_eq!(behavior(Profile::Upstream), json!({}));
    assert_eq!(behavior(Profile::Windtunnel), json!({"scaleDown": {"stabilizationWindowSeconds": 7}}));
}

/// Who decides the replicas: exactly one of them, and `spec.replicas` is set only where nobody else does.
#[test]
fn autoscaler_classes() {
    let mut config = KserveConfig::default();
    // Only requests that pass the gateway can be counted.
    config.ingress.enable_gateway_api = true;
    let runtimes = runtimes();
    let of = |class: &str, profile: Profile| {
        let service = tensorflow(&json!({"minReplicas": 2}), &json!({CLASS: class}));
        plan(&Inputs { profile, ..Inputs::new(&service, &config, &runtimes) })
    };
    let shape = |class: &str| {
        let plan = of(class, Profile::Windtunnel);
        let replicas = value(&plan.children.deployments[0])["spec"]["replicas"].as_i64();
        (plan.children.autoscalers.len(), plan.children.scaled_objects.len(), replicas)
    };
    assert_eq!(shape("hpa"), (1, 0, None));
    assert_eq!(shape("keda"), (0, 1, None));
    assert_eq!(shape("external"), (0, 0, None));
    assert_eq!(shape("none"), (0, 0, Some(2)));
    assert_eq!(shape("kpa"), (0, 0, None));
    let refused = of("kpa", Profile::Upstream);
    assert_eq!(condition(&refused, "PredictorReady"), ("False", "ReconcileFailed"));
    assert!(!refused.prune);
    assert_eq!(refused.events[0].message, "unknown autoscaler class type: kpa");
}

/// keda_reconciler_test.go: three kinds of triggers, and windows from the service or the configuration.
#[test]
fn scaled_objects() {
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "2Gi"}}},
        {"type": "External", "external": {
            "metric": {"backend": "prometheus", "serverAddress": "http://p:9090", "query": "q", "namespace": "n"},
            "authenticationRef": {"authModes": "bearer", "authenticationRef": {"name": "auth"}},
            "target": {"type": "Value", "value": "100.50"}}},
        {"type": "External", "external": {
            "metric": {"backend": "graphite", "serverAddress": "http://g", "query": "g", "namespace": "n"},
            "target": {"type": "Value", "value": 7}}},
        {"type": "PodMetric", "podmetric": {
            "metric": {"backend": "opentelemetry", "metricNames": ["vllm:num_requests_running"],
                "query": "vllm:num_requests_running", "operationOverTime": "avg"},
            "target": {"type": "Value", "value": "4"}}},
    ]);
    let service = tensorflow(
        &json!({"minReplicas": 0, "autoScaling": {
            "metrics": metrics, "behavior": {"scaleUp": {
                "stabilizationWindowSeconds": 30, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}}}}),
        &json!({CLASS: "keda", "prometheus.kserve.io/port": "8081"}),
    );
    let plan = first(&service);
    assert_eq!(
        value(&plan.children.scaled_objects[0])["spec"],
        json!({
            "scaleTargetRef": {"name": "raw-foo-predictor"},
            "minReplicaCount": 0, "maxReplicaCount": 3,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 30},
                "scaleDown": {"stabilizationWindowSeconds": 300}}}},
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}},
                {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "2Gi"}},
                {"type": "prometheus", "authenticationRef": {"name": "auth"}, "metadata": {
                    "serverAddress": "http://p:9090", "query": "q", "threshold": "100.50", "namespace": "n",
                    "authModes": "bearer"}},
                {"type": "graphite", "metadata": {"serverAddress": "http://g", "query": "g", "threshold": "7"}},
                {"type": "external", "metadata": {
                    "metricQuery": "sum(vllm:num_requests_running{namespace=\"default\", deployment=\"raw-foo-predictor\"})",
                    "targetValue": "4", "scalerAddress": "keda-otel-scaler.keda.svc:4318",
                    "operationOverTime": "avg"}},
            ],
        })
    );
    let collector = value(&plan.children.collectors[0]);
    assert_eq!(collector["metadata"]["name"], "raw-foo-predictor");
    let spec = &collector["spec"];
    assert_eq!(spec["mode"], "sidecar");
    let scrape = &spec["config"]["receivers"]["prometheus"]["config"]["scrape_configs"][0];
    assert_eq!(scrape["static_configs"][0]["targets"][0], "localhost:8081");
    assert_eq!(scrape["scrape_interval"], "5s");
    assert_eq!(
        spec["config"]["processors"]["filter/metrics"]["metrics"]["include"],
        json!({"match_type": "strict", "metric_names": ["vllm:num_requests_running"]})
    );
    assert_eq!(
        spec["config"]["service"]["pipelines"]["metrics"]["processors"],
        json!(["resourcedetection/env", "transform", "filter/metrics"])
    );
}

/// deployment_reconciler_test.go: the user's strategy is taken as it is.
#[test]
fn strategy_of_the_user() {
    let given = json!({"type": "Recreate"});
    let plan = first(&tensorflow(&json!({"deploymentStrategy": given}), &json!({})));
    let spec = value(&plan.children.deployments[0])["spec"].clone();
    assert_eq!(spec["strategy"], given);
    assert!(spec["revisionHistoryLimit"].is_null() && spec["progressDeadlineSeconds"].is_null());
}

/// A name that Kubernetes refuses ends in a condition, not in an endless loop.
#[test]
fn names_that_are_too_long() {
    let mut service = tensorflow(&json!({}), &json!({}));
    service.metadata.name = Some("m".repeat(60));
    let plan = first(&service);
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "ReconcileFailed"));
    assert_eq!(plan.events.len(), 1);
    assert!(plan.events[0].message.contains("70 characters"), "{}", plan.events[0].message);
    assert!(plan.children.deployments.is_empty());
    // The host is longer than the Service's name.
    service.metadata.name = Some("m".repeat(47));
    let plan = first(&service);
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "ReconcileFailed"));
    assert!(plan.events[0].message.contains("must be no more than 63 bytes"), "{}", plan.events[0].message);
}

/// What a cluster cannot serve is said, and the rest goes on.
#[test]
fn missing_kinds() {
    let service = tensorflow(&json!({}), &json!({CLASS: "keda"}));
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    inputs.cluster.keda = false;
    let plan = plan(&inputs);
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "ReconcileFailed"));
    assert!(plan.events[0].message.contains("ScaledObject"));
    assert_eq!(names(&plan.children.deployments), ["raw-foo-predictor"]);
}

/// deployment_reconciler_test.go: the configuration's steps count where Standard is the default mode, and only there.
#[test]
fn strategy_of_the_configuration() {
    let runtimes = runtimes();
    let steps = |mode: &str, strategy: Value| {
        let deploy = json!({
            "defaultDeploymentMode": mode,
            "deploymentRolloutStrategy": {"defaultRollout": {"maxSurge": "1", "maxUnavailable": "0"}}});
        let config =
            KserveConfig::from_config_map(&[("deploy".to_owned(), deploy.to_string())].into()).unwrap();
        let service = tensorflow(&json!({"deploymentStrategy": strategy}), &json!({}));
        let plan = plan(&Inputs::new(&service, &config, &runtimes));
        value(&plan.children.deployments[0])["spec"]["strategy"]["rollingUpdate"].clone()
    };
    assert_eq!(steps("Standard", json!(null)), json!({"maxSurge": "1", "maxUnavailable": "0"}));
    assert_eq!(steps("Knative", json!(null)), json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
    let own = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}});
    assert_eq!(steps("Standard", own), json!({"maxSurge": "50%"}));
}
