//! Watches: a cursor into the log of changes, turned into events on demand.
//!
//! A watcher has no queue. It remembers the revision that it has seen and reads the log when its client reads;
//! one that stops reading costs nothing, and is told 410 Gone when the log has moved past it.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Answer, Payload, State, Target,
    options::RequestOptions,
    present::Presentation,
    read::{Selection, parse_revision, reached},
};
use crate::{
    object::metadata_mut,
    status::{ApiError, FieldError},
    store::{Change, Object},
};

/// Events that one step of a cursor makes at most.
const STEP: usize = 256;

/// What the HTTP layer needs to follow a watch.
#[derive(Debug)]
pub(crate) struct WatchRequest {
    pub(crate) cursor: Cursor,
    /// Seconds after which the stream ends.
    pub(crate) timeout_s: Option<u64>,
}

/// Where a watcher is.
#[derive(Debug)]
pub(crate) struct Cursor {
    target: Target,
    selection: Selection,
    presentation: Presentation,
    bookmarks: bool,
    /// Everything up to this revision has been told.
    revision: u64,
    /// The state at the start of the watch that is still to be told. These are shared with the store.
    initial: VecDeque<Arc<Object>>,
    /// The client waits for the bookmark that ends the initial state.
    end_of_initial: bool,
    ended: bool,
    told_columns: bool,
}

pub(crate) fn start(
    state: &State,
    target: &Target,
    options: &RequestOptions,
    presentation: &Presentation,
) -> Result<Answer, ApiError> {
    check(options)?;
    let selection = Selection::parse(target, options)?;
    begin(state, target, options, presentation, selection)
}

/// The legacy path that watches one object by name.
pub(crate) fn start_one(
    state: &State,
    target: &Target,
    name: &str,
    options: &RequestOptions,
    presentation: &Presentation,
) -> Result<Answer, ApiError> {
    let options = RequestOptions { field_selector: format!("metadata.name={name}"), ..options.clone() };
    start(state, target, &options, presentation)
}

fn begin(
    state: &State,
    target: &Target,
    options: &RequestOptions,
    presentation: &Presentation,
    selection: Selection,
) -> Result<Answer, ApiError> {
    let from = parse_revision(&options.resource_version)?;
    // A watch may begin in the future: it is silent until then. Only the state of the future can't be told.
    if options.send_initial_events == Some(true) {
        reached(state, &options.resource_version)?;
    }
    let send_initial = match options.send_initial_events {
        Some(send) => send,
        // Without a revision, or from 0, a watch starts with the current state.
        None => from.unwrap_or_default() == 0,
    };
    let current = state.store.revision();
    let mut cursor = Cursor {
        target: target.clone(),
        selection,
        presentation: *presentation,
        bookmarks: options.allow_bookmarks,
        revision: match from {
            Some(revision) if revision > 0 && !send_initial => revision,
            _ => current,
        },
        initial: VecDeque::new(),
        end_of_initial: options.send_initial_events == Some(true) && options.allow_bookmarks,
        ended: false,
        told_columns: false,
    };
    if send_initial {
        let objects = state.store.list(&target.kind.shelf, target.namespace.as_deref());
        cursor.initial = objects
            .filter(|(_, object)| cursor.selection.matches(target, object))
            .map(|(_, object)| Arc::clone(object))
            .collect();
    }
    let mut answer = Answer::json(200, Value::Null);
    answer.payload = Payload::Watch(Box::new(WatchRequest { cursor, timeout_s: options.timeout_s }));
    Ok(answer)
}

fn check(options: &RequestOptions) -> Result<(), ApiError> {
    let field = "resourceVersionMatch";
    let given = options.resource_version_match.as_str();
    let mut errors = Vec::new();
    if options.send_initial_events.is_some() && given != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(field, why));
    }
    if !given.is_empty() {
        if options.send_initial_events.is_none() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(field, why));
        }
        if given != "NotOlderThan" {
            errors.push(FieldError::not_supported(field, &given.into(), &["NotOlderThan"]));
        }
        if !options.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(field, why));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

impl Cursor {
    /// The shelf whose changes this watcher waits for.
    pub(crate) fn shelf(&self) -> &Arc<str> {
        &self.target.kind.shelf
    }

