//! The V1 protocol (TensorFlow Serving's REST API): `{"instances": [row, …]}` to `{"predictions": [row, …]}`.
//!
//! A row is an array (or a single value), or an object keyed by input name. Where every input of a model is a
//! column, a row may also be an array with one value for each input. `{"inputs": {name: column}}` gives whole
//! columns. `inputs` wins over `instances`, as in KServe.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{fit, names, parse, quoted};
use crate::{
    decode::{Decoder, tensor},
    encode,
    error::RequestError,
    tensor::{Output, Tensor, TensorSpec},
};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    instances: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    /// No rows at all.
    Nothing,
    /// One tensor for each input, in the order of the model.
    Tensors(Vec<Tensor>),
}

/// Decodes a request for a model with these inputs.
pub(crate) fn decode(body: &[u8], inputs: &[TensorSpec]) -> Result<Asked, RequestError> {
    let request: Request<'_> = parse(body)?;
    let (member, rows) = match (request.inputs, request.instances) {
        (Some(inputs), _) => ("inputs", inputs),
        (None, Some(instances)) => ("instances", instances),
        (None, None) => {
            return Err(RequestError::Invalid(
                "the body has neither \"instances\" nor \"inputs\"; send {\"instances\": [row, …]}"
                    .to_owned(),
            ));
        }
    };
    let text = rows.get();
    if member == "inputs" && text.starts_with('{') {
        return columns(rows, inputs).map(Asked::Tensors);
    }
    let Some(inside) = text.strip_prefix('[') else {
        return Err(RequestError::Invalid(format!(
            "expected \"{member}\" to be a list of rows, got {}",
            shown(text)
        )));
    };
    match inside.trim_start().as_bytes().first() {
        Some(b']') => Ok(Asked::Nothing),
        Some(b'{') => named_rows(rows, member, inputs).map(Asked::Tensors),
        _ => array_rows(rows, member, inputs).map(Asked::Tensors),
    }
}

fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// The whole column of each input.
fn columns(columns: &RawValue, inputs: &[TensorSpec]) -> Result<Vec<Tensor>, RequestError> {
    let columns: BTreeMap<String, &RawValue> = parse(columns.get().as_bytes())?;
    refuse_unknown(columns.keys(), "\"inputs\"", inputs)?;
    inputs
        .iter()
        .map(|spec| {
            let column = columns.get(&spec.name).ok_or_else(|| missing(spec, "\"inputs\"", inputs))?;
            let tensor = tensor(column, spec.datatype)
                .map_err(|fault| RequestError::Invalid(format!("input \"{}\": {fault}", spec.name)))?;
            fit(spec, tensor)
        })
        .collect()
}

/// Rows that are objects keyed by input name.
fn named_rows(rows: &RawValue, member: &str, inputs: &[TensorSpec]) -> Result<Vec<Tensor>, RequestError> {
    let rows: Vec<BTreeMap<String, &RawValue>> = parse(rows.get().as_bytes()).map_err(|_format| {
        RequestError::Invalid(format!("\"{member}\": the first row is an object, so every row must be one"))
    })?;
    for (index, row) in rows.iter().enumerate() {
        refuse_unknown(row.keys(), &format!("{member}[{index}]"), inputs)?;
    }
    inputs
        .iter()
        .map(|spec| {
            let mut decoder = Decoder::new(spec.datatype);
            for (index, row) in rows.iter().enumerate() {
                let place = format!("{member}[{index}]");
                let value = row.get(&spec.name).ok_or_else(|| missing(spec, &place, inputs))?;
                decoder.push(value).map_err(|fault| {
                    RequestError::Invalid(format!("{place}, input \"{}\": {fault}", spec.name))
                })?;
            }
            fit(spec, decoder.stacked())
        })
        .collect()
}

