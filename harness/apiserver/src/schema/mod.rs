//! Structural schemas: one shape for the built-in kinds and for custom resources.
//!
//! Everything that must know the shape of an object reads this: decoding and strict validation, pruning,
//! defaulting, the merge rules of patches and the field sets of server-side apply.

pub(crate) mod builtin;
pub(crate) mod decode;
pub(crate) mod expressions;
pub(crate) mod fill;
mod go_types;
pub(crate) mod protobuf;
pub(crate) mod prune;
pub(crate) mod validate;

use std::collections::BTreeMap;

use serde_json::Value;

/// The shape of a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) shape: Shape,
    /// Definition that this stands for; everything else but the annotations is then read there.
    pub(crate) reference: Option<Box<str>>,
    /// Name of the definition, for messages.
    pub(crate) definition: Option<Box<str>>,
    pub(crate) format: Box<str>,
    pub(crate) description: Box<str>,
    pub(crate) properties: BTreeMap<Box<str>, Schema>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) nullable: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) int_or_string: bool,
    pub(crate) embedded: bool,
    pub(crate) default: Option<Value>,
    pub(crate) list: ListKind,
    /// The map or object is owned and replaced as a whole.
    pub(crate) atomic: bool,
    pub(crate) merge: Merge,
    /// The rules of JSON Schema validation, only for custom resources.
    pub(crate) rules: Option<Box<validate::Rules>>,
    /// The rules that are written as expressions, only for custom resources.
    pub(crate) expressions: Vec<expressions::Rule>,
    /// This schema or one below it has such rules.
    pub(crate) has_expressions: bool,
}

/// JSON type of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any JSON.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What keys besides the properties an object may have.
#[derive(Debug, Clone, Default)]
pub(crate) enum Additional {
    #[default]
    None,
    Any,
    Values(Box<Schema>),
}

/// How server-side apply merges a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Unordered values.
    Set,
    /// Items by the values of these keys; a key's default stands in where an item lacks it.
    Map(Vec<(Box<str>, Option<Value>)>),
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Lists are replaced, maps are merged.
    #[default]
    Plain,
    /// A list of maps merged by this key.
    ByKey(Box<str>),
    /// A list of scalars merged as a set.
    Values,
    /// A union type: `$retainKeys` names the keys that stay.
    RetainKeys,
}

impl Schema {
    /// Reads an OpenAPI v3 schema as it stands in a CRD.
    pub(crate) fn from_openapi(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        let shape = match text("type") {
            "object" => Shape::Object,
            "array" => Shape::Array,
            "string" => Shape::String,
            "integer" => Shape::Integer,
            "number" => Shape::Number,
            "boolean" => Shape::Boolean,
            _ => Shape::Any,
        };
        let properties = value
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, schema)| (key.as_str().into(), Self::from_openapi(schema)))
            .collect();
        let additional = match value.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(Value::Object(_)) => {
                Additional::Values(Box::new(Self::from_openapi(&value["additionalProperties"])))
            }
            _ => Additional::None,
        };
        let strings = |key: &str| -> Vec<Box<str>> {
            let list = value.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
        };
        let mut schema = Self {
            shape,
            reference: value
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.rsplit('/').next())
                .map(Into::into),
            format: text("format").into(),
            description: text("description").into(),
            properties,
            additional,
            items: value
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::from_openapi(items))),
            required: strings("required"),
            nullable: flag("nullable"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            int_or_string: flag("x-kubernetes-int-or-string") || text("format") == "int-or-string",
            embedded: flag("x-kubernetes-embedded-resource"),
            default: value.get("default").cloned(),
            atomic: text("x-kubernetes-map-type") == "atomic",
            ..Self::default()
        };
        schema.list = match text("x-kubernetes-list-type") {
            "set" => ListKind::Set,
            "map" => {
                let key_default = |key: &str| {
                    let items = schema.items.as_ref()?;
                    items.properties.get(key)?.default.clone()
                };
                let keys = strings("x-kubernetes-list-map-keys");
                ListKind::Map(keys.into_iter().map(|key| (key.clone(), key_default(&key))).collect())
            }
            _ => ListKind::Atomic,
        };
        schema
    }

    /// The schema itself, or the built-in definition that it refers to.
    pub(crate) fn resolve(&self) -> &Self {
        match &self.reference {
            Some(name) => builtin::definition(name).unwrap_or(&builtin::ANY),
            None => self,
        }
    }

    /// Schema of a key: the property, or that of further values; `None` when the key is unknown.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        let schema = self.resolve();
        schema.properties.get(key).or(match &schema.additional {
            Additional::Values(values) => Some(values),
            Additional::Any => Some(&builtin::ANY),
            Additional::None if schema.preserve_unknown || schema.shape == Shape::Any => Some(&builtin::ANY),
            Additional::None => None,
        })
    }

    /// Schema of the items of a list.
    pub(crate) fn item(&self) -> &Self {
        self.resolve().items.as_deref().unwrap_or(&builtin::ANY)
    }

    /// Schema at a path of keys, through lists.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |schema, key| {
            let schema = schema.resolve();
            let schema = if schema.shape == Shape::Array { schema.item() } else { schema };
            schema.child(key)
        })
    }

    /// Whether this is a map of free keys rather than a struct.
    pub(crate) fn is_map(&self) -> bool {
        let schema = self.resolve();
        schema.properties.is_empty() && !matches!(schema.additional, Additional::None)
    }
}
