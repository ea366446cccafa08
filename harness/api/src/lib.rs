//! Kubernetes resource types of the serving stack, their defaulting, validation and rendering.
//!
//! Everything here is a pure function over values: no client, no clock, no async. The live controllers
//! apply what these functions return, the admission webhooks call them on incoming objects, and the
//! simulator reads its replica bounds, targets and traffic weights from the very same results.
//!
//! # The types by role
//! * What users write: [`kserve::InferenceService`], [`kserve::ServingRuntime`] and
//!   [`kserve::ClusterServingRuntime`]; [`manifest::parse`] reads them from YAML with source positions.
//! * What stands beside it: [`kserve::InferenceGraph`], [`kserve::TrainedModel`],
//!   [`kserve::ClusterStorageContainer`], [`kserve::LocalModelCache`] and its kin.
//! * What an operator sets: [`kserve::KserveConfig`].
//! * What admission does with them: [`kserve::defaults`], [`kserve::validate`], [`kserve::pod`].
//! * What the KServe controllers make of them, live and simulated: [`kserve::plan`] (with [`kserve::runtime`]).
//! * What Knative Serving makes of that: [`knative`].
//! * What a cluster needs before any of it: [`crds`], [`runtimes::shipped`].
//!
//! # Example
//! ```
//! use windtunnel_api::kserve::plan::{Inputs, plan};
//! use windtunnel_api::kserve::{KserveConfig, defaults, runtime, validate};
//! use windtunnel_api::{manifest, runtimes};
//!
//! let text = "
//! apiVersion: serving.kserve.io/v1beta1
//! kind: InferenceService
//! metadata: {name: digits, namespace: default}
//! spec:
//!   predictor:
//!     minReplicas: 0
//!     model:
//!       modelFormat: {name: onnx}
//!       storageUri: s3://models/digits/v1
//! ";
//! let manifests = manifest::parse(text, "digits.yaml").unwrap();
//! let mut service = manifests[0].inference_service().unwrap().clone();
//! let config = KserveConfig::default();
//! defaults::default(&mut service, &config);
//! validate::validate(&service, None).unwrap();
//! let candidates: Vec<_> = runtimes::shipped().iter().map(runtime::Runtime::from).collect();
//! let plan = plan(&Inputs::new(&service, &config, &candidates));
//! assert_eq!(plan.children.knative_services[0].metadata.name.as_deref(), Some("digits-predictor"));
//! ```

pub mod condition;
pub mod gateway_api;
pub mod istio;
pub mod keda;
pub mod knative;
pub mod kserve;
pub mod manifest;
pub mod opentelemetry;
pub mod pod_fields;
pub mod quantity;
pub mod runtimes;
pub mod schema;

mod crds;
mod owner;

pub use crds::crds;

use std::collections::BTreeMap;

/// JSON fields kept verbatim: what a typed struct does not name, so that reading and writing an object
/// loses nothing.
pub type Fields = BTreeMap<String, serde_json::Value>;
