//! Paths and handlers: HTTP on one side, the pure protocols and the models on the other.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{
    HeaderMap, Method, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::json;

use super::{Serving, metrics::Phase};
use crate::{
    error::RequestError,
    model::Model,
    protocol::{v1, v2},
    tensor::{Tensor, TensorSpec},
};

type Shared = State<Arc<Serving>>;

pub(super) fn router(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/", get(|| async { answer(&json!({ "status": "alive" })) }))
        .route("/metrics", get(metrics))
        .route("/v1/models", get(list))
        .route("/v1/models/{model}", get(v1_ready).post(v1_verb))
        .route("/v2", get(server_metadata))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(|| async { answer(&json!({ "live": true })) }))
        .route("/v2/health/ready", get(server_ready))
        .route("/v2/models", get(list))
        .route("/v2/models/{model}", get(model_metadata))
        .route("/v2/models/{model}/ready", get(v2_ready))
        .route("/v2/models/{model}/infer", post(v2_infer))
        .route("/v2/models/{model}/versions/{version}", get(versioned))
        .route("/v2/models/{model}/versions/{version}/ready", get(versioned))
        .route("/v2/models/{model}/versions/{version}/infer", post(versioned))
        .fallback(|uri: Uri| async move { RequestError::NotFound(uri.path().to_owned()) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            RequestError::MethodNotAllowed(format!("{method} {}", uri.path()))
        })
        .with_state(serving)
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        (
            self.status(),
            [(CONTENT_TYPE, "application/json")],
            json!({ "error": self.to_string() }).to_string(),
        )
            .into_response()
    }
}

fn answer(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => json_bytes(body),
        Err(error) => RequestError::Internal(error.to_string()).into_response(),
    }
}

fn json_bytes(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

impl Serving {
    fn model(&self, name: &str) -> Result<&Arc<Model>, RequestError> {
        let slot = self.models.get(name).ok_or_else(|| RequestError::UnknownModel(name.to_owned()))?;
        slot.get().ok_or_else(|| RequestError::NotReady(name.to_owned()))
    }
}

async fn list(State(serving): Shared) -> Response {
    answer(&json!({ "models": serving.models.keys().collect::<Vec<_>>() }))
}

async fn metrics(State(serving): Shared, headers: HeaderMap) -> Result<Response, RequestError> {
    let open_metrics = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let text =
        serving.metrics.text(open_metrics).map_err(|error| RequestError::Internal(error.to_string()))?;
    let content_type = if open_metrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

async fn v1_ready(State(serving): Shared, Path(name): Path<String>) -> Result<Response, RequestError> {
    serving.model(&name)?;
    Ok(answer(&json!({ "name": name, "ready": true })))
}

async fn v2_ready(state: Shared, name: Path<String>) -> Result<Response, RequestError> {
    v1_ready(state, name).await
}

async fn server_ready(State(serving): Shared) -> Response {
    let ready = serving.models.values().all(|slot| slot.get().is_some());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, answer(&json!({ "ready": ready }))).into_response()
}

async fn server_metadata() -> Response {
    answer(&json!({ "name": "windtunnel", "version": env!("CARGO_PKG_VERSION"), "extensions": [] }))
}

async fn model_metadata(State(serving): Shared, Path(name): Path<String>) -> Result<Response, RequestError> {
    #[derive(Serialize)]
    struct Metadata<'a> {
        name: &'a str,
        versions: Option<&'a [String]>,
        platform: &'a str,
        inputs: &'a [TensorSpec],
        outputs: &'a [TensorSpec],
    }
    let model = serving.model(&name)?;
    Ok(answer(&Metadata {
        name: &model.name,
        versions: None,
        platform: "onnxruntime_onnx",
        inputs: &model.inputs,
        outputs: &model.outputs,
    }))
}

async fn versioned() -> RequestError {
    RequestError::NotImplemented("Model versioning not supported yet.".to_owned())
}

