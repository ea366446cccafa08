//! Weighted traffic split without randomness and without drift.
//!
//! Tijdeman's solution of the chairman assignment problem (*The chairman assignment problem*, Discrete
//! Mathematics 32, 1980): of the backends that may be served now without getting too far ahead, the one whose
//! deadline is next is served. After any number of requests every backend is within `1 - 1/(2k-2)` of its exact
//! share, for `k` backends; no rule does better. Smooth weighted round robin, by contrast, drifts by more than
//! one request from three backends on.

use serde::{Deserialize, Serialize};

/// A split of requests over backends by weight. Equal histories pick equal backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficSplit {
    backends: Vec<Backend>,
    total: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Backend {
    index: usize,
    weight: i64,
    /// Requests owed, times the total weight; between -total and total.
    owed: i64,
}

impl TrafficSplit {
    /// A split over `weights`, one a backend. Weights need not add up to 100; a backend of weight zero is never
    /// picked.
    #[must_use]
    pub fn new(weights: &[u32]) -> Self {
        let backends: Vec<Backend> = weights
            .iter()
            .enumerate()
            .filter(|&(_, &weight)| weight > 0)
            .map(|(index, &weight)| Backend { index, weight: i64::from(weight), owed: 0 })
            .collect();
        let total = backends.iter().fold(0_i64, |sum, backend| sum.saturating_add(backend.weight));
        Self { backends, total }
    }

    /// The backend of the next request, an index into the weights. 0 when no backend has weight: see
    /// [`is_empty`](Self::is_empty).
    #[expect(clippy::should_implement_trait, reason = "a split never ends, so it is no useful iterator")]
    #[inline]
    pub fn next(&mut self) -> usize {
        for backend in &mut self.backends {
            backend.owed += backend.weight;
        }
        let Some(chosen) = self.choose() else { return 0 };
        let total = self.total;
        let backend = &mut self.backends[chosen];
        backend.owed -= total;
        backend.index
    }

    /// Whether no backend has weight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    fn choose(&self) -> Option<usize> {
        let count = self.backends.len();
        if count <= 1 {
            return (count == 1).then_some(0);
        }
        // Served early at most 1/(2k-2) of a request ahead; the deadline is when 1 - 1/(2k-2) would be owed.
        let scale = 2 * count as i128 - 2;
        let total = i128::from(self.total);
        // The largest product below is under 2 scale total^2: usual weights fit into a machine word.
        if 2 * scale * total * total < i128::from(i64::MAX) {
            let (scale, total) = (scale as i64, self.total);
            self.earliest(
                |backend| scale * backend.owed >= total,
                |backend| (scale - 1) * total - scale * backend.owed,
                |slack, weight| slack * weight,
            )
        } else {
            self.earliest(
                |backend| scale * i128::from(backend.owed) >= total,
                |backend| (scale - 1) * total - scale * i128::from(backend.owed),
                |slack, weight| slack * i128::from(weight),
            )
        }
    }

    /// Of the backends that may be served now, the position of the one with the least slack by its weight.
    fn earliest<N: Copy + Ord>(
        &self,
        may_be_served: impl Fn(&Backend) -> bool,
        slack: impl Fn(&Backend) -> N,
        times: impl Fn(N, i64) -> N,
    ) -> Option<usize> {
        let mut best: Option<(usize, N, i64)> = None;
        for (position, backend) in self.backends.iter().enumerate() {
            if !may_be_served(backend) {
                continue;
            }
            let slack = slack(backend);
            if best.is_none_or(|(_, least, weight)| times(slack, weight) < times(least, backend.weight)) {
                best = Some((position, slack, backend.weight));
            }
        }
        best.map(|(position, ..)| position)
    }
}
