//! Validation of custom resources against their schema, in the words of the real server.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Additional, ListKind, Schema, Shape};
use crate::{
    kinds::names::{check_annotations, check_labels},
    status::FieldError,
};

/// The rules of JSON Schema that are not structure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) one_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) not: Option<Schema>,
    pub(crate) values: Option<Vec<Value>>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
}

/// A pattern with its text; an expression that this engine cannot run accepts everything.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    pub(crate) expression: Option<Regex>,
}

/// The faults stop being collected beyond this count: the answer must stay readable.
const LIMIT_ERRORS: usize = 100;

/// Reads the validation rules of a schema and of everything below it.
pub(crate) fn attach_rules(schema: &mut Schema, value: &Value) {
    schema.rules = parse_rules(value);
    schema.expressions = super::expressions::Rule::read_all(value);
    schema.has_expressions = !schema.expressions.is_empty();
    let properties = value.get("properties").and_then(Value::as_object);
    for (key, source) in properties.into_iter().flatten() {
        if let Some(property) = schema.properties.get_mut(key.as_str()) {
            attach_rules(property, source);
            schema.has_expressions |= property.has_expressions;
        }
    }
    if let (Some(items), Some(source)) = (schema.items.as_deref_mut(), value.get("items")) {
        attach_rules(items, source);
        schema.has_expressions |= items.has_expressions;
    }
    if let (Additional::Values(values), Some(source)) =
        (&mut schema.additional, value.get("additionalProperties"))
    {
        attach_rules(values, source);
        schema.has_expressions |= values.has_expressions;
    }
}

fn parse_rules(value: &Value) -> Option<Box<Rules>> {
    const KEYS: [&str; 18] = [
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "enum",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    ];
    if !KEYS.iter().any(|key| value.get(key).is_some()) {
        return None;
    }
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    let schema = |value: &Value| {
        let mut schema = Schema::from_openapi(value);
        attach_rules(&mut schema, value);
        schema
    };
    let schemas =
        |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten().map(schema).collect();
    Some(Box::new(Rules {
        one_of: schemas("oneOf"),
        any_of: schemas("anyOf"),
        all_of: schemas("allOf"),
        not: value.get("not").map(schema),
        values: value.get("enum").and_then(Value::as_array).cloned(),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: value
            .get("pattern")
            .and_then(Value::as_str)
            .map(|text| Pattern { text: text.to_owned(), expression: Regex::new(text).ok() }),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
    }))
}

/// Validates a whole custom resource; `metadata` is checked elsewhere. What an update leaves as it was is not
/// checked again, so that a stricter schema does not lock old objects.
pub(crate) fn validate(schema: &Schema, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    walk(schema, object, old, &[], true, errors);
    // Expressions rely on the structure: they wait until it is right.
    if errors.len() == before {
        super::expressions::check(schema, object, old, errors);
    }
}

fn walk(
    schema: &Schema,
    value: &Value,
    old: Option<&Value>,
    path: &[&str],
    is_resource: bool,
    errors: &mut Vec<FieldError>,
) {
    if errors.len() >= LIMIT_ERRORS || (old == Some(value) && !path.is_empty()) {
        return;
    }
    let field = field_text(path);
    if value.is_null() && (schema.nullable || schema.shape == Shape::Any) {
        return;
    }
    if let Some(wanted) = type_fault(schema, value) {
        let found = Value::from(type_word(value));
        let detail = format!("{} in body must be of type {wanted}: {found}", in_body(&field));
        errors.push(FieldError::type_invalid(&field_or_nil(&field)[..], &found, &detail));
        return;
    }
    if let Value::String(text) = value
        && let Some(format) = format_fault(&schema.format, text)
    {
        let detail = format!("{} in body must be of type {format}: {value}", in_body(&field));
        errors.push(FieldError::type_invalid(&field_or_nil(&field)[..], value, &detail));
    }
    if schema.shape == Shape::Integer
        && &*schema.format == "int32"
        && value.as_i64().is_some_and(|whole| i32::try_from(whole).is_err())
    {
        let detail = format!("Checked value must be of type integer with format int32 in {field}");
        errors.push(FieldError::invalid("<nil>", &"".into(), &detail));
    }
    if let Some(rules) = &schema.rules {
        check_rules(rules, value, &field, path, errors);
    }
    if schema.embedded {
        for key in ["apiVersion", "kind"] {
            if value.get(key).is_none_or(|value| value.as_str().is_none_or(str::is_empty)) {
                errors.push(FieldError::required(join(&field, key), ""));
            }
        }
        if let Some(metadata) = value.get("metadata") {
            let at = |name: &str| format!("{}.{name}", join(&field, "metadata"));
            check_labels(metadata.get("labels"), &at("labels"), errors);
            check_annotations(metadata.get("annotations"), &at("annotations"), errors);
        }
    }
    match value {
        Value::Object(map) => {
            let mut path = path.to_vec();
            for (key, entry) in map {
                if is_resource && key == "metadata" {
                    continue;
                }
                let property = schema.properties.get(key.as_str()).or(match &schema.additional {
                    Additional::Values(values) => Some(values),
                    _ => None,
                });
                if let Some(property) = property {
                    path.push(key);
                    let old = old.and_then(|old| old.get(key));
                    walk(property, entry, old, &path, property.embedded, errors);
                    path.pop();
                }
            }
            for key in &schema.required {
                if !map.contains_key(&**key) {
                    let field = join(&field, key);
                    errors.push(FieldError::required(field, ""));
                }
            }
        }
        Value::Array(items) => {
            let Some(item) = schema.items.as_deref() else { return };
            for (index, entry) in items.iter().enumerate() {
                let index = format!("[{index}]");
                let mut path = path.to_vec();
                path.push(&index);
                let old = counterpart(schema, old, entry);
                walk(item, entry, old, &path, item.embedded, errors);
            }
            list_faults(schema, items, &field, errors);
        }
        _ => {}
    }
}

