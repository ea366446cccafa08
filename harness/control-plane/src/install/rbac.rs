//! Who the controllers and the agents of nodes are, and what they may do: exactly what they ask for, one table for manifests
//! and the embedded cluster alike.
//!
//! A new kind gets a row in the group of its API: what is watched needs `list` and `watch`, what is applied `create` and
//! `patch`. The conformance suite runs with these rules and fails for a rule that it did not use.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::plan::ca_bundle::GLOBAL_CA_BUNDLE;

use super::KNATIVE_NAMESPACE;
use crate::LeaderElection;
use crate::admission::certificates;

/// Name of the controllers' ServiceAccount, of its roles and of the bindings: upstream's.
pub const SERVICE_ACCOUNT: &str = "kserve-controller-manager";
/// Name of the ServiceAccount of the agents of nodes that keep models, of its roles and of the bindings: upstream's.
pub const AGENT: &str = "kserve-localmodelnode-agent";

/// Verbs on resources of an API group.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resources, with their subresource if that is meant.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Names of the objects; all if empty.
    pub names: &'static [&'static str],
}

const fn grant(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Grant {
    Grant { group, resources, verbs, names: &[] }
}

const WATCH: &[&str] = &["list", "watch"];
/// What is applied, and deleted when it is not wanted any more.
const OWN: &[&str] = &["create", "delete", "list", "patch", "watch"];
const PATCH: &[&str] = &["patch"];

/// What is granted in all namespaces, by area.
pub const CLUSTER: &[(&str, &[Grant])] = &[
    (
        "KServe",
        &[
            grant("serving.kserve.io", &["inferenceservices"], &["list", "patch", "watch"]),
            grant("serving.kserve.io", &["trainedmodels"], &["delete", "list", "patch", "watch"]),
            grant(
                "serving.kserve.io",
                &["inferencegraphs", "servingruntimes", "clusterservingruntimes", "clusterstoragecontainers"],
                WATCH,
            ),
            grant(
                "serving.kserve.io",
                &["inferenceservices/status", "trainedmodels/status", "inferencegraphs/status"],
                PATCH,
            ),
        ],
    ),
    (
        "local models",
        &[
            // Finalizers are patched.
            grant(
                "serving.kserve.io",
                &["localmodelcaches", "localmodelnamespacecaches"],
                &["list", "patch", "watch"],
            ),
            grant(
                "serving.kserve.io",
                &["localmodelcaches/status", "localmodelnamespacecaches/status"],
                PATCH,
            ),
            grant("serving.kserve.io", &["localmodelnodegroups"], WATCH),
            grant("serving.kserve.io", &["localmodelnodes"], &["create", "list", "patch", "watch"]),
            grant("", &["nodes"], WATCH),
            grant(
                "",
                &["persistentvolumes", "persistentvolumeclaims"],
                &["create", "delete", "list", "watch"],
            ),
        ],
    ),
    (
        "children",
        &[
            grant("apps", &["deployments"], OWN),
            grant("", &["services"], OWN),
            grant("", &["configmaps"], &["create", "patch"]),
            Grant { names: &[GLOBAL_CA_BUNDLE], ..grant("", &["configmaps"], WATCH) },
            grant("autoscaling", &["horizontalpodautoscalers"], OWN),
            grant("networking.k8s.io", &["ingresses"], OWN),
            grant("gateway.networking.k8s.io", &["httproutes"], OWN),
            grant("networking.istio.io", &["virtualservices"], OWN),
            grant("opentelemetry.io", &["opentelemetrycollectors"], OWN),
            grant("keda.sh", &["scaledobjects"], OWN),
            grant("serving.knative.dev", &["services"], OWN),
        ],
    ),
    (
        "what is looked at",
        &[
            grant("", &["pods", "endpoints", "secrets", "serviceaccounts"], WATCH),
            grant("networking.k8s.io", &["ingressclasses"], WATCH),
        ],
    ),
    ("events", &[grant("", &["events"], &["create"])]),
    (
        "Knative",
        &[
            grant(
                "serving.knative.dev",
                &["configurations", "revisions", "routes"],
                &["create", "list", "patch", "watch"],
            ),
            grant("serving.knative.dev", &["revisions"], &["delete"]),
            grant(
                "serving.knative.dev",
                &["services/status", "configurations/status", "revisions/status", "routes/status"],
                PATCH,
            ),
        ],
    ),
    (
        "gateway",
        &[
            grant("networking.k8s.io", &["ingresses/status"], PATCH),
            grant("gateway.networking.k8s.io", &["gatewayclasses", "gateways"], WATCH),
            grant(
                "gateway.networking.k8s.io",
                &["gatewayclasses/status", "gateways/status", "httproutes/status"],
                PATCH,
            ),
        ],
    ),
    (
        "KEDA",
        &[
            grant(
                "keda.sh",
                &["triggerauthentications", "clustertriggerauthentications"],
                &["get", "list", "watch"],
            ),
            grant("keda.sh", &["scaledobjects/status"], PATCH),
            grant("", &["secrets", "configmaps"], &["get"]),
            grant("", &["serviceaccounts/token"], &["create"]),
            grant("apps", &["deployments", "statefulsets"], &["get"]),
            grant("apps", &["deployments/scale", "statefulsets/scale"], &["get", "patch"]),
            Grant {
                names: &["scaledobjects.keda.sh", "services.serving.knative.dev"],
                ..grant("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"])
            },
        ],
    ),
];

