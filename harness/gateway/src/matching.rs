//! Which rule a request belongs to: the Gateway API's HTTPRoute matches, compiled and in order of precedence.

use std::cmp::Reverse;

use http::request::Parts;
use regex::Regex;

use crate::table::{PathMatch, RequestMatch, TextMatch};

/// One compiled match.
pub(crate) struct Matcher {
    path: Path,
    method: Option<String>,
    headers: Vec<(String, Text)>,
    query: Vec<(String, Text)>,
}

enum Path {
    Any,
    Exact(String),
    /// Without the slash at its end.
    Prefix(String),
    Regex(Regex),
    /// A regular expression that cannot be used matches nothing.
    Never,
}

enum Text {
    Exact(String),
    Regex(Regex),
    Never,
}

/// Sorts before those of matches that are less specific.
pub(crate) type Precedence = (Reverse<(u8, usize)>, Reverse<bool>, Reverse<usize>, Reverse<usize>);

impl Matcher {
    pub(crate) fn new(wanted: &RequestMatch) -> Self {
        let path = match &wanted.path {
            None => Path::Any,
            Some(PathMatch::Exact(path)) => Path::Exact(path.clone()),
            Some(PathMatch::Prefix(prefix)) => match prefix.trim_end_matches('/') {
                "" => Path::Any,
                prefix => Path::Prefix(prefix.to_owned()),
            },
            Some(PathMatch::Regex(pattern)) => regex(pattern).map_or(Path::Never, Path::Regex),
        };
        Self {
            path,
            method: wanted.method.clone(),
            headers: wanted.headers.iter().map(|(name, text)| (name.clone(), Text::new(text))).collect(),
            query: wanted.query.iter().map(|(name, text)| (name.clone(), Text::new(text))).collect(),
        }
    }

    pub(crate) fn precedence(&self) -> Precedence {
        let path = match &self.path {
            Path::Exact(path) => (3, path.len()),
            Path::Regex(pattern) => (2, pattern.as_str().len()),
            Path::Prefix(prefix) => (1, prefix.len()),
            Path::Any | Path::Never => (0, 0),
        };
        (
            Reverse(path),
            Reverse(self.method.is_some()),
            Reverse(self.headers.len()),
            Reverse(self.query.len()),
        )
    }

    pub(crate) fn matches(&self, head: &Parts) -> bool {
        self.method.as_deref().is_none_or(|method| method == head.method.as_str())
            && self.path.matches(head.uri.path())
            && self.headers.iter().all(|(name, text)| {
                let value = head.headers.get(name.as_str()).and_then(|value| value.to_str().ok());
                value.is_some_and(|value| text.matches(value))
            })
            && self.query.iter().all(|(name, text)| {
                let query = head.uri.query().unwrap_or_default();
                // Of a parameter that is there twice the first counts.
                let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
                found.is_some_and(|(_, value)| text.matches(&value))
            })
    }

    /// The prefix that the match is about, for filters that replace it.
    pub(crate) fn prefix(&self) -> &str {
        match &self.path {
            Path::Prefix(prefix) => prefix,
            _ => "",
        }
    }
}

impl Path {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(pattern) => pattern.is_match(path),
            Self::Never => false,
        }
    }
}

impl Text {
    fn new(text: &TextMatch) -> Self {
        match text {
            TextMatch::Exact(value) => Self::Exact(value.clone()),
            TextMatch::Regex(pattern) => regex(pattern).map_or(Self::Never, Self::Regex),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => value == exact,
            Self::Regex(pattern) => pattern.is_match(value),
            Self::Never => false,
        }
    }
}

fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern)
        .inspect_err(|error| tracing::warn!(pattern, %error, "a route's regular expression matches nothing"))
        .ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: &str, uri: &str) -> Parts {
        let request =
            Request::builder().method(method).uri(uri).header("content-type", "application/grpc+proto");
        request.body(()).unwrap().into_parts().0
    }

    fn path(path: PathMatch) -> Matcher {
        Matcher::new(&RequestMatch { path: Some(path), ..RequestMatch::default() })
    }

    /// `/v1` must not catch `/v10`, and KServe's regular expressions must catch what they are for.
    #[test]
    fn paths() {
        for (wanted, uri, expected) in [
            (PathMatch::Exact("/v1".into()), "/v1?x=1", true),
            (PathMatch::Exact("/v1".into()), "/v1/", false),
            (PathMatch::Prefix("/v1/".into()), "/v1", true),
            (PathMatch::Prefix("/v1".into()), "/v1/models", true),
            (PathMatch::Prefix("/v1".into()), "/v10", false),
            (PathMatch::Prefix("/".into()), "/anything", true),
            (PathMatch::Regex(r"^/v1/models/[\w-]+:explain$".into()), "/v1/models/a-b:explain", true),
            (PathMatch::Regex(r"^/v1/models/[\w-]+:explain$".into()), "/v1/models/a-b:predict", false),
            (PathMatch::Regex("(".into()), "/", false),
        ] {
            assert_eq!(path(wanted.clone()).matches(&head("GET", uri)), expected, "{wanted:?} {uri}");
        }
    }

    /// All parts of a match count together.
    #[test]
    fn headers_query_and_method() {
        let matcher = Matcher::new(&RequestMatch {
            path: None,
            method: Some("POST".into()),
            headers: vec![("Content-Type".into(), TextMatch::Regex("^application/grpc.*$".into()))],
            query: vec![("tenant".into(), TextMatch::Exact("a b".into()))],
        });
        assert!(matcher.matches(&head("POST", "/?tenant=a+b&tenant=c")));
        assert!(!matcher.matches(&head("POST", "/?tenant=c&tenant=a+b")));
        assert!(!matcher.matches(&head("GET", "/?tenant=a+b")));
        assert!(!matcher.matches(&head("POST", "/")));
    }

    /// The explainer's rule comes before the one for everything, whatever their order.
    #[test]
    fn the_most_specific_comes_first() {
        let all = [
            path(PathMatch::Prefix("/".into())),
            path(PathMatch::Prefix("/v1".into())),
            path(PathMatch::Regex("^/.*$".into())),
            path(PathMatch::Regex(r"^/v1/models/[\w-]+:explain$".into())),
            path(PathMatch::Exact("/v1".into())),
        ];
        let order: Vec<_> = all.iter().map(Matcher::precedence).collect();
        assert!(order.is_sorted_by(|before, after| before > after), "{order:?}");
    }
}
