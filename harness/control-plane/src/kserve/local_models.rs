//! Caches of models on nodes: their volumes, claims and status, and the list of the models that each node should have.
//! Downloads are the business of the nodes' agents ([`crate::local_model_agent`]).
//!
//! A cache that goes is first taken from the lists of all nodes; when these are written it loses its finalizer, and the
//! agents clean up after it. One reconcile writes the whole list of a node, so caches don't get in each other's way.
//!
//! While `localModel.enabled` is not set, nothing is done except for caches that go.
//!
//! What it needs: `get`, `list`, `watch` of nodes, inferenceservices, localmodelnodegroups, configmaps (in KServe's
//! namespace); those and `create`, `patch`, `delete` of persistentvolumes and persistentvolumeclaims; those and `patch` of
//! localmodelcaches, localmodelnamespacecaches, their `status`, and `create`, `patch` of localmodelnodes.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::json;
use windtunnel_api::kserve::local_models::{Cache, Inputs, NodeInputs, OWNER, Plan, models_of_node, plan};
use windtunnel_api::kserve::{
    LOCAL_MODEL_LABEL, LOCAL_MODEL_NAMESPACE_LABEL, LocalModelCache, LocalModelNamespaceCache,
    LocalModelNode, LocalModelNodeSpec,
};

use crate::effect::{Effect, Effects};
use crate::world::{Key, Kind, Object, ObjectKey, Store, World};

/// What to do for a cache: of the cluster if the key has no namespace.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey) -> Effects {
    let Some(cache) = find(world, key) else { return Effects::new() };
    // A decision on half of the objects would be undone on the other half.
    if ![Kind::Node, Kind::PersistentVolume, Kind::PersistentVolumeClaim]
        .iter()
        .all(|kind| world.served.contains(kind))
    {
        return Effects::new();
    }
    if cache.is_going() {
        return finalize(world, key, cache);
    }
    let Ok(config) = world.kserve_config() else { return Effects::new() };
    if !config.local_model.enabled {
        return Effects::new();
    }
    let mut effects = Effects::new();
    let mut finalizers = cache.metadata().finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|found| found == cache.finalizer()) {
        finalizers.push(cache.finalizer().to_owned());
        effects.push(finalizers_patch(key, cache, &finalizers));
    }
    let plan = plan(&Inputs {
        cache,
        config: &config,
        groups: all(&world.node_groups),
        nodes: all(&world.nodes),
        model_nodes: all(&world.model_nodes),
        services: all(&world.inference_services),
    });
    if !plan.missing_groups.is_empty() {
        let groups = plan.missing_groups.join(", ");
        tracing::warn!(cache = %key, groups, "the cache waits for groups of nodes that are not there; create these LocalModelNodeGroups");
    }
    let status = match cache {
        Cache::Cluster(_) => Effect::status::<LocalModelCache, _>(key, cache.status(), &plan.status),
        Cache::Namespace(_) => {
            Effect::status::<LocalModelNamespaceCache, _>(key, cache.status(), &plan.status)
        }
    };
    effects.extend(volumes(world, cache, plan));
    effects.extend(status);
    effects
}

/// What to do for the list of a node.
#[must_use]
pub fn reconcile_node(world: &World, key: &ObjectKey) -> Effects {
    let list = world.model_nodes.get(key).map(|found| &**found);
    let is_enabled = world.kserve_config().is_ok_and(|config| config.local_model.enabled);
    let node = world.nodes.get(key).filter(|_| is_enabled).map(|found| &**found);
    let models =
        models_of_node(&NodeInputs { node, list, caches: caches(world), groups: all(&world.node_groups) });
    let spec = LocalModelNodeSpec { local_models: models };
    let Some(list) = list else {
        if spec.local_models.is_empty() {
            return Effects::new();
        }
        return vec![Effect::create(LocalModelNode::new(&key.name, spec))];
    };
    let mut wanted = list.clone();
    wanted.spec = spec;
    Effect::specification(key, list, &wanted).into_iter().collect()
}

