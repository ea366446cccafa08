//! The whole state of a server: the store, the kinds, who owns whom, and what has been allocated.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::Arc,
};

use serde_json::Value;

use super::{
    expiry::{EVENTS, Expiry},
    write::{seconds, uid},
};
use crate::{
    kinds::{Kind, Registry, Source, custom},
    object::{list, meta, metadata_mut, text},
    security::rbac::{self, Rbac, bootstrap},
    store::{Key, Object, Store},
    webhook::Hooks,
};

/// Where an object is: its shelf and key.
pub(crate) type Place = (Arc<str>, Key);

/// Shelf of CustomResourceDefinitions.
pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Shelf of namespaces.
pub(crate) const NAMESPACES: &str = "/namespaces";

/// Everything that a server knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    /// Who may do what, in step with the stored roles and bindings.
    pub(crate) rbac: Rbac,
    /// The configured admission webhooks.
    pub(crate) hooks: Hooks,
    /// Every stored object by its uid.
    uids: BTreeMap<String, Place>,
    /// The objects that name a uid as their owner.
    dependents: BTreeMap<String, BTreeSet<Place>>,
    /// Shelves written since the last call of [`State::take_dirty`]: whose watchers must wake.
    dirty: BTreeSet<Arc<str>>,
    next_address: u32,
    next_port: u16,
    /// When Events are forgotten.
    pub(super) expiry: Expiry,
    /// What deletions still have to bring about; empty between requests.
    pub(crate) garbage: VecDeque<Garbage>,
    /// Somebody further up is working it off.
    pub(crate) collecting: bool,
}

/// What a deletion brings about.
#[derive(Debug)]
pub(crate) enum Garbage {
    /// An object is gone: its dependents, its waiting owners, its namespace and its definition may follow.
    Removed { object: Arc<Object>, place: Place },
    /// An owner waits for its dependents, which are to go first.
    Foreground { uid: String },
    /// An owner lets its dependents go.
    Orphan { uid: String },
}

impl State {
    pub(crate) fn new(log_capacity: usize) -> Self {
        Self {
            store: Store::new(log_capacity),
            registry: Registry::builtin(),
            rbac: Rbac::default(),
            hooks: Hooks::default(),
            uids: BTreeMap::new(),
            dependents: BTreeMap::new(),
            dirty: BTreeSet::new(),
            expiry: Expiry::default(),
            next_address: 1,
            next_port: 0,
            garbage: VecDeque::new(),
            collecting: false,
        }
    }

    /// The state around a store that has been restored.
    pub(crate) fn restore(store: Store) -> Self {
        let mut state = Self { store, ..Self::new(1) };
        let mut places: Vec<(Arc<str>, Key, Arc<Object>)> = state
            .store
            .all()
            .map(|(shelf, key, object)| (Arc::clone(shelf), key.clone(), Arc::clone(object)))
            .collect();
        // Definitions first: without them nobody knows what the objects are.
        places.sort_by_key(|(shelf, ..)| &**shelf != DEFINITIONS);
        for (shelf, key, object) in places {
            state.link(&shelf, &key, None, &object);
        }
        state
    }

    /// Stores what a cluster has before its first request, where it is missing: the default roles and bindings.
    pub(crate) fn bootstrap(&mut self, now: jiff::Timestamp, random: &mut dyn FnMut() -> u128) {
        for (plural, mut object) in bootstrap::objects() {
            let Some(kind) = self.registry.get(rbac::GROUP, plural).cloned() else { continue };
            let key = Key::new("", meta(&object, "name"));
            if self.store.get(&kind.shelf, &key).is_some() {
                continue;
            }
            let metadata = metadata_mut(&mut object);
            metadata.insert("uid".into(), uid(random()).into());
            metadata.insert("creationTimestamp".into(), seconds(now).into());
            self.put(&kind, &key, object);
        }
        super::roles::aggregate(self);
    }

