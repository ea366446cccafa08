//! OpenAPI v3, as far as clients need it: kubectl's explain, and its check whether validation can be left to
//! the server.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::Answer;
use crate::{
    kinds::{Kind, Registry, Source, Version, api_version},
    schema::{ListKind, Merge, Schema, builtin, enumerations::ENUMERATIONS},
};

/// Answers `/openapi/…`; `None` for paths that do not exist.
pub(crate) fn answer(registry: &Registry, segments: &[&str], accept: &str) -> Option<Answer> {
    match segments {
        ["openapi", "v2"] if accept.contains("com.github.proto-openapi.spec.v2") => {
            let mut answer = Answer::json(200, Value::Null);
            answer.content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
            answer.payload = super::Payload::Bytes(v2_document().into());
            Some(answer)
        }
        ["openapi", "v3"] => {
            let mut answer = Answer::json(200, index(registry));
            answer.content_type = "text/plain; charset=utf-8";
            Some(answer)
        }
        ["openapi", "v3", "api", version] => document(registry, "", version),
        ["openapi", "v3", "apis", group, version] => document(registry, group, version),
        ["openapi", "v3", "api" | "apis" | "version"] => Some(Answer::json(200, empty_document())),
        ["openapi", "v2"] => Some(Answer::json(
            200,
            json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": {},
                "definitions": {}, "parameters": {}, "securityDefinitions": {}, "security": []}),
        )),
        _ => None,
    }
}

fn empty_document() -> Value {
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": {},
        "components": {"schemas": {}, "securitySchemes": security()}})
}

fn security() -> Value {
    json!({"BearerToken": {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization",
        "in": "header"}})
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String| {
        let mut hasher = DefaultHasher::new();
        (path.as_str(), registry.generation()).hash(&mut hasher);
        let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
        paths.insert(path, json!({"serverRelativeURL": url}));
    };
    let mut versions: BTreeSet<String> = ["api", "apis", "version"].map(ToOwned::to_owned).into();
    for kind in registry.all() {
        for version in kind.versions.iter().filter(|version| version.served) {
            versions.insert(prefix(kind, version).trim_start_matches('/').to_owned());
        }
    }
    versions.into_iter().for_each(&mut add);
    json!({"paths": paths})
}

fn prefix(kind: &Kind, version: &Version) -> String {
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    format!("/{root}/{}", api_version(&kind.group, &version.name))
}

fn document(registry: &Registry, group: &str, version: &str) -> Option<Answer> {
    let mut paths = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut schemas = Map::new();
    let mut found = false;
    for kind in registry.of_group(group) {
        let Some(version) = kind.versions.iter().find(|known| *known.name == *version && known.served) else {
            continue;
        };
        found = true;
        let root = prefix(kind, version);
        paths
            .entry(format!("{root}/"))
            .or_insert_with(|| json!({"get": {"description": "get available resources"}}));
        add_paths(&mut paths, &root, kind, version);
        match kind.source {
            Source::Builtin(row) => {
                let row = version.row.unwrap_or(row);
                let name = builtin::full_name(row.definition);
                schemas.insert(name.clone(), Value::Null);
                wanted.insert(name);
            }
            Source::Custom { .. } => {
                schemas.insert(custom_name(kind, version), custom_schema(kind, version));
                wanted.insert(builtin::OBJECT_META.to_owned());
            }
        }
    }
    if !found {
        return None;
    }
    resolve_schemas(registry, group, wanted, &mut schemas);
    schemas.sort_keys();
    let mut document = empty_document();
    document["paths"] = Value::Object(paths);
    document["components"]["schemas"] = Value::Object(schemas);
    Some(Answer::json(200, document))
}

/// The built-in definitions that are reachable from the wanted ones.
fn resolve_schemas(
    registry: &Registry,
    group: &str,
    mut wanted: BTreeSet<String>,
    schemas: &mut Map<String, Value>,
) {
    let definitions = builtin::openapi_definitions();
    let mut done: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(mut schema) = definitions.get(&name).cloned() else { continue };
        annotate(&name, &mut schema, &mut wanted);
        let rows = |kind: &Arc<Kind>| {
            let kind = Arc::clone(kind);
            let count = kind.versions.len();
            (0..count).filter_map(move |version| Some((Arc::clone(&kind), kind.versions[version].row?)))
        };
        for (kind, row) in registry.of_group(group).flat_map(rows) {
            if builtin::full_name(row.definition) == name {
                schema["x-kubernetes-group-version-kind"] =
                    json!([{"group": row.group, "version": row.version, "kind": &*kind.name}]);
            }
        }
        schemas.insert(name, schema);
    }
}

