//! How long a service takes to come back after a fault.
//!
//! A fault opens an episode. As long as requests fail, answers are slower than before the fault, or fewer pods are ready
//! than before although the autoscaler wants them, it has not recovered. Slower means: of the answers of a second, more
//! are above the 95th percentile from before the fault than chance explains (three standard deviations). Ten seconds without either (two samples, where these are farther
//! apart) end the episode; the first trouble may take a minute to show.

use super::gauge::Level;
use crate::histogram::LatencyHistogram;

/// Nanoseconds without trouble that end an episode.
const CALM_NS: u64 = 10_000_000_000;

/// Nanoseconds that a fault may take to show.
const DORMANT_NS: u64 = 60_000_000_000;

/// Answers before a fault that are needed to say what is slow.
const LEAST_BEFORE: u64 = 100;

const SECOND_NS: u64 = 1_000_000_000;

/// Faults looked at, at most.
const MOST_FAULTS: usize = 4096;

/// Trouble after one fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Episode {
    pub(super) from_ns: u64,
    /// What happened.
    pub(super) text: String,
    /// Ready pods before it; `None` when none were counted.
    ready: Option<f64>,
    /// What was slow before it, nanoseconds; `None` when that is not known.
    slow_ns: Option<u64>,
    /// The last instant of trouble.
    pub(super) last_ns: u64,
    /// Requests that failed.
    pub(super) failed: u64,
    is_open: bool,
}

impl Episode {
    /// How long it took, nanoseconds.
    pub(super) fn length_ns(&self) -> u64 {
        self.last_ns - self.from_ns
    }

    /// Whether it was over before `end_ns`.
    pub(super) fn is_over(&self, end_ns: u64, calm_ns: u64) -> bool {
        !self.is_open || self.last_ns == self.from_ns || end_ns.saturating_sub(self.last_ns) >= calm_ns
    }
}

/// The answers of one second.
#[derive(Clone, Debug, Default, PartialEq)]
struct Second {
    index: u64,
    answers: u64,
    slow: u64,
    last_slow_ns: u64,
}

impl Second {
    /// Whether more of its answers were slow than one in twenty and chance explain.
    fn is_slow(&self) -> bool {
        let expected = 0.05 * self.answers as f64;
        self.slow as f64 > expected + 3.0 * (0.95 * expected).sqrt() + 1.0
    }
}

/// Watches faults and what follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recovery {
    pub(super) window: (u64, u64),
    ready: Level,
    wanted: Level,
    episodes: Vec<Episode>,
    /// Latencies of the answers that came while nothing was wrong.
    before: LatencyHistogram,
    second: Second,
    /// Time without trouble that ends an episode, nanoseconds.
    pub(super) calm_ns: u64,
}

impl Recovery {
    pub(super) fn new(window: (u64, u64)) -> Self {
        Self {
            window,
            ready: Level::default(),
            wanted: Level::default(),
            episodes: Vec::new(),
            before: LatencyHistogram::new(),
            second: Second::default(),
            calm_ns: CALM_NS,
        }
    }

    pub(super) fn fault(&mut self, t_ns: u64, text: &str) {
        self.end_second();
        self.close(t_ns);
        if (self.window.0..self.window.1).contains(&t_ns) && self.episodes.len() < MOST_FAULTS {
            self.episodes.push(Episode {
                from_ns: t_ns,
                text: text.to_owned(),
                ready: self.ready.before(t_ns),
                slow_ns: self.before.quantile(0.95).filter(|_| self.before.len() >= LEAST_BEFORE),
                last_ns: t_ns,
                failed: 0,
                is_open: true,
            });
        }
    }

    /// A successful answer, in order of time.
    pub(super) fn answer(&mut self, t_ns: u64, latency_ns: u64) {
        self.begin_second(t_ns);
        self.close(t_ns);
        match self.episodes.last() {
            Some(episode) if episode.is_open => {
                self.second.answers += 1;
                if episode.slow_ns.is_some_and(|slow_ns| latency_ns > slow_ns) {
                    self.second.slow += 1;
                    self.second.last_slow_ns = t_ns;
                }
            }
            _ => self.before.record(latency_ns),
        }
    }

    fn begin_second(&mut self, t_ns: u64) {
        let index = t_ns / SECOND_NS;
        if index != self.second.index {
            self.end_second();
            self.second.index = index;
        }
    }

    /// Judges the answers of the second that ends.
    pub(super) fn end_second(&mut self) {
        let second = std::mem::take(&mut self.second);
        if second.is_slow() {
            self.trouble(second.last_slow_ns);
        }
        self.second.index = second.index;
    }

    /// A failed request, in order of time.
    pub(super) fn failure(&mut self, t_ns: u64) {
        self.begin_second(t_ns);
        if self.trouble(t_ns)
            && let Some(episode) = self.episodes.last_mut()
        {
            episode.failed += 1;
        }
    }

    pub(super) fn wanted(&mut self, label: &str, t_ns: u64, value: f64) {
        self.wanted.put(label, t_ns, value);
    }

    pub(super) fn ready(&mut self, label: &str, t_ns: u64, value: f64) {
        // The sum of an instant is known when the next one begins.
        let Some((at_ns, until_ns, ready)) = self.ready.put(label, t_ns, value) else { return };
        self.calm_ns = CALM_NS.max(2 * (until_ns - at_ns));
        let Some(before) = self.episodes.last().and_then(|episode| episode.ready) else { return };
        let wanted = self.wanted.before(t_ns).unwrap_or(f64::INFINITY);
        if ready < before.min(wanted) {
            self.trouble(at_ns);
        }
    }

    /// Notes trouble; whether it belongs to an episode.
    fn trouble(&mut self, t_ns: u64) -> bool {
        self.close(t_ns);
        match self.episodes.last_mut() {
            Some(episode) if episode.is_open && t_ns >= episode.from_ns => {
                episode.last_ns = episode.last_ns.max(t_ns);
                true
            }
            _ => false,
        }
    }

    fn close(&mut self, now_ns: u64) {
        if let Some(episode) = self.episodes.last_mut() {
            let patience_ns =
                if episode.last_ns == episode.from_ns { self.calm_ns.max(DORMANT_NS) } else { self.calm_ns };
            if now_ns.saturating_sub(episode.last_ns) >= patience_ns {
                episode.is_open = false;
            }
        }
    }

    /// The episodes of the window.
    pub(super) fn episodes(&self) -> &[Episode] {
        &self.episodes
    }
}
