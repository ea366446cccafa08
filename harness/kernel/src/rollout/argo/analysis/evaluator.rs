//! From an expression to its value.

use std::cmp::Ordering;

use super::super::super::value::Value;
use super::condition::{ConditionError, MOST_STEPS};
use super::functions;
use super::parser::{Binary, Expression, Unary};
use super::pattern::Pattern;

/// Longest text that comes out of a sum.
const MOST_TEXT: usize = 65_536;

/// A value, and whether it came out of data of any form: such values of different kinds are unequal, where others
/// cannot be compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) value: Value,
    is_any: bool,
}

impl From<Value> for Operand {
    fn from(value: Value) -> Self {
        Self { value, is_any: false }
    }
}

/// Evaluates one condition.
pub(super) struct Evaluator<'a> {
    result: &'a Value,
    /// Elements that predicates look at, innermost last.
    elements: Vec<Operand>,
    steps: u32,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(result: &'a Value) -> Self {
        Self { result, elements: Vec::new(), steps: 0 }
    }

    pub(super) fn value_of(&mut self, expression: &Expression) -> Result<Operand, ConditionError> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(ConditionError::TooLarge("more than a million steps"));
        }
        Ok(match expression {
            Expression::Literal(value) => value.clone().into(),
            Expression::List(items) => {
                let items = items.iter().map(|item| self.value_of(item).map(|item| item.value));
                Value::List(items.collect::<Result<_, _>>()?).into()
            }
            Expression::Result => {
                self.charge(self.result)?;
                self.result.clone().into()
            }
            Expression::Element => {
                let element = self.elements.last().cloned();
                element.ok_or_else(|| ConditionError::UnknownName("#".to_string()))?
            }
            Expression::Member(base, name, is_optional) => {
                let base = self.value_of(base)?;
                if *is_optional && base.value == Value::Nil {
                    return Ok(base);
                }
                element_of(&base, &Value::Text(name.clone()))?
            }
            Expression::Index(base, index) => {
                let base = self.value_of(base)?;
                let index = self.value_of(index)?;
                element_of(&base, &index.value)?
            }
            Expression::Slice(base, from, to) => self.slice(base, from.as_deref(), to.as_deref())?,
            Expression::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| self.value_of(argument).map(|it| it.value));
                let arguments: Vec<Value> = arguments.collect::<Result<_, _>>()?;
                functions::call(function, &arguments, self.result)?.into()
            }
            Expression::Each(function, list, predicate) => self.each(function, list, predicate)?.into(),
            Expression::Unary(operator, operand) => unary(*operator, self.value_of(operand)?.value)?.into(),
            Expression::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expression::Choice(condition, yes, no) => {
                let chosen = if self.truth_of(condition)? { yes } else { no };
                self.value_of(chosen)?
            }
        })
    }

    /// Large results cost their size each time that they are looked at.
    fn charge(&mut self, value: &Value) -> Result<(), ConditionError> {
        let size = match value {
            Value::List(items) => items.len(),
            Value::Map(entries) => entries.len(),
            _ => 0,
        };
        self.steps = self.steps.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
        if self.steps > MOST_STEPS {
            return Err(ConditionError::TooLarge("more than a million steps"));
        }
        Ok(())
    }

    fn truth_of(&mut self, expression: &Expression) -> Result<bool, ConditionError> {
        match self.value_of(expression)?.value {
            Value::Bool(truth) => Ok(truth),
            other => Err(ConditionError::NotBool(other.kind())),
        }
    }

    fn slice(
        &mut self,
        base: &Expression,
        from: Option<&Expression>,
        to: Option<&Expression>,
    ) -> Result<Operand, ConditionError> {
        let base = self.value_of(base)?;
        let Value::List(items) = &base.value else { return Err(undefined("[:]", &base.value)) };
        let mut end = |expression: Option<&Expression>, or: usize| {
            let Some(expression) = expression else { return Ok(or) };
            match self.value_of(expression)?.value {
                Value::Int(index) => Ok(position(index, items.len()).min(items.len())),
                other => Err(undefined("[:]", &other)),
            }
        };
        let (from, to) = (end(from, 0)?, end(to, items.len())?);
        let items = items.get(from..to.max(from)).unwrap_or_default().to_vec();
        Ok(Operand { value: Value::List(items), is_any: base.is_any })
    }

    fn each(
        &mut self,
        function: &'static str,
        list: &Expression,
        predicate: &Expression,
    ) -> Result<Value, ConditionError> {
        let list = self.value_of(list)?;
        let Value::List(items) = &list.value else { return Err(undefined(function, &list.value)) };
        let mut kept = Vec::new();
        let mut holds = 0_i64;
        for (index, item) in items.iter().enumerate() {
            let element = element_of(&list, &Value::Int(i64::try_from(index).unwrap_or(i64::MAX)))?;
            self.elements.push(element);
            let answer = self.value_of(predicate);
            self.elements.pop();
            match answer?.value {
                value if function == "map" => kept.push(value),
                Value::Bool(truth) => {
                    holds += i64::from(truth);
                    if truth && function == "filter" {
                        kept.push(item.clone());
                    }
                }
                other => return Err(ConditionError::NotBool(other.kind())),
            }
        }
        let all = i64::try_from(items.len()).unwrap_or(i64::MAX);
        Ok(match function {
            "all" => Value::Bool(holds == all),
            "any" => Value::Bool(holds > 0),
            "none" => Value::Bool(holds == 0),
            "one" => Value::Bool(holds == 1),
            "count" => Value::Int(holds),
            _ => Value::List(kept),
        })
    }

    fn binary(
        &mut self,
        operator: Binary,
        left: &Expression,
        right: &Expression,
    ) -> Result<Operand, ConditionError> {
        match operator {
            Binary::And => return Ok(Value::Bool(self.truth_of(left)? && self.truth_of(right)?).into()),
            Binary::Or => return Ok(Value::Bool(self.truth_of(left)? || self.truth_of(right)?).into()),
            _ => {}
        }
        let left = self.value_of(left)?;
        if operator == Binary::OrElse {
            return if left.value == Value::Nil { self.value_of(right) } else { Ok(left) };
        }
        let right = self.value_of(right)?;
        self.charge(&right.value)?;
        let value = match operator {
            Binary::Equal => Value::Bool(equal(&left, &right)?),
            Binary::NotEqual => Value::Bool(!equal(&left, &right)?),
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                Value::Bool(ordered(operator, &left.value, &right.value)?)
            }
            Binary::In => Value::Bool(is_in(&left.value, &right.value)?),
            Binary::Contains | Binary::StartsWith | Binary::EndsWith | Binary::Matches => {
                Value::Bool(compare_texts(operator, &left.value, &right.value)?)
            }
            _ => arithmetic(operator, &left.value, &right.value)?,
        };
        Ok(value.into())
    }
}

