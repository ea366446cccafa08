//! Kinds read from CustomResourceDefinitions.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Kind, ScalePaths, Source, Version,
    columns::{Columns, CustomColumn},
};
use crate::{
    jsonpath::JsonPath,
    object::{at, is_terminating, list, text},
    schema::{Schema, validate::attach_rules},
};

/// The kind that a definition declares. Served versions come first in the order that clients prefer.
pub(crate) fn kind_of(definition: &Value) -> Kind {
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let names = spec.get("names").unwrap_or(&Value::Null);
    let strings = |key: &str| -> Vec<Box<str>> {
        list(names, &[key]).iter().filter_map(Value::as_str).map(Into::into).collect()
    };
    let group = text(spec, &["group"]);
    let plural = text(names, &["plural"]);
    let mut sources: Vec<&Value> = list(spec, &["versions"]).iter().collect();
    sources.sort_by_key(|version| version_rank(text(version, &["name"])));
    let storage =
        sources.iter().position(|version| version["storage"] == Value::Bool(true)).unwrap_or_default();
    let lives = |version: &&&Value| {
        version["served"] == Value::Bool(true) && version["deprecated"] != Value::Bool(true)
    };
    let replacement = sources.iter().find(lives).map_or("", |version| text(version, &["name"]));
    Kind {
        changed_at: 0,
        shelf: format!("{group}/{plural}").into(),
        group: group.into(),
        plural: plural.into(),
        singular: text(names, &["singular"]).into(),
        name: text(names, &["kind"]).into(),
        list_name: text(names, &["listKind"]).into(),
        short_names: strings("shortNames"),
        categories: strings("categories"),
        namespaced: text(spec, &["scope"]) == "Namespaced",
        versions: sources.iter().map(|version| version_of(version, group, names, replacement)).collect(),
        storage,
        source: Source::Custom { closing: is_terminating(definition) },
    }
}

fn version_of(version: &Value, group: &str, names: &Value, replacement: &str) -> Version {
    let name = text(version, &["name"]);
    let openapi = at(version, &["schema", "openAPIV3Schema"]).unwrap_or(&Value::Null);
    let mut schema = Schema::from_openapi(openapi);
    attach_rules(&mut schema, openapi);
    let subresources = version.get("subresources");
    let scale = subresources.and_then(|subresources| subresources.get("scale")).map(|scale| ScalePaths {
        spec_replicas: keys(text(scale, &["specReplicasPath"])),
        status_replicas: keys(text(scale, &["statusReplicasPath"])),
        selector: scale.get("labelSelectorPath").and_then(Value::as_str).map(keys),
    });
    let columns = list(version, &["additionalPrinterColumns"])
        .iter()
        .map(|column| CustomColumn {
            name: text(column, &["name"]).into(),
            kind: text(column, &["type"]).into(),
            format: text(column, &["format"]).into(),
            description: text(column, &["description"]).into(),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            source: text(column, &["jsonPath"]).into(),
            path: JsonPath::parse(text(column, &["jsonPath"])),
        })
        .collect();
    let deprecated = version["deprecated"] == Value::Bool(true);
    let kind = text(names, &["kind"]);
    Version {
        name: name.into(),
        served: version["served"] == Value::Bool(true),
        schema: Arc::new(schema),
        status: subresources.is_some_and(|subresources| subresources.get("status").is_some()),
        scale,
        columns: Columns::Custom(columns),
        deprecation: deprecated.then(|| match version.get("deprecationWarning").and_then(Value::as_str) {
            Some(warning) => warning.to_owned(),
            None if replacement.is_empty() => format!("{group}/{name} {kind} is deprecated"),
            None => format!("{group}/{name} {kind} is deprecated; use {group}/{replacement} {kind}"),
        }),
        row: None,
        fields: list(version, &["selectableFields"])
            .iter()
            .map(|field| text(field, &["jsonPath"]).trim_start_matches('.').into())
            .collect(),
    }
}

/// `.spec.replicas` to its keys.
fn keys(path: &str) -> Vec<Box<str>> {
    path.trim_start_matches('.').split('.').map(Into::into).collect()
}

/// Stable versions before betas before alphas, newer before older; anything else last by name.
fn version_rank(name: &str) -> (u8, i64, i64, String) {
    let parse = || -> Option<(u8, i64, i64)> {
        let rest = name.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: i64 = rest[..end].parse().ok()?;
        let (rank, minor) = match &rest[end..] {
            "" => (0, 0),
            stage if stage.starts_with("beta") => (1, stage[4..].parse().ok()?),
            stage if stage.starts_with("alpha") => (2, stage[5..].parse().ok()?),
            _ => return None,
        };
        Some((rank, major, minor))
    };
    match parse() {
        Some((rank, major, minor)) => (rank, -major, -minor, String::new()),
        None => (3, 0, 0, name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_offered_the_most_stable_version_first() {
        let mut versions = ["v1alpha1", "foo", "v2beta1", "v1", "v2beta2", "v10", "v2"];
        versions.sort_by_key(|name| version_rank(name));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta2", "v2beta1", "v1alpha1", "foo"]);
    }
}
