//! How objects are shown: as they are, as a Table, or as their metadata only.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Payload, Request, Target};
use crate::{
    kinds::{Kind, columns::Columns},
    object::as_map,
    status::ApiError,
};

/// What the client can read.
const REPRESENTATIONS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, \
application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The form that the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presentation {
    Plain,
    Table {
        include: Include,
        api_version: &'static str,
    },
    /// `PartialObjectMetadata`, or the list of them.
    Metadata {
        of_list: bool,
        api_version: &'static str,
    },
}

/// What a table's rows carry of their object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

/// One form that a client can read, of those that it lists in `Accept`.
struct Offer<'a> {
    media: &'a str,
    form: &'a str,
    api_version: Option<&'static str>,
    quality: f32,
}

impl<'a> Offer<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (mut form, mut group, mut version, mut quality) = ("", "", "", 1.0);
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => form = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                Some(("q", value)) => quality = value.parse().unwrap_or(1.0),
                _ => {}
            }
        }
        let api_version = match (group, version) {
            ("meta.k8s.io", "v1") => Some("meta.k8s.io/v1"),
            ("meta.k8s.io", "v1beta1") => Some("meta.k8s.io/v1beta1"),
            _ => None,
        };
        Self { media, form, api_version, quality }
    }

    /// All offers, the best first: by quality, then as they stand.
    fn all(request: &'a Request) -> Vec<Self> {
        let mut offers: Vec<Self> = request.accept.split(',').map(Self::parse).collect();
        offers.sort_by(|one, other| other.quality.total_cmp(&one.quality));
        offers
    }
}

impl Presentation {
    /// Reads `Accept`: the best form that this server knows.
    ///
    /// # Errors
    /// `NotAcceptable`, or `BadRequest` for a table of something that is not known.
    pub(crate) fn choose(request: &Request) -> Result<Self, ApiError> {
        if request.accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        for offer in Offer::all(request) {
            if !matches!(offer.media, "application/json" | "application/yaml" | "*/*" | "application/*") {
                continue;
            }
            match (offer.form, offer.api_version) {
                ("", _) => return Ok(Self::Plain),
                ("Table", Some(api_version)) => {
                    return Ok(Self::Table { include: included(request)?, api_version });
                }
                ("PartialObjectMetadata", Some(api_version)) => {
                    return Ok(Self::Metadata { of_list: false, api_version });
                }
                ("PartialObjectMetadataList", Some(api_version)) => {
                    return Ok(Self::Metadata { of_list: true, api_version });
                }
                _ => {}
            }
        }
        Err(ApiError::not_acceptable(REPRESENTATIONS))
    }

    /// That the form is one of what is shown: a list, or one object.
    ///
    /// # Errors
    /// `NotAcceptable`.
    pub(crate) fn fit(self, kind: &Kind, is_list: bool) -> Result<(), ApiError> {
        let Self::Metadata { of_list, .. } = self else { return Ok(()) };
        let why = match (of_list, is_list) {
            (false, true) => "PartialObjectMetadata, but the requested object is a list",
            (true, false) => "PartialObjectMetadataList, but the requested object is not a list",
            _ => return Ok(()),
        };
        // The real server names the type as its own code does.
        let of_code = match (kind.is_custom(), is_list) {
            (true, true) => "unstructured.UnstructuredList".to_owned(),
            (true, false) => "unstructured.Unstructured".to_owned(),
            (false, _) => {
                let package =
                    kind.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
                format!("{package}.{}", if is_list { &*kind.list_name } else { &*kind.name })
            }
        };
        Err(ApiError::unfit_form(&format!("you requested {why} (*{of_code})")))
    }

    /// One object, already in the requested version.
    pub(crate) fn object(self, kind: &Kind, version: usize, mut object: Value, now: Timestamp) -> Value {
        match self {
            Self::Plain => {
                reorder(&mut object);
                object
            }
            Self::Metadata { api_version, .. } => partial(&object, api_version),
            Self::Table { include, api_version } => {
                let resource_version = crate::object::meta(&object, "resourceVersion").to_owned();
                let metadata = json!({"resourceVersion": resource_version});
                table(kind, version, &metadata, &[object], (include, api_version), now, true)
            }
        }
    }

