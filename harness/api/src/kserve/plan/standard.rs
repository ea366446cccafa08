//! A service in the Standard mode: Deployments, Services, autoscalers, routes, and the status that follows.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use windtunnel_kernel::rollout::kserve::standard::Backend;

use super::super::names;
use super::super::status_types::{ComponentStatus, InferenceServiceStatus, ModelStatus};
use super::autoscaler::{self, Class};
use super::canary::{self, Canaries};
use super::gateway::{self, Routing};
use super::model_state::{self, ModelState};
use super::rollout::{self, Revisions};
use super::settings::{CLUSTER_LOCAL_DOMAIN, Settings};
use super::workload::{self, Component, Workload};
use super::{
    Children, Fault, Inputs, Plan, PlannedEvent, conditions, deployment, domain, ingress, is_free,
    multi_node, on_demand, scaled_object, service,
};
use crate::condition::{Condition, FALSE, TRUE};

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) settings: Settings,
    pub(super) children: Children,
    pub(super) status: InferenceServiceStatus,
    pub(super) events: Vec<PlannedEvent>,
    pub(super) prune: bool,
    pub(super) requeue_ms: Option<u64>,
    /// Backends that the predictor's requests are split between.
    split: Option<Vec<Backend>>,
}

/// Plans a service in the Standard mode.
pub(super) fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut builder = Builder::new(inputs, names::STANDARD);
    builder.predictor();
    for component in Component::of(inputs.service) {
        if component != Component::Predictor {
            builder.side(component);
        }
    }
    conditions::set(&mut builder.status, Condition::new(conditions::STOPPED, FALSE, "", ""));
    builder.finish()
}

/// A mode that nothing here serves: the legacy multi-model mesh.
pub(super) fn unsupported(inputs: &Inputs<'_>, mode: &str) -> Plan {
    let mut builder = Builder::new(inputs, mode);
    if !inputs.profile.has_upstream_bugs() {
        let message = format!(
            "deployment mode {mode} is served by another controller; make the InferenceService with the annotation {}: {} or {}",
            names::DEPLOYMENT_MODE,
            names::STANDARD,
            names::KNATIVE
        );
        builder.fail(Component::Predictor, &Fault::Reason("UnsupportedDeploymentMode", message));
    }
    builder.prune = false;
    conditions::complete(&mut builder.status);
    builder.into_plan()
}

impl<'a> Builder<'a> {
    /// A plan that begins with the stored status.
    pub(super) fn new(inputs: &'a Inputs<'a>, mode: &str) -> Self {
        let mut status = inputs.service.status.clone().unwrap_or_default();
        status.deployment_mode = Some(mode.to_owned());
        if !inputs.profile.has_upstream_bugs() {
            forget_removed(&mut status, &Component::of(inputs.service));
        }
        Self {
            inputs,
            settings: Settings::of(inputs.config),
            children: Children::default(),
            status,
            events: Vec::new(),
            prune: true,
            requeue_ms: None,
            split: None,
        }
    }

    /// The predictor with its canaries and, when all components are known to be ready or not, the way to it. Ingress
    /// and model status come last because they follow from the conditions.
    fn predictor(&mut self) {
        let inputs = self.inputs;
        let stable = match workload::predictor(inputs.service, inputs) {
            Ok(stable) => stable,
            Err(fault) => return self.fail(Component::Predictor, &fault),
        };
        self.note_runtime(&stable);
        let canaries = Canaries::of(inputs);
        let canary_fault = self.canaries(&canaries, &stable).err();
        let result = self.stable(stable, &canaries);
        if let Some(fault) = canary_fault.or(result.err()) {
            self.fail(Component::Predictor, &fault);
        }
        self.add_model_list();
    }

