//! What a user reads when a scenario is wrong: every fault at once, each with its place and a hint.

use crate::room::Room;

/// A user would fix a file one error at a time, running the program in between.
#[test]
fn all_faults_of_a_file_come_at_once() {
    let text = r#"apiVersion: windtunnel.dev/v1alpha2
kind: scenario
metadata: {name: My Scenario}
spec:
  durations: 75s
  seed: -1
  manifests: isvc.yaml
  storage: {models: nowhere}
  load:
    target: digits
    protocol: v3
    requests: request.jsonl
    timeout: 0s
    arrivals:
      process: poison
      phases:
        - {for: -5s, rate: 20/s}
        - {for: 5s, rate: 20/week, too: 100/s}
        - {for: 5, rate: 20}
        - []
  flight: {from: 60s, to: 20s, compress: 0.5}
  events:
    - at: twenty seconds
      name: 5
      patch: {kind: InferenceService, merge: {}}
  objectives:
    - p99 < 300msec
    - "error-rate<101%"
    - {rule: canary-share>10%, on: [simulated, dead]}
    - 12
  environment:
    knative: {config-autoscaler: {scale-to-zero-grace-period: [6s]}, config-autoscale: {}}
    network: {gatway: 300us}
    service-time: {distribution: lognormal, mean: 1ms}
    pod-start: {image_pull: 5s}
  retries: 3
  seed: 1
"#;
    insta::assert_snapshot!(Room::new().faults(text));
}

/// An impossible value would be found only when the run does something odd.
#[test]
fn impossible_values_are_refused() {
    let with_duration = |duration: &str, rest: &str| {
        format!(
            "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  \
             duration: {duration}\n  manifests: [isvc.yaml]\n{rest}"
        )
    };
    let load = "  load: {requests: requests.jsonl, arrivals: {phases: [{for: 10s, rate: 1/s}]}}\n";
    let arrivals = |inner: &str| format!("  load: {{requests: requests.jsonl, arrivals: {{{inner}}}}}\n");
    let cases = [
        ("zero duration", with_duration("0s", load)),
        ("negative duration", with_duration("-75s", load)),
        ("endless duration", with_duration("1000000d", load)),
        (
            "event after the end",
            with_duration(
                "10s",
                &format!(
                    "{load}  events:\n    - at: 10s\n      patch: {{kind: InferenceService, name: digits, merge: {{a: 1}}}}\n"
                ),
            ),
        ),
        (
            "event on a stranger",
            with_duration(
                "10s",
                &format!(
                    "{load}  events:\n    - at: 1s\n      patch: {{kind: InferenceService, name: digit, merge: {{a: 1}}}}\n    - at: 1s\n      patch: {{kind: ConfigMap, name: x, merge: {{a: 1, a: 2}}}}\n"
                ),
            ),
        ),
        (
            "window after the end",
            with_duration(
                "10s",
                &format!(
                    "{load}  objectives:\n    - {{rule: p99<1s, from: 11s}}\n    - {{rule: p99<1s, from: 5s, to: 5s}}\n    - {{rule: p99<1s, to: 1h, on: []}}\n"
                ),
            ),
        ),
        (
            "both phases and a trace",
            with_duration("10s", &arrivals("phases: [], trace: {file: arrivals.csv, format: timestamps}")),
        ),
        ("neither phases nor a trace", with_duration("10s", &arrivals("process: constant"))),
        ("empty phases", with_duration("10s", &arrivals("phases: []"))),
        ("silent phases", with_duration("10s", &arrivals("phases: [{for: 5s, rate: 0/s}]"))),
        (
            "phases too long",
            with_duration("10s", &arrivals("phases: [{for: 8s, rate: 1/s}, {for: 8s, rate: 1/s}]")),
        ),
        ("too many requests", with_duration("365d", &arrivals("phases: [{for: 365d, rate: 1000000/s}]"))),
        (
            "trace with a process",
            with_duration(
                "10s",
                &arrivals("process: poisson, trace: {file: arrivals.csv, format: timestamps}"),
            ),
        ),
        (
            "trace slice too long",
            with_duration(
                "10s",
                &arrivals("trace: {file: arrivals.csv, format: timestamps, from: 5s, to: 16s}"),
            ),
        ),
        (
            "trace slice empty",
            with_duration("10s", &arrivals("trace: {file: arrivals.csv, format: timestamps, from: 100s}")),
        ),
        ("trace missing", with_duration("10s", &arrivals("trace: {file: arival.csv, format: timestamp}"))),
        (
            "trace of another format",
            with_duration("10s", &arrivals("trace: {file: arrivals.csv, format: azure-llm-2023}")),
        ),
        (
            "cv of a constant",
            with_duration(
                "10s",
                &format!(
                    "{load}  environment: {{service-time: {{distribution: constant, mean: 1ms, cv: 1}}}}\n"
                ),
            ),
        ),
        (
            "huge cv",
            with_duration(
                "10s",
                &format!(
                    "{load}  environment: {{service-time: {{distribution: lognormal, mean: 0s, cv: .inf}}}}\n"
                ),
            ),
        ),
        (
            "autoscaler settings",
            with_duration(
                "10s",
                &format!(
                    "{load}  environment:\n    knative:\n      config-autoscaler: {{stable-window: 1s, max-scale-up-rate: 0, initial-scale: 0, stable_window: 60s}}\n"
                ),
            ),
        ),
        ("missing manifest", with_duration("10s", load).replace("isvc.yaml", "isvcs.yaml")),
        ("no manifest", with_duration("10s", load).replace("isvc.yaml", "")),
        (
            "variables stay as they are",
            with_duration("10s", load).replace("isvc.yaml", "\"${HOME}/isvc.yaml\""),
        ),
    ];
    let room = Room::new();
    let report: Vec<String> =
        cases.iter().map(|(name, text)| format!("# {name}\n{}\n", room.faults(text))).collect();
    insta::assert_snapshot!(report.join("\n"));
}

