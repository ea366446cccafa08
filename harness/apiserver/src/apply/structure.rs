//! Objects read by their schema: which paths they set, what differs between two of them, their merge, and the
//! removal of paths. The rules are those of structured merge: maps by key, lists by their key fields or values,
//! everything atomic as one.

use serde_json::{Map, Value};

use super::field_set::{Element, FieldSet};
use crate::schema::{ListKind, Schema, Shape};

/// How two objects differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct Difference {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// The kind of node that a value is under its schema.
enum Node<'a> {
    Leaf,
    Map(&'a Map<String, Value>),
    Items(Vec<(Element, &'a Value)>),
}

fn node<'a>(schema: &Schema, value: &'a Value) -> Node<'a> {
    let resolved = schema.resolve();
    match value {
        Value::Object(map) if !schema.atomic && !resolved.atomic => Node::Map(map),
        Value::Array(items) if schema.list != ListKind::Atomic => Node::Items(
            items.iter().enumerate().map(|(index, item)| (element(schema, index, item), item)).collect(),
        ),
        _ => Node::Leaf,
    }
}

/// How a list's item is named in a path.
pub(crate) fn element(schema: &Schema, index: usize, item: &Value) -> Element {
    match &schema.list {
        ListKind::Set => Element::Value(item.to_string().into()),
        ListKind::Map(keys) => {
            let mut found: Vec<(Box<str>, Box<str>)> = keys
                .iter()
                .filter_map(|(key, default)| {
                    let value = item.get(&**key).or(default.as_ref())?;
                    Some((key.clone(), value.to_string().into()))
                })
                .collect();
            found.sort();
            Element::Key(found)
        }
        ListKind::Atomic => Element::Index(index as u64),
    }
}

/// The paths that an applied configuration sets.
pub(crate) fn paths_of(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    leaves(schema, value, &mut Vec::new(), &mut set);
    set
}

