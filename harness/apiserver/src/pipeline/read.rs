//! Get and list.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{
    Answer, Context, Listing, Payload, State, Target, options::RequestOptions, present::Presentation,
};
use crate::{
    schema::decode::Findings,
    selector::{FieldSelector, LabelSelector},
    status::{ApiError, FieldError},
    store::{Key, Object},
};

/// The selectors of a list or watch.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn parse(target: &Target, options: &RequestOptions) -> Result<Self, ApiError> {
        let fields = FieldSelector::parse(&options.field_selector, |field| {
            target.kind.selection_refusal(target.version, field)
        });
        Ok(Self { labels: LabelSelector::parse(&options.label_selector)?, fields: fields? })
    }

    /// Whether the stored object is selected; `shown` is it in the requested version where that differs.
    pub(crate) fn matches(&self, target: &Target, object: &Object) -> bool {
        if !self.labels.is_empty() && !self.labels.matches(&object.value) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        // Only a second view of a kind names its fields differently.
        if target.row().is_some_and(|row| row.from_storage.is_some()) {
            return self.fields.matches(&target.kind.convert(object, target.version));
        }
        self.fields.matches(&object.value)
    }
}

pub(crate) fn get(
    state: &State,
    context: &Context<'_>,
    target: &Target,
    name: &str,
    options: &RequestOptions,
    presentation: &Presentation,
) -> Result<Answer, ApiError> {
    reached(state, &options.resource_version)?;
    let object =
        state.store.get(&target.kind.shelf, &target.key(name)).ok_or_else(|| target.not_found(name))?;
    if *presentation == Presentation::Plain && target.kind.shows_as_stored(object, target.version) {
        let mut answer = Answer::json(200, Value::Null);
        answer.payload = Payload::Bytes(object.json_line());
        return Ok(answer);
    }
    let shown = target.kind.convert(object, target.version);
    Ok(Answer::json(200, presentation.object(&target.kind, target.version, shown, context.now)))
}

pub(crate) fn list(
    state: &State,
    context: &Context<'_>,
    target: &Target,
    options: &RequestOptions,
    presentation: &Presentation,
) -> Result<Answer, ApiError> {
    let selection = Selection::parse(target, options)?;
    let page = page(state, target, options, &selection)?;
    let mut metadata = Map::new();
    if target.kind.is_custom() && *presentation == Presentation::Plain {
        metadata.insert("continue".into(), page.continue_token.clone().unwrap_or_default().into());
    }
    metadata.insert("resourceVersion".into(), page.revision.to_string().into());
    if let Some(token) = page.continue_token {
        metadata.insert("continue".into(), token.into());
        if selection.labels.is_empty() && selection.fields.is_empty() {
            metadata.insert("remainingItemCount".into(), page.remaining.into());
        }
    }
    if *presentation == Presentation::Plain {
        let list = Listing {
            kind: Arc::clone(&target.kind),
            version: target.version,
            metadata: Value::Object(metadata),
            objects: page.objects,
        };
        let mut answer = Answer::json(200, Value::Null);
        answer.payload = Payload::List(Box::new(list));
        return Ok(answer);
    }
    let items = page.objects.iter().map(|object| target.kind.convert(object, target.version)).collect();
    let list = presentation.list(&target.kind, target.version, &Value::Object(metadata), items, context.now);
    Ok(Answer::json(200, list))
}

struct Page {
    objects: Vec<Arc<Object>>,
    revision: u64,
    continue_token: Option<String>,
    remaining: usize,
}

fn page(
    state: &State,
    target: &Target,
    options: &RequestOptions,
    selection: &Selection,
) -> Result<Page, ApiError> {
    if !options.watch {
        check_match(options)?;
    }
    let namespace = target.namespace.as_deref();
    let token = (!options.continue_token.is_empty())
        .then(|| Token::parse(&options.continue_token, namespace))
        .transpose()
        .map_err(|why| ApiError::bad_request(format!("invalid continue token: {why}")))?;
    let goes_on = token.is_some() && !matches!(options.resource_version.as_str(), "" | "0");
    if goes_on {
        let why = "specifying resource version is not allowed when using continue";
        return Err(ApiError::bad_request(why));
    }
    let wanted = parse_revision(&options.resource_version)
        .map_err(|error| ApiError::bad_request(format!("invalid resource version: {}", error.message)))?;
    let at = match (&token, wanted) {
        (Some(token), _) => token.revision,
        (None, Some(revision)) if revision > 0 => {
            reached(state, &options.resource_version)?;
            let exact = options.resource_version_match == "Exact"
                || (options.resource_version_match.is_empty() && options.limit.is_some());
            exact.then_some(revision)
        }
        _ => None,
    };
    let start = token.map(|token| token.start);
    let shelf = &target.kind.shelf;
    let revision = at.unwrap_or_else(|| state.store.revision());
    let mut page = Page { objects: Vec::new(), revision, continue_token: None, remaining: 0 };
    let mut last: Option<Key> = None;
    let mut take = |key: &Key, object: &Arc<Object>| {
        if start.as_ref().is_some_and(|start| key <= start) || !selection.matches(target, object) {
            return;
        }
        if options.limit.is_some_and(|limit| page.objects.len() >= limit) {
            page.remaining += 1;
            return;
        }
        page.objects.push(Arc::clone(object));
        last = Some(key.clone());
    };
    match (at, selection.fields.pinned_name(), namespace) {
        (None, Some(name), namespace) if namespace.is_some() || !target.kind.namespaced => {
            let key = Key::new(namespace.unwrap_or_default(), name);
            if let Some(object) = state.store.get(shelf, &key) {
                take(&key, object);
            }
        }
        (None, ..) => state.store.list(shelf, namespace).for_each(|(key, object)| take(key, object)),
        (Some(at), ..) => {
            let old =
                state.store.list_at(shelf, namespace, at).map_err(|_| expired(start.as_ref(), namespace))?;
            old.iter().for_each(|(key, object)| take(key, object));
        }
    }
    if page.remaining > 0
        && let Some(start) = last
    {
        page.continue_token = Some(Token { revision: Some(page.revision), start }.text(namespace));
    }
    Ok(page)
}

