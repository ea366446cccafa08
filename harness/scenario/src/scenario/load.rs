//! The load: which service is called, with what, and when.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use crate::quantity::{Duration, Rate};

/// How long a client waits unless the file says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_s(30);

/// The load of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Name of the InferenceService; no two loads share one.
    pub target: String,
    /// Which inference protocol the requests speak.
    pub protocol: Protocol,
    /// The request rows, see [`crate::requests::RequestSet`].
    pub requests: PathBuf,
    /// How long a client waits before it gives up.
    pub timeout: Duration,
    /// Whether and how a client tries again; `None` never does.
    pub retries: Option<Retries>,
    /// The broker that arrivals go to as messages; `None` sends them as requests.
    pub queue: Option<Queue>,
    /// The share of requests, or of users in a closed loop, that meets the conditions of an A/B test
    /// (`analysis.match` of a Canary), from 0 to 1; `None` where there is no such test.
    pub matching: Option<f64>,
    /// When requests are sent.
    pub arrivals: Arrivals,
}

impl Load {
    /// A load of requests with the default protocol and time-out, without retries.
    pub fn new(target: impl Into<String>, requests: impl Into<PathBuf>, arrivals: Arrivals) -> Self {
        Self {
            target: target.into(),
            protocol: Protocol::V1,
            requests: requests.into(),
            timeout: DEFAULT_TIMEOUT,
            retries: None,
            queue: None,
            matching: None,
            arrivals,
        }
    }
}

/// Inference protocols that a load can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// `POST /v1/models/NAME:predict`
    V1,
    /// `POST /v2/models/NAME/infer`
    V2,
}

/// How a client tries again after a failure that is worth it.
///
/// The wait before the n-th further try is `backoff · factor^(n-1)`, at most `most`, of which the share
/// `jitter` is random: the wait lies evenly between `(1 - jitter)` and 1 times that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Further tries after the first, at least 1.
    pub attempts: u32,
    /// The wait before the first of them.
    pub backoff: Duration,
    /// What the wait is multiplied by from one try to the next, at least 1.
    pub factor: f64,
    /// The longest wait, at least `backoff`.
    pub most: Duration,
    /// The random share of a wait, from 0 to 1.
    pub jitter: f64,
    /// The failures that are tried again; not empty, each once.
    pub on: Vec<RetryOn>,
}

impl Default for Retries {
    /// Three further tries on 502, 503, 504 and time-outs: 100 ms, 200 ms, 400 ms, half of each random.
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_ms(100),
            factor: 2.0,
            most: Duration::from_s(10),
            jitter: 0.5,
            on: vec![RetryOn::Status(502), RetryOn::Status(503), RetryOn::Status(504), RetryOn::Timeout],
        }
    }
}

/// A failure that a client may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// An answer with this HTTP status, from 400 to 599.
    Status(u16),
    /// No answer within the client's time-out.
    Timeout,
}

/// A broker between the load and the target: arrivals are messages that the target's pods consume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Which broker's rules hold.
    pub broker: Broker,
    /// Partitions of a Kafka topic; always 1 for RabbitMQ.
    pub partitions: u32,
    /// Messages that a consumer holds at once, at least 1.
    pub prefetch: u32,
    /// After how long a message that was not acknowledged is delivered again.
    pub visibility_timeout: Duration,
    /// How often a message is delivered before it is given up, at least 1.
    pub deliveries: u32,
}

impl Default for Queue {
    /// A RabbitMQ queue whose consumers take one message at a time, redelivered after 30 s, five times at most.
    fn default() -> Self {
        Self {
            broker: Broker::Rabbitmq,
            partitions: 1,
            prefetch: 1,
            visibility_timeout: Duration::from_s(30),
            deliveries: 5,
        }
    }
}

/// Message brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Broker {
    /// One queue; any consumer takes the next message.
    Rabbitmq,
    /// A topic with partitions, each consumed by one member of the group.
    Kafka,
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Arrivals {
    /// Open loop: one phase after the other, from the start of the scenario.
    Phases {
        /// How arrivals are spread around the rate.
        process: Process,
        /// At least one; together not longer than the scenario.
        phases: Vec<Phase>,
    },
    /// Closed loop: each user sends a request, waits for the answer, thinks, and sends the next one.
    Users {
        /// How many users there are, one phase after the other.
        phases: Vec<UserPhase>,
        /// How long a user thinks.
        think_time: Distribution,
    },
    /// Recorded arrivals, one trace after the other.
    Trace(Vec<Trace>),
}

/// How arrivals are spread around a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    /// Evenly.
    Constant,
    /// Independently of each other (exponential gaps).
    Poisson,
    /// In bursts: a two-state Markov-modulated Poisson process.
    Bursty(Burst),
}

/// The two states of a bursty process. The mean rate is that of the phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// Rate in a burst divided by the mean rate; above 1 and at most `(on + off) / on`.
    pub factor: f64,
    /// Mean length of a burst (exponentially distributed).
    pub on: Duration,
    /// Mean length of the time between two bursts (exponentially distributed).
    pub off: Duration,
}

impl Burst {
    /// The share of time in bursts.
    pub fn share(&self) -> f64 {
        self.on.as_s() / (self.on.as_s() + self.off.as_s())
    }

    /// Rate between bursts divided by the mean rate, such that the mean is kept.
    pub fn quiet_factor(&self) -> f64 {
        let share = self.share();
        ((1.0 - share * self.factor) / (1.0 - share)).max(0.0)
    }

