//! What a rule changes of a request and of its answer.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri,
    header::{HOST, LOCATION},
    request::Parts,
};

use crate::table::{Filter, HeaderChanges, PathChange};

/// Makes the request the one that the pod gets. A redirection comes back as the answer, and no pod is asked.
pub(crate) fn on_request(filters: &[Filter], matched_prefix: &str, head: &mut Parts) -> Option<Response<()>> {
    for filter in filters {
        match filter {
            Filter::RequestHeaders(changes) => change(&mut head.headers, changes),
            Filter::Rewrite { host, path } => {
                if let Some(host) = host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
                    head.headers.insert(HOST, host);
                }
                if let Some(path) = path {
                    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                    let new = format!("{}{query}", changed_path(path, matched_prefix, head.uri.path()));
                    if let Ok(uri) = new.parse::<Uri>() {
                        head.uri = uri;
                    }
                }
            }
            Filter::Redirect { scheme, host, port, path, status } => {
                let asked = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                let (asked_host, asked_port) = asked.rsplit_once(':').unwrap_or((asked, ""));
                let target_scheme = scheme.as_deref().unwrap_or("http");
                let port = match port {
                    Some(port) => port.to_string(),
                    // Another scheme has another port of its own.
                    None if scheme.is_some() => String::new(),
                    None => asked_port.to_owned(),
                };
                let shown = match (target_scheme, port.as_str()) {
                    (_, "") | ("http", "80") | ("https", "443") => String::new(),
                    (_, port) => format!(":{port}"),
                };
                let path = path.as_ref().map_or_else(
                    || head.uri.path().to_owned(),
                    |path| changed_path(path, matched_prefix, head.uri.path()),
                );
                let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                let target_host = host.as_deref().unwrap_or(asked_host);
                let location = format!("{target_scheme}://{target_host}{shown}{path}{query}");
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::FOUND);
                if let Ok(location) = HeaderValue::try_from(location) {
                    response.headers_mut().insert(LOCATION, location);
                }
                return Some(response);
            }
            Filter::ResponseHeaders(_) => {}
        }
    }
    None
}

/// Makes the pod's answer the one that the client gets.
pub(crate) fn on_response(filters: &[Filter], headers: &mut HeaderMap) {
    for filter in filters {
        if let Filter::ResponseHeaders(changes) = filter {
            change(headers, changes);
        }
    }
}

fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    let parsed = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    for (name, value) in changes.set.iter().filter_map(parsed) {
        headers.insert(name, value);
    }
    for (name, value) in changes.add.iter().filter_map(parsed) {
        headers.append(name, value);
    }
    for name in &changes.remove {
        headers.remove(name.as_str());
    }
}

fn changed_path(change: &PathChange, matched_prefix: &str, path: &str) -> String {
    match change {
        PathChange::Full(path) => path.clone(),
        PathChange::Prefix(prefix) => {
            let rest = path.strip_prefix(matched_prefix).unwrap_or(path).trim_start_matches('/');
            match (prefix.trim_end_matches('/'), rest) {
                ("", rest) => format!("/{rest}"),
                (prefix, "") => prefix.to_owned(),
                (prefix, rest) => format!("{prefix}/{rest}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(uri: &str) -> Parts {
        let request =
            Request::builder().uri(uri).header(HOST, "digits.example.com:8080").header("x-old", "1");
        request.body(()).unwrap().into_parts().0
    }

    /// The examples of the Gateway API's own description of prefix replacement.
    #[test]
    fn prefixes_are_replaced_by_whole_segments() {
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
        ] {
            let changed = changed_path(&PathChange::Prefix(replacement.into()), prefix, path);
            assert_eq!(changed, expected, "{path} {prefix} {replacement}");
        }
    }

    /// KServe's routes name the service in headers that the client cannot forge.
    #[test]
    fn headers_are_set_added_and_removed() {
        let mut head = head("/");
        let changes = HeaderChanges {
            set: vec![("KServe-Isvc-Name".into(), "digits".into()), ("x-old".into(), "2".into())],
            add: vec![("x-old".into(), "3".into())],
            remove: vec!["host".into()],
        };
        assert!(on_request(&[Filter::RequestHeaders(changes)], "", &mut head).is_none());
        assert_eq!(head.headers["kserve-isvc-name"], "digits");
        assert_eq!(head.headers.get_all("x-old").iter().collect::<Vec<_>>(), ["2", "3"]);
        assert!(!head.headers.contains_key(HOST));
    }

    /// A redirection keeps what it does not name.
    #[test]
    fn redirections() {
        let redirect = |scheme: Option<&str>, port| Filter::Redirect {
            scheme: scheme.map(str::to_owned),
            host: None,
            port,
            path: None,
            status: 301,
        };
        for (filter, expected) in [
            (redirect(None, None), "http://digits.example.com:8080/a?b=1"),
            (redirect(Some("https"), None), "https://digits.example.com/a?b=1"),
            (redirect(Some("https"), Some(8443)), "https://digits.example.com:8443/a?b=1"),
        ] {
            let answer = on_request(&[filter], "", &mut head("/a?b=1")).unwrap();
            assert_eq!(answer.status(), StatusCode::MOVED_PERMANENTLY);
            assert_eq!(answer.headers()[LOCATION], expected);
        }
    }
}
