//! One request and what came of it.

use goose::goose::{GooseRequest, GooseUser};
use reqwest::{RequestBuilder, Response};

/// Most bytes of an answer that are read; a longer one counts as an error.
const LARGEST_ANSWER_BYTES: usize = 16 << 20;

/// Our gateway's name of the revision that answered.
const REVISION: &str = "x-windtunnel-revision";

/// What came back.
pub(crate) struct Answer {
    /// HTTP status; 0 where there was no answer.
    pub(crate) status: u16,
    /// Which revision answered, where the gateway says so.
    pub(crate) revision: Option<String>,
    /// The body, empty where there was none.
    pub(crate) body: Vec<u8>,
    /// Why the request failed, where it did.
    pub(crate) error: Option<String>,
}

/// Sends a request as a user of goose and reads the whole answer.
pub(crate) async fn exchange(user: &mut GooseUser, request: RequestBuilder) -> Answer {
    let request = GooseRequest::builder().name("infer").set_request_builder(request).build();
    match user.request(request).await.map(|sent| sent.response) {
        Ok(Ok(response)) => read(response).await,
        Ok(Err(error)) => Answer::none(chain(&error.without_url())),
        Err(error) => Answer::none(error.to_string()),
    }
}

async fn read(mut response: Response) -> Answer {
    let status = response.status();
    let revision = response.headers().get(REVISION).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    let broken = loop {
        match response.chunk().await {
            Ok(None) => break None,
            Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_ANSWER_BYTES => {
                break Some(format!("the answer is longer than {LARGEST_ANSWER_BYTES} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => break Some(format!("the answer broke off: {}", chain(&error.without_url()))),
        }
    };
    let refused =
        || (!status.is_success()).then(|| format!("HTTP {}: {}", status.as_u16(), beginning(&body)));
    let error = broken.or_else(refused);
    Answer { status: status.as_u16(), revision, body, error }
}

impl Answer {
    fn none(error: String) -> Self {
        Self { status: 0, revision: None, body: Vec::new(), error: Some(error) }
    }
}

/// The first 200 characters of a body, on one line.
fn beginning(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(800)]);
    start.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
