//! JSON patch (RFC 6902).

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::PatchError;

/// Operations in one patch.
const LIMIT_OPERATIONS: usize = 10_000;
/// Text of the object that a patch makes: copies can double it with each operation.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Applies a patch document.
///
/// # Errors
/// [`PatchError::Malformed`] when it is no list, [`PatchError::Unfit`] when an operation fails.
pub(crate) fn apply(current: &Value, document: &Value) -> Result<Value, PatchError> {
    if document.is_null() {
        return Ok(current.clone());
    }
    let Some(operations) = document.as_array() else {
        let found = crate::schema::decode::json_type(document);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )));
    };
    operations.iter().try_for_each(check_types)?;
    if operations.len() > LIMIT_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {LIMIT_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut object = current.clone();
    let mut copied = 0;
    for operation in operations {
        let mut operation = operation.clone();
        if operation["op"] == "test" && operation["value"].is_null() {
            // What is not there is null.
            let path = operation["path"].as_str().ok_or(PatchError::Unfit)?;
            let parent = path.rsplit_once('/').map(|(parent, _)| parent).ok_or(PatchError::Unfit)?;
            let is_map = object.pointer(parent).is_some_and(Value::is_object);
            if is_map && object.pointer(path).is_none_or(Value::is_null) {
                continue;
            }
        }
        // A value that is left out is null.
        if operation["op"] == "add"
            && let Some(map) = operation.as_object_mut()
        {
            map.entry("value").or_insert(Value::Null);
        }
        let operation: PatchOperation = serde_json::from_value(operation).map_err(|_| PatchError::Unfit)?;
        if let PatchOperation::Copy(copy) = &operation {
            copied += object.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied > LIMIT_BYTES {
                return Err(PatchError::TooLarge("the patch copies too much".into()));
            }
        }
        json_patch::patch(&mut object, &Patch(vec![operation])).map_err(|_| PatchError::Unfit)?;
    }
    if object.is_object() { Ok(object) } else { Err(PatchError::Unfit) }
}

/// An operation is a map, and its `op`, `path` and `from` are text.
fn check_types(operation: &Value) -> Result<(), PatchError> {
    let mismatch = |found: &Value, place: &str| {
        let found = crate::schema::decode::json_type(found);
        PatchError::Malformed(format!("error decoding patch: json: cannot unmarshal {found} into Go {place}"))
    };
    match operation {
        Value::Null => Ok(()),
        Value::Object(fields) => {
            ["op", "path", "from"].into_iter().try_for_each(|field| match fields.get(field) {
                None | Some(Value::Null | Value::String(_)) => Ok(()),
                Some(other) => {
                    Err(mismatch(other, &format!("struct field jsonPatchOp.{field} of type string")))
                }
            })
        }
        other => Err(mismatch(other, "value of type handlers.jsonPatchOp")),
    }
}