/// Adds the merge rules, and turns references into the form that clients resolve.
fn annotate(name: &str, schema: &mut Value, wanted: &mut BTreeSet<String>) {
    if name.ends_with(".intstr.IntOrString") {
        *schema = json!({"description": schema["description"], "format": "int-or-string",
            "oneOf": [{"type": "integer"}, {"type": "string"}]});
        return;
    }
    if name.ends_with(".resource.Quantity") {
        *schema =
            json!({"description": schema["description"], "oneOf": [{"type": "string"}, {"type": "number"}]});
        return;
    }
    let rules = builtin::definition(name);
    if let Some(map) = schema.as_object_mut()
        && let Some(Value::Object(properties)) = map.get_mut("properties")
    {
        for (key, property) in properties.iter_mut() {
            references(property, wanted);
            if let Some(rule) = rules.and_then(|rules| rules.properties.get(key.as_str())) {
                extend(property, rule);
            }
        }
    }
    for (of, field, words) in ENUMERATIONS.iter().filter(|(of, ..)| builtin::full_name(of) == name) {
        debug_assert!(schema["properties"].get(field).is_some(), "{of}.{field}");
        if let Some(property) = schema["properties"].get_mut(field) {
            property["enum"] = words.iter().copied().map(Value::from).collect();
        }
    }
    if rules.is_some_and(|rules| rules.atomic) {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
}

fn extend(property: &mut Value, rule: &Schema) {
    match &rule.list {
        ListKind::Map(keys) => {
            property["x-kubernetes-list-type"] = "map".into();
            property["x-kubernetes-list-map-keys"] =
                keys.iter().map(|(key, _)| Value::from(&**key)).collect();
        }
        ListKind::Set => property["x-kubernetes-list-type"] = "set".into(),
        ListKind::Atomic if property["type"] == "array" => {
            property["x-kubernetes-list-type"] = "atomic".into()
        }
        ListKind::Atomic => {}
    }
    match &rule.merge {
        Merge::ByKey(key) => {
            property["x-kubernetes-patch-strategy"] = "merge".into();
            property["x-kubernetes-patch-merge-key"] = (&**key).into();
        }
        Merge::Values => property["x-kubernetes-patch-strategy"] = "merge".into(),
        Merge::RetainKeys => property["x-kubernetes-patch-strategy"] = "retainKeys".into(),
        Merge::Plain => {}
    }
}

/// `$ref` beside other keys becomes `allOf`, with an empty default as the real server writes it.
fn references(value: &mut Value, wanted: &mut BTreeSet<String>) {
    let Some(map) = value.as_object_mut() else { return };
    if let Some(Value::String(path)) = map.get("$ref") {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let target = json!({"$ref": format!("#/components/schemas/{name}")});
        wanted.insert(name);
        if map.len() > 1 {
            map.shift_remove("$ref");
            map.insert("default".into(), json!({}));
            map.insert("allOf".into(), json!([target]));
        } else {
            *value = target;
        }
        return;
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            references(inner, wanted);
        }
    }
}

