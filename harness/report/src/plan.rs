//! The answer of a capacity plan: a table, a page and a picture of cost against p99.
//!
//! The answer comes first. Under it every option that was tried, the cheapest passing one marked, and the line of those
//! that nothing beats in both cost and latency.
//!
//! ```
//! use windtunnel_record::judge::Verdict;
//! use windtunnel_record::replications::Interval;
//! use windtunnel_report::plan::{self, PlanOption, PlanReport};
//!
//! let option = |replicas: &str, cost, p99, verdict| PlanOption {
//!     settings: vec![("spec.predictor.maxReplicas".into(), replicas.into())],
//!     cost_per_hour: Some(Interval::exact(cost)),
//!     p99_ms: Interval::of(&[p99, p99 + 2.0, p99 - 1.0], 0.95),
//!     verdict,
//!     reason: String::new(),
//!     figures: Default::default(),
//! };
//! let options = vec![option("2", 0.8, 900.0, Verdict::Fail), option("3", 1.2, 240.0, Verdict::Pass)];
//! let mut report = PlanReport::new("quickstart", options);
//! report.limits_ms = vec![("p99<300ms".into(), 300.0)];
//! assert_eq!(report.cheapest, Some(1));
//! assert!(plan::table(&report, false).contains("maxReplicas = 3"));
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windtunnel_record::judge::Verdict;
use windtunnel_record::replications::Interval;

use crate::chart::scatter::{self, Dot, Mark, Scatter};
use crate::figures;
use crate::markdown::inline;
use crate::markup::{Markup, plain};
use crate::page::frame;
use crate::tables::{self, Table, between};
use crate::words;

/// Version of the format.
pub const SCHEMA: &str = "windtunnel.dev/plan/v1";

/// Options drawn, at most; the table and the JSON have all.
const MOST_DOTS: usize = 1_000;

/// What a plan found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The answer in one sentence.
    pub answer: String,
    /// What was tried, in the order of the search.
    pub options: Vec<PlanOption>,
    /// The place of the cheapest option that passes.
    pub cheapest: Option<usize>,
    /// What to change in the manifest or the scenario for it.
    pub patch_yaml: Option<String>,
    /// Objectives that are a height in the picture, with their limits in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits_ms: Vec<(String, f64)>,
    /// What to know when reading it, a sentence each: how it was searched, which runs are near saturation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seed of the first replication.
    #[serde(default)]
    pub seed: u64,
    /// The command that does the same again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reproduce: String,
}

/// One option of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanOption {
    /// Paths and the values that they were set to.
    pub settings: Vec<(String, String)>,
    /// Mean cost of an hour; `None` without prices.
    pub cost_per_hour: Option<Interval>,
    /// 99th percentile of the latency, milliseconds; `None` when nothing was answered.
    pub p99_ms: Option<Interval>,
    /// Over all objectives and replications.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Further figures over the replications, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Interval>,
}

impl PlanOption {
    /// `maxReplicas = 3, containerConcurrency = 10`: the last part of each path, the whole path where that says too
    /// little.
    pub fn label(&self) -> String {
        let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
        let names: Vec<String> = self.settings.iter().map(|(path, _)| last(path)).collect();
        let parts = self.settings.iter().zip(&names).map(|((path, value), name)| {
            let is_clear = names.iter().filter(|other| *other == name).count() == 1;
            format!("{} = {value}", if is_clear { name } else { path })
        });
        let text = parts.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "as it is".to_owned() } else { text }
    }
}

impl PlanReport {
    /// Finds the cheapest passing option (of equals the faster, then the first) and writes the answer.
    pub fn new(scenario: &str, options: Vec<PlanOption>) -> Self {
        let cheapest = cheapest(&options);
        let answer = answer(&options, cheapest);
        Self {
            schema: SCHEMA.to_owned(),
            scenario: scenario.to_owned(),
            answer,
            options,
            cheapest,
            patch_yaml: None,
            limits_ms: Vec::new(),
            notes: Vec::new(),
            seed: 0,
            reproduce: String::new(),
        }
    }

