//! A service in the Knative mode: a Knative Service for each component, what leads to them, and the status that
//! follows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::super::component::ComponentExtension;
use super::super::status_types::{Address, ComponentStatus};
use super::super::{canary_pointers, names};
use super::model_state::{self, ModelState};
use super::standard::Builder;
use super::workload::{self, Component, Workload};
use super::{Fault, Inputs, Plan, PlannedEvent, conditions, domain, is_free, virtual_service};
use crate::condition::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::knative::{self, names as knative_names};

/// Annotations that belong to the Knative Service and not to its revisions.
const SERVICE_ANNOTATIONS: [&str; 2] =
    [knative_names::ROLLOUT_DURATION, "serving.knative.openshift.io/enablePassthrough"];

/// Plans a service in the Knative mode.
pub(super) fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut builder = Builder::new(inputs, names::KNATIVE);
    if !inputs.cluster.knative {
        return without_knative(builder);
    }
    let components = Component::of(inputs.service);
    for component in &components {
        if let Err(fault) = builder.knative_component(*component) {
            builder.fail(*component, &fault);
        }
    }
    builder.add_model_list();
    conditions::set(&mut builder.status, Condition::new(conditions::STOPPED, FALSE, "", ""));
    builder.across(&components, "RoutesReady", Component::route_ready);
    builder.across(&components, "LatestDeploymentReady", Component::configuration_ready);
    if let Err(fault) = builder.knative_ingress(&components) {
        builder.prune = false;
        conditions::no_ingress(&mut builder.status, "ReconcileFailed", fault.message());
    }
    conditions::complete(&mut builder.status);
    builder.knative_model_status();
    builder.into_plan()
}

/// There is nothing to be done until Knative is installed or the service is made anew in another mode.
fn without_knative(mut builder: Builder<'_>) -> Plan {
    let message = "It is not possible to use Knative deployment mode when Knative Services are not available";
    builder.fail(Component::Predictor, &Fault::Reason("ServerlessModeRejected", message.to_owned()));
    for event in &mut builder.events {
        "ServerlessModeRejected".clone_into(&mut event.reason);
    }
    conditions::complete(&mut builder.status);
    builder.into_plan()
}

