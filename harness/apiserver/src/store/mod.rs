//! The pure store: objects by kind, namespace and name, one revision counter, and a bounded log of changes.
//!
//! No clock, no I/O, no locks. Every write raises the revision by one and is logged with the object before and
//! after it, so that a list at an old revision is the current state with the newer changes undone, and a watch
//! is a cursor into the log that holds no buffer of its own. What falls out of the log is compacted: readers
//! that ask for it get [`Compacted`]. A store that is followed by a disk hands out what it has changed as a [`Batch`].

mod log;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde_json::Value;

pub(crate) use log::{Change, Compacted};

use crate::object::metadata_mut;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

/// One object at one revision; never changed once stored.
#[derive(Debug)]
pub(crate) struct Object {
    /// The object in its storage version, with its `resourceVersion`.
    pub(crate) value: Value,
    pub(crate) revision: u64,
    json: OnceLock<Bytes>,
}

/// All objects of all kinds.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    revision: u64,
    log_capacity: usize,
    shelves: BTreeMap<Arc<str>, Shelf>,
    /// What has changed since the last call of [`Store::take_unsaved`]; `None` where nobody asks.
    unsaved: Option<Batch>,
}

/// What a disk must be told to follow a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    /// The changes with their shelves, oldest first.
    pub(crate) changes: Vec<(Arc<str>, Change)>,
    /// Revisions that have left the log of a shelf, oldest first.
    pub(crate) forgotten: Vec<(Arc<str>, u64)>,
    /// The revision after them.
    pub(crate) revision: u64,
}

/// The objects of one kind and their recent changes.
#[derive(Debug, Clone, Default)]
struct Shelf {
    objects: BTreeMap<Key, Arc<Object>>,
    log: log::Log,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Object {
    pub(crate) fn new(value: Value, revision: u64) -> Self {
        Self { value, revision, json: OnceLock::new() }
    }

    /// The object as a line of JSON, serialised once however many watchers read it.
    pub(crate) fn json_line(&self) -> Bytes {
        let line = || {
            let mut text = self.value.to_string();
            text.push('\n');
            Bytes::from(text)
        };
        self.json.get_or_init(line).clone()
    }

    /// The object as JSON, not kept unless somebody has asked for the line.
    pub(crate) fn json_bytes(&self) -> Bytes {
        self.json.get().cloned().unwrap_or_else(|| Bytes::from(self.value.to_string()))
    }
}

impl Store {
    /// The revision before the first write. Above the small numbers that clients treat specially (0 and 1).
    pub(crate) const FIRST_REVISION: u64 = 100;

    pub(crate) fn new(log_capacity: usize) -> Self {
        Self {
            revision: Self::FIRST_REVISION,
            log_capacity: log_capacity.max(1),
            shelves: BTreeMap::new(),
            unsaved: None,
        }
    }

    /// A store as it was: its objects, how far each shelf's log has been compacted, and the log, oldest first.
    pub(crate) fn restore(
        log_capacity: usize,
        revision: u64,
        objects: impl IntoIterator<Item = (Arc<str>, Key, Arc<Object>)>,
        compacted: impl IntoIterator<Item = (Arc<str>, u64)>,
        changes: impl IntoIterator<Item = (Arc<str>, Change)>,
    ) -> Self {
        let mut store = Self::new(log_capacity);
        store.revision = revision.max(Self::FIRST_REVISION);
        for (shelf, key, object) in objects {
            store.shelf(&shelf).objects.insert(key, object);
        }
        for (shelf, revision) in compacted {
            store.shelf(&shelf).log.compact(revision);
        }
        store.follow();
        for (shelf, change) in changes {
            store.push(&shelf, change);
        }
        store
    }

    /// From now on changes are noted for [`Store::take_unsaved`].
    pub(crate) fn follow(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    /// What has changed since the last call; `None` when nothing has, or nobody follows.
    pub(crate) fn take_unsaved(&mut self) -> Option<Batch> {
        let unsaved = self.unsaved.as_mut()?;
        if unsaved.changes.is_empty() && unsaved.forgotten.is_empty() {
            return None;
        }
        let batch = std::mem::take(unsaved);
        Some(Batch { revision: self.revision, ..batch })
    }

    /// Every object with its place.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Key, &Arc<Object>)> {
        self.shelves
            .iter()
            .flat_map(|(shelf, row)| row.objects.iter().map(move |(key, object)| (shelf, key, object)))
    }

