//! From a tree with places to cases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;
use windtunnel_scenario::reader::{Fields, Reader};
use windtunnel_scenario::suggest;
use windtunnel_scenario::yaml::{Node, Place, Value};

use super::step::{Action, Step};
use super::substitute::{self, BUILT_IN, Variables};
use super::{Case, DEFAULT_DEADLINE, Need, Profile, Settings, Tag, Tier};
use crate::assertion;

mod steps;

/// Version of the format.
pub(super) const API_VERSION: &str = "windtunnel.dev/v1alpha1";
/// Kind of a file.
pub(super) const KIND: &str = "ConformanceCases";
/// The longest wait that a case may ask for.
const LONGEST: Duration = Duration::from_secs(600);

/// What a file says for all of its cases.
struct Common {
    tier: Option<Tier>,
    tags: BTreeSet<Tag>,
    needs: BTreeSet<Need>,
    profiles: BTreeSet<Profile>,
    pods_ready: bool,
    within: Duration,
    bases: BTreeMap<String, Json>,
}

pub(super) fn document(reader: &mut Reader<'_>, node: &Node, cases: &mut Vec<Case>) {
    let Some(mut fields) = reader.fields(node, "the file") else { return };
    fields.at_top();
    let version = [(API_VERSION, ())];
    fields.need(reader, "apiVersion", API_VERSION, |reader, node, path| reader.choice(node, path, &version));
    fields.need(reader, "kind", KIND, |reader, node, path| reader.choice(node, path, &[(KIND, ())]));
    let mut common = Common {
        tier: None,
        tags: BTreeSet::new(),
        needs: BTreeSet::new(),
        profiles: Profile::ALL.into_iter().map(|(_, profile)| profile).collect(),
        pods_ready: false,
        within: DEFAULT_DEADLINE,
        bases: BTreeMap::new(),
    };
    if let Some(node) = fields.optional("defaults")
        && let Some(mut defaults) = reader.fields(node, "defaults")
    {
        characteristics(reader, &mut defaults, &mut common);
        defaults.finish(reader);
    }
    if let Some(node) = fields.optional("bases")
        && let Some(objects) = json(reader, node, "bases").and_then(|value| value.as_object().cloned())
    {
        common.bases = objects.into_iter().collect();
    }
    if let Some(node) = fields.required("cases", "cases: [{id: ADM-01, …}]")
        && let Some(list) = reader.list(node, "cases")
    {
        for (index, node) in list.iter().enumerate() {
            case(reader, node, &format!("cases[{index}]"), &common, cases);
        }
    }
    fields.finish(reader);
}

/// What files and cases may both say.
fn characteristics(reader: &mut Reader<'_>, fields: &mut Fields<'_>, common: &mut Common) {
    if let Some(Some(tier)) =
        fields.maybe(reader, "tier", |reader, node, path| reader.choice(node, path, &Tier::ALL))
    {
        common.tier = Some(tier);
    }
    let tags = fields.maybe(reader, "tags", |reader, node, path| {
        reader.items(node, path, "must", |reader, node, path| reader.choice(node, path, &Tag::ALL))
    });
    if let Some(Some(tags)) = tags {
        common.tags = tags.into_iter().collect();
    }
    let needs = fields.maybe(reader, "needs", |reader, node, path| reader.items(node, path, "knative", need));
    if let Some(Some(needs)) = needs {
        common.needs = needs.into_iter().collect();
    }
    let profile =
        fields.maybe(reader, "profile", |reader, node, path| reader.choice(node, path, &Profile::ALL));
    if let Some(Some(profile)) = profile {
        common.profiles = BTreeSet::from([profile]);
    }
    let pods = fields.maybe(reader, "pods", |reader, node, path| {
        reader.choice(node, path, &[("ready", true), ("pending", false)])
    });
    if let Some(Some(ready)) = pods {
        common.pods_ready = ready;
    }
    if let Some(Some(within)) = fields.maybe(reader, "within", duration) {
        common.within = within;
    }
}

