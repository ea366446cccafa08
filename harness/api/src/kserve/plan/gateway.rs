//! The HTTPRoutes of a service in the Standard mode.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use windtunnel_kernel::rollout::kserve::standard as canary_rules;

use super::super::names;
use super::super::status_types::InferenceServiceStatus;
use super::service::{HTTP_PORT, protocol_ports};
use super::settings::Settings;
use super::workload::{Component, allowed};
use super::{Children, Fault, Inputs, conditions, domain};
use crate::Fields;
use crate::condition::{Condition, FALSE, TRUE};
use crate::gateway_api::{
    GROUP, HeaderMatch, HeaderModifier, HeaderValue, HttpBackendRef, HttpRoute, HttpRouteFilter,
    HttpRouteMatch, HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts, ParentReference, ValueMatch,
};

/// Seconds for a request of a component that does not say.
const DEFAULT_TIMEOUT_S: i64 = 60;
const ANY_PATH: &str = "^/.*$";
const EXPLAIN_PATH: &str = r"^/v1/models/[\w-]+:explain$";
const EXPLAIN_PATH_BELOW: &str = r"(/v1/models/[\w-]+:explain)$";
const GRPC_PATH: &str = r"^/inference\.GRPCInferenceService/.*$";
const GRPC_CONTENT: &str = "^application/grpc.*";

/// What routes are made of, beside the service.
pub(super) struct Routing<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) settings: &'a Settings,
    /// The predictor with its canaries; without canaries requests are not split.
    pub(super) canaries: &'a canary_rules::Predictor,
    /// More backends of the predictor that requests are split between, with their weights; the first is the
    /// predictor's own Service.
    pub(super) split: Option<&'a [canary_rules::Backend]>,
}

