//! Cells of the built-in kinds' rows.

use jiff::Timestamp;
use serde_json::Value;

use crate::object::{at, integer, list, meta, text};

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

pub(super) fn age(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![own_age(object, now)]
}

pub(super) fn created_at(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![meta(object, "creationTimestamp").into()]
}

pub(super) fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![list(object, &["webhooks"]).len().into(), own_age(object, now)]
}

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![(entries(object, "data") + entries(object, "binaryData")).into(), own_age(object, now)]
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![text(object, &["type"]).into(), entries(object, "data").into(), own_age(object, now)]
}

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![text(object, &["status", "phase"]).into(), own_age(object, now)]
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = list(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready");
    let mut status = match ready.map(|condition| text(condition, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        let addresses = list(object, &["status", "addresses"]);
        let found = addresses.iter().find(|address| text(address, &["type"]) == kind);
        or_none(found.map_or("", |address| text(address, &["address"])))
    };
    let info = |field: &str| {
        let found = text(object, &["status", "nodeInfo", field]);
        Value::from(if found.is_empty() { "<unknown>" } else { found })
    };
    vec![
        status.into(),
        or_none(&roles.join(",")),
        own_age(object, now),
        text(object, &["status", "nodeInfo", "kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

pub(super) fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let statuses = list(object, &["status", "containerStatuses"]);
    let ready = statuses.iter().filter(|status| status["ready"] == Value::Bool(true)).count();
    let total = list(object, &["spec", "containers"]).len();
    let restarts: i64 = statuses.iter().filter_map(|status| integer(status, &["restartCount"])).sum();
    let last_restart = statuses
        .iter()
        .filter_map(|status| at(status, &["lastState", "terminated", "finishedAt"]).and_then(Value::as_str))
        .max();
    let restarts = match last_restart {
        Some(time) if restarts > 0 => format!("{restarts} ({} ago)", age_of(time, now)),
        _ => restarts.to_string(),
    };
    let gates = list(object, &["spec", "readinessGates"]);
    let passed = gates
        .iter()
        .filter(|gate| {
            let kind = text(gate, &["conditionType"]);
            list(object, &["status", "conditions"])
                .iter()
                .any(|condition| text(condition, &["type"]) == kind && text(condition, &["status"]) == "True")
        })
        .count();
    vec![
        format!("{ready}/{total}").into(),
        pod_reason(object).into(),
        restarts.into(),
        own_age(object, now),
        or_none(text(object, &["status", "podIP"])),
        or_none(text(object, &["spec", "nodeName"])),
        or_none(text(object, &["status", "nominatedNodeName"])),
        if gates.is_empty() { NONE.into() } else { format!("{passed}/{}", gates.len()).into() },
    ]
}

/// The one word that sums up a pod's containers.
fn pod_reason(object: &Value) -> String {
    let mut reason = text(object, &["status", "phase"]).to_owned();
    let own = text(object, &["status", "reason"]);
    if !own.is_empty() {
        reason = own.to_owned();
    }
    let scheduling_gated = list(object, &["status", "conditions"]).iter().any(|condition| {
        text(condition, &["type"]) == "PodScheduled" && text(condition, &["reason"]) == "SchedulingGated"
    });
    if scheduling_gated {
        reason = "SchedulingGated".into();
    }
    let init = list(object, &["status", "initContainerStatuses"]);
    let init_total = list(object, &["spec", "initContainers"]).len();
    let mut initializing = false;
    for (index, status) in init.iter().enumerate() {
        if let Some(terminated) = at(status, &["state", "terminated"]) {
            if integer(terminated, &["exitCode"]) == Some(0) {
                continue;
            }
            reason = format!("Init:{}", terminated_reason(terminated));
        } else if let Some(waiting) =
            at(status, &["state", "waiting"]).map(|waiting| text(waiting, &["reason"]))
            && !waiting.is_empty()
            && waiting != "PodInitializing"
        {
            reason = format!("Init:{waiting}");
        } else {
            reason = format!("Init:{index}/{init_total}");
        }
        initializing = true;
        break;
    }
    if !initializing {
        let mut running = false;
        for status in list(object, &["status", "containerStatuses"]).iter().rev() {
            let waiting = at(status, &["state", "waiting"]).map_or("", |waiting| text(waiting, &["reason"]));
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if let Some(terminated) = at(status, &["state", "terminated"]) {
                reason = terminated_reason(terminated);
            } else if status["ready"] == Value::Bool(true) && at(status, &["state", "running"]).is_some() {
                running = true;
            }
        }
        if reason == "Completed" && running {
            reason = "Running".into();
        }
    }
    if crate::object::is_terminating(object) {
        reason = "Terminating".into();
    }
    reason
}

fn terminated_reason(terminated: &Value) -> String {
    let reason = text(terminated, &["reason"]);
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match integer(terminated, &["signal"]) {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", integer(terminated, &["exitCode"]).unwrap_or_default()),
    }
}

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = text(object, &["spec", "type"]);
    let external: Vec<&str> =
        list(object, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let balancer: Vec<&str> =
        list(object, &["status", "loadBalancer", "ingress"])
            .iter()
            .map(|point| {
                if text(point, &["ip"]).is_empty() {
                    text(point, &["hostname"])
                } else {
                    text(point, &["ip"])
                }
            })
            .collect();
    let external = match kind {
        "ExternalName" => text(object, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" if balancer.is_empty() && external.is_empty() => "<pending>".to_owned(),
        "LoadBalancer" => balancer.iter().chain(&external).copied().collect::<Vec<_>>().join(","),
        _ => external.join(","),
    };
    let ports: Vec<String> = list(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let number = integer(port, &["port"]).unwrap_or_default();
            let protocol = text(port, &["protocol"]);
            match integer(port, &["nodePort"]).filter(|node| *node > 0) {
                Some(node) => format!("{number}:{node}/{protocol}"),
                None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    vec![
        kind.into(),
        or_none(text(object, &["spec", "clusterIP"])),
        or_none(&external),
        or_none(&ports.join(",")),
        own_age(object, now),
        or_none(&pairs(at(object, &["spec", "selector"]))),
    ]
}

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in list(object, &["subsets"]) {
        let ports = list(subset, &["ports"]);
        for address in list(subset, &["addresses"]) {
            let ip = text(address, &["ip"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            for port in ports {
                all.push(format!("{ip}:{}", integer(port, &["port"]).unwrap_or_default()));
            }
        }
    }
    vec![some_of(&all), own_age(object, now)]
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = list(object, &["ports"])
        .iter()
        .map(|port| integer(port, &["port"]).map_or_else(|| "*".to_owned(), |port| port.to_string()))
        .collect();
    let addresses: Vec<String> = list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| list(endpoint, &["addresses"]))
        .filter_map(Value::as_str)
        .map(ToOwned::to_owned)
        .collect();
    let or_unset = |texts: &[String]| if texts.is_empty() { Value::from(UNSET) } else { some_of(texts) };
    vec![text(object, &["addressType"]).into(), or_unset(&ports), or_unset(&addresses), own_age(object, now)]
}

pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let fields = ["lastTimestamp", "firstTimestamp", "count", "involvedObject", "source", "message"];
    event_cells(object, now, fields)
}

pub(super) fn event_v1(object: &Value, now: Timestamp) -> Vec<Value> {
    let fields = [
        "deprecatedLastTimestamp",
        "deprecatedFirstTimestamp",
        "deprecatedCount",
        "regarding",
        "deprecatedSource",
        "note",
    ];
    event_cells(object, now, fields)
}

fn event_cells(object: &Value, now: Timestamp, fields: [&str; 6]) -> Vec<Value> {
    let [last_field, first_field, count_field, about_field, source_field, message_field] = fields;
    let time = |field: &str| {
        let own = text(object, &[field]);
        let own = if own.is_empty() { text(object, &["eventTime"]) } else { own };
        if own.is_empty() { "<unknown>".to_owned() } else { age_of(own, now) }
    };
    let series = text(object, &["series", "lastObservedTime"]);
    let last = if series.is_empty() { time(last_field) } else { age_of(series, now) };
    let count =
        integer(object, &["series", "count"]).or_else(|| integer(object, &[count_field])).unwrap_or(1).max(1);
    let about = &object[about_field];
    let source = &object[source_field];
    let mut from = text(source, &["component"]).to_owned();
    if from.is_empty() {
        from = format!("{}{}", text(object, &["reportingComponent"]), text(object, &["reportingController"]));
    }
    if !text(source, &["host"]).is_empty() {
        from = format!("{from}, {}", text(source, &["host"]));
    }
    vec![
        last.into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        format!("{}/{}", text(about, &["kind"]).to_lowercase(), text(about, &["name"])).into(),
        text(about, &["fieldPath"]).into(),
        from.into(),
        text(object, &[message_field]).trim().into(),
        time(first_field).into(),
        count.into(),
        meta(object, "name").into(),
    ]
}

pub(super) fn persistent_volume_claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = if crate::object::is_terminating(object) {
        "Terminating"
    } else {
        text(object, &["status", "phase"])
    };
    let bound = !text(object, &["spec", "volumeName"]).is_empty();
    vec![
        phase.into(),
        text(object, &["spec", "volumeName"]).into(),
        if bound { text(object, &["status", "capacity", "storage"]).into() } else { "".into() },
        if bound { access_modes(list(object, &["status", "accessModes"])).into() } else { "".into() },
        text(object, &["spec", "storageClassName"]).into(),
        or(text(object, &["spec", "volumeAttributesClassName"]), UNSET),
        own_age(object, now),
        or(text(object, &["spec", "volumeMode"]), UNSET),
    ]
}

pub(super) fn persistent_volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = if crate::object::is_terminating(object) {
        "Terminating"
    } else {
        text(object, &["status", "phase"])
    };
    let claim = at(object, &["spec", "claimRef"]).map_or_else(String::new, |claim| {
        format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"]))
    });
    vec![
        text(object, &["spec", "capacity", "storage"]).into(),
        access_modes(list(object, &["spec", "accessModes"])).into(),
        text(object, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase.into(),
        claim.into(),
        text(object, &["spec", "storageClassName"]).into(),
        or(text(object, &["spec", "volumeAttributesClassName"]), UNSET),
        text(object, &["status", "reason"]).into(),
        own_age(object, now),
        or(text(object, &["spec", "volumeMode"]), UNSET),
    ]
}

fn access_modes(modes: &[Value]) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    modes.iter().map(short).collect::<Vec<_>>().join(",")
}

pub(super) fn resource_quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut texts = [Vec::new(), Vec::new()];
    let hard = at(object, &["status", "hard"]).or_else(|| at(object, &["spec", "hard"]));
    for (name, limit) in hard.and_then(Value::as_object).into_iter().flatten() {
        let used = text(object, &["status", "used", name]);
        let used = if used.is_empty() { "0" } else { used };
        let line = format!("{name}: {used}/{}", limit.as_str().unwrap_or_default());
        texts[usize::from(name.starts_with("limits"))].push(line);
    }
    let [requests, limits] = texts.map(|mut lines| {
        lines.sort_unstable();
        lines.join(", ")
    });
    vec![requests.into(), limits.into(), own_age(object, now)]
}

pub(super) fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| owner["controller"] == Value::Bool(true))
        .map(|owner| format!("{}/{}", text(owner, &["kind"]).to_lowercase(), text(owner, &["name"])));
    vec![
        or_none(&owner.unwrap_or_default()),
        integer(object, &["revision"]).unwrap_or_default().into(),
        own_age(object, now),
    ]
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = |field: &str| integer(object, &["status", field]).unwrap_or_default();
    let wanted = integer(object, &["spec", "replicas"]).unwrap_or_default();
    let mut row = vec![
        format!("{}/{wanted}", count("readyReplicas")).into(),
        count("updatedReplicas").into(),
        count("availableReplicas").into(),
        own_age(object, now),
    ];
    row.extend(template_cells(object, &["spec", "template"]));
    row.push(selector(at(object, &["spec", "selector"])));
    row
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut row = vec![
        integer(object, &["spec", "replicas"]).unwrap_or_default().into(),
        integer(object, &["status", "replicas"]).unwrap_or_default().into(),
        integer(object, &["status", "readyReplicas"]).unwrap_or_default().into(),
        own_age(object, now),
    ];
    row.extend(template_cells(object, &["spec", "template"]));
    row.push(selector(at(object, &["spec", "selector"])));
    row
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = integer(object, &["status", "readyReplicas"]).unwrap_or_default();
    let wanted = integer(object, &["spec", "replicas"]).unwrap_or_default();
    let mut row = vec![format!("{ready}/{wanted}").into(), own_age(object, now)];
    row.extend(template_cells(object, &["spec", "template"]));
    row
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = |field: &str| Value::from(integer(object, &["status", field]).unwrap_or_default());
    let mut row = vec![
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        or_none(&pairs(at(object, &["spec", "template", "spec", "nodeSelector"]))),
        own_age(object, now),
    ];
    row.extend(template_cells(object, &["spec", "template"]));
    row.push(selector(at(object, &["spec", "selector"])));
    row
}

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let holds = |kind: &str| {
        list(object, &["status", "conditions"])
            .iter()
            .any(|condition| text(condition, &["type"]) == kind && text(condition, &["status"]) == "True")
    };
    let state = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if crate::object::is_terminating(object) {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else {
        "Running"
    };
    let succeeded = integer(object, &["status", "succeeded"]).unwrap_or_default();
    let completions =
        match (integer(object, &["spec", "completions"]), integer(object, &["spec", "parallelism"])) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, Some(parallelism)) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            _ => format!("{succeeded}/1"),
        };
    let start = text(object, &["status", "startTime"]);
    let end = text(object, &["status", "completionTime"]);
    let duration = match (start.parse::<Timestamp>(), end.parse::<Timestamp>()) {
        (Ok(start), Ok(end)) => human_duration(end.as_second() - start.as_second()),
        (Ok(start), Err(_)) => human_duration(now.as_second() - start.as_second()),
        _ => String::new(),
    };
    let mut row = vec![state.into(), completions.into(), duration.into(), own_age(object, now)];
    row.extend(template_cells(object, &["spec", "template"]));
    row.push(selector(at(object, &["spec", "selector"])));
    row
}

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let last = text(object, &["status", "lastScheduleTime"]);
    let mut row = vec![
        text(object, &["spec", "schedule"]).into(),
        or_none(text(object, &["spec", "timeZone"])),
        at(object, &["spec", "suspend"]).cloned().unwrap_or(Value::Bool(false)),
        list(object, &["status", "active"]).len().into(),
        if last.is_empty() { NONE.into() } else { age_of(last, now).into() },
        own_age(object, now),
    ];
    row.extend(template_cells(object, &["spec", "jobTemplate", "spec", "template"]));
    row.push(selector(at(object, &["spec", "jobTemplate", "spec", "selector"])));
    row
}

