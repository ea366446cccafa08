//! Transfers that share links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::error::FleetError;
use super::fair_share::{self, Class};
use super::wide::Wide;

/// At most this many transfers at once, so that each gets a millionth of a bit a second of a link that has one
/// bit a second: none stands still that should not.
pub const MOST_TRANSFERS: usize = 1_000_000;

/// The fastest link, in bits a second.
pub const MOST_BITS_PER_S: u64 = 1 << 50;

/// Rates are whole millionths of a bit a second; work is whole 1e-15 bits.
const RATE_UNITS: u128 = 1_000_000;
const WORK_UNITS_PER_BYTE: u128 = 8 * RATE_UNITS * 1_000_000_000;

/// Something that transfers share: the network card of a node, a registry, a storage service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link(pub(super) u32);

/// Names a transfer; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferKey(u64);

/// Transfers over shared links, at max-min fair rates that are set anew whenever a transfer starts or ends or a
/// link changes. In between nothing is computed, and without transfers there is nothing to wait for.
///
/// Time and progress are whole numbers: an end is the first nanosecond in which the last bit has arrived, never
/// earlier. An instant before the last one is taken for the last one. A transfer without bytes, or over no
/// link, ends at once; one over a link without capacity waits until the link has some.
///
/// ```
/// use windtunnel_sim::fleet::Transfers;
/// let mut transfers = Transfers::default();
/// let node = transfers.add_link(10_000_000_000)?;
/// let storage = transfers.add_link(8_000_000_000)?;
/// let model = transfers.start(0, 7_000_000_000, &[node, storage])?;
/// // 56 Gbit through 8 Gbit/s.
/// assert_eq!(transfers.next_end_ns(), Some(7_000_000_000));
/// // The storage fails for a minute after a second.
/// transfers.set_capacity(1_000_000_000, storage, 0)?;
/// assert_eq!(transfers.next_end_ns(), None);
/// transfers.set_capacity(61_000_000_000, storage, 8_000_000_000)?;
/// assert_eq!(transfers.next_end_ns(), Some(67_000_000_000));
/// let mut finished = Vec::new();
/// transfers.take_finished(67_000_000_000, &mut finished);
/// assert_eq!(finished, [model]);
/// # Ok::<(), windtunnel_sim::fleet::FleetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfers {
    now_ns: u64,
    links: BTreeMap<Link, LinkState>,
    next_link: u32,
    routes: Vec<Route>,
    transfers: BTreeMap<TransferKey, Transfer>,
    next_key: u64,
    next_end_ns: Option<u64>,
    finished: VecDeque<(u64, TransferKey)>,
    books: Books,
}

/// Work of all transfers together: what was to be done, what was done, and what was left of those that were cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Books {
    begun: Wide,
    done: Wide,
    cut: Wide,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LinkState {
    bits_per_s: u64,
    /// Sum of the rates over it.
    rate: Wide,
    /// What has come through it.
    carried: Wide,
}

/// All transfers over the same links. They have one rate, so it is enough to know what each of them got since
/// the route is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Route {
    links: Vec<Link>,
    rate: Wide,
    served: Wide,
    /// By what `served` is at their end. Empty when the route is free for reuse.
    ends: BTreeSet<(Wide, TransferKey)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Transfer {
    route: usize,
    end: Wide,
}

impl Transfers {
    /// A link of so many bits a second; 0 stands still.
    ///
    /// # Errors
    /// More than [`MOST_BITS_PER_S`].
    pub fn add_link(&mut self, bits_per_s: u64) -> Result<Link, FleetError> {
        check_capacity(bits_per_s)?;
        if self.next_link == u32::MAX {
            return Err(FleetError::TooMany { what: "links", most: u32::MAX as usize });
        }
        let link = Link(self.next_link);
        self.next_link += 1;
        self.links.insert(link, LinkState { bits_per_s, ..LinkState::default() });
        Ok(link)
    }

    /// Takes a link away, and with it the transfers that cross it, which are returned and never end.
    pub fn remove_link(&mut self, now_ns: u64, link: Link) -> Vec<TransferKey> {
        self.advance(now_ns);
        let mut cut = Vec::new();
        for route in self.routes.iter_mut().filter(|route| route.links.contains(&link)) {
            for (end, key) in std::mem::take(&mut route.ends) {
                self.books.cut.0 += end.0.saturating_sub(route.served.0);
                cut.push(key);
            }
        }
        cut.sort_unstable();
        for key in &cut {
            self.transfers.remove(key);
        }
        if self.links.remove(&link).is_some() {
            self.share();
        }
        cut
    }