    fn stable(&mut self, mut stable: Workload, canaries: &Canaries) -> Result<(), Fault> {
        if !canaries.rules.canaries.is_empty() {
            stable.extension.min_replicas = canaries.decision.stable_min_replicas;
        }
        let Some(worker) = stable.selected.as_ref().and_then(|selected| selected.worker.clone()) else {
            let has_revisions =
                canaries.rules.canaries.is_empty() && !self.inputs.profile.has_upstream_bugs();
            if has_revisions {
                stable = self.revisions(stable)?;
            } else {
                self.emit(&stable)?;
            }
            let condition = self.readiness(&stable)?;
            return self.propagate(&stable, condition);
        };
        if Class::of(&stable, self.inputs.profile)? == Class::Kpa {
            let message = "autoscaler class kpa adds and removes single pods, and this model spans several; use the class none";
            return Err(Fault::Component(message.to_owned()));
        }
        let workers = multi_node::split(&mut stable, &worker, self.inputs, &self.settings)?;
        self.emit(&stable)?;
        self.children.deployments.push(multi_node::deployment(&workers, &self.settings)?);
        self.children.services.extend(multi_node::services(&stable, self.inputs));
        let both = [self.deployment(&stable.name), self.deployment(&workers.name)];
        let condition = conditions::readiness(Component::Predictor, &both);
        self.propagate(&stable, condition)
    }

    /// Adds the revisions of the predictor that serve and returns the one that was rolled out. Revisions are told in the
    /// status only of services that ask for a part of the requests.
    fn revisions(&mut self, wanted: Workload) -> Result<Workload, Fault> {
        let asks = wanted.extension.canary_traffic_percent.is_some();
        let revisions = Revisions::of(wanted, self.inputs, &self.settings)?;
        let (base, hash) = &revisions.base;
        self.emit(base)?;
        self.mark(hash);
        if let Some(canary) = &revisions.canary {
            self.emit(&canary.workload)?;
            self.mark(&canary.hash);
        }
        if let Some(condition) = revisions.condition.clone() {
            conditions::set(&mut self.status, condition);
        }
        let state = self.status.components.entry(Component::Predictor.word().to_owned()).or_default();
        if asks || revisions.canary.is_some() {
            revisions.tell(state);
        } else {
            let state = std::mem::take(state);
            let kept =
                ComponentStatus { url: state.url, address: state.address, ..ComponentStatus::default() };
            self.status.components.insert(Component::Predictor.word().to_owned(), kept);
        }
        self.split = revisions.split();
        Ok(revisions.base.0)
    }

    /// Notes the template of the Deployment that was added last.
    fn mark(&mut self, hash: &str) {
        if let Some(deployment) = self.children.deployments.last_mut() {
            deployment.annotations_mut().insert(rollout::TEMPLATE_HASH.to_owned(), hash.to_owned());
        }
    }

    /// Canaries come before the stable predictor, so that one whose settings are wrong changes nothing.
    fn canaries(&mut self, canaries: &Canaries, stable: &Workload) -> Result<(), Fault> {
        self.status.canary_statuses = None;
        match canaries.decision.condition {
            None => crate::condition::remove(&mut self.status.conditions, conditions::CANARY_READY),
            Some(condition) => {
                let (status, reason) = canary::condition_words(condition);
                conditions::set(
                    &mut self.status,
                    Condition::new(conditions::CANARY_READY, status, reason, ""),
                );
                self.status.canary_statuses = Some(canaries.statuses(self.inputs));
            }
        }
        for workload in canaries.workloads(self.inputs, stable)? {
            self.emit(&workload)?;
        }
        Ok(())
    }

    /// A transformer or explainer.
    fn side(&mut self, component: Component) {
        let inputs = self.inputs;
        let workload = match component {
            Component::Transformer => workload::transformer(inputs),
            _ => workload::explainer(inputs),
        };
        let result = workload.and_then(|workload| {
            let Some(workload) = workload else { return Ok(()) };
            self.emit(&workload)?;
            let condition = self.readiness(&workload)?;
            self.propagate(&workload, condition)
        });
        if let Err(fault) = result {
            self.fail(component, &fault);
        }
    }