pub(super) fn horizontal_pod_autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let target = &object["spec"]["scaleTargetRef"];
    let current = list(object, &["status", "currentMetrics"]);
    let metrics: Vec<String> = list(object, &["spec", "metrics"])
        .iter()
        .enumerate()
        .map(|(index, metric)| metric_cell(metric, current.get(index)))
        .collect();
    vec![
        format!("{}/{}", text(target, &["kind"]), text(target, &["name"])).into(),
        or_none(&metrics.join(", ")),
        integer(object, &["spec", "minReplicas"])
            .map_or_else(|| UNSET.into(), |count| count.to_string().into()),
        integer(object, &["spec", "maxReplicas"]).unwrap_or_default().to_string().into(),
        integer(object, &["status", "currentReplicas"]).unwrap_or_default().to_string().into(),
        own_age(object, now),
    ]
}

fn metric_cell(metric: &Value, current: Option<&Value>) -> String {
    let kind = text(metric, &["type"]);
    let source = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        _ => "external",
    };
    let label = match kind {
        "Resource" => format!("{}: ", text(metric, &["resource", "name"])),
        _ => String::new(),
    };
    let target = &metric[source]["target"];
    let found = current.map(|current| &current[source]["current"]);
    if let Some(wanted) = integer(target, &["averageUtilization"]) {
        let now = found.and_then(|found| integer(found, &["averageUtilization"]));
        let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
        return format!("{label}{now}/{wanted}%");
    }
    for (field, suffix) in [("averageValue", " (avg)"), ("value", "")] {
        let wanted = text(target, &[field]);
        if !wanted.is_empty() {
            let now = found.map_or("", |found| text(found, &[field]));
            let suffix = if kind == "External" || kind == "Object" { suffix } else { "" };
            return format!("{label}{}/{wanted}{suffix}", if now.is_empty() { "<unknown>" } else { now });
        }
    }
    "<unknown>".to_owned()
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![text(object, &["spec", "holderIdentity"]).into(), own_age(object, now)]
}

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = list(object, &["spec", "rules"])
        .iter()
        .map(|rule| text(rule, &["host"]))
        .filter(|host| !host.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let addresses: Vec<&str> =
        list(object, &["status", "loadBalancer", "ingress"])
            .iter()
            .map(|point| {
                if text(point, &["ip"]).is_empty() {
                    text(point, &["hostname"])
                } else {
                    text(point, &["ip"])
                }
            })
            .collect();
    let ports = if list(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        or_none(text(object, &["spec", "ingressClassName"])),
        if hosts.is_empty() { "*".into() } else { some_of(&hosts) },
        addresses.join(",").into(),
        ports.into(),
        own_age(object, now),
    ]
}

