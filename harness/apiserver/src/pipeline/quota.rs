//! Resource quotas: what a namespace uses, and refusals of what would be too much.
//!
//! Usage is counted anew after each write in a namespace that has a quota, so it can't drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{State, write::Write};
use crate::{
    kinds::{Kind, quantity},
    object::{as_map, is_terminating, list, map_at, meta, text},
    status::ApiError,
    store::Key,
};

/// Shelf of quotas.
const QUOTAS: &str = "/resourcequotas";
const NANO: i128 = 1_000_000_000;
/// Resources that every container of a pod must name where a quota limits them.
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Kinds that were counted before `count/` was there.
const COUNTED: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// Amounts by resource, in units of 10^-9.
type Amounts = BTreeMap<String, i128>;

/// Refuses an object that a quota of its namespace has no room for: a new one, or one that takes more than before.
pub(super) fn check(write: &Write<'_, '_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let Some(namespace) = write.target.namespace.as_deref() else { return Ok(()) };
    // A service changes its type and a claim grows; what a pod takes is settled when it is created.
    if old.is_some() && !matches!(&*write.target.kind.shelf, "/services" | "/persistentvolumeclaims") {
        return Ok(());
    }
    let (group, resource) = write.target.error_name();
    let name = meta(object, "name");
    for (_, quota) in write.state.store.list(QUOTAS, Some(namespace)) {
        let Some(hard) = quota.value["spec"]["hard"].as_object() else { continue };
        if !applies(&quota.value, &write.target.kind, object) {
            continue;
        }
        let title = meta(&quota.value, "name");
        let mut wanted = amounts_of(&write.target.kind, object, hard);
        let before = old.filter(|old| applies(&quota.value, &write.target.kind, old));
        for (resource, amount) in
            before.map(|old| amounts_of(&write.target.kind, old, hard)).unwrap_or_default()
        {
            *wanted.entry(resource).or_default() -= amount;
        }
        let missing = missing(&write.target.kind, object, hard);
        if !missing.is_empty() {
            let why = format!("failed quota: {title}: must specify {}", missing.join("; "));
            return Err(ApiError::forbidden(group, resource, name, &why));
        }
        let used = usage(write.state, namespace, &quota.value);
        let limit = |resource: &str| hard[resource].as_str().and_then(quantity::nanos).unwrap_or(0);
        let has = |resource: &str| used.get(resource).copied().unwrap_or(0);
        let exceeded: Vec<(&String, i128)> = wanted
            .iter()
            .filter(|(resource, amount)| **amount > 0 && has(resource) + **amount > limit(resource))
            .map(|(resource, amount)| (resource, *amount))
            .collect();
        if exceeded.is_empty() {
            continue;
        }
        let words = |of: &dyn Fn(&String, i128) -> String| {
            let words =
                exceeded.iter().map(|(resource, amount)| format!("{resource}={}", of(resource, *amount)));
            words.collect::<Vec<_>>().join(",")
        };
        let why = format!(
            "exceeded quota: {title}, requested: {}, used: {}, limited: {}",
            words(&|resource, amount| written(resource, amount)),
            words(&|resource, _| written(resource, has(resource))),
            words(&|resource, _| hard[resource].as_str().unwrap_or_default().to_owned()),
        );
        return Err(ApiError::forbidden(group, resource, name, &why));
    }
    Ok(())
}

