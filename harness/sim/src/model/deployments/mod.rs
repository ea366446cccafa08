//! Deployments: a pod template with a number of replicas, the ReplicaSets that come of it, and what scales it.
//!
//! Each ReplicaSet is a [`Workload`](super::workloads::Workload); [`rolling`] says how many pods it has. The
//! autoscaler sees the pods of all of them together, old and new, as its label selector would.

mod rolling;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::Profile;
use windtunnel_kernel::autoscale::hpa::Options;
use windtunnel_kernel::autoscale::kpa::next_on_grid;
use windtunnel_record::Decision as Record;
use windtunnel_scenario::Duration;

use self::rolling::{Set, Wish, pass};
use super::control::fixed::Fixed;
use super::control::hpa::{Hpa, Target};
use super::control::keda::Keda;
use super::control::{Verdict, Why};
use super::{Event as Any, World};
use crate::engine::{Schedule, Stream};
use crate::error::SimError;
use crate::plan::{DeploymentPlan, RevisionPlan, ScalerPlan, Strategy};

/// Passes in a row after which a Deployment's sizes must have settled; each one moves a pod at least.
const MOST_PASSES: u32 = 10_000;

/// How often the controller looks whether old pods are gone (Recreate).
const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// What happens to a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Something changed: its controller looks.
    Sync,
    /// Its HorizontalPodAutoscaler decides.
    Tick,
    /// KEDA asks its triggers.
    Poll,
    /// An update may have stood still for too long.
    Deadline,
}

/// A Deployment with its autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Deployment {
    name: String,
    service: usize,
    strategy: Strategy,
    min_ready_ns: u64,
    progress_deadline_ns: u64,
    /// `spec.replicas`.
    replicas: u32,
    /// The replicas that its ReplicaSets were sized for last.
    sized_for: u32,
    /// Oldest first.
    sets: Vec<ReplicaSet>,
    /// The set of the present template.
    newest: usize,
    scaler: Scaler,
    /// It was deleted.
    is_gone: bool,
    /// Somebody else gives its ReplicaSets their sizes.
    is_sized_elsewhere: bool,
    /// Which events are due.
    armed: Armed,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ReplicaSet {
    /// Of its template.
    hash: u64,
    workload: u16,
}

/// Who decides about `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Scaler {
    Fixed(Fixed),
    Hpa(Box<Hpa>),
    Keda(Box<Keda>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Armed {
    sync: bool,
    tick: bool,
    poll: bool,
    deadline: bool,
}

/// How far an update is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// New pods, available new pods, old pods.
    counts: (u32, u32, u32),
    /// When they changed last.
    since_ns: u64,
    is_complete: bool,
    is_overdue: bool,
}

impl Deployment {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn service(&self) -> usize {
        self.service
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// `spec.replicas`.
    pub(super) fn replicas(&self) -> u32 {
        self.replicas
    }

    /// An update stands still, and its deadline has passed.
    pub(super) fn is_overdue(&self) -> bool {
        self.progress.is_overdue
    }

    /// Pods that may be missing before its condition `Available` is false: none where all pods are replaced at once
    /// (upstream: `MaxUnavailable` of `pkg/controller/deployment/util`).
    pub(super) fn most_unavailable(&self) -> u32 {
        match self.strategy {
            Strategy::Recreate => 0,
            Strategy::RollingUpdate { .. } => self.strategy.leeway(self.replicas).unavailable,
        }
    }

    /// The hash of the present template.
    pub(super) fn hash(&self) -> u64 {
        self.sets[self.newest].hash
    }

    /// The ReplicaSet of a template.
    pub(super) fn set_of(&self, hash: u64) -> Option<u16> {
        self.sets.iter().find(|set| set.hash == hash).map(|set| set.workload)
    }

    /// From now on somebody else gives its ReplicaSets their sizes.
    pub(super) fn hand_over(&mut self) {
        self.is_sized_elsewhere = true;
    }

    /// Its ReplicaSets, oldest first.
    pub(super) fn workloads(&self) -> impl Iterator<Item = u16> + '_ {
        self.sets.iter().map(|set| set.workload)
    }

