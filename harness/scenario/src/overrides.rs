//! Values that replace those of a file: `--set PATH=VALUE` and the axes of a plan.
//!
//! A path is keys with dots between them and positions in brackets: `spec.load.arrivals.phases[0].rate`. A dot
//! within a key is written `\.`, as are `[` and `\`. In a manifest the object comes first:
//! `InferenceService/digits:spec.predictor.maxReplicas`. A value is YAML, so `3`, `300ms`, `[a, b]` and
//! `{for: 10s, rate: 5/s}` are what they would be in the file.
//!
//! ```
//! use windtunnel_scenario::overrides;
//!
//! let mut manifest = serde_json::json!({"spec": {"predictor": {"minReplicas": 1}}});
//! let target = overrides::Selector::parse("InferenceService/digits:spec.predictor.maxReplicas")?;
//! assert_eq!((target.kind.as_str(), target.name.as_str()), ("InferenceService", "digits"));
//! overrides::set_in(&mut manifest, &target.path, "20")?;
//! assert_eq!(manifest["spec"]["predictor"]["maxReplicas"], 20);
//!
//! let mistyped = overrides::set_in(&mut manifest, "spec.predictr.minReplicas", "2").unwrap_err();
//! assert_eq!(mistyped.hint, "did you mean \"predictor\"?");
//! # Ok::<(), overrides::OverrideError>(())
//! ```

use std::path::Path;

use serde_json::Value as Json;

use crate::decode;
use crate::fault::{Fault, Faults};
use crate::scenario::Scenario;
use crate::suggest;
use crate::yaml::{self, Entry, Node, Place, Value};

/// The highest position in a list that a path may name.
const MAX_INDEX: usize = 100_000;

/// Names shorter than this are too alike for one typing error to mean anything.
const LEAST_LIKENESS: usize = 4;

/// Why an override cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct OverrideError {
    /// The path as it was given.
    pub path: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it, in one line.
    pub hint: String,
}

impl OverrideError {
    fn new(path: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// A field of an object of the manifests: `KIND/NAME:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Kind of the object, such as `InferenceService`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The path within it.
    pub path: String,
}

impl Selector {
    /// Whether a path has the form of a selector: it names an object before its first dot.
    pub fn is_one(text: &str) -> bool {
        let head = text.split(['.', '[', '=']).next().unwrap_or(text);
        head.contains('/') || head.contains(':')
    }

    /// Reads `KIND/NAME:PATH`.
    ///
    /// # Errors
    /// When a part is missing or the path is not one.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let example = "write one such as InferenceService/digits:spec.predictor.maxReplicas";
        let wrong = |message: &str| OverrideError::new(text, message, example);
        // A name may have dots, but neither a slash nor a colon.
        let (object, path) =
            text.split_once(':').ok_or_else(|| wrong("a colon is missing after the name"))?;
        let (kind, name) =
            object.split_once('/').ok_or_else(|| wrong("the kind of the object is missing"))?;
        let (kind, name) = (kind.trim(), name.trim());
        if kind.is_empty() || name.is_empty() || name.contains('/') {
            return Err(wrong("the object is not KIND/NAME"));
        }
        steps(path)?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned(), path: path.to_owned() })
    }
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Reads a scenario file in which values are replaced, in the order given.
///
/// A key that the file leaves out is added. Whether it exists in the format is for the reader to say, as it does
/// for a key in the file; the place of its faults is then the override instead of a line.
///
/// # Errors
/// All faults: those of the overrides themselves, or those of the file with them.
pub fn apply(text: &str, file: &Path, overrides: &[(&str, &str)]) -> Result<Scenario, Faults> {
    let mut root = decode::tree(text, file)?;
    let mut faults = Vec::new();
    let mut sources = Vec::new();
    for (index, (path, value)) in overrides.iter().enumerate() {
        let source = format!("--set {path}={value}");
        let place = Place::of_override(index);
        let applied = value_of(path, value)
            .and_then(|mut node| {
                node.relocate(place);
                Ok((steps(path)?, node))
            })
            .and_then(|(steps, node)| set_node(&mut root, &steps, node, place, path));
        if let Err(OverrideError { message, hint, .. }) = applied {
            faults.push(Fault { file: source.clone().into(), line: 1, column: 1, message, hint });
        }
        sources.push(source);
    }
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    decode::scenario(&root, text, file, &sources)
}

/// Replaces a value in a manifest; `value` is YAML. A key that is not there is added, unless it looks like a
/// mistyped one.
///
/// # Errors
/// When the path is not one, leads through something that has no such part, or the value is not YAML.
pub fn set_in(manifest: &mut Json, path: &str, value: &str) -> Result<(), OverrideError> {
    let steps = steps(path)?;
    let value = value_of(path, value)?.to_json();
    let mut here = manifest;
    for (at, step) in steps.iter().enumerate() {
        if here.is_null() {
            *here = match step {
                Step::Key(_) => Json::Object(serde_json::Map::new()),
                Step::Index(_) => Json::Array(Vec::new()),
            };
        }
        let (kind, walked) = (kind_of(here), shown(&steps[..at]));
        here = match (step, here) {
            (Step::Key(key), Json::Object(fields)) => {
                if !fields.contains_key(key) {
                    mistyped(path, key, fields.keys().map(String::as_str))?;
                }
                fields.entry(key.clone()).or_insert(Json::Null)
            }
            (Step::Index(index), Json::Array(items)) => {
                let length = items.len();
                if *index == length {
                    items.push(Json::Null);
                }
                items.get_mut(*index).ok_or_else(|| beyond(path, &walked, *index, length))?
            }
            (step, _) => return Err(no_part(path, &walked, &kind, step)),
        };
    }
    *here = value;
    Ok(())
}

