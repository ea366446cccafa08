//! Autoscalers that cannot work are refused before anything flies, with their place and a remedy.

use super::standard;
use crate::setting::Setting;

fn refused(class: &str, predictor: &str, objects: &str) -> String {
    let setting = Setting { objects: objects.to_owned(), ..standard(class, predictor) };
    setting.read().expect_err("wrong on purpose")
}

fn scaled_object(target: &str, trigger: &str) -> String {
    format!(
        "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: own}}\nspec:\n  scaleTargetRef: {{name: \
         {target}}}\n  triggers: [{trigger}]\n"
    )
}

/// A scenario whose autoscaler does nothing would be believed.
#[test]
fn an_autoscaler_that_cannot_work_is_named() {
    let cron = "{type: cron, metadata: {timezone: Europe/Berlino, start: 0 8 * * *, end: 0 18 * * *, desiredReplicas: '2'}}";
    let rabbit =
        "{type: rabbitmq, metadata: {queueName: jobs, mode: QueueLength, value: '20', host: 'http://r'}}";
    let query = "{type: prometheus, metadata: {serverAddress: 'http://p', query: up, threshold: '1'}}";
    let cases = [
        (
            refused("external", "minReplicas: 1", &scaled_object("letters", rabbit)),
            ["letters", "digits-predictor"],
        ),
        (
            refused("hpa", "minReplicas: 1", &scaled_object("digits-predictor", rabbit)),
            ["two of them", "external"],
        ),
        (
            refused("external", "minReplicas: 1", &scaled_object("digits-predictor", rabbit)),
            ["rabbitmq", "queue:"],
        ),
        (
            refused("external", "minReplicas: 1", &scaled_object("digits-predictor", cron)),
            ["Europe/Berlino", "IANA"],
        ),
        (
            refused("external", "minReplicas: 1", &scaled_object("digits-predictor", query)),
            ["\"up\"", "rate"],
        ),
        (refused("keda", "minReplicas: 0, maxReplicas: 3", ""), ["digits-predictor", "trigger"]),
        (refused("hpa", "scaleMetric: memory, scaleTarget: 60", ""), ["memory", "environment.models"]),
        (refused("vpa", "minReplicas: 1", ""), ["vpa", "autoscaler"]),
        (refused("kpa", "minReplicas: 1", ""), ["kpa", "autoscaler class"]),
    ];
    for (message, words) in cases {
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    }
}
