//! A running server and a client for it.

use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use windtunnel_predictor::{ModelSource, PredictorError, Server, ServerOptions, Shutdown, Trigger, runtime};

/// Longest that a test waits for anything: far beyond what a loaded machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

pub(crate) fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

/// Options for a test: any free port of this machine only, and the library that is installed here.
pub(crate) fn options(source: ModelSource) -> ServerOptions {
    let library = runtime::locate();
    assert!(library.is_some(), "ONNX Runtime is not installed: run ci/setup (or `windtunnel setup`)");
    ServerOptions { http_port: 0, bind: [127, 0, 0, 1].into(), library, ..ServerOptions::new(source) }
}

/// All models of this folder.
pub(crate) fn repository() -> ServerOptions {
    options(ModelSource::Repository { path: models() })
}

pub(crate) fn single(name: &str, file: &str) -> ServerOptions {
    options(ModelSource::Directory { name: name.to_owned(), path: models().join(file) })
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) trigger: Trigger,
    pub(crate) task: JoinHandle<Result<(), PredictorError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) response: Response<()>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {}", self.text)).to_owned()
    }
}

impl Running {
    /// Starts a server and waits until its models are loaded.
    pub(crate) async fn start(options: ServerOptions) -> Self {
        let server = Server::bind(options).await.unwrap();
        let address = server.address();
        let (trigger, shutdown) = Shutdown::manual();
        let task = tokio::spawn(server.run(shutdown));
        let running =
            Self { address, trigger, task, client: Client::builder(TokioExecutor::new()).build_http() };
        in_time("models loaded", async {
            while running.get("/v2/health/ready").await.status != StatusCode::OK {
                assert!(!running.task.is_finished(), "the server ended");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        running
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = in_time("answer", self.client.request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = in_time("body", body.collect()).await.unwrap().to_bytes();
        Answer {
            status: head.status,
            response: Response::from_parts(head, ()),
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        // No content type, as some official clients send none.
        self.request(request.body(Full::new(body.into())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body).await
    }

    /// Ends it at once.
    pub(crate) async fn stop(self) {
        self.trigger.now();
        in_time("server ends", self.task).await.unwrap().unwrap();
    }
}
