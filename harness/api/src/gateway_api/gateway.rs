//! The Gateway API's GatewayClass and Gateway: who serves HTTPRoutes, and where.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;
use crate::condition::Condition;

/// Names the controller that serves the Gateways of the class.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GatewayClass",
    plural = "gatewayclasses",
    shortname = "gc",
    category = "gateway-api",
    derive = "PartialEq",
    derive = "Default",
    status = "GatewayClassStatus",
    printcolumn(name = "Controller", type_ = "string", json_path = ".spec.controllerName"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct GatewayClassSpec {
    /// The controller, a name with a domain in front.
    pub controller_name: String,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// What the controller says about its class.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct GatewayClassStatus {
    /// `Accepted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A place where requests come in.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    shortname = "gtw",
    category = "gateway-api",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "GatewayStatus",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.gatewayClassName"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[*].value"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct GatewaySpec {
    /// The class that it is of.
    pub gateway_class_name: String,
    /// What it listens for.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A port, protocol and host that a Gateway listens for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct Listener {
    /// Name, unique in its Gateway.
    pub name: String,
    /// Host, possibly with a wildcard (`*.example.com`); any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port.
    pub port: i32,
    /// `HTTP` and others.
    pub protocol: String,
    /// Which routes may attach; absent means those of the Gateway's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub allowed_routes: Option<Value>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl Listener {
    /// Whether routes of a namespace may attach to it (`All`, or `Same` as the Gateway's). Selectors are not
    /// understood and admit nobody.
    #[must_use]
    pub fn admits(&self, gateway_namespace: &str, route_namespace: &str) -> bool {
        let from = self.allowed_routes.as_ref().and_then(|allowed| allowed["namespaces"]["from"].as_str());
        match from.unwrap_or("Same") {
            "All" => true,
            "Same" => gateway_namespace == route_namespace,
            _ => false,
        }
    }

    /// The part of a route's host that this listener serves: the more specific one of the two names; `None` when they
    /// have nothing in common.
    #[must_use]
    pub fn intersection<'a>(&'a self, host: &'a str) -> Option<&'a str> {
        let Some(own) = self.hostname.as_deref().filter(|own| !own.is_empty()) else { return Some(host) };
        let below = |name: &str, wildcard: &str| {
            wildcard.strip_prefix('*').is_some_and(|end| name.len() > end.len() && name.ends_with(end))
        };
        if own == host || below(host, own) {
            Some(host)
        } else if below(own, host) {
            Some(own)
        } else {
            None
        }
    }
}

/// What the controller says about a Gateway.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct GatewayStatus {
    /// Where it can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// `Accepted` and `Programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry a listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
}

/// An address of a Gateway.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct GatewayAddress {
    /// `IPAddress` or `Hostname`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub value: String,
}

/// What the controller says about a listener.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Kinds of routes that may attach.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub supported_kinds: Vec<Value>,
    /// How many routes have attached.
    #[serde(default)]
    pub attached_routes: i32,
    /// `Accepted`, `Programmed`, `ResolvedRefs`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples that the Gateway API gives for hosts of listeners and routes.
    #[test]
    fn hosts_of_listeners_and_routes() {
        for (own, host, expected) in [
            (None, "a.example.com", Some("a.example.com")),
            (Some("a.example.com"), "a.example.com", Some("a.example.com")),
            (Some("a.example.com"), "*.example.com", Some("a.example.com")),
            (Some("*.example.com"), "a.b.example.com", Some("a.b.example.com")),
            (Some("*.example.com"), "example.com", None),
            (Some("a.example.com"), "b.example.com", None),
        ] {
            let listener = Listener { hostname: own.map(str::to_owned), ..Listener::default() };
            assert_eq!(listener.intersection(host), expected, "{own:?} {host}");
        }
    }
}
