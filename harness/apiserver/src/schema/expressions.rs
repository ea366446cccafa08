//! `x-kubernetes-validations`: rules of a schema that are written as expressions.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::{Additional, ListKind, Schema, Shape};
use crate::{
    cel::{self, CelValue, Expression},
    object::{list, text},
    status::{FieldError, go_quote},
};

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    source: Box<str>,
    expression: Arc<Expression>,
    message: Box<str>,
    message_expression: Option<Arc<Expression>>,
    reason: &'static str,
    field_path: Box<str>,
    optional_old: bool,
    sees_old: bool,
}

impl Rule {
    /// The rules of a schema; those that do not compile are left out, their definition was refused.
    pub(crate) fn read_all(schema: &Value) -> Vec<Self> {
        list(schema, &["x-kubernetes-validations"]).iter().filter_map(Self::read).collect()
    }

    fn read(rule: &Value) -> Option<Self> {
        let source = text(rule, &["rule"]);
        let expression = Expression::shared(source).ok()?;
        let message = text(rule, &["messageExpression"]);
        Some(Self {
            sees_old: expression.names("oldSelf"),
            source: source.into(),
            expression,
            message: text(rule, &["message"]).trim().into(),
            message_expression: (!message.is_empty()).then(|| Expression::shared(message).ok()).flatten(),
            reason: match text(rule, &["reason"]) {
                "FieldValueForbidden" => "FieldValueForbidden",
                "FieldValueRequired" => "FieldValueRequired",
                "FieldValueDuplicate" => "FieldValueDuplicate",
                _ => "FieldValueInvalid",
            },
            field_path: text(rule, &["fieldPath"]).into(),
            optional_old: rule["optionalOldSelf"] == Value::Bool(true),
        })
    }

    fn check(
        &self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        let mut variables = vec![("self", typed(schema, value, path.is_empty()))];
        if self.sees_old {
            let old = old.map(|old| typed(schema, old, path.is_empty()));
            match (old, self.optional_old) {
                (old, true) => variables.push(("oldSelf", cel::optional(old))),
                (Some(old), false) => variables.push(("oldSelf", old)),
                // A rule about changes has nothing to say where nothing was.
                (None, false) => return,
            }
        }
        let named = if self.message.is_empty() { &self.source } else { &self.message };
        match self.expression.evaluate(&variables) {
            Ok(CelValue::Bool(true)) => {}
            Ok(_) => {
                let field = format!("{path}{}", self.field_path);
                let detail = self.detail(&variables);
                let shown = (schema.shape != Shape::Object
                    && schema.shape != Shape::Array
                    && self.field_path.is_empty())
                .then(|| value.to_string());
                errors.push(self.error(&field, shown.as_deref(), &detail));
            }
            Err(why) => {
                let shown = go_quote(type_name(schema.shape));
                errors.push(self.error(path, Some(&shown), &format!("{why} evaluating rule: {named}")));
            }
        }
    }

    fn detail(&self, variables: &[(&str, CelValue)]) -> String {
        if let Some(expression) = &self.message_expression
            && let Ok(CelValue::String(message)) = expression.evaluate(variables)
            && !message.trim().is_empty()
            && !message.contains('\n')
        {
            return message.trim().to_owned();
        }
        if self.message.is_empty() {
            format!("failed rule: {}", self.source)
        } else {
            self.message.to_string()
        }
    }

    fn error(&self, field: &str, value: Option<&str>, detail: &str) -> FieldError {
        let field = if field.is_empty() { "<nil>" } else { field.trim_start_matches('.') };
        let message = match (self.reason, value) {
            ("FieldValueForbidden", _) => format!("Forbidden: {detail}"),
            ("FieldValueRequired", _) => format!("Required value: {detail}"),
            ("FieldValueDuplicate", value) => format!("Duplicate value: {}", value.unwrap_or_default()),
            (_, Some(value)) => format!("Invalid value: {value}: {detail}"),
            (_, None) => format!("Invalid value: {detail}"),
        };
        FieldError { reason: self.reason, message, field: field.to_owned() }
    }
}

/// Checks a custom resource against the rules of its schema.
pub(crate) fn check(schema: &Schema, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if schema.has_expressions {
        walk(schema, object, old, "", errors);
    }
}

