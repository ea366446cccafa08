//! Expressions of the Common Expression Language over JSON values, with Kubernetes' library.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as CelValue};
use serde_json::Value;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
}

impl Expression {
    /// # Errors
    /// The compiler's complaint.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| {
            let told: Vec<String> = errors.errors.iter().map(|error| error.msg.clone()).collect();
            format!("`{source}` is no CEL expression: {}", told.join("; "))
        })?;
        Ok(Self { program })
    }

    /// Evaluates with these variables.
    ///
    /// # Errors
    /// What the expression stumbled over.
    pub(crate) fn evaluate(&self, variables: &[(&str, &Value)]) -> Result<Value, String> {
        let mut context = Context::default().with_all();
        for (name, value) in variables {
            context.add_variable_from_value(*name, to_cel(value));
        }
        let result = self.program.execute(&context).map_err(|error| error.to_string())?;
        to_json(&result).ok_or_else(|| format!("it gives {result:?}, which is no JSON value"))
    }
}

/// Compiles and evaluates over `self`.
///
/// # Errors
/// As [`Expression::compile`] and [`Expression::evaluate`].
pub(crate) fn of_self(source: &str, value: &Value) -> Result<Value, String> {
    Expression::compile(source)?.evaluate(&[("self", value)])
}

fn to_cel(json: &Value) -> CelValue {
    match json {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => number
            .as_i64()
            .map(CelValue::Int)
            .or_else(|| number.as_f64().map(CelValue::Float))
            .unwrap_or(CelValue::Null),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, item)| (Key::String(Arc::new(key.clone())), to_cel(item)));
            CelValue::Map(Map { map: Arc::new(fields.collect::<HashMap<_, _>>()) })
        }
    }
}

fn to_json(value: &CelValue) -> Option<Value> {
    Some(match value {
        CelValue::Null => Value::Null,
        CelValue::Bool(flag) => Value::Bool(*flag),
        CelValue::Int(number) => Value::from(*number),
        CelValue::UInt(number) => Value::from(*number),
        CelValue::Float(number) => serde_json::Number::from_f64(*number).map(Value::Number)?,
        CelValue::String(text) => Value::String(text.to_string()),
        CelValue::List(items) => Value::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        CelValue::Map(map) => {
            let mut fields = std::collections::BTreeMap::new();
            for (key, item) in map.map.iter() {
                let Key::String(key) = key else { return None };
                fields.insert(key.to_string(), to_json(item)?);
            }
            Value::Object(fields.into_iter().collect())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Cases count and compare with these; a value that comes back changed would judge something else.
    #[test]
    fn values_go_in_and_come_back() {
        let object = json!({"items": [{"name": "a", "n": 1}, {"name": "b", "n": 2}], "q": "5Mi"});
        for (source, expected) in [
            ("size(self.items)", json!(2)),
            ("self.items.filter(i, i.n > 1)[0]", json!({"name": "b", "n": 2})),
            ("self.items.map(i, i.name)", json!(["a", "b"])),
            ("quantity(self.q).isLessThan(quantity('1Gi'))", json!(true)),
        ] {
            assert_eq!(of_self(source, &object), Ok(expected), "{source}");
        }
        assert!(of_self("self.none", &object).is_err());
        assert!(of_self("1 +", &object).unwrap_err().contains("`1 +` is no CEL expression"));
    }
}