    /// The verdict of the plan: pass when an option passes, inconclusive when one might, fail otherwise; a plan without
    /// options is inconclusive.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.options.iter().any(|option| option.verdict == verdict);
        if self.cheapest.is_some() {
            Verdict::Pass
        } else if self.options.is_empty() || any(Verdict::Inconclusive) || any(Verdict::NotJudged) {
            Verdict::Inconclusive
        } else {
            Verdict::Fail
        }
    }

    /// Places of the options that no other one beats in both cost and p99, the cheapest first.
    pub fn pareto(&self) -> Vec<usize> {
        let mut points: Vec<(usize, f64, f64)> = self
            .options
            .iter()
            .enumerate()
            .filter_map(|(place, option)| {
                let (cost, p99) = (option.cost_per_hour?.mean, option.p99_ms?.mean);
                (cost.is_finite() && p99.is_finite()).then_some((place, cost, p99))
            })
            .collect();
        points.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)).then(a.0.cmp(&b.0)));
        let mut best = f64::INFINITY;
        points.retain(|(_, _, p99)| {
            let is_faster = *p99 < best;
            best = best.min(*p99);
            is_faster
        });
        points.into_iter().map(|(place, _, _)| place).collect()
    }
}

fn cheapest(options: &[PlanOption]) -> Option<usize> {
    let key = |option: &PlanOption| {
        let mean = |interval: Option<Interval>| interval.map_or(f64::INFINITY, |interval| interval.mean);
        (mean(option.cost_per_hour), mean(option.p99_ms))
    };
    let passing = options.iter().enumerate().filter(|(_, option)| option.verdict == Verdict::Pass);
    passing
        .min_by(|(_, a), (_, b)| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
        .map(|(place, _)| place)
}

fn answer(options: &[PlanOption], cheapest: Option<usize>) -> String {
    let tried = figures::plural(options.len() as u64, "option");
    let Some(option) = cheapest.and_then(|place| options.get(place)) else {
        let open = options.iter().filter(|option| option.verdict == Verdict::Inconclusive).count();
        return match (options.len(), open) {
            (0, _) => "Nothing was tried.".to_owned(),
            (_, 0) => format!("None of {tried} passes."),
            (_, open) => format!("None of {tried} is sure to pass; {open} could not be decided."),
        };
    };
    let cost = option
        .cost_per_hour
        .map_or_else(String::new, |cost| format!(" at {} an hour", figures::significant(cost.mean)));
    let p99 = option.p99_ms.map_or_else(String::new, |p99| {
        let text = |ms: f64| figures::duration(ms * 1e6);
        format!(" with a p99 of {} [{}]", text(p99.mean), between(&p99, text))
    });
    format!("{} is the cheapest of {tried} that passes{cost}{p99}.", option.label())
}

/// The options as a table, the cheapest passing one first, then the others by verdict and cost.
fn options_table(report: &PlanReport) -> Table {
    let pareto = report.pareto();
    let mut names: Vec<&String> = report.options.iter().flat_map(|option| option.figures.keys()).collect();
    names.sort();
    names.dedup();
    let mut order: Vec<usize> = (0..report.options.len()).collect();
    let rank = |option: &PlanOption| match option.verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive | Verdict::NotJudged => 1,
        Verdict::Fail => 2,
    };
    order.sort_by(|a, b| {
        let (left, right) = (&report.options[*a], &report.options[*b]);
        let cost = |option: &PlanOption| option.cost_per_hour.map_or(f64::INFINITY, |cost| cost.mean);
        (report.cheapest != Some(*a), rank(left))
            .cmp(&(report.cheapest != Some(*b), rank(right)))
            .then(cost(left).total_cmp(&cost(right)))
            .then(a.cmp(b))
    });
    let rows = order.into_iter().map(|place| {
        let option = &report.options[place];
        let mut marks: Vec<&str> = Vec::new();
        if report.cheapest == Some(place) {
            marks.push("cheapest");
        }
        if pareto.contains(&place) {
            marks.push("Pareto");
        }
        vec![
            words::word(option.verdict).to_owned(),
            option.label(),
            marks.join(", "),
            interval_text(option.cost_per_hour, figures::significant),
            interval_text(option.p99_ms, |ms| figures::duration(ms * 1e6)),
            option.reason.clone(),
        ]
    });
    Table {
        id: "options",
        title: "Options",
        lead: report.answer.clone(),
        columns: vec![
            ("Verdict", false),
            ("Settings", false),
            ("Mark", false),
            ("Cost an hour", true),
            ("p99", true),
            ("Why", false),
        ],
        rows: rows.collect(),
        warning: None,
    }
}