impl Routing<'_> {
    /// Adds the routes whose components are ready and sets `IngressReady`. A route that is there stays while its
    /// component is not ready.
    pub(super) fn add(
        &self,
        children: &mut Children,
        status: &mut InferenceServiceStatus,
    ) -> Result<(), Fault> {
        let service = self.inputs.service;
        let components = Component::of(service);
        let mut missing: Option<&'static str> = None;
        for component in &components {
            let name = route_name(service.name(), Some(*component));
            if conditions::holds(status, component.ready()) || self.exists(&name) {
                let route = self.component_route(*component, name, children)?;
                children.http_routes.push(route);
            } else {
                missing.get_or_insert(component.title());
            }
        }
        let all_ready = components.iter().all(|component| conditions::holds(status, component.ready()));
        if all_ready || self.exists(service.name()) {
            let route = self.top_route(children)?;
            children.http_routes.push(route);
        } else {
            missing.get_or_insert("InferenceService");
        }
        if let Some(title) = missing {
            let message = format!("{title} HTTPRoute not created");
            conditions::no_ingress(status, &format!("{title} Deployment NotReady"), &message);
            return Ok(());
        }
        let ready = self.accepted(&components);
        conditions::set(status, ready);
        Ok(())
    }

    fn exists(&self, name: &str) -> bool {
        self.observed(name).is_some()
    }

    fn observed(&self, name: &str) -> Option<&HttpRoute> {
        let routes = self.inputs.observed.http_routes.iter();
        routes.copied().find(|route| route.metadata.name.as_deref() == Some(name))
    }

    /// Whether the gateways accept all routes; the first that they don't gives the words.
    fn accepted(&self, components: &[Component]) -> Condition {
        let service = self.inputs.service.name();
        let routes = components.iter().map(|component| Some(*component)).chain([None]);
        for component in routes {
            let title = component.map_or("InferenceService", Component::title);
            let parents = self
                .observed(&route_name(service, component))
                .and_then(|route| route.status.as_ref())
                .map(|status| status.parents.as_slice())
                .unwrap_or_default();
            if parents.is_empty() {
                let message = format!("{title} HttpRouteNotReady");
                return Condition::new(
                    conditions::INGRESS_READY,
                    FALSE,
                    "ParentStatusNotAvailable",
                    &message,
                );
            }
            let refused =
                parents.iter().flat_map(|parent| &parent.conditions).find(|condition| condition.is_false());
            if let Some(refused) = refused {
                let message = format!("{title} {}", refused.message());
                return Condition::new(conditions::INGRESS_READY, FALSE, refused.reason(), &message);
            }
        }
        Condition::new(conditions::INGRESS_READY, TRUE, "", "")
    }

    fn component_route(
        &self,
        component: Component,
        name: String,
        children: &Children,
    ) -> Result<HttpRoute, Fault> {
        let host = self.host(&name)?;
        let rules = self.protocol_rules(component, children, false);
        Ok(self.route(name, vec![host], rules))
    }

    fn top_route(&self, children: &Children) -> Result<HttpRoute, Fault> {
        let service = self.inputs.service;
        let host = self.host(service.name())?;
        let mut hosts = vec![host.clone()];
        hosts.extend(domain::additional_hosts(&host, self.settings));
        let entry = entry(service.spec.transformer.is_some());
        let mut rules = Vec::new();
        if service.spec.explainer.is_some() {
            rules.push(self.rule(vec![path(EXPLAIN_PATH)], Component::Explainer, HTTP_PORT, true));
        }
        rules.extend(self.protocol_rules(entry, children, true));
        if let Some(below) = domain::path(service, self.settings).map_err(Fault::Component)? {
            let below = below.strip_suffix('/').unwrap_or(&below);
            hosts.push(self.settings.ingress_domain.clone());
            if service.spec.explainer.is_some() {
                let matches = vec![path(&format!("{below}{EXPLAIN_PATH_BELOW}"))];
                rules.push(self.rule(matches, Component::Explainer, HTTP_PORT, true));
            }
            rules.push(self.rule(vec![path(&format!("{below}/"))], entry, HTTP_PORT, true));
        }
        Ok(self.route(service.name().to_owned(), hosts, rules))
    }

    fn host(&self, name: &str) -> Result<String, Fault> {
        domain::host(name, self.inputs.service, self.settings).map_err(Fault::Component)
    }

    /// The rules of a component: gRPC apart where its Service has a port for each.
    fn protocol_rules(&self, component: Component, children: &Children, top: bool) -> Vec<HttpRouteRule> {
        let name = self.backend_name(component);
        let service =
            children.services.iter().find(|service| service.metadata.name.as_deref() == Some(&name));
        match service.map(protocol_ports) {
            Some((Some(rest), Some(grpc))) => {
                let header = HeaderMatch {
                    type_: Some("RegularExpression".to_owned()),
                    name: "content-type".to_owned(),
                    value: GRPC_CONTENT.to_owned(),
                };
                let matches = HttpRouteMatch { headers: vec![header], ..path(GRPC_PATH) };
                vec![
                    self.rule(vec![matches], component, grpc, top),
                    self.rule(vec![path(ANY_PATH)], component, rest, top),
                ]
            }
            _ => vec![self.rule(vec![path(ANY_PATH)], component, HTTP_PORT, top)],
        }
    }

    fn backend_name(&self, component: Component) -> String {
        let service = self.inputs.service;
        match component {
            Component::Predictor => {
                names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref())
            }
            _ => format!("{}-{}", service.name(), component.word()),
        }
    }

    fn rule(
        &self,
        matches: Vec<HttpRouteMatch>,
        component: Component,
        port: i32,
        top: bool,
    ) -> HttpRouteRule {
        let service = self.inputs.service;
        let timeout_s = match component {
            Component::Predictor => service.spec.predictor.extension.timeout,
            Component::Transformer => {
                service.spec.transformer.as_ref().and_then(|spec| spec.extension.timeout)
            }
            Component::Explainer => service.spec.explainer.as_ref().and_then(|spec| spec.extension.timeout),
        };
        let timeouts = (!self.settings.disable_route_timeout).then(|| HttpRouteTimeouts {
            request: Some(format!("{}s", timeout_s.unwrap_or(DEFAULT_TIMEOUT_S))),
            backend_request: None,
        });
        let header = |name: &str, value: &str| HeaderValue { name: name.to_owned(), value: value.to_owned() };
        let set = vec![
            header("KServe-Isvc-Name", service.name()),
            header("KServe-Isvc-Namespace", service.namespace()),
        ];
        HttpRouteRule {
            matches,
            filters: vec![HttpRouteFilter {
                type_: "RequestHeaderModifier".to_owned(),
                request_header_modifier: Some(HeaderModifier { set, ..HeaderModifier::default() }),
                other: Fields::new(),
            }],
            backend_refs: self.backends(component, port, top),
            timeouts,
            other: Fields::new(),
        }
    }

    /// Where a rule leads to: the component, and the canaries that take part in it.
    fn backends(&self, component: Component, port: i32, top: bool) -> Vec<HttpBackendRef> {
        let name = self.backend_name(component);
        let backend = |name: String, weight: Option<i32>| HttpBackendRef {
            kind: Some("Service".to_owned()),
            name,
            namespace: Some(self.inputs.service.namespace().to_owned()),
            port: Some(port),
            weight,
            ..HttpBackendRef::default()
        };
        if let (Some(split), Component::Predictor) = (self.split, component) {
            return split.iter().map(|part| backend(part.service.clone(), Some(part.weight))).collect();
        }
        // Upstream splits the predictor's own route and every rule of the service's, wherever it leads to.
        let is_split = component == Component::Predictor || top && self.inputs.profile.has_upstream_bugs();
        if self.canaries.canaries.is_empty() || !is_split {
            return vec![backend(name, None)];
        }
        let parts = canary_rules::backends(self.canaries, &name, self.inputs.profile);
        parts.into_iter().map(|part| backend(part.service, Some(part.weight))).collect()
    }

    fn route(&self, name: String, hostnames: Vec<String>, rules: Vec<HttpRouteRule>) -> HttpRoute {
        let service = self.inputs.service;
        let (namespace, gateway) = self.settings.gateway.clone();
        let config = self.inputs.config;
        let annotations = allowed(service.metadata.annotations.as_ref(), config);
        let labels = service.metadata.labels.iter().flatten();
        let labels: std::collections::BTreeMap<String, String> = labels
            .filter(|(key, _)| !config.disallowed_labels.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        HttpRoute {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(service.namespace().to_owned()),
                labels: (!labels.is_empty()).then_some(labels),
                annotations: (!annotations.is_empty()).then_some(annotations),
                owner_references: crate::owner::references(service),
                ..ObjectMeta::default()
            },
            spec: HttpRouteSpec {
                parent_refs: vec![ParentReference {
                    group: Some(GROUP.to_owned()),
                    kind: Some("Gateway".to_owned()),
                    namespace: Some(namespace),
                    name: gateway,
                    other: Fields::new(),
                }],
                hostnames,
                rules,
                other: Fields::new(),
            },
            status: None,
        }
    }
}