    /// The ReplicaSet of the present template.
    pub(super) fn newest(&self) -> u16 {
        self.sets[self.newest].workload
    }
}

impl World<'_> {
    /// A Deployment is brought to what `plan` says, and made if there is none of its name. Nothing happens where it
    /// says what it said before.
    pub(super) fn apply_deployment(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &DeploymentPlan,
        schedule: &mut Schedule<Any>,
    ) -> u16 {
        let is_it = |known: &Deployment| !known.is_gone && known.name == plan.name();
        let known = self.state.deployments.iter().position(is_it);
        let index = match known {
            Some(index) => u16::try_from(index).unwrap_or(u16::MAX),
            None => self.create_deployment(now_ns, service, plan, schedule),
        };
        let at = usize::from(index);
        let deployment = &mut self.state.deployments[at];
        deployment.strategy = plan.strategy;
        deployment.min_ready_ns = plan.min_ready_ns;
        deployment.progress_deadline_ns = plan.progress_deadline_ns;
        if deployment.sets.get(deployment.newest).is_none_or(|set| set.hash != plan.hash) {
            self.change_template(now_ns, index, plan, schedule);
        } else {
            // The way of a request is not the template's.
            let newest = self.state.deployments[at].newest();
            self.state.workloads[usize::from(newest)].timeout_ns = plan.revision.timeout_ns;
        }
        if let Err(message) = self.apply_scaler(now_ns, index, plan, schedule) {
            let place = format!("the autoscaler of Deployment {:?}", plan.name());
            self.fault = Some(SimError::Environment { place, message });
        }
        index
    }

    fn create_deployment(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &DeploymentPlan,
        schedule: &mut Schedule<Any>,
    ) -> u16 {
        let index = u16::try_from(self.state.deployments.len()).unwrap_or(u16::MAX);
        // The API server's default is one. What was there before the run has its autoscaler's minimum already.
        let replicas = if self.is_observed(now_ns) { plan.replicas.unwrap_or(1) } else { plan.first_scale() };
        self.state.deployments.push(Deployment {
            name: plan.name().to_owned(),
            service,
            strategy: plan.strategy,
            min_ready_ns: plan.min_ready_ns,
            progress_deadline_ns: plan.progress_deadline_ns,
            replicas,
            sized_for: replicas,
            sets: Vec::new(),
            newest: 0,
            scaler: Scaler::Fixed(Fixed { replicas: plan.replicas }),
            is_gone: false,
            is_sized_elsewhere: false,
            armed: Armed::default(),
            progress: Progress { since_ns: now_ns, ..Progress::default() },
        });
        self.note(now_ns, "deployment", plan.name(), "created");
        self.wake(now_ns, index, schedule);
        index
    }

    /// Another pod template: its ReplicaSet is made, or taken up again if there was one.
    fn change_template(
        &mut self,
        now_ns: u64,
        index: u16,
        plan: &DeploymentPlan,
        schedule: &mut Schedule<Any>,
    ) {
        let at = usize::from(index);
        let sets = &self.state.deployments[at].sets;
        let is_update = !sets.is_empty();
        let position = match sets.iter().position(|set| set.hash == plan.hash) {
            Some(position) => position,
            None => {
                let position = sets.len();
                let name = format!("{}-{:05}", plan.name(), position + 1);
                let revision = RevisionPlan { name, ..plan.revision.clone() };
                let service = self.state.deployments[at].service;
                let workload = self.create_replica_set(now_ns, service, &revision, index, schedule);
                self.state.deployments[at].sets.push(ReplicaSet { hash: plan.hash, workload });
                position
            }
        };
        let deployment = &mut self.state.deployments[at];
        deployment.newest = position;
        deployment.progress =
            Progress { since_ns: now_ns, counts: deployment.progress.counts, ..Progress::default() };
        if is_update {
            self.note(now_ns, "deployment", plan.name(), "another pod template: pods are replaced");
            let is_scaled = !matches!(self.state.deployments[at].scaler, Scaler::Fixed(_));
            if is_scaled && self.kernel_profile().has_upstream_bugs() {
                // kserve #3768: the update writes the default over what the autoscaler has decided.
                let text = "the update wrote replicas: 1 over what the autoscaler had set".to_owned();
                self.resize(now_ns, index, 1, &Why::Manifest(text), schedule);
            }
        }
        self.wake(now_ns, index, schedule);
    }

    fn apply_scaler(
        &mut self,
        now_ns: u64,
        index: u16,
        plan: &DeploymentPlan,
        schedule: &mut Schedule<Any>,
    ) -> Result<(), String> {
        let options = self.hpa_options();
        let is_new = {
            let deployment = &mut self.state.deployments[usize::from(index)];
            match (&mut deployment.scaler, &plan.scaler) {
                (Scaler::Fixed(fixed), ScalerPlan::Fixed) => {
                    if let Some(replicas) = fixed.apply(plan.replicas) {
                        let text = format!("the manifest says replicas: {replicas}");
                        self.resize(now_ns, index, replicas, &Why::Manifest(text), schedule);
                    }
                    return Ok(());
                }
                (Scaler::Hpa(hpa), ScalerPlan::Hpa(spec)) => {
                    return hpa.reconfigure((**spec).clone()).map_err(|error| error.to_string());
                }
                (Scaler::Keda(keda), ScalerPlan::Keda(plan)) => {
                    return keda.reconfigure(plan, now_ns);
                }
                (scaler, ScalerPlan::Fixed) => {
                    *scaler = Scaler::Fixed(Fixed { replicas: plan.replicas });
                    false
                }
                (scaler, ScalerPlan::Hpa(spec)) => {
                    let hpa = Hpa::new((**spec).clone(), options).map_err(|error| error.to_string())?;
                    *scaler = Scaler::Hpa(Box::new(hpa));
                    true
                }
                (scaler, ScalerPlan::Keda(plan)) => {
                    *scaler = Scaler::Keda(Box::new(Keda::new(plan, options, now_ns)?));
                    true
                }
            }
        };
        if is_new {
            self.start_scaler(now_ns, index, schedule);
        }
        Ok(())
    }

    /// A new autoscaler begins to look.
    fn start_scaler(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let control = &self.plan.environment.control;
        let deployment = &self.state.deployments[usize::from(index)];
        let (name, armed) = (deployment.name.clone(), deployment.armed);
        let window_ns = match &deployment.scaler {
            Scaler::Keda(keda) => keda.window_ns(),
            Scaler::Fixed(_) | Scaler::Hpa(_) => 0,
        };
        let polls = matches!(deployment.scaler, Scaler::Keda(_));
        self.want_metrics(now_ns, window_ns, schedule);
        let sync_ns = control.hpa.sync.as_ns();
        let first_ns = if self.is_observed(now_ns) && control.phases.hpa.is_none() {
            // A new object is looked at after one period.
            now_ns.saturating_add(sync_ns)
        } else {
            self.next_cycle(now_ns, control.phases.hpa, sync_ns, &format!("hpa/{name}"))
        };
        if !armed.tick {
            schedule.at(first_ns, Any::Deployment(index, Event::Tick));
        }
        if polls && !armed.poll {
            // The first poll is at once; it begins the period, unless the scenario says where that lies.
            schedule.at(now_ns, Any::Deployment(index, Event::Poll));
        }
        let armed = &mut self.state.deployments[usize::from(index)].armed;
        armed.tick = true;
        armed.poll |= polls;
    }

    /// The next instant of a cycle that begins `phase` after the start of the run, or wherever chance has it.
    pub(super) fn next_cycle(&self, now_ns: u64, phase: Option<Duration>, period_ns: u64, name: &str) -> u64 {
        let period_ns = period_ns.max(1);
        let phase_ns = match phase {
            Some(phase) => phase.as_ns(),
            None => {
                let unit = Stream::named(self.state.seed, &format!("phase/{name}")).unit();
                (unit * period_ns as f64) as u64
            }
        };
        next_on_grid(now_ns, self.plan.epoch_ns.saturating_add(phase_ns), period_ns)
    }

    /// Whose rules the kernels follow.
    pub(super) fn kernel_profile(&self) -> Profile {
        crate::plan::kernel_profile(self.plan.environment.profile)
    }

    /// The controller manager's flags.
    fn hpa_options(&self) -> Options {
        let sync_period_ns = self.plan.environment.control.hpa.sync.as_ns();
        Options { sync_period_ns, version: self.plan.hpa_version, ..Options::of(self.kernel_profile()) }
    }

    /// A Deployment goes with all its pods.
    pub(super) fn delete_deployment(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let deployment = &mut self.state.deployments[usize::from(index)];
        deployment.is_gone = true;
        deployment.replicas = 0;
        let name = deployment.name.clone();
        let sets: Vec<u16> = deployment.workloads().collect();
        self.note(now_ns, "deployment", &name, "deleted");
        for workload in sets {
            self.state.workloads[usize::from(workload)].wanted = 0;
            self.scale_pods(now_ns, workload, schedule);
        }
    }

    /// Something that a Deployment waited for.
    pub(super) fn deployment_event(
        &mut self,
        now_ns: u64,
        index: u16,
        event: Event,
        schedule: &mut Schedule<Any>,
    ) {
        if self.state.deployments[usize::from(index)].is_gone {
            return;
        }
        match event {
            Event::Sync => self.sync(now_ns, index, schedule),
            Event::Tick => self.tick(now_ns, index, schedule),
            Event::Poll => self.poll(now_ns, index, schedule),
            Event::Deadline => self.deadline(now_ns, index, schedule),
        }
    }

    /// The pods of a ReplicaSet changed.
    pub(super) fn deployment_readiness(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        self.wake(now_ns, index, schedule);
        let service = self.state.deployments[usize::from(index)].service;
        self.standard_readiness(now_ns, service, schedule);
    }

    /// The Deployment's controller looks, once for everything that happens now.
    fn wake(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let armed = &mut self.state.deployments[usize::from(index)].armed.sync;
        if !std::mem::replace(armed, true) {
            schedule.at(now_ns, Any::Deployment(index, Event::Sync));
        }
    }

    /// `spec.replicas` is set.
    pub(super) fn resize(
        &mut self,
        now_ns: u64,
        index: u16,
        replicas: u32,
        why: &Why,
        schedule: &mut Schedule<Any>,
    ) {
        let deployment = &mut self.state.deployments[usize::from(index)];
        if deployment.replicas == replicas {
            return;
        }
        let from = std::mem::replace(&mut deployment.replicas, replicas);
        let target = deployment.name.clone();
        if self.is_observed(now_ns) {
            self.recorder.decision(Record {
                t_ns: self.run_ns(now_ns),
                actor: why.actor().to_owned(),
                target,
                from: i64::from(from),
                to: i64::from(replicas),
                text: why.text(),
                explanation: why.value(),
            });
        }
        self.wake(now_ns, index, schedule);
    }

    /// ReplicaSets get their sizes.
    fn sync(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let at = usize::from(index);
        self.state.deployments[at].armed.sync = false;
        if self.state.deployments[at].is_sized_elsewhere {
            return;
        }
        for _ in 0..MOST_PASSES {
            let deployment = &self.state.deployments[at];
            let sets: Vec<Set> =
                deployment.sets.iter().map(|set| self.seen(now_ns, deployment, *set)).collect();
            let wish = Wish {
                replicas: deployment.replicas,
                sized_for: deployment.sized_for,
                strategy: deployment.strategy,
                newest: deployment.newest,
            };
            let sizes = pass(&wish, &sets);
            let is_settled = wish.replicas == wish.sized_for;
            self.state.deployments[at].sized_for = wish.replicas;
            let changed: Vec<(u16, u32)> = self.state.deployments[at]
                .workloads()
                .zip(sizes)
                .zip(&sets)
                .filter(|((_, size), set)| *size != set.replicas)
                .map(|(changed, _)| changed)
                .collect();
            for (workload, size) in &changed {
                self.state.workloads[usize::from(*workload)].wanted = *size;
                self.scale_pods(now_ns, *workload, schedule);
            }
            if changed.is_empty() && is_settled {
                self.look_again(now_ns, index, &sets, schedule);
                return self.progress(now_ns, index, &sets, schedule);
            }
        }
    }

    /// The ReplicaSets of a Deployment: hash of the template, workload, pods that are available.
    pub(super) fn sets_of(&self, now_ns: u64, index: u16) -> Vec<(u64, u16, u32)> {
        let deployment = &self.state.deployments[usize::from(index)];
        let seen = |set: &ReplicaSet| self.seen(now_ns, deployment, *set).available;
        deployment.sets.iter().map(|set| (set.hash, set.workload, seen(set))).collect()
    }

    fn seen(&self, now_ns: u64, deployment: &Deployment, set: ReplicaSet) -> Set {
        let workload = &self.state.workloads[usize::from(set.workload)];
        let available = workload.endpoints.iter().filter(|key| {
            let pod = self.state.pods.get(**key);
            pod.is_some_and(|pod| pod.condition.is_available(now_ns, deployment.min_ready_ns))
        });
        let existing = match deployment.strategy {
            Strategy::RollingUpdate { .. } => workload.pods.len(),
            Strategy::Recreate => {
                self.state.pods.iter().filter(|(_, pod)| pod.workload == set.workload).count()
            }
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Set { replicas: workload.wanted, available: count(available.count()), existing: count(existing) }
    }

    /// What comes without an event of its own: pods that have been ready for long enough, old pods that are gone.
    fn look_again(&mut self, now_ns: u64, index: u16, sets: &[Set], schedule: &mut Schedule<Any>) {
        let deployment = &self.state.deployments[usize::from(index)];
        let waits = deployment.strategy == Strategy::Recreate
            && sets[deployment.newest].replicas != deployment.replicas;
        let ripe_ns = deployment
            .workloads()
            .flat_map(|workload| &self.state.workloads[usize::from(workload)].endpoints)
            .filter_map(|key| self.state.pods.get(*key)?.condition.available_at_ns(deployment.min_ready_ns))
            .filter(|ripe_ns| *ripe_ns > now_ns)
            .min();
        let again_ns = waits.then(|| now_ns.saturating_add(LOOK_AGAIN_NS));
        if let Some(at_ns) = [ripe_ns, again_ns].into_iter().flatten().min() {
            self.state.deployments[usize::from(index)].armed.sync = true;
            schedule.at(at_ns, Any::Deployment(index, Event::Sync));
        }
    }

    fn progress(&mut self, now_ns: u64, index: u16, sets: &[Set], schedule: &mut Schedule<Any>) {
        let deployment = &mut self.state.deployments[usize::from(index)];
        let new = sets[deployment.newest];
        let old = sets.iter().map(|set| set.replicas).sum::<u32>() - new.replicas;
        let counts = (new.replicas, new.available, old);
        let progress = &mut deployment.progress;
        if counts != progress.counts {
            *progress = Progress { counts, since_ns: now_ns, is_overdue: false, ..*progress };
        }
        let was_complete = progress.is_complete;
        let is_complete = old == 0 && new.replicas == deployment.replicas && new.available == new.replicas;
        // Once rolled out, missing pods are no update.
        progress.is_complete |= is_complete;
        if is_complete && !was_complete {
            let name = deployment.name.clone();
            self.note(now_ns, "deployment", &name, &format!("rolled out: {} replicas", new.replicas));
        } else if !progress.is_complete && !deployment.armed.deadline {
            deployment.armed.deadline = true;
            let at_ns = deployment.progress.since_ns.saturating_add(deployment.progress_deadline_ns);
            schedule.at(at_ns.max(now_ns), Any::Deployment(index, Event::Deadline));
        }
    }

    fn deadline(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let deployment = &mut self.state.deployments[usize::from(index)];
        deployment.armed.deadline = false;
        let progress = &mut deployment.progress;
        if progress.is_complete || progress.is_overdue {
            return;
        }
        let at_ns = progress.since_ns.saturating_add(deployment.progress_deadline_ns);
        if at_ns > now_ns {
            deployment.armed.deadline = true;
            schedule.at(at_ns, Any::Deployment(index, Event::Deadline));
            return;
        }
        progress.is_overdue = true;
        let (new, available, old) = progress.counts;
        let name = deployment.name.clone();
        let text =
            format!("ProgressDeadlineExceeded: {available} of {new} new pods available, {old} old ones left");
        self.note(now_ns, "deployment", &name, &text);
    }

    /// The HorizontalPodAutoscaler's period has passed.
    fn tick(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let period_ns = self.plan.environment.control.hpa.sync.as_ns().max(1);
        let verdict = self.asked(now_ns, index, |scaler, target, broker| match scaler {
            Scaler::Fixed(_) => None,
            Scaler::Hpa(hpa) => Some(hpa.decide(target)),
            Scaler::Keda(keda) => Some(keda.decide(target, broker)),
        });
        let is_on = verdict.is_some();
        self.state.deployments[usize::from(index)].armed.tick = is_on;
        if is_on {
            schedule.at(now_ns.saturating_add(period_ns), Any::Deployment(index, Event::Tick));
        }
        self.carry_out(now_ns, index, verdict, schedule);
    }

    /// KEDA's period has passed.
    fn poll(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let control = &self.plan.environment.control;
        let verdict = self.asked(now_ns, index, |scaler, target, broker| match scaler {
            Scaler::Fixed(_) | Scaler::Hpa(_) => None,
            Scaler::Keda(keda) => Some(keda.poll(target, broker)),
        });
        let deployment = &mut self.state.deployments[usize::from(index)];
        deployment.armed.poll = verdict.is_some();
        if let Scaler::Keda(keda) = &deployment.scaler {
            let period_ns = keda.polling_ns().unwrap_or(control.keda.polling.as_ns()).max(1);
            let at_ns = match control.phases.keda {
                None => now_ns.saturating_add(period_ns),
                phase => self.next_cycle(now_ns, phase, period_ns, ""),
            };
            schedule.at(at_ns, Any::Deployment(index, Event::Poll));
        }
        self.carry_out(now_ns, index, verdict, schedule);
    }

    /// Asks a scaler with what it sees.
    fn asked(
        &mut self,
        now_ns: u64,
        index: u16,
        ask: impl FnOnce(&mut Scaler, &Target<'_>, Option<&crate::broker::Broker>) -> Option<Verdict>,
    ) -> Option<Verdict> {
        let control = &self.plan.environment.control;
        let at = usize::from(index);
        let unset = Scaler::Fixed(Fixed { replicas: None });
        let mut scaler = std::mem::replace(&mut self.state.deployments[at].scaler, unset);
        let deployment = &self.state.deployments[at];
        let target = Target {
            is_blind: self.metrics_are_out(now_ns),
            now_ns,
            index,
            replicas: deployment.replicas,
            sets: deployment.workloads().map(|set| &self.state.workloads[usize::from(set)]).collect(),
            pods: &self.state.pods,
            metrics: &self.state.metrics,
            delay_ns: control.hpa.delay.as_ns(),
            query_delay_ns: match scaler {
                Scaler::Keda(_) => control.keda.delay.as_ns(),
                Scaler::Fixed(_) | Scaler::Hpa(_) => control.hpa.delay.as_ns(),
            },
        };
        let verdict = ask(&mut scaler, &target, self.broker_of(deployment.service));
        self.state.deployments[at].scaler = scaler;
        verdict
    }

    fn carry_out(&mut self, now_ns: u64, index: u16, verdict: Option<Verdict>, schedule: &mut Schedule<Any>) {
        if let Some(Verdict { replicas: Some(replicas), why, .. }) = verdict {
            self.resize(now_ns, index, replicas, &why, schedule);
        }
    }
}
