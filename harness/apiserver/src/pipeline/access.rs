//! Reviews that are answered and never stored: who am I, may I, may they, is this token good.

use serde_json::{Map, Value, json};

use super::{Answer, Context, Request, State, body, route::ResourcePath};
use crate::{
    object::{as_map, list, text},
    schema::decode::Findings,
    security::{User, attributes::Attributes, check_token},
    status::{ApiError, FieldError},
    store::Key,
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Answers a POST of a virtual resource; `None` when the path names none.
pub(crate) fn answer(
    state: &State,
    context: &Context<'_>,
    request: &Request,
    path: &ResourcePath,
) -> Option<Result<Answer, ApiError>> {
    let group = path.group.as_str();
    let kind = match (group, path.resource.as_str()) {
        (AUTHORIZATION, "selfsubjectaccessreviews") => "SelfSubjectAccessReview",
        (AUTHORIZATION, "subjectaccessreviews") => "SubjectAccessReview",
        (AUTHORIZATION, "localsubjectaccessreviews") => "LocalSubjectAccessReview",
        (AUTHORIZATION, "selfsubjectrulesreviews") => "SelfSubjectRulesReview",
        (AUTHENTICATION, "selfsubjectreviews") => "SelfSubjectReview",
        (AUTHENTICATION, "tokenreviews") => "TokenReview",
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
    Some(review(state, context, request, path, kind))
}

fn review(
    state: &State,
    context: &Context<'_>,
    request: &Request,
    path: &ResourcePath,
    kind: &str,
) -> Result<Answer, ApiError> {
    let mut object = body::object(request, kind, &mut Findings::default())?;
    let spec = object.get("spec").cloned().unwrap_or_default();
    let user = &*request.user;
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": user.info()}),
        "TokenReview" => token_review(state, context, &spec)?,
        "SelfSubjectRulesReview" => rules_review(state, user, &spec)?,
        "SelfSubjectAccessReview" => access(state, user, &spec, None)?,
        _ => {
            let subject = subject(&spec);
            let namespace =
                (kind == "LocalSubjectAccessReview").then(|| path.namespace.clone().unwrap_or_default());
            access(state, &subject, &spec, Some((&subject, namespace.as_deref())))?
        }
    };
    let group =
        if matches!(kind, "SelfSubjectReview" | "TokenReview") { AUTHENTICATION } else { AUTHORIZATION };
    let map = as_map(&mut object);
    map.insert("kind".into(), kind.into());
    map.insert("apiVersion".into(), format!("{group}/v1").into());
    map.insert("status".into(), status);
    map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    Ok(Answer::json(201, object))
}

/// Whom a review is about.
fn subject(spec: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    User {
        name: text(spec, &["user"]).to_owned(),
        uid: text(spec, &["uid"]).to_owned(),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.to_lowercase(), texts(values))).collect(),
    }
}

/// `about` is whom the review names, and the namespace that it is confined to; `None` for the requester's own.
fn access(
    state: &State,
    user: &User,
    spec: &Value,
    about: Option<(&User, Option<&str>)>,
) -> Result<Value, ApiError> {
    let given = |field: &str| spec.get(field).filter(|value| !value.is_null());
    let (resource, other) = (given("resourceAttributes"), given("nonResourceAttributes"));
    let mut errors = Vec::new();
    match (resource, other) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            &other.cloned().unwrap_or_default(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if let Some((subject, namespace)) = about {
        if subject.name.is_empty() && subject.groups.is_empty() {
            let why = "at least one of user or group must be specified";
            errors.push(FieldError::invalid("spec.user", &"".into(), why));
        }
        if let Some(namespace) = namespace
            && let Some(resource) = resource
            && text(resource, &["namespace"]) != namespace
        {
            let found = resource.get("namespace").cloned().unwrap_or_else(|| "".into());
            let why = "must match metadata.namespace";
            errors.push(FieldError::invalid("spec.resourceAttributes.namespace", &found, why));
        }
        if namespace.is_some() && other.is_some() {
            let found = other.cloned().unwrap_or_default();
            let why = "disallowed on this kind of request";
            errors.push(FieldError::invalid("spec.nonResourceAttributes", &found, why));
        }
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(AUTHORIZATION, "", "", &errors));
    }
    let field = |value: Option<&Value>, name: &str| {
        value.map(|value| text(value, &[name]).to_owned()).unwrap_or_default()
    };
    let attributes = Attributes {
        verb: field(resource.or(other), "verb"),
        group: field(resource, "group"),
        resource: field(resource, "resource"),
        subresource: field(resource, "subresource"),
        namespace: field(resource, "namespace"),
        name: field(resource, "name"),
        path: field(other, "path"),
    };
    let decision = state.rbac.authorize(user, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    Ok(status)
}

fn rules_review(state: &State, user: &User, spec: &Value) -> Result<Value, ApiError> {
    let namespace = text(spec, &["namespace"]);
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, errors) = state.rbac.rules_of(user, namespace);
    let shown = |of_urls: bool| -> Vec<Value> {
        rules
            .iter()
            .filter(|rule| rule.urls.is_empty() != of_urls)
            .map(super::super::security::rbac::Rule::show)
            .collect()
    };
    let mut status = json!({"resourceRules": shown(false), "nonResourceRules": shown(true), "incomplete": !errors.is_empty()});
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn token_review(state: &State, context: &Context<'_>, spec: &Value) -> Result<Value, ApiError> {
    let token = text(spec, &["token"]);
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> =
        list(spec, &["audiences"]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    Ok(match check_token(context.tokens, state, token, &audiences, context.now) {
        Ok((user, audiences)) => json!({"authenticated": true, "user": user.info(), "audiences": audiences}),
        Err(error) => json!({"user": {}, "error": error}),
    })
}