/// The work that an object makes by being there, changing or going; the world may have an older version of it.
pub(crate) fn affected_by(world: &World, object: &Object) -> Vec<Key> {
    let key = object.key();
    match object {
        Object::LocalModelCache(_) | Object::LocalModelNamespaceCache(_) => {
            lists(world).into_iter().chain([Key::LocalModel(key)]).collect()
        }
        Object::LocalModelNodeGroup(_) => all_keys(world),
        Object::Node(_) => cache_keys(world).chain([Key::LocalModelNode(key)]).collect(),
        Object::LocalModelNode(list) => {
            // A cache that goes waits for the list to be without it.
            let going = caches(world).into_iter().filter(|cache| cache.is_going()).map(key_of);
            let listed = list.spec.local_models.iter().map(|info| {
                ObjectKey::new(info.namespace.clone().unwrap_or_default(), info.model_name.clone())
            });
            listed.chain(going).map(Key::LocalModel).chain([Key::LocalModelNode(key)]).collect()
        }
        Object::InferenceService(service) => {
            let before = world.inference_services.get(&key);
            let labels =
                [service.metadata.labels.as_ref(), before.and_then(|old| old.metadata.labels.as_ref())];
            let named = labels.into_iter().flatten().filter_map(|labels| {
                let namespace = labels.get(LOCAL_MODEL_NAMESPACE_LABEL).cloned().unwrap_or_default();
                Some(Key::LocalModel(ObjectKey::new(namespace, labels.get(LOCAL_MODEL_LABEL)?.clone())))
            });
            named.collect()
        }
        Object::PersistentVolume(_) | Object::PersistentVolumeClaim(_) => {
            let owner = object.metadata().annotations.as_ref().and_then(|found| found.get(OWNER));
            owner
                .map(|owner| owner.split_once('/').unwrap_or(("", owner)))
                .map_or_else(Vec::new, |(namespace, name)| {
                    vec![Key::LocalModel(ObjectKey::new(namespace, name))]
                })
        }
        _ => Vec::new(),
    }
}

/// Whether an object is a cache that this controller has begun to look after, and must clean up after.
pub(crate) fn is_looked_after(object: &Object) -> bool {
    let cache = match object {
        Object::LocalModelCache(cache) => Cache::Cluster(cache),
        Object::LocalModelNamespaceCache(cache) => Cache::Namespace(cache),
        _ => return false,
    };
    cache.metadata().finalizers.iter().flatten().any(|found| found == cache.finalizer())
}

/// All caches and the lists of all nodes.
pub(crate) fn all_keys(world: &World) -> Vec<Key> {
    lists(world).into_iter().chain(cache_keys(world)).collect()
}

fn lists(world: &World) -> BTreeSet<Key> {
    world.nodes.keys().chain(world.model_nodes.keys()).cloned().map(Key::LocalModelNode).collect()
}

fn cache_keys(world: &World) -> impl Iterator<Item = Key> {
    world.local_models.keys().chain(world.namespace_models.keys()).cloned().map(Key::LocalModel)
}

fn key_of(cache: Cache<'_>) -> ObjectKey {
    ObjectKey::new(cache.namespace().unwrap_or_default(), cache.name())
}

fn find<'a>(world: &'a World, key: &ObjectKey) -> Option<Cache<'a>> {
    if key.namespace.is_empty() {
        world.local_models.get(key).map(|found| Cache::Cluster(found))
    } else {
        world.namespace_models.get(key).map(|found| Cache::Namespace(found))
    }
}

fn caches(world: &World) -> Vec<Cache<'_>> {
    let far = world.local_models.values().map(|found| Cache::Cluster(found));
    far.chain(world.namespace_models.values().map(|found| Cache::Namespace(found))).collect()
}

fn all<K>(store: &Store<K>) -> Vec<&K> {
    store.values().map(|found| &**found).collect()
}

