//! Events exist in two API groups over one storage; these turn one form into the other.

use serde_json::{Map, Value, json};

use crate::object::{as_map, map_at, set_default};

/// Fields of `events.k8s.io` and what they are called in the core group.
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("deprecatedSource", "source"),
];

/// What a core event always shows.
pub(crate) fn complete(object: &mut Value) {
    let map = as_map(object);
    map_at(map, "involvedObject");
    map_at(map, "source");
    for time in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        map.entry(time).or_insert(Value::Null);
    }
    set_default(map, "reportingComponent", "");
    set_default(map, "reportingInstance", "");
}

/// The stored form of an `events.k8s.io` event.
pub(crate) fn to_core(object: &mut Value) {
    rename(as_map(object), RENAMED.iter().copied());
    as_map(object).insert("apiVersion".into(), "v1".into());
    complete(object);
}

/// A stored event as `events.k8s.io` shows it.
pub(crate) fn from_core(object: &mut Value) {
    let map = as_map(object);
    rename(map, RENAMED.iter().map(|(new, core)| (*core, *new)));
    for field in ["reportingController", "reportingInstance"] {
        if map.get(field).and_then(Value::as_str) == Some("") {
            map.shift_remove(field);
        }
    }
    map.entry("deprecatedSource").or_insert_with(|| json!({}));
}

fn rename<'a>(map: &mut Map<String, Value>, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (from, to) in pairs {
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_written_through_the_new_group_is_readable_by_kubectl_describe() {
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "reason": "R",
            "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "c"});
        let mut core = event.clone();
        to_core(&mut core);
        assert_eq!(core["involvedObject"]["name"], "p");
        assert_eq!(core["message"], "n");
        from_core(&mut core);
        for field in ["note", "regarding", "reportingController", "reason"] {
            assert_eq!(core[field], event[field], "{field}");
        }
    }
}
