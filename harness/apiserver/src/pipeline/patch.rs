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
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let strategic = form == "application/strategic-merge-patch+json";
    let prefix = if strategic { "" } else { "error decoding patch: " };
    let document = body::json(&request.body, &mut findings)
        .map_err(|why| ApiError::bad_request(format!("{prefix}{why}")))?;
    let shown = write.shown(&old);
    let mut object = patched(write, form, &document, &shown)?;
    if let Some(map) = object.as_object_mut() {
        map.sort_keys();
    }
    // A refusal quotes the object that the patch makes, or the strategic patch itself as Go prints a map.
    let before = match &document {
        Value::Object(patch) if strategic => patch::strategic::go_map(patch),
        _ => object.to_string(),
    };
    if !write.target.kind.is_custom() {
        settle_type(write, &mut object, strategic, &before)?;
    }
    write.decode(&mut object, &mut findings).map_err(|error| {
        let error = if strategic { converted(error) } else { error };
        unfit(&before, &error)
    })?;
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

/// What a patch does to the type of an object of a built-in kind: what it drops is put back; a strategic patch can't
/// change it, the others may not.
fn settle_type(
    write: &Write<'_, '_>,
    object: &mut Value,
    strategic: bool,
    shown: &str,
) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    let expected = kind.api_version(write.target.version);
    for (field, value) in [("apiVersion", expected.as_str()), ("kind", &kind.name)] {
        if strategic || text(object, &[field]).is_empty() {
            crate::object::as_map(object).insert(field.into(), value.into());
        }
    }
    let (version, name) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    if version == expected && *name == *kind.name {
        return Ok(());
    }
    let (group, own) = version.split_once('/').unwrap_or(("", version));
    let mut known = write.state.registry.of_group(group).filter(|kind| !kind.is_custom());
    let why = if known.any(|kind| *kind.name == *name && kind.version(own).is_some()) {
        let internal = kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
        format!("converting ({own}.{name}) to ({internal}.{}): unknown conversion", kind.name)
    } else {
        format!(
            "no kind \"{name}\" is registered for version \"{version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    Err(unfit(shown, &TypeMismatch(why)))
}

/// A type error in the words of the converter that a strategic patch goes through instead of the decoder.
fn converted(error: TypeMismatch) -> TypeMismatch {
    let Some((found, wanted)) = error
        .0
        .strip_prefix("json: cannot unmarshal ")
        .and_then(|rest| Some((rest.split_whitespace().next()?, rest.rsplit_once(" of type ")?.1)))
    else {
        return error;
    };
    let (kind, is_number) = match found {
        "array" => ("slice", false),
        "object" => ("map", false),
        "number" => ("int64", true),
        other => (other, false),
    };
    let numeric = wanted.starts_with("int") || wanted.starts_with("float") || wanted.starts_with("uint");
    TypeMismatch(match wanted {
        "string" if is_number => format!("cannot convert {kind} to string"),
        _ if numeric && is_number => format!("cannot convert float64 to {wanted}"),
        "string" | "bool" => format!("unrecognized type: {wanted}"),
        _ if numeric => format!("unrecognized type: {wanted}"),
        _ if wanted.starts_with("map[") => format!("cannot restore map from {kind}"),
        _ if wanted.starts_with("[]") => format!("cannot restore slice from {kind}"),
        _ if wanted.starts_with("intstr.") || wanted.starts_with("resource.") => return error,
        _ => format!("cannot restore struct from: {kind}"),
    })
}

/// A patch can't turn an object into another one.
fn check_identity(write: &Write<'_, '_>, object: &Value, old: &Value) -> Result<(), ApiError> {
    if write.target.kind.is_custom() {
        let expected = write.target.kind.api_version(write.target.version);
        if text(object, &["apiVersion"]) != expected || text(object, &["kind"]) != &*write.target.kind.name {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({expected})",
                text(object, &["apiVersion"])
            )));
        }
    }
    let namespace = meta(object, "namespace");
    if namespace != meta(old, "namespace") && !namespace.is_empty() && write.target.namespace.is_some() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let name = meta(object, "name");
    let expected = meta(old, "name");
    if name.is_empty() {
        return Err(nameless(expected));
    }
    if name != expected {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({expected})"
        )));
    }
    Ok(())
}

/// An object that has lost its name, or never had one.
fn nameless(name: &str) -> ApiError {
    let why = "was undeterminable: name must be provided";
    ApiError::bad_request(format!("the name of the object ({name} based on URL) {why}"))
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
    if config.is_null() {
        *config = Value::Object(serde_json::Map::new());
    }
    if !config.is_object() {
        let found = crate::schema::decode::json_type(config);
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go \
             value of type map[string]interface {{}}"
        )));
    }
    let kind = &write.target.kind;
    check_type(config, &kind.api_version(write.target.version), &kind.name)?;
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|fields| fields.as_array().is_some_and(|list| !list.is_empty()))
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let given = meta(config, "name").to_owned();
    let stored = write.stored(name);
    if given.is_empty() {
        if stored.is_none() {
            return Err(nameless(name));
        }
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
    let uid = meta(config, "uid");
    if stored.is_none() && !uid.is_empty() {
        let (group, resource) = write.target.error_name();
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(ApiError::conflict(group, resource, name, &why));
    }
    Ok(())
}

/// An apply names the type that it is applied to.
///
/// # Errors
/// `BadRequest` with the type that it names instead.
pub(super) fn check_type(config: &Value, api_version: &str, kind: &str) -> Result<(), ApiError> {
    let (version, name) = (text(config, &["apiVersion"]), text(config, &["kind"]));
    if version == api_version && name == kind {
        return Ok(());
    }
    let (group, own) = version.split_once('/').unwrap_or(("", version));
    Err(ApiError::bad_request(format!("invalid object type: {group}/{own}, Kind={name}")))
}
