//! The figures of a run as tables: the same for the page, for Markdown and for the terminal.

use std::fmt::Write as _;

use windtunnel_record::Measure;
use windtunnel_record::futures::{FigureUnit, Futures};
use windtunnel_record::replications::Interval;
use windtunnel_record::result::RunResult;
use windtunnel_record::stability::Level;
use windtunnel_record::summary::{LatencyOf, LatencyRow, QUANTILES};

use crate::figures;
use crate::markup::{Markup, plain};
use crate::words;

/// Rows of one table, at most; the result file has all.
const MOST_ROWS: usize = 60;

/// A column: its name, and whether it holds numbers.
pub(crate) type Column = (&'static str, bool);

/// A table of words and numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// What it is called in links.
    pub(crate) id: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What to know before reading it.
    pub(crate) lead: String,
    /// Columns from left to right.
    pub(crate) columns: Vec<Column>,
    /// Rows from top to bottom, a text a column.
    pub(crate) rows: Vec<Vec<String>>,
    /// Said under it in any case: a warning.
    pub(crate) warning: Option<String>,
}

/// The tables of a result; those without rows are left out.
pub(crate) fn of(result: &RunResult) -> Vec<Table> {
    let tables =
        [latency(result), tokens(result), intervals(result), errors(result), phases(result), cost(result)];
    let mut tables: Vec<Table> = tables.into_iter().filter(|table| !table.rows.is_empty()).collect();
    tables.extend(result.futures.as_ref().map(futures));
    tables
}

/// How the run coped: a heading and sentences, or nothing.
pub(crate) fn stability(result: &RunResult) -> Option<(&'static str, Vec<String>)> {
    let stability = result.stability.as_ref()?;
    let word = match stability.level {
        Level::Stable => "STABLE",
        Level::Backlogged => "BACKLOGGED",
        Level::Overloaded => "OVERLOADED",
    };
    let mut sentences = vec![stability.sentence.clone()];
    sentences.extend(
        stability.bottleneck.as_ref().map(|bottleneck| format!("Bottleneck: {}", bottleneck.sentence)),
    );
    sentences.extend(stability.warning());
    Some((word, sentences))
}

fn ns(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |ns| figures::duration(ns as f64))
}

fn latency(result: &RunResult) -> Table {
    let mut columns: Vec<Column> =
        vec![("Source", false), ("Of", false), ("Answered", true), ("Failed", true), ("Mean", true)];
    columns.extend(QUANTILES.iter().map(|(_, name)| (*name, true)));
    columns.push(("Max", true));
    let of_latency = result.latency.iter().filter(|row| row.measure == Measure::Latency);
    let rows = of_latency.map(|row| {
        let mut cells = vec![
            words::source(row.source).to_owned(),
            row_name(row),
            figures::count(row.answered),
            figures::count(row.failed),
        ];
        cells.extend(times(row));
        cells
    });
    Table {
        id: "latency",
        title: "Latency",
        lead: "Of successful answers, from the moment at which each request was meant to be sent.".to_owned(),
        columns,
        rows: rows.collect(),
        warning: result.stability.as_ref().and_then(windtunnel_record::stability::Stability::warning),
    }
}

fn row_name(row: &LatencyRow) -> String {
    match row.of {
        LatencyOf::All => "all".to_owned(),
        LatencyOf::Service => format!("service {}", row.name),
        LatencyOf::Revision => row.name.clone(),
    }
}

/// Mean, quantiles, longest.
fn times(row: &LatencyRow) -> Vec<String> {
    let mut cells = vec![row.mean.map_or_else(|| "-".to_owned(), figures::duration)];
    cells.extend(row.quantiles().map(ns));
    cells.push(ns(row.max));
    cells
}

fn tokens(result: &RunResult) -> Table {
    let mut columns: Vec<Column> =
        vec![("Source", false), ("Time of", false), ("Of", false), ("Answers", true), ("Mean", true)];
    columns.extend(QUANTILES.iter().map(|(_, name)| (*name, true)));
    columns.push(("Max", true));
    let rows = result.latency.iter().filter_map(|row| {
        let what = match row.measure {
            Measure::Latency => return None,
            Measure::FirstToken => "first token",
            Measure::PerToken => "further token",
        };
        let mut cells = vec![
            words::source(row.source).to_owned(),
            what.to_owned(),
            row_name(row),
            figures::count(row.answered),
        ];
        cells.extend(times(row));
        Some(cells)
    });
    Table {
        id: "tokens",
        title: "Tokens",
        lead: "Of successful answers of language models: the first token from the moment at which the request was meant to \
               be sent (TTFT), and the mean of the further ones of each answer (TPOT)."
            .to_owned(),
        columns,
        rows: rows.collect(),
        warning: None,
    }
}

