//! A run, kept or counted, seen through a grid of equal bins: what the charts draw.

use windtunnel_record::{
    ColdStart, Decision, Digest, Event, Measure, Meta, Point, Recording, Revision, SeriesKey,
};

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

/// A run: every request of it, or only their counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    /// Every request.
    Kept(&'a Recording),
    /// Counts.
    Counted(&'a Digest),
}

impl<'a> From<&'a Recording> for View<'a> {
    fn from(recording: &'a Recording) -> Self {
        Self::Kept(recording)
    }
}

impl<'a> From<&'a Digest> for View<'a> {
    fn from(digest: &'a Digest) -> Self {
        Self::Counted(digest)
    }
}

impl<'a> View<'a> {
    /// Which run it was.
    pub(crate) fn meta(self) -> &'a Meta {
        match self {
            Self::Kept(recording) => &recording.meta,
            Self::Counted(digest) => digest.meta(),
        }
    }

    /// Revisions in order of creation.
    pub(crate) fn revisions(self) -> &'a [Revision] {
        match self {
            Self::Kept(recording) => &recording.revisions,
            Self::Counted(digest) => digest.revisions(),
        }
    }

    /// Events that were kept, and how many more there were.
    pub(crate) fn events(self) -> (&'a [Event], u64) {
        match self {
            Self::Kept(recording) => (&recording.events, 0),
            Self::Counted(digest) => digest.events(),
        }
    }

    /// Decisions that were kept, and how many more there were.
    pub(crate) fn decisions(self) -> (&'a [Decision], u64) {
        match self {
            Self::Kept(recording) => (&recording.decisions, 0),
            Self::Counted(digest) => digest.decisions(),
        }
    }

    /// Starts that were kept, and how many there were in all.
    pub(crate) fn starts(self) -> (&'a [ColdStart], u64) {
        match self {
            Self::Kept(recording) => (&recording.cold_starts, recording.cold_starts.len() as u64),
            Self::Counted(digest) => (digest.starts().kept(), digest.starts().len()),
        }
    }

    /// Requests sent.
    pub(crate) fn requests(self) -> u64 {
        match self {
            Self::Kept(recording) => recording.requests.len() as u64,
            Self::Counted(digest) => digest.requests(),
        }
    }

    /// Requests without a successful answer.
    pub(crate) fn failures(self) -> u64 {
        match self {
            Self::Kept(recording) => {
                recording.requests.iter().filter(|request| !request.succeeded()).count() as u64
            }
            Self::Counted(digest) => digest.failed(),
        }
    }

    /// The grid that its counts are in, when they are in one.
    pub(crate) fn own_grid(self, end_ns: u64) -> Option<Grid> {
        match self {
            Self::Kept(_) => None,
            Self::Counted(digest) => {
                let width_ns = digest.time().width_ns();
                let bins = (end_ns.div_ceil(width_ns) as usize).max(digest.time().iter().len()).max(1);
                Some(Grid { width_ns, bins })
            }
        }
    }

    /// Requests in each bin.
    pub(crate) fn load(self, grid: Grid) -> Load {
        let mut load = Load {
            offered: vec![0.0; grid.bins],
            served: vec![0.0; grid.bins],
            failed: vec![0.0; grid.bins],
        };
        let each = 1.0 / grid.width_s();
        match self {
            Self::Kept(recording) => {
                for request in &recording.requests {
                    if let Some(bin) = grid.bin_of(request.intended_ns) {
                        load.offered[bin] += each;
                    }
                    if let Some(bin) = grid.bin_of(request.done_ns()) {
                        let counts = if request.succeeded() { &mut load.served } else { &mut load.failed };
                        counts[bin] += each;
                    }
                }
            }
            Self::Counted(digest) => {
                for (index, bucket) in digest.time().iter().enumerate() {
                    let Some(bin) = grid.bin_of(index as u64 * digest.time().width_ns()) else { continue };
                    load.offered[bin] += bucket.offered as f64 * each;
                    load.served[bin] += bucket.served as f64 * each;
                    load.failed[bin] += bucket.failed as f64 * each;
                }
            }
        }
        load
    }

    /// Latency quantiles of each bin, nanoseconds, over answered requests by their intended time: one row for each
    /// of `quantiles`. `None` where a bin holds no answer.
    pub(crate) fn times(self, measure: Measure, grid: Grid, quantiles: &[f64]) -> Vec<Vec<Option<f64>>> {
        match self {
            Self::Kept(recording) => {
                let mut samples: Vec<Vec<u64>> = vec![Vec::new(); grid.bins];
                for request in recording.requests.iter().filter(|request| request.succeeded()) {
                    if let Some(bin) = grid.bin_of(request.intended_ns)
                        && let Some(time_ns) = request.measured(measure)
                    {
                        samples[bin].push(time_ns);
                    }
                }
                samples.iter_mut().for_each(|bin| bin.sort_unstable());
                let row = |quantile: &f64| samples.iter().map(|bin| nearest_rank(bin, *quantile)).collect();
                quantiles.iter().map(row).collect()
            }
            Self::Counted(digest) => {
                let width_ns = digest.time().width_ns();
                let row = |quantile: &f64| {
                    let bin = |bin: usize| {
                        let (from, to) = (grid.start_ns(bin), grid.start_ns(bin + 1));
                        // A bin is a bucket, or a whole number of them.
                        let latencies = if grid.width_ns == width_ns {
                            digest.time().iter().nth(bin)?.times(measure).quantile(*quantile)
                        } else {
                            digest.time().total_in(from, to).times(measure).quantile(*quantile)
                        };
                        latencies.map(|latency| latency as f64)
                    };
                    (0..grid.bins).map(bin).collect()
                };
                quantiles.iter().map(row).collect()
            }
        }
    }

    /// The share of the requests of each bin that `revision` answered, percent. `None` where a bin holds no
    /// routed request.
    pub(crate) fn share(self, grid: Grid, revision: u16) -> Vec<Option<f64>> {
        match self {
            Self::Kept(recording) => {
                let mut counts = vec![(0_u64, 0_u64); grid.bins];
                for request in &recording.requests {
                    if let (Some(bin), Some(by)) = (grid.bin_of(request.intended_ns), request.revision) {
                        counts[bin].1 += 1;
                        counts[bin].0 += u64::from(by == revision);
                    }
                }
                counts
                    .into_iter()
                    .map(|(of, all)| (all > 0).then(|| of as f64 / all as f64 * 100.0))
                    .collect()
            }
            Self::Counted(digest) => (0..grid.bins)
                .map(|bin| {
                    let total = digest.time().total_in(grid.start_ns(bin), grid.start_ns(bin + 1));
                    total.share_of(usize::from(revision)).map(|share| 100.0 * share)
                })
                .collect(),
        }
    }

    /// Every series of a name with its points, in order of its labels.
    pub(crate) fn series(self, name: &str) -> Vec<(&'a SeriesKey, &'a [Point])> {
        match self {
            Self::Kept(recording) => recording
                .series
                .iter()
                .filter(|(key, _)| key.name == name)
                .map(|(key, points)| (key, points.as_slice()))
                .collect(),
            Self::Counted(digest) => {
                digest.series().named(name).map(|(key, series)| (key, series.points())).collect()
            }
        }
    }

    /// A sampled series as (nanoseconds, value), empty when it was not recorded. `revision` selects by the label
    /// of that name.
    pub(crate) fn sampled(self, name: &str, revision: Option<&str>) -> Vec<(u64, f64)> {
        self.series(name)
            .into_iter()
            .filter(|(key, _)| key.labels.get("revision").map(String::as_str) == revision)
            .flat_map(|(_, points)| points.iter().map(|point| (point.t_ns, point.value)))
            .collect()
    }

    /// The sum of all series of a name, each value holding until the next.
    pub(crate) fn summed(self, name: &str) -> Vec<(u64, f64)> {
        let all = self.series(name);
        if let [(_, only)] = all.as_slice() {
            return only.iter().map(|point| (point.t_ns, point.value)).collect();
        }
        let mut changes: Vec<(u64, usize, f64)> = Vec::new();
        for (index, (_, points)) in all.iter().enumerate() {
            changes.extend(points.iter().map(|point| (point.t_ns, index, point.value)));
        }
        changes.sort_by_key(|(t_ns, index, _)| (*t_ns, *index));
        let mut values = vec![0.0; all.len()];
        let mut summed: Vec<(u64, f64)> = Vec::new();
        for (t_ns, index, value) in changes {
            values[index] = value;
            let total = values.iter().sum();
            match summed.last_mut() {
                Some(last) if last.0 == t_ns => last.1 = total,
                _ => summed.push((t_ns, total)),
            }
        }
        summed
    }

    /// The last instant that anything happened at, nanoseconds; at least the run's own length.
    pub(crate) fn end_ns(self) -> u64 {
        match self {
            Self::Kept(recording) => {
                let samples = recording.series.values().filter_map(|points| points.last());
                let decisions = recording.decisions.iter().map(|decision| decision.t_ns);
                let last = samples.map(|point| point.t_ns).chain(decisions);
                last.fold(recording.meta.duration_ns, u64::max)
            }
            Self::Counted(digest) => digest.end_ns(),
        }
    }
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
