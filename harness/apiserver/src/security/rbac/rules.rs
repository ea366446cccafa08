//! One rule of a role: whether it allows a request, and whether rules cover other rules.

use serde_json::{Map, Value, json};

use crate::{object::list, security::attributes::Attributes, status::go_quote};

/// A rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) verbs: Vec<String>,
}

impl Rule {
    pub(crate) fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            list(rule, &[field]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        };
        Self {
            groups: texts("apiGroups"),
            resources: texts("resources"),
            urls: texts("nonResourceURLs"),
            names: texts("resourceNames"),
            verbs: texts("verbs"),
        }
    }

    /// As a review shows it.
    pub(crate) fn show(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("verbs".into(), json!(self.verbs));
        for (field, values) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.urls),
        ] {
            if !values.is_empty() {
                shown.insert(field.into(), json!(values));
            }
        }
        Value::Object(shown)
    }

    pub(crate) fn allows(&self, request: &Attributes) -> bool {
        if !has(&self.verbs, &request.verb) {
            return false;
        }
        if !request.path.is_empty() {
            return self.urls.iter().any(|url| url_covers(url, &request.path));
        }
        has(&self.groups, &request.group)
            && self.resources.iter().any(|rule| names_resource(rule, &request.resource, &request.subresource))
            && (self.names.is_empty() || self.names.contains(&request.name))
    }

    /// The rule taken apart into rules of one verb on one thing.
    fn parts(&self) -> Vec<Rule> {
        let mut parts = Vec::new();
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            for url in &self.urls {
                parts.push(Self { urls: vec![url.clone()], verbs: verbs.clone(), ..Self::default() });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let part = Self {
                        groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        verbs: verbs.clone(),
                        ..Self::default()
                    };
                    if self.names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    parts.extend(
                        self.names.iter().map(|name| Self { names: vec![name.clone()], ..part.clone() }),
                    );
                }
            }
        }
        parts
    }

    /// Whether this rule grants all that a part grants.
    fn covers(&self, part: &Rule) -> bool {
        let all = |own: &[String], wanted: &[String]| wanted.iter().all(|value| has(own, value));
        if !all(&self.verbs, &part.verbs) {
            return false;
        }
        if !part.urls.is_empty() {
            return part.urls.iter().all(|wanted| self.urls.iter().any(|url| url_covers(url, wanted)));
        }
        all(&self.groups, &part.groups)
            && part.resources.iter().all(|wanted| {
                let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
                self.resources.iter().any(|own| names_resource(own, resource, subresource))
            })
            && (self.names.is_empty()
                || (!part.names.is_empty() && part.names.iter().all(|name| self.names.contains(name))))
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`.
    fn compact(&self) -> String {
        let mut fields = Vec::new();
        for (name, values) in [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(|value| go_quote(value)).collect();
                fields.push(format!("{name}:[{}]", values.join(" ")));
            }
        }
        format!("{{{}}}", fields.join(", "))
    }
}

/// What of `wanted` no rule of `held` grants, a line a thing; empty when all is held.
pub(crate) fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let missing =
        wanted.iter().flat_map(Rule::parts).filter(|part| !held.iter().any(|rule| rule.covers(part)));
    let mut merged: Vec<Rule> = Vec::new();
    for part in missing {
        let same = |rule: &&mut Rule| {
            rule.groups == part.groups
                && rule.resources == part.resources
                && rule.urls == part.urls
                && rule.names == part.names
        };
        match merged.iter_mut().find(same) {
            Some(rule) if rule.verbs.contains(&part.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(part.verbs),
            None => merged.push(part),
        }
    }
    merged.sort();
    merged.iter().map(Rule::compact).collect()
}

fn has(own: &[String], wanted: &str) -> bool {
    own.iter().any(|value| value == "*" || value == wanted)
}

/// `*`, `pods`, `pods/log`, `*/scale`.
fn names_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        None => subresource.is_empty() && rule == resource,
        Some((own, own_subresource)) => own_subresource == subresource && (own == "*" || own == resource),
    }
}

fn url_covers(rule: &str, url: &str) -> bool {
    rule == "*" || rule == url || rule.strip_suffix('*').is_some_and(|prefix| url.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn rule(value: Value) -> Rule {
        Rule::read(&value)
    }

    fn asks(method: &str, path: &str) -> Attributes {
        Attributes::of(method, path, "")
    }

    #[test]
    fn what_rules_allow() {
        let pods = rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}));
        assert!(pods.allows(&asks("GET", "/api/v1/namespaces/n/pods/p")));
        assert!(!pods.allows(&asks("GET", "/api/v1/namespaces/n/pods/p/log")), "a subresource is its own");
        assert!(!pods.allows(&asks("DELETE", "/api/v1/namespaces/n/pods/p")));
        let scale = rule(json!({"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]}));
        assert!(scale.allows(&asks("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale")));
        assert!(!scale.allows(&asks("PATCH", "/apis/apps/v1/namespaces/n/deployments/d")));
        let named =
            rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "resourceNames": ["p"]}));
        assert!(named.allows(&asks("DELETE", "/api/v1/namespaces/n/pods/p")));
        assert!(!named.allows(&asks("GET", "/api/v1/namespaces/n/pods")), "a list has no name");
        let urls = rule(json!({"nonResourceURLs": ["/healthz/*", "/version"], "verbs": ["get"]}));
        assert!(urls.allows(&asks("GET", "/healthz/etcd")) && urls.allows(&asks("GET", "/version")));
        assert!(!urls.allows(&asks("GET", "/healthz")) && !urls.allows(&asks("GET", "/api")));
    }

    /// If this fails users grant themselves what they do not hold.
    #[test]
    fn what_is_not_held_is_named() {
        let held = [rule(json!({"apiGroups": [""], "resources": ["pods", "*/log"], "verbs": ["get"]}))];
        let wanted = |value| [rule(value)];
        let fine = wanted(json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}));
        assert_eq!(uncovered(&held, &fine), Vec::<String>::new());
        let more =
            wanted(json!({"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]}));
        assert_eq!(
            uncovered(&held, &more),
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
                r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "list"]}"#,
            ]
        );
        let narrow = [rule(
            json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}),
        )];
        let all = wanted(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
        assert_eq!(uncovered(&narrow, &all), [r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#]);
        assert!(uncovered(&all, &narrow).is_empty());
    }
}
