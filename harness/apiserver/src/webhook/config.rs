//! Webhook configurations, compiled when they are stored.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::policy::Policies;
use crate::{
    cel::{CelValue, Expression},
    object::{list, meta, text},
    selector::LabelSelector,
};

const SHELF: &str = "admissionregistration.k8s.io/";
/// Shelf of configurations that may change objects.
pub(crate) const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
/// Shelf of configurations that may only refuse.
pub(crate) const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

/// The webhooks of all configurations, by configuration name.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    mutating: BTreeMap<String, Vec<Arc<Hook>>>,
    validating: BTreeMap<String, Vec<Arc<Hook>>>,
    /// What is decided here, without a webhook.
    pub(crate) policies: Policies,
}

/// One webhook.
#[derive(Debug)]
pub(crate) struct Hook {
    /// Configuration and place in it: what tells two hooks of one name apart.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) client: ClientConfig,
    pub(crate) rules: Vec<HookRule>,
    pub(crate) ignores_failure: bool,
    pub(crate) equivalent: bool,
    pub(crate) reinvoked: bool,
    pub(crate) timeout_s: u64,
    /// The newest version of the review that both sides know.
    pub(crate) review_version: String,
    pub(crate) conditions: Vec<Condition>,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
}

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientConfig {
    pub(crate) place: Place,
    /// PEM text, empty for none.
    pub(crate) ca_bundle: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Url(String),
    Service { namespace: String, name: String, path: String, port: u16 },
}

/// Which requests a webhook wants.
#[derive(Debug, Default)]
pub(crate) struct HookRule {
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    operations: Vec<String>,
    scope: String,
}

/// A `matchCondition`.
#[derive(Debug)]
pub(crate) struct Condition {
    source: String,
    expression: Result<Arc<Expression>, String>,
}

/// What a request is about, as rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) namespaced: bool,
}

impl Hooks {
    /// Whether objects of this shelf are configurations.
    pub(crate) fn reads(shelf: &str) -> bool {
        shelf.starts_with(SHELF)
    }

    /// Takes note of a stored configuration, or of its removal.
    pub(crate) fn note(&mut self, shelf: &str, name: &str, object: Option<&Value>) {
        if self.policies.note(shelf, name, object) {
            return;
        }
        let configurations = match shelf {
            MUTATING => &mut self.mutating,
            VALIDATING => &mut self.validating,
            _ => return,
        };
        match object {
            Some(object) => {
                let id = |index: usize| format!("{shelf}/{}/{index}", meta(object, "uid"));
                let hooks = list(object, &["webhooks"]).iter().enumerate();
                let hooks = hooks.map(|(index, hook)| Arc::new(Hook::read(hook, id(index)))).collect();
                configurations.insert(name.to_owned(), hooks);
            }
            None => {
                configurations.remove(name);
            }
        }
    }

    /// Whether there is any webhook that may change objects.
    pub(crate) fn may_mutate(&self) -> bool {
        !self.mutating.is_empty()
    }

    /// The webhooks that may change objects, in the order in which they are called.
    pub(crate) fn mutating(&self) -> Vec<Arc<Hook>> {
        self.mutating.values().flatten().cloned().collect()
    }

    /// The webhooks that may refuse objects.
    pub(crate) fn validating(&self) -> Vec<Arc<Hook>> {
        self.validating.values().flatten().cloned().collect()
    }
}

impl Hook {
    fn read(hook: &Value, id: String) -> Self {
        let client = &hook["clientConfig"];
        let place = match client.get("service").filter(|service| !service.is_null()) {
            Some(service) => Place::Service {
                namespace: text(service, &["namespace"]).to_owned(),
                name: text(service, &["name"]).to_owned(),
                path: text(service, &["path"]).to_owned(),
                port: service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
            },
            None => Place::Url(text(client, &["url"]).to_owned()),
        };
        let bundle = base64(text(client, &["caBundle"]));
        let versions = list(hook, &["admissionReviewVersions"]);
        let review_version = if versions.iter().any(|version| version == "v1") { "v1" } else { "v1beta1" };
        Self {
            id,
            name: text(hook, &["name"]).to_owned(),
            client: ClientConfig { place, ca_bundle: bundle.into() },
            rules: list(hook, &["rules"]).iter().map(HookRule::read).collect(),
            ignores_failure: text(hook, &["failurePolicy"]) == "Ignore",
            equivalent: text(hook, &["matchPolicy"]) != "Exact",
            reinvoked: text(hook, &["reinvocationPolicy"]) == "IfNeeded",
            timeout_s: hook["timeoutSeconds"].as_u64().unwrap_or(10).clamp(1, 30),
            review_version: review_version.to_owned(),
            conditions: list(hook, &["matchConditions"]).iter().map(Condition::read).collect(),
            namespace_selector: LabelSelector::of_object(&hook["namespaceSelector"]),
            object_selector: LabelSelector::of_object(&hook["objectSelector"]),
        }
    }

