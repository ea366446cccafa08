//! The graph router against real services: every case is a real router, real connections, real answers.

mod bad_input;
mod headers;
mod lifecycle;
mod scenarios;
mod steps;
mod timeouts;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use windtunnel_gateway::graph::{Graph, GraphRouter, Options};

use crate::pods::{client, header, in_time, text};
use steps::Steps;

/// A router with its steps' services.
struct Rig {
    router: GraphRouter,
    steps: Steps,
}

/// What was answered.
#[derive(Debug, PartialEq)]
struct Answered {
    status: u16,
    content_type: Option<String>,
    body: String,
}

impl Answered {
    async fn read(response: Response<Incoming>) -> Self {
        let status = response.status().as_u16();
        let content_type = header(&response, "content-type").map(str::to_owned);
        Self { status, content_type, body: text(response).await }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Rig {
    async fn start(graph: &Value) -> Self {
        Self::with(graph, Options::default()).await
    }

    /// `{name}` in the graph is where the step of that name is served.
    async fn with(graph: &Value, options: Options) -> Self {
        let steps = Steps::start().await;
        let graph = Graph::from_json(&steps.place(&graph.to_string())).unwrap();
        let router = GraphRouter::bind(SocketAddr::from(([127, 0, 0, 1], 0)), graph, options).await.unwrap();
        Self { router, steps }
    }

    fn request(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::post(format!("http://{}/", self.router.address())).body(Full::new(body.into())).unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answered {
        let response = in_time("answer", client().request(request)).await.unwrap();
        in_time("body", Answered::read(response)).await
    }

    async fn post(&self, body: impl Into<Bytes>) -> Answered {
        self.send(self.request(body)).await
    }

    async fn get(&self, path: &str) -> Answered {
        let uri = format!("http://{}{path}", self.router.address());
        self.send(Request::get(uri).body(Full::default()).unwrap()).await
    }
}

/// A graph of one node.
#[expect(clippy::needless_pass_by_value, reason = "cases write their steps in place")]
fn one_node(routing: &str, steps: Value) -> Value {
    json!({"nodes": {"root": {"routerType": routing, "steps": steps}}})
}

/// The router's own refusal.
fn refusal(status: StatusCode, cause: &str) -> Answered {
    let body = json!({"error": "Failed to process request", "cause": cause}).to_string();
    Answered { status: status.as_u16(), content_type: Some("application/json".to_owned()), body }
}
