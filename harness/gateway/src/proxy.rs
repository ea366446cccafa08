//! One request from arrival to the first byte of its answer.
//!
//! A request is sent a second time only when that cannot run it twice: the pod refused the connection, the request
//! never left, or a kept-alive connection was closed under it before one byte of an answer came. Methods that
//! are idempotent by definition (RFC 9110 9.2.2) are also sent again when a new connection breaks.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_TYPE, HOST},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::{
    activator::{Admitted, Denied, Lease, Revision},
    body::{AnswerBody, Exchange, PodBody},
    endpoint::Connection,
    error::Refusal,
    filters, headers,
    meter::Metered,
    replay::Replay,
    router::{Chosen, Router},
};

/// How often a request chooses again because its revision left the table while it waited.
const MAX_CHOICES: u32 = 16;
/// How often a request is sent again after a connection broke (refused connections don't count: they only wait).
const MAX_RESETS: u32 = 8;

/// Answers a request, from a pod or in the gateway's own words.
pub(crate) async fn serve(
    router: &Router,
    request: Request<Incoming>,
    client: IpAddr,
) -> Response<AnswerBody> {
    match forward(router, request, client).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::debug!(%refusal, "request refused");
            own_answer(&refusal)
        }
    }
}

fn own_answer(refusal: &Refusal) -> Response<AnswerBody> {
    let body = serde_json::json!({ "error": refusal.to_string() }).to_string();
    let mut response = Response::new(AnswerBody::Own(Some(Bytes::from(body))));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn forward(
    router: &Router,
    request: Request<Incoming>,
    client: IpAddr,
) -> Result<Response<AnswerBody>, Refusal> {
    let (mut head, body) = request.into_parts();
    let authority = authority(&head).ok_or(Refusal::NoHost)?;
    let host = host_name(authority.to_str().map_err(|_not_ascii| Refusal::NoHost)?);
    headers::forward(&mut head.headers, &authority, client);
    head.uri = origin_form(&head.uri);
    head.version = Version::HTTP_11;

    let body = Replay::new(body);
    let arrived = Instant::now();
    let mut held = None;
    for _ in 0..MAX_CHOICES {
        let matched = router.find(&host, &head)?;
        let mut changed = None;
        if !matched.filters().is_empty() {
            let changed = changed.insert(head.clone());
            if let Some(redirection) = filters::on_request(matched.filters(), &matched.prefix, changed) {
                return Ok(redirection.map(|()| AnswerBody::Own(None)));
            }
        }
        let chosen = Router::choose(&matched, &host)?;
        let trip = Trip {
            metered: chosen.revision.meter.start(),
            deadline: arrived + chosen.timeout,
            chosen: &chosen,
            held: &mut held,
        };
        match trip.run(changed.as_ref().unwrap_or(&head), &body).await {
            Ok(mut response) => {
                headers::remove_hop_by_hop(response.headers_mut());
                filters::on_response(matched.filters(), response.headers_mut());
                label(&mut response, &chosen, held);
                return Ok(response);
            }
            Err(Failure::Gone) => {}
            Err(Failure::Refused(refusal)) => return Err(refusal),
        }
    }
    Err(Refusal::Replaced { host, times: MAX_CHOICES })
}

/// Host as the client named it, port included: from the target (HTTP/2 and absolute form), else from `Host`.
fn authority(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(HOST).cloned(),
    }
}

/// Without user information and port, in lower case.
fn host_name(authority: &str) -> String {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        // An IPv6 literal has colons inside its brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

fn label(response: &mut Response<AnswerBody>, chosen: &Chosen, held: Option<Duration>) {
    let headers = response.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&chosen.revision.key.name) {
        headers.insert(headers::REVISION, name);
    }
    headers.insert(headers::WEIGHT, HeaderValue::from(chosen.percent));
    headers.remove(headers::HELD_US);
    if let Some(held) = held {
        headers
            .insert(headers::HELD_US, HeaderValue::from(u64::try_from(held.as_micros()).unwrap_or(u64::MAX)));
    }
}

/// A request on its way to one revision.
struct Trip<'a> {
    chosen: &'a Chosen,
    deadline: Instant,
    metered: Metered,
    held: &'a mut Option<Duration>,
}

enum Failure {
    /// The revision left the table before the request was sent.
    Gone,
    Refused(Refusal),
}

/// The first byte of an answer is here, and these stay occupied until its last.
struct Answered {
    response: Response<Incoming>,
    connection: Connection,
    lease: Lease,
}

/// How one attempt ended without an answer.
enum Attempt {
    /// Not processed for certain: go again.
    Again {
        reset: bool,
    },
    Refused(Refusal),
}