/// A place in a list that is read in pages.
struct Token {
    /// The revision of the first page; `None` goes on with the current state.
    revision: Option<u64>,
    /// The last key that has been read.
    start: Key,
}

impl Token {
    /// Reads a token of a list of the namespace, or of the whole cluster.
    ///
    /// # Errors
    /// What is wrong with it, in the real server's words.
    fn parse(text: &str, namespace: Option<&str>) -> Result<Self, String> {
        const BAD: &str = "continue key is not valid";
        let alphabet = base64::alphabet::URL_SAFE;
        let config = base64::engine::GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone);
        let engine = base64::engine::GeneralPurpose::new(&alphabet, config);
        let bytes = engine.decode(text).map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => text.find('=').unwrap_or(text.len().saturating_sub(1)),
            };
            format!("{BAD}: illegal base64 data at input byte {at}")
        })?;
        let value =
            super::body::json(&bytes, &mut Findings::default()).map_err(|why| format!("{BAD}: {why}"))?;
        let version = value["v"].as_str().unwrap_or_default();
        if version != "meta.k8s.io/v1" {
            return Err(format!("{BAD}: server does not recognize this encoded version {version}"));
        }
        let revision = value["rv"].as_i64().unwrap_or_default();
        if revision == 0 {
            return Err(format!("{BAD}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        let start = value["start"].as_str().unwrap_or_default();
        if start.is_empty() {
            return Err(format!("{BAD}: encoded start key empty (version meta.k8s.io/v1)"));
        }
        let path = start.strip_prefix('/').unwrap_or(start);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("{BAD}: {start}"));
        }
        let (namespace, name) = match namespace {
            Some(namespace) => (namespace, path),
            None => path.split_once('/').unwrap_or(("", path)),
        };
        Ok(Self {
            revision: u64::try_from(revision).ok(),
            start: Key::new(namespace, name.trim_end_matches('\0')),
        })
    }

    /// The token; within a namespace it begins at the name.
    fn text(&self, namespace: Option<&str>) -> String {
        let revision = self.revision.map_or(Value::from(-1), Value::from);
        let start = match namespace {
            None if !self.start.namespace.is_empty() => {
                format!("{}/{}\0", self.start.namespace, self.start.name)
            }
            _ => format!("{}\0", self.start.name),
        };
        let value = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    }
}

fn expired(start: Option<&Key>, namespace: Option<&str>) -> ApiError {
    match start {
        Some(start) => {
            let token = Token { revision: None, start: start.clone() }.text(namespace);
            let mut error = ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
deleted between the time the first chunk was returned and now may show up in the list.",
            );
            // The token for going on is in the Status' own metadata.
            error.details = None;
            error.continue_token = Some(token);
            error
        }
        None => ApiError::expired("The resourceVersion for the provided list is too old."),
    }
}

fn check_match(options: &RequestOptions) -> Result<(), ApiError> {
    let given = options.resource_version_match.as_str();
    let field = "resourceVersionMatch";
    let mut errors = Vec::new();
    if !given.is_empty() {
        if options.resource_version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden(field, why));
        }
        if !options.continue_token.is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(field, why));
        }
        if !matches!(given, "Exact" | "NotOlderThan") {
            let known = ["Exact", "NotOlderThan", ""];
            errors.push(FieldError::not_supported(field, &given.into(), &known));
        }
        if given == "Exact" && options.resource_version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(field, why));
        }
    }
    if options.send_initial_events.is_some() {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

/// A revision in a query; empty is none.
///
/// # Errors
/// An internal error, as the real server's reads and watches have it.
pub(crate) fn parse_revision(text: &str) -> Result<Option<u64>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: std::num::ParseIntError| {
        let range = matches!(error.kind(), std::num::IntErrorKind::PosOverflow);
        let why = if range { "value out of range" } else { "invalid syntax" };
        let detail = format!("strconv.ParseUint: parsing \"{text}\": {why}");
        ApiError::internal(format!("resourceVersion: Invalid value: \"{text}\": {detail}"))
    })
}

/// # Errors
/// `Timeout` for a revision of the future.
pub(crate) fn reached(state: &State, text: &str) -> Result<(), ApiError> {
    match parse_revision(text)? {
        Some(revision) if revision > state.store.revision() => {
            Err(ApiError::too_large_resource_version(revision, state.store.revision()))
        }
        _ => Ok(()),
    }
}