    /// Stores an object and keeps the indexes and the table of kinds in step.
    pub(crate) fn put(&mut self, kind: &Kind, key: &Key, value: Value) -> Arc<Object> {
        let old = self.store.get(&kind.shelf, key).cloned();
        let object = self.store.put(&kind.shelf, key, value);
        self.link(&kind.shelf, key, old.as_ref(), &object);
        self.dirty.insert(Arc::clone(&kind.shelf));
        object
    }

    /// Takes an object into the indexes and, where it is about them, into the kinds, roles and webhooks.
    fn link(&mut self, shelf: &Arc<str>, key: &Key, old: Option<&Arc<Object>>, object: &Arc<Object>) {
        let place = (Arc::clone(shelf), key.clone());
        if let Some(old) = old {
            self.unlink(&old.value, &place);
        }
        for owner in list(&object.value, &["metadata", "ownerReferences"]) {
            self.dependents.entry(text(owner, &["uid"]).to_owned()).or_default().insert(place.clone());
        }
        let uid = meta(&object.value, "uid");
        if !uid.is_empty() {
            self.uids.insert(uid.to_owned(), place);
        }
        if &**shelf == EVENTS {
            self.expiry.note(key, object.revision);
        }
        if Rbac::reads(shelf) {
            self.rbac.note(shelf, key, Some(&object.value));
        }
        if Hooks::reads(shelf) {
            self.hooks.note(shelf, &key.name, Some(&object.value));
        }
        if &**shelf == DEFINITIONS {
            let unchanged = old.is_some_and(|old| {
                old.value["spec"] == object.value["spec"]
                    && meta(&old.value, "deletionTimestamp") == meta(&object.value, "deletionTimestamp")
            });
            if !unchanged {
                let mut kind = custom::kind_of(&object.value);
                kind.changed_at = object.revision;
                self.registry.insert(kind);
            }
        }
    }

    /// Removes an object for good.
    pub(crate) fn remove(&mut self, shelf: &Arc<str>, key: &Key) -> Option<Arc<Object>> {
        let removed = self.store.remove(shelf, key)?;
        self.unlink(&removed.value, &(Arc::clone(shelf), key.clone()));
        self.uids.remove(meta(&removed.value, "uid"));
        if Rbac::reads(shelf) {
            self.rbac.note(shelf, key, None);
        }
        if Hooks::reads(shelf) {
            self.hooks.note(shelf, &key.name, None);
        }
        if &**shelf == DEFINITIONS {
            let spec = &removed.value["spec"];
            self.registry.remove(text(spec, &["group"]), text(spec, &["names", "plural"]));
        }
        self.dirty.insert(Arc::clone(shelf));
        Some(removed)
    }

    /// Shows what is measured in place of what was measured before: objects of `metrics.k8s.io`.
    pub(crate) fn publish(&mut self, plural: &str, measured: Vec<Value>) {
        let Some(kind) = self.registry.get("metrics.k8s.io", plural).cloned() else { return };
        let shown = measured.into_iter().map(|mut object| {
            let map = crate::object::as_map(&mut object);
            map.insert("kind".into(), (&*kind.name).into());
            map.insert("apiVersion".into(), kind.api_version(kind.storage).into());
            (Key::new(meta(&object, "namespace"), meta(&object, "name")), object)
        });
        self.store.show(&kind.shelf, shown);
    }

    /// How many objects of each kind are stored: group, plural name and number.
    pub(crate) fn counts(&self) -> Vec<(String, String, usize)> {
        let kinds = self.registry.all().filter(|kind| keeps_shelf(kind));
        let count = |kind: &Arc<Kind>| {
            (kind.group.to_string(), kind.plural.to_string(), self.store.count(&kind.shelf))
        };
        let mut counts: Vec<_> = kinds.map(count).collect();
        counts.sort();
        counts
    }

    /// Where the object with this uid is.
    pub(crate) fn place_of(&self, uid: &str) -> Option<&Place> {
        self.uids.get(uid)
    }

