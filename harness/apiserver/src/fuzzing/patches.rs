//! All four kinds of patch on the data of one ConfigMap, beside a model of a few lines: values and who owns them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value, json};

use super::{Source, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const VALUES: [&str; 3] = ["0", "1", "2"];
/// A key that nobody changes, so that there is always a map to change.
const ANCHOR: &str = "z";
/// Who makes the patches that do not track owners.
const UPDATER: &str = "updater";

type Data = BTreeMap<&'static str, (&'static str, BTreeSet<&'static str>)>;

/// Sets a value as a plain write does: who changes a field owns it alone.
fn set(data: &mut Data, key: &'static str, value: &'static str) {
    if data.get(key).is_none_or(|(now, _)| *now != value) {
        data.insert(key, (value, BTreeSet::from([UPDATER])));
    }
}

/// Carries patches out on the server and on the model, and compares them after each.
///
/// # Panics
/// When they differ.
pub fn patches(data: &[u8]) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut source = Source(data);
    let name = format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = format!("{MAPS}/{name}");
    let body = json!({"metadata": {"name": name}, "data": {ANCHOR: "0"}}).to_string();
    let (code, answer) = ask("POST", MAPS, &format!("fieldManager={UPDATER}"), "application/json", &body);
    assert_eq!(code, 201, "{answer}");
    let mut model = Data::from([(ANCHOR, ("0", BTreeSet::from([UPDATER])))]);
    let mut steps = Vec::new();
    while !source.is_over() {
        let (kind, query, patch, expected) = match source.pick(&["merge", "json", "strategic", "apply"]) {
            "json" => {
                let (patch, after) = json_patch(&mut source, &model);
                ("json-patch+json", format!("fieldManager={UPDATER}"), patch, after)
            }
            "apply" => apply(&mut source, &model, &name),
            format => {
                let (patch, after) = merge_patch(&mut source, &model, format == "strategic");
                let kind = if format == "merge" { "merge-patch+json" } else { "strategic-merge-patch+json" };
                (kind, format!("fieldManager={UPDATER}"), patch, Some(after))
            }
        };
        steps.push(format!("{kind} {query} {patch}"));
        let (code, answer) = ask("PATCH", &path, &query, &format!("application/{kind}"), &patch.to_string());
        match expected {
            Some(after) => {
                assert_eq!(code, 200, "{answer}\n{steps:#?}");
                model = after;
            }
            None => assert!(code == 409 || code == 422, "{code} {answer}\n{steps:#?}"),
        }
        let (_, stored) = ask("GET", &path, "", "", "");
        let found: Vec<(&str, &str)> = stored["data"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or("no text")))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        let wanted: Vec<(&str, &str)> = model.iter().map(|(key, (value, _))| (*key, *value)).collect();
        assert_eq!(found, wanted, "{steps:#?}");
        assert_eq!(owners(&stored), of_model(&model), "{steps:#?}\n{}", stored["metadata"]["managedFields"]);
    }
    let (code, answer) = ask("DELETE", &path, "", "", "");
    assert_eq!(code, 200, "{answer}");
}

