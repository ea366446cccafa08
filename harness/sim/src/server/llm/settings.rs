//! What a language model's engine can do.

use serde::{Deserialize, Serialize};

use crate::server::impossible::{Impossible, not_negative, positive};

/// How requests are let into the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvAdmission {
    /// With room for their prompt; when the cache overflows, the last admitted loses its part and goes back to
    /// the front of the line, and all its tokens are computed again (vLLM's recomputation).
    #[default]
    Preempt,
    /// With room for their prompt and their whole answer, so that nobody is ever put out.
    Reserve,
}

/// The speed and size of a language model's engine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmSettings {
    /// Tokens of context that are computed in a second.
    pub prefill_per_s: f64,
    /// Tokens that are generated in a second when one request is alone.
    pub decode_per_s: f64,
    /// How much longer a step takes for every further request in the batch: 0.02 is 2 %.
    pub slowdown: f64,
    /// Requests in the batch at most.
    pub slots: u32,
    /// Tokens in the KV cache at most.
    pub kv_tokens: u64,
    /// How requests are let into the KV cache.
    pub admission: KvAdmission,
}

impl LlmSettings {
    /// How long a request takes that is alone: prefill, then one step for every token after the first.
    pub fn alone_ns(&self, context_tokens: u32, generated_tokens: u32) -> u64 {
        let steps = u64::from(generated_tokens.saturating_sub(1));
        self.prefill_ns(u64::from(context_tokens)).saturating_add(steps.saturating_mul(self.step_ns(1)))
    }

    pub(super) fn checked(self) -> Result<Self, Impossible> {
        let above = "take a finite number above 0";
        positive("prefill rate of a language model, in tokens a second,", self.prefill_per_s, above)?;
        positive("decode rate of a language model, in tokens a second,", self.decode_per_s, above)?;
        let share = "take a share of 0 or more";
        not_negative("slowdown of a language model for a further request", self.slowdown, share)?;
        for (setting, value) in [
            ("number of slots of a language model", u64::from(self.slots)),
            ("KV cache of a language model, in tokens,", self.kv_tokens),
        ] {
            if value == 0 {
                return Err(Impossible::new(setting, 0, "take at least 1"));
            }
        }
        Ok(self)
    }

    /// How long the prefill of `tokens` takes.
    pub(super) fn prefill_ns(&self, tokens: u64) -> u64 {
        (tokens as f64 * 1e9 / self.prefill_per_s).round() as u64
    }

    /// How long one token for each of `running` requests takes: whole nanoseconds, so that steps add up exactly.
    pub(super) fn step_ns(&self, running: usize) -> u64 {
        let further = running.saturating_sub(1) as f64;
        ((1e9 / self.decode_per_s * (1.0 + self.slowdown * further)).round() as u64).max(1)
    }

    /// Tokens that stay free when a request is admitted: a hundredth, as vLLM's watermark.
    pub(super) fn watermark(&self) -> u64 {
        self.kv_tokens / 100
    }
}
