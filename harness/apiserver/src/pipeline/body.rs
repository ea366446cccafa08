//! Request bodies: JSON or YAML, with duplicate fields found and errors in the real decoder's words.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Request;
use crate::{
    schema::{
        decode::{Findings, join_path},
        protobuf,
    },
    status::{ApiError, go_syntax_fault},
};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// The format of the body.
///
/// # Errors
/// `UnsupportedMediaType`.
pub(crate) fn format(request: &Request) -> Result<Format, ApiError> {
    match media_type(&request.content_type) {
        "" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        other => Err(ApiError::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
application/yaml, application/vnd.kubernetes.protobuf (got {other})"
        ))),
    }
}

/// The media type without its parameters.
pub(crate) fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Reads a body that must be an object of `kind`.
///
/// # Errors
/// `BadRequest` for anything else.
pub(crate) fn object(request: &Request, kind: &str, findings: &mut Findings) -> Result<Value, ApiError> {
    let body = &request.body[..];
    let format = format(request)?;
    let unrecognized = |why: &str| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: \
{why} ({})",
            summary(body)
        ))
    };
    let value = match format {
        Format::Json => json(body, findings).map_err(|why| unrecognized(&why))?,
        Format::Yaml => {
            yaml(body).map_err(|why| ApiError::bad_request(format!("error parsing YAML: {why}")))?
        }
        Format::Protobuf => protobuf::read(body).map_err(ApiError::bad_request)?,
    };
    if !value.is_object() {
        let found = match &value {
            Value::Null => return Ok(Value::Object(Map::new())),
            other => crate::schema::decode::json_type(other),
        };
        return Err(unrecognized(&format!(
            "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \
\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        )));
    }
    Ok(value)
}

/// Reads JSON; the last of several equal keys wins, and is reported.
///
/// # Errors
/// The decoder's message.
pub(crate) fn json(text: &[u8], findings: &mut Findings) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let mut path = Vec::new();
    let seed = Tree { path: &mut path, findings };
    let value = seed.deserialize(&mut deserializer).map_err(|error| go_syntax_fault(&error, text))?;
    deserializer.end().map_err(|error| go_syntax_fault(&error, text))?;
    Ok(value)
}

/// Reads YAML, with the words of YAML 1.1 for truth as the real server reads them.
///
/// # Errors
/// The parser's message.
pub(crate) fn yaml(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The start of a body in an error: text of an object, else hexadecimal.
fn summary(body: &[u8]) -> String {
    const LENGTH: usize = 30;
    let (head, more) = if body.len() > LENGTH { (&body[..LENGTH], " ...") } else { (body, "") };
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// Builds a tree and notes duplicate keys with their path.
struct Tree<'a> {
    path: &'a mut Vec<String>,
    findings: &'a mut Findings,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.path.push(format!("[{}]", items.len()));
            let item = access.next_element_seed(Tree { path: self.path, findings: self.findings })?;
            self.path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.path.push(key);
            let value = access.next_value_seed(Tree { path: self.path, findings: self.findings })?;
            let path = join_path(self.path);
            let key = self.path.pop().ok_or_else(|| A::Error::custom("no key"))?;
            if map.insert(key, value).is_some() {
                self.findings.lines.push(format!("duplicate field \"{path}\""));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_fields_are_found_and_the_last_one_wins() {
        let mut findings = Findings::default();
        let value = json(br#"{"data":{"k":"1","k":"2"},"l":[{"a":1,"a":2}]}"#, &mut findings).unwrap();
        assert_eq!(value["data"]["k"], "2");
        assert_eq!(findings.lines, ["duplicate field \"data.k\"", "duplicate field \"l[0].a\""]);
    }

    #[test]
    fn hostile_bodies_are_errors_not_crashes() {
        let deep = "[".repeat(100_000);
        for bad in ["{\"metadata\":", "", "{]", "\u{0}", deep.as_str(), "{\"a\":1}x"] {
            assert!(json(bad.as_bytes(), &mut Findings::default()).is_err());
        }
        assert!(yaml("&a [*a, *a]".as_bytes()).is_err() || yaml(b"a: &x [1]\nb: *x").is_ok());
        assert!(yaml(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn yaml_words_of_truth_are_booleans() {
        assert_eq!(
            yaml(b"a: y\nb: 'y'\nc: true").unwrap(),
            serde_json::json!({"a": true, "b": "y", "c": true})
        );
    }
}
