//! What came of a suite: a verdict a case, why, and how long every wait took.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::assertion::Mismatch;
use crate::case::{Case, Profile, Tag, Tier};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was as expected.
    Passed,
    /// Something was not.
    Failed,
    /// It was left out, by choice or because the run was interrupted.
    Skipped,
    /// The cluster lacks what it needs.
    Unsupported,
}

/// Why a case failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The step, from 1; 0 is what comes before the first.
    pub step: usize,
    /// Where the step stands, `FILE:LINE`.
    pub position: String,
    /// What was done or waited for, and what came of it, in a sentence.
    pub message: String,
    /// Where the nearest object differed.
    pub mismatches: Vec<Mismatch>,
    /// Whether the cluster failed rather than what is tested on it.
    pub environment: bool,
}

/// One step that was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepResult {
    /// Its line in the file.
    pub line: u32,
    /// What it did.
    pub what: String,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// Time from the write before it until what was expected held, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_ms: Option<f64>,
    /// How many times a request or a dry run was sent, where more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
}

/// How one case ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseResult {
    /// Its id.
    pub id: String,
    /// Its promise.
    pub title: String,
    /// `FILE:LINE`.
    pub position: String,
    /// What it runs on.
    pub tier: Tier,
    /// What kind of promise it is.
    pub tags: BTreeSet<Tag>,
    /// What it needs.
    pub needs: Vec<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was not run, or why it failed, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it did.
    pub steps: Vec<StepResult>,
    /// Conditions, events and logs when it failed, before cleaning up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub captured: Vec<String>,
    /// How long it took without cleaning up, in milliseconds.
    pub took_ms: f64,
}

impl CaseResult {
    pub(crate) fn new(case: &Case, verdict: Verdict, reason: Option<String>) -> Self {
        Self {
            id: case.id.clone(),
            title: case.title.clone(),
            position: case.position(),
            tier: case.tier,
            tags: case.tags.clone(),
            needs: case.needs.iter().map(ToString::to_string).collect(),
            verdict,
            reason,
            failure: None,
            steps: Vec::new(),
            captured: Vec::new(),
            took_ms: 0.0,
        }
    }

    /// The group of the catalogue.
    #[must_use]
    pub fn group(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }
}

/// How long waits took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConsistencyStatistics {
    /// How many waits there were.
    pub waits: usize,
    /// The middle one, in milliseconds.
    pub p50_ms: f64,
    /// 95 % took no longer, in milliseconds.
    pub p95_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
}

impl ConsistencyStatistics {
    fn of(mut times: Vec<f64>) -> Option<Self> {
        use windtunnel_kernel::statistics::quantile::nearest_rank;
        times.sort_by(f64::total_cmp);
        Some(Self {
            waits: times.len(),
            p50_ms: nearest_rank(&times, 0.5)?,
            p95_ms: nearest_rank(&times, 0.95)?,
            max_ms: *times.last()?,
        })
    }
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Everything was as expected.
    pub passed: usize,
    /// Something was not.
    pub failed: usize,
    /// Left out.
    pub skipped: usize,
    /// The cluster lacks something.
    pub unsupported: usize,
}

/// How a suite ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SuiteResult {
    /// Distinguishes this run's objects.
    pub run: String,
    /// When it began, RFC 3339.
    pub date: String,
    /// Whose rules were expected.
    pub profile: Profile,
    /// What was tested: the cluster in words.
    pub cluster: String,
    /// Version of the Kubernetes API.
    pub kubernetes: String,
    /// What the cluster offers of what cases may need.
    pub features: Vec<String>,
    /// Every case, in the order of the files.
    pub cases: Vec<CaseResult>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// How long it took, in seconds.
    pub took_s: f64,
}

impl SuiteResult {
    /// How many ended how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in &self.cases {
            *match case.verdict {
                Verdict::Passed => &mut counts.passed,
                Verdict::Failed => &mut counts.failed,
                Verdict::Skipped => &mut counts.skipped,
                Verdict::Unsupported => &mut counts.unsupported,
            } += 1;
        }
        counts
    }

    /// How long the waits took, all together; `None` when there were none.
    #[must_use]
    pub fn consistency(&self) -> Option<ConsistencyStatistics> {
        ConsistencyStatistics::of(times(self.cases.iter()))
    }

    /// The same a group of the catalogue.
    #[must_use]
    pub fn consistency_by_group(&self) -> BTreeMap<String, ConsistencyStatistics> {
        let groups: BTreeSet<&str> = self.cases.iter().map(CaseResult::group).collect();
        let of = |group: &str| {
            ConsistencyStatistics::of(times(self.cases.iter().filter(|case| case.group() == group)))
        };
        groups.into_iter().filter_map(|group| Some((group.to_owned(), of(group)?))).collect()
    }
}

fn times<'a>(cases: impl Iterator<Item = &'a CaseResult>) -> Vec<f64> {
    cases.flat_map(|case| &case.steps).filter_map(|step| step.consistency_ms).collect()
}

pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
