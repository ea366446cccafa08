//! Workloads: what requests are routed to, one a Knative revision or a Deployment, with its pods, its line and
//! its controller.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::Reachability;

use super::control::{Cause, Control, Knative};
use super::deadlines::Deadlines;
use super::line::Line;
use super::server::TokenTimes;
use super::{Event, World};
use crate::engine::{Key, Schedule, Stream};
use crate::plan::{RevisionPlan, Template};

/// Pods of one kind, and the requests that were sent to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Workload {
    pub(super) name: String,
    /// Its place in the world.
    pub(super) index: u16,
    /// Its place in the recording.
    pub(super) observed: u16,
    /// Where its model comes from.
    pub(super) storage_uri: String,
    /// When it was created, nanoseconds since the Unix epoch.
    pub(super) created_ns: u64,
    /// The service that it belongs to.
    pub(super) service: usize,
    /// What its pods ask for.
    pub(super) template: Template,
    /// How long a request may take in the gateway.
    pub(super) timeout_ns: u64,
    pub(super) reachability: Reachability,

    pub(super) control: Control,
    /// What was decided last: the replicas of its Deployment.
    pub(super) wanted: u32,
    /// The wake-up that the latest verdict asked for.
    pub(super) requeue_ns: Option<u64>,
    /// Its controller has nothing to do until a request comes: the tick at which that was so.
    pub(super) rests_since_ns: Option<u64>,

    /// Pods that are not stopping, oldest first.
    pub(super) pods: Vec<Key>,
    pub(super) pods_made: u32,
    /// Ready pods in the order in which they became so, and how many requests each one has.
    pub(super) endpoints: Vec<Key>,
    pub(super) loads: Vec<u32>,

    /// Ready pods that the activator's probe has not reached yet.
    pub(super) probing: u32,
    /// The chance in those probes.
    pub(super) probes: Stream,

    /// Who may start.
    pub(super) line: Line,
    /// Who waits, in order; those that gave up are still among them.
    pub(super) waiting: VecDeque<Key>,
    /// The chance in the choice of a pod.
    pub(super) choices: Stream,
    pub(super) route_deadlines: Deadlines,

    /// Requests sent to it so far, and where they are: each is in exactly one of the six.
    pub(super) routed: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) waiting_live: u64,
    pub(super) running: u64,
    pub(super) returning: u64,
    /// Those among the failed that a pod still computes for.
    pub(super) abandoned: u64,
    /// Those that are copies.
    pub(super) mirrored: Mirrored,
    /// How quick its language model was.
    pub(super) token_times: TokenTimes,
}

/// Copies of requests that a workload gets; nobody waits for their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mirrored {
    /// On their way now.
    pub(super) inside: u64,
    /// So far, and until the last sample.
    pub(super) sum: u64,
    pub(super) sampled: u64,
}

/// How the endpoints of a workload changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Gained,
    Lost,
}

impl Workload {
    /// Pods that Kubernetes holds ready: those that get requests, and those that the activator does not reach yet.
    pub(super) fn ready(&self) -> u32 {
        u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX).saturating_add(self.probing)
    }

    /// How a recording names it.
    pub(super) fn observation(&self, epoch_ns: u64) -> windtunnel_record::Revision {
        windtunnel_record::Revision {
            name: self.name.clone(),
            storage_uri: self.storage_uri.clone(),
            created_ns: self.created_ns.saturating_sub(epoch_ns),
        }
    }
}

impl World<'_> {
    /// Creates the workload of a Knative revision with its initial pods and its autoscaler.
    pub(super) fn create_revision(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &RevisionPlan,
        schedule: &mut Schedule<Event>,
    ) -> u16 {
        let config = plan.knative().cloned().unwrap_or_default();
        let wanted = config.initial_scale;
        let scrape_times = Stream::named(self.state.seed, &format!("scrape-times/{}", plan.name));
        let control = Control::Knative(Box::new(Knative::new(config, scrape_times, now_ns)));
        let line = Line::new(plan.container_concurrency);
        self.create_workload(now_ns, service, plan, (control, wanted), line, schedule)
    }

    /// Creates the workload of a Deployment's ReplicaSet, without pods.
    pub(super) fn create_replica_set(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &RevisionPlan,
        deployment: u16,
        schedule: &mut Schedule<Event>,
    ) -> u16 {
        let control = Control::Deployment(deployment);
        self.create_workload(now_ns, service, plan, (control, 0), Line::direct(), schedule)
    }

    /// Creates a workload with the pods that its plan begins with.
    fn create_workload(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &RevisionPlan,
        (control, wanted): (Control, u32),
        line: Line,
        schedule: &mut Schedule<Event>,
    ) -> u16 {
        let index = u16::try_from(self.state.workloads.len()).unwrap_or(u16::MAX);
        let mut workload = Workload {
            name: plan.name.clone(),
            index,
            observed: 0,
            storage_uri: plan.storage_uri.clone(),
            created_ns: now_ns,
            service,
            template: plan.template.clone(),
            timeout_ns: plan.timeout_ns,
            reachability: Reachability::Unknown,
            control,
            wanted,
            requeue_ns: None,
            rests_since_ns: None,
            pods: Vec::new(),
            pods_made: 0,
            endpoints: Vec::new(),
            loads: Vec::new(),
            probing: 0,
            probes: Stream::named(self.state.seed, &format!("activator-probes/{}", plan.name)),
            line,
            waiting: VecDeque::new(),
            choices: Stream::named(self.state.seed, &format!("endpoint-choice/{}", plan.name)),
            route_deadlines: Deadlines::default(),
            routed: 0,
            answered: 0,
            failed: 0,
            waiting_live: 0,
            running: 0,
            returning: 0,
            abandoned: 0,
            mirrored: Mirrored::default(),
            token_times: TokenTimes::default(),
        };
        workload.observed = self.recorder.revision(workload.observation(self.plan.epoch_ns));
        self.state.workloads.push(workload);
        let is_blind = self.metrics_are_out(now_ns);
        self.set_blind(is_blind);
        self.resolve_profiles();
        self.note(now_ns, "revision", &plan.name, "created");
        self.scale_pods(now_ns, index, schedule);
        self.start_control(now_ns, index, schedule);
        self.decide(now_ns, index, Cause::Change, schedule);
        index
    }

    /// Pods became ready or went away.
    pub(super) fn readiness_changed(
        &mut self,
        now_ns: u64,
        index: u16,
        change: Readiness,
        schedule: &mut Schedule<Event>,
    ) {
        if let Control::Deployment(deployment) = self.state.workloads[usize::from(index)].control {
            return self.deployment_readiness(now_ns, deployment, schedule);
        }
        if change == Readiness::Gained {
            self.workload_gained(now_ns, index, schedule);
        }
        self.decide(now_ns, index, Cause::Change, schedule);
    }
}
