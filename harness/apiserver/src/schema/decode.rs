//! Decoding of the built-in types as a Go decoder does it: types are checked, unknown fields dropped and
//! reported, and what a Go encoder would not write again (null, empty lists, zero values) is removed.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

use super::{Additional, Schema, Shape, go_types};

/// A value of the wrong type, in the decoder's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeMismatch(pub(crate) String);

/// What a lenient decoder drops silently and a strict one refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// `unknown field "spec.replicaz"`, `duplicate field "data.k"`.
    pub(crate) lines: Vec<String>,
}

static VALUE_FIELDS: LazyLock<BTreeSet<(String, &'static str)>> = LazyLock::new(|| {
    go_types::VALUE_FIELDS.iter().map(|(of, field)| (super::builtin::full_name(of), *field)).collect()
});

/// Decodes `value` in place.
///
/// # Errors
/// The first value of a wrong type.
pub(crate) fn decode(
    schema: &Schema,
    value: &mut Value,
    findings: &mut Findings,
) -> Result<(), TypeMismatch> {
    let mut walk = Walk { findings, path: Vec::new(), plain: Vec::new() };
    walk.value(schema, value, "")
}

struct Walk<'a> {
    findings: &'a mut Findings,
    /// With list indexes, for unknown fields.
    path: Vec<String>,
    /// Field names only, for type errors.
    plain: Vec<String>,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Schema, value: &mut Value, of: &str) -> Result<(), TypeMismatch> {
        let schema = schema.resolve();
        if schema.int_or_string {
            return self.int_or_string(schema, value, of);
        }
        match (schema.shape, &mut *value) {
            (Shape::Any, _) | (_, Value::Null) => Ok(()),
            (Shape::Object, Value::Object(_)) => self.object(schema, value, of),
            (Shape::Array, Value::Array(items)) => {
                let item = schema.item();
                for (index, entry) in items.iter_mut().enumerate() {
                    self.path.push(format!("[{index}]"));
                    let result = self.value(item, entry, of);
                    self.path.pop();
                    result?;
                }
                Ok(())
            }
            (Shape::String, Value::String(text)) => self.text(schema, text),
            (Shape::Boolean, Value::Bool(_)) | (Shape::Number, Value::Number(_)) => Ok(()),
            (Shape::Integer, Value::Number(number)) => {
                if let Some(whole) = number.as_i64() {
                    if &*schema.format != "int64" && i32::try_from(whole).is_err() {
                        return Err(self.mismatch(&format!("number {whole}"), schema, of));
                    }
                    return Ok(());
                }
                let float = number.as_f64().unwrap_or(f64::NAN);
                if float.fract() == 0.0 && float.abs() < 9.0e15 {
                    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
                    let whole = float as i64;
                    *value = Value::from(whole);
                    return Ok(());
                }
                Err(self.mismatch(&format!("number {number}"), schema, of))
            }
            (_, value) => {
                let found = json_type(value);
                Err(self.mismatch(found, schema, of))
            }
        }
    }

    fn object(&mut self, schema: &Schema, value: &mut Value, of: &str) -> Result<(), TypeMismatch> {
        let own =
            schema.definition.as_deref().and_then(|name| name.rsplit('.').next()).unwrap_or(of).to_owned();
        let Value::Object(map) = value else { return Ok(()) };
        if let Additional::Values(values) = &schema.additional
            && schema.properties.is_empty()
        {
            for (key, entry) in map.iter_mut() {
                self.path.push(key.clone());
                if entry.is_null() && values.resolve().shape == Shape::String {
                    *entry = Value::String(String::new());
                }
                let result = self.value(values, entry, &own);
                self.path.pop();
                result?;
            }
            map.retain(|_, entry| !entry.is_null());
            return Ok(());
        }
        if schema.preserve_unknown
            || (schema.properties.is_empty() && matches!(schema.additional, Additional::Any))
        {
            return Ok(());
        }
        let definition = schema.definition.as_deref().unwrap_or_default();
        let mut dropped = Vec::new();
        for (key, entry) in map.iter_mut() {
            let Some(property) = schema.properties.get(key.as_str()) else {
                self.path.push(key.clone());
                self.findings.lines.push(format!("unknown field \"{}\"", self.path_text()));
                self.path.pop();
                dropped.push(key.clone());
                continue;
            };
            if entry.is_null() {
                if !is_nullable_time(definition, key) {
                    dropped.push(key.clone());
                }
                continue;
            }
            self.path.push(key.clone());
            self.plain.push(key.clone());
            let result = self.value(property, entry, &own);
            self.plain.pop();
            self.path.pop();
            result?;
            if !schema.required.iter().any(|required| **required == **key)
                && omitted(property, definition, key, entry)
            {
                dropped.push(key.clone());
            }
        }
        for key in dropped {
            map.shift_remove(&key);
        }
        Ok(())
    }

    fn int_or_string(&mut self, schema: &Schema, value: &mut Value, of: &str) -> Result<(), TypeMismatch> {
        let quantity = schema.definition.as_deref().is_some_and(|name| name.ends_with(".Quantity"));
        match value {
            Value::Null => Ok(()),
            Value::String(text) if quantity => match crate::kinds::quantity::canonical(text) {
                Some(canonical) => {
                    *text = canonical;
                    Ok(())
                }
                None => Err(TypeMismatch(crate::kinds::quantity::BAD_QUANTITY.to_owned())),
            },
            Value::Number(number) if quantity => {
                let text = number.to_string();
                *value = Value::String(crate::kinds::quantity::canonical(&text).unwrap_or(text));
                Ok(())
            }
            Value::String(_) | Value::Number(_) => Ok(()),
            other => {
                let found = json_type(other);
                let kind = if quantity { "resource.Quantity" } else { "intstr.IntOrString" };
                Err(self.mismatch_as(found, kind, of))
            }
        }
    }

    fn text(&mut self, schema: &Schema, text: &mut String) -> Result<(), TypeMismatch> {
        if &*schema.format == "date-time" && !text.is_empty() {
            if text.parse::<jiff::Timestamp>().is_err() {
                let micro = schema.definition.as_deref().is_some_and(|name| name.ends_with("MicroTime"));
                let layout =
                    if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
                return Err(TypeMismatch(format!(
                    "parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\""
                )));
            }
        } else if &*schema.format == "byte" {
            use base64::Engine as _;
            if let Err(error) = base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
                let at = match error {
                    base64::DecodeError::InvalidByte(at, _)
                    | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => text.len(),
                };
                return Err(TypeMismatch(format!("illegal base64 data at input byte {at}")));
            }
        }
        Ok(())
    }

    fn mismatch(&self, found: &str, schema: &Schema, of: &str) -> TypeMismatch {
        self.mismatch_as(found, &schema.go_type(), of)
    }

    fn mismatch_as(&self, found: &str, wanted: &str, of: &str) -> TypeMismatch {
        let field = self.plain.join(".");
        if field.is_empty() {
            return TypeMismatch(format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
        }
        TypeMismatch(format!(
            "json: cannot unmarshal {found} into Go struct field {of}.{field} of type {wanted}"
        ))
    }

    fn path_text(&self) -> String {
        join_path(&self.path)
    }
}

