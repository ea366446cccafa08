//! `serving.kserve.io`: the InferenceService and its runtimes, and everything that upstream's webhooks and
//! controller do with them, as pure functions.

pub mod config;
pub mod defaults;
pub mod names;
pub mod plan;
pub mod pod;
pub mod render;
pub mod runtime;
pub mod status;
pub mod validate;

mod canary_pointers;
mod component;
mod inference_service;
mod merge;
mod model_status;
mod placeholders;
mod predictor;
mod serving_runtime;
mod status_types;

pub use component::{
    AutoScaling, Batcher, ComponentExtension, ExplainerSpec, Logger, StorageUri, TransformerSpec,
};
pub use config::KserveConfig;
pub use inference_service::{CanarySpec, InferenceService, InferenceServiceSpec};
pub use model_status::model_status;
pub use predictor::{Framework, ModelFormat, ModelSpec, PredictorExtension, PredictorSpec, StorageSpec};
pub use serving_runtime::{
    ClusterServingRuntime, ClusterServingRuntimeSpec, ServingRuntime, ServingRuntimeSpec,
    SupportedModelFormat,
};
pub use status_types::{
    Address, CanaryStatus, ComponentStatus, FailureInfo, InferenceServiceStatus, ModelCopies, ModelStates,
    ModelStatus,
};
