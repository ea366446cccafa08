//! What `kubectl get` prints: the columns of each kind and how a row's cells are read from an object.

mod cells;
mod system_cells;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{jsonpath::JsonPath, schema::Schema};

/// The columns of a kind.
#[derive(Debug)]
pub(crate) enum Columns {
    Builtin(&'static BuiltinColumns),
    /// From the definition; without any, the age is shown.
    Custom(Vec<CustomColumn>),
}

/// Columns and cells of a built-in kind. Name comes first and is not listed.
#[derive(Debug)]
pub(crate) struct BuiltinColumns {
    pub(crate) columns: &'static [Column],
    /// Whether the name is the first column; events print it last.
    pub(crate) name_first: bool,
    /// Cells of the columns, behind the name.
    pub(crate) cells: fn(&Value, Timestamp) -> Vec<Value>,
}

/// One column. A description that starts with `@` is that of the schema field at this path.
#[derive(Debug)]
pub(crate) struct Column {
    name: &'static str,
    kind: &'static str,
    description: &'static str,
    priority: i64,
}

/// An additional printer column of a custom kind.
#[derive(Debug)]
pub(crate) struct CustomColumn {
    pub(crate) name: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) format: Box<str>,
    pub(crate) description: Box<str>,
    pub(crate) priority: i64,
    /// The path as it is written in the definition.
    pub(crate) source: Box<str>,
    pub(crate) path: JsonPath,
}

impl Columns {
    /// `columnDefinitions` of a Table.
    pub(crate) fn definitions(&self, schema: &Schema) -> Vec<Value> {
        let field = |path: &str| {
            let keys: Vec<&str> = path.split('.').collect();
            schema.find(&keys).map(|found| found.description.to_string()).filter(|text| !text.is_empty())
        };
        let meta = |name: &str| {
            let meta = crate::schema::builtin::definition(crate::schema::builtin::OBJECT_META);
            meta.and_then(|meta| meta.properties.get(name))
                .map_or_else(String::new, |found| found.description.to_string())
        };
        let mut definitions = vec![
            json!({"name": "Name", "type": "string", "format": "name", "description": meta("name"), "priority": 0}),
        ];
        if matches!(self, Self::Builtin(BuiltinColumns { name_first: false, .. })) {
            definitions.clear();
        }
        match self {
            Self::Builtin(table) => definitions.extend(table.columns.iter().map(|column| {
                let description = match column.description.strip_prefix('@') {
                    Some(path) => match path.strip_prefix("metadata.") {
                        Some(name) => meta(name),
                        None => field(path).unwrap_or_default(),
                    },
                    None => column.description.to_owned(),
                };
                json!({"name": column.name, "type": column.kind, "format": "", "description": description,
                    "priority": column.priority})
            })),
            Self::Custom(columns) if columns.is_empty() => definitions.push(
                json!({"name": "Age", "type": "date", "format": "", "description": meta("creationTimestamp"),
                    "priority": 0}),
            ),
            Self::Custom(columns) => definitions.extend(columns.iter().map(|column| {
                let description = if column.description.is_empty() {
                    format!("Custom resource definition column (in JSONPath format): {}", column.source)
                } else {
                    column.description.to_string()
                };
                json!({"name": &*column.name, "type": &*column.kind, "format": &*column.format,
                    "description": description, "priority": column.priority})
            })),
        }
        definitions
    }

    /// The cells of one row.
    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut row = vec![Value::from(crate::object::meta(object, "name"))];
        match self {
            Self::Builtin(table) => {
                if !table.name_first {
                    row.clear();
                }
                row.extend((table.cells)(object, now));
            }
            Self::Custom(columns) if columns.is_empty() => {
                row.push(cells::age_of(crate::object::meta(object, "creationTimestamp"), now).into());
            }
            Self::Custom(columns) => row.extend(columns.iter().map(|column| column.cell(object, now))),
        }
        row
    }
}

impl CustomColumn {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(first) = found.first() else { return Value::Null };
        match &*self.kind {
            "integer" => first.as_i64().map_or(Value::Null, Value::from),
            "number" => first.as_f64().map_or(Value::Null, Value::from),
            "boolean" => first.as_bool().map_or(Value::Null, Value::from),
            "date" => match first.as_str() {
                Some(time) => cells::age_of(time, now).into(),
                None => Value::Null,
            },
            _ => {
                let texts: Vec<String> = found
                    .iter()
                    .map(|value| match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    })
                    .collect();
                texts.join(",").into()
            }
        }
    }
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, description, priority: 0 }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, description, priority: 1 }
}

