//! Waits on the API server's own events: nothing is asked for again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use tokio::time::Instant;

use super::objects::{Kinds, ObjectError, Reach, plain};
use crate::assertion::{Mismatch, mismatches};

/// Objects by namespace and name, as last seen.
pub(crate) type Seen = BTreeMap<String, Value>;

/// How a wait ended.
pub(crate) enum Waited<T> {
    /// What was waited for came.
    Held(T),
    /// The time passed; what was there then.
    TimedOut(Seen),
}

/// Watches what a tree is about until `judge` has an answer. It is asked after the first list and every change.
pub(crate) async fn watch<T>(
    kinds: &Kinds,
    namespace: &str,
    tree: &Value,
    limit: Duration,
    mut judge: impl FnMut(&Seen) -> Option<T> + Send,
) -> Result<Waited<T>, ObjectError> {
    let reach = kinds.reach(tree, namespace)?;
    let mut config = watcher::Config::default();
    if let Some(name) = tree["metadata"]["name"].as_str() {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let end = Instant::now() + limit;
    let mut seen = Seen::new();
    let mut last_error = None;
    let mut events = std::pin::pin!(watcher::watcher(reach.api.clone(), config).default_backoff());
    let mut is_listed = false;
    loop {
        let event = match tokio::time::timeout_at(end, events.next()).await {
            Err(_) if is_listed => return Ok(Waited::TimedOut(seen)),
            Err(_) => {
                let why = last_error.unwrap_or_else(|| "no answer".to_owned());
                return Err(ObjectError::Unreachable(format!("listing {}: {why}", reach.resource.plural)));
            }
            Ok(None) => return Err(ObjectError::Unreachable("the watch ended".to_owned())),
            Ok(Some(Err(error))) => {
                last_error = Some(error.to_string());
                continue;
            }
            Ok(Some(Ok(event))) => event,
        };
        match event {
            Event::Init => {
                seen.clear();
                is_listed = false;
                continue;
            }
            Event::InitApply(object) => {
                insert(&mut seen, &reach, &object);
                continue;
            }
            Event::InitDone => is_listed = true,
            Event::Apply(object) => insert(&mut seen, &reach, &object),
            Event::Delete(object) => {
                seen.remove(&key(&object));
            }
        }
        if is_listed && let Some(answer) = judge(&seen) {
            return Ok(Waited::Held(answer));
        }
    }
}

fn insert(seen: &mut Seen, reach: &Reach, object: &kube::api::DynamicObject) {
    seen.insert(key(object), plain(object, &reach.resource));
}

fn key(object: &kube::api::DynamicObject) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&object.metadata.namespace), part(&object.metadata.name))
}

/// The object that matches, if any.
pub(crate) fn matching<'s>(seen: &'s Seen, tree: &Value) -> Option<&'s Value> {
    seen.values().find(|object| mismatches(tree, object).is_empty())
}

/// Where the object that comes nearest differs; empty when there is no object at all.
pub(crate) fn nearest(seen: &Seen, tree: &Value) -> (Option<String>, Vec<Mismatch>) {
    let differing = seen.values().map(|object| (object, mismatches(tree, object)));
    let nearest = differing.min_by_key(|(_, found)| found.len());
    nearest.map_or((None, Vec::new()), |(object, found)| {
        (object["metadata"]["name"].as_str().map(str::to_owned), found)
    })
}
