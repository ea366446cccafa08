//! Decision vectors of Flagger and of Argo Rollouts.

use serde_json::{Value, json};
use windtunnel_conformance::vectors::{run, run_selected, supported_kernels};

use crate::vectors::{PATH, falsify, only, refused_changes, shipped, vectors};

/// If it fails, the simulator promotes and rolls back differently from the Flagger or the Argo Rollouts of a team.
#[test]
fn every_rollout_vector_of_the_shipped_file_passes() {
    for (glob, prefix, count) in [("flagger.*", "flagger.", 14), ("argo.*", "argo.", 80)] {
        let report = run_selected(&shipped(), PATH, &only(glob)).expect("a vector file");
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new());
        assert_eq!((report.passed(), report.failed()), (count, 0), "vectors of {glob}");
        let run: Vec<&str> = report.kernels.keys().map(String::as_str).collect();
        let supported: Vec<&str> = supported_kernels().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(run, supported, "every kernel has a vector");
    }
}

/// If it fails, part of what a vector expects is never looked at, and a kernel may get it wrong.
#[test]
fn every_expectation_counts() {
    let file: Value = serde_saphyr::from_str(&shipped()).expect("YAML");
    let mut changed = 0;
    for vector in file["vectors"].as_array().expect("a list").iter().filter(|vector| is_rollout(vector)) {
        for change in [falsify, rename] {
            for leaf in 0.. {
                let mut wrong = vector.clone();
                if !change(&mut wrong["expect"], &mut { leaf }) {
                    break;
                }
                changed += 1;
                let report = run(&json!({"vectors": [wrong]}).to_string(), PATH).expect("a vector file");
                assert_eq!(report.failed(), 1, "{wrong}");
            }
        }
    }
    assert_eq!(changed, 204, "expectations of the shipped vectors");
}

fn is_rollout(vector: &Value) -> bool {
    let kernel = vector["kernel"].as_str().unwrap_or_default();
    kernel.starts_with("flagger.") || kernel.starts_with("argo.")
}

/// Replaces one text, counted by `skip`; false when there are fewer.
fn rename(value: &mut Value, skip: &mut usize) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().any(|item| rename(item, skip)),
        Value::Object(map) => map.values_mut().any(|item| rename(item, skip)),
        Value::String(text) if *skip == 0 => {
            text.push('x');
            true
        }
        Value::String(_) => {
            *skip -= 1;
            false
        }
        _ => false,
    }
}

