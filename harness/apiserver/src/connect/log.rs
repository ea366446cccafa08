//! `GET pods/NAME/log`.

use std::convert::Infallible;

use futures::StreamExt as _;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{LogOptions, is_true, kubelet, parameters, target::PodTarget};
use crate::{
    http_layer::ResponseBody,
    pipeline::{Request, route::ResourcePath},
    server::ApiServer,
    status::{ApiError, FieldError},
};

pub(super) async fn respond(
    server: &ApiServer,
    request: &Request,
    path: &ResourcePath,
) -> Result<Response<ResponseBody>, ApiError> {
    if request.method != "GET" {
        return Err(ApiError::method_not_allowed());
    }
    let name = path.name.as_deref().unwrap_or_default();
    let (options, container) = parse(&parameters(request), name, Timestamp::now())?;
    let pod = PodTarget::find(server, path, name)?;
    let container = pod.container(&container)?;
    if !pod.is_scheduled() {
        // There is nobody to ask, and nothing that could have been written.
        let mut response = Response::new(Empty::new().boxed_unsync());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let stream = kubelet(server)?.logs(container, options).await?;
    let frames = stream.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

/// The options and the container's name.
fn parse(
    parameters: &[(String, String)],
    pod: &str,
    now: Timestamp,
) -> Result<(LogOptions, String), ApiError> {
    let mut options = LogOptions::default();
    let mut container = String::new();
    let mut errors = Vec::new();
    let (mut since_seconds, mut since_time) = (None, None);
    for (key, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        match key.as_str() {
            "container" => container.clone_from(value),
            "follow" => options.follow = is_true(value),
            "previous" => options.previous = is_true(value),
            "timestamps" => options.timestamps = is_true(value),
            "sinceSeconds" => since_seconds = Some(integer(value)?),
            "sinceTime" => {
                let time: Timestamp = value.parse().map_err(|_| {
                    ApiError::bad_request(format!("sinceTime: {value:?} is not a time; write it as RFC 3339"))
                })?;
                since_time = Some(time);
            }
            "tailLines" => {
                let lines = integer(value)?;
                match u64::try_from(lines) {
                    Ok(lines) => options.tail_lines = Some(lines),
                    Err(_) => errors.push(FieldError::invalid(
                        "tailLines",
                        &Value::from(lines),
                        "must be greater than or equal to 0",
                    )),
                }
            }
            "limitBytes" => {
                let bytes = integer(value)?;
                match u64::try_from(bytes) {
                    Ok(bytes) if bytes > 0 => options.limit_bytes = Some(bytes),
                    _ => errors.push(FieldError::invalid(
                        "limitBytes",
                        &Value::from(bytes),
                        "must be greater than 0",
                    )),
                }
            }
            "stream" => match value.as_str() {
                "All" => {}
                "Stdout" => options.stream = Some("stdout"),
                "Stderr" => options.stream = Some("stderr"),
                other => errors.push(FieldError::not_supported(
                    "stream",
                    &Value::from(other),
                    &["All", "Stdout", "Stderr"],
                )),
            },
            _ => {}
        }
    }
    match (since_seconds, since_time) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::forbidden(
                "",
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        (Some(seconds), None) if seconds < 1 => {
            errors.push(FieldError::invalid("sinceSeconds", &Value::from(seconds), "must be greater than 0"))
        }
        (Some(seconds), None) => {
            options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
        }
        (None, time) => options.since = time,
    }
    if options.tail_lines.is_some() && options.stream.is_some() {
        errors.push(FieldError::forbidden(
            "",
            "`tailLines` and specific `stream` are mutually exclusive for now",
        ));
    }
    if errors.is_empty() {
        Ok((options, container))
    } else {
        Err(ApiError::invalid("", "PodLogOptions", pod, &errors))
    }
}

fn integer(value: &str) -> Result<i64, ApiError> {
    value.parse().map_err(|_| {
        ApiError::bad_request(format!("strconv.ParseInt: parsing {}: invalid syntax", Value::from(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> Result<(LogOptions, String), ApiError> {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        parse(&pairs, "p", Timestamp::UNIX_EPOCH)
    }

    /// If this fails `kubectl logs` shows another part of the log than was asked for.
    #[test]
    fn the_query_is_read_and_checked() {
        let (options, container) = parsed(&[
            ("container", "c"),
            ("follow", "true"),
            ("tailLines", "0"),
            ("sinceSeconds", "5"),
            ("limitBytes", "8"),
            ("timestamps", "1"),
            ("previous", "false"),
        ])
        .expect("good");
        assert_eq!(container, "c");
        assert_eq!((options.follow, options.previous, options.timestamps), (true, false, true));
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(0), Some(8)));
        assert_eq!(options.since.map(Timestamp::as_second), Some(-5));
        for (key, value, message) in [
            ("tailLines", "-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes", "0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds", "0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ] {
            let refusal = parsed(&[(key, value)]).expect_err(value);
            assert_eq!(refusal.code, 422);
            assert_eq!(refusal.message, format!("PodLogOptions \"p\" is invalid: {message}"));
        }
        assert_eq!(parsed(&[("tailLines", "x")]).expect_err("no number").code, 400);
        assert_eq!(parsed(&[("sinceTime", "yesterday")]).expect_err("no time").code, 400);
    }
}
