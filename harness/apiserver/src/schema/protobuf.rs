//! Reading of protobuf bodies, which kubectl sends for `create` and for its access checks.
//!
//! The schemas tell the types; `protobuf_fields.txt` tells which number a field has on the wire, one line a type:
//! `core.v1.ConfigMap metadata=1 data=2`. A field that the schema does not know is a struct whose fields lie in
//! the parent's JSON; its type follows its number.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{Additional, Schema, Shape, builtin};

/// Media type of these bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// First bytes of every body.
const MAGIC: &[u8] = b"k8s\0";
/// Messages inside of messages.
const LIMIT_DEPTH: usize = 64;

/// Field names and inline types by number.
type Fields = BTreeMap<u64, (&'static str, Option<&'static str>)>;

static TYPES: LazyLock<BTreeMap<&'static str, Fields>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let fields = |word: &'static str| {
            let (name, rest) = word.split_once('=')?;
            let (number, inline) =
                rest.split_once(':').map_or((rest, None), |(number, of)| (number, Some(of)));
            Some((number.parse().ok()?, (name, inline)))
        };
        Some((words.next()?, words.filter_map(fields).collect()))
    };
    include_str!("protobuf_fields.txt").lines().filter_map(line).collect()
});

/// Reads a body.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(body: &[u8]) -> Result<Value, String> {
    let raw = body.strip_prefix(MAGIC).ok_or("provided data does not appear to be a protobuf message")?;
    let (mut api_version, mut kind, mut content) = (String::new(), String::new(), &[][..]);
    for field in Wire::new(raw) {
        match field? {
            (1, Item::Bytes(type_meta)) => {
                for field in Wire::new(type_meta) {
                    match field? {
                        (1, Item::Bytes(text)) => api_version = utf8(text)?,
                        (2, Item::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", &api_version));
    let group = group.split('.').next().unwrap_or_default();
    let of = if kind == "DeleteOptions" {
        "meta.v1.DeleteOptions".to_owned()
    } else {
        format!("{group}.{version}.{kind}")
    };
    let schema = builtin::definition(&builtin::full_name(&of))
        .filter(|_| TYPES.contains_key(of.as_str()))
        .ok_or_else(|| format!("no protobuf form of {kind} in {api_version} is known; send JSON instead"))?;
    let mut map = Map::new();
    map.insert("apiVersion".into(), api_version.into());
    map.insert("kind".into(), kind.into());
    message(&of, schema, content, &mut map, 0)?;
    Ok(Value::Object(map))
}

/// Reads the fields of a message into `map`.
fn message(
    of: &str,
    schema: &Schema,
    bytes: &[u8],
    map: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    if depth > LIMIT_DEPTH {
        return Err("the protobuf message is nested too deep".into());
    }
    let Some(fields) = TYPES.get(of) else { return Err(format!("no protobuf form of {of} is known")) };
    for field in Wire::new(bytes) {
        let (number, item) = field?;
        let Some((name, inline)) = fields.get(&number) else { continue };
        let Some(property) = schema.resolve().properties.get(*name) else {
            if let (Some(inline), Item::Bytes(bytes)) = (inline, item) {
                message(inline, schema, bytes, map, depth + 1)?;
            }
            continue;
        };
        let resolved = property.resolve();
        match (&resolved.additional, item) {
            (Additional::Values(values), Item::Bytes(entry)) if property.is_map() => {
                let (mut key, mut value) = (String::new(), Value::Null);
                for field in Wire::new(entry) {
                    match field? {
                        (1, Item::Bytes(text)) => key = utf8(text)?,
                        (2, item) => value = single(values, item, depth)?,
                        _ => {}
                    }
                }
                if value.is_null() {
                    value = Value::String(String::new());
                }
                crate::object::map_at(map, name).insert(key, value);
            }
            (_, item) if resolved.shape == Shape::Array => {
                let value = single(resolved.item(), item, depth)?;
                match map.entry(*name).or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(items) => items.push(value),
                    other => *other = Value::Array(vec![value]),
                }
            }
            (_, item) => {
                let value = single(property, item, depth)?;
                map.insert((*name).to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Reads one value.
fn single(schema: &Schema, item: Item<'_>, depth: usize) -> Result<Value, String> {
    let schema = schema.resolve();
    let definition = schema.definition.as_deref().unwrap_or_default();
    let last = definition.rsplit('.').next().unwrap_or_default();
    if let Item::Bytes(bytes) = item {
        match last {
            "Time" | "MicroTime" => return time(bytes, last == "MicroTime"),
            "Quantity" => return first_text(bytes),
            "IntOrString" => return int_or_string(bytes),
            "FieldsV1" | "RawExtension" => {
                let text = first_text(bytes)?;
                return Ok(serde_json::from_str(text.as_str().unwrap_or_default()).unwrap_or(Value::Null));
            }
            _ => {}
        }
    }
    match (schema.shape, item) {
        (Shape::Integer, Item::Number(number)) => Ok(number.cast_signed().into()),
        (Shape::Boolean, Item::Number(number)) => Ok((number != 0).into()),
        (Shape::Number, Item::Fixed(bits)) => Ok(f64::from_bits(bits).into()),
        (Shape::String, Item::Bytes(bytes)) if &*schema.format == "byte" => {
            Ok(base64::engine::general_purpose::STANDARD.encode(bytes).into())
        }
        (Shape::String, Item::Bytes(bytes)) => utf8(bytes).map(Value::from),
        (Shape::Object, Item::Bytes(bytes)) => {
            let of = definition
                .strip_prefix("io.k8s.api.")
                .map(ToOwned::to_owned)
                .or_else(|| definition.rsplit_once(".meta.v1.").map(|(_, name)| format!("meta.v1.{name}")))
                .unwrap_or_default();
            let mut map = Map::new();
            message(&of, schema, bytes, &mut map, depth + 1)?;
            Ok(Value::Object(map))
        }
        _ => Err("a protobuf field has another type on the wire than in the schema".into()),
    }
}

/// Seconds and nanoseconds; an empty message is no time at all.
fn time(bytes: &[u8], micro: bool) -> Result<Value, String> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Wire::new(bytes) {
        match field? {
            (1, Item::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Item::Number(number)) => nanos = i32::try_from(number.cast_signed()).unwrap_or_default(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time =
        jiff::Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|error| error.to_string())?;
    Ok(if micro { format!("{time:.6}") } else { time.to_string() }.into())
}

fn first_text(bytes: &[u8]) -> Result<Value, String> {
    for field in Wire::new(bytes) {
        if let (1, Item::Bytes(text)) = field? {
            return utf8(text).map(Value::from);
        }
    }
    Ok(Value::String(String::new()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Wire::new(bytes) {
        match field? {
            (1, Item::Number(kind)) => is_text = kind == 1,
            (2, Item::Number(value)) => number = value.cast_signed(),
            (3, Item::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

/// A value on the wire.
#[derive(Debug, Clone, Copy)]
enum Item<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message with their numbers.
struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Item<'a>)> {
        let tag = self.varint()?;
        let item = match tag & 7 {
            0 => Item::Number(self.varint()?),
            1 => Item::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Item::Bytes(self.take(length)?)
            }
            5 => Item::Fixed(u64::from(u32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            _ => return None,
        };
        Some((tag >> 3, item))
    }
}

impl<'a> Iterator for Wire<'a> {
    type Item = Result<(u64, Item<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| "unexpected EOF in a protobuf message".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// `kubectl create configmap a --from-literal=k=v` as it was seen on the wire.
    const CONFIG_MAP: &[u8] =
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x1b\x0a\x11\x0a\x01a\x12\0\x1a\0\x22\0\x2a\0\
\x32\0\x38\0\x42\0\x12\x06\x0a\x01k\x12\x01v\x1a\0\x22\0";

    #[test]
    fn what_kubectl_create_sends_is_read() {
        let value = read(CONFIG_MAP).unwrap();
        assert_eq!((&value["kind"], &value["metadata"]["name"]), (&json!("ConfigMap"), &json!("a")));
        assert_eq!(value["data"], json!({"k": "v"}));
    }

    /// A field of a message: its number and the bytes of its value.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
        bytes.extend(value);
        bytes
    }

    /// `kubectl create ingress i --rule=a.b/x=web:80`: the paths of a rule lie in a message of their own on the wire.
    #[test]
    fn the_rules_of_an_ingress_keep_their_paths() {
        let port = field(2, &[2 << 3, 80]);
        let service = field(4, &[field(1, b"web"), port].concat());
        let path = field(1, &[field(1, b"/x"), field(3, b"Exact"), field(2, &service)].concat());
        let rule = [field(1, b"a.b"), field(2, &field(1, &path))].concat();
        let ingress = [field(1, &field(1, b"i")), field(2, &field(3, &rule))].concat();
        let kind = field(1, &[field(1, b"networking.k8s.io/v1"), field(2, b"Ingress")].concat());
        let value = read(&[MAGIC, &kind, &field(2, &ingress)].concat()).unwrap();
        assert_eq!(
            value["spec"]["rules"],
            json!([{"host": "a.b", "http": {"paths": [{"path": "/x", "pathType": "Exact",
                "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}])
        );
    }

    #[test]
    fn the_table_names_types_that_exist() {
        let inline = [
            "VolumeSource",
            "PersistentVolumeSource",
            "ProbeHandler",
            "EphemeralContainerCommon",
            "IngressRuleValue",
        ];
        for (of, fields) in TYPES.iter() {
            assert!(!fields.is_empty(), "{of}");
            for (name, target) in fields.values() {
                let Some(target) = target else { continue };
                assert!(TYPES.contains_key(target), "{of}.{name}");
                let is_inline = inline.iter().any(|name| target.ends_with(name))
                    || target.ends_with("LocalObjectReference");
                assert!(is_inline, "{of}.{name}");
            }
        }
    }

    /// If this fails something that kubectl sends is dropped without a word.
    #[test]
    fn every_field_of_the_table_is_one_of_the_schema() {
        let mut lost = Vec::new();
        for (of, fields) in TYPES.iter() {
            let Some(schema) = builtin::definition(&builtin::full_name(of)) else { continue };
            for (name, inline) in fields.values() {
                if inline.is_none() && !schema.resolve().properties.contains_key(*name) {
                    lost.push(format!("{of}.{name}"));
                }
            }
        }
        lost.sort();
        assert_eq!(lost, Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_body_is_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
            let _ = read(&bytes);
            let mut body = CONFIG_MAP[..cut.min(CONFIG_MAP.len())].to_vec();
            body.extend(&bytes);
            let _ = read(&body);
        }
    }
}