/// What the agents may do in all namespaces: their lists, and what the models' jobs are made from.
pub const AGENT_CLUSTER: &[Grant] = &[
    grant("serving.kserve.io", &["localmodelnodes"], &["get", "list", "watch"]),
    grant("serving.kserve.io", &["localmodelnodes/status"], PATCH),
    grant("serving.kserve.io", &["localmodelnodegroups", "clusterstoragecontainers"], &["list"]),
];
/// What the agents may do in KServe's namespace.
pub const AGENT_CONFIGURATION: &[Grant] =
    &[Grant { names: &[CONFIG_MAP], ..grant("", &["configmaps"], &["get", "list", "watch"]) }];
/// What the agents may do in the namespace of the jobs.
pub const AGENT_JOBS: &[Grant] = &[
    grant("batch", &["jobs"], &["create", "delete", "list", "watch"]),
    grant("", &["secrets", "serviceaccounts"], &["get"]),
];

/// Where the API server has the admission plugin OwnerReferencesPermissionEnforcement (OpenShift has), who makes an
/// object that keeps its owner from going first needs this of the owner.
pub const OWNERS: &[Grant] = &[
    grant("serving.kserve.io", &["inferenceservices/finalizers", "inferencegraphs/finalizers"], &["update"]),
    grant(
        "serving.knative.dev",
        &["services/finalizers", "configurations/finalizers", "revisions/finalizers"],
        &["update"],
    ),
    grant("keda.sh", &["scaledobjects/finalizers"], &["update"]),
];

/// What the webhooks need to keep the API server's trust in them: see [`super::webhooks`].
pub const WEBHOOKS: &[Grant] = &[
    grant(
        "admissionregistration.k8s.io",
        &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
        WATCH,
    ),
    Grant {
        names: &[
            "inferenceservice.serving.kserve.io",
            "trainedmodel.serving.kserve.io",
            "inferencegraph.serving.kserve.io",
            "clusterservingruntime.serving.kserve.io",
            "servingruntime.serving.kserve.io",
            "localmodelcache.serving.kserve.io",
            "localmodelnamespacecache.serving.kserve.io",
        ],
        ..grant("admissionregistration.k8s.io", &["validatingwebhookconfigurations"], PATCH)
    },
    Grant {
        names: &["inferenceservice.serving.kserve.io"],
        ..grant("admissionregistration.k8s.io", &["mutatingwebhookconfigurations"], PATCH)
    },
];

/// What is granted in KServe's namespace, besides.
pub const CONFIGURATION: &[Grant] = &[grant("", &["configmaps"], WATCH)];

/// What is granted in the namespace of the controllers for the election of the leader. The Lease's name cannot be in a
/// rule about its creation.
pub const ELECTION: &[Grant] = &[
    grant("coordination.k8s.io", &["leases"], &["create"]),
    Grant {
        names: &[LeaderElection::LEASE],
        ..grant("coordination.k8s.io", &["leases"], &["get", "list", "update", "watch"])
    },
];

/// What is granted in the namespace of the controllers for the webhooks' certificates.
pub const CERTIFICATES: &[Grant] = &[
    grant("", &["secrets"], &["create"]),
    // Reading Secrets is granted everywhere.
    Grant { names: &[certificates::SECRET], ..grant("", &["secrets"], &["update"]) },
];