impl Trip<'_> {
    async fn run(mut self, head: &Parts, body: &Replay) -> Result<Response<AnswerBody>, Failure> {
        let mut resets = 0;
        loop {
            let lease = self.acquire().await?;
            match self.attempt(lease, head, body, resets < MAX_RESETS).await {
                Ok(Answered { response, connection, lease }) => {
                    let exchange = Exchange { connection, lease, metered: self.metered };
                    return Ok(response.map(|incoming| AnswerBody::Pod(PodBody::new(incoming, exchange))));
                }
                Err(Attempt::Again { reset }) => resets += u32::from(reset),
                Err(Attempt::Refused(refusal)) => return Err(Failure::Refused(refusal)),
            }
        }
    }

    async fn acquire(&mut self) -> Result<Lease, Failure> {
        let revision = &self.chosen.revision;
        let refused = match timeout_at(self.deadline, revision.acquire()).await {
            Ok(Ok(Admitted { lease, held })) => {
                if let Some(held) = held {
                    *self.held = Some(self.held.unwrap_or_default() + held);
                }
                return Ok(lease);
            }
            Ok(Err(Denied::Gone)) => return Err(Failure::Gone),
            Ok(Err(Denied::NoPod)) => Refusal::NoPod { revision: revision.key.clone() },
            Ok(Err(Denied::Full(depth))) => Refusal::QueueFull { revision: revision.key.clone(), depth },
            Err(_elapsed) => {
                Refusal::HeldTooLong { revision: revision.key.clone(), timeout_ms: self.timeout_ms() }
            }
        };
        Err(Failure::Refused(refused))
    }

    async fn attempt(
        &self,
        lease: Lease,
        head: &Parts,
        body: &Replay,
        may_reset: bool,
    ) -> Result<Answered, Attempt> {
        let revision: &Arc<Revision> = &self.chosen.revision;
        let pod = lease.endpoint.address;
        let Ok(connected) = timeout_at(self.deadline, lease.endpoint.connection()).await else {
            return Err(Attempt::Refused(Refusal::HeldTooLong {
                revision: revision.key.clone(),
                timeout_ms: self.timeout_ms(),
            }));
        };
        let mut connection: Connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%pod, %error, "cannot connect to pod");
                lease.suspend();
                return Err(Attempt::Again { reset: false });
            }
        };
        let Some(attempt_body) = body.attempt() else {
            // Only reached if an earlier attempt sent more than is kept, and such an attempt is not repeated.
            return Err(Attempt::Refused(Refusal::Broken {
                revision: revision.key.clone(),
                pod: pod.to_string(),
                cause: "too much of the request body was sent already".to_owned(),
            }));
        };
        let mut request = Request::new(attempt_body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.clone();

        let received_before = connection.received_bytes();
        let sent = connection.sender.try_send_request(request);
        let Ok(outcome) = timeout_at(self.deadline, sent).await else {
            return Err(Attempt::Refused(Refusal::TooSlow {
                revision: revision.key.clone(),
                pod: pod.to_string(),
                timeout_ms: self.timeout_ms(),
            }));
        };
        let mut failure = match outcome {
            Ok(response) => return Ok(Answered { response, connection, lease }),
            Err(failure) => failure,
        };
        let never_left = failure.take_message().is_some();
        let error = failure.into_error();
        if body.client_failed() {
            return Err(Attempt::Refused(Refusal::ClientBody { cause: error.to_string() }));
        }
        let answered = connection.received_bytes() != received_before;
        let safe = never_left || (!answered && (connection.reused || is_idempotent(&head.method)));
        // Its neighbours in the pool are as old as this one.
        lease.endpoint.forget_idle();
        if safe && may_reset && body.attempt().is_some() {
            tracing::debug!(%pod, %error, "connection closed under a request; sending it again");
            return Err(Attempt::Again { reset: true });
        }
        let (revision, pod, cause) = (revision.key.clone(), pod.to_string(), error.to_string());
        Err(Attempt::Refused(if error.is_parse() {
            Refusal::Malformed { revision, pod, cause }
        } else {
            Refusal::Broken { revision, pod, cause }
        }))
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.chosen.timeout.as_millis()).unwrap_or(u64::MAX)
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that names the gateway's port, capitals or a rooted name still reaches its service.
    #[test]
    fn hosts_are_compared_without_port_and_case() {
        for (authority, expected) in [
            ("digits.example.com", "digits.example.com"),
            ("Digits.Example.COM:8080", "digits.example.com"),
            ("digits.example.com.", "digits.example.com"),
            ("user@digits.example.com:80", "digits.example.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_name(authority), expected, "{authority}");
        }
    }
}
