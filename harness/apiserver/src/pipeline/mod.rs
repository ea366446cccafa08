//! The request pipeline: route, decode, default, admit, validate, merge, commit, present.
//!
//! A request is a plain value and so is its answer; the only things besides the state that it may see are in
//! [`Context`]. Watches are answered with a description that the HTTP layer follows.

mod access;
mod addresses;
mod body;
mod create;
mod delete;
mod discovery;
mod evict;
mod expiry;
mod garbage;
mod limits;
mod listing;
mod namespaces;
mod openapi;
mod options;
mod patch;
mod pod_admission;
mod policies;
mod present;
mod quota;
mod read;
mod roles;
pub(crate) mod route;
mod scale;
pub(crate) mod state;
mod token_request;
mod update;
mod watch;
mod webhooks;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

pub(crate) use expiry::expire;
pub(crate) use listing::Listing;
pub(crate) use present::Presentation;
pub(crate) use state::{NAMESPACES, State};
pub(crate) use watch::{Cursor, WatchRequest};
pub(crate) use write::{Part, uid};

use crate::{
    admission::Admission,
    kinds::Kind,
    security::{Pki, User, tokens::Tokens},
    server::Options,
    status::ApiError,
    webhook::Transcript,
};
use options::RequestOptions;

/// A request as the pipeline sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Raw path, percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) if_none_match: String,
    pub(crate) body: Bytes,
    /// Who asks, after authentication and impersonation.
    pub(crate) user: Arc<User>,
}

/// What a request may see besides the state.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) admission: &'a [Arc<dyn Admission>],
    pub(crate) options: &'a Options,
    pub(crate) pki: &'a Pki,
    pub(crate) tokens: &'a Tokens,
    /// What admission webhooks have said about this request so far.
    pub(crate) transcript: &'a mut Transcript,
    /// 128 random bits for uids and generated names.
    pub(crate) random: &'a mut dyn FnMut() -> u128,
}

/// An answer, not yet written to a connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    /// Texts of `Warning` headers.
    pub(crate) warnings: Vec<String>,
    pub(crate) etag: Option<String>,
    pub(crate) payload: Payload,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Payload {
    Empty,
    Json(Value),
    Bytes(Bytes),
    Text(String),
    List(Box<Listing>),
    Watch(Box<WatchRequest>),
}

/// What a path names.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    /// Index of the requested version.
    pub(crate) version: usize,
    /// `None` spans all namespaces, or the kind is cluster-scoped.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Answer {
    pub(crate) fn json(code: u16, value: Value) -> Self {
        Self {
            code,
            content_type: "application/json",
            warnings: Vec::new(),
            etag: None,
            payload: Payload::Json(value),
        }
    }

    pub(crate) fn text(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            content_type: "text/plain; charset=utf-8",
            warnings: Vec::new(),
            etag: None,
            payload: Payload::Text(text.into()),
        }
    }

    pub(crate) fn page_not_found() -> Self {
        Self::text(404, "404 page not found\n")
    }

    pub(crate) fn error(error: &ApiError) -> Self {
        Self::json(error.code, error.body())
    }
}

impl Target {
    pub(crate) fn error_name(&self) -> (&str, &str) {
        (&self.kind.group, &self.kind.plural)
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.kind.group, &self.kind.plural, name)
    }

    pub(crate) fn key(&self, name: &str) -> crate::store::Key {
        crate::store::Key::new(self.namespace.as_deref().unwrap_or_default(), name)
    }

    /// The table's row of the requested version, if the kind is built in.
    pub(crate) fn row(&self) -> Option<&'static crate::kinds::builtin::Row> {
        self.kind.versions[self.version].row
    }

    pub(crate) fn schema(&self) -> &crate::schema::Schema {
        &self.kind.versions[self.version].schema
    }
}

/// Whether answering may change the state.
pub(crate) fn is_write(request: &Request) -> bool {
    !matches!(request.method.as_str(), "GET" | "HEAD")
}

/// Answers a read. Any failure is an answer too.
pub(crate) fn read(state: &State, context: &Context<'_>, request: &Request) -> Answer {
    let answer = match route::parse(&request.path) {
        route::Route::Static(path) => match token_request::documents(context, &path) {
            Some(answer) => Ok(answer),
            None => discovery::answer(state, request, &path),
        },
        route::Route::Resource(path) => read_resource(state, context, request, &path),
    };
    finish(request, answer)
}

/// Answers a write.
pub(crate) fn write(state: &mut State, context: &mut Context<'_>, request: &Request) -> Answer {
    let answer = match route::parse(&request.path) {
        route::Route::Static(path) => Ok(discovery::refuse_write(&path)),
        route::Route::Resource(path) => write_resource(state, context, request, &path),
    };
    let mut answer = finish(request, answer);
    answer.warnings.append(&mut context.transcript.warnings);
    answer
}