    /// The highest factor that leaves a rate of zero or more between bursts.
    pub fn most(&self) -> f64 {
        1.0 / self.share()
    }

    /// The index of dispersion of the counts in windows of `window_s` seconds at a steady mean rate: variance
    /// divided by mean, 1 for a Poisson process.
    ///
    /// Heffes and Lucantoni: "A Markov modulated characterization of packetized voice and data traffic and
    /// related statistical multiplexer performance" (1986).
    pub fn dispersion(&self, mean_per_s: f64, window_s: f64) -> f64 {
        let (leave_on, leave_off) = (1.0 / self.on.as_s(), 1.0 / self.off.as_s());
        let sum = leave_on + leave_off;
        let gap = mean_per_s * (self.factor - self.quiet_factor());
        let limit = 2.0 * gap * gap * leave_on * leave_off / (sum * sum * sum * mean_per_s);
        let reached = 1.0 + libm::expm1(-sum * window_s) / (sum * window_s);
        1.0 + limit * reached
    }
}

/// A stretch of load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// How long it lasts.
    pub length: Duration,
    /// The rate: throughout, at the start of a ramp, around a spike, or the mean of a day.
    pub rate: Rate,
    /// How the rate changes.
    pub shape: Shape,
}

impl Phase {
    /// A phase of one rate.
    pub const fn flat(length: Duration, rate: Rate) -> Self {
        Self { length, rate, shape: Shape::Flat }
    }

    /// A linear ramp from `rate` to `to`.
    pub const fn ramp(length: Duration, rate: Rate, to: Rate) -> Self {
        Self { length, rate, shape: Shape::Ramp { to } }
    }

    /// How many arrivals the phase is expected to have when it begins `start` after the start of the load.
    pub fn expected(&self, start: Duration) -> f64 {
        crate::load::expected(self, start)
    }
}

/// How the rate of a phase changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Not at all.
    Flat,
    /// Linearly, to `to` at the end of the phase.
    Ramp {
        /// The rate at the end.
        to: Rate,
    },
    /// Up linearly, a plateau, and down again linearly; all of it within the phase.
    Spike {
        /// The rate of the plateau.
        to: Rate,
        /// When the rise begins, from the start of the phase.
        at: Duration,
        /// How long the rise takes.
        rise: Duration,
        /// How long the plateau lasts.
        hold: Duration,
        /// How long the fall takes.
        fall: Duration,
    },
    /// A sine: `rate · (1 + amplitude · cos(2π · (t - peak_at) / period))`, with `t` from the start of the
    /// load, so that phases one after the other share one time of day.
    Diurnal {
        /// Height of the wave divided by the mean, above 0 and at most 1.
        amplitude: f64,
        /// Length of a day.
        period: Duration,
        /// When in the period the rate is highest; below `period`.
        peak_at: Duration,
    },
}

/// A stretch of time with a number of users, or a linear ramp between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPhase {
    /// How long it lasts.
    pub length: Duration,
    /// How many users there are at its start.
    pub count: u32,
    /// How many there are at its end, when it is a ramp.
    pub to: Option<u32>,
}

/// A slice of a file of recorded arrivals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The file.
    pub file: PathBuf,
    /// How it is written.
    pub format: TraceFormat,
    /// Where the slice begins, from the start of the trace. It is the scenario's t=0, or follows the trace
    /// before.
    pub from: Duration,
    /// Where the slice ends; `None` runs on to the end of the trace or of the scenario.
    pub to: Option<Duration>,
    /// Whether the scenario is skipped, not wrong, when the file is absent.
    pub optional: bool,
    /// Rate factor: below 1 each arrival is kept with that probability, above 1 arrivals are repeated. Copies
    /// are spread over the shorter of the two gaps beside the arrival, so that bursts stay bursts.
    pub scale: f64,
    /// Time factor: 0.5 replays the slice in half the time.
    pub stretch: f64,
    /// Only arrivals of this application, for formats that name one.
    pub app: Option<String>,
    /// Only arrivals of this function, for formats that name one.
    pub func: Option<String>,
    /// How the arrivals of a minute are spread, for formats of counts.
    pub process: Process,
}

impl Trace {
    /// All of a file, as it was recorded.
    pub fn whole(file: impl Into<PathBuf>, format: TraceFormat) -> Self {
        Self {
            file: file.into(),
            format,
            from: Duration::ZERO,
            to: None,
            optional: false,
            scale: 1.0,
            stretch: 1.0,
            app: None,
            func: None,
            process: Process::Poisson,
        }
    }
}

/// Trace file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// CSV with columns `TIMESTAMP,ContextTokens,GeneratedTokens` (Azure Public Dataset, LLM inference).
    /// The first row is the start of the trace.
    #[serde(rename = "azure-llm-2023")]
    AzureLlm2023,
    /// CSV with columns `app,func,end_timestamp,duration` in seconds (Azure Public Dataset, Functions 2021).
    /// It is in order of end; arrivals are `end_timestamp - duration`. Time 0 is the start of the trace.
    #[serde(rename = "azure-functions-2021")]
    AzureFunctions2021,
    /// CSV with columns `HashOwner,HashApp,HashFunction,Trigger` and then `1` to `1440`: invocations in each
    /// minute of a day (Azure Public Dataset, Functions 2019). Midnight is the start of the trace.
    #[serde(rename = "azure-functions-2019")]
    AzureFunctions2019,
    /// One arrival a line: seconds since the start of the trace, or an RFC 3339 instant (the first one is
    /// the start). A first line `timestamp` is taken for a header.
    Timestamps,
}
