//! Children and status of the Knative mode.

use serde_json::{Value, json};
use windtunnel_api::knative;
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};

use super::{condition, first, names, runtimes, value, with_spec};

const MODE: &str = "serving.kserve.io/deploymentMode";

fn service(spec: &Value, annotations: &Value) -> InferenceService {
    let mut all = json!({MODE: "Knative"});
    super::merge(&mut all, annotations);
    with_spec(spec, &all)
}

/// The plan when the Knative Services say that they are ready (or not).
fn next(
    service: &InferenceService,
    before: &Plan,
    istio: bool,
    ready: impl Fn(&str) -> &'static str,
) -> Plan {
    let mut children = before.children.knative_services.clone();
    for child in &mut children {
        let name = child.metadata.name.clone().unwrap();
        let status = ready(&name);
        child.metadata.generation = Some(1);
        child.status = Some(
            serde_json::from_value(json!({
                "observedGeneration": 1,
                "conditions": [
                    {"type": "ConfigurationsReady", "status": status},
                    {"type": "Ready", "status": status},
                    {"type": "RoutesReady", "status": status},
                ],
                "url": format!("http://{name}-default.example.com"),
                "address": {"url": format!("http://{name}.default.svc.cluster.local")},
                "latestCreatedRevisionName": format!("{name}-00001"),
                "latestReadyRevisionName": format!("{name}-00001"),
                "traffic": [{"revisionName": format!("{name}-00001"), "latestRevision": true, "percent": 100}],
            }))
            .unwrap(),
        );
    }
    let observed: Vec<&knative::Service> = children.iter().collect();
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let service = InferenceService { status: Some(before.status.clone()), ..service.clone() };
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    inputs.cluster.istio = istio;
    inputs.observed.knative_services = observed;
    plan(&inputs)
}

/// controller_test.go: the predictor's Knative Service.
#[test]
fn the_knative_service() {
    let service = service(
        &json!({"predictor": {
            "minReplicas": 1, "maxReplicas": 3, "scaleTarget": 5, "scaleMetric": "concurrency", "timeout": 30,
            "containerConcurrency": 4}}),
        &json!({"serving.knative.dev/rollout-duration": "30s", "autoscaling.knative.dev/initial-scale": "0"}),
    );
    let plan = first(&service);
    assert!(plan.children.deployments.is_empty() && plan.children.autoscalers.is_empty());
    let rendered = value(&plan.children.knative_services[0]);
    assert_eq!(rendered["metadata"]["name"], "raw-foo-predictor");
    assert_eq!(rendered["metadata"]["annotations"], json!({"serving.knative.dev/rollout-duration": "30s"}));
    assert_eq!(
        rendered["metadata"]["labels"],
        json!({"component": "predictor", "serving.kserve.io/inferenceservice": "raw-foo"})
    );
    let template = &rendered["spec"]["template"];
    assert_eq!(
        template["metadata"]["annotations"],
        json!({
            "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
            "autoscaling.knative.dev/max-scale": "3",
            "autoscaling.knative.dev/metric": "concurrency",
            "autoscaling.knative.dev/min-scale": "1",
            "autoscaling.knative.dev/target": "5",
            "internal.serving.kserve.io/storage-initializer-sourceuri": "s3://test/mnist/export",
            "serving.kserve.io/deploymentMode": "Knative",
        })
    );
    assert_eq!(
        (&template["spec"]["containerConcurrency"], &template["spec"]["timeoutSeconds"]),
        (&json!(4), &json!(30))
    );
    assert_eq!(
        template["spec"]["containers"][0]["env"],
        json!([{"name": "INFERENCE_SERVICE_NAME", "value": "raw-foo"}])
    );
    assert_eq!(rendered["spec"]["traffic"], json!([{"latestRevision": true, "percent": 100}]));
}

