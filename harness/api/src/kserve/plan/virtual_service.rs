//! Istio's VirtualService of a service in the Knative mode: one host for all components.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::super::names;
use super::settings::Settings;
use super::workload::allowed;
use super::{Inputs, domain};
use crate::istio::{VirtualService, VirtualServiceSpec};

const MESH: &str = "mesh";
const EXPLAIN: &str = r"^/v1/models/[\w-]+:explain$";
const EXPLAIN_BELOW: &str = r"(/v1/models/[\w-]+:explain)$";

/// The VirtualService of a service whose own host is `host`; `path` is its path under the ingress domain, if it has
/// one.
pub(super) fn render(
    inputs: &Inputs<'_>,
    settings: &Settings,
    host: &str,
    path: Option<&str>,
) -> VirtualService {
    let service = inputs.service;
    let inside = format!("{}.{}.svc.cluster.local", service.name(), service.namespace());
    let labels = service.metadata.labels.as_ref();
    let is_internal = host == inside
        || labels.is_some_and(|labels| {
            labels.get("networking.knative.dev/visibility").is_some_and(|value| value == names::CLUSTER_LOCAL)
        });
    let further = if is_internal { Vec::new() } else { domain::additional_hosts(host, settings) };
    let entry = if service.spec.transformer.is_some() {
        format!("{}-transformer", service.name())
    } else {
        names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref())
    };
    let explainer = service.spec.explainer.is_some().then(|| format!("{}-explainer", service.name()));

    let matches = |uri: Option<&str>| -> Vec<Value> {
        let one = |host: &str, gateways: &[&str]| {
            let mut matched = json!({"authority": {"regex": host_expression(host)}, "gateways": gateways});
            if let Some(uri) = uri {
                matched["uri"] = json!({"regex": uri});
            }
            matched
        };
        let mut all = vec![one(&inside, &[&settings.local_gateway, MESH])];
        if !is_internal {
            let hosts = std::iter::once(host).chain(further.iter().map(String::as_str));
            all.extend(hosts.map(|host| one(host, &[&settings.ingress_gateway])));
        }
        all
    };
    let leads_to = |name: &str, mut rule: Value| {
        rule["route"] = json!([{
            "destination": {"host": settings.knative_local_gateway_service, "port": {"number": 80}},
            "weight": 100,
        }]);
        rule["headers"] = json!({"request": {"set": {
            "Host": format!("{name}.{}.svc.cluster.local", service.namespace()),
            "KServe-Isvc-Name": service.name(),
            "KServe-Isvc-Namespace": service.namespace(),
        }}});
        rule
    };
    let mut http = Vec::new();
    if let Some(explainer) = &explainer {
        http.push(leads_to(explainer, json!({"match": matches(Some(EXPLAIN))})));
    }
    http.push(leads_to(&entry, json!({"match": matches(None)})));

    let mut hosts = vec![inside.clone()];
    let mut gateways = vec![settings.local_gateway.clone(), MESH.to_owned()];
    if !is_internal {
        hosts.push(host.to_owned());
        gateways.push(settings.ingress_gateway.clone());
    }
    if let Some(path) = path {
        let path = path.strip_suffix('/').unwrap_or(path);
        let domain = &settings.ingress_domain;
        let below = |uri: Value| {
            json!({
                "uri": uri,
                "authority": {"regex": host_expression(domain)},
                "gateways": [settings.ingress_gateway],
            })
        };
        if let Some(explainer) = &explainer {
            let expression = format!("{path}{EXPLAIN_BELOW}");
            let rule = json!({
                "match": [below(json!({"regex": expression}))],
                "rewrite": {"uriRegexRewrite": {"match": expression, "rewrite": r"\1"}},
            });
            http.push(leads_to(explainer, rule));
        }
        let rule = json!({
            "match": [below(json!({"prefix": format!("{path}/")})), below(json!({"exact": path}))],
            "rewrite": {"uri": "/"},
        });
        http.push(leads_to(&entry, rule));
        hosts.push(domain.clone());
    }
    for host in further {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let annotations = allowed(service.metadata.annotations.as_ref(), inputs.config);
    let spec = VirtualServiceSpec { hosts, gateways, http, ..VirtualServiceSpec::default() };
    let mut route = VirtualService::new(service.name(), spec);
    route.metadata = ObjectMeta {
        name: Some(service.name().to_owned()),
        namespace: Some(service.namespace().to_owned()),
        labels: service.metadata.labels.clone(),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: crate::owner::references(service),
        ..ObjectMeta::default()
    };
    route
}

/// An expression for the host with or without a port.
fn host_expression(host: &str) -> String {
    let mut out = String::from("^");
    for letter in host.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push_str(r"(?::\d{1,5})?$");
    out
}
