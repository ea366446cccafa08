//! Requests through the gateway, and the exact test of a split.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Value, json};
use tokio::time::Instant;
use windtunnel_kernel::statistics::binomial;

use crate::assertion::{Mismatch, brief, mismatches};
use crate::case::{Request, Split};
use crate::expression::Expression;

/// Longest answer that is read.
const LONGEST_ANSWER: usize = 16 << 20;
/// Longest time for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Time between two tries: an answer announces no change.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// Requests of a split that are under way at once.
const AT_ONCE: usize = 8;

/// Sends requests to one gateway.
#[derive(Clone)]
pub(crate) struct Traffic {
    client: Client<HttpConnector, Full<Bytes>>,
    gateway: String,
}

/// Why a split is not the one that was wanted.
pub(crate) struct Unlike {
    pub(crate) message: String,
    pub(crate) mismatches: Vec<Mismatch>,
}

impl Traffic {
    /// `gateway` is a host and port.
    pub(crate) fn new(gateway: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, gateway: gateway.to_owned() }
    }

    /// Sends until the answer matches, and returns how many times; the error holds the last answer's differences.
    pub(crate) async fn expect(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<u32, (u32, Vec<Mismatch>)> {
        let end = Instant::now() + limit;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let found = match tokio::time::timeout_at(end, self.send(request)).await {
                Ok(Ok(answer)) => mismatches(&request.answer, &answer),
                Ok(Err(message)) => vec![no_answer(message)],
                Err(_) => vec![no_answer(format!("no answer before the deadline of {limit:?}"))],
            };
            if found.is_empty() {
                return Ok(attempts);
            }
            if Instant::now() + TRY_EVERY >= end {
                return Err((attempts, found));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Sends all requests of a split and judges who answered.
    pub(crate) async fn split(&self, split: &Split) -> Result<(), Unlike> {
        let unlike = |message: String| Unlike { message, mismatches: Vec::new() };
        let by = Expression::compile(&split.by).map_err(unlike)?;
        let by = &by;
        let answers = futures::stream::iter(0..split.requests).map(|_| async move {
            let answer = self.send(&split.request).await?;
            let field = |name: &str| answer.get(name).cloned().unwrap_or(Value::Null);
            let (status, headers, body) = (field("status"), field("headers"), field("body"));
            let who = by.evaluate(&[("status", &status), ("headers", &headers), ("body", &body)]);
            match who {
                Ok(Value::String(who)) => Ok(who),
                Ok(other) => Err(format!("`{}` gives {} for {}", split.by, brief(&other), brief(&answer))),
                Err(error) => Err(format!("`{}`: {error}; the answer: {}", split.by, brief(&answer))),
            }
        });
        let mut answers = std::pin::pin!(answers.buffer_unordered(AT_ONCE));
        let mut tally: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(answer) = answers.next().await {
            let who = answer.map_err(|error| unlike(format!("a request was not answered: {error}")))?;
            *tally.entry(who).or_default() += 1;
        }
        let found = judge(&tally, split);
        if found.is_empty() {
            return Ok(());
        }
        let message = format!("{} requests were not split as wanted", split.requests);
        Err(Unlike { message, mismatches: found })
    }

    /// One request: `{status, headers, body}`, the body as JSON where it is.
    async fn send(&self, request: &Request) -> Result<Value, String> {
        let body = match &request.body {
            None => Bytes::new(),
            Some(Value::String(text)) => Bytes::from(text.clone()),
            Some(other) => Bytes::from(other.to_string()),
        };
        let mut built = http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("http://{}{}", self.gateway, request.path))
            .header(http::header::HOST, &request.host);
        if matches!(&request.body, Some(body) if !body.is_string()) {
            built = built.header(http::header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        let built = built.body(Full::new(body)).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.client.request(built).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body =
                Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((parts, body.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(ANSWER_LIMIT, exchange)
            .await
            .map_err(|_| format!("no answer within {ANSWER_LIMIT:?}"))??;
        let headers: serde_json::Map<String, Value> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        Ok(json!({"status": parts.status.as_u16(), "headers": headers, "body": body}))
    }
}

fn no_answer(message: String) -> Mismatch {
    Mismatch { path: String::new(), expected: "an answer".to_owned(), seen: message }
}

/// One exact two-sided binomial test a share. The chance to refuse a correct split is at most `alpha` over all of them.
fn judge(tally: &BTreeMap<String, u64>, split: &Split) -> Vec<Mismatch> {
    let total: u64 = tally.values().sum();
    let limit = split.alpha / split.shares.len().max(1) as f64;
    let mut found = Vec::new();
    for (who, percent) in &split.shares {
        let count = tally.get(who).copied().unwrap_or(0);
        let p = binomial::two_sided_p_value(count, total, percent / 100.0);
        if p < limit {
            found.push(Mismatch {
                path: who.clone(),
                expected: format!("{percent} % of {total} requests"),
                seen: format!("{count} of them; so far off comes by chance with probability {p:.2e}, the limit is {limit:.2e}"),
            });
        }
    }
    for (who, count) in tally.iter().filter(|(who, _)| !split.shares.contains_key(*who)) {
        found.push(Mismatch {
            path: who.clone(),
            expected: "no request".to_owned(),
            seen: format!("{count} of them"),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, f64)]) -> Split {
        Split {
            request: Request {
                host: String::new(),
                path: String::new(),
                method: String::new(),
                headers: BTreeMap::new(),
                body: None,
                answer: Value::Null,
            },
            requests: 2000,
            by: String::new(),
            shares: shares.iter().map(|(who, percent)| ((*who).to_owned(), *percent)).collect(),
            alpha: 0.001,
        }
    }

    /// 2000 requests at 20 %: mean 400, standard deviation 17.9; alpha/2 each of 0.001 is 3.48 deviations, 62 requests.
    #[test]
    fn a_split_is_judged_by_what_chance_allows() {
        let wanted = split(&[("stable", 80.0), ("canary", 20.0)]);
        let tally = |canary: u64| {
            BTreeMap::from([("stable".to_owned(), 2000 - canary), ("canary".to_owned(), canary)])
        };
        assert!(judge(&tally(400), &wanted).is_empty());
        assert!(judge(&tally(455), &wanted).is_empty());
        assert_eq!(judge(&tally(470), &wanted).len(), 2, "both shares are off");
        assert_eq!(judge(&tally(330), &wanted).len(), 2);
        let stranger =
            BTreeMap::from([("stable".to_owned(), 1600), ("canary".to_owned(), 399), ("x".to_owned(), 1)]);
        assert_eq!(judge(&stranger, &wanted)[0].path, "x");
        let dark = split(&[("stable", 100.0), ("canary", 0.0)]);
        assert!(judge(&tally(0), &dark).is_empty());
        assert_eq!(judge(&tally(1), &dark).len(), 2, "one request is one too many");
    }
}
