//! Which objects belong together, kept up to date with every change, so that a reconcile looks at its own objects and
//! not at all of a namespace.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use windtunnel_api::kserve::names;

use super::{Kind, ObjectKey};

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// By UID of the controller.
    controlled: HashMap<String, BTreeSet<(Kind, ObjectKey)>>,
    /// By the InferenceService that the label names.
    pods: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Index {
    pub(super) fn note(&mut self, kind: Kind, key: &ObjectKey, metadata: &ObjectMeta) {
        if let Some(uid) = controller(metadata) {
            self.controlled.entry(uid.to_owned()).or_default().insert((kind, key.clone()));
        }
        if let Some(service) = service_of_pod(kind, key, metadata) {
            self.pods.entry(service).or_default().insert(key.clone());
        }
    }

    pub(super) fn forget(&mut self, kind: Kind, key: &ObjectKey, metadata: &ObjectMeta) {
        if let Some(uid) = controller(metadata)
            && let Some(children) = self.controlled.get_mut(uid)
        {
            children.remove(&(kind, key.clone()));
            if children.is_empty() {
                self.controlled.remove(uid);
            }
        }
        if let Some(service) = service_of_pod(kind, key, metadata)
            && let Some(pods) = self.pods.get_mut(&service)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.pods.remove(&service);
            }
        }
    }

    pub(super) fn controlled_by(&self, uid: &str) -> impl Iterator<Item = &(Kind, ObjectKey)> {
        self.controlled.get(uid).into_iter().flatten()
    }

    pub(super) fn pods_of(&self, service: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.pods.get(service).into_iter().flatten()
    }
}

fn controller(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

fn service_of_pod(kind: Kind, key: &ObjectKey, metadata: &ObjectMeta) -> Option<ObjectKey> {
    let label = metadata.labels.as_ref()?.get(names::INFERENCE_SERVICE_LABEL)?;
    (kind == Kind::Pod).then(|| key.sibling(label.clone()))
}
