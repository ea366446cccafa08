//! Paths.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::Target;
use crate::kinds::Registry;

/// What kind of path it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Discovery, health and the like, without a trailing slash.
    Static(String),
    Resource(ResourcePath),
}

/// The parts of a resource path, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    /// The legacy form `/api/v1/watch/…`.
    pub(crate) watch: bool,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: String,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    NoSuchGroup,
    NoSuchResource,
}

/// Resources that take a POST and are never stored.
const VIRTUAL: &[&str] = &[
    "bindings",
    "subjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "localsubjectaccessreviews",
    "tokenreviews",
    "selfsubjectreviews",
];

pub(crate) fn parse(path: &str) -> Route {
    let path = path.trim_end_matches('/');
    let mut segments = Vec::new();
    for segment in path.trim_start_matches('/').split('/') {
        match percent_decode_str(segment).decode_utf8() {
            Ok(text) => segments.push(text.into_owned()),
            Err(_) => return Route::Static(path.to_owned()),
        }
    }
    let (group, version, mut rest) = match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["api", version, _, ..] => (String::new(), version.to_owned(), &segments[2..]),
        ["apis", group, version, _, ..] => (group.to_owned(), version.to_owned(), &segments[3..]),
        _ => return Route::Static(if path.is_empty() { "/".into() } else { path.to_owned() }),
    };
    let watch = rest.first().is_some_and(|first| first == "watch") && rest.len() > 1;
    if watch {
        rest = &rest[1..];
    }
    let mut found = ResourcePath { group, version, watch, ..ResourcePath::default() };
    let is_namespace_itself =
        rest.len() <= 2 || (rest.len() == 3 && matches!(rest[2].as_str(), "status" | "finalize"));
    if rest[0] == "namespaces" && !is_namespace_itself {
        found.namespace = Some(rest[1].clone());
        rest = &rest[2..];
    }
    found.resource = rest[0].clone();
    found.name = rest.get(1).cloned();
    found.subresource = rest.get(2..).map(|parts| parts.join("/")).unwrap_or_default();
    Route::Resource(found)
}

/// Finds the kind and version of a path.
pub(crate) fn resolve(registry: &Registry, path: &ResourcePath) -> Result<Target, Unresolved> {
    let mut versions = registry.of_group(&path.group).flat_map(|kind| &kind.versions);
    if !versions.any(|version| version.served && *version.name == *path.version) && !is_virtual(path) {
        return Err(Unresolved::NoSuchGroup);
    }
    let kind = registry.get(&path.group, &path.resource).ok_or(Unresolved::NoSuchResource)?;
    let version = kind.version(&path.version).filter(|version| kind.versions[*version].served);
    let version = version.ok_or(Unresolved::NoSuchResource)?;
    if kind.is_custom() && !kind.namespaced && path.namespace.is_some() {
        return Err(Unresolved::NoSuchGroup);
    }
    let empty = |text: &Option<String>| text.as_deref() == Some("");
    if (!kind.namespaced && path.namespace.is_some())
        || (kind.namespaced && path.namespace.is_none() && path.name.is_some())
        || empty(&path.name)
        || empty(&path.namespace)
    {
        return Err(Unresolved::NoSuchResource);
    }
    Ok(Target {
        kind: Arc::clone(kind),
        version,
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        subresource: path.subresource.clone(),
    })
}

/// Whether the resource takes a POST only.
pub(crate) fn is_virtual(path: &ResourcePath) -> bool {
    VIRTUAL.contains(&path.resource.as_str()) && path.name.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> ResourcePath {
        match parse(path) {
            Route::Resource(found) => found,
            Route::Static(path) => panic!("{path} is no resource"),
        }
    }

    #[test]
    fn every_form_of_path_finds_its_parts() {
        let pod = resource("/api/v1/namespaces/n/pods/p/log");
        assert_eq!((pod.namespace.as_deref(), pod.name.as_deref()), (Some("n"), Some("p")));
        assert_eq!((pod.resource.as_str(), pod.subresource.as_str()), ("pods", "log"));
        let namespace = resource("/api/v1/namespaces/n/status");
        assert_eq!((namespace.resource.as_str(), namespace.name.as_deref()), ("namespaces", Some("n")));
        let cluster_wide = resource("/apis/apps/v1/deployments");
        assert_eq!((cluster_wide.group.as_str(), cluster_wide.namespace), ("apps", None));
        assert!(resource("/api/v1/watch/namespaces/n/configmaps/a").watch);
        assert_eq!(parse("/apis/apps/v1/"), Route::Static("/apis/apps/v1".into()));
        assert_eq!(parse("/"), Route::Static("/".into()));
    }

    #[test]
    fn a_name_cannot_climb_out_of_its_namespace() {
        let path = resource("/api/v1/namespaces/n/pods/..%2F..%2Fother");
        assert_eq!(path.name.as_deref(), Some("../../other"), "stays one name, which no object has");
        assert!(matches!(parse("/api/v1/namespaces/%ff/pods"), Route::Static(_)));
    }
}