/// `["spec", "containers", "[0]", "x"]` to `spec.containers[0].x`.
pub(crate) fn join_path(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if !text.is_empty() && !part.starts_with('[') {
            text.push('.');
        }
        text.push_str(part);
    }
    text
}

/// The JSON type in a Go decoder's message.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Conditions' times are written as null.
fn is_nullable_time(definition: &str, key: &str) -> bool {
    matches!(key, "lastProbeTime" | "lastTransitionTime") && definition.ends_with("PodCondition")
        || definition.ends_with("core.v1.Event")
            && matches!(key, "firstTimestamp" | "lastTimestamp" | "eventTime")
}

/// Whether a Go encoder leaves out this value of an optional field.
fn omitted(property: &Schema, definition: &str, key: &str, value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::String(text) => {
            let pointer = go_types::POINTER_TEXTS.contains(&key)
                || (key == "name" && definition.ends_with("discovery.v1.EndpointPort"));
            text.is_empty() && !pointer
        }
        Value::Object(map) => map.is_empty() && property.is_map(),
        Value::Bool(false) => VALUE_FIELDS.contains(&(definition.to_owned(), table_key(key))),
        Value::Number(number) if number.as_i64() == Some(0) => {
            VALUE_FIELDS.contains(&(definition.to_owned(), table_key(key)))
        }
        _ => false,
    }
}

/// The table's own copy of a key, so that a lookup needs no allocation of static text.
fn table_key(key: &str) -> &'static str {
    go_types::VALUE_FIELDS.iter().map(|(_, field)| *field).find(|field| *field == key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin::definition;

    fn decoded(kind: &str, mut value: Value) -> Result<(Value, Vec<String>), TypeMismatch> {
        let mut findings = Findings::default();
        decode(definition(&format!("io.k8s.api.{kind}")).unwrap(), &mut value, &mut findings)?;
        Ok((value, findings.lines))
    }

    #[test]
    fn what_a_go_encoder_would_not_write_is_gone() {
        let (value, lines) = decoded(
            "apps.v1.Deployment",
            json!({"metadata": {"labels": {}, "finalizers": []},
                "spec": {"replicas": 0, "paused": false, "strategy": {}, "replicaz": 1, "selector": {},
                "template": {"spec": {"containers": [{"name": "c", "resources": {}, "env": [{"name": "a", "value": ""}]}],
                    "volumes": [{"name": "v", "emptyDir": {}}], "nope": {}}}}}),
        )
        .unwrap();
        assert_eq!(
            value,
            json!({"metadata": {}, "spec": {"replicas": 0, "strategy": {}, "selector": {},
                "template": {"spec": {"containers": [{"name": "c", "resources": {}, "env": [{"name": "a"}]}],
                "volumes": [{"name": "v", "emptyDir": {}}]}}}})
        );
        assert_eq!(lines, ["unknown field \"spec.replicaz\"", "unknown field \"spec.template.spec.nope\""]);
    }

    #[test]
    fn wrong_types_are_told_as_the_real_decoder_tells_them() {
        let message = |value| decoded("core.v1.ConfigMap", value).unwrap_err().0;
        assert_eq!(
            message(json!({"data": {"k": 1}})),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
        assert_eq!(
            message(json!({"data": []})),
            "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"
        );
        assert_eq!(
            message(json!({"metadata": {"labels": {"x": true}}})),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"
        );
    }
}
