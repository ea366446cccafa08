//! What canary analyses ask for, by name: a small language that stands for the queries of metric providers.
//!
//! A query is `NAME{version="canary"}[1m]`, or two of them with ` / ` or ` - ` between. Version and range may be left
//! out: then it is the canary (`stable` is what it is compared with), over the interval of the metric.
//!
//! | name | value over the range | without requests |
//! | --- | --- | --- |
//! | `success-rate`, `error-rate` | share of requests that were, or were not, answered with a status below 500 | no value |
//! | `latency-p50`, `latency-p99.9`, any quantile | milliseconds in the gateway and behind it, failed requests included | no value |
//! | `prediction-difference` | share of checked predictions that differ from the reference | no value |
//! | `requests` | how many ended | 0 |
//! | `request-rate` | how many ended a second | 0 |
//!
//! A request counts when it ends. One whose client gave up counts as failed. Copies of requests (`analysis.mirror`)
//! count for the version that gets them.
//!
//! While a metrics gap lasts every query is an error: a failed check to Flagger, a measurement in error to Argo, which
//! measures again after ten seconds and gives up after more errors in a row than `consecutiveErrorLimit`, 4. What ended
//! in the gap is counted by queries after it, as a counter would have it.

/// The longest range, one hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// The range where nothing says it, one minute.
pub(super) const DEFAULT_NS: u64 = 60_000_000_000;

const NAMES: &str = "success-rate, error-rate, latency-p50 (or any other quantile), prediction-difference, \
                     requests, request-rate";

/// A number that an analysis asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// What is read.
    pub reading: Reading,
    /// What it is compared with, and how.
    pub against: Option<(Operator, Reading)>,
    /// What the number is multiplied with: 100 where it is a percentage.
    pub scale: f64,
}

/// One version's number over a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// What is counted.
    pub signal: Signal,
    /// Of whom.
    pub side: Side,
    /// How far back it looks.
    pub window_ns: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// Share of requests that were answered with a status below 500.
    SuccessRate,
    /// Share of those that were not.
    ErrorRate,
    /// A quantile of the latency, milliseconds.
    Latency(f64),
    /// Share of checked predictions that differ.
    Difference,
    /// How many requests ended.
    Requests,
    /// How many ended a second.
    RequestRate,
}

/// Of which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The new one.
    Canary,
    /// The one that was promoted last.
    Stable,
}

/// What is made of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The first in units of the second.
    Over,
    /// By how much the first is more.
    Minus,
}

impl Measure {
    /// One number of the canary.
    pub(super) fn of_canary(signal: Signal, window_ns: u64, scale: f64) -> Self {
        Self { reading: Reading { signal, side: Side::Canary, window_ns }, against: None, scale }
    }

    /// Reads a query; `default_ns` is the range where it has none.
    ///
    /// # Errors
    /// What cannot be simulated, with what can.
    pub fn of(query: &str, default_ns: u64) -> Result<Self, String> {
        let parsed = || {
            let split = |operator: &str| query.split_once(operator);
            let (first, second) = match (split(" / "), split(" - ")) {
                (Some((first, second)), _) => (first, Some((Operator::Over, second))),
                (None, Some((first, second))) => (first, Some((Operator::Minus, second))),
                (None, None) => (query, None),
            };
            let against = match second {
                None => None,
                Some((operator, text)) => Some((operator, Reading::of(text, default_ns)?)),
            };
            Some(Self { reading: Reading::of(first, default_ns)?, against, scale: 1.0 })
        };
        parsed().ok_or_else(|| {
            format!(
                "the query {query:?} is not simulated; write NAME{{version=\"canary\"}}[1m] (or \"stable\"; both \
                 parts may be left out), alone or two of them with ' / ' or ' - ' between, with one of the names \
                 {NAMES}; or leave the query and say the simulated one in an annotation of the template, \
                 windtunnel.dev/query or windtunnel.dev/query.METRIC"
            )
        })
    }