    /// Changes the capacity of a link: slow storage, or at 0 none.
    ///
    /// # Errors
    /// A link that is not there, or more than [`MOST_BITS_PER_S`].
    pub fn set_capacity(&mut self, now_ns: u64, link: Link, bits_per_s: u64) -> Result<(), FleetError> {
        check_capacity(bits_per_s)?;
        self.advance(now_ns);
        let state = self.links.get_mut(&link).ok_or(FleetError::UnknownLink { link })?;
        if state.bits_per_s != bits_per_s {
            state.bits_per_s = bits_per_s;
            self.share();
        }
        Ok(())
    }

    /// Begins to transfer `bytes` over `links`, in any order.
    ///
    /// # Errors
    /// A link that is not there, or more than [`MOST_TRANSFERS`].
    pub fn start(&mut self, now_ns: u64, bytes: u64, links: &[Link]) -> Result<TransferKey, FleetError> {
        if let Some(link) = links.iter().find(|link| !self.links.contains_key(link)) {
            return Err(FleetError::UnknownLink { link: *link });
        }
        if self.transfers.len() >= MOST_TRANSFERS || self.finished.len() >= MOST_TRANSFERS {
            return Err(FleetError::TooMany { what: "transfers", most: MOST_TRANSFERS });
        }
        self.advance(now_ns);
        let key = TransferKey(self.next_key);
        self.next_key += 1;
        if bytes == 0 || links.is_empty() {
            self.finished.push_back((self.now_ns, key));
            return Ok(key);
        }
        let mut links = links.to_vec();
        links.sort_unstable();
        links.dedup();
        let index = self.route(links);
        let route = &mut self.routes[index];
        let work = u128::from(bytes) * WORK_UNITS_PER_BYTE;
        let end = Wide(route.served.0.saturating_add(work));
        self.books.begun.0 = self.books.begun.0.saturating_add(work);
        route.ends.insert((end, key));
        self.transfers.insert(key, Transfer { route: index, end });
        self.share();
        Ok(key)
    }

    /// Ends a transfer before it is done. Says how many bytes were left, rounded up; `None` when there is no
    /// such transfer (any more).
    pub fn cancel(&mut self, now_ns: u64, key: TransferKey) -> Option<u64> {
        self.advance(now_ns);
        let left = self.bytes_left(key)?;
        let transfer = self.transfers.remove(&key)?;
        let route = &mut self.routes[transfer.route];
        route.ends.remove(&(transfer.end, key));
        self.books.cut.0 += transfer.end.0.saturating_sub(route.served.0);
        self.share();
        Some(left)
    }

    /// When [`Transfers::take_finished`] next has something, if nothing changes before; `None` when nothing is
    /// under way or all of it stands still.
    pub fn next_end_ns(&self) -> Option<u64> {
        self.finished.front().map(|(end_ns, _)| *end_ns).or(self.next_end_ns)
    }

    /// Appends the transfers that have ended by now to `finished`, by their end and then by their start.
    pub fn take_finished(&mut self, now_ns: u64, finished: &mut Vec<TransferKey>) {
        self.advance(now_ns);
        finished.extend(self.finished.drain(..).map(|(_, key)| key));
    }

    /// The share of a link's capacity that is in use, 0 to 1; 0 for a link without capacity.
    pub fn utilisation(&self, link: Link) -> f64 {
        match self.links.get(&link) {
            Some(state) if state.bits_per_s > 0 => {
                state.rate.0 as f64 / (u128::from(state.bits_per_s) * RATE_UNITS) as f64
            }
            _ => 0.0,
        }
    }

    /// Bits a second that a link can carry.
    pub fn capacity(&self, link: Link) -> Option<u64> {
        self.links.get(&link).map(|state| state.bits_per_s)
    }

    /// Whole bytes that have come through a link until the last instant that anything was asked for.
    pub fn carried(&self, link: Link) -> u64 {
        let carried = self.links.get(&link).map_or(0, |state| state.carried.0 / WORK_UNITS_PER_BYTE);
        u64::try_from(carried).unwrap_or(u64::MAX)
    }

    /// The rate of a transfer in bits a second; `None` when there is no such transfer (any more).
    pub fn rate(&self, key: TransferKey) -> Option<f64> {
        let transfer = self.transfers.get(&key)?;
        Some(self.routes[transfer.route].rate.0 as f64 / RATE_UNITS as f64)
    }

