//! Where the gateway sends requests: shares of the traffic, who meets the conditions of a test, and copies.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::routing::split::TrafficSplit;

use crate::plan::MILLION;

/// A share of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Backend {
    /// Where it goes.
    pub(super) workload: u16,
    /// How much of it, in percent, rounded down.
    pub(super) percent: u32,
    /// The percentage that a manifest asks for: of the Deployment, where this is one of its ReplicaSets.
    pub(super) share: u32,
    /// How much of it exactly, next to the others.
    pub(super) weight: u32,
}

impl Backend {
    /// A share of the traffic in percent.
    pub(super) fn of(workload: u16, percent: u32) -> Self {
        Self { workload, percent, share: percent, weight: percent }
    }
}

/// Backends, and whose turn it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) backends: Vec<Backend>,
    split: Option<TrafficSplit>,
}

impl Table {
    /// True when something changed; where the weights did not, everybody keeps their turn.
    pub(super) fn set(&mut self, backends: Vec<Backend>) -> bool {
        if backends == self.backends {
            return false;
        }
        let is_same = backends
            .iter()
            .map(|backend| (backend.workload, backend.weight))
            .eq(self.backends.iter().map(|backend| (backend.workload, backend.weight)));
        if !is_same {
            let weights: Vec<u32> = backends.iter().map(|backend| backend.weight).collect();
            self.split = Some(TrafficSplit::new(&weights)).filter(|split| !split.is_empty());
        }
        self.backends = backends;
        true
    }

    #[inline]
    fn next(&mut self) -> Option<Backend> {
        let split = self.split.as_mut()?;
        Some(self.backends[split.next()])
    }

    fn percent_of(&self, workload: u16) -> u32 {
        self.backends.iter().find(|backend| backend.workload == workload).map_or(0, |backend| backend.percent)
    }
}

/// The routes of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Routes {
    /// Requests that no other table is for.
    pub(super) everyone: Table,
    /// Requests that meet the conditions of a test, while there is one.
    matching: Option<Table>,
    /// Where copies go, while there are any.
    mirror: Option<Mirror>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mirror {
    table: Table,
    /// How many requests of a hundred are copied.
    percent: u32,
    /// Requests so far.
    seen: u64,
}

impl Routes {
    /// Whether requests that meet the conditions of a test have routes of their own.
    #[inline]
    pub(super) fn is_tested(&self) -> bool {
        self.matching.is_some()
    }

    /// The workload of the next request, and its weight in percent.
    #[inline]
    pub(super) fn next(&mut self, is_match: bool) -> Option<(u16, u8)> {
        let table = match &mut self.matching {
            Some(matching) if is_match => matching,
            _ => &mut self.everyone,
        };
        let backend = table.next()?;
        Some((backend.workload, u8::try_from(backend.share).unwrap_or(u8::MAX)))
    }

    /// Where a copy of the present request goes, if there is to be one.
    #[inline]
    pub(super) fn next_copy(&mut self) -> Option<u16> {
        let mirror = self.mirror.as_mut()?;
        let number = mirror.seen;
        mirror.seen += 1;
        if !is_among(number, mirror.percent, 100) {
            return None;
        }
        mirror.table.next().map(|backend| backend.workload)
    }

    /// A workload's share of the traffic, where so many parts of a million meet the conditions of a test.
    pub(super) fn percent_of(&self, workload: u16, parts: u32) -> u32 {
        let everyone = self.everyone.percent_of(workload);
        let Some(matching) = &self.matching else { return everyone };
        let parts = u64::from(parts.min(MILLION));
        let others = u64::from(MILLION) - parts;
        let sum = u64::from(everyone) * others + u64::from(matching.percent_of(workload)) * parts;
        u32::try_from(sum / u64::from(MILLION)).unwrap_or(u32::MAX)
    }

    /// Whether a route leads to a workload.
    pub(super) fn leads_to(&self, workload: u16) -> bool {
        let tables = std::iter::once(&self.everyone).chain(&self.matching);
        tables
            .chain(self.mirror.as_ref().map(|mirror| &mirror.table))
            .any(|table| table.backends.iter().any(|backend| backend.workload == workload))
    }

    /// Requests that meet the conditions of a test go here; `None` where there is no test.
    pub(super) fn test(&mut self, backends: Option<Vec<Backend>>) {
        match backends {
            None => self.matching = None,
            Some(backends) => {
                self.matching.get_or_insert_default().set(backends);
            }
        }
    }

    /// So many requests of a hundred are copied to here; `None` where none is.
    pub(super) fn copy(&mut self, backends: Option<(u32, Vec<Backend>)>) {
        match backends {
            None => self.mirror = None,
            Some((percent, backends)) => {
                let mirror = self.mirror.get_or_insert_default();
                if mirror.percent != percent {
                    (mirror.percent, mirror.seen) = (percent, 0);
                }
                mirror.table.set(backends);
            }
        }
    }
}

/// Whether the `number`-th of all (from 0) is one of `parts` in `whole`: of the first n of them, parts · n / whole are,
/// rounded down, for every n.
pub(crate) fn is_among(number: u64, parts: u32, whole: u32) -> bool {
    let so_far = |count: u128| count * u128::from(parts) / u128::from(whole.max(1));
    so_far(u128::from(number) + 1) > so_far(u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever is in a test must be as many as the scenario says, at any time.
    #[test]
    fn shares_are_exact_on_every_prefix() {
        for parts in [0, 1, 3, 10, 33, 50, 99, 100] {
            let mut met = 0;
            for number in 0..1_000_u64 {
                met += u64::from(is_among(number, parts, 100));
                assert_eq!(met, (number + 1) * u64::from(parts) / 100, "{parts} of 100 after {number}");
            }
        }
        assert!(!is_among(u64::MAX, 0, 1) && is_among(u64::MAX, 1, 1));
    }

    /// A test's routes are for those who match; by hand: a quarter match, and all of them go to the second workload.
    #[test]
    fn those_who_match_have_routes_of_their_own() {
        let mut routes = Routes::default();
        routes.everyone.set(vec![Backend::of(1, 100)]);
        assert_eq!(routes.next(true), Some((1, 100)), "no test, nobody matches");
        routes.test(Some(vec![Backend::of(2, 100)]));
        assert_eq!((routes.next(true), routes.next(false)), (Some((2, 100)), Some((1, 100))));
        assert_eq!((routes.percent_of(2, 250_000), routes.percent_of(1, 250_000)), (25, 75));
        assert!(routes.leads_to(2) && !routes.leads_to(3));
        routes.test(None);
        assert_eq!((routes.next(true), routes.percent_of(2, 250_000)), (Some((1, 100)), 0));
    }

    /// Copies are as many as the manifest says: three of ten.
    #[test]
    fn copies_are_a_share_of_the_requests() {
        let mut routes = Routes::default();
        assert_eq!(routes.next_copy(), None);
        routes.copy(Some((30, vec![Backend::of(2, 100)])));
        assert_eq!((0..1_000).filter(|_| routes.next_copy() == Some(2)).count(), 300);
        routes.copy(None);
        assert_eq!(routes.next_copy(), None);
    }
}
