//! Which pods go first when there are too many.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};

use crate::controllers::pods::{self, phase};

/// Annotation: pods with a lower cost are deleted first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods to delete, first to go first. In order of weight: not bound to a node, pending, not ready, lower
/// deletion cost, more pods of the set on the same node, ready for a shorter time (by orders of magnitude), more
/// restarts, younger; the name decides between equals.
#[must_use]
pub fn victims<'a>(active: &[&'a Arc<Pod>], count: usize, now: Timestamp) -> Vec<&'a Arc<Pod>> {
    let mut ranked: Vec<&Arc<Pod>> = active.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let node = node(pod);
        let together =
            node.map_or(0, |node| active.iter().filter(|other| self::node(other) == Some(node)).count());
        let phase = match phase(pod) {
            "Pending" => 0,
            "Running" => 2,
            _ => 1,
        };
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            (node.is_some(), phase, pods::is_ready(pod), cost(pod), Reverse(together)),
            (
                magnitude(pods::ready_since(pod), now),
                Reverse(restarts(pod)),
                magnitude(created, now),
                pod.metadata.name.clone(),
            ),
        )
    });
    ranked.truncate(count);
    ranked
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).max().unwrap_or(0)
}

/// Age in powers of two seconds, so that among pods of about the same age the other facts decide.
fn magnitude(from: Option<Timestamp>, now: Timestamp) -> u32 {
    from.map_or(0, |from| pods::since(from, now).as_secs().checked_ilog2().map_or(0, |log| log + 1))
}
