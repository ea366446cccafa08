//! What a request is called in metrics.

use http::{header, request::Parts};

use crate::{
    kinds::Registry,
    pipeline::route::{self, Route},
    security::attributes::Attributes,
};

/// Paths that are no resources and are counted by themselves.
const PATHS: [&str; 10] = [
    "/",
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
];

/// The labels of a request.
#[derive(Debug)]
pub(super) struct Labels {
    /// `component="apiserver",dry_run="",…` in the order of their names.
    pub(super) text: String,
    pub(super) is_watch: bool,
    /// Watches and sessions, which last as long as their clients want.
    pub(super) is_long: bool,
    pub(super) is_write: bool,
    route: Route,
}

impl Labels {
    pub(super) fn of(head: &Parts) -> Self {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        let attributes = Attributes::of(head.method.as_str(), path, query);
        let route = route::parse(path);
        let (version, subresource) = match &route {
            Route::Static(path) => ("", path.as_str()),
            Route::Resource(found) => {
                let subresource = found.subresource.split('/').next().unwrap_or_default();
                (found.version.as_str(), subresource)
            }
        };
        let is_resource = matches!(route, Route::Resource(_));
        let is_session = is_resource
            && matches!(
                (attributes.resource.as_str(), subresource),
                ("pods", "log" | "exec" | "attach" | "portforward" | "proxy")
                    | ("services" | "nodes", "proxy")
            );
        let verb = match attributes.verb.as_str() {
            _ if is_session => "CONNECT".to_owned(),
            "create" | "post" => "POST".to_owned(),
            "update" | "put" => "PUT".to_owned(),
            "patch" if is_apply(head) => "APPLY".to_owned(),
            verb => verb.to_uppercase(),
        };
        let scope = if !attributes.name.is_empty() || attributes.verb == "create" {
            "resource"
        } else if !attributes.namespace.is_empty() {
            "namespace"
        } else if is_resource {
            "cluster"
        } else {
            ""
        };
        let mut dry_run = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "dryRun");
        let dry_run = if dry_run.any(|(_, value)| value == "All") { "All" } else { "" };
        let text = format!(
            "component=\"apiserver\",dry_run=\"{dry_run}\",group=\"{}\",resource=\"{}\",scope=\"{scope}\",\
subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\"",
            attributes.group, attributes.resource
        );
        let is_watch = verb == "WATCH";
        Self {
            text,
            is_watch,
            is_long: is_watch || is_session,
            is_write: !matches!(head.method.as_str(), "GET" | "HEAD"),
            route,
        }
    }

    /// Whether the request is about something that the server serves. Whatever else a client thinks of is not counted, so
    /// that the labels are no more than the server's resources times its verbs.
    pub(super) fn are_known(&self, registry: &Registry) -> bool {
        match &self.route {
            Route::Static(path) => PATHS.contains(&path.as_str()),
            Route::Resource(path) => {
                let is_word = path.subresource.len() < 32
                    && path.subresource.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'/');
                is_word && (route::is_virtual(path) || route::resolve(registry, path).is_ok())
            }
        }
    }
}

fn is_apply(head: &Parts) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/apply-patch"))
}