    /// Whether what was begun is what was done, what was cut and what is left. Always, or the books are wrong.
    pub fn is_conserved(&self) -> bool {
        let left = self.transfers.values().fold(0_u128, |sum, transfer| {
            sum + transfer.end.0.saturating_sub(self.routes[transfer.route].served.0)
        });
        let Books { begun, done, cut } = &self.books;
        begun.0 == done.0 + cut.0 + left
    }

    /// How many transfers are under way.
    pub fn len(&self) -> usize {
        self.transfers.len()
    }

    /// True when no transfer is under way.
    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty()
    }

    fn bytes_left(&self, key: TransferKey) -> Option<u64> {
        let transfer = self.transfers.get(&key)?;
        let left = transfer.end.0.saturating_sub(self.routes[transfer.route].served.0);
        Some(u64::try_from(left.div_ceil(WORK_UNITS_PER_BYTE)).unwrap_or(u64::MAX))
    }

    /// The route over these links, which must be sorted.
    fn route(&mut self, links: Vec<Link>) -> usize {
        if let Some(index) =
            self.routes.iter().position(|route| !route.ends.is_empty() && route.links == links)
        {
            return index;
        }
        let fresh = Route { links, rate: Wide(0), served: Wide(0), ends: BTreeSet::new() };
        if let Some(index) = self.routes.iter().position(|route| route.ends.is_empty()) {
            self.routes[index] = fresh;
            return index;
        }
        self.routes.push(fresh);
        self.routes.len() - 1
    }

    /// Lets time pass, and every transfer end that ends on the way.
    fn advance(&mut self, now_ns: u64) {
        while let Some(end_ns) = self.next_end_ns.filter(|end_ns| *end_ns <= now_ns) {
            self.progress(end_ns);
            self.collect();
            self.share();
        }
        self.progress(now_ns);
    }

    fn progress(&mut self, now_ns: u64) {
        let elapsed_ns = u128::from(now_ns.saturating_sub(self.now_ns));
        if elapsed_ns == 0 {
            return;
        }
        for route in self.routes.iter_mut().filter(|route| !route.ends.is_empty()) {
            let work = route.rate.0.saturating_mul(elapsed_ns);
            route.served.0 = route.served.0.saturating_add(work);
            let all = work.saturating_mul(route.ends.len() as u128);
            self.books.done.0 = self.books.done.0.saturating_add(all);
            for link in &route.links {
                if let Some(state) = self.links.get_mut(link) {
                    state.carried.0 = state.carried.0.saturating_add(all);
                }
            }
        }
        self.now_ns = now_ns;
    }

    /// Moves what has ended to the finished.
    fn collect(&mut self) {
        let mut ended = Vec::new();
        for route in &mut self.routes {
            while let Some((end, key)) = route.ends.first().copied().filter(|(end, _)| *end <= route.served) {
                route.ends.remove(&(end, key));
                ended.push(key);
                // The last nanosecond may have had room for more than there was left.
                let over = route.served.0 - end.0;
                self.books.done.0 = self.books.done.0.saturating_sub(over);
                for link in &route.links {
                    if let Some(state) = self.links.get_mut(link) {
                        state.carried.0 = state.carried.0.saturating_sub(over);
                    }
                }
            }
        }
        ended.sort_unstable();
        for key in ended {
            self.transfers.remove(&key);
            self.finished.push_back((self.now_ns, key));
        }
    }

    /// Sets the rates, and with them the next end.
    fn share(&mut self) {
        let ids: Vec<Link> = self.links.keys().copied().collect();
        let capacities: Vec<u128> =
            self.links.values().map(|state| u128::from(state.bits_per_s) * RATE_UNITS).collect();
        let active: Vec<usize> =
            (0..self.routes.len()).filter(|index| !self.routes[*index].ends.is_empty()).collect();
        let class = |index: &usize| {
            let route = &self.routes[*index];
            let links = route.links.iter().filter_map(|link| ids.binary_search(link).ok()).collect();
            Class { links, transfers: route.ends.len() as u64 }
        };
        let classes: Vec<Class> = active.iter().map(class).collect();
        let rates = fair_share::rates(&capacities, &classes);
        let mut sums = vec![0_u128; ids.len()];
        self.next_end_ns = None;
        for ((index, class), rate) in active.into_iter().zip(&classes).zip(rates) {
            for link in &class.links {
                sums[*link] += rate * u128::from(class.transfers);
            }
            let route = &mut self.routes[index];
            route.rate = Wide(rate);
            let first = route.ends.first().map(|(end, _)| end.0.saturating_sub(route.served.0));
            let Some(first) = first.filter(|_| rate > 0) else { continue };
            let end_ns = u128::from(self.now_ns).saturating_add(first.div_ceil(rate));
            // An end after the end of time is none.
            if let Ok(end_ns) = u64::try_from(end_ns) {
                self.next_end_ns = Some(self.next_end_ns.map_or(end_ns, |next| next.min(end_ns)));
            }
        }
        for (state, sum) in self.links.values_mut().zip(sums) {
            state.rate = Wide(sum);
        }
    }
}

