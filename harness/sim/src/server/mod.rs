//! What happens in one pod once a request was admitted.
//!
//! | role | types |
//! | --- | --- |
//! | the pod's server, in five kinds | [`Server`] with [`BatchingSettings`], [`LlmSettings`], [`KvAdmission`] |
//! | what goes in and comes out | [`Job`], [`Started`], [`Refusal`], [`Finished`] |
//! | how long work takes | [`Draw`], [`WarmUp`] |
//! | whether it fits | [`Memory`], [`Overflow`], [`Fit`] |
//! | settings that cannot be | [`Impossible`] |
//!
//! A server is a value: no clock, no randomness, serialisable at any instant. The caller tells it the time, which
//! never goes back, and asks [`Server::next_ns`] after every call when it wants to be called again; nothing may be
//! left due before the instant of the next call. Equal instants are taken in the order of admission.
//!
//! ```
//! use windtunnel_sim::engine::Slab;
//! use windtunnel_sim::server::{Job, Server, Started};
//!
//! let mut requests = Slab::default();
//! let mut server = Server::workers(1)?;
//! for _ in 0..2 {
//!     let key = requests.insert(());
//!     let job = Job { key, demand_ns: 100, context_tokens: 0, generated_tokens: 0 };
//!     assert_eq!(server.start(0, job), Started::Within);
//! }
//! let mut done = Vec::new();
//! while let Some(now_ns) = server.next_ns() {
//!     server.advance(now_ns, &mut done);
//! }
//! assert_eq!(done.iter().map(|done| done.end_ns).collect::<Vec<_>>(), [100, 200]);
//! # Ok::<(), windtunnel_sim::server::Impossible>(())
//! ```

mod batching;
mod busy;
mod direct;
mod impossible;
mod job;
mod llm;
mod memory;
mod service_time;
mod shared;
mod warm_up;
mod workers;

use serde::{Deserialize, Serialize};

use self::batching::Batching;
use self::direct::Direct;
use self::llm::Llm;
use self::shared::Shared;
use self::workers::Workers;
use crate::engine::Key;

pub use self::batching::BatchingSettings;
pub use self::impossible::Impossible;
pub(crate) use self::impossible::not_negative;
pub use self::job::{Finished, Job, MOST_JOBS, Refusal, Started};
pub use self::llm::{KvAdmission, LlmSettings};
pub use self::memory::{Fit, Memory, Overflow};
pub use self::service_time::Draw;
pub use self::warm_up::WarmUp;

/// The server of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Direct(Direct),
    Shared(Box<Shared>),
    Workers(Box<Workers>),
    Batching(Box<Batching>),
    Llm(Box<Llm>),
}

impl Server {
    /// Each request has a core of its own. [`Server::start`] tells its end, which the caller schedules; keys are
    /// not kept.
    pub fn direct() -> Self {
        Self { kind: Kind::Direct(Direct::default()) }
    }

