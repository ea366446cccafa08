//! A recorder of bounded memory, for runs of any length.
//!
//! A [`Recording`] keeps every request; a [`Digest`] counts them: 100 million requests take as much memory as a
//! million. What it keeps is bounded in number, and it says what it left out:
//!
//! | what | bound |
//! | --- | --- |
//! | latencies, times of tokens | [`LatencyHistogram`]s: in total and over time, by revision and service, within 0.2 % to p99.99 |
//! | time | [`MOST_BUCKETS`] stretches, merged in pairs as the run grows |
//! | causes of failures | [`MOST_CAUSES`] |
//! | cold starts | [`MOST_PHASES`] phases as histograms, the first [`MOST_KEPT`] starts |
//! | series | [`MOST_SERIES`], each of [`MOST_POINTS`] points |
//! | decisions and events | the first [`MOST_DECISIONS`] and [`MOST_EVENTS`] |
//! | objectives | exact counts, see [`crate::judge`]: the same verdicts as on a recording |
//!
//! ```
//! use windtunnel_record::{Digest, Meta, Recorder, Request, Revision, Source};
//!
//! let mut digest = Digest::new(Meta::new("quickstart", Source::Simulated, 42, 100_000_000_000));
//! let revision = digest.revision(Revision {
//!     name: "digits-predictor-00001".into(),
//!     storage_uri: "s3://models/digits/v1".into(),
//!     created_ns: 0,
//! });
//! for n in 0..100_000 {
//!     digest.request(Request::answered(n * 1_000_000, 2_000_000 + n, revision));
//! }
//! let p99 = digest.latencies().quantile(0.99).unwrap() as f64;
//! assert!((p99 / 2_099_000.0 - 1.0).abs() < 0.002);
//! ```

mod causes;
mod series;
mod starts;
mod time;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use windtunnel_scenario::Scenario;

use crate::histogram::LatencyHistogram;
use crate::judge::{Gate, Tallies, gates};
use crate::recorder::{Recorder, SeriesId};
use crate::recording::{ColdStart, Decision, Event, Measure, Meta, Recording, Request, Revision, SeriesKey};
use crate::stability;

pub use causes::{Cause, MOST_CAUSES};
pub use series::{MOST_POINTS, MOST_SERIES, ThinSeries, ThinSeriesSet};
pub use starts::{MOST_KEPT, MOST_PHASES, Starts};
pub use time::{MOST_BUCKETS, TimeBucket, TimeBuckets};
pub use tokens::TokenTimes;

use causes::Causes;
use time::count_at;

/// Revisions whose latencies are told apart, at most; the rest is counted together.
pub const MOST_REVISIONS: usize = 64;

/// Decisions kept, at most.
pub const MOST_DECISIONS: usize = 2_000;

/// Events kept, at most.
pub const MOST_EVENTS: usize = 2_000;

/// Nanoseconds of lateness from which on a request counts as sent late.
const LATE_NS: u64 = 10_000_000;

/// Requests of one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevisionCounts {
    /// Latencies of its successful answers.
    pub latencies: LatencyHistogram,
    /// What language models took for tokens of those.
    pub tokens: TokenTimes,
    /// Requests that it did not answer successfully.
    pub failed: u64,
}

impl RevisionCounts {
    /// Times of its successful answers.
    pub fn times(&self, measure: Measure) -> &LatencyHistogram {
        self.tokens.times(measure).unwrap_or(&self.latencies)
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.tokens.add(&other.tokens);
        self.failed += other.failed;
    }
}

/// What was observed in a run, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    meta: Meta,
    revisions: Vec<Revision>,
    time: TimeBuckets,
    /// One more than revisions told apart: the last is for requests that no revision answered.
    by_revision: Vec<RevisionCounts>,
    unrouted: RevisionCounts,
    causes: Causes,
    held: LatencyHistogram,
    late: u64,
    worst_lag_ns: u64,
    starts: Starts,
    series: ThinSeriesSet,
    decisions: Vec<Decision>,
    more_decisions: u64,
    events: Vec<Event>,
    more_events: u64,
    tallies: Option<Tallies>,
}

