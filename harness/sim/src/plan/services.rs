//! The InferenceServices of a plan, and the versions that the scenario's events make of them.

use windtunnel_api::knative::{configuration_of, revision_of};
use windtunnel_api::kserve::plan::deployment_mode;
use windtunnel_api::kserve::{InferenceService, defaults, names, validate};
use windtunnel_api::manifest::{self, Manifest};
use windtunnel_kernel::autoscale::kpa::{Config, GlobalConfig};
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Action, Environment, Event, Patch, Scenario};

use super::objects::{self, Object};
use super::{Change, ChangeKind, DeliveryPlan, Kserve, ModelProfile, RevisionPlan, StandardPlan, rollouts};
use crate::error::SimError;

/// An InferenceService and what becomes of it.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// Its name.
    pub name: String,
    /// The first one is what the manifests say, each further one what an event makes of it.
    pub versions: Vec<Version>,
    /// What rolls out new versions instead of KServe, if something does.
    pub delivery: Option<DeliveryPlan>,
}

/// One state of an InferenceService's manifest.
#[derive(Clone, Debug)]
pub struct Version {
    /// The manifest with defaults filled in and without status.
    pub manifest: InferenceService,
    /// Where its model comes from; empty when it is inside of the image.
    pub storage_uri: String,
    /// How Knative's autoscaler scales its revision, in Knative mode.
    pub autoscaler: Config,
    /// The Deployments that it becomes, in Standard mode.
    pub standard: Option<Box<StandardPlan>>,
}

impl ServicePlan {
    /// Name of its predictor's Deployment, or Knative Service.
    pub(crate) fn predictor(&self) -> String {
        let predictor = &self.versions[0].manifest.spec.predictor;
        names::predictor_service_name(&self.name, predictor.name.as_deref())
    }
}

impl Version {
    /// Replicas that it begins with.
    pub(crate) fn first_scale(&self) -> u32 {
        match &self.standard {
            Some(standard) => standard.first_scale(),
            None => self.autoscaler.first_scale(),
        }
    }
}

/// What reading a version needs besides the manifest.
struct Reader<'a> {
    scenario: &'a Scenario,
    objects: &'a [Object],
    kserve: &'a Kserve,
    autoscaler: &'a GlobalConfig,
    environment: &'a Environment,
}

/// Reads the services and their changes.
pub(super) fn read(
    scenario: &Scenario,
    manifests: &[Manifest],
    flight: Flight,
    (kserve, objects): (&Kserve, &[Object]),
    autoscaler: &GlobalConfig,
) -> Result<(Vec<ServicePlan>, Vec<Change>), SimError> {
    let reader = Reader { scenario, objects, kserve, autoscaler, environment: &scenario.environment };
    let mut services: Vec<ServicePlan> = Vec::new();
    for service in manifests.iter().filter_map(Manifest::inference_service) {
        let name = service.name().to_owned();
        if services.iter().any(|known| known.name == name) {
            return Err(SimError::Duplicate { service: name });
        }
        let version = reader.version(service.clone(), None, "")?;
        services.push(ServicePlan { name, versions: vec![version], delivery: None });
    }
    let events = scenario.events_in(flight);
    let place_of = |event: &Event| format!("{}:{}", scenario.path.display(), event.line);
    // What each patch makes of which service. Whom a command is for is known once it is known who rolls out what.
    let mut made = Vec::with_capacity(events.len());
    for event in &events {
        let Action::Patch(patch) = &event.action else { continue };
        let place = place_of(event);
        let service = service_of(&services, &place, event, patch)?;
        let versions = &mut services[service].versions;
        let before = versions[versions.len() - 1].manifest.clone();
        let after = patched(&before, patch, &place, event)?;
        let label = format!(" after event {:?} ({place})", event.name);
        versions.push(reader.version(after, Some(&before), &label)?);
        made.push((service, ChangeKind::Version(versions.len() - 1)));
    }
    let versions = services.iter().flat_map(|service| &service.versions);
    let standard = versions.filter_map(|version| version.standard.as_deref());
    objects::check_targets(objects, standard.flat_map(StandardPlan::deployments))?;
    rollouts::attach(manifests, &mut services)?;
    let mut made = made.into_iter();
    let mut changes = Vec::with_capacity(events.len());
    for event in &events {
        let found = match &event.action {
            Action::Patch(_) => made.next(),
            Action::Command(command) => {
                let target = rollouts::commanded(&services, command).map_err(|(message, remedy)| {
                    SimError::Event { place: place_of(event), event: event.name.clone(), message, remedy }
                })?;
                Some((target, ChangeKind::Command(command.verb)))
            }
        };
        changes.extend(found.map(|(service, kind)| Change {
            at_ns: event.at.as_ns(),
            name: event.name.clone(),
            service,
            kind,
        }));
    }
    Ok((services, changes))
}

