//! Which pods a scrape asks, and what their answers say about all of them.
//!
//! A scrape asks a sample of the pods that is large enough to know the mean (see [`sample_size`]), those first that are
//! older than the stable window, because young pods have seen less load. A pod that does not answer is replaced by the
//! next one; when the pods run out before the sample is full there is no stat for that second. The stat goes to
//! [`Autoscaler::record_scrape`](super::Autoscaler::record_scrape).

use serde::{Deserialize, Serialize};

use super::Stat;
use super::metrics::sample_size;
use crate::routing::balance::below;

/// The pods to ask, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapePlan {
    /// Positions: the older pods count from 0, the younger ones go on from there.
    pub order: Vec<u32>,
    /// How many of them must answer.
    pub sample: u32,
}

/// What a scrape found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scraped {
    /// There are no pods: nothing is recorded.
    NoPods,
    /// The stat of all pods together.
    Stat(Stat),
    /// Too few pods answered: nothing is recorded, and silence is no zero.
    PodsExhausted,
}

impl ScrapePlan {
    /// Plans a scrape of `older` pods (as old as the stable window) and `younger` ones; `rng` gives uniform 64-bit
    /// words. Only the group that the sample takes part of is shuffled.
    pub fn new(older: u32, younger: u32, rng: &mut impl FnMut() -> u64) -> Self {
        let total = older.saturating_add(younger);
        let sample = sample_size(total);
        let mut order: Vec<u32> = (0..total).collect();
        let (old, young) = order.split_at_mut(older as usize);
        shuffle(if older < sample { young } else { old }, rng);
        Self { order, sample }
    }

    /// Carries the plan out at `now_ns`: `ask` gives the stat of the pod at a position, or `None` if it does not answer.
    pub fn scrape(&self, now_ns: u64, mut ask: impl FnMut(u32) -> Option<Stat>) -> Scraped {
        if self.order.is_empty() || self.sample == 0 {
            return Scraped::NoPods;
        }
        let answers: Vec<Stat> =
            self.order.iter().filter_map(|&pod| ask(pod)).take(self.sample as usize).collect();
        if answers.len() < self.sample as usize {
            return Scraped::PodsExhausted;
        }
        Scraped::Stat(extrapolate(&answers, self.order.len(), now_ns))
    }
}

/// The stat of `pods` pods of which `sample` answered: their mean times all.
#[must_use]
pub fn extrapolate(sample: &[Stat], pods: usize, now_ns: u64) -> Stat {
    let count = sample.len().max(1) as f64;
    let all = |field: fn(&Stat) -> f64| sample.iter().map(field).sum::<f64>() / count * pods as f64;
    Stat {
        at_ns: now_ns,
        average_concurrency: all(|stat| stat.average_concurrency),
        average_proxied_concurrency: all(|stat| stat.average_proxied_concurrency),
        request_count: all(|stat| stat.request_count),
        proxied_request_count: all(|stat| stat.proxied_request_count),
    }
}

/// Fisher and Yates.
fn shuffle(items: &mut [u32], rng: &mut impl FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        let other = below(last as u64 + 1, rng) as usize;
        items.swap(last, other);
    }
}
