//! Decision vectors: the shipped file passes, and nothing malformed slips through.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use windtunnel_conformance::vectors::{Options, VectorFileError, run, run_selected, supported_kernels};

pub(crate) const PATH: &str = "vectors.yaml";

/// Vectors in `knative-upstream.yaml`.
const ROWS: usize = 81;

/// If it fails, the simulator and the controllers scale differently from the Knative that a team runs.
#[test]
fn every_knative_vector_of_the_shipped_file_passes() {
    let text = shipped();
    let report = run_selected(&text, "decision-vectors.yaml", &only("knative.*")).expect("a vector file");
    assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(report.failed(), 0);
    assert_eq!(report.passed(), 90, "the file holds 90 vectors of Knative");
    let run: Vec<&str> = report.kernels.keys().map(String::as_str).collect();
    assert_eq!(
        run,
        supported_kernels().filter(|name| is_knative(name)).collect::<Vec<_>>(),
        "every kernel has a vector"
    );
}

/// If it fails, part of what a vector expects is never looked at, and a kernel may get it wrong.
#[test]
fn every_expectation_of_the_shipped_file_counts() {
    let file: Value = serde_saphyr::from_str(&shipped()).expect("YAML");
    let vectors = file["vectors"].as_array().expect("a list");
    let mut changed = 0;
    for vector in vectors.iter().filter(|vector| vector["kernel"].as_str().is_some_and(is_knative)) {
        for leaf in 0.. {
            let mut wrong = vector.clone();
            if !falsify(&mut wrong["expect"], &mut { leaf }) {
                break;
            }
            changed += 1;
            let report = run(&json!({"vectors": [wrong]}).to_string(), PATH).expect("a vector file");
            assert_eq!(report.failed(), 1, "{wrong}");
        }
    }
    assert_eq!(changed, 298, "expectations of the shipped vectors");
}

fn is_knative(kernel: &str) -> bool {
    kernel.starts_with("knative.")
}

/// Changes one number or truth value, counted by `skip`; false when there are fewer. Tolerances are left alone.
pub(crate) fn falsify(value: &mut Value, skip: &mut usize) -> bool {
    let other = match value {
        Value::Array(items) => return items.iter_mut().any(|item| falsify(item, skip)),
        Value::Object(map) => {
            return map.iter_mut().any(|(key, item)| key != "abs_tol" && falsify(item, skip));
        }
        Value::Bool(truth) => json!(!*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => json!(whole + 1),
            None => json!(number.as_f64().expect("a number") + 1.0),
        },
        Value::Null | Value::String(_) => return false,
    };
    if *skip == 0 {
        *value = other;
        return true;
    }
    *skip -= 1;
    false
}

pub(crate) fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/decision-vectors.yaml");
    fs::read_to_string(&path).expect("the shipped vectors are readable")
}

/// If it fails, a kernel that nobody has written counts as passed.
#[test]
fn unknown_kernels_fail_unless_they_are_left_out() {
    let file = vectors(&[
        ("a", "knative.metrics.sample_size", "{population: [3]}", "{sample: [3]}"),
        ("b", "knative.nonsense", "{}", "{x: 1}"),
    ]);
    let report = run(&file, PATH).expect("a vector file");
    assert_eq!((report.passed(), report.failed()), (1, 1));
    assert!(report.kernels["knative.nonsense"].unsupported);
    assert!(report.to_string().contains("no such kernel"), "{report}");
    assert!(report.to_string().ends_with("1 passed, 1 failed"), "{report}");

    let report = run_selected(&file, PATH, &only("knative.metrics.*")).expect("a vector file");
    assert_eq!((report.passed(), report.failed()), (1, 0));

    let error = run_selected(&file, PATH, &only("hpa.*")).expect_err("nothing left");
    assert_eq!(error.to_string(), "vectors.yaml: no vectors for the kernels that were asked for");
}

