//! What admission adds to a new pod: its service account and token, the tolerations of failing nodes, its priority.

use serde_json::{Value, json};

use super::write::{Write, suffix};
use crate::{
    object::{as_map, list, map_at, meta, text},
    status::ApiError,
    store::Key,
};

const PRIORITY_CLASSES: &str = "scheduling.k8s.io/priorityclasses";
/// Classes that every cluster has.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Write<'_, '_> {
    /// Service account and tolerations of a new pod.
    pub(super) fn admit_pod(&mut self, object: &mut Value) -> Result<(), ApiError> {
        let name = meta(object, "name").to_owned();
        let namespace = self.target.namespace.clone().unwrap_or_default();
        let random = (self.context.random)();
        let spec = map_at(as_map(object), "spec");
        crate::object::set_default(spec, "serviceAccountName", "default");
        let account = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().to_owned();
        spec.insert("serviceAccount".into(), account.as_str().into());
        let stored = self.state.store.get("/serviceaccounts", &Key::new(&namespace, &account));
        let Some(stored) = stored else {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            );
            return Err(ApiError::forbidden("", "pods", &name, &why));
        };
        let off = |value: Option<&Value>| value == Some(&Value::Bool(false));
        let automount = match spec.get("automountServiceAccountToken") {
            None | Some(Value::Null) => !off(stored.value.get("automountServiceAccountToken")),
            own => !off(own),
        };
        if list_is_empty(spec, "imagePullSecrets") {
            let secrets = list(&stored.value, &["imagePullSecrets"]);
            if !secrets.is_empty() {
                spec.insert("imagePullSecrets".into(), secrets.into());
            }
        }
        if automount && self.context.options.mount_service_account_tokens {
            mount_token(spec, &suffix(random));
        }
        let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(tolerations) = tolerations.as_array_mut() {
            for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                let tolerated = tolerations.iter().any(|toleration| {
                    let key = text(toleration, &["key"]);
                    let effect = text(toleration, &["effect"]);
                    (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
                });
                if !tolerated {
                    tolerations.push(
                        json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                    );
                }
            }
        }
        self.give_priority(object, &name)?;
        super::limits::apply(self, object)
    }

    /// Priority of a new pod, from its class or from the one that is the default of all.
    fn give_priority(&self, object: &mut Value, name: &str) -> Result<(), ApiError> {
        let class_name = text(object, &["spec", "priorityClassName"]).to_owned();
        let classes = || self.state.store.list(PRIORITY_CLASSES, None).map(|(_, class)| &class.value);
        let value_of = |class: &Value| class["value"].as_i64().unwrap_or_default();
        let class = if class_name.is_empty() {
            // Of several defaults the lowest counts.
            classes().filter(|class| class["globalDefault"] == true).min_by_key(|class| value_of(class))
        } else {
            classes().find(|class| meta(class, "name") == class_name)
        };
        let system = SYSTEM_CLASSES.iter().find(|(name, _)| *name == class_name).map(|(_, value)| *value);
        if class.is_none() && system.is_none() && !class_name.is_empty() {
            let why = format!("no PriorityClass with name {class_name} was found");
            return Err(ApiError::forbidden("", "pods", name, &why));
        }
        let priority = class.map(value_of).or(system).unwrap_or(0);
        let policy = class.map_or("", |class| text(class, &["preemptionPolicy"])).to_owned();
        let given_class = class.map(|class| meta(class, "name").to_owned());
        let spec = map_at(as_map(object), "spec");
        let given = spec.get("priority").and_then(Value::as_i64).unwrap_or(0);
        if given != 0 && given != priority {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
computed {priority} from the given PriorityClass name"
            );
            return Err(ApiError::forbidden("", "pods", name, &why));
        }
        spec.insert("priority".into(), priority.into());
        if let Some(class) = given_class {
            spec.insert("priorityClassName".into(), class.into());
        }
        if !policy.is_empty() {
            spec.insert("preemptionPolicy".into(), policy.into());
        }
        Ok(())
    }
}

fn list_is_empty(spec: &serde_json::Map<String, Value>, field: &str) -> bool {
    spec.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn mount_token(spec: &mut serde_json::Map<String, Value>, suffix: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{suffix}");
    let mut used = false;
    for containers in ["initContainers", "containers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            if list(container, &["volumeMounts"]).iter().any(|mount| text(mount, &["mountPath"]) == PATH) {
                continue;
            }
            let mounts = as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
            if let Some(mounts) = mounts.as_array_mut() {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                used = true;
            }
        }
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if used && let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
    }
}
