//! HTTPRoutes to rules of the gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use windtunnel_api::gateway_api::{
    HttpBackendRef, HttpRoute, HttpRouteFilter, HttpRouteMatch, HttpRouteRule,
};
use windtunnel_api::kserve::plan::on_demand;
use windtunnel_gateway::{
    Backend, Filter, HeaderChanges, PathChange, PathMatch, RequestMatch, RevisionBackend, RevisionKey, Route,
    RouteTable, Rule, TextMatch,
};

use super::attachment::{Attachment, attach};
use super::knative::{is_direct, ready, service_addresses};
use crate::autoscaler;
use crate::world::{ObjectKey, Target, World};

/// The host that stands for every one.
pub(super) const ANY_HOST: &str = "*";
/// Timeout of a rule that names none, in milliseconds: none in the Gateway API, which a proxy cannot keep.
pub(super) const NO_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;

/// Adds all HTTPRoutes that one of our Gateways accepts, oldest first, and the Services behind them.
pub(super) fn add(world: &World, table: &mut RouteTable) {
    let mut routes: Vec<_> = world.http_routes.iter().collect();
    // Where two routes are equally specific the older one wins, then the first by name.
    routes.sort_by_key(|(_, route)| route.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let mut backends = BTreeSet::new();
    for (key, route) in routes {
        let mut hosts = BTreeSet::new();
        for parent in &route.spec.parent_refs {
            match attach(world, route, parent) {
                Attachment::Accepted { hosts: accepted } if accepted.is_empty() => {
                    hosts.insert(ANY_HOST.to_owned());
                }
                Attachment::Accepted { hosts: accepted } => {
                    hosts.extend(accepted.into_iter().map(str::to_owned))
                }
                Attachment::NotOurs | Attachment::Refused { .. } => {}
            }
        }
        if hosts.is_empty() {
            continue;
        }
        let rules = route.spec.rules.iter().map(|rule| self::rule(key, rule, &mut backends)).collect();
        table.routes.push(Route { hosts: hosts.into_iter().collect(), rules });
    }
    table.revisions.extend(backends.into_iter().map(|(service, port)| backend(world, &service, port)));
}

fn rule(route: &ObjectKey, rule: &HttpRouteRule, backends: &mut BTreeSet<(ObjectKey, i32)>) -> Rule {
    let shares = rule.backend_refs.iter().filter_map(|reference| {
        let (service, port) = service(route, reference)?;
        let percent = u32::try_from(reference.weight.unwrap_or(1)).unwrap_or(0);
        let revision = revision_key(&service, port);
        backends.insert((service, port));
        Some(Backend { revision, percent })
    });
    let timeout = rule.timeouts.as_ref().and_then(|timeouts| timeouts.request.as_deref());
    let timeout_ms = match timeout.and_then(duration) {
        // Zero switches the timeout off.
        None | Some(Duration::ZERO) => NO_TIMEOUT_MS,
        Some(timeout) => u64::try_from(timeout.as_millis()).unwrap_or(NO_TIMEOUT_MS),
    };
    Rule {
        matches: rule.matches.iter().map(request_match).collect(),
        filters: rule.filters.iter().filter_map(filter).collect(),
        backends: shares.collect(),
        timeout_ms,
    }
}

/// The Service and port that a reference names; `None` when it names something else.
pub(super) fn service(route: &ObjectKey, reference: &HttpBackendRef) -> Option<(ObjectKey, i32)> {
    let core = reference.group.as_deref().is_none_or(str::is_empty);
    let is_service = reference.kind.as_deref().is_none_or(|kind| kind == "Service");
    if !core || !is_service {
        return None;
    }
    let namespace = reference.namespace.clone().unwrap_or_else(|| route.namespace.clone());
    Some((ObjectKey::new(namespace, reference.name.clone()), reference.port?))
}

/// A Service's name in the gateway: that of the Service for its port 80, which is the one that KServe gives it.
pub(super) fn revision_key(service: &ObjectKey, port: i32) -> RevisionKey {
    let name = if port == 80 { service.name.clone() } else { format!("{}:{port}", service.name) };
    RevisionKey::new(service.namespace.clone(), name)
}

pub(super) fn backend(world: &World, service: &ObjectKey, port: i32) -> RevisionBackend {
    let spec = world.core_services.get(service).and_then(|found| found.spec.as_ref());
    let mut ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let name = ports.find(|found| found.port == port).map(|found| found.name.clone().unwrap_or_default());
    // A Service without this port has nobody behind it.
    let mut endpoints = name.map(|name| ready(world, service, Some(&name))).unwrap_or_default();
    // Only a component that is scaled by its requests has an activator, and one that calls such a component.
    let component = autoscaler::component(world, service);
    let behind = autoscaler::predictor_behind(world, service);
    if behind.as_ref().is_some_and(|behind| service_addresses(world, behind).is_empty()) {
        endpoints.clear();
    }
    let is_direct = is_direct(world, &Target::Component(service.clone()), &endpoints);
    RevisionBackend {
        key: revision_key(service, port),
        container_concurrency: component.map_or(0, on_demand::container_concurrency),
        activated: behind.is_some() || component.is_some() && !is_direct,
        endpoints,
    }
}

fn request_match(wanted: &HttpRouteMatch) -> RequestMatch {
    let text = |type_: Option<&str>, value: &str| match type_ {
        Some("RegularExpression") => TextMatch::Regex(value.to_owned()),
        _ => TextMatch::Exact(value.to_owned()),
    };
    let path = wanted.path.as_ref().map(|path| {
        let value = path.value.clone().unwrap_or_else(|| "/".to_owned());
        match path.type_.as_deref() {
            Some("Exact") => PathMatch::Exact(value),
            Some("RegularExpression") => PathMatch::Regex(value),
            _ => PathMatch::Prefix(value),
        }
    });
    let headers = wanted.headers.iter();
    let query = wanted.other.get("queryParams").and_then(Value::as_array).into_iter().flatten();
    RequestMatch {
        path,
        method: wanted.other.get("method").and_then(Value::as_str).map(str::to_owned),
        headers: headers
            .map(|header| (header.name.clone(), text(header.type_.as_deref(), &header.value)))
            .collect(),
        query: query
            .filter_map(|parameter| {
                let value = text(parameter["type"].as_str(), parameter["value"].as_str()?);
                Some((parameter["name"].as_str()?.to_owned(), value))
            })
            .collect(),
    }
}

fn filter(filter: &HttpRouteFilter) -> Option<Filter> {
    match filter.type_.as_str() {
        "RequestHeaderModifier" => {
            let changes = filter.request_header_modifier.as_ref()?;
            let pairs = |values: &[windtunnel_api::gateway_api::HeaderValue]| {
                values.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
            };
            Some(Filter::RequestHeaders(HeaderChanges {
                set: pairs(&changes.set),
                add: pairs(&changes.add),
                remove: changes.remove.clone(),
            }))
        }
        "ResponseHeaderModifier" => {
            let changes = filter.other.get("responseHeaderModifier")?;
            let pairs = |key: &str| {
                let values = changes[key].as_array().into_iter().flatten();
                values
                    .filter_map(|header| {
                        Some((header["name"].as_str()?.to_owned(), header["value"].as_str()?.to_owned()))
                    })
                    .collect()
            };
            let remove = changes["remove"].as_array().into_iter().flatten();
            Some(Filter::ResponseHeaders(HeaderChanges {
                set: pairs("set"),
                add: pairs("add"),
                remove: remove.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            }))
        }
        "URLRewrite" => {
            let rewrite = filter.other.get("urlRewrite")?;
            Some(Filter::Rewrite { host: string(&rewrite["hostname"]), path: path_change(&rewrite["path"]) })
        }
        "RequestRedirect" => {
            let redirect = filter.other.get("requestRedirect")?;
            Some(Filter::Redirect {
                scheme: string(&redirect["scheme"]),
                host: string(&redirect["hostname"]),
                port: redirect["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
                path: path_change(&redirect["path"]),
                status: redirect["statusCode"]
                    .as_u64()
                    .and_then(|code| u16::try_from(code).ok())
                    .unwrap_or(302),
            })
        }
        _ => None,
    }
}

/// Whether the gateway does what a filter says.
pub(super) fn is_supported(filter: &HttpRouteFilter) -> bool {
    self::filter(filter).is_some()
}

fn path_change(value: &Value) -> Option<PathChange> {
    match value["type"].as_str()? {
        "ReplaceFullPath" => Some(PathChange::Full(string(&value["replaceFullPath"])?)),
        "ReplacePrefixMatch" => Some(PathChange::Prefix(string(&value["replacePrefixMatch"])?)),
        _ => None,
    }
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A duration as the Gateway API writes it (GEP-2257): up to four pairs of a number and `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, after) = match rest {
            _ if rest.starts_with("ms") => (1, &rest[2..]),
            _ if rest.starts_with('h') => (3_600_000, &rest[1..]),
            _ if rest.starts_with('m') => (60_000, &rest[1..]),
            _ if rest.starts_with('s') => (1000, &rest[1..]),
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(unit)?))?;
        rest = after;
    }
    Some(total)
}

/// The HTTPRoutes that send requests to a Service.
pub(crate) fn routes_of_service(world: &World, service: &ObjectKey) -> Vec<ObjectKey> {
    let uses = |key: &ObjectKey, route: &HttpRoute| {
        let references = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
        references
            .into_iter()
            .any(|reference| self::service(key, reference).is_some_and(|(found, _)| found == *service))
    };
    world.http_routes.iter().filter(|(key, route)| uses(key, route)).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeout that is read wrong cuts long predictions off or lets them hang.
    #[test]
    fn durations() {
        for (text, expected) in [
            ("60s", Some(60_000)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("0s", Some(0)),
            ("1.5s", None),
            ("s", None),
            ("", None),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), expected, "{text}");
        }
    }
}
