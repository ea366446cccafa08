//! Why requests failed.

use serde::{Deserialize, Serialize};

use crate::recording::Request;

/// Causes told apart, at most; the rest is counted together.
pub const MOST_CAUSES: usize = 32;

/// Bytes of a cause's text, at most.
const MOST_BYTES: usize = 200;

/// Why requests failed: an HTTP status, a client's error text, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// HTTP status; 0 when there was no HTTP answer.
    pub status: u16,
    /// What the client says; empty when the status says it all.
    pub text: String,
}

impl Cause {
    /// What stands for the causes that there was no room for.
    pub fn others() -> Self {
        Self { status: 0, text: "other causes".to_owned() }
    }

    /// Whether a service without room for more work answers so: 429, 503, 504, or a client that gave up waiting.
    pub fn is_for_lack_of_capacity(&self) -> bool {
        match self.status {
            429 | 503 | 504 => true,
            0 => {
                let text = self.text.to_ascii_lowercase();
                ["timeout", "timed out", "time-out", "gave up", "deadline"]
                    .iter()
                    .any(|word| text.contains(word))
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.text.as_str()) {
            (0, "") => f.write_str("no answer"),
            (0, text) => f.write_str(text),
            (status, "") => write!(f, "{status}"),
            // Many texts begin with the status already.
            (status, text) if text.starts_with(&status.to_string()) => f.write_str(text),
            (status, text) => write!(f, "{status} {text}"),
        }
    }
}

/// Causes in order of their first appearance, with how often each was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    seen: Vec<(Cause, u64)>,
}

impl Causes {
    /// Counts a failed request; returns the index of its cause.
    pub(super) fn count(&mut self, request: &Request) -> usize {
        let text = cut(request.error.as_deref().unwrap_or(""));
        let known =
            self.seen.iter().position(|(cause, _)| cause.status == request.status && cause.text == text);
        let index = known.unwrap_or_else(|| {
            if self.seen.len() < MOST_CAUSES {
                let cause = if self.seen.len() + 1 == MOST_CAUSES {
                    Cause::others()
                } else {
                    Cause { status: request.status, text: text.to_owned() }
                };
                self.seen.push((cause, 0));
            }
            self.seen.len() - 1
        });
        self.seen[index].1 += 1;
        index
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Cause, u64)> {
        self.seen.iter().map(|(cause, count)| (cause, *count))
    }

    pub(super) fn get(&self, index: usize) -> Option<&Cause> {
        self.seen.get(index).map(|(cause, _)| cause)
    }
}

/// The beginning of a text that a server or a system may make as long as it likes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