pub(super) fn network_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![selector(at(object, &["spec", "podSelector"])), own_age(object, now)]
}

pub(super) fn pod_disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |field: &str| match at(object, &["spec", field]) {
        Some(Value::String(text)) => Value::from(text.as_str()),
        Some(number @ Value::Number(_)) => number.to_string().into(),
        _ => "N/A".into(),
    };
    vec![
        bound("minAvailable"),
        bound("maxUnavailable"),
        integer(object, &["status", "disruptionsAllowed"]).unwrap_or_default().into(),
        own_age(object, now),
    ]
}

pub(super) fn role_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let role = &object["roleRef"];
    let of = |kind: &str| {
        let subjects = list(object, &["subjects"]).iter().filter(|subject| text(subject, &["kind"]) == kind);
        let names = subjects.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(subject, &["namespace"]), text(subject, &["name"])),
            _ => text(subject, &["name"]).to_owned(),
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    vec![
        format!("{}/{}", text(role, &["kind"]), text(role, &["name"])).into(),
        own_age(object, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}

pub(super) fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        integer(object, &["value"]).unwrap_or_default().into(),
        (object["globalDefault"] == Value::Bool(true)).into(),
        own_age(object, now),
        text(object, &["preemptionPolicy"]).into(),
    ]
}

