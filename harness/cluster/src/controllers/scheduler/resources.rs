//! Amounts of resources that pods ask for and nodes have.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity;

/// Amounts by resource, in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

/// What a node offers.
pub(super) fn allocatable(node: &Node) -> Amounts {
    amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()))
}

/// What pods ask for together.
pub(super) fn of_pods(pods: &[&Arc<Pod>]) -> Amounts {
    let mut sum = Amounts::new();
    for pod in pods {
        add(&mut sum, of_pod(pod));
    }
    sum
}

/// What a pod asks for: its containers and sidecars together or, if that is more, an init container with the sidecars
/// that were started before it; and the overhead of its runtime class. A request for the whole pod goes first.
pub(super) fn of_pod(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let of = |container: &Container| {
        amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, of(container));
            raise(&mut peak, &sidecars);
        } else {
            let mut at_once = sidecars.clone();
            add(&mut at_once, of(container));
            raise(&mut peak, &at_once);
        }
    }
    let mut sum = sidecars;
    for container in &spec.containers {
        add(&mut sum, of(container));
    }
    raise(&mut sum, &peak);
    sum.extend(amounts(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())));
    add(&mut sum, amounts(spec.overhead.as_ref()));
    sum
}

fn add(sum: &mut Amounts, more: Amounts) {
    for (resource, amount) in more {
        *sum.entry(resource).or_default() += amount;
    }
}

fn raise(sum: &mut Amounts, least: &Amounts) {
    for (resource, amount) in least {
        let total = sum.entry(resource.clone()).or_default();
        *total = (*total).max(*amount);
    }
}

fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let pairs = list.into_iter().flatten();
    pairs.filter_map(|(name, amount)| Some((name.clone(), quantity::milli(amount)?))).collect()
}
