//! Modifiers: `@this`, `@reverse`, `@flatten:{"deep":true}` and the others that GJSON has built in.

use std::borrow::Cow;

use super::{
    MAX_DEPTH,
    document::{self, Elements, Kind, Members, is_valid, kind, unescape},
    evaluate, first_value,
    selectors::quoted,
};

const NAMES: [&str; 13] = [
    "pretty", "ugly", "reverse", "this", "flatten", "join", "valid", "keys", "values", "tostr", "fromstr",
    "group", "dig",
];

/// Whether there is a modifier of this name.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What the modifier at the path's begin makes of the text, and the path behind it; `None` where there is no such modifier.
pub(super) fn apply<'p>(json: &str, path: &'p str, depth: usize) -> Option<(String, &'p str)> {
    let end = path.find([':', '|', '.']).unwrap_or(path.len());
    let name = &path[1..end];
    if !is_known(name) {
        return None;
    }
    let (argument, rest) = match path[end..].strip_prefix(':') {
        Some(behind) => behind.split_at(argument_end(behind)),
        None => ("", &path[end..]),
    };
    let value = first_value(json).unwrap_or_default();
    let made = match name {
        // How a document is laid out is of no consequence to a path.
        "this" | "pretty" => json.to_owned(),
        "ugly" => compact(json),
        "valid" => valid_or_nothing(json).to_owned(),
        "reverse" => reverse(value),
        "flatten" => flatten(value, argument_says(argument, "deep")),
        "join" => join(value, argument_says(argument, "preserve")),
        "keys" => keys(value),
        "values" => values(value),
        "tostr" => quoted(json),
        "fromstr" => match kind(valid_or_nothing(value)) {
            Kind::String => unescape(value).into_owned(),
            _ => valid_or_nothing(value).to_owned(),
        },
        "group" => group(value),
        _ => dig(value, argument, depth),
    };
    Some((made, rest))
}

/// Where an argument ends: a JSON value ends with itself, anything else at the next pipe outside of brackets.
fn argument_end(behind: &str) -> usize {
    let bytes = behind.as_bytes();
    match bytes.first() {
        Some(b'{' | b'[') => return document::bracket_end(bytes, 0),
        Some(b'"') => return document::string_end(bytes, 0),
        _ => {}
    }
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'|' => return at,
            b'"' => document::string_end(bytes, at),
            b'{' | b'[' | b'(' => document::bracket_end(bytes, at),
            _ => at + 1,
        };
    }
    bytes.len()
}

fn argument_says(argument: &str, option: &str) -> bool {
    kind(argument) == Kind::Object
        && Members::of(argument)
            .any(|(key, value)| unescape(key) == option && matches!(value, "true" | "1" | "\"true\""))
}

fn valid_or_nothing(json: &str) -> &str {
    if is_valid(json.as_bytes()) { json } else { "" }
}

/// The text without white space outside of strings.
fn compact(json: &str) -> String {
    let bytes = json.as_bytes();
    let mut text = String::with_capacity(json.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = if bytes[at] == b'"' {
            document::string_end(bytes, at)
        } else {
            bytes[at..].iter().position(|byte| *byte == b'"').map_or(bytes.len(), |length| at + length)
        };
        let part = &json[at..end];
        if bytes[at] == b'"' {
            text.push_str(part);
        } else {
            text.extend(part.chars().filter(|character| !document::WHITESPACE.contains(character)));
        }
        at = end;
    }
    text
}

fn array_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn object_of<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    format!("{{{}}}", members.map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(","))
}

fn reverse(value: &str) -> String {
    match kind(value) {
        Kind::Array => array_of(Elements::of(value).collect::<Vec<_>>().into_iter().rev()),
        Kind::Object => object_of(Members::of(value).collect::<Vec<_>>().into_iter().rev()),
        _ => value.to_owned(),
    }
}

fn flatten(value: &str, deep: bool) -> String {
    if kind(value) != Kind::Array {
        return value.to_owned();
    }
    if deep {
        return array_of(document::Leaves::new(value));
    }
    let flat = Elements::of(value).flat_map(|element| match kind(element) {
        Kind::Array => Elements::of(element).collect(),
        _ => vec![element],
    });
    array_of(flat)
}

fn join(value: &str, preserve: bool) -> String {
    if kind(value) != Kind::Array {
        return value.to_owned();
    }
    let members = Elements::of(value).filter(|element| kind(element) == Kind::Object).flat_map(Members::of);
    if preserve {
        return object_of(members);
    }
    let mut position = std::collections::BTreeMap::new();
    let mut joined: Vec<(&str, &str)> = Vec::new();
    for (key, value) in members {
        let at = *position.entry(unescape(key)).or_insert(joined.len());
        match joined.get_mut(at) {
            Some(member) => member.1 = value,
            None => joined.push((key, value)),
        }
    }
    object_of(joined.into_iter())
}

fn keys(value: &str) -> String {
    match kind(value) {
        Kind::Object => array_of(Members::of(value).map(|(key, _)| key)),
        Kind::Array => array_of(Elements::of(value).map(|_| "null")),
        _ if value.is_empty() || value == "null" => "[]".to_owned(),
        _ => "[null]".to_owned(),
    }
}

fn values(value: &str) -> String {
    match kind(value) {
        Kind::Object => array_of(Members::of(value).map(|(_, value)| value)),
        Kind::Array => value.to_owned(),
        _ if value.is_empty() || value == "null" => "[]".to_owned(),
        _ => format!("[{value}]"),
    }
}

/// Objects of arrays become an array of objects.
fn group(value: &str) -> String {
    if kind(value) != Kind::Object {
        return String::new();
    }
    let mut groups: Vec<Vec<(&str, &str)>> = Vec::new();
    for (key, values) in Members::of(value).filter(|(_, values)| kind(values) == Kind::Array) {
        for (index, value) in Elements::of(values).enumerate() {
            if index == groups.len() {
                groups.push(Vec::new());
            }
            groups[index].push((key, value));
        }
    }
    let groups: Vec<String> = groups.into_iter().map(|members| object_of(members.into_iter())).collect();
    array_of(groups.iter().map(String::as_str))
}

/// What the path finds in the value and in everything inside it, as deep as a path may lead: every level is another pass
/// over the text.
fn dig(value: &str, path: &str, depth: usize) -> String {
    let mut found: Vec<Cow<'_, str>> = Vec::new();
    let mut left = vec![(value, 0)];
    while let Some((value, level)) = left.pop() {
        found.extend(evaluate(value, path, depth + 1));
        if level == MAX_DEPTH {
            continue;
        }
        let before = left.len();
        match kind(value) {
            Kind::Object => left.extend(Members::of(value).map(|(_, value)| (value, level + 1))),
            Kind::Array => left.extend(Elements::of(value).map(|value| (value, level + 1))),
            _ => {}
        }
        left[before..].reverse();
    }
    array_of(found.iter().map(Cow::as_ref))
}
