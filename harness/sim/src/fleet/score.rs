//! Which of the nodes that fit is best: the scores of Kubernetes' scheduler.
//!
//! | profile | plugins and weights |
//! | --- | --- |
//! | [`Scheduling::Spread`] | the default profile: `NodeResourcesFit` with `LeastAllocated` (1), `NodeResourcesBalancedAllocation` (1), `PodTopologySpread` with the default constraints, 3 on hosts and 5 on zones (2) |
//! | [`Scheduling::Pack`] | `NodeResourcesFit` with `MostAllocated` alone |
//!
//! A pod without a request counts as 100 m and 200 MB here, as upstream's does, so that such pods are spread
//! too. `ImageLocality` is left out. Upstream breaks ties by chance; here the oldest node wins.
//!
//! Source: kubernetes `pkg/scheduler/framework/plugins/{noderesources,podtopologyspread}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::demand::{Demand, Workload};
use super::node::Node;
use super::pool::Pool;

/// How the scheduler chooses among nodes that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduling {
    /// The emptiest node, and the pods of a workload on different nodes and zones: the default of Kubernetes.
    #[default]
    Spread,
    /// The fullest node, so that others become empty and are removed.
    Pack,
}

const MOST: i64 = 100;
const UNSET_CPU_M: u64 = 100;
const UNSET_MEMORY: u64 = 200 * 1024 * 1024;

/// What the scorer counts for a pod.
pub(super) fn counted(demand: &Demand) -> (u64, u64) {
    let or = |value, unset| if value == 0 { unset } else { value };
    (or(demand.cpu_m, UNSET_CPU_M), or(demand.memory, UNSET_MEMORY))
}

/// `((capacity - requested) * 100) / capacity`, the mean of CPU and memory.
pub(super) fn least_allocated(requested: [u64; 2], capacity: [u64; 2]) -> i64 {
    mean(
        requested,
        capacity,
        |requested, capacity| {
            if requested > capacity { 0 } else { (capacity - requested) * 100 / capacity }
        },
    )
}

/// `requested * 100 / capacity`, the mean of CPU and memory.
pub(super) fn most_allocated(requested: [u64; 2], capacity: [u64; 2]) -> i64 {
    mean(requested, capacity, |requested, capacity| requested.min(capacity) * 100 / capacity)
}

fn mean(requested: [u64; 2], capacity: [u64; 2], score: impl Fn(u128, u128) -> u128) -> i64 {
    let sum: u128 = requested
        .into_iter()
        .zip(capacity)
        .map(
            |(requested, capacity)| {
                if capacity == 0 { 0 } else { score(u128::from(requested), u128::from(capacity)) }
            },
        )
        .sum();
    i64::try_from(sum / 2).unwrap_or(MOST)
}

/// `(1 - deviation of the fractions) * 100`.
pub(super) fn balanced(requested: [u64; 2], capacity: [u64; 2]) -> i64 {
    let fraction = |index: usize| (requested[index] as f64 / capacity[index].max(1) as f64).min(1.0);
    let deviation = ((fraction(0) - fraction(1)) / 2.0).abs();
    ((1.0 - deviation) * MOST as f64) as i64
}

/// Pods of one workload by zone, for the topology score.
pub(super) fn by_zone<'a>(
    nodes: impl Iterator<Item = (&'a Node, &'a Pool)>,
    workload: Workload,
) -> BTreeMap<&'a str, u64> {
    let mut zones = BTreeMap::new();
    for (node, pool) in nodes {
        if !pool.zone.is_empty() {
            *zones.entry(pool.zone.as_str()).or_insert(0) += u64::from(node.pods_of(workload));
        }
    }
    zones
}

