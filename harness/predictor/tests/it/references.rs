//! Every model of this folder must answer as ONNX Runtime's own Python binding did (`make.py` recorded it).

use std::{collections::BTreeMap, fs};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::serving::{Running, models, repository};

#[derive(Deserialize)]
struct Case {
    inputs: BTreeMap<String, Recorded>,
    outputs: BTreeMap<String, Recorded>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Tensor { datatype: String, shape: Vec<usize>, data: Vec<Value> },
    Maps { maps: Vec<Vec<(Value, Value)>> },
}

fn cases() -> Vec<(String, Case)> {
    let mut cases: Vec<_> = fs::read_dir(models())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap())
        })
        .collect();
    cases.sort_by(|one: &(String, Case), other| one.0.cmp(&other.0));
    assert_eq!(cases.len(), 24);
    cases
}

/// What JSON can say of a recorded value: no NaN, no infinity.
fn expected(value: &Value) -> Value {
    match value {
        Value::String(text) if matches!(&**text, "nan" | "inf" | "-inf") => Value::Null,
        other => other.clone(),
    }
}

fn assert_close(got: &Value, expected: &Value, place: &str) {
    match (got, expected) {
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len(), "{place}: {got:?}");
            for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert_close(got, expected, &format!("{place}[{index}]"));
            }
        }
        (Value::Object(got), Value::Object(expected)) => {
            assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{place}");
            for (key, value) in got {
                assert_close(value, &expected[key], &format!("{place}.{key}"));
            }
        }
        (Value::Number(got), Value::Number(expected)) if expected.is_f64() => {
            let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
            let difference = (got - expected).abs();
            assert!(difference <= 1e-6 * expected.abs(), "{place}: {got} instead of {expected}");
        }
        _ => assert_eq!(got, expected, "{place}"),
    }
}

/// Flat values as nested arrays.
fn nested(shape: &[usize], data: &[Value]) -> Value {
    match shape.split_first() {
        None => data[0].clone(),
        Some((&count, inner)) => {
            let step = inner.iter().product::<usize>();
            (0..count).map(|index| nested(inner, &data[index * step..(index + 1) * step])).collect()
        }
    }
}

fn rows(recorded: &Recorded) -> Value {
    match recorded {
        Recorded::Tensor { shape, data, .. } => nested(shape, &data.iter().map(expected).collect::<Vec<_>>()),
        Recorded::Maps { maps } => maps
            .iter()
            .map(|map| {
                let entries = map.iter().map(|(key, value)| {
                    (key.as_str().map_or_else(|| key.to_string(), str::to_owned), expected(value))
                });
                Value::Object(entries.collect())
            })
            .collect(),
    }
}

