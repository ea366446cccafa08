//! `spec.events`: what happens on the way.

use crate::manifests::Manifests;
use crate::quantity::Duration;
use crate::reader::Reader;
use crate::scenario::{Action, Command, Event, Patch, Verb};
use crate::suggest;
use crate::yaml::{Node, Value};

pub(super) fn events(
    reader: &mut Reader<'_>,
    node: &Node,
    duration: Option<Duration>,
    manifests: &Manifests,
) -> Option<Vec<Event>> {
    let items = reader.list(node, "spec.events")?;
    let read: Vec<Option<Event>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| event(reader, item, &format!("spec.events[{index}]"), duration, manifests))
        .collect();
    let mut events: Vec<Event> = read.into_iter().collect::<Option<_>>()?;
    // Events at the same instant keep the order of the file.
    events.sort_by_key(|event| event.at);
    Some(events)
}

fn event(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
    manifests: &Manifests,
) -> Option<Event> {
    let mut fields = reader.fields(node, path)?;
    let at =
        fields.need(reader, "at", "at: 20s", |reader, node, path| reader.before_end(node, path, duration));
    let name = fields.optional("name").map(|node| reader.text(node, &format!("{path}.name"), "canary v2"));
    let action = match fields.optional("command") {
        Some(given) => {
            if fields.optional("patch").is_some() {
                reader.fault(
                    given.place,
                    format!("{path} has a patch and a command"),
                    "make two events of them",
                );
            }
            command(reader, given, &format!("{path}.command"), manifests).map(Action::Command)
        }
        None if fields.mistyped(&["command"]) => None, // reported as an unknown key
        None => fields
            .required("patch", "patch with kind, name and merge, or command with kind, name and verb")
            .and_then(|node| patch(reader, node, &format!("{path}.patch"), manifests))
            .map(Action::Patch),
    };
    fields.finish(reader);
    let (at, action) = (at?, action?);
    let name = match (name, &action) {
        (Some(name), _) => name?.to_owned(),
        (None, Action::Patch(patch)) => format!("patch {} {}", patch.kind, patch.name),
        (None, Action::Command(command)) => {
            format!("{} {} {}", command.verb.name(), command.kind, command.name)
        }
    };
    Some(Event { at, name, action, line: node.place.line })
}

fn command(reader: &mut Reader<'_>, node: &Node, path: &str, manifests: &Manifests) -> Option<Command> {
    let mut fields = reader.fields(node, path)?;
    let kinds = [("Rollout", "Rollout"), ("Canary", "Canary")];
    let kind = fields.need(reader, "kind", "kind: Rollout", |reader, node, path| {
        let kind = reader.choice(node, path, &kinds)?;
        known(reader, node, path, "kinds", "Rollout", manifests, None)?;
        Some(kind)
    });
    let name = fields.required("name", "name, that of an object in the manifests").and_then(|node| {
        known(reader, node, &format!("{path}.name"), "names", "digits", manifests, Some(kind?))
    });
    let verbs = Verb::ALL.map(|verb| (verb.name(), verb));
    let verb = fields.need(reader, "verb", "verb: promote", |reader, node, path| {
        let verb = reader.choice(node, path, &verbs)?;
        if kind.is_none_or(|kind| verb.goes_with(kind)) {
            return Some(verb);
        }
        let kind = kind.unwrap_or_default();
        let known: Vec<&str> =
            Verb::ALL.into_iter().filter(|verb| verb.goes_with(kind)).map(Verb::name).collect();
        let message = format!("{path}: a {kind} cannot be told to {}", verb.name());
        reader.fault(node.place, message, format!("write one of: {}", known.join(", ")));
        None
    });
    fields.finish(reader);
    Some(Command { kind: kind?.to_owned(), name: name?.to_owned(), verb: verb? })
}

fn patch(reader: &mut Reader<'_>, node: &Node, path: &str, manifests: &Manifests) -> Option<Patch> {
    let mut fields = reader.fields(node, path)?;
    let kind = fields.required("kind", "kind: InferenceService").and_then(|node| {
        known(reader, node, &format!("{path}.kind"), "kinds", "InferenceService", manifests, None)
    });
    let name = fields.required("name", "name, that of an object in the manifests").and_then(|node| {
        known(reader, node, &format!("{path}.name"), "names", "digits", manifests, Some(kind?))
    });
    let merge = fields.required("merge", "merge, such as {spec: {predictor: {minReplicas: 1}}}").and_then(|node| {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                no_repeated_keys(reader, node, &format!("{path}.merge")).then(|| node.to_json())
            }
            _ => {
                let found = match &node.value {
                    Value::Map(_) => "empty".to_owned(),
                    _ => node.describe(),
                };
                reader.fault(
                    node.place,
                    format!("{path}.merge is {found}, not a patch"),
                    "write the part of the object that changes, such as {spec: {predictor: {minReplicas: 1}}}",
                );
                None
            }
        }
    });
    fields.finish(reader);
    Some(Patch { kind: kind?.to_owned(), name: name?.to_owned(), merge: merge? })
}

/// A kind, or a name of a given kind, that the manifests hold.
fn known<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    path: &str,
    what: &str,
    example: &str,
    manifests: &Manifests,
    kind: Option<&str>,
) -> Option<&'n str> {
    let text = reader.text(node, path, example)?;
    if !manifests.complete() {
        return Some(text);
    }
    let held = match kind {
        Some(kind) => manifests.names_of(kind),
        None => manifests.kinds(),
    };
    if held.contains(&text) {
        return Some(text);
    }
    let hint = suggest::hint(text, &format!("{what} in the manifests"), held.iter().copied());
    let missing = match kind {
        Some(kind) => format!("{path}: the manifests hold no {kind} called \"{}\"", text.escape_debug()),
        None => format!("{path}: the manifests hold no \"{}\"", text.escape_debug()),
    };
    reader.fault(node.place, missing, hint);
    None
}

fn no_repeated_keys(reader: &mut Reader<'_>, node: &Node, path: &str) -> bool {
    match &node.value {
        Value::Map(entries) => {
            let before = reader.faults.len();
            let _ = reader.fields(node, path);
            let mut sound = reader.faults.len() == before;
            for entry in entries {
                sound &= no_repeated_keys(reader, &entry.node, &format!("{path}.{}", entry.key));
            }
            sound
        }
        Value::List(items) => {
            let mut sound = true;
            for (index, item) in items.iter().enumerate() {
                sound &= no_repeated_keys(reader, item, &format!("{path}[{index}]"));
            }
            sound
        }
        _ => true,
    }
}
