//! The V2 protocol (Open Inference Protocol, REST): named tensors in, named tensors out. Members that this server
//! does not know are ignored, as official clients send some.

use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{fit, names, parse};
use crate::{
    decode, encode,
    error::RequestError,
    tensor::{Data, Datatype, Output, Tensor, TensorSpec, Value},
};

#[derive(Deserialize)]
struct Request<'a> {
    id: Option<String>,
    #[serde(borrow)]
    inputs: Option<Vec<RequestInput<'a>>>,
    outputs: Option<Vec<RequestOutput>>,
}

#[derive(Deserialize)]
struct RequestInput<'a> {
    name: Option<String>,
    shape: Option<Vec<i64>>,
    datatype: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RequestOutput {
    name: String,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The request's own, else a new one.
    pub(crate) id: String,
    /// One tensor for each input, in the order of the model.
    pub(crate) tensors: Vec<Tensor>,
    /// Names of the outputs that are wanted; empty for all.
    pub(crate) wanted: Vec<String>,
}

/// Decodes a request for a model with these inputs and outputs.
pub(crate) fn decode(
    body: &[u8],
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) -> Result<Asked, RequestError> {
    let request: Request<'_> = parse(body)?;
    let given = request.inputs.unwrap_or_default();
    if given.is_empty() {
        return Err(RequestError::Invalid(format!(
            "the body has no \"inputs\"; the model has {}",
            names(inputs)
        )));
    }
    let mut tensors: Vec<Option<Tensor>> = vec![None; inputs.len()];
    for (index, input) in given.iter().enumerate() {
        let Some(name) = &input.name else {
            return Err(RequestError::Invalid(format!(
                "inputs[{index}] has no \"name\"; the model has {}",
                names(inputs)
            )));
        };
        let Some(position) = inputs.iter().position(|spec| spec.name == *name) else {
            return Err(RequestError::Invalid(format!(
                "the model has no input \"{name}\"; it has {}",
                names(inputs)
            )));
        };
        if tensors[position].is_some() {
            return Err(RequestError::Invalid(format!("input \"{name}\" is given twice")));
        }
        tensors[position] = Some(input.tensor(&inputs[position])?);
    }
    let tensors = tensors
        .into_iter()
        .zip(inputs)
        .map(|(tensor, spec)| {
            tensor.ok_or_else(|| {
                RequestError::Invalid(format!(
                    "input \"{}\" is missing; the model has {}",
                    spec.name,
                    names(inputs)
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    let wanted: Vec<String> =
        request.outputs.unwrap_or_default().into_iter().map(|output| output.name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !outputs.iter().any(|spec| spec.name == **name)) {
        return Err(RequestError::Invalid(format!(
            "the model has no output \"{unknown}\"; it has {}",
            names(outputs)
        )));
    }
    Ok(Asked { id: request.id.unwrap_or_else(new_id), tensors, wanted })
}

impl RequestInput<'_> {
    fn tensor(&self, spec: &TensorSpec) -> Result<Tensor, RequestError> {
        let name = &spec.name;
        let invalid = |what: String| RequestError::Invalid(format!("input \"{name}\": {what}"));
        let Some(given) = &self.datatype else {
            return Err(invalid(format!("\"datatype\" is missing, expected {}", spec.datatype)));
        };
        if Datatype::from_name(given) != Some(spec.datatype) {
            return Err(invalid(format!("expected the datatype {}, got {given}", spec.datatype)));
        }
        let Some(shape) = &self.shape else {
            return Err(invalid(format!("\"shape\" is missing, expected {:?}", spec.shape)));
        };
        let Some(data) = self.data else {
            return Err(invalid(
                "\"data\" is missing; binary tensors are not served, send the values as JSON".to_owned(),
            ));
        };
        let shape: Vec<usize> = shape
            .iter()
            .map(|&size| {
                usize::try_from(size).map_err(|_negative| {
                    invalid(format!("expected sizes of 0 or more in \"shape\", got {shape:?}"))
                })
            })
            .collect::<Result<_, _>>()?;
        let values = decode::tensor(data, spec.datatype).map_err(invalid)?.data;
        let expected = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if expected != Some(values.len()) {
            return Err(invalid(format!(
                "the shape {shape:?} stands for {} values, got {}",
                expected.map_or_else(|| "too many".to_owned(), |count| count.to_string()),
                values.len()
            )));
        }
        fit(spec, Tensor { shape, data: values })
    }
}

/// A random (version 4) UUID.
fn new_id() -> String {
    // Each `RandomState` has keys of its own, and a keyed hash of a constant is as random as its keys.
    let high = RandomState::new().hash_one(1_u8);
    let low = RandomState::new().hash_one(2_u8);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

/// Encodes the outputs that are wanted, in the order in which they were asked for.
pub(crate) fn encode(model: &str, id: &str, outputs: &[Output], wanted: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"model_name":"#);
    encode::json(&mut out, model);
    out.extend_from_slice(br#","model_version":null,"id":"#);
    encode::json(&mut out, id);
    out.extend_from_slice(br#","parameters":null,"outputs":["#);
    let chosen: Vec<&Output> = if wanted.is_empty() {
        outputs.iter().collect()
    } else {
        wanted.iter().filter_map(|name| outputs.iter().find(|output| output.name == *name)).collect()
    };
    let mut first = true;
    for output in chosen {
        match &output.value {
            Value::Tensor(tensor) => one(&mut out, &mut first, &output.name, tensor, None),
            Value::Maps(maps) => {
                let (tensor, keys) = table(maps);
                one(&mut out, &mut first, &output.name, &tensor, Some(&keys));
            }
            Value::Tensors(tensors) => {
                for (index, tensor) in tensors.iter().enumerate() {
                    one(&mut out, &mut first, &format!("{}_{index}", output.name), tensor, None);
                }
            }
        }
    }
    out.extend_from_slice(b"]}");
    out
}

fn one(out: &mut Vec<u8>, first: &mut bool, name: &str, tensor: &Tensor, keys: Option<&[String]>) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    out.extend_from_slice(br#"{"name":"#);
    encode::json(out, name);
    out.extend_from_slice(br#","shape":"#);
    encode::json(out, &tensor.shape);
    out.extend_from_slice(br#","datatype":"#);
    encode::json(out, &tensor.data.datatype());
    out.extend_from_slice(br#","parameters":"#);
    match keys {
        // Parameters are texts, numbers or booleans.
        Some(keys) => {
            let mut list = Vec::new();
            encode::json(&mut list, keys);
            out.extend_from_slice(br#"{"keys":"#);
            encode::json(out, &String::from_utf8_lossy(&list));
            out.push(b'}');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","data":"#);
    encode::flat(out, &tensor.data);
    out.push(b'}');
}

/// Maps as a table: one row a map, one column a key, NaN where a map lacks it.
fn table(maps: &[Vec<(String, f64)>]) -> (Tensor, Vec<String>) {
    let mut keys: Vec<String> = Vec::new();
    for (key, _) in maps.iter().flatten() {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    let values = maps
        .iter()
        .flat_map(|map| {
            keys.iter()
                .map(|key| map.iter().find(|(name, _)| name == key).map_or(f64::NAN, |(_, value)| *value))
        })
        .collect();
    (Tensor { shape: vec![maps.len(), keys.len()], data: Data::Fp64(values) }, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> (Vec<TensorSpec>, Vec<TensorSpec>) {
        let spec = |name: &str, datatype, shape: &[i64]| TensorSpec {
            name: name.to_owned(),
            datatype,
            shape: shape.to_vec(),
        };
        (
            vec![spec("X", Datatype::Fp32, &[-1, 2]), spec("n", Datatype::Int64, &[1])],
            vec![spec("label", Datatype::Int64, &[-1])],
        )
    }

    fn asked(body: &str) -> Result<Asked, RequestError> {
        let (inputs, outputs) = specs();
        decode(body.as_bytes(), &inputs, &outputs)
    }

    /// Nested or flat, in any order and with members that only some clients send: the same tensors.
    #[test]
    fn all_forms_of_inputs_are_equal() {
        let n = r#"{"name":"n","shape":[1],"datatype":"INT64","data":[5]}"#;
        for x in [
            r#"{"name":"X","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}"#,
            r#"{"datatype":"FP32","data":[[1,2],[3,4]],"shape":[2,2],"name":"X","parameters":{"content_type":"np"}}"#,
        ] {
            for body in [format!("{x},{n}"), format!("{n},{x}")] {
                let body = format!(
                    r#"{{"model_name":"m","id":"42","inputs":[{body}],"outputs":[{{"name":"label"}}]}}"#
                );
                let asked = asked(&body).expect(&body);
                assert_eq!(asked.id, "42");
                assert_eq!(asked.wanted, ["label"]);
                assert_eq!(
                    asked.tensors[0],
                    Tensor { shape: vec![2, 2], data: Data::Fp32(vec![1.0, 2.0, 3.0, 4.0]) }
                );
                assert_eq!(asked.tensors[1], Tensor { shape: vec![1], data: Data::Int64(vec![5]) });
            }
        }
    }

    /// A refused request must say which input, what it wants and what it got, and never be cast or reshaped.
    #[test]
    fn faults_name_the_input() {
        let n = r#"{"name":"n","shape":[1],"datatype":"INT64","data":[5]}"#;
        for (input, expected) in [
            (
                r#"{"name":"Y","shape":[1,2],"datatype":"FP32","data":[1,2]}"#,
                r#"no input "Y"; it has "X", "n""#,
            ),
            (r#"{"shape":[1,2],"datatype":"FP32","data":[1,2]}"#, "inputs[1] has no \"name\""),
            (
                r#"{"name":"X","shape":[1,2],"datatype":"INT64","data":[1,2]}"#,
                r#"input "X": expected the datatype FP32, got INT64"#,
            ),
            (r#"{"name":"X","shape":[1,2],"datatype":"XX","data":[1,2]}"#, "got XX"),
            (r#"{"name":"X","shape":[1,2],"data":[1,2]}"#, "\"datatype\" is missing, expected FP32"),
            (r#"{"name":"X","datatype":"FP32","data":[1,2]}"#, "\"shape\" is missing, expected [-1, 2]"),
            (r#"{"name":"X","shape":[1,2],"datatype":"FP32"}"#, "\"data\" is missing"),
            (r#"{"name":"X","shape":[-1,2],"datatype":"FP32","data":[1,2]}"#, "got [-1, 2]"),
            (
                r#"{"name":"X","shape":[3,4],"datatype":"FP32","data":[1,2]}"#,
                "the shape [3, 4] stands for 12 values, got 2",
            ),
            (
                r#"{"name":"X","shape":[4611686018427387904,4],"datatype":"FP32","data":[1]}"#,
                "stands for too many values",
            ),
            (
                r#"{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2]}"#,
                "expects the shape [-1, 2], got [2, 1]",
            ),
            (
                r#"{"name":"X","shape":[1,2],"datatype":"FP32","data":[1,"b"]}"#,
                r#"input "X": expected FP32 numbers, got the string "b""#,
            ),
            (n, r#"input "n" is given twice"#),
        ] {
            let body = format!(r#"{{"inputs":[{n},{input}]}}"#);
            let error = asked(&body).expect_err(&body);
            assert_eq!(error.status(), 400, "{body}");
            assert!(error.to_string().contains(expected), "{body}: {error}");
        }
        for (body, expected) in [
            ("", "the body is empty"),
            ("{bad", "Unrecognized request format"),
            ("{}", "the body has no \"inputs\"; the model has \"X\", \"n\""),
            (
                r#"{"inputs":[{"name":"n","shape":[1],"datatype":"INT64","data":[5]}]}"#,
                "input \"X\" is missing",
            ),
        ] {
            let error = asked(body).expect_err(body);
            assert!(error.to_string().contains(expected), "{body}: {error}");
        }
    }

    /// A client that filters by id must get a new one for each request that has none.
    #[test]
    fn missing_ids_are_random_uuids() {
        let ids: Vec<String> = (0..100).map(|_| new_id()).collect();
        for (index, id) in ids.iter().enumerate() {
            let groups: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
            assert!(!ids[..index].contains(id));
        }
    }

    /// Class probabilities that come as maps reach V2 clients as a table whose columns are named.
    #[test]
    fn maps_become_a_table() {
        let maps = vec![vec![("a".to_owned(), 0.25), ("b".to_owned(), 0.75)], vec![("b".to_owned(), 1.0)]];
        let outputs = [Output { name: "p".to_owned(), value: Value::Maps(maps) }];
        assert_eq!(
            String::from_utf8(encode("m", "1", &outputs, &[])).unwrap(),
            r#"{"model_name":"m","model_version":null,"id":"1","parameters":null,"outputs":[{"name":"p","shape":[2,2],"datatype":"FP64","parameters":{"keys":"[\"a\",\"b\"]"},"data":[0.25,0.75,null,1.0]}]}"#
        );
    }
}