/// If it fails, a vector with a typo in it passes without having been tested.
#[test]
fn malformed_vectors_fail_with_their_place() {
    let walk = "{primary_weights: [100], final_primary_weight: 100}";
    let ready =
        "threshold: 100, deadline_s: 0, generation: 0, observed_generation: 0, replicas: 1, updated: 1";
    let counts = "replicas: 1, set_weight: 1, promote_full: false, stable_spec: 1, stable_available: 1, \
                  canary_spec: 0, canary_available: 0, max_unavailable: 0";
    for (kernel, inputs, expect, message) in [
        ("flagger.canary_walk", "{checks_always_pass: true}", walk, "inputs.analysis: is missing"),
        (
            "flagger.canary_walk",
            "{analysis: {stepWieght: 10}, checks_always_pass: true}",
            walk,
            "inputs.analysis.stepWieght: is not known here",
        ),
        (
            "flagger.canary_walk",
            "{analysis: {stepWeights: [1, x]}, checks_always_pass: true}",
            walk,
            "inputs.analysis.stepWeights[1]: expected a whole number",
        ),
        (
            "flagger.phase_trace",
            "{analysis: {iterations: 1}}",
            "{trace: [[Progressing, 0, 0]]}",
            "expected [phase] or [phase, weight]",
        ),
        (
            "flagger.canary_walk_mirror",
            "{analysis: {mirror: true}}",
            "{routes: [[100, 0]]}",
            "expected [primary, canary, mirrored]",
        ),
        (
            "flagger.reset",
            "{analysis: {}, routes_before: [90, 20]}",
            "{phase: Progressing}",
            "inputs.routes_before: expected two weights that add up to 100",
        ),
        (
            "flagger.rollback",
            "{phase: Fialed, failedChecks: 1, threshold: 1}",
            "{phase: Failed}",
            "inputs.phase: \"Fialed\" is no phase",
        ),
        (
            "flagger.rollback",
            "{phase: Progressing, failedChecks: 1, threshold: -1}",
            "{phase: Failed}",
            "inputs.threshold: expected a whole number of at least 0, found -1",
        ),
        (
            "flagger.rollback",
            "{phase: Progressing, failedChecks: 1, threshold: 1}",
            "{}",
            "expect: nothing is expected",
        ),
        (
            "flagger.promotion_failure",
            "{phase: Promoting, routes: [50, 50], primary: gone}",
            "{phase: Failed}",
            "inputs.primary: \"gone\" is not known",
        ),
        (
            "flagger.deployment_ready",
            &format!("{{{ready}, available: 1, min_unavailable_s_ago: -5}}"),
            "{ready: true}",
            "inputs.min_unavailable_s_ago: expected",
        ),
        (
            "flagger.deployment_ready",
            &format!("{{{ready}, available: 1}}"),
            "{raedy: true}",
            "expect.raedy: is not known here",
        ),
        (
            "argo.approx_weighted_counts",
            "{replicas: 1.5, weight: 0, max_weight: 100, max_surge: 0}",
            "{canary: 0}",
            "inputs.replicas: expected a whole number",
        ),
        (
            "argo.traffic_weight_to_replicas",
            "{replicas: 1, weight: 101, max_weight: 100}",
            "{replicas: 0}",
            "inputs.weight: 101 is over max_weight (100)",
        ),
        (
            "argo.canary_counts",
            &format!("{{{counts}, max_surge: a lot}}"),
            "{canary: 0}",
            "inputs.max_surge: \"a lot\" is no percentage",
        ),
        (
            "argo.canary_counts",
            &format!("{{{counts}, max_surge: 1, set_canary_scale: {{replicas: 1}}}}"),
            "{canary: 0}",
            "inputs.set_canary_scale.weight: is missing",
        ),
        (
            "argo.canary_counts",
            &format!("{{{counts}, max_surge: 1, older: [1]}}"),
            "{canary: 0}",
            "inputs.older: expected [replicas, available]",
        ),
        (
            "argo.assess_metric",
            "{metric: {failureLimt: 1}, result: {measurements: 0}, terminating: true}",
            "{phase: Pending}",
            "inputs.metric.failureLimt: is not known here",
        ),
        (
            "argo.assess_metric",
            "{metric: {}, result: {measurements: 1}, terminating: true}",
            "{phase: Pending}",
            "inputs.result.last: does not go with 1 measurements",
        ),
        (
            "argo.assess_metric",
            "{metric: {}, result: {measurements: 1, last: Good}, terminating: true}",
            "{phase: Pending}",
            "inputs.result.last: \"Good\" is no phase",
        ),
        (
            "argo.evaluate_result",
            "{success_condition_value: 1, failure_condition_value: null}",
            "{phase: Error}",
            "inputs.success_condition_value: expected true, false or a condition",
        ),
    ] {
        let report = run(&vectors(&[("a", kernel, inputs, expect)]), PATH).expect("a vector file");
        let failures: Vec<&str> = report.failures().collect();
        assert_eq!(failures.len(), 1, "{kernel} {inputs} {expect}");
        assert!(
            failures[0].starts_with(&format!("vectors.yaml:3: a ({kernel}): malformed: ")),
            "{failures:?}"
        );
        assert!(failures[0].contains(message), "{failures:?} should say {message}");
    }
}

/// If it fails, a vector that lost a line, or has a number where a text belongs, is run with a silent default.
#[test]
fn nothing_of_a_vector_can_be_lost_mistyped_or_added_unnoticed() {
    // What upstream's tests and manifests leave out where it does not matter.
    const OPTIONAL: [&str; 25] = [
        "abort",
        "abort_scale_down_delay_s",
        "consecutiveError",
        "consecutiveSuccess",
        "consecutiveSuccessLimit",
        "count",
        "failed",
        "failureLimit",
        "inconclusive",
        "inconclusiveLimit",
        "interval",
        "iterations",
        "maxWeight",
        "min_pods_per_rs",
        "min_unavailable_s_ago",
        "mirror",
        "older",
        "progressing_reason",
        "set_canary_scale",
        "spec_replicas",
        "stepWeight",
        "stepWeightPromotion",
        "stepWeights",
        "successful",
        "traffic_routing",
    ];
    let changed =
        refused_changes(|kernel| kernel.starts_with("flagger.") || kernel.starts_with("argo."), &OPTIONAL);
    assert!(changed > 400, "{changed} keys");
}