/// A wrong number in a V2 answer is a wrong decision somewhere else.
#[tokio::test]
async fn v2_answers_equal_onnx_runtimes() {
    let server = Running::start(repository()).await;
    for (model, case) in cases() {
        let inputs: Vec<Value> = case
            .inputs
            .iter()
            .map(|(name, input)| match input {
                Recorded::Tensor { datatype, shape, data } => {
                    json!({ "name": name, "datatype": datatype, "shape": shape, "data": data })
                }
                Recorded::Maps { .. } => panic!("maps are outputs only"),
            })
            .collect();
        let body = json!({ "id": "7", "inputs": inputs }).to_string();
        let answer = server.post(&format!("/v2/models/{model}/infer"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{model}: {}", answer.text);
        let answer = answer.json();
        assert_eq!((&answer["model_name"], &answer["id"]), (&json!(model), &json!("7")));
        let outputs = answer["outputs"].as_array().unwrap();
        assert_eq!(outputs.len(), case.outputs.len(), "{model}");
        for output in outputs {
            let name = output["name"].as_str().unwrap();
            let place = format!("{model}.{name}");
            match &case.outputs[name] {
                Recorded::Tensor { datatype, shape, data } => {
                    assert_eq!(output["datatype"], json!(datatype), "{place}");
                    assert_eq!(output["shape"], json!(shape), "{place}");
                    assert_close(&output["data"], &data.iter().map(expected).collect(), &place);
                }
                Recorded::Maps { maps } => {
                    assert_eq!(output["datatype"], json!("FP64"), "{place}");
                    assert_eq!(output["shape"], json!([maps.len(), maps[0].len()]), "{place}");
                    let flat = maps.iter().flatten().map(|(_, value)| expected(value)).collect();
                    assert_close(&output["data"], &flat, &place);
                }
            }
        }
    }
    server.stop().await;
}

/// The same for V1, where rows are plain lists or objects keyed by name.
#[tokio::test]
async fn v1_answers_equal_onnx_runtimes() {
    let server = Running::start(repository()).await;
    for (model, case) in cases() {
        let columns: BTreeMap<&String, Value> =
            case.inputs.iter().map(|(name, input)| (name, rows(input))).collect();
        let count = columns.values().next().unwrap().as_array().unwrap().len();
        let instances: Vec<Value> = (0..count)
            .map(|row| match columns.len() {
                1 => columns.values().next().unwrap()[row].clone(),
                _ => Value::Object(
                    columns.iter().map(|(name, column)| ((*name).clone(), column[row].clone())).collect(),
                ),
            })
            .collect();
        let body = json!({ "instances": instances }).to_string();
        let answer = server.post(&format!("/v1/models/{model}:predict"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{model}: {}", answer.text);
        let answer = answer.json();
        let predictions = answer["predictions"].as_array().unwrap();
        if let [only] = &*case.outputs.values().collect::<Vec<_>>() {
            let expected = match rows(only) {
                Value::Array(rows) => rows,
                single => vec![single],
            };
            assert_close(&answer["predictions"], &Value::Array(expected), &model);
        } else {
            assert_eq!(predictions.len(), count, "{model}");
            for (name, output) in &case.outputs {
                let column: Value = predictions.iter().map(|row| row[name].clone()).collect();
                assert_close(&column, &rows(output), &format!("{model}.{name}"));
            }
        }
    }
    server.stop().await;
}

/// Clients that build requests from the metadata need the real names, types and free sizes.
#[tokio::test]
async fn metadata_says_what_the_model_takes() {
    let server = Running::start(repository()).await;
    for (model, expected) in [
        (
            "iris",
            json!({"name":"iris","versions":null,"platform":"onnxruntime_onnx",
                "inputs":[{"name":"X","datatype":"FP32","shape":[-1,4]}],
                "outputs":[{"name":"label","datatype":"INT64","shape":[-1]},
                    {"name":"probabilities","datatype":"FP32","shape":[-1,3]}]}),
        ),
        (
            "columns",
            json!({"name":"columns","versions":null,"platform":"onnxruntime_onnx",
                "inputs":[{"name":"name","datatype":"BYTES","shape":[-1,1]},
                    {"name":"age","datatype":"INT64","shape":[-1,1]},
                    {"name":"weight","datatype":"FP32","shape":[-1,1]}],
                "outputs":[{"name":"score","datatype":"FP32","shape":[-1,1]},
                    {"name":"who","datatype":"BYTES","shape":[-1,1]}]}),
        ),
    ] {
        assert_eq!(server.get(&format!("/v2/models/{model}")).await.json(), expected);
    }
    server.stop().await;
}

/// Any number of rows, and rows as the columns of a data frame.
#[tokio::test]
async fn batches_may_have_any_size() {
    let server = Running::start(repository()).await;
    for rows in [1, 2, 100] {
        let body = json!({ "instances": vec![[1, 2, 3, 4]; rows] }).to_string();
        let answer = server.post("/v1/models/sum:predict", body).await.json();
        assert_eq!(answer, json!({ "predictions": vec![10.0; rows] }));
    }
    let answer = server.post("/v1/models/sum:predict", r#"{"instances":[]}"#).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "predictions": [] })));
    let answer = server.post("/v1/models/columns:predict", r#"{"instances":[["ada",36,0.5]]}"#).await;
    assert_eq!(answer.json(), json!({ "predictions": [{ "score": [18.0], "who": ["ada"] }] }));
    server.stop().await;
}
