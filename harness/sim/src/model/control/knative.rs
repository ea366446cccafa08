//! Knative's pod autoscaler: the activator counts requests, the autoscaler's kernel decides.
//!
//! While the activator is not in the path the autoscaler scrapes the pods instead. They would tell it what the gateway counts,
//! so that is what it gets; but a scrape takes time, and counts for the second in which it ends. Upstream scrapes on a ticker
//! of one second that holds one tick back while a scrape is under way (`pkg/autoscaler/metrics/collector.go`).

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, ConcurrencyReporter, ConditionStatus, Config, Observation, ServeMode, Stat, Trigger,
};

use super::{Cause, Seen, Verdict, Why};
use crate::engine::Stream;
use crate::server::Draw;

/// From a status that the autoscaler writes until it sees it: one write to the API server and one watch event.
const STATUS_WRITE_NS: u64 = 5_000_000;

/// A revision's autoscaler with what feeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Knative {
    autoscaler: Autoscaler,
    reporter: ConcurrencyReporter,
    /// It is at zero without any data: nothing can follow but from a request or a change.
    rests: bool,
    /// Its metrics are lost.
    is_blind: bool,
    /// The activator is not in the path: the pods are scraped.
    scrapes: bool,
    /// The scrape that is under way.
    scrape: Option<Scrape>,
    /// The chance in how long a scrape takes.
    scrape_times: Stream,
}

/// A scrape that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Scrape {
    stat: Stat,
    /// The next one is due already.
    is_overrun: bool,
}

/// What follows from a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) struct Reported {
    /// [`Cause::Poke`] is asked for at once.
    pub(in crate::model) pokes: bool,
    /// A scrape has begun and ends then.
    pub(in crate::model) scrape_ends_ns: Option<u64>,
}

impl Knative {
    /// The autoscaler of a revision without pods.
    pub(in crate::model) fn new(config: Config, scrape_times: Stream, now_ns: u64) -> Self {
        Self {
            autoscaler: Autoscaler::new(config, 0, now_ns),
            reporter: ConcurrencyReporter::new(),
            rests: false,
            is_blind: false,
            scrapes: false,
            scrape: None,
            scrape_times,
        }
    }

    /// The settings in force.
    pub(in crate::model) fn config(&self) -> &Config {
        self.autoscaler.config()
    }

    /// Takes other settings; what it has seen so far stays.
    pub(in crate::model) fn reconfigure(&mut self, config: Config, now_ns: u64) {
        self.autoscaler.reconfigure(config, now_ns);
    }

    pub(super) fn request_in(&mut self, now_ns: u64) -> bool {
        match self.reporter.request_in(now_ns) {
            Some(stat) if !self.is_blind => self.autoscaler.record(&stat),
            _ => false,
        }
    }

    pub(super) fn request_out(&mut self, now_ns: u64) {
        self.reporter.request_out(now_ns);
    }

    pub(super) fn report(&mut self, now_ns: u64, scrape_time: Option<&Draw>) -> Reported {
        if let Some(scrape) = &mut self.scrape {
            scrape.is_overrun = true;
            return Reported::default();
        }
        let Some(stat) = self.reporter.report(now_ns) else { return Reported::default() };
        if !self.scrapes {
            let pokes = !self.is_blind && self.autoscaler.record(&stat);
            return Reported { pokes, scrape_ends_ns: None };
        }
        match scrape_time.map(|time| time.draw(&mut self.scrape_times)) {
            None => Reported { pokes: self.record_scrape(&stat), scrape_ends_ns: None },
            Some(time_ns) => {
                self.scrape = Some(Scrape { stat, is_overrun: false });
                Reported { pokes: false, scrape_ends_ns: Some(now_ns.saturating_add(time_ns)) }
            }
        }
    }

    /// The scrape that is under way ends.
    pub(super) fn scraped(&mut self, now_ns: u64, scrape_time: Option<&Draw>) -> Reported {
        let Some(scrape) = self.scrape.take() else { return Reported::default() };
        let pokes = self.record_scrape(&Stat { at_ns: now_ns, ..scrape.stat });
        let next = if scrape.is_overrun { self.report(now_ns, scrape_time) } else { Reported::default() };
        Reported { pokes: pokes || next.pokes, ..next }
    }

    fn record_scrape(&mut self, stat: &Stat) -> bool {
        !self.is_blind && self.autoscaler.record_scrape(stat)
    }

    /// Whether ticks would find nothing new until a request comes or something changes.
    pub(super) fn rests(&self) -> bool {
        self.rests && self.reporter.is_idle() && self.scrape.is_none()
    }

    /// From now on its metrics are lost, or are not.
    pub(super) fn set_blind(&mut self, is_blind: bool) {
        self.is_blind = is_blind;
    }

    pub(super) fn awaits_report(&self) -> bool {
        !self.reporter.is_idle()
    }

    pub(super) fn first_scale(&self) -> u32 {
        self.config().first_scale()
    }

    pub(super) fn decide(&mut self, cause: Cause, seen: &Seen) -> Verdict {
        let before: ConditionStatus = self.autoscaler.active().status;
        let trigger = match cause {
            Cause::Tick => Trigger::Tick,
            Cause::Poke => Trigger::Poke,
            Cause::Change => Trigger::Reconcile,
        };
        let decision = self.autoscaler.step(
            trigger,
            &Observation {
                now_ns: seen.now_ns,
                ready: seen.ready,
                current_replicas: seen.wanted,
                reachability: seen.reachability,
                activator_answers: true,
            },
        );
        self.scrapes = decision.mode == ServeMode::Serve && seen.ready > 0;
        // A status that has changed comes back as soon as it is written.
        let written_ns = (decision.active.status != before).then_some(STATUS_WRITE_NS);
        self.rests = !decision.valid
            && decision.desired <= 0
            && decision.replicas.is_none()
            && (seen.ready, seen.wanted) == (0, 0)
            && decision.requeue_after_ns.is_none()
            && written_ns.is_none();
        Verdict {
            replicas: decision.replicas,
            look_after_ns: [decision.requeue_after_ns, written_ns].into_iter().flatten().min(),
            why: Why::Kpa(Box::new(decision.explanation)),
        }
    }
}