/// If it fails, a vector that gives a condition as a text is not evaluated.
#[test]
fn conditions_are_evaluated() {
    let cases = [
        ("result[0] >= 0.95", "[0.99]", "Successful"),
        ("result[0] >= 0.95", "[0.5]", "Failed"),
        ("result.missing >= 1", "[0.5]", "Error"),
        ("len(result) == 0", "[]", "Successful"),
    ];
    for (condition, result, phase) in cases {
        let inputs = format!(
            "{{success_condition_value: {condition:?}, failure_condition_value: null, result: {result}}}"
        );
        let expect = format!("{{phase: {phase}}}");
        let file = vectors(&[("a", "argo.evaluate_result", inputs.as_str(), expect.as_str())]);
        let report = run(&file, PATH).expect("a vector file");
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new(), "{condition} on {result}");
    }
}

/// If it fails, facts that the shipped file leaves out, in the same form, are judged wrongly.
#[test]
fn further_facts_in_the_same_form() {
    for (kernel, inputs, expect) in [
        // flagger: TestScheduler_DeploymentPromotionFailedAfterTrafficShift, …WithWeightsHappyCase, isDeploymentReady.
        (
            "flagger.promotion_failure",
            "{phase: Finalising, routes: [100, 0], primary: non-retriable error}",
            "{phase: Failed, routes: [0, 100], status_canaryWeight: 100, canary_scaled_to_zero: false}",
        ),
        (
            "flagger.canary_walk",
            "{analysis: {stepWeights: [1, 2, 10, 80]}, checks_always_pass: true}",
            "{primary_weights: [100, 99, 98, 90, 20], phases_after_walk: [Promoting, Finalising, Succeeded], \
             final_primary_weight: 100}",
        ),
        (
            "flagger.deployment_ready",
            "{threshold: 100, deadline_s: 0, generation: 1, observed_generation: 0, replicas: 1, updated: 1, available: 1}",
            "{ready: false, retriable: true}",
        ),
        (
            "flagger.deployment_ready",
            "{threshold: 50, deadline_s: 0, generation: 0, observed_generation: 0, updated: 4, available: 1, replicas: 0}",
            "{ready: false, retriable: true}",
        ),
        // argo-rollouts: TestAssessMetricStatusInFlightMeasurement, …NoMeasurements, …InconclusiveLimit.
        (
            "argo.assess_metric",
            "{metric: {}, result: {measurements: 2, last: Running}, terminating: true}",
            "{phase: Running}",
        ),
        (
            "argo.assess_metric",
            "{metric: {}, result: {measurements: 0}, terminating: true}",
            "{phase: Successful}",
        ),
        // …TestEvaluateResultInconclusive, …NoSuccessConditionAndNotFailing, …WithErrorOnFailureCondition.
        (
            "argo.evaluate_result",
            "{success_condition_value: false, failure_condition_value: false}",
            "{phase: Inconclusive}",
        ),
        (
            "argo.evaluate_result",
            "{success_condition_value: null, failure_condition_value: false}",
            "{phase: Successful}",
        ),
        (
            "argo.evaluate_result",
            "{success_condition_value: true, failure_condition_value: 'a == true'}",
            "{phase: Error}",
        ),
        // …TestCalculateReplicaCountsForCanary: with an older version, with a scale of its own.
        (
            "argo.canary_counts",
            "{replicas: 10, set_weight: 10, max_surge: 0, max_unavailable: 2, promote_full: false, stable_spec: 10, \
             stable_available: 10, canary_spec: 0, canary_available: 0, older: [[0, 0], [0, 0]]}",
            "{canary: 0, stable: 9}",
        ),
    ] {
        let report = run(&vectors(&[("a", kernel, inputs, expect)]), PATH).expect("a vector file");
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new(), "{kernel} {inputs}");
    }
}
