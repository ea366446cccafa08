//! How quick language models were: time to first token and time per further token, in bounded memory.

use crate::histogram::LatencyHistogram;
use crate::recording::{Measure, Request};

/// Times of tokens of successful answers. It takes no room where there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenTimes(Option<Box<[LatencyHistogram; 2]>>);

/// What is there where nothing was measured.
static NONE: LatencyHistogram = LatencyHistogram::new();

impl TokenTimes {
    /// Counts a successful answer.
    #[inline]
    pub(super) fn count(&mut self, request: &Request) {
        if let Some(first_ns) = request.first_token_ns {
            let [first, each] = &mut **self.0.get_or_insert_default();
            first.record(first_ns);
            if let Some(token_ns) = request.token_ns {
                each.record(token_ns);
            }
        }
    }

    /// Adds others.
    pub(super) fn add(&mut self, other: &Self) {
        if let Some(others) = &other.0 {
            for (held, other) in self.0.get_or_insert_default().iter_mut().zip(others.iter()) {
                held.add(other);
            }
        }
    }

    /// The times of a measure of tokens; `None` for latencies, which are not here.
    pub fn times(&self, measure: Measure) -> Option<&LatencyHistogram> {
        let place = match measure {
            Measure::Latency => return None,
            Measure::FirstToken => 0,
            Measure::PerToken => 1,
        };
        Some(self.0.as_ref().map_or(&NONE, |both| &both[place]))
    }
}
