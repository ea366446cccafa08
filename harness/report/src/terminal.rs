//! The verdict table for terminals: aligned columns, words first, colour only on top.

use windtunnel_record::judge::Verdict;
use windtunnel_record::result::RunResult;

use crate::figures;
use crate::markup::plain;
use crate::tables;
use crate::words;

/// Rows printed, at most; the report has all.
const MOST_ROWS: usize = 200;

/// The verdict table of a run: one row a gate, then the sentence, and the reason of every gate that did not pass.
///
/// `color` adds ANSI colours to the verdict words; the caller decides (terminal, `NO_COLOR`). User text is
/// stripped of control characters, so that no name can move the cursor.
pub fn table(result: &RunResult, color: bool) -> String {
    let gates = words::in_reading_order(&result.gates);
    let header = ["VERDICT", "OBJECTIVE", "SOURCE", "OBSERVED", "LIMIT", "SAMPLES"].map(str::to_owned);
    let rows: Vec<[String; 6]> = gates
        .iter()
        .take(MOST_ROWS)
        .map(|gate| {
            [
                words::word(gate.verdict).to_owned(),
                plain(&gate.objective),
                words::source(gate.source).to_owned(),
                plain(&gate.observed_text),
                plain(&gate.limit_text),
                gate.samples.to_string(),
            ]
        })
        .collect();
    let mut widths = [0; 6];
    for row in std::iter::once(&header).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }

    let mut out = String::new();
    if !rows.is_empty() {
        push_row(&mut out, &header, &widths, None);
    }
    for (gate, row) in gates.iter().zip(&rows) {
        push_row(&mut out, row, &widths, color.then_some(gate.verdict));
    }
    if gates.len() > rows.len() {
        let more = figures::plural((gates.len() - rows.len()) as u64, "more gate");
        out.push_str(&format!("{more} in the report\n"));
    }
    for gate in gates
        .iter()
        .filter(|gate| matches!(gate.verdict, Verdict::Fail | Verdict::Inconclusive))
        .take(MOST_ROWS)
    {
        let place = gate.position.as_deref().map(|place| format!("  {}", plain(place))).unwrap_or_default();
        let objective = plain(&gate.objective);
        out.push_str(&format!(
            "\n{} {objective} ({}){place}\n  {}\n",
            words::word(gate.verdict),
            words::source(gate.source),
            plain(&gate.reason)
        ));
    }
    if let Some(comparison) = &result.comparison {
        out.push('\n');
        for (name, text) in crate::page::comparison::lines(comparison) {
            out.push_str(&format!("{name:<26} {text}\n"));
        }
    }
    for table in tables::of(result) {
        tables::terminal(&mut out, &table);
    }
    if let Some((word, sentences)) = tables::stability(result) {
        out.push_str(&format!("\n{word}  {}\n", plain(&sentences.join(" "))));
    }
    let verdict = painted(words::word(result.verdict), result.verdict, color);
    out.push_str(&format!("\n{verdict}  {}: {}\n", plain(&result.scenario), plain(&words::sentence(result))));
    out
}

fn push_row(out: &mut String, row: &[String; 6], widths: &[usize; 6], verdict: Option<Verdict>) {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width - cell.chars().count());
        let cell = match verdict {
            Some(verdict) if index == 0 => painted(cell, verdict, true),
            _ => cell.clone(),
        };
        // Numbers of samples to the right, everything else to the left.
        if index == 5 {
            line.push_str(&padding);
            line.push_str(&cell);
        } else {
            line.push_str(&cell);
            line.push_str(&padding);
            line.push_str("  ");
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

pub(crate) fn painted(text: &str, verdict: Verdict, color: bool) -> String {
    if !color {
        return text.to_owned();
    }
    let code = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail => "31",
        Verdict::Inconclusive => "33",
        Verdict::NotJudged => "2",
    };
    format!("\u{1b}[1;{code}m{text}\u{1b}[0m")
}
