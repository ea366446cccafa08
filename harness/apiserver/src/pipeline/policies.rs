//! Where a write meets the ValidatingAdmissionPolicies.

use serde_json::{Value, json};

use super::{state::NAMESPACES, webhooks::About, write::Write};
use crate::{
    cel::{self, CelValue},
    object::{remove_meta, text},
    selector::LabelSelector,
    status::ApiError,
    store::Key,
    webhook::policy::{Binding, Fault, Matches, Policy},
};

impl Write<'_, '_> {
    /// Refuses what a policy in force does not let pass, or warns of it.
    pub(super) fn check_policies(
        &mut self,
        about: &About<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let mut refusal = None;
        for (policy, binding) in self.state.hooks.policies.in_force() {
            let Some(version) = self.version_wanted(&policy, &binding, about, object, old) else { continue };
            let named =
                format!("ValidatingAdmissionPolicy '{}' with binding '{}'", policy.name, binding.name);
            let faults = match self.parameters(&policy, &binding) {
                Ok(parameters) => {
                    let faults = parameters.into_iter().flat_map(|parameters| {
                        policy.faults(self.policy_variables(about, version, object, old, &parameters))
                    });
                    faults.collect()
                }
                Err(_) if policy.ignores_failure => Vec::new(),
                Err(why) => vec![Fault { message: why, reason: String::new() }],
            };
            for fault in faults {
                if binding.warns {
                    let warning = format!("Validation failed for {named}: {}", fault.message);
                    self.context.transcript.warnings.push(warning);
                }
                if binding.denies && refusal.is_none() {
                    refusal = Some(self.denial(about.name, &named, &fault));
                }
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn denial(&self, name: &str, named: &str, fault: &Fault) -> ApiError {
        let (group, resource) = self.target.error_name();
        let why = format!("{named} denied request: {}", fault.message);
        let mut error = ApiError::forbidden(group, resource, name, &why);
        if let Some(details) = &mut error.details {
            details["causes"] = json!([{"message": why}]);
        }
        let (code, reason) = match fault.reason.as_str() {
            "Forbidden" => (403, "Forbidden"),
            "Unauthorized" => (401, "Unauthorized"),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        (error.code, error.reason) = (code, reason.into());
        error
    }

    /// The version in which both the policy and its binding want to see the request.
    fn version_wanted(
        &self,
        policy: &Policy,
        binding: &Binding,
        about: &About<'_>,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> Option<usize> {
        let labels = self.namespace_labels(about, object.or(old));
        let fits = |matches: &Matches| matches.wants_labels(labels.as_ref(), [object, old]);
        if !fits(&policy.matches) || !binding.matches.as_ref().is_none_or(fits) {
            return None;
        }
        self.wanted_version(about.operation, policy.matches.equivalent, &|subject| {
            let wants = |matches: &Matches| matches.wants(subject, about.name);
            wants(&policy.matches) && binding.matches.as_ref().is_none_or(wants)
        })
    }

    /// The objects that a binding hands to its policy, null for none.
    ///
    /// # Errors
    /// Why there are none although there must be.
    fn parameters(&self, policy: &Policy, binding: &Binding) -> Result<Vec<Value>, String> {
        let Some((api_version, kind_name)) = &policy.parameters else { return Ok(vec![Value::Null]) };
        let reference = &binding.parameters;
        if !reference.is_object() {
            return Ok(vec![Value::Null]);
        }
        let failed = |why: &str| format!("failed to configure binding: {why}");
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = self.state.registry.of_group(group).find(|kind| *kind.name == **kind_name);
        let found = kind.and_then(|kind| Some((kind, kind.version(version)?)));
        let Some((kind, version)) = found else {
            return Err(failed("unable to find the kind of the parameters"));
        };
        let given = text(reference, &["namespace"]);
        let namespace = match (kind.namespaced, given) {
            (false, _) => Some(String::new()),
            (true, "") => self.target.namespace.clone(),
            (true, given) => Some(given.to_owned()),
        };
        let Some(namespace) = namespace else {
            return Err(failed(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
            ));
        };
        let name = text(reference, &["name"]);
        let selector = LabelSelector::of_object(&reference["selector"]);
        let objects = self.state.store.list(&kind.shelf, kind.namespaced.then_some(&*namespace));
        let chosen = objects.filter(|(key, object)| {
            if name.is_empty() { selector.matches(&object.value) } else { *key.name == *name }
        });
        let chosen: Vec<Value> = chosen.map(|(_, object)| kind.convert(object, version)).collect();
        if chosen.is_empty() && text(reference, &["parameterNotFoundAction"]) == "Deny" {
            return Err(failed("no params found for policy binding with `Deny` parameterNotFoundAction"));
        }
        Ok(chosen)
    }

    fn policy_variables(
        &self,
        about: &About<'_>,
        version: usize,
        object: Option<&Value>,
        old: Option<&Value>,
        parameters: &Value,
    ) -> Vec<(&'static str, CelValue)> {
        let request = self.described(about, version, object, old);
        let variable = |value: Option<&Value>| value.map_or(CelValue::Null, cel::value);
        let fields = request.iter().filter(|(key, _)| !matches!(key.as_str(), "object" | "oldObject"));
        let namespace = self.target.namespace.as_deref().and_then(|namespace| {
            let mut found = self.state.store.get(NAMESPACES, &Key::new("", namespace))?.value.clone();
            remove_meta(&mut found, "managedFields");
            Some(found)
        });
        vec![
            ("object", variable(request.get("object"))),
            ("oldObject", variable(request.get("oldObject"))),
            ("request", cel::map(fields.map(|(key, value)| (key.clone(), cel::value(value))))),
            ("params", cel::value(parameters)),
            ("namespaceObject", variable(namespace.as_ref())),
        ]
    }
}
