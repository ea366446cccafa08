//! Writes Events, beside the work: nobody waits for them, and when too many come some are dropped.

use std::collections::{BTreeMap, VecDeque};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event_limit::EventLimit;
use crate::{controllers::scheduler, effect::Note, world::Key};

/// Events that wait to be written; more are dropped.
const WAITING: usize = 1024;
/// Events that are remembered, so that a repetition is counted instead of written again.
const REMEMBERED: usize = 4096;

/// Where events are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Told>,
}

/// A note, and whether it is about something that lasts, so that a repetition says nothing new.
#[derive(Debug)]
pub(crate) struct Told {
    note: Note,
    lasts: bool,
}

impl Recorder {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender }, receiver)
    }

    /// Hands in an event; never waits.
    pub(crate) fn report(&self, note: Note) {
        self.send(Told { note, lasts: false });
    }

    /// Hands in an event about something that lasts; never waits.
    pub(crate) fn tell(&self, note: Note) {
        self.send(Told { note, lasts: true });
    }

    fn send(&self, told: Told) {
        if self.sender.try_send(told).is_err() {
            tracing::debug!("an event was dropped");
        }
    }
}

/// Writes events until `stop`.
pub(crate) async fn record(
    client: Client,
    node: &'static str,
    mut notes: mpsc::Receiver<Told>,
    stop: CancellationToken,
) {
    let mut seen: BTreeMap<Note, (Key, i32)> = BTreeMap::new();
    let mut order: VecDeque<Note> = VecDeque::new();
    let mut limit = EventLimit::default();
    loop {
        let note = tokio::select! {
            () = stop.cancelled() => return,
            note = notes.recv() => note,
        };
        let Some(Told { note, lasts }) = note else { return };
        if lasts && seen.contains_key(&note) {
            continue;
        }
        let now = Timestamp::now();
        if !limit.allows(note.component, &note.uid, now) {
            continue;
        }
        if let Some((key, count)) = seen.get_mut(&note) {
            *count += 1;
            let api = Api::<Event>::namespaced(client.clone(), &key.namespace);
            let patch = json!({"count": count, "lastTimestamp": Time(now)});
            if api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await.is_ok() {
                continue;
            }
            seen.remove(&note);
            order.retain(|other| *other != note);
        }
        let event = event_of(&note, node, now);
        let key = Key::of(&event.metadata);
        let api = Api::<Event>::namespaced(client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                seen.insert(note.clone(), (key, 1));
                order.push_back(note);
                if order.len() > REMEMBERED
                    && let Some(oldest) = order.pop_front()
                {
                    seen.remove(&oldest);
                }
            }
            Err(error) => tracing::debug!(%error, "an event could not be written"),
        }
    }
}

fn event_of(note: &Note, node: &str, now: Timestamp) -> Event {
    let namespace = if note.key.namespace.is_empty() { "default" } else { note.key.namespace.as_str() };
    let is_kubelet = note.component == crate::node::COMPONENT;
    // The scheduler writes events of the newer form: a time in microseconds, an action, no source and no count.
    let is_new_form = note.component == scheduler::NAME;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", note.key.name, now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(note.kind.api_version().to_owned()),
            kind: Some(note.kind.name().to_owned()),
            name: Some(note.key.name.clone()),
            namespace: Some(note.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(note.uid.clone()),
            field_path: Some(note.field_path.clone()).filter(|path| !path.is_empty()),
            ..ObjectReference::default()
        },
        reason: Some(note.reason.clone()),
        message: Some(note.message.clone()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        action: Some(note.action.clone()).filter(|action| !action.is_empty()),
        event_time: is_new_form.then_some(MicroTime(now)),
        first_timestamp: (!is_new_form).then_some(Time(now)),
        last_timestamp: (!is_new_form).then_some(Time(now)),
        count: (!is_new_form).then_some(1),
        source: (!is_new_form).then(|| EventSource {
            component: Some(note.component.to_owned()),
            host: is_kubelet.then(|| node.to_owned()),
        }),
        reporting_component: Some(note.component.to_owned()),
        reporting_instance: if is_new_form {
            Some(format!("{}-{node}", note.component))
        } else {
            is_kubelet.then(|| node.to_owned())
        },
        ..Event::default()
    }
}
