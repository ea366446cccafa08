//! Cold starts with their phases: numbers in columns, and a bar that shows where the time went.

use windtunnel_record::ColdStart;

use crate::Input;
use crate::chart::bins::View;
use crate::chart::panel::Tone;
use crate::chart::path;
use crate::figures;
use crate::markup::Markup;

/// Rows of one recording, at most.
const MOST_ROWS: usize = 25;
/// Columns of phases, at most; the bar has all of them.
const MOST_PHASES: usize = 12;
/// Width of the bars, pixels.
const BAR: f64 = 220.0;

/// The section.
pub(crate) fn section(out: &mut Markup, input: &Input<'_>) {
    let sources: Vec<(&str, View<'_>)> = [
        ("live", input.live.map(View::from)),
        ("simulated", input.simulated.map(View::from)),
        ("simulated, whole load", input.whole.map(View::from)),
        ("simulated, counted", input.counted.map(View::from)),
    ]
    .into_iter()
    .filter_map(|(name, view)| Some((name, view?)))
    .collect();
    out.element("section", &[("id", &"cold-starts"), ("aria-labelledby", &"cold-starts-title")], |section| {
        section.leaf("h2", &[("id", &"cold-starts-title")], "Cold starts");
        if sources.iter().all(|(_, view)| view.starts().1 == 0) {
            section.leaf("p", &[], "No pod was started while the load ran.");
            return;
        }
        section.leaf(
            "p",
            &[("class", &"soft")],
            "Each pod that was started, and what its start consisted of. From zero means that a request waited for it.",
        );
        section.element(
            "div",
            &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &"Cold starts")],
            |region| region.element("table", &[], |table| rows(table, &sources)),
        );
    });
    out.line();
}

fn rows(table: &mut Markup, sources: &[(&str, View<'_>)]) {
    let shown = || {
        sources
            .iter()
            .flat_map(|(name, view)| view.starts().0.iter().take(MOST_ROWS).map(move |start| (*name, start)))
    };
    let mut phases: Vec<&str> = Vec::new();
    for (_, start) in shown() {
        for (phase, _) in &start.phases {
            if !phases.contains(&phase.as_str()) && phases.len() < MOST_PHASES {
                phases.push(phase);
            }
        }
    }
    let longest = shown().map(|(_, start)| total_ns(start)).max().unwrap_or(0).max(1);

    table.element("thead", &[], |head| {
        head.element("tr", &[], |row| {
            for name in ["At", "Source", "Pod", "From zero"] {
                row.leaf("th", &[("scope", &"col")], name);
            }
            for (index, phase) in phases.iter().enumerate() {
                row.element("th", &[("scope", &"col"), ("class", &"num")], |cell| {
                    let class = format!("phase {}", Tone::Hue(index).class());
                    cell.element(
                        "svg",
                        &[("class", &class), ("viewBox", &"0 0 10 10"), ("aria-hidden", &"true")],
                        |s| {
                            s.empty("rect", &[("width", &"10"), ("height", &"10")]);
                        },
                    );
                    cell.text(phase);
                });
            }
            row.leaf("th", &[("scope", &"col"), ("class", &"num")], "Total");
            row.leaf("th", &[("scope", &"col")], "Share of the phases");
        });
    });
    table.element("tbody", &[], |body| {
        for (source, start) in shown() {
            row(body, source, start, &phases, longest);
        }
    });
    let hidden: u64 = sources.iter().map(|(_, view)| view.starts().1.saturating_sub(MOST_ROWS as u64)).sum();
    if hidden > 0 {
        table.element("tfoot", &[], |foot| {
            foot.element("tr", &[], |row| {
                let columns = (phases.len() + 6).to_string();
                let more = figures::plural(hidden, "more cold start");
                row.leaf("td", &[("colspan", &columns)], format!("{more} in the recordings"));
            });
        });
    }
}

fn row(body: &mut Markup, source: &str, start: &ColdStart, phases: &[&str], longest: u64) {
    body.element("tr", &[], |row| {
        row.leaf("td", &[("class", &"num")], figures::instant(start.t_ns));
        row.leaf("td", &[], source);
        row.element("td", &[("class", &"pod")], |cell| {
            cell.leaf("code", &[], if start.pod.is_empty() { &start.revision } else { &start.pod })
        });
        row.leaf("td", &[], if start.activated { "yes" } else { "no" });
        for phase in phases {
            let length: Option<u64> = start
                .phases
                .iter()
                .filter(|(name, _)| name == phase)
                .map(|(_, ns)| *ns)
                .reduce(u64::saturating_add);
            let text = length.map(|ns| figures::duration(ns as f64)).unwrap_or_default();
            row.leaf("td", &[("class", &"num")], text);
        }
        row.leaf("td", &[("class", &"num")], figures::duration(total_ns(start) as f64));
        row.element("td", &[], |cell| bar(cell, start, phases, longest));
    });
    body.line();
}

fn bar(out: &mut Markup, start: &ColdStart, phases: &[&str], longest: u64) {
    let described: Vec<String> =
        start.phases.iter().map(|(name, ns)| format!("{name} {}", figures::duration(*ns as f64))).collect();
    let described = described.join(", ");
    let view_box = format!("0 0 {BAR} 14");
    let attributes: [crate::markup::Attribute<'_>; 4] =
        [("class", &"phases"), ("viewBox", &view_box), ("role", &"img"), ("aria-label", &described)];
    out.element("svg", &attributes, |svg| {
        let mut x = 0.0;
        for (name, ns) in &start.phases {
            let width = BAR * *ns as f64 / longest as f64;
            let hue = phases.iter().position(|phase| phase == name).unwrap_or(MOST_PHASES);
            svg.empty(
                "rect",
                &[
                    ("class", &Tone::Hue(hue).class()),
                    ("x", &path::pixel(x)),
                    ("y", &"2"),
                    // A hair of paper between phases, so that they are told apart without colour.
                    ("width", &path::pixel((width - 1.0).max(0.5))),
                    ("height", &"10"),
                ],
            );
            x += width;
        }
    });
}

fn total_ns(start: &ColdStart) -> u64 {
    start.phases.iter().map(|(_, ns)| *ns).fold(0, u64::saturating_add)
}
