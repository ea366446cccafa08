//! Results in the shape of the Gateway API's ConformanceReport: profiles with core and extended features.
//!
//! A core case (tag `must`) that was not run, for whatever reason, makes its profile partial. An extended case whose
//! feature the cluster lacks is listed under that feature and counts as nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::runner::{CaseResult, ConsistencyStatistics, SuiteResult, Verdict, is_core};

/// Who made what is tested. Every field is needed for a report that others can check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Implementation {
    /// Who makes it.
    pub organization: String,
    /// What it is called.
    pub project: String,
    /// Where it is found.
    pub url: String,
    /// A version that will not move.
    pub version: String,
    /// Whom to ask.
    pub contact: Vec<String>,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConformanceReport {
    api_version: &'static str,
    kind: &'static str,
    date: String,
    /// The rules: `kserve-v0.20` or `windtunnel`.
    spec_version: String,
    channel: &'static str,
    mode: &'static str,
    kubernetes_version: String,
    implementation: Implementation,
    /// One an area that is claimed.
    pub profiles: Vec<ProfileReport>,
    succeeded_provisional_tests: Vec<String>,
    /// Time from a write until what was expected of it held.
    consistency: BTreeMap<String, ConsistencyStatistics>,
}

/// One area.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileReport {
    /// Such as `KSERVE-STANDARD`.
    pub name: &'static str,
    /// What came of it in a sentence or two.
    pub summary: String,
    /// What everybody must do.
    pub core: Status,
    /// What may be done beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended: Option<Extended>,
}

/// How the cases of one half of a profile ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `success`, `partial` or `failure`.
    pub result: &'static str,
    /// How many ended how.
    pub statistics: Statistics,
    /// Ids of those that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
    /// Ids of those that were not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped_tests: Vec<String>,
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statistics {
    /// Everything was as expected.
    pub passed: usize,
    /// Something was not.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
}

/// The extended half.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extended {
    /// How its cases ended.
    #[serde(flatten)]
    pub status: Status,
    /// Features whose cases were run.
    pub supported_features: Vec<String>,
    /// Features that the cluster lacks.
    pub unsupported_features: Vec<String>,
}

/// Areas in the order of a report.
const PROFILES: [&str; 5] =
    ["KSERVE-ADMISSION", "KSERVE-STANDARD", "KSERVE-KNATIVE", "KSERVE-STORAGE", "KSERVE-GRAPH"];

/// The area of a case: by what it needs first, then by its group.
fn profile_of(case: &CaseResult) -> &'static str {
    match case.group() {
        "ADM" | "DEF" => PROFILES[0],
        _ if case.needs.iter().any(|need| need == "knative") => PROFILES[2],
        "MUT" | "LMC" | "CAB" => PROFILES[3],
        "IGC" | "IGR" => PROFILES[4],
        _ => PROFILES[1],
    }
}

/// The report of a run.
#[must_use]
pub fn conformance_report(result: &SuiteResult, implementation: Implementation) -> ConformanceReport {
    let mut consistency = result.consistency_by_group();
    if let Some(all) = result.consistency() {
        consistency.insert("all".to_owned(), all);
    }
    ConformanceReport {
        api_version: "conformance.windtunnel.dev/v1alpha1",
        kind: "ConformanceReport",
        date: result.date.clone(),
        spec_version: match result.profile {
            crate::case::Profile::Upstream020 => "kserve-v0.20".to_owned(),
            crate::case::Profile::Windtunnel => format!("windtunnel-v{}", env!("CARGO_PKG_VERSION")),
        },
        channel: "standard",
        mode: "default",
        kubernetes_version: result.kubernetes.clone(),
        implementation,
        profiles: PROFILES.iter().filter_map(|name| profile(name, result)).collect(),
        succeeded_provisional_tests: Vec::new(),
        consistency,
    }
}

fn profile(name: &'static str, result: &SuiteResult) -> Option<ProfileReport> {
    let cases: Vec<&CaseResult> = result.cases.iter().filter(|case| profile_of(case) == name).collect();
    if cases.is_empty() {
        return None;
    }
    let (core, extended): (Vec<&CaseResult>, Vec<&CaseResult>) =
        cases.into_iter().partition(|case| is_core(case));
    let core = status(&core, true);
    let extended = (!extended.is_empty()).then(|| {
        let features = |unsupported: bool| -> BTreeSet<String> {
            let cases = extended.iter().filter(|case| (case.verdict == Verdict::Unsupported) == unsupported);
            cases.flat_map(|case| case.needs.iter().cloned()).collect()
        };
        let supported = features(false);
        let unsupported = features(true)
            .into_iter()
            .filter(|need| !supported.contains(need) && !result.features.contains(need));
        Extended {
            status: status(&extended, false),
            unsupported_features: unsupported.collect(),
            supported_features: supported.into_iter().collect(),
        }
    });
    let mut summary = sentence("Core", &core);
    if let Some(extended) = &extended {
        summary = format!("{summary} {}", sentence("Extended", &extended.status));
    }
    Some(ProfileReport { name, summary, core, extended })
}

fn status(cases: &[&CaseResult], is_core: bool) -> Status {
    let ids = |wanted: &dyn Fn(Verdict) -> bool| -> Vec<String> {
        cases.iter().filter(|case| wanted(case.verdict)).map(|case| case.id.clone()).collect()
    };
    let failed_tests = ids(&|verdict| verdict == Verdict::Failed);
    let skipped_tests =
        ids(&|verdict| verdict == Verdict::Skipped || is_core && verdict == Verdict::Unsupported);
    let passed = ids(&|verdict| verdict == Verdict::Passed).len();
    let result = if !failed_tests.is_empty() {
        "failure"
    } else if !skipped_tests.is_empty() || passed == 0 {
        "partial"
    } else {
        "success"
    };
    let statistics = Statistics { passed, failed: failed_tests.len(), skipped: skipped_tests.len() };
    Status { result, statistics, failed_tests, skipped_tests }
}

fn sentence(half: &str, status: &Status) -> String {
    let Statistics { passed, failed, skipped } = status.statistics;
    let plural =
        |count: usize, what: &str| format!("{count} test {what}{}", if count == 1 { "" } else { "s" });
    match status.result {
        "failure" => format!("{half} tests failed with {}.", plural(failed, "failure")),
        "partial" if passed == 0 && skipped == 0 => format!("{half} tests were not run."),
        "partial" => format!("{half} tests partially succeeded with {}.", plural(skipped, "skip")),
        _ => format!("{half} tests succeeded."),
    }
}
