//! What judging needs to know of a run, counted as the run goes.
//!
//! A recording is judged by counting it afterwards: there is one way to a verdict.

use std::collections::{BTreeMap, VecDeque};

use windtunnel_scenario::Scenario;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::objective::{Metric, Objective, Scope};

use super::canary::CanaryClock;
use super::gauge::Gauge;
use super::group::{Group, Seen};
use super::recovery::Recovery;
use crate::recording::{Event, Measure, Recording, Request, Revision, Source, is_of_service};

/// Requests of a split that wait until it is certain which revision was the canary when they were sent; a request
/// that is answered later than so many others is attributed by what was known by then.
const MOST_WAITING: usize = 65_536;

/// Starts from zero that are remembered, each with time and revision.
const MOST_STARTS: usize = 65_536;

/// Series that say how many requests wait.
const QUEUED: &[&str] = &["requests.queued", "queue.depth"];
/// Series that counts ready pods.
const READY: &[&str] = &["replicas.ready"];
/// Series that says what a run costs.
const COST: &[&str] = &["cost.per_hour"];

/// An objective with the places of what it is judged on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) objective: Objective,
    /// Start and end in nanoseconds of the run; `None` when the flight has nothing of its window.
    pub(super) window: Option<(u64, u64)>,
    /// Requests of its scope in its window.
    pub(super) group: usize,
    /// All requests in its window.
    pub(super) everyone: usize,
    /// The series that it is about.
    pub(super) gauge: Option<usize>,
    /// Faults and what follows.
    pub(super) recovery: Option<usize>,
}

/// A start from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) t_ns: u64,
    pub(super) revision: u16,
}

/// Drift and its discovery.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Drift {
    /// When each feature began to drift.
    pub(super) began_ns: BTreeMap<String, u64>,
    /// When the alarm was first raised for each feature.
    pub(super) detected_ns: BTreeMap<String, Vec<u64>>,
}

/// Counts for every objective of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tallies {
    pub(super) places: Vec<Place>,
    pub(super) groups: Vec<Group>,
    /// For each group, the revisions that are in its scope.
    takes: Vec<Vec<bool>>,
    /// For each group, whether it takes requests that no revision answered.
    takes_unrouted: Vec<bool>,
    pub(super) gauges: Vec<(Gauge, Scope)>,
    pub(super) recoveries: Vec<(Recovery, usize)>,
    pub(super) starts: Vec<Start>,
    /// Starts from zero that there was no room for.
    pub(super) more_starts: u64,
    pub(super) drift: Drift,
    pub(super) clock: CanaryClock,
    /// Whether any objective is about a split.
    minds_split: bool,
    waiting: VecDeque<(Seen, u16)>,
    pub(super) revisions: Vec<String>,
    pub(super) source: Source,
    pub(super) compression: f64,
    /// Target of the only load: then it is everybody's service.
    only_target: Option<String>,
}

impl Tallies {
    /// For the objectives of a scenario; `exact` keeps every latency.
    pub(crate) fn new(scenario: &Scenario, source: Source, flight: Flight, exact: bool) -> Self {
        let mut tallies = Self {
            places: Vec::new(),
            groups: Vec::new(),
            takes: Vec::new(),
            takes_unrouted: Vec::new(),
            gauges: Vec::new(),
            recoveries: Vec::new(),
            starts: Vec::new(),
            more_starts: 0,
            drift: Drift::default(),
            clock: CanaryClock::default(),
            minds_split: false,
            waiting: VecDeque::new(),
            revisions: Vec::new(),
            source,
            compression: scenario.compression_of(flight),
            only_target: only_target(scenario),
        };
        for objective in &scenario.objectives {
            let window = scenario.window_in(flight, objective.from, objective.to);
            tallies.place(objective, window, exact);
        }
        tallies
    }

    fn place(&mut self, objective: &Objective, window: Option<(u64, u64)>, exact: bool) {
        let span = window.unwrap_or((0, 0));
        let measure = measure_of(objective.metric);
        let everyone = self.group(&Scope::All, span, Measure::Latency);
        let group = self.group(&objective.scope, span, measure);
        let mut gauge = None;
        let mut recovery = None;
        match objective.metric {
            Metric::Percentile(_) | Metric::FirstToken(_) | Metric::PerToken(_) => {
                self.groups[group].want_quantiles(exact);
                self.groups[group].want_limit(objective);
            }
            Metric::Average => self.groups[group].want_mean(),
            Metric::CanaryShare => self.minds_split = true,
            Metric::Queued => gauge = Some(self.gauge(QUEUED, &objective.scope, span)),
            Metric::Replicas => gauge = Some(self.gauge(READY, &objective.scope, span)),
            Metric::Cost | Metric::CostPerMillion => gauge = Some(self.gauge(COST, &Scope::All, span)),
            Metric::Recovery => {
                self.recoveries.push((Recovery::new(span), group));
                recovery = Some(self.recoveries.len() - 1);
            }
            Metric::Maximum
            | Metric::ErrorRate
            | Metric::Throughput
            | Metric::ColdStarts
            | Metric::ColdRequests
            | Metric::Mismatches
            | Metric::Stable
            | Metric::DriftDetected => {}
        }
        self.places.push(Place { objective: objective.clone(), window, group, everyone, gauge, recovery });
    }

