//! JUnit, Markdown and the terminal's table.

use windtunnel_record::judge::Verdict;
use windtunnel_report::{junit, junit_of, markdown, markdown_of, table};

use crate::flight;
use crate::markup::shape;

/// Without it CI systems show other cases, or none.
#[test]
fn junit_of_a_failed_run() {
    let document = junit(&flight::failed().result);
    shape(&document);
    insta::assert_snapshot!(document);
}

/// Without it a run that judged nothing is green in CI.
#[test]
fn junit_without_gates_has_an_error() {
    let scenario = flight::scenario("empty");
    let document = junit(&flight::result(&scenario, Vec::new(), None));
    shape(&document);
    assert!(document.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{document}");
    assert!(document.contains("<error type=\"inconclusive\""));
}

/// Without it the totals of several scenarios disagree with their suites.
#[test]
fn junit_adds_up_over_scenarios() {
    let (failed, passed) = (flight::failed(), flight::passed());
    let document = junit_of(&[&failed.result, &passed.result]);
    shape(&document);
    assert!(
        document.contains(
            "<testsuites name=\"windtunnel\" tests=\"14\" failures=\"1\" errors=\"1\" skipped=\"2\" time=\"157.220\">"
        ),
        "{document}"
    );
}

/// Without it the job summary changes unseen.
#[test]
fn markdown_of_a_failed_run() {
    insta::assert_snapshot!(markdown(&flight::failed().result));
}

/// Without it GitHub drops the whole summary of a run with very many failures.
#[test]
fn markdown_keeps_to_its_limit() {
    let mut run = flight::failed();
    let gates = std::mem::take(&mut run.result.gates);
    run.result.gates = gates.iter().cycle().take(20_000).cloned().collect();
    let text = markdown(&run.result);
    assert!(text.len() <= windtunnel_report::SUMMARY_BYTES, "{}", text.len());
    assert!(text.contains("in the report."), "it says that something was left out");
    assert!(text.contains("Reproduce:"));
    let results = vec![&run.result; 50];
    let text = markdown_of(&results, 60_000);
    assert!(text.len() <= 60_000, "{}", text.len());
    assert!(text.contains("more scenarios in the report."));
}

/// Without it columns are out of line, or colours get into a log file.
#[test]
fn the_table_of_a_failed_run() {
    let result = flight::failed().result;
    let plain = table(&result, false);
    assert!(!plain.contains('\u{1b}'));
    insta::assert_snapshot!(plain);
}

/// Without it the table says less without colours than with them.
#[test]
fn colour_adds_nothing_but_colour() {
    let result = flight::failed().result;
    let mut stripped = table(&result, true);
    for code in ["1;31", "1;32", "1;33", "1;2", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, table(&result, false));
}

/// Without it a verdict that the gates do not explain has no reason anywhere.
#[test]
fn reasons_stand_in_for_missing_gates() {
    let scenario = flight::scenario("unreachable");
    let mut result = flight::result(&scenario, Vec::new(), None);
    result.verdict = Verdict::Fail;
    result.reasons = vec!["The cluster went away after 3 s.".to_owned()];
    for text in [table(&result, false), markdown(&result), junit(&result)] {
        assert!(text.contains("The cluster went away after 3 s."), "{text}");
    }
}