fn intervals(result: &RunResult) -> Table {
    let show = |name: &str, value: f64| match name {
        _ if ["latency.", "ttft.", "tpot."].iter().any(|what| name.starts_with(what)) => {
            figures::duration(value)
        }
        "error-rate" => format!("{} %", figures::significant(100.0 * value)),
        "throughput" => format!("{}/s", figures::significant(value)),
        _ => figures::significant(value),
    };
    let rows = result.intervals.iter().map(|(name, interval)| {
        vec![
            name.clone(),
            show(name, interval.mean),
            between(interval, |value| show(name, value)),
            relative_text(interval),
            interval.replications.to_string(),
        ]
    });
    Table {
        id: "intervals",
        title: "Over replications",
        lead: "Each figure's mean over runs with other seeds, with Student's confidence interval.".to_owned(),
        columns: vec![
            ("Figure", false),
            ("Mean", true),
            ("Interval", true),
            ("Half width", true),
            ("Replications", true),
        ],
        rows: rows.collect(),
        warning: None,
    }
}

/// `12.1 to 14.9 (95 %)`.
pub(crate) fn between(interval: &Interval, show: impl Fn(f64) -> String) -> String {
    if interval.confidence <= 0.0 {
        "one replication".to_owned()
    } else if interval.low == interval.high {
        "exact".to_owned()
    } else {
        let confidence = figures::significant(100.0 * interval.confidence);
        format!("{} to {} ({confidence} %)", show(interval.low), show(interval.high))
    }
}

fn relative_text(interval: &Interval) -> String {
    let share = interval.relative_half_width();
    if share.is_finite() { format!("{} %", figures::significant(100.0 * share)) } else { "-".to_owned() }
}

fn errors(result: &RunResult) -> Table {
    let rows = result.errors.iter().map(|row| {
        vec![
            words::source(row.source).to_owned(),
            row.cause.to_string(),
            figures::count(row.count),
            format!("{} %", figures::significant(100.0 * row.share)),
        ]
    });
    Table {
        id: "errors",
        title: "Errors by reason",
        lead: "Requests without a successful answer, and their share of all requests.".to_owned(),
        columns: vec![("Source", false), ("Reason", false), ("Requests", true), ("Share", true)],
        rows: rows.collect(),
        warning: None,
    }
}

fn phases(result: &RunResult) -> Table {
    let rows = result.cold_starts.iter().map(|row| {
        vec![
            words::source(row.source).to_owned(),
            row.phase.clone(),
            figures::count(row.count),
            figures::duration(row.mean),
            ns(Some(row.p50)),
            ns(Some(row.p95)),
            ns(Some(row.max)),
        ]
    });
    Table {
        id: "phases",
        title: "Cold starts by phase",
        lead: "What the starts of pods consisted of.".to_owned(),
        columns: vec![
            ("Source", false),
            ("Phase", false),
            ("Starts", true),
            ("Mean", true),
            ("p50", true),
            ("p95", true),
            ("Max", true),
        ],
        rows: rows.collect(),
        warning: None,
    }
}

fn cost(result: &RunResult) -> Table {
    let rows = result.cost.iter().map(|cost| {
        vec![
            words::source(cost.source).to_owned(),
            figures::significant(cost.total),
            figures::significant(cost.per_hour),
            figures::significant(cost.most_per_hour),
            cost.per_million.map_or_else(|| "-".to_owned(), figures::significant),
        ]
    });
    Table {
        id: "cost",
        title: "Cost",
        lead: "In the currency of the node pools' prices.".to_owned(),
        columns: vec![
            ("Source", false),
            ("In all", true),
            ("An hour", true),
            ("An hour at most", true),
            ("A million answers", true),
        ],
        rows: rows.collect(),
        warning: None,
    }
}

fn futures(futures: &Futures) -> Table {
    let show = |unit: FigureUnit, value: f64| match unit {
        FigureUnit::Nanoseconds => figures::duration(value),
        FigureUnit::Share => format!("{} %", figures::significant(100.0 * value)),
        FigureUnit::Count if value >= 0.0 => figures::count(value as u64),
        FigureUnit::Count | FigureUnit::Number | FigureUnit::Money => figures::significant(value),
    };
    let signed = |unit: FigureUnit, value: f64| {
        let sign = if value > 0.0 {
            "+"
        } else if value < 0.0 {
            "-"
        } else {
            ""
        };
        if value == 0.0 { "equal".to_owned() } else { format!("{sign}{}", show(unit, value.abs())) }
    };
    let side = |unit: FigureUnit, value: Option<f64>| {
        value.map_or_else(|| "-".to_owned(), |value| show(unit, value))
    };
    let mut rows: Vec<Vec<String>> = futures
        .figures
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                side(row.unit, row.values.original),
                side(row.unit, row.values.changed),
                row.difference.map_or_else(|| "-".to_owned(), |difference| signed(row.unit, difference)),
                row.relative.map_or_else(|| "-".to_owned(), |share| format!("{:+.1} %", 100.0 * share)),
            ]
        })
        .collect();
    let level =
        |level: Option<Level>| level.map_or_else(|| "-".to_owned(), |level| level.to_string().to_lowercase());
    let (original, changed) = (level(futures.level.original), level(futures.level.changed));
    let difference = if original == changed { "equal" } else { "other" }.to_owned();
    rows.push(vec!["keeps up".to_owned(), original, changed, difference, "-".to_owned()]);
    let divergence = match &futures.divergence {
        Some(divergence) => {
            format!("They part at {}: {}.", figures::instant(divergence.t_ns), divergence.what)
        }
        None => "They never part: the change had no effect.".to_owned(),
    };
    Table {
        id: "futures",
        title: "Both futures",
        lead: format!(
            "The same state and the same random numbers from {} on, with {}. {divergence} Figures from {} on.",
            figures::instant(futures.fork_ns),
            futures.change,
            figures::instant(futures.from_ns)
        ),
        columns: vec![
            ("Figure", false),
            ("Original", true),
            ("Changed", true),
            ("Difference", true),
            ("Relative", true),
        ],
        rows,
        warning: None,
    }
}

