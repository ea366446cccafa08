//! The functions that a condition can call.

use super::super::super::value::Value;
use super::condition::ConditionError;
use super::evaluator::undefined;

/// The number that a value is; `None` = it is none.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Calls a function.
pub(super) fn call(
    function: &'static str,
    arguments: &[Value],
    result: &Value,
) -> Result<Value, ConditionError> {
    let first = arguments.first().unwrap_or(&Value::Nil);
    let wrong = || undefined(function, first);
    let count = match function {
        "default" => 2,
        "min" | "max" | "sum" | "mean" | "median" => arguments.len().max(1),
        _ => 1,
    };
    if arguments.len() != count {
        let message = format!("{function} takes {count} arguments, found {}", arguments.len());
        return Err(ConditionError::Syntax { at: 0, message });
    }
    Ok(match function {
        "len" => Value::Int(length(first).ok_or_else(wrong)?),
        "isNaN" => Value::Bool(number(first).ok_or_else(wrong)?.is_nan()),
        "isInf" => Value::Bool(number(first).ok_or_else(wrong)?.is_infinite()),
        // Argo's own two look at the result, whatever they are given.
        "isNil" => Value::Bool(*result == Value::Nil),
        "default" if *result == Value::Nil => arguments[1].clone(),
        "default" => result.clone(),
        "asInt" | "int" => Value::Int(whole(first, function)?),
        "asFloat" | "float" => Value::Float(match first {
            Value::Text(text) => text.trim().parse().map_err(|_| ConditionError::NoNumber(text.clone()))?,
            other => number(other).ok_or_else(wrong)?,
        }),
        "string" => Value::Text(first.to_string()),
        "upper" | "lower" | "trim" => {
            let Value::Text(text) = first else { return Err(wrong()) };
            Value::Text(match function {
                "upper" => text.to_uppercase(),
                "lower" => text.to_lowercase(),
                _ => text.trim().to_string(),
            })
        }
        "first" | "last" => {
            let Value::List(items) = first else { return Err(wrong()) };
            let item = if function == "first" { items.first() } else { items.last() };
            item.cloned().unwrap_or(Value::Nil)
        }
        "abs" => match first {
            Value::Int(number) => Value::Int(number.wrapping_abs()),
            other => Value::Float(number(other).ok_or_else(wrong)?.abs()),
        },
        "ceil" => Value::Float(number(first).ok_or_else(wrong)?.ceil()),
        "floor" => Value::Float(number(first).ok_or_else(wrong)?.floor()),
        "round" => Value::Float(number(first).ok_or_else(wrong)?.round()),
        _ => aggregate(function, arguments)?,
    })
}

fn length(value: &Value) -> Option<i64> {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => return None,
    };
    i64::try_from(length).ok()
}

fn whole(value: &Value, function: &str) -> Result<i64, ConditionError> {
    match value {
        Value::Int(number) => Ok(*number),
        // Cut off; what does not fit becomes the nearest that does, what is no number 0.
        Value::Float(number) => Ok(*number as i64),
        Value::Text(text) => text.parse().map_err(|_| ConditionError::NoNumber(text.clone())),
        other => Err(undefined(function, other)),
    }
}

/// `min`, `max`, `sum`, `mean` and `median` of numbers and lists of numbers.
fn aggregate(function: &'static str, arguments: &[Value]) -> Result<Value, ConditionError> {
    let mut numbers = Vec::new();
    let mut are_whole = true;
    let flat = arguments.iter().flat_map(|argument| match argument {
        Value::List(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    });
    for item in flat {
        are_whole &= matches!(item, Value::Int(_));
        numbers.push(number(item).ok_or_else(|| undefined(function, item))?);
    }
    let value = match function {
        "min" => numbers.iter().copied().reduce(f64::min),
        "max" => numbers.iter().copied().reduce(f64::max),
        "sum" => Some(numbers.iter().sum()),
        "mean" => {
            are_whole = false;
            Some(if numbers.is_empty() { 0.0 } else { numbers.iter().sum::<f64>() / numbers.len() as f64 })
        }
        _ => {
            are_whole = false;
            Some(median(&mut numbers))
        }
    };
    let value = value.ok_or_else(|| undefined(function, &Value::List(Vec::new())))?;
    Ok(if are_whole { Value::Int(value as i64) } else { Value::Float(value) })
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => 0.0,
        length if length % 2 == 1 => numbers[middle],
        _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
    }
}