const AGE: Column = column("Age", "string", "@metadata.creationTimestamp");
const CONTAINERS: Column = wide("Containers", "string", "Names of each container in the template.");
const IMAGES: Column = wide("Images", "string", "Images referenced by each container in the template.");

/// Kinds without columns of their own.
pub(crate) static NAME_AND_AGE: BuiltinColumns =
    BuiltinColumns { name_first: true, columns: &[AGE], cells: cells::age };

/// Kinds that the real server prints with their creation time.
pub(crate) static CREATED_AT: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Created At", "date", "@metadata.creationTimestamp")],
    cells: cells::created_at,
};

pub(crate) static ADMISSION_POLICY: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Validations", "integer", "How many validations the policy has"),
        column("ParamKind", "string", "The kind of the policy's parameters"),
        AGE,
    ],
    cells: system_cells::admission_policy,
};

pub(crate) static ADMISSION_POLICY_BINDING: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("PolicyName", "string", "The policy that is put in force"),
        column("ParamRef", "string", "The parameters that the policy gets"),
        AGE,
    ],
    cells: system_cells::admission_policy_binding,
};

pub(crate) static WEBHOOKS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column(
            "Webhooks",
            "integer",
            "Webhooks indicates the number of webhooks registered in this configuration",
        ),
        AGE,
    ],
    cells: cells::webhooks,
};

pub(crate) static CONFIG_MAP: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Data", "string", "@data"), AGE],
    cells: cells::config_map,
};

pub(crate) static SECRET: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Type", "string", "@type"), column("Data", "string", "@data"), AGE],
    cells: cells::secret,
};

pub(crate) static NAMESPACE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Status", "string", "The status of the namespace"), AGE],
    cells: cells::namespace,
};

pub(crate) static NODE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Status", "string", "The status of the node"),
        column("Roles", "string", "The roles of the node"),
        AGE,
        column("Version", "string", "@status.nodeInfo.kubeletVersion"),
        wide("Internal-IP", "string", "@status.addresses"),
        wide("External-IP", "string", "@status.addresses"),
        wide("OS-Image", "string", "@status.nodeInfo.osImage"),
        wide("Kernel-Version", "string", "@status.nodeInfo.kernelVersion"),
        wide("Container-Runtime", "string", "@status.nodeInfo.containerRuntimeVersion"),
    ],
    cells: cells::node,
};

pub(crate) static POD: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
        column("Status", "string", "The aggregate status of the containers in this pod."),
        column(
            "Restarts",
            "string",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        ),
        AGE,
        wide("IP", "string", "@status.podIP"),
        wide("Node", "string", "@spec.nodeName"),
        wide("Nominated Node", "string", "@status.nominatedNodeName"),
        wide("Readiness Gates", "string", "@spec.readinessGates"),
    ],
    cells: cells::pod,
};

pub(crate) static SERVICE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Type", "string", "@spec.type"),
        column("Cluster-IP", "string", "@spec.clusterIP"),
        column("External-IP", "string", "@spec.externalIPs"),
        column("Port(s)", "string", "@spec.ports"),
        AGE,
        wide("Selector", "string", "@spec.selector"),
    ],
    cells: cells::service,
};

pub(crate) static ENDPOINTS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Endpoints", "string", "@subsets"), AGE],
    cells: cells::endpoints,
};

pub(crate) static ENDPOINT_SLICE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("AddressType", "string", "@addressType"),
        column("Ports", "string", "@ports"),
        column("Endpoints", "string", "@endpoints"),
        AGE,
    ],
    cells: cells::endpoint_slice,
};

pub(crate) static EVENT: BuiltinColumns = BuiltinColumns {
    name_first: false,
    columns: &[
        column("Last Seen", "string", "@lastTimestamp"),
        column("Type", "string", "@type"),
        column("Reason", "string", "@reason"),
        column("Object", "string", "@involvedObject"),
        wide("Subobject", "string", "@involvedObject.fieldPath"),
        wide("Source", "string", "@source"),
        column("Message", "string", "@message"),
        wide("First Seen", "string", "@firstTimestamp"),
        wide("Count", "string", "@count"),
        wide("Name", "string", "@metadata.name"),
    ],
    cells: cells::event,
};