fn interval_text(interval: Option<Interval>, show: impl Fn(f64) -> String) -> String {
    match interval {
        None => "-".to_owned(),
        Some(interval) if interval.low == interval.high => show(interval.mean),
        Some(interval) => {
            format!("{} [{}, {}]", show(interval.mean), show(interval.low), show(interval.high))
        }
    }
}

/// The plan for a terminal: the answer, the options, the patch.
pub fn table(report: &PlanReport, color: bool) -> String {
    let mut out = String::new();
    let word = crate::terminal::painted(words::word(report.verdict()), report.verdict(), color);
    let _ = writeln!(out, "{word}  {}: {}", plain(&report.scenario), plain(&report.answer));
    if !report.options.is_empty() {
        tables::terminal(&mut out, &options_table(report));
    }
    for note in &report.notes {
        let _ = writeln!(out, "\n{}", plain(note));
    }
    if let Some(patch) = &report.patch_yaml {
        let _ = writeln!(out, "\nPatch");
        for line in patch.lines() {
            let _ = writeln!(out, "  {}", plain(line));
        }
    }
    out
}

/// The plan as Markdown for a job summary. Rows, notes and the patch are bounded, so that it fits into one.
pub fn markdown(report: &PlanReport) -> String {
    let mut out = String::new();
    let word = words::word(report.verdict());
    let _ = writeln!(out, "### {word}: plan for {}\n", inline(&report.scenario, 200));
    let _ = writeln!(out, "{}\n", inline(&report.answer, 2000));
    if !report.options.is_empty() {
        tables::markdown(&mut out, &options_table(report), |text| inline(text, 400));
    }
    for note in report.notes.iter().take(50) {
        let _ = writeln!(out, "\n{}", inline(note, 1000));
    }
    if let Some(patch) = &report.patch_yaml {
        // Indented, not fenced: nothing in it can end the block.
        let _ = writeln!(out, "\n**Patch**\n");
        for line in patch.lines().take(500) {
            let line: String = plain(line).chars().take(400).collect();
            let _ = writeln!(out, "    {line}");
        }
    }
    if !report.reproduce.is_empty() {
        let _ = writeln!(out, "\nSeed {}. Reproduce: {}", report.seed, inline(&report.reproduce, 1000));
    }
    out
}

/// The plan for programs, as pretty JSON with a line break at its end.
///
/// # Errors
/// When a figure is not a finite number.
pub fn json(report: &PlanReport) -> io::Result<String> {
    let mut text = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

/// The picture of cost against p99 on its own.
pub fn svg(report: &PlanReport) -> String {
    scatter::picture(&picture(report), true).into_string() + "\n"
}

/// The page: answer, picture, options, patch.
pub fn html(report: &PlanReport) -> String {
    let verdict = report.verdict();
    let (sign, class) = words::sign(verdict);
    let title = format!("{}: plan for {}", words::word(verdict), report.scenario);
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
                    text.leaf("h1", &[], format!("Plan for {}", report.scenario));
                    text.leaf("p", &[], &report.answer);
                });
            });
        });
        body.line();
        body.element("main", &[], |main| sections(main, report));
        body.line();
        body.leaf(
            "footer",
            &[],
            format!(
                "Written by windtunnel {} from seed {}. This file is complete: it loads nothing.",
                env!("CARGO_PKG_VERSION"),
                report.seed
            ),
        );
    })
}

