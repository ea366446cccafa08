//! New documents out of parts: `[a,b]`, `{a,"name":b}` and literals such as `!true`.

use super::{document, evaluate};

/// The document that a selector at the path's begin builds, and the path behind it. `None` where it is not closed or
/// something else follows.
pub(super) fn select<'p>(json: &str, path: &'p str, depth: usize) -> Option<(String, &'p str)> {
    let (parts, rest) = parts(path)?;
    if !(rest.is_empty() || rest.starts_with(['.', '|'])) {
        return None;
    }
    let is_object = path.starts_with('{');
    let mut text = String::from(if is_object { "{" } else { "[" });
    for Part { name, path } in parts {
        let Some(found) = evaluate(json, path, depth + 1) else { continue };
        if text.len() > 1 {
            text.push(',');
        }
        if is_object {
            text.push_str(&key(name, path));
            text.push(':');
        }
        text.push_str(&found);
    }
    text.push(if is_object { '}' } else { ']' });
    Some((text, rest))
}

struct Part<'p> {
    name: &'p str,
    path: &'p str,
}

fn parts(path: &str) -> Option<(Vec<Part<'_>>, &str)> {
    let bytes = path.as_bytes();
    let mut parts = Vec::new();
    let (mut at, mut start, mut depth) = (1, 1, 1_usize);
    let mut colon: Option<usize> = None;
    let mut in_modifier = false;
    while let Some(&byte) = bytes.get(at) {
        let ends = match byte {
            b'\\' => {
                at += 2;
                continue;
            }
            b'"' => {
                at = document::string_end(bytes, at);
                continue;
            }
            b'@' if matches!(bytes[at - 1], b'.' | b'|') => {
                in_modifier = true;
                false
            }
            b':' if !in_modifier && colon.is_none() && depth == 1 => {
                colon = Some(at);
                false
            }
            b',' => depth == 1,
            b'[' | b'(' | b'{' => {
                depth += 1;
                false
            }
            b']' | b')' | b'}' => {
                depth -= 1;
                depth == 0
            }
            _ => false,
        };
        if ends {
            parts.push(match colon.take() {
                Some(colon) => Part { name: &path[start..colon], path: &path[colon + 1..at] },
                None => Part { name: "", path: &path[start..at] },
            });
            if depth == 0 {
                return Some((parts, &path[at + 1..]));
            }
            in_modifier = false;
            start = at + 1;
        }
        at += 1;
    }
    None
}

/// The key of a part with its quotes: the name given, else the last component, else `_`.
fn key(name: &str, path: &str) -> String {
    if name.starts_with('"') && document::is_valid(name.as_bytes()) {
        return name.to_owned();
    }
    let bytes = path.as_bytes();
    let last = (0..bytes.len())
        .rev()
        .find(|&at| matches!(bytes[at], b'|' | b'.') && (at == 0 || bytes[at - 1] != b'\\'))
        .map_or(path, |at| &path[at + 1..]);
    let is_simple = !last.contains(|character: char| character < ' ' || "[]{}()#|!".contains(character));
    quoted(match (name, is_simple) {
        ("", true) => last,
        ("", false) => "_",
        (name, _) => name,
    })
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The literal at the path's begin, and the path behind it.
pub(super) fn literal(path: &str) -> Option<(String, &str)> {
    let name = &path[1..];
    let bytes = name.as_bytes();
    let end = match bytes.first()? {
        b'{' | b'[' => document::bracket_end(bytes, 0),
        b'"' => document::string_end(bytes, 0),
        b'+' | b'-' | b'0'..=b'9' => name.find(['|', ',', ']', '}', ')']).unwrap_or(name.len()),
        _ => {
            let end = name.find(['|', '.']).unwrap_or(name.len());
            let known = ["true", "false", "null", "nan", "inf"];
            if !known.contains(&name[..end].to_ascii_lowercase().as_str()) {
                return None;
            }
            end
        }
    };
    Some((name[..end].to_owned(), &name[end..]))
}