/// The writes that make the cache's volumes and claims what is wanted. What is there is left as it is: the specification of
/// a claim can't be changed.
fn volumes(world: &World, cache: Cache<'_>, plan: Plan) -> Effects {
    let mut effects = Effects::new();
    let mine = belongings(world, cache);
    if plan.prune {
        let volumes = plan.volumes.iter().map(|volume| (Kind::PersistentVolume, ObjectKey::of(volume)));
        let claims = plan.claims.iter().map(|claim| (Kind::PersistentVolumeClaim, ObjectKey::of(claim)));
        let wanted: BTreeSet<_> = volumes.chain(claims).collect();
        effects.extend(
            mine.iter().filter(|found| !wanted.contains(*found)).filter_map(|found| delete(world, found)),
        );
    }
    let mut blocked = BTreeSet::new();
    for volume in plan.volumes {
        let found = (Kind::PersistentVolume, ObjectKey::of(&volume));
        let stored = world.persistent_volumes.get(&found.1);
        let phase = stored.and_then(|stored| stored.status.as_ref()?.phase.as_deref());
        // Its claim was deleted: nobody else can be bound to it any more.
        let is_lost = matches!(phase, Some("Released" | "Failed")) && mine.contains(&found);
        let is_going = stored.is_some_and(|stored| stored.metadata.deletion_timestamp.is_some());
        if is_lost || is_going {
            blocked.insert(found.1.name.clone());
        }
        if is_lost {
            effects.extend(delete(world, &found));
        } else if stored.is_none() {
            effects.push(Effect::create(volume));
        }
    }
    for claim in plan.claims {
        let found = (Kind::PersistentVolumeClaim, ObjectKey::of(&claim));
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
        let stored = world.persistent_volume_claims.get(&found.1);
        let is_lost = stored.is_some_and(|stored| {
            stored.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost"))
        });
        if is_lost && mine.contains(&found) {
            effects.extend(delete(world, &found));
        } else if stored.is_none() && !blocked.contains(&volume) {
            effects.push(Effect::create(claim));
        }
    }
    effects
}

/// The volumes and claims that were made for a cache, claims first: a volume goes when its claim is gone.
fn belongings(world: &World, cache: Cache<'_>) -> Vec<(Kind, ObjectKey)> {
    let uid = cache.metadata().uid.as_deref().unwrap_or_default();
    let owner = cache.status_key();
    let is_noted =
        |annotations: &std::collections::BTreeMap<String, String>| annotations.get(OWNER) == Some(&owner);
    let claims = world.persistent_volume_claims.iter().filter(|(_, found)| is_noted(found.annotations()));
    let claims = claims.map(|(key, _)| (Kind::PersistentVolumeClaim, key.clone()));
    let volumes = world.persistent_volumes.iter().filter(|(_, found)| is_noted(found.annotations()));
    let volumes = volumes.map(|(key, _)| (Kind::PersistentVolume, key.clone()));
    let controlled = world.all_controlled_by(uid).map(|(kind, key)| (kind, key.clone()));
    let controlled =
        controlled.filter(|(kind, _)| matches!(kind, Kind::PersistentVolume | Kind::PersistentVolumeClaim));
    let mut all: Vec<_> = claims.chain(volumes).chain(controlled).collect();
    all.sort_by(|(kind, key), (other, than)| {
        (*kind == Kind::PersistentVolume, key).cmp(&(*other == Kind::PersistentVolume, than))
    });
    all.dedup();
    all
}

fn delete(world: &World, (kind, key): &(Kind, ObjectKey)) -> Option<Effect> {
    let found = world.object(*kind, key)?;
    let stays = found.metadata().deletion_timestamp.is_none();
    stays.then(|| Effect::Delete { kind: *kind, key: key.clone() })
}

/// Before a cache goes, the nodes' lists are without it, and what it can't own is deleted.
fn finalize(world: &World, key: &ObjectKey, cache: Cache<'_>) -> Effects {
    let mut finalizers = cache.metadata().finalizers.clone().unwrap_or_default();
    let before = finalizers.len();
    finalizers.retain(|found| found != cache.finalizer());
    let mut entries = world.model_nodes.values().flat_map(|list| &list.spec.local_models);
    if finalizers.len() == before || entries.any(|info| cache.is(info)) {
        return Effects::new();
    }
    let mut effects: Effects =
        belongings(world, cache).iter().filter_map(|found| delete(world, found)).collect();
    effects.push(finalizers_patch(key, cache, &finalizers));
    effects
}

/// The version makes sure that nobody's finalizer gets lost.
fn finalizers_patch(key: &ObjectKey, cache: Cache<'_>, finalizers: &[String]) -> Effect {
    let kind = match cache {
        Cache::Cluster(_) => Kind::LocalModelCache,
        Cache::Namespace(_) => Kind::LocalModelNamespaceCache,
    };
    let version = cache.metadata().resource_version.as_deref();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    Effect::Patch { kind, key: key.clone(), patch, status: false }
}
