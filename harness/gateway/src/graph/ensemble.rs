//! Ensemble: all steps at the same time, their answers in one object.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::StatusCode;

use super::{
    error::{Cause, Failure},
    execute::{Answer, Run},
    gjson::{self, Kind},
    plan::Node,
};

/// The steps' answers by name with status 200; or the answer of the first hard step (in the order of the graph) that failed;
/// or the first failure. Steps that are still on their way then are broken off.
pub(super) async fn run(run: &Run<'_>, node: &Node, request: Bytes) -> Result<Answer, Failure> {
    let mut running: FuturesUnordered<_> = node
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let request = request.clone();
            async move {
                let answer = run.step(step, request).await?;
                let object = object(&answer.body).map_err(|found| Cause::NotAnObject {
                    node: node.name.clone(),
                    step: format!("{:?}", step.key),
                    found,
                })?;
                Ok::<_, Failure>((index, answer.status, object))
            }
        })
        .collect();
    let mut answers: Vec<Option<(StatusCode, String)>> = vec![None; node.steps.len()];
    // Sorted by name, as Go writes a map.
    let mut merged: BTreeMap<&str, String> = BTreeMap::new();
    let mut next = 0;
    while next < answers.len() {
        let Some((status, object)) = answers[next].take() else {
            if let Some(answered) = running.next().await {
                let (index, status, object) = answered?;
                answers[index] = Some((status, object));
            }
            continue;
        };
        let step = &node.steps[next];
        if step.is_hard && !status.is_success() {
            tracing::info!(node = node.name, step = step.key, %status, "hard dependency failed");
            return Ok(Answer { status, body: object.into() });
        }
        merged.insert(&step.key, object);
        next += 1;
    }
    let mut body = String::from("{");
    for (key, object) in merged {
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&serde_json::Value::from(key).to_string());
        body.push(':');
        body.push_str(&object);
    }
    body.push('}');
    Ok(Answer { status: StatusCode::OK, body: body.into() })
}

/// A body's text if it is an object, or `null`, which Go reads as an empty map; else what it is.
fn object(body: &[u8]) -> Result<String, String> {
    if body.is_empty() {
        return Err("an empty body".to_owned());
    }
    let Some(text) = std::str::from_utf8(body).ok().filter(|_| gjson::is_valid(body)).map(str::trim) else {
        let shown: String = String::from_utf8_lossy(body).chars().take(80).collect();
        return Err(format!("what is not JSON ({shown:?})"));
    };
    match gjson::kind(text) {
        Kind::Object | Kind::Null => Ok(text.to_owned()),
        Kind::Array => Err("an array".to_owned()),
        Kind::String => Err("a string".to_owned()),
        Kind::Number => Err("a number".to_owned()),
        Kind::True | Kind::False => Err("a bool".to_owned()),
    }
}
