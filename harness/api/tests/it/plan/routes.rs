//! How requests from outside reach a service in the Standard mode: HTTPRoutes or an Ingress.

use serde_json::{Value, json};
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};

use super::{
    available, condition, first, merge, names, next, next_with, runtimes, tensorflow, value, with_spec,
};

fn config(ingress: &Value) -> KserveConfig {
    let mut all = json!({
        "ingressGateway": "knative-serving/knative-ingress-gateway",
        "enableGatewayApi": true,
        "ingressDomain": "example.com",
        "kserveIngressGateway": "kserve/kserve-ingress-gateway",
        "additionalIngressDomains": ["additional.example.com"],
    });
    merge(&mut all, ingress);
    KserveConfig::from_config_map(&[("ingress".to_owned(), all.to_string())].into()).unwrap()
}

/// The plan once all Deployments serve.
fn serving(service: &InferenceService, config: &KserveConfig, profile: Profile) -> Plan {
    let runtimes = runtimes();
    let one = plan(&Inputs { profile, ..Inputs::new(service, config, &runtimes) });
    next_with(service, &one, profile, config, available)
}

fn route<'a>(plan: &'a Plan, name: &str) -> &'a HttpRoute {
    let found = plan.children.http_routes.iter().find(|route| route.metadata.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no {name} among {:?}", names(&plan.children.http_routes)))
}

/// Host, expression and backends of every rule.
fn rules(route: &HttpRoute) -> Vec<(String, Vec<(String, i32, Option<i32>)>)> {
    let rules = route.spec.rules.iter();
    rules
        .map(|rule| {
            let path = rule.matches[0].path.as_ref().and_then(|path| path.value.clone()).unwrap();
            let backends = rule.backend_refs.iter();
            let backends = backends.map(|b| (b.name.clone(), b.port.unwrap(), b.weight)).collect();
            (path, backends)
        })
        .collect()
}

fn rule(path: &str, backends: &[(&str, i32, Option<i32>)]) -> (String, Vec<(String, i32, Option<i32>)>) {
    let backends = backends.iter().map(|(name, port, weight)| ((*name).to_owned(), *port, *weight)).collect();
    (path.to_owned(), backends)
}

/// rawkube_controller_test.go: the two routes of a predictor, as a whole (weights and groups that the API server fills
/// in aside).
#[test]
fn routes_of_a_predictor() {
    let service = tensorflow(&json!({"timeout": 30}), &json!({}));
    let plan = serving(&service, &config(&json!({})), Profile::Upstream);
    let expected = |hostnames: Value| {
        json!({
            "hostnames": hostnames,
            "parentRefs": [{
                "group": "gateway.networking.k8s.io", "kind": "Gateway",
                "namespace": "kserve", "name": "kserve-ingress-gateway",
            }],
            "rules": [{
                "matches": [{"path": {"type": "RegularExpression", "value": "^/.*$"}}],
                "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [
                    {"name": "KServe-Isvc-Name", "value": "raw-foo"},
                    {"name": "KServe-Isvc-Namespace", "value": "default"}]}}],
                "backendRefs": [{
                    "kind": "Service", "name": "raw-foo-predictor", "namespace": "default", "port": 80}],
                "timeouts": {"request": "30s"},
            }],
        })
    };
    let top = json!(["raw-foo-default.example.com", "raw-foo-default.additional.example.com"]);
    assert_eq!(value(&route(&plan, "raw-foo").spec), expected(top));
    let own = json!(["raw-foo-predictor-default.example.com"]);
    assert_eq!(value(&route(&plan, "raw-foo-predictor").spec), expected(own));
    assert!(plan.children.ingresses.is_empty());
}

/// The API server fills in what upstream's envtest sees: group and weight of backends.
#[test]
fn defaults_of_the_definition() {
    use kube::CustomResourceExt;
    let crd = value(&HttpRoute::crd());
    let rule = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]
        ["items"]["properties"]["backendRefs"]["items"]["properties"];
    assert_eq!(
        [&rule["group"]["default"], &rule["kind"]["default"], &rule["weight"]["default"]],
        [&json!(""), &json!("Service"), &json!(1)]
    );
}

