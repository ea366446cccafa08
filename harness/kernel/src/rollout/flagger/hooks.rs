//! Webhooks: what is asked, and what counts as yes.

use serde::{Deserialize, Serialize};

use super::machine::Phase;
use super::spec::Webhook;
use crate::duration::parse_ns;

/// What a webhook answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookAnswer {
    /// An HTTP status.
    Status(u16),
    /// None: it could not be reached, or took too long.
    Unreachable(String),
}

impl HookAnswer {
    /// Whether it is a yes: a status of at most 202.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Status(status) if *status <= 202)
    }

    /// Whether the same call is worth another try: no answer, 429, or a server's error other than 501, as
    /// hashicorp/go-retryablehttp has it.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status == 0 || (*status >= 500 && *status != 501),
            Self::Unreachable(_) => true,
        }
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Self::Status(status) => format!("status {status}"),
            Self::Unreachable(reason) => reason.clone(),
        }
    }
}

/// A webhook that a tick asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// The webhook's name.
    pub name: String,
    /// The phase that is sent along.
    pub phase: Phase,
    /// Tells revisions apart: the same for the same pod template and configuration.
    pub checksum: String,
    /// Whether it said yes.
    pub yes: bool,
}

/// How long an answer may take, nanoseconds: 10 s where the manifest does not say. `None` = what it says is no
/// duration, and the call fails.
#[must_use]
pub fn timeout_ns(webhook: &Webhook) -> Option<u64> {
    if webhook.timeout.len() < 2 {
        return Some(10_000_000_000);
    }
    parse_ns(&webhook.timeout).map(|timeout_ns| u64::try_from(timeout_ns).unwrap_or(0))
}

/// What comes of a webhook whose tries are answered by `answers`, one after the other: the first that is not worth
/// another try, or the last that is allowed. `None` = fewer answers than tries.
#[must_use]
pub fn answer_of(webhook: &Webhook, answers: &[HookAnswer]) -> Option<HookAnswer> {
    let tries = usize::try_from(webhook.retries).unwrap_or(0).saturating_add(1);
    for (number, answer) in answers.iter().take(tries).enumerate() {
        if !answer.is_retried() || number + 1 == tries {
            return Some(answer.clone());
        }
    }
    None
}

/// Waits before the `number`-th try again (from 1), nanoseconds: 1 s, 2 s, 4 s, … up to 30 s.
#[must_use]
pub fn retry_wait_ns(number: u32) -> u64 {
    let seconds = 1_u64.checked_shl(number.saturating_sub(1)).unwrap_or(30);
    seconds.min(30) * 1_000_000_000
}

/// A checksum of what a canary is made of: FNV-1a over both hashes.
pub(super) fn checksum(template: &str, configuration: Option<&str>) -> String {
    let bytes = template.bytes().chain([0, u8::from(configuration.is_some())]);
    let hash = bytes
        .chain(configuration.unwrap_or_default().bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{hash:016x}")
}
