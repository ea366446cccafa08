//! Concurrency metering: the activator's reporter of one revision, and the channel that its statistics leave by.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::broadcast;
use windtunnel_kernel::autoscale::kpa::{ConcurrencyReporter, Stat};

use crate::table::RevisionKey;

/// One report about one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionStat {
    /// The revision that the report is about.
    pub revision: RevisionKey,
    /// What was measured since the last report.
    pub stat: Stat,
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The meter of one revision.
pub(crate) struct Meter {
    key: RevisionKey,
    reporter: Mutex<ConcurrencyReporter>,
    in_flight: AtomicU32,
    stats: broadcast::Sender<RevisionStat>,
}

/// One request that is being counted; it stops counting when this is dropped.
pub(crate) struct Metered(Arc<Meter>);

impl Meter {
    pub(crate) fn new(key: RevisionKey, stats: broadcast::Sender<RevisionStat>) -> Self {
        Self { key, reporter: Mutex::new(ConcurrencyReporter::new()), in_flight: AtomicU32::new(0), stats }
    }

    /// Counts a request in. The first one of an idle revision is reported at once: it is what wakes the autoscaler
    /// from zero.
    pub(crate) fn start(self: &Arc<Self>) -> Metered {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let first = self.reporter.lock().unwrap_or_else(PoisonError::into_inner).request_in(now_ns());
        if let Some(stat) = first {
            self.send(stat);
        }
        Metered(Arc::clone(self))
    }

    /// The report that is due each second.
    pub(crate) fn report(&self) {
        let stat = self.reporter.lock().unwrap_or_else(PoisonError::into_inner).report(now_ns());
        if let Some(stat) = stat {
            self.send(stat);
        }
    }

    /// Requests between arrival and the last byte of their answer, those held by the activator included.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// True when nothing is left to report.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.reporter.lock().unwrap_or_else(PoisonError::into_inner).is_idle()
    }

    fn send(&self, stat: Stat) {
        // Nobody listening is no error: a gateway without an autoscaler is a plain proxy.
        let _ = self.stats.send(RevisionStat { revision: self.key.clone(), stat });
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.0.reporter.lock().unwrap_or_else(PoisonError::into_inner).request_out(now_ns());
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
