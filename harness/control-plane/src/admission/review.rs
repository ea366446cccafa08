//! AdmissionReviews as API servers send them (`admission.k8s.io/v1` and `v1beta1`), answered by the same reviewers
//! that the embedded API server calls.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use windtunnel_apiserver::{Admission, Attributes, Operation};

use super::{LiveConfig, reviewers};

/// Paths of the webhooks with their names, as upstream registers them.
pub const PATHS: [(&str, &str); 9] = [
    (
        "/mutate-serving-kserve-io-v1beta1-inferenceservice",
        "inferenceservice.kserve-webhook-server.defaulter",
    ),
    ("/mutate-pods", "inferenceservice.kserve-webhook-server.pod-mutator"),
    (
        "/validate-serving-kserve-io-v1beta1-inferenceservice",
        "inferenceservice.kserve-webhook-server.validator",
    ),
    ("/validate-serving-kserve-io-v1alpha1-trainedmodel", "trainedmodel.kserve-webhook-server.validator"),
    ("/validate-serving-kserve-io-v1alpha1-inferencegraph", "inferencegraph.kserve-webhook-server.validator"),
    (
        "/validate-serving-kserve-io-v1alpha1-clusterservingruntime",
        "clusterservingruntime.kserve-webhook-server.validator",
    ),
    ("/validate-serving-kserve-io-v1alpha1-servingruntime", "servingruntime.kserve-webhook-server.validator"),
    (
        "/validate-serving-kserve-io-v1alpha1-localmodelcache",
        "localmodelcache.kserve-webhook-server.validator",
    ),
    (
        "/validate-serving-kserve-io-v1alpha1-localmodelnamespacecache",
        "localmodelnamespacecache.kserve-webhook-server.validator",
    ),
];

/// Why a request is no review.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// No webhook has this path.
    #[error("no webhook answers {path}; the paths are those of the webhook configurations")]
    UnknownPath {
        /// The request's path.
        path: String,
    },
    /// The body is no AdmissionReview.
    #[error("the body is no AdmissionReview of admission.k8s.io/v1 or v1beta1: {cause}")]
    Malformed {
        /// What is wrong with it.
        cause: String,
    },
}

/// The webhooks by their paths.
#[derive(Clone)]
pub struct Webhooks(Vec<(&'static str, Arc<dyn Admission>)>);

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(path, _)| path)).finish()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    api_version: String,
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    operation: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kind {
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

impl Webhooks {
    /// The webhooks over what is known of the cluster.
    #[must_use]
    pub fn new(live: &LiveConfig) -> Self {
        let all = reviewers(live);
        let by_path = PATHS.into_iter().filter_map(|(path, name)| {
            let reviewer = all.iter().find(|reviewer| reviewer.name() == name)?;
            Some((path, Arc::clone(reviewer)))
        });
        Self(by_path.collect())
    }

    /// Answers the review in `body`, sent to `path`: an AdmissionReview of the same version with the same uid.
    ///
    /// # Errors
    /// A path or a body that is none of ours.
    pub fn answer(&self, path: &str, body: &[u8]) -> Result<Value, ReviewError> {
        let (_, reviewer) = self
            .0
            .iter()
            .find(|(own, _)| *own == path)
            .ok_or_else(|| ReviewError::UnknownPath { path: path.to_owned() })?;
        let malformed = |cause: String| ReviewError::Malformed { cause };
        let incoming: Incoming =
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        let known =
            matches!(incoming.api_version.as_str(), "admission.k8s.io/v1" | "admission.k8s.io/v1beta1");
        if !known || incoming.kind != "AdmissionReview" {
            return Err(malformed(format!("it is {} of {}", incoming.kind, incoming.api_version)));
        }
        let request = incoming.request.ok_or_else(|| malformed("it has no request".to_owned()))?;
        let response = respond(&**reviewer, request)?;
        Ok(json!({"apiVersion": incoming.api_version, "kind": "AdmissionReview", "response": response}))
    }
}

fn respond(reviewer: &dyn Admission, request: Request) -> Result<Value, ReviewError> {
    let operation = match request.operation.as_str() {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        "DELETE" => Operation::Delete,
        // Nothing of ours: CONNECT, and what may come.
        _ => return Ok(json!({"uid": request.uid, "allowed": true})),
    };
    let attributes = Attributes {
        group: request.resource.group,
        version: request.resource.version,
        resource: request.resource.resource,
        subresource: request.sub_resource,
        kind: request.kind.kind,
        namespace: request.namespace,
        name: request.name,
        operation,
        dry_run: request.dry_run.unwrap_or(false),
    };
    if !reviewer.matches(&attributes) {
        return Ok(json!({"uid": request.uid, "allowed": true}));
    }
    let before = request.object;
    let mut object = before.clone();
    let old = (!request.old_object.is_null()).then_some(request.old_object);
    let mut warnings = Vec::new();
    let verdict = reviewer.review_with_warnings(&attributes, &mut object, old.as_ref(), &mut warnings);
    let mut response = json!({"uid": request.uid, "allowed": verdict.is_ok()});
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    match verdict {
        Ok(()) if object != before => {
            let patch = json_patch::diff(&before, &object);
            let text = serde_json::to_vec(&patch)
                .map_err(|error| ReviewError::Malformed { cause: error.to_string() })?;
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(text));
        }
        Ok(()) => {}
        Err(denial) => {
            let reason = match denial.code {
                403 => "Forbidden",
                400 => "BadRequest",
                _ => "InternalError",
            };
            response["status"] = json!({"status": "Failure", "message": denial.message, "reason": reason, "code": denial.code});
        }
    }
    Ok(response)
}
