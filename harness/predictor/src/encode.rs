//! Model outputs to JSON.
//!
//! Single precision numbers are written as the double that equals them, as Python clients and KServe's own server
//! write them; NaN and infinities are `null`, as JSON has no word for them.

use serde::Serialize;

use crate::tensor::{Data, Output, Tensor, Value};

/// Appends a tensor as nested arrays.
pub(crate) fn nested(out: &mut Vec<u8>, tensor: &Tensor) {
    block(out, &tensor.data, &tensor.shape, 0);
}

/// Appends one entry of a tensor's outermost axis as nested arrays.
pub(crate) fn row(out: &mut Vec<u8>, tensor: &Tensor, row: usize) {
    match tensor.shape.split_first() {
        Some((_, inner)) => block(out, &tensor.data, inner, row * inner.iter().product::<usize>()),
        None => element(out, &tensor.data, 0),
    }
}

/// Appends all values of a tensor as one array.
pub(crate) fn flat(out: &mut Vec<u8>, data: &Data) {
    block(out, data, &[data.len()], 0);
}

/// Appends a map as an object.
pub(crate) fn map(out: &mut Vec<u8>, entries: &[(String, f64)]) {
    out.push(b'{');
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json(out, key);
        out.push(b':');
        json(out, value);
    }
    out.push(b'}');
}

/// Appends any serialisable value.
pub(crate) fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing texts and numbers to memory cannot fail.
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(%error, "value cannot be written as JSON");
        out.extend_from_slice(b"null");
    }
}

fn block(out: &mut Vec<u8>, data: &Data, shape: &[usize], start: usize) {
    let Some((&count, inner)) = shape.split_first() else { return element(out, data, start) };
    let step: usize = inner.iter().product();
    out.push(b'[');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        block(out, data, inner, start + index * step);
    }
    out.push(b']');
}

fn element(out: &mut Vec<u8>, data: &Data, index: usize) {
    match data {
        Data::Bool(values) => json(out, &values[index]),
        Data::Uint8(values) => json(out, &values[index]),
        Data::Uint16(values) => json(out, &values[index]),
        Data::Uint32(values) => json(out, &values[index]),
        Data::Uint64(values) => json(out, &values[index]),
        Data::Int8(values) => json(out, &values[index]),
        Data::Int16(values) => json(out, &values[index]),
        Data::Int32(values) => json(out, &values[index]),
        Data::Int64(values) => json(out, &values[index]),
        Data::Fp16(values) => json(out, &values[index].to_f64()),
        Data::Bf16(values) => json(out, &values[index].to_f64()),
        Data::Fp32(values) => json(out, &f64::from(values[index])),
        Data::Fp64(values) => json(out, &values[index]),
        Data::Bytes(values) => json(out, &values[index]),
    }
}

impl Output {
    /// Number of rows; `None` for a single value.
    pub(crate) fn rows(&self) -> Option<usize> {
        match &self.value {
            Value::Tensor(tensor) => tensor.shape.first().copied(),
            Value::Maps(maps) => Some(maps.len()),
            Value::Tensors(tensors) => Some(tensors.len()),
        }
    }

    /// Appends one row; of a single value, that value.
    pub(crate) fn write_row(&self, out: &mut Vec<u8>, index: usize) {
        match &self.value {
            Value::Tensor(tensor) => row(out, tensor, index),
            Value::Maps(maps) => map(out, &maps[index]),
            Value::Tensors(tensors) => nested(out, &tensors[index]),
        }
    }

    /// Appends all of it.
    pub(crate) fn write_whole(&self, out: &mut Vec<u8>) {
        match self.rows() {
            None => self.write_row(out, 0),
            Some(rows) => {
                out.push(b'[');
                for index in 0..rows {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.write_row(out, index);
                }
                out.push(b']');
            }
        }
    }
}
