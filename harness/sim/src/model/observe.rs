//! What is written down besides requests and decisions: events, and series at whole seconds.

use windtunnel_record::Event as Record;

use super::{Event, World};
use crate::engine::Schedule;

/// How often series are sampled: each second.
pub(super) const SAMPLE_PERIOD_NS: u64 = 1_000_000_000;

impl World<'_> {
    /// Writes down an event, if the run has started.
    pub(super) fn note(&mut self, now_ns: u64, kind: &str, target: &str, text: &str) {
        if self.is_observed(now_ns) {
            self.recorder.event(Record {
                t_ns: self.run_ns(now_ns),
                kind: kind.to_owned(),
                target: target.to_owned(),
                text: text.to_owned(),
            });
        }
    }

    /// A whole second of the run.
    pub(super) fn sample(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        let t_ns = self.run_ns(now_ns);
        for revision in &self.revisions {
            let labels = [("revision", revision.name.as_str())];
            let percent = self.services[revision.service].percent_of(revision.index);
            self.recorder.sample("replicas.wanted", &labels, t_ns, f64::from(revision.wanted));
            self.recorder.sample("replicas.ready", &labels, t_ns, revision.endpoints.len() as f64);
            self.recorder.sample("traffic.percent", &labels, t_ns, f64::from(percent));
        }
        self.recorder.sample("requests.in_flight", &[], t_ns, self.ledger.in_flight() as f64);
        if t_ns + SAMPLE_PERIOD_NS <= self.plan.duration_ns {
            schedule.after(SAMPLE_PERIOD_NS, Event::Sample);
        } else {
            self.samples_are_over = true;
        }
    }
}
