//! From an InferenceService to revisions and traffic, through the very functions that a live controller calls.

use windtunnel_api::knative::{
    self, Configuration, RevisionObservation, Route, configuration_of, configuration_status, revision_name,
    revision_of, revision_status, route_of, route_status, service_status,
};
use windtunnel_api::kserve::{InferenceService, render, status};
use windtunnel_kernel::autoscale::kpa::{Reachability, Trigger};
use windtunnel_kernel::routing::split::TrafficSplit;

use super::{Event, World};
use crate::engine::Schedule;
use crate::error::SimError;
use crate::plan::{RevisionPlan, ServicePlan};

/// After so many reconciliations in a row without an end, something is wrong.
const MOST_PASSES: u32 = 16;

/// An InferenceService with its Knative children.
#[derive(Default)]
pub(super) struct Service {
    manifest: InferenceService,
    /// Which of the plan's versions of the manifest is in force.
    version: usize,
    knative: knative::Service,
    configuration: Option<Configuration>,
    route: Option<Route>,
    revisions: Vec<Version>,
    backends: Vec<Backend>,
    split: Option<TrafficSplit>,
}

/// A revision as an object and its place in the world.
struct Version {
    object: knative::Revision,
    index: u16,
}

/// A share of the traffic. One entry a revision, also where several targets of the route lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backend {
    revision: u16,
    percent: u32,
}

impl Service {
    pub(super) fn new(plan: &ServicePlan) -> Self {
        Self { manifest: plan.versions[0].manifest.clone(), ..Self::default() }
    }

    /// The revision of the next request and its weight in percent.
    pub(super) fn choose_backend(&mut self) -> Option<(u16, u8)> {
        let split = self.split.as_mut()?;
        let backend = self.backends[split.next()];
        Some((backend.revision, u8::try_from(backend.percent).unwrap_or(u8::MAX)))
    }

    /// A revision's share of the traffic; 0 when the route does not lead to it.
    pub(super) fn percent_of(&self, revision: u16) -> u32 {
        self.backends.iter().find(|backend| backend.revision == revision).map_or(0, |backend| backend.percent)
    }

    fn version_named(&self, name: &str) -> Option<&Version> {
        self.revisions.iter().find(|version| version.object.metadata.name.as_deref() == Some(name))
    }

    /// Whether the route's status, or its specification, leads to a revision.
    fn leads_to(&self, version: &Version) -> bool {
        let name = version.object.metadata.name.as_deref();
        let status = self.route.as_ref().and_then(|route| route.status.as_ref());
        status
            .is_some_and(|status| status.traffic.iter().any(|target| target.revision_name.as_deref() == name))
    }
}

