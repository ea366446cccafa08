//! Rules for pods and pod templates.

use serde_json::Value;

use crate::{
    kinds::{
        names::{check_label, qualified_name_fault},
        quantity,
    },
    object::{at, integer, list, text},
    status::FieldError,
};

/// Resources that containers may ask for without a domain.
const STANDARD_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(crate) fn pod(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match old {
        None => {
            if let Some(spec) = new.get("spec") {
                pod_spec(spec, "spec", errors);
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

/// Checks a pod spec at `field`.
pub(crate) fn pod_spec(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let volumes: Vec<&str> = list(spec, &["volumes"]).iter().map(|volume| text(volume, &["name"])).collect();
    for (index, name) in volumes.iter().enumerate() {
        let at = format!("{field}.volumes[{index}].name");
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if volumes[..index].contains(name) {
            errors.push(FieldError::duplicate(at, &(*name).into()));
        } else {
            for fault in check_label(name) {
                errors.push(FieldError::invalid(at.as_str(), &(*name).into(), fault));
            }
        }
    }
    let containers = list(spec, &["containers"]);
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for (kind, containers) in
        [("containers", containers), ("initContainers", list(spec, &["initContainers"]))]
    {
        for (index, container) in containers.iter().enumerate() {
            let at = format!("{field}.{kind}[{index}]");
            let name = text(container, &["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(format!("{at}.name"), ""));
            } else {
                for fault in check_label(name) {
                    errors.push(FieldError::invalid(format!("{at}.name"), &name.into(), fault));
                }
                if names.contains(&name) {
                    errors.push(FieldError::duplicate(format!("{at}.name"), &name.into()));
                }
            }
            names.push(name);
            container_rules(container, &at, &volumes, errors);
        }
    }
    supported(spec, "restartPolicy", field, &["Always", "OnFailure", "Never"], errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    supported(spec, "dnsPolicy", field, &dns, errors);
}

fn supported(map: &Value, key: &str, field: &str, values: &[&str], errors: &mut Vec<FieldError>) {
    let found = text(map, &[key]);
    if !found.is_empty() && !values.contains(&found) {
        errors.push(FieldError::not_supported(format!("{field}.{key}"), &found.into(), values));
    }
}

fn container_rules(container: &Value, field: &str, volumes: &[&str], errors: &mut Vec<FieldError>) {
    let image = text(container, &["image"]);
    if image.is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(
            format!("{field}.image"),
            &image.into(),
            "must not have leading or trailing whitespace",
        ));
    }
    supported(container, "imagePullPolicy", field, &["Always", "IfNotPresent", "Never"], errors);
    supported(container, "terminationMessagePolicy", field, &["FallbackToLogsOnError", "File"], errors);
    let mut port_names: Vec<&str> = Vec::new();
    for (index, port) in list(container, &["ports"]).iter().enumerate() {
        port_rules(port, &format!("{field}.ports[{index}]"), &mut port_names, errors);
    }
    for (index, variable) in list(container, &["env"]).iter().enumerate() {
        let at = format!("{field}.env[{index}].name");
        let name = text(variable, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if !name.bytes().all(|c| (0x20..0x7f).contains(&c) && c != b'=') {
            let why = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(FieldError::invalid(at, &name.into(), why));
        }
    }
    let mut paths: Vec<&str> = Vec::new();
    for (index, mount) in list(container, &["volumeMounts"]).iter().enumerate() {
        let at = format!("{field}.volumeMounts[{index}]");
        let (name, path) = (text(mount, &["name"]), text(mount, &["mountPath"]));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else if !volumes.contains(&name) {
            errors.push(FieldError::not_found(format!("{at}.name"), &name.into()));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{at}.mountPath"), ""));
        } else if paths.contains(&path) {
            errors.push(FieldError::invalid(format!("{at}.mountPath"), &path.into(), "must be unique"));
        }
        paths.push(path);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe_value) = container.get(probe).filter(|value| value.is_object()) {
            probe_handler(probe_value, &format!("{field}.{probe}"), errors);
        }
    }
    for probe in ["livenessProbe", "startupProbe"] {
        let threshold = integer(container, &[probe, "successThreshold"]);
        if let Some(threshold) = threshold.filter(|threshold| *threshold != 1) {
            let at = format!("{field}.{probe}.successThreshold");
            errors.push(FieldError::invalid(at, &threshold.into(), "must be 1"));
        }
    }
    for kind in ["limits", "requests"] {
        let amounts = at(container, &["resources", kind]).and_then(Value::as_object);
        for (name, amount) in amounts.into_iter().flatten() {
            resource_rules(name, amount, &format!("{field}.resources.{kind}"), errors);
            if kind == "requests" {
                below_limit(container, name, amount, &format!("{field}.resources.requests"), errors);
            }
        }
    }
}

/// A probe does exactly one thing.
fn probe_handler(probe: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut handlers =
        ["exec", "httpGet", "tcpSocket", "grpc"].into_iter().filter(|handler| probe.get(handler).is_some());
    if handlers.next().is_none() {
        errors.push(FieldError::required(field, "must specify a handler type"));
    }
    for handler in handlers {
        errors.push(FieldError::forbidden(
            format!("{field}.{handler}"),
            "may not specify more than 1 handler type",
        ));
    }
}

fn port_rules<'a>(port: &'a Value, field: &str, names: &mut Vec<&'a str>, errors: &mut Vec<FieldError>) {
    let name = text(port, &["name"]);
    if !name.is_empty() {
        let at = format!("{field}.name");
        let mut fault = |why: &str| errors.push(FieldError::invalid(at.as_str(), &name.into(), why));
        if name.len() > 15 {
            fault("must be no more than 15 characters");
        }
        if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
            fault("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
        }
        if !name.bytes().any(|c| c.is_ascii_lowercase()) {
            fault("must contain at least one letter (a-z)");
        }
        if name.contains("--") {
            fault("must not contain consecutive hyphens");
        }
        if name.starts_with('-') || name.ends_with('-') {
            fault("must not begin or end with a hyphen");
        }
        if names.contains(&name) {
            errors.push(FieldError::duplicate(at, &name.into()));
        }
        names.push(name);
    }
    let number = integer(port, &["containerPort"]);
    match number {
        None => errors.push(FieldError::required(format!("{field}.containerPort"), "")),
        Some(number) if !(1..=65_535).contains(&number) => {
            let why = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(format!("{field}.containerPort"), &number.into(), why));
        }
        Some(_) => {}
    }
    supported(port, "protocol", field, &["SCTP", "TCP", "UDP"], errors);
}

fn resource_rules(name: &str, amount: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let at = format!("{field}[{name}]");
    let is_huge_page = name.starts_with("hugepages-");
    if qualified_name_fault(name).is_some() {
        errors.push(FieldError::invalid(at.as_str(), &name.into(), "must be a valid resource name"));
    } else if !name.contains('/') && !is_huge_page && !STANDARD_RESOURCES.contains(&name) {
        errors.push(FieldError::invalid(
            at.as_str(),
            &name.into(),
            "must be a standard resource type or fully qualified",
        ));
        errors.push(FieldError::invalid(
            at.as_str(),
            &name.into(),
            "must be a standard resource for containers",
        ));
    }
    if amount.as_str().and_then(quantity::nanos).is_some_and(|nanos| nanos < 0) {
        errors.push(FieldError::invalid(at, amount, "must be greater than or equal to 0"));
    }
}

fn below_limit(container: &Value, name: &str, request: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let Some(limit) = at(container, &["resources", "limits", name]).and_then(Value::as_str) else { return };
    let amount = request.as_str().and_then(quantity::nanos);
    if amount > quantity::nanos(limit) {
        let why = format!("must be less than or equal to {name} limit of {limit}");
        errors.push(FieldError::invalid(field, request, &why));
    }
}
