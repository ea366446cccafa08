//! Strategic merge patch: a merge patch that knows which lists are merged by which key.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Merge, Schema};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

/// Applies a patch document to an object of the schema.
///
/// # Errors
/// [`PatchError::Internal`] with the real server's words for a patch that contradicts itself.
pub(crate) fn apply(schema: &Schema, current: &Value, document: &Value) -> Result<Value, PatchError> {
    let current = current.as_object().cloned().unwrap_or_default();
    let patch = match document {
        Value::Object(patch) => patch,
        Value::Null => return Ok(Value::Object(current)),
        other => {
            let found = crate::schema::decode::json_type(other);
            return Err(PatchError::Malformed(format!(
                "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
    };
    Ok(Value::Object(merge_map(schema, current, patch)?))
}

fn merge_map(
    schema: &Schema,
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            let mut replaced = patch.clone();
            replaced.shift_remove(DIRECTIVE);
            return Ok(replaced);
        }
        Some(Value::String(directive)) if directive == "delete" => return Ok(Map::new()),
        Some(directive) => return Err(unknown_directive(directive, patch)),
    }
    if let Some(retained) = patch.get(RETAIN) {
        let unfit = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
        let retained = retained.as_array().ok_or_else(unfit)?;
        let mut given = patch.iter().filter(|(key, value)| !value.is_null() && !is_about_a_list(key));
        if given.any(|(key, _)| key != RETAIN && !retained.iter().any(|kept| kept == key)) {
            return Err(unfit());
        }
        current.retain(|key, _| retained.iter().any(|kept| kept == key));
    }
    for (key, value) in patch.iter().filter(|(_, value)| !value.is_array()) {
        let what = match key {
            _ if key.starts_with(ORDER) => "setElementOrder",
            _ if key.starts_with(DELETE_VALUES) => "primitive",
            _ => continue,
        };
        if value.is_null() && what == "setElementOrder" {
            continue;
        }
        return Err(PatchError::Malformed(format!("invalid patch format of {what} list")));
    }
    for (key, value) in patch {
        if key == DIRECTIVE || key == RETAIN {
            continue;
        }
        if let Some(field) = key.strip_prefix(DELETE_VALUES) {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(items)) = current.get_mut(field) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if let Some(field) = key.strip_prefix(ORDER) {
            // Without a list of its own the patch still sets the order.
            if !patch.contains_key(field) {
                let list_schema = schema.child(field).cloned().unwrap_or_default();
                if let Some(Value::Array(items)) = current.get(field) {
                    let ordered = merge_list(&list_schema, items, &[], value.as_array())?;
                    current.insert(field.to_owned(), Value::Array(ordered));
                }
            }
            continue;
        }
        if value.is_null() {
            current.shift_remove(key);
            continue;
        }
        let child = schema.child(key).unwrap_or(&crate::schema::builtin::ANY);
        let merged = match (current.get(key), value) {
            (existing, Value::Object(patch)) => {
                let existing = existing.and_then(Value::as_object).cloned().unwrap_or_default();
                Value::Object(merge_map(child, existing, patch)?)
            }
            (existing, Value::Array(items)) => {
                let order = patch.get(&format!("{ORDER}{key}")).and_then(Value::as_array);
                let existing = existing.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                Value::Array(merge_list(child, existing, items, order)?)
            }
            (_, scalar) => scalar.clone(),
        };
        current.insert(key.clone(), merged);
    }
    Ok(current)
}

fn is_about_a_list(key: &str) -> bool {
    key.starts_with(ORDER) || key.starts_with(DELETE_VALUES)
}

fn unknown_directive(directive: &Value, map: &Map<String, Value>) -> PatchError {
    let shown = match directive {
        Value::String(text) => text.clone(),
        Value::Bool(value) => format!("%!s(bool={value})"),
        Value::Number(number) if number.is_f64() => format!("%!s(float64={number})"),
        Value::Number(number) => format!("%!s(int64={number})"),
        other => go_print(other),
    };
    PatchError::Internal(format!("unknown patch type: {shown} in map: {}", go_map(map)))
}

fn merge_list(
    schema: &Schema,
    current: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Vec<Value>, PatchError> {
    match &schema.merge {
        Merge::ByKey(key) => merge_by_key(schema, key, current, patch, order),
        Merge::Values => {
            let mut merged: Vec<Value> = current.to_vec();
            merged.extend(patch.iter().filter(|item| !current.contains(item)).cloned());
            let wanted = order.map_or(patch, Vec::as_slice);
            Ok(in_order(&merged, wanted, current, |item| Some(item.clone())))
        }
        Merge::RetainKeys if schema.item().resolve().properties.contains_key("name") => {
            merge_by_key(schema, "name", current, patch, order)
        }
        Merge::Plain | Merge::RetainKeys => {
            // A replaced list of maps may still say so explicitly.
            let kept = patch.iter().filter(|item| item.get(DIRECTIVE).is_none());
            Ok(kept.cloned().collect())
        }
    }
}

fn merge_by_key(
    schema: &Schema,
    key: &str,
    current: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Vec<Value>, PatchError> {
    if patch.iter().any(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")) {
        return Ok(patch.iter().filter(|item| item.get(DIRECTIVE).is_none()).cloned().collect());
    }
    if let Some(order) = order {
        for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
            if !order.iter().any(|wanted| wanted.get(key) == item.get(key)) {
                return Err(PatchError::Internal(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    go_list(patch),
                    go_list(order)
                )));
            }
        }
    }
    let mut merged: Vec<Value> = current.to_vec();
    for item in patch {
        let Value::Object(map) = item else {
            return Err(PatchError::Internal(format!("expected a map in the list, got {item}")));
        };
        let Some(identity) = map.get(key) else {
            return Err(PatchError::Internal(format!(
                "map: {} does not contain declared merge key: {key}",
                go_map(map)
            )));
        };
        match map.get(DIRECTIVE) {
            None => {}
            Some(directive) if directive == "delete" || directive == "replace" => {}
            Some(directive) if directive == "merge" => {
                let why = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Internal(why.to_owned()));
            }
            Some(directive) => return Err(unknown_directive(directive, map)),
        }
        let found = merged.iter().position(|existing| existing.get(key) == Some(identity));
        match (map.get(DIRECTIVE).and_then(Value::as_str), found) {
            (Some("delete"), Some(index)) => {
                merged.remove(index);
            }
            (Some("delete"), None) => {}
            (_, Some(index)) => {
                let existing = merged[index].as_object().cloned().unwrap_or_default();
                merged[index] = Value::Object(merge_map(schema.item(), existing, map)?);
            }
            (_, None) => merged.push(Value::Object(merge_map(schema.item(), Map::new(), map)?)),
        }
    }
    let wanted = order.map_or(patch, Vec::as_slice);
    Ok(in_order(&merged, wanted, current, |item| item.get(key).cloned()))
}

/// Items of the patch in its order, those of the server only in theirs, interleaved by the server's order.
fn in_order(
    merged: &[Value],
    wanted: &[Value],
    server: &[Value],
    identity: impl Fn(&Value) -> Option<Value>,
) -> Vec<Value> {
    let position = |list: &[Value], item: &Value| {
        let own = identity(item);
        list.iter().position(|other| identity(other) == own)
    };
    let (mut ours, mut theirs): (Vec<&Value>, Vec<&Value>) =
        merged.iter().partition(|item| position(wanted, item).is_some());
    ours.sort_by_key(|item| position(wanted, item));
    theirs.sort_by_key(|item| position(server, item));
    let (mut left, mut right) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    let mut out = Vec::with_capacity(merged.len());
    while let (Some(ours), Some(theirs)) = (left.peek(), right.peek()) {
        let ours_first = match (position(server, ours), position(server, theirs)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours < theirs,
        };
        let next = if ours_first { left.next() } else { right.next() };
        out.extend(next.cloned());
    }
    out.extend(left.chain(right).cloned());
    out
}

/// A map as Go prints it.
pub(crate) fn go_map(map: &Map<String, Value>) -> String {
    let mut pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}:{}", go_print(value))).collect();
    pairs.sort_unstable();
    format!("map[{}]", pairs.join(" "))
}

