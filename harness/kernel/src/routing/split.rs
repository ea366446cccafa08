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
    total: i128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Backend {
    index: usize,
    weight: i128,
    /// Requests owed, times the total weight; between -total and total.
    owed: i128,
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
            .map(|(index, &weight)| Backend { index, weight: i128::from(weight), owed: 0 })
            .collect();
        let total = backends.iter().map(|backend| backend.weight).sum();
        Self { backends, total }
    }

    /// The backend of the next request, an index into the weights. 0 when no backend has weight: see
    /// [`is_empty`](Self::is_empty).
    #[expect(clippy::should_implement_trait, reason = "a split never ends, so it is no useful iterator")]
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
        let count = self.backends.len() as i128;
        if count <= 1 {
            return (count == 1).then_some(0);
        }
        // Served early at most 1/(2k-2) of a request ahead; the deadline is when 1 - 1/(2k-2) would be owed.
        let scale = 2 * count - 2;
        let slack = |backend: &Backend| (scale - 1) * self.total - scale * backend.owed;
        self.backends
            .iter()
            .enumerate()
            .filter(|(_, backend)| scale * backend.owed >= self.total)
            .min_by(|(_, one), (_, other)| (slack(one) * other.weight).cmp(&(slack(other) * one.weight)))
            .map(|(position, _)| position)
    }
}
