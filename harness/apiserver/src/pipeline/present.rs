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
    Table { include: Include },
    Metadata,
}

/// What a table's rows carry of their object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Presentation {
    /// Reads `Accept`: the first form that this server knows.
    ///
    /// # Errors
    /// `NotAcceptable`.
    pub(crate) fn choose(request: &Request) -> Result<Self, ApiError> {
        if request.accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        for offer in request.accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let (mut form, mut group, mut version) = ("", "", "");
            for part in parts {
                match part.split_once('=') {
                    Some(("as", value)) => form = value,
                    Some(("g", value)) => group = value,
                    Some(("v", value)) => version = value,
                    _ => {}
                }
            }
            if !matches!(media, "application/json" | "application/yaml" | "*/*" | "application/*") {
                continue;
            }
            match form {
                "" => return Ok(Self::Plain),
                "Table" if group == "meta.k8s.io" && version == "v1" => {
                    let include = form_urlencoded::parse(request.query.as_bytes())
                        .find(|(key, _)| key == "includeObject")
                        .map_or(Include::Metadata, |(_, value)| match &*value {
                            "None" => Include::Nothing,
                            "Object" => Include::Object,
                            _ => Include::Metadata,
                        });
                    return Ok(Self::Table { include });
                }
                "PartialObjectMetadata" | "PartialObjectMetadataList"
                    if group == "meta.k8s.io" && version == "v1" =>
                {
                    return Ok(Self::Metadata);
                }
                _ => {}
            }
        }
        Err(ApiError::not_acceptable(REPRESENTATIONS))
    }

    /// One object, already in the requested version.
    pub(crate) fn object(self, kind: &Kind, version: usize, mut object: Value, now: Timestamp) -> Value {
        match self {
            Self::Plain => {
                reorder(&mut object);
                object
            }
            Self::Metadata => partial(&object),
            Self::Table { include } => {
                let resource_version = crate::object::meta(&object, "resourceVersion").to_owned();
                let metadata = json!({"resourceVersion": resource_version});
                table(kind, version, &metadata, &[object], include, now, true)
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
            Self::Metadata => {
                let items: Vec<Value> = items.iter().map(partial).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "items": items})
            }
            Self::Table { include } => table(kind, version, metadata, &items, include, now, true),
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
            Self::Table { include } => {
                let resource_version = crate::object::meta(&object, "resourceVersion").to_owned();
                let metadata = json!({"resourceVersion": resource_version});
                table(kind, version, &metadata, &[object], include, now, first)
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
    let first = request.accept.split(',').next().unwrap_or_default();
    super::body::media_type(first) == "application/yaml"
}

/// Whether the client wants to read it with its own eyes.
pub(crate) fn wants_indent(request: &Request) -> bool {
    form_urlencoded::parse(request.query.as_bytes())
        .any(|(key, value)| key == "pretty" && matches!(&*value, "true" | "1" | ""))
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn table(
    kind: &Kind,
    version: usize,
    metadata: &Value,
    items: &[Value],
    include: Include,
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
                Include::Metadata => partial(item),
                Include::Object => item.clone(),
            };
            json!({"cells": columns.cells(item, now), "object": object})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
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
