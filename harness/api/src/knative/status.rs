//! The status of each Knative resource, derived from its children. All functions keep what is still true of
//! the old status and leave new transition times to [`crate::condition::stamp`].

use super::{
    Configuration, ConfigurationStatus, Revision, RevisionStatus, Route, RouteStatus, Service, ServiceStatus,
    TrafficTarget, private_service_name, revision_name, route_url,
};
use crate::condition::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::kserve::Address;

const READY: &str = "Ready";

/// What there is to know about a revision's pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevisionObservation {
    /// Ready, not terminating pods.
    pub ready_replicas: i32,
    /// What the autoscaler wants; `None` while it has not decided.
    pub desired_replicas: Option<i32>,
    /// Ready pods that a new revision needs before it counts as available.
    pub initial_scale: i32,
    /// The autoscaler's `Active` condition as status, reason, message.
    pub active: Option<(String, String, String)>,
    /// Why the Deployment makes no progress, as reason and message (`ProgressDeadlineExceeded`, a pod that
    /// cannot be made), if so.
    pub failure: Option<(String, String)>,
}

/// The status of a revision. Once ready it stays ready (also at zero replicas) unless its Deployment fails.
#[must_use]
pub fn revision_status(revision: &Revision, observation: &RevisionObservation) -> RevisionStatus {
    let mut status = revision.status.clone().unwrap_or_default();
    let conditions = &mut status.conditions;
    status.observed_generation = revision.metadata.generation;
    status.actual_replicas = Some(observation.ready_replicas);
    status.desired_replicas =
        observation.desired_replicas.filter(|desired| *desired >= 0).or(status.desired_replicas);
    if let Some((state, reason, message)) = &observation.active {
        condition::set(conditions, Condition::new("Active", state, reason, message).informational());
    }
    let was_available = condition::is_true(conditions, "ResourcesAvailable");
    let enough = observation.ready_replicas >= observation.initial_scale;
    match &observation.failure {
        _ if enough || (was_available && observation.failure.is_none()) => {
            condition::set(conditions, Condition::new("ResourcesAvailable", TRUE, "", ""));
            condition::set(conditions, Condition::new("ContainerHealthy", TRUE, "", ""));
        }
        Some((reason, message)) => {
            condition::set(conditions, Condition::new("ResourcesAvailable", FALSE, reason, message));
        }
        None => {
            condition::set(conditions, Condition::new("ResourcesAvailable", UNKNOWN, "Deploying", ""));
            condition::set(conditions, Condition::new("ContainerHealthy", UNKNOWN, "Deploying", ""));
        }
    }
    condition::summarise(conditions, READY, &["ResourcesAvailable", "ContainerHealthy"]);
    status
}

/// The status of a Configuration. `created` is the revision of its present generation, if it exists.
#[must_use]
pub fn configuration_status(
    configuration: &Configuration,
    created: Option<&Revision>,
) -> ConfigurationStatus {
    let mut status = configuration.status.clone().unwrap_or_default();
    let Some(created) = created else {
        condition::set(&mut status.conditions, Condition::new(READY, UNKNOWN, "", ""));
        return status;
    };
    let name = revision_name(configuration);
    status.observed_generation = configuration.metadata.generation;
    let ready = created.status.as_ref().and_then(|status| condition::find(&status.conditions, READY));
    let summary = match ready {
        Some(ready) if ready.is_true() => {
            status.latest_ready_revision_name = Some(name.clone());
            Condition::new(READY, TRUE, "", "")
        }
        Some(ready) if ready.is_false() => {
            let message = format!("Revision {name:?} failed with message: {}.", ready.message());
            Condition::new(READY, FALSE, "RevisionFailed", &message)
        }
        _ => Condition::new(READY, UNKNOWN, "", ""),
    };
    status.latest_created_revision_name = Some(name);
    condition::set(&mut status.conditions, summary);
    status
}

