//! What the server serves: groups, versions, resources; health; version.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value, json};

use super::{Answer, Payload, Request, State, openapi};
use crate::{
    external_metrics,
    kinds::{Kind, Registry, Version, api_version},
    status::ApiError,
};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The order in which custom resources are described.
const CUSTOM_VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Virtual resources and subresources beside those that follow from the table of kinds:
/// group, name, kind, group and version of that kind if foreign, namespaced, verbs.
type Extra =
    (&'static str, &'static str, &'static str, &'static str, &'static str, bool, &'static [&'static str]);

/// What may be asked of a pod, a node or a service through the server.
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

const EXTRAS: &[Extra] = &[
    ("", "bindings", "Binding", "", "", true, &["create"]),
    ("", "namespaces/finalize", "Namespace", "", "", false, &["update"]),
    ("", "nodes/proxy", "NodeProxyOptions", "", "", false, PROXY_VERBS),
    ("", "pods/attach", "PodAttachOptions", "", "", true, &["create", "get"]),
    ("", "pods/binding", "Binding", "", "", true, &["create"]),
    ("", "pods/ephemeralcontainers", "Pod", "", "", true, &["get", "patch", "update"]),
    ("", "pods/eviction", "Eviction", "policy", "v1", true, &["create"]),
    ("", "pods/exec", "PodExecOptions", "", "", true, &["create", "get"]),
    ("", "pods/log", "Pod", "", "", true, &["get"]),
    ("", "pods/portforward", "PodPortForwardOptions", "", "", true, &["create", "get"]),
    ("", "pods/proxy", "PodProxyOptions", "", "", true, PROXY_VERBS),
    ("", "pods/resize", "Pod", "", "", true, &["get", "patch", "update"]),
    ("", "serviceaccounts/token", "TokenRequest", "authentication.k8s.io", "v1", true, &["create"]),
    ("", "services/proxy", "ServiceProxyOptions", "", "", true, PROXY_VERBS),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        "",
        "",
        true,
        &["create"],
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        "",
        "",
        false,
        &["create"],
    ),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", "", "", false, &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview", "", "", false, &["create"]),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", "", "", false, &["create"]),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", "", "", false, &["create"]),
    (external_metrics::GROUP, "externalmetrics", "ExternalMetricValueList", "", "", true, &["get"]),
];

/// Answers a path that is no resource.
pub(crate) fn answer(state: &State, request: &Request, path: &str) -> Result<Answer, ApiError> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments[..] {
        [probe @ ("healthz" | "livez" | "readyz")] => Ok(health(probe, &request.query)),
        ["healthz" | "livez" | "readyz", check] if CHECKS.contains(&check) => Ok(Answer::text(200, "ok")),
        ["version"] => Ok(Answer::json(200, version())),
        [""] => Ok(Answer::json(200, json!({"paths": paths(&state.registry)}))),
        ["api"] => legacy(state, request),
        ["apis"] => groups(state, request),
        ["api", "v1"] => Ok(resources(&state.registry, "", "v1")),
        ["apis", group] => Ok(group_document(&state.registry, group)
            .map_or_else(Answer::page_not_found, |document| Answer::json(200, document))),
        ["apis", group, version] => {
            if group_versions(&state.registry, group).iter().any(|known| known == version) {
                Ok(resources(&state.registry, group, version))
            } else {
                Ok(Answer::page_not_found())
            }
        }
        ["openapi", ..] => Ok(openapi::answer(&state.registry, &segments, &request.accept)
            .unwrap_or_else(Answer::page_not_found)),
        _ => Ok(Answer::page_not_found()),
    }
}

/// What an answer of the server shows to be alive: that it answers, and that its store can be read, which happened
/// before this line. Probes ask for the store under the name of Kubernetes' own.
const CHECKS: &[&str] = &["ping", "log", "etcd"];