/// An index from the start, or from the end where it is negative.
fn position(index: i64, length: usize) -> usize {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = if index < 0 { index.saturating_add(length) } else { index };
    usize::try_from(from_start.max(0)).unwrap_or(usize::MAX)
}

fn element_of(base: &Operand, key: &Value) -> Result<Operand, ConditionError> {
    match (&base.value, key) {
        (Value::List(items), Value::Int(index)) => {
            let is_there = *index >= 0 || index.unsigned_abs() <= items.len() as u64;
            let item = items.get(position(*index, items.len())).filter(|_| is_there);
            let value =
                item.ok_or(ConditionError::OutOfRange { index: *index, length: items.len() })?.clone();
            // A list of numbers, as Prometheus has it, is typed; any other list is not.
            let is_typed = !base.is_any && items.iter().all(|item| matches!(item, Value::Float(_)));
            Ok(Operand { value, is_any: !is_typed })
        }
        (Value::Map(entries), Value::Text(name)) => {
            Ok(Operand { value: entries.get(name).cloned().unwrap_or(Value::Nil), is_any: true })
        }
        (base, Value::Text(name)) => Err(undefined(&format!(".{name}"), base)),
        (base, _) => Err(undefined("[]", base)),
    }
}

fn equal(left: &Operand, right: &Operand) -> Result<bool, ConditionError> {
    match (&left.value, &right.value) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(left.value == right.value),
        (a, b) if is_same(a, b).is_some() => Ok(is_same(a, b) == Some(true)),
        _ if left.is_any || right.is_any => Ok(false),
        (a, b) => Err(mismatch("==", a, b)),
    }
}

/// Whether two values are the same; `None` = they are of kinds that do not compare.
fn is_same(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a == b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Some(functions::number(left) == functions::number(right))
        }
        (Value::List(a), Value::List(b)) => {
            Some(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b) == Some(true)))
        }
        (a, b) if a.kind() == b.kind() => Some(a == b),
        _ => None,
    }
}

