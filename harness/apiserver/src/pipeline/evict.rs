//! Eviction: a pod's deletion that a disruption budget can refuse.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, Request, body,
    delete::{DeleteOptions, check_preconditions, delete_object},
    options::parse_dry_run,
    webhooks::About,
    write::Write,
};
use crate::{
    admission::Operation,
    object::{as_map, integer, is_terminating, list, map_at, meta, text},
    schema::decode::Findings,
    selector::LabelSelector,
    status::ApiError,
    store::Object,
};

/// Shelf of disruption budgets.
const BUDGETS: &str = "policy/poddisruptionbudgets";
/// How long a client waits before it asks again while a budget's status is behind, in seconds.
const RETRY_S: u32 = 10;
const VIOLATED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// `POST pods/NAME/eviction`.
pub(crate) fn evict(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let eviction = body::object(request, "Eviction", &mut Findings::default())?;
    let given = meta(&eviction, "name");
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let asked = &eviction["deleteOptions"];
    let dry_run: Vec<String> =
        list(asked, &["dryRun"]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    let precondition = |field: &str| asked["preconditions"][field].as_str().map(ToOwned::to_owned);
    let options = DeleteOptions {
        grace_s: asked["gracePeriodSeconds"].as_i64(),
        dry_run: write.options.dry_run | parse_dry_run(&dry_run, "Eviction")?,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        ..DeleteOptions::default()
    };
    let pod = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let about =
        About { request, operation: Operation::Create, name, kind: Some(("policy", "v1", "Eviction")) };
    write.validate_by_webhooks(&about, Some(&eviction), None)?;
    check_preconditions(write, &options, &pod, name)?;
    let budget = if disturbs_nobody(&pod.value) { None } else { budget_of(write, &pod)? };
    if let Some(budget) = budget {
        take_from(write, &budget, &pod.value, options.dry_run)?;
    }
    if !options.dry_run {
        note_eviction(write, name);
        let kind = Arc::clone(&write.target.kind);
        delete_object(write.state, write.context.now, &kind, &write.target.key(name), &options);
    }
    Ok(Answer::json(
        201,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Pods that have ended, have not started or are going anyway.
fn disturbs_nobody(pod: &Value) -> bool {
    is_terminating(pod) || matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed" | "Pending")
}

fn is_ready(pod: &Value) -> bool {
    list(pod, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The budget that selects the pod.
fn budget_of(write: &Write<'_, '_>, pod: &Object) -> Result<Option<Arc<Object>>, ApiError> {
    let budgets = write.state.store.list(BUDGETS, write.target.namespace.as_deref());
    let mut found = budgets.map(|(_, budget)| budget).filter(|budget| {
        // A budget without a selector is about no pod, one with an empty selector about all.
        let selector = &budget.value["spec"]["selector"];
        !selector.is_null() && LabelSelector::of_object(selector).matches(&pod.value)
    });
    let first = found.next().cloned();
    if found.next().is_some() {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::new(500, "InternalError", message));
    }
    Ok(first)
}

/// Takes one disruption from the budget, if it has one left or the pod does not count.
fn take_from(
    write: &mut Write<'_, '_>,
    budget: &Arc<Object>,
    pod: &Value,
    dry_run: bool,
) -> Result<(), ApiError> {
    let (name, status) = (meta(&budget.value, "name"), &budget.value["status"]);
    let number = |field: &str| integer(status, &[field]).unwrap_or(0);
    let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
    let always = text(&budget.value, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    if !is_ready(pod) && (always || healthy >= wanted && wanted > 0) {
        return Ok(());
    }
    let refuse = |why: String, retry_s: u32| {
        let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
        if retry_s > 0 {
            details["retryAfterSeconds"] = retry_s.into();
        }
        ApiError::new(429, "TooManyRequests", VIOLATED).with_details(details)
    };
    if number("observedGeneration") < budget.value["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refuse(why, RETRY_S));
    }
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return Err(ApiError::forbidden("policy", "poddisruptionbudgets", name, why));
    }
    if allowed == 0 {
        let why =
            format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently");
        return Err(refuse(why, 0));
    }
    if dry_run {
        return Ok(());
    }
    let Some(kind) = write.state.kind_of_shelf(BUDGETS) else { return Ok(()) };
    let mut changed = budget.value.clone();
    let now = write.now_text();
    let status = map_at(as_map(&mut changed), "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    // Until the pod is seen going, the budget counts it as gone.
    map_at(status, "disruptedPods").insert(meta(pod, "name").to_owned(), now.into());
    let key = crate::store::Key::new(meta(&budget.value, "namespace"), name);
    write.state.put(&kind, &key, changed);
    Ok(())
}

/// Tells in the pod's conditions why it goes.
fn note_eviction(write: &mut Write<'_, '_>, name: &str) {
    let Some(pod) = write.stored(name) else { return };
    if is_terminating(&pod.value) {
        return;
    }
    let now = write.now_text();
    let mut changed = pod.value.clone();
    let generation = changed["metadata"]["generation"].clone();
    let conditions = map_at(as_map(&mut changed), "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition["type"] != "DisruptionTarget");
        let mut condition = json!({"type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now, "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"});
        if !generation.is_null() {
            condition["observedGeneration"] = generation;
        }
        conditions.push(condition);
    }
    let kind = Arc::clone(&write.target.kind);
    let key = write.target.key(name);
    write.state.put(&kind, &key, changed);
}
