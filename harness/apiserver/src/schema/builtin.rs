//! Schemas of the built-in kinds, from the types that the client library generates out of the published API,
//! joined with the merge rules that those types do not carry.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use k8s_openapi::schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{ListKind, Merge, Schema, Shape, go_types};

/// The schema of any JSON.
pub(crate) static ANY: LazyLock<Schema> =
    LazyLock::new(|| Schema { preserve_unknown: true, ..Schema::default() });

/// Schema of `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A built-in definition by its full name, e.g. `io.k8s.api.core.v1.PodSpec`.
pub(crate) fn definition(name: &str) -> Option<&'static Schema> {
    static DEFINITIONS: OnceLock<BTreeMap<Box<str>, Schema>> = OnceLock::new();
    DEFINITIONS.get_or_init(parse_definitions).get(name)
}

/// All definitions as OpenAPI text, made anew on each call: only discovery clients ask for it.
pub(crate) fn openapi_definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    crate::kinds::builtin::register_types(&mut generator);
    let mut definitions = generator.take_definitions(true);
    definitions.extend(metrics_definitions());
    definitions
}

/// The kinds of `metrics.k8s.io`, which the client library does not carry.
fn metrics_definitions() -> Map<String, Value> {
    let reference = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let meta = |short: &str| reference(&full_name(&format!("meta.v1.{short}")));
    let usage = json!({"type": "object", "description": "What is in use, by resource: cpu in cores, memory in bytes.",
        "additionalProperties": reference("io.k8s.apimachinery.pkg.api.resource.Quantity")});
    let kind = |what: &str, field: &str, schema: Value| {
        let mut object = json!({"type": "object", "description": what, "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": meta("ObjectMeta"),
            "timestamp": {"description": "End of the window.", "type": "string", "format": "date-time"},
            "window": {"description": "How long was measured, for example 15s.", "type": "string"}}});
        object["properties"][field] = schema;
        object
    };
    let container = full_name("metrics.v1beta1.ContainerMetrics");
    let containers =
        json!({"type": "array", "description": "Each container's usage.", "items": reference(&container)});
    [
        (
            full_name("metrics.v1beta1.NodeMetrics"),
            kind("What the pods of a node use.", "usage", usage.clone()),
        ),
        (
            full_name("metrics.v1beta1.PodMetrics"),
            kind("What the containers of a pod use.", "containers", containers),
        ),
        (
            container,
            json!({"type": "object", "description": "What one container uses.", "properties": {
                "name": {"type": "string", "description": "Name of the container."}, "usage": usage}}),
        ),
    ]
    .into_iter()
    .collect()
}

fn parse_definitions() -> BTreeMap<Box<str>, Schema> {
    let mut definitions: BTreeMap<Box<str>, Schema> = openapi_definitions()
        .iter()
        .map(|(name, value)| {
            let mut schema = Schema::from_openapi(value);
            schema.definition = Some(name.as_str().into());
            (name.as_str().into(), schema)
        })
        .collect();
    for (name, schema) in &mut definitions {
        match &**name {
            "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
            | "io.k8s.apimachinery.pkg.runtime.RawExtension" => {
                schema.preserve_unknown = true;
            }
            name if is_free_json(name) => *schema = ANY.clone(),
            _ => {}
        }
    }
    for rule in go_types::LISTS {
        let Some(schema) = definitions.get_mut(&*full_name(rule.of)) else { continue };
        let Some(property) = schema.properties.get_mut(rule.field) else { continue };
        property.list = if rule.set {
            ListKind::Set
        } else if rule.keys.is_empty() {
            ListKind::Atomic
        } else {
            ListKind::Map(
                rule.keys
                    .iter()
                    .map(|key| {
                        let default = (*key == "protocol").then(|| Value::from("TCP"));
                        ((*key).into(), default)
                    })
                    .collect(),
            )
        };
        property.merge = match rule.merge {
            "" => Merge::Plain,
            "=" => Merge::Values,
            key => Merge::ByKey(key.into()),
        };
    }
    for (of, field) in go_types::RETAIN_KEYS {
        if let Some(property) = property_mut(&mut definitions, of, field) {
            property.merge = Merge::RetainKeys;
        }
    }
    for of in go_types::ATOMIC_STRUCTS {
        if let Some(schema) = definitions.get_mut(&*full_name(of)) {
            schema.atomic = true;
        }
    }
    for (of, field) in go_types::ATOMIC_FIELDS {
        if let Some(property) = property_mut(&mut definitions, of, field) {
            property.atomic = true;
        }
    }
    definitions
}