/// If it fails, a vector with a typo in it passes without having been tested.
#[test]
fn malformed_vectors_fail_with_their_place() {
    let (size, scale) = ("knative.metrics.sample_size", "knative.kpa.scale");
    for (kernel, inputs, expect, message) in [
        (size, "{population: [3], extra: 1}", "{sample: [3]}", "inputs.extra: is not known here"),
        (size, "{population: [3]}", "{sample: [3], extra: 1}", "expect.extra: is not known here"),
        (size, "{population: [3]}", "{}", "expect.sample: is missing"),
        (
            "knative.panic_window",
            "{stable_window_s: 6, panic_window_percentage: 10}",
            "{}",
            "expect: nothing is expected",
        ),
        (
            "knative.panic_window",
            "{stable_window_s: -6, panic_window_percentage: 10}",
            "{panic_window_s: 1}",
            "of at least 0, found -6",
        ),
        (
            "knative.panic_window",
            "{stable_window_s: 6}",
            "{panic_window_s: 1}",
            "percentage: is missing, add it",
        ),
        (scale, &spec("", ""), "{steps: []}", "expect: nothing is expected"),
        (
            scale,
            &spec("", "{t_s: 0, ready: 1, stable: 1, panic: 1}"),
            "{steps: [{}]}",
            "expect.steps[0]: nothing",
        ),
        (
            scale,
            &spec("", "{t_s: 0, ready: 1}"),
            "{steps: [{desired: 1}]}",
            "inputs.steps[0].stable: is missing",
        ),
        (
            scale,
            &spec("", "{t_s: 0, stable: 1, panic: 1}"),
            "{steps: [{desired: 1}]}",
            "steps[0].ready: is missing",
        ),
        (size, "{population: [3]}", "{smaple: [3]}", "expect.sample: is missing"),
        (size, "{population: 3}", "{sample: [3]}", "inputs.population: expected a list, found 3"),
        (size, "{population: [three]}", "{sample: [3]}", "inputs.population[0]: expected a whole number"),
        (size, "{population: [-3]}", "{sample: [3]}", "inputs.population[0]: expected a whole number"),
        (size, "{}", "{sample: [3]}", "inputs.population: is missing"),
        (size, "[]", "{sample: [3]}", "vector.inputs: expected a mapping, found a list"),
        (
            scale,
            &spec(", panic_treshold: 2.0", ""),
            "{steps: []}",
            "inputs.spec.panic_treshold: is not known here",
        ),
        (
            scale,
            &spec("", "{t_s: 0, ready: 1, stable: x, panic: 1}"),
            "{steps: [{desired: 1}]}",
            "inputs.steps[0].stable: expected a finite number, found the text \"x\"",
        ),
        (
            "knative.breaker",
            "{queue_depth: 1, max_concurrency: 1, initial_capacity: 2, ops: []}",
            "{rejected_request_ordinals: []}",
            "inputs.initial_capacity: 2 is over max_concurrency (1)",
        ),
        (
            "knative.breaker",
            "{queue_depth: 1, max_concurrency: 1, initial_capacity: 1, ops: [[update, 0.5]]}",
            "{rejected_request_ordinals: []}",
            "inputs.ops[0]: 0.5 is no count",
        ),
        (
            "knative.aggregation.window_average",
            "{window_s: 5, granularity_s: 1, ops: [[rec, 0], [avg, 0]]}",
            "{avgs: [0]}",
            "inputs.ops[0]: \"rec\" takes 2 numbers, found 1",
        ),
        (
            "knative.breaker",
            "{queue_depth: 1, max_concurrency: 1, initial_capacity: 1, ops: [explode]}",
            "{rejected_request_ordinals: []}",
            "inputs.ops[0]: \"explode\" is not known here",
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

/// If it fails, a wrong decision is reported as a right one.
#[test]
fn a_different_decision_fails_and_says_how() {
    let file = vectors(&[(
        "a",
        "knative.kpa.scale",
        &spec("", "{t_s: 0, ready: 1, stable: 50, panic: 50}"),
        "{steps: [{valid: true, desired: 6, ebc: -161}]}",
    )]);
    let report = run(&file, PATH).expect("a vector file");
    let failures: Vec<&str> = report.failures().collect();
    assert_eq!(
        failures,
        ["vectors.yaml:3: a (knative.kpa.scale): expect.steps[0].desired: expected 6, got 5"]
    );
}

/// If it fails, one of two vectors with the same name hides the other's failure.
#[test]
fn duplicate_ids_and_broken_envelopes_fail() {
    let vector = ("a", "knative.metrics.sample_size", "{population: [3]}", "{sample: [3]}");
    let report = run(&vectors(&[vector, vector]), PATH).expect("a vector file");
    assert_eq!((report.passed(), report.failed()), (1, 1));
    assert!(
        report.to_string().contains("the vector in line 3 has the same, give this one another"),
        "{report}"
    );

    let report = run("vectors:\n- {id: a, kernel: b, inputs: {}}\n", PATH).expect("a vector file");
    let failures: Vec<&str> = report.failures().collect();
    assert_eq!(failures, ["vectors.yaml:2: a (b): malformed: vector.expect: is missing, add it"]);
}

/// If it fails, a file that is no vector file counts as nothing failed.
#[test]
fn files_without_vectors_are_errors() {
    assert!(matches!(run("vectors: []\n", PATH), Err(VectorFileError::Nothing { .. })));
    assert!(matches!(run("", PATH), Err(VectorFileError::Malformed { .. })));
    assert!(matches!(run("vectors: [", PATH), Err(VectorFileError::Malformed { .. })));
    assert!(matches!(run("vectors: []\nvektors: []\n", PATH), Err(VectorFileError::Malformed { .. })));
    let error = run("schema: 2\nvectors: []\n", PATH).expect_err("a schema of the future");
    assert!(
        matches!(error, VectorFileError::Schema { found: 2, .. }) && error.to_string().contains("convert")
    );
    assert!(matches!(
        run("schema: one\nvectors: []\n", PATH),
        Err(VectorFileError::Malformed { line: 1, .. })
    ));
    let lost = vectors(&[("a", "knative.metrics.sample_size", "{population: [3]}", "{sample: [3]}")]);
    let error = run(&lost.replace("schema: 1\n", "schema: 1\ncount: 2\n"), PATH).expect_err("one was lost");
    assert_eq!(
        error.to_string(),
        "vectors.yaml:2: count says 2 vectors, the file holds 1: restore what is missing, or correct count"
    );
    assert!(run(&lost.replace("schema: 1\n", "schema: 1\ncount: 1\n"), PATH).is_ok());
}

/// If it fails, a vector that lost a line, or has a number where a text belongs, is run with a silent default.
#[test]
fn nothing_of_a_vector_can_be_lost_mistyped_or_added_unnoticed() {
    // What upstream's tests leave out where it does not matter.
    const OPTIONAL: [&str; 11] = [
        "target",
        "tu_annotation",
        "pa",
        "active",
        "since",
        "probe",
        "sks_mode",
        "proxy_for",
        "state",
        "prev_actual",
        "prev_desired",
    ];
    let changed = refused_changes(is_knative, &OPTIONAL);
    assert!(changed > 600, "{changed} keys");
}

/// Takes every field out of the inputs of every shipped vector of some kernels, gives it another type, and adds one more:
/// each time the vector must be refused as malformed, unless a field that is left out is `optional`. How many fields
/// there were.
pub(crate) fn refused_changes(is_chosen: fn(&str) -> bool, optional: &[&str]) -> usize {
    let file: Value = serde_saphyr::from_str(&shipped()).expect("YAML");
    let is_refused = |vector: &Value| {
        let report = run(&json!({"vectors": [vector]}).to_string(), PATH).expect("a vector file");
        report.failures().next().is_some_and(|failure| failure.contains("malformed: "))
    };
    let mut changed = 0;
    let is_chosen = |vector: &&Value| vector["kernel"].as_str().is_some_and(is_chosen);
    for vector in file["vectors"].as_array().expect("a list").iter().filter(is_chosen) {
        for pointer in mappings("/inputs", &vector["inputs"]) {
            let map = vector.pointer(&pointer).and_then(Value::as_object).expect("a mapping");
            let with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                let mut other = vector.clone();
                change(other.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("the same mapping"));
                other
            };
            let more = with(&|map| drop(map.insert("surprise".to_string(), json!(1))));
            assert!(is_refused(&more), "{more}");
            for (key, value) in map {
                if !optional.contains(&key.as_str()) {
                    let less = with(&|map| drop(map.remove(key)));
                    assert!(is_refused(&less), "without {pointer}/{key}: {less}");
                }
                let wrong = if value.is_string() { json!(["x"]) } else { json!({"x": 1}) };
                let mistyped = with(&|map| drop(map.insert(key.clone(), wrong.clone())));
                assert!(is_refused(&mistyped), "mistyped {pointer}/{key}: {mistyped}");
                changed += 1;
            }
        }
    }
    changed
}

/// The places of all mappings in a value.
fn mappings(place: &str, value: &Value) -> Vec<String> {
    let inner = |(key, value): (String, &Value)| mappings(&format!("{place}/{key}"), value);
    match value {
        Value::Object(map) => {
            let inner = map.iter().flat_map(|(key, value)| inner((key.clone(), value)));
            std::iter::once(place.to_string()).chain(inner).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, value)| inner((index.to_string(), value))).collect()
        }
        _ => Vec::new(),
    }
}