/// Writes the usage of a namespace into the status of its quotas.
pub(super) fn refresh(state: &mut State, namespace: &str) {
    let quotas: Vec<(Key, Value)> = state
        .store
        .list(QUOTAS, Some(namespace))
        .map(|(key, quota)| (key.clone(), quota.value.clone()))
        .collect();
    for (key, mut quota) in quotas {
        let Some(hard) = quota["spec"]["hard"].as_object().cloned() else { continue };
        if is_terminating(&quota) {
            continue;
        }
        let used = usage(state, namespace, &quota);
        let used: Map<String, Value> = hard
            .keys()
            .map(|resource| {
                let amount = used.get(resource).copied().unwrap_or(0);
                (resource.clone(), written(resource, amount).into())
            })
            .collect();
        let before = quota["status"].clone();
        let status = map_at(as_map(&mut quota), "status");
        status.insert("hard".into(), Value::Object(hard));
        status.insert("used".into(), Value::Object(used));
        if quota["status"] != before
            && let Some(kind) = state.kind_of_shelf(QUOTAS)
        {
            state.put(&kind, &key, quota);
        }
    }
}

/// What the objects of a namespace use of the resources that a quota limits.
fn usage(state: &State, namespace: &str, quota: &Value) -> Amounts {
    let mut sum = Amounts::new();
    let Some(hard) = quota["spec"]["hard"].as_object() else { return sum };
    let shelves: BTreeSet<Arc<str>> = state.contents_of(namespace).map(|(shelf, _)| shelf).collect();
    for shelf in shelves {
        let Some(kind) = state.kind_of_shelf(&shelf) else { continue };
        for (_, object) in state.store.list(&shelf, Some(namespace)) {
            if applies(quota, &kind, &object.value) {
                for (resource, amount) in amounts_of(&kind, &object.value, hard) {
                    *sum.entry(resource).or_default() += amount;
                }
            }
        }
    }
    sum
}

/// Whether a quota is about an object: its scopes select pods.
fn applies(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let simple = list(quota, &["spec", "scopes"]).iter().filter_map(Value::as_str);
    let mut scopes: Vec<(&str, bool)> = simple.map(|scope| (scope, true)).collect();
    for expression in list(quota, &["spec", "scopeSelector", "matchExpressions"]) {
        let scope = text(expression, &["scopeName"]);
        let is_wanted = match text(expression, &["operator"]) {
            "Exists" => true,
            "DoesNotExist" => false,
            operator => {
                let class = text(object, &["spec", "priorityClassName"]);
                let is_listed = list(expression, &["values"]).iter().any(|value| value == class);
                if scope != "PriorityClass" || is_listed != (operator == "In") {
                    return false;
                }
                continue;
            }
        };
        scopes.push((scope, is_wanted));
    }
    if scopes.is_empty() {
        return true;
    }
    &*kind.shelf == "/pods"
        && scopes.iter().all(|(scope, is_wanted)| {
            let holds = match *scope {
                "Terminating" => object["spec"]["activeDeadlineSeconds"].is_number(),
                "NotTerminating" => !object["spec"]["activeDeadlineSeconds"].is_number(),
                "BestEffort" => is_best_effort(object),
                "NotBestEffort" => !is_best_effort(object),
                "PriorityClass" => !text(object, &["spec", "priorityClassName"]).is_empty(),
                _ => false,
            };
            holds == *is_wanted
        })
}