    pub(crate) fn wants(&self, subject: &Subject<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(subject))
    }

    /// Whether the namespace's labels fit; `None` for objects outside of namespaces.
    pub(crate) fn wants_namespace(&self, labels: Option<&Value>) -> bool {
        labels.is_none_or(|labels| self.namespace_selector.matches_labels(Some(labels)))
    }

    /// Whether the new or the old object's labels fit.
    pub(crate) fn wants_object(&self, objects: [Option<&Value>; 2]) -> bool {
        objects.into_iter().flatten().any(|object| self.object_selector.matches(object))
    }

    /// Whether the conditions let the request through to the webhook.
    ///
    /// # Errors
    /// The condition that failed to evaluate, when no other one says no.
    pub(crate) fn conditions_hold(&self, variables: &[(&str, CelValue)]) -> Result<bool, String> {
        let mut failure = None;
        for condition in &self.conditions {
            match condition.holds(variables) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    failure.get_or_insert(why);
                }
            }
        }
        failure.map_or(Ok(true), Err)
    }
}

impl Condition {
    pub(super) fn read(condition: &Value) -> Self {
        let source = text(condition, &["expression"]).to_owned();
        Self { expression: Expression::shared(&source), source }
    }

    pub(super) fn holds(&self, variables: &[(&str, CelValue)]) -> Result<bool, String> {
        let expression = self.expression.as_ref().map_err(Clone::clone)?;
        match expression.evaluate(variables) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(_) => Err(format!("expression '{}' resulted in error: must evaluate to a bool", self.source)),
            Err(why) => Err(format!("expression '{}' resulted in error: {why}", self.source)),
        }
    }
}

impl HookRule {
    pub(super) fn read(rule: &Value) -> Self {
        let texts = |field: &str| {
            list(rule, &[field]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        };
        Self {
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            operations: texts("operations"),
            scope: text(rule, &["scope"]).to_owned(),
        }
    }

    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let has = |own: &[String], wanted: &str| own.iter().any(|value| value == "*" || value == wanted);
        let scope_fits = match self.scope.as_str() {
            "Namespaced" => subject.namespaced,
            "Cluster" => !subject.namespaced,
            _ => true,
        };
        scope_fits
            && has(&self.groups, subject.group)
            && has(&self.versions, subject.version)
            && has(&self.operations, subject.operation)
            && self.resources.iter().any(|rule| {
                let (resource, subresource) = rule.split_once('/').unwrap_or((rule, ""));
                (resource == "*" || resource == subject.resource)
                    && (subresource == "*" || subresource == subject.subresource)
            })
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(mut fields: Value) -> Hook {
        fields["name"] = "h.example.test".into();
        Hook::read(&fields, "1".into())
    }

    fn subject(resource: &'static str, subresource: &'static str) -> Subject<'static> {
        Subject { group: "apps", version: "v1", resource, subresource, operation: "UPDATE", namespaced: true }
    }

    #[test]
    fn rules_choose_resources_and_subresources() {
        let wants = |resources: Value, subject: Subject<'_>| {
            let rule = json!({"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": resources});
            hook(json!({"rules": [rule]})).wants(&subject)
        };
        assert!(wants(json!(["deployments"]), subject("deployments", "")));
        assert!(!wants(json!(["deployments"]), subject("deployments", "scale")));
        assert!(!wants(json!(["*"]), subject("deployments", "scale")), "a star is no subresource");
        assert!(wants(json!(["*/*"]), subject("deployments", "scale")));
        assert!(wants(json!(["*/scale"]), subject("deployments", "scale")));
        assert!(wants(json!(["deployments/*"]), subject("deployments", "status")));
        assert!(!wants(json!(["pods"]), subject("deployments", "")));
    }

    #[test]
    fn selectors_look_at_labels() {
        let hook = hook(json!({"namespaceSelector": {"matchLabels": {"a": "1"}},
            "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}}));
        assert!(hook.wants_namespace(Some(&json!({"a": "1"}))) && hook.wants_namespace(None));
        assert!(!hook.wants_namespace(Some(&json!({}))));
        let free = json!({"metadata": {"labels": {"free": "yes"}}});
        assert!(!hook.wants_object([Some(&free), None]));
        assert!(
            hook.wants_object([Some(&free), Some(&json!({"metadata": {}}))]),
            "the old object counts too"
        );
    }

    #[test]
    fn one_no_beats_a_failure() {
        let hook = hook(json!({"matchConditions": [{"name": "a", "expression": "object.x == 1"},
            {"name": "b", "expression": "object.y == 1"}]}));
        let check = |object: Value| hook.conditions_hold(&[("object", crate::cel::value(&object))]);
        assert_eq!(check(json!({"x": 1, "y": 1})), Ok(true));
        assert_eq!(check(json!({"y": 2})), Ok(false));
        assert_eq!(
            check(json!({"y": 1})),
            Err("expression 'object.x == 1' resulted in error: no such key: x".to_owned())
        );
    }
}
