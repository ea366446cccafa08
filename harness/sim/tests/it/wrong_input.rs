//! What is wrong is said before anything is simulated, with its place and what to do.

use crate::setting::Setting;

fn error(setting: &Setting) -> String {
    setting.read().expect_err("wrong on purpose")
}

fn event(kind: &str, name: &str, merge: &str) -> Setting {
    let events = format!("[{{at: 1s, name: change, patch: {{kind: {kind}, name: {name}, merge: {merge}}}}}]");
    Setting { events, ..Setting::default() }
}

/// A user must be able to correct a mistake from the message alone.
#[test]
fn each_fault_is_named_with_its_place_and_remedy() {
    let cases = [
        (event("InferenceService", "digit", "{spec: {}}"), vec!["scenario.yaml:", "\"digit\"", "digits"]),
        (event("Deployment", "digits", "{spec: {}}"), vec!["scenario.yaml:", "Deployment"]),
        (
            event("InferenceService", "digits", "{spec: {predictor: {minReplica: 1}}}"),
            vec!["scenario.yaml:", "minReplica", "minReplicas"],
        ),
        (
            event("InferenceService", "digits", "{spec: {predictor: {minReplicas: 11}}}"),
            vec!["digits", "after event \"change\"", "scenario.yaml:", "MinReplicas"],
        ),
        (
            Setting { annotations: "autoscaling.knative.dev/window: 1s".to_owned(), ..Setting::default() },
            vec!["digits", "autoscaling.knative.dev/window", "1s"],
        ),
        (
            Setting {
                annotations: "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev".to_owned(),
                ..Setting::default()
            },
            vec!["digits", "hpa.autoscaling.knative.dev", "kpa"],
        ),
        (
            Setting { autoscaler: "stable-window: 5".to_owned(), ..Setting::default() },
            vec!["config-autoscaler", "stable-window"],
        ),
    ];
    for (setting, words) in &cases {
        let message = error(setting);
        for word in words {
            assert!(message.contains(word), "{word:?} is missing in: {message}");
        }
    }
}
