//! What is worth keeping of a failed case before its namespace goes: conditions, events, ends of logs.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::{Value, json};

use super::objects::{Kinds, plain};
use crate::case::{Action, Case};

/// Lines kept of one case.
const MOST_LINES: usize = 200;
/// Lines kept of one log.
const LOG_LINES: i64 = 20;

/// Never fails: what cannot be read is said in its place.
pub(crate) async fn capture(kinds: &Kinds, case: &Case, namespace: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for wanted in touched(case) {
        let Ok(reach) = kinds.reach(&wanted, namespace) else { continue };
        if reach.is_cluster_scoped {
            continue;
        }
        match reach.api.list(&ListParams::default()).await {
            Ok(list) => {
                for item in &list.items {
                    conditions(&plain(item, &reach.resource), &mut lines);
                }
            }
            Err(error) => lines.push(format!("{}: {error}", reach.resource.plural)),
        }
    }
    events(kinds, namespace, &mut lines).await;
    logs(kinds, namespace, &mut lines).await;
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("and {more} lines more"));
    }
    lines
}

/// The kinds that a case is about, and those that always tell something.
fn touched(case: &Case) -> Vec<Value> {
    let mut kinds: BTreeSet<(Option<String>, String)> =
        ["InferenceService", "Deployment", "Pod"].map(|kind| (None, kind.to_owned())).into();
    let mut add = |value: &Value| {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(kind) = text("kind") {
            kinds.insert((text("apiVersion"), kind));
        }
    };
    for step in &case.steps {
        match &step.action {
            Action::Write { object, .. } => add(object),
            Action::Expect { tree, .. } | Action::Absent { tree } | Action::Never { tree, .. } => add(tree),
            Action::Unchanged { trees, .. } => trees.iter().for_each(&mut add),
            Action::Wait(condition) => add(&condition.object),
            _ => {}
        }
    }
    kinds.remove(&(None, "Event".to_owned()));
    kinds
        .into_iter()
        .map(|(version, kind)| match version {
            Some(version) => json!({"apiVersion": version, "kind": kind}),
            None => json!({"kind": kind}),
        })
        .collect()
}

fn conditions(object: &Value, lines: &mut Vec<String>) {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let deleting = if object["metadata"]["deletionTimestamp"].is_null() { "" } else { " (deleting)" };
    lines.push(format!("{} {}{deleting}", text(object, "kind"), text(&object["metadata"], "name")));
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        let line = format!(
            "  {}={} {} {}",
            text(condition, "type"),
            text(condition, "status"),
            text(condition, "reason"),
            text(condition, "message")
        );
        lines.push(line.trim_end().to_owned());
    }
}

async fn events(kinds: &Kinds, namespace: &str, lines: &mut Vec<String>) {
    let api = Api::<Event>::namespaced(kinds.client.clone(), namespace);
    match api.list(&ListParams::default()).await {
        Ok(list) => lines.extend(list.items.into_iter().map(|event| {
            let or_empty = Option::unwrap_or_default;
            format!(
                "event {} {} on {} {}: {}",
                or_empty(event.type_),
                or_empty(event.reason),
                or_empty(event.involved_object.kind),
                or_empty(event.involved_object.name),
                or_empty(event.message)
            )
        })),
        Err(error) => lines.push(format!("events: {error}")),
    }
}

async fn logs(kinds: &Kinds, namespace: &str, lines: &mut Vec<String>) {
    let api = Api::<Pod>::namespaced(kinds.client.clone(), namespace);
    let Ok(pods) = api.list(&ListParams::default()).await else { return };
    for pod in pods.items {
        let spec = pod.spec.unwrap_or_default();
        let name = pod.metadata.name.unwrap_or_default();
        if spec.node_name.is_none() {
            continue; // it never ran
        }
        for container in spec.containers {
            let params = LogParams {
                container: Some(container.name.clone()),
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            if let Ok(text) = api.logs(&name, &params).await {
                lines.extend(text.lines().map(|line| format!("log {name} {}: {line}", container.name)));
            }
        }
    }
}