/// The answer to a health probe; `?verbose` lists the checks, `?exclude=NAME` leaves one out.
fn health(probe: &str, query: &str) -> Answer {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    if !pairs.iter().any(|(key, _)| key == "verbose") {
        return Answer::text(200, "ok");
    }
    let excludes = || pairs.iter().filter(|(key, _)| key == "exclude").map(|(_, value)| &**value);
    let line = |check: &&str| {
        format!("[+]{check} {}\n", if excludes().any(|name| name == *check) { "excluded: ok" } else { "ok" })
    };
    let mut lines: String = CHECKS.iter().map(line).collect();
    let unknown: Vec<String> =
        excludes().filter(|name| !CHECKS.contains(name)).map(|name| format!("\"{name}\"")).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        lines += &format!("warn: some health checks cannot be excluded: no matches for {unknown}\n");
    }
    Answer::text(200, format!("{lines}{probe} check passed\n"))
}

/// Writes go to resources only.
pub(crate) fn refuse_write(path: &str) -> Answer {
    if path.starts_with("/api") {
        Answer::error(&ApiError::method_not_allowed())
    } else {
        Answer::page_not_found()
    }
}

fn version() -> Value {
    json!({"major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "windtunnel", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64"})
}

fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in group_names(registry) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            group_versions(registry, &group).iter().map(|version| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(ToOwned::to_owned),
    );
    paths
}

fn wants_aggregated(request: &Request) -> bool {
    request.accept.split(',').any(|offer| {
        offer.contains("as=APIGroupDiscoveryList")
            && offer.contains("g=apidiscovery.k8s.io")
            && offer.contains("v=v2")
            && !offer.contains("v=v2beta1")
    })
}

fn legacy(state: &State, request: &Request) -> Result<Answer, ApiError> {
    if wants_aggregated(request) {
        return Ok(aggregated(state, request, &[String::new()]));
    }
    let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]);
    Ok(Answer::json(
        200,
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}),
    ))
}

fn groups(state: &State, request: &Request) -> Result<Answer, ApiError> {
    let names = group_names(&state.registry);
    if wants_aggregated(request) {
        return Ok(aggregated(state, request, &names));
    }
    let groups: Vec<Value> = names
        .iter()
        .filter_map(|group| group_document(&state.registry, group))
        .map(|mut group| {
            for field in ["kind", "apiVersion"] {
                crate::object::as_map(&mut group).shift_remove(field);
            }
            group
        })
        .collect();
    Ok(Answer::json(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
}

fn aggregated(state: &State, request: &Request, groups: &[String]) -> Answer {
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(&state.registry, group)).collect();
    let document = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items});
    let mut hasher = DefaultHasher::new();
    document.to_string().hash(&mut hasher);
    let etag = format!("\"{:016X}\"", hasher.finish());
    let unchanged = request.if_none_match == etag;
    let mut answer = Answer::json(if unchanged { 304 } else { 200 }, document);
    if unchanged {
        answer.payload = Payload::Empty;
    }
    answer.content_type = AGGREGATED;
    answer.etag = Some(etag);
    answer
}

fn group_names(registry: &Registry) -> Vec<String> {
    /// The built-in groups come in the order that the real server gives them.
    const ORDER: [&str; 17] = [
        "apiregistration.k8s.io",
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "metrics.k8s.io",
    ];
    let external = registry.serves_external_metrics.then_some(&external_metrics::GROUP);
    let mut names: Vec<String> = ORDER.iter().chain(external).map(|name| (*name).to_owned()).collect();
    for kind in registry.all() {
        let served = kind.versions.iter().any(|version| version.served);
        if served && !kind.group.is_empty() && !names.iter().any(|name| **name == *kind.group) {
            names.push(kind.group.to_string());
        }
    }
    names
}

/// Served versions of a group, preferred first: those of one built-in kind stand in the table's order, those of custom
/// kinds in the order of [`precedence`].
fn group_versions(registry: &Registry, group: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for version in registry.of_group(group).flat_map(|kind| &kind.versions).filter(|version| version.served) {
        if !versions.iter().any(|known| **known == *version.name) {
            versions.push(version.name.to_string());
        }
    }
    if registry.of_group(group).all(|kind| kind.is_custom()) {
        versions.sort_by_key(|version| precedence(version));
    }
    if group == external_metrics::GROUP {
        if registry.serves_external_metrics {
            versions.push(external_metrics::VERSION.into());
        }
    } else if EXTRAS.iter().any(|extra| extra.0 == group) && versions.is_empty() {
        versions.push("v1".into());
    }
    versions
}

