//! Reports of conformance suites: JUnit for CI systems, Markdown for job summaries, a line a case for people.
//!
//! In JUnit a suite is a group of the catalogue. A case whose needs the cluster lacks is `skipped` there with that as
//! its reason, because the format has no other word.

use std::fmt::Write as _;

use windtunnel_conformance::runner::{CaseResult, SuiteResult, Verdict};

use crate::markup::{Attribute, Markup, plain};

/// The JUnit document of a run.
pub fn junit(result: &SuiteResult) -> String {
    let counts = result.counts();
    let total = result.cases.len();
    let out = counts.skipped + counts.unsupported;
    let mut document = Markup::new();
    document.verbatim("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    document.element(
        "testsuites",
        &[
            ("name", &"windtunnel conform"),
            ("tests", &total),
            ("failures", &counts.failed),
            ("errors", &0),
            ("skipped", &out),
            ("time", &format!("{:.3}", result.took_s)),
        ],
        |suites| {
            suites.line();
            for group in groups(result) {
                suite(suites, result, &group);
            }
        },
    );
    document.line();
    document.into_string()
}

fn groups(result: &SuiteResult) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for case in &result.cases {
        if !groups.iter().any(|group| group == case.group()) {
            groups.push(case.group().to_owned());
        }
    }
    groups
}

fn suite(out: &mut Markup, result: &SuiteResult, group: &str) {
    let cases: Vec<&CaseResult> = result.cases.iter().filter(|case| case.group() == group).collect();
    let of = |wanted: &[Verdict]| cases.iter().filter(|case| wanted.contains(&case.verdict)).count();
    let seconds: f64 = cases.iter().map(|case| case.took_ms / 1e3).sum();
    out.element(
        "testsuite",
        &[
            ("name", &group),
            ("tests", &cases.len()),
            ("failures", &of(&[Verdict::Failed])),
            ("errors", &0),
            ("skipped", &of(&[Verdict::Skipped, Verdict::Unsupported])),
            ("time", &format!("{seconds:.3}")),
            ("timestamp", &result.date.trim_end_matches('Z')),
        ],
        |suite| {
            suite.line();
            suite.element("properties", &[], |properties| {
                for (name, value) in [
                    ("profile", result.profile.to_string()),
                    ("cluster", result.cluster.clone()),
                    ("kubernetes", result.kubernetes.clone()),
                ] {
                    properties.empty("property", &[("name", &name), ("value", &value)]);
                }
            });
            suite.line();
            for case in &cases {
                testcase(suite, case);
            }
        },
    );
    out.line();
}