fn is_best_effort(pod: &Value) -> bool {
    containers(pod).all(|container| {
        ["requests", "limits"]
            .iter()
            .all(|part| container["resources"][part].as_object().is_none_or(Map::is_empty))
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, &["spec", "containers"]).iter().chain(list(pod, &["spec", "initContainers"]))
}

/// What one object uses of the resources that are limited.
fn amounts_of(kind: &Kind, object: &Value, hard: &Map<String, Value>) -> Amounts {
    let mut found = Amounts::new();
    let ended =
        &*kind.shelf == "/pods" && matches!(text(object, &["status", "phase"]), "Succeeded" | "Failed");
    let counted = if kind.group.is_empty() {
        format!("count/{}", kind.plural)
    } else {
        format!("count/{}.{}", kind.plural, kind.group)
    };
    for resource in hard.keys() {
        let is_legacy =
            kind.group.is_empty() && COUNTED.contains(&resource.as_str()) && **resource == *kind.plural;
        // An ended pod takes no room, but `count/pods` counts what is stored.
        let amount = if *resource == counted || is_legacy && !ended {
            NANO
        } else {
            match &*kind.shelf {
                "/pods" if !ended => of_pod(object, resource),
                "/services" => of_service(object, resource),
                "/persistentvolumeclaims" => of_claim(object, resource),
                _ => continue,
            }
        };
        found.insert(resource.clone(), amount);
    }
    found
}

/// Requests or limits of a pod: its containers together or, if that is more, its largest init container.
fn of_pod(pod: &Value, resource: &str) -> i128 {
    let (part, name) = part_of(resource);
    let amount = |container: &Value| {
        container["resources"][part][name].as_str().and_then(quantity::nanos).unwrap_or(0)
    };
    let sum: i128 = list(pod, &["spec", "containers"]).iter().map(amount).sum();
    let initial = list(pod, &["spec", "initContainers"]).iter().map(amount).max().unwrap_or(0);
    sum.max(initial)
}

fn part_of(resource: &str) -> (&str, &str) {
    match resource.split_once('.') {
        Some((part @ ("requests" | "limits"), name)) => (part, name),
        _ => ("requests", resource),
    }
}

fn of_service(service: &Value, resource: &str) -> i128 {
    let kind = text(service, &["spec", "type"]);
    let given = |port: &&Value| {
        kind != "LoadBalancer"
            || service["spec"]["allocateLoadBalancerNodePorts"] != false
            || port["nodePort"].as_i64().is_some_and(|number| number > 0)
    };
    let ports = list(service, &["spec", "ports"]).iter().filter(given).count();
    let ports = i128::try_from(ports).unwrap_or(0);
    match (resource, kind) {
        ("services.loadbalancers", "LoadBalancer") => NANO,
        ("services.nodeports", "NodePort" | "LoadBalancer") => ports * NANO,
        _ => 0,
    }
}

fn of_claim(claim: &Value, resource: &str) -> i128 {
    let class = text(claim, &["spec", "storageClassName"]);
    let storage =
        || claim["spec"]["resources"]["requests"]["storage"].as_str().and_then(quantity::nanos).unwrap_or(0);
    let own = format!("{class}.storageclass.storage.k8s.io/");
    match resource.strip_prefix(&own).unwrap_or(resource) {
        "requests.storage" => storage(),
        "persistentvolumeclaims" => NANO,
        _ => 0,
    }
}

/// What a pod must say because a quota limits it, and which containers do not.
fn missing(kind: &Kind, pod: &Value, hard: &Map<String, Value>) -> Vec<String> {
    if &*kind.shelf != "/pods" {
        return Vec::new();
    }
    let mut limited: Vec<&String> =
        hard.keys().filter(|resource| COMPUTE.contains(&resource.as_str())).collect();
    limited.sort();
    limited
        .into_iter()
        .filter_map(|resource| {
            let (part, name) = part_of(resource);
            let silent: Vec<&str> = containers(pod)
                .filter(|container| !container["resources"][part][name].is_string())
                .map(|container| text(container, &["name"]))
                .collect();
            (!silent.is_empty()).then(|| format!("{resource} for: {}", silent.join(",")))
        })
        .collect()
}

/// An amount as Kubernetes writes it: bytes with binary suffixes where they need no fraction.
fn written(resource: &str, nanos: i128) -> String {
    let is_bytes = resource.ends_with("memory") || resource.ends_with("storage");
    let plain = if nanos % NANO == 0 { (nanos / NANO).to_string() } else { format!("{nanos}n") };
    let whole = nanos / NANO;
    let suffix = [("Gi", 1_i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let binary = suffix.into_iter().find(|(_, size)| is_bytes && whole >= *size && whole % size == 0);
    match binary {
        Some((suffix, size)) => format!("{}{suffix}", whole / size),
        None => quantity::canonical(&plain).unwrap_or(plain),
    }
}