impl Digest {
    /// An empty digest that judges nothing.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            revisions: Vec::new(),
            time: TimeBuckets::new(),
            by_revision: Vec::new(),
            unrouted: RevisionCounts::default(),
            causes: Causes::default(),
            held: LatencyHistogram::new(),
            late: 0,
            worst_lag_ns: 0,
            starts: Starts::default(),
            series: ThinSeriesSet::default(),
            decisions: Vec::new(),
            more_decisions: 0,
            events: Vec::new(),
            more_events: 0,
            tallies: None,
        }
    }

    /// An empty digest that counts for the objectives of a scenario.
    pub fn judging(meta: Meta, scenario: &Scenario) -> Self {
        let tallies = Tallies::new(scenario, meta.source, meta.flight, false);
        Self { tallies: Some(tallies), ..Self::new(meta) }
    }

    /// Counts a recording; it judges nothing.
    pub fn of(recording: &Recording) -> Self {
        let mut digest = Self::new(recording.meta.clone());
        digest.take(recording);
        digest
    }

    /// Records everything that a recording holds, in order of time.
    fn take(&mut self, recording: &Recording) {
        for revision in &recording.revisions {
            self.revisions.push(revision.clone());
        }
        for (key, points) in &recording.series {
            let labels: Vec<(&str, &str)> =
                key.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            if let Some(place) = self.series.place(&key.name, &labels)
                && let Some((_, series)) = self.series.at(place)
            {
                points.iter().for_each(|point| series.push(point.t_ns, point.value));
            }
        }
        recording.requests.iter().for_each(|request| self.count(request));
        recording.decisions.iter().for_each(|decision| self.decision(decision.clone()));
        recording.events.iter().for_each(|event| self.event(event.clone()));
        recording.cold_starts.iter().for_each(|start| self.cold_start(start.clone()));
    }

    /// The verdicts of the scenario's objectives, in its order; empty when none were asked for.
    pub fn judge(&self) -> Vec<Gate> {
        self.tallies
            .as_ref()
            .map_or_else(Vec::new, |tallies| gates(tallies, |window| stability::assess_in(self, window)))
    }

    /// Which run it was.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Which run it was, to be completed by the one who records (versions, length).
    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// In order of creation.
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// Counts over time.
    pub fn time(&self) -> &TimeBuckets {
        &self.time
    }

    /// Requests that were sent.
    pub fn requests(&self) -> u64 {
        self.succeeded() + self.failed()
    }

    /// Requests that were answered successfully.
    pub fn succeeded(&self) -> u64 {
        self.counts().map(|counts| counts.latencies.len()).sum()
    }

    /// Requests that were not.
    pub fn failed(&self) -> u64 {
        self.counts().map(|counts| counts.failed).sum()
    }

    fn counts(&self) -> impl Iterator<Item = &RevisionCounts> {
        self.by_revision.iter().chain([&self.unrouted])
    }

    /// Latencies of all successful requests.
    pub fn latencies(&self) -> LatencyHistogram {
        self.times(Measure::Latency)
    }

    /// Times of all successful requests.
    pub fn times(&self, measure: Measure) -> LatencyHistogram {
        let mut all = LatencyHistogram::new();
        self.counts().for_each(|counts| all.add(counts.times(measure)));
        all
    }

    /// Requests by revision, in order of creation; those beyond [`MOST_REVISIONS`] are counted as `other revisions`.
    pub fn by_revision(&self) -> impl Iterator<Item = (&str, &RevisionCounts)> {
        self.by_revision.iter().enumerate().map(|(index, counts)| {
            let name = match self.revisions.get(index) {
                _ if index == MOST_REVISIONS => "other revisions",
                Some(revision) => revision.name.as_str(),
                None => "unknown revision",
            };
            (name, counts)
        })
    }

    /// Requests by service, in order of name. Requests that no revision answered are not in it when there are
    /// several services: nobody knows whose they were.
    pub fn by_service(&self) -> BTreeMap<&str, RevisionCounts> {
        let mut services: BTreeMap<&str, RevisionCounts> = BTreeMap::new();
        for (index, counts) in self.by_revision.iter().enumerate().take(MOST_REVISIONS) {
            let Some(revision) = self.revisions.get(index) else { continue };
            let service = services.entry(revision.service()).or_default();
            service.add(counts);
        }
        if services.len() == 1
            && let Some(service) = services.values_mut().next()
        {
            service.add(&self.unrouted);
        }
        services
    }

    /// Why requests failed and how many for each cause, in order of first appearance.
    pub fn causes(&self) -> impl Iterator<Item = (&Cause, u64)> {
        self.causes.iter()
    }

    /// Failures for each cause over time: one row a bucket, one column a cause.
    pub fn causes_over_time(&self) -> impl Iterator<Item = &[u64]> {
        self.time.iter().map(|bucket| bucket.causes.as_slice())
    }

    /// Failures of a bucket that a service without room for more work gives.
    pub(crate) fn refused_in(&self, bucket: &TimeBucket) -> u64 {
        let refuses = |index: usize| self.causes.get(index).is_some_and(Cause::is_for_lack_of_capacity);
        bucket.causes.iter().enumerate().filter(|(index, _)| refuses(*index)).map(|(_, count)| count).sum()
    }

    /// How long requests were held for lack of a ready pod: those that were.
    pub fn held(&self) -> &LatencyHistogram {
        &self.held
    }

    /// Requests that left more than 10 ms later than intended.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The longest that a request left later than intended, nanoseconds.
    pub fn worst_lag_ns(&self) -> u64 {
        self.worst_lag_ns
    }

    /// Starts of pods.
    pub fn starts(&self) -> &Starts {
        &self.starts
    }

    /// Values over time.
    pub fn series(&self) -> &ThinSeriesSet {
        &self.series
    }

    /// The first decisions, and how many more there were.
    pub fn decisions(&self) -> (&[Decision], u64) {
        (&self.decisions, self.more_decisions)
    }

    /// The first events, and how many more there were.
    pub fn events(&self) -> (&[Event], u64) {
        (&self.events, self.more_events)
    }

    /// The last instant at which anything was recorded, nanoseconds; at least the length of the run.
    pub fn end_ns(&self) -> u64 {
        let series = self.series.iter().filter_map(|(_, series)| series.last()).map(|point| point.t_ns);
        series.fold(self.meta.duration_ns, u64::max)
    }

    #[inline]
    fn count(&mut self, request: &Request) {
        let succeeded = request.succeeded();
        let bucket = self.time.at(request.intended_ns);
        bucket.offered += 1;
        if succeeded {
            bucket.latencies.record(request.latency_ns);
            bucket.tokens.count(request);
        }
        let counts = match request.revision {
            Some(revision) => {
                let place = usize::from(revision).min(MOST_REVISIONS);
                count_at(&mut bucket.routed, place);
                if place >= self.by_revision.len() {
                    self.by_revision.resize_with(place + 1, RevisionCounts::default);
                }
                &mut self.by_revision[place]
            }
            None => &mut self.unrouted,
        };
        if request.held_ns > 0 {
            bucket.held += 1;
            self.held.record(request.held_ns);
        }
        let lag_ns = request.sent_ns.saturating_sub(request.intended_ns);
        if lag_ns > LATE_NS {
            self.late += 1;
            self.worst_lag_ns = self.worst_lag_ns.max(lag_ns);
        }
        if succeeded {
            counts.latencies.record(request.latency_ns);
            counts.tokens.count(request);
            self.time.at(request.done_ns()).served += 1;
        } else {
            counts.failed += 1;
            let cause = self.causes.count(request);
            let bucket = self.time.at(request.done_ns());
            bucket.failed += 1;
            count_at(&mut bucket.causes, cause);
        }
    }
}

