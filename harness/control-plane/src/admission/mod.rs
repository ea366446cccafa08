//! The webhooks of KServe: what they look at ([`LiveConfig`]), and the reviewers themselves, pure and synchronous
//! as the embedded API server wants them. [`serve`] answers the same reviews over HTTPS for other clusters.

pub mod certificates;
pub mod review;
pub mod rotate;
pub mod serve;

mod live;
mod local_models;
mod pods;
mod runtimes;
mod services;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use windtunnel_apiserver::{Admission, Attributes, Denial, Operation};

pub use live::{Cluster, LiveConfig, LiveKind, LiveObject};

/// What a reviewer does: it may change the object, warn, and refuse.
type Review = fn(&Cluster, &Attributes, &mut Value, Option<&Value>, &mut Vec<String>) -> Result<(), Denial>;

/// One webhook: its name, what it wants to see, and the review.
struct Reviewer {
    name: &'static str,
    group: &'static str,
    resource: &'static str,
    operations: &'static [Operation],
    review: Review,
    live: LiveConfig,
}

const WRITES: &[Operation] = &[Operation::Create, Operation::Update];
const WRITES_AND_DELETIONS: &[Operation] = &[Operation::Create, Operation::Update, Operation::Delete];
const KSERVE: &str = "serving.kserve.io";

/// Name, group, resource, operations and review of every webhook, in the order in which they run.
const WEBHOOKS: [(&str, &str, &str, &[Operation], Review); 9] = [
    (
        "inferenceservice.kserve-webhook-server.defaulter",
        KSERVE,
        "inferenceservices",
        WRITES,
        services::default,
    ),
    ("inferenceservice.kserve-webhook-server.pod-mutator", "", "pods", &[Operation::Create], pods::mutate),
    (
        "inferenceservice.kserve-webhook-server.validator",
        KSERVE,
        "inferenceservices",
        WRITES,
        services::validate,
    ),
    (
        "trainedmodel.kserve-webhook-server.validator",
        KSERVE,
        "trainedmodels",
        WRITES,
        services::trained_model,
    ),
    (
        "inferencegraph.kserve-webhook-server.validator",
        KSERVE,
        "inferencegraphs",
        WRITES,
        services::inference_graph,
    ),
    (
        "clusterservingruntime.kserve-webhook-server.validator",
        KSERVE,
        "clusterservingruntimes",
        WRITES,
        runtimes::of_the_cluster,
    ),
    (
        "servingruntime.kserve-webhook-server.validator",
        KSERVE,
        "servingruntimes",
        WRITES,
        runtimes::of_a_namespace,
    ),
    (
        "localmodelcache.kserve-webhook-server.validator",
        KSERVE,
        "localmodelcaches",
        WRITES_AND_DELETIONS,
        local_models::cache,
    ),
    (
        "localmodelnamespacecache.kserve-webhook-server.validator",
        KSERVE,
        "localmodelnamespacecaches",
        WRITES_AND_DELETIONS,
        local_models::namespace_cache,
    ),
];

/// The reviewers, in the order in which they must run.
#[must_use]
pub fn reviewers(live: &LiveConfig) -> Vec<Arc<dyn Admission>> {
    WEBHOOKS
        .into_iter()
        .map(|(name, group, resource, operations, review)| {
            let live = live.clone();
            Arc::new(Reviewer { name, group, resource, operations, review, live }) as Arc<dyn Admission>
        })
        .collect()
}

impl Admission for Reviewer {
    fn name(&self) -> &str {
        self.name
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        attributes.group == self.group
            && attributes.resource == self.resource
            && attributes.subresource.is_empty()
            && self.operations.contains(&attributes.operation)
    }

    fn review(&self, attributes: &Attributes, object: &mut Value, old: Option<&Value>) -> Result<(), Denial> {
        self.review_with_warnings(attributes, object, old, &mut Vec::new())
    }

    fn review_with_warnings(
        &self,
        attributes: &Attributes,
        object: &mut Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Denial> {
        self.live.read(|cluster| (self.review)(cluster, attributes, object, old, warnings))
    }
}

/// The object of a review; upstream answers 400 for one that it cannot read.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Denial> {
    serde_json::from_value(value.clone()).map_err(|error| Denial { message: error.to_string(), code: 400 })
}

/// A validator's refusal: 403, as upstream's framework answers.
fn refused(message: String) -> Denial {
    Denial { message, code: 403 }
}

/// What went wrong in a mutating webhook: 500, as upstream's framework answers.
fn failed(message: impl Into<String>) -> Denial {
    Denial { message: message.into(), code: 500 }
}