/// The steps of a path, at least one, the first a key.
fn steps(path: &str) -> Result<Vec<Step>, OverrideError> {
    let wrong = |message: String| {
        OverrideError::new(
            path,
            message,
            "write keys and positions, such as spec.load.arrivals.phases[0].rate",
        )
    };
    let mut steps = Vec::new();
    let mut key = String::new();
    // Whether a key is being read, and whether one may follow without a dot.
    let mut expects_key = true;
    let mut letters = path.trim().chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped) if expects_key => key.push(escaped),
                _ => return Err(wrong("a backslash stands before nothing".to_owned())),
            },
            '.' | '[' => {
                if expects_key {
                    if key.is_empty() {
                        return Err(wrong(format!("there is no key before \"{letter}\"")));
                    }
                    steps.push(Step::Key(std::mem::take(&mut key)));
                }
                expects_key = letter == '.';
                if letter == '[' {
                    let rest = letters.as_str();
                    let (digits, after) = rest.split_once(']').unwrap_or((rest, ""));
                    match digits.parse::<usize>() {
                        Ok(index) if index <= MAX_INDEX && digits.len() < rest.len() => {
                            steps.push(Step::Index(index));
                        }
                        Ok(index) if index <= MAX_INDEX => {
                            return Err(wrong(format!("the bracket before {index} is not closed")));
                        }
                        _ => return Err(wrong(format!("\"{digits}\" is not a position in a list"))),
                    }
                    letters = after.chars();
                }
            }
            _ if expects_key => key.push(letter),
            _ => return Err(wrong(format!("\"{letter}\" stands after a position; a dot is missing"))),
        }
    }
    match (expects_key, key.is_empty()) {
        (true, true) => Err(wrong("the path ends without a key".to_owned())),
        (true, false) => {
            steps.push(Step::Key(key));
            Ok(steps)
        }
        (false, _) => Ok(steps),
    }
}

fn value_of(path: &str, text: &str) -> Result<Node, OverrideError> {
    let wrong = |message: String, hint: &str| OverrideError::new(path, message, hint);
    if text.trim().is_empty() {
        return Err(wrong("a value is missing".to_owned(), "write one after =, such as 3 or 300ms"));
    }
    yaml::parse(text).map_err(|error| {
        let message = format!("the value is not readable as YAML: {}", error.message);
        wrong(message, "write a number, a text, [a, list] or {a: mapping}; put quotes around the whole")
    })
}

/// Sets a value in a tree of which the reader checks every key later.
fn set_node(
    root: &mut Node,
    steps: &[Step],
    value: Node,
    place: Place,
    path: &str,
) -> Result<(), OverrideError> {
    let mut here = root;
    for (at, step) in steps.iter().enumerate() {
        if matches!(here.value, Value::Null) {
            here.place = place;
            here.value = match step {
                Step::Key(_) => Value::Map(Vec::new()),
                Step::Index(_) => Value::List(Vec::new()),
            };
        }
        let (kind, walked) = (here.describe(), shown(&steps[..at]));
        here = match (step, &mut here.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let found = entries.iter().rposition(|entry| entry.key == *key);
                let index = found.unwrap_or(entries.len());
                if found.is_none() {
                    let node = Node { place, value: Value::Null };
                    entries.push(Entry { key: key.clone(), place, node });
                }
                &mut entries[index].node
            }
            (Step::Index(index), Value::List(items)) => {
                let length = items.len();
                if *index == length {
                    items.push(Node { place, value: Value::Null });
                }
                items.get_mut(*index).ok_or_else(|| beyond(path, &walked, *index, length))?
            }
            (step, _) => return Err(no_part(path, &walked, &kind, step)),
        };
    }
    *here = value;
    Ok(())
}

/// Whether a key that is not there looks like one that is: one typing error, or only another letter case.
fn mistyped<'a>(
    path: &str,
    key: &str,
    mut known: impl Iterator<Item = &'a str>,
) -> Result<(), OverrideError> {
    let alike =
        |other: &&str| key.chars().count() >= LEAST_LIKENESS && suggest::is_one_error_away(key, other);
    match known.find(alike) {
        Some(near) => Err(OverrideError::new(
            path,
            format!("there is no \"{}\"", key.escape_debug()),
            format!("did you mean \"{near}\"?"),
        )),
        None => Ok(()),
    }
}

