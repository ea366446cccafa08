//! Expressions of the Common Expression Language, with Kubernetes' library, over JSON values.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube_cel::{
    KubeCelExt as _,
    cel::{
        Context, ExecutionError, Program,
        common::ast::Expr,
        objects::{Key, Map, OptionalValue},
    },
};
use serde_json::Value;

pub(crate) use kube_cel::cel::Value as CelValue;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
}

impl Expression {
    /// # Errors
    /// The compiler's complaint, with the place.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| {
            let lines: Vec<String> = errors
                .errors
                .iter()
                .map(|error| {
                    let (line, column) = (error.pos.0.max(1), error.pos.1.max(1));
                    let text = usize::try_from(line - 1).ok().and_then(|line| source.lines().nth(line));
                    let dots = ".".repeat(usize::try_from(column - 1).unwrap_or_default().min(source.len()));
                    format!(
                        "ERROR: <input>:{line}:{column}: {}\n | {}\n | {dots}^",
                        error.msg,
                        text.unwrap_or_default()
                    )
                })
                .collect();
            lines.join("\n")
        })?;
        Ok(Self { program })
    }

    /// Compiles, or takes what has been compiled before: schemas and configurations are read again and again.
    ///
    /// # Errors
    /// As [`Expression::compile`].
    pub(crate) fn shared(source: &str) -> Result<Arc<Self>, String> {
        type Known = HashMap<String, Arc<Expression>>;
        static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
        const REMEMBERED: usize = 4_096;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(expression) = known.get(source) {
            return Ok(Arc::clone(expression));
        }
        let expression = Arc::new(Self::compile(source)?);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(source.to_owned(), Arc::clone(&expression));
        Ok(expression)
    }

    /// Every path of plain fields that the expression reads, e.g. `self`, `spec`, `replicas`.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        collect_paths(&self.program.expression().expr, &mut paths);
        paths
    }

    /// The path, if the expression is nothing but one.
    pub(crate) fn whole_path(&self) -> Option<Vec<String>> {
        path(&self.program.expression().expr)
    }

    /// Whether the expression names a variable.
    pub(crate) fn names(&self, variable: &str) -> bool {
        self.program.references().has_variable(variable)
    }

    /// Evaluates with these variables.
    ///
    /// # Errors
    /// What went wrong, in the words of the real server where they are known.
    pub(crate) fn evaluate(&self, variables: &[(&str, CelValue)]) -> Result<CelValue, String> {
        let mut context = Context::default().with_all();
        for (name, value) in variables {
            context.add_variable_from_value(*name, value.clone());
        }
        self.program.execute(&context).map_err(|error| match error {
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
            ExecutionError::NoSuchOverload => "no such overload".to_owned(),
            ExecutionError::FunctionError { message, .. } => message,
            ExecutionError::IndexOutOfBounds(index) => match index {
                CelValue::Int(index) => format!("index out of bounds: {index}"),
                _ => "index out of bounds".to_owned(),
            },
            other => other.to_string(),
        })
    }
}

fn path(expression: &Expr) -> Option<Vec<String>> {
    match expression {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) if !select.test => {
            let mut found = path(&select.operand.expr)?;
            found.push(select.field.clone());
            Some(found)
        }
        _ => None,
    }
}

fn collect_paths(expression: &Expr, paths: &mut Vec<Vec<String>>) {
    if let Some(found) = path(expression) {
        paths.push(found);
        return;
    }
    match expression {
        Expr::Select(select) => collect_paths(&select.operand.expr, paths),
        Expr::Call(call) => {
            let target = call.target.iter().map(|target| &target.expr);
            target
                .chain(call.args.iter().map(|argument| &argument.expr))
                .for_each(|part| collect_paths(part, paths));
        }
        Expr::List(list) => list.elements.iter().for_each(|element| collect_paths(&element.expr, paths)),
        _ => {}
    }
}

/// An optional value, as `optionalOldSelf` gives it.
pub(crate) fn optional(value: Option<CelValue>) -> CelValue {
    CelValue::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// A JSON value as expressions see it.
pub(crate) fn value(json: &Value) -> CelValue {
    match json {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => number
            .as_i64()
            .map(CelValue::Int)
            .or_else(|| number.as_f64().map(CelValue::Float))
            .unwrap_or(CelValue::Null),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(value).collect())),
        Value::Object(fields) => map(fields.iter().map(|(key, item)| (key.clone(), value(item)))),
    }
}

/// A map with string keys.
pub(crate) fn map(fields: impl Iterator<Item = (String, CelValue)>) -> CelValue {
    let map: HashMap<Key, CelValue> = fields.map(|(key, item)| (Key::String(Arc::new(key)), item)).collect();
    CelValue::Map(Map { map: Arc::new(map) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn check(source: &str, object: Value, expected: Result<bool, &str>) {
        let found = Expression::compile(source).unwrap().evaluate(&[("object", value(&object))]);
        let found = found.map(|value| matches!(value, CelValue::Bool(true)));
        assert_eq!(found, expected.map_err(ToOwned::to_owned), "{source}");
    }

    #[test]
    fn expressions_see_objects() {
        check("has(object.data) && 'x' in object.data", json!({"data": {"x": "1"}}), Ok(true));
        check("has(object.data) && 'x' in object.data", json!({}), Ok(false));
        check("object.data.x == '1'", json!({"data": {}}), Err("no such key: x"));
        check("object.n > 2 && object.n < 3.5", json!({"n": 3}), Ok(true));
        check("quantity(object.q).isLessThan(quantity('1Gi'))", json!({"q": "5Mi"}), Ok(true));
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = Expression::compile("1 +").unwrap_err();
        assert!(error.starts_with("ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>'"), "{error}");
        assert!(error.ends_with("\n | 1 +\n | ...^"), "{error}");
    }
}
