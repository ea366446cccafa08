//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels, as Kubernetes keeps them.
pub type Labels = BTreeMap<String, String>;

/// Whether the labels match the selector. An empty selector matches everything.
#[must_use]
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.as_ref().is_none_or(|wanted| has_all(wanted, labels));
    equal
        && selector.match_expressions.as_deref().unwrap_or_default().iter().all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            match (expression.operator.as_str(), value(&expression.key)) {
                ("In", Some(value)) => values.contains(value),
                ("NotIn", Some(value)) => !values.contains(value),
                ("NotIn", None) | ("Exists", Some(_)) | ("DoesNotExist", None) => true,
                _ => false,
            }
        })
}

/// Whether the labels have all of `wanted`. Nothing wanted is nothing selected for Services, so callers check that.
#[must_use]
pub fn has_all(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)))
}

/// Reads a selector as text, such as `app=web,tier in (a, b),!old`; `None` if it is not one.
#[must_use]
pub fn parse_text(text: &str) -> Option<LabelSelector> {
    let mut selector = LabelSelector::default();
    let expressions = selector.match_expressions.get_or_insert_default();
    for part in split_outside_brackets(text) {
        let part = part.trim();
        let requirement = |key: &str, operator: &str, values: Vec<String>| LabelSelectorRequirement {
            key: key.trim().to_owned(),
            operator: operator.to_owned(),
            values: Some(values),
        };
        let list = |text: &str| -> Option<Vec<String>> {
            let inside = text.trim().strip_prefix('(')?.strip_suffix(')')?;
            Some(inside.split(',').map(|value| value.trim().to_owned()).collect())
        };
        expressions.push(if let Some((key, values)) = part.split_once(" notin ") {
            requirement(key, "NotIn", list(values)?)
        } else if let Some((key, values)) = part.split_once(" in ") {
            requirement(key, "In", list(values)?)
        } else if let Some((key, value)) = part.split_once("!=") {
            requirement(key, "NotIn", vec![value.trim().to_owned()])
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            requirement(key, "In", vec![value.trim().to_owned()])
        } else if let Some(key) = part.strip_prefix('!') {
            requirement(key, "DoesNotExist", Vec::new())
        } else {
            requirement(part, "Exists", Vec::new())
        });
    }
    let is_sound = expressions.iter().all(|expression| {
        let key = &expression.key;
        !key.is_empty() && !key.contains([' ', '(', ')', '=', ','])
    });
    is_sound.then_some(selector)
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a controller adopts strangers' pods or loses its own.
    #[test]
    fn expressions_select_as_documented() {
        let labels: Labels = [("tier".to_owned(), "web".to_owned())].into();
        for (operator, key, values, expected) in [
            ("In", "tier", vec!["web", "db"], true),
            ("In", "other", vec!["web"], false),
            ("NotIn", "tier", vec!["db"], true),
            ("NotIn", "other", vec!["db"], true),
            ("NotIn", "tier", vec!["web"], false),
            ("Exists", "tier", vec![], true),
            ("Exists", "other", vec![], false),
            ("DoesNotExist", "other", vec![], true),
            ("DoesNotExist", "tier", vec![], false),
        ] {
            let selector = LabelSelector {
                match_labels: None,
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: key.into(),
                    operator: operator.into(),
                    values: Some(values.iter().map(|&value| value.to_owned()).collect()),
                }]),
            };
            assert_eq!(matches(&selector, Some(&labels)), expected, "{key} {operator} {values:?}");
        }
        assert!(matches(&LabelSelector::default(), None));
    }

    /// If this fails an autoscaler looks at the wrong pods.
    #[test]
    fn selectors_as_text_select_as_documented() {
        let labels: Labels =
            [("tier", "web"), ("app", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, expected) in [
            ("app=a", Some(true)),
            ("app==a,tier in (web, db)", Some(true)),
            ("app=a,tier notin (web)", Some(false)),
            ("app!=b,!old,tier", Some(true)),
            ("app!=a", Some(false)),
            ("!tier", Some(false)),
            ("", None),
            ("tier in web", None),
            ("a b=c", None),
        ] {
            let found = parse_text(text).map(|selector| matches(&selector, Some(&labels)));
            assert_eq!(found, expected, "{text}");
        }
    }
}
