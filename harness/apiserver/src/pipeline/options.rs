//! Query parameters.

use serde_json::{Value, json};

use super::Request;
use crate::status::{ApiError, FieldError};

/// Longest name of a field manager, in bytes.
const LONGEST_MANAGER: usize = 128;

/// What the query asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestOptions {
    pub(crate) watch: bool,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: Option<usize>,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) timeout_s: Option<u64>,
    pub(crate) allow_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    pub(crate) field_manager: String,
    pub(crate) force: Option<bool>,
    /// `DeleteOptions` given in the query.
    pub(crate) grace_period_s: Option<i64>,
    pub(crate) propagation_policy: String,
}

/// What happens to unknown and duplicate fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl RequestOptions {
    /// # Errors
    /// `BadRequest` or `Invalid` for values that the real server refuses.
    pub(crate) fn parse(request: &Request) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut dry_run: Vec<String> = Vec::new();
        let mut errors = Vec::new();
        for (key, value) in form_urlencoded::parse(request.query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "watch" => options.watch = flag(&value)?,
                "labelSelector" => options.label_selector = value,
                "fieldSelector" => options.field_selector = value,
                "limit" => {
                    options.limit = usize::try_from(integer(&value)?).ok().filter(|limit| *limit > 0);
                }
                "continue" => options.continue_token = value,
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => options.resource_version_match = value,
                "timeoutSeconds" => options.timeout_s = u64::try_from(integer(&value)?).ok(),
                "allowWatchBookmarks" => options.allow_bookmarks = flag(&value)?,
                "sendInitialEvents" => options.send_initial_events = Some(flag(&value)?),
                "dryRun" => dry_run.push(value),
                "fieldValidation" => {
                    options.field_validation = match value.as_str() {
                        "Ignore" => FieldValidation::Ignore,
                        "" | "Warn" => FieldValidation::Warn,
                        "Strict" => FieldValidation::Strict,
                        _ => {
                            let supported = ["Ignore", "Strict", "Warn"];
                            errors.push(FieldError::not_supported(
                                "fieldValidation",
                                &value.into(),
                                &supported,
                            ));
                            FieldValidation::Warn
                        }
                    };
                }
                "fieldManager" => options.field_manager = value,
                "force" => options.force = Some(flag(&value)?),
                "gracePeriodSeconds" if !value.is_empty() => options.grace_period_s = Some(integer(&value)?),
                "propagationPolicy" => options.propagation_policy = value,
                _ => {}
            }
        }
        let kind = options_kind(&request.method);
        options.dry_run = parse_dry_run(&dry_run, kind)?;
        manager_faults(&options.field_manager, &mut errors);
        let is_apply = super::body::media_type(&request.content_type).starts_with("application/apply-patch");
        if request.method == "PATCH" && options.force.is_some() && !is_apply {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", kind, "", &errors));
        }
        Ok(options)
    }

    /// The manager that a write is recorded under: the one given, or the client's name.
    pub(crate) fn manager(&self, request: &Request) -> String {
        if !self.field_manager.is_empty() {
            return self.field_manager.clone();
        }
        let name = request.user_agent.split('/').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_MANAGER).collect();
        if name.is_empty() { "unknown".into() } else { name }
    }
}

/// A manager's name is short, and one can read it.
fn manager_faults(manager: &str, errors: &mut Vec<FieldError>) {
    if manager.len() > LONGEST_MANAGER {
        errors.push(FieldError::too_long("fieldManager", LONGEST_MANAGER));
    }
    for (position, character) in manager.char_indices().filter(|(_, character)| character.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {position})", u32::from(character));
        errors.push(FieldError::invalid("fieldManager", &manager.into(), &why));
    }
}

/// `dryRun` is a list whose only value is `All`.
pub(crate) fn parse_dry_run(values: &[String], kind: &str) -> Result<bool, ApiError> {
    if values.iter().any(|value| value != "All" && !value.is_empty()) {
        let error = FieldError::not_supported("dryRun", &json!(values), &["All"]);
        return Err(ApiError::invalid("meta.k8s.io", kind, "", &[error]));
    }
    Ok(values.iter().any(|value| value == "All"))
}

fn options_kind(method: &str) -> &'static str {
    match method {
        "POST" => "CreateOptions",
        "PUT" => "UpdateOptions",
        "PATCH" => "PatchOptions",
        "DELETE" => "DeleteOptions",
        _ => "ListOptions",
    }
}

fn flag(value: &str) -> Result<bool, ApiError> {
    // As the real server reads them: anything but these is true.
    Ok(!matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
}

fn integer(value: &str) -> Result<i64, ApiError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};

    value.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        ApiError::bad_request(format!("strconv.ParseInt: parsing {}: {why}", Value::from(value)))
    })
}
