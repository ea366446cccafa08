//! An InferenceGraph: the router that takes requests through it, and its status.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::component::ComponentExtension;
use super::super::config::{KserveConfig, ResourceDefaults};
use super::super::inference_graph::{InferenceGraph, InferenceGraphSpec, InferenceGraphStatus};
use super::super::inference_service::InferenceService;
use super::super::names;
use super::super::runtime::Runtime;
use super::settings::{self, Settings};
use super::workload::{Component, Workload, allowed, serves_many_models};
use super::{
    Capabilities, Children, Fault, PlannedEvent, Profile, autoscaler, deployment, domain, knative_mode,
    service,
};
use crate::Fields;
use crate::condition::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::knative;
use crate::pod_fields::{raw_containers, raw_environment};

/// Label of everything that belongs to a graph.
pub const GRAPH_LABEL: &str = "serving.kserve.io/inferencegraph";
/// Label with the kind that a Knative revision belongs to.
const KIND_LABEL: &str = "serving.kserve.io/kind";
const READY: &str = "Ready";
const STOPPED: &str = "Stopped";

/// What a graph's plan is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The graph, as stored.
    pub graph: &'a InferenceGraph,
    /// The ConfigMap `inferenceservice-config`.
    pub config: &'a KserveConfig,
    /// The InferenceServices of the graph's namespace.
    pub services: Vec<&'a InferenceService>,
    /// Runtimes, for the protocols of services that name one.
    pub runtimes: &'a [Runtime],
    /// Which foreign kinds the cluster serves.
    pub cluster: Capabilities,
    /// Upstream as it is, or as it is meant.
    pub profile: Profile,
    /// The graph's Deployment, if it is there.
    pub deployment: Option<&'a Deployment>,
    /// The graph's Knative Service, if it is there.
    pub knative_service: Option<&'a knative::Service>,
    /// Whether Knative's `config-autoscaler` has `allow-zero-initial-scale: "true"`.
    pub allow_zero_initial_scale: bool,
}

/// What to do for a graph; the fields mean what those of [`super::Plan`] mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Everything that must exist now.
    pub children: Children,
    /// Whether what the graph controls and the plan does not name is to be deleted.
    pub prune: bool,
    /// The wanted status; transition times are left to the caller.
    pub status: InferenceGraphStatus,
    /// Events to tell.
    pub events: Vec<PlannedEvent>,
}

/// Plans a graph. Steps that name a service get its URL, so a change of the service's URL is a change of the router.
///
/// In the profile Windtunnel a graph that can never answer (a step that leads to no node, nodes that lead to each other
/// in a circle) is told so, its mode is remembered, and it is ready when its Deployment is; upstream calls it ready as
/// soon as the Deployment has a condition `Available`, whatever that says.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let graph = inputs.graph;
    let bugs = inputs.profile.has_upstream_bugs();
    let stored = graph.status.clone().unwrap_or_default();
    let mode = mode(graph, inputs.config);
    let mut plan = Plan { status: stored.clone(), prune: true, ..Plan::default() };
    if !bugs {
        plan.status.deployment_mode = Some(mode.to_owned());
    }
    let is_stopped =
        graph.annotations().get(names::STOP).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_stopped {
        plan.status.url = None;
        plan.status.conditions.retain(|kept| matches!(kept.type_.as_str(), READY | STOPPED));
        set(&mut plan, Condition::new(READY, FALSE, "Stopped", ""));
        set(&mut plan, Condition::new(STOPPED, TRUE, "", ""));
    } else if let Err(fault) = running(inputs, mode, &mut plan) {
        plan.prune = false;
        set(&mut plan, Condition::new(READY, FALSE, fault.reason(), fault.message()));
        let told = stored.conditions.iter().any(|old| old.type_ == READY && old.message() == fault.message());
        if !told {
            plan.events.push(PlannedEvent::warning("InternalError", fault.message().to_owned()));
        }
    } else {
        set(&mut plan, Condition::new(STOPPED, FALSE, "", ""));
    }
    let is_ready = |status: &InferenceGraphStatus| condition::is_true(&status.conditions, READY);
    let name = graph.name_any();
    match (is_ready(&stored), is_ready(&plan.status)) {
        (false, true) => plan.events.push(PlannedEvent {
            type_: "Normal",
            reason: "InferenceGraphReady".to_owned(),
            message: format!("InferenceGraph [{name}] is Ready"),
        }),
        (true, false) => {
            let message = format!("InferenceGraph [{name}] is no longer Ready");
            plan.events.push(PlannedEvent::warning("InferenceGraphNotReady", message));
        }
        _ => {}
    }
    plan
}

fn set(plan: &mut Plan, condition: Condition) {
    condition::set(&mut plan.status.conditions, condition);
}

