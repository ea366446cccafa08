//! Settings as patches that `kubectl patch --patch-file` takes.

use serde_json::{Map, Value};
use windtunnel_scenario::overrides::{self, Selector};

use super::Setting;
use crate::error::SimError;

/// A merge patch for every object that `settings` change, as one YAML document each with the command that applies it;
/// `None` when they change no object, or an item of a list, which a merge patch cannot name.
///
/// # Errors
/// A setting that cannot be read.
pub fn patches(settings: &[Setting]) -> Result<Option<String>, SimError> {
    let mut objects: Vec<(Selector, Value)> = Vec::new();
    for setting in settings {
        let Some(selector) = setting.selector() else { continue };
        let selector = selector?;
        if selector.path.contains('[') {
            return Ok(None);
        }
        let known = objects
            .iter()
            .position(|(object, _)| object.kind == selector.kind && object.name == selector.name);
        let index = known.unwrap_or_else(|| {
            objects.push((selector.clone(), Value::Object(Map::new())));
            objects.len() - 1
        });
        overrides::set_in(&mut objects[index].1, &selector.path, &setting.value).map_err(|error| {
            SimError::Setting { setting: setting.to_string(), message: error.message, remedy: error.hint }
        })?;
    }
    let documents: Vec<String> = objects
        .iter()
        .map(|(object, patch)| {
            let mut text =
                format!("# kubectl patch {} {} --type merge --patch-file FILE\n", object.kind, object.name);
            write_yaml(&mut text, patch, 0);
            text
        })
        .collect();
    Ok((!documents.is_empty()).then(|| documents.join("---\n")))
}

/// Block style for mappings; anything else is JSON, which is YAML too.
fn write_yaml(text: &mut String, value: &Value, depth: usize) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        let plain =
            key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
        let key = if plain { key.clone() } else { Value::String(key.clone()).to_string() };
        text.push_str(&"  ".repeat(depth));
        text.push_str(&key);
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(":\n");
                write_yaml(text, value, depth + 1);
            }
            other => {
                text.push_str(": ");
                text.push_str(&other.to_string());
                text.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(texts: &[&str]) -> Vec<Setting> {
        texts.iter().map(|text| text.parse().expect("a setting")).collect()
    }

    /// The answer must be something that can be applied as it is.
    #[test]
    fn settings_of_one_object_become_one_patch() {
        let settings = settings(&[
            "InferenceService/digits:spec.predictor.maxReplicas=4",
            "spec.environment.network.gateway=2ms",
            "InferenceService/digits:metadata.annotations.autoscaling\\.knative\\.dev/window=30s",
        ]);
        let expected = "# kubectl patch InferenceService digits --type merge --patch-file FILE\n\
                        spec:\n  predictor:\n    maxReplicas: 4\n\
                        metadata:\n  annotations:\n    \"autoscaling.knative.dev/window\": \"30s\"\n";
        assert_eq!(patches(&settings).expect("read"), Some(expected.to_owned()));
    }

    /// A merge patch replaces whole lists: an item of one must not be offered as one.
    #[test]
    fn an_item_of_a_list_is_no_merge_patch() {
        let settings = settings(&["InferenceService/digits:spec.predictor.containers[0].image=x"]);
        assert_eq!(patches(&settings).expect("read"), None);
    }
}