impl Reader<'_> {
    /// Admits and renders a manifest as the webhooks and the controller would.
    fn version(
        &self,
        mut service: InferenceService,
        before: Option<&InferenceService>,
        after: &str,
    ) -> Result<Version, SimError> {
        service.status = None;
        let name = service.name().to_owned();
        defaults::default(&mut service, &self.kserve.config);
        // The API server counts the changes of a specification.
        let known = before.and_then(|before| before.metadata.generation).unwrap_or(0);
        let is_new = before.is_none_or(|before| before.spec != service.spec);
        service.metadata.generation = Some(known + i64::from(is_new));
        validate::validate(&service, before).map_err(|message| SimError::Refused {
            service: name,
            after: after.to_owned(),
            message,
        })?;
        self.supports(&service, after)?;
        if deployment_mode(&service, &self.kserve.config) == names::STANDARD {
            let standard = self.standard(&service, after)?;
            return Ok(Version {
                manifest: service,
                storage_uri: standard.stable.revision.storage_uri.clone(),
                autoscaler: Config::default(),
                standard: Some(Box::new(standard)),
            });
        }
        let knative = self.kserve.knative_service(&service, after)?;
        let revision = revision_of(&configuration_of(&knative));
        let plan = RevisionPlan::of(&revision, &service, self.autoscaler, self.kserve)?;
        ModelProfile::of(self.environment, &plan.storage_uri, &plan.template.limits)?;
        let autoscaler = plan.knative().cloned().unwrap_or_default();
        Ok(Version { manifest: service, storage_uri: plan.storage_uri, autoscaler, standard: None })
    }

    fn standard(&self, service: &InferenceService, after: &str) -> Result<StandardPlan, SimError> {
        let mut plan = StandardPlan::of(service, self.kserve, after)?;
        objects::attach(self.objects, plan.deployments_mut())?;
        for deployment in plan.deployments() {
            let revision = &deployment.revision;
            ModelProfile::of(self.environment, &revision.storage_uri, &revision.template.limits)?;
            objects::check(deployment, service.name(), self.scenario)?;
        }
        Ok(plan)
    }

    fn supports(&self, service: &InferenceService, after: &str) -> Result<(), SimError> {
        let unsupported = |what: &str, remedy: &str| {
            Err(SimError::Unsupported {
                place: format!("InferenceService {:?}{after}", service.name()),
                what: what.to_owned(),
                remedy: remedy.to_owned(),
            })
        };
        let mode = deployment_mode(service, &self.kserve.config);
        if mode != names::KNATIVE && mode != names::STANDARD {
            let remedy = format!("set the annotation {}: {}", names::DEPLOYMENT_MODE, names::KNATIVE);
            return unsupported(&format!("deployment mode {mode}"), &remedy);
        }
        if service.annotation(names::STOP).is_some_and(|stop| stop.eq_ignore_ascii_case("true")) {
            return unsupported("a stopped service", &format!("remove the annotation {}", names::STOP));
        }
        if service.spec.transformer.is_some() || service.spec.explainer.is_some() {
            return unsupported(
                "a transformer or an explainer",
                "leave it out to simulate the predictor alone",
            );
        }
        Ok(())
    }
}

fn service_of(
    services: &[ServicePlan],
    place: &str,
    event: &Event,
    patch: &Patch,
) -> Result<usize, SimError> {
    if patch.kind != "InferenceService" {
        return Err(SimError::Unsupported {
            place: format!("{place}: event {:?}", event.name),
            what: format!("a change of a {}", patch.kind),
            remedy: "change an InferenceService, or fly the scenario live only".to_owned(),
        });
    }
    services.iter().position(|service| service.name == patch.name).ok_or_else(|| {
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        SimError::Event {
            place: place.to_owned(),
            event: event.name.clone(),
            message: format!("there is no InferenceService {:?} in the manifests", patch.name),
            remedy: format!("name one of these: {}", names.join(", ")),
        }
    })
}

/// A manifest after a merge patch. It is read like a file, so that a mistyped field is found.
fn patched(
    before: &InferenceService,
    patch: &Patch,
    place: &str,
    event: &Event,
) -> Result<InferenceService, SimError> {
    let wrong = |message: String, remedy: &str| SimError::Event {
        place: place.to_owned(),
        event: event.name.clone(),
        message,
        remedy: remedy.to_owned(),
    };
    let mut value =
        serde_json::to_value(before).map_err(|error| wrong(error.to_string(), "report this as a defect"))?;
    json_patch::merge(&mut value, &patch.merge);
    let read = manifest::parse(&value.to_string(), place).map_err(|faults| {
        let (message, hint) = faults.into_iter().next().map_or_else(
            || ("the result is no manifest".to_owned(), None),
            |fault| (fault.message, fault.hint),
        );
        wrong(message, hint.as_deref().unwrap_or("correct the patch"))
    })?;
    read.first()
        .and_then(Manifest::inference_service)
        .cloned()
        .ok_or_else(|| wrong("the result is no InferenceService".to_owned(), "correct the patch"))
}
