//! Rules for the configurations of admission webhooks.

use serde_json::Value;

use crate::{
    cel::Expression,
    kinds::names::{NameRule, check_name},
    object::{list, text},
    status::FieldError,
};

pub(crate) fn mutating(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    for (index, hook) in list(new, &["webhooks"]).iter().enumerate() {
        let at = format!("webhooks[{index}]");
        webhook(hook, &at, errors);
        one_of(hook, "reinvocationPolicy", &["IfNeeded", "Never"], &at, errors);
    }
    unique_names(new, errors);
}

pub(crate) fn validating(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    for (index, hook) in list(new, &["webhooks"]).iter().enumerate() {
        webhook(hook, &format!("webhooks[{index}]"), errors);
    }
    unique_names(new, errors);
}

pub(crate) fn policy(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let validations = list(spec, &["validations"]);
    if validations.is_empty() && list(spec, &["auditAnnotations"]).is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required("spec.validations", why));
        errors.push(FieldError::required("spec.auditAnnotations", why));
    }
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], "spec", errors);
    if spec["matchConstraints"].is_object() {
        let rules = list(spec, &["matchConstraints", "resourceRules"]);
        if rules.is_empty() {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
        for (index, rule) in rules.iter().enumerate() {
            self::rule(rule, &format!("spec.matchConstraints.resourceRules[{index}]"), errors);
        }
    } else {
        errors.push(FieldError::required("spec.matchConstraints", ""));
    }
    for (index, condition) in list(spec, &["matchConditions"]).iter().enumerate() {
        expression(condition, &format!("spec.matchConditions[{index}]"), true, errors);
    }
    for (index, variable) in list(spec, &["variables"]).iter().enumerate() {
        expression(variable, &format!("spec.variables[{index}]"), true, errors);
    }
    for (index, validation) in validations.iter().enumerate() {
        let at = format!("spec.validations[{index}]");
        expression(validation, &at, false, errors);
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        one_of(validation, "reason", &reasons, &at, errors);
    }
}

pub(crate) fn policy_binding(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    if text(new, &["spec", "policyName"]).is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    }
    let reference = &new["spec"]["paramRef"];
    if reference.is_object() {
        one_of(reference, "parameterNotFoundAction", &["Allow", "Deny"], "spec.paramRef", errors);
        if text(reference, &["name"]).is_empty() && !reference["selector"].is_object() {
            let why = "one of name or selector must be specified";
            errors.push(FieldError::required("spec.paramRef", why));
        }
    }
    let actions = list(new, &["spec", "validationActions"]);
    if actions.is_empty() {
        errors.push(FieldError::required("spec.validationActions", ""));
    }
    let has = |wanted: &str| actions.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
response and headers serves no purpose)";
        errors.push(FieldError::invalid("spec.validationActions", &new["spec"]["validationActions"], why));
    }
    for (index, action) in actions.iter().enumerate() {
        let known = ["Audit", "Deny", "Warn"];
        if !known.iter().any(|known| action == known) {
            let field = format!("spec.validationActions[{index}]");
            errors.push(FieldError::not_supported(field, action, &known));
        }
    }
}

/// An expression, and the name of what it is for where it has one.
fn expression(holder: &Value, at: &str, is_named: bool, errors: &mut Vec<FieldError>) {
    if is_named && text(holder, &["name"]).is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    let source = text(holder, &["expression"]);
    if source.trim().is_empty() {
        errors.push(FieldError::required(format!("{at}.expression"), ""));
    } else if let Err(why) = Expression::compile(source) {
        let why = format!("compilation failed: {why}");
        errors.push(FieldError::invalid(format!("{at}.expression"), &source.into(), &why));
    }
}

fn unique_names(object: &Value, errors: &mut Vec<FieldError>) {
    let hooks = list(object, &["webhooks"]);
    for (index, hook) in hooks.iter().enumerate() {
        let name = text(hook, &["name"]);
        if hooks.iter().take(index).any(|other| text(other, &["name"]) == name) {
            errors.push(FieldError::duplicate(format!("webhooks[{index}].name"), &name.into()));
        }
    }
}