async fn v1_verb(State(serving): Shared, Path(target): Path<String>, request: Request) -> Response {
    match target.rsplit_once(':') {
        Some((name, "predict")) => {
            inference(&serving, name, "v1", request, async |call, body| call.predict(body).await).await
        }
        Some((name, "explain")) => match serving.model(name) {
            Ok(_) => RequestError::NotImplemented(format!("model {name} has no explainer")).into_response(),
            Err(error) => error.into_response(),
        },
        _ => RequestError::NotFound(format!("POST /v1/models/{target}; ask for /v1/models/MODEL:predict"))
            .into_response(),
    }
}

async fn v2_infer(State(serving): Shared, Path(name): Path<String>, request: Request) -> Response {
    inference(&serving, &name, "v2", request, async |call, body| call.infer(body).await).await
}

/// What both protocols have around a prediction: the body and its limit, the metrics, and being noticed.
async fn inference(
    serving: &Arc<Serving>,
    name: &str,
    protocol: &'static str,
    request: Request,
    handle: impl AsyncFnOnce(Call<'_>, Bytes) -> Result<Vec<u8>, RequestError>,
) -> Response {
    let _busy = serving.activity.request();
    let model = match serving.model(name) {
        Ok(model) => model,
        // Not counted by name: a client could fill the memory with names.
        Err(error @ RequestError::UnknownModel(_)) => return error.into_response(),
        Err(error) => {
            serving.metrics.answered(name, protocol, error.status().as_u16());
            return error.into_response();
        }
    };
    let _in_flight = serving.metrics.in_flight(name);
    let answered = match whole_body(request, serving.max_body_bytes).await {
        Ok(body) => handle(Call { serving, model }, body).await,
        Err(error) => Err(error),
    };
    let status = answered.as_ref().map_or_else(RequestError::status, |_| StatusCode::OK);
    serving.metrics.answered(name, protocol, status.as_u16());
    match answered {
        Ok(body) => json_bytes(body),
        Err(error) => {
            tracing::debug!(model = name, %error, "request refused");
            error.into_response()
        }
    }
}

async fn whole_body(request: Request, limit_bytes: usize) -> Result<Bytes, RequestError> {
    let body: Body = request.into_body();
    to_bytes(body, limit_bytes).await.map_err(|error| {
        // axum wraps the limit's error once.
        let too_long = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit exceeded"));
        if too_long {
            RequestError::TooLarge { limit_bytes }
        } else {
            RequestError::Format(format!("the body ended early: {error}"))
        }
    })
}

/// One prediction.
struct Call<'a> {
    serving: &'a Serving,
    model: &'a Arc<Model>,
}

impl Call<'_> {
    async fn predict(self, body: Bytes) -> Result<Vec<u8>, RequestError> {
        match self.timed(Phase::Preprocess, || v1::decode(&body, &self.model.inputs))? {
            v1::Asked::Nothing => Ok(v1::encode(&[])),
            v1::Asked::Tensors(tensors) => {
                let outputs = self.run(tensors).await?;
                self.timed(Phase::Postprocess, || Ok(v1::encode(&outputs)))
            }
        }
    }

    async fn infer(self, body: Bytes) -> Result<Vec<u8>, RequestError> {
        let decode = || v2::decode(&body, &self.model.inputs, &self.model.outputs);
        let asked = self.timed(Phase::Preprocess, decode)?;
        let outputs = self.run(asked.tensors).await?;
        self.timed(Phase::Postprocess, || {
            Ok(v2::encode(&self.model.name, &asked.id, &outputs, &asked.wanted))
        })
    }

    async fn run(&self, tensors: Vec<Tensor>) -> Result<Vec<crate::tensor::Output>, RequestError> {
        let started = Instant::now();
        let outputs = self.serving.pool.run(self.model, tensors).await;
        self.serving.metrics.observe(&self.model.name, Phase::Predict, started.elapsed());
        outputs
    }

    fn timed<T>(
        &self,
        phase: Phase,
        work: impl FnOnce() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let started = Instant::now();
        let done = work();
        self.serving.metrics.observe(&self.model.name, phase, started.elapsed());
        done
    }
}
