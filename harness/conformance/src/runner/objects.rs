//! The kinds that a cluster serves, and writes of objects that only the case knows.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::{ApiResource, Discovery, Scope};
use serde_json::Value;

use crate::assertion::brief;
use crate::case::Verb;

/// Who writes, in `managedFields`.
const FIELD_MANAGER: &str = "windtunnel-conform";
/// Where a kind without `apiVersion` is looked for first.
const GROUPS: [&str; 10] = [
    "",
    "apps",
    "autoscaling",
    "networking.k8s.io",
    "serving.kserve.io",
    "gateway.networking.k8s.io",
    "keda.sh",
    "batch",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
];

/// Why an object could not be reached.
#[derive(Debug)]
pub(crate) enum ObjectError {
    /// The API server refused, in its words.
    Refused { code: u16, message: String },
    /// The case or the cluster is at fault.
    Impossible(String),
    /// The API server did not answer.
    Unreachable(String),
}

impl From<kube::Error> for ObjectError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused { code: status.code, message: status.message.clone() },
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// The kinds that the cluster serves.
pub(crate) struct Kinds {
    pub(crate) client: Client,
    discovery: Discovery,
}

/// One kind, reachable.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) api: Api<DynamicObject>,
    pub(crate) resource: ApiResource,
    pub(crate) is_cluster_scoped: bool,
}

impl Kinds {
    pub(crate) async fn discover(client: Client) -> Result<Self, kube::Error> {
        let discovery = Discovery::new(client.clone()).run().await?;
        Ok(Self { client, discovery })
    }

    /// Whether a kind of this group is served.
    pub(crate) fn serves(&self, group: &str, kind: &str) -> bool {
        self.all().any(|(resource, _)| resource.group == group && resource.kind == kind)
    }

    /// Preferred versions first.
    fn all(&self) -> impl Iterator<Item = (ApiResource, Scope)> {
        let groups = self.discovery.groups();
        let served =
            groups.flat_map(|group| group.versions().flat_map(|version| group.versioned_resources(version)));
        served.map(|(resource, capabilities)| (resource, capabilities.scope))
    }

    /// The kind of an object or tree; `namespace` is where objects that name none are.
    pub(crate) fn reach(&self, object: &Value, namespace: &str) -> Result<Reach, ObjectError> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let version = object.get("apiVersion").and_then(Value::as_str);
        let rank = |resource: &ApiResource| {
            GROUPS.iter().position(|group| *group == resource.group).unwrap_or(GROUPS.len())
        };
        let wanted = |resource: &ApiResource| {
            resource.kind == kind && version.is_none_or(|version| resource.api_version == version)
        };
        let found =
            self.all().filter(|(resource, _)| wanted(resource)).min_by_key(|(resource, _)| rank(resource));
        let Some((resource, scope)) = found else {
            let of = version.map_or_else(String::new, |version| format!(" of {version}"));
            return Err(ObjectError::Impossible(format!(
                "the cluster serves no kind {kind}{of}; install its CustomResourceDefinition, or add it to the case's needs"
            )));
        };
        let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
        let is_cluster_scoped = scope == Scope::Cluster;
        let api = if is_cluster_scoped {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), own, &resource)
        };
        Ok(Reach { api, resource, is_cluster_scoped })
    }

    /// Writes, and returns what the server made of it.
    pub(crate) async fn write(
        &self,
        verb: Verb,
        object: &Value,
        namespace: &str,
        dry_run: bool,
    ) -> Result<(Value, Reach), ObjectError> {
        let reach = self.reach(object, namespace)?;
        let mut body = object.clone();
        body["apiVersion"] = Value::from(reach.resource.api_version.as_str());
        let Some(name) = object["metadata"]["name"].as_str() else {
            return Err(ObjectError::Impossible(format!(
                "the object to {} has no metadata.name",
                verb.name()
            )));
        };
        let params =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = &reach.api;
        let written = match verb {
            Verb::Create => {
                if !reach.is_cluster_scoped && body["metadata"]["namespace"].is_null() {
                    body["metadata"]["namespace"] = Value::from(namespace);
                }
                let typed: DynamicObject = serde_json::from_value(body).map_err(|error| {
                    ObjectError::Impossible(format!(
                        "the object has no shape of an object: {error}: {}",
                        brief(object)
                    ))
                })?;
                let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
                Some(api.create(&params, &typed).await?)
            }
            Verb::Apply => {
                Some(api.patch(name, &PatchParams { force: true, ..params }, &Patch::Apply(&body)).await?)
            }
            Verb::Patch => Some(api.patch(name, &params, &Patch::Merge(&body)).await?),
            Verb::Status => Some(api.patch_status(name, &params, &Patch::Merge(&body)).await?),
            Verb::Delete => {
                let params = DeleteParams { dry_run, ..DeleteParams::background() };
                api.delete(name, &params).await?.left()
            }
        };
        let value = written.map_or(Value::Null, |written| plain(&written, &reach.resource));
        Ok((value, reach))
    }
}

/// An object as JSON, with the kind that items of lists lack.
pub(crate) fn plain(object: &DynamicObject, resource: &ApiResource) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or(Value::Null);
    value["apiVersion"] = Value::from(resource.api_version.as_str());
    value["kind"] = Value::from(resource.kind.as_str());
    value
}

/// What an object or tree is called in a message.
pub(crate) fn called(tree: &Value) -> String {
    let kind = tree["kind"].as_str().unwrap_or("object");
    match tree["metadata"]["name"].as_str() {
        Some(name) => format!("{kind} {name}"),
        None => format!("any {kind}"),
    }
}