/// What is about the service reaches no revision, which would be another one for it; and what people say to the autoscaler
/// does.
#[test]
fn labels_and_annotations_of_a_revision() {
    let mut service = service(
        &json!({"predictor": {"labels": {"team": "a"}}}),
        &json!({
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "autoscaling.knative.dev/window": "10s",
            "serving.knative.dev/rollout-duration": "5s",
        }),
    );
    let visible = ("networking.knative.dev/visibility".to_owned(), "cluster-local".to_owned());
    service.metadata.labels = Some([visible].into());
    let rendered = value(&first(&service).children.knative_services[0]);
    let own = json!({
        "component": "predictor", "serving.kserve.io/inferenceservice": "raw-foo", "team": "a"});
    let mut all = own.clone();
    all["networking.knative.dev/visibility"] = "cluster-local".into();
    assert_eq!(rendered["metadata"]["labels"], all);
    let template = &rendered["spec"]["template"]["metadata"];
    assert_eq!(template["labels"], own);
    assert_eq!(template["annotations"]["autoscaling.knative.dev/window"], "10s");
    for gone in ["kubectl.kubernetes.io/last-applied-configuration", "serving.knative.dev/rollout-duration"] {
        assert!(template["annotations"].get(gone).is_none(), "{template}");
    }
    assert_eq!(rendered["metadata"]["ownerReferences"][0]["uid"], "isvc-uid");
}

/// The canary gets its share, and the rest stays with the revision that was last rolled out.
#[test]
fn a_canary_beside_what_was_rolled_out() {
    let service = service(&json!({}), &json!({}));
    let ready = next(&service, &first(&service), false, |_| "True");
    let canary = self::service(&json!({"predictor": {"canaryTrafficPercent": 10}}), &json!({}));
    let split = next(&canary, &ready, false, |_| "True");
    assert_eq!(
        value(&split.children.knative_services[0].spec.traffic),
        json!([
            {"latestRevision": true, "percent": 10},
            {"latestRevision": false, "revisionName": "raw-foo-predictor-00001", "percent": 90, "tag": "prev"},
        ])
    );
}

/// A model of several sources would start with some of them missing.
#[test]
fn several_storage_uris() {
    let sources = json!([
        {"uri": "s3://m/base", "mountPath": "/mnt/models/base"},
        {"uri": "s3://m/lora", "mountPath": "/mnt/models/lora"},
    ]);
    let predictor = json!({"storageUris": sources, "model": {"storageUri": null}});
    let plan = first(&service(&json!({"predictor": predictor}), &json!({})));
    let pod = value(&plan.children.knative_services[0].spec.template.spec);
    assert_eq!(
        pod["initContainers"][0]["args"],
        json!(["s3://m/base", "/mnt/models/base", "s3://m/lora", "/mnt/models/lora"])
    );
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/mnt/models");
    assert_eq!(pod["volumes"][0]["name"], "mnt-models");
}

/// A child's status that is older than its specification must not promote or roll back anything; upstream's does.
#[test]
fn a_stale_child_moves_no_pointer() {
    let service = service(&json!({}), &json!({}));
    let rolled_out = |generation: i64, profile: Profile| {
        let mut child = first(&service).children.knative_services.remove(0);
        child.metadata.generation = Some(generation);
        child.status = Some(
            serde_json::from_value(json!({
                "observedGeneration": 1, "latestCreatedRevisionName": "v2", "latestReadyRevisionName": "v2",
                "traffic": [{"revisionName": "v2", "latestRevision": true, "percent": 100}],
            }))
            .unwrap(),
        );
        let (config, runtimes) = (KserveConfig::default(), runtimes());
        let mut inputs = Inputs { profile, ..Inputs::new(&service, &config, &runtimes) };
        inputs.observed.knative_services = vec![&child];
        plan(&inputs).status.predictor().unwrap().latest_rolledout_revision.clone()
    };
    assert_eq!(rolled_out(1, Profile::Windtunnel).as_deref(), Some("v2"));
    assert_eq!(rolled_out(2, Profile::Windtunnel), None);
    assert_eq!(rolled_out(2, Profile::Upstream).as_deref(), Some("v2"));
}

