//! No text of a user can break out of a document.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use windtunnel_record::futures::compare_recordings;
use windtunnel_record::replications::Interval;
use windtunnel_record::summary::Summary;
use windtunnel_record::{Recorder, Revision, SeriesKey};
use windtunnel_report::{Input, html, junit, markdown, svg, table};

use crate::flight::{self, Run};
use crate::markup::{Shape, shape, without_script};

/// Puts `text` wherever a user, a manifest or a server can put text.
fn infected(text: &str) -> Run {
    let mut run = flight::failed();
    let own = || text.to_owned();
    run.scenario.name = own();
    run.scenario.description = own();
    run.scenario.path = own().into();
    run.scenario.loads[0].target = own();
    run.scenario.objectives[0].text = own();
    run.result.scenario = own();
    run.result.reasons = vec![own()];
    run.result.reproduce = own();
    run.result.versions.insert(own(), own());
    run.result.wall.insert(own(), 1.0);
    for gate in &mut run.result.gates {
        gate.objective = own();
        gate.metric = own();
        gate.observed_text = own();
        gate.limit_text = own();
        gate.reason = own();
        gate.position = Some(own());
    }
    for recording in [&mut run.live, &mut run.simulated] {
        recording.revisions[1] = Revision { name: own(), storage_uri: own(), created_ns: 0 };
        recording.series = std::mem::take(&mut recording.series)
            .into_iter()
            .map(|(key, points)| {
                let labels: BTreeMap<String, String> = key
                    .labels
                    .into_iter()
                    .map(|(name, value)| (name, if value.ends_with("00002") { own() } else { value }))
                    .collect();
                (SeriesKey { name: key.name, labels }, points)
            })
            .collect();
        for decision in &mut recording.decisions {
            decision.actor = own();
            decision.target = own();
            decision.text = own();
            decision.explanation = serde_json::json!({ text: { "value": text } });
        }
        for event in &mut recording.events {
            event.target = own();
            event.text = own();
        }
        for start in &mut recording.cold_starts {
            start.revision = own();
            start.pod = own();
            start.phases.push((own(), 1_000_000));
        }
        for request in &mut recording.requests {
            request.error = request.error.is_some().then(own);
        }
    }
    describe(&mut run, text);
    if let Some(comparison) = &mut run.result.comparison {
        comparison.replicas[1].revision = own();
    }
    run
}

/// Adds the figures of the run, with the text wherever they can hold one.
fn describe(run: &mut Run, text: &str) {
    let own = || text.to_owned();
    for t_s in 0..75_u64 {
        let t_ns = t_s * 1_000_000_000;
        run.simulated.sample("pods.pending", &[("reason", text)], t_ns, 2.0);
        run.simulated.sample("requests.queued", &[("revision", text)], t_ns, (t_s * t_s) as f64);
        run.simulated.sample("queue.depth", &[("queue", text)], t_ns, (t_s * t_s) as f64);
        run.simulated.sample("cost.per_hour", &[], t_ns, 1.5);
    }
    run.result.describe(Summary::of_recording(&run.simulated));
    run.result.describe(Summary::of_recording(&run.live));
    for row in &mut run.result.latency {
        row.name = own();
    }
    for row in &mut run.result.errors {
        row.cause.text = own();
    }
    for row in &mut run.result.cold_starts {
        row.phase = own();
    }
    if let Some(stability) = &mut run.result.stability {
        stability.sentence = own();
    }
    run.result.intervals.extend(Interval::of(&[1.0, 2.0], 0.95).map(|interval| (own(), interval)));
    run.result.futures = Some(compare_recordings(&run.simulated, &run.live, 0, text));
}

fn input(run: &Run) -> Input<'_> {
    Input {
        scenario: &run.scenario,
        result: &run.result,
        simulated: Some(&run.simulated),
        live: Some(&run.live),
        whole: Some(&run.simulated),
        counted: None,
    }
}

/// Elements and attributes of documents whose texts are harmless.
fn harmless() -> &'static (Shape, Shape, Shape) {
    static HARMLESS: OnceLock<(Shape, Shape, Shape)> = OnceLock::new();
    HARMLESS.get_or_init(|| shapes(&infected("name-00002")))
}

fn shapes(run: &Run) -> (Shape, Shape, Shape) {
    let input = input(run);
    (
        shape(&without_script(&html(&input))),
        shape(&svg(&input).expect("a picture")),
        shape(&junit(&run.result)),
    )
}

fn check(text: &str) {
    let run = infected(text);
    let (page, picture, document) = shapes(&run);
    let expected = harmless();
    for (found, expected) in [(&page, &expected.0), (&picture, &expected.1), (&document, &expected.2)] {
        let new: Vec<&String> = found.names.difference(&expected.names).collect();
        assert!(new.is_empty(), "{text:?} made {new:?}");
        assert_eq!(found.scripts, expected.scripts, "{text:?} made a script");
        assert_eq!(found.links, expected.links, "{text:?} made a link");
    }

    // Bars of the gates, of pairs of words, and of the tables of figures.
    let columns = [7, 3, 13, 6, 5, 8];
    for line in markdown(&run.result).lines() {
        let mut rest = line;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            let own = ["<code>", "</code>", "<details>", "<summary>", "</summary>", "</details>"];
            assert!(own.iter().any(|tag| rest.starts_with(tag)), "{text:?} made markup: {rest}");
            rest = &rest[1..];
        }
        if line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| |") {
            let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            assert!(columns.contains(&bars), "{text:?} changed the columns: {line}");
        }
    }

    let printed = table(&run.result, false);
    assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{text:?} reaches the terminal");
}

/// Without it the well-known attacks work.
#[test]
fn known_attacks_stay_text() {
    for text in [
        "<script>alert(1)</script>",
        "</script><script>alert(1)</script>",
        "</title></style></textarea><img src=x onerror=alert(1)>",
        "\" onmouseover=\"alert(1)",
        "' onfocus='alert(1)",
        "<!--",
        "]]>",
        "<![CDATA[x]]>",
        "&lt;script&gt;",
        "&#60;b&#62;",
        "a & b < c > d",
        "| a | b |\n| --- |",
        "`code` [link](javascript:alert(1)) ![image](http://example.com/x.png)",
        "https://example.com @everyone #1",
        "\u{1b}]0;title\u{7}\u{1b}[2J",
        "\u{202e}SSAP\u{202c}",
        "\0\u{b}\u{c}\u{fffe}\u{ffff}",
        "\\",
        "",
    ] {
        check(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Without it an attack that nobody listed works.
    #[test]
    fn no_text_breaks_out(text in prop_oneof![
        prop::collection::vec(
            prop::sample::select(vec![
                "<", ">", "&", "\"", "'", "/", "=", "script", "</", "-->", "<!--", "]]>", "|", "`", "\\", "\n", "\r",
                "\t", "\u{0}", "\u{1b}[", "\u{85}", "\u{2028}", "\u{202e}", "\u{ffff}", "{{", "${", " ", "x", "é", "💨",
            ]),
            0..12,
        ).prop_map(|parts| parts.concat()),
        any::<String>(),
    ]) {
        check(&text);
    }
}
