//! What a run leaves behind.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use windtunnel_scenario::load::Flight;

/// Version of the recording format.
pub const SCHEMA: &str = "windtunnel.dev/recording/v1";

/// Everything that was observed in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Which run it was.
    pub meta: Meta,
    /// In order of creation.
    pub revisions: Vec<Revision>,
    /// In the order in which they were recorded; [`Recording::sort`] orders them by time.
    pub requests: Vec<Request>,
    /// Values over time.
    pub series: BTreeMap<SeriesKey, Vec<Point>>,
    /// What the control plane decided, and why.
    pub decisions: Vec<Decision>,
    /// What happened.
    pub events: Vec<Event>,
    /// Every start of a pod.
    pub cold_starts: Vec<ColdStart>,
}

/// Which run a recording is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Who wrote it.
    pub source: Source,
    /// Seed of the run.
    pub seed: u64,
    /// How long the load lasted.
    pub duration_ns: u64,
    /// Whether the whole scenario was run or its compressed slice.
    pub flight: Flight,
    /// Versions of what took part, by name.
    pub versions: BTreeMap<String, String>,
}

impl Meta {
    /// A run of the whole scenario.
    pub fn new(scenario: &str, source: Source, seed: u64, duration_ns: u64) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            scenario: scenario.to_owned(),
            source,
            seed,
            duration_ns,
            flight: Flight::Whole,
            versions: BTreeMap::new(),
        }
    }
}

/// Who wrote a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The simulator, in virtual time.
    Simulated,
    /// A flight on a cluster, in real time.
    Live,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simulated => "simulated",
            Self::Live => "live",
        })
    }
}

/// A revision of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its name, such as `digits-predictor-00001`.
    pub name: String,
    /// The model version that it serves.
    pub storage_uri: String,
    /// When it was created; 0 for those that were there before.
    pub created_ns: u64,
}

impl Revision {
    /// Whether this revision belongs to a service of that name: KServe names revisions and deployments after the service
    /// and its component, `digits-predictor-00001`.
    pub fn is_of(&self, service: &str) -> bool {
        is_of_service(&self.name, service)
    }

    /// The service that it belongs to, by its name.
    pub fn service(&self) -> &str {
        service_of(&self.name)
    }
}

/// Components of an InferenceService, as they stand in the names of its revisions.
const COMPONENTS: [&str; 3] = ["-predictor", "-transformer", "-explainer"];

/// The service of a revision, deployment or pod of that name.
pub(crate) fn service_of(name: &str) -> &str {
    let component = COMPONENTS.iter().filter_map(|component| {
        let at = name.rfind(component)?;
        let rest = &name[at + component.len()..];
        (at > 0 && (rest.is_empty() || rest.starts_with('-'))).then_some(at)
    });
    if let Some(at) = component.max() {
        return &name[..at];
    }
    // A Knative revision of another service: five digits after the last dash.
    match name.rsplit_once('-') {
        Some((service, digits)) if digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            service
        }
        _ => name,
    }
}

/// Whether a name is that of `service` itself or of something that belongs to it.
pub(crate) fn is_of_service(name: &str, service: &str) -> bool {
    name == service || service_of(name) == service
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it was meant to be sent.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// From `intended_ns` until the answer was complete, or until the client gave up.
    pub latency_ns: u64,
    /// HTTP status; 0 when there was no HTTP answer.
    pub status: u16,
    /// Index of the revision that answered, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u16>,
    /// Share of the traffic that the chosen backend was to get when this request was routed; 100 without a
    /// split.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub weight_percent: u8,
    /// How long the activator held it for lack of a ready pod.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_ns: u64,
    /// From its intended moment to the first token of a language model's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ns: Option<u64>,
    /// How long a further token of that answer took on average; an answer of one token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ns: Option<u64>,
    /// Which row of the request set it carried.
    pub row: u32,
    /// Whether the answer was the expected one.
    #[serde(default, skip_serializing_if = "Prediction::is_unchecked")]
    pub prediction: Prediction,
    /// What went wrong, when something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn whole() -> u8 {
    100
}

fn is_whole(percent: &u8) -> bool {
    *percent == 100
}

fn is_zero(ns: &u64) -> bool {
    *ns == 0
}

impl Request {
    /// A request that was sent in time, answered with 200 by `revision`, held by nobody and not checked.
    pub fn answered(intended_ns: u64, latency_ns: u64, revision: u16) -> Self {
        Self {
            intended_ns,
            sent_ns: intended_ns,
            latency_ns,
            status: 200,
            revision: Some(revision),
            weight_percent: 100,
            held_ns: 0,
            first_token_ns: None,
            token_ns: None,
            row: 0,
            prediction: Prediction::Unchecked,
            error: None,
        }
    }

    /// Whether it got a successful answer (2xx, complete).
    #[inline]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status) && self.error.is_none()
    }

    /// How long a successful answer took, by that measure; `None` where it was not measured.
    #[inline]
    pub fn measured(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Latency => Some(self.latency_ns),
            Measure::FirstToken => self.first_token_ns,
            Measure::PerToken => self.token_ns,
        }
    }

    /// When its answer was complete, or when the client gave up.
    pub fn done_ns(&self) -> u64 {
        self.intended_ns.saturating_add(self.latency_ns)
    }
}