/// The same columns read from the other group's field names.
pub(crate) static EVENT_V1: BuiltinColumns = BuiltinColumns {
    name_first: false,
    columns: &[
        column("Last Seen", "string", "@deprecatedLastTimestamp"),
        column("Type", "string", "@type"),
        column("Reason", "string", "@reason"),
        column("Object", "string", "@regarding"),
        wide("Subobject", "string", "@regarding.fieldPath"),
        wide("Source", "string", "@deprecatedSource"),
        column("Message", "string", "@note"),
        wide("First Seen", "string", "@deprecatedFirstTimestamp"),
        wide("Count", "string", "@deprecatedCount"),
        wide("Name", "string", "@metadata.name"),
    ],
    cells: cells::event_v1,
};

pub(crate) static PERSISTENT_VOLUME_CLAIM: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Status", "string", "@status.phase"),
        column("Volume", "string", "@spec.volumeName"),
        column("Capacity", "string", "@status.capacity"),
        column("Access Modes", "string", "@status.accessModes"),
        column("StorageClass", "string", "StorageClass of the pvc"),
        column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pvc"),
        AGE,
        wide("VolumeMode", "string", "@spec.volumeMode"),
    ],
    cells: cells::persistent_volume_claim,
};

pub(crate) static PERSISTENT_VOLUME: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Capacity", "string", "@spec.capacity"),
        column("Access Modes", "string", "@spec.accessModes"),
        column("Reclaim Policy", "string", "@spec.persistentVolumeReclaimPolicy"),
        column("Status", "string", "@status.phase"),
        column("Claim", "string", "@spec.claimRef"),
        column("StorageClass", "string", "StorageClass of the pv"),
        column("VolumeAttributesClass", "string", "VolumeAttributesClass of the pv"),
        column("Reason", "string", "@status.reason"),
        AGE,
        wide("VolumeMode", "string", "@spec.volumeMode"),
    ],
    cells: cells::persistent_volume,
};

pub(crate) static RESOURCE_QUOTA: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column(
            "Request",
            "string",
            "Request represents a minimum amount of cpu/memory that a container may consume.",
        ),
        column(
            "Limit",
            "string",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
        ),
        AGE,
    ],
    cells: cells::resource_quota,
};

pub(crate) static CONTROLLER_REVISION: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Controller", "string", "Controller of the object"),
        column("Revision", "string", "@revision"),
        AGE,
    ],
    cells: cells::controller_revision,
};

pub(crate) static DEPLOYMENT: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Ready", "string", "Number of the pod with ready state"),
        column("Up-to-date", "string", "@status.updatedReplicas"),
        column("Available", "string", "@status.availableReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "@spec.selector"),
    ],
    cells: cells::deployment,
};

pub(crate) static REPLICA_SET: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Desired", "integer", "@spec.replicas"),
        column("Current", "integer", "@status.replicas"),
        column("Ready", "integer", "@status.readyReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "@spec.selector"),
    ],
    cells: cells::replica_set,
};

pub(crate) static STATEFUL_SET: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Ready", "string", "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES],
    cells: cells::stateful_set,
};

pub(crate) static DAEMON_SET: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Desired", "integer", "@status.desiredNumberScheduled"),
        column("Current", "integer", "@status.currentNumberScheduled"),
        column("Ready", "integer", "@status.numberReady"),
        column("Up-to-date", "integer", "@status.updatedNumberScheduled"),
        column("Available", "integer", "@status.numberAvailable"),
        column("Node Selector", "string", "@spec.template.spec.nodeSelector"),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "@spec.selector"),
    ],
    cells: cells::daemon_set,
};

pub(crate) static JOB: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Status", "string", "Status of the job."),
        column("Completions", "string", "@status.succeeded"),
        column("Duration", "string", "Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "@spec.selector"),
    ],
    cells: cells::job,
};

pub(crate) static CRON_JOB: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Schedule", "string", "@spec.schedule"),
        column("Timezone", "string", "@spec.timeZone"),
        column("Suspend", "boolean", "@spec.suspend"),
        column("Active", "integer", "@status.active"),
        column("Last Schedule", "string", "@status.lastScheduleTime"),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", "string", "@spec.jobTemplate.spec.selector"),
    ],
    cells: cells::cron_job,
};