/// Kubernetes' order of version names: stable before beta before alpha, each with the greatest numbers first, and
/// whatever is no such name after them by its letters.
fn precedence(version: &str) -> (u8, Reverse<u32>, Reverse<u32>, String) {
    let numbers = |text: &str| text.parse::<u32>().ok();
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let stages = [("beta", 1), ("alpha", 2)];
        let staged = stages.into_iter().find_map(|(word, stage)| {
            let (major, minor) = rest.split_once(word)?;
            Some((stage, numbers(major)?, numbers(minor)?))
        });
        staged.or_else(|| Some((0, numbers(rest)?, 0)))
    });
    match parsed {
        Some((stage, major, minor)) => (stage, Reverse(major), Reverse(minor), String::new()),
        None => (3, Reverse(0), Reverse(0), version.to_owned()),
    }
}

fn group_document(registry: &Registry, group: &str) -> Option<Value> {
    let versions: Vec<Value> = group_versions(registry, group)
        .iter()
        .map(|version| json!({"groupVersion": api_version(group, version), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": versions,
        "preferredVersion": preferred}))
}

fn resources(registry: &Registry, group: &str, version: &str) -> Answer {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for kind in registry.of_group(group) {
        let Some(index) = kind.version(version).filter(|index| kind.versions[*index].served) else {
            continue;
        };
        for (name, resource) in resource_documents(kind, &kind.versions[index]) {
            found.insert(name, resource);
        }
    }
    for (_, name, kind, kind_group, kind_version, namespaced, verbs) in
        EXTRAS.iter().filter(|extra| extra.0 == group)
    {
        let singular = singular(name, kind);
        let mut resource = json!({"name": name, "singularName": singular, "namespaced": namespaced, "kind": kind,
            "verbs": verbs});
        if !kind_group.is_empty() {
            resource["group"] = (*kind_group).into();
            resource["version"] = (*kind_version).into();
        }
        found.insert((*name).to_owned(), resource);
    }
    let mut document = Map::new();
    document.insert("kind".into(), "APIResourceList".into());
    if !group.is_empty() {
        document.insert("apiVersion".into(), "v1".into());
    }
    document.insert("groupVersion".into(), api_version(group, version).into());
    document.insert("resources".into(), found.into_values().collect());
    Answer::json(200, Value::Object(document))
}

/// The singular of a virtual resource; subresources and lists have none.
fn singular(name: &str, kind: &str) -> String {
    if name.contains('/') || kind.ends_with("List") { String::new() } else { kind.to_lowercase() }
}

fn verbs_of(kind: &Kind) -> Vec<&'static str> {
    if kind.row().is_some_and(|row| row.read_only) {
        return vec!["get", "list"];
    }
    let all = if kind.is_custom() { CUSTOM_VERBS } else { VERBS };
    let keep = |verb: &&str| **verb != *"deletecollection" || &*kind.plural != "namespaces";
    all.into_iter().filter(keep).collect()
}

/// The resource and its subresources, by name.
fn resource_documents(kind: &Kind, version: &Version) -> Vec<(String, Value)> {
    let mut main = json!({"name": &*kind.plural, "singularName": &*kind.singular, "namespaced": kind.namespaced,
        "kind": &*kind.name, "verbs": verbs_of(kind)});
    if !kind.short_names.is_empty() {
        main["shortNames"] = kind.short_names.iter().map(|name| Value::from(&**name)).collect();
    }
    if !kind.categories.is_empty() {
        main["categories"] = kind.categories.iter().map(|name| Value::from(&**name)).collect();
    }
    if kind.row().is_none_or(|row| !row.read_only) {
        main["storageVersionHash"] = storage_hash(kind).into();
    }
    let mut documents = vec![(kind.plural.to_string(), main)];
    if version.status {
        let name = format!("{}/status", kind.plural);
        let document = json!({"name": name, "singularName": "", "namespaced": kind.namespaced, "kind": &*kind.name,
            "verbs": ["get", "patch", "update"]});
        documents.push((name, document));
    }
    if version.scale.is_some() {
        let name = format!("{}/scale", kind.plural);
        let document = json!({"name": name, "singularName": "", "namespaced": kind.namespaced,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]});
        documents.push((name, document));
    }
    documents
}

