//! Cells of the kinds that tell about the cluster itself: its components, addresses, APIs and metrics.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::own_age;
use crate::{
    kinds::quantity,
    object::{list, text},
};

pub(super) fn component_status(object: &Value, _: Timestamp) -> Vec<Value> {
    let conditions = list(object, &["conditions"]);
    let healthy = conditions.iter().find(|condition| text(condition, &["type"]) == "Healthy");
    let field = |name: &str| healthy.map_or("", |condition| text(condition, &[name]));
    let status = match field("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![status.into(), field("message").into(), field("error").into()]
}

pub(super) fn ip_address(object: &Value, now: Timestamp) -> Vec<Value> {
    let parent = &object["spec"]["parentRef"];
    let parts = ["resource", "group", "namespace", "name"].map(|field| text(parent, &[field]));
    let [resource, group, namespace, name] = parts;
    let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let place: Vec<&str> =
        [resource.as_str(), namespace, name].into_iter().filter(|part| !part.is_empty()).collect();
    vec![place.join("/").into(), own_age(object, now)]
}

pub(super) fn service_cidr(object: &Value, now: Timestamp) -> Vec<Value> {
    let ranges: Vec<&str> = list(object, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
    vec![ranges.join(",").into(), own_age(object, now)]
}

pub(super) fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = &object["spec"]["service"];
    let place = if service.is_object() {
        format!("{}/{}", text(service, &["namespace"]), text(service, &["name"]))
    } else {
        "Local".to_owned()
    };
    let conditions = list(object, &["status", "conditions"]);
    let available = conditions.iter().find(|condition| text(condition, &["type"]) == "Available");
    let available = available.map_or_else(
        || "Unknown".to_owned(),
        |condition| match (text(condition, &["status"]), text(condition, &["reason"])) {
            ("True", _) | (_, "") => text(condition, &["status"]).to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    vec![place.into(), available.into(), own_age(object, now)]
}

pub(super) fn node_metrics(object: &Value, _: Timestamp) -> Vec<Value> {
    usage(std::slice::from_ref(object), object)
}

pub(super) fn pod_metrics(object: &Value, _: Timestamp) -> Vec<Value> {
    usage(list(object, &["containers"]), object)
}

/// What all of them use together.
fn usage(users: &[Value], object: &Value) -> Vec<Value> {
    let sum = |resource: &str| -> i128 {
        users.iter().filter_map(|user| quantity::nanos(text(user, &["usage", resource]))).sum()
    };
    let memory = format!("{}Ki", sum("memory") / 1_000_000_000 / 1024);
    vec![format!("{}n", sum("cpu")).into(), memory.into(), text(object, &["window"]).into()]
}

pub(super) fn admission_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = &object["spec"]["paramKind"];
    let kind = if kind.is_object() {
        format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"]))
    } else {
        "<unset>".to_owned()
    };
    vec![list(object, &["spec", "validations"]).len().into(), kind.into(), own_age(object, now)]
}

pub(super) fn admission_policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference = &object["spec"]["paramRef"];
    let (namespace, name) = (text(reference, &["namespace"]), text(reference, &["name"]));
    let parameters = match (reference.is_object(), namespace, name) {
        (false, ..) => "<unset>".to_owned(),
        (true, namespace, "") => {
            if namespace.is_empty() {
                "*".to_owned()
            } else {
                format!("{namespace}/*")
            }
        }
        (true, "", name) => name.to_owned(),
        (true, namespace, name) => format!("{namespace}/{name}"),
    };
    vec![text(object, &["spec", "policyName"]).into(), parameters.into(), own_age(object, now)]
}