/// The score of each candidate, in their order. `zones` counts the workload's pods over all schedulable nodes.
pub(super) fn scores(
    candidates: &[(&Node, &Pool)],
    demand: &Demand,
    workload: Workload,
    scheduling: Scheduling,
    zones: &BTreeMap<&str, u64>,
) -> Vec<i64> {
    let (cpu_m, memory) = counted(demand);
    let sums = |node: &Node, pool: &Pool| {
        let requested =
            [node.counted_cpu_m.saturating_add(cpu_m), node.counted_memory.saturating_add(memory)];
        (requested, [pool.cpu_m, pool.memory])
    };
    if scheduling == Scheduling::Pack {
        return candidates
            .iter()
            .map(|(node, pool)| {
                let (requested, capacity) = sums(node, pool);
                most_allocated(requested, capacity)
            })
            .collect();
    }
    let topology = topology(candidates, workload, zones);
    candidates
        .iter()
        .zip(topology)
        .map(|((node, pool), topology)| {
            let (requested, capacity) = sums(node, pool);
            // A pod that requests nothing is not balanced, or all such pods would go to one node
            // (kubernetes issue 129138).
            let balanced =
                if demand.cpu_m == 0 && demand.memory == 0 { 0 } else { balanced(requested, capacity) };
            least_allocated(requested, capacity) + balanced + 2 * topology
        })
        .collect()
}

/// `PodTopologySpread` with upstream's default constraints: the fewer pods of the workload are on the host
/// (skew 3) and in the zone (skew 5), the better.
fn topology(candidates: &[(&Node, &Pool)], workload: Workload, zones: &BTreeMap<&str, u64>) -> Vec<i64> {
    let mut candidate_zones: Vec<&str> = candidates.iter().map(|(_, pool)| pool.zone.as_str()).collect();
    candidate_zones.retain(|zone| !zone.is_empty());
    candidate_zones.sort_unstable();
    candidate_zones.dedup();
    let host_weight = logarithm(candidates.len() as u64 + 2);
    let zone_weight = logarithm(candidate_zones.len() as u64 + 2);
    let raw: Vec<i64> = candidates
        .iter()
        .map(|(node, pool)| {
            let mut score = f64::from(node.pods_of(workload)) * host_weight + 2.0;
            if let Some(count) = zones.get(pool.zone.as_str()) {
                score += *count as f64 * zone_weight + 4.0;
            }
            score.round() as i64
        })
        .collect();
    let most = raw.iter().copied().max().unwrap_or(0);
    let least = raw.iter().copied().min().unwrap_or(0);
    raw.into_iter().map(|score| if most == 0 { MOST } else { MOST * (most + least - score) / most }).collect()
}

/// Natural logarithm of a whole number, from additions, multiplications and divisions only: the same bits on
/// every machine. `ln(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1))`.
fn logarithm(value: u64) -> f64 {
    let exponent = value.max(1).ilog2();
    let mantissa = value.max(1) as f64 / (1_u64 << exponent) as f64;
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut term = ratio;
    let mut sum = 0.0;
    for odd in 0..20_u32 {
        sum += term / f64::from(2 * odd + 1);
        term *= square;
    }
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Placement would differ from the real scheduler's. Numbers from upstream's formula by hand: requests of
    /// 3000 m and 5000 bytes on nodes of 4000 m and 10000 bytes leave 25 % and 50 %.
    #[test]
    fn resource_scores_are_upstreams() {
        assert_eq!(least_allocated([3_000, 5_000], [4_000, 10_000]), 37);
        assert_eq!(least_allocated([3_000, 5_000], [6_000, 10_000]), 50);
        assert_eq!(most_allocated([3_000, 5_000], [4_000, 10_000]), 62);
        assert_eq!(most_allocated([9_000, 5_000], [4_000, 10_000]), 75);
        assert_eq!(least_allocated([5_000, 5_000], [4_000, 10_000]), 25);
        assert_eq!(least_allocated([1, 1], [0, 10]), 45);
        // 75 % and 50 %: deviation 12.5 %.
        assert_eq!(balanced([3_000, 5_000], [4_000, 10_000]), 87);
    }

    /// A wrong logarithm would weigh zones against hosts wrongly.
    #[test]
    fn the_logarithm_is_one() {
        for value in [1_u64, 2, 3, 4, 5, 7, 10, 100, 5_002, u64::MAX] {
            assert!((logarithm(value) - (value as f64).ln()).abs() < 1e-12, "{value}");
        }
    }
}
