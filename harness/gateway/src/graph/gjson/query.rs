//! Queries on the elements of an array: `#(path op value)`.

use std::borrow::Cow;

use super::document::{Kind, kind, unescape, unescape_inner};

/// A query without its `#(` and `)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Query<'p> {
    /// Looked for in each element; empty means the element itself.
    pub(super) path: &'p str,
    /// Empty asks for existence.
    pub(super) operator: &'p str,
    pub(super) value: Cow<'p, str>,
    /// Every element that matches, not the first.
    pub(super) all: bool,
}

impl<'p> Query<'p> {
    /// Of a path that begins with the query, with the position behind its bracket; nothing where it is not closed.
    pub(super) fn parse(path: &'p str) -> Option<(Self, usize)> {
        let bytes = path.as_bytes();
        let (mut at, mut depth) = (2, 1_usize);
        let mut value_at = None;
        let mut has_escape = false;
        while let Some(&byte) = bytes.get(at) {
            if depth == 1 && value_at.is_none() && matches!(byte, b'!' | b'=' | b'<' | b'>' | b'%') {
                value_at = Some(at);
                at += 1;
                continue;
            }
            match byte {
                b'\\' => at += 1,
                b'[' | b'(' => depth += 1,
                b']' | b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'"' => {
                    let end = super::document::string_end(bytes, at);
                    has_escape |= bytes[at..end].contains(&b'\\');
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        if depth > 0 || at >= path.len() {
            return None;
        }
        let Some(value_at) = value_at else {
            return Some((Self { path: trim(&path[2..at]), ..Self::default() }, at + 1));
        };
        let compared = trim(&path[value_at..at]);
        let (skipped, size) = match compared.as_bytes() {
            [_] => (0, 1),
            [b'!', b'=' | b'%', ..] | [b'<' | b'>', b'=', ..] => (0, 2),
            [b'=', b'=', ..] => (1, 1),
            [b'<' | b'>' | b'=' | b'%', ..] => (0, 1),
            _ => (0, 0),
        };
        let operator = &compared[skipped..skipped + size];
        let value = trim(&compared[skipped + size..]);
        let value = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
            Some(inner) if has_escape => unescape_inner(inner),
            Some(inner) => Cow::Borrowed(inner),
            None => Cow::Borrowed(value),
        };
        Some((Self { path: trim(&path[2..value_at]), operator, value, all: false }, at + 1))
    }

    /// Whether what the query's path found in an element satisfies it.
    pub(super) fn matches(&self, found: Option<&str>) -> bool {
        if let Some(wanted) = self.value.strip_prefix('~') {
            let is_so = match wanted {
                "*" => found.is_some(),
                "null" => found.is_none_or(|raw| kind(raw) == Kind::Null),
                "true" => found.is_some_and(|raw| truth(raw) == Some(true)),
                "false" => found.is_none_or(|raw| kind(raw) == Kind::Null || truth(raw) == Some(false)),
                _ => return false,
            };
            return self.operator.is_empty() || compare_bool(self.operator, is_so, "true");
        }
        let Some(raw) = found else { return false };
        if self.operator.is_empty() {
            return true;
        }
        match kind(raw) {
            Kind::String => self.compare_text(&unescape(raw)),
            Kind::Number => {
                let wanted: f64 = self.value.parse().unwrap_or(0.0);
                let number: f64 = raw.parse().unwrap_or(0.0);
                match self.operator {
                    "=" => number == wanted,
                    "!=" => number != wanted,
                    "<" => number < wanted,
                    "<=" => number <= wanted,
                    ">" => number > wanted,
                    ">=" => number >= wanted,
                    _ => false,
                }
            }
            Kind::True => compare_bool(self.operator, true, &self.value),
            Kind::False => compare_bool(self.operator, false, &self.value),
            Kind::Null | Kind::Array | Kind::Object => false,
        }
    }

    fn compare_text(&self, text: &str) -> bool {
        let wanted = self.value.as_ref();
        match self.operator {
            "=" => text == wanted,
            "!=" => text != wanted,
            "<" => text < wanted,
            "<=" => text <= wanted,
            ">" => text > wanted,
            ">=" => text >= wanted,
            "%" => is_like(text, wanted),
            "!%" => !is_like(text, wanted),
            _ => false,
        }
    }
}

/// Control characters count as white space, as upstream has it.
fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| character <= ' ')
}

fn compare_bool(operator: &str, value: bool, wanted: &str) -> bool {
    match (operator, value) {
        ("=", _) => wanted == if value { "true" } else { "false" },
        ("!=", _) => wanted != if value { "true" } else { "false" },
        (">", true) => wanted == "false",
        ("<", false) => wanted == "true",
        (">=", true) | ("<=", false) => true,
        _ => false,
    }
}

/// What a value means as yes or no, if anything.
fn truth(raw: &str) -> Option<bool> {
    match kind(raw) {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::Number => raw.parse::<f64>().ok().map(|number| number != 0.0),
        Kind::String => match unescape(raw).to_lowercase().as_str() {
            "1" | "t" | "true" => Some(true),
            "0" | "f" | "false" => Some(false),
            _ => None,
        },
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// Whether a text matches a pattern of `*` (any characters), `?` (one) and `\` (the next character itself).
pub(super) fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut wanted) = (0, 0);
    // Where to go on when what follows the last star does not fit: one character further in the text.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match pattern.get(wanted) {
            Some('*') => {
                star = Some((at, wanted + 1));
                wanted += 1;
                continue;
            }
            None if at == text.len() => return true,
            None => None,
            Some('?') => (at < text.len()).then_some(1),
            Some('\\') if wanted + 1 < pattern.len() => {
                (text.get(at) == pattern.get(wanted + 1)).then_some(2)
            }
            Some(character) => (text.get(at) == Some(character)).then_some(1),
        };
        match (fits, star) {
            (Some(used), _) => (at, wanted) = (at + 1, wanted + used),
            (None, Some((from, behind))) if from < text.len() => {
                star = Some((from + 1, behind));
                (at, wanted) = (from + 1, behind);
            }
            _ => return false,
        }
    }
}
