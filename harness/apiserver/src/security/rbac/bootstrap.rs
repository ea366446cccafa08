//! The default roles and bindings, read from a table.

use serde_json::{Map, Value, json};

use super::GROUP;

/// The table; its head explains its lines.
const TABLE: &str = include_str!("bootstrap.txt");

/// Every default object with its plural name, in the order of the table.
pub(crate) fn objects() -> Vec<(&'static str, Value)> {
    let mut objects: Vec<(&'static str, Value)> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["role", name, labels @ ..] => objects.push(("clusterroles", role(name, labels))),
            ["union", name, source, labels @ ..] => {
                let mut role = role(name, labels);
                let label = format!("{GROUP}/{source}");
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
                objects.push(("clusterroles", role));
            }
            ["bind", name, subjects @ ..] => objects.push(("clusterrolebindings", binding(name, subjects))),
            [verbs, kind, things] => {
                let role = objects.iter_mut().rfind(|(plural, _)| *plural == "clusterroles");
                let rules = role.and_then(|(_, role)| role["rules"].as_array_mut());
                rules.expect("a rule follows its role").push(rule(verbs, kind, things));
            }
            _ => panic!("line of the default roles: {line}"),
        }
    }
    objects
}

fn role(name: &str, labels: &[&str]) -> Value {
    let mut metadata = metadata(name);
    for label in labels {
        metadata["labels"][format!("{GROUP}/{label}")] = "true".into();
    }
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": []})
}

fn rule(verbs: &str, kind: &str, things: &str) -> Value {
    let split = |text: &str| -> Vec<String> {
        text.split(',').map(|word| if word == "-" { String::new() } else { word.to_owned() }).collect()
    };
    let mut rule = Map::new();
    rule.insert("verbs".into(), json!(split(verbs)));
    if kind == "url" {
        rule.insert("nonResourceURLs".into(), json!(split(things)));
    } else {
        rule.insert("apiGroups".into(), json!(split(kind)));
        rule.insert("resources".into(), json!(split(things)));
    }
    Value::Object(rule)
}

fn binding(name: &str, subjects: &[&str]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .filter_map(|subject| subject.split_once(':'))
        .map(|(kind, name)| json!({"kind": kind, "apiGroup": GROUP, "name": name}))
        .collect();
    let mut binding = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding",
        "metadata": metadata(name), "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name}});
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{list, meta, text};

    /// If this fails a line of the table was misread.
    #[test]
    fn every_line_of_the_table_is_an_object_or_a_rule() {
        let objects = objects();
        for (plural, object) in &objects {
            let name = meta(object, "name");
            if *plural == "clusterrolebindings" {
                let role = text(object, &["roleRef", "name"]);
                assert!(
                    objects
                        .iter()
                        .any(|(kind, other)| *kind == "clusterroles" && meta(other, "name") == role)
                );
            } else {
                assert_eq!(
                    list(object, &["rules"]).is_empty(),
                    object.get("aggregationRule").is_some(),
                    "{name}"
                );
            }
        }
        let (_, admin) = objects.iter().find(|(_, object)| meta(object, "name") == "cluster-admin").unwrap();
        assert_eq!(
            admin["rules"],
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}])
        );
    }
}
