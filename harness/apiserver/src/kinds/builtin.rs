//! The table of built-in kinds: a new kind is a row.

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admissionregistration, apps::v1 as apps,
        authentication::v1 as authentication, authorization::v1 as authorization,
        autoscaling::v1 as autoscaling_v1, autoscaling::v2 as autoscaling, batch::v1 as batch,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
        networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling,
        storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1 as meta,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
    schemars::SchemaGenerator,
};
use serde_json::Value;

use super::{
    columns::{self, BuiltinColumns},
    defaults::{self, events as event_conversion},
    names::NameRule,
    rules,
};
use crate::status::FieldError;

/// When `metadata.generation` rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// The kind has none.
    None,
    /// Always 1.
    Fixed,
    Spec,
    SpecOrAnnotations,
    /// Anything but metadata and status.
    Content,
}

/// Checks a new object, and against the old one for an update.
pub(crate) type Validate = fn(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>);

/// A built-in kind in one version.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    /// `group.version.Name` of its schema.
    pub(crate) definition: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) scale: bool,
    pub(crate) names: NameRule,
    pub(crate) generation: Generation,
    /// Fills in what the real server fills in, on every write.
    pub(crate) complete: fn(&mut Value),
    pub(crate) validate: Validate,
    /// Fields by which lists may be selected, besides name and namespace.
    pub(crate) fields: &'static [&'static str],
    pub(crate) columns: &'static BuiltinColumns,
    /// PUT of an absent object creates it.
    pub(crate) create_on_update: bool,
    /// Deletion waits for whoever runs the object to confirm it with a grace period of zero.
    pub(crate) graceful: bool,
    /// Nobody writes its objects.
    pub(crate) read_only: bool,
    pub(crate) shelf: Option<&'static str>,
    pub(crate) from_storage: Option<fn(&mut Value)>,
    pub(crate) to_storage: Option<fn(&mut Value)>,
}

