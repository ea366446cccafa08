//! Sequence: one step after the other.

use bytes::Bytes;
use http::StatusCode;

use super::{
    Profile,
    error::{Cause, Failure},
    execute::{Answer, Run},
    gjson::{self, Elements, Kind, Members},
    plan::Node,
    switch::holds,
};

/// The answer of the last step that was run: the last of all, the first hard one that failed, or the one before a condition
/// that its answer does not meet.
pub(super) async fn run(run: &Run<'_>, node: &Node, request: Bytes) -> Result<Answer, Failure> {
    let mut last: Option<Answer> = None;
    for step in &node.steps {
        let mut input = match &last {
            Some(last) if step.takes_response => last.body.clone(),
            _ => request.clone(),
        };
        if step.maps_predictions
            && let Some(mapped) = predictions_to_instances(&input)
        {
            input = mapped;
        }
        if let Some(condition) = &step.condition {
            // The first step has no answer before it, which is no JSON either.
            let before = last.take().ok_or(Cause::InvalidResponse)?;
            match holds(condition, &before.body) {
                None => return Err(Cause::InvalidResponse.into()),
                Some(true) => {}
                Some(false) => {
                    let status = match run.profile {
                        Profile::Windtunnel => before.status,
                        Profile::Upstream => StatusCode::OK,
                    };
                    return Ok(Answer { status, ..before });
                }
            }
        }
        let answer = run.step(step, input).await?;
        if step.is_hard && !answer.status.is_success() {
            tracing::info!(node = node.name, step = step.key, status = %answer.status, "hard dependency failed");
            return Ok(answer);
        }
        last = Some(answer);
    }
    // A graph is refused when a sequence has no steps.
    last.ok_or_else(|| Cause::InvalidResponse.into())
}

/// `{"predictions": [...]}` as `{"instances": [...]}`, without any other member; `None` where there are no predictions or
/// the text is something else. Values keep their text, so that no number loses a digit. Names count without case, as Go
/// reads them, and the last of a kind counts.
fn predictions_to_instances(body: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok().filter(|_| gjson::is_valid(body))?.trim();
    if gjson::kind(text) != Kind::Object {
        return None;
    }
    let mut predictions = None;
    for (key, value) in Members::of(text) {
        let key = gjson::unescape(key);
        let is_predictions = key.eq_ignore_ascii_case("predictions");
        if !is_predictions && !key.eq_ignore_ascii_case("instances") {
            continue;
        }
        match gjson::kind(value) {
            Kind::Array if is_predictions => predictions = Some(value),
            Kind::Null if is_predictions => predictions = None,
            Kind::Array | Kind::Null => {}
            _ => return None,
        }
    }
    let predictions = predictions.filter(|array| Elements::of(array).next().is_some())?;
    Some(Bytes::from(format!("{{\"instances\":{predictions}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a chained model gets the wrong input.
    #[test]
    fn predictions_become_instances_and_nothing_else_stays() {
        for (body, expected) in [
            (r#"{"predictions":[1,2]}"#, Some(r#"{"instances":[1,2]}"#)),
            (r#" {"id":"a","predictions": [[0.10]] ,"instances":[7]} "#, Some(r#"{"instances":[[0.10]]}"#)),
            (r#"{"predictions":[12345678901234567890]}"#, Some(r#"{"instances":[12345678901234567890]}"#)),
            (r#"{"Predictions":[1]}"#, Some(r#"{"instances":[1]}"#)),
            (r#"{"predictions":[1],"predictions":[2]}"#, Some(r#"{"instances":[2]}"#)),
            (r#"{"predictions":[]}"#, None),
            (r#"{"predictions":"1"}"#, None),
            (r#"{"predictions":[1],"instances":"x"}"#, None),
            (r#"{"predictions":[1],"predictions":null}"#, None),
            (r#"{"instances":[1]}"#, None),
            (r#"[{"predictions":[1]}]"#, None),
            (r#"{"predictions":[1]"#, None),
            ("", None),
        ] {
            assert_eq!(
                predictions_to_instances(body.as_bytes()),
                expected.map(|text| Bytes::from_static(text.as_bytes())),
                "{body}"
            );
        }
    }
}
