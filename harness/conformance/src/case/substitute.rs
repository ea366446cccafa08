//! `${name}` in cases: rows, what the runner knows, and what earlier steps remembered.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names that the runner always knows.
pub(crate) const BUILT_IN: [&str; 3] = ["namespace", "run", "domain"];

/// Values by name.
pub(crate) type Variables = BTreeMap<String, Value>;

/// Replaces every `${name}` that is known; others stay. A text that is nothing but one gets the value itself.
pub(crate) fn substitute(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => substitute_text(text, variables),
        Value::Array(items) => items.iter().map(|item| substitute(item, variables)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, item)| {
                let key = match substitute_text(key, variables) {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                (key, substitute(item, variables))
            });
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// The same for a text, which stays one.
pub(crate) fn text(text: &str, variables: &Variables) -> String {
    match substitute_text(text, variables) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn substitute_text(text: &str, variables: &Variables) -> Value {
    if let Some(value) = whole(text).and_then(|name| variables.get(name)) {
        return value.clone();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, following)) if variables.contains_key(name) => {
                match &variables[name] {
                    Value::String(text) => out.push_str(text),
                    other => out.push_str(&other.to_string()),
                }
                rest = following;
            }
            _ => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Value::String(out)
}

fn whole(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['$', '}'])).then_some(name)
}

/// Every name that is asked for.
pub(crate) fn names(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => names_of_text(text, into),
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        Value::Object(fields) => {
            for (key, item) in fields {
                names_of_text(key, into);
                names(item, into);
            }
        }
        _ => {}
    }
}

fn names_of_text(text: &str, into: &mut Vec<String>) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((name, following)) = after.split_once('}') else { return };
        into.push(name.to_owned());
        rest = following;
    }
}

/// Merges `change` into `target` as RFC 7386 says: mappings by key, null removes, everything else replaces.
pub(crate) fn merge(target: &mut Value, change: &Value) {
    let Value::Object(changes) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, item) in changes {
        if item.is_null() {
            fields.shift_remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), item);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A row that is not filled in tests something else than its title says.
    #[test]
    fn values_keep_their_type_and_texts_are_filled_in() {
        let variables = Variables::from([("n".to_owned(), json!(3)), ("who".to_owned(), json!("me"))]);
        let filled =
            substitute(&json!({"a": "${n}", "${who}": ["x-${n}-${who}", "${other}", "$5 {}"]}), &variables);
        assert_eq!(filled, json!({"a": 3, "me": ["x-3-me", "${other}", "$5 {}"]}));
        let mut asked = Vec::new();
        names(&json!({"a": "${n} ${other}"}), &mut asked);
        assert_eq!(asked, ["n", "other"]);
    }

    /// The examples of RFC 7386, appendix A, that apply to objects.
    #[test]
    fn merging_follows_the_rfc() {
        for (mut target, change, expected) in [
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge(&mut target, &change);
            assert_eq!(target, expected);
        }
    }
}
