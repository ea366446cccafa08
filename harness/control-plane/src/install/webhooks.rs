//! The webhook configurations that an API server needs to call our webhooks, as a function of where they are.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference, ValidatingWebhook,
    ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use windtunnel_api::kserve::names;

use crate::admission::review::PATHS;

/// Service in front of the webhooks.
pub const WEBHOOK_SERVICE: &str = "kserve-webhook-server-service";

/// Where an API server finds the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookAddress {
    /// The Service [`WEBHOOK_SERVICE`] of this namespace.
    Service {
        /// Its namespace.
        namespace: String,
    },
    /// Any host, `https://host:port`.
    Url(String),
}

impl WebhookAddress {
    /// Host names that the server's certificate must have.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Service { namespace } => {
                let host = format!("{WEBHOOK_SERVICE}.{namespace}.svc");
                vec![host.clone(), format!("{host}.cluster.local")]
            }
            Self::Url(url) => {
                let rest = url.trim_start_matches("https://");
                let rest = rest.split('/').next().unwrap_or_default();
                let host = match rest.strip_prefix('[') {
                    Some(address) => address.split(']').next().unwrap_or_default(),
                    None => rest.split(':').next().unwrap_or_default(),
                };
                vec![host.to_owned()]
            }
        }
    }

    fn client(&self, path: &str, ca_bundle_pem: &str) -> WebhookClientConfig {
        // Without one the field is left to whoever knows it.
        let ca_bundle = (!ca_bundle_pem.is_empty()).then(|| ByteString(ca_bundle_pem.as_bytes().to_vec()));
        match self {
            Self::Service { namespace } => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    name: WEBHOOK_SERVICE.to_owned(),
                    namespace: namespace.clone(),
                    path: Some(path.to_owned()),
                    port: None,
                }),
                url: None,
            },
            Self::Url(url) => WebhookClientConfig {
                ca_bundle,
                service: None,
                url: Some(format!("{}{path}", url.trim_end_matches('/'))),
            },
        }
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn rules(group: &str, version: &str, resource: &str, operations: &[&str]) -> Option<Vec<RuleWithOperations>> {
    Some(vec![RuleWithOperations {
        api_groups: Some(list(&[group])),
        api_versions: Some(list(&[version])),
        operations: Some(list(operations)),
        resources: Some(list(&[resource])),
        scope: None,
    }])
}

/// The versions of reviews that are understood. Upstream registers the older one alone, which real API servers send
/// no more.
const REVIEWS: &[&str] = &["v1", "v1beta1"];

fn path_of(webhook: &str) -> &'static str {
    PATHS.iter().find(|(_, name)| *name == webhook).map_or("/", |(path, _)| path)
}

/// The mutating configuration `inferenceservice.serving.kserve.io`: the defaulter, and the pod mutator for pods of
/// InferenceServices outside of control planes.
#[must_use]
pub fn mutating(address: &WebhookAddress, ca_bundle_pem: &str) -> MutatingWebhookConfiguration {
    let webhook = |name: &str| MutatingWebhook {
        name: name.to_owned(),
        client_config: address.client(path_of(name), ca_bundle_pem),
        failure_policy: Some("Fail".to_owned()),
        side_effects: "None".to_owned(),
        admission_review_versions: list(REVIEWS),
        ..MutatingWebhook::default()
    };
    let exists = |key: &str, operator: &str| LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: None,
        }]),
        match_labels: None,
    };
    let defaulter = MutatingWebhook {
        rules: rules("serving.kserve.io", "v1beta1", "inferenceservices", &["CREATE", "UPDATE"]),
        ..webhook("inferenceservice.kserve-webhook-server.defaulter")
    };
    let pods = MutatingWebhook {
        rules: rules("", "v1", "pods", &["CREATE"]),
        reinvocation_policy: Some("IfNeeded".to_owned()),
        namespace_selector: Some(exists("control-plane", "DoesNotExist")),
        object_selector: Some(exists(names::INFERENCE_SERVICE_LABEL, "Exists")),
        ..webhook("inferenceservice.kserve-webhook-server.pod-mutator")
    };
    MutatingWebhookConfiguration {
        metadata: meta("inferenceservice.serving.kserve.io"),
        webhooks: Some(vec![defaulter, pods]),
    }
}

/// The validating configurations, one a kind, as upstream has them.
#[must_use]
pub fn validating(address: &WebhookAddress, ca_bundle_pem: &str) -> Vec<ValidatingWebhookConfiguration> {
    let kinds: [(&str, &str, &str, &[&str]); 7] = [
        ("inferenceservice", "v1beta1", "inferenceservices", &["CREATE", "UPDATE"]),
        ("trainedmodel", "v1alpha1", "trainedmodels", &["CREATE", "UPDATE"]),
        ("inferencegraph", "v1alpha1", "inferencegraphs", &["CREATE", "UPDATE"]),
        ("clusterservingruntime", "v1alpha1", "clusterservingruntimes", &["CREATE", "UPDATE"]),
        ("servingruntime", "v1alpha1", "servingruntimes", &["CREATE", "UPDATE"]),
        ("localmodelcache", "v1alpha1", "localmodelcaches", &["CREATE", "UPDATE", "DELETE"]),
        (
            "localmodelnamespacecache",
            "v1alpha1",
            "localmodelnamespacecaches",
            &["CREATE", "UPDATE", "DELETE"],
        ),
    ];
    let make = |(kind, version, resource, operations): (&str, &str, &str, &[&str])| {
        let name = format!("{kind}.kserve-webhook-server.validator");
        ValidatingWebhookConfiguration {
            metadata: meta(&format!("{kind}.serving.kserve.io")),
            webhooks: Some(vec![ValidatingWebhook {
                client_config: address.client(path_of(&name), ca_bundle_pem),
                name,
                failure_policy: Some("Fail".to_owned()),
                side_effects: "None".to_owned(),
                admission_review_versions: list(REVIEWS),
                rules: rules("serving.kserve.io", version, resource, operations),
                ..ValidatingWebhook::default()
            }]),
        }
    };
    kinds.into_iter().map(make).collect()
}

/// The Service in front of the webhooks' pods, which serve on the port named `webhook-server`.
#[must_use]
pub fn service(namespace: &str) -> Service {
    Service {
        metadata: ObjectMeta { namespace: Some(namespace.to_owned()), ..meta(WEBHOOK_SERVICE) },
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                port: 443,
                target_port: Some(IntOrString::String("webhook-server".to_owned())),
                ..ServicePort::default()
            }]),
            selector: Some(BTreeMap::from([(
                "control-plane".to_owned(),
                "kserve-controller-manager".to_owned(),
            )])),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