fn mode(graph: &InferenceGraph, config: &KserveConfig) -> &'static str {
    let remembered = graph.status.as_ref().and_then(|status| status.deployment_mode.as_deref());
    let annotated = graph.annotations().get(names::DEPLOYMENT_MODE).map(String::as_str);
    let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).and_then(names::deployment_mode);
    known(remembered)
        .or_else(|| known(annotated))
        .or_else(|| known(Some(&config.default_deployment_mode)))
        .unwrap_or(names::KNATIVE)
}

fn running(inputs: &Inputs<'_>, mode: &str, plan: &mut Plan) -> Result<(), Fault> {
    let spec = resolved(inputs)?;
    if !inputs.profile.has_upstream_bugs() {
        can_answer(&spec)?;
    }
    if mode == names::STANDARD { standard(inputs, &spec, plan) } else { on_knative(inputs, &spec, plan) }
}

/// The specification with the URLs of the services that steps name.
fn resolved(inputs: &Inputs<'_>) -> Result<InferenceGraphSpec, Fault> {
    let mut spec = inputs.graph.spec.clone();
    // Upstream always writes the field.
    spec.resources.get_or_insert_with(|| json!({}));
    for step in spec.nodes.values_mut().flat_map(|node| &mut node.steps) {
        let Some(name) = step.service_name.as_deref().filter(|name| !name.is_empty()) else { continue };
        let service =
            inputs.services.iter().copied().find(|service| service.name() == name).ok_or_else(|| {
                Fault::Reason("ServiceNotFound", format!("Failed to find graph service {name}"))
            })?;
        if step.service_url.as_deref().is_none_or(str::is_empty) {
            step.service_url = Some(endpoint(service, inputs)?);
        }
    }
    Ok(spec)
}

/// The URL that predictions of a service are asked at.
fn endpoint(service: &InferenceService, inputs: &Inputs<'_>) -> Result<String, Fault> {
    let status = service.status.as_ref();
    let address = status.and_then(|status| status.address.as_ref()?.url.as_deref()).ok_or_else(|| {
        Fault::Reason("ServiceNotReady", format!("service {} is not ready", service.name()))
    })?;
    let model = model_name(service);
    let path = match protocol(service, inputs)?.as_str() {
        "v1" => format!("/v1/models/{model}:predict"),
        "v2" => format!("/v2/models/{model}/infer"),
        _ => String::new(),
    };
    Ok(format!("{address}{path}"))
}

/// The protocol that a service is asked in; empty for one that no path follows from.
fn protocol(service: &InferenceService, inputs: &Inputs<'_>) -> Result<String, Fault> {
    let predictor = &service.spec.predictor;
    let of_containers = |pod: &Fields| {
        let found = raw_containers(pod, "containers")
            .flat_map(raw_environment)
            .find_map(|(name, value)| if name == "PROTOCOL" { value } else { None });
        found.unwrap_or("v1").to_owned()
    };
    if let Some(transformer) = &service.spec.transformer {
        return Ok(of_containers(&transformer.pod));
    }
    if serves_many_models(predictor) {
        return Ok(String::new());
    }
    let Some(model) = &predictor.model else { return Ok(of_containers(&predictor.pod)) };
    let given = model.extension.protocol_version.clone();
    if given.is_some() && !inputs.profile.has_upstream_bugs() {
        return Ok(given.unwrap_or_default());
    }
    let named = model.runtime.as_deref().and_then(|name| {
        let of_namespace = inputs.runtimes.iter().filter(|runtime| runtime.name == name);
        of_namespace
            .filter(|runtime| runtime.namespace.as_deref().is_none_or(|own| own == service.namespace()))
            .min_by_key(|runtime| runtime.namespace.is_none())
    });
    let listed =
        named.and_then(|runtime| runtime.spec.protocol_versions.as_ref()).filter(|list| !list.is_empty());
    let Some(listed) = listed else { return Ok(given.unwrap_or_else(|| "v1".to_owned())) };
    listed.iter().find(|protocol| matches!(protocol.as_str(), "v1" | "v2")).cloned().ok_or_else(|| {
        Fault::Component(
            "the runtime does not support a protocol compatible with Inference Graphs".to_owned(),
        )
    })
}