/// Who owns which key, as the object says.
fn owners(object: &Value) -> BTreeSet<(String, String)> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .flat_map(|entry| {
            let manager = entry["manager"].as_str().unwrap_or_default().to_owned();
            let keys = entry["fieldsV1"]["f:data"].as_object().into_iter().flatten();
            keys.filter_map(|(key, _)| key.strip_prefix("f:"))
                .map(move |key| (key.to_owned(), manager.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn of_model(model: &Data) -> BTreeSet<(String, String)> {
    let pairs = model.iter().flat_map(|(key, (_, owners))| owners.iter().map(move |owner| (*key, *owner)));
    pairs.map(|(key, owner)| (key.to_owned(), owner.to_owned())).collect()
}

fn merge_patch(source: &mut Source<'_>, model: &Data, is_strategic: bool) -> (Value, Data) {
    let (mut patch, mut after) = (Map::new(), model.clone());
    let replaces = is_strategic && source.pick(&[false, false, false, true]);
    if replaces {
        patch.insert("$patch".into(), "replace".into());
        patch.insert(ANCHOR.into(), "0".into());
        after.retain(|key, _| *key == ANCHOR);
    }
    for key in KEYS {
        match source.byte() % 8 {
            0..=3 => {}
            // A replacement with null in it is another matter.
            4 if !replaces => {
                patch.insert(key.into(), Value::Null);
                after.remove(key);
            }
            choice => {
                let value = VALUES[usize::from(choice) % VALUES.len()];
                patch.insert(key.into(), value.into());
                match model.get(key) {
                    // Replaced by the same is not changed.
                    Some((now, owners)) if *now == value => {
                        after.insert(key, (value, owners.clone()));
                    }
                    _ => set(&mut after, key, value),
                }
            }
        }
    }
    (json!({"data": patch}), after)
}

fn json_patch(source: &mut Source<'_>, model: &Data) -> (Value, Option<Data>) {
    let mut values: BTreeMap<&'static str, &'static str> =
        model.iter().map(|(key, (value, _))| (*key, *value)).collect();
    let (mut patch, mut fits) = (Vec::new(), true);
    for _ in 0..=source.byte() % 3 {
        let (key, from, value) = (source.pick(&KEYS), source.pick(&KEYS), source.pick(&VALUES));
        let op = source.pick(&["add", "remove", "replace", "test", "copy", "move"]);
        let mut step = json!({"op": op, "path": format!("/data/{key}")});
        let done = match op {
            "add" => {
                values.insert(key, value);
                Some(())
            }
            "remove" => values.remove(key).map(drop),
            "replace" => values.get_mut(key).map(|now| *now = value),
            "test" => (values.get(key) == Some(&value)).then_some(()),
            "copy" => values.get(from).copied().map(|value| {
                values.insert(key, value);
            }),
            _ => values.remove(from).map(|value| {
                values.insert(key, value);
            }),
        };
        match op {
            "add" | "replace" | "test" => step["value"] = value.into(),
            "copy" | "move" => step["from"] = format!("/data/{from}").into(),
            _ => {}
        }
        fits &= done.is_some();
        patch.push(step);
    }
    let mut after = model.clone();
    after.retain(|key, _| values.contains_key(key));
    for (key, value) in values {
        set(&mut after, key, value);
    }
    (patch.into(), fits.then_some(after))
}

fn apply(source: &mut Source<'_>, model: &Data, name: &str) -> (&'static str, String, Value, Option<Data>) {
    let manager = source.pick(&["one", "two"]);
    let forced = source.pick(&[false, true]);
    let mut wanted = BTreeMap::new();
    for key in KEYS {
        if source.byte().is_multiple_of(2) {
            wanted.insert(key, source.pick(&VALUES));
        }
    }
    let mut patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if !wanted.is_empty() {
        patch["data"] = json!(wanted);
    }
    let conflicts = wanted.iter().any(|(key, value)| {
        model
            .get(key)
            .is_some_and(|(now, owners)| now != value && owners.iter().any(|owner| *owner != manager))
    });
    let mut after = model.clone();
    for (_, owners) in after.values_mut() {
        owners.remove(manager);
    }
    for (key, value) in &wanted {
        let (now, owners) = after.entry(key).or_insert((value, BTreeSet::new()));
        if now != value {
            owners.clear();
            *now = value;
        }
        owners.insert(manager);
    }
    // What its last owner no longer wants goes.
    after.retain(|key, (_, owners)| {
        !owners.is_empty() || model.get(key).is_some_and(|(_, before)| before.is_empty())
    });
    let query = format!("fieldManager={manager}&force={forced}");
    ("apply-patch+yaml", query, patch, (forced || !conflicts).then_some(after))
}