fn storage_hash(kind: &Kind) -> String {
    use base64::Engine as _;
    let mut hasher = DefaultHasher::new();
    (&*kind.group, &*kind.versions[kind.storage].name, &*kind.name).hash(&mut hasher);
    base64::engine::general_purpose::STANDARD.encode(hasher.finish().to_be_bytes())
}

fn aggregated_group(registry: &Registry, group: &str) -> Value {
    let mut versions = group_versions(registry, group);
    if group.is_empty() {
        versions = vec!["v1".into()];
    }
    let versions: Vec<Value> =
        versions.iter().map(|version| aggregated_version(registry, group, version)).collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_version(registry: &Registry, group: &str, version: &str) -> Value {
    let mut resources: BTreeMap<String, Value> = BTreeMap::new();
    for kind in registry.of_group(group) {
        let Some(index) = kind.version(version).filter(|index| kind.versions[*index].served) else {
            continue;
        };
        resources.insert(
            kind.plural.to_string(),
            aggregated_resource(kind, &kind.versions[index], group, version),
        );
    }
    for (_, name, kind, kind_group, kind_version, namespaced, verbs) in
        EXTRAS.iter().filter(|extra| extra.0 == group)
    {
        let (of_group, of_version) =
            if kind_group.is_empty() { (group, version) } else { (*kind_group, *kind_version) };
        let response = json!({"group": of_group, "version": of_version, "kind": kind});
        match name.split_once('/') {
            Some((parent, subresource)) => {
                if let Some(parent) = resources.get_mut(parent).and_then(Value::as_object_mut) {
                    let list = parent.entry("subresources").or_insert_with(|| json!([]));
                    if let Some(list) = list.as_array_mut() {
                        list.push(
                            json!({"subresource": subresource, "responseKind": response, "verbs": verbs}),
                        );
                    }
                }
            }
            None => {
                let scope = if *namespaced { "Namespaced" } else { "Cluster" };
                let document = json!({"resource": name, "responseKind": response, "scope": scope,
                    "singularResource": singular(name, kind), "verbs": verbs});
                resources.insert((*name).to_owned(), document);
            }
        }
    }
    json!({"version": version, "resources": resources.into_values().collect::<Vec<_>>(), "freshness": "Current"})
}

fn aggregated_resource(kind: &Kind, version: &Version, group: &str, version_name: &str) -> Value {
    let response = json!({"group": group, "version": version_name, "kind": &*kind.name});
    let mut document = json!({"resource": &*kind.plural, "responseKind": response,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": &*kind.singular, "verbs": verbs_of(kind)});
    if !kind.short_names.is_empty() {
        document["shortNames"] = kind.short_names.iter().map(|name| Value::from(&**name)).collect();
    }
    if !kind.categories.is_empty() {
        document["categories"] = kind.categories.iter().map(|name| Value::from(&**name)).collect();
    }
    let mut subresources = Vec::new();
    if version.scale.is_some() {
        subresources.push(json!({"subresource": "scale",
            "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
            "verbs": ["get", "patch", "update"]}));
    }
    if version.status {
        subresources.push(
            json!({"subresource": "status", "responseKind": response, "verbs": ["get", "patch", "update"]}),
        );
    }
    if !subresources.is_empty() {
        document["subresources"] = subresources.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::precedence;

    /// Clients take the preferred version where nobody named one: an alpha before its beta would surprise them.
    #[test]
    fn versions_stand_in_kubernetes_order() {
        // The example of Kubernetes' documentation on versions of custom resources.
        let expected =
            ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
        let mut versions = expected;
        versions.reverse();
        versions.sort_by_key(|version| precedence(version));
        assert_eq!(versions, expected);
    }
}