fn add_paths(paths: &mut Map<String, Value>, root: &str, kind: &Kind, version: &Version) {
    let gvk = json!({"group": &*kind.group, "version": &*version.name, "kind": &*kind.name});
    let operation = |action: &str, parameters: Value| {
        json!({"x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk, "parameters": parameters,
            "responses": {"200": {"description": "OK"}}})
    };
    let query =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let write = || json!([query("dryRun"), query("fieldManager"), query("fieldValidation")]);
    let body = |mut operation: Value, types: &[&str]| {
        let content: Map<String, Value> = types.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect();
        operation["requestBody"] = json!({"content": content, "required": true});
        operation
    };
    let plural = &kind.plural;
    let scope = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let list = || operation("list", json!([query("labelSelector"), query("fieldSelector"), query("limit")]));
    let patches = [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    if kind.namespaced {
        paths.insert(format!("{root}/{plural}"), json!({"get": list(), "parameters": []}));
    }
    paths.insert(
        scope.clone(),
        json!({"get": list(), "post": body(operation("post", write()), &["*/*"]),
            "delete": operation("deletecollection", json!([query("dryRun")])), "parameters": []}),
    );
    let item = || {
        json!({"get": operation("get", json!([])), "put": body(operation("put", write()), &["*/*"]),
            "patch": body(operation("patch", write()), &patches), "parameters": []})
    };
    let mut whole = item();
    whole["delete"] = operation("delete", json!([query("dryRun"), query("propagationPolicy")]));
    paths.insert(format!("{scope}/{{name}}"), whole);
    for (subresource, on) in [("status", version.status), ("scale", version.scale.is_some())] {
        if on {
            paths.insert(format!("{scope}/{{name}}/{subresource}"), item());
        }
    }
    if !kind.is_custom() {
        let watch = scope.replacen(root, &format!("{root}/watch"), 1);
        for path in [format!("{root}/watch/{plural}"), watch.clone(), format!("{watch}/{{name}}")] {
            paths.insert(path, json!({"get": operation("watchlist", json!([])), "parameters": []}));
        }
    }
}

/// `io.kserve.serving.v1beta1.InferenceService` for a custom kind.
fn custom_name(kind: &Kind, version: &Version) -> String {
    let group: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{}.{}", group.join("."), version.name, kind.name)
}

fn custom_schema(kind: &Kind, version: &Version) -> Value {
    let mut schema = openapi_of(&version.schema);
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": &*kind.group, "version": &*version.name, "kind": &*kind.name}]);
    let map = crate::object::as_map(&mut schema);
    let properties = crate::object::map_at(map, "properties");
    for field in ["apiVersion", "kind"] {
        crate::object::set_default(properties, field, json!({"type": "string"}));
    }
    properties.insert(
        "metadata".into(),
        json!({"description": "Standard object's metadata.",
            "allOf": [{"$ref": format!("#/components/schemas/{}", builtin::OBJECT_META)}]}),
    );
    schema
}

/// A schema in the words of OpenAPI.
fn openapi_of(schema: &Schema) -> Value {
    use crate::schema::{Additional, Shape};
    let mut map = Map::new();
    let shape = match schema.shape {
        Shape::Any => "",
        Shape::Object => "object",
        Shape::Array => "array",
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
    };
    for (key, text) in [("type", shape), ("format", &schema.format), ("description", &schema.description)] {
        if !text.is_empty() {
            map.insert(key.to_owned(), text.into());
        }
    }
    if !schema.properties.is_empty() {
        let properties: Map<String, Value> =
            schema.properties.iter().map(|(key, property)| (key.to_string(), openapi_of(property))).collect();
        map.insert("properties".into(), properties.into());
    }
    if !schema.required.is_empty() {
        map.insert("required".into(), schema.required.iter().map(|key| Value::from(&**key)).collect());
    }
    if let Some(items) = &schema.items {
        map.insert("items".into(), openapi_of(items));
    }
    if let Additional::Values(values) = &schema.additional {
        map.insert("additionalProperties".into(), openapi_of(values));
    }
    if let Some(default) = &schema.default {
        map.insert("default".into(), default.clone());
    }
    if schema.preserve_unknown {
        map.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    if schema.int_or_string {
        map.insert("x-kubernetes-int-or-string".into(), true.into());
    }
    let mut value = Value::Object(map);
    extend(&mut value, schema);
    value
}

/// The smallest OpenAPI v2 document, in protobuf, that tells kubectl that the server validates fields: it looks
/// for the parameter on the PATCH of namespaces when a kind is in no v3 document.
fn v2_document() -> Vec<u8> {
    let text = |number: u8, text: &str| field(number, text.as_bytes());
    let parameter = |name: &str| {
        // Parameter > NonBodyParameter > QueryParameterSubSchema.
        let query = [text(2, "query"), text(4, name)].concat();
        field(8, &field(1, &field(2, &field(3, &query))))
    };
    let kind = "group: \"\"\nkind: Namespace\nversion: v1\n";
    let extension = [text(1, "x-kubernetes-group-version-kind"), field(2, &text(2, kind))].concat();
    let patch = [parameter("dryRun"), parameter("fieldValidation"), field(13, &extension)].concat();
    let path = [text(1, "/api/v1/namespaces/{name}"), field(2, &field(8, &patch))].concat();
    let info = [text(1, "Kubernetes"), text(2, "v1.36.2")].concat();
    [text(1, "2.0"), field(2, &info), field(8, &field(2, &path))].concat()
}

/// A length-delimited protobuf field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}