/// The status of a Route: its targets resolved to revisions. Targets that follow a Configuration resolve
/// through `latest_ready` (Configuration name to revision name); until one resolves, the Route keeps the
/// traffic that it had. `domain` ends the URL.
#[must_use]
pub fn route_status(
    route: &Route,
    latest_ready: impl Fn(&str) -> Option<String>,
    revision_ready: impl Fn(&str) -> Option<bool>,
    domain: &str,
) -> RouteStatus {
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let namespace = route.metadata.namespace.as_deref().unwrap_or("default");
    let mut status = route.status.clone().unwrap_or_default();
    status.observed_generation = route.metadata.generation;
    status.url = Some(route_url(name, namespace, None, domain));
    status.address = Some(Address {
        url: Some(format!("http://{name}.{namespace}.svc.cluster.local")),
        ..Address::default()
    });

    let mut resolved = Vec::with_capacity(route.spec.traffic.len());
    let mut unresolved = None;
    for target in &route.spec.traffic {
        let revision = match (&target.revision_name, &target.configuration_name) {
            (Some(revision), _) => match revision_ready(revision) {
                Some(_) => Some(revision.clone()),
                None => {
                    let message = format!("Revision {revision:?} referenced in traffic not found.");
                    unresolved =
                        Some(Condition::new("AllTrafficAssigned", FALSE, "RevisionMissing", &message));
                    None
                }
            },
            (None, Some(configuration)) => latest_ready(configuration).or_else(|| {
                let message =
                    format!("Configuration {configuration:?} is waiting for a Revision to become ready.");
                unresolved = Some(Condition::new("AllTrafficAssigned", UNKNOWN, "RevisionMissing", &message));
                None
            }),
            (None, None) => None,
        };
        if let Some(revision) = revision {
            let url = target.tag.as_deref().map(|tag| route_url(name, namespace, Some(tag), domain));
            resolved.push(TrafficTarget {
                tag: target.tag.clone(),
                revision_name: Some(revision),
                configuration_name: None,
                latest_revision: Some(target.latest_revision.unwrap_or(target.revision_name.is_none())),
                percent: target.percent,
                url,
                ..TrafficTarget::default()
            });
        }
    }
    let conditions = &mut status.conditions;
    match unresolved {
        Some(missing) => {
            condition::set(conditions, missing);
            let reason = "IngressNotConfigured";
            let message = "Ingress has not yet been reconciled.";
            condition::set(conditions, Condition::new("IngressReady", UNKNOWN, reason, message));
        }
        None => {
            status.traffic = resolved;
            condition::set(conditions, Condition::new("AllTrafficAssigned", TRUE, "", ""));
            condition::set(conditions, Condition::new("IngressReady", TRUE, "", ""));
        }
    }
    condition::summarise(conditions, READY, &["AllTrafficAssigned", "IngressReady"]);
    status
}

/// The status of a Service, from its Configuration and Route. A child that has not seen its own newest
/// generation yet is out of date: its status is not copied, and the service's observed generation stays
/// behind, so that nobody draws conclusions from a mixture of old and new.
#[must_use]
pub fn service_status(
    service: &Service,
    configuration: Option<&Configuration>,
    route: Option<&Route>,
) -> ServiceStatus {
    let mut status = service.status.clone().unwrap_or_default();
    let mut observed = true;

    let current = configuration.and_then(|configuration| {
        let status = configuration.status.as_ref()?;
        (status.observed_generation == configuration.metadata.generation).then_some(status)
    });
    match current {
        Some(child) => {
            status.latest_created_revision_name.clone_from(&child.latest_created_revision_name);
            status.latest_ready_revision_name.clone_from(&child.latest_ready_revision_name);
            copy_ready(&mut status.conditions, "ConfigurationsReady", &child.conditions);
        }
        None => {
            observed = false;
            let message = "The Configuration is still working to reflect the latest desired specification.";
            let out_of_date = Condition::new("ConfigurationsReady", UNKNOWN, "OutOfDate", message);
            condition::set(&mut status.conditions, out_of_date);
        }
    }

    let current = route.and_then(|route| {
        let status = route.status.as_ref()?;
        (status.observed_generation == route.metadata.generation).then_some((route, status))
    });
    match current {
        Some((route, child)) => {
            status.url.clone_from(&child.url);
            status.address.clone_from(&child.address);
            status.traffic.clone_from(&child.traffic);
            copy_ready(&mut status.conditions, "RoutesReady", &child.conditions);
            // A Route that is not ready says why itself.
            let is_ready = condition::is_true(&status.conditions, "RoutesReady");
            let waiting = waiting_for_latest(route, child, &status).filter(|_| is_ready);
            if let Some(message) = waiting {
                let waiting = Condition::new("RoutesReady", UNKNOWN, "TrafficNotMigrated", &message);
                condition::set(&mut status.conditions, waiting);
            }
        }
        None => {
            observed = false;
            let message = "The Route is still working to reflect the latest desired specification.";
            condition::set(
                &mut status.conditions,
                Condition::new("RoutesReady", UNKNOWN, "OutOfDate", message),
            );
        }
    }
    if observed {
        status.observed_generation = service.metadata.generation;
    }
    condition::summarise(&mut status.conditions, READY, &["ConfigurationsReady", "RoutesReady"]);
    status
}

/// While the newest ready revision is not yet the one that the Route's "latest" target points at, the
/// service is not ready.
fn waiting_for_latest(route: &Route, child: &RouteStatus, service: &ServiceStatus) -> Option<String> {
    let latest = service.latest_ready_revision_name.as_deref()?;
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let stale = child.traffic.iter().find(|target| {
        target.latest_revision == Some(true) && target.revision_name.as_deref() != Some(latest)
    })?;
    let migrating = stale.revision_name.as_deref().unwrap_or_default();
    Some(format!("Traffic of {name:?} is not yet migrated from revision {migrating:?} to {latest:?}."))
}

fn copy_ready(conditions: &mut Vec<Condition>, type_: &str, child: &[Condition]) {
    let copied = match condition::find(child, READY) {
        Some(ready) => Condition::new(type_, &ready.status, ready.reason(), ready.message()),
        None => Condition::new(type_, UNKNOWN, "", ""),
    };
    condition::set(conditions, copied);
}

impl Revision {
    /// Whether the condition `Ready` is `True`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, READY))
    }

    /// Name of the Service whose Endpoints are this revision's ready pods.
    #[must_use]
    pub fn endpoints_name(&self) -> String {
        private_service_name(self.metadata.name.as_deref().unwrap_or_default())
    }
}