impl Builder<'_> {
    fn knative_component(&mut self, component: Component) -> Result<(), Fault> {
        let inputs = self.inputs;
        let workload = match component {
            Component::Predictor => Some(workload::predictor(inputs.service, inputs)?),
            Component::Transformer => workload::transformer(inputs)?,
            Component::Explainer => workload::explainer(inputs)?,
        };
        let Some(workload) = workload else { return Ok(()) };
        is_free(inputs.service, &inputs.observed.knative_services, &workload.name)?;
        // Knative's webhook would refuse the Service, and nothing would say so here.
        knative::own_rollout_duration_s(Some(&workload.annotations))
            .map_err(|message| Fault::Reason("InvalidRolloutDuration", message))?;
        self.note_runtime(&workload);
        let state = inputs.service.status.as_ref().and_then(|status| status.components.get(component.word()));
        self.children.knative_services.push(render(&workload, state, inputs));
        self.propagate_knative(component, child(inputs, &workload.name));
        Ok(())
    }

    /// Revisions, traffic, addresses and conditions of a component, from its Knative Service. One whose status is
    /// older than its specification moves no pointer.
    fn propagate_knative(&mut self, component: Component, child: Option<&knative::Service>) {
        let state = self.status.components.entry(component.word().to_owned()).or_default();
        let Some((child, observed)) = child.and_then(|child| Some((child, child.status.as_ref()?))) else {
            conditions::set(&mut self.status, Condition::new(component.ready(), UNKNOWN, "", ""));
            return;
        };
        state.latest_created_revision.clone_from(&observed.latest_created_revision_name);
        let is_current = observed.observed_generation.unwrap_or(0) >= child.metadata.generation.unwrap_or(0);
        if is_current || self.inputs.profile.has_upstream_bugs() {
            canary_pointers::advance(state, observed);
        }
        state.latest_ready_revision.clone_from(&observed.latest_ready_revision_name);
        state.traffic.clone_from(&observed.traffic);
        if condition::is_true(&observed.conditions, "Ready") {
            if observed.address.is_some() {
                state.address.clone_from(&observed.address);
            }
            if observed.url.is_some() {
                state.url.clone_from(&observed.url);
            }
        }
        self.status.observed_generation = observed.observed_generation;
        let pairs = [
            ("Ready", component.ready()),
            ("RoutesReady", component.route_ready()),
            ("ConfigurationsReady", component.configuration_ready()),
        ];
        for (theirs, ours) in pairs {
            if let Some(found) = condition::find(&observed.conditions, theirs) {
                let copy = Condition::new(ours, &found.status, found.reason(), found.message());
                conditions::set(&mut self.status, copy);
            }
        }
    }

    /// A condition over all components: the last that does not hold gives the reason.
    fn across(&mut self, components: &[Component], type_: &str, of: fn(Component) -> &'static str) {
        let mut joined = Condition::new(type_, TRUE, "", "");
        for component in components {
            let own = of(*component);
            let status =
                condition::find(&self.status.conditions, own).map_or(UNKNOWN, |found| found.status.as_str());
            if status != TRUE {
                joined = Condition::new(type_, status, &format!("{own} not ready"), "");
            }
        }
        conditions::set(&mut self.status, joined);
    }

    /// What leads to the components: Istio's virtual host and a Service for it, unless both are disabled. URL and
    /// address follow from the URL of the component that requests enter.
    fn knative_ingress(&mut self, components: &[Component]) -> Result<(), Fault> {
        let inputs = self.inputs;
        let service = inputs.service;
        let settings = &self.settings;
        let is_virtual = !settings.disable_istio_virtual_host;
        if is_virtual {
            self.children.services.push(external_name(inputs, &settings.local_gateway_service));
            if !inputs.cluster.istio && inputs.profile.has_upstream_bugs() && service.status.is_none() {
                let message = "Istio VirtualService CRD not present; VirtualService reconciliation skipped. If you do not use Istio, set ingress.disableIstioVirtualHost=true.";
                self.events.push(PlannedEvent::warning("VirtualServiceCRDNotFound", message.to_owned()));
            }
        }
        let waiting = components.iter().find(|component| !conditions::holds(&self.status, component.ready()));
        let was_reachable = self.status.url.is_some();
        let entry =
            if service.spec.transformer.is_some() { Component::Transformer } else { Component::Predictor };
        let url = self.status.components.get(entry.word()).and_then(|state| state.url.clone());
        let Some(url) = url.filter(|_| waiting.is_none() || was_reachable) else {
            let component = waiting.copied().unwrap_or(entry);
            let known = condition::find(&self.status.conditions, component.ready());
            let status = if known.is_some_and(Condition::is_false) { FALSE } else { UNKNOWN };
            let reason = format!("{} ingress not created", component.title());
            conditions::set(&mut self.status, Condition::new(conditions::INGRESS_READY, status, &reason, ""));
            return Ok(());
        };
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let own_host = without_component(host, entry, inputs.profile.has_upstream_bugs());
        let prefix = if is_virtual {
            service.name().to_owned()
        } else {
            format!("{}-{}", service.name(), entry.word())
        };
        let path = domain::path(service, settings).map_err(Fault::Component)?;
        self.status.url = Some(match &path {
            Some(path) => format!("{}://{}{path}", settings.url_scheme, settings.ingress_domain),
            None if is_virtual => format!("{}://{own_host}", settings.url_scheme),
            None => format!("{}://{host}", settings.url_scheme),
        });
        let address = format!("http://{prefix}.{}.svc.cluster.local", service.namespace());
        self.status.address = Some(Address { url: Some(address), ..Address::default() });
        if is_virtual && inputs.cluster.istio {
            let route = virtual_service::render(inputs, settings, &own_host, path.as_deref());
            self.children.virtual_services.push(route);
        }
        conditions::set(&mut self.status, Condition::new(conditions::INGRESS_READY, TRUE, "", ""));
        Ok(())
    }

    fn knative_model_status(&mut self) {
        let is_invalid =
            self.status.model_status.as_ref().is_some_and(|model| model.transition_status == "InvalidSpec");
        if is_invalid && !self.prune {
            return;
        }
        let inputs = self.inputs;
        let predictor = self.status.predictor().cloned().unwrap_or_default();
        let revision = predictor.latest_created_revision.as_deref();
        let pods: Vec<&Pod> = inputs
            .observed
            .pods
            .iter()
            .copied()
            .filter(|pod| {
                let labels = pod.metadata.labels.as_ref();
                let label = labels.and_then(|labels| labels.get(knative_names::REVISION)).map(String::as_str);
                label.is_some() && label == revision
            })
            .collect();
        let name = names::predictor_service_name(
            inputs.service.name(),
            inputs.service.spec.predictor.name.as_deref(),
        );
        let child_failed = child(inputs, &name)
            .and_then(|child| child.status.as_ref())
            .is_some_and(|status| status.conditions.iter().any(Condition::is_false));
        let state = ModelState {
            previous: self.status.model_status.clone().unwrap_or_default(),
            pods: &pods,
            is_ready: self.status.is_ready()
                && predictor.latest_created_revision == predictor.latest_ready_revision,
            child_failed,
            revision,
            profile: inputs.profile,
        };
        let (model, again) = state.decide();
        if again {
            self.requeue_ms = Some(1000);
        }
        model_state::explain(&mut self.status, Component::Predictor, &pods, inputs.profile);
        self.status.model_status = Some(model);
    }
}

fn child<'a>(inputs: &Inputs<'a>, name: &str) -> Option<&'a knative::Service> {
    inputs.observed.knative_services.iter().copied().find(|child| child.name_any() == name)
}

