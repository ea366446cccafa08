//! The autoscaler loop: one kernel [`Autoscaler`] a revision, fed with the gateway's reports and the world.

use std::collections::BTreeMap;

use serde_json::json;
use windtunnel_api::knative::{Revision, deployment_name, names};
use windtunnel_gateway::RevisionKey;
use windtunnel_kernel::autoscale::kpa::{
    self, Autoscaler, Config, Decision, Observation, Reachability, Stat, Trigger,
};

use crate::effect::{Effect, Effects};
use crate::gateway_routes::addresses;
use crate::world::{Key, Kind, ObjectKey, ScaleView, World};

/// A change of a revision's replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscaleDecision {
    /// When, in nanoseconds since the Unix epoch.
    pub at_unix_ns: u64,
    /// Name of the revision.
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
    /// Whether what the revision's status says about scaling has changed.
    pub view_changed: bool,
}

/// One revision's loop.
#[derive(Debug)]
struct Loop {
    autoscaler: Autoscaler,
    next_tick_ns: u64,
    requeue_ns: Option<u64>,
    /// Replicas that were written and not seen yet.
    written: Option<u32>,
}

/// The loops of all revisions.
#[derive(Debug, Default)]
pub struct Loops {
    loops: BTreeMap<ObjectKey, Loop>,
}

/// The number of a revision's ready pods.
#[must_use]
pub fn ready_pods(world: &World, revision: &ObjectKey) -> usize {
    addresses(world, revision).len()
}

/// A revision's configuration: its annotations over the cluster's ConfigMap.
///
/// # Errors
/// The setting that cannot be used, in words.
pub fn resolve(world: &World, revision: &Revision) -> Result<Config, String> {
    let global = world.autoscaler_config()?;
    revision.autoscaling(&global).map_err(|error| error.to_string())
}

impl Loops {
    /// Something about the revision has changed: starts its loop, ends it, or steps it without a new
    /// evaluation.
    pub fn changed(&mut self, world: &World, key: &ObjectKey, now_ns: u64) -> Step {
        let revision = world.revisions.get(key).filter(|found| found.metadata.deletion_timestamp.is_none());
        let deployed = world.deployments.contains_key(&key.sibling(deployment_name(&key.name)));
        let Some(revision) = revision.filter(|_| deployed) else {
            self.loops.remove(key);
            return Step::default();
        };
        let Ok(config) = resolve(world, revision) else { return Step::default() };
        let entry = self.loops.entry(key.clone()).or_insert_with(|| {
            let ready = u32::try_from(ready_pods(world, key)).unwrap_or(u32::MAX);
            Loop {
                autoscaler: Autoscaler::new(config.clone(), ready, now_ns),
                next_tick_ns: kpa::next_tick_ns(now_ns),
                requeue_ns: None,
                written: None,
            }
        });
        if *entry.autoscaler.config() != config {
            entry.autoscaler.reconfigure(config, now_ns);
        }
        self.step(world, key, Trigger::Reconcile, now_ns)
    }

    /// A report of the gateway; a step follows at once when the revision is at zero and has a request.
    pub fn record(
        &mut self,
        world: &World,
        revision: &RevisionKey,
        stat: &Stat,
        now_ns: u64,
    ) -> (ObjectKey, Step) {
        let key = ObjectKey::new(revision.namespace.clone(), revision.name.clone());
        let poked = self.loops.get_mut(&key).is_some_and(|found| found.autoscaler.record(stat));
        let step = if poked { self.step(world, &key, Trigger::Poke, now_ns) } else { Step::default() };
        (key, step)
    }

