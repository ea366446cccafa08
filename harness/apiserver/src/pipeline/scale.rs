//! The scale subresource.

use serde_json::{Map, Value, json};

use super::{Answer, Request, State, Target, body, patch, update, webhooks::About, write::Write};
use crate::{
    admission::Operation,
    kinds::ScalePaths,
    object::{as_map, meta},
    schema::decode::Findings,
    status::{ApiError, FieldError},
};

pub(crate) fn get(state: &State, target: &Target, name: &str) -> Result<Answer, ApiError> {
    let paths = paths(target)?;
    let object =
        state.store.get(&target.kind.shelf, &target.key(name)).ok_or_else(|| target.not_found(name))?;
    Ok(Answer::json(200, scale_of(&target.kind.convert(object, target.version), paths)))
}

pub(crate) fn write(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let paths = paths(write.target)?.clone();
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let shown = write.shown(&old);
    let current = scale_of(&shown, &paths);
    let form = body::media_type(&request.content_type);
    let (scale, apply) = match (request.method.as_str(), form) {
        ("PUT", _) => (body::object(request, "Scale", &mut Findings::default())?, false),
        (_, "application/apply-patch+yaml") => {
            let config = body::yaml(&request.body)
                .map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
            patch::check_type(&config, "autoscaling/v1", "Scale")?;
            (config, true)
        }
        _ => {
            let document = body::json(&request.body, &mut Findings::default())
                .map_err(|why| ApiError::bad_request(format!("error decoding patch: {why}")))?;
            (patch::patched(write, form, &document, &current)?, false)
        }
    };
    let given = meta(&scale, "name");
    if !given.is_empty() && given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let given = meta(&scale, "resourceVersion");
    if !given.is_empty() && given != meta(&shown, "resourceVersion") {
        let (group, resource) = write.target.error_name();
        return Err(ApiError::stale(group, resource, name));
    }
    let replicas = match scale["spec"].get("replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().ok_or_else(|| {
            ApiError::bad_request(
                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal string into Go struct field \
ScaleSpec.spec.replicas of type int32",
            )
        })?,
    };
    if replicas < 0 {
        let error =
            FieldError::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", name, &[error]));
    }
    let replicas = reviewed(write, request, name, (&current, scale), replicas)?;
    let mut object = shown.clone();
    set(&mut object, &paths.spec_replicas, replicas);
    let managed_fields = if apply {
        let mut config = json!({"apiVersion": shown["apiVersion"], "kind": shown["kind"],
            "metadata": {"name": name, "namespace": shown["metadata"]["namespace"]}});
        set(&mut config, &paths.spec_replicas, replicas);
        Some(applied_fields(write, &shown, config)?)
    } else {
        None
    };
    // A scale of zero is not written out by the encoder, so nobody owns it.
    let untracked = managed_fields.is_none() && replicas == 0;
    let kept =
        untracked.then(|| shown["metadata"].get("managedFields").cloned().unwrap_or_else(|| json!([])));
    let stored = update::update_object(write, request, &old, object, managed_fields.or(kept))?;
    let shown = write.shown(&stored);
    Ok(Answer::json(200, scale_of(&shown, &paths)))
}

/// What the webhooks make of a scale that is about to be written.
fn reviewed(
    write: &mut Write<'_, '_>,
    request: &Request,
    name: &str,
    (current, given): (&Value, Value),
    replicas: i64,
) -> Result<i64, ApiError> {
    let mut scale = current.clone();
    scale["spec"]["replicas"] = replicas.into();
    if let Some(metadata) = given.get("metadata").and_then(|metadata| metadata.get("resourceVersion")) {
        scale["metadata"]["resourceVersion"] = metadata.clone();
    }
    let kind = Some(("autoscaling", "v1", "Scale"));
    let about = About { request, operation: Operation::Update, name, kind };
    write.mutate(&about, &mut scale, Some(current), &|_, _| Ok(()))?;
    write.validate_by_webhooks(&about, Some(&scale), Some(current))?;
    Ok(scale["spec"]["replicas"].as_i64().unwrap_or(replicas))
}

fn applied_fields(write: &Write<'_, '_>, live: &Value, config: Value) -> Result<Value, ApiError> {
    let version = &write.target.kind.versions[write.target.version];
    let tracking = crate::apply::Tracking {
        schema: &version.schema,
        api_version: write.target.kind.api_version(write.target.version),
        manager: write.options.field_manager.clone(),
        subresource: "scale".into(),
        now: write.now_text(),
        part: super::Part::Main,
        has_status: version.status,
    };
    let force = write.options.force.unwrap_or(false);
    let applied = crate::apply::apply(&tracking, Some(live), config, force, "/; autoscaling/v1, Kind=Scale")?;
    Ok(applied.managed_fields)
}

fn paths(target: &Target) -> Result<&ScalePaths, ApiError> {
    target.kind.versions[target.version].scale.as_ref().ok_or_else(ApiError::no_such_resource)
}

fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let find = |path: &[Box<str>]| path.iter().try_fold(object, |value, key| value.get(&**key));
    let number = |path: &[Box<str>]| find(path).and_then(Value::as_i64).unwrap_or_default();
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut spec = Map::new();
    let replicas = number(&paths.spec_replicas);
    if replicas != 0 {
        spec.insert("replicas".into(), replicas.into());
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    if let Some(selector) = paths.selector.as_ref().and_then(|path| find(path)) {
        let text = selector.as_str().map_or_else(|| selector_text(selector), ToOwned::to_owned);
        if !text.is_empty() {
            status["selector"] = text.into();
        }
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// A `LabelSelector` as text.
fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in crate::object::list(selector, &["matchExpressions"]) {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            crate::object::list(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.sort_unstable();
    parts.join(",")
}

fn set(object: &mut Value, path: &[Box<str>], replicas: i64) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for key in parents {
        at = as_map(at).entry(key.to_string()).or_insert_with(|| json!({}));
    }
    as_map(at).insert(last.to_string(), replicas.into());
}