    /// All requests run at once and share `cores`, none faster than on one core: processor sharing.
    ///
    /// # Errors
    /// Cores that are not a finite number above 0.
    pub fn shared(cores: f64) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Shared(Box::new(Shared::new(cores)?)) })
    }

    /// `workers` requests at a time; the others wait in the server, first come first served.
    ///
    /// # Errors
    /// No workers.
    pub fn workers(workers: u32) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Workers(Box::new(Workers::new(workers)?)) })
    }

    /// Requests that come close together are computed as one batch.
    ///
    /// # Errors
    /// A size, number of instances or mean of 0.
    pub fn batching(settings: BatchingSettings) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Batching(Box::new(Batching::new(settings)?)) })
    }

    /// A language model with continuous batching and a KV cache.
    ///
    /// # Errors
    /// Rates, slots or a cache of 0, or a slowdown that is negative.
    pub fn llm(settings: LlmSettings) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Llm(Box::new(Llm::new(settings)?)) })
    }

    /// Takes over how fast another server is, for all work that has not begun and for the steps of a language model:
    /// cores, the times of batches, the rates of prefill and decode. How it was started (workers, sizes, slots, cache,
    /// its kind) stays. True when nothing is left in which they differ.
    pub fn adopt_speed(&mut self, now_ns: u64, other: &Self) -> bool {
        match (&mut self.kind, &other.kind) {
            (Kind::Direct(_), Kind::Direct(_)) => true,
            (Kind::Shared(server), Kind::Shared(other)) => {
                server.adopt_speed(now_ns, other.cores());
                true
            }
            (Kind::Workers(server), Kind::Workers(other)) => server.workers() == other.workers(),
            (Kind::Batching(server), Kind::Batching(other)) => server.adopt_speed(other.settings()),
            (Kind::Llm(server), Kind::Llm(other)) => server.adopt_speed(now_ns, other.settings()),
            _ => false,
        }
    }

    /// A request that the pod admitted comes at `now_ns`.
    #[inline]
    pub fn start(&mut self, now_ns: u64, job: Job) -> Started {
        match &mut self.kind {
            Kind::Direct(server) => server.start(now_ns, &job),
            Kind::Shared(server) => server.start(now_ns, &job),
            Kind::Workers(server) => server.start(now_ns, job),
            Kind::Batching(server) => server.start(now_ns, job),
            Kind::Llm(server) => server.start(now_ns, &job),
        }
    }

    /// When [`Server::advance`] is to be called next if nobody comes or goes before; it may be now. `None` when
    /// nothing is under way, and always for a direct server.
    pub fn next_ns(&self) -> Option<u64> {
        match &self.kind {
            Kind::Direct(_) => None,
            Kind::Shared(server) => server.next_ns(),
            Kind::Workers(server) => server.next_ns(),
            Kind::Batching(server) => server.next_ns(),
            Kind::Llm(server) => server.next_ns(),
        }
    }

    /// Lets everything happen that is due until `now_ns` and appends the requests that end, in order. Calling it
    /// too often or too early does no harm.
    pub fn advance(&mut self, now_ns: u64, done: &mut Vec<Finished>) {
        match &mut self.kind {
            Kind::Direct(_) => {}
            Kind::Shared(server) => server.advance(now_ns, done),
            Kind::Workers(server) => server.advance(now_ns, done),
            Kind::Batching(server) => server.advance(now_ns, done),
            Kind::Llm(server) => server.advance(now_ns, done),
        }
    }

    /// A request of a direct server ends, as the caller scheduled it; false when there is none, or when the
    /// server ends its requests itself.
    #[inline]
    pub fn finish(&mut self, now_ns: u64) -> bool {
        match &mut self.kind {
            Kind::Direct(server) => server.finish(now_ns),
            _ => false,
        }
    }

    /// The client of a request went away and the server stops computing for it; false when it is not there. A
    /// batch or step that has begun is computed to its end. A direct server believes the caller.
    pub fn abandon(&mut self, now_ns: u64, key: Key) -> bool {
        match &mut self.kind {
            Kind::Direct(server) => server.finish(now_ns),
            Kind::Shared(server) => server.abandon(now_ns, key),
            Kind::Workers(server) => server.abandon(now_ns, key),
            Kind::Batching(server) => server.abandon(key),
            Kind::Llm(server) => server.abandon(now_ns, key),
        }
    }

    /// The pod is killed: every request that it held, in the order of admission. A direct server is emptied but
    /// knows no keys: whoever scheduled the ends of its requests knows them.
    pub fn drain(&mut self, now_ns: u64) -> Vec<Key> {
        match &mut self.kind {
            Kind::Direct(server) => {
                server.drain(now_ns);
                Vec::new()
            }
            Kind::Shared(server) => server.drain(now_ns),
            Kind::Workers(server) => server.drain(now_ns),
            Kind::Batching(server) => server.drain(now_ns),
            Kind::Llm(server) => server.drain(now_ns),
        }
    }

    /// Requests in the server, computed or waiting.
    pub fn in_flight(&self) -> usize {
        match &self.kind {
            Kind::Direct(server) => server.running(),
            Kind::Shared(server) => server.running(),
            Kind::Workers(server) => server.running() + server.waiting(),
            Kind::Batching(server) => server.running() + server.waiting(),
            Kind::Llm(server) => server.running() + server.waiting(),
        }
    }

    /// Requests that wait in the server: for a worker, a batch, or room in a language model's batch.
    pub fn waiting(&self) -> usize {
        match &self.kind {
            Kind::Direct(_) | Kind::Shared(_) => 0,
            Kind::Workers(server) => server.waiting(),
            Kind::Batching(server) => server.waiting(),
            Kind::Llm(server) => server.waiting(),
        }
    }

    /// Unit-nanoseconds that were busy until `now_ns`: of cores, workers, instances or the one engine. The
    /// utilisation over a span is the difference divided by span and [`Server::units`].
    pub fn busy_ns(&self, now_ns: u64) -> f64 {
        match &self.kind {
            Kind::Direct(server) => server.busy_ns(now_ns),
            Kind::Shared(server) => server.busy_ns(now_ns),
            Kind::Workers(server) => server.busy_ns(now_ns),
            Kind::Batching(server) => server.busy_ns(now_ns),
            Kind::Llm(server) => server.busy_ns(now_ns),
        }
    }

    /// What can be busy at the same time; `None` when there is no limit.
    pub fn units(&self) -> Option<f64> {
        match &self.kind {
            Kind::Direct(_) => None,
            Kind::Shared(server) => Some(server.cores()),
            Kind::Workers(server) => Some(server.workers()),
            Kind::Batching(server) => Some(server.instances()),
            Kind::Llm(_) => Some(1.0),
        }
    }

    /// The share of a language model's KV cache that is held at `now_ns`; `None` for other servers.
    pub fn kv_share(&self, now_ns: u64) -> Option<f64> {
        match &self.kind {
            Kind::Llm(server) => Some(server.kv_share(now_ns)),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