/// A table as HTML, without its heading.
pub(crate) fn html(out: &mut Markup, table: &Table) {
    out.element(
        "div",
        &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &table.title)],
        |region| {
            region.element("table", &[], |html| {
                html.element("thead", &[], |head| {
                    head.element("tr", &[], |row| {
                        for (name, is_number) in &table.columns {
                            let class = if *is_number { "num" } else { "" };
                            row.leaf("th", &[("scope", &"col"), ("class", &class)], name);
                        }
                    });
                });
                html.element("tbody", &[], |body| {
                    for cells in table.rows.iter().take(MOST_ROWS) {
                        body.element("tr", &[], |row| {
                            for (cell, (_, is_number)) in cells.iter().zip(&table.columns) {
                                row.leaf("td", &[("class", &if *is_number { "num" } else { "" })], cell);
                            }
                        });
                        body.line();
                    }
                });
            });
        },
    );
    let hidden = table.rows.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        let more = figures::plural(hidden as u64, "more row");
        out.leaf("p", &[("class", &"soft small")], format!("{more} in the JSON file beside this page."));
    }
    if let Some(warning) = &table.warning {
        out.element("p", &[("class", &"warning")], |text| {
            text.leaf("b", &[], "Warning: ");
            text.text(warning);
        });
    }
}

/// A table as Markdown, folded away; `inline` makes a user's text harmless.
pub(crate) fn folded(out: &mut String, table: &Table, inline: impl Fn(&str) -> String) {
    let _ = writeln!(out, "\n<details><summary>{}</summary>\n\n{}\n", table.title, inline(&table.lead));
    markdown(out, table, inline);
    out.push_str("\n</details>\n");
}

/// The rows of a table as Markdown.
pub(crate) fn markdown(out: &mut String, table: &Table, inline: impl Fn(&str) -> String) {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let names: Vec<String> = table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rule: Vec<String> = table
        .columns
        .iter()
        .map(|(_, is_number)| if *is_number { "---:" } else { "---" }.to_owned())
        .collect();
    let _ = writeln!(out, "{}\n{}", row(&names), row(&rule));
    for cells in table.rows.iter().take(MOST_ROWS) {
        let cells: Vec<String> = cells.iter().map(|cell| inline(cell)).collect();
        let _ = writeln!(out, "{}", row(&cells));
    }
    let hidden = table.rows.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        let _ = writeln!(out, "\n{} in the report.", figures::plural(hidden as u64, "more row"));
    }
    if let Some(warning) = &table.warning {
        let _ = writeln!(out, "\n**Warning:** {}", inline(warning));
    }
}

/// A table for terminals: aligned columns under its heading.
pub(crate) fn terminal(out: &mut String, table: &Table) {
    let header: Vec<String> = table.columns.iter().map(|(name, _)| name.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .take(MOST_ROWS)
        .map(|cells| cells.iter().map(|cell| plain(cell)).collect())
        .collect();
    let mut widths = vec![0; header.len()];
    for row in std::iter::once(&header).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let _ = writeln!(out, "\n{}", table.title);
    if table.id == "futures" {
        // What was changed, and when: without it the numbers mean nothing.
        let _ = writeln!(out, "{}", plain(&table.lead));
    }
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for ((cell, width), (_, is_number)) in row.iter().zip(&widths).zip(&table.columns) {
            let padding = " ".repeat(width - cell.chars().count());
            if *is_number {
                let _ = write!(line, "{padding}{cell}  ");
            } else {
                let _ = write!(line, "{cell}{padding}  ");
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let hidden = table.rows.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        let _ = writeln!(out, "{} in the report", figures::plural(hidden as u64, "more row"));
    }
    if let Some(warning) = &table.warning {
        let _ = writeln!(out, "Warning: {}", plain(warning));
    }
}
