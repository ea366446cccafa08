//! What a request asks for, in the words of roles: a verb on a resource, or on a path.

use percent_encoding::percent_decode_str;

use crate::{
    pipeline::route::{self, Route},
    status::{go_quote, qualified},
};

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The path of a request that is about no resource; empty otherwise.
    pub(crate) path: String,
}

impl Attributes {
    /// Of a request line.
    pub(crate) fn of(method: &str, path: &str, query: &str) -> Self {
        let Route::Resource(resource) = route::parse(path) else {
            let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
            return Self { verb: method.to_lowercase(), path, ..Self::default() };
        };
        let parameter = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == wanted).map(|(_, value)| value)
        };
        let mut name = resource.name.unwrap_or_default();
        let verb = match method {
            "GET" | "HEAD" if resource.watch => "watch",
            "GET" | "HEAD" if name.is_empty() => {
                if let Some(only) = parameter("fieldSelector").as_deref().and_then(name_selected) {
                    name = only.to_owned();
                }
                match parameter("watch").as_deref() {
                    None | Some("false" | "0") => "list",
                    Some(_) => "watch",
                }
            }
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if name.is_empty() => "deletecollection",
            "DELETE" => "delete",
            _ => "",
        };
        let mut namespace = resource.namespace.unwrap_or_default();
        if resource.resource == "namespaces" && namespace.is_empty() {
            namespace.clone_from(&name);
        }
        Self {
            verb: verb.to_owned(),
            group: resource.group,
            resource: resource.resource,
            subresource: resource.subresource,
            namespace,
            name,
            path: String::new(),
        }
    }

    /// `pods`, `deployments/scale`: as rules write it.
    pub(crate) fn rule_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The refusal in Kubernetes' words, without what the roles have to add.
    pub(crate) fn refusal(&self, user: &str) -> String {
        let user = go_quote(user);
        if !self.path.is_empty() {
            return format!("forbidden: User {user} cannot {} path {}", self.verb, go_quote(&self.path));
        }
        let mut subject = qualified(&self.resource, &self.group);
        if !self.name.is_empty() {
            subject = format!("{subject} {}", go_quote(&self.name));
        }
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {}", go_quote(&self.namespace))
        };
        format!(
            "{subject} is forbidden: User {user} cannot {} resource {} in API group {} {place}",
            self.verb,
            go_quote(&self.rule_resource()),
            go_quote(&self.group)
        )
    }
}

/// The one name that `metadata.name=NAME` selects.
fn name_selected(selector: &str) -> Option<&str> {
    selector.split(',').find_map(|term| {
        let name = term.trim().strip_prefix("metadata.name=")?;
        Some(name.strip_prefix('=').unwrap_or(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str, query: &str) -> (String, String, String, String) {
        let found = Attributes::of(method, path, query);
        (found.verb.clone(), found.rule_resource(), found.namespace, found.name)
    }

    #[track_caller]
    fn check(line: &str, expected: [&str; 4]) {
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let found = of(method, path, query);
        assert_eq!([found.0.as_str(), &found.1, &found.2, &found.3], expected, "{line}");
    }

    #[test]
    fn requests_in_the_words_of_roles() {
        check("GET /api/v1/namespaces/n/pods", ["list", "pods", "n", ""]);
        check("GET /api/v1/namespaces/n/pods?watch=1", ["watch", "pods", "n", ""]);
        check("GET /api/v1/namespaces/n/pods?watch=false", ["list", "pods", "n", ""]);
        check("GET /api/v1/watch/namespaces/n/pods", ["watch", "pods", "n", ""]);
        check("GET /api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Dp", ["list", "pods", "n", "p"]);
        check("HEAD /api/v1/namespaces/n/pods/p/log", ["get", "pods/log", "n", "p"]);
        check("DELETE /api/v1/namespaces/n/pods", ["deletecollection", "pods", "n", ""]);
        check(
            "PATCH /apis/apps/v1/namespaces/n/deployments/d/scale",
            ["patch", "deployments/scale", "n", "d"],
        );
        check("GET /api/v1/namespaces/n", ["get", "namespaces", "n", "n"]);
        check("POST /api/v1/namespaces", ["create", "namespaces", "", ""]);
    }

    #[test]
    fn a_path_that_is_no_resource_keeps_its_words() {
        let found = Attributes::of("GET", "/metrics", "");
        assert_eq!((found.verb.as_str(), found.path.as_str()), ("get", "/metrics"));
        assert_eq!(found.refusal("jane"), "forbidden: User \"jane\" cannot get path \"/metrics\"");
    }
}
