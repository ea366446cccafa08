//! Under which hosts a Knative Route has requests: its own, and those of the InferenceService whose component it is.

use windtunnel_api::knative::Route;
use windtunnel_api::kserve::names;
use windtunnel_gateway::{Filter, HeaderChanges, PathMatch, RequestMatch};

use crate::world::{ObjectKey, World};

/// The requests of an InferenceService that are for its explainer.
const EXPLAIN: &str = r"^/v1/models/[\w-]+:explain$";

/// The Route's own hosts: that of its URL, and its names inside the cluster.
pub(super) fn own(key: &ObjectKey, route: &Route) -> Vec<String> {
    let mut hosts = inside(&key.name, &key.namespace);
    hosts.extend(url(route).and_then(host).map(str::to_owned));
    sorted(hosts)
}

/// A tagged target's names inside the cluster.
pub(super) fn of_tag(key: &ObjectKey, tag: &str) -> Vec<String> {
    inside(&format!("{tag}-{}", key.name), &key.namespace)
}

/// Requests for an InferenceService that one of its components takes.
pub(super) struct Share {
    pub(super) hosts: Vec<String>,
    /// None stands for all requests.
    pub(super) matches: Vec<RequestMatch>,
    /// Tells the component whose request it is.
    pub(super) filters: Vec<Filter>,
}

/// What the Route takes of its InferenceService's requests: explanations are for the explainer, everything else is for the
/// transformer, or for the predictor where there is none.
pub(super) fn share(world: &World, key: &ObjectKey, route: &Route) -> Option<Share> {
    let labels = route.metadata.labels.as_ref()?;
    let name = labels.get(names::INFERENCE_SERVICE_LABEL)?;
    let service = world.inference_services.get(&key.sibling(name.clone()));
    let spec = service.map(|service| &service.spec);
    let (suffix, matches) = if key.name == format!("{name}-explainer") {
        let path = Some(PathMatch::Regex(EXPLAIN.to_owned()));
        ("-explainer", vec![RequestMatch { path, ..RequestMatch::default() }])
    } else if spec.is_some_and(|spec| spec.transformer.is_some()) {
        (key.name == format!("{name}-transformer")).then_some(("-transformer", Vec::new()))?
    } else {
        let own_name = spec.and_then(|spec| spec.predictor.name.as_deref());
        let predictor = names::predictor_service_name(name, own_name);
        (key.name == predictor).then_some(("-predictor", Vec::new()))?
    };
    let mut hosts = inside(name, &key.namespace);
    let told = service.and_then(|service| service.status.as_ref()?.url.as_deref());
    // The service tells its URL only when it is ready.
    let guessed = url(route).map(|url| url.replacen(suffix, "", 1));
    hosts.extend([told, guessed.as_deref()].into_iter().flatten().filter_map(host).map(str::to_owned));
    let set = [("KServe-Isvc-Name", name), ("KServe-Isvc-Namespace", &key.namespace)];
    let set = set.map(|(name, value)| (name.to_owned(), value.clone())).to_vec();
    let filters = vec![Filter::RequestHeaders(HeaderChanges { set, ..HeaderChanges::default() })];
    Some(Share { hosts: sorted(hosts), matches, filters })
}

/// The names of a Service inside the cluster.
fn inside(name: &str, namespace: &str) -> Vec<String> {
    ["", ".svc", ".svc.cluster.local"].map(|end| format!("{name}.{namespace}{end}")).to_vec()
}

fn url(route: &Route) -> Option<&str> {
    route.status.as_ref()?.url.as_deref()
}

/// The host of a URL.
pub(super) fn host(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().filter(|host| !host.is_empty())
}

fn sorted(mut hosts: Vec<String>) -> Vec<String> {
    hosts.sort();
    hosts.dedup();
    hosts
}
