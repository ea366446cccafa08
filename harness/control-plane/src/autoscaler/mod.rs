//! The autoscaler loop: one kernel [`Autoscaler`] for each revision and for each component of the Standard mode that is scaled
//! by its requests, fed with the gateway's reports and the world.

mod target;

use std::collections::BTreeMap;

use serde_json::json;
use windtunnel_gateway::RevisionKey;
use windtunnel_kernel::autoscale::kpa::{self, Autoscaler, Decision, Observation, ServeMode, Stat, Trigger};

use crate::effect::{Effect, Effects};
use crate::world::{Key, Kind, ScaleView, Target, World};

pub(crate) use target::{component, predictor_behind};
pub use target::{ready_pods, resolve};

/// A change of a revision's or a component's replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscaleDecision {
    /// When, in nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Name of the revision, or of the component's Deployment.
    pub revision: String,
    /// Replicas before.
    pub from: i64,
    /// Replicas from now on.
    pub to: i64,
    /// Why, in one line.
    pub text: String,
    /// Why, as inputs, intermediate values and limits.
    pub explanation: serde_json::Value,
}

/// What a step of the loop came to.
#[derive(Debug, Default)]
pub struct Step {
    /// Writes, by the key that they belong to.
    pub effects: Effects,
    /// The decision to publish, if replicas change.
    pub decision: Option<AutoscaleDecision>,
    /// Whether what others look at has changed: the revision's status, the way of its requests.
    pub view_changed: bool,
}

/// One loop.
#[derive(Debug)]
struct Loop {
    autoscaler: Autoscaler,
    next_tick_ns: u64,
    requeue_ns: Option<u64>,
    /// Replicas that were written and not seen yet.
    written: Option<u32>,
    /// Which way requests should take, as of the latest step.
    mode: ServeMode,
}

/// All loops.
#[derive(Debug, Default)]
pub struct Loops {
    loops: BTreeMap<Target, Loop>,
}

impl Loops {
    /// Something about the target has changed: starts its loop, ends it, or steps it without a new evaluation.
    pub fn changed(&mut self, world: &World, target: &Target, now_ns: u64) -> Step {
        let Some(config) = target.config(world) else {
            self.loops.remove(target);
            return Step::default();
        };
        // Without usable settings it goes on with the last ones; the object's status says why.
        let Ok(config) = config else { return Step::default() };
        let is_new = !self.loops.contains_key(target);
        let begins_asleep = is_new && config.initial_scale.max(config.min_scale) == 0;
        let entry = self.loops.entry(target.clone()).or_insert_with(|| Loop {
            autoscaler: Autoscaler::new(config.clone(), target.ready(world), now_ns),
            next_tick_ns: kpa::next_tick_ns(now_ns),
            requeue_ns: None,
            written: None,
            mode: ServeMode::default(),
        });
        if *entry.autoscaler.config() != config {
            entry.autoscaler.reconfigure(config, now_ns);
        }
        let mut step = self.step(world, target, Trigger::Reconcile, now_ns);
        if begins_asleep && step.effects.is_empty() && is_fresh(world, target) {
            // A revision's Deployment is made with its initial scale; that of a component with Kubernetes' default of one.
            step.effects.push(scale(target, 0));
        }
        step
    }

    /// A report of the gateway, for everything that it is the load of. A step follows at once where something is at zero
    /// and has a request.
    pub fn record(
        &mut self,
        world: &World,
        revision: &RevisionKey,
        stat: &Stat,
        now_ns: u64,
    ) -> Vec<(Target, Step)> {
        let mut steps = Vec::new();
        for target in Target::of_report(world, revision) {
            let Some(found) = self.loops.get_mut(&target) else { continue };
            let mut poked = found.autoscaler.record(stat);
            // An autoscaler that was started a moment ago finds at zero what its predecessor has sent there.
            let has_no_opinion = found.autoscaler.status().desired.is_none_or(|desired| desired < 0);
            poked |= has_no_opinion && stat.average_concurrency != 0.0 && replicas(world, &target) == 0;
            if poked {
                let step = self.step(world, &target, Trigger::Poke, now_ns);
                steps.push((target, step));
            }
        }
        steps
    }

