//! The control plane as manifests for a cluster: what an administrator applies once, so that the controllers need no
//! more than their own permissions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResourceExt as _, Resource};
use serde::Serialize;
use serde_json::{Value, json};
use windtunnel_api::kserve::config::CONFIG_NAMESPACE;
use windtunnel_api::kserve::{InferenceService, KserveConfig};
use windtunnel_api::{crds, runtimes};

use super::webhooks::{self, WebhookAddress};
use super::{
    KNATIVE_NAMESPACE, LOCAL_GATEWAY, config_maps, gateway, gateway_class, ingress_class, namespace, ours,
    rbac,
};

/// Ports of the controllers' pods.
pub mod ports {
    /// Metrics.
    pub const METRICS: u16 = 8080;
    /// Probes.
    pub const HEALTH: u16 = 8081;
    /// The gateway.
    pub const GATEWAY: u16 = 8082;
    /// Webhooks.
    pub const WEBHOOKS: u16 = 9443;
}

/// Label and value of the controllers' pods, as upstream has them.
const PODS: (&str, &str) = ("control-plane", rbac::SERVICE_ACCOUNT);
/// Name of the Service in front of the gateway.
const GATEWAY_SERVICE: &str = "windtunnel-gateway";

/// How the controllers are deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Their namespace.
    pub namespace: String,
    /// Their image, whose entrypoint is the `windtunnel` binary.
    pub image: String,
    /// How many there are; one leads.
    pub replicas: u16,
    /// End of every host name, for the first configuration.
    pub domain: String,
    /// Whether the gateway runs beside the controllers. Its requests are counted by the one that serves them, so there
    /// can be one replica only.
    pub gateway: bool,
    /// Further arguments of `windtunnel serve controller`.
    pub arguments: Vec<String>,
}

/// The definitions: those of KServe, and with `all` those of Knative, KEDA and the Gateway API, for clusters that have
/// none of others.
#[must_use]
pub fn definitions(all: bool) -> Vec<Value> {
    let own = InferenceService::crd().spec.group;
    crds().into_iter().filter(|crd| all || crd.spec.group == own).map(|crd| value(&ours(crd))).collect()
}

/// The controllers with all that they need: namespaces, permissions, configuration, Services, the Deployment, and the
/// webhook configurations last. The controllers themselves write the authority into those that callers must trust.
#[must_use]
pub fn controllers(deployed: &Deployed) -> Vec<Value> {
    let jobs = KserveConfig::default().local_model.job_namespace;
    let mut namespaces = vec![CONFIG_NAMESPACE, KNATIVE_NAMESPACE, &jobs];
    if !namespaces.contains(&deployed.namespace.as_str()) {
        namespaces.push(&deployed.namespace);
    }
    let mut all: Vec<Value> = namespaces.into_iter().map(|name| value(&namespace(name))).collect();
    let parts = rbac::Parts { election: true, webhooks: true };
    all.extend(access(&rbac::controllers(&deployed.namespace, parts)));
    all.extend(config_maps(&deployed.domain).iter().map(value));
    all.push(value(&webhooks::service(&deployed.namespace)));
    all.push(service(deployed, "windtunnel-metrics", "metrics", u64::from(ports::METRICS)));
    if deployed.gateway {
        all.push(service(deployed, GATEWAY_SERVICE, "gateway", 80));
    }
    all.push(deployment(deployed));
    if deployed.replicas > 1 {
        all.push(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": rbac::SERVICE_ACCOUNT, "namespace": deployed.namespace},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {PODS.0: PODS.1}}},
        }));
    }
    let address = WebhookAddress::Service { namespace: deployed.namespace.clone() };
    all.extend(webhooks::validating(&address, "").iter().map(value));
    all.push(value(&webhooks::mutating(&address, "")));
    all
}

/// The agent of nodes that keep models: a DaemonSet on the nodes with upstream's label, whose models lie in `folder`.
#[must_use]
pub fn local_model_agent(deployed: &Deployed, folder: &str) -> Vec<Value> {
    let jobs = KserveConfig::default().local_model.job_namespace;
    let mut all = access(&rbac::agent(&deployed.namespace, &jobs));
    let labels = json!({PODS.0: rbac::AGENT});
    all.push(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": rbac::AGENT, "namespace": deployed.namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": rbac::AGENT,
                    "nodeSelector": {"kserve/localmodel": "worker"},
                    "containers": [{
                        "name": "manager",
                        "image": deployed.image,
                        "args": ["serve", "local-model-agent"],
                        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                        "volumeMounts": [{"name": "models", "mountPath": "/mnt/models"}],
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "64Mi"},
                            "limits": {"memory": "256Mi"},
                        },
                    }],
                    "volumes": [{"name": "models", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
                },
            },
        },
    }));
    all
}

