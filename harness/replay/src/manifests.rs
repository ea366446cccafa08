//! The scenario's objects on their way to the cluster: manifests applied at the start, patches during the flight.

use std::path::Path;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::discovery::{ApiResource, Discovery, Scope};
use serde_json::Value;
use windtunnel_api::manifest::Manifest;

use crate::FlightError;

/// Who applies, in `managedFields`.
const FIELD_MANAGER: &str = "windtunnel";
/// Where a manifest without a namespace goes.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// The kinds that the cluster serves.
pub(crate) struct Kinds {
    client: Client,
    discovery: Discovery,
}

impl Kinds {
    /// Asks the cluster what it serves.
    pub(crate) async fn discover(client: Client) -> Result<Self, FlightError> {
        let discovery = Discovery::new(client.clone())
            .run()
            .await
            .map_err(FlightError::api("asking which kinds the cluster serves"))?;
        Ok(Self { client, discovery })
    }

    /// Applies one manifest (server-side), making its namespace first where it does not exist.
    pub(crate) async fn apply(&self, path: &Path, manifest: &Manifest) -> Result<(), FlightError> {
        let Manifest { kind, api_version, name, .. } = manifest;
        let found = self.find(|resource| resource.kind == *kind && resource.api_version == *api_version);
        let Some((resource, scope)) = found else {
            return Err(FlightError::UnknownKind {
                path: path.to_path_buf(),
                kind: kind.clone(),
                api_version: api_version.clone(),
            });
        };
        let namespace = manifest.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        if scope == Scope::Namespaced {
            self.ensure_namespace(namespace).await?;
        }
        self.api(&resource, &scope, namespace)
            .patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&manifest.value))
            .await
            .map_err(|error| refusal(path, kind, name, error))?;
        Ok(())
    }

    /// Merges `change` into the object of this kind and name, in whatever served version the cluster prefers.
    pub(crate) async fn merge(
        &self,
        path: &Path,
        kind: &str,
        namespace: &str,
        name: &str,
        change: &Value,
    ) -> Result<(), FlightError> {
        let Some((resource, scope)) = self.find(|resource| resource.kind == kind) else {
            return Err(FlightError::UnknownKind {
                path: path.to_path_buf(),
                kind: kind.into(),
                api_version: String::new(),
            });
        };
        self.api(&resource, &scope, namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .map_err(|error| refusal(path, kind, name, error))?;
        Ok(())
    }

    /// The first served kind that is wanted; of each group the preferred version comes first.
    fn find(&self, wanted: impl Fn(&ApiResource) -> bool) -> Option<(ApiResource, Scope)> {
        let groups = self.discovery.groups();
        let served =
            groups.flat_map(|group| group.versions().flat_map(|version| group.versioned_resources(version)));
        served
            .into_iter()
            .find(|(resource, _)| wanted(resource))
            .map(|(resource, capabilities)| (resource, capabilities.scope))
    }

    fn api(&self, resource: &ApiResource, scope: &Scope, namespace: &str) -> Api<DynamicObject> {
        match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }

    async fn ensure_namespace(&self, name: &str) -> Result<(), FlightError> {
        let api = Api::<Namespace>::all(self.client.clone());
        if api
            .get_opt(name)
            .await
            .map_err(FlightError::api(format!("looking up namespace {name}")))?
            .is_some()
        {
            return Ok(());
        }
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        match api.create(&PostParams::default(), &namespace).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()), // made by somebody else in the meantime
            Err(error) => Err(FlightError::api(format!("creating namespace {name}"))(error)),
        }
    }
}

/// The API server's refusal in its own words, or the transport's error.
fn refusal(path: &Path, kind: &str, name: &str, error: kube::Error) -> FlightError {
    match error {
        kube::Error::Api(status) => FlightError::Refused {
            path: path.to_path_buf(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            message: status.message.clone(),
        },
        other => FlightError::api(format!("applying {kind} {name}"))(other),
    }
}
