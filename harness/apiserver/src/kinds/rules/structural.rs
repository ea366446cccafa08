//! Rules for the schemas of custom resources: what they may say, and that they are structural, so that each value has one
//! type (`ValidateCustomResourceDefinitionOpenAPISchema` and `ValidateStructural` of the real server).

use serde_json::{Value, json};

use crate::{
    object::{list, text},
    status::FieldError,
};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What JSON Schema has and OpenAPI, as it is read here, has not.
const NOT_READ: [&str; 6] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
/// What only the schema itself may say, not a branch of it: the field, and what it must be there.
const NOT_IN_BRANCHES: [(&str, &str); 11] = [
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("x-kubernetes-preserve-unknown-fields", "false"),
    ("x-kubernetes-embedded-resource", "false"),
    ("x-kubernetes-int-or-string", "false"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-validations", "empty"),
];

/// Where in a schema a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks the schema of one version at `field`.
pub(super) fn schema(schema: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if flag(schema, "nullable") {
        errors
            .push(FieldError::forbidden(format!("{field}.nullable"), "nullable cannot be true at the root"));
    }
    vocabulary(schema, field, errors);
    let mut found = Vec::new();
    invariants(schema, field, Level::Root, &mut found);
    found.sort_by_key(|error| format!("{}: {}", error.field, error.message));
    errors.extend(found);
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

/// Schemas right below one, with their fields: of its items, properties and further properties.
fn below<'a>(schema: &'a Value, field: &str) -> Vec<(&'a Value, String, Level)> {
    let mut below = Vec::new();
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        below.push((items, format!("{field}.items"), Level::Item));
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        below.push((property, format!("{field}.properties[{key}]"), Level::Field));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        below.push((values, format!("{field}.additionalProperties"), Level::Field));
    }
    below
}

/// The branches of a schema, with their fields.
fn branches<'a>(schema: &'a Value, field: &str) -> Vec<(&'a Value, String)> {
    let mut branches: Vec<(&Value, String)> = Vec::new();
    for kind in ["anyOf", "allOf", "oneOf"] {
        let of_kind = list(schema, &[kind]).iter().enumerate();
        branches.extend(of_kind.map(|(index, branch)| (branch, format!("{field}.{kind}[{index}]"))));
    }
    if let Some(branch) = schema.get("not").filter(|branch| branch.is_object()) {
        branches.push((branch, format!("{field}.not")));
    }
    branches
}

/// What a schema may say at all.
fn vocabulary(schema: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let at = |key: &str| format!("{field}.{key}");
    let is_given = |key: &str| schema.get(key).is_some_and(|value| !value.is_null());
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(at("uniqueItems"), why));
    }
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        let why = "additionalProperties cannot be set to false";
        errors.push(FieldError::forbidden(at("additionalProperties"), why));
    }
    let has_properties = schema["properties"].as_object().is_some_and(|properties| !properties.is_empty());
    if is_given("additionalProperties") && has_properties {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(at("additionalProperties"), why));
    }
    let kind = text(schema, &["type"]);
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(at("type"), why));
    }
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(at("type"), &kind.into(), &TYPES));
    }
    for key in NOT_READ.into_iter().filter(|key| is_given(key)) {
        errors.push(FieldError::forbidden(at(key), &format!("{key} is not supported")));
    }
    if schema["items"].is_array() {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(at("items"), why));
    }
    lists(schema, field, errors);
    let map = text(schema, &["x-kubernetes-map-type"]);
    if !map.is_empty() {
        typed(kind, "object", "x-kubernetes-map-type", field, errors);
        if !["atomic", "granular"].contains(&map) {
            let known = ["atomic", "granular"];
            errors.push(FieldError::not_supported(at("x-kubernetes-map-type"), &map.into(), &known));
        }
    }
    let branches = branches(schema, field).into_iter();
    let below = below(schema, field).into_iter().map(|(schema, field, _)| (schema, field));
    for (schema, field) in below.chain(branches) {
        vocabulary(schema, &field, errors);
    }
}