/// The old item that an item of a keyed list replaces.
fn counterpart<'a>(schema: &Schema, old: Option<&'a Value>, item: &Value) -> Option<&'a Value> {
    let ListKind::Map(keys) = &schema.list else { return None };
    let same = |other: &&Value| keys.iter().all(|(key, _)| other.get(&**key) == item.get(&**key));
    old?.as_array()?.iter().find(same)
}

fn list_faults(schema: &Schema, items: &[Value], field: &str, errors: &mut Vec<FieldError>) {
    match &schema.list {
        ListKind::Set => {
            for (index, item) in items.iter().enumerate() {
                if items[..index].contains(item) {
                    errors.push(FieldError::duplicate(format!("{field}[{index}]"), item));
                }
            }
        }
        ListKind::Map(keys) => {
            let key_of = |item: &Value| -> Value {
                keys.iter()
                    .filter_map(|(key, default)| {
                        let value = item.get(&**key).or(default.as_ref())?;
                        Some((key.to_string(), value.clone()))
                    })
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            let seen: Vec<Value> = items.iter().map(key_of).collect();
            for (index, key) in seen.iter().enumerate() {
                if seen[..index].contains(key) {
                    errors.push(FieldError::duplicate(format!("{field}[{index}]"), key));
                }
            }
        }
        ListKind::Atomic => {}
    }
}

fn check_rules(rules: &Rules, value: &Value, field: &str, path: &[&str], errors: &mut Vec<FieldError>) {
    let body = in_body(field);
    let at = field_or_nil(field);
    let mut fault = |detail: String| errors.push(FieldError::invalid(&at[..], value, &detail));
    if let Some(number) = value.as_f64() {
        if let Some(minimum) = rules.minimum {
            if rules.exclusive_minimum && number <= minimum {
                fault(format!("{body} in body should be greater than {minimum}"));
            } else if number < minimum {
                fault(format!("{body} in body should be greater than or equal to {minimum}"));
            }
        }
        if let Some(maximum) = rules.maximum {
            if rules.exclusive_maximum && number >= maximum {
                fault(format!("{body} in body should be less than {maximum}"));
            } else if number > maximum {
                fault(format!("{body} in body should be less than or equal to {maximum}"));
            }
        }
        if let Some(factor) = rules.multiple_of
            && (number / factor).fract() != 0.0
        {
            fault(format!("{body} in body should be a multiple of {factor}"));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if rules.min_length.is_some_and(|limit| length < limit) {
            let limit = rules.min_length.unwrap_or_default();
            fault(format!("{body} in body should be at least {limit} chars long"));
        }
        if let Some(pattern) = &rules.pattern
            && pattern.expression.as_ref().is_some_and(|expression| !expression.is_match(text))
        {
            fault(format!("{body} in body should match '{}'", pattern.text));
        }
    }
    if let Some(items) = value.as_array() {
        if rules.min_items.is_some_and(|limit| (items.len() as u64) < limit) {
            let limit = rules.min_items.unwrap_or_default();
            fault(format!("{body} in body should have at least {limit} items"));
        }
        if rules.unique_items && items.iter().enumerate().any(|(index, item)| items[..index].contains(item)) {
            fault(format!("{body} in body shouldn't contain duplicates"));
        }
    }
    if let Some(map) = value.as_object()
        && rules.min_properties.is_some_and(|limit| (map.len() as u64) < limit)
    {
        let limit = rules.min_properties.unwrap_or_default();
        fault(format!("{body} in body should have at least {limit} properties"));
    }
    limits(rules, value, &at, errors);
    if let Some(values) = &rules.values
        && !values.contains(value)
    {
        let supported: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        errors.push(FieldError::not_supported(&at[..], value, &supported));
    }
    branches(rules, value, &at, &body, path, errors);
}

fn limits(rules: &Rules, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let too_long =
        |detail: String| FieldError { reason: "FieldValueTooLong", message: detail, field: at.to_owned() };
    let too_many =
        |detail: String| FieldError { reason: "FieldValueTooMany", message: detail, field: at.to_owned() };
    match value {
        Value::String(text) => {
            if let Some(limit) = rules.max_length.filter(|limit| text.chars().count() as u64 > *limit) {
                errors.push(too_long(format!("Too long: may not be more than {limit} bytes")));
            }
        }
        Value::Array(items) => {
            if let Some(limit) = rules.max_items.filter(|limit| items.len() as u64 > *limit) {
                errors.push(too_many(format!("Too many: {}: must have at most {limit} items", items.len())));
            }
        }
        Value::Object(map) => {
            if let Some(limit) = rules.max_properties.filter(|limit| map.len() as u64 > *limit) {
                errors.push(too_many(format!("Too many: {}: must have at most {limit} items", map.len())));
            }
        }
        _ => {}
    }
}

fn branches(rules: &Rules, value: &Value, at: &str, body: &str, path: &[&str], errors: &mut Vec<FieldError>) {
    let faults = |schema: &Schema| {
        let mut found = Vec::new();
        walk(schema, value, None, path, false, &mut found);
        found
    };
    let holds = |schema: &Schema| faults(schema).is_empty();
    let fault = |detail: &str| FieldError::invalid(at, &"".into(), &format!("\"{body}\" {detail}"));
    if let Some(first) = rules.any_of.first().filter(|_| !rules.any_of.iter().any(holds)) {
        // Beside the fault of the whole stand those of the first branch.
        errors.push(fault("must validate at least one schema (anyOf)"));
        errors.extend(faults(first));
    }
    if let Some(first) = rules.one_of.first() {
        match rules.one_of.iter().filter(|schema| holds(schema)).count() {
            1 => {}
            0 => {
                errors.push(fault("must validate one and only one schema (oneOf). Found none valid"));
                errors.extend(faults(first));
            }
            count => errors.push(fault(&format!(
                "must validate one and only one schema (oneOf). Found {count} valid alternatives"
            ))),
        }
    }
    let all: Vec<Vec<FieldError>> = rules.all_of.iter().map(faults).collect();
    if all.iter().any(|faults| !faults.is_empty()) {
        let none = if all.iter().any(Vec::is_empty) { "" } else { ". None validated" };
        errors.extend(all.into_iter().flatten());
        errors.push(fault(&format!("must validate all the schemas (allOf){none}")));
    }
    if rules.not.as_ref().is_some_and(holds) {
        errors.push(fault("must not validate the schema (not)"));
    }
}

fn type_fault(schema: &Schema, value: &Value) -> Option<String> {
    if schema.int_or_string {
        let fits = value.is_string() || value.as_i64().is_some();
        return (!fits).then(|| "integer,string".to_owned());
    }
    let (fits, word) = match schema.shape {
        Shape::Any => (true, ""),
        Shape::Object => (value.is_object(), "object"),
        Shape::Array => (value.is_array(), "array"),
        Shape::String => (value.is_string(), "string"),
        Shape::Integer => (is_whole(value), "integer"),
        Shape::Number => (value.is_number(), "number"),
        Shape::Boolean => (value.is_boolean(), "boolean"),
    };
    (!fits).then(|| word.to_owned())
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The format's name when `text` is not of it; unknown formats accept everything.
fn format_fault<'a>(format: &'a str, text: &str) -> Option<&'a str> {
    static UUID: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
    });
    static DURATION: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^-?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h|d|w) ?)+$|^0$").ok());
    static URI: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^([A-Za-z][A-Za-z0-9+.-]*:[^\s]+|/[^\s]*)$").ok());
    let matches = |regex: &Option<Regex>| regex.as_ref().is_none_or(|regex| regex.is_match(text));
    let fits = match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        "uuid" => matches(&UUID),
        "duration" => matches(&DURATION),
        "uri" => matches(&URI),
        _ => true,
    };
    (!fits).then_some(format)
}

