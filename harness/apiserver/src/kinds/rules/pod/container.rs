//! Rules for the containers of a pod: names, images, ports, resources.

use serde_json::Value;

use super::{
    environment::environment,
    handlers::{lifecycle, port_name_faults, port_number, probes},
    identifier, seccomp, supported, volumes,
};
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

/// All containers of a pod spec at `field`, which has volumes of these names.
pub(super) fn containers(spec: &Value, volumes: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    let containers = list(spec, &["containers"]);
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{field}.containers"), ""));
    }
    let grace = integer(spec, &["terminationGracePeriodSeconds"]).unwrap_or(i64::MAX);
    let is_on_host = at(spec, &["hostNetwork"]) == Some(&Value::Bool(true));
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
            container_rules(container, &at, volumes, errors);
            if kind == "initContainers" && text(container, &["restartPolicy"]) != "Always" {
                only_for_sidecars(container, &at, errors);
            } else {
                lifecycle(container, grace, &at, errors);
                probes(container, grace, &at, errors);
            }
            host_ports(container, is_on_host, &at, errors);
        }
    }
}

/// An init container that ends has nobody to probe and nothing to hook.
fn only_for_sidecars(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.get(name).is_some_and(Value::is_object) {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(format!("{field}.{name}"), why));
        }
    }
}

/// What holds for pods, but not for templates that were written before the rule was.
pub(super) fn only_for_pods(spec: &Value, errors: &mut Vec<FieldError>) {
    for kind in ["containers", "initContainers"] {
        for (index, container) in list(spec, &[kind]).iter().enumerate() {
            let image = text(container, &["image"]);
            if image.trim() != image {
                let at = format!("spec.{kind}[{index}].image");
                let why = "must not have leading or trailing whitespace";
                errors.push(FieldError::invalid(at, &image.into(), why));
            }
        }
    }
}

fn container_rules(container: &Value, field: &str, names: &[&str], errors: &mut Vec<FieldError>) {
    if text(container, &["image"]).is_empty() {
        errors.push(FieldError::required(format!("{field}.image"), ""));
    }
    supported(container, "imagePullPolicy", field, &["Always", "IfNotPresent", "Never"], errors);
    supported(container, "terminationMessagePolicy", field, &["FallbackToLogsOnError", "File"], errors);
    let mut port_names: Vec<&str> = Vec::new();
    for (index, port) in list(container, &["ports"]).iter().enumerate() {
        port_rules(port, &format!("{field}.ports[{index}]"), &mut port_names, errors);
    }
    environment(container, field, errors);
    volumes::mounts(container, names, field, errors);
    if let Some(context) = container.get("securityContext").filter(|context| context.is_object()) {
        let field = format!("{field}.securityContext");
        for number in ["runAsUser", "runAsGroup"] {
            identifier(context.get(number), &format!("{field}.{number}"), errors);
        }
        supported(context, "procMount", &field, &["Default", "Unmasked"], errors);
        seccomp(context, &field, errors);
    }
    resources(container, &format!("{field}.resources"), errors);
}

fn port_rules<'a>(port: &'a Value, field: &str, names: &mut Vec<&'a str>, errors: &mut Vec<FieldError>) {
    let name = text(port, &["name"]);
    if !name.is_empty() {
        let at = format!("{field}.name");
        let faults = port_name_faults(name);
        if faults.is_empty() {
            if names.contains(&name) {
                errors.push(FieldError::duplicate(at.as_str(), &name.into()));
            }
            names.push(name);
        }
        for why in faults {
            errors.push(FieldError::invalid(at.as_str(), &name.into(), why));
        }
    }
    match integer(port, &["containerPort"]) {
        None | Some(0) => errors.push(FieldError::required(format!("{field}.containerPort"), "")),
        Some(number) => port_number(number, &format!("{field}.containerPort"), errors),
    }
    if let Some(number) = integer(port, &["hostPort"]).filter(|number| *number != 0) {
        port_number(number, &format!("{field}.hostPort"), errors);
    }
    supported(port, "protocol", field, &["SCTP", "TCP", "UDP"], errors);
}

/// On the host's network a container's port is the host's.
fn host_ports(container: &Value, is_on_host: bool, field: &str, errors: &mut Vec<FieldError>) {
    for (index, port) in list(container, &["ports"]).iter().enumerate().filter(|_| is_on_host) {
        let host = integer(port, &["hostPort"]).unwrap_or_default();
        if host != 0 && Some(host) != integer(port, &["containerPort"]) {
            let why = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(format!("{field}.ports[{index}].hostPort"), &host.into(), why));
        }
    }
}

fn resources(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for kind in ["limits", "requests"] {
        let amounts = at(container, &["resources", kind]).and_then(Value::as_object);
        for (name, amount) in amounts.into_iter().flatten() {
            resource_rules(name, amount, &format!("{field}.{kind}[{name}]"), errors);
            if kind == "requests" {
                within_limit(container, name, amount, field, errors);
            }
        }
    }
}

/// A resource of somebody's own: whole units that can't be shared.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

fn resource_rules(name: &str, amount: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let is_huge_page = name.starts_with("hugepages-");
    if let Some(why) = qualified_name_fault(name) {
        errors.push(FieldError::invalid(field, &name.into(), &why));
    } else if !name.contains('/') && !is_huge_page && !STANDARD_RESOURCES.contains(&name) {
        for why in [
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        ] {
            errors.push(FieldError::invalid(field, &name.into(), why));
        }
    }
    let nanos = amount.as_str().and_then(quantity::nanos).unwrap_or_default();
    if nanos < 0 {
        errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
    }
    if is_extended(name) && nanos % 1_000_000_000 != 0 {
        errors.push(FieldError::invalid(field, amount, "must be an integer"));
    }
}

fn within_limit(container: &Value, name: &str, request: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let is_shared = !is_extended(name) && !name.starts_with("hugepages-");
    let Some(limit) = at(container, &["resources", "limits", name]).and_then(Value::as_str) else {
        if !is_shared {
            let why = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(format!("{field}.limits"), why));
        }
        return;
    };
    let (asked, most) = (request.as_str().and_then(quantity::nanos), quantity::nanos(limit));
    let why = if !is_shared && asked != most {
        format!("must be equal to {name} limit of {limit}")
    } else if asked > most {
        format!("must be less than or equal to {name} limit of {limit}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(format!("{field}.requests"), request, &why));
}
