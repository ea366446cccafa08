//! Effects to requests.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::clock::{Clock, time};
use crate::effect::Effect;
use crate::world::{Kept, Object, ObjectKey, Refusal, with_kind, with_object};

/// Who the API server notes as the owner of the fields that are applied: upstream's name.
const FIELD_MANAGER: &str = "kserve-controller-manager";
/// Longest time for one request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// What came of an effect.
#[derive(Default)]
pub(super) struct Outcome {
    /// The object as it is after a patch.
    pub(super) object: Option<Object>,
    /// What was applied, if that is what was done.
    pub(super) applied: Option<Object>,
    /// The object that was created.
    pub(super) created: Option<Object>,
}

/// Why an effect was not carried out.
#[derive(Debug)]
pub(super) struct Failure {
    /// In words.
    pub(super) message: String,
    /// The API server's answer about the object itself. Other effects need not wait for it to become another one.
    pub(super) refusal: Option<Refusal>,
}

/// Carries one effect out.
///
/// # Errors
/// The API server's refusal, or why it did not answer.
pub(super) async fn carry_out(client: &Client, effect: Effect) -> Result<Outcome, Failure> {
    let what = describe(&effect);
    let child = match &effect {
        Effect::Create(object) | Effect::Apply(object) => Some(object.clone()),
        _ => None,
    };
    match tokio::time::timeout(REQUEST_WITHIN, Box::pin(request(client, effect))).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(Failure {
            refusal: child.and_then(|child| refusal(&child, &error)),
            message: format!("{what}: {error}"),
        }),
        Err(_) => Err(Failure {
            message: format!("{what}: no answer within {} s", REQUEST_WITHIN.as_secs()),
            refusal: None,
        }),
    }
}

/// An answer that the same request would get again: not that something is missing, has changed meanwhile or is too busy.
fn refusal(child: &Object, error: &kube::Error) -> Option<Refusal> {
    let kube::Error::Api(answer) = error else { return None };
    let is_final = (400..500).contains(&answer.code) && !matches!(answer.code, 401 | 404 | 409 | 429);
    is_final.then(|| Refusal::new(child, answer.reason.clone(), answer.message.clone()))
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Create(object) => format!("create {:?} {}", object.kind(), object.key()),
        Effect::Apply(object) => format!("apply {:?} {}", object.kind(), object.key()),
        Effect::Patch { kind, key, status: false, .. } => format!("patch {kind:?} {key}"),
        Effect::Patch { kind, key, status: true, .. } => format!("patch the status of {kind:?} {key}"),
        Effect::Scale { path, replicas } => format!("set {path} to {replicas} replicas"),
        Effect::Delete { kind, key } => format!("delete {kind:?} {key}"),
        Effect::Event { kind, key, .. } => format!("record an event about {kind} {key}"),
        Effect::Requeue { after_ms } => format!("look again after {after_ms} ms"),
    }
}

async fn request(client: &Client, effect: Effect) -> Result<Outcome, kube::Error> {
    match effect {
        Effect::Create(object) => {
            let created = with_object!(object, object => create(client, &*object).await);
            match created {
                Err(kube::Error::Api(answer)) if answer.code == 409 && answer.reason == "AlreadyExists" => {
                    Ok(Outcome::default())
                }
                created => created.map(|object| Outcome { created: Some(object), ..Outcome::default() }),
            }
        }
        Effect::Apply(object) => {
            let applied = object.clone();
            let object = with_object!(object, object => apply(client, &applied, &*object).await)?;
            Ok(Outcome { object: Some(object), applied: Some(applied), created: None })
        }
        Effect::Patch { kind, key, patch: change, status } => {
            let patched = with_kind!(kind, K => patch::<K>(client, &key, &change, status).await.map(K::wrap));
            none_if_gone(patched).map(|object| Outcome { object, ..Outcome::default() })
        }
        Effect::Delete { kind, key } => {
            let deleted = with_kind!(kind, K => delete::<K>(client, &key).await);
            none_if_gone(deleted).map(|_| Outcome::default())
        }
        Effect::Scale { path, replicas } => {
            let body = serde_json::json!({"spec": {"replicas": replicas}}).to_string().into_bytes();
            let request = http::Request::patch(path)
                .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
                .body(body)
                .map_err(kube::Error::HttpError)?;
            none_if_gone(client.request::<Value>(request).await).map(|_| Outcome::default())
        }
        // The engine has noted it.
        Effect::Requeue { .. } => Ok(Outcome::default()),
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
                reason: Some(reason),
                message: Some(message),
                first_timestamp: Some(time(now_ns)),
                last_timestamp: Some(time(now_ns)),
                count: Some(1),
                source: Some(EventSource {
                    component: Some(component(api_version).to_owned()),
                    ..EventSource::default()
                }),
                ..Event::default()
            };
            let events = Api::<Event>::namespaced(client.clone(), &key.namespace);
            events.create(&PostParams::default(), &event).await.map(|_| Outcome::default())
        }
    }
}

/// Who tells of an event, by the API version of the object that it is about.
fn component(api_version: &str) -> &'static str {
    if api_version.starts_with("keda.sh/") { "keda-operator" } else { "v1beta1Controllers" }
}

async fn create<K: Kept>(client: &Client, object: &K) -> Result<Object, kube::Error> {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    K::api(client.clone(), namespace).create(&PostParams::default(), object).await.map(K::wrap)
}

/// The fields are ours whoever had them before: two managers that both want a field would else stop one of them for
/// ever, and the one that is named in the owner reference is right.
async fn apply<K: Kept>(client: &Client, fields: &Object, _: &K) -> Result<Object, kube::Error> {
    let key = fields.key();
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let api = K::api(client.clone(), &key.namespace);
    api.patch(&key.name, &parameters, &Patch::Apply(fields.to_json())).await.map(K::wrap)
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