    /// The objects that name this uid as an owner.
    pub(crate) fn dependents_of(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// The kind whose objects lie on a shelf, the one that stores them.
    pub(crate) fn kind_of_shelf(&self, shelf: &str) -> Option<Arc<Kind>> {
        let (group, plural) = shelf.split_once('/')?;
        self.registry.get(group, plural).cloned()
    }

    /// Shelves whose watchers must wake.
    pub(crate) fn take_dirty(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.dirty)
    }

    /// Every namespaced object of a namespace.
    pub(crate) fn contents_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Place> + 'a {
        let kinds = self.registry.all().filter(|kind| kind.namespaced && keeps_shelf(kind));
        kinds.flat_map(move |kind| {
            let objects = self.store.list(&kind.shelf, Some(namespace));
            objects.map(|(key, _)| (Arc::clone(&kind.shelf), key.clone()))
        })
    }

    /// A free address for a service.
    pub(crate) fn allocate_address(&mut self, (network, prefix): (Ipv4Addr, u8)) -> Option<String> {
        let size = 1_u32 << (32 - u32::from(prefix.clamp(8, 30)));
        let taken: BTreeSet<&str> = self
            .store
            .list("/services", None)
            .map(|(_, service)| text(&service.value, &["spec", "clusterIP"]))
            .collect();
        for _ in 0..size {
            let host = self.next_address % size;
            self.next_address = (self.next_address + 1) % size;
            let address = Ipv4Addr::from(u32::from(network) & !(size - 1) | host).to_string();
            if host & 0xff != 0 && host & 0xff != 0xff && !taken.contains(address.as_str()) {
                return Some(address);
            }
        }
        None
    }

    /// Why a service can't have this address of the services' network.
    pub(crate) fn refuse_address(
        &self,
        wanted: &str,
        (network, prefix): (Ipv4Addr, u8),
    ) -> Option<&'static str> {
        let Ok(address) = wanted.parse::<std::net::Ipv4Addr>() else {
            return Some("the provided network does not match the current range");
        };
        let size = 1_u32 << (32 - u32::from(prefix.clamp(8, 30)));
        if u32::from(address) & !(size - 1) != u32::from(network) & !(size - 1) {
            return Some("the provided network does not match the current range");
        }
        let mut services = self.store.list("/services", None);
        let taken = services.any(|(_, service)| text(&service.value, &["spec", "clusterIP"]) == wanted);
        taken.then_some("provided IP is already allocated")
    }

    /// Whether a service has this port on the nodes.
    pub(crate) fn has_node_port(&self, port: i64) -> bool {
        let services = self.store.list("/services", None);
        let mut ports = services.flat_map(|(_, service)| list(&service.value, &["spec", "ports"]));
        ports.any(|taken| taken["nodePort"].as_i64() == Some(port))
    }

    /// A free port on every node for a service.
    pub(crate) fn allocate_node_port(&mut self) -> Option<u16> {
        const FIRST: u16 = 30_000;
        const COUNT: u16 = 2_768;
        let taken: BTreeSet<i64> = self
            .store
            .list("/services", None)
            .flat_map(|(_, service)| list(&service.value, &["spec", "ports"]))
            .filter_map(|port| port["nodePort"].as_i64())
            .collect();
        for _ in 0..COUNT {
            let port = FIRST + self.next_port;
            self.next_port = (self.next_port + 1) % COUNT;
            if !taken.contains(&i64::from(port)) {
                return Some(port);
            }
        }
        None
    }

    fn unlink(&mut self, value: &Value, place: &Place) {
        for owner in list(value, &["metadata", "ownerReferences"]) {
            let uid = text(owner, &["uid"]);
            if let Some(places) = self.dependents.get_mut(uid) {
                places.remove(place);
                if places.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
    }
}

/// Whether the kind is the one that a shelf is named after, and not a second view of it or something that is only shown.
fn keeps_shelf(kind: &Kind) -> bool {
    match kind.source {
        Source::Builtin(row) => row.shelf.is_none() && !row.read_only,
        Source::Custom { .. } => true,
    }
}
