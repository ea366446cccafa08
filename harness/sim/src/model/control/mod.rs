//! Control: who decides how many replicas a workload gets.
//!
//! A controller lives in its [`Workload`](super::workloads::Workload) and sees the world through three doors:
//! requests that enter and leave, instants that it asked for ([`Event`]), and [`Seen`] when it has to decide.
//! It answers with a [`Verdict`]; carrying that out, writing it down and looking again later is
//! [`World::decide`], the same for all of them. A new controller is a file here, a variant of [`Control`] and an
//! arm in each of its functions.
//!
//! What scales a Deployment instead of a workload ([`hpa`], [`keda`], [`fixed`]) lives in the
//! [`Deployment`](super::deployments::Deployment), which gives its ReplicaSets their sizes; its verdicts have the
//! same form.

pub(super) mod fixed;
pub(super) mod hpa;
pub(super) mod keda;
mod knative;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::{self, Reachability, TICK_NS, next_on_grid};
use windtunnel_kernel::autoscale::{hpa as hpa_kernel, keda as keda_kernel};
use windtunnel_record::Decision as Record;

pub(super) use knative::{Knative, Reported};

use super::World;
use crate::engine::Schedule;
use crate::server::Draw;

/// What a controller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Its own period has passed.
    Tick,
    /// A wake-up that a verdict asked for.
    Requeue,
    /// A scrape of pods ends.
    Scraped,
}

/// Why a controller is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its period has passed.
    Tick,
    /// A request found nothing to answer it.
    Poke,
    /// Pods, routes or settings changed, or a wake-up came due.
    Change,
}

/// What a controller sees of its workload besides the requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Nanoseconds since the Unix epoch.
    pub(super) now_ns: u64,
    /// Pods that get requests.
    pub(super) ready: u32,
    /// Replicas that were decided last.
    pub(super) wanted: u32,
    /// Whether routes lead here.
    pub(super) reachability: Reachability,
}

/// What a controller decides.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// This many replicas from now on; `None` leaves them.
    pub(super) replicas: Option<u32>,
    /// Ask again after so long with [`Event::Requeue`], unless it is asked earlier; `None` when its own period
    /// is enough.
    pub(super) look_after_ns: Option<u64>,
    /// Why.
    pub(super) why: Why,
}

/// The explanation of a verdict, as the kernel gave it. It becomes text only when it is written down.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Of the Knative pod autoscaler.
    Kpa(Box<kpa::Explanation>),
    /// Of a HorizontalPodAutoscaler.
    Hpa(Box<hpa_kernel::Explanation>),
    /// Of KEDA.
    Keda(Box<keda_kernel::Explanation>),
    /// Somebody applied a manifest that says so.
    Manifest(String),
    /// A canary's controller: who it is, and why.
    Rollout(&'static str, String),
    /// A Deployment sizes its ReplicaSets; its own changes are written down, this is not.
    ReplicaSet,
}

impl Why {
    /// Who decided.
    pub(super) fn actor(&self) -> &'static str {
        match self {
            Self::Kpa(_) => "kpa",
            Self::Hpa(_) => "hpa",
            Self::Keda(_) => "keda",
            Self::Rollout(actor, _) => actor,
            Self::Manifest(_) | Self::ReplicaSet => "deployment",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Kpa(explanation) => explanation.to_string(),
            Self::Hpa(explanation) => explanation.to_string(),
            Self::Keda(explanation) => explanation.to_string(),
            Self::Manifest(text) | Self::Rollout(_, text) => text.clone(),
            Self::ReplicaSet => String::new(),
        }
    }

    pub(super) fn value(&self) -> serde_json::Value {
        match self {
            Self::Kpa(explanation) => serde_json::to_value(explanation).unwrap_or_default(),
            Self::Hpa(explanation) => serde_json::to_value(explanation).unwrap_or_default(),
            Self::Keda(explanation) => serde_json::to_value(explanation).unwrap_or_default(),
            Self::Manifest(_) | Self::Rollout(..) | Self::ReplicaSet => serde_json::Value::Null,
        }
    }
}

/// The controller of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Control {
    /// Knative's autoscaler with the activator's reports.
    Knative(Box<Knative>),
    /// The Deployment that it is a ReplicaSet of.
    Deployment(u16),
}

impl Control {
    /// A request enters the workload. True asks for [`Cause::Poke`] at once.
    pub(super) fn request_in(&mut self, now_ns: u64) -> bool {
        match self {
            Self::Knative(knative) => knative.request_in(now_ns),
            Self::Deployment(_) => false,
        }
    }

    /// A request has its answer, or none will come.
    pub(super) fn request_out(&mut self, now_ns: u64) {
        match self {
            Self::Knative(knative) => knative.request_out(now_ns),
            Self::Deployment(_) => {}
        }
    }

    /// The gateway's period has passed: what it counted goes to the controller, or is read from the pods in its place.
    pub(super) fn report(&mut self, now_ns: u64, scrape_time: Option<&Draw>) -> Reported {
        match self {
            Self::Knative(knative) => knative.report(now_ns, scrape_time),
            Self::Deployment(_) => Reported::default(),
        }
    }

    /// Whether [`Control::report`] has something to tell, now or in the next period.
    pub(super) fn awaits_report(&self) -> bool {
        match self {
            Self::Knative(knative) => knative.awaits_report(),
            Self::Deployment(_) => false,
        }
    }

