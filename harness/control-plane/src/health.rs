//! Whether a control plane lives and is ready, as probes ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a control plane is; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    synced: AtomicBool,
    leads: AtomicBool,
    stopping: AtomicBool,
    ended: AtomicBool,
}

impl Health {
    /// Whether it runs: false once its task has ended, whatever the reason.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.ended.load(Ordering::Relaxed)
    }

    /// Whether it knows all objects and is not stopping. One that stands by is ready, too: its webhooks answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_alive() && self.0.synced.load(Ordering::Relaxed) && !self.0.stopping.load(Ordering::Relaxed)
    }

    /// Whether it is the one that writes.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.0.leads.load(Ordering::Relaxed)
    }

    pub(crate) fn set_synced(&self) {
        self.0.synced.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_leads(&self, leads: bool) {
        self.0.leads.store(leads, Ordering::Relaxed);
    }

    /// It is about to stop: nobody should send it anything new.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_ended(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}
