//! One request in a language model's engine.

use serde::{Deserialize, Serialize};

use crate::engine::Key;
use crate::server::job::{Finished, Job};

/// A request with its tokens, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sequence {
    pub(super) key: Key,
    pub(super) context: u32,
    pub(super) generated: u32,
    /// Tokens of the answer that the client has; they survive a preemption.
    pub(super) done: u32,
    /// What its first prefill takes on top.
    pub(super) extra_ns: u64,
    pub(super) begin_ns: Option<u64>,
    pub(super) first_token_ns: Option<u64>,
    pub(super) preemptions: u32,
    /// The client went away: it leaves at the end of the present step without an answer.
    pub(super) is_abandoned: bool,
}

impl Sequence {
    pub(super) fn new(job: &Job) -> Self {
        Self {
            key: job.key,
            context: job.context_tokens,
            generated: job.generated_tokens,
            done: 0,
            extra_ns: job.demand_ns,
            begin_ns: None,
            first_token_ns: None,
            preemptions: 0,
            is_abandoned: false,
        }
    }

    /// Tokens that are there: of the prompt and of the answer so far. A running request holds as many in the KV
    /// cache, and a prefill after a preemption computes as many.
    pub(super) fn present_tokens(&self) -> u64 {
        u64::from(self.context) + u64::from(self.done)
    }

    /// Tokens that there are at its end: even an answer of none takes the one that comes with the prefill.
    pub(super) fn total_tokens(&self) -> u64 {
        u64::from(self.context) + u64::from(self.generated.max(1))
    }

    /// Decode steps that it still needs.
    pub(super) fn steps(&self) -> u64 {
        u64::from(self.generated.saturating_sub(self.done))
    }

    pub(super) fn finished(&self, end_ns: u64) -> Finished {
        Finished {
            key: self.key,
            begin_ns: self.begin_ns.unwrap_or(end_ns),
            first_token_ns: self.first_token_ns,
            end_ns,
            tokens: self.generated,
            batch: 1,
            preemptions: self.preemptions,
        }
    }
}

/// A sequence that decodes, ordered by the step in which it ends and then by its admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) end_step: u64,
    pub(super) number: u64,
    /// The step after which it began to decode, with the tokens that the sequence counts as done.
    pub(super) since_step: u64,
    pub(super) sequence: Sequence,
}

impl Running {
    /// The sequence as it is after `step`.
    pub(super) fn at(&self, step: u64) -> Sequence {
        let gained = u32::try_from(step.saturating_sub(self.since_step)).unwrap_or(u32::MAX);
        Sequence { done: self.sequence.done.saturating_add(gained), ..self.sequence }
    }
}

/// The sequence whose context is being computed; everybody else stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prefill {
    pub(super) end_ns: u64,
    pub(super) number: u64,
    pub(super) sequence: Sequence,
}
