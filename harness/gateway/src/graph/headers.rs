//! Which of a client's headers the steps of a graph get.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use regex::Regex;

/// The client's own business with this router, whatever a pattern says: who is asked, and how the body is framed.
const NEVER: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Patterns of the names of headers that go on to every step.
#[derive(Debug, Clone, Default)]
pub struct Propagation {
    patterns: Vec<Regex>,
}

impl Propagation {
    /// From the value of `PROPAGATE_HEADERS`: regular expressions with commas between them, matched anywhere in a header's
    /// canonical name (`X-Request-Id`). Patterns that are none are dropped, and returned with the reason. Empty ones are
    /// dropped too; upstream takes them for "everything", credentials included.
    #[must_use]
    pub fn parse(list: &str) -> (Self, Vec<String>) {
        let mut patterns = Vec::new();
        let mut dropped = Vec::new();
        for pattern in list.split(',').filter(|pattern| !pattern.is_empty()) {
            match Regex::new(pattern) {
                Ok(regex) => patterns.push(regex),
                Err(error) => dropped.push(format!("failed to compile pattern {pattern:?}: {error}")),
            }
        }
        (Self { patterns }, dropped)
    }

    /// The headers of a step's request.
    pub(super) fn select(&self, client: &HeaderMap) -> HeaderMap {
        let mut selected = HeaderMap::new();
        for name in client.keys() {
            let canonical = canonical(name.as_str());
            if NEVER.contains(name) || !self.patterns.iter().any(|pattern| pattern.is_match(&canonical)) {
                continue;
            }
            for value in client.get_all(name) {
                selected.append(name.clone(), value.clone());
            }
        }
        if selected.get(header::CONTENT_TYPE).is_none_or(HeaderValue::is_empty) {
            selected.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        selected
    }
}

/// A header's name as Go writes it, which is what patterns are made for: a capital at the start and behind every hyphen.
fn canonical(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|character| {
            let shown = if begins { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() };
            begins = character == '-';
            shown
        })
        .collect()
}
