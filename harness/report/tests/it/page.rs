//! The HTML page and the picture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use windtunnel_report::{Input, html, svg};

use crate::flight::{self, Run};
use crate::markup::{shape, without_script};

/// Bytes of a page for a normal run.
const MOST_BYTES: usize = 300_000;

fn input(run: &Run) -> Input<'_> {
    Input {
        scenario: &run.scenario,
        result: &run.result,
        simulated: Some(&run.simulated),
        live: Some(&run.live),
        whole: None,
        counted: None,
    }
}

/// Without it a stray tag swallows half of the page in one browser and not in another.
#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    let run = flight::failed();
    let page = html(&input(&run));
    let shape = shape(&without_script(&page));
    for link in &shape.links {
        assert!(link.starts_with('#') || link.starts_with("data:"), "{link} would leave the page");
    }
    assert_eq!(shape.scripts, 1);
    for name in &shape.names {
        let attribute = name.split(' ').nth(1).unwrap_or("");
        assert!(
            attribute != "style" && !attribute.starts_with("on"),
            "{name} is forbidden by the page's policy"
        );
    }
}

/// Without it the browser refuses the page's own style and script.
#[test]
fn the_policy_names_what_is_on_the_page() {
    let run = flight::passed();
    let page = html(&input(&run));
    let mut found = 0;
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
        for part in page.split(open).skip(1) {
            let content = part.split(close).next().expect("closed");
            let hash = STANDARD.encode(Sha256::digest(content.as_bytes()));
            assert!(page.contains(&format!("&#39;sha256-{hash}&#39;")), "{open} is not in the policy");
            found += 1;
        }
    }
    assert_eq!(found, 3);
}

/// Without it a reader without scripts, or with a screen reader, sees no verdict and no charts.
#[test]
fn verdict_and_charts_need_no_script() {
    let run = flight::failed();
    let page = html(&input(&run));
    let body = page.split("<body>").nth(1).expect("a body");
    let charts = body.find("<svg").expect("charts");
    assert!(body.find("FAIL").expect("the verdict") < charts);
    assert!(body.matches("role=\"img\" aria-label=\"Timeline of quickstart").count() == 2);
    assert!(body.contains("p99&lt;300ms"), "the limit is in the chart");
}

/// Without it the words that people read change unseen. Charts and numbers behind them have tests of their own.
#[test]
fn the_text_of_a_failed_run() {
    let run = flight::failed();
    let page = html(&input(&run));
    insta::assert_snapshot!(shape(&without_script(&page)).text.join("\n"));
}

/// Without it the drawing of a chart changes unseen.
#[test]
fn the_picture_of_a_small_run() {
    let mut run = flight::passed();
    for recording in [&mut run.live, &mut run.simulated] {
        recording.meta.duration_ns = 4_000_000_000;
        let early = |t_ns: u64| t_ns <= 4_000_000_000;
        recording.requests.retain(|request| early(request.done_ns()));
        recording.decisions.retain(|decision| early(decision.t_ns));
        recording.events.retain(|event| early(event.t_ns));
        recording.series.values_mut().for_each(|points| points.retain(|point| early(point.t_ns)));
        recording.series.retain(|_, points| !points.is_empty());
        recording.revisions.truncate(1);
    }
    let picture = svg(&input(&run)).expect("a picture");
    shape(&picture);
    let drawn = picture.split("</style>").nth(1).expect("a style");
    insta::assert_snapshot!(drawn.replace("/>", "/>\n").replace("</text>", "</text>\n"));
}

/// Without it two runs of one seed look different in a diff.
#[test]
fn the_same_run_gives_the_same_bytes() {
    let (one, other) = (flight::failed(), flight::failed());
    assert_eq!(html(&input(&one)), html(&input(&other)));
    assert_eq!(svg(&input(&one)), svg(&input(&other)));
}

/// Without it a report cannot be mailed, and a browser stalls on it.
#[test]
fn pages_stay_small() {
    let run = flight::failed();
    assert!(html(&input(&run)).len() < MOST_BYTES / 2);

    let mut large = flight::failed();
    let whole = flight::stretched(&large.simulated, 1152);
    for recording in [&mut large.live, &mut large.simulated] {
        *recording = flight::stretched(recording, 48);
        for copy in 0..100 {
            let mut decision = recording.decisions[copy % 5].clone();
            decision.explanation = serde_json::json!({"bytes": "x".repeat(2_000)});
            recording.decisions.push(decision);
            recording.events.push(recording.events[copy % 5].clone());
            recording.cold_starts.push(recording.cold_starts[copy % 4].clone());
        }
    }
    for _ in 0..13 {
        large.result.gates.extend(flight::gates(true));
    }
    let page = html(&Input { whole: Some(&whole), ..input(&large) });
    assert!(page.len() < MOST_BYTES, "{} bytes for 98 gates and a day of load", page.len());
    shape(&without_script(&page));
}

/// Without it a run that recorded nothing crashes the report, or looks like a pass.
#[test]
fn a_run_without_anything_is_inconclusive() {
    let mut run = flight::passed();
    run.result = flight::result(&run.scenario, Vec::new(), None);
    let empty = windtunnel_record::Recording::new(windtunnel_record::Meta::new(
        "quickstart",
        windtunnel_record::Source::Live,
        42,
        0,
    ));
    for live in [None, Some(&empty)] {
        let input = Input { live, simulated: None, ..input(&run) };
        let page = html(&input);
        shape(&without_script(&page));
        assert!(page.contains("INCONCLUSIVE"));
        assert_eq!(svg(&input).is_some(), live.is_some());
    }
}
