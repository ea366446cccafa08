//! The predictor: which model, in which format, served how.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::component::{ComponentExtension, StorageUri};
use crate::Fields;

/// The component that answers prediction requests.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::add_pod_fields)]
pub struct PredictorSpec {
    /// Name of the stable predictor when there are named canaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Legacy form of `model` with format `sklearn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sklearn: Option<PredictorExtension>,
    /// Legacy form of `model` with format `xgboost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xgboost: Option<PredictorExtension>,
    /// Legacy form of `model` with format `tensorflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensorflow: Option<PredictorExtension>,
    /// Legacy form of `model` with format `pytorch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pytorch: Option<PredictorExtension>,
    /// Legacy form of `model` with format `triton`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triton: Option<PredictorExtension>,
    /// Legacy form of `model` with format `onnx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnx: Option<PredictorExtension>,
    /// Legacy form of `model` with format `huggingface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huggingface: Option<PredictorExtension>,
    /// Legacy form of `model` with format `pmml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pmml: Option<PredictorExtension>,
    /// Legacy form of `model` with format `lightgbm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lightgbm: Option<PredictorExtension>,
    /// Legacy form of `model` with format `paddle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paddle: Option<PredictorExtension>,
    /// The model and, through its format, the runtime that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// Several model sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub storage_uris: Option<Vec<StorageUri>>,
    /// Which ClusterStorageContainer downloads the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_container_name: Option<String>,
    /// Worker pods of a model that spans several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "worker_spec")]
    pub worker_spec: Option<Value>,
    /// Replica bounds and the like.
    #[serde(flatten)]
    pub extension: ComponentExtension,
    /// The pod specification's fields, and any that nobody knows.
    #[serde(flatten)]
    #[schemars(skip)]
    pub pod: Fields,
}

/// A pod specification with the sizes of the group.
fn worker_spec(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = schemars::json_schema!({"type": "object", "properties": {
        "pipelineParallelSize": {"type": "integer"}, "tensorParallelSize": {"type": "integer"}}});
    crate::schema::add_pod_fields(&mut schema);
    schema
}

/// The frameworks that have a field of their own in [`PredictorSpec`], in the order in which the defaulter
/// looks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// scikit-learn
    Sklearn,
    /// TensorFlow
    Tensorflow,
    /// XGBoost
    Xgboost,
    /// PyTorch
    Pytorch,
    /// Triton
    Triton,
    /// ONNX
    Onnx,
    /// Hugging Face
    Huggingface,
    /// PMML
    Pmml,
    /// LightGBM
    Lightgbm,
    /// Paddle
    Paddle,
}

impl Framework {
    /// All of them, in the defaulter's order.
    pub const ALL: [Self; 10] = [
        Self::Sklearn,
        Self::Tensorflow,
        Self::Xgboost,
        Self::Pytorch,
        Self::Triton,
        Self::Onnx,
        Self::Huggingface,
        Self::Pmml,
        Self::Lightgbm,
        Self::Paddle,
    ];

    /// The field's name, which is the model format's name too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sklearn => "sklearn",
            Self::Tensorflow => "tensorflow",
            Self::Xgboost => "xgboost",
            Self::Pytorch => "pytorch",
            Self::Triton => "triton",
            Self::Onnx => "onnx",
            Self::Huggingface => "huggingface",
            Self::Pmml => "pmml",
            Self::Lightgbm => "lightgbm",
            Self::Paddle => "paddle",
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PredictorSpec {
    /// The legacy framework field, if it is set.
    #[must_use]
    pub fn framework(&self, framework: Framework) -> Option<&PredictorExtension> {
        match framework {
            Framework::Sklearn => self.sklearn.as_ref(),
            Framework::Tensorflow => self.tensorflow.as_ref(),
            Framework::Xgboost => self.xgboost.as_ref(),
            Framework::Pytorch => self.pytorch.as_ref(),
            Framework::Triton => self.triton.as_ref(),
            Framework::Onnx => self.onnx.as_ref(),
            Framework::Huggingface => self.huggingface.as_ref(),
            Framework::Pmml => self.pmml.as_ref(),
            Framework::Lightgbm => self.lightgbm.as_ref(),
            Framework::Paddle => self.paddle.as_ref(),
        }
    }

    /// Takes the legacy framework field out.
    pub fn take_framework(&mut self, framework: Framework) -> Option<PredictorExtension> {
        match framework {
            Framework::Sklearn => self.sklearn.take(),
            Framework::Tensorflow => self.tensorflow.take(),
            Framework::Xgboost => self.xgboost.take(),
            Framework::Pytorch => self.pytorch.take(),
            Framework::Triton => self.triton.take(),
            Framework::Onnx => self.onnx.take(),
            Framework::Huggingface => self.huggingface.take(),
            Framework::Pmml => self.pmml.take(),
            Framework::Lightgbm => self.lightgbm.take(),
            Framework::Paddle => self.paddle.take(),
        }
    }

    /// The URI of the model, wherever it is written: model, legacy framework, or `STORAGE_URI` of a custom
    /// serving container.
    #[must_use]
    pub fn storage_uri(&self) -> Option<&str> {
        if let Some(uri) = self.model.as_ref().and_then(|model| model.extension.storage_uri.as_deref()) {
            return Some(uri);
        }
        let legacy = Framework::ALL.into_iter().filter_map(|framework| self.framework(framework));
        if let Some(uri) = legacy.filter_map(|extension| extension.storage_uri.as_deref()).next() {
            return Some(uri);
        }
        let serving = crate::pod_fields::raw_containers(&self.pod, "containers").find(|container| {
            container.get("name").and_then(Value::as_str) == Some(crate::pod_fields::SERVING_CONTAINER)
        })?;
        crate::pod_fields::raw_environment(serving)
            .find_map(|(name, value)| if name == "STORAGE_URI" { value } else { None })
    }
}

/// A model: format, place, and the container settings that override the runtime's.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelSpec {
    /// Format of the model files.
    #[serde(default)]
    pub model_format: ModelFormat,
    /// The runtime to use; absent lets the format decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Place of the model and container settings.
    #[serde(flatten)]
    pub extension: PredictorExtension,
}

/// Format of a model, with an optional version.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(extend("required" = ["name"]))]
pub struct ModelFormat {
    /// For example `onnx`.
    #[serde(default)]
    pub name: String,
    /// Version of the format, matched as an exact string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Place of a model, and the container that serves it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::add_container_fields)]
pub struct PredictorExtension {
    /// URI of the model's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_uri: Option<String>,
    /// Tag of the runtime's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_version: Option<String>,
    /// `v1`, `v2`, `grpc-v1` or `grpc-v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// Place of the model by a key of the storage secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Encrypted models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidential: Option<Confidential>,
    /// The container's fields, and any that nobody knows.
    #[serde(flatten)]
    #[schemars(skip)]
    pub container: Fields,
}

/// An encrypted model, whose key a key broker gives out.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confidential {
    /// Whether the storage initializer decrypts the model.
    pub enabled: bool,
    /// Place of the key, `kbs:///<repo>/<type>/<tag>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Place of a model by a key of the storage secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// Path inside the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Path of the model's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_path: Option<String>,
    /// Parameters that override those of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub parameters: Option<Value>,
    /// Key of the storage secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}
