//! Simulated against live: how far the model can be believed.

use windtunnel_record::compare::{Comparison, Pair};
use windtunnel_record::result::RunResult;

use crate::figures;
use crate::markup::Markup;

/// The section; nothing when there was no comparison.
pub(crate) fn section(out: &mut Markup, result: &RunResult) {
    let Some(comparison) = &result.comparison else { return };
    out.element("section", &[("id", &"comparison"), ("aria-labelledby", &"comparison-title")], |section| {
        section.leaf("h2", &[("id", &"comparison-title")], "Simulated and live");
        section.element("div", &[("class", &"figure")], |figure| {
            figure.leaf("b", &[], percent(comparison.replicas_within_one_percent));
            figure.leaf(
                "span",
                &[("class", &"soft")],
                "of the seconds, the simulated and the live number of ready replicas differ by at most 1, all \
                 revisions together.",
            );
        });
        section.element(
            "div",
            &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &"Figures of both")],
            |region| region.element("table", &[], |table| figures_of_both(table, comparison)),
        );
        section.leaf("h3", &[], "Replicas");
        section.element(
            "div",
            &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &"Replicas of both")],
            |region| region.element("table", &[], |table| replicas(table, comparison)),
        );
    });
    out.line();
}

/// The comparison as pairs of words, for terminals and Markdown.
pub(crate) fn lines(comparison: &Comparison) -> Vec<(String, String)> {
    let mut lines = vec![(
        "replicas within 1".to_owned(),
        format!("{} of the seconds", percent(comparison.replicas_within_one_percent)),
    )];
    for row in rows(comparison) {
        lines.push((row.name.to_lowercase(), format!("simulated {}, live {}", row.simulated, row.live)));
    }
    lines
}

struct Row {
    name: &'static str,
    simulated: String,
    live: String,
    difference: String,
}

fn rows(comparison: &Comparison) -> Vec<Row> {
    let latency = [
        ("Latency p50", comparison.latency.p50),
        ("Latency p95", comparison.latency.p95),
        ("Latency p99", comparison.latency.p99),
    ];
    let mut rows: Vec<Row> = latency
        .into_iter()
        .map(|(name, pair)| Row {
            name,
            simulated: latency_text(pair.simulated),
            live: latency_text(pair.live),
            difference: relative(pair.simulated.map(|ns| ns as f64), pair.live.map(|ns| ns as f64)),
        })
        .collect();
    let Pair { simulated, live } = comparison.throughput_per_s;
    rows.push(Row {
        name: "Served",
        simulated: format!("{}/s", figures::significant(simulated)),
        live: format!("{}/s", figures::significant(live)),
        difference: relative(Some(simulated), Some(live)),
    });
    for (name, pair) in [
        ("Requests", comparison.requests),
        ("Failed requests", comparison.errors),
        ("Starts from zero", comparison.cold_starts),
    ] {
        rows.push(Row {
            name,
            simulated: figures::count(pair.simulated),
            live: figures::count(pair.live),
            difference: difference(pair.simulated, pair.live),
        });
    }
    rows
}

fn figures_of_both(table: &mut Markup, comparison: &Comparison) {
    head(table, &[("", ""), ("num", "Simulated"), ("num", "Live"), ("num", "Simulated against live")]);
    table.element("tbody", &[], |body| {
        for pair in rows(comparison) {
            body.element("tr", &[], |row| {
                row.leaf("th", &[("scope", &"row")], pair.name);
                row.leaf("td", &[("class", &"num")], &pair.simulated);
                row.leaf("td", &[("class", &"num")], &pair.live);
                row.leaf("td", &[("class", &"num")], &pair.difference);
            });
        }
    });
}

fn replicas(table: &mut Markup, comparison: &Comparison) {
    head(table, &[("", "Revision"), ("num", "Seconds"), ("num", "Within 1"), ("", "Farthest apart")]);
    table.element("tbody", &[], |body| {
        for revision in &comparison.replicas {
            body.element("tr", &[], |row| {
                row.element("td", &[], |cell| cell.leaf("code", &[], &revision.revision));
                row.leaf("td", &[("class", &"num")], figures::count(revision.seconds));
                row.leaf("td", &[("class", &"num")], percent(revision.within_one_percent));
                let worst = &revision.worst;
                let farthest = if worst.simulated == worst.live {
                    "always equal".to_owned()
                } else {
                    format!(
                        "simulated {}, live {} at {}",
                        figures::significant(worst.simulated),
                        figures::significant(worst.live),
                        figures::instant(worst.t_s * 1_000_000_000)
                    )
                };
                row.leaf("td", &[], farthest);
            });
        }
    });
}

fn head(table: &mut Markup, columns: &[(&str, &str)]) {
    table.element("thead", &[], |head| {
        head.element("tr", &[], |row| {
            for (class, name) in columns {
                row.leaf("th", &[("scope", &"col"), ("class", class)], name);
            }
        });
    });
}

fn percent(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".to_owned();
    }
    // 99.97 % is not 100 %.
    let rounded = if value < 100.0 { (value * 10.0).floor() / 10.0 } else { value };
    format!("{rounded:.1} %")
}

fn latency_text(ns: Option<u64>) -> String {
    ns.map_or_else(|| "n/a".to_owned(), |ns| figures::duration(ns as f64))
}

fn relative(simulated: Option<f64>, live: Option<f64>) -> String {
    match (simulated, live) {
        (Some(simulated), Some(live)) if live > 0.0 => format!("{:+.1} %", (simulated / live - 1.0) * 100.0),
        _ => "n/a".to_owned(),
    }
}

fn difference(simulated: u64, live: u64) -> String {
    if simulated == live {
        "equal".to_owned()
    } else if simulated > live {
        format!("+{}", figures::count(simulated - live))
    } else {
        format!("-{}", figures::count(live - simulated))
    }
}
