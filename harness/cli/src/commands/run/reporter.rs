//! What is printed, or written somewhere else, besides the report: `--reporter NAME[=PATH]`.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use windtunnel_record::judge::Verdict;
use windtunnel_record::result::RunResult;
use windtunnel_report as report;

use crate::progress::stdout_takes_color;

/// One reporter.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    kind: Kind,
    path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Dot,
    Json,
    Junit,
    Html,
    Markdown,
    Github,
}

const KINDS: &[(&str, Kind)] = &[
    ("list", Kind::List),
    ("dot", Kind::Dot),
    ("json", Kind::Json),
    ("junit", Kind::Junit),
    ("html", Kind::Html),
    ("markdown", Kind::Markdown),
    ("github", Kind::Github),
];

impl FromStr for Reporter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, Some(PathBuf::from(path))),
            None => (text, None),
        };
        let kind =
            KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
                let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                format!("there is no reporter `{name}`; choose one of {}", known.join(", "))
            })?;
        Ok(Self { kind, path })
    }
}

/// Prints one scenario's result through every reporter; the verdict table where none was asked for.
pub(crate) fn print(
    reporters: &[Reporter],
    result: &RunResult,
    input: &report::Input<'_>,
    written: &report::Written,
) -> std::io::Result<()> {
    let default = [Reporter { kind: Kind::List, path: None }];
    for reporter in if reporters.is_empty() { &default[..] } else { reporters } {
        let text = match reporter.kind {
            Kind::List => {
                let color = reporter.path.is_none() && stdout_takes_color();
                let mut text = report::table(result, color);
                text.push_str(&format!("report: {}\n", written.html.display()));
                text.push_str(&format!("next:   {}\n", result.reproduce));
                text
            }
            Kind::Dot => result.gates.iter().map(|gate| dot(gate.verdict)).chain(["\n"]).collect(),
            Kind::Json => std::fs::read_to_string(&written.json)?,
            Kind::Junit => std::fs::read_to_string(&written.junit)?,
            Kind::Html => std::fs::read_to_string(&written.html)?,
            Kind::Markdown => report::markdown(result),
            Kind::Github => {
                if let Some(summary) = std::env::var_os("GITHUB_STEP_SUMMARY") {
                    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(summary)?;
                    file.write_all(report::markdown(result).as_bytes())?;
                }
                annotations(result, input)
            }
        };
        match &reporter.path {
            Some(path) => std::fs::write(path, text)?,
            None => std::io::stdout().write_all(text.as_bytes())?,
        }
    }
    Ok(())
}

fn dot(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => ".",
        Verdict::Fail => "F",
        Verdict::Inconclusive => "?",
        Verdict::NotJudged => "-",
    }
}

/// Workflow commands that mark failed gates in the scenario file.
fn annotations(result: &RunResult, input: &report::Input<'_>) -> String {
    let mut text = String::new();
    for gate in
        result.gates.iter().filter(|gate| matches!(gate.verdict, Verdict::Fail | Verdict::Inconclusive))
    {
        let level = if gate.verdict == Verdict::Fail { "error" } else { "warning" };
        let message = format!("{}: {}", gate.objective, gate.reason).replace('%', "%25").replace('\n', "%0A");
        text.push_str(&format!("::{level} file={}::{message}\n", input.scenario.path.display()));
    }
    text
}