fn testcase(out: &mut Markup, case: &CaseResult) {
    let name = format!("{} {}", case.id, case.title);
    let classname = format!("conformance.{}", case.group());
    let time = format!("{:.3}", case.took_ms / 1e3);
    let (file, line) = case.position.rsplit_once(':').unwrap_or((&case.position, "1"));
    let attributes: [Attribute<'_>; 5] =
        [("name", &name), ("classname", &classname), ("time", &time), ("file", &file), ("line", &line)];
    out.element("testcase", &attributes, |element| match case.verdict {
        Verdict::Passed => {}
        Verdict::Failed => {
            let message = case.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
            let details = details(case).join("\n");
            element.leaf("failure", &[("type", &"conformance"), ("message", &message)], &details);
            if !case.captured.is_empty() {
                element.leaf("system-out", &[], case.captured.join("\n"));
            }
        }
        Verdict::Skipped | Verdict::Unsupported => {
            let word = if case.verdict == Verdict::Skipped { "" } else { "unsupported: " };
            let message = format!("{word}{}", case.reason.as_deref().unwrap_or_default());
            element.empty("skipped", &[("message", &message)]);
        }
    });
    out.line();
}

/// Why a case failed, a line each: the step, then what was expected and seen by path, then how to run it again.
pub fn details(case: &CaseResult) -> Vec<String> {
    let Some(failure) = &case.failure else { return Vec::new() };
    let mut lines = vec![format!("{}: {}", failure.position, failure.message)];
    for mismatch in &failure.mismatches {
        let path = if mismatch.path.is_empty() { "(the whole)" } else { &mismatch.path };
        lines.push(format!("  {path}"));
        lines.push(format!("    expected {}", mismatch.expected));
        lines.push(format!("    seen     {}", mismatch.seen));
    }
    lines.push(format!("  again: windtunnel conform --include {}", case.id));
    lines
}

/// The Markdown of a run, for job summaries.
pub fn markdown(result: &SuiteResult) -> String {
    let counts = result.counts();
    let mut out = String::new();
    let verdict = if counts.failed > 0 {
        "FAIL"
    } else if counts.passed == 0 {
        "INCONCLUSIVE"
    } else {
        "PASS"
    };
    let _ = writeln!(out, "### {verdict}: conformance to {} on {}\n", result.profile, cell(&result.cluster));
    let _ = writeln!(
        out,
        "{} passed, {} failed, {} skipped, {} unsupported in {:.1} s (Kubernetes {}).\n",
        counts.passed,
        counts.failed,
        counts.skipped,
        counts.unsupported,
        result.took_s,
        cell(&result.kubernetes)
    );
    out.push_str(
        "| Group | Passed | Failed | Skipped | Unsupported | Time to consistency p50 / p95 / max |\n",
    );
    out.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
    let times = result.consistency_by_group();
    for group in groups(result) {
        let of = |verdict: Verdict| {
            result.cases.iter().filter(|case| case.group() == group && case.verdict == verdict).count()
        };
        let time = times.get(&group).map_or_else(
            || "–".to_owned(),
            |time| format!("{:.0} / {:.0} / {:.0} ms", time.p50_ms, time.p95_ms, time.max_ms),
        );
        let _ = writeln!(
            out,
            "| {group} | {} | {} | {} | {} | {time} |",
            of(Verdict::Passed),
            of(Verdict::Failed),
            of(Verdict::Skipped),
            of(Verdict::Unsupported)
        );
    }
    let failed: Vec<&CaseResult> =
        result.cases.iter().filter(|case| case.verdict == Verdict::Failed).collect();
    if !failed.is_empty() {
        out.push_str("\n**Why**\n\n");
        for case in failed {
            if out.len() > crate::SUMMARY_BYTES {
                out.push_str("\nand more in the report.\n");
                break;
            }
            let _ = writeln!(out, "- **{}** {}\n", case.id, cell(&case.title));
            out.push_str("  ```text\n");
            for line in details(case) {
                let _ = writeln!(out, "  {}", plain(&line).replace("```", "'''"));
            }
            out.push_str("  ```\n");
        }
    }
    let lacking: Vec<&CaseResult> =
        result.cases.iter().filter(|case| case.verdict == Verdict::Unsupported).collect();
    if !lacking.is_empty() {
        out.push_str("\n**What the cluster lacks**\n\n");
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for case in lacking {
            let reason = case.reason.as_deref().unwrap_or_default();
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, ids)) => ids.push(&case.id),
                None => reasons.push((reason, vec![&case.id])),
            }
        }
        for (reason, ids) in reasons {
            let _ = writeln!(out, "- {}: {}", cell(reason), ids.join(", "));
        }
    }
    out
}

/// A text that ends neither a cell nor the line.
fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|").replace('<', "&lt;")
}

/// One line a case, in the words that Go's test runner made known.
pub fn line(case: &CaseResult) -> String {
    let word = match case.verdict {
        Verdict::Passed => "PASS",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "SKIP",
        Verdict::Unsupported => "NONE",
    };
    let reason = case.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    plain(&format!("--- {word}: {} ({:.2}s) {}{reason}", case.id, case.took_ms / 1e3, case.title))
}
