//! The ConformanceReport: what counts as success, partial and failure, by hand.

use serde_json::{Value, json};
use windtunnel_conformance::case;
use windtunnel_conformance::report::{Implementation, conformance_report};
use windtunnel_conformance::runner::{CaseResult, SuiteResult, Verdict};

const CASES: &str = r#"
apiVersion: windtunnel.dev/v1alpha1
kind: ConformanceCases
defaults: {tier: T0, tags: [must]}
cases:
- {id: RAW-1, title: a, steps: [{never: {kind: X}, for: 1s}]}
- {id: RAW-2, title: b, needs: [keda], steps: [{never: {kind: X}, for: 1s}]}
- {id: RAW-3, title: c, needs: [istio], tags: [windtunnel], steps: [{never: {kind: X}, for: 1s}]}
- {id: ADM-1, title: d, steps: [{never: {kind: X}, for: 1s}]}
- {id: CAN-1, title: e, needs: [knative], steps: [{never: {kind: X}, for: 1s}]}
"#;

fn report(verdicts: [Verdict; 5]) -> Value {
    let cases = case::read(CASES, std::path::Path::new("x.yaml")).expect("valid");
    let case = |(case, verdict): (&case::Case, Verdict)| CaseResult {
        id: case.id.clone(),
        title: case.title.clone(),
        position: case.position(),
        tier: case.tier,
        tags: case.tags.clone(),
        needs: case.needs.iter().map(ToString::to_string).collect(),
        verdict,
        reason: None,
        failure: None,
        steps: Vec::new(),
        captured: Vec::new(),
        took_ms: 0.0,
    };
    let result = SuiteResult {
        run: "abcd".to_owned(),
        date: "2026-11-23T09:45:00Z".to_owned(),
        profile: case::Profile::Upstream020,
        cluster: "x".to_owned(),
        kubernetes: "v1.36.0".to_owned(),
        features: vec!["keda".to_owned()],
        cases: cases.iter().zip(verdicts).map(case).collect(),
        interrupted: false,
        took_s: 1.0,
    };
    let one = || "x".to_owned();
    let implementation = Implementation {
        organization: one(),
        project: one(),
        url: one(),
        version: one(),
        contact: vec![one()],
    };
    serde_json::to_value(conformance_report(&result, implementation)).expect("JSON")
}

/// A report that calls a run a success in which core cases were left out misleads everybody who reads it.
#[test]
fn left_out_core_cases_make_a_profile_partial_and_missing_features_do_not() {
    use Verdict::{Failed, Passed, Skipped, Unsupported};
    let told = report([Passed, Unsupported, Unsupported, Passed, Failed]);
    assert_eq!((&told["kind"], &told["specVersion"]), (&json!("ConformanceReport"), &json!("kserve-v0.20")));
    let profile = |name: &str| {
        let profiles = told["profiles"].as_array().expect("profiles");
        profiles.iter().find(|profile| profile["name"] == name).cloned().expect(name)
    };
    let standard = profile("KSERVE-STANDARD");
    assert_eq!(standard["core"]["result"], "partial");
    assert_eq!(standard["core"]["statistics"], json!({"Passed": 1, "Failed": 0, "Skipped": 1}));
    assert_eq!(standard["core"]["skippedTests"], json!(["RAW-2"]));
    assert_eq!(standard["extended"]["unsupportedFeatures"], json!(["istio"]));
    assert_eq!(standard["extended"]["statistics"], json!({"Passed": 0, "Failed": 0, "Skipped": 0}));
    assert_eq!(
        standard["summary"],
        "Core tests partially succeeded with 1 test skip. Extended tests were not run."
    );
    assert_eq!(profile("KSERVE-ADMISSION")["core"]["result"], "success");
    assert_eq!(profile("KSERVE-KNATIVE")["core"]["result"], "failure");
    assert_eq!(profile("KSERVE-KNATIVE")["core"]["failedTests"], json!(["CAN-1"]));

    let told = report([Passed, Passed, Skipped, Passed, Passed]);
    let standard = told["profiles"].as_array().expect("profiles")[1].clone();
    assert_eq!(
        (&standard["core"]["result"], &standard["extended"]["result"]),
        (&json!("success"), &json!("partial"))
    );
}
