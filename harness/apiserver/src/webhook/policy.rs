//! ValidatingAdmissionPolicies and their bindings, compiled when they are stored.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::config::{Condition, HookRule, Subject};
use crate::{
    cel::{self, CelValue, Expression},
    object::{list, meta, text},
    selector::LabelSelector,
};

/// Shelf of policies.
pub(super) const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
/// Shelf of their bindings.
pub(super) const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";

/// All policies and bindings, by name.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

/// What must hold for a request, once a binding puts it in force.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) matches: Matches,
    /// API version and kind of the parameters.
    pub(crate) parameters: Option<(String, String)>,
    pub(crate) ignores_failure: bool,
    conditions: Vec<Condition>,
    variables: Vec<(String, Compiled)>,
    validations: Vec<Validation>,
}

/// Where a policy is in force, and what follows from it.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) matches: Option<Matches>,
    /// `paramRef`: which parameters.
    pub(crate) parameters: Value,
    pub(crate) denies: bool,
    pub(crate) warns: bool,
    policy: String,
}

/// `matchConstraints` or `matchResources`: which requests are meant.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) equivalent: bool,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
    /// Each with the names of the objects that it is about; none are all.
    rules: Vec<(HookRule, Vec<String>)>,
    exclusions: Vec<(HookRule, Vec<String>)>,
}

/// A validation that a request does not pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Of the `Status`; empty for the usual one.
    pub(crate) reason: String,
}

type Compiled = Result<Arc<Expression>, String>;

#[derive(Debug)]
struct Validation {
    source: String,
    expression: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: String,
}

impl Policies {
    /// Takes note of a stored policy or binding, or of its removal; tells whether the shelf is one of theirs.
    pub(super) fn note(&mut self, shelf: &str, name: &str, object: Option<&Value>) -> bool {
        match (shelf, object) {
            (POLICIES, Some(object)) => {
                self.policies.insert(name.to_owned(), Arc::new(Policy::read(object)));
            }
            (POLICIES, None) => {
                self.policies.remove(name);
            }
            (BINDINGS, Some(object)) => {
                self.bindings.insert(name.to_owned(), Arc::new(Binding::read(object)));
            }
            (BINDINGS, None) => {
                self.bindings.remove(name);
            }
            _ => return false,
        }
        true
    }

    /// Every policy with each of its bindings.
    pub(crate) fn in_force(&self) -> Vec<(Arc<Policy>, Arc<Binding>)> {
        let bound = |binding: &Arc<Binding>| {
            let policy = self.policies.get(&binding.policy)?;
            Some((Arc::clone(policy), Arc::clone(binding)))
        };
        self.bindings.values().filter_map(bound).collect()
    }
}

