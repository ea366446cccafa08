//! GJSON paths, the language of a step's condition: which part of a JSON text a path finds, if any.
//!
//! The syntax is that of tidwall/gjson (SYNTAX.md), which KServe's router uses. The text is never turned into a tree: a path
//! is followed over the text itself, so that a condition on a request of megabytes costs one pass and no memory.
//! - `document`: reading JSON text, values, members and elements.
//! - `path`: the parts of a path.
//! - `query`: `#(…)` and `#(…)#`.
//! - `walk`: a path over objects and arrays.
//! - `modifiers`: `@this` and the rest.
//! - `selectors`: `[a,b]` and `{a,b}`, which build new documents, and literals (`!true`).

mod document;
mod modifiers;
mod path;
mod query;
mod selectors;
mod walk;

use std::borrow::Cow;

pub(super) use document::{Elements, Kind, Members, is_valid, kind, unescape};

/// Paths nested deeper than this find nothing; the check of a graph refuses them at its start.
const MAX_DEPTH: usize = 256;
/// Characters that separate the parts of a path, of which a condition may have [`MAX_PARTS`].
const SEPARATORS: &[char] = &['.', '|', '#', '(', '[', '{', '@', ','];
/// Most separators in a condition.
pub(super) const MAX_PARTS: usize = 200;

/// The text of what a path found.
type Found<'a> = Option<Cow<'a, str>>;

/// Whether `path` finds anything in `json`, a value of `null` included. `json` must be valid ([`is_valid`]): of other text
/// the answer is arbitrary, though it never panics.
pub(super) fn exists(json: &str, path: &str) -> bool {
    evaluate(json, path, 0).is_some()
}

/// Whether a condition is short enough to be followed.
pub(super) fn is_bounded(path: &str) -> bool {
    path.matches(SEPARATORS).count() <= MAX_PARTS
}

/// Follows `path`, which may begin with a modifier, a literal or a selector.
fn evaluate<'a>(json: &'a str, path: &str, depth: usize) -> Found<'a> {
    if depth > MAX_DEPTH {
        return None;
    }
    if path.len() > 1 {
        let made = match path.as_bytes()[0] {
            b'@' => modifiers::apply(json, path, depth),
            b'!' => selectors::literal(path),
            b'[' | b'{' => selectors::select(json, path, depth),
            _ => None,
        };
        if let Some((text, rest)) = made {
            let found = if rest.starts_with(['.', '|']) {
                evaluate(&text, &rest[1..], depth + 1)
            } else {
                first_value(&text).map(Cow::Borrowed)
            };
            return found.map(|found| Cow::Owned(found.into_owned()));
        }
    }
    let mut found = walk::Walk::new(depth);
    if let Some(rest) = path.strip_prefix("..").filter(|_| path.len() >= 2) {
        // JSON lines: every line is an element.
        found.array(json, rest, depth);
    } else {
        found.value(json.trim_start_matches(document::WHITESPACE), path, depth);
    }
    match found.pipe {
        None => found.value,
        Some(pipe) => {
            let left = found.value.unwrap_or_default();
            evaluate(&left, pipe, depth + 1).map(|found| Cow::Owned(found.into_owned()))
        }
    }
}

/// A text as a value; nothing where there is only white space.
fn first_value(text: &str) -> Option<&str> {
    let text = text.trim_matches(document::WHITESPACE);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
