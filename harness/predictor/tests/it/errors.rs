//! Wrong requests and wrong models: always JSON with an `error`, and words that say what to change.

use std::fs;

use http::{Method, StatusCode};
use windtunnel_predictor::{ModelSource, PredictorError, Server, ServerOptions, Shutdown};

use crate::serving::{Running, in_time, options, repository};

/// Where KServe's server crashes or casts silently, a client gets a 400 that names the tensor.
#[tokio::test]
async fn wrong_requests_are_named() {
    let server = Running::start(ServerOptions { max_body_bytes: 10_000, ..repository() }).await;
    let long = format!(r#"{{"instances":[[{}1]]}}"#, "1,".repeat(10_000));
    for (method, path, body, status, expected) in [
        (Method::POST, "/v1/models/sum:predict", "{bad", 400, "Unrecognized request format"),
        (Method::POST, "/v1/models/sum:predict", "", 400, "the body is empty"),
        (Method::POST, "/v1/models/sum:predict", r#"{"x": 1}"#, 400, "neither \"instances\" nor \"inputs\""),
        (Method::POST, "/v1/models/sum:predict", r#"{"instances": "abc"}"#, 400, "to be a list of rows"),
        (
            Method::POST,
            "/v1/models/sum:predict",
            r#"{"instances": [[1,2]]}"#,
            400,
            "input \"input-0\" expects the shape [-1, 4], got [1, 2]",
        ),
        (Method::POST, "/v1/models/sum:predict", &*long, 413, "longer than 10000 bytes"),
        (Method::POST, "/v1/models/sum:explain", "{}", 501, "no explainer"),
        (Method::POST, "/v1/models/sum", "{}", 404, "/v1/models/MODEL:predict"),
        (Method::POST, "/v2/models/sum/infer", "{}", 400, "no \"inputs\""),
        (Method::POST, "/v2/models/sum/infer", "{bad", 400, "Unrecognized request format"),
        (
            Method::POST,
            "/v2/models/sum/infer",
            r#"{"inputs":[{"name":"input-0","shape":[1,4],"datatype":"INT64","data":[1,2,3,4]}]}"#,
            400,
            "input \"input-0\": expected the datatype FP32, got INT64",
        ),
        (
            Method::POST,
            "/v2/models/sum/infer",
            r#"{"inputs":[{"name":"input-0","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}"#,
            400,
            "binary tensors are not served",
        ),
        (
            Method::POST,
            "/v2/models/gather/infer",
            r#"{"inputs":[{"name":"index","shape":[1],"datatype":"INT64","data":[9]}]}"#,
            500,
            "model \"gather\" failed",
        ),
        (Method::GET, "/nope", "", 404, "Not Found: /nope"),
        (Method::GET, "/v2/models/sum/infer", "", 405, "Method Not Allowed: GET"),
    ] {
        let answer = server.send(method.clone(), path, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body:.80}: {}", answer.text);
        assert!(answer.error().contains(expected), "{method} {path} {body:.80}: {}", answer.text);
    }
    // The connection of a refused request goes on being usable, and the model goes on answering.
    let answer = server.post("/v1/models/gather:predict", r#"{"instances":[1]}"#).await;
    assert_eq!(answer.text, r#"{"predictions":[20.0]}"#);
    server.stop().await;
}

/// A pod with a broken model must end with the reason in its log, not sit there unready.
#[tokio::test]
async fn a_broken_model_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, "this is not a model").unwrap();
    let source = ModelSource::Directory { name: "broken".to_owned(), path: folder.path().to_owned() };
    let server = Server::bind(options(source)).await.unwrap();
    let (_trigger, shutdown) = Shutdown::manual();
    let error = in_time("the server ends", server.run(shutdown)).await.unwrap_err();
    assert!(matches!(error, PredictorError::Load { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with(&*path.to_string_lossy()) && text.contains("\"broken\" cannot be loaded"),
        "{text}"
    );
}

/// The message of a port that is taken names it.
#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Running::start(repository()).await;
    let taken = ServerOptions { http_port: server.address.port(), ..repository() };
    let error = Server::bind(taken).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {}", server.address)), "{error}");
    server.stop().await;
}

/// More requests than fit into the queue are turned away while those inside are answered.
#[tokio::test]
async fn overload_is_a_503() {
    let server = Running::start(ServerOptions { queue_depth: 1, ..repository() }).await;
    let body = format!(r#"{{"instances":{}}}"#, serde_json::json!(vec![[1, 2, 3, 4]; 1000]));
    let mut turned_away = 0;
    let mut answered = 0;
    for _ in 0..20 {
        let burst = (0..32).map(|_| server.post("/v1/models/sum:predict", body.clone()));
        for answer in futures_of(burst).await {
            match answer.status {
                StatusCode::OK => answered += 1,
                StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(answer.error().contains("add replicas or --workers"), "{}", answer.text);
                    turned_away += 1;
                }
                other => panic!("{other}: {}", answer.text),
            }
        }
    }
    assert_eq!(answered + turned_away, 640);
    assert!(answered > 0);
    server.stop().await;
}

/// All of them at once on this task.
async fn futures_of<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
