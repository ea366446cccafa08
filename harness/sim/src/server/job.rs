//! What goes into a server and what comes out.

use serde::{Deserialize, Serialize};

use crate::engine::Key;

/// A request that its pod has admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The request.
    pub key: Key,
    /// Computing that it needs: of one core ([`Server::direct`], [`Server::shared`]), of a worker
    /// ([`Server::workers`]); what scales its batch when it is the batch's first ([`Server::batching`]); what
    /// comes on top of its prefill, mostly 0 ([`Server::llm`]).
    ///
    /// [`Server::direct`]: super::Server::direct
    /// [`Server::shared`]: super::Server::shared
    /// [`Server::workers`]: super::Server::workers
    /// [`Server::batching`]: super::Server::batching
    /// [`Server::llm`]: super::Server::llm
    pub demand_ns: u64,
    /// Tokens of its prompt; only a language model reads them.
    pub context_tokens: u32,
    /// Tokens of its answer; only a language model reads them.
    pub generated_tokens: u32,
}

/// What becomes of a job that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It ends at this instant, whatever else happens: the caller schedules that and then calls
    /// [`Server::finish`](super::Server::finish).
    Ends(u64),
    /// The server keeps it and gives it back from [`Server::advance`](super::Server::advance).
    Within,
    /// The server never takes it.
    Refused(Refusal),
}

/// Why a server never takes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// As many requests wait as a server can hold: 503.
    Full,
    /// Its tokens are more than the whole KV cache: 400, as vLLM answers to a prompt over its model length.
    TooLong,
}

/// A job that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The request.
    pub key: Key,
    /// When computing began; until then it waited in the server.
    pub begin_ns: u64,
    /// When the first token of its answer was there; `None` when it is no language model's.
    pub first_token_ns: Option<u64>,
    /// When it was done.
    pub end_ns: u64,
    /// Tokens of its answer.
    pub tokens: u32,
    /// Requests that were computed at the same time as one batch, this one among them; 1 without batching.
    pub batch: u32,
    /// How often the KV cache was taken from it and its tokens were computed again.
    pub preemptions: u32,
}

impl Finished {
    /// The mean time between two tokens of the answer, which needs at least two of them.
    pub fn per_token_ns(&self) -> Option<u64> {
        let gaps = u64::from(self.tokens.checked_sub(1)?);
        self.end_ns.checked_sub(self.first_token_ns?)?.checked_div(gaps)
    }
}

/// A job of a server without tokens.
pub(super) fn finished(key: Key, begin_ns: u64, end_ns: u64) -> Finished {
    Finished { key, begin_ns, first_token_ns: None, end_ns, tokens: 0, batch: 1, preemptions: 0 }
}

/// Requests that one server holds at most, so that an overload ends in refusals rather than in memory.
pub const MOST_JOBS: usize = 1_000_000;