/// Rows that are arrays or single values.
fn array_rows(rows: &RawValue, member: &str, inputs: &[TensorSpec]) -> Result<Vec<Tensor>, RequestError> {
    if let [spec] = inputs {
        let tensor = tensor(rows, spec.datatype).map_err(|fault| {
            RequestError::Invalid(format!("\"{member}\", input \"{}\": {fault}", spec.name))
        })?;
        return Ok(vec![fit(spec, tensor)?]);
    }
    if !inputs.iter().all(is_column) {
        return Err(RequestError::Invalid(format!(
            "the model has the inputs {}; give each row of \"{member}\" as an object keyed by input name",
            names(inputs)
        )));
    }
    let rows: Vec<Vec<&RawValue>> = parse(rows.get().as_bytes()).map_err(|_format| {
        RequestError::Invalid(format!(
            "every row of \"{member}\" must be an array with one value for each of the inputs {}, or an object keyed by input name",
            names(inputs)
        ))
    })?;
    if let Some((index, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != inputs.len()) {
        return Err(RequestError::Invalid(format!(
            "{member}[{index}] has {} values; the model has {} inputs: {}",
            row.len(),
            inputs.len(),
            names(inputs)
        )));
    }
    inputs
        .iter()
        .enumerate()
        .map(|(column, spec)| {
            let mut decoder = Decoder::new(spec.datatype);
            for (index, row) in rows.iter().enumerate() {
                decoder.push(row[column]).map_err(|fault| {
                    RequestError::Invalid(format!(
                        "{member}[{index}][{column}], input \"{}\": {fault}",
                        spec.name
                    ))
                })?;
            }
            fit(spec, decoder.stacked())
        })
        .collect()
}

/// One value a row.
fn is_column(spec: &TensorSpec) -> bool {
    matches!(*spec.shape, [_] | [_, 1])
}

fn missing(spec: &TensorSpec, place: &str, inputs: &[TensorSpec]) -> RequestError {
    RequestError::Invalid(format!(
        "{place} has no value for input \"{}\"; the model has the inputs {}",
        spec.name,
        names(inputs)
    ))
}

fn refuse_unknown<'a>(
    given: impl Iterator<Item = &'a String>,
    place: &str,
    inputs: &[TensorSpec],
) -> Result<(), RequestError> {
    let unknown: Vec<&str> =
        given.map(String::as_str).filter(|name| !inputs.iter().any(|spec| spec.name == **name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(RequestError::Invalid(format!(
        "{place} names {}; the model has the inputs {}",
        quoted(unknown),
        names(inputs)
    )))
}

/// Encodes the outputs: with one output its rows, with several one object a row keyed by output name. Single values
/// beside rows are repeated in each; outputs that don't agree on the number of rows come whole, in one object.
pub(crate) fn encode(outputs: &[Output]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"predictions":"#);
    match outputs {
        [] => out.extend_from_slice(b"[]"),
        [only] if only.rows().is_some() => only.write_whole(&mut out),
        [only] => {
            out.push(b'[');
            only.write_whole(&mut out);
            out.push(b']');
        }
        several => objects(&mut out, several),
    }
    out.push(b'}');
    out
}

fn objects(out: &mut Vec<u8>, outputs: &[Output]) {
    let mut counts: Vec<usize> = outputs.iter().filter_map(Output::rows).collect();
    counts.dedup();
    out.push(b'[');
    match *counts {
        [rows] => {
            for row in 0..rows {
                if row > 0 {
                    out.push(b',');
                }
                object(out, outputs, |output, out| output.write_row(out, row));
            }
        }
        _ => object(out, outputs, |output, out| output.write_whole(out)),
    }
    out.push(b']');
}

fn object(out: &mut Vec<u8>, outputs: &[Output], write: impl Fn(&Output, &mut Vec<u8>)) {
    out.push(b'{');
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode::json(out, &output.name);
        out.push(b':');
        write(output, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Data, Datatype, Value};

    fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec() }
    }

    fn matrix() -> Vec<TensorSpec> {
        vec![spec("X", Datatype::Fp32, &[-1, 2])]
    }

    fn people() -> Vec<TensorSpec> {
        vec![spec("name", Datatype::Bytes, &[-1, 1]), spec("age", Datatype::Int64, &[-1, 1])]
    }

    fn tensors(body: &str, inputs: &[TensorSpec]) -> Vec<Tensor> {
        match decode(body.as_bytes(), inputs) {
            Ok(Asked::Tensors(tensors)) => tensors,
            other => panic!("{body}: {other:?}"),
        }
    }

    fn fails(body: &str, inputs: &[TensorSpec], expected: &str) {
        let error = decode(body.as_bytes(), inputs).expect_err(body);
        assert_eq!(error.status(), 400, "{body}: {error}");
        assert!(error.to_string().contains(expected), "{body}: {error}");
    }

    /// Each of the ways in which clients write rows must mean the same rows.
    #[test]
    fn all_forms_of_rows_are_equal() {
        let expected = vec![Tensor { shape: vec![2, 2], data: Data::Fp32(vec![1.0, 2.0, 3.0, 4.0]) }];
        for body in [
            r#"{"instances": [[1,2],[3,4]]}"#,
            r#"{"inputs": [[1,2],[3,4]]}"#,
            r#"{"inputs": [[1,2],[3,4]], "instances": [[0,0]], "signature_name": "serving_default"}"#,
            r#"{"instances": [{"X":[1,2]},{"X":[3,4]}]}"#,
            r#"{"inputs": {"X": [[1,2],[3,4]]}}"#,
        ] {
            assert_eq!(tensors(body, &matrix()), expected, "{body}");
        }
        let expected = vec![
            Tensor { shape: vec![2, 1], data: Data::Bytes(vec!["ada".into(), "bob".into()]) },
            Tensor { shape: vec![2, 1], data: Data::Int64(vec![36, 7]) },
        ];
        for body in [
            r#"{"instances": [["ada",36],["bob",7]]}"#,
            r#"{"instances": [[["ada"],[36]],[["bob"],[7]]]}"#,
            r#"{"instances": [{"age":36,"name":"ada"},{"name":["bob"],"age":[7]}]}"#,
            r#"{"inputs": {"name": ["ada","bob"], "age": [[36],[7]]}}"#,
        ] {
            match body {
                // One object a row, of different shapes: refused, because it is one tensor a column.
                body if body.contains(r#"["bob"]"#) && body.contains("{\"age\"") => {
                    fails(
                        body,
                        &people(),
                        "instances[1], input \"name\": has the shape [1], those before it have []",
                    );
                }
                _ => assert_eq!(tensors(body, &people()), expected, "{body}"),
            }
        }
        assert_eq!(decode(br#"{"instances": [ ]}"#, &matrix()), Ok(Asked::Nothing));
    }

    /// A refused request must say which input, what it wants and what it got.
    #[test]
    fn faults_name_the_input() {
        fails("", &matrix(), "the body is empty");
        fails("{bad", &matrix(), "Unrecognized request format: ");
        fails("[1]", &matrix(), "Unrecognized request format: ");
        fails(r#"{"x":1}"#, &matrix(), "neither \"instances\" nor \"inputs\"");
        fails(
            r#"{"instances": "abc"}"#,
            &matrix(),
            r#"expected "instances" to be a list of rows, got "abc""#,
        );
        fails(r#"{"instances": [[1,2,3]]}"#, &matrix(), r#"input "X" expects the shape [-1, 2], got [1, 3]"#);
        fails(r#"{"instances": [1,2]}"#, &matrix(), r#"input "X" expects the shape [-1, 2], got [2]"#);
        fails(
            r#"{"instances": [["a",2]]}"#,
            &matrix(),
            r#""instances", input "X": expected FP32 numbers, got the string "a""#,
        );
        fails(
            r#"{"instances": [{"Y":1}]}"#,
            &matrix(),
            r#"instances[0] names "Y"; the model has the inputs "X""#,
        );
        fails(r#"{"instances": [{"name":"a"}]}"#, &people(), r#"instances[0] has no value for input "age""#);
        fails(r#"{"instances": [["a"]]}"#, &people(), "instances[0] has 1 values; the model has 2 inputs");
        fails(r#"{"instances": [["a","b"]]}"#, &people(), r#"instances[0][1], input "age": expected INT64"#);
        let images = [spec("a", Datatype::Fp32, &[-1, 2]), spec("b", Datatype::Fp32, &[-1, 2])];
        fails(r#"{"instances": [[1,2]]}"#, &images, "as an object keyed by input name");
    }

    fn output(name: &str, value: Value) -> Output {
        Output { name: name.to_owned(), value }
    }

    fn encoded(outputs: &[Output]) -> String {
        String::from_utf8(encode(outputs)).unwrap()
    }

    /// Clients read predictions by row; where the number of outputs changes, the form is the documented one.
    #[test]
    fn predictions_have_one_entry_a_row() {
        let label = output("label", Value::Tensor(Tensor { shape: vec![2], data: Data::Int64(vec![0, 2]) }));
        let scores = output(
            "scores",
            Value::Tensor(Tensor { shape: vec![2, 2], data: Data::Fp32(vec![0.1, 0.5, f32::NAN, 1.0]) }),
        );
        let scalar = output("sum", Value::Tensor(Tensor { shape: vec![], data: Data::Fp64(vec![6.0]) }));
        let maps = output("p", Value::Maps(vec![vec![("a".into(), 0.5)], vec![("a".into(), f64::INFINITY)]]));
        let three =
            output("three", Value::Tensor(Tensor { shape: vec![3], data: Data::Bool(vec![true; 3]) }));
        assert_eq!(encoded(std::slice::from_ref(&label)), r#"{"predictions":[0,2]}"#);
        assert_eq!(
            encoded(std::slice::from_ref(&scores)),
            r#"{"predictions":[[0.10000000149011612,0.5],[null,1.0]]}"#
        );
        assert_eq!(encoded(std::slice::from_ref(&scalar)), r#"{"predictions":[6.0]}"#);
        assert_eq!(encoded(std::slice::from_ref(&maps)), r#"{"predictions":[{"a":0.5},{"a":null}]}"#);
        assert_eq!(
            encoded(&[label.clone(), maps, scalar]),
            r#"{"predictions":[{"label":0,"p":{"a":0.5},"sum":6.0},{"label":2,"p":{"a":null},"sum":6.0}]}"#
        );
        assert_eq!(encoded(&[label, three]), r#"{"predictions":[{"label":[0,2],"three":[true,true,true]}]}"#);
    }
}
