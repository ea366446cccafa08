//! Reports from recordings: HTML, SVG, Markdown, JUnit, JSON and the terminal's verdict table.
//!
//! Everything is derived from a [`RunResult`] (what was judged) and up to three [`Recording`]s (what happened),
//! or a [`Digest`] of a run that was too long to be kept.
//! All formats use the same words: the verdict, one sentence, the gates with observed, limit, samples and reason.
//! Nothing here decides anything.
//!
//! | what | function |
//! | --- | --- |
//! | the report folder of one run | [`write()`] |
//! | the page over several runs | [`write_index`] |
//! | for people at a terminal | [`table`] |
//! | for job summaries | [`markdown`], [`markdown_of`] |
//! | for CI systems | [`junit`], [`junit_of`] |
//! | the answer of a capacity plan | [`plan`] |
//! | results of conformance suites | [`conformance`] |
//!
//! ```
//! use windtunnel_record::result::RunResult;
//!
//! let result = RunResult::new("quickstart", 42, Vec::new(), None, "windtunnel run quickstart.yaml".into());
//! let table = windtunnel_report::table(&result, false);
//! assert!(table.contains("INCONCLUSIVE"), "nothing measured is never a pass");
//! ```
//!
//! The HTML page is one file: charts are SVG that this crate draws, nothing is loaded, and a content security
//! policy forbids everything but the page's own style and script. Names and texts of users go through one escape
//! (module `markup`) whose types leave no way around it.

mod chart;
pub mod conformance;
mod figures;
mod index;
mod junit;
mod markdown;
mod markup;
mod page;
pub mod plan;
mod tables;
mod terminal;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use windtunnel_record::result::RunResult;
use windtunnel_record::{Digest, Recording};
use windtunnel_scenario::Scenario;

pub use index::{IndexEntry, write_index};
pub use junit::{junit, junit_of};
pub use markdown::{SUMMARY_BYTES, markdown, markdown_of};
pub use terminal::table;

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The scenario that was run.
    pub scenario: &'a Scenario,
    /// What came out of it.
    pub result: &'a RunResult,
    /// The simulation of what was flown.
    pub simulated: Option<&'a Recording>,
    /// The live flight.
    pub live: Option<&'a Recording>,
    /// The simulation of the whole load, when only a slice of it was flown.
    pub whole: Option<&'a Recording>,
    /// The simulation of the whole load, counted, when it was too long to keep every request.
    pub counted: Option<&'a Digest>,
}

impl<'a> Input<'a> {
    /// A report without any recording: what was judged.
    pub fn new(scenario: &'a Scenario, result: &'a RunResult) -> Self {
        Self { scenario, result, simulated: None, live: None, whole: None, counted: None }
    }
}

/// Where the files of a report are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The page.
    pub html: PathBuf,
    /// The result for programs.
    pub json: PathBuf,
    /// The result for CI systems.
    pub junit: PathBuf,
    /// The charts as a picture of their own, light or dark as its reader is; `None` without a recording.
    pub svg: Option<PathBuf>,
}

/// Writes `report.html`, `result.json`, `junit.xml` and `timeline.svg` into `dir`, which is created.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn write(dir: &Path, input: &Input<'_>) -> io::Result<Written> {
    std::fs::create_dir_all(dir)?;
    let mut json = serde_json::to_vec_pretty(input.result).map_err(io::Error::other)?;
    json.push(b'\n');
    let svg = svg(input).map(|text| (dir.join("timeline.svg"), text));
    let written = Written {
        html: dir.join("report.html"),
        json: dir.join("result.json"),
        junit: dir.join("junit.xml"),
        svg: svg.as_ref().map(|(path, _)| path.clone()),
    };
    // The verdict for programs first: it must not be lost for the sake of a picture.
    std::fs::write(&written.json, json)?;
    std::fs::write(&written.junit, junit(input.result))?;
    std::fs::write(&written.html, html(input))?;
    if let Some((path, text)) = svg {
        std::fs::write(path, text)?;
    }
    Ok(written)
}

/// The page of one run as text.
pub fn html(input: &Input<'_>) -> String {
    page::page(input)
}

/// The charts of one run's flight as an SVG document; `None` without a recording.
pub fn svg(input: &Input<'_>) -> Option<String> {
    let (_, _, timeline) = page::timelines::timelines(input).into_iter().next()?;
    let picture = chart::render::standalone(&timeline, chart::render::Width::Wide);
    Some(picture.into_string() + "\n")
}