impl Row {
    pub(crate) fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    const fn category(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn status(mut self) -> Self {
        self.status = true;
        self
    }

    const fn scale(mut self) -> Self {
        self.scale = true;
        self
    }

    const fn names(mut self, rule: NameRule) -> Self {
        self.names = rule;
        self
    }

    const fn generation(mut self, rule: Generation) -> Self {
        self.generation = rule;
        self
    }

    const fn complete(mut self, complete: fn(&mut Value)) -> Self {
        self.complete = complete;
        self
    }

    const fn validate(mut self, validate: Validate) -> Self {
        self.validate = validate;
        self
    }

    const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    const fn columns(mut self, columns: &'static BuiltinColumns) -> Self {
        self.columns = columns;
        self
    }
}

const fn row(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    definition: &'static str,
) -> Row {
    Row {
        group,
        version,
        plural,
        kind,
        definition,
        short_names: &[],
        categories: &[],
        namespaced: true,
        status: false,
        scale: false,
        names: NameRule::Subdomain,
        generation: Generation::None,
        complete: defaults::nothing,
        validate: rules::nothing,
        fields: &[],
        columns: &columns::NAME_AND_AGE,
        create_on_update: false,
        graceful: false,
        read_only: false,
        shelf: None,
        from_storage: None,
        to_storage: None,
    }
}

/// Fields of events that `kubectl describe` selects by.
const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// Every built-in kind; of several versions of one kind the preferred comes first.
pub(crate) const ROWS: &[Row] = &[
    Row {
        read_only: true,
        ..row("", "v1", "componentstatuses", "ComponentStatus", "core.v1.ComponentStatus")
    }
    .short(&["cs"])
    .cluster()
    .columns(&columns::COMPONENT_STATUS),
    row("", "v1", "configmaps", "ConfigMap", "core.v1.ConfigMap")
        .short(&["cm"])
        .columns(&columns::CONFIG_MAP)
        .validate(rules::config::config_map),
    Row { create_on_update: true, ..row("", "v1", "endpoints", "Endpoints", "core.v1.Endpoints") }
        .short(&["ep"])
        .complete(defaults::network::endpoints)
        .validate(rules::network::endpoints)
        .columns(&columns::ENDPOINTS),
    Row { create_on_update: true, ..row("", "v1", "events", "Event", "core.v1.Event") }
        .short(&["ev"])
        .fields(EVENT_FIELDS)
        .complete(event_conversion::complete)
        .validate(rules::config::event)
        .columns(&columns::EVENT),
    row("", "v1", "limitranges", "LimitRange", "core.v1.LimitRange")
        .short(&["limits"])
        .complete(defaults::config::limit_range)
        .validate(rules::limits::limit_range)
        .columns(&columns::CREATED_AT),
    row("", "v1", "namespaces", "Namespace", "core.v1.Namespace")
        .short(&["ns"])
        .cluster()
        .status()
        .names(NameRule::Label)
        .fields(&["status.phase"])
        .complete(defaults::config::namespace)
        .columns(&columns::NAMESPACE),
    row("", "v1", "nodes", "Node", "core.v1.Node")
        .short(&["no"])
        .cluster()
        .status()
        .fields(&["spec.unschedulable"])
        .complete(defaults::config::node)
        .columns(&columns::NODE),
    row("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "core.v1.PersistentVolumeClaim")
        .short(&["pvc"])
        .status()
        .complete(defaults::config::persistent_volume_claim)
        .validate(rules::storage::persistent_volume_claim)
        .columns(&columns::PERSISTENT_VOLUME_CLAIM),
    row("", "v1", "persistentvolumes", "PersistentVolume", "core.v1.PersistentVolume")
        .short(&["pv"])
        .cluster()
        .status()
        .complete(defaults::config::persistent_volume)
        .validate(rules::storage::persistent_volume)
        .columns(&columns::PERSISTENT_VOLUME),
    Row { graceful: true, ..row("", "v1", "pods", "Pod", "core.v1.Pod") }
        .short(&["po"])
        .all()
        .status()
        .generation(Generation::Spec)
        .fields(&[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ])
        .complete(defaults::pod::pod)
        .validate(rules::pod::pod)
        .columns(&columns::POD),
    row("", "v1", "podtemplates", "PodTemplate", "core.v1.PodTemplate"),
    row("", "v1", "replicationcontrollers", "ReplicationController", "core.v1.ReplicationController")
        .short(&["rc"])
        .all()
        .status()
        .scale()
        .fields(&["status.replicas"]),
    row("", "v1", "resourcequotas", "ResourceQuota", "core.v1.ResourceQuota")
        .short(&["quota"])
        .status()
        .validate(rules::limits::resource_quota)
        .columns(&columns::RESOURCE_QUOTA),
    row("", "v1", "secrets", "Secret", "core.v1.Secret")
        .fields(&["type"])
        .complete(defaults::config::secret)
        .validate(rules::config::secret)
        .columns(&columns::SECRET),
    row("", "v1", "serviceaccounts", "ServiceAccount", "core.v1.ServiceAccount").short(&["sa"]),
    row("", "v1", "services", "Service", "core.v1.Service")
        .short(&["svc"])
        .all()
        .status()
        .names(NameRule::Label)
        .fields(&["spec.clusterIP", "spec.type"])
        .complete(defaults::network::service)
        .validate(rules::service::service)
        .columns(&columns::SERVICE),
    row("apps", "v1", "controllerrevisions", "ControllerRevision", "apps.v1.ControllerRevision")
        .columns(&columns::CONTROLLER_REVISION),
    row("apps", "v1", "daemonsets", "DaemonSet", "apps.v1.DaemonSet")
        .short(&["ds"])
        .all()
        .status()
        .generation(Generation::SpecOrAnnotations)
        .complete(defaults::workload::daemon_set)
        .validate(rules::workload::workload)
        .columns(&columns::DAEMON_SET),
    row("apps", "v1", "deployments", "Deployment", "apps.v1.Deployment")
        .short(&["deploy"])
        .all()
        .status()
        .scale()
        .generation(Generation::SpecOrAnnotations)
        .complete(defaults::workload::deployment)
        .validate(rules::workload::workload)
        .columns(&columns::DEPLOYMENT),
    row("apps", "v1", "replicasets", "ReplicaSet", "apps.v1.ReplicaSet")
        .short(&["rs"])
        .all()
        .status()
        .scale()
        .generation(Generation::Spec)
        .fields(&["status.replicas"])
        .complete(defaults::workload::replica_set)
        .validate(rules::workload::workload)
        .columns(&columns::REPLICA_SET),
    row("apps", "v1", "statefulsets", "StatefulSet", "apps.v1.StatefulSet")
        .short(&["sts"])
        .names(NameRule::Label)
        .all()
        .status()
        .scale()
        .generation(Generation::SpecOrAnnotations)
        .complete(defaults::workload::stateful_set)
        .validate(rules::workload::workload)
        .columns(&columns::STATEFUL_SET),
    row(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "autoscaling.v2.HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .all()
    .status()
    .complete(defaults::autoscaling::horizontal_pod_autoscaler)
    .validate(rules::autoscaling::horizontal_pod_autoscaler)
    .columns(&columns::HORIZONTAL_POD_AUTOSCALER),
    Row {
        from_storage: Some(defaults::autoscaling_v1::from_v2),
        to_storage: Some(defaults::autoscaling_v1::to_v2),
        ..row(
            "autoscaling",
            "v1",
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            "autoscaling.v1.HorizontalPodAutoscaler",
        )
    }
    .short(&["hpa"])
    .all()
    .status()
    .complete(defaults::autoscaling_v1::complete)
    .validate(rules::autoscaling::horizontal_pod_autoscaler_v1)
    .columns(&columns::HORIZONTAL_POD_AUTOSCALER_V1),
    row("batch", "v1", "cronjobs", "CronJob", "batch.v1.CronJob")
        .short(&["cj"])
        .all()
        .status()
        .generation(Generation::Spec)
        .complete(defaults::workload::cron_job)
        .validate(rules::schedule::cron_job)
        .columns(&columns::CRON_JOB),
    row("batch", "v1", "jobs", "Job", "batch.v1.Job")
        .all()
        .status()
        .generation(Generation::Spec)
        .fields(&["status.successful"])
        .complete(defaults::workload::job)
        .validate(rules::job::job)
        .columns(&columns::JOB),
    Row {
        create_on_update: true,
        ..row("coordination.k8s.io", "v1", "leases", "Lease", "coordination.v1.Lease")
    }
    .validate(rules::limits::lease)
    .columns(&columns::LEASE),
    row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "discovery.v1.EndpointSlice")
        .generation(Generation::Content)
        .complete(defaults::network::endpoint_slice)
        .validate(rules::network::endpoint_slice)
        .columns(&columns::ENDPOINT_SLICE),
    Row {
        read_only: true,
        ..row("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", "metrics.v1beta1.NodeMetrics")
    }
    .cluster()
    .columns(&columns::NODE_METRICS),
    Row {
        read_only: true,
        ..row("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", "metrics.v1beta1.PodMetrics")
    }
    .columns(&columns::POD_METRICS),
    Row {
        create_on_update: true,
        shelf: Some("/events"),
        from_storage: Some(event_conversion::from_core),
        to_storage: Some(event_conversion::to_core),
        ..row("events.k8s.io", "v1", "events", "Event", "events.v1.Event")
    }
    .short(&["ev"])
    .fields(&[
        "reason",
        "reportingController",
        "type",
        "regarding.name",
        "regarding.namespace",
        "regarding.kind",
    ])
    .columns(&columns::EVENT_V1),
    row("networking.k8s.io", "v1", "ingressclasses", "IngressClass", "networking.v1.IngressClass")
        .cluster()
        .generation(Generation::Spec)
        .validate(rules::network_policy::ingress_class),
    row("networking.k8s.io", "v1", "ingresses", "Ingress", "networking.v1.Ingress")
        .short(&["ing"])
        .status()
        .generation(Generation::Spec)
        .complete(defaults::network::ingress)
        .validate(rules::ingress::ingress)
        .columns(&columns::INGRESS),
    row("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "networking.v1.NetworkPolicy")
        .short(&["netpol"])
        .generation(Generation::Spec)
        .complete(defaults::network::network_policy)
        .validate(rules::network_policy::network_policy)
        .columns(&columns::NETWORK_POLICY),
    row("networking.k8s.io", "v1", "ipaddresses", "IPAddress", "networking.v1.IPAddress")
        .short(&["ip"])
        .cluster()
        .validate(rules::network::ip_address)
        .columns(&columns::IP_ADDRESS),
    row("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", "networking.v1.ServiceCIDR")
        .cluster()
        .status()
        .validate(rules::network::service_cidr)
        .columns(&columns::SERVICE_CIDR),
    row("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "policy.v1.PodDisruptionBudget")
        .short(&["pdb"])
        .status()
        .generation(Generation::Spec)
        .complete(defaults::config::pod_disruption_budget)
        .validate(rules::limits::pod_disruption_budget)
        .columns(&columns::POD_DISRUPTION_BUDGET),
    row(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        "rbac.v1.ClusterRoleBinding",
    )
    .cluster()
    .names(NameRule::PathSegment)
    .complete(defaults::config::role_binding)
    .validate(rules::access::cluster_role_binding)
    .columns(&columns::CLUSTER_ROLE_BINDING),
    row("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "rbac.v1.ClusterRole")
        .cluster()
        .names(NameRule::PathSegment)
        .validate(rules::access::cluster_role)
        .columns(&columns::CREATED_AT),
    row("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "rbac.v1.RoleBinding")
        .names(NameRule::PathSegment)
        .complete(defaults::config::role_binding)
        .validate(rules::access::role_binding)
        .columns(&columns::ROLE_BINDING),
    row("rbac.authorization.k8s.io", "v1", "roles", "Role", "rbac.v1.Role")
        .names(NameRule::PathSegment)
        .validate(rules::access::role)
        .columns(&columns::CREATED_AT),
    row(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        "admissionregistration.v1.MutatingWebhookConfiguration",
    )
    .cluster()
    .category(&["api-extensions"])
    .generation(Generation::Content)
    .complete(defaults::config::mutating_webhooks)
    .validate(rules::webhook::mutating)
    .columns(&columns::WEBHOOKS),
    row(
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "admissionregistration.v1.ValidatingWebhookConfiguration",
    )
    .cluster()
    .category(&["api-extensions"])
    .generation(Generation::Content)
    .complete(defaults::config::validating_webhooks)
    .validate(rules::webhook::validating)
    .columns(&columns::WEBHOOKS),
    row(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        "admissionregistration.v1.ValidatingAdmissionPolicy",
    )
    .cluster()
    .status()
    .category(&["api-extensions"])
    .generation(Generation::Spec)
    .complete(defaults::config::admission_policy)
    .validate(rules::webhook::policy)
    .columns(&columns::ADMISSION_POLICY),
    row(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    )
    .cluster()
    .category(&["api-extensions"])
    .generation(Generation::Spec)
    .complete(defaults::config::admission_policy_binding)
    .validate(rules::webhook::policy_binding)
    .columns(&columns::ADMISSION_POLICY_BINDING),
    row("apiregistration.k8s.io", "v1", "apiservices", "APIService", "apiregistration.v1.APIService")
        .cluster()
        .status()
        .category(&["api-extensions"])
        .complete(defaults::config::api_service)
        .validate(rules::config::api_service)
        .columns(&columns::API_SERVICE),
    row("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "scheduling.v1.PriorityClass")
        .short(&["pc"])
        .cluster()
        .generation(Generation::Fixed)
        .complete(defaults::config::priority_class)
        .validate(rules::config::priority_class)
        .columns(&columns::PRIORITY_CLASS),
    row("storage.k8s.io", "v1", "csidrivers", "CSIDriver", "storage.v1.CSIDriver").cluster(),
    row("storage.k8s.io", "v1", "csinodes", "CSINode", "storage.v1.CSINode").cluster(),
    row(
        "storage.k8s.io",
        "v1",
        "csistoragecapacities",
        "CSIStorageCapacity",
        "storage.v1.CSIStorageCapacity",
    ),
    row("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "storage.v1.VolumeAttachment")
        .cluster()
        .status(),
    row(
        "storage.k8s.io",
        "v1",
        "volumeattributesclasses",
        "VolumeAttributesClass",
        "storage.v1.VolumeAttributesClass",
    )
    .short(&["vac"])
    .cluster(),
    row("storage.k8s.io", "v1", "storageclasses", "StorageClass", "storage.v1.StorageClass")
        .short(&["sc"])
        .cluster()
        .complete(defaults::config::storage_class)
        .validate(rules::storage::storage_class)
        .columns(&columns::STORAGE_CLASS),
    row(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.v1.CustomResourceDefinition",
    )
    .short(&["crd", "crds"])
    .category(&["api-extensions"])
    .cluster()
    .status()
    .generation(Generation::Spec)
    .complete(defaults::config::custom_resource_definition)
    .validate(rules::definition::custom_resource_definition)
    .columns(&columns::CREATED_AT),
];

/// Makes the schema generator know every type of the table.
pub(crate) fn register_types(generator: &mut SchemaGenerator) {
    macro_rules! register {
        ($($kind:ty),* $(,)?) => { $(generator.subschema_for::<$kind>();)* };
    }
    register!(
        core::ComponentStatus,
        core::ConfigMap,
        core::Endpoints,
        core::Event,
        core::LimitRange,
        core::Namespace,
        core::Node,
        core::PersistentVolume,
        core::PersistentVolumeClaim,
        core::Pod,
        core::PodTemplate,
        core::ReplicationController,
        core::ResourceQuota,
        core::Secret,
        core::ServiceAccount,
        core::Service,
        apps::ControllerRevision,
        apps::DaemonSet,
        apps::Deployment,
        apps::ReplicaSet,
        apps::StatefulSet,
        autoscaling::HorizontalPodAutoscaler,
        authentication::SelfSubjectReview,
        authentication::TokenRequest,
        authorization::SelfSubjectAccessReview,
        authorization::SelfSubjectRulesReview,
        autoscaling_v1::HorizontalPodAutoscaler,
        autoscaling_v1::Scale,
        batch::CronJob,
        batch::Job,
        coordination::Lease,
        discovery::EndpointSlice,
        events::Event,
        networking::Ingress,
        networking::IngressClass,
        networking::IPAddress,
        networking::NetworkPolicy,
        networking::ServiceCIDR,
        policy::Eviction,
        policy::PodDisruptionBudget,
        rbac::ClusterRole,
        rbac::ClusterRoleBinding,
        rbac::Role,
        rbac::RoleBinding,
        scheduling::PriorityClass,
        storage::CSIDriver,
        storage::CSINode,
        storage::CSIStorageCapacity,
        storage::StorageClass,
        storage::VolumeAttachment,
        storage::VolumeAttributesClass,
        admissionregistration::MutatingWebhookConfiguration,
        admissionregistration::ValidatingWebhookConfiguration,
        admissionregistration::ValidatingAdmissionPolicy,
        admissionregistration::ValidatingAdmissionPolicyBinding,
        apiextensions::CustomResourceDefinition,
        apiregistration::APIService,
        meta::DeleteOptions,
        meta::Status,
    );
}
