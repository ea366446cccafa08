//! Rules for label selectors, wherever they stand.

use serde_json::Value;

use crate::{
    kinds::names::{check_label_value, check_labels, qualified_name_faults},
    object::{list, text},
    status::FieldError,
};

/// How labels are selected; nodes also by numbers that are greater or less.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];
pub(super) const NODE_OPERATORS: [&str; 6] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];

/// A `LabelSelector` at `field`; whether a selector can be made of it.
pub(super) fn label_selector(selector: &Value, field: &str, errors: &mut Vec<FieldError>) -> bool {
    let before = errors.len();
    check_labels(selector.get("matchLabels"), &format!("{field}.matchLabels"), errors);
    for (index, expression) in list(selector, &["matchExpressions"]).iter().enumerate() {
        requirement(expression, &OPERATORS, true, &format!("{field}.matchExpressions[{index}]"), errors);
    }
    errors.len() == before
}

/// What is asked of one label, with one of these operators; the values are not always looked at.
pub(super) fn requirement(
    expression: &Value,
    operators: &[&str],
    checks_values: bool,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    let values = list(expression, &["values"]);
    match text(expression, &["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(format!("{field}.values"), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(format!("{field}.values"), why));
        }
        "Gt" | "Lt" if operators.contains(&"Gt") && values.len() != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(format!("{field}.values"), why));
        }
        known if operators.contains(&known) => {}
        other => {
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(format!("{field}.operator"), &other.into(), why));
        }
    }
    label_name(text(expression, &["key"]), &format!("{field}.key"), errors);
    for (index, value) in values.iter().enumerate().filter(|_| checks_values) {
        if let Err(why) = value.as_str().map_or(Ok(()), check_label_value) {
            errors.push(FieldError::invalid(format!("{field}.values[{index}]"), value, why));
        }
    }
}

/// The key of a label at `field`.
pub(super) fn label_name(key: &str, field: &str, errors: &mut Vec<FieldError>) {
    for why in qualified_name_faults(key) {
        errors.push(FieldError::invalid(field, &key.into(), &why));
    }
}
