//! Sets of field paths, as `managedFields` records them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A field of a struct or key of a map.
    Field(Box<str>),
    /// A list item by its key fields, values as JSON text, keys in order.
    Key(Vec<(Box<str>, Box<str>)>),
    /// A value of a set, as JSON text.
    Value(Box<str>),
    /// A list item by position.
    Index(u64),
}

/// A set of paths as a tree: a path is in it when its last element is a member at its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, FieldSet>,
}

impl Element {
    pub(crate) fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "v" => Some(Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string().into())),
            "i" => rest.parse().ok().map(Self::Index),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let mut keys: Vec<(Box<str>, Box<str>)> =
                    keys.into_iter().map(|(key, value)| (key.into(), value.to_string().into())).collect();
                keys.sort();
                Some(Self::Key(keys))
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(keys) => {
                let pairs: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{}:{value}", Value::from(&**key))).collect();
                format!("k:{{{}}}", pairs.join(","))
            }
        }
    }
}

/// A path as conflicts name it: `.spec.containers[name="c"].image`.
pub(crate) fn path_text(path: &[Element]) -> String {
    path.iter()
        .map(|element| match element {
            Element::Field(name) => format!(".{name}"),
            Element::Index(index) => format!("[{index}]"),
            Element::Value(value) => format!("[={value}]"),
            Element::Key(keys) => {
                let pairs: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
        })
        .collect()
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let own = union.children.entry(element.clone()).or_default();
            *own = own.union(child);
        }
        union
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let children = self
            .children
            .iter()
            .map(|(element, child)| {
                let left = other
                    .children
                    .get(element)
                    .map_or_else(|| child.clone(), |other| child.difference(other));
                (element.clone(), left)
            })
            .filter(|(_, child)| !child.is_empty())
            .collect();
        Self { members, children }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let children = self
            .children
            .iter()
            .filter_map(|(element, child)| {
                let both = child.intersection(other.children.get(element)?);
                (!both.is_empty()).then(|| (element.clone(), both))
            })
            .collect();
        Self { members, children }
    }

    /// Whether the element itself is in the set.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// What is in the set below an element.
    pub(crate) fn below(&self, element: &Element) -> Option<&Self> {
        self.children.get(element).filter(|child| !child.is_empty())
    }

    /// Removes an element and all below it.
    pub(crate) fn remove_tree(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.remove(last);
                self.children.remove(last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(first) {
                    child.remove_tree(rest);
                    if child.is_empty() {
                        self.children.remove(first);
                    }
                }
            }
        }
    }

    /// Every path in the set, in order.
    pub(crate) fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        let all: BTreeSet<&Element> = self.members.iter().chain(self.children.keys()).collect();
        for element in all {
            prefix.push(element.clone());
            if self.members.contains(element) {
                paths.push(prefix.clone());
            }
            if let Some(child) = self.children.get(element) {
                child.collect(prefix, paths);
            }
            prefix.pop();
        }
    }

    /// The `fieldsV1` form.
    pub(crate) fn to_json(&self) -> Value {
        let all: BTreeSet<&Element> = self.members.iter().chain(self.children.keys()).collect();
        let mut map = Map::new();
        for element in all {
            let child = self.below(element);
            if child.is_none() && !self.members.contains(element) {
                continue;
            }
            let mut value = child.map_or_else(|| Value::Object(Map::new()), Self::to_json);
            if child.is_some() && self.members.contains(element) {
                let mut with_self = Map::new();
                with_self.insert(".".into(), Value::Object(Map::new()));
                if let Value::Object(rest) = value {
                    with_self.extend(rest);
                }
                value = Value::Object(with_self);
            }
            map.insert(element.text(), value);
        }
        Value::Object(map)
    }

    /// Reads the `fieldsV1` form; `None` when it is not one.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, inner) in value.as_object()? {
            if key == "." {
                continue;
            }
            let element = Element::parse(key)?;
            let inner_map = inner.as_object()?;
            if inner_map.is_empty() || inner_map.contains_key(".") {
                set.members.insert(element.clone());
            }
            let child = Self::from_json(inner)?;
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_recorded_form_survives_a_round_trip() {
        let fields = json!({"f:data": {".": {}, "f:k": {}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}, "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}});
        let set = FieldSet::from_json(&fields).unwrap();
        assert_eq!(set.to_json(), fields);
        let texts: Vec<String> = set.paths().iter().map(|path| path_text(path)).collect();
        assert!(texts.contains(&".spec.containers[name=\"c\"].image".to_owned()), "{texts:?}");
        assert!(texts.contains(&".metadata.finalizers[=\"a/b\"]".to_owned()), "{texts:?}");
    }

    #[test]
    fn sets_subtract_and_intersect_by_path() {
        let set = |value| FieldSet::from_json(&value).unwrap();
        let one = set(json!({"f:data": {"f:a": {}, "f:b": {}}}));
        let two = set(json!({"f:data": {"f:b": {}, "f:c": {}}}));
        assert_eq!(one.difference(&two), set(json!({"f:data": {"f:a": {}}})));
        assert_eq!(one.intersection(&two), set(json!({"f:data": {"f:b": {}}})));
        assert_eq!(one.union(&two).paths().len(), 3);
        assert!(one.difference(&one).is_empty());
    }
}
