//! Who rolls out new versions of a service instead of KServe: what Flagger's and Argo's controllers have in common.

use serde::{Deserialize, Serialize};
use windtunnel_record::Decision as Record;
use windtunnel_scenario::Verb;

use super::super::{Event as Any, World};
use super::{Argo, Event, Flagger};
use crate::engine::Schedule;
use crate::plan::DeliveryPlan;

/// The controller of a service's canaries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::model) enum Delivery {
    /// Flagger, with a Canary.
    Flagger(Box<Flagger>),
    /// Argo Rollouts, with a Rollout.
    Argo(Box<Argo>),
}

impl Delivery {
    /// The controller of what a plan asks for, before it has looked.
    pub(super) fn new(plan: &DeliveryPlan) -> Self {
        match plan {
            DeliveryPlan::Flagger(plan) => Self::Flagger(Box::new(Flagger::new(plan))),
            DeliveryPlan::Argo(plan) => Self::Argo(Box::new(Argo::new(plan))),
        }
    }
}

impl World<'_> {
    /// A service with a controller of its own is brought to what its manifest says; false where it has none, and
    /// KServe does it.
    pub(super) fn deliver_version(
        &mut self,
        now_ns: u64,
        index: usize,
        schedule: &mut Schedule<Any>,
    ) -> bool {
        match self.state.services[index].delivery {
            None => return false,
            Some(Delivery::Flagger(_)) => self.apply_flagger(now_ns, index, schedule),
            Some(Delivery::Argo(_)) => self.apply_argo(now_ns, index, schedule),
        }
        true
    }

    /// Somebody tells a service's controller what to do.
    pub(super) fn command_delivery(
        &mut self,
        now_ns: u64,
        index: usize,
        verb: Verb,
        schedule: &mut Schedule<Any>,
    ) {
        match &mut self.state.services[index].delivery {
            None => {}
            // It sees that at its next tick.
            Some(Delivery::Flagger(flagger)) => flagger.command(verb),
            Some(Delivery::Argo(_)) => self.command_argo(now_ns, index, verb, schedule),
        }
    }

    /// A controller's period has passed, or it asked to be woken.
    pub(super) fn delivery_tick(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let index = usize::from(index);
        match &self.state.services[index].delivery {
            Some(Delivery::Flagger(flagger)) if flagger.due_ns == now_ns => {
                self.flagger_tick(now_ns, index, schedule);
            }
            Some(Delivery::Argo(argo)) if argo.due_ns == Some(now_ns) => {
                self.argo_tick(now_ns, index, schedule);
            }
            _ => {}
        }
    }

    /// Pods of a service's Deployments came or went; false where it has no controller.
    pub(super) fn delivery_readiness(
        &mut self,
        now_ns: u64,
        index: usize,
        schedule: &mut Schedule<Any>,
    ) -> bool {
        match self.state.services[index].delivery {
            None => return false,
            Some(Delivery::Flagger(_)) => self.flagger_sees_pods(now_ns, index),
            Some(Delivery::Argo(_)) => self.argo_sees_pods(now_ns, index, schedule),
        }
        true
    }

    /// A what-if: the controller takes its manifest of the plan.
    pub(super) fn replan_delivery(&mut self, index: usize) {
        let options = self.flagger_options();
        let planned = self.plan.services[index].delivery.as_ref();
        match (&mut self.state.services[index].delivery, planned) {
            (Some(Delivery::Flagger(flagger)), Some(DeliveryPlan::Flagger(plan))) => {
                flagger.reconfigure(plan, options)
            }
            (Some(Delivery::Argo(argo)), Some(DeliveryPlan::Argo(plan))) => argo.reconfigure(plan),
            (None, None) => {}
            _ => {
                self.fault = Some(crate::SimError::Snapshot {
                    message: "it holds a service that something else rolls out than in the plan".to_owned(),
                    remedy: "keep the Canary or the Rollout; change its fields".to_owned(),
                });
            }
        }
        match &mut self.state.analysis {
            Some(analysis) => analysis.extend(self.plan),
            None => self.state.analysis = super::Analysis::of(self.plan),
        }
    }

    /// Wakes a controller.
    pub(super) fn wake_delivery(&self, at_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let service = u16::try_from(index).unwrap_or(u16::MAX);
        schedule.at(at_ns, Any::Rollout(Event::Tick(service)));
    }

    /// Writes down what a controller decided.
    pub(super) fn record_delivery(
        &mut self,
        now_ns: u64,
        (actor, target): (&str, &str),
        (from, to): (i64, i64),
        (text, explanation): (String, serde_json::Value),
    ) {
        if self.is_observed(now_ns) {
            self.recorder.decision(Record {
                t_ns: self.run_ns(now_ns),
                actor: actor.to_owned(),
                target: target.to_owned(),
                from,
                to,
                text,
                explanation,
            });
        }
    }
}
