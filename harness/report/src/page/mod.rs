//! The page: one HTML file that needs no network, no fonts and, for verdicts and charts, no script.
//!
//! From top to bottom: verdict, gates, timeline, simulated against live, cold starts, the log of decisions and
//! events, how to reproduce. The page's policy (`Content-Security-Policy`) forbids everything but its own style
//! and script, by hash.

pub(crate) mod cold_starts;
pub(crate) mod comparison;
pub(crate) mod environment;
pub(crate) mod figures;
pub(crate) mod frame;
pub(crate) mod gates;
pub(crate) mod log;
pub(crate) mod timelines;

use crate::Input;
use crate::chart::bins::View;
use crate::figures as written;
use crate::markup::Markup;
use crate::tables;
use crate::words::{self, Counts};

/// The whole page.
pub(crate) fn page(input: &Input<'_>) -> String {
    let result = input.result;
    let title = format!("{}: {}", words::word(result.verdict), result.scenario);
    frame::document(&title, |body| {
        body.leaf("a", &[("class", &"skip"), ("href", &"#gates")], "Skip to the gates");
        verdict(body, input);
        body.element("main", &[], |main| {
            facts(main, input);
            gates::section(main, result);
            self::figures::sections(main, result);
            timelines::section(main, input);
            comparison::section(main, result);
            cold_starts::section(main, input);
            log::section(main, input);
            environment::section(main, input);
        });
        body.line();
        body.leaf(
            "footer",
            &[],
            format!(
                "Written by windtunnel {} from seed {}. This file is complete: it loads nothing.",
                env!("CARGO_PKG_VERSION"),
                result.seed
            ),
        );
    })
}

fn verdict(out: &mut Markup, input: &Input<'_>) {
    let result = input.result;
    let (sign, class) = words::sign(result.verdict);
    let classes = format!("verdict {class}");
    out.element("header", &[("class", &classes)], |header| {
        header.element("div", &[("class", &"bar")], |bar| {
            bar.element("span", &[("class", &"word")], |word| {
                word.leaf("span", &[("aria-hidden", &"true")], sign);
                word.text(" ");
                word.text(words::word(result.verdict));
            });
            bar.element("div", &[], |text| {
                text.leaf("h1", &[], &result.scenario);
                text.leaf("p", &[], words::sentence(result));
            });
        });
    });
    out.line();
    out.element("nav", &[("aria-label", &"Sections")], |nav| {
        nav.element("ul", &[], |list| {
            let mut link = |target: &'static str, text: &'static str| {
                list.element("li", &[], |item| item.leaf("a", &[("href", &target)], text));
            };
            link("#gates", "Gates");
            if tables::stability(result).is_some() {
                link("#stability", "Did it keep up");
            }
            for table in tables::of(result) {
                list.element("li", &[], |item| {
                    item.leaf("a", &[("href", &format!("#{}", table.id))], table.title);
                });
            }
            let mut link = |target: &'static str, text: &'static str| {
                list.element("li", &[], |item| item.leaf("a", &[("href", &target)], text));
            };
            link("#timeline", "Timeline");
            if result.comparison.is_some() {
                link("#comparison", "Simulated and live");
            }
            link("#cold-starts", "Cold starts");
            link("#log", "Decisions");
            link("#environment", "Reproduce");
        });
    });
    out.line();
}

/// One line of numbers under the verdict.
fn facts(out: &mut Markup, input: &Input<'_>) {
    out.element("div", &[("class", &"facts")], |facts| {
        let mut fact = |value: &str, what: &str| {
            facts.element("span", &[], |fact| {
                fact.leaf("b", &[], value);
                fact.text(" ");
                fact.text(what);
            });
        };
        fact(&Counts::of(&input.result.gates).text(), "");
        for (recording, what) in [
            (input.live.map(View::from), "requests live"),
            (input.simulated.map(View::from), "simulated"),
            (input.whole.map(View::from), "simulated as a whole"),
            (input.counted.map(View::from), "simulated and counted"),
        ] {
            if let Some(view) = recording {
                let length = written::duration(view.meta().duration_ns as f64);
                fact(&written::count(view.requests()), &format!("{what} in {length}"));
            }
        }
        fact(&input.result.seed.to_string(), "seed");
        let wall_s = words::wall_s(input.result);
        if wall_s > 0.0 {
            fact(&written::duration(wall_s * 1e9), "wall time");
        }
    });
    if !input.scenario.description.is_empty() {
        out.leaf("p", &[("class", &"soft")], &input.scenario.description);
    }
    out.line();
}
