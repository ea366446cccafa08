//! A small inference server that ends with its test.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Answers with twice the first number of the request.
    Doubles,
    /// The same, but wrong for 3.
    DoublesAllButThree,
    /// Answers 500.
    Fails,
    /// Does not answer.
    Hangs,
    /// Answers only the host `digits.example.com`, and names a revision.
    KnowsItsHost,
    /// Sends the client to a place that answers.
    Redirects,
}

/// A server; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    answered: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let answered = watch::Sender::new(0);
        let counter = answered.clone();
        let predict = move |headers: HeaderMap, body: Bytes| {
            counter.send_modify(|count| *count += 1);
            answer(behaviour, headers, body)
        };
        let app = Router::new()
            .route("/v1/models/m:predict", post(predict))
            .route("/elsewhere", post(|| async { "{}" }).get(|| async { "{}" }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, answered, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/models/m:predict", self.address)
    }

    /// Requests that came in.
    pub(crate) fn answered(&self) -> u64 {
        *self.answered.borrow()
    }

    /// Waits until so many requests have come in.
    pub(crate) async fn until_answered(answered: watch::Sender<u64>, count: u64) {
        answered.subscribe().wait_for(|came| *came >= count).await.unwrap();
    }

    /// The count of requests, for a task of its own.
    pub(crate) fn counter(&self) -> watch::Sender<u64> {
        self.answered.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(behaviour: Behaviour, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let number = request["instances"][0].as_i64().unwrap();
    let predictions = |number: i64| json!({"predictions": [number], "model_name": "m"}).to_string();
    match behaviour {
        Behaviour::Doubles => predictions(2 * number).into_response(),
        Behaviour::DoublesAllButThree => {
            predictions(if number == 3 { 7 } else { 2 * number }).into_response()
        }
        Behaviour::Fails => (StatusCode::INTERNAL_SERVER_ERROR, "no such tensor").into_response(),
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::KnowsItsHost if headers["host"] == "digits.example.com" => {
            ([("x-windtunnel-revision", "digits-00001")], predictions(2 * number)).into_response()
        }
        Behaviour::KnowsItsHost => StatusCode::NOT_FOUND.into_response(),
        Behaviour::Redirects => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
    }
}