/// The name that a server knows its model by.
fn model_name(service: &InferenceService) -> String {
    let of_arguments = |arguments: Option<&Value>| -> Option<String> {
        let arguments: Vec<&str> = arguments?.as_array()?.iter().filter_map(Value::as_str).collect();
        let at = arguments.iter().position(|argument| argument.starts_with("--model_name"))?;
        match arguments[at].split_once('=') {
            Some((_, name)) => Some(name.to_owned()),
            None => {
                arguments.get(at + 1).filter(|next| !next.starts_with("--")).map(|name| (*name).to_owned())
            }
        }
    };
    let of_first = |pod: &Fields| of_arguments(raw_containers(pod, "containers").next()?.get("args"));
    let predictor = &service.spec.predictor;
    let transformer = service.spec.transformer.as_ref().and_then(|spec| of_first(&spec.pod));
    let own = || match &predictor.model {
        Some(model) => {
            let variables =
                model.extension.container.get("env").and_then(Value::as_array).into_iter().flatten();
            let mut named = variables.filter(|variable| variable["name"] == "MLSERVER_MODEL_NAME");
            let variable = named.next().and_then(|variable| variable["value"].as_str()).map(str::to_owned);
            variable.or_else(|| of_arguments(model.extension.container.get("args")))
        }
        None => of_first(&predictor.pod),
    };
    transformer.or_else(own).filter(|name| !name.is_empty()).unwrap_or_else(|| service.name().to_owned())
}

/// Whether every request ends: each step leads somewhere, and no node leads back to itself.
fn can_answer(spec: &InferenceGraphSpec) -> Result<(), Fault> {
    fn visit<'a>(
        name: &'a str,
        spec: &'a InferenceGraphSpec,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Result<(), Fault> {
        if path.contains(&name) {
            path.push(name);
            return Err(Fault::Reason(
                "InvalidGraph",
                format!("nodes lead back to themselves: {}", path.join(" -> ")),
            ));
        }
        if done.contains(name) {
            return Ok(());
        }
        let Some(node) = spec.nodes.get(name) else {
            let from = path.last().copied().unwrap_or_default();
            let message =
                format!("a step of node {from:?} leads to node {name:?}, which is not in spec.nodes");
            return Err(Fault::Reason("InvalidGraph", message));
        };
        path.push(name);
        for next in
            node.steps.iter().filter_map(|step| step.node_name.as_deref()).filter(|next| !next.is_empty())
        {
            visit(next, spec, path, done)?;
        }
        path.pop();
        done.insert(name);
        Ok(())
    }
    let mut done = BTreeSet::new();
    spec.nodes.keys().try_for_each(|name| visit(name, spec, &mut Vec::new(), &mut done))
}