    /// Notes which runtime was chosen.
    pub(super) fn note_runtime(&mut self, workload: &Workload) {
        if let Some(selected) = &workload.selected {
            self.status.serving_runtime_name.clone_from(&selected.serving_runtime);
            self.status.cluster_serving_runtime_name.clone_from(&selected.cluster_serving_runtime);
        }
    }

    /// Adds the objects of a component: Service, collector, Deployment, autoscaler.
    pub(super) fn emit(&mut self, workload: &Workload) -> Result<(), Fault> {
        fits(workload)?;
        is_free(self.inputs.service, &self.inputs.observed.deployments, &workload.name)?;
        is_free(self.inputs.service, &self.inputs.observed.services, &workload.name)?;
        let profile = self.inputs.profile;
        let class = Class::of(workload, profile)?;
        if class == Class::Kpa {
            self.is_counted()?;
        }
        let mut deployment = deployment::render(workload, class, &self.settings)?;
        if let Some(spec) = deployment.spec.as_mut().filter(|_| self.must_wake(workload, class)) {
            spec.replicas.get_or_insert(1);
        }
        self.children.services.push(service::render(workload, self.settings.headless));
        self.children.deployments.push(deployment);
        let collector = scaled_object::collector(workload, &self.settings);
        let cluster = self.inputs.cluster;
        if collector.is_some() && !cluster.opentelemetry {
            return Err(missing_kind(
                "opentelemetry.io/v1beta1 OpenTelemetryCollector",
                "the OpenTelemetry operator",
            ));
        }
        self.children.collectors.extend(collector);
        match class {
            Class::Hpa => self.children.autoscalers.push(autoscaler::hpa(workload, profile)),
            Class::Keda if !cluster.keda => {
                return Err(missing_kind("keda.sh/v1alpha1 ScaledObject", "KEDA"));
            }
            Class::Keda => {
                self.children.scaled_objects.push(scaled_object::render(workload, &self.settings));
            }
            Class::External | Class::None | Class::Kpa => {}
        }
        Ok(())
    }

    /// Refuses to scale by requests what no request reaches through the gateway: it would fall asleep for ever.
    fn is_counted(&self) -> Result<(), Fault> {
        let why = if is_internal(self.inputs, &self.settings) {
            "this service is not reached through it (visibility, ingressDomain or disableIngressCreation)"
        } else if !self.settings.enable_gateway_api || !self.inputs.cluster.gateway_api {
            "this needs HTTPRoutes (the Gateway API, and ingress.enableGatewayApi in inferenceservice-config)"
        } else {
            return Ok(());
        };
        let message = format!(
            "autoscaler class kpa scales by what the gateway counts, and {why}; use hpa, keda, external or none"
        );
        Err(Fault::Reason("RequestsNotCounted", message))
    }

    /// Whether a Deployment was left at zero by the request-based autoscaler and is now with one that would leave it
    /// there.
    fn must_wake(&self, workload: &Workload, class: Class) -> bool {
        let is_asleep = self.deployment(&workload.name).is_some_and(on_demand::is_asleep);
        is_asleep && !matches!(class, Class::Kpa | Class::Keda)
    }

    /// Whether a component that runs on one Deployment is ready.
    fn readiness(&self, workload: &Workload) -> Result<Condition, Fault> {
        let (component, inputs) = (workload.component, self.inputs);
        let deployment = self.deployment(&workload.name);
        if Class::of(workload, inputs.profile)? != Class::Kpa {
            return Ok(conditions::readiness(component, &[deployment]));
        }
        let stored = inputs.service.status.as_ref();
        let was = stored.and_then(|status| crate::condition::find(&status.conditions, component.ready()));
        Ok(on_demand::readiness(component, deployment, was, &pods_of(inputs, &workload.name)))
    }