    /// A whole list.
    pub(crate) fn list(
        self,
        kind: &Kind,
        version: usize,
        metadata: &Value,
        mut items: Vec<Value>,
        now: Timestamp,
    ) -> Value {
        match self {
            Self::Plain => {
                if !kind.is_custom() {
                    for item in &mut items {
                        let item = as_map(item);
                        item.shift_remove("kind");
                        item.shift_remove("apiVersion");
                    }
                }
                json!({"kind": &*kind.list_name, "apiVersion": kind.api_version(version), "metadata": metadata,
                    "items": items})
            }
            Self::Metadata { api_version, .. } => {
                let items: Vec<Value> = items.iter().map(|item| partial(item, api_version)).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": metadata,
                    "items": items})
            }
            Self::Table { include, api_version } => {
                table(kind, version, metadata, &items, (include, api_version), now, true)
            }
        }
    }

    /// The object of a watch event; only a table's first event tells its columns.
    pub(crate) fn event(
        self,
        kind: &Kind,
        version: usize,
        object: Value,
        now: Timestamp,
        first: bool,
    ) -> Value {
        match self {
            Self::Table { include, api_version } => {
                let resource_version = crate::object::meta(&object, "resourceVersion").to_owned();
                let metadata = json!({"resourceVersion": resource_version});
                table(kind, version, &metadata, &[object], (include, api_version), now, first)
            }
            _ => self.object(kind, version, object, now),
        }
    }
}

/// Presents the object that a write gives back; a `Status` stays one.
pub(crate) fn write_answer(
    mut answer: Answer,
    target: &Target,
    presentation: &Presentation,
    now: Timestamp,
) -> Answer {
    if let Payload::Json(value) = &mut answer.payload
        && value["kind"] == *target.kind.name
    {
        *value = presentation.object(&target.kind, target.version, std::mem::take(value), now);
    }
    answer
}

/// Whether the client wants YAML.
pub(crate) fn wants_yaml(request: &Request) -> bool {
    Offer::all(request).first().is_some_and(|offer| offer.media == "application/yaml")
}

/// Whether the client wants to read it with its own eyes.
pub(crate) fn wants_indent(request: &Request) -> bool {
    form_urlencoded::parse(request.query.as_bytes())
        .any(|(key, value)| key == "pretty" && matches!(&*value, "true" | "1" | ""))
}

/// What a table is to show of its objects.
fn included(request: &Request) -> Result<Include, ApiError> {
    let asked = form_urlencoded::parse(request.query.as_bytes()).find(|(key, _)| key == "includeObject");
    match asked.as_ref().map_or("", |(_, value)| &**value) {
        "None" => Ok(Include::Nothing),
        "Object" => Ok(Include::Object),
        "" | "Metadata" => Ok(Include::Metadata),
        other => {
            let why = "must be 'Metadata', 'Object', 'None', or empty";
            let other = Value::from(other);
            Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other}: {why}"
            )))
        }
    }
}

fn partial(object: &Value, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object["metadata"]})
}

fn table(
    kind: &Kind,
    version: usize,
    metadata: &Value,
    items: &[Value],
    (include, api_version): (Include, &str),
    now: Timestamp,
    with_columns: bool,
) -> Value {
    let columns: &Columns = &kind.versions[version].columns;
    let definitions =
        if with_columns { columns.definitions(&kind.versions[version].schema) } else { Vec::new() };
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let object = match include {
                Include::Nothing => Value::Null,
                Include::Metadata => partial(item, api_version),
                Include::Object => item.clone(),
            };
            json!({"cells": columns.cells(item, now), "object": object})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": api_version, "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows})
}

/// Kind and version first, for those who read it.
fn reorder(object: &mut Value) {
    let map = as_map(object);
    for key in ["apiVersion", "kind"] {
        if let Some(value) = map.shift_remove(key) {
            map.shift_insert(0, key.to_owned(), value);
        }
    }
}
