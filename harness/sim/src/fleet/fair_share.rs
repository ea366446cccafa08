//! Max-min fair rates by progressive filling.
//!
//! All rates grow together until a link is full; what crosses it keeps its rate, the others go on. The result
//! is the one allocation in which no transfer can get more without taking from one that has no more than it.
//! Source: Bertsekas and Gallager, Data Networks, 2nd edition, section 6.5.2.

/// Transfers over the same links, which all have the same rate.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// The links, as indices into the capacities. Not empty.
    pub(super) links: Vec<usize>,
    /// How many transfers.
    pub(super) transfers: u64,
}

/// The rate of one transfer of each class, in the unit of the capacities, rounded down: no link carries more
/// than its capacity.
///
/// Links that fill at the same rate are closed together, so that the work is that of the links and classes
/// times the number of different rates.
pub(super) fn rates(capacities: &[u128], classes: &[Class]) -> Vec<u128> {
    let mut left: Vec<(u128, u128)> = capacities.iter().map(|capacity| (*capacity, 0)).collect();
    for class in classes {
        for link in &class.links {
            left[*link].1 += u128::from(class.transfers);
        }
    }
    let mut rates = vec![0; classes.len()];
    let mut growing: Vec<usize> = (0..classes.len()).filter(|class| classes[*class].transfers > 0).collect();
    while let Some(level) =
        left.iter().filter_map(|(capacity, transfers)| capacity.checked_div(*transfers)).min()
    {
        let full: Vec<bool> = left
            .iter()
            .map(|(capacity, transfers)| capacity.checked_div(*transfers) == Some(level))
            .collect();
        growing.retain(|class| {
            let Class { links, transfers } = &classes[*class];
            if !links.iter().any(|link| full[*link]) {
                return true;
            }
            rates[*class] = level;
            let transfers = u128::from(*transfers);
            for link in links {
                left[*link].0 -= level * transfers;
                left[*link].1 -= transfers;
            }
            false
        });
    }
    rates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(links: &[usize], transfers: u64) -> Class {
        Class { links: links.to_vec(), transfers }
    }

    /// Downloads would be planned with bandwidth that another one uses. By hand: link 0 has 10, link 1 has 4;
    /// the transfer over both and the one over link 1 get 2 each, the one over link 0 gets the 8 left.
    #[test]
    fn three_transfers_on_two_links() {
        let classes = [class(&[0], 1), class(&[0, 1], 1), class(&[1], 1)];
        assert_eq!(rates(&[10, 4], &classes), [8, 2, 2]);
        // The other way round: link 0 is full first, with 10/3.
        let classes = [class(&[0], 2), class(&[0, 1], 1), class(&[1], 1)];
        assert_eq!(rates(&[10, 40], &classes), [3, 3, 37]);
        // A failed storage stops what crosses it, and only that.
        assert_eq!(rates(&[10, 0], &classes), [5, 0, 0]);
        assert_eq!(rates(&[], &[]), [0_u128; 0]);
    }

    proptest! {
        /// A transfer would get less than its share, or a link carry more than it can.
        #[test]
        fn the_allocation_is_max_min_fair(
            capacities in proptest::collection::vec(0_u128..10_000, 1..6),
            seeds in proptest::collection::vec((proptest::collection::btree_set(0_usize..6, 1..4), 0_u64..5), 0..12),
        ) {
            let classes: Vec<Class> = seeds
                .into_iter()
                .map(|(links, transfers)| {
                    let mut links: Vec<usize> = links.into_iter().map(|link| link % capacities.len()).collect();
                    links.sort_unstable();
                    links.dedup();
                    Class { links, transfers }
                })
                .collect();
            let rates = rates(&capacities, &classes);
            let on = |link: usize| classes.iter().zip(&rates).filter(move |(class, _)| class.transfers > 0 && class.links.contains(&link));
            let used: Vec<u128> = (0..capacities.len())
                .map(|link| on(link).map(|(class, rate)| rate * u128::from(class.transfers)).sum())
                .collect();
            for (link, capacity) in capacities.iter().enumerate() {
                prop_assert!(used[link] <= *capacity);
            }
            for (class, rate) in classes.iter().zip(&rates).filter(|(class, _)| class.transfers > 0) {
                // Some link on its way is full (but for the rounding of each transfer) and gives nobody more.
                let bottleneck = class.links.iter().any(|link| {
                    let transfers: u128 = on(*link).map(|(class, _)| u128::from(class.transfers)).sum();
                    let fastest = on(*link).map(|(_, rate)| *rate).max().unwrap_or(0);
                    capacities[*link] - used[*link] < transfers && fastest <= *rate
                });
                prop_assert!(bottleneck, "{class:?} at {rate} of {rates:?}");
            }
        }
    }
}