fn walk(schema: &Schema, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() || !schema.has_expressions {
        return;
    }
    // What an update leaves as it was is not judged again, unless a rule compares with the old value.
    for rule in &schema.expressions {
        if old != Some(value) || rule.sees_old || path.is_empty() {
            rule.check(schema, value, old, path, errors);
        }
    }
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => {
            for (key, item) in fields {
                let old = old.and_then(|old| old.get(key));
                match (schema.properties.get(key.as_str()), &schema.additional) {
                    (Some(property), _) => walk(property, item, old, &join(key), errors),
                    (None, Additional::Values(values)) => {
                        walk(values, item, old, &format!("{path}[{key}]"), errors)
                    }
                    _ => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(item_schema) = schema.items.as_deref() else { return };
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| counterpart(schema, old, item));
                walk(item_schema, item, old, &format!("{path}[{index}]"), errors);
            }
        }
        _ => {}
    }
}

/// The old item with the same keys; items of other lists have none.
fn counterpart<'a>(schema: &Schema, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let ListKind::Map(keys) = &schema.list else { return None };
    old.as_array()?.iter().find(|old| {
        keys.iter().all(|(key, default)| {
            old.get(&**key).or(default.as_ref()) == item.get(&**key).or(default.as_ref())
        })
    })
}

/// A value as expressions see it by its schema: numbers are doubles, and names that expressions cannot write are
/// escaped. Of the metadata of a whole resource only the names are seen.
fn typed(schema: &Schema, value: &Value, is_resource: bool) -> CelValue {
    match value {
        Value::Number(number) if schema.shape == Shape::Number => {
            number.as_f64().map_or(CelValue::Null, CelValue::Float)
        }
        Value::Object(fields) if schema.shape == Shape::Object => {
            let seen = fields.iter().filter_map(|(key, item)| {
                if (is_resource || schema.embedded) && key == "metadata" {
                    let names = item.as_object().into_iter().flatten();
                    let names = names.filter(|(key, _)| matches!(key.as_str(), "name" | "generateName"));
                    return Some((
                        key.clone(),
                        cel::map(names.map(|(key, item)| (key.clone(), cel::value(item)))),
                    ));
                }
                match (schema.properties.get(key.as_str()), &schema.additional) {
                    (Some(_), _) if item.is_null() => None,
                    (Some(property), _) => Some((escaped(key).into_owned(), typed(property, item, false))),
                    (None, Additional::Values(values)) => Some((key.clone(), typed(values, item, false))),
                    (None, Additional::Any) => Some((key.clone(), cel::value(item))),
                    (None, Additional::None) => ((is_resource
                        && matches!(key.as_str(), "kind" | "apiVersion"))
                        || schema.preserve_unknown)
                        .then(|| (key.clone(), cel::value(item))),
                }
            });
            cel::map(seen)
        }
        Value::Array(items) => match schema.items.as_deref() {
            Some(item_schema) => {
                CelValue::List(Arc::new(items.iter().map(|item| typed(item_schema, item, false)).collect()))
            }
            None => cel::value(value),
        },
        other => cel::value(other),
    }
}

/// A property's name as expressions write it.
fn escaped(name: &str) -> Cow<'_, str> {
    const RESERVED: [&str; 19] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
    ];
    if RESERVED.contains(&name) || matches!(name, "void" | "while") {
        return format!("__{name}__").into();
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.into();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
        .into()
}

fn type_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Object | Shape::Any => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
    }
}

/// Finds faults of the rules of a definition's schema.
pub(crate) fn check_definition(source: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let schema = Schema::from_openapi(source);
    for (index, rule) in list(source, &["x-kubernetes-validations"]).iter().enumerate() {
        let at = format!("{field}.x-kubernetes-validations[{index}]");
        let shown = shown_rule(rule);
        let fault = |key: &str, why: &str| {
            let message = format!("Invalid value: {shown}: {why}");
            FieldError { reason: "FieldValueInvalid", message, field: format!("{at}.{key}") }
        };
        let expression = text(rule, &["rule"]);
        if expression.trim().is_empty() {
            errors.push(FieldError::required(format!("{at}.rule"), "rule is not specified"));
        } else if let Err(why) = compile(expression, &schema, is_root(field)) {
            errors.push(fault("rule", &why));
        }
        let message = text(rule, &["messageExpression"]);
        if !message.trim().is_empty()
            && let Err(why) = Expression::shared(message)
        {
            errors.push(fault("messageExpression", &format!("messageExpression compilation failed: {why}")));
        }
    }
    for (key, property) in source.get("properties").and_then(Value::as_object).into_iter().flatten() {
        check_definition(property, &format!("{field}.properties[{key}]"), errors);
    }
    if let Some(items @ Value::Object(_)) = source.get("items") {
        check_definition(items, &format!("{field}.items"), errors);
    }
    if let Some(values @ Value::Object(_)) = source.get("additionalProperties") {
        check_definition(values, &format!("{field}.additionalProperties"), errors);
    }
}