    /// When the next tick or requeue is due, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.loops
            .values()
            .map(|found| found.requeue_ns.map_or(found.next_tick_ns, |at| at.min(found.next_tick_ns)))
            .min()
    }

    /// Whose tick or requeue is due.
    #[must_use]
    pub fn due(&self, now_ns: u64) -> Vec<Target> {
        let is_due = |found: &Loop| {
            found.next_tick_ns <= now_ns || found.requeue_ns.is_some_and(|requeue| requeue <= now_ns)
        };
        self.loops.iter().filter(|(_, found)| is_due(found)).map(|(target, _)| target.clone()).collect()
    }

    /// Does what is due for the target: its tick, else its requeue.
    pub fn run_due(&mut self, world: &World, target: &Target, now_ns: u64) -> Step {
        let Some(found) = self.loops.get_mut(target) else { return Step::default() };
        if found.next_tick_ns <= now_ns {
            // Ticks that were missed are left out, as a ticker does.
            found.next_tick_ns = kpa::next_tick_ns(now_ns);
            self.step(world, target, Trigger::Tick, now_ns)
        } else {
            self.step(world, target, Trigger::Reconcile, now_ns)
        }
    }

    /// What others look at.
    #[must_use]
    pub fn view(&self, target: &Target) -> Option<ScaleView> {
        let found = self.loops.get(target)?;
        let active = found.autoscaler.active();
        let status = found.autoscaler.status();
        Some(ScaleView {
            active: (
                active.status.as_str().to_owned(),
                active.reason.clone(),
                message(&active.reason).to_owned(),
            ),
            desired: status.desired,
            is_direct: found.mode == ServeMode::Serve,
        })
    }

    /// The key of the work that a loop's writes belong to.
    #[must_use]
    pub fn work_key(target: &Target) -> Key {
        Key::Scale(target.clone())
    }

    fn step(&mut self, world: &World, target: &Target, trigger: Trigger, now_ns: u64) -> Step {
        let before = self.view(target);
        let replicas = replicas(world, target);
        let Some(found) = self.loops.get_mut(target) else { return Step::default() };
        if found.written == Some(replicas) {
            found.written = None;
        }
        let current = found.written.unwrap_or(replicas);
        let observation = Observation {
            now_ns,
            ready: target.ready(world),
            current_replicas: current,
            reachability: target.reachability(world),
            // The gateway is always in the path and holds what finds no pod.
            activator_answers: true,
        };
        let decision = found.autoscaler.step(trigger, &observation);
        found.mode = decision.mode;
        found.requeue_ns = decision.requeue_after_ns.map(|after| now_ns.saturating_add(after.max(1)));
        let mut step = Step::default();
        if let Some(wanted) = decision.replicas.filter(|wanted| *wanted != current) {
            found.written = Some(wanted);
            step.effects.push(scale(target, wanted));
            step.decision = Some(published(target, current, wanted, &decision, now_ns));
        }
        step.view_changed = before != self.view(target);
        step
    }

    /// A write of the target's replicas failed: what is wanted is written again at the next step.
    pub fn write_failed(&mut self, target: &Target) {
        if let Some(found) = self.loops.get_mut(target) {
            found.written = None;
        }
    }
}

/// The replicas that a target's Deployment asks for.
fn replicas(world: &World, target: &Target) -> u32 {
    let deployment = world.deployments.get(&target.deployment());
    let replicas = deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas);
    replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(1)
}

/// The write of a target's replicas.
fn scale(target: &Target, replicas: u32) -> Effect {
    let patch = json!({"spec": {"replicas": replicas}});
    Effect::Patch { kind: Kind::Deployment, key: target.deployment(), patch, status: false }
}

/// Whether the target's Deployment was made a moment ago: its controller has not looked at it yet.
fn is_fresh(world: &World, target: &Target) -> bool {
    let deployment = world.deployments.get(&target.deployment());
    let seen = deployment.and_then(|found| found.status.as_ref()?.observed_generation);
    matches!(target, Target::Component(_)) && seen.is_none()
}

fn published(target: &Target, from: u32, to: u32, decision: &Decision, now_ns: u64) -> AutoscaleDecision {
    AutoscaleDecision {
        at_unix_ns: now_ns,
        revision: target.key().name.clone(),
        from: i64::from(from),
        to: i64::from(to),
        text: decision.explanation.to_string(),
        explanation: serde_json::to_value(&decision.explanation).unwrap_or_default(),
    }
}

/// Knative's words for the reasons of the `Active` condition.
fn message(reason: &str) -> &'static str {
    match reason {
        "NoTraffic" => "The target is not receiving traffic.",
        "TimedOut" => "The target could not be activated.",
        "Queued" => "Requests to the target are being buffered as resources are provisioned.",
        _ => "",
    }
}
