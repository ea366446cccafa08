//! Fields of the built-in kinds that take one of a few words, as the published API lists them. Clients show them
//! (`kubectl explain`); what is refused is decided by the rules of each kind.

/// A type, its field and the words, sorted.
type Enumeration = (&'static str, &'static str, &'static [&'static str]);

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];
const NODE_OPERATORS: &[&str] = &["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"];
const PREEMPTION: &[&str] = &["Never", "PreemptLowerPriority"];
const POD_PHASES: &[&str] = &["Failed", "Pending", "Running", "Succeeded", "Unknown"];
const INCLUSION: &[&str] = &["Honor", "Ignore"];
const RECLAIM: &[&str] = &["Delete", "Recycle", "Retain"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const UPDATE_STRATEGIES: &[&str] = &["OnDelete", "RollingUpdate"];
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

/// Every enumeration.
pub(crate) const ENUMERATIONS: &[Enumeration] = &[
    ("core.v1.Container", "imagePullPolicy", &["Always", "IfNotPresent", "Never"]),
    ("core.v1.Container", "terminationMessagePolicy", &["FallbackToLogsOnError", "File"]),
    ("core.v1.ContainerPort", "protocol", PROTOCOLS),
    ("core.v1.EndpointPort", "protocol", PROTOCOLS),
    ("core.v1.HTTPGetAction", "scheme", &["HTTP", "HTTPS"]),
    ("core.v1.NamespaceStatus", "phase", &["Active", "Terminating"]),
    ("core.v1.NodeSelectorRequirement", "operator", NODE_OPERATORS),
    ("core.v1.PersistentVolumeClaimSpec", "volumeMode", VOLUME_MODES),
    ("core.v1.PersistentVolumeClaimStatus", "phase", &["Bound", "Lost", "Pending"]),
    ("core.v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy", RECLAIM),
    ("core.v1.PersistentVolumeSpec", "volumeMode", VOLUME_MODES),
    ("core.v1.PersistentVolumeStatus", "phase", &["Available", "Bound", "Failed", "Pending", "Released"]),
    ("core.v1.PodSpec", "dnsPolicy", &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
    ("core.v1.PodSpec", "preemptionPolicy", PREEMPTION),
    ("core.v1.PodSpec", "restartPolicy", &["Always", "Never", "OnFailure"]),
    ("core.v1.PodStatus", "phase", POD_PHASES),
    ("core.v1.PodStatus", "qosClass", &["BestEffort", "Burstable", "Guaranteed"]),
    ("core.v1.ServicePort", "protocol", PROTOCOLS),
    ("core.v1.ServiceSpec", "externalTrafficPolicy", &["Cluster", "Local"]),
    ("core.v1.ServiceSpec", "internalTrafficPolicy", &["Cluster", "Local"]),
    ("core.v1.ServiceSpec", "ipFamilyPolicy", &["PreferDualStack", "RequireDualStack", "SingleStack"]),
    ("core.v1.ServiceSpec", "sessionAffinity", &["ClientIP", "None"]),
    ("core.v1.ServiceSpec", "type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    ("core.v1.Taint", "effect", TAINT_EFFECTS),
    ("core.v1.Toleration", "effect", TAINT_EFFECTS),
    ("core.v1.TopologySpreadConstraint", "nodeAffinityPolicy", INCLUSION),
    ("core.v1.TopologySpreadConstraint", "nodeTaintsPolicy", INCLUSION),
    ("core.v1.TopologySpreadConstraint", "whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"]),
    ("apps.v1.DaemonSetUpdateStrategy", "type", UPDATE_STRATEGIES),
    ("apps.v1.DeploymentStrategy", "type", &["Recreate", "RollingUpdate"]),
    ("apps.v1.StatefulSetSpec", "podManagementPolicy", &["OrderedReady", "Parallel"]),
    ("apps.v1.StatefulSetUpdateStrategy", "type", UPDATE_STRATEGIES),
    ("batch.v1.CronJobSpec", "concurrencyPolicy", &["Allow", "Forbid", "Replace"]),
    ("batch.v1.JobSpec", "completionMode", &["Indexed", "NonIndexed"]),
    ("batch.v1.JobSpec", "podReplacementPolicy", &["Failed", "TerminatingOrFailed"]),
    ("discovery.v1.EndpointSlice", "addressType", &["FQDN", "IPv4", "IPv6"]),
    ("networking.v1.HTTPIngressPath", "pathType", &["Exact", "ImplementationSpecific", "Prefix"]),
    ("networking.v1.NetworkPolicyPort", "protocol", PROTOCOLS),
    ("policy.v1.PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"]),
    ("scheduling.v1.PriorityClass", "preemptionPolicy", PREEMPTION),
    ("storage.v1.StorageClass", "reclaimPolicy", RECLAIM),
    ("storage.v1.StorageClass", "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"]),
    ("admissionregistration.v1.MutatingWebhook", "failurePolicy", FAILURE_POLICIES),
    ("admissionregistration.v1.MutatingWebhook", "matchPolicy", MATCH_POLICIES),
    ("admissionregistration.v1.MutatingWebhook", "reinvocationPolicy", &["IfNeeded", "Never"]),
    ("admissionregistration.v1.MutatingWebhook", "sideEffects", SIDE_EFFECTS),
    ("admissionregistration.v1.RuleWithOperations", "scope", &["*", "Cluster", "Namespaced"]),
    ("admissionregistration.v1.ValidatingWebhook", "failurePolicy", FAILURE_POLICIES),
    ("admissionregistration.v1.ValidatingWebhook", "matchPolicy", MATCH_POLICIES),
    ("admissionregistration.v1.ValidatingWebhook", "sideEffects", SIDE_EFFECTS),
];

#[cfg(test)]
mod tests {
    use super::ENUMERATIONS;
    use crate::schema::builtin::{definition, full_name};

    #[test]
    fn every_enumeration_is_of_a_field_that_exists() {
        for (of, field, words) in ENUMERATIONS {
            let schema = definition(&full_name(of)).unwrap_or_else(|| panic!("no type {of}"));
            assert!(schema.properties.contains_key(*field), "no {of}.{field}");
            assert!(words.is_sorted(), "{of}.{field}");
        }
    }
}
