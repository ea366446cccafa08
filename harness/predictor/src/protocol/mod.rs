//! The inference protocols as pure functions: request bytes and a model's inputs to tensors, a model's outputs to
//! response bytes.

pub(crate) mod v1;
pub(crate) mod v2;

use crate::{
    error::RequestError,
    tensor::{Tensor, TensorSpec},
};

/// Parses JSON, whatever the content type says.
fn parse<'de, T: serde::Deserialize<'de>>(body: &'de [u8]) -> Result<T, RequestError> {
    if body.is_empty() {
        return Err(RequestError::Format("the body is empty; send a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| RequestError::Format(error.to_string()))
}

/// Checks a tensor against what the model declares for it, and adds the last axis of size 1 that a list of single
/// values lacks.
fn fit(spec: &TensorSpec, mut tensor: Tensor) -> Result<Tensor, RequestError> {
    if spec.shape.is_empty() {
        // The model says nothing about the shape.
        return Ok(tensor);
    }
    if tensor.shape.len() + 1 == spec.shape.len() && spec.shape.last() == Some(&1) {
        tensor.shape.push(1);
    }
    let fits = tensor.shape.len() == spec.shape.len()
        && spec
            .shape
            .iter()
            .zip(&tensor.shape)
            .all(|(&expected, &got)| expected < 0 || usize::try_from(expected) == Ok(got));
    if fits {
        return Ok(tensor);
    }
    Err(RequestError::Invalid(format!(
        "input \"{}\" expects the shape {:?}, got {:?}; -1 stands for any size",
        spec.name, spec.shape, tensor.shape
    )))
}

/// Names for a message: `"a", "b"`.
fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn names(specs: &[TensorSpec]) -> String {
    quoted(specs.iter().map(|spec| &*spec.name))
}
