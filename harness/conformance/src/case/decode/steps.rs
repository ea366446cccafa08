//! The steps of a case, verb by verb.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use windtunnel_scenario::reader::{Fields, Reader};
use windtunnel_scenario::yaml::{Node, Value};

use super::duration;
use crate::case::step::{Action, Condition, Kubelet, PodState, Refusal, Request, Split, Step, Verb, Words};

/// The fewest requests that a split is judged on.
const FEWEST_REQUESTS: u32 = 1000;

/// Whether a step can fail a case by what it finds.
pub(super) fn judges(action: &Action) -> bool {
    match action {
        Action::Write { refused, gives, .. } => refused.is_some() || gives.is_some(),
        Action::Pods(_) => false,
        _ => true,
    }
}

pub(super) fn step(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Step> {
    let mut fields = reader.fields(node, path)?;
    let action = action(reader, &mut fields, node, path);
    let within = fields.maybe(reader, "within", duration);
    fields.finish(reader);
    Some(Step { line: node.place.line, within: within?, action: action? })
}

fn action(reader: &mut Reader<'_>, fields: &mut Fields<'_>, node: &Node, path: &str) -> Option<Action> {
    const OTHERS: [&str; 8] = ["expect", "absent", "never", "unchanged", "wait", "pods", "request", "split"];
    let mut found: Vec<(&'static str, &Node)> = Vec::new();
    for key in Verb::ALL.iter().map(|(key, _)| *key).chain(OTHERS) {
        if let Some(node) = fields.optional(key) {
            found.push((key, node));
        }
    }
    let (key, body) = match found.as_slice() {
        [one] => *one,
        [] => {
            if !fields.has_strangers() {
                reader.fault(
                    node.place,
                    format!("{path} does nothing"),
                    "write one verb, such as create or expect",
                );
            }
            return None;
        }
        [(first, _), (second, _), ..] => {
            let message = format!("{path} has two verbs, {first} and {second}");
            reader.fault(node.place, message, "write a step for each");
            return None;
        }
    };
    let path = format!("{path}.{key}");
    if let Some((_, verb)) = Verb::ALL.iter().find(|(name, _)| *name == key) {
        return write(reader, fields, body, &path, *verb);
    }
    match key {
        "expect" => {
            let tree = object(reader, body, &path);
            let save = fields.maybe(reader, "save", texts)?.unwrap_or_default();
            Some(Action::Expect { tree: tree?, save })
        }
        "absent" => Some(Action::Absent { tree: object(reader, body, &path)? }),
        "never" => {
            let tree = object(reader, body, &path);
            Some(Action::Never { lasting: fields.need(reader, "for", "for: 1s", duration)?, tree: tree? })
        }
        "unchanged" => {
            let trees =
                reader.items(body, &path, "{kind: Deployment, metadata: {name: m-predictor}}", object);
            Some(Action::Unchanged {
                lasting: fields.need(reader, "for", "for: 1s", duration)?,
                trees: trees?,
            })
        }
        "wait" => wait(reader, body, &path),
        "pods" => pods(reader, body, &path),
        "request" => {
            let mut inner = reader.fields(body, &path)?;
            let request = request(reader, &mut inner);
            let answer = fields.need(reader, "answer", "answer: {status: 200}", super::json);
            inner.finish(reader);
            Some(Action::Request(Request { answer: answer?, ..request? }))
        }
        _ => split(reader, body, &path),
    }
}

fn write(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    body: &Node,
    path: &str,
    verb: Verb,
) -> Option<Action> {
    let object = object(reader, body, path);
    let dry_run = fields.or(reader, "dryRun", false, |reader, node, path| reader.boolean(node, path));
    let refused = fields.maybe(reader, "refused", refusal);
    let gives = fields.maybe(reader, "gives", super::json);
    Some(Action::Write { verb, object: object?, dry_run: dry_run?, refused: refused?, gives: gives? })
}

/// A mapping that names a kind, or rests on a base that does.
fn object(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Json> {
    let value = super::json(reader, node, path)?;
    // A row may give the whole object.
    if value.as_str().is_some_and(|text| text.starts_with("${") && text.ends_with('}')) {
        return Some(value);
    }
    if !value.is_object() || (value.get("kind").is_none() && value.get("base").is_none()) {
        reader.fault(
            node.place,
            format!("{path} names no kind"),
            "add kind: InferenceService, or base: and a name",
        );
        return None;
    }
    Some(value)
}

fn refusal(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Refusal> {
    match &node.value {
        Value::Bool(true) => Some(Refusal { words: Words::Any }),
        Value::Text(text) if !text.trim().is_empty() => Some(Refusal { words: Words::Contain(text.clone()) }),
        Value::Map(_) => {
            let mut fields = reader.fields(node, path)?;
            let pattern =
                fields.need(reader, "matches", "matches: ^admission webhook", |reader, node, path| {
                    let text = reader.text(node, path, "^admission webhook")?;
                    if let Err(error) = regex::Regex::new(text) {
                        reader.fault(node.place, format!("{path}: {error}"), "write a regular expression");
                        return None;
                    }
                    Some(text.to_owned())
                });
            fields.finish(reader);
            Some(Refusal { words: Words::Match(pattern?) })
        }
        _ => {
            reader.fault(
                node.place,
                format!("{path} is {}", node.describe()),
                "write the text that the message must hold, {matches: REGEX}, or true for any",
            );
            None
        }
    }
}

fn texts(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<BTreeMap<String, String>> {
    let Value::Map(entries) = &node.value else {
        reader.fault(node.place, format!("{path} is {}", node.describe()), "write name: text, one a line");
        return None;
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let text = reader.text(&entry.node, &format!("{path}.{}", entry.key), "self.metadata.uid")?;
        found.insert(entry.key.clone(), text.to_owned());
    }
    Some(found)
}

fn wait(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Action> {
    let mut fields = reader.fields(node, path)?;
    let mut text = |reader: &mut Reader<'_>, key: &'static str, example: &str| {
        fields.need(reader, key, example, |reader, node, path| {
            reader.text(node, path, example).map(str::to_owned)
        })
    };
    let kind = text(reader, "kind", "kind: InferenceService");
    let name = text(reader, "name", "name: m");
    let condition = text(reader, "condition", "condition: Ready");
    let read =
        |reader: &mut Reader<'_>, node: &Node, path: &str| reader.text(node, path, "True").map(str::to_owned);
    let api_version = fields.maybe(reader, "apiVersion", read);
    let status = fields.or(reader, "status", "True".to_owned(), |reader, node, path| match &node.value {
        Value::Bool(value) => Some(if *value { "True".to_owned() } else { "False".to_owned() }),
        _ => read(reader, node, path),
    });
    let reason = fields.maybe(reader, "reason", read);
    fields.finish(reader);
    let mut object = json!({"kind": kind?, "metadata": {"name": name?}});
    if let Some(version) = api_version? {
        object["apiVersion"] = Json::from(version);
    }
    Some(Action::Wait(Condition { object, condition: condition?, status: status?, reason: reason? }))
}

fn pods(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Action> {
    let mut fields = reader.fields(node, path)?;
    let labels = fields.need(reader, "labels", "labels: {app: isvc.m-predictor}", texts);
    let count = fields.or(reader, "count", 1, |reader, node, path| reader.count(node, path, 1..=100));
    let state = fields.need(reader, "state", "state: ready", |reader, node, path| {
        reader.choice(node, path, &PodState::ALL)
    });
    let message = fields.maybe(reader, "message", |reader, node, path| {
        reader.text(node, path, "no such model").map(str::to_owned)
    });
    let exit_code = fields.or(reader, "exitCode", 1, |reader, node, path| reader.count(node, path, 1..=255));
    fields.finish(reader);
    Some(Action::Pods(Kubelet {
        labels: labels?,
        count: count? as usize,
        state: state?,
        message: message?,
        exit_code: i32::try_from(exit_code?).unwrap_or(1),
    }))
}

fn request(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Request> {
    let read = |reader: &mut Reader<'_>, node: &Node, path: &str| {
        reader.text(node, path, "m.example.com").map(str::to_owned)
    };
    let host = fields.need(reader, "host", "host: m-${namespace}.${domain}", read);
    let path = fields.or(reader, "path", "/".to_owned(), read);
    let method = fields.or(reader, "method", "GET".to_owned(), read);
    let headers = fields.maybe(reader, "headers", texts);
    let body = fields.maybe(reader, "body", super::json);
    Some(Request {
        host: host?,
        path: path?,
        method: method?,
        headers: headers?.unwrap_or_default(),
        body: body?,
        answer: Json::Null,
    })
}

fn split(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Action> {
    let mut fields = reader.fields(node, path)?;
    let request = request(reader, &mut fields);
    let requests = fields.or(reader, "requests", 2 * FEWEST_REQUESTS, |reader, node, path| {
        reader.count(node, path, FEWEST_REQUESTS..=1_000_000)
    });
    let by = fields.need(reader, "by", "by: body.app", |reader, node, path| {
        let text = reader.text(node, path, "body.app")?;
        if let Err(message) = crate::expression::Expression::compile(text) {
            reader.fault(
                node.place,
                format!("{path}: {message}"),
                "write a CEL expression over status, headers, body",
            );
            return None;
        }
        Some(text.to_owned())
    });
    let shares = fields.need(reader, "shares", "shares: {m-predictor: 80, m-canary-predictor: 20}", shares);
    let alpha =
        fields.or(reader, "alpha", 0.001, |reader, node, path| reader.number_in(node, path, 1e-9..=0.1));
    fields.finish(reader);
    Some(Action::Split(Split {
        request: request?,
        requests: requests?,
        by: by?,
        shares: shares?,
        alpha: alpha?,
    }))
}

fn shares(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<BTreeMap<String, f64>> {
    let Value::Map(entries) = &node.value else {
        reader.fault(node.place, format!("{path} is {}", node.describe()), "write who: percent, one a line");
        return None;
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let percent = reader.number_in(&entry.node, &format!("{path}.{}", entry.key), 0.0..=100.0)?;
        found.insert(entry.key.clone(), percent);
    }
    let sum: f64 = found.values().sum();
    if (sum - 100.0).abs() > 1e-9 {
        reader.fault(node.place, format!("{path} add up to {sum}"), "write percentages that add up to 100");
        return None;
    }
    Some(found)
}
