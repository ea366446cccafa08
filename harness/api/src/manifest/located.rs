//! YAML as a tree in which every node knows its place.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Line.
    pub(super) line: usize,
    /// Column.
    pub(super) column: usize,
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Where the node starts.
    pub(super) position: Position,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Located>),
    Map(Vec<(Key, Located)>),
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Where the key stands.
    pub(super) position: Position,
    /// Its text.
    pub(super) text: String,
}

/// All documents of a text.
///
/// # Errors
/// Place and description of the first thing that is not YAML.
pub(super) fn documents(text: &str) -> Result<Vec<Located>, (Position, String)> {
    // YAML 1.2: only true and false are booleans; a namespace may be called "n".
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let position = error
                .location()
                .map_or(Position { line: 1, column: 1 }, |at| position(at.line(), at.column()));
            let message = error.without_snippet().to_string();
            (position, message)
        })?;
    Ok(documents.into_iter().map(Located::from).collect())
}

fn position(line: impl TryInto<usize>, column: impl TryInto<usize>) -> Position {
    Position { line: line.try_into().unwrap_or(1).max(1), column: column.try_into().unwrap_or(1).max(1) }
}

impl From<Spanned<Node>> for Located {
    fn from(spanned: Spanned<Node>) -> Self {
        Self {
            position: position(spanned.referenced.line(), spanned.referenced.column()),
            node: spanned.value,
        }
    }
}

impl Located {
    /// The entries, if the node is a mapping.
    pub(super) fn as_map(&self) -> Option<&[(Key, Located)]> {
        match &self.node {
            Node::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if the node is a list.
    pub(super) fn as_list(&self) -> Option<&[Located]> {
        match &self.node {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The scalar, if the node is one.
    pub(super) fn as_scalar(&self) -> Option<&Value> {
        match &self.node {
            Node::Scalar(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if the node is a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        self.as_scalar()?.as_str()
    }

    /// The value under the key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(found, _)| found.text == key).map(|(_, value)| value)
    }

    /// The value at the end of a path of keys.
    pub(super) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The tree without places.
    pub(super) fn to_value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Node::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.text.clone(), value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// What the node is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.node {
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
            Node::Scalar(Value::String(_)) => "a string",
            Node::Scalar(Value::Number(_)) => "a number",
            Node::Scalar(Value::Bool(_)) => "a boolean",
            Node::Scalar(_) => "nothing",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::from(value)))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<Spanned<Node>>()? {
            items.push(Located::from(item));
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Node>>()? {
            let place = position(key.referenced.line(), key.referenced.column());
            entries.push((Key { position: place, text: key.value }, Located::from(value)));
        }
        Ok(Node::Map(entries))
    }
}