impl Grant {
    fn rule(&self) -> PolicyRule {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(texts(&[self.group])),
            resources: Some(texts(self.resources)),
            verbs: texts(self.verbs),
            resource_names: (!self.names.is_empty()).then(|| texts(self.names)),
            non_resource_urls: None,
        }
    }

    /// Every single thing that is granted: verb, group, resource, and the name if it is about one.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
        let Self { group, resources, verbs, names } = *self;
        let names = if names.is_empty() { &[""] } else { names };
        resources.iter().flat_map(move |resource| {
            verbs.iter().flat_map(move |verb| names.iter().map(move |name| (*verb, group, *resource, *name)))
        })
    }
}

/// What is granted beside the controllers' own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Taking part in an election.
    pub election: bool,
    /// Serving the webhooks over HTTPS.
    pub webhooks: bool,
}

/// A ServiceAccount with its roles and bindings.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who they are.
    pub account: ServiceAccount,
    /// What they may do everywhere.
    pub cluster_role: ClusterRole,
    /// That they may.
    pub cluster_binding: ClusterRoleBinding,
    /// What they may do in single namespaces.
    pub roles: Vec<Role>,
    /// That they may.
    pub bindings: Vec<RoleBinding>,
}

impl Access {
    /// What a ServiceAccount may do everywhere, and in single namespaces by roles of these names.
    fn new(
        namespace: &str,
        account: &str,
        everywhere: impl Iterator<Item = Grant>,
        within: &[(&str, String, &[Grant])],
    ) -> Self {
        let metadata = |namespace: Option<&str>, name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ObjectMeta::default()
        };
        let subjects = Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Subject::default()
        }]);
        let reference = |kind: &str, name: &str| RoleRef {
            api_group: Some(ClusterRole::group(&()).into_owned()),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let roles = within.iter().map(|(namespace, name, grants)| Role {
            metadata: metadata(Some(namespace), name),
            rules: Some(grants.iter().map(Grant::rule).collect()),
        });
        let bindings = within.iter().map(|(namespace, name, _)| RoleBinding {
            metadata: metadata(Some(namespace), name),
            role_ref: reference("Role", name),
            subjects: subjects.clone(),
        });
        Self {
            account: ServiceAccount {
                metadata: metadata(Some(namespace), account),
                ..ServiceAccount::default()
            },
            cluster_role: ClusterRole {
                metadata: metadata(None, account),
                rules: Some(everywhere.map(|grant| grant.rule()).collect()),
                aggregation_rule: None,
            },
            roles: roles.collect(),
            bindings: bindings.collect(),
            cluster_binding: ClusterRoleBinding {
                metadata: metadata(None, account),
                role_ref: reference("ClusterRole", account),
                subjects,
            },
        }
    }
}

/// The access of controllers that run in `namespace`.
#[must_use]
pub fn controllers(namespace: &str, parts: Parts) -> Access {
    let of_webhooks: &[Grant] = if parts.webhooks { WEBHOOKS } else { &[] };
    let everywhere = CLUSTER.iter().flat_map(|(_, grants)| *grants).chain(OWNERS).chain(of_webhooks);
    let mut within: Vec<(&str, String, &[Grant])> = [CONFIG_NAMESPACE, KNATIVE_NAMESPACE]
        .map(|namespace| (namespace, format!("{SERVICE_ACCOUNT}-configuration"), CONFIGURATION))
        .to_vec();
    if parts.election {
        within.push((namespace, format!("{SERVICE_ACCOUNT}-election"), ELECTION));
    }
    if parts.webhooks {
        within.push((namespace, format!("{SERVICE_ACCOUNT}-certificates"), CERTIFICATES));
    }
    Access::new(namespace, SERVICE_ACCOUNT, everywhere.copied(), &within)
}

/// The access of agents that run in `namespace` and have their jobs in the namespace `jobs`.
#[must_use]
pub fn agent(namespace: &str, jobs: &str) -> Access {
    let within = [
        (CONFIG_NAMESPACE, format!("{AGENT}-configuration"), AGENT_CONFIGURATION),
        (jobs, format!("{AGENT}-jobs"), AGENT_JOBS),
    ];
    Access::new(namespace, AGENT, AGENT_CLUSTER.iter().copied(), &within)
}
