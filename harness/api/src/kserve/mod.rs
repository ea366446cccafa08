//! `serving.kserve.io`: the InferenceService and its runtimes, and everything that upstream's webhooks and
//! controller do with them, as pure functions.

pub mod config;
pub mod defaults;
pub mod names;
pub mod plan;
pub mod pod;
pub mod runtime;
pub mod validate;

mod canary_pointers;
mod component;
mod inference_graph;
mod inference_service;
mod local_model;
mod merge;
mod placeholders;
mod predictor;
mod runtime_pod;
mod serving_runtime;
mod status_types;
mod storage_container;
mod trained_model;

pub use component::{
    AutoScaling, Batcher, ComponentExtension, ExplainerSpec, Logger, LoggerStorage, StorageUri,
    TransformerSpec,
};
pub use config::KserveConfig;
pub use inference_graph::{
    GraphNode, GraphStep, GraphTimeouts, InferenceGraph, InferenceGraphSpec, InferenceGraphStatus, ROOT_NODE,
    Routing, StepDependency,
};
pub use inference_service::{CanarySpec, InferenceService, InferenceServiceSpec};
pub use local_model::{
    LOCAL_MODEL_CLAIM, LOCAL_MODEL_LABEL, LOCAL_MODEL_NAMESPACE_LABEL, LOCAL_MODEL_SOURCE_URI, LocalModel,
    LocalModelCache, LocalModelCacheSpec, LocalModelCacheStatus, LocalModelCopies, LocalModelInfo,
    LocalModelNamespaceCache, LocalModelNamespaceCacheSpec, LocalModelNode, LocalModelNodeGroup,
    LocalModelNodeGroupSpec, LocalModelNodeSpec, LocalModelNodeStatus, LocalModelStorage, NamespacedName,
    storage_key,
};
pub use plan::{graph, local_models, trained_models};
pub use predictor::{
    Confidential, Framework, ModelFormat, ModelSpec, PredictorExtension, PredictorSpec, StorageSpec,
};
pub use serving_runtime::{
    ClusterServingRuntime, ClusterServingRuntimeSpec, ServingRuntime, ServingRuntimeSpec,
    SupportedModelFormat,
};
pub use status_types::{
    Address, CanaryStatus, ComponentStatus, FailureInfo, InferenceServiceStatus, ModelCopies, ModelStates,
    ModelStatus,
};
pub use storage_container::{
    ClusterStorageContainer, StorageContainerSpec, SupportedUriFormat, WorkloadType,
};
pub use trained_model::{TrainedModel, TrainedModelSource, TrainedModelSpec, TrainedModelStatus};
