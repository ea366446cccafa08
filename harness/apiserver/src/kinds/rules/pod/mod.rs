//! Rules for pods and pod templates.

mod container;
mod environment;
pub(super) mod handlers;
mod placement;
mod volumes;

use std::net::IpAddr;

use serde_json::Value;

use super::subdomain;
use crate::{
    kinds::names::{check_annotations, check_label, check_labels, qualified_name_faults},
    object::{integer, list, text},
    status::FieldError,
};

/// More nameservers a resolver does not ask.
const MOST_NAMESERVERS: usize = 3;
const BAD_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub(crate) fn pod(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match old {
        None => {
            if let Some(spec) = new.get("spec") {
                pod_spec(spec, "spec", errors);
                container::only_for_pods(spec, errors);
                if !list(spec, &["ephemeralContainers"]).is_empty() {
                    errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
                }
                if !list(spec, &["schedulingGates"]).is_empty() && !text(spec, &["nodeName"]).is_empty() {
                    let why = "cannot be set until all schedulingGates have been cleared";
                    errors.push(FieldError::forbidden("spec.nodeName", why));
                }
            }
        }
        Some(old) => pod_update(new, old, errors),
    }
}

/// Of a running pod only images, deadlines, tolerations and grace may change.
fn pod_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let deadline = |object: &Value| integer(object, &["spec", "activeDeadlineSeconds"]);
    if let (Some(before), after) = (deadline(old), deadline(new))
        && (after.is_none_or(|after| after > before))
    {
        let value = after.map_or(Value::Null, Value::from);
        let detail = if after.is_none() {
            "must not update from a positive integer to nil value".to_owned()
        } else {
            format!("must be less than or equal to previous value: {before}")
        };
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", &value, &detail));
        return;
    }
    let mutable = |object: &Value| -> Value {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        for containers in ["containers", "initContainers"] {
            for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.shift_remove("image");
                }
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            for field in
                ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers", "nodeName"]
            {
                spec.shift_remove(field);
            }
            if spec
                .get("terminationGracePeriodSeconds")
                .and_then(Value::as_i64)
                .is_some_and(|grace| grace < 0)
            {
                spec.shift_remove("terminationGracePeriodSeconds");
            }
        }
        spec
    };
    if mutable(old) != mutable(new) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n",
        ));
    }
}

/// Checks the template of a pod at `field`.
pub(super) fn pod_template(template: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let metadata = &template["metadata"];
    check_labels(metadata.get("labels"), &format!("{field}.labels"), errors);
    check_annotations(metadata.get("annotations"), &format!("{field}.annotations"), errors);
    if let Some(spec) = template.get("spec") {
        pod_spec(spec, &format!("{field}.spec"), errors);
        if !list(spec, &["ephemeralContainers"]).is_empty() {
            let why = "ephemeral containers not allowed in pod template";
            errors.push(FieldError::forbidden(format!("{field}.spec.ephemeralContainers"), why));
        }
    }
}

/// Checks a pod spec at `field`.
fn pod_spec(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let declared = list(spec, &["volumes"]);
    volumes::volumes(declared, &format!("{field}.volumes"), errors);
    let names: Vec<&str> = declared.iter().map(|volume| text(volume, &["name"])).collect();
    container::containers(spec, &names, field, errors);
    supported(spec, "restartPolicy", field, &["Always", "OnFailure", "Never"], errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    supported(spec, "dnsPolicy", field, &dns, errors);
    supported(spec, "preemptionPolicy", field, &["PreemptLowerPriority", "Never"], errors);
    name_resolution(spec, field, errors);
    placement::placement(spec, field, errors);
    security(spec, field, errors);
    for (index, gate) in list(spec, &["readinessGates"]).iter().enumerate() {
        let kind = text(gate, &["conditionType"]);
        for why in qualified_name_faults(kind) {
            let at = format!("{field}.readinessGates[{index}].conditionType");
            errors.push(FieldError::invalid(at, &kind.into(), &why));
        }
    }
    let gates = list(spec, &["schedulingGates"]);
    for (index, gate) in gates.iter().enumerate() {
        let (at, name) = (format!("{field}.schedulingGates[{index}]"), text(gate, &["name"]));
        for why in qualified_name_faults(name) {
            errors.push(FieldError::invalid(at.as_str(), &name.into(), &why));
        }
        if gates[..index].iter().any(|other| text(other, &["name"]) == name) {
            errors.push(FieldError::duplicate(at, &name.into()));
        }
    }
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        subdomain(text(spec, &[name]), &format!("{field}.{name}"), errors);
    }
    let deadline = integer(spec, &["activeDeadlineSeconds"]);
    if let Some(seconds) = deadline.filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(format!("{field}.activeDeadlineSeconds"), &seconds.into(), why));
    }
}