fn standard(inputs: &Inputs<'_>, spec: &InferenceGraphSpec, plan: &mut Plan) -> Result<(), Fault> {
    let settings = Settings::of(inputs.config);
    let router = router(inputs, spec, Some(inputs.graph.name_any()))?;
    let class = autoscaler::Class::of(&router, inputs.profile)?;
    if class == autoscaler::Class::Kpa {
        let message = "autoscaler class kpa scales by what the gateway counts, and requests to an InferenceGraph's router do not pass it; use hpa, keda, external or none";
        return Err(Fault::Component(message.to_owned()));
    }
    plan.children.services.push(service::render(&router, settings.headless));
    plan.children.deployments.push(deployment::render(&router, class, &settings)?);
    match class {
        autoscaler::Class::Hpa => plan.children.autoscalers.push(autoscaler::hpa(&router, inputs.profile)),
        autoscaler::Class::Keda if inputs.cluster.keda => {
            plan.children.scaled_objects.push(super::scaled_object::render(&router, &settings));
        }
        _ => {}
    }
    let named = InferenceService { metadata: inputs.graph.metadata.clone(), ..InferenceService::default() };
    let host = domain::host(&router.name, &named, &settings)
        .map_err(|error| Fault::Component(format!("failed creating host name: {error}")))?;
    let status = inputs.deployment.and_then(|deployment| deployment.status.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let available = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Available"));
    plan.status.observed_generation = status.and_then(|status| status.observed_generation);
    let ready = match available {
        None => Condition::new(READY, UNKNOWN, "", ""),
        Some(_) if inputs.profile.has_upstream_bugs() => Condition::new(READY, TRUE, "", ""),
        Some(found) if found.status == TRUE => Condition::new(READY, TRUE, "", ""),
        Some(found) => {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            Condition::new(READY, &found.status, &text(&found.reason), &text(&found.message))
        }
    };
    if ready.is_true() {
        plan.status.url = Some(format!("http://{host}"));
    }
    set(plan, ready);
    Ok(())
}

fn on_knative(inputs: &Inputs<'_>, spec: &InferenceGraphSpec, plan: &mut Plan) -> Result<(), Fault> {
    if !inputs.cluster.knative {
        let message =
            "It is not possible to use Knative deployment mode when Knative Services are not available";
        return Err(Fault::Reason("ServerlessModeRejected", message.to_owned()));
    }
    let router = router(inputs, spec, None)?;
    let mut annotations = router.annotations.clone();
    knative_mode::drop_initial_scale(&mut annotations, inputs.allow_zero_initial_scale);
    knative_mode::autoscaling_annotations(&mut annotations, &router.extension);
    let passthrough = "serving.knative.openshift.io/enablePassthrough";
    let own = annotations.remove_entry(passthrough).map(|pair| BTreeMap::from([pair]));
    let mut labels = router.labels.clone();
    labels.retain(|key, _| key != "networking.knative.dev/visibility");
    labels.insert(KIND_LABEL.to_owned(), "InferenceGraph".to_owned());
    let mut service = knative::Service::new(
        &router.name,
        knative::ServiceSpec {
            template: knative::RevisionTemplate {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: knative::RevisionSpec {
                    timeout_seconds: spec.timeout,
                    pod: router.pod.clone(),
                    ..knative::RevisionSpec::default()
                },
            },
            ..knative::ServiceSpec::default()
        },
    );
    service.metadata =
        ObjectMeta { labels: inputs.graph.metadata.labels.clone(), annotations: own, ..router.metadata() };
    plan.children.knative_services.push(service);
    let Some(observed) = inputs.knative_service.and_then(|service| service.status.as_ref()) else {
        set(plan, Condition::new(READY, UNKNOWN, "", ""));
        return Ok(());
    };
    for found in &observed.conditions {
        let mut copy = Condition::new(&found.type_, &found.status, found.reason(), found.message());
        copy.severity.clone_from(&found.severity);
        set(plan, copy);
    }
    plan.status.observed_generation = observed.observed_generation;
    let is_ready = condition::is_true(&observed.conditions, READY);
    plan.status.url = observed.url.clone().filter(|_| is_ready);
    Ok(())
}

/// The router's pods; the container has a name only where Knative does not give it one.
fn router(
    inputs: &Inputs<'_>,
    spec: &InferenceGraphSpec,
    container: Option<String>,
) -> Result<Workload, Fault> {
    let graph = inputs.graph;
    let config = &inputs.config.router;
    let text = serde_json::to_string(spec).map_err(|error| Fault::Component(error.to_string()))?;
    let given =
        graph.spec.resources.clone().filter(|given| given.as_object().is_some_and(|given| !given.is_empty()));
    let defaults = ResourceDefaults {
        cpu_request: config.cpu_request.clone(),
        cpu_limit: config.cpu_limit.clone(),
        memory_request: config.memory_request.clone(),
        memory_limit: config.memory_limit.clone(),
    };
    let mut router = json!({
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "args": ["--graph-json", text],
        "resources": given.or_else(|| settings::resources(&defaults)),
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": 8080, "scheme": "HTTP"},
            "initialDelaySeconds": 5, "timeoutSeconds": 2, "periodSeconds": 5,
            "successThreshold": 1, "failureThreshold": 3,
        },
        "securityContext": {
            "privileged": false, "runAsNonRoot": true, "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        },
    });
    if let Some(name) = container {
        router["name"] = Value::from(name);
    }
    if let Some(headers) = config.headers.get("propagate") {
        router["env"] = json!([{"name": "PROPAGATE_HEADERS", "value": headers.join(",")}]);
    }
    let secrets: Vec<Value> = config.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
    let optional = [
        ("affinity", spec.affinity.clone()),
        ("tolerations", spec.tolerations.clone().map(Value::from)),
        ("imagePullSecrets", (!secrets.is_empty()).then(|| Value::from(secrets))),
        ("nodeSelector", spec.node_selector.as_ref().map(|selector| json!(selector))),
        ("nodeName", spec.node_name.clone().map(Value::from)),
        ("serviceAccountName", spec.service_account_name.clone().map(Value::from)),
    ];
    // The router needs nothing of the API server.
    let mut pod = Fields::from([
        ("containers".to_owned(), json!([router])),
        ("automountServiceAccountToken".to_owned(), Value::Bool(false)),
    ]);
    pod.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    let mut labels = graph.metadata.labels.clone().unwrap_or_default();
    labels.insert(GRAPH_LABEL.to_owned(), graph.name_any());
    let annotations = if inputs.profile.has_upstream_bugs() {
        graph.metadata.annotations.clone().unwrap_or_default()
    } else {
        allowed(graph.metadata.annotations.as_ref(), inputs.config)
    };
    Ok(Workload {
        component: Component::Predictor,
        name: graph.name_any(),
        namespace: graph.namespace().unwrap_or_else(|| "default".to_owned()),
        owner: crate::owner::reference(graph),
        labels,
        annotations,
        pod,
        extension: ComponentExtension {
            min_replicas: spec.min_replicas,
            max_replicas: spec.max_replicas,
            scale_target: spec.scale_target,
            scale_metric: spec.scale_metric.clone(),
            ..ComponentExtension::default()
        },
        selected: None,
    })
}