/// More rows of upstream's tests than the shipped file has, in its form. If it fails, a team that writes down its own
/// cases in this form is told they are malformed.
#[test]
fn every_row_of_upstreams_tables_can_be_written_down() {
    let report = run(include_str!("knative-upstream.yaml"), "knative-upstream.yaml").expect("a vector file");
    assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(report.passed(), ROWS);
}

/// Inputs of the decider: a whole spec, with more behind it, and steps.
fn spec(more: &str, steps: &str) -> String {
    format!(
        "{{spec: {{panic_threshold: 2.0, max_scale_up_rate: 10, max_scale_down_rate: 10, stable_window_s: 60, \
         reachable: true, activation_scale: 0, scale_down_delay_s: 0, initial_ready: 1, target_value: 10, \
         total_value: 100, target_burst_capacity: 211{more}}}, steps: [{steps}]}}"
    )
}

pub(crate) fn only(glob: &str) -> Options {
    Options { only: vec![glob.to_string()] }
}

/// A file of (id, kernel, inputs, expect); the first vector is in line 3.
pub(crate) fn vectors(list: &[(&str, &str, &str, &str)]) -> String {
    let mut file = String::from("schema: 1\nvectors:\n");
    for (id, kernel, inputs, expect) in list {
        file.push_str(&format!(
            "- id: {id}\n  kernel: {kernel}\n  source: {{repo: r, commit: c, file: f, test: t}}\n  \
             inputs: {inputs}\n  expect: {expect}\n"
        ));
    }
    file
}