fn go_list(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(go_print).collect::<Vec<_>>().join(" "))
}

fn go_print(value: &Value) -> String {
    match value {
        Value::Object(map) => go_map(map),
        Value::Array(items) => go_list(items),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin::definition;

    fn patched(current: &Value, patch: &Value) -> Value {
        apply(definition("io.k8s.api.core.v1.Pod").unwrap(), current, patch).unwrap()
    }

    fn containers(object: &Value) -> Vec<&str> {
        object["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn containers_merge_by_name_and_keep_the_rest() {
        let pod = json!({"spec": {"containers": [{"name": "c", "image": "1", "env": [{"name": "A", "value": "1"}]},
            {"name": "d", "image": "2"}]}});
        let merged =
            patched(&pod, &json!({"spec": {"containers": [{"name": "d", "image": "9"}, {"name": "e"}]}}));
        assert_eq!(containers(&merged), ["c", "d", "e"]);
        assert_eq!(merged["spec"]["containers"][0]["image"], "1");
        let ordered = patched(
            &pod,
            &json!({"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
                "containers": [{"name": "c", "image": "3"}]}}),
        );
        assert_eq!(containers(&ordered), ["d", "c"]);
        let less = patched(&pod, &json!({"spec": {"containers": [{"name": "d", "$patch": "delete"}]}}));
        assert_eq!(containers(&less), ["c"]);
    }

    #[test]
    fn finalizers_merge_as_a_set_and_leave_by_name() {
        let pod = json!({"metadata": {"finalizers": ["a/b", "c/d"]}});
        let merged = patched(&pod, &json!({"metadata": {"finalizers": ["e/f"]}}));
        assert_eq!(merged["metadata"]["finalizers"], json!(["e/f", "a/b", "c/d"]));
        let less = patched(&merged, &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}}));
        assert_eq!(less["metadata"]["finalizers"], json!(["e/f", "c/d"]));
    }
}