    /// The revision of the newest write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, shelf: &str, key: &Key) -> Option<&Arc<Object>> {
        self.shelves.get(shelf)?.objects.get(key)
    }

    /// How many objects of a kind there are.
    pub(crate) fn count(&self, shelf: &str) -> usize {
        self.shelves.get(shelf).map_or(0, |shelf| shelf.objects.len())
    }

    /// The objects of a kind in key order; `namespace` `None` is all of them.
    pub(crate) fn list<'a>(
        &'a self,
        shelf: &str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> + use<'a> {
        let start = Key::new(namespace.unwrap_or_default(), "");
        let objects = self.shelves.get(shelf).map(|shelf| shelf.objects.range(start..));
        objects
            .into_iter()
            .flatten()
            .take_while(move |(key, _)| namespace.is_none_or(|namespace| &*key.namespace == namespace))
    }

    /// The objects of a kind as they were at `revision`.
    ///
    /// # Errors
    /// [`Compacted`] when the log no longer reaches back that far.
    pub(crate) fn list_at(
        &self,
        shelf: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<(Key, Arc<Object>)>, Compacted> {
        let mut objects: BTreeMap<Key, Arc<Object>> =
            self.list(shelf, namespace).map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        if revision < self.revision {
            self.changes_exist_since(shelf, revision)?;
            if let Some(shelf) = self.shelves.get(shelf) {
                for change in shelf.log.newest_first_down_to(revision) {
                    if namespace.is_some_and(|namespace| namespace != &*change.key.namespace) {
                        continue;
                    }
                    match &change.before {
                        Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                        None => objects.remove(&change.key),
                    };
                }
            }
        }
        Ok(objects.into_iter().collect())
    }

    /// Up to `limit` changes of a kind that are newer than `revision`, oldest first.
    ///
    /// # Errors
    /// [`Compacted`] when some of them have left the log.
    pub(crate) fn changes_since(
        &self,
        shelf: &str,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<Change>, Compacted> {
        self.changes_exist_since(shelf, revision)?;
        Ok(self.shelves.get(shelf).map_or_else(Vec::new, |shelf| shelf.log.since(revision, limit)))
    }

    /// Stores an object under a new revision, which is written into its `resourceVersion`.
    pub(crate) fn put(&mut self, shelf: &Arc<str>, key: &Key, mut value: Value) -> Arc<Object> {
        self.revision += 1;
        metadata_mut(&mut value).insert("resourceVersion".into(), self.revision.to_string().into());
        order_metadata(&mut value);
        let object = Arc::new(Object::new(value, self.revision));
        let entry = self.shelf(shelf);
        let before = entry.objects.insert(key.clone(), Arc::clone(&object));
        let change =
            Change { revision: object.revision, key: key.clone(), before, after: Some(Arc::clone(&object)) };
        self.log(shelf, change);
        object
    }

    /// Removes an object under a new revision; gives its last state.
    pub(crate) fn remove(&mut self, shelf: &Arc<str>, key: &Key) -> Option<Arc<Object>> {
        let before = self.shelf(shelf).objects.remove(key)?;
        self.revision += 1;
        let change = Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(Arc::clone(&before)),
            after: None,
        };
        self.log(shelf, change);
        Some(before)
    }

    /// Replaces all objects of a shelf whose objects are only shown: they have no revisions, nobody can watch them, and
    /// no disk follows them.
    pub(crate) fn show(&mut self, shelf: &Arc<str>, objects: impl IntoIterator<Item = (Key, Value)>) {
        let shown = objects.into_iter().map(|(key, mut value)| {
            order_metadata(&mut value);
            (key, Arc::new(Object::new(value, 0)))
        });
        self.shelf(shelf).objects = shown.collect();
    }

    fn changes_exist_since(&self, shelf: &str, revision: u64) -> Result<(), Compacted> {
        let compacted =
            self.shelves.get(shelf).map_or(0, |shelf| shelf.log.compacted()).max(Self::FIRST_REVISION);
        if revision < compacted { Err(Compacted { requested: revision, oldest: compacted }) } else { Ok(()) }
    }

    fn shelf(&mut self, shelf: &Arc<str>) -> &mut Shelf {
        self.shelves.entry(Arc::clone(shelf)).or_default()
    }

    fn log(&mut self, shelf: &Arc<str>, change: Change) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.changes.push((Arc::clone(shelf), change.clone()));
        }
        self.push(shelf, change);
    }

    fn push(&mut self, shelf: &Arc<str>, change: Change) {
        let capacity = self.log_capacity;
        let forgotten = self.shelf(shelf).log.push(change, capacity);
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.forgotten.extend(forgotten.into_iter().map(|revision| (Arc::clone(shelf), revision)));
        }
    }
}

