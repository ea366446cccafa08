//! KServe's Knative mode: from an InferenceService to revisions and traffic, through the very functions that the live
//! controllers call.

use serde::{Deserialize, Serialize};
use windtunnel_api::knative::{
    self, Configuration, RevisionObservation, Route, RouteStatus, configuration_of, configuration_status,
    revision_name, revision_of, revision_status, route_of, route_status, service_status,
};
use windtunnel_api::kserve::InferenceService;
use windtunnel_api::kserve::plan::Observed;
use windtunnel_kernel::autoscale::kpa::annotations::ANNOTATION_PREFIX;

use super::super::control::{Cause, Control};
use super::super::{Event as Any, World};
use super::{Backend, MOST_PASSES, Rollout, next_generation};
use crate::engine::Schedule;
use crate::error::SimError;
use crate::plan::{RevisionPlan, ServicePlan, refusal};

/// An InferenceService with its Knative children.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::model) struct Knative {
    manifest: InferenceService,
    knative: knative::Service,
    configuration: Option<Configuration>,
    route: Option<Route>,
    revisions: Vec<Revision>,
}

/// A revision as an object and its place in the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Revision {
    object: knative::Revision,
    workload: u16,
    /// The latest of the plan's versions that it was made from.
    version: usize,
}

impl Knative {
    pub(super) fn new(plan: &ServicePlan) -> Self {
        Self { manifest: plan.versions[0].manifest.clone(), ..Self::default() }
    }

    /// Another specification is applied; what is known of the old one's state stays.
    pub(super) fn apply(&mut self, manifest: &InferenceService) {
        let status = self.manifest.status.take();
        self.manifest = manifest.clone();
        self.manifest.status = status;
    }

    /// Whether the revision of a workload is ready.
    pub(super) fn is_ready(&self, workload: u16) -> bool {
        self.revisions.iter().any(|revision| revision.workload == workload && revision.object.is_ready())
    }

    /// The newest revision: its name, its workload, whether it is ready.
    pub(super) fn newest(&self) -> Option<(&str, u16, bool)> {
        let revision = self.revisions.last()?;
        Some((revision.object.metadata.name.as_deref()?, revision.workload, revision.object.is_ready()))
    }

    /// The workloads of its revisions.
    pub(super) fn workloads(&self) -> impl Iterator<Item = u16> + '_ {
        self.revisions.iter().map(|revision| revision.workload)
    }

    fn revision_named(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.object.metadata.name.as_deref() == Some(name))
    }

    /// The traffic that the route's status shows.
    fn backends(&self) -> Vec<Backend> {
        let status = self.route.as_ref().and_then(|route| route.status.as_ref());
        let shares = status.into_iter().flat_map(RouteStatus::shares);
        let backend = |(name, percent)| Some(Backend::of(self.revision_named(name)?.workload, percent));
        shares.filter_map(backend).collect()
    }
}