fn sections(main: &mut Markup, report: &PlanReport) {
    main.leaf("h2", &[], "Cost and latency");
    main.element("div", &[("class", &"scroll")], |region| {
        region.append(&scatter::picture(&picture(report), false));
    });
    main.line();
    main.leaf("h2", &[], "Options");
    tables::html(main, &options_table(report));
    for note in &report.notes {
        main.leaf("p", &[("class", &"soft")], note);
    }
    if let Some(patch) = &report.patch_yaml {
        main.leaf("h2", &[], "Patch");
        main.leaf("pre", &[("tabindex", &"0")], patch);
    }
    if !report.reproduce.is_empty() {
        main.leaf("h2", &[], "Reproduce");
        main.leaf("pre", &[("class", &"command"), ("tabindex", &"0")], &report.reproduce);
    }
}

fn picture(report: &PlanReport) -> Scatter {
    let mut places: Vec<Option<usize>> = vec![None; report.options.len()];
    let mut dots = Vec::new();
    let pareto = report.pareto();
    // What is marked comes first, so that it is drawn however many there are.
    let first = report.cheapest.into_iter().chain(pareto.iter().copied());
    for place in first.chain(0..report.options.len()) {
        let Some(option) = report.options.get(place) else { continue };
        let (Some(cost), Some(p99)) = (option.cost_per_hour, option.p99_ms) else { continue };
        let finite =
            [cost.mean, cost.low, cost.high, p99.mean, p99.low, p99.high].iter().all(|v| v.is_finite());
        if places[place].is_some() || dots.len() == MOST_DOTS || !finite {
            continue;
        }
        places[place] = Some(dots.len());
        dots.push(Dot {
            x: (cost.mean, cost.low, cost.high),
            y: (p99.mean * 1e6, p99.low * 1e6, p99.high * 1e6),
            mark: match option.verdict {
                Verdict::Pass => Mark::Disc,
                Verdict::Fail => Mark::Cross,
                Verdict::Inconclusive | Verdict::NotJudged => Mark::Ring,
            },
            title: format!(
                "{} {}: {} an hour, p99 {}",
                words::word(option.verdict),
                option.label(),
                interval_text(option.cost_per_hour, figures::significant),
                interval_text(option.p99_ms, |ms| figures::duration(ms * 1e6))
            ),
        });
    }
    let at = |place: usize| places.get(place).copied().flatten();
    let chosen = report
        .cheapest
        .and_then(|place| Some((at(place)?, format!("cheapest: {}", report.options[place].label()))));
    Scatter {
        title: format!("Cost against p99: {}", report.scenario),
        summary: format!("Cost an hour against the 99th percentile of the latency. {}", report.answer),
        x_title: "cost an hour".to_owned(),
        y_title: "p99, log scale".to_owned(),
        pareto: pareto.into_iter().filter_map(at).collect(),
        chosen,
        limits: report.limits_ms.iter().map(|(label, ms)| (ms * 1e6, label.clone())).collect(),
        dots,
    }
}

/// Where the files of a plan are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanWritten {
    /// The page.
    pub html: PathBuf,
    /// The plan for programs.
    pub json: PathBuf,
    /// The picture.
    pub svg: PathBuf,
    /// The patch; `None` without one.
    pub patch: Option<PathBuf>,
}

/// Writes `plan.html`, `plan.json`, `plan.svg` and, when there is one, `patch.yaml` into `dir`, which is created.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(dir: &Path, report: &PlanReport) -> io::Result<PlanWritten> {
    std::fs::create_dir_all(dir)?;
    let written = PlanWritten {
        html: dir.join("plan.html"),
        json: dir.join("plan.json"),
        svg: dir.join("plan.svg"),
        patch: report.patch_yaml.as_ref().map(|_| dir.join("patch.yaml")),
    };
    std::fs::write(&written.json, json(report)?)?;
    if let (Some(path), Some(patch)) = (&written.patch, &report.patch_yaml) {
        std::fs::write(path, patch)?;
    }
    std::fs::write(&written.html, html(report))?;
    std::fs::write(&written.svg, svg(report))?;
    Ok(written)
}
