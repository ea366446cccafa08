//! Properties that hold for whatever bytes come: the fuzz targets run them for hours, the tests for a second.
//!
//! A server without a socket is asked; bytes are read as decisions, so that most of them make sense as requests.

mod patches;
mod requests;

pub use patches::patches;
pub use requests::requests;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    pipeline::{Payload, Request},
    security::User,
    server::{ApiServer, Options},
};

static SERVER: LazyLock<ApiServer> = LazyLock::new(|| {
    ApiServer::new(Options { seed: Some(1), event_log_capacity: 100, ..Options::default() })
});

/// Decisions from bytes; when they have run out, always the first choice.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Code and body of an answer; a watch has no body.
fn ask(method: &str, path: &str, query: &str, content_type: &str, body: &str) -> (u16, Value) {
    let request = Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        accept: "application/json".into(),
        content_type: content_type.into(),
        user_agent: "fuzz/1".into(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        user: Arc::new(User::master("fuzz")),
        ..Request::default()
    };
    let answer = futures::executor::block_on(SERVER.handle(&request));
    let read = |bytes: &[u8]| {
        serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
    };
    let body = match answer.payload {
        Payload::Empty | Payload::Watch(_) => Value::Null,
        Payload::Json(value) => value,
        Payload::Bytes(bytes) => read(&bytes),
        Payload::List(list) => read(&list.json_line()),
        Payload::Text(text) => read(text.as_bytes()),
    };
    (answer.code, body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// If this fails a patch does something else than it says, or takes fields that are another's.
        #[test]
        fn patches_do_what_a_simple_model_does(data in prop::collection::vec(any::<u8>(), 0..120)) {
            super::patches(&data);
        }

        /// If this fails a strange address ends the server or gets an answer that says nothing.
        #[test]
        fn every_path_and_query_gets_an_answer(data in prop::collection::vec(any::<u8>(), 0..120)) {
            super::requests(&data);
        }
    }
}
