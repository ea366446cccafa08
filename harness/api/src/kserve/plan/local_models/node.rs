//! The models that a node should have.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::super::super::local_model::{LocalModelInfo, LocalModelNode, LocalModelNodeGroup};
use super::{Cache, belongs, groups_of, is_ready, volume_spec};

/// What a node's list is made of.
#[derive(Clone, Debug)]
pub struct NodeInputs<'a> {
    /// The node; `None` when it is gone, or nothing is to be added.
    pub node: Option<&'a Node>,
    /// Its list, as stored.
    pub list: Option<&'a LocalModelNode>,
    /// All caches.
    pub caches: Vec<Cache<'a>>,
    /// All groups of nodes.
    pub groups: Vec<&'a LocalModelNodeGroup>,
}

/// The list of a node: one entry for every cache that has the node in one of its groups, in the order of names. Of several
/// such groups the cache's first counts, which is the one that services use.
///
/// A node that is not ready gets nothing new, and keeps what it has; so do nodes of a group that is not there. Models of
/// caches that are being deleted, or are gone, are not in the list.
#[must_use]
pub fn models_of_node(inputs: &NodeInputs<'_>) -> Vec<LocalModelInfo> {
    let mut caches: Vec<Cache<'_>> =
        inputs.caches.iter().copied().filter(|cache| !cache.is_going()).collect();
    caches.sort_by_key(|cache| (cache.namespace(), cache.name()));
    caches.into_iter().filter_map(|cache| entry(inputs, cache)).collect()
}

fn entry(inputs: &NodeInputs<'_>, cache: Cache<'_>) -> Option<LocalModelInfo> {
    let stored = inputs.list.iter().flat_map(|list| &list.spec.local_models).find(|info| cache.is(info));
    let Some(node) = inputs.node else { return stored.cloned() };
    let (groups, missing) = groups_of(cache, &inputs.groups);
    match groups.into_iter().find(|group| has(group, node)) {
        Some(group) if is_ready(node) => Some(cache.info(&group.name_any())),
        Some(_) => stored.cloned(),
        None => {
            let is_missing = |group: &String| missing.contains(group);
            stored.filter(|info| info.node_group.as_ref().is_some_and(is_missing)).cloned()
        }
    }
}

/// Whether a group has a node.
pub(super) fn has(group: &LocalModelNodeGroup, node: &Node) -> bool {
    volume_spec(group).is_some_and(|volume| belongs(node, &volume))
}
