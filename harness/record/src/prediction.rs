//! Whether an answer is the reference prediction of the version that gave it.

use serde_json::Value;

/// Relative difference that two runtimes' arithmetic may have on the same model.
const RELATIVE: f64 = 1e-3;
/// Absolute difference for numbers close to zero.
const ABSOLUTE: f64 = 1e-5;

/// Whether `actual` holds everything that `expected` says: members of objects by name (members that `expected` does not
/// name are free), lists by length and position, numbers within a relative 1e-3 or an absolute 1e-5, all else exactly.
///
/// ```
/// use serde_json::json;
/// use windtunnel_record::predictions_equal;
///
/// assert!(predictions_equal(&json!({"predictions": [0.25]}), &json!({"predictions": [0.250001], "model_name": "m"})));
/// assert!(!predictions_equal(&json!({"predictions": [1]}), &json!({"predictions": [1, 1]})));
/// ```
#[must_use]
pub fn predictions_equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(expected), Value::Number(actual)) => {
            let (Some(expected), Some(actual)) = (expected.as_f64(), actual.as_f64()) else { return false };
            (expected - actual).abs() <= ABSOLUTE.max(RELATIVE * expected.abs())
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(e, a)| predictions_equal(e, a))
        }
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .all(|(key, value)| actual.get(key).is_some_and(|found| predictions_equal(value, found))),
        _ => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A class label is an integer: off by one is a wrong prediction, not rounding.
    #[test]
    fn labels_are_exact_and_probabilities_are_close() {
        let reference = json!({"predictions": [{"label": 3, "probabilities": [0.9, 1e-9]}]});
        assert!(predictions_equal(
            &reference,
            &json!({"predictions": [{"label": 3, "probabilities": [0.90001, 3e-9]}]})
        ));
        assert!(!predictions_equal(
            &reference,
            &json!({"predictions": [{"label": 4, "probabilities": [0.9, 1e-9]}]})
        ));
        assert!(!predictions_equal(
            &reference,
            &json!({"predictions": [{"label": 3, "probabilities": [0.91, 1e-9]}]})
        ));
        assert!(!predictions_equal(&reference, &json!({"predictions": []})));
        assert!(!predictions_equal(&reference, &json!({"error": "no"})));
    }

    #[test]
    fn not_a_number_is_never_equal_to_a_number() {
        assert!(!predictions_equal(&json!([1.0]), &json!([null])));
        assert!(predictions_equal(&json!([null, "x", true]), &json!([null, "x", true])));
    }
}
