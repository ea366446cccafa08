//! Keys: what the schema promises, what the reader takes, and what it says of typing errors.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use windtunnel_scenario::Scenario;

use crate::room::{Room, all_full};

/// Objects whose keys are the user's own.
const FREE: [&str; 4] = ["/spec/storage", "/bandwidth/storage", "/merge", "/config-autoscaler"];

/// JSON pointers of all objects whose keys are ours.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    if FREE.iter().any(|free| at.ends_with(free)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (key, value) in fields {
                objects(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                objects(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn all_objects(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    objects(document, "", &mut found);
    found
}

fn object<'a>(document: &'a mut Value, pointer: &str) -> &'a mut serde_json::Map<String, Value> {
    document.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object of the document")
}

/// The schema of the object at a pointer.
fn schema_at<'a>(root: &'a Value, pointer: &str) -> &'a Value {
    let mut found = vec![root];
    for step in pointer.split('/').skip(1) {
        let is_index = step.parse::<usize>().is_ok();
        found = found
            .into_iter()
            .map(|schema| if is_index { &schema["items"] } else { &schema["properties"][step] })
            .filter(|schema| !schema.is_null())
            .flat_map(|schema| alternatives(root, schema))
            .collect();
    }
    let objects: Vec<&Value> = found.into_iter().filter(|schema| schema["properties"].is_object()).collect();
    assert_eq!(objects.len(), 1, "{pointer} is an object in one way");
    objects[0]
}

/// A schema as it is: what it refers to, and each that it may be.
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return alternatives(root, root.pointer(name.trim_start_matches('#')).expect("a definition"));
    }
    match schema["anyOf"].as_array() {
        Some(choices) => choices.iter().flat_map(|choice| alternatives(root, choice)).collect(),
        None => vec![schema],
    }
}

fn properties(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().expect("an object schema").keys().cloned().collect()
}

/// An editor would complete keys that the program refuses, or not those that it takes.
#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = Scenario::json_schema();
    let room = Room::new();
    let mut seen = 0;
    for full in all_full() {
        for pointer in all_objects(&full) {
            let promised = properties(schema_at(&schema, &pointer));
            let mut document = full.clone();
            object(&mut document, &pointer).insert("zzzzzzzzzzzz".into(), Value::from(1));
            let faults = room.parse_json(&document).expect_err("an unknown key");
            assert_eq!(faults.len(), 1, "{faults}");
            let known = faults.0[0].hint.strip_prefix("known keys: ").expect("a list of keys");
            let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
            assert_eq!(known, promised, "at {pointer}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} objects were looked at");
}

/// An editor would have nothing to show.
#[test]
fn the_schema_describes_every_key() {
    let schema = Scenario::json_schema();
    for pointer in all_full().iter().flat_map(all_objects) {
        for (key, property) in schema_at(&schema, &pointer)["properties"].as_object().expect("properties") {
            assert!(property["description"].is_string(), "{pointer}/{key} has no description");
        }
    }
}

/// A key that no test looks at could be broken without a sign.
#[test]
fn the_documents_have_every_key_of_the_schema() {
    let schema = Scenario::json_schema();
    let mut missing: BTreeSet<String> = BTreeSet::new();
    let mut present: BTreeSet<String> = BTreeSet::new();
    for full in all_full() {
        for pointer in all_objects(&full) {
            // The same object at another position of a list is the same.
            let general: Vec<&str> =
                pointer.split('/').filter(|step| step.parse::<usize>().is_err()).collect();
            let general = general.join("/");
            let keys = full.pointer(&pointer).and_then(Value::as_object).expect("an object");
            present.extend(keys.keys().map(|key| format!("{general}/{key}")));
            let promised = properties(schema_at(&schema, &pointer));
            missing.extend(promised.into_iter().map(|key| format!("{general}/{key}")));
        }
    }
    // Servers of versions and distributions of other places have the keys of the first.
    let same = ["/models/server/", "/service-time/", "/think-time/", "/scrape-time/"];
    let left: Vec<&String> =
        missing.difference(&present).filter(|path| !same.iter().any(|part| path.contains(part))).collect();
    assert_eq!(left, [] as [&String; 0]);
}

#[derive(Clone, Debug)]
enum Typo {
    Drop(usize),
    Add(usize, char),
    Replace(usize, char),
    Swap(usize),
}

impl Typo {
    fn of(&self, word: &str) -> String {
        let mut letters: Vec<char> = word.chars().collect();
        let len = letters.len();
        match *self {
            Self::Drop(at) => drop(letters.remove(at % len)),
            Self::Add(at, letter) => letters.insert(at % (len + 1), letter),
            Self::Replace(at, letter) => letters[at % len] = letter,
            Self::Swap(at) => letters.swap(at % len, (at + 1) % len),
        }
        letters.into_iter().collect()
    }
}

fn typo() -> impl Strategy<Value = Typo> {
    let at = 0usize..40;
    let letter = proptest::char::range('a', 'z');
    prop_oneof![
        at.clone().prop_map(Typo::Drop),
        (at.clone(), letter.clone()).prop_map(|(at, letter)| Typo::Add(at, letter)),
        (at.clone(), letter).prop_map(|(at, letter)| Typo::Replace(at, letter)),
        // Only neighbours: a swap around the end is two errors.
        at.prop_map(Typo::Swap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// A mistyped key would be ignored, or the user sent to the wrong one.
    #[test]
    fn every_mistyped_key_is_refused_with_the_right_suggestion(typo in typo()) {
        let room = Room::new();
        let schema = Scenario::json_schema();
        for full in all_full() {
            for pointer in all_objects(&full) {
                let known = properties(schema_at(&schema, &pointer));
                let keys: Vec<String> = object(&mut full.clone(), &pointer).keys().cloned().collect();
                for key in keys {
                    let length = key.chars().count();
                    if matches!(typo, Typo::Swap(at) if at % length == length - 1) {
                        continue;
                    }
                    let mistyped = typo.of(&key);
                    if mistyped.is_empty() || known.contains(&mistyped) {
                        continue;
                    }
                    let mut document = full.clone();
                    let fields = object(&mut document, &pointer);
                    let renamed = fields
                        .iter()
                        .map(|(name, value)| (if *name == key { mistyped.clone() } else { name.clone() }, value.clone()))
                        .collect();
                    *fields = renamed;
                    let faults = room.parse_json(&document).expect_err("an unknown key");
                    let unknown = format!("unknown key \"{mistyped}\"");
                    let fault = faults.iter().find(|fault| fault.message.starts_with(&unknown));
                    let Some(fault) = fault else { return Err(TestCaseError::fail(format!("{pointer}: {faults}"))) };
                    prop_assert!(
                        fault.hint.starts_with("did you mean") && fault.hint.contains(&format!("\"{key}\"")),
                        "{pointer}/{key} as {mistyped}: {fault}"
                    );
                    prop_assert!(
                        !faults.iter().any(|fault| fault.message.ends_with(&format!("{key} is missing"))),
                        "{key} was mistyped, not left out: {faults}"
                    );
                }
            }
        }
    }
}