/// The pod's own names, and how it finds those of others.
fn name_resolution(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["hostname", "subdomain"] {
        let found = text(spec, &[name]);
        for why in check_label(found).into_iter().filter(|_| !found.is_empty()) {
            errors.push(FieldError::invalid(format!("{field}.{name}"), &found.into(), why));
        }
    }
    for (index, alias) in list(spec, &["hostAliases"]).iter().enumerate() {
        let field = format!("{field}.hostAliases[{index}]");
        address(text(alias, &["ip"]), &format!("{field}.ip"), errors);
        for (number, name) in list(alias, &["hostnames"]).iter().enumerate() {
            subdomain(name.as_str().unwrap_or_default(), &format!("{field}.hostnames[{number}]"), errors);
        }
    }
    let field = format!("{field}.dnsConfig");
    let config = spec.get("dnsConfig").filter(|config| config.is_object());
    let is_own = text(spec, &["dnsPolicy"]) == "None";
    let Some(config) = config else {
        if is_own {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(field, why));
        }
        return;
    };
    let servers = list(config, &["nameservers"]);
    if is_own && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(format!("{field}.nameservers"), why));
    }
    if servers.len() > MOST_NAMESERVERS {
        let why = format!("must not have more than {MOST_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(format!("{field}.nameservers"), &config["nameservers"], &why));
    }
    for (index, server) in servers.iter().enumerate() {
        address(server.as_str().unwrap_or_default(), &format!("{field}.nameservers[{index}]"), errors);
    }
    for (index, option) in list(config, &["options"]).iter().enumerate() {
        if text(option, &["name"]).is_empty() {
            errors.push(FieldError::required(format!("{field}.options[{index}]"), "must not be empty"));
        }
    }
}

fn address(found: &str, field: &str, errors: &mut Vec<FieldError>) {
    if found.parse::<IpAddr>().is_err() {
        errors.push(FieldError::invalid(field, &found.into(), BAD_ADDRESS));
    }
}

/// Users, groups and the filter of system calls of a pod.
fn security(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(context) = spec.get("securityContext").filter(|context| context.is_object()) else { return };
    let field = format!("{field}.securityContext");
    for number in ["runAsUser", "runAsGroup", "fsGroup"] {
        identifier(context.get(number), &format!("{field}.{number}"), errors);
    }
    for (index, group) in list(context, &["supplementalGroups"]).iter().enumerate() {
        identifier(Some(group), &format!("{field}.supplementalGroups[{index}]"), errors);
    }
    seccomp(context, &field, errors);
}

/// A user or a group.
fn identifier(found: Option<&Value>, field: &str, errors: &mut Vec<FieldError>) {
    let found = found.and_then(Value::as_i64);
    if let Some(number) = found.filter(|number| !(0..=i64::from(i32::MAX)).contains(number)) {
        let why = "must be between 0 and 2147483647, inclusive";
        errors.push(FieldError::invalid(field, &number.into(), why));
    }
}

fn seccomp(context: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(profile) = context.get("seccompProfile").filter(|profile| profile.is_object()) else { return };
    let field = format!("{field}.seccompProfile");
    let kind = text(profile, &["type"]);
    let known = ["Localhost", "RuntimeDefault", "Unconfined"];
    if kind.is_empty() {
        let why = "type is required when seccompProfile is set";
        errors.push(FieldError::required(format!("{field}.type"), why));
    } else if !known.contains(&kind) {
        errors.push(FieldError::not_supported(format!("{field}.type"), &kind.into(), &known));
    }
    let own = profile.get("localhostProfile");
    if kind == "Localhost" && own.is_none() {
        let why = "must be set when seccomp type is Localhost";
        errors.push(FieldError::required(format!("{field}.localhostProfile"), why));
    } else if let Some(own) = own.filter(|_| kind != "Localhost") {
        let shown = serde_json::json!({"Type": kind, "LocalhostProfile": own});
        let why = "can only be set when seccomp type is Localhost";
        errors.push(FieldError::invalid(format!("{field}.localhostProfile"), &shown, why));
    }
}

fn supported(map: &Value, key: &str, field: &str, values: &[&str], errors: &mut Vec<FieldError>) {
    let found = text(map, &[key]);
    if !found.is_empty() && !values.contains(&found) {
        errors.push(FieldError::not_supported(format!("{field}.{key}"), &found.into(), values));
    }
}

pub(super) fn non_negative(map: &Value, key: &str, field: &str, errors: &mut Vec<FieldError>) {
    if let Some(number) = integer(map, &[key]).filter(|number| *number < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(format!("{field}.{key}"), &number.into(), why));
    }
}