/// Formats of a definition's schema that no value is checked for.
pub(crate) fn unknown_formats(openapi: &Value, found: &mut Vec<String>) {
    const KNOWN: [&str; 24] = [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
    ];
    let kind = openapi.get("type").and_then(Value::as_str).unwrap_or_default();
    let format = openapi.get("format").and_then(Value::as_str).unwrap_or_default();
    let numeric = ["int32", "int64", "float", "double"].contains(&format) || kind != "string";
    if !format.is_empty() && !numeric && format != "date-time" && !KNOWN.contains(&format) {
        let line = format!("unrecognized format \"{format}\"");
        if !found.contains(&line) {
            found.push(line);
        }
    }
    for (_, property) in openapi.get("properties").and_then(Value::as_object).into_iter().flatten() {
        unknown_formats(property, found);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner @ Value::Object(_)) = openapi.get(key) {
            unknown_formats(inner, found);
        }
    }
}

fn field_text(path: &[&str]) -> String {
    path.iter().fold(String::new(), |text, part| join(&text, part))
}

fn join(field: &str, part: &str) -> String {
    if field.is_empty() || part.starts_with('[') {
        format!("{field}{part}")
    } else {
        format!("{field}.{part}")
    }
}

fn in_body(field: &str) -> String {
    field.to_owned()
}

fn field_or_nil(field: &str) -> String {
    if field.is_empty() { "<nil>".to_owned() } else { field.to_owned() }
}
