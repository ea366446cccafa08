//! The kinds that the server knows: built-in ones as a data table, custom ones read from their definitions.

pub(crate) mod builtin;
pub(crate) mod columns;
pub(crate) mod custom;
pub(crate) mod defaults;
pub(crate) mod names;
pub(crate) mod quantity;
pub(crate) mod rules;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    object::at,
    schema::{Schema, builtin::definition, decode::Findings, fill, prune},
    store::Object,
};
use builtin::Row;

/// One kind of object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Where its objects are stored; several kinds may share a shelf (the two kinds of events do).
    pub(crate) shelf: Arc<str>,
    pub(crate) group: Box<str>,
    pub(crate) plural: Box<str>,
    pub(crate) singular: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) list_name: Box<str>,
    pub(crate) short_names: Vec<Box<str>>,
    pub(crate) categories: Vec<Box<str>>,
    pub(crate) namespaced: bool,
    /// Preferred version first.
    pub(crate) versions: Vec<Version>,
    /// Index of the version in which objects are stored.
    pub(crate) storage: usize,
    pub(crate) source: Source,
    /// Store revision of the definition: older objects are read through its schema. 0 for built-in kinds.
    pub(crate) changed_at: u64,
}

/// Where a kind comes from, and with it which rules apply.
#[derive(Debug)]
pub(crate) enum Source {
    Builtin(&'static Row),
    /// `closing`: its definition is being deleted, so new objects are refused.
    Custom {
        closing: bool,
    },
}

/// One served or stored version of a kind.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) name: Box<str>,
    pub(crate) served: bool,
    pub(crate) schema: Arc<Schema>,
    /// The `status` subresource is on.
    pub(crate) status: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) columns: columns::Columns,
    /// What a client of a deprecated version is told in a `Warning` header.
    pub(crate) deprecation: Option<String>,
    /// Fields beyond name and namespace by which a list may be selected.
    pub(crate) fields: Vec<Box<str>>,
    /// The row of the table behind it, if the kind is built in.
    pub(crate) row: Option<&'static Row>,
}

/// Where the scale subresource finds its figures.
#[derive(Debug, Clone)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: Vec<Box<str>>,
    pub(crate) status_replicas: Vec<Box<str>>,
    /// A label selector, as text or as a `LabelSelector`.
    pub(crate) selector: Option<Vec<Box<str>>>,
}

/// All kinds, found by group and plural name.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    kinds: BTreeMap<(Box<str>, Box<str>), Arc<Kind>>,
    /// Raised with every change: the ETag of discovery.
    generation: u64,
    /// Whether somebody knows external metrics, which are a group without stored kinds.
    pub(crate) serves_external_metrics: bool,
}

impl Kind {
    pub(crate) fn is_custom(&self) -> bool {
        matches!(self.source, Source::Custom { .. })
    }

    pub(crate) fn row(&self) -> Option<&'static Row> {
        match self.source {
            Source::Builtin(row) => Some(row),
            Source::Custom { .. } => None,
        }
    }

    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self, version: usize) -> String {
        api_version(&self.group, &self.versions[version].name)
    }

    pub(crate) fn version(&self, name: &str) -> Option<usize> {
        self.versions.iter().position(|version| &*version.name == name)
    }

    /// Whether a stored object can be shown as it lies in the store.
    pub(crate) fn shows_as_stored(&self, object: &Object, version: usize) -> bool {
        match self.source {
            Source::Builtin(_) => self.versions[version].row.is_none_or(|row| row.from_storage.is_none()),
            // What one version stores another may not know.
            Source::Custom { .. } => self.versions.len() == 1 && object.revision >= self.changed_at,
        }
    }

    /// The stored object as the given version shows it. One that is older than its definition is pruned and
    /// defaulted by it.
    pub(crate) fn convert(&self, object: &Object, version: usize) -> Value {
        let revision = object.revision;
        let mut object = object.value.clone();
        match self.source {
            Source::Builtin(_) => match self.versions[version].row {
                Some(Row { from_storage: Some(convert), .. }) => convert(&mut object),
                _ => return object,
            },
            Source::Custom { .. } => {
                if self.versions.len() > 1 || revision < self.changed_at {
                    // Defaults are those of the storage version; what is shown is what the asked one knows.
                    fill::fill(&self.versions[self.storage].schema, &mut object);
                    prune::prune(&self.versions[version].schema, &mut object, &mut Findings::default());
                }
                if version == self.storage {
                    return object;
                }
            }
        }
        crate::object::as_map(&mut object).insert("apiVersion".into(), self.api_version(version).into());
        object
    }

    /// An object of the given version as it is stored.
    pub(crate) fn to_storage(&self, mut object: Value, version: usize) -> Value {
        match self.versions[version].row {
            Some(Row { to_storage: Some(convert), .. }) => convert(&mut object),
            _ if version != self.storage => {
                let api_version = self.api_version(self.storage);
                if self.is_custom() {
                    prune::prune(&self.versions[self.storage].schema, &mut object, &mut Findings::default());
                }
                crate::object::as_map(&mut object).insert("apiVersion".into(), api_version.into());
            }
            _ => {}
        }
        object
    }

    /// Whether a list may be selected by this field.
    pub(crate) fn selectable(&self, version: usize, field: &str) -> bool {
        field == "metadata.name"
            || (self.namespaced && field == "metadata.namespace")
            || self.versions[version].fields.iter().any(|known| **known == *field)
    }

    /// Why a list may not be selected by this field, in the real server's words; `None` where it may.
    pub(crate) fn selection_refusal(&self, version: usize, field: &str) -> Option<String> {
        if self.selectable(version, field) {
            return None;
        }
        Some(match (&*self.group, &*self.name) {
            _ if self.is_custom() => format!("field label not supported: {field}"),
            ("", "Pod" | "Node" | "ReplicationController" | "Event" | "Namespace" | "Secret" | "Service")
            | ("events.k8s.io", _) => format!("field label not supported: {field}"),
            ("batch", "Job") => format!("field label {} not supported for batchv1.Job", Value::from(field)),
            _ => format!(
                "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                Value::from(field)
            ),
        })
    }

    /// Whether the two objects differ in what `metadata.generation` counts.
    pub(crate) fn generation_changes(&self, version: usize, old: &Value, new: &Value) -> bool {
        match self.source {
            Source::Custom { .. } => {
                let without =
                    if self.versions[version].status { &["metadata", "status"][..] } else { &["metadata"] };
                differs_without(old, new, without)
            }
            Source::Builtin(row) => match row.generation {
                builtin::Generation::None | builtin::Generation::Fixed => false,
                builtin::Generation::Spec => old.get("spec") != new.get("spec"),
                builtin::Generation::SpecOrAnnotations => {
                    let annotations = |object| at(object, &["metadata", "annotations"]).cloned();
                    old.get("spec") != new.get("spec") || annotations(old) != annotations(new)
                }
                builtin::Generation::Content => differs_without(old, new, &["metadata", "status"]),
            },
        }
    }

    /// Whether objects of this kind have a generation at all.
    pub(crate) fn has_generation(&self) -> bool {
        self.row().is_none_or(|row| row.generation != builtin::Generation::None)
    }
}

