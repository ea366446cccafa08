//! The figures of a run: did it keep up, latency, errors, cold starts, cost, both futures, charts of counted runs.

use windtunnel_record::futures::compare_recordings;
use windtunnel_record::replications::intervals;
use windtunnel_record::summary::Summary;
use windtunnel_record::{Digest, Recorder, Recording};
use windtunnel_report::{Input, html, junit, markdown, svg, table};

use crate::flight::{self, Run};
use crate::markup::{shape, without_script};

const SECOND: u64 = 1_000_000_000;

/// A run with everything that a simulation of nodes and prices records, described.
fn described() -> Run {
    let mut run = flight::failed();
    resources(&mut run.simulated);
    let summary = Summary::of_recording(&run.simulated);
    let figures = summary.figures();
    run.result.describe(summary);
    run.result.describe(Summary::of_recording(&run.live));
    let mut slower = figures.clone();
    slower.values_mut().for_each(|value| *value *= 1.1);
    run.result.intervals = intervals([&figures, &slower], 0.95);
    let mut changed = run.simulated.clone();
    for request in changed.requests.iter_mut().filter(|request| request.intended_ns > 30 * SECOND) {
        request.latency_ns /= 2;
    }
    run.result.futures = Some(compare_recordings(&run.simulated, &changed, 30 * SECOND, "maxReplicas=20"));
    run
}

/// An overload with a full node pool.
fn resources(recording: &mut Recording) {
    recording.series.retain(|key, _| key.name != "requests.in_flight");
    let revision = [("revision", "digits-predictor-00001")];
    for t_s in 0..=75_u64 {
        let t_ns = t_s * SECOND;
        recording.sample("requests.in_flight", &[], t_ns, (t_s * t_s) as f64);
        recording.sample("requests.queued", &revision, t_ns, (t_s * t_s) as f64 * 0.9);
        recording.sample("server.utilisation", &revision, t_ns, 0.97);
        recording.sample("nodes.ready", &[("pool", "gpu")], t_ns, 2.0);
        recording.sample("nodes.gpu_allocated", &[("pool", "gpu")], t_ns, 1.0);
        recording.sample("pods.pending", &[("reason", "gpu")], t_ns, 3.0);
        recording.sample("cost.per_hour", &[], t_ns, 2.5);
    }
}

fn input(run: &Run) -> Input<'_> {
    Input { simulated: Some(&run.simulated), live: Some(&run.live), ..Input::new(&run.scenario, &run.result) }
}

/// A reader would believe a latency that only says how long the run was.
#[test]
fn every_format_warns_of_an_overload_and_names_what_was_short() {
    let run = described();
    let page = shape(&without_script(&html(&input(&run)))).text.join("\n");
    let documents = [page, markdown(&run.result), table(&run.result, false), junit(&run.result)];
    for text in &documents {
        assert!(text.contains("OVERLOADED"), "{text}");
        assert!(text.contains("Up to 3 pods waited for a node with enough gpu"), "{text}");
        assert!(text.contains("The run is overloaded"), "{text}");
    }
    for text in &documents[..3] {
        for heading in [
            "Latency",
            "Errors by reason",
            "Cold starts by phase",
            "Cost",
            "Over replications",
            "Both futures",
        ] {
            assert!(text.contains(heading), "{heading} in {text}");
        }
        assert!(text.contains("p99.99") && text.contains("503 Service Unavailable"), "{text}");
    }
}

/// The words and numbers that people read would change unseen.
#[test]
fn the_terminal_of_a_described_run() {
    insta::assert_snapshot!(table(&described().result, false));
}

/// What a run used would not be in the picture, or an empty chart would be for what nobody recorded.
#[test]
fn what_was_recorded_has_a_chart() {
    let run = described();
    let picture = svg(&input(&run)).expect("a picture");
    shape(&picture);
    for title in ["Waiting", "Utilisation", "Nodes", "Given away", "Pods without a node", "Cost"] {
        assert!(picture.contains(&format!(">{title}</tspan>")), "{title}");
    }
    assert!(!picture.contains(">Storage</tspan>"), "nobody recorded it");
    let plain = flight::passed();
    assert!(!svg(&input(&plain)).expect("a picture").contains(">Nodes</tspan>"));
}

/// A run that was too long to keep would have no charts, or other ones.
#[test]
fn a_counted_run_has_the_charts_of_a_kept_one() {
    let run = described();
    let digest = Digest::of(&run.simulated);
    let kept = Input { simulated: Some(&run.simulated), ..Input::new(&run.scenario, &run.result) };
    let counted = Input { counted: Some(&digest), ..Input::new(&run.scenario, &run.result) };
    let titles = |picture: &str| -> Vec<String> {
        picture
            .split("class=\"title\">")
            .skip(1)
            .map(|rest| rest.split('<').next().unwrap_or("").to_owned())
            .collect()
    };
    let (kept, picture) = (svg(&kept).expect("a picture"), svg(&counted).expect("a picture"));
    shape(&picture);
    assert_eq!(titles(&kept), titles(&picture));
    // Latencies are within 0.2 %, which no tenth of a pixel shows; everything else is the same.
    let paths = |picture: &str| picture.matches("<path").count();
    assert_eq!(paths(&kept), paths(&picture));
    let page = html(&counted);
    shape(&without_script(&page));
    assert!(page.contains("simulated and counted"));
}

/// A long run's page could not be mailed.
#[test]
fn the_page_of_a_described_run_stays_small() {
    let run = described();
    assert!(html(&input(&run)).len() < 300_000, "{}", html(&input(&run)).len());
}