/// Puts the fields of `metadata` in the order in which the real server writes them.
fn order_metadata(value: &mut Value) {
    const ORDER: [&str; 13] = [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
    ];
    let metadata = metadata_mut(value);
    let mut ordered = serde_json::Map::with_capacity(metadata.len());
    for field in ORDER {
        if let Some(found) = metadata.shift_remove(field) {
            ordered.insert(field.to_owned(), found);
        }
    }
    ordered.append(metadata);
    *metadata = ordered;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(list: &[(Key, Arc<Object>)]) -> Vec<String> {
        list.iter().map(|(key, object)| format!("{}={}", key.name, object.value["v"])).collect()
    }

    #[test]
    fn a_list_at_an_old_revision_is_the_state_of_then() {
        let shelf: Arc<str> = "/things".into();
        let mut store = Store::new(10);
        store.put(&shelf, &Key::new("n", "a"), json!({"v": 1}));
        let then = store.put(&shelf, &Key::new("n", "b"), json!({"v": 1})).revision;
        store.put(&shelf, &Key::new("n", "a"), json!({"v": 2}));
        store.remove(&shelf, &Key::new("n", "b"));
        store.put(&shelf, &Key::new("n", "c"), json!({"v": 1}));
        assert_eq!(names(&store.list_at(&shelf, Some("n"), then).unwrap()), ["a=1", "b=1"]);
        assert_eq!(names(&store.list_at(&shelf, Some("n"), store.revision()).unwrap()), ["a=2", "c=1"]);
    }

    #[test]
    fn the_log_forgets_the_oldest_changes_and_says_so() {
        let shelf: Arc<str> = "/things".into();
        let mut store = Store::new(3);
        let first = store.put(&shelf, &Key::new("n", "a"), json!({"v": 0})).revision;
        for v in 1..=5 {
            store.put(&shelf, &Key::new("n", "a"), json!({"v": v}));
        }
        assert!(store.changes_since(&shelf, first, 100).is_err(), "a watcher would silently miss events");
        assert_eq!(store.changes_since(&shelf, store.revision() - 3, 100).unwrap().len(), 3);
        assert_eq!(store.changes_since(&shelf, store.revision() - 3, 2).unwrap().len(), 2);
    }

    /// If this fails a cluster that measures its pods wears out the disk of whoever keeps its state.
    #[test]
    fn what_is_only_shown_takes_no_revision_and_no_disk() {
        let shelf: Arc<str> = "/measured".into();
        let mut store = Store::new(3);
        store.follow();
        let revision = store.revision();
        store.show(&shelf, [(Key::new("n", "a"), json!({"v": 1})), (Key::new("n", "b"), json!({"v": 1}))]);
        store.show(&shelf, [(Key::new("n", "b"), json!({"v": 2}))]);
        let shown: Vec<(Key, Arc<Object>)> =
            store.list(&shelf, None).map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        assert_eq!(names(&shown), ["b=2"]);
        assert_eq!(store.revision(), revision);
        assert!(store.take_unsaved().is_none());
    }

    #[test]
    fn listing_one_namespace_does_not_leak_its_neighbours() {
        let shelf: Arc<str> = "/things".into();
        let mut store = Store::new(3);
        for namespace in ["m", "n", "n-2", "o"] {
            store.put(&shelf, &Key::new(namespace, "a"), json!({}));
        }
        assert_eq!(store.list(&shelf, Some("n")).count(), 1);
        assert_eq!(store.list(&shelf, None).count(), 4);
    }
}
