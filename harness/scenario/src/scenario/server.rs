//! How the model server behaves, and what one version of a model does differently from another.

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use crate::quantity::{Bytes, Duration, Rate};

/// How a model server works on its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// What its requests share.
    pub cores: Cores,
    /// Requests computed at once in a pod, at least 1; the rest wait in the server. `None` computes all.
    pub workers: Option<u32>,
    /// Dynamic batching; never together with `llm`.
    pub batching: Option<Batching>,
    /// Token by token generation; never together with `batching`.
    pub llm: Option<Llm>,
    /// The slow first requests of a pod.
    pub warm_up: Option<WarmUp>,
}

/// Cores of a pod that its requests share (processor sharing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cores {
    /// Each request has a core of its own.
    #[default]
    Unlimited,
    /// So many, also parts of one; above 0.
    Number(f64),
    /// The CPU limit of the manifest.
    Manifest,
}

/// Dynamic batching. A batch of `n` takes `base + per_item · n`, times the drawn service time divided by its
/// mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batching {
    /// The largest batch, at least 1.
    pub size: u32,
    /// How long the first request of a batch waits for others.
    pub delay: Duration,
    /// Time of a batch whatever its size.
    pub base: Duration,
    /// Time that each request adds.
    pub per_item: Duration,
}

/// A server of a large language model with continuous batching.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Llm {
    /// Context tokens a second of one sequence, above 0.
    pub prefill: Rate,
    /// Generated tokens a second of one sequence alone, above 0.
    pub decode: Rate,
    /// Sequences at once, at least 1.
    pub slots: u32,
    /// What each further sequence in the batch adds to the time of a step, as a fraction.
    pub slowdown: f64,
    /// Tokens that the key-value cache holds; `None` has no limit.
    pub kv_tokens: Option<u64>,
    /// Context tokens of a request when the load names none.
    pub context: u32,
    /// Generated tokens of a request when the load names none, at least 1.
    pub generated: u32,
}

impl Default for Llm {
    fn default() -> Self {
        Self {
            prefill: Rate::per_second(8_000.0),
            decode: Rate::per_second(60.0),
            slots: 32,
            slowdown: 0.02,
            kv_tokens: None,
            context: 1_000,
            generated: 200,
        }
    }
}

/// The first requests of a pod take longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// How many, at least 1.
    pub requests: u32,
    /// How many times as long, at least 1.
    pub factor: f64,
}

/// Memory that a server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Whether or not there are requests.
    pub base: Bytes,
    /// For each request that it holds.
    pub per_request: Bytes,
}

/// What a version of the model does differently. Whatever is `None` comes from the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelProfile {
    /// The beginning of the version's storage URI.
    pub prefix: String,
    /// How long it computes for one request.
    pub service_time: Option<Distribution>,
    /// Share of requests that it answers with 500.
    pub error_rate: f64,
    /// Share of its predictions that differ from the reference.
    pub different: f64,
    /// Size of its files; the environment's when `None`.
    pub size: Option<Bytes>,
    /// Memory of the server with it; `None` is not looked at.
    pub memory: Option<MemoryUse>,
    /// Memory on the GPU of the server with it; `None` is not looked at.
    pub gpu_memory: Option<MemoryUse>,
    /// How its server works, complete: keys that the file leaves out are those of the environment's server.
    pub server: Option<Server>,
}
