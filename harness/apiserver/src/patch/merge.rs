//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use super::PatchError;

/// Applies a patch document.
///
/// # Errors
/// [`PatchError::Malformed`] when the document is no object.
pub(crate) fn apply(current: &Value, document: &Value) -> Result<Value, PatchError> {
    if document.is_null() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    if !document.is_object() {
        let found = crate::schema::decode::json_type(document);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        )));
    }
    let mut object = current.clone();
    merge(&mut object, document);
    Ok(object)
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.shift_remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