fn access(access: &rbac::Access) -> Vec<Value> {
    let mut all = vec![value(&access.account), value(&access.cluster_role), value(&access.cluster_binding)];
    all.extend(access.roles.iter().map(value));
    all.extend(access.bindings.iter().map(value));
    all
}

/// What the webhooks must review: runtimes and storage containers; and where `all` definitions are there, the Gateway, the class of
/// Ingresses, and the name of the gateway inside the cluster, which leads to that of controllers in `namespace`.
#[must_use]
pub fn resources(all: bool, namespace: &str) -> Vec<Value> {
    let mut resources: Vec<Value> = runtimes::shipped().iter().map(value).collect();
    resources.push(value(&runtimes::storage_container()));
    if all {
        resources.push(value(&gateway_class()));
        resources.push(value(&ingress_class()));
        resources.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": LOCAL_GATEWAY, "namespace": KNATIVE_NAMESPACE},
            "spec": {
                "type": "ExternalName",
                "externalName": format!("{GATEWAY_SERVICE}.{namespace}.svc.cluster.local"),
            },
        }));
        let mut gateway = gateway();
        gateway.metadata.namespace = Some(CONFIG_NAMESPACE.to_owned());
        resources.push(value(&gateway));
    }
    resources
}

/// An object as a manifest, without the fields that are empty.
fn value<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("apiVersion".to_owned(), K::api_version(&()).into());
        fields.insert("kind".to_owned(), K::kind(&()).into());
        fields.shift_remove("status");
        // In the order in which people read them.
        let rest: Vec<String> =
            fields.keys().filter(|key| *key != "apiVersion" && *key != "kind").cloned().collect();
        for key in rest {
            if let Some(field) = fields.shift_remove(&key) {
                fields.insert(key, field);
            }
        }
    }
    value
}

fn service(deployed: &Deployed, name: &str, port_name: &str, port: u64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": deployed.namespace, "labels": {PODS.0: PODS.1}},
        "spec": {
            "selector": {PODS.0: PODS.1},
            "ports": [{"name": port_name, "port": port, "targetPort": port_name}],
        },
    })
}

fn deployment(deployed: &Deployed) -> Value {
    let mut arguments: Vec<String> = ["serve", "controller", "--leader-elect"].map(str::to_owned).to_vec();
    let mut named = vec![
        ("metrics", "--metrics-address", ports::METRICS),
        ("health", "--health-address", ports::HEALTH),
        ("webhook-server", "--webhook-address", ports::WEBHOOKS),
    ];
    if deployed.gateway {
        named.push(("gateway", "--gateway-address", ports::GATEWAY));
    }
    arguments.push(format!("--namespace={}", deployed.namespace));
    arguments.extend(named.iter().map(|(_, flag, port)| format!("{flag}=0.0.0.0:{port}")));
    arguments.extend(deployed.arguments.iter().cloned());
    let ports: Vec<Value> =
        named.iter().map(|(name, _, port)| json!({"name": name, "containerPort": port})).collect();
    let probe = |path: &str, period: u8| json!({"httpGet": {"path": path, "port": "health"}, "periodSeconds": period});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": ObjectMeta {
            name: Some(rbac::SERVICE_ACCOUNT.to_owned()),
            namespace: Some(deployed.namespace.clone()),
            labels: Some([(PODS.0.to_owned(), PODS.1.to_owned())].into()),
            ..ObjectMeta::default()
        },
        "spec": {
            "replicas": deployed.replicas,
            "selector": {"matchLabels": {PODS.0: PODS.1}},
            "template": {
                "metadata": {"labels": {PODS.0: PODS.1}},
                "spec": {
                    "serviceAccountName": rbac::SERVICE_ACCOUNT,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {PODS.0: PODS.1}},
                    }],
                    "containers": [{
                        "name": "manager",
                        "image": deployed.image,
                        "args": arguments,
                        "ports": ports,
                        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "livenessProbe": probe("/healthz", 10),
                        "readinessProbe": probe("/readyz", 2),
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    })
}