fn ordered(operator: Binary, left: &Value, right: &Value) -> Result<bool, ConditionError> {
    let order = match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => match (functions::number(left), functions::number(right)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => return Err(mismatch(symbol(operator), left, right)),
        },
    };
    Ok(match operator {
        Binary::Less => order == Some(Ordering::Less),
        Binary::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Binary::Greater => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn is_in(needle: &Value, haystack: &Value) -> Result<bool, ConditionError> {
    match (needle, haystack) {
        (needle, Value::List(items)) => Ok(items.iter().any(|item| is_same(needle, item) == Some(true))),
        (Value::Text(name), Value::Map(entries)) => Ok(entries.contains_key(name)),
        (_, Value::Nil) => Ok(false),
        (needle, haystack) => Err(mismatch("in", needle, haystack)),
    }
}

fn compare_texts(operator: Binary, left: &Value, right: &Value) -> Result<bool, ConditionError> {
    let (Value::Text(text), Value::Text(part)) = (left, right) else {
        return Err(mismatch(symbol(operator), left, right));
    };
    Ok(match operator {
        Binary::Contains => text.contains(part.as_str()),
        Binary::StartsWith => text.starts_with(part.as_str()),
        Binary::EndsWith => text.ends_with(part.as_str()),
        _ => Pattern::parse(part).ok_or_else(|| undefined("matches", right))?.matches(text),
    })
}

fn unary(operator: Unary, value: Value) -> Result<Value, ConditionError> {
    match (operator, value) {
        (Unary::Not, Value::Bool(truth)) => Ok(Value::Bool(!truth)),
        (Unary::Minus, Value::Int(number)) => Ok(Value::Int(number.wrapping_neg())),
        (Unary::Minus, Value::Float(number)) => Ok(Value::Float(-number)),
        (Unary::Plus, value @ (Value::Int(_) | Value::Float(_))) => Ok(value),
        (Unary::Not, value) => Err(undefined("!", &value)),
        (Unary::Minus, value) => Err(undefined("-", &value)),
        (Unary::Plus, value) => Err(undefined("+", &value)),
    }
}

fn arithmetic(operator: Binary, left: &Value, right: &Value) -> Result<Value, ConditionError> {
    let wrong = || mismatch(symbol(operator), left, right);
    match (operator, left, right) {
        (Binary::Add, Value::Text(a), Value::Text(b)) if a.len() + b.len() <= MOST_TEXT => {
            Ok(Value::Text(format!("{a}{b}")))
        }
        (Binary::Add, Value::Text(_), Value::Text(_)) => Err(ConditionError::TooLarge("text")),
        (Binary::Add, Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_add(*b))),
        (Binary::Subtract, Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_sub(*b))),
        (Binary::Multiply, Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_mul(*b))),
        (Binary::Remainder, Value::Int(_), Value::Int(0)) => Err(ConditionError::DivideByZero),
        (Binary::Remainder, Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_rem(*b))),
        (Binary::Remainder, ..) => Err(wrong()),
        _ => {
            let (a, b) = functions::number(left).zip(functions::number(right)).ok_or_else(wrong)?;
            Ok(Value::Float(match operator {
                Binary::Add => a + b,
                Binary::Subtract => a - b,
                Binary::Multiply => a * b,
                Binary::Divide => a / b,
                _ => power(a, b)?,
            }))
        }
    }
}

/// By multiplying, so that it is the same on every machine: whole exponents only.
fn power(base: f64, exponent: f64) -> Result<f64, ConditionError> {
    if exponent.fract() != 0.0 || exponent.abs() > 1024.0 {
        return Err(ConditionError::TooLarge("an exponent must be a whole number of at most 1024"));
    }
    let product = (0..exponent.abs() as u32).fold(1.0, |product, _| product * base);
    Ok(if exponent < 0.0 { 1.0 / product } else { product })
}

fn symbol(operator: Binary) -> &'static str {
    match operator {
        Binary::Or => "||",
        Binary::And => "&&",
        Binary::Equal => "==",
        Binary::NotEqual => "!=",
        Binary::Less => "<",
        Binary::LessEqual => "<=",
        Binary::Greater => ">",
        Binary::GreaterEqual => ">=",
        Binary::In => "in",
        Binary::Contains => "contains",
        Binary::StartsWith => "startsWith",
        Binary::EndsWith => "endsWith",
        Binary::Matches => "matches",
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::Remainder => "%",
        Binary::Power => "**",
        Binary::OrElse => "??",
    }
}

pub(super) fn undefined(what: &str, value: &Value) -> ConditionError {
    ConditionError::Undefined { what: what.to_string(), kind: value.kind() }
}

fn mismatch(operator: &str, left: &Value, right: &Value) -> ConditionError {
    ConditionError::Mismatch { operator: operator.to_string(), left: left.kind(), right: right.kind() }
}