/// The component that requests enter.
fn entry(has_transformer: bool) -> Component {
    if has_transformer { Component::Transformer } else { Component::Predictor }
}

/// Name of a component's route, which a promotion does not change; without a component, the service's.
fn route_name(service: &str, component: Option<Component>) -> String {
    component.map_or_else(|| service.to_owned(), |component| format!("{service}-{}", component.word()))
}

fn path(expression: &str) -> HttpRouteMatch {
    HttpRouteMatch {
        path: Some(ValueMatch {
            type_: Some("RegularExpression".to_owned()),
            value: Some(expression.to_owned()),
        }),
        ..HttpRouteMatch::default()
    }
}

/// The URL and the address of a service in the Standard mode: its host with the configured scheme, and the Service
/// that requests enter, with its port where that Service is headless.
pub(super) fn addresses(
    inputs: &Inputs<'_>,
    settings: &Settings,
    children: &Children,
    status: &mut InferenceServiceStatus,
) -> Result<(), Fault> {
    let service = inputs.service;
    let host = domain::host(service.name(), service, settings).map_err(Fault::Component)?;
    status.url = Some(format!("{}://{host}", settings.url_scheme));
    let entry = match entry(service.spec.transformer.is_some()) {
        Component::Predictor => {
            names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref())
        }
        other => format!("{}-{}", service.name(), other.word()),
    };
    let of_entry = |services: &Service| services.metadata.name.as_deref() == Some(&entry);
    let object = children.services.iter().find(|service| of_entry(service));
    let headless = object.and_then(|object| object.spec.as_ref()?.cluster_ip.as_deref()) == Some("None");
    let port = match object.filter(|_| headless) {
        Some(object) => format!(":{}", super::service::http_target_port(object).unwrap_or(8080)),
        None => String::new(),
    };
    let url = format!("http://{entry}.{}.svc.cluster.local{port}", service.namespace());
    status.address.get_or_insert_default().url = Some(url);
    Ok(())
}
