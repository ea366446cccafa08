//! The log: decisions and events of all recordings in the order of time, each with its explanation.

use windtunnel_record::{Decision, Event};

use crate::Input;
use crate::chart::bins::View;
use crate::figures;
use crate::markup::Markup;

/// Rows of all recordings together, at most; decisions go before events.
const MOST_ROWS: usize = 270;
/// Bytes spent on inputs and intermediate values of decisions.
const DETAIL_BYTES: usize = 20_000;
/// Bytes of one decision's details.
const DETAIL_BYTES_EACH: usize = 2_500;

enum Entry<'a> {
    Decision(&'a Decision),
    Event(&'a Event),
}

struct Row<'a> {
    t_ns: u64,
    source: &'static str,
    entry: Entry<'a>,
}

/// The section.
pub(crate) fn section(out: &mut Markup, input: &Input<'_>) {
    out.element("section", &[("id", &"log"), ("aria-labelledby", &"log-title")], |section| {
        section.leaf("h2", &[("id", &"log-title")], "Decisions and events");
        let (rows, hidden) = rows(input);
        if rows.is_empty() {
            section.leaf("p", &[], "Nothing was decided and nothing happened.");
            return;
        }
        // The script shows it; without one it could do nothing.
        section.element(
            "div",
            &[("class", &"filter"), ("data-rows", &"log-rows"), ("hidden", &"hidden")],
            |filter| {
                filter.leaf("label", &[("for", &"log-filter")], "Filter");
                filter.empty(
                    "input",
                    &[
                        ("id", &"log-filter"),
                        ("type", &"search"),
                        ("placeholder", &"words, such as live kpa 00002"),
                    ],
                );
                filter.leaf("output", &[("for", &"log-filter"), ("class", &"soft")], "");
            },
        );
        section.element(
            "div",
            &[
                ("class", &"scroll"),
                ("tabindex", &"0"),
                ("role", &"region"),
                ("aria-label", &"Decisions and events"),
            ],
            |region| {
                region.element("table", &[], |table| {
                    head(table);
                    table.element("tbody", &[("id", &"log-rows")], |body| {
                        let mut budget = DETAIL_BYTES;
                        for row in &rows {
                            entry(body, row, &mut budget);
                        }
                    });
                });
            },
        );
        if hidden > 0 {
            let more = figures::plural(hidden, "more row");
            section.leaf("p", &[("class", &"soft small")], format!("{more} in the recordings."));
        }
    });
    out.line();
}

fn rows<'a>(input: &Input<'a>) -> (Vec<Row<'a>>, u64) {
    let sources: [(&'static str, Option<View<'a>>); 4] = [
        ("live", input.live.map(View::from)),
        ("simulated", input.simulated.map(View::from)),
        ("simulated, whole", input.whole.map(View::from)),
        ("simulated, counted", input.counted.map(View::from)),
    ];
    let mut rows = Vec::new();
    let mut hidden = 0;
    let recordings = sources.iter().filter(|(_, view)| view.is_some()).count();
    for (source, view) in sources {
        let Some(view) = view else { continue };
        let ((all_decisions, more_decisions), (all_events, more_events)) = (view.decisions(), view.events());
        let room = MOST_ROWS / recordings;
        let decisions = all_decisions.len().min(room - all_events.len().min(room / 3));
        let events = all_events.len().min(room - decisions);
        for decision in all_decisions.iter().take(decisions) {
            rows.push(Row { t_ns: decision.t_ns, source, entry: Entry::Decision(decision) });
        }
        for event in all_events.iter().take(events) {
            rows.push(Row { t_ns: event.t_ns, source, entry: Entry::Event(event) });
        }
        hidden += (all_decisions.len() - decisions + all_events.len() - events) as u64;
        hidden += more_decisions + more_events;
    }
    rows.sort_by_key(|row| row.t_ns);
    (rows, hidden)
}

fn head(table: &mut Markup) {
    table.element("thead", &[], |head| {
        head.element("tr", &[], |row| {
            for (class, name) in
                [("num", "At"), ("", "Source"), ("", "Actor"), ("", "Target"), ("", "Change"), ("", "Why")]
            {
                row.leaf("th", &[("scope", &"col"), ("class", &class)], name);
            }
        });
    });
}

fn entry(body: &mut Markup, row: &Row<'_>, budget: &mut usize) {
    body.element("tr", &[], |line| {
        line.leaf("td", &[("class", &"num")], figures::instant(row.t_ns));
        line.leaf("td", &[], row.source);
        match &row.entry {
            Entry::Decision(decision) => {
                line.leaf("td", &[], &decision.actor);
                line.element("td", &[], |cell| cell.leaf("code", &[], &decision.target));
                line.leaf("td", &[("class", &"nowrap")], format!("{} → {}", decision.from, decision.to));
                line.element("td", &[], |cell| {
                    cell.text(&decision.text);
                    details(cell, &decision.explanation, budget);
                });
            }
            Entry::Event(event) => {
                line.leaf("td", &[], &event.kind);
                line.element("td", &[], |cell| cell.leaf("code", &[], &event.target));
                line.leaf("td", &[], "");
                line.leaf("td", &[], &event.text);
            }
        }
    });
    body.line();
}

/// Inputs and intermediate values, folded away, as long as there is room for them.
fn details(cell: &mut Markup, explanation: &serde_json::Value, budget: &mut usize) {
    let is_empty = match explanation {
        serde_json::Value::Null => true,
        serde_json::Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let mut lines = Vec::new();
    flatten(explanation, "", &mut lines);
    let text = lines.join("\n");
    if is_empty || text.len() > DETAIL_BYTES_EACH || text.len() > *budget {
        return;
    }
    *budget -= text.len();
    cell.element("details", &[], |details| {
        details.leaf("summary", &[], "numbers");
        details.leaf("pre", &[], &text);
    });
}

/// One line a value: `windows.stable_s: 60`.
fn flatten(value: &serde_json::Value, path: &str, lines: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(value, &path, lines);
            }
        }
        serde_json::Value::String(text) => lines.push(format!("{path}: {text}")),
        other => lines.push(format!("{path}: {other}")),
    }
}
