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
    let Some(operations) = document.as_array() else {
        let found = crate::schema::decode::json_type(document);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
        )));
    };
    if operations.len() > LIMIT_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {LIMIT_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut object = current.clone();
    let mut copied = 0;
    for operation in operations {
        let operation: PatchOperation =
            serde_json::from_value(operation.clone()).map_err(|_| PatchError::Unfit)?;
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
