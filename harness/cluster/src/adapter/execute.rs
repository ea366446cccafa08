//! Carries out effects through the API, and puts the answers into the store at once.

use std::{fmt::Debug, sync::Arc};

use futures::future::try_join_all;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Endpoints, Pod},
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Recorder,
    store::{Routed, Store},
};
use crate::{
    controllers::replica_set,
    effect::{Effect, Note},
    world::{Key, Kind, controller_of},
};

/// Carries out effects.
#[derive(Clone)]
pub(crate) struct Executor {
    client: Client,
    store: Arc<Store>,
    recorder: Recorder,
}

/// How many pods are created or deleted at the same time.
const AT_ONCE: usize = 32;

impl Executor {
    pub(crate) fn new(client: Client, store: Arc<Store>, recorder: Recorder) -> Self {
        Self { client, store, recorder }
    }

    /// Carries out effects in their order; runs of pod creations and deletions go side by side.
    ///
    /// # Errors
    /// The first call that failed for another reason than that the object is gone; later effects are left out.
    pub(crate) async fn carry_out(&self, effects: Vec<Effect>) -> Result<(), kube::Error> {
        let mut together = Vec::new();
        for effect in effects {
            match effect {
                Effect::Report(note) => self.recorder.report(note),
                Effect::CreatePod(_) | Effect::Delete { .. } => {
                    together.push(effect);
                    if together.len() == AT_ONCE {
                        self.all(&mut together).await?;
                    }
                }
                effect => {
                    self.all(&mut together).await?;
                    self.one(effect).await?;
                }
            }
        }
        self.all(&mut together).await
    }

    async fn all(&self, effects: &mut Vec<Effect>) -> Result<(), kube::Error> {
        try_join_all(effects.drain(..).map(|effect| self.one(effect))).await.map(drop)
    }

    async fn one(&self, effect: Effect) -> Result<(), kube::Error> {
        match effect {
            Effect::CreatePod(pod) => return self.create_pod(&pod).await,
            Effect::CreateReplicaSet(set) => self.create(&*set).await?,
            Effect::CreateEndpoints(endpoints) => self.create(&*endpoints).await?,
            Effect::CreateServiceAccount(account) => self.create(&*account).await?,
            Effect::Patch { kind, key, status, patch } => self.patch(kind, &key, status, &patch).await?,
            Effect::Delete { kind, key, uid } => self.delete(kind, &key, &uid).await?,
            Effect::Bind { pod, uid, node } => self.bind(&pod, &uid, &node).await?,
            Effect::Report(note) => self.recorder.report(note),
        }
        Ok(())
    }