    /// Decides.
    pub(super) fn decide(&mut self, cause: Cause, seen: &Seen) -> Verdict {
        match self {
            Self::Knative(knative) => knative.decide(cause, seen),
            Self::Deployment(_) => Verdict { replicas: None, look_after_ns: None, why: Why::ReplicaSet },
        }
    }

    /// Whether ticks would find nothing new until a request comes or something changes.
    fn rests(&self) -> bool {
        match self {
            Self::Knative(knative) => knative.rests(),
            Self::Deployment(_) => false,
        }
    }

    /// How long from one [`Event::Tick`] to the next; `None` where there is none.
    fn period_ns(&self) -> Option<u64> {
        match self {
            Self::Knative(_) => Some(TICK_NS),
            Self::Deployment(_) => None,
        }
    }

    /// Ready pods that make a workload of this controller ready for the first time.
    pub(super) fn first_scale(&self) -> u32 {
        match self {
            Self::Knative(knative) => knative.first_scale(),
            Self::Deployment(_) => 0,
        }
    }
}

impl World<'_> {
    /// The controller of a new workload starts to tick.
    pub(super) fn start_control(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<super::Event>) {
        let Some(period_ns) = self.state.workloads[usize::from(index)].control.period_ns() else { return };
        let phase_ns = self.plan.phases.ticks.grid_from_ns(now_ns, self.plan.epoch_ns);
        let first_ns = next_on_grid(now_ns, phase_ns, period_ns);
        schedule.at(first_ns, super::Event::Control(index, Event::Tick));
    }

    /// A controller that rested ticks again, where its ticks would have been.
    #[cold]
    pub(super) fn wake_control(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<super::Event>) {
        let workload = &mut self.state.workloads[usize::from(index)];
        let Some(rested_ns) = workload.rests_since_ns.take() else { return };
        let Some(period_ns) = workload.control.period_ns() else { return };
        let next_ns = next_on_grid(now_ns, rested_ns, period_ns);
        schedule.at(next_ns, super::Event::Control(index, Event::Tick));
    }

    /// The metrics of all controllers are lost from now on, or are not.
    pub(super) fn set_blind(&mut self, is_blind: bool) {
        for workload in &mut self.state.workloads {
            if let Control::Knative(knative) = &mut workload.control {
                knative.set_blind(is_blind);
            }
        }
    }

    /// What follows from a report.
    pub(super) fn reported(
        &mut self,
        now_ns: u64,
        index: u16,
        report: Reported,
        schedule: &mut Schedule<super::Event>,
    ) {
        if let Some(ends_ns) = report.scrape_ends_ns {
            schedule.at(ends_ns, super::Event::Control(index, Event::Scraped));
        }
        if report.pokes {
            self.decide(now_ns, index, Cause::Poke, schedule);
        }
    }

    /// Something that a controller waited for.
    pub(super) fn control_event(
        &mut self,
        now_ns: u64,
        index: u16,
        event: Event,
        schedule: &mut Schedule<super::Event>,
    ) {
        let workload = &mut self.state.workloads[usize::from(index)];
        match event {
            Event::Tick if workload.control.rests() => workload.rests_since_ns = Some(now_ns),
            Event::Tick => {
                let Some(period_ns) = workload.control.period_ns() else { return };
                schedule.after(period_ns, super::Event::Control(index, event));
                self.decide(now_ns, index, Cause::Tick, schedule);
            }
            // Unless it was asked in between.
            Event::Requeue if workload.requeue_ns == Some(now_ns) => {
                workload.requeue_ns = None;
                self.decide(now_ns, index, Cause::Change, schedule);
            }
            Event::Requeue => {}
            Event::Scraped => {
                let Control::Knative(knative) = &mut workload.control else { return };
                let report = knative.scraped(now_ns, self.scrape_time.as_ref());
                self.reported(now_ns, index, report, schedule);
            }
        }
    }

    /// The controller decides, and its verdict is carried out.
    pub(super) fn decide(
        &mut self,
        now_ns: u64,
        index: u16,
        cause: Cause,
        schedule: &mut Schedule<super::Event>,
    ) {
        self.state.touched = None;
        if self.api_is_out(now_ns) {
            // Nothing can be read or written; all are asked again when it is over.
            return;
        }
        let workload = &mut self.state.workloads[usize::from(index)];
        let seen = Seen {
            now_ns,
            ready: workload.ready(),
            wanted: workload.wanted,
            reachability: workload.reachability,
        };
        let verdict = workload.control.decide(cause, &seen);
        if workload.rests_since_ns.is_some() && !workload.control.rests() {
            self.wake_control(now_ns, index, schedule);
        }
        let workload = &mut self.state.workloads[usize::from(index)];
        // Every verdict says anew when to look again.
        workload.requeue_ns = verdict.look_after_ns.map(|after_ns| now_ns.saturating_add(after_ns.max(1)));
        if let Some(at_ns) = workload.requeue_ns {
            schedule.at(at_ns, super::Event::Control(index, Event::Requeue));
        }
        let Some(replicas) = verdict.replicas.filter(|replicas| *replicas != workload.wanted) else {
            return;
        };
        let from = workload.wanted;
        workload.wanted = replicas;
        let target = workload.name.clone();
        if self.is_observed(now_ns) {
            self.recorder.decision(Record {
                t_ns: self.run_ns(now_ns),
                actor: verdict.why.actor().to_owned(),
                target,
                from: i64::from(from),
                to: i64::from(replicas),
                text: verdict.why.text(),
                explanation: verdict.why.value(),
            });
        }
        self.scale_pods(now_ns, index, schedule);
    }
}
