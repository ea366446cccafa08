//! Counts of the last seconds.

use serde::{Deserialize, Serialize};

/// Seconds that a rate covers: RabbitMQ collects statistics every 5 s (`collect_statistics_interval`).
pub const RATE_WINDOW_S: u64 = 5;

const SECOND_NS: u64 = 1_000_000_000;
/// The second that runs, and those before it that count.
const BUCKETS: u64 = RATE_WINDOW_S + 1;

/// Events a second over the last whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rate {
    counts: [u64; BUCKETS as usize],
    /// The second of the last event.
    second: u64,
}

impl Rate {
    pub(super) fn add(&mut self, now_ns: u64) {
        let second = (now_ns / SECOND_NS).max(self.second);
        for passed in (self.second + 1..=second).take(BUCKETS as usize) {
            // After a long pause every bucket is emptied, whichever second it is taken for.
            self.counts[(passed % BUCKETS) as usize] = 0;
        }
        self.second = second;
        self.counts[(second % BUCKETS) as usize] += 1;
    }

    pub(super) fn per_s(&self, now_ns: u64) -> f64 {
        let second = now_ns / SECOND_NS;
        let kept = self.second.saturating_sub(RATE_WINDOW_S)..=self.second;
        let counted = (second.saturating_sub(RATE_WINDOW_S)..second).filter(|second| kept.contains(second));
        let events: u64 = counted.map(|second| self.counts[(second % BUCKETS) as usize]).sum();
        events as f64 / RATE_WINDOW_S as f64
    }
}

/// What a broker counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rates {
    pub(super) published: Rate,
    pub(super) delivered: Rate,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An autoscaler that reads the rate must see exactly the last whole seconds.
    #[test]
    fn a_rate_covers_the_last_five_whole_seconds() {
        let mut rate = Rate::default();
        for tenth in 0..100 {
            rate.add(tenth * SECOND_NS / 10);
        }
        assert_eq!(rate.per_s(10 * SECOND_NS), 10.0);
        // 7, 8 and 9 of the seconds 7 to 11.
        assert_eq!(rate.per_s(12 * SECOND_NS + 1), 6.0);
        assert_eq!(rate.per_s(15 * SECOND_NS), 0.0);
        rate.add(1_000 * SECOND_NS);
        assert_eq!((rate.per_s(1_000 * SECOND_NS), rate.per_s(1_001 * SECOND_NS)), (0.0, 0.2));
    }
}
