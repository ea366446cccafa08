//! The metrics that autoscalers can ask for, and the queries that ask for them.
//!
//! A query is `FUNCTION(NAME{labels}[range])` with `rate`, `irate` or `increase`, or a gauge's `NAME{labels}` alone,
//! with `sum(…)`, `avg(…)` or `max(…)` around it or not. Labels select nothing: there are the series of one service.
//!
//! | what it is | names |
//! | --- | --- |
//! | requests that reached the gateway, counter | `istio_requests_total`, `nginx_ingress_controller_requests`, `envoy_cluster_upstream_rq_total`, `gateway_requests_total` |
//! | requests that pods answered, counter | `http_requests_total`, `requests_total`, `request_predict_seconds_count`, `revision_request_count`, `vllm:request_success_total` |
//! | requests on pods now, gauge | `requests_in_flight`, `http_requests_in_flight`, `concurrency`, `concurrent_requests`, `vllm:num_requests_running` |
//! | requests a second that pods answered, gauge of an adapter | `http_requests_per_second`, `requests_per_second`, `rps` |

use serde::{Deserialize, Serialize};

/// The longest range of a query, one hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Signal {
    /// Requests that reached the gateway, those that found nobody included.
    Arrivals,
    /// Requests that pods were through with.
    Answers,
    /// Requests on pods now.
    InFlight,
}

/// How a query makes a number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// As it is.
    Level,
    /// Growth a second, over this window.
    Rate {
        /// Nanoseconds.
        window_ns: u64,
    },
    /// Growth over this window.
    Increase {
        /// Nanoseconds.
        window_ns: u64,
    },
    /// Growth a second over the latest period of scrapes.
    LatestRate,
}

/// A query that the simulator can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Query {
    /// What is counted.
    pub(crate) signal: Signal,
    /// How.
    pub(crate) shape: Shape,
    /// On average a pod instead of all together.
    pub(crate) is_average: bool,
}

const NAMES: [(&str, Signal, bool); 17] = [
    ("istio_requests_total", Signal::Arrivals, true),
    ("nginx_ingress_controller_requests", Signal::Arrivals, true),
    ("envoy_cluster_upstream_rq_total", Signal::Arrivals, true),
    ("gateway_requests_total", Signal::Arrivals, true),
    ("http_requests_total", Signal::Answers, true),
    ("requests_total", Signal::Answers, true),
    ("request_predict_seconds_count", Signal::Answers, true),
    ("revision_request_count", Signal::Answers, true),
    ("vllm:request_success_total", Signal::Answers, true),
    ("requests_in_flight", Signal::InFlight, false),
    ("http_requests_in_flight", Signal::InFlight, false),
    ("concurrency", Signal::InFlight, false),
    ("concurrent_requests", Signal::InFlight, false),
    ("vllm:num_requests_running", Signal::InFlight, false),
    ("http_requests_per_second", Signal::Answers, false),
    ("requests_per_second", Signal::Answers, false),
    ("rps", Signal::Answers, false),
];

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// What cannot be simulated, with what can.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        Self::parsed(text).ok_or_else(|| {
            format!(
                "the query {text:?} is not simulated; write [sum|avg]([rate|irate|increase](NAME{{labels}}[1m])) \
                 with one of these names: {}",
                NAMES.map(|(name, ..)| name).join(", ")
            )
        })
    }

    /// The metric of an adapter: a name alone.
    ///
    /// # Errors
    /// What cannot be simulated, with what can.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let gauges = || NAMES.iter().filter(|(.., is_counter)| !is_counter);
        gauges().find(|(known, ..)| *known == name).map(|(_, signal, _)| Self::gauge(*signal)).ok_or_else(
            || {
                let known: Vec<&str> = gauges().map(|(name, ..)| *name).collect();
                format!("the metric {name:?} is not simulated; there are {}", known.join(", "))
            },
        )
    }

    /// The window that it looks back over; 0 for the present.
    pub(crate) fn window_ns(&self) -> u64 {
        match self.shape {
            Shape::Rate { window_ns } | Shape::Increase { window_ns } => window_ns,
            Shape::Level | Shape::LatestRate => 0,
        }
    }

    fn gauge(signal: Signal) -> Self {
        let shape = if signal == Signal::InFlight { Shape::Level } else { Shape::LatestRate };
        Self { signal, shape, is_average: false }
    }

    fn parsed(text: &str) -> Option<Self> {
        let text = text.trim();
        let (outer, inside) = called(text, &["sum", "avg", "max"]).unwrap_or(("", text));
        if let Some((function, series)) = called(inside, &["rate", "irate", "increase"]) {
            let (series, range) = series.strip_suffix(']')?.rsplit_once('[')?;
            let window_ns = duration_ns(range).filter(|window_ns| *window_ns <= LONGEST_NS)?;
            let signal = signal_of(series, true)?;
            let shape = match function {
                "increase" => Shape::Increase { window_ns },
                "irate" => Shape::LatestRate,
                _ => Shape::Rate { window_ns },
            };
            return Some(Self { signal, shape, is_average: outer == "avg" });
        }
        Some(Self { is_average: outer == "avg", ..Self::gauge(signal_of(inside, false)?) })
            // The greatest of several series is not known from their sum.
            .filter(|_| outer != "max")
    }
}

/// `name(inside)`, where the name is one of these and the parentheses are the outermost ones.
fn called<'a>(text: &'a str, names: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let (name, rest) = text.split_once('(')?;
    let name = names.iter().find(|known| **known == name.trim())?;
    Some((name, rest.strip_suffix(')')?.trim()))
}

fn signal_of(series: &str, is_counter: bool) -> Option<Signal> {
    let series = series.trim();
    let name = match series.split_once('{') {
        Some((name, labels)) => labels.ends_with('}').then_some(name)?,
        None => series,
    };
    let found = NAMES.iter().find(|(known, _, counter)| *known == name.trim() && *counter == is_counter)?;
    Some(found.1)
}

/// `30s`, `5m`, `1h`.
fn duration_ns(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|length_ns| *length_ns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query that is understood as another one scales on the wrong number without a word.
    #[test]
    fn queries_are_read_or_refused() {
        let rate = Query::of("sum(rate(http_requests_total{service=\"digits\"}[2m]))").expect("known");
        let window_ns = 120_000_000_000;
        assert_eq!((rate.signal, rate.shape), (Signal::Answers, Shape::Rate { window_ns }));
        assert_eq!(rate.window_ns(), window_ns);
        let gauge = Query::of("avg(vllm:num_requests_running)").expect("known");
        assert_eq!((gauge.signal, gauge.shape, gauge.is_average), (Signal::InFlight, Shape::Level, true));
        assert_eq!(Query::of("istio_requests_total").ok(), None, "a counter alone grows for ever");
        assert_eq!(
            Query::of("irate(istio_requests_total[1m])").map(|query| query.shape),
            Ok(Shape::LatestRate)
        );
        for other in
            ["", "up", "sum(rate(http_requests_total[1m])) / 2", "rate(http_requests_total)", "max(rps)"]
        {
            let refused = Query::of(other).expect_err("not simulated");
            assert!(refused.contains("requests_in_flight"), "{refused}");
        }
        assert!(Query::named("rps").is_ok());
        assert!(Query::named("http_requests_total").is_err());
    }
}
