//! Answers have the shape of those of KServe's own server (recorded from kserve 0.21.0 with a model that adds up its
//! rows), so that its clients cannot tell the difference.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::serving::{Running, repository};

/// Numbers compared as numbers: KServe's model answers with integers, ours with floats.
fn same(got: &Value, recorded: &Value) -> bool {
    match (got, recorded) {
        (Value::Number(got), Value::Number(recorded)) => got.as_f64() == recorded.as_f64(),
        (Value::Array(got), Value::Array(recorded)) => {
            got.len() == recorded.len() && got.iter().zip(recorded).all(|(got, recorded)| same(got, recorded))
        }
        (Value::Object(got), Value::Object(recorded)) => {
            got.keys().eq(recorded.keys()) && got.iter().all(|(key, value)| same(value, &recorded[key]))
        }
        _ => got == recorded,
    }
}

#[tokio::test]
async fn answers_equal_the_recorded_ones() {
    let server = Running::start(repository()).await;
    let rows = r#"{"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}"#;
    let tensor = r#"{"id": "42", "inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}]}"#;
    let inferred = r#"{"model_name":"sum","model_version":null,"id":"42","parameters":null,"outputs":[{"name":"output-0","shape":[2],"datatype":"FP32","parameters":null,"data":[10.0,26.0]}]}"#;
    let unknown = r#"{"error":"Model with name zz does not exist."}"#;
    let versioned = r#"{"error":"Model versioning not supported yet."}"#;
    for (method, path, body, status, recorded) in [
        (Method::GET, "/", "", 200, r#"{"status":"alive"}"#),
        (Method::GET, "/v1/models/sum", "", 200, r#"{"name":"sum","ready":true}"#),
        (Method::GET, "/v1/models/zz", "", 404, unknown),
        (Method::POST, "/v1/models/sum:predict", rows, 200, r#"{"predictions":[10,26]}"#),
        (
            Method::POST,
            "/v1/models/sum:predict",
            &rows.replace("instances", "inputs"),
            200,
            r#"{"predictions":[10,26]}"#,
        ),
        (Method::POST, "/v1/models/zz:predict", rows, 404, unknown),
        (
            Method::GET,
            "/v1/models/m:predict",
            "",
            404,
            r#"{"error":"Model with name m:predict does not exist."}"#,
        ),
        (Method::GET, "/v2/health/live", "", 200, r#"{"live":true}"#),
        (Method::GET, "/v2/health/ready", "", 200, r#"{"ready":true}"#),
        (
            Method::GET,
            "/v2/models/sum",
            "",
            200,
            r#"{"name":"sum","versions":null,"platform":"onnxruntime_onnx","inputs":[{"name":"input-0","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"output-0","datatype":"FP32","shape":[-1]}]}"#,
        ),
        (Method::GET, "/v2/models/sum/versions/1", "", 501, versioned),
        (Method::GET, "/v2/models/zz", "", 404, unknown),
        (Method::GET, "/v2/models/sum/ready", "", 200, r#"{"name":"sum","ready":true}"#),
        (Method::GET, "/v2/models/zz/ready", "", 404, unknown),
        (Method::GET, "/v2/models/sum/versions/1/ready", "", 501, versioned),
        (Method::POST, "/v2/models/sum/infer", tensor, 200, inferred),
        (
            Method::POST,
            "/v2/models/sum/infer",
            &tensor.replace("[[1, 2, 3, 4], [5, 6, 7, 8]]", "[1,2,3,4,5,6,7,8]"),
            200,
            inferred,
        ),
        (Method::POST, "/v2/models/sum/versions/1/infer", tensor, 501, versioned),
        (Method::POST, "/v2/models/zz/infer", tensor, 404, unknown),
    ] {
        let answer = server.send(method.clone(), path, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.response.headers()["content-type"], "application/json", "{method} {path}");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        assert!(same(&answer.json(), &recorded), "{method} {path}: {} instead of {recorded}", answer.text);
    }
    let models = server.get("/v1/models").await.json();
    assert_eq!(server.get("/v2/models").await.json(), models);
    assert!(models["models"].as_array().unwrap().contains(&json!("sum")));
    assert_eq!(server.get("/v2").await.json()["name"], json!("windtunnel"));
    server.stop().await;
}

/// Request ids are invented where there is none, and unknown members are ignored.
#[tokio::test]
async fn clients_may_send_less_and_more() {
    let server = Running::start(repository()).await;
    let tensor = r#"{"model_name": "sum", "parameters": {"a": 1}, "inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], "parameters": {"content_type": "np"}}]}"#;
    let (one, other) = (
        server.post("/v2/models/sum/infer", tensor).await,
        server.post("/v2/models/sum/infer", tensor).await,
    );
    assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(one.json()["id"].as_str().unwrap().len(), 36);
    assert_ne!(one.json()["id"], other.json()["id"]);
    let only_one = r#"{"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}], "outputs": [{"name": "label"}]}"#;
    let answer = server.post("/v2/models/iris/infer", only_one).await.json();
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(answer["outputs"][0]["data"], json!([0]));
    server.stop().await;
}
