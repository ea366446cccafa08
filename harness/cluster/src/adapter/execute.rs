//! Carries out effects through the API, and puts the answers into the store at once.

use std::{path::PathBuf, sync::Arc};

use futures::future::try_join_all;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Api, Client, api::PostParams, core::Status};
use serde_json::{Value, json};

use super::{Recorder, store::Store};
use crate::{
    controllers::{job, replica_set, stateful_set},
    effect::{Effect, Note},
    world::{Key, Kind, controller_of},
};

/// Carries out effects.
#[derive(Clone)]
pub(crate) struct Executor {
    client: Client,
    store: Arc<Store>,
    recorder: Recorder,
    /// Below it lie the folders of volumes.
    volumes: PathBuf,
}

/// How many pods are created or deleted at the same time.
const AT_ONCE: usize = 32;

impl Executor {
    pub(crate) fn new(client: Client, store: Arc<Store>, recorder: Recorder, volumes: PathBuf) -> Self {
        Self { client, store, recorder, volumes }
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
                Effect::Tell(note) => self.recorder.tell(note),
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
            Effect::Create { kind, key, object } => self.create(kind, &key, &object).await?,
            Effect::Patch { kind, key, status, patch } => self.patch(kind, &key, status, &patch).await?,
            Effect::Adopt { owner, owner_key, owner_uid, kind, key, patch } => {
                let found =
                    self.call("GET", &path(owner, &owner_key), "application/json", &Value::Null).await;
                match found {
                    Ok(found) if may_adopt(&found, &owner_uid) => {
                        self.patch(kind, &key, false, &patch).await?
                    }
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
            Effect::Delete { kind, key, uid } => self.delete(kind, &key, &uid, None).await?,
            Effect::Bind { pod, uid, node } => self.bind(&pod, &uid, &node).await?,
            Effect::Report(note) => self.recorder.report(note),
            Effect::Tell(note) => self.recorder.tell(note),
            Effect::RemoveFolder { path } => self.remove_folder(&path),
        }
        Ok(())
    }

    async fn create_pod(&self, pod: &Pod) -> Result<(), kube::Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let owner = controller_of(&pod.metadata);
        let kind = owner.and_then(owner_kind);
        let key = Key::new(namespace, owner.map_or("", |owner| owner.name.as_str()));
        let note = |warning, reason: &str, message: String| {
            let Some(kind) = kind else { return };
            self.recorder.report(Note {
                kind,
                key: key.clone(),
                uid: owner.map_or_else(String::new, |owner| owner.uid.clone()),
                field_path: String::new(),
                warning,
                reason: reason.to_owned(),
                action: String::new(),
                message,
                component: component_of(kind),
            });
        };
        let in_set = |pod: &Pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            format!("create Pod {name} in StatefulSet {}", key.name)
        };
        match Api::<Pod>::namespaced(self.client.clone(), namespace).create(&PostParams::default(), pod).await
        {
            Ok(pod) => {
                let message = if kind == Some(Kind::StatefulSet) {
                    format!("{} successful", in_set(&pod))
                } else {
                    format!("Created pod: {}", pod.metadata.name.as_deref().unwrap_or(""))
                };
                note(false, "SuccessfulCreate", message);
                self.store.apply(pod);
                if let Some(kind) = kind {
                    self.store.set_creation_failure(&(kind, key), None);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.fetch(Kind::Pod, &Key::of(&pod.metadata)).await
            }
            Err(error) => {
                let why = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let message = if kind == Some(Kind::StatefulSet) {
                    format!("{} failed error: {why}", in_set(pod))
                } else {
                    format!("Error creating: {why}")
                };
                note(true, "FailedCreate", message);
                if let Some(kind) = kind {
                    self.store.set_creation_failure(&(kind, key), Some(why));
                }
                Err(error)
            }
        }
    }

