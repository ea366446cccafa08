//! Header hygiene: hop-by-hop headers stop here (RFC 9110 7.6.1), forwarding is recorded, and the answer says who
//! gave it.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

/// Answer header: name of the revision that served the request.
pub const REVISION: HeaderName = HeaderName::from_static("x-windtunnel-revision");
/// Answer header: percent of the route that the chosen backend had when the request was routed.
pub const WEIGHT: HeaderName = HeaderName::from_static("x-windtunnel-weight");
/// Answer header: microseconds for which the activator held the request because no pod was ready.
pub const HELD_US: HeaderName = HeaderName::from_static("x-windtunnel-held-us");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes what belongs to one connection only, including whatever `Connection` lists.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
}

/// Makes a client's headers those of the request to a pod. `host` is the name that the client asked for, port
/// included.
pub(crate) fn forward(headers: &mut HeaderMap, host: &HeaderValue, client: IpAddr) {
    remove_hop_by_hop(headers);
    // The gateway answers the expectation itself, by reading the body.
    headers.remove(EXPECT);
    headers.insert(HOST, host.clone());
    let chain = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .chain([client.to_string()])
        .collect::<Vec<_>>()
        .join(", ");
    if let Ok(value) = HeaderValue::try_from(chain) {
        headers.insert(FORWARDED_FOR, value);
    }
    headers.entry(FORWARDED_HOST).or_insert_with(|| host.clone());
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that closes its own connection must not close the pod's, nor leak proxy credentials to it.
    #[test]
    fn connection_headers_stop_at_the_gateway() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "secret"),
            ("content-type", "application/json"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-type"]);
    }

    /// A model server that logs or limits by client address must see the client, not the gateway.
    #[test]
    fn the_client_is_appended_to_the_forwarding_chain() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let host = HeaderValue::from_static("digits.example.com");
        forward(&mut headers, &host, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(headers[FORWARDED_FOR], "203.0.113.9, 10.0.0.1");
        assert_eq!(headers[HOST], host);
        assert_eq!(headers[FORWARDED_HOST], host);
        assert_eq!(headers[FORWARDED_PROTO], "http");
    }
}
