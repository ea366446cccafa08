//! Effects to requests.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde_json::Value;

use crate::clock::{Clock, time};
use crate::effect::Effect;
use crate::world::{Kept, Object, ObjectKey, with_kind};

/// Longest time for one request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Carries one effect out. Returns the object as it is after a patch.
///
/// # Errors
/// The API server's refusal, in words.
pub(super) async fn carry_out(client: &Client, effect: Effect) -> Result<Option<Object>, String> {
    let what = describe(&effect);
    match tokio::time::timeout(REQUEST_WITHIN, Box::pin(request(client, effect))).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: no answer within {} s", REQUEST_WITHIN.as_secs())),
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Create(object) => format!("create {:?} {}", object.kind(), object.key()),
        Effect::Patch { kind, key, status: false, .. } => format!("patch {kind:?} {key}"),
        Effect::Patch { kind, key, status: true, .. } => format!("patch the status of {kind:?} {key}"),
        Effect::Delete { kind, key } => format!("delete {kind:?} {key}"),
        Effect::Event { kind, key, .. } => format!("record an event about {kind} {key}"),
    }
}

async fn request(client: &Client, effect: Effect) -> Result<Option<Object>, kube::Error> {
    match effect {
        Effect::Create(object) => {
            let key = object.key();
            let created = match object {
                Object::Service(object) => create(client, &key, &*object).await,
                Object::Configuration(object) => create(client, &key, &*object).await,
                Object::Revision(object) => create(client, &key, &*object).await,
                Object::Route(object) => create(client, &key, &*object).await,
                Object::Deployment(object) => create(client, &key, &*object).await,
                Object::CoreService(object) => create(client, &key, &*object).await,
                // No reconciler makes objects of the other kinds.
                other => {
                    tracing::error!(kind = ?other.kind(), "an object of this kind is never made");
                    Ok(())
                }
            };
            match created {
                Err(kube::Error::Api(answer)) if answer.code == 409 && answer.reason == "AlreadyExists" => {
                    Ok(None)
                }
                other => other.map(|()| None),
            }
        }
        Effect::Patch { kind, key, patch: change, status } => {
            let patched = with_kind!(kind, K => patch::<K>(client, &key, &change, status).await.map(K::wrap));
            none_if_gone(patched)
        }
        Effect::Delete { kind, key } => {
            let deleted = with_kind!(kind, K => delete::<K>(client, &key).await);
            none_if_gone(deleted).map(|_| None)
        }
        Effect::Event { api_version, kind, key, uid, severity, reason, message } => {
            let now_ns = Clock::new().now_ns();
            let event = Event {
                metadata: ObjectMeta {
                    name: Some(format!("{}.{now_ns:x}", key.name)),
                    namespace: Some(key.namespace.clone()),
                    ..ObjectMeta::default()
                },
                involved_object: ObjectReference {
                    api_version: Some(api_version.to_owned()),
                    kind: Some(kind.to_owned()),
                    name: Some(key.name.clone()),
                    namespace: Some(key.namespace.clone()),
                    uid: Some(uid),
                    ..ObjectReference::default()
                },
                type_: Some(severity.to_owned()),
                reason: Some(reason.to_owned()),
                message: Some(message),
                first_timestamp: Some(time(now_ns)),
                last_timestamp: Some(time(now_ns)),
                count: Some(1),
                source: Some(EventSource {
                    component: Some("v1beta1Controllers".to_owned()),
                    ..EventSource::default()
                }),
                ..Event::default()
            };
            create(client, &key, &event).await.map(|()| None)
        }
    }
}

async fn create<K>(client: &Client, key: &ObjectKey, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), &key.namespace);
    api.create(&PostParams::default(), object).await.map(|_| ())
}

async fn patch<K: Kept>(
    client: &Client,
    key: &ObjectKey,
    change: &Value,
    status: bool,
) -> Result<K, kube::Error> {
    let api = K::api(client.clone(), &key.namespace);
    let parameters = PatchParams::default();
    if status {
        api.patch_status(&key.name, &parameters, &Patch::Merge(change)).await
    } else {
        api.patch(&key.name, &parameters, &Patch::Merge(change)).await
    }
}

async fn delete<K: Kept>(client: &Client, key: &ObjectKey) -> Result<(), kube::Error> {
    K::api(client.clone(), &key.namespace).delete(&key.name, &DeleteParams::background()).await.map(|_| ())
}

fn none_if_gone<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
