//! A recording, seen through a grid of equal bins: what the charts draw.

use windtunnel_record::Recording;

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Equal bins over the time axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Width of a bin, nanoseconds.
    pub(crate) width_ns: u64,
    /// How many there are; at least one.
    pub(crate) bins: usize,
}

impl Grid {
    /// Bins of a second, or the next round width that needs no more than `most` of them.
    pub(crate) fn new(end_ns: u64, most: usize) -> Self {
        const WIDTHS_S: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
        let most = most.max(1) as u64;
        let bins = |width_s: u64| end_ns.div_ceil(width_s * SECOND_NS).max(1);
        let width_s = WIDTHS_S
            .into_iter()
            .find(|width| bins(*width) <= most)
            .unwrap_or_else(|| end_ns.div_ceil(SECOND_NS).div_ceil(most).div_ceil(3600) * 3600);
        Self { width_ns: width_s * SECOND_NS, bins: bins(width_s) as usize }
    }

    /// The same span with bins `factor` times as wide.
    pub(crate) fn coarser(self, factor: usize) -> Self {
        let factor = factor.max(1);
        Self { width_ns: self.width_ns * factor as u64, bins: self.bins.div_ceil(factor) }
    }

    /// The bin of an instant; `None` after the last.
    pub(crate) fn bin_of(self, t_ns: u64) -> Option<usize> {
        let bin = (t_ns / self.width_ns) as usize;
        (bin < self.bins).then_some(bin)
    }

    /// The middle of a bin, nanoseconds.
    pub(crate) fn centre_ns(self, bin: usize) -> u64 {
        self.start_ns(bin) + self.width_ns / 2
    }

    /// The start of a bin, nanoseconds.
    pub(crate) fn start_ns(self, bin: usize) -> u64 {
        bin as u64 * self.width_ns
    }

    /// Width of a bin, seconds.
    pub(crate) fn width_s(self) -> f64 {
        self.width_ns as f64 / SECOND_NS as f64
    }
}

/// Load of each bin, requests a second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Load {
    /// Intended arrivals.
    pub(crate) offered: Vec<f64>,
    /// Answers with success, by when they came.
    pub(crate) served: Vec<f64>,
    /// Failures, by when they were noticed.
    pub(crate) failed: Vec<f64>,
}

/// Counts requests into bins.
pub(crate) fn load(recording: &Recording, grid: Grid) -> Load {
    let mut load =
        Load { offered: vec![0.0; grid.bins], served: vec![0.0; grid.bins], failed: vec![0.0; grid.bins] };
    let each = 1.0 / grid.width_s();
    for request in &recording.requests {
        if let Some(bin) = grid.bin_of(request.intended_ns) {
            load.offered[bin] += each;
        }
        if let Some(bin) = grid.bin_of(request.done_ns()) {
            let counts = if request.succeeded() { &mut load.served } else { &mut load.failed };
            counts[bin] += each;
        }
    }
    load
}

/// Latency quantiles of each bin, nanoseconds, over answered requests by their intended time: one row for each
/// of `quantiles`. `None` where a bin holds no answer.
pub(crate) fn latency(recording: &Recording, grid: Grid, quantiles: &[f64]) -> Vec<Vec<Option<f64>>> {
    let mut samples: Vec<Vec<u64>> = vec![Vec::new(); grid.bins];
    for request in recording.requests.iter().filter(|request| request.succeeded()) {
        if let Some(bin) = grid.bin_of(request.intended_ns) {
            samples[bin].push(request.latency_ns);
        }
    }
    for bin in &mut samples {
        bin.sort_unstable();
    }
    quantiles
        .iter()
        .map(|quantile| samples.iter().map(|sorted| nearest_rank(sorted, *quantile)).collect())
        .collect()
}

/// The share of the requests of each bin that `revision` answered, percent. `None` where a bin holds no
/// routed request.
pub(crate) fn share(recording: &Recording, grid: Grid, revision: u16) -> Vec<Option<f64>> {
    let mut counts = vec![(0_u64, 0_u64); grid.bins];
    for request in &recording.requests {
        if let (Some(bin), Some(answered_by)) = (grid.bin_of(request.intended_ns), request.revision) {
            counts[bin].1 += 1;
            if answered_by == revision {
                counts[bin].0 += 1;
            }
        }
    }
    counts.into_iter().map(|(of, all)| (all > 0).then(|| of as f64 / all as f64 * 100.0)).collect()
}

/// A sampled series as (nanoseconds, value), empty when it was not recorded. `revision` selects by the label of
/// that name.
pub(crate) fn sampled(recording: &Recording, name: &str, revision: Option<&str>) -> Vec<(u64, f64)> {
    recording
        .series
        .iter()
        .filter(|(key, _)| key.name == name && key.labels.get("revision").map(String::as_str) == revision)
        .flat_map(|(_, points)| points.iter().map(|point| (point.t_ns, point.value)))
        .collect()
}

/// The last instant that anything happened at, nanoseconds; at least the recording's own length.
pub(crate) fn end_of(recording: &Recording) -> u64 {
    let samples = recording.series.values().filter_map(|points| points.last()).map(|point| point.t_ns);
    let decisions = recording.decisions.iter().map(|decision| decision.t_ns);
    samples.chain(decisions).fold(recording.meta.duration_ns, u64::max)
}

fn nearest_rank(sorted: &[u64], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).map(|value| *value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Without it the median of ten is the sixth value, and p99 of an empty second is a crash.
    #[test]
    fn quantiles_are_nearest_rank() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!(nearest_rank(&sorted, 0.5), Some(50.0));
        assert_eq!(nearest_rank(&sorted, 0.99), Some(99.0));
        assert_eq!(nearest_rank(&[7], 0.99), Some(7.0));
        assert_eq!(nearest_rank(&[], 0.99), None);
    }

    proptest! {
        /// Without it a day of traffic makes a report of tens of megabytes.
        #[test]
        fn bins_are_bounded_and_cover_the_axis(end_ns in 0_u64..60_000_000_000_000_000, most in 1_usize..900) {
            let grid = Grid::new(end_ns, most);
            prop_assert!(grid.bins >= 1 && grid.bins <= most, "{grid:?}");
            prop_assert!(grid.width_ns * grid.bins as u64 >= end_ns);
        }
    }
}
