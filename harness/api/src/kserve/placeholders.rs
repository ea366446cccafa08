//! Placeholders in a runtime's container: `{{.Name}}` and the other fields of the service's metadata.

use serde_json::Value;

use super::inference_service::InferenceService;

/// Replaces the placeholders in every string of the value. A missing label or annotation becomes
/// `<no value>`, as in Go's templates.
///
/// # Errors
/// The first placeholder that is not one of `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.X}}`,
/// `{{.Annotations.X}}`.
pub(super) fn replace(value: &mut Value, service: &InferenceService) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains("{{") => {
            *text = replace_text(text, service)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, service)),
        Value::Object(object) => object.values_mut().try_for_each(|item| replace(item, service)),
        _ => Ok(()),
    }
}

fn replace_text(text: &str, service: &InferenceService) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end =
            inner.find("}}").ok_or_else(|| format!("{text:?} opens a placeholder and never closes it"))?;
        let expression = inner[..end].trim().trim_start_matches('-').trim_end_matches('-').trim();
        out.push_str(
            &resolve(expression, service).ok_or_else(|| format!("unknown placeholder {expression:?}"))?,
        );
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn resolve(expression: &str, service: &InferenceService) -> Option<String> {
    let metadata = &service.metadata;
    let map = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_else(|| "<no value>".to_owned())
    };
    match expression.strip_prefix('.')? {
        "Name" => Some(service.name().to_owned()),
        "Namespace" => Some(metadata.namespace.clone().unwrap_or_default()),
        path => {
            if let Some(key) = path.strip_prefix("Labels.") {
                return Some(map(&metadata.labels, key));
            }
            path.strip_prefix("Annotations.").map(|key| map(&metadata.annotations, key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A server would start with the wrong model name, or with template text as an argument.
    #[test]
    fn fields_of_the_metadata() {
        let mut service = InferenceService::default();
        service.metadata.name = Some("digits".into());
        service.metadata.labels = Some([("modelClass".to_owned(), "m.C".to_owned())].into());
        let mut value =
            json!({"args": ["--model_name={{.Name}}", "{{ .Labels.modelClass }}-{{.Annotations.x}}"]});
        replace(&mut value, &service).unwrap();
        assert_eq!(value, json!({"args": ["--model_name=digits", "m.C-<no value>"]}));
        assert!(replace(&mut json!("{{.Nope}}"), &service).unwrap_err().contains("Nope"));
        assert!(replace(&mut json!("{{.Name"), &service).is_err());
    }
}