/// httproute_reconciler_test.go: reasons before there is a route, before a gateway has looked, and when it refuses.
#[test]
fn until_the_gateway_accepts() {
    let service = tensorflow(&json!({}), &json!({}));
    let config = config(&json!({}));
    let runtimes = runtimes();
    let one = plan(&Inputs::new(&service, &config, &runtimes));
    let ingress = windtunnel_api::condition::find(&one.status.conditions, "IngressReady").unwrap();
    assert_eq!(
        (ingress.status.as_str(), ingress.reason(), ingress.message()),
        ("False", "Predictor Deployment NotReady", "Predictor HTTPRoute not created")
    );
    let two = next_with(&service, &one, Profile::Windtunnel, &config, available);
    assert_eq!(condition(&two, "IngressReady"), ("False", "ParentStatusNotAvailable"));
    assert_eq!(two.status.url, None);

    let judged = |conditions: &Value| {
        let mut before = two.clone();
        for route in &mut before.children.http_routes {
            let parents = json!({"parents": [{
                "parentRef": {"name": "g"}, "controllerName": "c", "conditions": conditions}]});
            route.status = Some(serde_json::from_value(parents).unwrap());
        }
        next_with(&service, &before, Profile::Windtunnel, &config, available)
    };
    let refused = judged(&json!([
        {"type": "Accepted", "status": "False", "reason": "NoMatchingListenerHostname", "message": "no listener"}]));
    let ingress = windtunnel_api::condition::find(&refused.status.conditions, "IngressReady").unwrap();
    assert_eq!(
        (ingress.status.as_str(), ingress.reason(), ingress.message()),
        ("False", "NoMatchingListenerHostname", "Predictor no listener")
    );
    let accepted = judged(&json!([{"type": "Accepted", "status": "True", "reason": "Accepted"}]));
    assert_eq!(condition(&accepted, "Ready").0, "True");
    assert_eq!(accepted.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
}

/// httproute_reconciler_test.go: transformer and explainer, in the order of the rules.
#[test]
fn routes_of_all_components() {
    let spec = json!({
        "transformer": {"timeout": 20, "containers": [{"name": "t", "image": "t"}]},
        "explainer": {"containers": [{"name": "e", "image": "e"}]},
    });
    let service = with_spec(&spec, &json!({}));
    let plan = serving(
        &service,
        &config(&json!({"pathTemplate": "/serving/{{ .Namespace }}/{{ .Name }}"})),
        Profile::Windtunnel,
    );
    assert_eq!(
        names(&plan.children.http_routes),
        ["raw-foo-predictor", "raw-foo-transformer", "raw-foo-explainer", "raw-foo"]
    );
    let top = route(&plan, "raw-foo");
    assert_eq!(
        rules(top),
        [
            rule(r"^/v1/models/[\w-]+:explain$", &[("raw-foo-explainer", 80, None)]),
            rule("^/.*$", &[("raw-foo-transformer", 80, None)]),
            rule(r"/serving/default/raw-foo(/v1/models/[\w-]+:explain)$", &[("raw-foo-explainer", 80, None)]),
            rule("/serving/default/raw-foo/", &[("raw-foo-transformer", 80, None)]),
        ]
    );
    let timeouts: Vec<_> =
        top.spec.rules.iter().map(|rule| rule.timeouts.clone().unwrap().request.unwrap()).collect();
    assert_eq!(timeouts, ["60s", "20s", "60s", "20s"]);
    assert_eq!(top.spec.hostnames.last().map(String::as_str), Some("example.com"));
    let plan = serving(&service, &config(&json!({"disableHTTPRouteTimeout": true})), Profile::Windtunnel);
    assert!(route(&plan, "raw-foo").spec.rules.iter().all(|rule| rule.timeouts.is_none()));
}

/// httproute_reconciler_test.go: a Service with both protocols gets a rule for each, gRPC first.
#[test]
fn both_protocols() {
    let ports = json!([{"containerPort": 8080, "name": "http1"}, {"containerPort": 9000, "name": "h2c"}]);
    let service = tensorflow(&json!({"model": {"ports": ports}}), &json!({}));
    let plan = serving(&service, &config(&json!({})), Profile::Windtunnel);
    for name in ["raw-foo", "raw-foo-predictor"] {
        let route = route(&plan, name);
        assert_eq!(
            rules(route),
            [
                rule(r"^/inference\.GRPCInferenceService/.*$", &[("raw-foo-predictor", 9000, None)]),
                rule("^/.*$", &[("raw-foo-predictor", 80, None)]),
            ]
        );
        assert_eq!(
            value(&route.spec.rules[0].matches[0].headers),
            json!([{"type": "RegularExpression", "name": "content-type", "value": "^application/grpc.*"}])
        );
    }
}

fn with_canaries(more: &Value) -> InferenceService {
    let canary = |name: &str, percent: i32| {
        json!({"trafficPercent": percent, "predictor": {
            "name": name, "model": {"modelFormat": {"name": "tensorflow"}, "storageUri": "s3://m/2"}}})
    };
    let mut spec = json!({"canary": [canary("v2", 20), canary("v3", 5)]});
    merge(&mut spec, more);
    with_spec(&spec, &json!({}))
}

/// httproute_reconciler_test.go, `applyCanaryWeights`: only canaries that serve get requests (issue 5983).
#[test]
fn canary_weights() {
    let service = with_canaries(&json!({}));
    let config = config(&json!({}));
    let all = serving(&service, &config, Profile::Upstream);
    let split = [
        ("raw-foo-predictor", 80, Some(75)),
        ("raw-foo-v2-predictor", 80, Some(20)),
        ("raw-foo-v3-predictor", 80, Some(5)),
    ];
    for name in ["raw-foo", "raw-foo-predictor"] {
        assert_eq!(rules(route(&all, name)), [rule("^/.*$", &split)]);
    }
    let some = next_with(&service, &all, Profile::Upstream, &config, |deployment| {
        if deployment.metadata.name.as_deref() != Some("raw-foo-v2-predictor") {
            available(deployment);
        }
    });
    let split = [("raw-foo-predictor", 80, Some(95)), ("raw-foo-v3-predictor", 80, Some(5))];
    assert_eq!(rules(route(&some, "raw-foo")), [rule("^/.*$", &split)]);
}

/// Upstream sends requests past the transformer to the canaries; here they go to the transformer, and its requests
/// for predictions are split by the predictor's own route.
#[test]
fn canaries_behind_a_transformer() {
    let service = with_canaries(&json!({"transformer": {"containers": [{"name": "t", "image": "t"}]}}));
    let config = config(&json!({}));
    let top = |profile| rules(route(&serving(&service, &config, profile), "raw-foo"));
    assert_eq!(top(Profile::Windtunnel), [rule("^/.*$", &[("raw-foo-transformer", 80, None)])]);
    assert_eq!(top(Profile::Upstream)[0].1.len(), 3);
    let own = serving(&service, &config, Profile::Upstream);
    assert_eq!(rules(route(&own, "raw-foo-transformer"))[0].1.len(), 1);
}

/// Services that stay inside the cluster have no route and are ready without one.
#[test]
fn inside_the_cluster() {
    let mut service = tensorflow(&json!({}), &json!({}));
    service.metadata.labels =
        Some([("networking.kserve.io/visibility".to_owned(), "cluster-local".to_owned())].into());
    let plan = serving(&service, &config(&json!({})), Profile::Windtunnel);
    assert!(plan.children.http_routes.is_empty());
    assert_eq!(condition(&plan, "IngressReady"), ("True", ""));
    assert_eq!(plan.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
    let service = tensorflow(&json!({}), &json!({}));
    for ingress in [
        json!({"disableIngressCreation": true}),
        json!({"enableGatewayApi": false, "disableIngressCreation": true}),
        json!({"ingressDomain": "svc.cluster.local"}),
    ] {
        let plan = serving(&service, &config(&ingress), Profile::Windtunnel);
        assert!(plan.children.http_routes.is_empty() && plan.children.ingresses.is_empty(), "{ingress}");
        assert_eq!(condition(&plan, "Ready").0, "True", "{ingress}");
    }
}

/// A headless Service has no port 80, so the address names the server's own.
#[test]
fn headless() {
    let service = tensorflow(&json!({}), &json!({}));
    let config = KserveConfig::from_config_map(
        &[("service".to_owned(), r#"{"serviceClusterIPNone": true}"#.to_owned())].into(),
    )
    .unwrap();
    let plan = serving(&service, &config, Profile::Windtunnel);
    assert_eq!(value(&plan.children.services[0])["spec"]["clusterIP"], "None");
    let url = plan.status.address.unwrap().url.unwrap();
    assert_eq!(url, "http://raw-foo-predictor.default.svc.cluster.local:8080");
}

/// kube_ingress_reconciler_test.go, and upstream's two likely bugs with a transformer.
#[test]
fn ingresses() {
    let hosts = |spec: &Value, profile| -> Vec<(String, String)> {
        let plan = serving(&with_spec(spec, &json!({})), &KserveConfig::default(), profile);
        let ingress = value(&plan.children.ingresses[0]);
        assert_eq!(ingress["metadata"]["name"], "raw-foo");
        assert_eq!(ingress["spec"]["ingressClassName"], "istio");
        let rules = ingress["spec"]["rules"].as_array().unwrap();
        rules
            .iter()
            .map(|rule| {
                let path = &rule["http"]["paths"][0];
                assert_eq!((&path["path"], &path["pathType"]), (&json!("/"), &json!("Prefix")));
                assert_eq!(path["backend"]["service"]["port"], json!({"number": 80}));
                let host = rule["host"].as_str().unwrap().strip_suffix("-default.example.com").unwrap();
                (host.to_owned(), path["backend"]["service"]["name"].as_str().unwrap().to_owned())
            })
            .collect()
    };
    let expected = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(host, name)| ((*host).to_owned(), (*name).to_owned())).collect()
    };
    let (p, t, e) = ("raw-foo-predictor", "raw-foo-transformer", "raw-foo-explainer");
    let transformer = json!({"transformer": {"containers": [{"name": "t", "image": "t"}]}});
    let explainer = json!({"explainer": {"containers": [{"name": "e", "image": "e"}]}});
    let mut both = transformer.clone();
    merge(&mut both, &explainer);
    assert_eq!(hosts(&json!({}), Profile::Upstream), expected(&[("raw-foo", p), (p, p)]));
    assert_eq!(hosts(&explainer, Profile::Upstream), expected(&[("raw-foo", p), (e, e), (p, p)]));
    assert_eq!(hosts(&transformer, Profile::Upstream), expected(&[("raw-foo", t), (t, p), (p, p)]));
    assert_eq!(hosts(&transformer, Profile::Windtunnel), expected(&[("raw-foo", t), (t, t), (p, p)]));
    assert_eq!(hosts(&both, Profile::Upstream), expected(&[(t, e), ("raw-foo", t), (t, p), (p, p)]));
    assert_eq!(hosts(&both, Profile::Windtunnel), expected(&[(e, e), ("raw-foo", t), (t, t), (p, p)]));
}

/// A host that the template cannot make is told in the condition.
#[test]
fn a_wrong_domain_template() {
    let service = tensorflow(&json!({}), &json!({}));
    let runtimes = runtimes();
    let config = config(&json!({"domainTemplate": "{{ .Name }}.{{ .Labels.missing }}.{{ .IngressDomain }}"}));
    let plan = plan(&Inputs::new(&service, &config, &runtimes));
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "ReconcileFailed"));
    assert!(plan.events[0].message.contains("invalid domain name"), "{}", plan.events[0].message);
    assert!(!plan.prune);
    // Another domain for services that can be reached.
    let good = config_with_label();
    let mut labelled = service.clone();
    labelled.metadata.labels = Some([("zone".to_owned(), "eu".to_owned())].into());
    let one = first(&labelled);
    let ready = next(&labelled, &one, Profile::Windtunnel, available);
    assert_eq!(ready.status.url.as_deref(), Some("http://raw-foo-default.example.com"));
    let ready = next_with(&labelled, &one, Profile::Windtunnel, &good, available);
    assert_eq!(ready.status.url.as_deref(), Some("https://raw-foo.eu.serve.example.com"));
}

fn config_with_label() -> KserveConfig {
    let ingress = json!({
        "ingressGateway": "a/b", "ingressDomain": "serve.example.com", "urlScheme": "https",
        "domainTemplate": "{{ .Name }}.{{ .Labels.zone }}.{{ .IngressDomain }}",
    });
    KserveConfig::from_config_map(&[("ingress".to_owned(), ingress.to_string())].into()).unwrap()
}