fn differs_without(old: &Value, new: &Value, without: &[&str]) -> bool {
    let content = |object: &Value| -> Option<serde_json::Map<String, Value>> {
        let mut map = object.as_object()?.clone();
        map.retain(|key, _| !without.contains(&key.as_str()) && key != "apiVersion");
        Some(map)
    };
    content(old) != content(new)
}

/// `v1`, `apps/v1`.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

impl Registry {
    /// The built-in kinds.
    pub(crate) fn builtin() -> Self {
        let mut registry = Self { kinds: BTreeMap::new(), generation: 1, serves_external_metrics: false };
        for row in builtin::ROWS {
            let key = (Box::from(row.group), Box::from(row.plural));
            if let Some(existing) = registry.kinds.get_mut(&key) {
                // A further version of the same kind; the table lists the preferred one first.
                let kind = Arc::get_mut(existing).expect("nobody else holds the table yet");
                kind.versions.push(version_of(row));
                continue;
            }
            registry.kinds.insert(key, Arc::new(kind_of(row)));
        }
        registry
    }

    pub(crate) fn get(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.get(&(group.into(), plural.into()) as &(Box<str>, Box<str>))
    }

    pub(crate) fn of_group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Arc<Kind>> {
        self.kinds.values().filter(move |kind| &*kind.group == group)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values()
    }

    pub(crate) fn insert(&mut self, kind: Kind) {
        self.generation += 1;
        self.kinds.insert((kind.group.clone(), kind.plural.clone()), Arc::new(kind));
    }

    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.generation += 1;
        self.kinds.remove(&(group.into(), plural.into()) as &(Box<str>, Box<str>));
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

fn kind_of(row: &'static Row) -> Kind {
    let own_shelf = format!("{}/{}", row.group, row.plural);
    Kind {
        shelf: row.shelf.unwrap_or(&own_shelf).into(),
        group: row.group.into(),
        plural: row.plural.into(),
        singular: row.singular().into(),
        name: row.kind.into(),
        list_name: format!("{}List", row.kind).into(),
        short_names: row.short_names.iter().map(|name| Box::from(*name)).collect(),
        categories: row.categories.iter().map(|name| Box::from(*name)).collect(),
        namespaced: row.namespaced,
        versions: vec![version_of(row)],
        storage: 0,
        source: Source::Builtin(row),
        changed_at: 0,
    }
}

fn version_of(row: &'static Row) -> Version {
    let name = crate::schema::builtin::full_name(row.definition);
    let schema = Schema { reference: definition(&name).map(|_| name.into()), ..Schema::default() };
    let path = |text: &str| -> Vec<Box<str>> { text.split('.').map(Into::into).collect() };
    Version {
        name: row.version.into(),
        served: true,
        schema: Arc::new(schema),
        status: row.status,
        scale: row.scale.then(|| ScalePaths {
            spec_replicas: path("spec.replicas"),
            status_replicas: path("status.replicas"),
            selector: Some(path("spec.selector")),
        }),
        columns: columns::Columns::Builtin(row.columns),
        deprecation: None,
        fields: row.fields.iter().map(|field| Box::from(*field)).collect(),
        row: Some(row),
    }
}