fn check_capacity(bits_per_s: u64) -> Result<(), FleetError> {
    if bits_per_s > MOST_BITS_PER_S {
        let message = format!("is {bits_per_s} bit/s; links have at most {MOST_BITS_PER_S} bit/s");
        return Err(FleetError::setting("link", "bandwidth", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn finished(transfers: &mut Transfers, now_ns: u64) -> Vec<TransferKey> {
        let mut finished = Vec::new();
        transfers.take_finished(now_ns, &mut finished);
        finished
    }

    /// Cold starts would be as long as if each pod had the network alone. By hand, in units of 8 bit/s: link a
    /// has 10, link b has 4. x (a), y (a and b), z (b) start with 80, 20 and 8 bytes at rates 8, 2 and 2: z ends
    /// at 4 s, y has 12 left and then 4, x has 48 left and then 6; y ends at 7 s, x has 30 left and then 10; x
    /// ends at 10 s.
    #[test]
    fn three_transfers_on_two_links() {
        let mut transfers = Transfers::default();
        let a = transfers.add_link(80).unwrap();
        let b = transfers.add_link(32).unwrap();
        let x = transfers.start(0, 80, &[a]).unwrap();
        let y = transfers.start(0, 20, &[b, a]).unwrap();
        let z = transfers.start(0, 8, &[b]).unwrap();
        assert_eq!(transfers.rate(x), Some(64.0));
        assert_eq!(transfers.rate(y), Some(16.0));
        assert!((transfers.utilisation(a) - 1.0).abs() < 1e-12);
        assert_eq!(transfers.next_end_ns(), Some(4 * SECOND));
        assert_eq!(finished(&mut transfers, 4 * SECOND - 1), []);
        assert_eq!(finished(&mut transfers, 4 * SECOND), [z]);
        assert_eq!(transfers.rate(y), Some(32.0));
        assert_eq!(transfers.next_end_ns(), Some(7 * SECOND));
        assert_eq!(finished(&mut transfers, 7 * SECOND), [y]);
        assert_eq!(transfers.next_end_ns(), Some(10 * SECOND));
        assert_eq!((transfers.carried(a), transfers.carried(b)), (70, 28));
        assert_eq!(finished(&mut transfers, 100 * SECOND), [x]);
        assert_eq!((transfers.carried(a), transfers.carried(b)), (100, 28));
        assert_eq!(transfers.next_end_ns(), None);
        assert!(transfers.routes.iter().all(|route| route.ends.is_empty()));
    }

    /// A caller that looks late would find transfers that ended later than they did.
    #[test]
    fn ends_that_were_passed_are_still_exact() {
        let mut transfers = Transfers::default();
        let link = transfers.add_link(8).unwrap();
        let first = transfers.start(0, 2, &[link]).unwrap();
        let second = transfers.start(0, 4, &[link]).unwrap();
        // Shared until 4 s, then the second has 2 bytes left and ends at 6 s.
        assert_eq!(transfers.start(5 * SECOND, 1, &[]).map(|key| key.0), Ok(2));
        assert_eq!(transfers.next_end_ns(), Some(4 * SECOND));
        assert_eq!(finished(&mut transfers, 5 * SECOND), [first, TransferKey(2)]);
        assert_eq!(transfers.next_end_ns(), Some(6 * SECOND));
        // Time does not go back.
        assert_eq!(transfers.cancel(SECOND, second), Some(1));
        assert_eq!(transfers.cancel(SECOND, second), None);
        assert_eq!(transfers.carried(link), 5);
    }

    /// A node that is gone would go on downloading, and slow others down.
    #[test]
    fn a_link_takes_its_transfers_along() {
        let mut transfers = Transfers::default();
        let node = transfers.add_link(80).unwrap();
        let other = transfers.add_link(80).unwrap();
        let storage = transfers.add_link(80).unwrap();
        let cut = transfers.start(0, 100, &[node, storage]).unwrap();
        let kept = transfers.start(0, 100, &[other, storage]).unwrap();
        assert_eq!(transfers.rate(kept), Some(40.0));
        assert_eq!(transfers.remove_link(SECOND, node), [cut]);
        assert_eq!(transfers.rate(kept), Some(80.0));
        assert_eq!(transfers.start(0, 1, &[node]), Err(FleetError::UnknownLink { link: node }));
        assert!(transfers.add_link(u64::MAX).is_err());
        assert!(transfers.set_capacity(0, node, 1).is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Start(u64, Vec<usize>),
        Cancel(usize),
        Capacity(usize, u64),
        Take,
    }

    fn steps() -> impl Strategy<Value = (u64, Step)> {
        let step = prop_oneof![
            4 => (0_u64..10_000, proptest::collection::vec(0_usize..4, 0..4)).prop_map(|(bytes, links)| Step::Start(bytes, links)),
            1 => (0_usize..40).prop_map(Step::Cancel),
            1 => (0_usize..4, prop_oneof![Just(0), 1_u64..100_000]).prop_map(|(link, bits)| Step::Capacity(link, bits)),
            4 => Just(Step::Take),
        ];
        (0_u64..3 * SECOND, step)
    }

    proptest! {
        /// Bytes would appear or vanish, links carry more than they can, or pods start before their model is there.
        #[test]
        fn bytes_are_conserved_and_nothing_ends_early(steps in proptest::collection::vec(steps(), 1..40)) {
            let mut transfers = Transfers::default();
            let mut capacities = [8_000_u64, 3_000, 50_000, 1];
            let links: Vec<Link> = capacities.iter().map(|bits| transfers.add_link(*bits).unwrap()).collect();
            let (mut now_ns, mut most_carried) = (0_u64, [0_u128; 4]);
            let mut started: Vec<(TransferKey, u64, u64, Vec<usize>)> = Vec::new();
            let mut expected = [0_u64; 4];
            let mut left = std::collections::BTreeSet::new();
            let mut take = |transfers: &mut Transfers, now_ns, left: &mut std::collections::BTreeSet<TransferKey>, started: &[(TransferKey, u64, u64, Vec<usize>)], capacity: u64| {
                for key in finished(transfers, now_ns) {
                    assert!(left.remove(&key));
                    let (_, at_ns, bytes, over) = started.iter().find(|(other, ..)| *other == key).unwrap();
                    for link in over.iter().collect::<std::collections::BTreeSet<_>>() {
                        expected[*link] += bytes;
                    }
                    if !over.is_empty() {
                        // No faster than the fastest link there ever was.
                        assert!(u128::from(now_ns - at_ns) * u128::from(capacity) >= u128::from(*bytes) * 8 * 1_000_000_000);
                    }
                }
                for link in 0..4 {
                    assert!(transfers.carried(links[link]) >= expected[link]);
                }
            };
            for (wait_ns, step) in steps {
                now_ns += wait_ns;
                for link in 0..4 {
                    most_carried[link] += u128::from(capacities[link]) * u128::from(wait_ns);
                }
                match step {
                    Step::Start(bytes, over) => {
                        let over_links: Vec<Link> = over.iter().map(|link| links[*link]).collect();
                        let key = transfers.start(now_ns, bytes, &over_links).unwrap();
                        started.push((key, now_ns, bytes, over));
                        left.insert(key);
                    }
                    Step::Cancel(index) => {
                        if let Some((key, ..)) = started.get(index)
                            && transfers.cancel(now_ns, *key).is_some()
                        {
                            left.remove(key);
                        }
                    }
                    Step::Capacity(link, bits) => {
                        capacities[link] = bits;
                        transfers.set_capacity(now_ns, links[link], bits).unwrap();
                    }
                    Step::Take => {
                        take(&mut transfers, now_ns, &mut left, &started, 100_000);
                        prop_assert!(transfers.next_end_ns().is_none_or(|end_ns| end_ns > now_ns));
                    }
                }
                let text = serde_json::to_string(&transfers).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Transfers>(&text).unwrap(), &transfers);
                for link in 0..4 {
                    // Capacities change after time has passed, so the sum so far is exact.
                    prop_assert!(u128::from(transfers.carried(links[link])) * 8 * u128::from(SECOND) <= most_carried[link]);
                    prop_assert!(transfers.utilisation(links[link]) <= 1.0);
                }
            }
            // Once every link works, everything ends.
            for link in &links {
                transfers.set_capacity(now_ns, *link, 1_000).unwrap();
            }
            let mut turns = 0;
            while let Some(end_ns) = transfers.next_end_ns() {
                take(&mut transfers, end_ns.max(now_ns), &mut left, &started, 100_000);
                turns += 1;
                prop_assert!(turns < 1_000);
            }
            prop_assert!(left.is_empty() && transfers.is_empty());
        }
    }
}