impl World<'_> {
    /// The manifests are applied.
    pub(super) fn apply(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        for service in 0..self.services.len() {
            self.reconcile_service(now_ns, service, schedule);
        }
    }

    /// An event of the scenario happens.
    pub(super) fn change(&mut self, now_ns: u64, index: u32, schedule: &mut Schedule<Event>) {
        let plan = self.plan;
        let change = &plan.changes[index as usize];
        let planned = &plan.services[change.service];
        let service = &mut self.services[change.service];
        service.version = change.version;
        let status = service.manifest.status.take();
        service.manifest = planned.versions[change.version].manifest.clone();
        service.manifest.status = status;
        self.note(now_ns, "scenario", &planned.name, &change.name);
        self.reconcile_service(now_ns, change.service, schedule);
    }

    /// A revision has a new ready pod. That matters to its service until the revision is ready.
    pub(super) fn revision_gained(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let service = self.revisions[usize::from(index)].service;
        let was_ready = self.services[service]
            .revisions
            .iter()
            .any(|version| version.index == index && version.object.is_ready());
        if !was_ready {
            self.reconcile_service(now_ns, service, schedule);
        }
    }

    /// Reconciles a service until nothing changes any more.
    fn reconcile_service(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Event>) {
        for _ in 0..MOST_PASSES {
            let mut service = std::mem::take(&mut self.services[index]);
            let outcome = self.reconcile_once(now_ns, index, &mut service, schedule);
            self.services[index] = service;
            match outcome {
                Ok(true) => {}
                Ok(false) => return self.route_traffic(now_ns, index, schedule),
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
        service: &mut Service,
        schedule: &mut Schedule<Event>,
    ) -> Result<bool, SimError> {
        let plan = self.plan;
        let version = &plan.services[index].versions[service.version];
        let mut knative = render::knative_service(&service.manifest, &version.runtime, &plan.kserve);
        let is_new = knative.spec != service.knative.spec;
        knative.metadata.generation = next_generation(service.knative.metadata.generation, is_new);
        knative.status = service.knative.status.take();

        let mut configuration = configuration_of(&knative);
        let old = service.configuration.as_ref();
        let is_new = old.is_none_or(|old| old.spec != configuration.spec);
        let generation = old.and_then(|old| old.metadata.generation);
        configuration.metadata.generation = next_generation(generation, is_new);
        configuration.status = old.and_then(|old| old.status.clone());

        let created = revision_name(&configuration);
        if service.version_named(&created).is_none() {
            let object = revision_of(&configuration);
            let revision = RevisionPlan::of(&object, &service.manifest, &plan.autoscaler)?;
            let index = self.create_revision(now_ns, index, &revision, schedule);
            service.revisions.push(Version { object, index });
        }
        for version in &mut service.revisions {
            let revision = &self.revisions[usize::from(version.index)];
            let config = revision.autoscaler.config();
            let needed = config.initial_scale.max(config.min_scale);
            let observation = RevisionObservation {
                ready_replicas: i32::try_from(revision.endpoints.len()).unwrap_or(i32::MAX),
                desired_replicas: i32::try_from(revision.wanted).ok(),
                initial_scale: i32::try_from(needed).unwrap_or(i32::MAX),
                ..RevisionObservation::default()
            };
            let was_ready = version.object.is_ready();
            version.object.status = Some(revision_status(&version.object, &observation));
            if !was_ready && version.object.is_ready() {
                let name = revision.name.clone();
                self.note(now_ns, "revision", &name, "ready");
            }
        }
        let status = configuration_status(
            &configuration,
            service.version_named(&created).map(|version| &version.object),
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
            |name| service.version_named(name).map(|version| version.object.is_ready()),
            &plan.kserve.ingress_domain,
        ));

        knative.status = Some(service_status(&knative, Some(&configuration), Some(&route)));
        let status = status::propagate(&service.manifest, Some(&knative));
        let changed = service.manifest.status.as_ref() != Some(&status)
            || service.route.as_ref() != Some(&route)
            || service.configuration.as_ref() != Some(&configuration);
        service.manifest.status = Some(status);
        service.knative = knative;
        service.configuration = Some(configuration);
        service.route = Some(route);
        Ok(changed)
    }

    /// The gateway learns the traffic of a settled service, the autoscalers which revisions are reachable.
    fn route_traffic(&mut self, now_ns: u64, index: usize, schedule: &mut Schedule<Event>) {
        let service = &mut self.services[index];
        let status = service.route.as_ref().and_then(|route| route.status.as_ref());
        let mut backends: Vec<Backend> = Vec::new();
        for target in status.into_iter().flat_map(|status| &status.traffic) {
            let name = target.revision_name.as_deref().unwrap_or_default();
            let Some(revision) = service.version_named(name).map(|version| version.index) else { continue };
            let percent = target.percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(0);
            match backends.iter_mut().find(|backend| backend.revision == revision) {
                Some(backend) => backend.percent += percent,
                None => backends.push(Backend { revision, percent }),
            }
        }
        // A split that did not change keeps its position.
        if backends != service.backends {
            let weights: Vec<u32> = backends.iter().map(|backend| backend.percent).collect();
            service.split = Some(TrafficSplit::new(&weights)).filter(|split| !split.is_empty());
            service.backends = backends;
            let shares: Vec<String> = service
                .backends
                .iter()
                .map(|backend| {
                    format!("{} {} %", self.revisions[usize::from(backend.revision)].name, backend.percent)
                })
                .collect();
            let name = self.plan.services[index].name.clone();
            self.note(now_ns, "traffic", &name, &shares.join(", "));
        }
        let service = &self.services[index];
        let moved: Vec<(u16, Reachability)> = service
            .revisions
            .iter()
            .filter_map(|version| {
                let before = self.revisions[usize::from(version.index)].reachability;
                let after = match (service.leads_to(version), before) {
                    (true, _) => Reachability::Reachable,
                    (false, Reachability::Unknown) => Reachability::Unknown,
                    (false, _) => Reachability::Unreachable,
                };
                (after != before).then_some((version.index, after))
            })
            .collect();
        for (revision, reachability) in moved {
            self.revisions[usize::from(revision)].reachability = reachability;
            self.step(now_ns, revision, Trigger::Reconcile, schedule);
        }
    }
}

/// The generation of an object after its specification changed, or did not.
fn next_generation(before: Option<i64>, is_new: bool) -> Option<i64> {
    Some(before.unwrap_or(0) + i64::from(is_new))
}