impl World<'_> {
    /// A what-if: the service as the plan has it, where it differs. Revisions whose autoscaling alone differs take
    /// it in place; another template becomes a revision of now, as a change of the manifest would.
    pub(super) fn replan_knative(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Any>) {
        let number = self.state.services[index].version;
        let Rollout::Knative(held) = &mut self.state.services[index].rollout else { return };
        let mut service = std::mem::take(&mut **held);
        let outcome = self.replan_revisions(now_ns, index, number, &mut service);
        let planned = &self.plan.services[index].versions[number];
        let status = service.manifest.status.take();
        let is_other = service.manifest != planned.manifest;
        service.manifest.status = status;
        if is_other {
            service.apply(&planned.manifest);
        }
        self.state.services[index].rollout = Rollout::Knative(Box::new(service));
        match outcome {
            Err(error) => self.fault = Some(error),
            Ok(changed) => {
                let name = self.plan.services[index].name.clone();
                if !changed.is_empty() {
                    self.note(now_ns, "scenario", &name, "what-if: other autoscaling settings");
                }
                if is_other {
                    self.reconcile_knative(now_ns, index, schedule);
                }
                for workload in changed {
                    self.decide(now_ns, workload, Cause::Change, schedule);
                }
            }
        }
    }

    /// The revisions of a service take the autoscaling settings of the plan; returns the workloads that changed.
    fn replan_revisions(
        &mut self,
        now_ns: u64,
        index: usize,
        number: usize,
        service: &mut Knative,
    ) -> Result<Vec<u16>, SimError> {
        let plan = self.plan;
        let mut changed = Vec::new();
        let newest = service.revisions.len().wrapping_sub(1);
        for at in 0..service.revisions.len() {
            // The last revision is the one of the version in force.
            let wanted = if at == newest { number } else { service.revisions[at].version };
            let Some(version) = plan.services[index].versions.get(wanted) else { continue };
            let mut rendered = plan.kserve.knative_service(&version.manifest, "")?;
            rendered.metadata.generation = service.knative.metadata.generation;
            let configuration = configuration_of(&rendered);
            let planned = revision_of(&configuration);
            let revision = &mut service.revisions[at];
            if planned.spec == revision.object.spec
                && fixed_annotations(&planned) == fixed_annotations(&revision.object)
            {
                revision.object.metadata.annotations = planned.metadata.annotations;
                if at == newest
                    && let Some(held) = &mut service.configuration
                {
                    // The settings in force are these, and no other revision is due for them.
                    held.spec = configuration.spec;
                }
            }
            let read = RevisionPlan::of(&revision.object, &version.manifest, &plan.autoscaler, &plan.kserve)?;
            let control = &mut self.state.workloads[usize::from(revision.workload)].control;
            if let (Some(settings), Control::Knative(control)) = (read.knative(), control)
                && control.config() != settings
            {
                control.reconfigure(settings.clone(), now_ns);
                changed.push(revision.workload);
            }
        }
        Ok(changed)
    }

    /// Reconciles a service until nothing changes any more.
    pub(in crate::model) fn reconcile_knative(
        &mut self,
        now_ns: u64,
        index: usize,
        schedule: &mut Schedule<Any>,
    ) {
        for _ in 0..MOST_PASSES {
            let version = self.state.services[index].version;
            let Rollout::Knative(rollout) = &mut self.state.services[index].rollout else { return };
            let mut rollout = std::mem::take(&mut **rollout);
            let outcome = self.reconcile_once(now_ns, index, version, &mut rollout, schedule);
            let changed = outcome.map(|changed| (changed, rollout.backends()));
            self.state.services[index].rollout = Rollout::Knative(Box::new(rollout));
            match changed {
                Ok((true, _)) => {}
                Ok((false, backends)) => {
                    let backends = self.flagger_backends(now_ns, index, backends, schedule);
                    return self.set_traffic(now_ns, index, backends, schedule);
                }
                Err(error) => {
                    self.fault = Some(error);
                    return;
                }
            }
        }
        let service = self.plan.services[index].name.clone();
        self.fault = Some(SimError::Unsettled { service, passes: MOST_PASSES });
    }

    /// One pass over a service and its children; true when something changed.
    fn reconcile_once(
        &mut self,
        now_ns: u64,
        index: usize,
        number: usize,
        service: &mut Knative,
        schedule: &mut Schedule<Any>,
    ) -> Result<bool, SimError> {
        let plan = self.plan;
        let observed = Observed { knative_services: vec![&service.knative], ..Observed::default() };
        let made = plan.kserve.plan(&service.manifest, observed);
        if let Some(error) = refusal(&made, service.manifest.name(), "") {
            return Err(error);
        }
        // A plan without children leaves alone what there is.
        let wanted = made.children.knative_services.into_iter().next();
        let mut knative = wanted.unwrap_or_else(|| service.knative.clone());
        let is_new = knative.spec != service.knative.spec;
        knative.metadata.generation = next_generation(service.knative.metadata.generation, is_new);
        knative.status.clone_from(&service.knative.status);

        let mut configuration = configuration_of(&knative);
        let old = service.configuration.as_ref();
        let is_new = old.is_none_or(|old| old.spec != configuration.spec);
        let generation = old.and_then(|old| old.metadata.generation);
        configuration.metadata.generation = next_generation(generation, is_new);
        configuration.status = old.and_then(|old| old.status.clone());

        let created = revision_name(&configuration);
        if service.revision_named(&created).is_none() {
            let object = revision_of(&configuration);
            let revision = RevisionPlan::of(&object, &service.manifest, &plan.autoscaler, &plan.kserve)?;
            let workload = self.create_revision(now_ns, index, &revision, schedule);
            service.revisions.push(Revision { object, workload, version: number });
        }
        for revision in &mut service.revisions {
            if revision.object.metadata.name.as_deref() == Some(&created) {
                revision.version = number;
            }
            let workload = &self.state.workloads[usize::from(revision.workload)];
            let observation = RevisionObservation {
                ready_replicas: i32::try_from(workload.ready()).unwrap_or(i32::MAX),
                desired_replicas: i32::try_from(workload.wanted).ok(),
                initial_scale: i32::try_from(workload.control.first_scale()).unwrap_or(i32::MAX),
                ..RevisionObservation::default()
            };
            let was_ready = revision.object.is_ready();
            revision.object.status = Some(revision_status(&revision.object, &observation));
            if !was_ready && revision.object.is_ready() {
                let name = workload.name.clone();
                self.note(now_ns, "revision", &name, "ready");
            }
        }
        let status = configuration_status(
            &configuration,
            service.revision_named(&created).map(|revision| &revision.object),
        );
        configuration.status = Some(status);

        let mut route = route_of(&knative);
        let old = service.route.as_ref();
        let is_new = old.is_none_or(|old| old.spec != route.spec);
        route.metadata.generation = next_generation(old.and_then(|old| old.metadata.generation), is_new);
        route.status = old.and_then(|old| old.status.clone());
        let latest =
            configuration.status.as_ref().and_then(|status| status.latest_ready_revision_name.clone());
        route.status = Some(route_status(
            &route,
            |_| latest.clone(),
            |name| service.revision_named(name).map(|revision| revision.object.is_ready()),
            &plan.kserve.config.ingress_domain,
        ));

        knative.status = Some(service_status(&knative, Some(&configuration), Some(&route)));
        let changed = service.manifest.status.as_ref() != Some(&made.status)
            || service.knative != knative
            || service.route.as_ref() != Some(&route)
            || service.configuration.as_ref() != Some(&configuration);
        service.manifest.status = Some(made.status);
        service.knative = knative;
        service.configuration = Some(configuration);
        service.route = Some(route);
        Ok(changed)
    }
}

/// The annotations of a revision that a running one cannot change.
fn fixed_annotations(revision: &knative::Revision) -> Vec<(&String, &String)> {
    let annotations = revision.metadata.annotations.iter().flatten();
    annotations.filter(|(key, _)| !key.starts_with(ANNOTATION_PREFIX)).collect()
}