/// The Knative Service of a component.
fn render(workload: &Workload, state: Option<&ComponentStatus>, inputs: &Inputs<'_>) -> knative::Service {
    let extension = &workload.extension;
    let mut annotations = workload.annotations.clone();
    drop_initial_scale(&mut annotations, inputs.allow_zero_initial_scale);
    autoscaling_annotations(&mut annotations, extension);
    let mut own = BTreeMap::new();
    for key in SERVICE_ANNOTATIONS {
        if let Some(value) = annotations.remove(key) {
            own.insert(key.to_owned(), value);
        }
    }
    let tag_routing = annotations.get(names::ENABLE_TAG_ROUTING).is_some_and(|value| value == "true");
    let mut template_labels = workload.labels.clone();
    template_labels.retain(|key, _| !inputs.config.disallowed_labels.contains(key));
    let spec = knative::ServiceSpec {
        template: knative::RevisionTemplate {
            metadata: Some(ObjectMeta {
                labels: Some(template_labels),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            }),
            spec: knative::RevisionSpec {
                container_concurrency: extension.container_concurrency,
                timeout_seconds: extension.timeout,
                response_start_timeout_seconds: extension.timeout,
                idle_timeout_seconds: None,
                pod: workload.pod.clone(),
            },
        },
        traffic: canary_pointers::traffic(extension.canary_traffic_percent, state, tag_routing),
        ..knative::ServiceSpec::default()
    };
    let mut service = knative::Service::new(&workload.name, spec);
    service.metadata = ObjectMeta {
        labels: Some(workload.labels.clone()),
        annotations: (!own.is_empty()).then_some(own),
        ..workload.metadata()
    };
    service
}

/// What a component's fields say to Knative's autoscaler. Its class may be given by an annotation.
pub(super) fn autoscaling_annotations(
    annotations: &mut BTreeMap<String, String>,
    extension: &ComponentExtension,
) {
    annotations.entry(knative_names::CLASS.to_owned()).or_insert_with(|| knative_names::KPA_CLASS.to_owned());
    let min = extension.min_replicas.unwrap_or(1);
    annotations.insert(knative_names::MIN_SCALE.to_owned(), min.to_string());
    if let Some(max) = extension.max_replicas.filter(|max| *max != 0) {
        annotations.insert(knative_names::MAX_SCALE.to_owned(), max.to_string());
    }
    if let Some(target) = extension.scale_target {
        annotations.insert(knative_names::TARGET.to_owned(), target.to_string());
    }
    if let Some(metric) = &extension.scale_metric {
        annotations.insert(knative_names::METRIC.to_owned(), metric.clone());
    }
}

/// An initial scale that is no number, or zero where Knative does not allow it, is left out.
pub(super) fn drop_initial_scale(annotations: &mut BTreeMap<String, String>, allow_zero: bool) {
    let Some(text) = annotations.get(knative_names::INITIAL_SCALE) else { return };
    let keep = text.parse::<i64>().is_ok_and(|scale| allow_zero || scale != 0);
    if !keep {
        annotations.remove(knative_names::INITIAL_SCALE);
    }
}

/// The service's own host: the component's without its word. Upstream takes `-default` away with it, which is the
/// namespace where hosts are made of `name-namespace`: a likely bug.
fn without_component(host: &str, component: Component, bugs: bool) -> String {
    let word = format!("-{}", component.word());
    let with_default = format!("{word}-default");
    if bugs && host.contains("-default") {
        return host.replacen(&with_default, "", 1);
    }
    host.replacen(&word, "", 1)
}

/// The Service `{service}` for requests from inside the cluster, which go to the gateway for them.
fn external_name(inputs: &Inputs<'_>, gateway: &str) -> Service {
    let service = inputs.service;
    Service {
        metadata: ObjectMeta {
            name: Some(service.name().to_owned()),
            namespace: Some(service.namespace().to_owned()),
            owner_references: crate::owner::references(service),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            external_name: Some(gateway.to_owned()),
            type_: Some("ExternalName".to_owned()),
            session_affinity: Some("None".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ksvc_reconciler_test.go and the six cases of the envtests about the initial scale.
    #[test]
    fn initial_scale() {
        let kept = |value: &str, allow_zero: bool| {
            let mut annotations =
                BTreeMap::from([(knative_names::INITIAL_SCALE.to_owned(), value.to_owned())]);
            drop_initial_scale(&mut annotations, allow_zero);
            !annotations.is_empty()
        };
        assert_eq!(
            [
                kept("0", true),
                kept("0", false),
                kept("3", true),
                kept("3", false),
                kept("x", true),
                kept("x", false)
            ],
            [true, false, true, true, false, false]
        );
    }

    /// ingress_reconciler_test.go: hosts with and without the namespace behind a hyphen.
    #[test]
    fn own_host() {
        let host = |host: &str, bugs| without_component(host, Component::Predictor, bugs);
        assert_eq!(host("m-predictor.default.example.com", true), "m.default.example.com");
        assert_eq!(host("m-predictor-default.example.com", true), "m.example.com");
        assert_eq!(host("m-predictor-default.example.com", false), "m-default.example.com");
    }
}
