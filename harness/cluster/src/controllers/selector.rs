//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

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
}
