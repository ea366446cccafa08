//! What the nodes cost.

use serde::{Deserialize, Serialize};

use super::pool::Pool;

const NS_PER_HOUR: u128 = 3_600_000_000_000;

/// Integrates prices over time, exactly: in millionths of the currency times nanoseconds, without rounding
/// until it is read.
///
/// ```
/// use windtunnel_sim::fleet::{Cost, Pool};
/// let pool = Pool { price_micro_per_hour: 400_000, ..Pool::new("cpu", 2, 8_000, 32 << 30) };
/// let mut cost = Cost::new(&[pool], 0);
/// cost.set(0, 2, 0);
/// cost.set(0, 5, 1_800_000_000_000);
/// assert_eq!(cost.per_hour_micro(), 2_000_000);
/// // Half an hour of two nodes and half an hour of five, at 0.40 an hour.
/// assert_eq!(cost.total_micro(3_600_000_000_000), 1_400_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pools: Vec<Meter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meter {
    price_micro_per_hour: u64,
    nodes: u32,
    since_ns: u64,
    micro: u64,
    /// What is over, in millionths times nanoseconds: less than an hour.
    rest: u64,
}

impl Meter {
    fn exact(&self, now_ns: u64) -> u128 {
        let elapsed_ns = u128::from(now_ns.saturating_sub(self.since_ns));
        u128::from(self.micro) * NS_PER_HOUR
            + u128::from(self.rest)
            + elapsed_ns
                .saturating_mul(u128::from(self.nodes))
                .saturating_mul(u128::from(self.price_micro_per_hour))
                .min(u128::MAX / 4)
    }
}

impl Cost {
    /// A meter a pool, without nodes yet.
    pub fn new(pools: &[Pool], now_ns: u64) -> Self {
        let meter = |pool: &Pool| Meter {
            price_micro_per_hour: pool.price_micro_per_hour,
            nodes: 0,
            since_ns: now_ns,
            micro: 0,
            rest: 0,
        };
        Self { pools: pools.iter().map(meter).collect() }
    }

    /// From now on so many nodes of a pool are paid for ([`super::Fleet::billed`]). Calling it again with the
    /// same number changes nothing; a pool that is not there is ignored; time that goes back stands still.
    pub fn set(&mut self, pool: usize, nodes: u32, now_ns: u64) {
        let Some(meter) = self.pools.get_mut(pool) else { return };
        let exact = meter.exact(now_ns);
        meter.micro = u64::try_from(exact / NS_PER_HOUR).unwrap_or(u64::MAX);
        meter.rest = u64::try_from(exact % NS_PER_HOUR).unwrap_or(0);
        meter.since_ns = meter.since_ns.max(now_ns);
        meter.nodes = nodes;
    }

    /// From now on the nodes of each pool have these prices.
    pub fn set_prices(&mut self, pools: &[Pool], now_ns: u64) {
        for (index, pool) in pools.iter().enumerate() {
            let Some(nodes) = self.pools.get(index).map(|meter| meter.nodes) else { return };
            self.set(index, nodes, now_ns);
            self.pools[index].price_micro_per_hour = pool.price_micro_per_hour;
        }
    }

    /// What a pool has cost until now, in millionths of the currency times nanoseconds an hour: divide by
    /// 3.6e18 for the currency. An instant before the last change reads as that change.
    pub fn exact_of(&self, pool: usize, now_ns: u64) -> u128 {
        self.pools.get(pool).map_or(0, |meter| meter.exact(now_ns))
    }

    /// What all pools have cost until now, in millionths of the currency, rounded down once.
    pub fn total_micro(&self, now_ns: u64) -> u128 {
        self.pools.iter().fold(0_u128, |sum, meter| sum.saturating_add(meter.exact(now_ns))) / NS_PER_HOUR
    }

    /// What a pool has cost until now, in millionths of the currency, rounded down.
    pub fn total_micro_of(&self, pool: usize, now_ns: u64) -> u128 {
        self.exact_of(pool, now_ns) / NS_PER_HOUR
    }

    /// What the nodes cost an hour now, in millionths of the currency.
    pub fn per_hour_micro(&self) -> u128 {
        let of = |meter: &Meter| u128::from(meter.price_micro_per_hour) * u128::from(meter.nodes);
        self.pools.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn priced(price_micro_per_hour: u64) -> Pool {
        Pool { price_micro_per_hour, ..Pool::new("p", 0, 1, 1) }
    }

    /// A month of a fleet that changes often would be off by the rounding of each change.
    #[test]
    fn nothing_is_lost_to_rounding() {
        // 1 millionth an hour, changed every nanosecond for one third of an hour in steps: never a whole unit.
        let mut cost = Cost::new(&[priced(1)], 0);
        for now_ns in 0..10_000 {
            cost.set(0, 3, now_ns);
        }
        assert_eq!(cost.exact_of(0, 3_600_000_000_000), 3 * 3_600_000_000_000);
        assert_eq!(cost.total_micro(1_200_000_000_000), 1);
        assert_eq!(cost.total_micro(1_199_999_999_999), 0);
    }

    /// A long or dear run would wrap around, or end in a panic.
    #[test]
    fn extremes_do_not_overflow() {
        let mut cost = Cost::new(&[priced(u64::MAX), priced(1 << 40)], 0);
        cost.set(0, u32::MAX, 0);
        cost.set(1, u32::MAX, 0);
        cost.set(0, 0, u64::MAX);
        cost.set(7, 1, 0);
        assert!(cost.total_micro(u64::MAX) > 0);
        assert_eq!(cost.exact_of(7, 0), 0);
    }

    proptest! {
        /// The report would show another total than the sum of node hours.
        #[test]
        fn the_total_is_the_sum_of_node_time(changes in proptest::collection::vec((0_u64..1 << 50, 0_u32..50), 1..40)) {
            let mut cost = Cost::new(&[priced(1_234_567)], 0);
            let (mut now_ns, mut expected, mut nodes) = (0_u64, 0_u128, 0_u32);
            for (length_ns, next) in changes {
                cost.set(0, nodes, now_ns);
                expected += u128::from(nodes) * u128::from(length_ns) * 1_234_567;
                now_ns += length_ns;
                cost.set(0, next, now_ns);
                nodes = next;
            }
            prop_assert_eq!(cost.exact_of(0, now_ns), expected);
            let text = serde_json::to_string(&cost).unwrap();
            prop_assert_eq!(serde_json::from_str::<Cost>(&text).unwrap(), cost);
        }
    }
}
