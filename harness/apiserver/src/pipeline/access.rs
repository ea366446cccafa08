//! Reviews that are answered and never stored. There is no authorisation here: everything is allowed, as on a
//! server that was started without it.

use serde_json::{Value, json};

use super::{Answer, Request, State, body, route::ResourcePath};
use crate::{schema::decode::Findings, status::ApiError, store::Key};

/// Answers a POST of a virtual resource; `None` when the path names none.
pub(crate) fn answer(
    state: &State,
    request: &Request,
    path: &ResourcePath,
) -> Option<Result<Answer, ApiError>> {
    let group = path.group.as_str();
    let kind = match (group, path.resource.as_str()) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => "SelfSubjectAccessReview",
        ("authorization.k8s.io", "subjectaccessreviews") => "SubjectAccessReview",
        ("authorization.k8s.io", "localsubjectaccessreviews") => "LocalSubjectAccessReview",
        ("authorization.k8s.io", "selfsubjectrulesreviews") => "SelfSubjectRulesReview",
        ("authentication.k8s.io", "selfsubjectreviews") => "SelfSubjectReview",
        ("", "bindings") => return Some(Err(ApiError::method_not_allowed())),
        _ => return None,
    };
    if request.method != "POST" || path.name.is_some() {
        return Some(Err(ApiError::method_not_allowed()));
    }
    if let Some(namespace) = &path.namespace
        && state.store.get(super::state::NAMESPACES, &Key::new("", namespace)).is_none()
    {
        return Some(Err(ApiError::not_found("", "namespaces", namespace)));
    }
    Some(review(request, kind))
}

fn review(request: &Request, kind: &str) -> Result<Answer, ApiError> {
    let mut object = body::object(request, kind, &mut Findings::default())?;
    let status = match kind {
        "SelfSubjectRulesReview" => json!({"incomplete": false,
            "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
            "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
        "SelfSubjectReview" => {
            json!({"userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]}})
        }
        _ => json!({"allowed": true}),
    };
    let group = if kind == "SelfSubjectReview" { "authentication.k8s.io" } else { "authorization.k8s.io" };
    let map = crate::object::as_map(&mut object);
    map.insert("kind".into(), kind.into());
    map.insert("apiVersion".into(), format!("{group}/v1").into());
    map.insert("status".into(), status);
    map.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    Ok(Answer::json(201, object))
}
