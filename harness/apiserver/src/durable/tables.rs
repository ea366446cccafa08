//! What lies in the store's file: objects, the log of changes backwards, and a few facts about the whole.
//!
//! An object is its JSON. A change is kept as the object *before* it: what came after is the next change's "before",
//! or the object itself, so reading the log from its newest end gives every state without storing one twice.

use std::{collections::HashMap, sync::Arc};

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde_json::Value;

use crate::{
    object::meta,
    store::{Batch, Change, Key, Object, Store},
};

/// Shelf, namespace, name: the object.
const OBJECTS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("objects");
/// Revision: shelf, namespace, name, and the object before, empty where there was none.
const CHANGES: TableDefinition<'_, u64, (&str, &str, &str, &[u8])> = TableDefinition::new("changes");
/// Shelf: the newest revision that has left its log.
const COMPACTED: TableDefinition<'_, &str, u64> = TableDefinition::new("compacted");
/// The rest, by name.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

const FORMAT: &str = "format";
const REVISION: &str = "revision";
const CERTIFICATE: &str = "certificate-authority";
const CERTIFICATE_KEY: &str = "certificate-authority-key";
const TOKEN_KEY: &str = "token-key";

/// The layout that this program writes.
const FORMAT_VERSION: u64 = 1;

/// The secrets that outlive a restart, so that kubeconfigs and tokens stay good.
pub(crate) struct Keys {
    /// The authority's certificate, PEM.
    pub(crate) certificate: String,
    /// Its key, PEM.
    pub(crate) certificate_key: String,
    /// The key that signs tokens, PKCS #8.
    pub(crate) token_key: Vec<u8>,
}

/// A failure to read or write the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Store(redb::Error),
    #[error("the file has format {found}, this program knows {FORMAT_VERSION}")]
    Format { found: u64 },
    #[error("{what} is missing or damaged")]
    Damaged { what: String },
}

impl<E: Into<redb::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Writes batches in one transaction, which is on disk when this returns.
pub(super) fn write<'a>(
    database: &Database,
    keys: Option<&Keys>,
    batches: impl IntoIterator<Item = &'a Batch>,
) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut changes = transaction.open_table(CHANGES)?;
        let mut compacted = transaction.open_table(COMPACTED)?;
        let mut facts = transaction.open_table(FACTS)?;
        let mut revision = None;
        // Several writes of one object in a group: only the last one's state is kept.
        let mut newest: HashMap<(&str, &Key), &Change> = HashMap::new();
        for batch in batches {
            for (shelf, change) in &batch.changes {
                let before = change.before.as_ref().map(|object| object.json_bytes()).unwrap_or_default();
                let key = &change.key;
                changes.insert(change.revision, (&**shelf, &*key.namespace, &*key.name, &before[..]))?;
                newest.insert((shelf, key), change);
            }
            for (shelf, forgotten) in &batch.forgotten {
                changes.remove(forgotten)?;
                compacted.insert(&**shelf, forgotten)?;
            }
            revision = Some(batch.revision);
        }
        for ((shelf, key), change) in newest {
            let place = (shelf, &*key.namespace, &*key.name);
            match &change.after {
                Some(object) => objects.insert(place, &object.json_bytes()[..])?,
                None => objects.remove(place)?,
            };
        }
        if let Some(revision) = revision {
            facts.insert(REVISION, &revision.to_le_bytes()[..])?;
        }
        if let Some(keys) = keys {
            facts.insert(FORMAT, &FORMAT_VERSION.to_le_bytes()[..])?;
            facts.insert(CERTIFICATE, keys.certificate.as_bytes())?;
            facts.insert(CERTIFICATE_KEY, keys.certificate_key.as_bytes())?;
            facts.insert(TOKEN_KEY, &keys.token_key[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Reads everything.
pub(super) fn load(database: &Database, log_capacity: usize) -> Result<(Store, Keys), Error> {
    let transaction = database.begin_read()?;
    let facts = transaction.open_table(FACTS)?;
    let fact = |name: &str| -> Result<Vec<u8>, Error> {
        let found = facts.get(name)?.ok_or_else(|| damaged(name))?;
        Ok(found.value().to_vec())
    };
    let number = |name: &str| -> Result<u64, Error> {
        Ok(u64::from_le_bytes(fact(name)?.try_into().map_err(|_| damaged(name))?))
    };
    let text = |name: &str| String::from_utf8(fact(name)?).map_err(|_| damaged(name));
    let found = number(FORMAT)?;
    if found != FORMAT_VERSION {
        return Err(Error::Format { found });
    }
    let keys = Keys {
        certificate: text(CERTIFICATE)?,
        certificate_key: text(CERTIFICATE_KEY)?,
        token_key: fact(TOKEN_KEY)?,
    };
    let mut objects = read_objects(&transaction)?;
    let changes = read_changes(&transaction, &objects)?;
    let mut compacted = Vec::new();
    for row in transaction.open_table(COMPACTED)?.iter()? {
        let (shelf, revision) = row?;
        compacted.push((Arc::from(shelf.value()), revision.value()));
    }
    let objects = objects.drain().map(|((shelf, key), object)| (shelf, key, object));
    Ok((Store::restore(log_capacity, number(REVISION)?, objects, compacted, changes), keys))
}

type Objects = HashMap<(Arc<str>, Key), Arc<Object>>;

fn read_objects(transaction: &ReadTransaction) -> Result<Objects, Error> {
    let mut objects = Objects::new();
    let mut shelf: Arc<str> = "".into();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (place, json) = row?;
        let (on, namespace, name) = place.value();
        if *shelf != *on {
            shelf = on.into();
        }
        let object = read_object(json.value()).ok_or_else(|| damaged(&format!("{on} {namespace}/{name}")))?;
        objects.insert((Arc::clone(&shelf), Key::new(namespace, name)), Arc::new(object));
    }
    Ok(objects)
}

/// The log, oldest change first. Each change's "after" is put together from what is newer.
fn read_changes(transaction: &ReadTransaction, objects: &Objects) -> Result<Vec<(Arc<str>, Change)>, Error> {
    let mut states: HashMap<(Arc<str>, Key), Option<Arc<Object>>> = HashMap::new();
    let mut changes = Vec::new();
    for row in transaction.open_table(CHANGES)?.iter()?.rev() {
        let (revision, change) = row?;
        let (shelf, namespace, name, json) = change.value();
        let before = match json {
            [] => None,
            json => Some(read_object(json).ok_or_else(|| damaged(&format!("change {}", revision.value())))?),
        };
        let before = before.map(Arc::new);
        let place = (Arc::from(shelf), Key::new(namespace, name));
        let state = states.entry(place.clone()).or_insert_with(|| objects.get(&place).cloned());
        let after = std::mem::replace(state, before.clone());
        let (shelf, key) = place;
        changes.push((shelf, Change { revision: revision.value(), key, before, after }));
    }
    changes.reverse();
    Ok(changes)
}

fn read_object(json: &[u8]) -> Option<Object> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let revision = meta(&value, "resourceVersion").parse().ok()?;
    Some(Object::new(value, revision))
}

fn damaged(what: &str) -> Error {
    Error::Damaged { what: what.to_owned() }
}
