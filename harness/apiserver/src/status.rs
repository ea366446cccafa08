//! Failures as Kubernetes writes them: the `Status` object with its reason, details and causes.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// A refusal of a request. Serialised by [`ApiError::body`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) code: u16,
    /// Machine-readable reason; empty means that the field is absent.
    pub(crate) reason: Cow<'static, str>,
    /// What the user reads.
    pub(crate) message: String,
    /// `details`, absent for some failures and empty for others; boxed, because errors travel in every result.
    pub(crate) details: Option<Box<Value>>,
    /// How to go on with a list whose revision is gone.
    pub(crate) continue_token: Option<String>,
}

/// One field's fault, a cause of an `Invalid` status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldError {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None, continue_token: None }
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!("{} {} is forbidden: {why}", qualified(resource, group), go_quote(name));
        Self::new(403, "Forbidden", message).with_details(details(name, group, resource))
    }

    /// An object that is not there.
    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(resource, group), go_quote(name));
        Self::new(404, "NotFound", message).with_details(details(name, group, resource))
    }

    /// A path that no resource answers.
    pub(crate) fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn not_acceptable(available: &str) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
        Self::new(406, "NotAcceptable", message).with_details(json!({}))
    }

    /// A form that does not fit what is asked for.
    pub(crate) fn unfit_form(why: &str) -> Self {
        Self::new(406, "NotAcceptable", why)
    }

    pub(crate) fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} already exists", qualified(resource, group), go_quote(name));
        Self::new(409, "AlreadyExists", message).with_details(details(name, group, resource))
    }

    pub(crate) fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(resource, group),
            go_quote(name)
        );
        Self::new(409, "Conflict", message).with_details(details(name, group, resource))
    }

    /// The stored object is newer than the one that the request was made from.
    pub(crate) fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message).with_details(json!({}))
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let mut lines: Vec<String> = Vec::new();
        for error in errors {
            let line = format!("{}: {}", error.field, error.message);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let list = if lines.len() == 1 { lines.remove(0) } else { format!("[{}]", lines.join(", ")) };
        let message = format!("{} {} is invalid: {list}", qualified(kind, group), go_quote(name));
        let mut details = details(name, group, kind);
        details["causes"] = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        Self::new(422, "Invalid", message).with_details(details)
    }

    /// A patch that does not fit the object; the real server says no more than this.
    pub(crate) fn unprocessable() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request")
            .with_details(json!({}))
    }

    /// A failure without a reason, HTTP 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// A read at a revision that this server has not reached.
    pub(crate) fn too_large_resource_version(wanted: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {wanted}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Self::new(504, "Timeout", format!("Timeout: {message}"))
            .with_details(json!({"causes": causes, "retryAfterSeconds": 1}))
    }

    /// The `Status` object of this failure.
    pub(crate) fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("kind".into(), "Status".into());
        body.insert("apiVersion".into(), "v1".into());
        let metadata =
            self.continue_token.as_ref().map_or_else(|| json!({}), |token| json!({"continue": token}));
        body.insert("metadata".into(), metadata);
        body.insert("status".into(), "Failure".into());
        body.insert("message".into(), self.message.as_str().into());
        if !self.reason.is_empty() {
            body.insert("reason".into(), (*self.reason).into());
        }
        if let Some(details) = &self.details {
            body.insert("details".into(), (**details).clone());
        }
        body.insert("code".into(), self.code.into());
        Value::Object(body)
    }
}

impl FieldError {
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".into() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        let mut message = format!("Invalid value: {}", go_value(value));
        if !detail.is_empty() {
            message = format!("{message}: {detail}");
        }
        Self { reason: "FieldValueInvalid", message, field: field.into() }
    }

    /// Invalid for how its fields go together; none of them is shown.
    pub(crate) fn invalid_as_a_whole(field: impl Into<String>, detail: &str) -> Self {
        let message = format!("Invalid value: {detail}");
        Self { reason: "FieldValueInvalid", message, field: field.into() }
    }

    pub(crate) fn too_many(field: impl Into<String>, found: usize, limit: usize) -> Self {
        let message = format!("Too many: {found}: must have at most {limit} items");
        Self { reason: "FieldValueTooMany", message, field: field.into() }
    }

    pub(crate) fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self { reason: "FieldValueTypeInvalid", ..Self::invalid(field, value, detail) }
    }

    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list = supported.iter().map(|item| go_quote(item)).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {list}", go_value(value));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", go_value(value));
        Self { reason: "FieldValueDuplicate", message, field: field.into() }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {detail}"), field: field.into() }
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Not found: {}", go_value(value));
        Self { reason: "FieldValueNotFound", message, field: field.into() }
    }

    pub(crate) fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { reason: "FieldValueTooLong", message, field: field.into() }
    }
}

/// `pods`, `deployments.apps`.
pub(crate) fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// A fault of JSON in the words of Go's decoder.
pub(crate) fn go_syntax_fault(error: &serde_json::Error, text: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let line_start =
        text.split(|c| *c == b'\n').take(error.line().saturating_sub(1)).map(|line| line.len() + 1);
    let at = line_start.sum::<usize>() + error.column().saturating_sub(1);
    match text.get(at) {
        Some(byte) if !error.is_data() => {
            format!("invalid character '{}' looking for beginning of value", char::from(*byte))
        }
        _ => error.to_string(),
    }
}

/// A string in the quotes and escapes of Go's `%q`.
pub(crate) fn go_quote(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn go_value(value: &Value) -> String {
    value.to_string()
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        details.insert("group".into(), group.into());
    }
    if !kind.is_empty() {
        details.insert("kind".into(), kind.into());
    }
    Value::Object(details)
}