fn is_root(field: &str) -> bool {
    field.ends_with("openAPIV3Schema")
}

/// Compiles a rule, and looks at its fields and its type as far as plain paths go.
fn compile(source: &str, schema: &Schema, is_root: bool) -> Result<(), String> {
    let expression = Expression::shared(source).map_err(|why| format!("compilation failed: {why}"))?;
    for path in expression.paths() {
        let mut keys = path.iter();
        if keys.next().map(String::as_str) != Some("self") {
            continue;
        }
        let mut at = schema;
        for (index, key) in keys.enumerate() {
            if at.shape != Shape::Object || at.preserve_unknown || !matches!(at.additional, Additional::None)
            {
                break;
            }
            let known = at.properties.iter().find(|(name, _)| escaped(name) == key.as_str());
            let of_resource = is_root || at.embedded;
            match known {
                _ if of_resource
                    && index == 0
                    && matches!(key.as_str(), "metadata" | "kind" | "apiVersion") =>
                {
                    break;
                }
                Some((_, property)) => at = property,
                None => {
                    let offset = source.find(&format!(".{key}")).unwrap_or_default();
                    let dots = ".".repeat(offset);
                    return Err(format!(
                        "compilation failed: ERROR: <input>:1:{}: undefined field '{key}'\n | {source}\n | {dots}^",
                        offset + 1
                    ));
                }
            }
        }
    }
    if let Some(path) = expression.whole_path()
        && path.first().map(String::as_str) == Some("self")
    {
        let names: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        if schema.find(&names).is_some_and(|found| !matches!(found.shape, Shape::Boolean | Shape::Any)) {
            return Err("cel expression must evaluate to a bool".to_owned());
        }
    }
    Ok(())
}

/// A rule as the real server writes it into messages.
fn shown_rule(rule: &Value) -> String {
    let field = |key: &str| go_quote(text(rule, &[key]));
    let optional = |key: &str| rule.get(key).cloned().unwrap_or_default();
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        field("rule"),
        field("message"),
        field("messageExpression"),
        optional("reason"),
        field("fieldPath"),
        optional("optionalOldSelf")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::validate::attach_rules;

    fn messages(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut parsed = Schema::from_openapi(schema);
        attach_rules(&mut parsed, schema);
        let mut errors = Vec::new();
        check(&parsed, object, old, &mut errors);
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn items_of_a_keyed_list_are_compared_with_their_former_selves() {
        let rule = json!([{"rule": "self.v >= oldSelf.v", "message": "v cannot fall"}]);
        let item = json!({"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
            "x-kubernetes-validations": rule});
        let schema = json!({"type": "object", "properties": {"l": {"type": "array", "items": item,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}}});
        let old = json!({"l": [{"k": "a", "v": 3}, {"k": "b", "v": 1}]});
        let new = json!({"l": [{"k": "b", "v": 2}, {"k": "a", "v": 2}, {"k": "c", "v": 0}]});
        assert_eq!(messages(&schema, &new, Some(&old)), ["l[1]: Invalid value: v cannot fall"]);
        assert!(messages(&schema, &new, None).is_empty());
    }

    #[test]
    fn numbers_are_doubles_and_odd_names_are_escaped() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "number"}, "a-b": {"type": "string"},
            "namespace": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": "self.n < 2.5 && self.a__dash__b == 'x' && self.__namespace__ == 'y'"}]});
        let good = json!({"n": 2, "a-b": "x", "namespace": "y"});
        assert!(messages(&schema, &good, None).is_empty(), "{:?}", messages(&schema, &good, None));
        let bad = json!({"n": 3, "a-b": "x", "namespace": "y"});
        assert_eq!(messages(&schema, &bad, None).len(), 1);
    }
}