/// What is measured of the speed of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The whole answer, from the moment at which the request was meant to be sent.
    #[default]
    Latency,
    /// The first token of a language model's answer, from the same moment: TTFT.
    FirstToken,
    /// A further token of it, on average over the answer: TPOT.
    PerToken,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Latency, Self::FirstToken, Self::PerToken];

    pub(crate) fn is_latency(&self) -> bool {
        *self == Self::Latency
    }
}

/// An answer held against the reference prediction of the model version that gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prediction {
    /// There was nothing to hold it against, or nobody did.
    #[default]
    Unchecked,
    /// The same.
    Equal,
    /// Another one.
    Different,
}

impl Prediction {
    fn is_unchecked(&self) -> bool {
        *self == Self::Unchecked
    }
}

/// Name and labels of a series.
///
/// | name | labels | value |
/// | --- | --- | --- |
/// | `replicas.wanted`, `replicas.ready` | `revision` | pods |
/// | `traffic.percent` | `revision` | 0 to 100 |
/// | `requests.in_flight` | none, or `service` | requests |
/// | `requests.queued` | `revision` | requests that wait for a slot |
/// | `requests.mirrored` | `revision` | copies of requests since the last sample, whose answers nobody gets |
/// | `server.utilisation` | `revision` | 0 to 1 |
/// | `nodes.ready`, `nodes.wanted` | `pool` | nodes |
/// | `nodes.cpu_allocated`, `nodes.memory_allocated`, `nodes.gpu_allocated` | `pool` | 0 to 1 |
/// | `pods.pending` | `reason` | pods without a node |
/// | `cost.per_hour` | none, or `pool` | money |
/// | `storage.utilisation` | `prefix` | 0 to 1 |
/// | `queue.depth` | `queue` | messages |
/// | `users.active` | none | users |
/// | `drift.statistic` | `feature` | of the detector |
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// What is measured.
    pub name: String,
    /// Of what.
    pub labels: BTreeMap<String, String>,
}

impl SeriesKey {
    /// A key from borrowed parts.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { name: name.to_owned(), labels }
    }
}

/// One value of a series. Series are sampled at whole seconds: t = 0, 1, 2 …
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u64, f64)", into = "(u64, f64)")]
pub struct Point {
    /// When.
    pub t_ns: u64,
    /// How much; finite.
    pub value: f64,
}

impl From<(u64, f64)> for Point {
    fn from((t_ns, value): (u64, f64)) -> Self {
        Self { t_ns, value }
    }
}

impl From<Point> for (u64, f64) {
    fn from(point: Point) -> Self {
        (point.t_ns, point.value)
    }
}

/// A decision of the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub t_ns: u64,
    /// Who decided, such as `kpa`.
    pub actor: String,
    /// About what: the name of a revision.
    pub target: String,
    /// The value before.
    pub from: i64,
    /// The value decided.
    pub to: i64,
    /// Why, in one line.
    pub text: String,
    /// Inputs, intermediate values and the limit that won.
    pub explanation: serde_json::Value,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub t_ns: u64,
    /// `scenario`, `revision`, `traffic`, `pod`, `activation`, [`Event::FAULT`], [`Event::DRIFT_BEGAN`] or
    /// [`Event::DRIFT_DETECTED`].
    pub kind: String,
    /// To what.
    pub target: String,
    /// What, in one line.
    pub text: String,
}

impl Event {
    /// Kind of a fault that strikes: `recovery` is measured from it. `target` is what it strikes.
    pub const FAULT: &'static str = "fault";
    /// Kind of the moment at which inputs or predictions begin to drift; `target` is the feature.
    pub const DRIFT_BEGAN: &'static str = "drift-began";
    /// Kind of the moment at which a detector raises its alarm; `target` is the feature.
    pub const DRIFT_DETECTED: &'static str = "drift-detected";
}

/// The start of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdStart {
    /// When it began.
    pub t_ns: u64,
    /// Name of its revision.
    pub revision: String,
    /// Name of the pod.
    pub pod: String,
    /// What it waited for, in order, each in nanoseconds.
    pub phases: Vec<(String, u64)>,
    /// Whether the revision was at zero and a request waited for this pod.
    pub activated: bool,
}

impl Recording {
    /// An empty recording.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            revisions: Vec::new(),
            requests: Vec::new(),
            series: BTreeMap::new(),
            decisions: Vec::new(),
            events: Vec::new(),
            cold_starts: Vec::new(),
        }
    }

    /// Orders everything by time.
    ///
    /// Live runs record requests as they are answered, which no two runs do in the same order. Sorted, they
    /// stand in the order in which they were meant to be sent.
    pub fn sort(&mut self) {
        self.requests.sort_by_key(|request| (request.intended_ns, request.row, request.sent_ns));
        for points in self.series.values_mut() {
            points.sort_by_key(|point| point.t_ns);
        }
        self.decisions.sort_by_key(|decision| decision.t_ns);
        self.events.sort_by_key(|event| event.t_ns);
        self.cold_starts.sort_by_key(|start| start.t_ns);
    }

    /// The name of the revision that answered a request, when it is known.
    pub fn revision_of(&self, request: &Request) -> Option<&Revision> {
        self.revisions.get(usize::from(request.revision?))
    }

    /// The points of one series; empty when there is none.
    pub fn points(&self, name: &str, labels: &[(&str, &str)]) -> &[Point] {
        self.series.get(&SeriesKey::new(name, labels)).map_or(&[], Vec::as_slice)
    }
}
