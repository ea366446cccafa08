//! The schema of `spec.load`.

use schemars::JsonSchema;

use super::quantities::{DurationText, PercentText, RateText};
use crate::scenario::{Broker, Protocol, TraceFormat};

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum LoadsFile {
    /// The load of one service.
    One(Box<LoadFile>),
    /// The loads of several services; the first is the one that is flown live.
    Several(#[schemars(length(min = 1))] Vec<LoadFile>),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct LoadFile {
    /// Name of the InferenceService; may be left out when there is only one.
    target: Option<String>,
    /// Inference protocol; v1 unless given.
    protocol: Option<Protocol>,
    /// JSON Lines with the requests to send, relative to this file.
    requests: String,
    /// How long a client waits; 30s unless given.
    timeout: Option<DurationText>,
    /// Whether and how clients try again; they don't unless given.
    retries: Option<RetriesFile>,
    /// Send messages to a broker instead of requests.
    queue: Option<QueueFile>,
    /// The share of requests, or of users in a closed loop, that meets the conditions of a Flagger A/B test
    /// (analysis.match), such as 10%; spread evenly over them, and only simulated.
    matching: Option<PercentText>,
    /// When requests are sent: phases, users or a trace.
    arrivals: ArrivalsFile,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RetriesFile {
    /// Further tries after the first; 3 unless given.
    #[schemars(range(min = 1, max = 100))]
    attempts: Option<u32>,
    /// The wait before the first further try; 100ms unless given.
    backoff: Option<DurationText>,
    /// What the wait is multiplied by from try to try; 2 unless given.
    #[schemars(range(min = 1, max = 100))]
    factor: Option<f64>,
    /// The longest wait; 10s unless given.
    most: Option<DurationText>,
    /// The random share of a wait; 50% unless given.
    jitter: Option<PercentText>,
    /// What is tried again: HTTP statuses and timeout; [502, 503, 504, timeout] unless given.
    #[schemars(length(min = 1))]
    on: Option<Vec<RetryOnFile>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RetryOnFile {
    /// An HTTP status.
    Status(#[schemars(range(min = 400, max = 599))] u16),
    /// No answer in time.
    Timeout(TimeoutWord),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum TimeoutWord {
    Timeout,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct QueueFile {
    /// Whose rules hold.
    broker: Broker,
    /// Partitions of a Kafka topic; 1 unless given.
    #[schemars(range(min = 1, max = 100_000))]
    partitions: Option<u32>,
    /// Messages that a consumer holds at once; 1 unless given.
    #[schemars(range(min = 1, max = 65_535))]
    prefetch: Option<u32>,
    /// After how long a message that was not acknowledged is delivered again; 30s unless given.
    visibility_timeout: Option<DurationText>,
    /// How often a message is delivered at most; 5 unless given.
    #[schemars(range(min = 1, max = 1_000))]
    deliveries: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct ArrivalsFile {
    /// How arrivals are spread around the rate; poisson unless given.
    process: Option<ProcessFile>,
    /// The states of a bursty process.
    burst: Option<BurstFile>,
    /// Rates, one after the other, from the start.
    #[schemars(length(min = 1))]
    phases: Option<Vec<PhaseFile>>,
    /// Users who send, wait for the answer and think, one phase after the other.
    #[schemars(length(min = 1))]
    users: Option<Vec<UserPhaseFile>>,
    /// How long users think.
    think_time: Option<DistributionFile>,
    /// Recorded arrivals: one trace, or a list of traces that are replayed one after the other.
    trace: Option<TracesFile>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum ProcessFile {
    /// Evenly.
    Constant,
    /// Independently of each other.
    Poisson,
    /// In bursts.
    Bursty,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BurstFile {
    /// Rate in a burst divided by the mean rate; at most (on + off) / on, so that the mean can be kept.
    factor: f64,
    /// Mean length of a burst.
    on: DurationText,
    /// Mean length of the time between two bursts.
    off: DurationText,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PhaseFile {
    /// How long it lasts.
    #[schemars(rename = "for")]
    length: DurationText,
    /// The rate, or where a ramp begins, or the mean of a day.
    rate: RateText,
    /// Where a linear ramp ends.
    to: Option<RateText>,
    /// A trapezoid on top.
    spike: Option<SpikeFile>,
    /// A sine around the rate.
    diurnal: Option<DiurnalFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SpikeFile {
    /// The rate of its plateau.
    to: RateText,
    /// When the rise begins, from the start of the phase.
    at: DurationText,
    /// How long the rise takes; 0s unless given.
    rise: Option<DurationText>,
    /// How long the plateau lasts; 0s unless given.
    hold: Option<DurationText>,
    /// How long the fall takes; 0s unless given.
    fall: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct DiurnalFile {
    /// How far the rate swings around its mean.
    amplitude: PercentText,
    /// Length of a day; 24h unless given.
    period: Option<DurationText>,
    /// When in the day the rate is highest; the load starts at 0h.
    peak_at: DurationText,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct UserPhaseFile {
    /// How long it lasts.
    #[schemars(rename = "for")]
    length: DurationText,
    /// How many users there are, or where a ramp begins.
    #[schemars(range(min = 0, max = 1_000_000))]
    count: u32,
    /// Where a linear ramp ends.
    #[schemars(range(min = 0, max = 1_000_000))]
    to: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum TracesFile {
    /// One trace.
    One(Box<TraceFile>),
    /// Several, one after the other.
    Several(#[schemars(length(min = 1))] Vec<TraceFile>),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TraceFile {
    /// The trace, relative to this file.
    file: String,
    /// How it is written.
    format: TraceFormat,
    /// Where the slice begins in the trace; its start unless given.
    from: Option<DurationText>,
    /// Where the slice ends in the trace; its end unless given.
    to: Option<DurationText>,
    /// Skip the scenario instead of failing when the file is absent.
    optional: Option<bool>,
    /// Rate factor: thins or repeats arrivals; 1 unless given.
    #[schemars(range(min = 0.001, max = 1_000))]
    scale: Option<f64>,
    /// Time factor: 0.5 replays in half the time; 1 unless given.
    #[schemars(range(min = 0.001, max = 1_000))]
    stretch: Option<f64>,
    /// Only arrivals of this application.
    app: Option<String>,
    /// Only arrivals of this function.
    func: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DistributionFile {
    /// Shape of the distribution.
    distribution: DistributionKind,
    /// Its mean; for constant, exponential, lognormal and gamma.
    mean: Option<DurationText>,
    /// Standard deviation divided by mean; for lognormal and gamma.
    #[schemars(range(min = 0, max = 10))]
    cv: Option<f64>,
    /// The exponent of the tail, above 1; for pareto.
    #[schemars(range(min = 1, max = 1_000))]
    shape: Option<f64>,
    /// The shortest time; for pareto.
    minimum: Option<DurationText>,
    /// A recording, or one time in milliseconds a line, relative to this file; for empirical.
    recording: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum DistributionKind {
    Constant,
    Exponential,
    Lognormal,
    Gamma,
    Pareto,
    Empirical,
}
