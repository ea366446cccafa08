//! Rules for what bounds others: disruption budgets, limit ranges, leases.

use serde_json::{Value, json};

use super::workload::count_or_percent;
use crate::{
    kinds::quantity,
    object::{integer, list, text},
    status::FieldError,
};

pub(crate) fn pod_disruption_budget(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if let (Some(least), Some(most)) = (least, most) {
        let shown = json!({"MinAvailable": least, "Selector": spec["selector"], "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec["unhealthyPodEvictionPolicy"]});
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid("spec", &shown, why));
    }
    for (field, value) in [("minAvailable", least), ("maxUnavailable", most)] {
        if let Some(value) = value {
            count_or_percent(value, &format!("spec.{field}"), true, errors);
        }
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    if let Some(policy) = spec["unhealthyPodEvictionPolicy"].as_str()
        && !policies.contains(&policy)
    {
        let field = "spec.unhealthyPodEvictionPolicy";
        errors.push(FieldError::not_supported(field, &policy.into(), &policies));
    }
}

pub(crate) fn lease(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let number = |field: &str| integer(new, &["spec", field]);
    if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(
            "spec.leaseDurationSeconds",
            &seconds.into(),
            "must be greater than 0",
        ));
    }
    if let Some(count) = number("leaseTransitions").filter(|count| *count < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.leaseTransitions", &count.into(), why));
    }
}

pub(crate) fn limit_range(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut types: Vec<&str> = Vec::new();
    for (index, limit) in list(new, &["spec", "limits"]).iter().enumerate() {
        let at = format!("spec.limits[{index}]");
        let kind = text(limit, &["type"]);
        if types.contains(&kind) {
            errors.push(FieldError::duplicate(format!("{at}.type"), &kind.into()));
        }
        types.push(kind);
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if limit[field].as_object().is_some_and(|amounts| !amounts.is_empty()) {
                    let why = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(format!("{at}.{field}"), why));
                }
            }
        }
        if kind == "PersistentVolumeClaim"
            && limit["min"]["storage"].is_null()
            && limit["max"]["storage"].is_null()
        {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(format!("{at}.limits"), why));
        }
        bounds(limit, &at, errors);
    }
}

/// Resources that a quota limits without a group in their name.
const STANDARD: [&str; 19] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

pub(crate) fn resource_quota(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    for (resource, amount) in new["spec"]["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{resource}]");
        let is_huge = resource.trim_start_matches("requests.").starts_with("hugepages-");
        if !resource.contains('/') && !is_huge && !STANDARD.contains(&resource.as_str()) {
            let why = "must be a standard resource for quota";
            errors.push(FieldError::invalid(field.as_str(), &resource.as_str().into(), why));
        }
        if amount.as_str().and_then(quantity::nanos).is_some_and(|nanos| nanos < 0) {
            errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
        }
    }
    if let Some(old) = old
        && list(old, &["spec", "scopes"]) != list(new, &["spec", "scopes"])
    {
        errors.push(FieldError::invalid("spec.scopes", &new["spec"]["scopes"], "field is immutable"));
    }
}

/// What must not be greater than what: two fields, the field at fault, the field whose amount is shown, and how the two
/// are called.
type Order = (&'static str, &'static str, &'static str, &'static str, [&'static str; 2]);

const ORDERS: [Order; 6] = [
    ("min", "max", "min", "min", ["min", "max"]),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", ["min", "default request"]),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", ["default request", "max"]),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest", ["default request", "default limit"]),
    ("min", "default", "default", "min", ["min", "default"]),
    ("default", "max", "default", "max", ["default", "max"]),
];

fn bounds(limit: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let mut resources: Vec<&String> = ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"]
        .iter()
        .filter_map(|field| limit[field].as_object())
        .flat_map(|amounts| amounts.keys())
        .collect();
    resources.sort();
    resources.dedup();
    for resource in resources {
        let amount = |field: &str| {
            let shown = limit[field][resource.as_str()].as_str()?;
            Some((quantity::nanos(shown)?, shown))
        };
        for (small, large, field, shown, [small_name, large_name]) in ORDERS {
            let (Some(less), Some(more), Some((_, shown))) = (amount(small), amount(large), amount(shown))
            else {
                continue;
            };
            if less.0 > more.0 {
                let why =
                    format!("{small_name} value {} is greater than {large_name} value {}", less.1, more.1);
                errors.push(FieldError::invalid(format!("{at}.{field}[{resource}]"), &shown.into(), &why));
            }
        }
        let ratio = amount("maxLimitRequestRatio").filter(|(ratio, _)| *ratio < 1_000_000_000);
        if let Some((_, shown)) = ratio {
            let field = format!("{at}.maxLimitRequestRatio[{resource}]");
            errors.push(FieldError::invalid(field, &shown.into(), &format!("ratio {shown} is less than 1")));
        }
    }
}