fn read_resource(
    state: &State,
    context: &Context<'_>,
    request: &Request,
    path: &route::ResourcePath,
) -> Result<Answer, ApiError> {
    let target = match route::resolve(&state.registry, path) {
        Ok(target) => target,
        Err(route::Unresolved::NoSuchGroup) => return Ok(Answer::page_not_found()),
        Err(route::Unresolved::NoSuchResource) if route::is_virtual(path) => {
            return Err(ApiError::method_not_allowed());
        }
        Err(route::Unresolved::NoSuchResource) => return Err(ApiError::no_such_resource()),
    };
    let options = RequestOptions::parse(request)?;
    let presentation = Presentation::choose(request)?;
    if !path.watch && !options.watch && target.subresource != "scale" {
        presentation.fit(&target.kind, target.name.is_none())?;
    }
    let answer = match (&target.name, target.subresource.as_str()) {
        (None, _) if path.watch || options.watch => watch::start(state, &target, &options, &presentation)?,
        (None, _) => read::list(state, context, &target, &options, &presentation)?,
        (Some(name), "") if path.watch => watch::start_one(state, &target, name, &options, &presentation)?,
        (Some(name), "") => read::get(state, context, &target, name, &options, &presentation)?,
        (Some(name), "status") if has_status(&target) => {
            read::get(state, context, &target, name, &options, &presentation)?
        }
        (Some(name), "scale") => scale::get(state, &target, name)?,
        _ => return Err(ApiError::no_such_resource()),
    };
    Ok(warn_deprecated(&target, answer))
}

fn write_resource(
    state: &mut State,
    context: &mut Context<'_>,
    request: &Request,
    path: &route::ResourcePath,
) -> Result<Answer, ApiError> {
    let target = match route::resolve(&state.registry, path) {
        Ok(target) => target,
        Err(route::Unresolved::NoSuchGroup) => return Ok(Answer::page_not_found()),
        Err(route::Unresolved::NoSuchResource) => {
            return access::answer(state, context, request, path)
                .unwrap_or_else(|| Err(ApiError::no_such_resource()));
        }
    };
    if path.watch || target.row().is_some_and(|row| row.read_only) {
        return Err(ApiError::method_not_allowed());
    }
    let options = RequestOptions::parse(request)?;
    let presentation = Presentation::choose(request)?;
    let needs_namespace = target.kind.namespaced && target.namespace.is_none();
    let mut write = write::Write { state, context, target: &target, options: &options };
    let answer = match (request.method.as_str(), &target.name, target.subresource.as_str()) {
        (_, _, subresource) if !known_subresource(&target, subresource) => {
            return Err(ApiError::no_such_resource());
        }
        ("POST", None, _) if !needs_namespace => create::create(&mut write, request)?,
        ("DELETE", None, _) if !needs_namespace && &*target.kind.plural != "namespaces" => {
            delete::delete_collection(&mut write, request)?
        }
        ("PUT", Some(name), "" | "status") => update::replace(&mut write, request, name)?,
        ("PUT", Some(name), "finalize") => update::finalize(&mut write, request, name)?,
        ("PATCH", Some(name), "" | "status") => patch::patch(&mut write, request, name)?,
        ("DELETE", Some(name), "") => delete::delete(&mut write, request, name)?,
        ("PUT" | "PATCH", Some(name), "scale") => scale::write(&mut write, request, name)?,
        ("POST", Some(name), "token") => token_request::create(&mut write, request, name)?,
        ("POST", Some(name), "binding") => create::bind(&mut write, request, name)?,
        ("POST", Some(name), "eviction") => evict::evict(&mut write, request, name)?,
        _ => return Err(ApiError::method_not_allowed()),
    };
    if let Some(namespace) = &target.namespace {
        quota::refresh(state, namespace);
    }
    let answer = present::write_answer(answer, &target, &presentation, context.now);
    Ok(warn_deprecated(&target, answer))
}

fn known_subresource(target: &Target, subresource: &str) -> bool {
    let version = &target.kind.versions[target.version];
    match subresource {
        "" => true,
        "status" => has_status(target),
        "scale" => version.scale.is_some(),
        "finalize" => &*target.kind.plural == "namespaces",
        "binding" | "eviction" => &*target.kind.shelf == "/pods",
        "token" => &*target.kind.shelf == "/serviceaccounts",
        _ => false,
    }
}

fn has_status(target: &Target) -> bool {
    target.kind.versions[target.version].status
}

fn warn_deprecated(target: &Target, mut answer: Answer) -> Answer {
    if let Some(warning) = &target.kind.versions[target.version].deprecation {
        answer.warnings.insert(0, warning.clone());
    }
    answer
}

/// Failures become `Status` answers, in the format that the client reads.
fn finish(request: &Request, answer: Result<Answer, ApiError>) -> Answer {
    let mut answer = answer.unwrap_or_else(|error| Answer::error(&error));
    if (present::wants_yaml(request) || present::wants_indent(request))
        && let Payload::List(list) = &answer.payload
    {
        answer.payload = Payload::Json(list.value(Timestamp::UNIX_EPOCH));
    }
    if present::wants_yaml(request)
        && let Payload::Json(value) = &answer.payload
        && answer.content_type == "application/json"
    {
        if let Ok(text) = serde_saphyr::to_string(value) {
            answer.payload = Payload::Text(text);
            answer.content_type = "application/yaml";
        }
    } else if present::wants_indent(request)
        && let Payload::Json(value) = &answer.payload
        && let Ok(text) = serde_json::to_vec_pretty(value)
    {
        answer.payload = Payload::Bytes(Bytes::from(text));
    }
    answer
}
