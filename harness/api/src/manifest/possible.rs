//! Values that are of the right type and still can't be: what KServe's webhook refuses, and what Knative's autoscaler
//! can't read. They are told before anything is started, with the place in the file.

use windtunnel_kernel::autoscale::kpa::{Config, GlobalConfig};

use super::{Manifest, ManifestFault};
use crate::kserve::{KserveConfig, defaults, validate};

/// Knative's default progress deadline, which no InferenceService can change.
const PROGRESS_DEADLINE_S: u64 = 600;

/// The impossible values of one manifest of the file `text`; `path` names the file in the faults. Kinds other than
/// InferenceService have none.
#[must_use]
pub fn impossible(manifest: &Manifest, text: &str, path: &str) -> Vec<ManifestFault> {
    let Some(service) = manifest.inference_service() else { return Vec::new() };
    let fault = |place: Option<(usize, usize)>, message: String, hint: String| {
        let (line, column) = place.unwrap_or((manifest.line, 1));
        ManifestFault { file: path.to_owned(), line, column, message, hint: Some(hint) }
    };
    let mut faults = Vec::new();

    let mut defaulted = service.clone();
    defaults::default(&mut defaulted, &KserveConfig::default());
    if let Err(message) = validate::validate(&defaulted, None) {
        let place = place_of_mentioned_key(text, manifest.line, &message);
        faults.push(fault(place, message, "KServe's webhook refuses it in these words".to_owned()));
    }

    let annotations = service.metadata.annotations.clone().unwrap_or_default();
    let concurrency = service.spec.predictor.extension.container_concurrency.unwrap_or(0);
    let concurrency = u32::try_from(concurrency).unwrap_or(0);
    if let Err(error) =
        Config::resolve(&GlobalConfig::default(), &annotations, concurrency, PROGRESS_DEADLINE_S)
    {
        let place = place_of(text, manifest.line, &error.key);
        faults.push(fault(place, error.to_string(), format!("expected {}", error.expected)));
    }
    faults
}

/// Line and column of the first key of the document that the message mentions, as KServe mentions fields: by their names
/// in Go, which differ from those in YAML by their first letter.
fn place_of_mentioned_key(text: &str, from_line: usize, message: &str) -> Option<(usize, usize)> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 4);
    words.filter_map(|word| place_of(text, from_line, &format!("{word}:"))).next()
}

/// Line and column of the first occurrence of `needle` from a line on, whatever its case.
fn place_of(text: &str, from_line: usize, needle: &str) -> Option<(usize, usize)> {
    let needle = needle.to_ascii_lowercase();
    text.lines().enumerate().skip(from_line.saturating_sub(1)).find_map(|(index, line)| {
        let at = line.to_ascii_lowercase().find(&needle)?;
        Some((index + 1, line[..at].chars().count() + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    const SERVICE: &str = "apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    autoscaling.knative.dev/target: \"0.1\"
    autoscaling.knative.dev/initial-scale: \"0\"
spec:
  predictor:
    minReplicas: 1
    maxReplicas: 3
    model: {modelFormat: {name: onnx}, storageUri: 's3://models/digits'}
";

    fn told(text: &str) -> Vec<String> {
        let manifests = parse(text, "isvc.yaml").expect("types are right");
        manifests
            .iter()
            .flat_map(|manifest| impossible(manifest, text, "isvc.yaml"))
            .map(|fault| fault.to_string())
            .collect()
    }

    /// Whoever waits for a cluster to be told of a typo waits too long.
    #[test]
    fn impossible_values_are_told_with_their_place() {
        assert_eq!(told(SERVICE), Vec::<String>::new());
        let many = told(&SERVICE.replace("minReplicas: 1", "minReplicas: 5").replace("\"0.1\"", "lots"));
        assert_eq!(many.len(), 2, "{many:?}");
        assert!(
            many[0].starts_with("isvc.yaml:10:5: 'MinReplicas' cannot be greater than MaxReplicas"),
            "{many:?}"
        );
        assert!(many[1].starts_with("isvc.yaml:6:5: ") && many[1].contains("lots"), "{many:?}");
    }
}
