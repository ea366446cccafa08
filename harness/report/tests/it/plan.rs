//! The answer of a capacity plan.

use proptest::prelude::*;
use windtunnel_record::judge::Verdict;
use windtunnel_record::replications::Interval;
use windtunnel_report::plan::{self, PlanOption, PlanReport};

use crate::markup::{shape, without_script};

fn option(replicas: u32, cost: f64, p99: &[f64], verdict: Verdict) -> PlanOption {
    PlanOption {
        settings: vec![
            ("spec.predictor.maxReplicas".to_owned(), replicas.to_string()),
            ("spec.predictor.containerConcurrency".to_owned(), "10".to_owned()),
        ],
        cost_per_hour: Interval::of(&[cost, cost + 0.02, cost - 0.02], 0.95),
        p99_ms: Interval::of(p99, 0.95),
        verdict,
        reason: "p99<300ms: as it is.".to_owned(),
        figures: std::collections::BTreeMap::new(),
    }
}

fn report() -> PlanReport {
    let mut report = PlanReport::new(
        "quickstart",
        vec![
            option(1, 0.4, &[2_100.0, 2_400.0, 1_900.0], Verdict::Fail),
            option(2, 0.8, &[310.0, 280.0, 295.0], Verdict::Inconclusive),
            option(3, 1.2, &[150.0, 154.0, 149.0], Verdict::Pass),
            option(4, 1.6, &[152.0, 150.0, 155.0], Verdict::Pass),
            option(5, 2.0, &[90.0, 92.0, 91.0], Verdict::Pass),
        ],
    );
    report.limits_ms = vec![("p99<300ms".to_owned(), 300.0)];
    report.patch_yaml = Some("spec:\n  predictor:\n    maxReplicas: 3\n".to_owned());
    report.notes = vec!["A grid of 5 options with 3 replications each.".to_owned()];
    report.seed = 42;
    report.reproduce = "windtunnel plan scenarios/quickstart.yaml".to_owned();
    report
}

/// The user would buy more than is needed, or less.
#[test]
fn the_cheapest_passing_option_is_the_answer() {
    let report = report();
    assert_eq!((report.cheapest, report.verdict()), (Some(2), Verdict::Pass));
    assert!(
        report.answer.starts_with("maxReplicas = 3, containerConcurrency = 10 is the cheapest of 5 options")
    );
    // Four replicas cost more and are no faster.
    assert_eq!(report.pareto(), [0, 1, 2, 4]);
    let none = PlanReport::new("x", report.options[..2].to_vec());
    assert_eq!((none.cheapest, none.verdict()), (None, Verdict::Inconclusive));
    assert!(none.answer.contains("1 could not be decided"), "{}", none.answer);
    assert_eq!(PlanReport::new("x", report.options[..1].to_vec()).verdict(), Verdict::Fail);
    assert_eq!(PlanReport::new("x", Vec::new()).verdict(), Verdict::Inconclusive);
}

/// The words and numbers that people read would change unseen.
#[test]
fn the_table_of_a_plan() {
    let text = plan::table(&report(), false);
    assert!(!text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}

/// The job summary would change unseen.
#[test]
fn the_markdown_of_a_plan() {
    insta::assert_snapshot!(plan::markdown(&report()));
}

/// A program that reads the plan would break.
#[test]
fn the_json_of_a_plan_is_read_back() {
    let text = plan::json(&report()).expect("finite numbers");
    assert_eq!(serde_json::from_str::<PlanReport>(&text).expect("a plan"), report());
    for key in ["\"costPerHour\"", "\"p99Ms\"", "\"cheapest\": 2", "\"patchYaml\""] {
        assert!(text.contains(key), "{key}");
    }
}

/// The page would load something, break in a browser, or say by colour alone what passes.
#[test]
fn the_page_of_a_plan_is_complete() {
    let page = plan::html(&report());
    let shape = shape(&without_script(&page));
    assert!(shape.links.iter().all(|link| link.starts_with('#') || link.starts_with("data:")));
    assert!(shape.text.join("\n").contains("maxReplicas: 3"), "the patch");
    for mark in [">passes<", ">fails<", ">undecided<", "cheapest: maxReplicas = 3", "p99&lt;300ms"] {
        assert!(page.contains(mark), "{mark}");
    }
    assert!(page.len() < 60_000, "{} bytes", page.len());
}

/// The drawing would change unseen.
#[test]
fn the_picture_of_a_plan() {
    let picture = plan::svg(&report());
    shape(&picture);
    let drawn = picture.split("</style>").nth(1).expect("a style");
    insta::assert_snapshot!(drawn.replace("/>", "/>\n").replace("</text>", "</text>\n"));
}

/// Files would be missing, or a patch be written that there is not.
#[test]
fn all_files_of_a_plan_are_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = plan::write(dir.path(), &report()).expect("written");
    let patch = std::fs::read_to_string(written.patch.expect("a patch")).expect("readable");
    assert_eq!(patch, "spec:\n  predictor:\n    maxReplicas: 3\n");
    assert!(written.html.is_file() && written.json.is_file() && written.svg.is_file());
    let without = PlanReport { patch_yaml: None, ..report() };
    assert_eq!(plan::write(&dir.path().join("other"), &without).expect("written").patch, None);
}

/// A plan over thousands of options would make a page that no browser opens.
#[test]
fn large_plans_stay_small() {
    let options = (0..5_000_u32)
        .map(|n| {
            option(n, f64::from(n) / 100.0, &[f64::from(6_000 - n), f64::from(6_001 - n)], Verdict::Pass)
        })
        .collect();
    let report = PlanReport::new("large", options);
    assert!(plan::html(&report).len() < 900_000, "{}", plan::html(&report).len());
    assert!(plan::markdown(&report).len() < windtunnel_report::SUMMARY_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A setting's text, or figures that nobody measured, would break the page or the picture.
    #[test]
    fn any_plan_is_drawn(
        text in any::<String>(),
        points in proptest::collection::vec((any::<f64>(), any::<f64>(), 0_u8..3), 0..12),
    ) {
        let options = points
            .into_iter()
            .map(|(cost, p99, verdict)| PlanOption {
                settings: vec![(text.clone(), text.clone())],
                cost_per_hour: Interval::of(&[cost], 0.95),
                p99_ms: Interval::of(&[p99, p99 / 2.0], 0.95),
                verdict: [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive][usize::from(verdict)],
                reason: text.clone(),
                figures: std::collections::BTreeMap::new(),
            })
            .collect();
        let mut report = PlanReport::new(&text, options);
        report.patch_yaml = Some(text.clone());
        report.limits_ms = vec![(text.clone(), 300.0)];
        report.notes = vec![text.clone()];
        report.reproduce = text;
        shape(&plan::svg(&report));
        let page = plan::html(&report);
        let shape = shape(&without_script(&page));
        prop_assert_eq!(shape.scripts, 1);
        prop_assert!(shape.links.iter().all(|link| link.starts_with("data:")));
        prop_assert!(!plan::table(&report, false).chars().any(|c| c.is_control() && c != '\n'));
    }
}