    fn group(&mut self, scope: &Scope, window: (u64, u64), measure: Measure) -> usize {
        let is_it =
            |group: &Group| group.scope == *scope && group.window == window && group.measure == measure;
        self.groups.iter().position(is_it).unwrap_or_else(|| {
            self.minds_split |= matches!(scope, Scope::Canary | Scope::Stable);
            self.takes.push(Vec::new());
            self.takes_unrouted.push(match scope {
                Scope::All => true,
                Scope::Revision(name) => self.only_target.as_deref() == Some(name),
                Scope::Canary | Scope::Stable => false,
            });
            self.groups.push(Group::new(scope.clone(), window, measure));
            self.groups.len() - 1
        })
    }

    fn gauge(&mut self, names: &'static [&'static str], scope: &Scope, window: (u64, u64)) -> usize {
        let is_it =
            |(gauge, held): &(Gauge, Scope)| gauge.names == names && held == scope && gauge.window == window;
        self.gauges.iter().position(is_it).unwrap_or_else(|| {
            self.gauges.push((Gauge::new(names, window), scope.clone()));
            self.gauges.len() - 1
        })
    }

    /// Whether something of that name is in a scope; the canary and the stable revision change with time and are
    /// none of it.
    pub(super) fn is_in_scope(&self, scope: &Scope, name: &str) -> bool {
        match scope {
            Scope::All => true,
            Scope::Revision(wanted) => {
                is_of_service(name, wanted) || self.only_target.as_deref() == Some(wanted)
            }
            Scope::Canary | Scope::Stable => false,
        }
    }

    /// A revision, in the order of the indices by which requests name them.
    pub(crate) fn revision(&mut self, revision: &Revision) {
        self.clock.revision(revision);
        for index in 0..self.groups.len() {
            let takes = self.is_in_scope(&self.groups[index].scope, &revision.name);
            self.takes[index].push(takes);
        }
        self.revisions.push(revision.name.clone());
    }

    /// A request, in any order.
    #[inline]
    pub(crate) fn request(&mut self, request: &Request) {
        if self.groups.is_empty() {
            return;
        }
        let seen = Seen::of(request);
        for (index, group) in self.groups.iter_mut().enumerate() {
            if !group.is_in_window(seen.intended_ns) {
                continue;
            }
            let is_in_scope = match (&group.scope, request.revision) {
                (Scope::All, _) => true,
                (_, Some(revision)) => self.takes[index].get(usize::from(revision)).copied().unwrap_or(false),
                (_, None) => self.takes_unrouted[index],
            };
            if is_in_scope {
                group.add(&seen);
            }
        }
        if !self.recoveries.is_empty() {
            self.watch(request);
        }
        if self.minds_split && request.weight_percent < 100 {
            self.split(seen, request.revision);
        }
    }

    /// Tells the answer to those that wait for a recovery; answers come in order of time.
    fn watch(&mut self, request: &Request) {
        for (recovery, group) in &mut self.recoveries {
            let is_in_scope = match (&self.groups[*group].scope, request.revision) {
                (Scope::All, _) => true,
                (_, Some(revision)) => {
                    self.takes[*group].get(usize::from(revision)).copied().unwrap_or(false)
                }
                (_, None) => self.takes_unrouted[*group],
            };
            if is_in_scope && request.succeeded() {
                recovery.answer(request.done_ns(), request.latency_ns);
            } else if is_in_scope {
                recovery.failure(request.done_ns());
            }
        }
    }

    fn split(&mut self, seen: Seen, revision: Option<u16>) {
        let Some(revision) = revision else { return };
        self.clock.split(revision, seen.intended_ns);
        self.waiting.push_back((seen, revision));
        if self.waiting.len() > MOST_WAITING {
            self.attribute_next();
        }
    }

    /// Attributes the request of a split that has waited longest.
    fn attribute_next(&mut self) {
        let Some((seen, revision)) = self.waiting.pop_front() else { return };
        let Some(is_canary) = self.clock.is_canary(revision, seen.intended_ns) else { return };
        for group in &mut self.groups {
            if !group.is_in_window(seen.intended_ns) {
                continue;
            }
            match group.scope {
                Scope::All => {
                    group.split.0 += 1;
                    group.split.1 += u64::from(is_canary);
                }
                Scope::Canary if is_canary => group.add(&seen),
                Scope::Stable if !is_canary => group.add(&seen),
                Scope::Canary | Scope::Stable | Scope::Revision(_) => {}
            }
        }
    }

    /// All requests attributed, for judging.
    pub(super) fn settled(&self) -> Self {
        let mut settled = self.clone();
        while !settled.waiting.is_empty() {
            settled.attribute_next();
        }
        settled.recoveries.iter_mut().for_each(|(recovery, _)| recovery.end_second());
        settled
    }

    /// A value of a series; values of one series in order of time.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], t_ns: u64, value: f64) {
        if !value.is_finite() || (self.gauges.is_empty() && self.recoveries.is_empty()) {
            return;
        }
        // Every series in question has at most one label.
        let label = labels.first().map_or("", |(_, value)| value);
        for index in 0..self.gauges.len() {
            let (gauge, scope) = &self.gauges[index];
            if gauge.names.contains(&name) && (*scope == Scope::All || self.is_in_scope(scope, label)) {
                self.gauges[index].0.put(name, label, t_ns, value);
            }
        }
        for index in 0..self.recoveries.len() {
            let scope = &self.groups[self.recoveries[index].1].scope;
            if !self.is_in_scope(scope, label) {
                continue;
            }
            let recovery = &mut self.recoveries[index].0;
            match name {
                "replicas.wanted" => recovery.wanted(label, t_ns, value),
                "replicas.ready" => recovery.ready(label, t_ns, value),
                _ => {}
            }
        }
    }

    /// An event, in order of time.
    pub(crate) fn event(&mut self, event: &Event) {
        match event.kind.as_str() {
            Event::FAULT => {
                for (recovery, _) in &mut self.recoveries {
                    recovery.fault(event.t_ns, &event.text);
                }
            }
            Event::DRIFT_BEGAN if self.drift.began_ns.len() < 256 => {
                self.drift.began_ns.entry(event.target.clone()).or_insert(event.t_ns);
            }
            Event::DRIFT_DETECTED if self.drift.detected_ns.len() < 256 => {
                let alarms = self.drift.detected_ns.entry(event.target.clone()).or_default();
                if alarms.len() < 1024 {
                    alarms.push(event.t_ns);
                }
            }
            _ => {}
        }
    }

    /// A start of a pod.
    pub(crate) fn start(&mut self, t_ns: u64, revision: &str, activated: bool) {
        if !activated {
            return;
        }
        if self.starts.len() == MOST_STARTS {
            self.more_starts += 1;
            return;
        }
        let index = self.revisions.iter().position(|name| name == revision);
        let revision = index.and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
        self.starts.push(Start { t_ns, revision });
    }

    /// Counts a recording.
    pub(crate) fn of(scenario: &Scenario, recording: &Recording) -> Self {
        let mut tallies = Self::new(scenario, recording.meta.source, recording.meta.flight, true);
        for revision in &recording.revisions {
            tallies.revision(revision);
        }
        for start in &recording.cold_starts {
            tallies.start(start.t_ns, &start.revision, start.activated);
        }
        for request in recording.requests.iter().filter(|request| request.weight_percent < 100) {
            if let Some(revision) = request.revision {
                tallies.clock.split(revision, request.intended_ns);
            }
        }
        tallies.play(recording);
        if tallies.recoveries.is_empty() {
            recording.requests.iter().for_each(|request| tallies.request(request));
        }
        tallies
    }

    /// Everything whose order matters, in order of time: events before samples before answers.
    fn play(&mut self, recording: &Recording) {
        enum Item<'a> {
            Event(&'a Event),
            Sample(&'a str, &'a str, f64),
            Request(&'a Request),
        }
        let mut items: Vec<(u64, u8, Item<'_>)> = Vec::new();
        items.extend(recording.events.iter().map(|event| (event.t_ns, 0, Item::Event(event))));
        if !(self.gauges.is_empty() && self.recoveries.is_empty()) {
            for (key, points) in &recording.series {
                let is_needed = self.gauges.iter().any(|(gauge, _)| gauge.names.contains(&key.name.as_str()))
                    || (!self.recoveries.is_empty() && key.name.starts_with("replicas."));
                if !is_needed {
                    continue;
                }
                let label = key.labels.values().next().map_or("", String::as_str);
                items.extend(
                    points.iter().map(|point| (point.t_ns, 1, Item::Sample(&key.name, label, point.value))),
                );
            }
        }
        if !self.recoveries.is_empty() {
            items.extend(
                recording.requests.iter().map(|request| (request.done_ns(), 2, Item::Request(request))),
            );
        }
        items.sort_by_key(|(t_ns, kind, _)| (*t_ns, *kind));
        for (t_ns, _, item) in items {
            match item {
                Item::Event(event) => self.event(event),
                Item::Sample(name, label, value) => self.sample(name, &[("", label)], t_ns, value),
                Item::Request(request) => self.request(request),
            }
        }
    }
}

/// What an objective measures of requests.
fn measure_of(metric: Metric) -> Measure {
    match metric {
        Metric::FirstToken(_) => Measure::FirstToken,
        Metric::PerToken(_) => Measure::PerToken,
        _ => Measure::Latency,
    }
}

fn only_target(scenario: &Scenario) -> Option<String> {
    match scenario.loads.as_slice() {
        [only] => Some(only.target.clone()),
        _ => None,
    }
}
