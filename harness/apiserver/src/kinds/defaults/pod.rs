//! Defaults of pods and of the pod templates in workloads.

use serde_json::{Map, Value, json};

use super::{each, spec, status};
use crate::object::{map_at, set_default};

/// A pod of its own: a template's defaults and a few more.
pub(crate) fn pod(object: &mut Value) {
    let spec = spec(object);
    // Only a pod's own requests follow its limits; in a template they stay as written.
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
        }
    }
    pod_spec(spec);
    set_default(spec, "enableServiceLinks", true);
    set_default(spec, "preemptionPolicy", "PreemptLowerPriority");
    set_default(spec, "priority", 0);
    let class = quality_of_service(spec);
    let is_gated =
        spec.get("schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    let status = status(object);
    if is_gated {
        wait_for_gates(status);
    }
    for condition in each(status, "conditions") {
        for time in ["lastProbeTime", "lastTransitionTime"] {
            condition.entry(time).or_insert(Value::Null);
        }
    }
    set_default(status, "phase", "Pending");
    set_default(status, "qosClass", class);
}

/// Says that a pod with scheduling gates is not scheduled yet, unless something is said of that.
fn wait_for_gates(status: &mut Map<String, Value>) {
    if each(status, "conditions")
        .any(|condition| condition.get("type").is_some_and(|kind| kind == "PodScheduled"))
    {
        return;
    }
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates"});
    if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
        conditions.push(condition);
    }
}

/// The template of a workload.
pub(crate) fn template(workload_spec: &mut Map<String, Value>) {
    let template = map_at(workload_spec, "template");
    map_at(template, "metadata");
    pod_spec(map_at(template, "spec"));
}

fn pod_spec(spec: &mut Map<String, Value>) {
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["volumes"] {
        for volume in each(spec, list) {
            volume_defaults(volume);
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each(spec, list) {
            container_defaults(container, host_network);
        }
    }
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "securityContext", json!({}));
    set_default(spec, "schedulerName", "default-scheduler");
    // The deprecated twin of serviceAccountName is always written along.
    if let Some(name) = spec.get("serviceAccountName").cloned() {
        spec.insert("serviceAccount".into(), name);
    } else if let Some(name) = spec.get("serviceAccount").cloned() {
        spec.insert("serviceAccountName".into(), name);
    }
}

fn container_defaults(container: &mut Map<String, Value>, host_network: bool) {
    for port in each(container, "ports") {
        set_default(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            set_default(port, "hostPort", number);
        }
    }
    for variable in each(container, "env") {
        if let Some(field) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"))
            .and_then(Value::as_object_mut)
        {
            set_default(field, "apiVersion", "v1");
        }
        if let Some(resource) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("resourceFieldRef"))
            .and_then(Value::as_object_mut)
        {
            set_default(resource, "divisor", "0");
        }
    }
    set_default(container, "resources", json!({}));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            probe_defaults(probe);
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(hook).and_then(Value::as_object_mut) {
                http_defaults(hook);
            }
        }
    }
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    set_default(container, "imagePullPolicy", policy);
}

/// An image without a tag or digest, or with the tag `latest`, is pulled each time.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe_defaults(probe: &mut Map<String, Value>) {
    http_defaults(probe);
    if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
        set_default(grpc, "service", "");
    }
    set_default(probe, "timeoutSeconds", 1);
    set_default(probe, "periodSeconds", 10);
    set_default(probe, "successThreshold", 1);
    set_default(probe, "failureThreshold", 3);
}

fn http_defaults(handler: &mut Map<String, Value>) {
    if let Some(get) = handler.get_mut("httpGet").and_then(Value::as_object_mut) {
        set_default(get, "path", "/");
        set_default(get, "scheme", "HTTP");
    }
}

fn volume_defaults(volume: &mut Map<String, Value>) {
    if volume.len() <= 1 {
        set_default(volume, "emptyDir", json!({}));
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            set_default(source, "defaultMode", 0o644);
            downward_items(source);
            for projection in each(source, "sources") {
                if let Some(token) = projection.get_mut("serviceAccountToken").and_then(Value::as_object_mut)
                {
                    set_default(token, "expirationSeconds", 3600);
                }
                if let Some(downward) = projection.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                    downward_items(downward);
                }
            }
        }
    }
    if let Some(host) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        set_default(host, "type", "");
    }
}

fn downward_items(source: &mut Map<String, Value>) {
    for item in each(source, "items") {
        if let Some(field) = item.get_mut("fieldRef").and_then(Value::as_object_mut) {
            set_default(field, "apiVersion", "v1");
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let requests = map_at(resources, "requests");
    for (resource, amount) in limits {
        set_default(requests, &resource, amount);
    }
}

fn quality_of_service(spec: &Map<String, Value>) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).and_then(Value::as_array).into_iter().flatten() {
            for resource in ["cpu", "memory"] {
                let amount = |kind: &str| container.get("resources")?.get(kind)?.get(resource);
                any |= amount("limits").is_some() || amount("requests").is_some();
                guaranteed &= amount("limits").is_some() && amount("limits") == amount("requests");
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails nobody sees that a pod waits for its gates.
    #[test]
    fn a_gated_pod_says_that_it_is_not_scheduled() {
        let mut gated = json!({"spec": {"schedulingGates": [{"name": "example.com/g"}], "containers": []}});
        pod(&mut gated);
        let condition = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": null}]);
        assert_eq!(gated["status"]["conditions"], condition);
        pod(&mut gated);
        assert_eq!(gated["status"]["conditions"], condition, "once");
    }

    #[test]
    fn a_pod_gets_the_defaults_of_the_real_server_once() {
        let mut pod_object = json!({"spec": {"containers": [{"name": "c", "image": "i:1",
            "resources": {"limits": {"cpu": "1"}}, "readinessProbe": {"httpGet": {"port": 80}}}]}});
        pod(&mut pod_object);
        let container = &pod_object["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        assert_eq!(container["resources"]["requests"]["cpu"], "1");
        assert_eq!(
            container["readinessProbe"]["httpGet"],
            json!({"port": 80, "path": "/", "scheme": "HTTP"})
        );
        assert_eq!(pod_object["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
        let once = pod_object.clone();
        pod(&mut pod_object);
        assert_eq!(
            pod_object, once,
            "a client that fills defaults by dry run and compares would never converge"
        );
    }

    #[test]
    fn image_tags_choose_the_pull_policy() {
        for (image, latest) in
            [("a", true), ("a:latest", true), ("a:1", false), ("r:5000/a", true), ("a@sha256:0", false)]
        {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }
}
