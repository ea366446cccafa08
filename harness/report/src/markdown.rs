//! Markdown for job summaries and comments, cut to the size that GitHub takes.

use std::fmt::Write as _;

use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::result::RunResult;

use crate::figures;
use crate::markup::plain;
use crate::tables;
use crate::words;

/// Bytes of a job summary. GitHub refuses a step's summary above 1024 KiB.
pub const SUMMARY_BYTES: usize = 900_000;

/// Room kept for the last table and the closing lines.
const CLOSING_BYTES: usize = 20_000;

/// The Markdown of one run, at most [`SUMMARY_BYTES`] long.
pub fn markdown(result: &RunResult) -> String {
    markdown_of(&[result], SUMMARY_BYTES)
}

/// The Markdown of several runs, at most `most_bytes` long (but a few lines are always there). What does not fit
/// is counted, never dropped in silence.
pub fn markdown_of(results: &[&RunResult], most_bytes: usize) -> String {
    let room = most_bytes.saturating_sub(CLOSING_BYTES);
    let mut out = String::new();
    let mut left_out = 0;
    for result in results {
        if out.len() > room {
            left_out += 1;
            continue;
        }
        section(&mut out, result, room);
    }
    if left_out > 0 {
        let more = figures::plural(left_out, "more scenario");
        let _ = writeln!(out, "\n{more} in the report.");
    }
    out
}

fn section(out: &mut String, result: &RunResult, room: usize) {
    let _ = writeln!(out, "### {}: {}\n", words::word(result.verdict), inline(&result.scenario, 200));
    let _ = writeln!(out, "{}\n", inline(&words::sentence(result), 2000));
    let gates = words::in_reading_order(&result.gates);
    if !gates.is_empty() {
        out.push_str("| Verdict | Objective | Source | Observed | Limit | Samples |\n");
        out.push_str("| --- | --- | --- | ---: | ---: | ---: |\n");
        let fitted = rows(out, &gates, room, |gate| {
            format!(
                "| {} | {} | {} | {} | {} | {} |",
                words::word(gate.verdict),
                code(&gate.objective),
                words::source(gate.source),
                inline(&gate.observed_text, 200),
                inline(&gate.limit_text, 200),
                gate.samples
            )
        });
        closing(out, gates.len() - fitted, "gate");
    }
    let open: Vec<&Gate> = gates
        .into_iter()
        .filter(|gate| matches!(gate.verdict, Verdict::Fail | Verdict::Inconclusive))
        .collect();
    if !open.is_empty() {
        out.push_str("\n**Why**\n\n");
        let fitted = rows(out, &open, room, |gate| {
            let place =
                gate.position.as_deref().map(|place| format!(", {}", code(place))).unwrap_or_default();
            format!(
                "- {} {} ({}{place}): {}",
                words::word(gate.verdict),
                code(&gate.objective),
                words::source(gate.source),
                inline(&gate.reason, 2000)
            )
        });
        closing(out, open.len() - fitted, "reason");
    }
    if let Some(comparison) = &result.comparison {
        out.push_str("\n<details><summary>Simulated and live</summary>\n\n| | |\n| --- | --- |\n");
        for (name, text) in crate::page::comparison::lines(comparison) {
            let _ = writeln!(out, "| {} | {} |", inline(&name, 200), inline(&text, 400));
        }
        out.push_str("\n</details>\n");
    }
    if let Some((word, sentences)) = tables::stability(result) {
        let _ = writeln!(out, "\n**{word}** {}", inline(&sentences.join(" "), 2000));
    }
    for table in tables::of(result) {
        if out.len() > room {
            let _ = writeln!(out, "\n{} in the report.", table.title);
            continue;
        }
        tables::folded(out, &table, |text| inline(text, 400));
    }
    let _ = writeln!(out, "\n{}\n", words::AUTOCORRELATION);
    let _ = writeln!(out, "Seed {}. Reproduce: {}\n", result.seed, code(&result.reproduce));
}

/// Writes a line for each gate while there is room; returns how many fitted.
fn rows(out: &mut String, gates: &[&Gate], room: usize, line: impl Fn(&Gate) -> String) -> usize {
    for (index, gate) in gates.iter().enumerate() {
        let line = line(gate);
        if out.len() + line.len() > room {
            return index;
        }
        out.push_str(&line);
        out.push('\n');
    }
    gates.len()
}

fn closing(out: &mut String, left_out: usize, what: &str) {
    if left_out > 0 {
        let more = figures::plural(left_out as u64, &format!("more {what}"));
        let _ = writeln!(out, "\n{more} in the report.");
    }
}

/// Text of users within a line: no Markdown, no HTML, no line breaks, at most `most` characters.
pub(crate) fn inline(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for character in cut(&plain(text), most).chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Neither mentions nor links.
            '@' => out.push_str("&#64;"),
            '/' if out.ends_with(":/") => out.push_str("&#47;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out
}

/// Text of users as code within a table cell. HTML's element is used: Markdown's back-ticks cannot hold a
/// back-tick, nor a `|` in a table.
fn code(text: &str) -> String {
    let mut out = String::from("<code>");
    for character in cut(&plain(text), 400).chars() {
        if character.is_alphanumeric() || " .-/=%,".contains(character) {
            out.push(character);
        } else {
            let _ = write!(out, "&#{};", u32::from(character));
        }
    }
    out.push_str("</code>");
    out
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
