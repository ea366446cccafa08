//! Sizes of ReplicaSets: what a Deployment's controller does in one pass.
//!
//! Source: `pkg/controller/deployment` of Kubernetes (`rolling.go`, `sync.go`, `util/deployment_util.go`).

use crate::plan::Strategy;

/// A ReplicaSet as its Deployment's controller sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// `spec.replicas`.
    pub(super) replicas: u32,
    /// Pods that are ready and have been for `minReadySeconds`.
    pub(super) available: u32,
    /// Pods that still exist, stopping ones included.
    pub(super) existing: u32,
}

/// What a Deployment wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) replicas: u32,
    /// The replicas that its ReplicaSets were sized for last.
    pub(super) sized_for: u32,
    pub(super) strategy: Strategy,
    /// The set of the present template.
    pub(super) newest: usize,
}

/// The sizes after one pass over the sets, oldest first. What comes of them is seen in the next pass.
pub(super) fn pass(wish: &Wish, sets: &[Set]) -> Vec<u32> {
    let sizes: Vec<u32> = sets.iter().map(|set| set.replicas).collect();
    if wish.replicas != wish.sized_for
        && let Some(scaled) = scaled(wish, sets)
    {
        return scaled;
    }
    match wish.strategy {
        Strategy::Recreate => recreated(wish, sets, sizes),
        Strategy::RollingUpdate { .. } => rolled(wish, sets, sizes),
    }
}

fn recreated(wish: &Wish, sets: &[Set], mut sizes: Vec<u32>) -> Vec<u32> {
    let mut olds = sets.iter().enumerate().filter(|(index, _)| *index != wish.newest);
    if olds.all(|(_, set)| set.existing == 0) {
        sizes[wish.newest] = wish.replicas;
    }
    for (index, size) in sizes.iter_mut().enumerate() {
        if index != wish.newest {
            *size = 0;
        }
    }
    sizes
}

/// New pods first, as many as the surge allows; old ones next, as many as are not needed.
fn rolled(wish: &Wish, sets: &[Set], mut sizes: Vec<u32>) -> Vec<u32> {
    let leeway = wish.strategy.leeway(wish.replicas);
    let total: u32 = sizes.iter().sum();
    let new = sets[wish.newest];
    if new.replicas > wish.replicas {
        sizes[wish.newest] = wish.replicas;
        return sizes;
    }
    let room = (wish.replicas + leeway.surge).saturating_sub(total);
    let added = room.min(wish.replicas - new.replicas);
    if added > 0 {
        sizes[wish.newest] += added;
        return sizes;
    }
    let least = wish.replicas - leeway.unavailable;
    let unavailable_new = new.replicas.saturating_sub(new.available);
    let mut budget = total.saturating_sub(least).saturating_sub(unavailable_new);
    if budget == 0 {
        return sizes;
    }
    // Old pods that do not serve go first.
    let olds: Vec<usize> = (0..sets.len()).filter(|index| *index != wish.newest).collect();
    for index in &olds {
        let idle = sizes[*index].saturating_sub(sets[*index].available).min(budget);
        sizes[*index] -= idle;
        budget -= idle;
    }
    let available: u32 = sets.iter().map(|set| set.available).sum();
    let mut budget = available.saturating_sub(least);
    for index in &olds {
        let gone = sizes[*index].min(budget);
        sizes[*index] -= gone;
        budget -= gone;
    }
    sizes
}

/// The wanted number changed: one set takes all of it; in an update every set gets its share. `None` when nothing is
/// to be shared out.
fn scaled(wish: &Wish, sets: &[Set]) -> Option<Vec<u32>> {
    let mut sizes: Vec<u32> = sets.iter().map(|set| set.replicas).collect();
    let active: Vec<usize> = (0..sets.len()).filter(|index| sizes[*index] > 0).collect();
    let only = match active[..] {
        [] => Some(wish.newest),
        [one] => Some(one),
        _ => None,
    };
    if let Some(one) = only {
        sizes[one] = wish.replicas;
        return Some(sizes);
    }
    if wish.strategy == Strategy::Recreate {
        return None;
    }
    let surge = |replicas| replicas + wish.strategy.leeway(replicas).surge;
    let allowed = i64::from(if wish.replicas > 0 { surge(wish.replicas) } else { 0 });
    let before = i64::from(surge(wish.sized_for).max(1));
    let total: i64 = sizes.iter().map(|size| i64::from(*size)).sum();
    let to_add = allowed - total;
    let mut order = active;
    // The greatest first; among equals the newest gains first and the oldest loses first.
    order.sort_by_key(|index| {
        let age = if to_add > 0 { usize::MAX - index } else { *index };
        (std::cmp::Reverse(sizes[*index]), age)
    });
    let mut added = 0_i64;
    for index in &order {
        let size = i64::from(sizes[*index]);
        if to_add == added {
            break;
        }
        let share = if wish.replicas == 0 { -size } else { rounded(size * allowed, before) - size };
        let rest = to_add - added;
        let share = if to_add > 0 { share.min(rest) } else { share.max(rest) };
        added += share;
        sizes[*index] = u32::try_from((size + share).max(0)).unwrap_or(u32::MAX);
    }
    let greatest = order[0];
    let size = i64::from(sizes[greatest]) + to_add - added;
    sizes[greatest] = u32::try_from(size.max(0)).unwrap_or(u32::MAX);
    Some(sizes)
}