fn beyond(path: &str, walked: &str, index: usize, length: usize) -> OverrideError {
    OverrideError::new(
        path,
        format!("{walked} has no item {index}"),
        match length {
            0 => "it is empty; [0] adds the first".to_owned(),
            _ => format!("its items are [0] to [{}]; [{length}] adds one", length - 1),
        },
    )
}

fn no_part(path: &str, walked: &str, kind: &str, step: &Step) -> OverrideError {
    let (what, hint) = match step {
        Step::Key(key) => (
            format!("has no key \"{}\"", key.escape_debug()),
            "give a position, such as [0], or its path alone",
        ),
        Step::Index(index) => (format!("has no item {index}"), "give a key after a dot, or its path alone"),
    };
    let walked = if walked.is_empty() { "the document" } else { walked };
    OverrideError::new(path, format!("{walked} is {kind}, which {what}"), hint)
}

fn kind_of(value: &Json) -> String {
    match value {
        Json::Null => "empty".to_owned(),
        Json::Object(_) => "a mapping".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        scalar => format!("the value {scalar}"),
    }
}

fn shown(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A value would land in another field than the one that was named.
    #[test]
    fn paths_are_read_step_by_step() {
        let key = |text: &str| Step::Key(text.to_owned());
        for (path, expected) in [
            ("spec", vec![key("spec")]),
            ("spec.load[1].arrivals", vec![key("spec"), key("load"), Step::Index(1), key("arrivals")]),
            ("a[0][12]", vec![key("a"), Step::Index(0), Step::Index(12)]),
            (
                r"metadata.annotations.autoscaling\.knative\.dev/target",
                vec![key("metadata"), key("annotations"), key("autoscaling.knative.dev/target")],
            ),
            (r"a\[0\].b\\c", vec![key("a[0]"), key(r"b\c")]),
        ] {
            assert_eq!(steps(path), Ok(expected), "{path}");
        }
        for path in ["", ".", "a.", ".a", "a..b", "[0]", "a[", "a[x]", "a[-1]", "a[0]b", "a\\", "a[0"] {
            assert!(steps(path).is_err(), "{path}");
        }
    }

    /// A what-if would change nothing, or something else, without a word.
    #[test]
    fn manifests_take_values_and_refuse_typing_errors() {
        let manifest = json!({"spec": {"minReplicas": 1, "containers": [{"name": "a"}], "model": null}});
        let set = |path: &str, value: &str| {
            let mut changed = manifest.clone();
            set_in(&mut changed, path, value).map(|()| changed)
        };
        let changed = |path: &str, value: &str| set(path, value).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(changed("spec.minReplicas", "5")["spec"]["minReplicas"], 5);
        // Another field of the same family is not a typing error.
        assert_eq!(changed("spec.maxReplicas", "5")["spec"]["maxReplicas"], 5);
        assert_eq!(changed("spec.containers[0].name", "b")["spec"]["containers"][0]["name"], "b");
        assert_eq!(changed("spec.containers[1].name", "b")["spec"]["containers"][1], json!({"name": "b"}));
        assert_eq!(changed("spec.model.args[0]", "'7'")["spec"]["model"]["args"], json!(["7"]));
        assert_eq!(changed("spec.scaling", "{metric: rps, target: 5}")["spec"]["scaling"]["target"], 5);
        for (path, value, message, hint) in [
            ("spec.minReplica", "5", "there is no \"minReplica\"", "did you mean \"minReplicas\"?"),
            ("spec.minreplicas", "5", "there is no \"minreplicas\"", "did you mean \"minReplicas\"?"),
            (
                "spec.containers[3].name",
                "b",
                "spec.containers has no item 3",
                "its items are [0] to [0]; [1] adds one",
            ),
            (
                "spec.containers.name",
                "b",
                "spec.containers is a list, which has no key \"name\"",
                "give a position, such as [0], or its path alone",
            ),
            (
                "spec.minReplicas.x",
                "b",
                "spec.minReplicas is the value 1, which has no key \"x\"",
                "give a position, such as [0], or its path alone",
            ),
            ("spec.minReplicas", " ", "a value is missing", "write one after =, such as 3 or 300ms"),
        ] {
            let error = set(path, value).expect_err(path);
            assert_eq!((error.message.as_str(), error.hint.as_str()), (message, hint), "{path}");
        }
    }

    /// An object would be taken for a key of the scenario, or the other way round.
    #[test]
    fn selectors_name_an_object() {
        let selector = Selector::parse("InferenceService/digits.v1:spec.a[0]").expect("a selector");
        assert_eq!(
            (selector.kind.as_str(), selector.name.as_str(), selector.path.as_str()),
            ("InferenceService", "digits.v1", "spec.a[0]")
        );
        for text in ["InferenceService/digits", "digits:spec.a", "/digits:spec", "A/b/c:spec", "A/b:", "A/:x"]
        {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
        assert!(Selector::is_one("InferenceService/digits:spec.a"));
        assert!(!Selector::is_one("spec.environment.models[0].match"));
        assert!(!Selector::is_one("spec.load.timeout"));
    }
}