    async fn create(&self, kind: Kind, key: &Key, object: &Value) -> Result<(), kube::Error> {
        match self.call("POST", &collection(kind, &key.namespace), "application/json", object).await {
            Ok(created) => self.take_in(kind, created),
            // Somebody was quicker; the watch or this look brings what is there.
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.fetch(kind, key).await?,
            // The namespace is going away.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_forbidden() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes an object in as the server has it.
    async fn fetch(&self, kind: Kind, key: &Key) -> Result<(), kube::Error> {
        match self.call("GET", &path(kind, key), "application/json", &Value::Null).await {
            Ok(object) => self.take_in(kind, object),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(bytes)
            .map_err(kube::Error::HttpError)?;
        self.client.request::<Value>(request).await
    }

    fn take_in(&self, kind: Kind, object: Value) {
        if let Err(error) = self.store.apply_value(kind, object) {
            tracing::debug!(kind = kind.name(), %error, "an answer could not be read; the watch will bring it");
        }
    }

    /// Merges a patch into an object; one that is gone needs none.
    pub(crate) async fn patch(
        &self,
        kind: Kind,
        key: &Key,
        status: bool,
        patch: &Value,
    ) -> Result<(), kube::Error> {
        let path = if status { format!("{}/status", path(kind, key)) } else { path(kind, key) };
        match self.call("PATCH", &path, "application/merge-patch+json", patch).await {
            // A patch that takes the last finalizer of an object that is being deleted ends it.
            Ok(object) if has_ended(&object) => {
                self.store.bury_kind(kind, key, object["metadata"]["uid"].as_str().unwrap_or_default());
            }
            Ok(object) => self.take_in(kind, object),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes a pod whose processes have ended.
    pub(crate) async fn remove_pod(&self, key: &Key, uid: &str) -> Result<(), kube::Error> {
        self.delete(Kind::Pod, key, uid, Some(0)).await
    }

    async fn delete(
        &self,
        kind: Kind,
        key: &Key,
        uid: &str,
        grace_period_s: Option<u32>,
    ) -> Result<(), kube::Error> {
        let mut options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        });
        if let Some(grace_period_s) = grace_period_s {
            options["gracePeriodSeconds"] = grace_period_s.into();
        }
        match self.call("DELETE", &path(kind, key), "application/json", &options).await {
            // The object is there as long as finalizers or its grace keep it.
            Ok(answer) if is_still_there(&answer, grace_period_s) => self.take_in(kind, answer),
            Ok(_) => self.store.bury_kind(kind, key, uid),
            // Gone, or another object of that name: either way this one is no more.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                self.store.bury_kind(kind, key, uid);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes the folder of a volume; only one below the cluster's own folder.
    fn remove_folder(&self, path: &str) {
        let path = std::path::Path::new(path);
        let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
        if climbs || !path.starts_with(&self.volumes) || path == self.volumes {
            tracing::warn!(path = %path.display(), "a volume's folder lies outside of the cluster's; it stays");
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "a volume's folder was not removed");
        }
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

/// The path of a kind's objects in a namespace.
fn collection(kind: Kind, namespace: &str) -> String {
    let root = if kind.api_version().contains('/') { "apis" } else { "api" };
    let (version, plural) = (kind.api_version(), kind.plural());
    if kind.is_namespaced() {
        format!("/{root}/{version}/namespaces/{namespace}/{plural}")
    } else {
        format!("/{root}/{version}/{plural}")
    }
}

/// The path of an object.
fn path(kind: Kind, key: &Key) -> String {
    format!("{}/{}", collection(kind, &key.namespace), key.name)
}

/// The kind that an owner reference names, if it owns pods here.
fn owner_kind(owner: &OwnerReference) -> Option<Kind> {
    [Kind::ReplicaSet, Kind::StatefulSet, Kind::Job].into_iter().find(|kind| kind.name() == owner.kind)
}

/// Component name in events about the pods of an owner.
fn component_of(kind: Kind) -> &'static str {
    match kind {
        Kind::StatefulSet => stateful_set::COMPONENT,
        Kind::Job => job::COMPONENT,
        _ => replica_set::COMPONENT,
    }
}

/// Whether a deletion that answered with the object has left it there: it carries a deletion time, and something
/// (a grace period, finalizers) to wait for.
fn is_still_there(answer: &Value, grace_period_s: Option<u32>) -> bool {
    let metadata = &answer["metadata"];
    let has_finalizers = metadata["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    let waits = grace_period_s != Some(0)
        && metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|grace| grace > 0);
    metadata["deletionTimestamp"].is_string() && (has_finalizers || waits)
}

/// Whether an owner is the one that was meant, and stays.
fn may_adopt(owner: &Value, uid: &str) -> bool {
    owner["metadata"]["uid"] == uid && owner["metadata"]["deletionTimestamp"].is_null()
}

/// Whether an update has taken the last thing that an object which is being deleted waited for.
fn has_ended(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    metadata["deletionTimestamp"].is_string()
        && is_empty(&metadata["finalizers"])
        && is_empty(&object["spec"]["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}