    /// The newest revision that has been told.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the stream is over.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The next events as lines of JSON, up to a revision; empty when there is nothing new.
    pub(crate) fn step(&mut self, state: &State, visible: u64, now: Timestamp) -> Vec<u8> {
        let mut lines = Vec::new();
        if !self.initial.is_empty() {
            for _ in 0..STEP {
                let Some(object) = self.initial.pop_front() else { break };
                self.tell("ADDED", &object, None, now, &mut lines);
            }
            return lines;
        }
        if self.end_of_initial {
            self.end_of_initial = false;
            self.bookmark(true, now, &mut lines);
            return lines;
        }
        match state.store.changes_since(self.shelf(), self.revision, STEP) {
            Err(gone) => {
                let error = ApiError::expired(format!(
                    "too old resource version: {} ({})",
                    gone.requested, gone.oldest
                ));
                let mut body = error.body();
                body["metadata"] = json!({});
                push_line(&json!({"type": "ERROR", "object": body}), &mut lines);
                self.ended = true;
            }
            Ok(changes) if changes.first().is_none_or(|change| change.revision > visible) => {
                self.revision = self.revision.max(visible);
            }
            Ok(changes) => {
                for change in changes.iter().take_while(|change| change.revision <= visible) {
                    self.change(change, now, &mut lines);
                    self.revision = change.revision;
                }
            }
        }
        lines
    }

    /// A bookmark at the revision that has been told, for clients that want them.
    pub(crate) fn idle_bookmark(&self, now: Timestamp) -> Vec<u8> {
        let mut lines = Vec::new();
        if self.bookmarks && self.initial.is_empty() && !self.ended {
            self.bookmark(false, now, &mut lines);
        }
        lines
    }

    fn change(&mut self, change: &Change, now: Timestamp, lines: &mut Vec<u8>) {
        let elsewhere =
            self.target.namespace.as_ref().is_some_and(|namespace| **namespace != *change.key.namespace);
        if elsewhere {
            return;
        }
        let selected = |object: &Arc<Object>| self.selection.matches(&self.target, object);
        let before = change.before.as_ref().filter(|object| selected(object));
        let after = change.after.as_ref().filter(|object| selected(object));
        match (before, after) {
            (None, Some(after)) => self.tell("ADDED", &Arc::clone(after), None, now, lines),
            (Some(_), Some(after)) => self.tell("MODIFIED", &Arc::clone(after), None, now, lines),
            (Some(before), None) => {
                self.tell("DELETED", &Arc::clone(before), Some(change.revision), now, lines)
            }
            (None, None) => {}
        }
    }

    fn tell(
        &mut self,
        kind: &str,
        object: &Arc<Object>,
        revision: Option<u64>,
        now: Timestamp,
        lines: &mut Vec<u8>,
    ) {
        let target = &self.target;
        let is_stored_form = target.kind.shows_as_stored(object, target.version);
        if self.presentation == Presentation::Plain && is_stored_form && revision.is_none() {
            lines.extend_from_slice(b"{\"type\":\"");
            lines.extend_from_slice(kind.as_bytes());
            lines.extend_from_slice(b"\",\"object\":");
            lines.extend_from_slice(object.json_line().trim_ascii_end());
            lines.extend_from_slice(b"}\n");
            return;
        }
        let mut shown = target.kind.convert(object, target.version);
        if let Some(revision) = revision {
            metadata_mut(&mut shown).insert("resourceVersion".into(), revision.to_string().into());
        }
        let first = !std::mem::replace(&mut self.told_columns, true);
        let shown = self.presentation.event(&target.kind, target.version, shown, now, first);
        push_line(&json!({"type": kind, "object": shown}), lines);
    }

    fn bookmark(&self, ends_initial: bool, now: Timestamp, lines: &mut Vec<u8>) {
        let kind = &self.target.kind;
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": &*kind.name, "apiVersion": kind.api_version(self.target.version),
            "metadata": metadata});
        let object = match self.presentation {
            Presentation::Table { api_version, .. } => json!({"kind": "Table", "apiVersion": api_version,
                "metadata": {"resourceVersion": self.revision.to_string()}, "columnDefinitions": null,
                "rows": [{"cells": [], "object": object}]}),
            other => other.object(kind, self.target.version, object, now),
        };
        push_line(&json!({"type": "BOOKMARK", "object": object}), lines);
    }
}

fn push_line(value: &Value, lines: &mut Vec<u8>) {
    lines.extend_from_slice(value.to_string().as_bytes());
    lines.push(b'\n');
}