fn leaves(schema: &Schema, value: &Value, path: &mut Vec<Element>, set: &mut FieldSet) {
    match node(schema, value) {
        Node::Map(map) if !map.is_empty() => {
            for (key, entry) in map {
                path.push(Element::field(key));
                leaves(schema.child(key).unwrap_or(&crate::schema::builtin::ANY), entry, path, set);
                path.pop();
            }
        }
        Node::Items(items) if !items.is_empty() => {
            for (element, item) in items {
                path.push(element);
                set.insert(path);
                if item.is_object() {
                    leaves(schema.item(), item, path, set);
                }
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// How `new` differs from `old`.
pub(crate) fn compare(schema: &Schema, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    walk(schema, old, new, &mut Vec::new(), &mut difference);
    difference
}

fn walk(schema: &Schema, old: &Value, new: &Value, path: &mut Vec<Element>, difference: &mut Difference) {
    match (node(schema, old), node(schema, new)) {
        (Node::Map(old), Node::Map(new)) => {
            for (key, entry) in new {
                let child = schema.child(key).unwrap_or(&crate::schema::builtin::ANY);
                path.push(Element::field(key));
                match old.get(key) {
                    Some(before) => walk(child, before, entry, path, difference),
                    None => everything(child, entry, path, &mut difference.added),
                }
                path.pop();
            }
            for (key, entry) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                let child = schema.child(key).unwrap_or(&crate::schema::builtin::ANY);
                path.push(Element::field(key));
                everything(child, entry, path, &mut difference.removed);
                path.pop();
            }
        }
        (Node::Items(old), Node::Items(new)) => {
            for (element, item) in &new {
                path.push(element.clone());
                match old.iter().find(|(other, _)| other == element) {
                    Some((_, before)) => walk(schema.item(), before, item, path, difference),
                    None => everything(schema.item(), item, path, &mut difference.added),
                }
                path.pop();
            }
            for (element, item) in
                old.iter().filter(|(element, _)| !new.iter().any(|(other, _)| other == element))
            {
                path.push(element.clone());
                everything(schema.item(), item, path, &mut difference.removed);
                path.pop();
            }
        }
        // A null stands for the empty form of the other side.
        (Node::Leaf, Node::Map(_)) if old.is_null() => {
            walk(schema, &Value::Object(Map::new()), new, path, difference);
        }
        (Node::Leaf, Node::Items(_)) if old.is_null() => {
            walk(schema, &Value::Array(Vec::new()), new, path, difference);
        }
        _ if old != new && !path.is_empty() => difference.modified.insert(path),
        _ => {}
    }
}

/// A node with all below it, each step a member.
fn everything(schema: &Schema, value: &Value, path: &mut Vec<Element>, set: &mut FieldSet) {
    set.insert(path);
    match node(schema, value) {
        Node::Map(map) => {
            for (key, entry) in map {
                path.push(Element::field(key));
                everything(schema.child(key).unwrap_or(&crate::schema::builtin::ANY), entry, path, set);
                path.pop();
            }
        }
        Node::Items(items) => {
            for (element, item) in items {
                path.push(element);
                everything(schema.item(), item, path, set);
                path.pop();
            }
        }
        Node::Leaf => {}
    }
}

/// The live object with a configuration laid over it.
pub(crate) fn merge(schema: &Schema, live: &Value, config: &Value) -> Value {
    match (node(schema, live), node(schema, config)) {
        (Node::Map(live), Node::Map(config)) => {
            let mut merged = live.clone();
            for (key, entry) in config {
                let child = schema.child(key).unwrap_or(&crate::schema::builtin::ANY);
                let value = live.get(key).map_or_else(|| entry.clone(), |live| merge(child, live, entry));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Node::Items(live), Node::Items(config)) => Value::Array(merge_items(schema, &live, &config)),
        _ => config.clone(),
    }
}

/// Items of the configuration in its order; those only in the live list keep their place among them.
fn merge_items(schema: &Schema, live: &[(Element, &Value)], config: &[(Element, &Value)]) -> Vec<Value> {
    let find =
        |list: &[(Element, &Value)], element: &Element| list.iter().position(|(other, _)| other == element);
    let merged = |element: &Element, item: &Value| match find(live, element) {
        Some(index) => merge(schema.item(), live[index].1, item),
        None => item.clone(),
    };
    let mut shared =
        config.iter().map(|(element, _)| element).filter(|element| find(live, element).is_some());
    let mut next_shared = shared.next();
    let mut done: Vec<&Element> = Vec::new();
    let mut out = Vec::with_capacity(live.len() + config.len());
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < config.len() {
        if left < live.len() && right < config.len() {
            let element = &live[left].0;
            if *element == config[right].0 {
                out.push(merged(element, config[right].1));
                done.push(element);
                left += 1;
                right += 1;
                next_shared = shared.next();
                continue;
            }
            if find(config, element).is_some() && next_shared.is_some_and(|next| next != element) {
                // Shared, but its turn in the configuration's order is later.
                left += 1;
                continue;
            }
        }
        if left < live.len() {
            let (element, item) = &live[left];
            if find(config, element).is_none() {
                out.push((*item).clone());
                left += 1;
                continue;
            }
            if done.contains(&element) {
                left += 1;
            }
        }
        if right < config.len() {
            let (element, item) = &config[right];
            out.push(merged(element, item));
            done.push(element);
            right += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    out
}

/// The value without the paths of the set. What becomes empty by it goes too.
pub(crate) fn remove(schema: &Schema, value: &Value, paths: &FieldSet) -> Value {
    match node(schema, value) {
        Node::Map(map) => {
            let mut kept = Map::new();
            for (key, entry) in map {
                let element = Element::field(key);
                if paths.has(&element) && paths.below(&element).is_none() {
                    continue;
                }
                let Some(below) = paths.below(&element) else {
                    kept.insert(key.clone(), entry.clone());
                    continue;
                };
                let child = schema.child(key).unwrap_or(&crate::schema::builtin::ANY);
                let left = remove(child, entry, below);
                if !is_empty(&left) || is_empty(entry) {
                    kept.insert(key.clone(), left);
                }
            }
            Value::Object(kept)
        }
        Node::Items(items) => Value::Array(
            items
                .into_iter()
                .filter(|(element, _)| !paths.has(element))
                .map(|(element, item)| match paths.below(&element) {
                    Some(below) => remove(schema.item(), item, below),
                    None => item.clone(),
                })
                .collect(),
        ),
        Node::Leaf => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        _ => false,
    }
}

/// Faults of a configuration under its schema, in the words of the typed parser.
pub(crate) fn faults(schema: &Schema, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Schema, value: &Value, path: &str, found: &mut Vec<String>) {
    let resolved = schema.resolve();
    if value.is_null() || resolved.int_or_string || resolved.shape == Shape::Any {
        return;
    }
    let mut expected = |word: &str| found.push(format!("{path}: expected {word}, got {}", go_value(value)));
    match (resolved.shape, value) {
        (Shape::Object, Value::Object(map)) => {
            for (key, entry) in map {
                match schema.child(key) {
                    Some(child) => check(child, entry, &format!("{path}.{key}"), found),
                    None => found.push(format!("{path}.{key}: field not declared in schema")),
                }
            }
        }
        (Shape::Array, Value::Array(items)) => {
            let mut seen: Vec<Element> = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let element = element(schema, index, item);
                let named = super::field_set::path_text(std::slice::from_ref(&element));
                if let (Element::Key(keys), ListKind::Map(wanted)) = (&element, &schema.list)
                    && keys.len() < wanted.len()
                {
                    let missing: Vec<&str> = wanted
                        .iter()
                        .map(|(key, _)| &**key)
                        .filter(|key| !keys.iter().any(|(found, _)| **found == **key))
                        .collect();
                    found.push(format!(
                        "{path}: element {index}: associative list with keys has an element that omits key field \"{}\" (and doesn't have default value)",
                        missing.join(",")
                    ));
                    continue;
                }
                if seen.contains(&element) {
                    found.push(format!("{path}: duplicate entries for key {named}"));
                }
                check(schema.item(), item, &format!("{path}{named}"), found);
                seen.push(element);
            }
        }
        (Shape::Object, _) => expected("map"),
        (Shape::Array, _) => expected("list"),
        (Shape::String, other) if !other.is_string() => expected("string"),
        (Shape::Boolean, other) if !other.is_boolean() => expected("boolean"),
        (Shape::Integer | Shape::Number, other) if !other.is_number() => expected("numeric (int or float)"),
        _ => {}
    }
}

fn go_value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Object(_) => "map[string]interface {}{}".to_owned(),
        Value::Array(_) => "[]interface {}{}".to_owned(),
        other => other.to_string(),
    };
    format!("&value.valueUnstructured{{Value:{text}}}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin::definition;

    fn pod_spec() -> &'static Schema {
        definition("io.k8s.api.core.v1.PodSpec").unwrap()
    }

    fn names(names: &[&str]) -> Value {
        json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()})
    }

    fn merged(live: &[&str], config: &[&str]) -> Vec<String> {
        let value = merge(pod_spec(), &names(live), &names(config));
        let items = value["containers"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn merged_lists_follow_the_order_of_whoever_applies() {
        assert_eq!(merged(&["c", "d", "e"], &["x", "e", "c"]), ["d", "x", "e", "c"]);
        assert_eq!(merged(&["d", "x", "e", "c"], &["e", "c", "d"]), ["x", "e", "c", "d"]);
        assert_eq!(merged(&["a"], &["b"]), ["a", "b"]);
        assert_eq!(merged(&[], &["b"]), ["b"]);
    }

    #[test]
    fn removal_takes_the_item_and_leaves_its_neighbours() {
        let spec = json!({"containers": [{"name": "c", "image": "i"}, {"name": "d"}]});
        let paths =
            FieldSet::from_json(&json!({"f:containers": {"k:{\"name\":\"d\"}": {".": {}, "f:name": {}},
            "k:{\"name\":\"c\"}": {"f:image": {}}}}))
            .unwrap();
        assert_eq!(remove(pod_spec(), &spec, &paths), json!({"containers": [{"name": "c"}]}));
    }
}
