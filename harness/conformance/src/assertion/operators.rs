//! Operators of assertion trees.

use serde_json::Value;
use windtunnel_scenario::suggest;

use super::{Mismatch, brief, compare, equal, mismatch};

/// What stands behind a `$`, each with what it holds for. Any other name picks items of a list by that field.
pub const OPERATORS: [(&str, &str); 11] = [
    ("any", "a list of which at least one item matches the tree"),
    ("all", "a list of which every item matches the tree; not an empty one"),
    ("none", "a list of which no item matches the tree, or nothing"),
    ("length", "a list, mapping or text of this length"),
    ("matches", "a text in which the regular expression is found"),
    ("contains", "a text that holds this one, or a list that holds an equal item"),
    ("in", "an equal of one of these; null stands for nothing"),
    ("not", "whatever does not match the tree"),
    ("exactly", "its equal, with nothing left out"),
    ("atLeast", "this number or more"),
    ("atMost", "this number or less"),
];

pub(super) fn check(name: &str, operand: &Value) -> Result<(), String> {
    let wrong = |wanted: &str| Err(format!("${name} wants {wanted}, not {}", brief(operand)));
    match name {
        "any" | "all" | "none" | "not" => super::check(operand),
        "exactly" | "contains" => Ok(()),
        "length" if operand.is_u64() => Ok(()),
        "length" => wrong("a whole number"),
        "atLeast" | "atMost" if operand.is_number() => Ok(()),
        "atLeast" | "atMost" => wrong("a number"),
        "in" if operand.is_array() => Ok(()),
        "in" => wrong("a list"),
        "matches" => match operand.as_str().map(regex::Regex::new) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => wrong(&format!("a regular expression ({error})")),
            None => wrong("a regular expression"),
        },
        // Picks items by a field: the operand says which, and what they must be.
        field => {
            let near = suggest::nearest(field, OPERATORS.map(|(name, _)| name));
            if let Some(near) = near.first() {
                return Err(format!("${field} is no operator; did you mean ${near}?"));
            }
            match operand {
                Value::Object(items) if !items.is_empty() => items.values().try_for_each(super::check),
                _ => wrong("a mapping from that field's value to a tree"),
            }
        }
    }
}

pub(super) fn apply(
    name: &str,
    operand: &Value,
    value: Option<&Value>,
    path: &str,
    found: &mut Vec<Mismatch>,
) {
    let say = |text: String| format!("{text} {}", brief(operand));
    let mut fail = |expected: String| found.push(mismatch(path, expected, value));
    match name {
        "not" => {
            if holds(operand, value) {
                fail(say("anything but".to_owned()));
            }
        }
        "exactly" => {
            if value != Some(operand) {
                fail(say("exactly".to_owned()));
            }
        }
        "in" => {
            let among = operand.as_array().into_iter().flatten();
            let value = value.unwrap_or(&Value::Null);
            if !among.clone().any(|one| equal(one, value)) {
                fail(say("one of".to_owned()));
            }
        }
        "matches" => {
            let pattern = operand.as_str().and_then(|pattern| regex::Regex::new(pattern).ok());
            let text = value.and_then(Value::as_str);
            if !pattern.zip(text).is_some_and(|(pattern, text)| pattern.is_match(text)) {
                fail(say("a text that matches".to_owned()));
            }
        }
        "contains" => {
            let holds = match value {
                Some(Value::String(text)) => operand.as_str().is_some_and(|part| text.contains(part)),
                Some(Value::Array(items)) => items.iter().any(|item| equal(operand, item)),
                _ => false,
            };
            if !holds {
                fail(say("something that holds".to_owned()));
            }
        }
        "atLeast" | "atMost" => {
            let pair = value.and_then(Value::as_f64).zip(operand.as_f64());
            let holds = pair
                .is_some_and(|(seen, limit)| if name == "atLeast" { seen >= limit } else { seen <= limit });
            if !holds {
                fail(say(if name == "atLeast" { "at least" } else { "at most" }.to_owned()));
            }
        }
        "length" => {
            let length = match value {
                Some(Value::Array(items)) => Some(items.len()),
                Some(Value::Object(fields)) => Some(fields.len()),
                Some(Value::String(text)) => Some(text.chars().count()),
                Some(Value::Null) | None => Some(0),
                _ => None,
            };
            if length.map(|length| length as u64) != operand.as_u64() {
                fail(say("a length of".to_owned()));
            }
        }
        "any" | "all" | "none" => quantified(name, operand, value, path, found),
        field => picked(field, operand, value, path, found),
    }
}

fn quantified(name: &str, operand: &Value, value: Option<&Value>, path: &str, found: &mut Vec<Mismatch>) {
    let items: &[Value] = match value {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => &[],
        other => {
            found.push(mismatch(path, "a list".to_owned(), other));
            return;
        }
    };
    match name {
        "any" => {
            if !items.iter().any(|item| holds(operand, Some(item))) {
                found.push(mismatch(path, format!("an item like {}", brief(operand)), value));
            }
        }
        "none" => {
            for (index, item) in items.iter().enumerate().filter(|(_, item)| holds(operand, Some(item))) {
                found.push(mismatch(
                    &format!("{path}[{index}]"),
                    format!("no item like {}", brief(operand)),
                    Some(item),
                ));
            }
        }
        _ => {
            if items.is_empty() {
                found.push(mismatch(path, format!("items, all like {}", brief(operand)), value));
            }
            for (index, item) in items.iter().enumerate() {
                compare(operand, Some(item), &format!("{path}[{index}]"), found);
            }
        }
    }
}

/// `$name: {a: TREE, b: null}`: the item whose `name` is `a` matches the tree, and there is none whose name is `b`.
fn picked(field: &str, operand: &Value, value: Option<&Value>, path: &str, found: &mut Vec<Mismatch>) {
    let items: &[Value] = match value {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => &[],
        other => {
            found.push(mismatch(path, "a list".to_owned(), other));
            return;
        }
    };
    let text_of = |item: &Value| match item.get(field) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    for (wanted, tree) in operand.as_object().into_iter().flatten() {
        let item = items.iter().find(|item| text_of(item).as_deref() == Some(wanted));
        let path = format!("{path}[{field}={wanted}]");
        match item {
            None if tree.is_null() => {}
            None => {
                let present: Vec<String> = items.iter().filter_map(text_of).collect();
                let seen = if present.is_empty() {
                    "nothing".to_owned()
                } else {
                    format!("only {}", present.join(", "))
                };
                found.push(Mismatch { path, expected: brief(tree), seen });
            }
            Some(item) => compare(tree, Some(item), &path, found),
        }
    }
}

fn holds(tree: &Value, value: Option<&Value>) -> bool {
    let mut found = Vec::new();
    compare(tree, value, "", &mut found);
    found.is_empty()
}
