//! PATCH in its four forms.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Answer, Request, body, create, update,
    write::{Part, Write},
};
use crate::{
    apply,
    object::{meta, metadata_mut, text},
    patch::{self, PatchError},
    schema::decode::{Findings, TypeMismatch},
    status::{ApiError, FieldError},
    store::Object,
};

pub(crate) fn patch(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let form = body::media_type(&request.content_type);
    let custom = write.target.kind.is_custom();
    match form {
        "application/apply-patch+yaml" => apply_patch(write, request, name),
        "application/json-patch+json" | "application/merge-patch+json" => plain(write, request, name, form),
        "application/strategic-merge-patch+json" if !custom => plain(write, request, name, form),
        _ => {
            let mut known = vec!["application/json-patch+json", "application/merge-patch+json"];
            if !custom {
                known.push("application/strategic-merge-patch+json");
            }
            known.push("application/apply-patch+yaml");
            if !custom {
                known.push("application/apply-patch+cbor");
            }
            let mut error = ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                known.join(", ")
            ));
            if custom {
                error.details = None;
            }
            Err(error)
        }
    }
}

fn plain(write: &mut Write<'_, '_>, request: &Request, name: &str, form: &str) -> Result<Answer, ApiError> {
    let mut findings = Findings::default();
    let document = body::json(&request.body, &mut findings)
        .map_err(|why| ApiError::bad_request(format!("error decoding patch: {why}")))?;
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let shown = write.shown(&old);
    let mut object = patched(write, form, &document, &shown)?;
    if let Some(map) = object.as_object_mut() {
        map.sort_keys();
    }
    let before = object.to_string();
    write.decode(&mut object, &mut findings).map_err(|error| unfit(&before, &error))?;
    let warnings = write.report(findings, |why| {
        let error = FieldError::invalid("patch", &Value::from(before.as_str()), why);
        ApiError::invalid("", "", "", &[error])
    })?;
    check_identity(write, &object, &shown)?;
    let stored = update::update_object(write, request, &old, object, None)?;
    Ok(write.answer(200, &stored, warnings))
}

/// The object with the patch applied.
pub(crate) fn patched(
    write: &Write<'_, '_>,
    form: &str,
    document: &Value,
    current: &Value,
) -> Result<Value, ApiError> {
    let result = match form {
        "application/json-patch+json" => patch::json::apply(current, document),
        "application/merge-patch+json" => patch::merge::apply(current, document),
        _ => patch::strategic::apply(write.target.schema(), current, document),
    };
    result.map_err(|error| match error {
        PatchError::Malformed(message) => ApiError::bad_request(message),
        PatchError::Unfit => ApiError::unprocessable(),
        PatchError::TooLarge(message) => ApiError::new(413, "RequestEntityTooLarge", message),
        PatchError::Internal(message) => ApiError::internal(message),
    })
}

/// A patch that gives a field the wrong type.
pub(crate) fn unfit(object: &str, error: &TypeMismatch) -> ApiError {
    let error = FieldError::invalid("patch", &Value::from(object), &error.0);
    let mut failure = ApiError::invalid("", "", "", &[error]);
    if let Some(details) = failure.details.as_mut().and_then(|details| details.as_object_mut()) {
        details.shift_remove("kind");
    }
    failure
}

/// A patch can't turn an object into another kind.
fn check_identity(write: &Write<'_, '_>, object: &Value, old: &Value) -> Result<(), ApiError> {
    let expected = write.target.kind.api_version(write.target.version);
    if text(object, &["apiVersion"]) != expected || text(object, &["kind"]) != &*write.target.kind.name {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({expected})",
            text(object, &["apiVersion"])
        )));
    }
    let name = meta(object, "name");
    if name != meta(old, "name") && !name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            meta(old, "name")
        )));
    }
    let namespace = meta(object, "namespace");
    if namespace != meta(old, "namespace") && !namespace.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the URL ({})",
            meta(old, "namespace")
        )));
    }
    Ok(())
}

fn apply_patch(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    if write.options.field_manager.is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    }
    let mut config = body::yaml(&request.body)
        .map_err(|why| ApiError::bad_request(format!("error decoding YAML: {why}")))?;
    check_config(write, &mut config, name)?;
    let old = write.stored(name);
    let live = old.as_ref().map(|old| write.shown(old));
    let version = &write.target.kind.versions[write.target.version];
    let tracking = apply::Tracking {
        schema: &version.schema,
        api_version: write.target.kind.api_version(write.target.version),
        manager: write.options.field_manager.clone(),
        subresource: write.target.subresource.clone(),
        now: write.now_text(),
        part: if write.target.subresource == "status" { Part::Status } else { Part::Main },
        has_status: version.status,
    };
    let place = format!(
        "{}/{}; {}/{}, Kind={}",
        meta(&config, "namespace"),
        meta(&config, "name"),
        write.target.kind.group,
        version.name,
        write.target.kind.name
    );
    let applied =
        apply::apply(&tracking, live.as_ref(), config, write.options.force.unwrap_or(false), &place)?;
    finish_apply(write, request, name, old.as_ref(), applied)
}

/// Decodes what an apply made, and stores it.
fn finish_apply(
    write: &mut Write<'_, '_>,
    request: &Request,
    name: &str,
    old: Option<&Arc<Object>>,
    applied: apply::Applied,
) -> Result<Answer, ApiError> {
    let apply::Applied { mut object, managed_fields } = applied;
    let mut findings = Findings::default();
    let before = object.to_string();
    write.decode(&mut object, &mut findings).map_err(|error| unfit(&before, &error))?;
    let warnings = write.report(findings, |why| {
        let error = FieldError::invalid("patch", &Value::from(before.as_str()), why);
        ApiError::invalid("", "", "", &[error])
    })?;
    let Some(old) = old else {
        if write.target.subresource == "status" {
            return Err(write.target.not_found(name));
        }
        metadata_mut(&mut object).shift_remove("resourceVersion");
        let created = create::create_object(write, request, object, Some(managed_fields))?;
        return Ok(write.answer(201, &created, warnings));
    };
    let stored = update::update_object(write, request, old, object, Some(managed_fields))?;
    Ok(write.answer(200, &stored, warnings))
}

fn check_config(write: &Write<'_, '_>, config: &mut Value, name: &str) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    if !config.is_object() {
        return Err(ApiError::bad_request("error decoding YAML: an apply configuration must be an object"));
    }
    let expected = kind.api_version(write.target.version);
    let given = text(config, &["apiVersion"]);
    if given.is_empty() || text(config, &["kind"]).is_empty() {
        let missing = if text(config, &["kind"]).is_empty() { "Kind" } else { "apiVersion" };
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: Object '{missing}' is missing in '{config}'"
        )));
    }
    if given != expected {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
        )));
    }
    if text(config, &["kind"]) != &*kind.name {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({}) does not match the expected kind ({})",
            text(config, &["kind"]),
            kind.name
        )));
    }
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|fields| fields.as_array().is_some_and(|list| !list.is_empty()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let given = meta(config, "name").to_owned();
    if given.is_empty() {
        metadata_mut(config).insert("name".into(), name.into());
    } else if given != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    if let Some(namespace) = &write.target.namespace {
        let given = meta(config, "namespace");
        if !given.is_empty() && given != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}