/// What has to have a type since `extension` is given.
fn typed(kind: &str, wanted: &str, extension: &str, field: &str, errors: &mut Vec<FieldError>) {
    let why = format!("must be {wanted} if {extension} is specified");
    let field = format!("{field}.type");
    if kind.is_empty() {
        errors.push(FieldError::required(field, &why));
    } else if kind != wanted {
        errors.push(FieldError::invalid(field, &kind.into(), &why));
    }
}

/// Lists that are merged: by keys, as sets, or not at all.
fn lists(schema: &Value, field: &str, errors: &mut Vec<FieldError>) {
    const TYPE: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let at = |key: &str| format!("{field}.{key}");
    let (merge, keys) = (text(schema, &[TYPE]), list(schema, &[KEYS]));
    if !merge.is_empty() {
        typed(text(schema, &["type"]), "array", TYPE, field, errors);
        let known = ["atomic", "set", "map"];
        if !known.contains(&merge) {
            errors.push(FieldError::not_supported(at(TYPE), &merge.into(), &known));
        }
    }
    if !keys.is_empty() && merge != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(if merge.is_empty() {
            FieldError::required(at(TYPE), why)
        } else {
            FieldError::invalid(at(TYPE), &merge.into(), why)
        });
    }
    if merge != "map" {
        return;
    }
    if keys.is_empty() {
        errors.push(FieldError::required(at(KEYS), "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(items) = schema.get("items").filter(|items| items.is_object()) else {
        errors.push(FieldError::required(at("items"), "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    let kind = text(items, &["type"]);
    if kind != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at("items.type"), &kind.into(), why));
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let Some(property) = items["properties"].get(name) else {
            let why = "entries must all be names of item properties";
            errors.push(FieldError::invalid(format!("{field}.{KEYS}[{index}]"), key, why));
            continue;
        };
        let kind = text(property, &["type"]);
        if ["array", "object"].contains(&kind) {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let field = format!("{field}.items.properties[{name}].type");
            errors.push(FieldError::invalid(field, &kind.into(), why));
        }
        if property.get("default").is_none() && !list(items, &["required"]).contains(key) {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(format!("{field}.items.properties[{name}].default"), why));
        }
        if keys[..index].contains(key) {
            errors.push(FieldError::duplicate(format!("{field}.{KEYS}[{index}]"), key));
        }
    }
}

/// That every value has one type, and that the server's own fields are left to it.
fn invariants(schema: &Value, field: &str, level: Level, errors: &mut Vec<FieldError>) {
    let at = |key: &str| format!("{field}.{key}");
    let kind = text(schema, &["type"]);
    if kind == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(at("items"), "must be specified"));
    }
    for (schema, field, level) in below(schema, field) {
        invariants(schema, &field, level, errors);
    }
    let takes_more = schema.get("additionalProperties").is_some_and(|more| more.is_object() || *more == true);
    if takes_more && level == Level::Root {
        errors.push(FieldError::forbidden(at("additionalProperties"), "must not be used at the root"));
    }
    let is_either = flag(schema, "x-kubernetes-int-or-string");
    for key in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if is_either && flag(schema, key) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(at(key), &true.into(), why));
        }
    }
    values(schema, field, is_either, errors);
    let keeps_unknown = flag(schema, "x-kubernetes-preserve-unknown-fields");
    if flag(schema, "x-kubernetes-embedded-resource") {
        const WHY: &str = "must be object if x-kubernetes-embedded-resource is true";
        if kind.is_empty() {
            errors.push(FieldError::required(at("type"), WHY));
        } else if kind != "object" {
            errors.push(FieldError::invalid(at("type"), &kind.into(), WHY));
        }
        if takes_more {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(at("additionalProperties"), why));
        }
        if !keeps_unknown && schema["properties"].as_object().is_none_or(serde_json::Map::is_empty) {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without \
x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(at("properties"), why));
        }
    } else if kind.is_empty() && !is_either && !keeps_unknown {
        let of = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.push(FieldError::required(at("type"), &format!("must not be empty {of}")));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(at("type"), &kind.into(), "must be object at the root"));
    }
    if level == Level::Root || flag(schema, "x-kubernetes-embedded-resource") {
        of_every_object(schema, field, level, errors);
    }
}