pub(super) fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        text(object, &["provisioner"]).into(),
        text(object, &["reclaimPolicy"]).into(),
        text(object, &["volumeBindingMode"]).into(),
        (object["allowVolumeExpansion"] == Value::Bool(true)).into(),
        own_age(object, now),
    ]
}

/// How long ago a time is, as kubectl writes it: `5s`, `3m20s`, `2d4h`.
pub(super) fn age_of(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

pub(super) fn horizontal_pod_autoscaler_v1(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut newer = object.clone();
    crate::kinds::defaults::autoscaling_v1::to_v2(&mut newer);
    horizontal_pod_autoscaler(&newer, now)
}

pub(super) fn own_age(object: &Value, now: Timestamp) -> Value {
    age_of(meta(object, "creationTimestamp"), now).into()
}

fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |whole: i64, unit: &str, rest: i64, rest_unit: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{rest_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

fn template_cells(object: &Value, template: &[&str]) -> [Value; 2] {
    let containers = at(object, template).map_or(&[][..], |template| list(template, &["spec", "containers"]));
    let join = |field: &str| {
        Value::from(
            containers.iter().map(|container| text(container, &[field])).collect::<Vec<_>>().join(","),
        )
    };
    [join("name"), join("image")]
}

fn selector(selector: Option<&Value>) -> Value {
    let Some(selector) = selector else { return NONE.into() };
    let mut parts: Vec<String> = Vec::new();
    let equal = pairs(selector.get("matchLabels"));
    if !equal.is_empty() {
        parts.push(equal);
    }
    for expression in list(selector, &["matchExpressions"]) {
        let key = text(expression, &["key"]);
        let values: Vec<&str> = list(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        parts.push(match text(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    or_none(&parts.join(","))
}

fn pairs(map: Option<&Value>) -> String {
    let map = map.and_then(Value::as_object);
    let mut pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// The first three and how many there are beyond.
fn some_of(texts: &[String]) -> Value {
    match texts.len() {
        0 => NONE.into(),
        1..=3 => texts.join(",").into(),
        more => format!("{} + {} more...", texts[..3].join(","), more - 3).into(),
    }
}

fn entries(object: &Value, field: &str) -> usize {
    object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn or_none(text: &str) -> Value {
    or(text, NONE)
}

fn or(text: &str, otherwise: &str) -> Value {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (600, "10m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (90_000, "25h"),
            (200_000, "2d7h"),
            (864_000, "10d"),
        ] {
            assert_eq!(human_duration(seconds), expected);
        }
    }

    #[test]
    fn a_crashing_container_shows_in_the_status_column() {
        let pod_object = serde_json::json!({"spec": {"containers": [{}]}, "status": {"phase": "Running",
            "containerStatuses": [{"ready": false, "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        let row = pod(&pod_object, Timestamp::UNIX_EPOCH);
        assert_eq!(row[0], "0/1");
        assert_eq!(row[1], "CrashLoopBackOff");
        assert_eq!(row[2], "2");
    }
}
