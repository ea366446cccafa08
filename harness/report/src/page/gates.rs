//! The table of gates, failed ones first.

use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::result::RunResult;

use crate::figures;
use crate::markup::Markup;
use crate::words;

/// Passed gates shown, at most; every gate that did not pass is shown.
const MOST_PASSED: usize = 1000;

/// The section.
pub(crate) fn section(out: &mut Markup, result: &RunResult) {
    out.element("section", &[("id", &"gates"), ("aria-labelledby", &"gates-title")], |section| {
        section.leaf("h2", &[("id", &"gates-title")], "Gates");
        if result.gates.is_empty() {
            section.leaf("p", &[], "No gate was judged. Nothing measured is never a pass.");
            for reason in &result.reasons {
                section.leaf("p", &[], reason);
            }
            return;
        }
        section.element(
            "div",
            &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &"Gates")],
            |region| region.element("table", &[], |table| rows(table, result)),
        );
        section.leaf("p", &[("class", &"soft small")], words::AUTOCORRELATION);
    });
    out.line();
}

fn rows(table: &mut Markup, result: &RunResult) {
    table.element("thead", &[], |head| {
        head.element("tr", &[], |row| {
            for (class, name) in [
                ("", "Verdict"),
                ("", "Objective"),
                ("", "Source"),
                ("num", "Observed"),
                ("num", "Limit"),
                ("num", "Samples"),
            ] {
                row.leaf("th", &[("scope", &"col"), ("class", &class)], name);
            }
        });
    });
    let gates = words::in_reading_order(&result.gates);
    let mut passed = 0;
    let mut hidden = 0;
    table.element("tbody", &[], |body| {
        for (index, gate) in gates.into_iter().enumerate() {
            if matches!(gate.verdict, Verdict::Pass | Verdict::NotJudged) {
                passed += 1;
                if passed > MOST_PASSED {
                    hidden += 1;
                    continue;
                }
            }
            row(body, index + 1, gate);
        }
        if hidden > 0 {
            let more = figures::plural(hidden, "more gate");
            body.element("tr", &[], |row| {
                row.leaf("td", &[("colspan", &"6")], format!("{more} that passed: see result.json"));
            });
        }
    });
}

fn row(body: &mut Markup, number: usize, gate: &Gate) {
    let (sign, class) = words::sign(gate.verdict);
    let classes = format!("lead {class}");
    let id = format!("gate-{number}");
    body.element("tr", &[("class", &classes), ("id", &id)], |row| {
        row.element("td", &[("class", &"word")], |cell| {
            cell.leaf("span", &[("aria-hidden", &"true")], sign);
            cell.text(" ");
            cell.text(words::word(gate.verdict));
        });
        row.element("td", &[], |cell| cell.leaf("code", &[], &gate.objective));
        row.leaf("td", &[], words::source(gate.source));
        row.leaf("td", &[("class", &"num")], &gate.observed_text);
        row.leaf("td", &[("class", &"num")], &gate.limit_text);
        row.leaf("td", &[("class", &"num")], figures::count(gate.samples));
    });
    body.element("tr", &[("class", &"why")], |row| {
        row.leaf("td", &[], "");
        row.element("td", &[("colspan", &"5")], |cell| {
            cell.text(&gate.reason);
            if let Some(position) = &gate.position {
                cell.text(" ");
                cell.leaf("code", &[], position);
            }
        });
    });
    body.line();
}