impl Recorder for Digest {
    fn revision(&mut self, revision: Revision) -> u16 {
        let known = self.revisions.iter().position(|held| held.name == revision.name);
        let index = known.unwrap_or_else(|| {
            if self.revisions.len() < usize::from(u16::MAX) {
                if let Some(tallies) = &mut self.tallies {
                    tallies.revision(&revision);
                }
                self.revisions.push(revision);
            }
            self.revisions.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    #[inline]
    fn request(&mut self, request: Request) {
        self.count(&request);
        if let Some(tallies) = &mut self.tallies {
            tallies.request(&request);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], t_ns: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let Some(place) = self.series.place(name, labels)
            && let Some((_, series)) = self.series.at(place)
        {
            series.push(t_ns, value);
        }
        if let Some(tallies) = &mut self.tallies {
            tallies.sample(name, labels, t_ns, value);
        }
    }

    fn open_series(&mut self, name: &str, labels: &[(&str, &str)]) -> SeriesId {
        let place = self.series.place(name, labels).and_then(|place| u32::try_from(place).ok());
        SeriesId { place, key: Arc::new(SeriesKey::new(name, labels)) }
    }

    fn point(&mut self, series: &SeriesId, t_ns: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let labels = || -> Vec<(&str, &str)> {
            series.key.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
        };
        let place = series.place.map(|place| place as usize);
        let own = place.and_then(|place| self.series.at(place)).filter(|(key, _)| *key == *series.key);
        match own {
            Some((_, thin)) => {
                thin.push(t_ns, value);
                if let Some(tallies) = &mut self.tallies {
                    tallies.sample(&series.key.name, &labels(), t_ns, value);
                }
            }
            // Made by another recorder, before a snapshot was taken.
            None => self.sample(&series.key.name, &labels(), t_ns, value),
        }
    }

    fn decision(&mut self, decision: Decision) {
        if self.decisions.len() < MOST_DECISIONS {
            self.decisions.push(decision);
        } else {
            self.more_decisions += 1;
        }
    }

    fn event(&mut self, event: Event) {
        if let Some(tallies) = &mut self.tallies {
            tallies.event(&event);
        }
        if self.events.len() < MOST_EVENTS {
            self.events.push(event);
        } else {
            self.more_events += 1;
        }
    }

    fn cold_start(&mut self, start: ColdStart) {
        if let Some(tallies) = &mut self.tallies {
            tallies.start(start.t_ns, &start.revision, start.activated);
        }
        let bucket = self.time.at(start.t_ns);
        bucket.starts += 1;
        bucket.starts_from_zero += u64::from(start.activated);
        self.starts.add(start);
    }
}