/// While a canary starts, the service keeps its URL.
#[test]
fn the_url_survives_a_change() {
    let service = service(&json!({}), &json!({}));
    let ready = next(&service, &first(&service), false, |_| "True");
    let busy = next(&service, &ready, false, |_| "Unknown");
    assert_eq!(condition(&busy, "Ready").0, "Unknown");
    assert_eq!(busy.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
}

/// controller_test.go: what leads to the service from inside the cluster, and Istio's virtual host.
#[test]
fn istios_virtual_host() {
    let service = service(&json!({}), &json!({}));
    let one = first(&service);
    assert_eq!(condition(&one, "IngressReady"), ("Unknown", "Predictor ingress not created"));
    let two = next(&service, &one, true, |_| "True");
    let external = value(&two.children.services[0]);
    assert_eq!(external["metadata"]["name"], "raw-foo");
    assert_eq!(
        external["spec"],
        json!({
            "type": "ExternalName", "sessionAffinity": "None",
            "externalName": "knative-local-gateway.istio-system.svc.cluster.local"})
    );
    let headers = json!({"request": {"set": {
        "Host": "raw-foo-predictor.default.svc.cluster.local",
        "KServe-Isvc-Name": "raw-foo", "KServe-Isvc-Namespace": "default"}}});
    assert_eq!(
        value(&two.children.virtual_services[0])["spec"],
        json!({
            "hosts": ["raw-foo.default.svc.cluster.local", "raw-foo-default.example.com"],
            "gateways": ["knative-serving/knative-local-gateway", "mesh", "knative-serving/knative-ingress-gateway"],
            "http": [{
                "match": [
                    {"authority": {"regex": r"^raw-foo\.default\.svc\.cluster\.local(?::\d{1,5})?$"},
                        "gateways": ["knative-serving/knative-local-gateway", "mesh"]},
                    {"authority": {"regex": r"^raw-foo-default\.example\.com(?::\d{1,5})?$"},
                        "gateways": ["knative-serving/knative-ingress-gateway"]},
                ],
                "route": [{"weight": 100, "destination": {
                    "host": "knative-local-gateway.istio-system.svc.cluster.local", "port": {"number": 80}}}],
                "headers": headers,
            }],
        })
    );
    assert_eq!(two.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
    assert_eq!(
        two.status.address.clone().unwrap().url.as_deref(),
        Some("http://raw-foo.default.svc.cluster.local")
    );
    let without = next(&service, &one, false, |_| "True");
    assert!(without.children.virtual_services.is_empty());
    assert_eq!(without.status.url, two.status.url);
}

/// inference_service_status_test.go, `PropagateCrossComponentStatus`: the conditions over all components.
#[test]
fn conditions_over_all_components() {
    let spec = json!({"transformer": {"containers": [{"name": "t", "image": "t"}]}});
    let service = service(&spec, &json!({}));
    let one = first(&service);
    assert_eq!(names(&one.children.knative_services), ["raw-foo-predictor", "raw-foo-transformer"]);
    let two = next(&service, &one, false, |name| if name.contains("transformer") { "False" } else { "True" });
    assert_eq!(condition(&two, "RoutesReady"), ("False", "TransformerRouteReady not ready"));
    assert_eq!(
        condition(&two, "LatestDeploymentReady"),
        ("False", "TransformerConfigurationReady not ready")
    );
    assert_eq!(condition(&two, "IngressReady"), ("False", "Transformer ingress not created"));
    let three = next(&service, &one, false, |_| "True");
    assert_eq!(condition(&three, "RoutesReady"), ("True", ""));
    assert_eq!(condition(&three, "Ready").0, "True");
    assert_eq!(three.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
    let rolled_out = three.status.components["predictor"].latest_rolledout_revision.as_deref();
    assert_eq!(rolled_out, Some("raw-foo-predictor-00001"));
    let info = windtunnel_api::condition::find(&three.status.conditions, "TransformerReady").unwrap();
    assert_eq!(info.severity.as_deref(), Some("Info"));
}

/// Without Knative the service says what is wrong, once.
#[test]
fn without_knative() {
    let service = service(&json!({}), &json!({}));
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let mut inputs = Inputs { profile: Profile::Upstream, ..Inputs::new(&service, &config, &runtimes) };
    inputs.cluster.knative = false;
    let one = plan(&inputs);
    assert_eq!((one.events.len(), one.events[0].reason.as_str()), (1, "ServerlessModeRejected"));
    assert_eq!(
        one.events[0].message,
        "It is not possible to use Knative deployment mode when Knative Services are not available"
    );
    assert!(one.children.knative_services.is_empty());
    let again = InferenceService { status: Some(one.status), ..service.clone() };
    let mut inputs = Inputs::new(&again, &config, &runtimes);
    inputs.cluster.knative = false;
    assert!(plan(&inputs).events.is_empty());
}