impl Policy {
    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let compiled = |holder: &Value, field: &str| Expression::shared(text(holder, &[field]));
        let variables = list(spec, &["variables"]).iter();
        let validations = list(spec, &["validations"]).iter();
        let kind = &spec["paramKind"];
        Self {
            name: meta(object, "name").to_owned(),
            matches: Matches::read(&spec["matchConstraints"]),
            parameters: kind
                .is_object()
                .then(|| (text(kind, &["apiVersion"]).to_owned(), text(kind, &["kind"]).to_owned())),
            ignores_failure: text(spec, &["failurePolicy"]) == "Ignore",
            conditions: list(spec, &["matchConditions"]).iter().map(Condition::read).collect(),
            variables: variables
                .map(|variable| (text(variable, &["name"]).to_owned(), compiled(variable, "expression")))
                .collect(),
            validations: validations
                .map(|validation| Validation {
                    source: text(validation, &["expression"]).trim().to_owned(),
                    expression: compiled(validation, "expression"),
                    message: text(validation, &["message"]).trim().to_owned(),
                    message_expression: validation["messageExpression"].as_str().map(Expression::shared),
                    reason: text(validation, &["reason"]).to_owned(),
                })
                .collect(),
        }
    }

    /// What the request does not pass. What can't be evaluated counts as the policy's `failurePolicy` says.
    pub(crate) fn faults(&self, mut variables: Vec<(&str, CelValue)>) -> Vec<Fault> {
        let failure = |why: String| Fault { message: why, reason: String::new() };
        for condition in &self.conditions {
            match condition.holds(&variables) {
                Ok(true) => {}
                Ok(false) => return Vec::new(),
                Err(_) if self.ignores_failure => return Vec::new(),
                Err(why) => return vec![failure(why)],
            }
        }
        // Each may use those before it. One that can't be had is missing where it is asked for.
        let mut own: Vec<(String, CelValue)> = Vec::new();
        for (name, expression) in &self.variables {
            variables.retain(|(known, _)| *known != "variables");
            variables.push(("variables", cel::map(own.iter().cloned())));
            if let Ok(Ok(value)) = expression.as_ref().map(|expression| expression.evaluate(&variables)) {
                own.push((name.clone(), value));
            }
        }
        variables.retain(|(known, _)| *known != "variables");
        variables.push(("variables", cel::map(own.into_iter())));
        let mut faults = Vec::new();
        for validation in &self.validations {
            let outcome = match &validation.expression {
                Ok(expression) => expression.evaluate(&variables),
                Err(why) => Err(why.clone()),
            };
            match outcome {
                Ok(CelValue::Bool(true)) => {}
                Ok(_) => faults
                    .push(Fault { message: validation.say(&variables), reason: validation.reason.clone() }),
                Err(_) if self.ignores_failure => {}
                Err(why) => faults
                    .push(failure(format!("expression '{}' resulted in error: {why}", validation.source))),
            }
        }
        faults
    }
}

impl Validation {
    fn say(&self, variables: &[(&str, CelValue)]) -> String {
        if let Some(Ok(expression)) = &self.message_expression
            && let Ok(CelValue::String(message)) = expression.evaluate(variables)
            && !message.trim().is_empty()
        {
            return message.trim().to_owned();
        }
        if self.message.is_empty() {
            format!("failed expression: {}", self.source)
        } else {
            self.message.clone()
        }
    }
}

impl Binding {
    fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let acts = |action: &str| list(spec, &["validationActions"]).iter().any(|found| found == action);
        Self {
            name: meta(object, "name").to_owned(),
            matches: spec["matchResources"].is_object().then(|| Matches::read(&spec["matchResources"])),
            parameters: spec["paramRef"].clone(),
            denies: acts("Deny"),
            warns: acts("Warn"),
            policy: text(spec, &["policyName"]).to_owned(),
        }
    }
}

impl Matches {
    fn read(object: &Value) -> Self {
        let rules = |field: &str| {
            let read = |rule: &Value| {
                let names = list(rule, &["resourceNames"]).iter().filter_map(Value::as_str);
                (HookRule::read(rule), names.map(ToOwned::to_owned).collect())
            };
            list(object, &[field]).iter().map(read).collect()
        };
        Self {
            equivalent: text(object, &["matchPolicy"]) != "Exact",
            namespace_selector: LabelSelector::of_object(&object["namespaceSelector"]),
            object_selector: LabelSelector::of_object(&object["objectSelector"]),
            rules: rules("resourceRules"),
            exclusions: rules("excludeResourceRules"),
        }
    }

    /// Whether the rules want a request about an object of this name. A binding without rules takes those of its policy.
    pub(crate) fn wants(&self, subject: &Subject<'_>, name: &str) -> bool {
        let has = |rules: &[(HookRule, Vec<String>)]| {
            rules.iter().any(|(rule, names)| {
                rule.matches(subject) && (names.is_empty() || names.iter().any(|wanted| wanted == name))
            })
        };
        (self.rules.is_empty() || has(&self.rules)) && !has(&self.exclusions)
    }

    /// Whether the labels of the namespace (`None` outside of namespaces) and of one of the objects fit.
    pub(crate) fn wants_labels(&self, namespace: Option<&Value>, objects: [Option<&Value>; 2]) -> bool {
        namespace.is_none_or(|labels| self.namespace_selector.matches_labels(Some(labels)))
            && objects.into_iter().flatten().any(|object| self.object_selector.matches(object))
    }
}
