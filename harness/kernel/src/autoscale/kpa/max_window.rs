//! The largest value of the recent past, in constant amortised time: the scale-down delay.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Windows reach back at most this many indexes (two days of 2 s granules); longer ones are cut.
const SIZE_LIMIT: u64 = 86_400;

/// The maximum over the last `size` indexes. Indexes must not fall; several values at one index keep the largest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxWindow {
    size: u64,
    /// (index, value): indexes rise, values fall, so the front is the maximum.
    maxima: VecDeque<(u64, i32)>,
}

impl MaxWindow {
    /// An empty window over `size` indexes (at least one).
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size: size.clamp(1, SIZE_LIMIT), maxima: VecDeque::new() }
    }

    /// Records `value` at `index`.
    pub fn record(&mut self, index: u64, value: i32) {
        while self.maxima.back().is_some_and(|&(_, smaller)| value >= smaller) {
            self.maxima.pop_back();
        }
        while self.maxima.front().is_some_and(|&(old, _)| index >= old && index - old >= self.size) {
            self.maxima.pop_front();
        }
        // What is left at this index is larger than `value` and stands for both. An index that went backwards
        // (a clock was set) takes the newest entry's place in the same way.
        if self.maxima.back().is_none_or(|&(newest, _)| newest < index) {
            self.maxima.push_back((index, value));
        }
    }

    /// The maximum, 0 before anything was recorded.
    #[must_use]
    pub fn current(&self) -> i32 {
        self.maxima.front().map_or(0, |&(_, value)| value)
    }
}

/// A [`MaxWindow`] over time, in granules of Unix time: with 2 s granules it is aligned to even seconds, not to
/// when it was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindow {
    granularity_ns: u64,
    window: MaxWindow,
}

impl TimeWindow {
    /// An empty window of `duration_ns`, rounded up to whole granules.
    #[must_use]
    pub fn new(duration_ns: u64, granularity_ns: u64) -> Self {
        let granularity_ns = granularity_ns.max(1);
        Self { granularity_ns, window: MaxWindow::new(duration_ns.div_ceil(granularity_ns)) }
    }

    /// Records `value` in the granule of `now_ns`.
    pub fn record(&mut self, now_ns: u64, value: i32) {
        self.window.record(now_ns / self.granularity_ns, value);
    }

    /// The maximum over the window, as of the newest record.
    #[must_use]
    pub fn current(&self) -> i32 {
        self.window.current()
    }
}