/// A quotient to the nearest whole number, halves up.
fn rounded(dividend: i64, divisor: i64) -> i64 {
    (2 * dividend + divisor).div_euclid(2 * divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Amount;

    fn set(replicas: u32, available: u32) -> Set {
        Set { replicas, available, existing: replicas }
    }

    fn wish(replicas: u32) -> Wish {
        Wish { replicas, sized_for: replicas, strategy: Strategy::default(), newest: 1 }
    }

    /// An update that takes more pods away than it may loses requests; by hand, for ten pods with three of surge and two
    /// missing at most (25 %).
    #[test]
    fn ten_pods_roll_within_their_leeway() {
        // Three new ones, then five of 13 may go: all but 8 available.
        assert_eq!(pass(&wish(10), &[set(10, 10), set(0, 0)]), [10, 3]);
        assert_eq!(pass(&wish(10), &[set(10, 10), set(3, 0)]), [8, 3]);
        // 11 in all: two more, then nothing until one is ready.
        assert_eq!(pass(&wish(10), &[set(8, 8), set(3, 0)]), [8, 5]);
        assert_eq!(pass(&wish(10), &[set(8, 8), set(5, 0)]), [8, 5]);
        assert_eq!(pass(&wish(10), &[set(8, 8), set(5, 2)]), [6, 5]);
    }

    /// One replica with the default leeway must never be missing: one of surge, none unavailable.
    #[test]
    fn a_single_pod_is_replaced_when_the_new_one_serves() {
        assert_eq!(pass(&wish(1), &[set(1, 1), set(0, 0)]), [1, 1]);
        assert_eq!(pass(&wish(1), &[set(1, 1), set(1, 0)]), [1, 1]);
        assert_eq!(pass(&wish(1), &[set(1, 1), set(1, 1)]), [0, 1]);
    }

    /// Old pods that never became ready must not hold up the update that mends them.
    #[test]
    fn broken_old_pods_go_first() {
        assert_eq!(pass(&wish(4), &[set(4, 2), set(1, 0)]), [3, 1], "one: five less three, less the new one");
    }

    /// Scaling in the middle of an update keeps the proportion, so that neither version takes over by accident.
    #[test]
    fn scaling_within_an_update_is_shared_out() {
        let during = Wish { replicas: 20, sized_for: 10, ..wish(10) };
        // 13 pods become 25: 8 of 13 is 15.4, 5 of 13 is 9.6.
        assert_eq!(pass(&during, &[set(8, 8), set(5, 5)]), [15, 10]);
        let down = Wish { replicas: 0, sized_for: 10, ..wish(10) };
        assert_eq!(pass(&down, &[set(8, 8), set(5, 5)]), [0, 0]);
        let alone = Wish { replicas: 7, sized_for: 10, ..wish(10) };
        assert_eq!(pass(&alone, &[set(0, 0), set(10, 3)]), [0, 7]);
    }

    /// Recreate means: nobody old is left when the first new pod starts.
    #[test]
    fn recreate_waits_for_the_last_old_pod() {
        let recreate = Wish { strategy: Strategy::Recreate, ..wish(3) };
        assert_eq!(pass(&recreate, &[set(3, 3), set(0, 0)]), [0, 0]);
        let stopping = Set { replicas: 0, available: 0, existing: 1 };
        assert_eq!(pass(&recreate, &[stopping, set(0, 0)]), [0, 0]);
        assert_eq!(pass(&recreate, &[set(0, 0), set(0, 0)]), [0, 3]);
    }

    /// Without surge one pod is missing at a time, and never more.
    #[test]
    fn without_surge_a_pod_goes_before_the_next_comes() {
        let strategy =
            Strategy::RollingUpdate { max_surge: Amount::Pods(0), max_unavailable: Amount::Pods(1) };
        let wish = Wish { strategy, ..wish(3) };
        assert_eq!(pass(&wish, &[set(3, 3), set(0, 0)]), [2, 0]);
        assert_eq!(pass(&wish, &[set(2, 2), set(0, 0)]), [2, 1]);
        assert_eq!(pass(&wish, &[set(2, 2), set(1, 0)]), [2, 1]);
        assert_eq!(pass(&wish, &[set(2, 2), set(1, 1)]), [1, 1]);
    }
}