    /// When the next tick or requeue is due, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.loops
            .values()
            .map(|found| found.requeue_ns.map_or(found.next_tick_ns, |at| at.min(found.next_tick_ns)))
            .min()
    }

    /// The revisions whose tick or requeue is due.
    #[must_use]
    pub fn due(&self, now_ns: u64) -> Vec<ObjectKey> {
        let is_due = |found: &Loop| {
            found.next_tick_ns <= now_ns || found.requeue_ns.is_some_and(|requeue| requeue <= now_ns)
        };
        self.loops.iter().filter(|(_, found)| is_due(found)).map(|(key, _)| key.clone()).collect()
    }

    /// Does what is due for the revision: its tick, else its requeue.
    pub fn run_due(&mut self, world: &World, key: &ObjectKey, now_ns: u64) -> Step {
        let Some(found) = self.loops.get_mut(key) else { return Step::default() };
        if found.next_tick_ns <= now_ns {
            // Ticks that were missed are left out, as a ticker does.
            found.next_tick_ns = kpa::next_tick_ns(now_ns);
            self.step(world, key, Trigger::Tick, now_ns)
        } else {
            self.step(world, key, Trigger::Reconcile, now_ns)
        }
    }

    /// What the revision's status says about scaling.
    #[must_use]
    pub fn view(&self, key: &ObjectKey) -> Option<ScaleView> {
        let found = self.loops.get(key)?;
        let active = found.autoscaler.active();
        let status = found.autoscaler.status();
        Some(ScaleView {
            active: (
                active.status.as_str().to_owned(),
                active.reason.clone(),
                message(&active.reason).to_owned(),
            ),
            desired: status.desired,
        })
    }

    /// The key of the work that a loop's writes belong to.
    #[must_use]
    pub fn work_key(key: &ObjectKey) -> Key {
        Key::Scale(key.clone())
    }

    fn step(&mut self, world: &World, key: &ObjectKey, trigger: Trigger, now_ns: u64) -> Step {
        let before = self.view(key);
        let deployment_key = key.sibling(deployment_name(&key.name));
        let replicas = world
            .deployments
            .get(&deployment_key)
            .and_then(|deployment| deployment.spec.as_ref()?.replicas)
            .and_then(|replicas| u32::try_from(replicas).ok())
            .unwrap_or(1);
        let Some(found) = self.loops.get_mut(key) else { return Step::default() };
        if found.written == Some(replicas) {
            found.written = None;
        }
        let current = found.written.unwrap_or(replicas);
        let observation = Observation {
            now_ns,
            ready: u32::try_from(ready_pods(world, key)).unwrap_or(u32::MAX),
            current_replicas: current,
            reachability: reachability(world, key),
            // The gateway is always in the path and holds what finds no pod.
            activator_answers: true,
        };
        let decision = found.autoscaler.step(trigger, &observation);
        found.requeue_ns = decision.requeue_after_ns.map(|after| now_ns.saturating_add(after.max(1)));
        let mut step = Step::default();
        if let Some(wanted) = decision.replicas.filter(|wanted| *wanted != current) {
            found.written = Some(wanted);
            let patch = json!({"spec": {"replicas": wanted}});
            step.effects.push(Effect::Patch {
                kind: Kind::Deployment,
                key: deployment_key,
                patch,
                status: false,
            });
            step.decision = Some(published(key, current, wanted, &decision, now_ns));
        }
        step.view_changed = before != self.view(key);
        step
    }

    /// A write of the revision's replicas failed: what is wanted is written again at the next step.
    pub fn write_failed(&mut self, key: &ObjectKey) {
        if let Some(found) = self.loops.get_mut(key) {
            found.written = None;
        }
    }
}

fn published(key: &ObjectKey, from: u32, to: u32, decision: &Decision, now_ns: u64) -> AutoscaleDecision {
    AutoscaleDecision {
        at_unix_ns: now_ns,
        revision: key.name.clone(),
        from: i64::from(from),
        to: i64::from(to),
        text: decision.explanation.to_string(),
        explanation: serde_json::to_value(&decision.explanation).unwrap_or_default(),
    }
}

/// A revision is reachable while a Route points at it, and unknown until one has for the first time.
fn reachability(world: &World, key: &ObjectKey) -> Reachability {
    let revision = world.revisions.get(key);
    let labels = revision.and_then(|revision| revision.metadata.labels.as_ref());
    match labels.and_then(|labels| labels.get(names::ROUTING_STATE)).map(String::as_str) {
        Some(names::ACTIVE) => Reachability::Reachable,
        Some(names::RESERVE) => Reachability::Unreachable,
        _ => Reachability::Unknown,
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
