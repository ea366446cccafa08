//! What the published schemas of the built-in types leave out: list types, merge keys, and which optional
//! fields are plain Go values (their zero is not written) rather than pointers.

/// Merge rules of one list field.
pub(crate) struct ListRule {
    /// Type, `group.version.Name`.
    pub(crate) of: &'static str,
    pub(crate) field: &'static str,
    /// Keys of server-side apply; empty and not a set means atomic.
    pub(crate) keys: &'static [&'static str],
    pub(crate) set: bool,
    /// Key of a strategic merge patch, `=` for a list of scalars that is merged.
    pub(crate) merge: &'static str,
}

const fn map(
    of: &'static str,
    field: &'static str,
    keys: &'static [&'static str],
    merge: &'static str,
) -> ListRule {
    ListRule { of, field, keys, set: false, merge }
}

const fn set(of: &'static str, field: &'static str, merge: &'static str) -> ListRule {
    ListRule { of, field, keys: &[], set: true, merge }
}

const fn merged(of: &'static str, field: &'static str, merge: &'static str) -> ListRule {
    ListRule { of, field, keys: &[], set: false, merge }
}

/// Every list of the built-in types that is not simply replaced.
pub(crate) const LISTS: &[ListRule] = &[
    set("meta.v1.ObjectMeta", "finalizers", "="),
    map("meta.v1.ObjectMeta", "ownerReferences", &["uid"], "uid"),
    map("core.v1.PodSpec", "containers", &["name"], "name"),
    map("core.v1.PodSpec", "initContainers", &["name"], "name"),
    map("core.v1.PodSpec", "ephemeralContainers", &["name"], "name"),
    map("core.v1.PodSpec", "volumes", &["name"], "name"),
    map("core.v1.PodSpec", "hostAliases", &["ip"], "ip"),
    map("core.v1.PodSpec", "imagePullSecrets", &["name"], "name"),
    map("core.v1.PodSpec", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"], "topologyKey"),
    map("core.v1.PodSpec", "resourceClaims", &["name"], "name"),
    map("core.v1.PodSpec", "schedulingGates", &["name"], "name"),
    map("core.v1.Container", "ports", &["containerPort", "protocol"], "containerPort"),
    map("core.v1.Container", "env", &["name"], "name"),
    map("core.v1.Container", "volumeMounts", &["mountPath"], "mountPath"),
    map("core.v1.Container", "volumeDevices", &["devicePath"], "devicePath"),
    map("core.v1.EphemeralContainer", "ports", &["containerPort", "protocol"], "containerPort"),
    map("core.v1.EphemeralContainer", "env", &["name"], "name"),
    map("core.v1.EphemeralContainer", "volumeMounts", &["mountPath"], "mountPath"),
    map("core.v1.EphemeralContainer", "volumeDevices", &["devicePath"], "devicePath"),
    map("core.v1.ResourceRequirements", "claims", &["name"], ""),
    map("core.v1.PodStatus", "conditions", &["type"], "type"),
    map("core.v1.PodStatus", "podIPs", &["ip"], "ip"),
    merged("core.v1.PodStatus", "hostIPs", "ip"),
    merged("core.v1.ProjectedVolumeSource", "sources", ""),
    map("core.v1.ServiceSpec", "ports", &["port", "protocol"], "port"),
    map("core.v1.ServiceStatus", "conditions", &["type"], "type"),
    map("core.v1.NodeStatus", "conditions", &["type"], "type"),
    map("core.v1.NodeStatus", "addresses", &["type"], "type"),
    set("core.v1.NodeSpec", "podCIDRs", "="),
    map("core.v1.NamespaceStatus", "conditions", &["type"], "type"),
    map("core.v1.ServiceAccount", "secrets", &["name"], "name"),
    map("core.v1.PersistentVolumeClaimStatus", "conditions", &["type"], "type"),
    map("core.v1.ReplicationControllerStatus", "conditions", &["type"], "type"),
    map("apps.v1.DeploymentStatus", "conditions", &["type"], "type"),
    map("apps.v1.ReplicaSetStatus", "conditions", &["type"], "type"),
    map("apps.v1.StatefulSetStatus", "conditions", &["type"], "type"),
    map("apps.v1.DaemonSetStatus", "conditions", &["type"], "type"),
    merged("batch.v1.JobStatus", "conditions", "type"),
    map("autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", &["type"], "type"),
    map("policy.v1.PodDisruptionBudgetStatus", "conditions", &["type"], "type"),
    set("discovery.v1.Endpoint", "addresses", ""),
    map("apiextensions.v1.CustomResourceDefinitionStatus", "conditions", &["type"], ""),
    map("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", &["name"], "name"),
    map("admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", &["name"], "name"),
];

/// Union types that a strategic merge patch replaces by `$retainKeys`.
pub(crate) const RETAIN_KEYS: &[(&str, &str)] = &[
    ("apps.v1.DeploymentSpec", "strategy"),
    ("core.v1.PodSpec", "volumes"),
    ("core.v1.PersistentVolumeClaim", "spec"),
];

/// Structs that one manager owns as a whole.
pub(crate) const ATOMIC_STRUCTS: &[&str] = &[
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.SecretKeySelector",
    "core.v1.ObjectFieldSelector",
    "core.v1.ResourceFieldSelector",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.TypedLocalObjectReference",
    "core.v1.ObjectReference",
    "core.v1.SecretReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.TopologySelectorTerm",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.ScopeSelector",
    "discovery.v1.EndpointPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Maps that one manager owns as a whole.
pub(crate) const ATOMIC_FIELDS: &[(&str, &str)] = &[
    ("core.v1.PodSpec", "nodeSelector"),
    ("core.v1.ServiceSpec", "selector"),
    ("core.v1.ReplicationControllerSpec", "selector"),
];

/// Optional numbers and flags that are plain Go values: their zero is not written.
pub(crate) const VALUE_FIELDS: &[(&str, &str)] = &[
    ("meta.v1.ObjectMeta", "generation"),
    ("meta.v1.ListMeta", "remainingItemCount"),
    ("core.v1.PodSpec", "hostNetwork"),
    ("core.v1.PodSpec", "hostPID"),
    ("core.v1.PodSpec", "hostIPC"),
    ("core.v1.PodStatus", "observedGeneration"),
    ("core.v1.PodCondition", "observedGeneration"),
    ("core.v1.Container", "stdin"),
    ("core.v1.Container", "stdinOnce"),
    ("core.v1.Container", "tty"),
    ("core.v1.ContainerPort", "hostPort"),
    ("core.v1.VolumeMount", "readOnly"),
    ("core.v1.Probe", "initialDelaySeconds"),
    ("core.v1.Probe", "timeoutSeconds"),
    ("core.v1.Probe", "periodSeconds"),
    ("core.v1.Probe", "successThreshold"),
    ("core.v1.Probe", "failureThreshold"),
    ("core.v1.ContainerStateTerminated", "signal"),
    ("core.v1.ServicePort", "nodePort"),
    ("core.v1.ServiceSpec", "publishNotReadyAddresses"),
    ("core.v1.ServiceSpec", "healthCheckNodePort"),
    ("core.v1.NodeSpec", "unschedulable"),
    ("core.v1.Event", "count"),
    ("core.v1.EventSeries", "count"),
    ("apps.v1.DeploymentSpec", "minReadySeconds"),
    ("apps.v1.DeploymentSpec", "paused"),
    ("apps.v1.DeploymentStatus", "observedGeneration"),
    ("apps.v1.DeploymentStatus", "replicas"),
    ("apps.v1.DeploymentStatus", "updatedReplicas"),
    ("apps.v1.DeploymentStatus", "readyReplicas"),
    ("apps.v1.DeploymentStatus", "availableReplicas"),
    ("apps.v1.DeploymentStatus", "unavailableReplicas"),
    ("apps.v1.ReplicaSetSpec", "minReadySeconds"),
    ("apps.v1.ReplicaSetStatus", "observedGeneration"),
    ("apps.v1.ReplicaSetStatus", "fullyLabeledReplicas"),
    ("apps.v1.ReplicaSetStatus", "readyReplicas"),
    ("apps.v1.ReplicaSetStatus", "availableReplicas"),
    ("apps.v1.StatefulSetSpec", "minReadySeconds"),
    ("apps.v1.StatefulSetStatus", "observedGeneration"),
    ("apps.v1.StatefulSetStatus", "readyReplicas"),
    ("apps.v1.StatefulSetStatus", "currentReplicas"),
    ("apps.v1.StatefulSetStatus", "updatedReplicas"),
    ("apps.v1.DaemonSetSpec", "minReadySeconds"),
    ("batch.v1.JobStatus", "active"),
    ("batch.v1.JobStatus", "succeeded"),
    ("batch.v1.JobStatus", "failed"),
    ("autoscaling.v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
    ("autoscaling.v1.ScaleSpec", "replicas"),
    ("scheduling.v1.PriorityClass", "globalDefault"),
    ("apiextensions.v1.CustomResourceDefinitionSpec", "preserveUnknownFields"),
    ("apiextensions.v1.CustomResourceDefinitionVersion", "deprecated"),
    ("apiextensions.v1.CustomResourceColumnDefinition", "priority"),
    ("apiextensions.v1.JSONSchemaProps", "nullable"),
    ("apiextensions.v1.JSONSchemaProps", "uniqueItems"),
    ("apiextensions.v1.JSONSchemaProps", "exclusiveMaximum"),
    ("apiextensions.v1.JSONSchemaProps", "exclusiveMinimum"),
    ("apiextensions.v1.JSONSchemaProps", "x-kubernetes-embedded-resource"),
    ("apiextensions.v1.JSONSchemaProps", "x-kubernetes-int-or-string"),
    ("meta.v1.Condition", "observedGeneration"),
];

/// Optional texts that are pointers: written even when empty.
pub(crate) const POINTER_TEXTS: &[&str] = &[
    "storageClassName",
    "volumeAttributesClassName",
    "ingressClassName",
    "runtimeClassName",
    "holderIdentity",
    "appProtocol",
    "hostname",
    "preemptionPolicy",
];