    /// How far back it looks.
    pub(crate) fn window_ns(&self) -> u64 {
        self.reading.window_ns.max(self.against.map_or(0, |(_, reading)| reading.window_ns))
    }
}

impl Reading {
    fn of(text: &str, default_ns: u64) -> Option<Self> {
        let text = text.trim();
        let (text, window_ns) = match text.strip_suffix(']') {
            Some(open) => {
                let (text, range) = open.rsplit_once('[')?;
                (text, duration_ns(range)?)
            }
            None => (text, default_ns),
        };
        let (name, side) = match text.trim().strip_suffix('}') {
            Some(open) => {
                let (name, labels) = open.split_once('{')?;
                (name, side_of(labels)?)
            }
            None => (text, Side::Canary),
        };
        let window_ns = Some(window_ns).filter(|window_ns| (1..=LONGEST_NS).contains(window_ns))?;
        Some(Self { signal: Signal::of(name)?, side, window_ns })
    }
}

impl Signal {
    fn of(name: &str) -> Option<Self> {
        let name = name.trim().replace('_', "-");
        Some(match name.as_str() {
            "success-rate" => Self::SuccessRate,
            "error-rate" => Self::ErrorRate,
            "prediction-difference" => Self::Difference,
            "requests" => Self::Requests,
            "request-rate" => Self::RequestRate,
            other => {
                let digits = other.strip_prefix("latency-p")?;
                if !digits.bytes().all(|digit| digit.is_ascii_digit() || digit == b'.') {
                    return None;
                }
                let percent: f64 = digits.parse().ok()?;
                Self::Latency(Some(percent / 100.0).filter(|share| (0.0..=1.0).contains(share))?)
            }
        })
    }
}

/// `version="canary"`, alone; other labels select nothing, because there is one service.
fn side_of(labels: &str) -> Option<Side> {
    let mut side = Side::Canary;
    for label in labels.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once('=')?;
        if key.trim() == "version" {
            side = match value.trim().trim_matches('"') {
                "canary" | "latest" | "Latest" => Side::Canary,
                "stable" | "primary" | "Stable" => Side::Stable,
                _ => return None,
            };
        }
    }
    Some(side)
}

/// `1m`, `90s`, `1m30s`: as Go writes it; more than nothing.
pub(super) fn duration_ns(text: &str) -> Option<u64> {
    let length_ns = windtunnel_kernel::duration::parse_ns(text.trim())?;
    u64::try_from(length_ns).ok().filter(|length_ns| *length_ns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: u64 = 60_000_000_000;

    /// An analysis that reads another number than the manifest means promotes the wrong versions.
    #[test]
    fn queries_are_read_or_refused() {
        let p99 = Measure::of("latency-p99{version=\"stable\"}[1m30s]", MINUTE_NS).expect("known");
        assert_eq!(
            p99.reading,
            Reading { signal: Signal::Latency(0.99), side: Side::Stable, window_ns: 90_000_000_000 }
        );
        let ratio = Measure::of("latency_p95 / latency_p95{version=stable}", MINUTE_NS).expect("known");
        assert_eq!((ratio.reading.side, ratio.reading.window_ns), (Side::Canary, MINUTE_NS));
        assert_eq!(
            ratio.against.map(|(operator, other)| (operator, other.side)),
            Some((Operator::Over, Side::Stable))
        );
        let worse = Measure::of("error-rate - error-rate{version=\"stable\"}[5m]", MINUTE_NS).expect("known");
        assert_eq!(worse.against.map(|(operator, _)| operator), Some(Operator::Minus));
        assert_eq!(worse.window_ns(), 5 * MINUTE_NS);
        for other in [
            "",
            "up",
            "latency-p101",
            "latency-p",
            "error-rate[2h]",
            "error-rate{version=\"v2\"}",
            "requests[0s]",
        ] {
            let refused = Measure::of(other, MINUTE_NS).expect_err("not simulated");
            assert!(refused.contains("prediction-difference"), "{refused}");
        }
    }
}