fn webhook(hook: &Value, at: &str, errors: &mut Vec<FieldError>) {
    name(text(hook, &["name"]), &format!("{at}.name"), errors);
    let versions = list(hook, &["admissionReviewVersions"]);
    let field = format!("{at}.admissionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(field, "must specify one of v1, v1beta1"));
    } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
        let why = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(field, &hook["admissionReviewVersions"], why));
    }
    let side_effects = text(hook, &["sideEffects"]);
    if side_effects.is_empty() {
        errors.push(FieldError::required(
            format!("{at}.sideEffects"),
            "must specify one of None, NoneOnDryRun",
        ));
    } else {
        one_of(hook, "sideEffects", &["None", "NoneOnDryRun"], at, errors);
    }
    one_of(hook, "failurePolicy", &["Fail", "Ignore"], at, errors);
    one_of(hook, "matchPolicy", &["Equivalent", "Exact"], at, errors);
    let timeout = &hook["timeoutSeconds"];
    if timeout.as_i64().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(format!("{at}.timeoutSeconds"), timeout, why));
    }
    client(&hook["clientConfig"], &format!("{at}.clientConfig"), errors);
    for (index, rule) in list(hook, &["rules"]).iter().enumerate() {
        self::rule(rule, &format!("{at}.rules[{index}]"), errors);
    }
    for (index, condition) in list(hook, &["matchConditions"]).iter().enumerate() {
        expression(condition, &format!("{at}.matchConditions[{index}]"), true, errors);
    }
}

fn name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    for fault in check_name(NameRule::Subdomain, name) {
        errors.push(FieldError::invalid(field, &name.into(), fault));
    }
    if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(field, &name.into(), why));
    }
}

fn one_of(hook: &Value, field: &str, supported: &[&str], at: &str, errors: &mut Vec<FieldError>) {
    let value = text(hook, &[field]);
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(format!("{at}.{field}"), &value.into(), supported));
    }
}

fn client(client: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let given = |field: &str| client.get(field).filter(|value| !value.is_null());
    match (given("url"), given("service")) {
        (Some(url), None) => address(url.as_str().unwrap_or_default(), &format!("{at}.url"), errors),
        (None, Some(service)) => {
            for field in ["name", "namespace"] {
                if text(service, &[field]).is_empty() {
                    let why = format!("service {field} is required");
                    errors.push(FieldError::required(format!("{at}.service.{field}"), &why));
                }
            }
            if service["port"].as_i64().is_some_and(|port| !(1..=65_535).contains(&port)) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(format!("{at}.service.port"), &service["port"], why));
            }
        }
        _ => errors.push(FieldError::required(at, "exactly one of url or service is required")),
    }
}

fn address(url: &str, field: &str, errors: &mut Vec<FieldError>) {
    const FORM: &str = "desired format: https://host[/path]";
    let mut refuse = |value: &str, why: &str| {
        errors.push(FieldError::invalid(field, &value.into(), &format!("{why}; {FORM}")));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        refuse(scheme, "'https' is the only allowed URL scheme");
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        refuse(host, "host must be specified");
    }
    if let Some((user, _)) = host.split_once('@') {
        refuse(user, "user information is not permitted in the URL");
    }
    if let Some((_, fragment)) = url.split_once('#') {
        refuse(fragment, "fragments are not permitted in the URL");
    } else if let Some((_, query)) = url.split_once('?') {
        refuse(query, "query parameters are not permitted in the URL");
    }
}

fn rule(rule: &Value, at: &str, errors: &mut Vec<FieldError>) {
    /// Field, what a mix with a star is called, and whether an empty entry is refused.
    const LISTS: [(&str, &str, bool); 3] = [
        ("apiGroups", "API groups", false),
        ("apiVersions", "API versions", true),
        ("resources", "resources", true),
    ];
    for (name, shown, no_empty) in LISTS {
        let field = format!("{at}.{name}");
        let values = list(rule, &[name]);
        if values.is_empty() {
            errors.push(FieldError::required(field.as_str(), ""));
        }
        if values.len() > 1 && values.iter().any(|value| value == "*") {
            let why = if name == "resources" {
                "if '*' is present, must not specify other resources without subresources".to_owned()
            } else {
                format!("if '*' is present, must not specify other {shown}")
            };
            let subresources_only = name == "resources"
                && values
                    .iter()
                    .all(|value| value == "*" || value.as_str().is_some_and(|text| text.contains('/')));
            if !subresources_only {
                errors.push(FieldError::invalid(field.as_str(), &rule[name], &why));
            }
        }
        for (index, value) in values.iter().enumerate() {
            if no_empty && value == "" {
                errors.push(FieldError::required(format!("{field}[{index}]"), ""));
            }
        }
    }
    let operations = list(rule, &["operations"]);
    if operations.is_empty() {
        errors.push(FieldError::required(format!("{at}.operations"), ""));
    }
    if operations.len() > 1 && operations.iter().any(|operation| operation == "*") {
        let why = "if '*' is present, must not specify other operations";
        errors.push(FieldError::invalid(format!("{at}.operations"), &rule["operations"], why));
    }
    for (index, operation) in operations.iter().enumerate() {
        let supported = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        if !operation.as_str().is_some_and(|operation| supported.contains(&operation)) {
            errors.push(FieldError::not_supported(
                format!("{at}.operations[{index}]"),
                operation,
                &supported,
            ));
        }
    }
    one_of(rule, "scope", &["*", "Cluster", "Namespaced"], at, errors);
}