    /// Sets the component's condition, and its URL once it is ready.
    pub(super) fn propagate(&mut self, workload: &Workload, condition: Condition) -> Result<(), Fault> {
        let component = workload.component;
        let url = match domain::host(&workload.name, self.inputs.service, &self.settings) {
            Ok(host) => Some(format!("http://{host}")),
            // A service that nobody reaches from outside needs no host that can be resolved.
            Err(_)
                if is_internal(self.inputs, &self.settings) && !self.inputs.profile.has_upstream_bugs() =>
            {
                None
            }
            Err(error) => return Err(Fault::Component(format!("failed creating host name: {error}"))),
        };
        let state = self.status.components.entry(component.word().to_owned()).or_default();
        if condition.is_true() {
            state.url = url;
        }
        conditions::set(&mut self.status, condition);
        // Upstream's is that of the component that was reconciled last, too.
        if let Some(deployment) = self.deployment(&workload.name) {
            let seen = deployment.status.as_ref().and_then(|status| status.observed_generation);
            self.status.observed_generation = seen.or(self.status.observed_generation);
        }
        Ok(())
    }

    /// Notes why a component cannot be made. What is there of the service stays.
    pub(super) fn fail(&mut self, component: Component, fault: &Fault) {
        self.prune = false;
        let stored = self.inputs.service.status.as_ref();
        let told = stored.is_some_and(|status| {
            crate::condition::find(&status.conditions, component.ready())
                .is_some_and(|old| old.is_false() && old.message() == fault.message())
        });
        if !told {
            self.events.push(PlannedEvent::warning("InternalError", fault.message().to_owned()));
        }
        let condition = Condition::new(component.ready(), FALSE, fault.reason(), fault.message());
        conditions::set(&mut self.status, condition);
        if let Fault::Model(failure) = fault {
            let previous = self.status.model_status.take().unwrap_or_default();
            self.status.model_status = Some(model_state::invalid(previous, failure));
        }
    }

    /// Routes, addresses, the model's state and the summary.
    fn finish(mut self) -> Plan {
        if let Err(fault) = self.ingress() {
            let message = fault.message().to_owned();
            conditions::no_ingress(&mut self.status, "ReconcileFailed", &message);
            self.prune = false;
        }
        conditions::complete(&mut self.status);
        self.model_status();
        self.into_plan()
    }

    pub(super) fn into_plan(self) -> Plan {
        Plan {
            children: self.children,
            prune: self.prune,
            status: self.status,
            events: self.events,
            requeue_ms: self.requeue_ms,
        }
    }

    fn ingress(&mut self) -> Result<(), Fault> {
        let Self { inputs, settings, children, status, split, .. } = self;
        if is_internal(inputs, settings) {
            // `Ready` depends on it, so it holds where there is none.
            conditions::set(status, Condition::new(conditions::INGRESS_READY, TRUE, "", ""));
            return match gateway::addresses(inputs, settings, children, status) {
                Err(_) if !inputs.profile.has_upstream_bugs() => Ok(()),
                result => result,
            };
        }
        let reachable = if !settings.enable_gateway_api {
            ingress::add(inputs, settings, children, status)?
        } else if inputs.cluster.gateway_api {
            let canaries = Canaries::of(inputs);
            let routing = Routing { inputs, settings, canaries: &canaries.rules, split: split.as_deref() };
            routing.add(children, status)?;
            conditions::holds(status, conditions::INGRESS_READY)
        } else {
            return Err(missing_kind("gateway.networking.k8s.io/v1 HTTPRoute", "the Gateway API"));
        };
        if reachable {
            gateway::addresses(inputs, settings, children, status)?;
        }
        Ok(())
    }