/// What every object has: its schema can't say otherwise.
fn of_every_object(schema: &Value, field: &str, level: Level, errors: &mut Vec<FieldError>) {
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let Some(property) = schema["properties"].get(name) else { continue };
        let found = text(property, &["type"]);
        if found != wanted {
            let why = format!("must be {wanted}");
            errors.push(FieldError::invalid(format!("{field}.properties[{name}].type"), &found.into(), &why));
        }
    }
    let Some(metadata) = schema["properties"].get("metadata").and_then(Value::as_object) else { return };
    let names = metadata.get("properties").and_then(Value::as_object);
    let is_narrow = names
        .is_none_or(|names| names.keys().all(|name| ["name", "generateName"].contains(&&**name)))
        && metadata.keys().all(|key| ["type", "properties", "default"].contains(&&**key));
    if level == Level::Root && !is_narrow {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(format!("{field}.properties[metadata]"), why));
    }
}

/// The branches of a schema and its pattern. Those of an integer or a string may name these two types.
fn values(schema: &Value, field: &str, is_either: bool, errors: &mut Vec<FieldError>) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    for (branch, field_of_branch) in branches(schema, field) {
        let is_in = |key: &str| field_of_branch.starts_with(&format!("{field}.{key}["));
        if is_in("anyOf") && is_either && schema["anyOf"] == either {
            continue;
        }
        let may_be_either = is_in("allOf") && is_either && field_of_branch.ends_with("allOf[0]");
        branch_of(branch, &field_of_branch, may_be_either && branch["anyOf"] == either, errors);
    }
    let pattern = text(schema, &["pattern"]);
    if let Some(fault) = pattern_fault(pattern) {
        let why = format!("must be a valid regular expression, but isn't: error parsing regexp: {fault}");
        errors.push(FieldError::invalid(format!("{field}.pattern"), &pattern.into(), &why));
    }
}

/// What is wrong with a regular expression, in Go's words; only what is wrong in its dialect and in ours.
fn pattern_fault(pattern: &str) -> Option<String> {
    use regex_syntax::ast::{ErrorKind, parse::Parser};
    let error = Parser::new().parse(pattern).err()?;
    let from = |offset: usize| pattern.get(offset..).unwrap_or_default();
    let start = error.span().start.offset;
    match error.kind() {
        ErrorKind::ClassUnclosed => Some(format!("missing closing ]: `{}`", from(start))),
        ErrorKind::GroupUnclosed => Some(format!("missing closing ): `{pattern}`")),
        ErrorKind::GroupUnopened => Some(format!("unexpected ): `{pattern}`")),
        ErrorKind::RepetitionMissing => {
            let operator = from(start).chars().next()?;
            Some(format!("missing argument to repetition operator: `{operator}`"))
        }
        _ => None,
    }
}

fn branch_of(branch: &Value, field: &str, is_either: bool, errors: &mut Vec<FieldError>) {
    values(branch, field, is_either, errors);
    for (schema, field, _) in below(branch, field) {
        if !field.ends_with(".additionalProperties") {
            branch_of(schema, &field, false, errors);
        }
    }
    for (key, wanted) in NOT_IN_BRANCHES {
        let is_given = match branch.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        };
        if is_given {
            let why = format!("must be {wanted} to be structural");
            errors.push(FieldError::forbidden(format!("{field}.{key}"), &why));
        }
    }
    if branch["properties"].get("metadata").is_some() {
        let why = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(format!("{field}.properties[metadata]"), why));
    }
}