fn property_mut<'a>(
    definitions: &'a mut BTreeMap<Box<str>, Schema>,
    of: &str,
    field: &str,
) -> Option<&'a mut Schema> {
    definitions.get_mut(&*full_name(of))?.properties.get_mut(field)
}

/// `core.v1.PodSpec` to the name of its definition.
pub(crate) fn full_name(short: &str) -> String {
    if let Some(rest) = short.strip_prefix("meta.v1.") {
        format!("io.k8s.apimachinery.pkg.apis.meta.v1.{rest}")
    } else if let Some(rest) = short.strip_prefix("apiextensions.v1.") {
        format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{rest}")
    } else if let Some(rest) = short.strip_prefix("apiregistration.v1.") {
        format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.{rest}")
    } else if let Some(rest) = short.strip_prefix("metrics.v1beta1.") {
        format!("io.k8s.metrics.pkg.apis.metrics.v1beta1.{rest}")
    } else {
        format!("io.k8s.api.{short}")
    }
}

/// Types that hold any JSON inside a CRD's schema.
fn is_free_json(name: &str) -> bool {
    ["JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"]
        .iter()
        .any(|short| name.strip_suffix(short).is_some_and(|rest| rest.ends_with("apiextensions.v1.")))
}

impl Schema {
    /// The Go type in a decoder's message.
    pub(crate) fn go_type(&self) -> String {
        let schema = self.resolve();
        match schema.shape {
            Shape::Array => format!("[]{}", schema.item().go_type()),
            Shape::Object if schema.is_map() => match &schema.additional {
                super::Additional::Values(values) => format!("map[string]{}", values.go_type()),
                _ => "map[string]interface {}".into(),
            },
            Shape::Object => {
                let name = schema.definition.as_deref().unwrap_or_default();
                let mut parts = name.rsplit('.');
                let (kind, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                format!("{version}.{kind}")
            }
            Shape::String => "string".into(),
            Shape::Integer => if &*schema.format == "int64" { "int64" } else { "int32" }.into(),
            Shape::Number => "float64".into(),
            Shape::Boolean => "bool".into(),
            Shape::Any => "interface {}".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_rules_name_fields_that_exist() {
        for rule in go_types::LISTS {
            let schema = definition(&full_name(rule.of)).unwrap_or_else(|| panic!("no type {}", rule.of));
            let property =
                schema.properties.get(rule.field).unwrap_or_else(|| panic!("no {}.{}", rule.of, rule.field));
            for key in rule.keys {
                assert!(property.item().child(key).is_some(), "{}.{} has no key {key}", rule.of, rule.field);
            }
        }
        for (of, field) in
            go_types::RETAIN_KEYS.iter().chain(go_types::ATOMIC_FIELDS).chain(go_types::VALUE_FIELDS)
        {
            let schema = definition(&full_name(of)).unwrap_or_else(|| panic!("no type {of}"));
            assert!(schema.properties.contains_key(*field), "no {of}.{field}");
        }
        for of in go_types::ATOMIC_STRUCTS {
            assert!(definition(&full_name(of)).is_some(), "no type {of}");
        }
    }

    #[test]
    fn a_pod_schema_is_found_through_references() {
        let pod = definition("io.k8s.api.core.v1.Pod").unwrap();
        let containers = pod.find(&["spec", "containers"]).unwrap();
        assert!(matches!(&containers.list, ListKind::Map(keys) if &*keys[0].0 == "name"));
        assert_eq!(containers.go_type(), "[]v1.Container");
        assert!(pod.find(&["spec", "containers", "nope"]).is_none());
    }
}