/// A user would get a stack trace, or a message without a place, for a slip of the keyboard.
#[test]
fn broken_yaml_is_one_fault_with_its_place() {
    let room = Room::new();
    let cases = [
        "spec: [1, 2",
        "spec: {a: 'b}",
        "a: 1\n b: 2\n",
        "a: *nowhere\n",
        "- a\n- b\n",
        "just a text",
        "",
        "a: 1\n---\nb: 2\n",
        "\tspec: 1",
        "[a, b]: c",
    ];
    let report: Vec<String> =
        cases.iter().map(|text| format!("# {text:?}\n{}\n", room.faults(text))).collect();
    insta::assert_snapshot!(report.join("\n"));
}

/// A load without a target would call the wrong service, or none.
#[test]
fn the_target_is_found_in_the_manifests() {
    let room = Room::new();
    let text = |load: &str| {
        format!(
            "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  duration: 10s\n  \
             manifests: [isvc.yaml]\n  load: {{{load}requests: requests.jsonl, arrivals: {{phases: [{{for: 1s, rate: 1/s}}]}}}}\n"
        )
    };
    assert_eq!(room.parse(&text("")).expect("one service").load().target, "digits");
    let mut report = vec![room.faults(&text("target: digit, "))];
    let one = "kind: InferenceService\nmetadata: {name: digits}\n";
    room.write("isvc.yaml", format!("{one}---\n{}", one.replace("digits", "iris")));
    assert_eq!(room.parse(&text("target: iris, ")).expect("two services").load().target, "iris");
    report.push(room.faults(&text("")));
    room.write("isvc.yaml", "kind: Service\nmetadata: {name: digits}\n");
    report.push(room.faults(&text("")));
    report.push(room.faults(&text("target: digits, ")));
    room.write("isvc.yaml", "kind: {Service\n");
    report.push(room.faults(&text("")));
    insta::assert_snapshot!(report.join("\n"));
}

/// The column of a fault inside a rule would be off by the quote, or by the indentation.
#[test]
fn a_fault_inside_a_rule_has_its_own_column() {
    let room = Room::new();
    let text = |rule: &str| {
        format!(
            "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  duration: 10s\n  \
             manifests: [isvc.yaml]\n  load: {{requests: requests.jsonl, arrivals: {{phases: [{{for: 1s, rate: 1/s}}]}}}}\n  \
             objectives:\n    - {rule}\n"
        )
    };
    for (rule, column) in [
        ("p99<300msec", 11),
        ("'p99<300msec'", 12),
        ("\"p99 < 300msec\"", 14),
        ("{rule: p99<300msec}", 18),
        // Folded over lines: the place of the whole rule is the best there is.
        ("\"p99\n        <300msec\"", 7),
    ] {
        let faults = room.parse(&text(rule)).expect_err(rule);
        assert_eq!((faults.len(), faults.0[0].line, faults.0[0].column), (1, 9, column), "{rule}: {faults}");
    }
}