pub(crate) static HORIZONTAL_POD_AUTOSCALER: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Reference", "string", "@spec.scaleTargetRef"),
        column("Targets", "string", "@spec.metrics"),
        column("MinPods", "string", "@spec.minReplicas"),
        column("MaxPods", "string", "@spec.maxReplicas"),
        column("Replicas", "string", "@status.currentReplicas"),
        AGE,
    ],
    cells: cells::horizontal_pod_autoscaler,
};

pub(crate) static LEASE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Holder", "string", "@spec.holderIdentity"), AGE],
    cells: cells::lease,
};

pub(crate) static INGRESS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column(
            "Class",
            "string",
            "The name of the IngressClass resource that should be used for additional configuration",
        ),
        column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
        column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
        column("Ports", "string", "Ports of TLS configurations that open"),
        AGE,
    ],
    cells: cells::ingress,
};

pub(crate) static NETWORK_POLICY: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("Pod-Selector", "string", "@spec.podSelector"), AGE],
    cells: cells::network_policy,
};

pub(crate) static POD_DISRUPTION_BUDGET: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Min Available", "string", "The minimum number of pods that must be available."),
        column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
        column(
            "Allowed Disruptions",
            "integer",
            "Calculated number of pods that may be disrupted at this time.",
        ),
        AGE,
    ],
    cells: cells::pod_disruption_budget,
};

pub(crate) static ROLE_BINDING: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Role", "string", "@roleRef"),
        AGE,
        wide("Users", "string", "Users in the roleBinding"),
        wide("Groups", "string", "Groups in the roleBinding"),
        wide("ServiceAccounts", "string", "ServiceAccounts in the roleBinding"),
    ],
    cells: cells::role_binding,
};

pub(crate) static CLUSTER_ROLE_BINDING: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Role", "string", "@roleRef"),
        AGE,
        wide("Users", "string", "Users in the clusterRoleBinding"),
        wide("Groups", "string", "Groups in the clusterRoleBinding"),
        wide("ServiceAccounts", "string", "ServiceAccounts in the clusterRoleBinding"),
    ],
    cells: cells::role_binding,
};

pub(crate) static PRIORITY_CLASS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Value", "integer", "@value"),
        column("Global-Default", "boolean", "@globalDefault"),
        AGE,
        column("PreemptionPolicy", "string", "@preemptionPolicy"),
    ],
    cells: cells::priority_class,
};

pub(crate) static STORAGE_CLASS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Provisioner", "string", "@provisioner"),
        column("ReclaimPolicy", "string", "@reclaimPolicy"),
        column("VolumeBindingMode", "string", "@volumeBindingMode"),
        column("AllowVolumeExpansion", "string", "@allowVolumeExpansion"),
        AGE,
    ],
    cells: cells::storage_class,
};

/// The older version of an autoscaler prints what the newer one prints.
pub(crate) static HORIZONTAL_POD_AUTOSCALER_V1: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: HORIZONTAL_POD_AUTOSCALER.columns,
    cells: cells::horizontal_pod_autoscaler_v1,
};

pub(crate) static COMPONENT_STATUS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Status", "string", "Whether the component is healthy"),
        column("Message", "string", "What the component says about its health"),
        column("Error", "string", "Why the component is not healthy"),
    ],
    cells: system_cells::component_status,
};

pub(crate) static IP_ADDRESS: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("ParentRef", "string", "@spec.parentRef"), AGE],
    cells: system_cells::ip_address,
};

pub(crate) static SERVICE_CIDR: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[column("CIDRs", "string", "@spec.cidrs"), AGE],
    cells: system_cells::service_cidr,
};

pub(crate) static API_SERVICE: BuiltinColumns = BuiltinColumns {
    name_first: true,
    columns: &[
        column("Service", "string", "The service that answers for the API, or Local"),
        column("Available", "string", "Whether the API can be reached"),
        AGE,
    ],
    cells: system_cells::api_service,
};

const USAGE: &[Column] = &[
    column("Cpu", "string", "Processor time in use, in cores"),
    column("Memory", "string", "Memory in use"),
    column("Window", "string", "How long was measured"),
];

pub(crate) static NODE_METRICS: BuiltinColumns =
    BuiltinColumns { name_first: true, columns: USAGE, cells: system_cells::node_metrics };

pub(crate) static POD_METRICS: BuiltinColumns =
    BuiltinColumns { name_first: true, columns: USAGE, cells: system_cells::pod_metrics };
