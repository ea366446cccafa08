//! The ClusterStorageContainer resource: which container downloads which URIs.

use std::borrow::Cow;

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Fields;

/// A container for some kinds of URIs. Beside `spec` it has a field of its own, so it is written by hand.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStorageContainer {
    /// `serving.kserve.io/v1alpha1`
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `ClusterStorageContainer`
    #[serde(default = "kind")]
    pub kind: String,
    /// Name, labels, annotations.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Container and URIs.
    #[serde(default)]
    pub spec: StorageContainerSpec,
    /// Whether it is left out of every choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

fn api_version() -> String {
    "serving.kserve.io/v1alpha1".to_owned()
}

fn kind() -> String {
    "ClusterStorageContainer".to_owned()
}

impl Default for ClusterStorageContainer {
    fn default() -> Self {
        Self {
            api_version: api_version(),
            kind: kind(),
            metadata: ObjectMeta::default(),
            spec: StorageContainerSpec::default(),
            disabled: None,
        }
    }
}

/// Container and URIs of a [`ClusterStorageContainer`].
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageContainerSpec {
    /// What differs from the default storage initializer.
    #[schemars(schema_with = "container")]
    pub container: Value,
    /// URIs that the container can download.
    pub supported_uri_formats: Vec<SupportedUriFormat>,
    /// What the container is for.
    #[serde(default)]
    #[schemars(extend("default" = "initContainer"))]
    pub workload_type: WorkloadType,
    /// Whether it takes several pairs of URI and folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub supports_multi_model_download: Option<bool>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

fn container(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = schemars::json_schema!({"type": "object", "required": ["name"]});
    crate::schema::add_container_fields(&mut schema);
    schema
}

/// What a storage container is for; other words than the two are kept and never chosen.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct WorkloadType(pub String);

impl WorkloadType {
    /// An init container of serving pods.
    pub const INIT_CONTAINER: &'static str = "initContainer";
    /// A job that fills a node's cache.
    pub const LOCAL_MODEL_DOWNLOAD_JOB: &'static str = "localModelDownloadJob";
}

impl Default for WorkloadType {
    fn default() -> Self {
        Self(Self::INIT_CONTAINER.to_owned())
    }
}

/// A kind of URI: a prefix, else a regular expression that matches anywhere in it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupportedUriFormat {
    /// First characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Regular expression, looked at where there is no prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

impl ClusterStorageContainer {
    /// The name, or the empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is left out of every choice.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled == Some(true)
    }

    /// The definition for the API server.
    #[must_use]
    pub fn crd() -> CustomResourceDefinition {
        let settings = schemars::generate::SchemaSettings::openapi3().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut spec = settings.into_generator().into_root_schema_for::<StorageContainerSpec>().to_value();
        clean(&mut spec);
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "clusterstoragecontainers.serving.kserve.io"},
            "spec": {
                "group": "serving.kserve.io",
                "names": {"kind": kind(), "listKind": "ClusterStorageContainerList",
                    "plural": "clusterstoragecontainers", "singular": "clusterstoragecontainer"},
                "scope": "Cluster",
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "disabled": {"type": "boolean"}, "spec": spec}}},
                }],
            },
        });
        serde_json::from_value(definition).unwrap_or_default()
    }
}

/// Takes out what a structural schema may not have: titles, and `null` among the types.
fn clean(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("title");
            object.remove("$schema");
            object.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

impl SupportedUriFormat {
    /// Whether the URI is of this kind.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn matches(&self, uri: &str) -> Result<bool, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(prefix) = given(&self.prefix) {
            return Ok(uri.starts_with(&prefix));
        }
        let Some(pattern) = given(&self.regex) else { return Ok(false) };
        regex::Regex::new(&pattern)
            .map(|regex| regex.is_match(uri))
            .map_err(|error| format!("error parsing regexp: {}", last_line(&error.to_string())))
    }
}

/// The library shows the pattern with a pointer over several lines; the cause is in the last one.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl StorageContainerSpec {
    /// Whether the container can download the URI.
    ///
    /// # Errors
    /// What is wrong with a regular expression that had to be looked at.
    pub fn supports(&self, uri: &str) -> Result<bool, String> {
        for format in &self.supported_uri_formats {
            if format.matches(uri)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl kube::Resource for ClusterStorageContainer {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ClusterStorageContainer".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "serving.kserve.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "clusterstoragecontainers".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