    /// The ConfigMap of a server of many models.
    pub(super) fn add_model_list(&mut self) {
        let service = self.inputs.service;
        if !workload::serves_many_models(&service.spec.predictor) {
            return;
        }
        let models = self.inputs.models_json.unwrap_or("[]");
        self.children.config_maps.push(ConfigMap {
            metadata: ObjectMeta {
                name: Some(names::model_config_name(service.name(), 0)),
                namespace: Some(service.namespace().to_owned()),
                labels: service.metadata.labels.clone(),
                owner_references: crate::owner::references(service),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([("models.json".to_owned(), models.to_owned())])),
            ..ConfigMap::default()
        });
    }

    fn model_status(&mut self) {
        let stuck =
            self.status.model_status.as_ref().is_some_and(|model| model.transition_status == "InvalidSpec");
        if stuck && !self.prune {
            return;
        }
        let service = self.inputs.service;
        let name = names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref());
        let pods = pods_of(self.inputs, &name);
        let state = ModelState {
            previous: self.status.model_status.clone().unwrap_or_default(),
            pods: &pods,
            is_ready: self.status.is_ready(),
            child_failed: false,
            revision: None,
            profile: self.inputs.profile,
        };
        let (model, again) = state.decide();
        if again {
            self.requeue_ms = Some(1000);
        }
        model_state::explain(&mut self.status, Component::Predictor, &pods, self.inputs.profile);
        self.status.model_status = Some(model);
    }

    pub(super) fn deployment(&self, name: &str) -> Option<&'a Deployment> {
        let deployments = self.inputs.observed.deployments.iter();
        deployments.copied().find(|deployment| deployment.name_any() == name)
    }
}

/// Drops what the status says about components that the service does not have any more.
fn forget_removed(status: &mut InferenceServiceStatus, components: &[Component]) {
    for gone in [Component::Transformer, Component::Explainer] {
        if !components.contains(&gone) {
            status.components.remove(gone.word());
            for type_ in [gone.ready(), gone.route_ready(), gone.configuration_ready()] {
                crate::condition::remove(&mut status.conditions, type_);
            }
        }
    }
}

/// Whether nobody reaches the service from outside: by its label, by the domain, or because nothing is made for it.
fn is_internal(inputs: &Inputs<'_>, settings: &Settings) -> bool {
    let label = inputs.service.metadata.labels.as_ref().and_then(|labels| labels.get(names::VISIBILITY));
    label.is_some_and(|value| value == names::CLUSTER_LOCAL)
        || settings.ingress_domain == CLUSTER_LOCAL_DOMAIN
        || settings.disable_ingress_creation
}

/// The model's state on the pods of a Deployment beside the stable predictor.
pub(super) fn model_status_of(
    inputs: &Inputs<'_>,
    deployment: &str,
    previous: ModelStatus,
    is_ready: bool,
) -> ModelStatus {
    let pods = pods_of(inputs, deployment);
    let state = ModelState {
        previous,
        pods: &pods,
        is_ready,
        child_failed: false,
        revision: None,
        profile: inputs.profile,
    };
    state.decide().0
}

/// The pods of a Deployment: those with its `app` label.
pub(super) fn pods_of<'a>(inputs: &Inputs<'a>, deployment: &str) -> Vec<&'a Pod> {
    let app = format!("isvc.{deployment}");
    let pods = inputs.observed.pods.iter().copied();
    pods.filter(|pod| pod.metadata.labels.as_ref().and_then(|labels| labels.get("app")) == Some(&app))
        .collect()
}

/// Names that the API server refuses only later, in words about the service.
fn fits(workload: &Workload) -> Result<(), Fault> {
    let (app, limit) = (workload.app(), 63);
    let (what, text) = if workload.name.len() > limit {
        ("the name of its Service", &workload.name)
    } else if app.len() > limit {
        ("the label app of its pods", &app)
    } else {
        return Ok(());
    };
    Err(Fault::Component(format!(
        "{what} would be {text:?} with {} characters, but {limit} is the most; choose a shorter name for the InferenceService",
        text.len()
    )))
}

fn missing_kind(kind: &str, product: &str) -> Fault {
    Fault::Component(format!("this cluster does not serve {kind}; install {product} or do without it"))
}