fn need(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Need> {
    if let Value::Text(text) = &node.value
        && let Some(name) = text.strip_prefix("runtime:").filter(|name| !name.is_empty())
    {
        return Some(Need::Runtime(name.to_owned()));
    }
    let names: Vec<(&str, usize)> =
        Need::NAMED.iter().enumerate().map(|(index, (name, _))| (*name, index)).collect();
    reader.choice(node, path, &names).map(|index| Need::NAMED[index].1.clone())
}

fn case(reader: &mut Reader<'_>, node: &Node, path: &str, common: &Common, cases: &mut Vec<Case>) {
    let Some(mut fields) = reader.fields(node, path) else { return };
    let mut own = Common {
        tags: common.tags.clone(),
        needs: common.needs.clone(),
        profiles: common.profiles.clone(),
        bases: BTreeMap::new(),
        ..*common
    };
    let id = fields.need(reader, "id", "id: ADM-01", case_id);
    let title = fields.need(
        reader,
        "title",
        "title: A minimum above the maximum is refused",
        |reader, node, path| {
            reader.text(node, path, "A minimum above the maximum is refused").map(str::to_owned)
        },
    );
    characteristics(reader, &mut fields, &mut own);
    let source = fields.maybe(reader, "source", |reader, node, path| {
        reader.text(node, path, "rawkube_controller_test.go").map(str::to_owned)
    });
    let settings = fields.maybe(reader, "settings", settings).flatten().unwrap_or_default();
    let rows = fields.maybe(reader, "each", rows).flatten().unwrap_or_else(|| vec![(None, Variables::new())]);
    let steps = fields.need(reader, "steps", "steps: [{create: …, refused: …}]", |reader, node, path| {
        reader.items(node, path, "{create: {kind: InferenceService, …}}", steps::step)
    });
    fields.finish(reader);
    if own.tier.is_none() {
        reader.fault(node.place, format!("{path}.tier is missing"), "add tier: T0, here or in defaults");
    }
    let (Some(id), Some(title), Some(source), Some(steps), Some(tier)) = (id, title, source, steps, own.tier)
    else {
        return;
    };
    if !steps.iter().any(|step| steps::judges(&step.action)) {
        reader.fault(
            node.place,
            format!("{id} cannot fail: no step expects anything"),
            "add a step expect, absent, never, unchanged, wait, request or split, or refused or gives to a write",
        );
    }
    for (row, variables) in rows {
        let mut known: BTreeSet<String> = BUILT_IN.iter().map(|name| (*name).to_owned()).collect();
        let mut filled = Vec::new();
        for step in &steps {
            if let Some(step) = fill(reader, step, &variables, common, &mut known) {
                filled.push(step);
            }
        }
        let settings = fill_settings(&settings, &variables);
        cases.push(Case {
            id: row.map_or_else(|| id.clone(), |row| format!("{id}/{row}")),
            title: substitute::text(&title, &variables),
            file: reader.file.to_owned(),
            line: node.place.line,
            tier,
            tags: own.tags.clone(),
            profiles: own.profiles.clone(),
            needs: own.needs.clone(),
            settings,
            pods_ready: own.pods_ready,
            within: own.within,
            source: source.clone(),
            steps: filled,
        });
    }
}

fn case_id(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<String> {
    let text = reader.text(node, path, "ADM-01")?;
    let (group, number) = text.split_once('-').unwrap_or((text, ""));
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
    };
    if fits(group) && fits(number) && text.len() <= 20 {
        return Some(text.to_owned());
    }
    reader.fault(
        node.place,
        format!("{path} cannot be \"{}\"", text.escape_debug()),
        "write a group and a number in capital letters, such as ADM-01 or CAN-K03",
    );
    None
}

fn duration(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Duration> {
    let duration = reader.positive_duration(node, path)?.as_std();
    if duration <= LONGEST {
        return Some(duration);
    }
    reader.fault(node.place, format!("{path} is longer than 10 minutes"), "write 600s or less");
    None
}

/// ConfigMap to key to value; the keys of `inferenceservice-config` hold JSON and are merged.
fn settings(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Settings> {
    const MAPS: [&str; 4] =
        ["inferenceservice-config", "config-autoscaler", "config-domain", "config-features"];
    let value = json(reader, node, path)?;
    let maps: Option<Settings> = serde_json::from_value(value).ok();
    let Some(maps) = maps else {
        reader.fault(
            node.place,
            format!("{path} is not ConfigMap, key, value"),
            "write such as settings: {inferenceservice-config: {ingress: {urlScheme: https}}}",
        );
        return None;
    };
    for name in maps.keys().filter(|name| !MAPS.contains(&name.as_str())) {
        reader.fault(
            node.place,
            format!("{path} cannot set {name}"),
            suggest::hint(name, "ConfigMaps", MAPS),
        );
    }
    Some(maps)
}

/// The rows of a case: each gives values to names, and `row` names it.
fn rows(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Vec<(Option<String>, Variables)>> {
    let mut seen = BTreeSet::new();
    reader.items(node, path, "{row: init-container, where: initContainers}", |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let name = fields.need(reader, "row", "row: init-container", |reader, node, path| {
            reader.text(node, path, "init-container").map(str::to_owned)
        })?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.chars().all(is_name) || !seen.insert(name.clone()) {
            reader.fault(
                node.place,
                format!("{path}.row cannot be \"{}\"", name.escape_debug()),
                "give every row a name of its own, of small letters, digits and dashes",
            );
            return None;
        }
        let Json::Object(mut values) = json(reader, node, path)? else { return None };
        values.insert("row".to_owned(), Json::from(name.as_str()));
        Some((Some(name), values.into_iter().collect()))
    })
}

/// A node as JSON; keys that are there twice are faults.
pub(super) fn json(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Json> {
    let before = reader.faults.len();
    doubles(reader, node, path);
    (reader.faults.len() == before).then(|| node.to_json())
}

fn doubles(reader: &mut Reader<'_>, node: &Node, path: &str) {
    match &node.value {
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                if entries[..index].iter().any(|earlier| earlier.key == entry.key) {
                    reader.fault(
                        entry.place,
                        format!("{path} has \"{}\" twice", entry.key),
                        "keep one of them",
                    );
                }
                doubles(reader, &entry.node, &format!("{path}.{}", entry.key));
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                doubles(reader, item, &format!("{path}[{index}]"));
            }
        }
        _ => {}
    }
}

fn fill_settings(settings: &Settings, variables: &Variables) -> Settings {
    let fill = |keys: &BTreeMap<String, Json>| {
        keys.iter().map(|(key, value)| (key.clone(), substitute::substitute(value, variables))).collect()
    };
    settings.iter().map(|(map, keys)| (map.clone(), fill(keys))).collect()
}

/// One step of one row: names filled in, bases merged, trees checked.
fn fill(
    reader: &mut Reader<'_>,
    step: &Step,
    variables: &Variables,
    common: &Common,
    known: &mut BTreeSet<String>,
) -> Option<Step> {
    let place = Place::START.at_line(step.line);
    let mut filled = step.clone();
    let mut fault: Option<(String, String)> = None;
    filled.action.for_each_value(&mut |value, is_tree| {
        *value = substitute::substitute(value, variables);
        if let Err(problem) = with_base(value, &common.bases, 0) {
            fault = Some(problem);
        }
        *value = substitute::substitute(value, variables);
        if is_tree && let Err(message) = assertion::check(value) {
            fault = Some((message, "see docs/conformance.md for what an assertion may say".to_owned()));
        }
        let mut asked = Vec::new();
        substitute::names(value, &mut asked);
        if let Some(name) = asked.iter().find(|name| !known.contains(*name)) {
            let names = known.iter().map(String::as_str).chain(variables.keys().map(String::as_str));
            let names: Vec<&str> = names.collect();
            fault = Some((format!("nothing gives ${{{name}}} a value"), suggest::hint(name, "names", names)));
        }
    });
    filled.action.for_each_text(&mut |text| *text = substitute::text(text, variables));
    if let Action::Expect { save, .. } = &filled.action {
        known.extend(save.keys().cloned());
    }
    if let Some((message, hint)) = fault {
        reader.fault(place, message, hint);
        return None;
    }
    Some(filled)
}

/// Replaces `base: NAME` by that object, with the rest merged over it.
fn with_base(value: &mut Json, bases: &BTreeMap<String, Json>, depth: usize) -> Result<(), (String, String)> {
    let Some(fields) = value.as_object_mut() else { return Ok(()) };
    let Some(name) = fields.get("base").and_then(Json::as_str).map(str::to_owned) else { return Ok(()) };
    let Some(base) = bases.get(&name) else {
        let hint = suggest::hint(&name, "bases", bases.keys().map(String::as_str));
        return Err((format!("there is no base \"{name}\""), hint));
    };
    if depth > 8 {
        return Err((format!("base \"{name}\" rests on itself"), "break the circle".to_owned()));
    }
    fields.shift_remove("base");
    let mut merged = base.clone();
    with_base(&mut merged, bases, depth + 1)?;
    substitute::merge(&mut merged, value);
    *value = merged;
    Ok(())
}
