//! The page over several runs.

use std::io;
use std::path::{Path, PathBuf};

use windtunnel_record::judge::Verdict;
use windtunnel_record::result::RunResult;

use crate::figures;
use crate::markup::Markup;
use crate::page::frame;
use crate::words::{self, Counts};

/// One run on the index page.
#[derive(Debug, Clone, Copy)]
pub struct IndexEntry<'a> {
    /// Its result.
    pub result: &'a RunResult,
    /// Its page, below the folder of the index.
    pub page: &'a Path,
}

/// Writes `index.html` into `dir`: a row a run, failed ones first, each with a link to its page.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write_index(dir: &Path, entries: &[IndexEntry<'_>]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("index.html");
    std::fs::write(&path, index(dir, entries))?;
    Ok(path)
}

fn index(dir: &Path, entries: &[IndexEntry<'_>]) -> String {
    let verdict = overall(entries);
    let (sign, class) = words::sign(verdict);
    let scenarios = figures::plural(entries.len() as u64, "scenario");
    let count = |wanted: Verdict| entries.iter().filter(|entry| entry.result.verdict == wanted).count();
    let sentence = match verdict {
        Verdict::Fail => format!("{} of {scenarios} failed.", count(Verdict::Fail)),
        Verdict::Pass => format!("All {scenarios} passed."),
        Verdict::Inconclusive | Verdict::NotJudged if entries.is_empty() => "No scenario was run.".to_owned(),
        Verdict::Inconclusive | Verdict::NotJudged => {
            let open = count(Verdict::Inconclusive) + count(Verdict::NotJudged);
            format!("{open} of {scenarios} could not be decided.")
        }
    };
    let title = format!("{}: {scenarios}", words::word(verdict));
    frame::document(&title, |body| {
        let classes = format!("verdict {class}");
        body.element("header", &[("class", &classes)], |header| {
            header.element("div", &[("class", &"bar")], |bar| {
                bar.element("span", &[("class", &"word")], |word| {
                    word.leaf("span", &[("aria-hidden", &"true")], sign);
                    word.text(" ");
                    word.text(words::word(verdict));
                });
                bar.element("div", &[], |text| {
                    text.leaf("h1", &[], &scenarios);
                    text.leaf("p", &[], &sentence);
                });
            });
        });
        body.element("main", &[], |main| {
            main.leaf("h2", &[], "Scenarios");
            main.element("div", &[("class", &"scroll")], |region| {
                region.element("table", &[], |table| rows(table, dir, entries));
            });
        });
    })
}

fn rows(table: &mut Markup, dir: &Path, entries: &[IndexEntry<'_>]) {
    table.element("thead", &[], |head| {
        head.element("tr", &[], |row| {
            for name in ["Verdict", "Scenario", "Gates", "In one sentence"] {
                row.leaf("th", &[("scope", &"col")], name);
            }
        });
    });
    let mut sorted: Vec<&IndexEntry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|entry| rank(entry.result.verdict));
    table.element("tbody", &[], |body| {
        for entry in sorted {
            let (sign, class) = words::sign(entry.result.verdict);
            body.element("tr", &[("class", &class)], |row| {
                row.element("td", &[("class", &"word")], |cell| {
                    cell.leaf("span", &[("aria-hidden", &"true")], sign);
                    cell.text(" ");
                    cell.text(words::word(entry.result.verdict));
                });
                row.element("td", &[], |cell| {
                    cell.leaf("a", &[("href", &link(dir, entry.page))], &entry.result.scenario);
                });
                row.leaf("td", &[], Counts::of(&entry.result.gates).text());
                row.leaf("td", &[("class", &"soft")], words::sentence(entry.result));
            });
            body.line();
        }
    });
}

/// Fail before inconclusive before pass; no run at all is inconclusive.
fn overall(entries: &[IndexEntry<'_>]) -> Verdict {
    let worst = entries.iter().map(|entry| entry.result.verdict).min_by_key(|verdict| rank(*verdict));
    match worst {
        None | Some(Verdict::NotJudged) => Verdict::Inconclusive,
        Some(verdict) => verdict,
    }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fail => 0,
        Verdict::Inconclusive => 1,
        Verdict::NotJudged => 2,
        Verdict::Pass => 3,
    }
}

/// A relative link; it starts with `./`, so that no name is taken for a scheme.
fn link(dir: &Path, page: &Path) -> String {
    let relative = page.strip_prefix(dir).unwrap_or(page);
    let mut link = String::from(if relative.is_absolute() { "" } else { "./" });
    for byte in relative.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a scenario in a folder called `javascript:x` is a script, and blanks break the link.
    #[test]
    fn links_are_relative_and_escaped() {
        assert_eq!(link(Path::new("reports"), Path::new("reports/a b/report.html")), "./a%20b/report.html");
        assert_eq!(link(Path::new("r"), Path::new("javascript:alert(1)")), "./javascript%3Aalert%281%29");
    }
}