    async fn create_pod(&self, pod: &Pod) -> Result<(), kube::Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let owner = controller_of(&pod.metadata);
        let key = Key::new(namespace, owner.map_or("", |owner| owner.name.as_str()));
        let note = |warning, reason: &str, message: String| {
            self.recorder.report(Note {
                kind: Kind::ReplicaSet,
                key: key.clone(),
                uid: owner.map_or_else(String::new, |owner| owner.uid.clone()),
                field_path: String::new(),
                warning,
                reason: reason.to_owned(),
                action: String::new(),
                message,
                component: replica_set::COMPONENT,
            });
        };
        match Api::<Pod>::namespaced(self.client.clone(), namespace).create(&PostParams::default(), pod).await
        {
            Ok(pod) => {
                note(
                    false,
                    "SuccessfulCreate",
                    format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or("")),
                );
                self.store.apply(pod);
                self.store.set_creation_failure(&key, None);
                Ok(())
            }
            Err(error) => {
                let message = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                note(true, "FailedCreate", format!("Error creating: {message}"));
                self.store.set_creation_failure(&key, Some(message));
                Err(error)
            }
        }
    }

    async fn create<T>(&self, object: &T) -> Result<(), kube::Error>
    where
        T: Routed
            + Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Serialize
            + DeserializeOwned
            + Debug,
    {
        let key = Key::of(Resource::meta(object));
        let api = Api::<T>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), object).await {
            Ok(created) => self.store.apply(created),
            // Somebody was quicker; the watch or this look brings what is there.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                if let Some(present) = api.get_opt(&key.name).await? {
                    self.store.apply(present);
                }
            }
            // The namespace is going away.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_forbidden() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Merges a patch into an object; one that is gone needs none.
    pub(crate) async fn patch(
        &self,
        kind: Kind,
        key: &Key,
        status: bool,
        patch: &Value,
    ) -> Result<(), kube::Error> {
        match kind {
            Kind::Pod => self.patch_one::<Pod>(key, status, patch).await,
            Kind::Endpoints => self.patch_one::<Endpoints>(key, status, patch).await,
            Kind::Deployment => self.patch_one::<Deployment>(key, status, patch).await,
            Kind::ReplicaSet => self.patch_one::<ReplicaSet>(key, status, patch).await,
            Kind::Namespace | Kind::Node | Kind::Service | Kind::ServiceAccount => Ok(()),
        }
    }

    async fn patch_one<T>(&self, key: &Key, status: bool, patch: &Value) -> Result<(), kube::Error>
    where
        T: Routed + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
    {
        let api = Api::<T>::namespaced(self.client.clone(), &key.namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let answer = if status {
            api.patch_status(&key.name, &parameters, &patch).await
        } else {
            api.patch(&key.name, &parameters, &patch).await
        };
        match answer {
            Ok(object) => self.store.apply(object),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn delete(&self, kind: Kind, key: &Key, uid: &str) -> Result<(), kube::Error> {
        match kind {
            Kind::Pod => self.delete_one::<Pod>(key, uid, None).await,
            Kind::Endpoints => self.delete_one::<Endpoints>(key, uid, None).await,
            Kind::ReplicaSet => self.delete_one::<ReplicaSet>(key, uid, None).await,
            Kind::Deployment => self.delete_one::<Deployment>(key, uid, None).await,
            Kind::Namespace | Kind::Node | Kind::Service | Kind::ServiceAccount => Ok(()),
        }
    }

    /// Removes a pod whose processes have ended.
    pub(crate) async fn remove_pod(&self, key: &Key, uid: &str) -> Result<(), kube::Error> {
        self.delete_one::<Pod>(key, uid, Some(0)).await
    }

    async fn delete_one<T>(
        &self,
        key: &Key,
        uid: &str,
        grace_period_s: Option<u32>,
    ) -> Result<(), kube::Error>
    where
        T: Routed + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Debug,
    {
        let api = Api::<T>::namespaced(self.client.clone(), &key.namespace);
        let parameters = DeleteParams {
            grace_period_seconds: grace_period_s,
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::background()
        };
        match api.delete(&key.name, &parameters).await {
            // The object is there as long as finalizers or its grace keep it.
            Ok(answer) => match answer.left() {
                Some(object) if is_still_there(Resource::meta(&object), grace_period_s) => {
                    self.store.apply(object)
                }
                _ => self.store.bury::<T>(key, uid),
            },
            // Gone, or another object of that name: either way this one is no more.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                self.store.bury::<T>(key, uid);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn bind(&self, key: &Key, uid: &str, node: &str) -> Result<(), kube::Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let answer: Result<Status, _> =
            api.create_subresource("binding", &key.name, &PostParams::default(), &binding).await;
        match answer {
            Ok(_) => self.store.assume_bound(key, uid, node),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether a deletion that answered with the object has left it there: it carries a deletion time, and something
/// (a grace period, finalizers) to wait for.
fn is_still_there(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    grace_period_s: Option<u32>,
) -> bool {
    let has_finalizers = metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    let waits =
        grace_period_s != Some(0) && metadata.deletion_grace_period_seconds.is_some_and(|grace| grace > 0);
    metadata.deletion_timestamp.is_some() && (has_finalizers || waits)
}
