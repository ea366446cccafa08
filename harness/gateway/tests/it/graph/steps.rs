//! Services for steps, all on one listener: the path says how one behaves.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http::Request, response::Response};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The services; they end with this.
pub(super) struct Steps {
    address: SocketAddr,
    waiting: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Steps {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = Arc::<AtomicU32>::default();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&waiting));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, waiting, task }
    }

    /// Requests that are with a service that does not answer.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// A graph's text with URLs for `{name}`.
    pub(super) fn place(&self, graph: &str) -> String {
        let mut text = graph.to_owned();
        for name in [
            "ok",
            "error",
            "one",
            "two",
            "cat",
            "dog",
            "beagle",
            "poodle",
            "cat82",
            "echo",
            "text",
            "bytes",
            "empty",
            "array",
            "null",
            "exact",
            "never",
            "late",
            "moved",
            "see-other",
            "circle",
            "large",
            "dies",
            "breaks",
        ] {
            text = text.replace(&format!("\"{{{name}}}\""), &format!("\"{}\"", self.url(name)));
        }
        text
    }
}

struct Waiting(Arc<AtomicU32>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn labelled(label: &str, scores: [f64; 2]) -> Value {
    json!({"predictions": [{"label": label, "score": scores}]})
}

fn crash() -> std::io::Error {
    std::io::Error::other("crash")
}

async fn serve(State(waiting): State<Arc<AtomicU32>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let answer =
        |status: u16, body: Value| Response::builder().status(status).body(body.to_string().into()).unwrap();
    let raw = |body: &'static [u8]| Response::new(Body::from(body));
    let moved = |status: u16, location: &str| {
        Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
    };
    match head.uri.path().trim_start_matches('/') {
        "ok" => answer(200, json!({"predictions": [{"message": "SUCCESS"}]})),
        "error" => answer(404, json!({"detail": "Intentional 404 code"})),
        "one" => answer(200, json!({"predictions": "1"})),
        "two" => answer(200, json!({"predictions": "2"})),
        "cat" => answer(200, labelled("cat", [0.1, 0.9])),
        "cat82" => answer(200, labelled("cat", [0.8, 0.2])),
        "dog" => answer(200, labelled("dog", [0.8, 0.2])),
        "beagle" => answer(200, labelled("beagle", [0.1, 0.9])),
        "poodle" => answer(200, labelled("poodle", [0.8, 0.2])),
        "echo" => {
            let headers: Vec<(String, String)> = head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect();
            let body = String::from_utf8_lossy(&body);
            answer(200, json!({"method": head.method.as_str(), "body": body, "headers": headers}))
        }
        "text" => Response::builder().header("x-step", "1").body("héllo <b>".into()).unwrap(),
        "bytes" => raw(b"\xff\xfe"),
        "empty" => raw(b""),
        "array" => raw(b"[1]"),
        "null" => raw(b"null"),
        "exact" => raw(b" {\"big\":12345678901234567890,\"one\":1.0,\"html\":\"<\"} "),
        "large" => Response::new(vec![b'1'; 5000].into()),
        "moved" => moved(307, "/echo"),
        "see-other" => moved(303, "/echo"),
        "circle" => moved(308, "/circle"),
        "late" => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            answer(200, json!({"late": true}))
        }
        "never" => {
            waiting.fetch_add(1, Ordering::SeqCst);
            let _counted = Waiting(waiting);
            std::future::pending().await
        }
        // A service that crashes closes its connection: before it has answered, or in the middle.
        "dies" => Response::new(Body::from_stream(futures::stream::iter([Err::<bytes::Bytes, _>(crash())]))),
        "breaks" => {
            let parts = [Ok(bytes::Bytes::from_static(b"{\"half\":")), Err(crash())];
            Response::new(Body::from_stream(futures::stream::iter(parts).then(|part| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                part
            })))
        }
        other => answer(500, json!({"unknown": other})),
    }
}
