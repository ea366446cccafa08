//! The first requests of a pod are slow: caches are cold, kernels are compiled, memory is mapped.

use serde::{Deserialize, Serialize};

use super::impossible::{Impossible, not_negative};

/// Makes the first requests of a pod take longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    requests: u32,
    factor: f64,
    seen: u32,
}

impl WarmUp {
    /// The first `requests` of a pod take `factor` times as long.
    ///
    /// # Errors
    /// A factor that is negative or not finite.
    pub fn new(requests: u32, factor: f64) -> Result<Self, Impossible> {
        let factor = not_negative("warm-up factor", factor, "take a finite number of 0 or more, such as 4")?;
        Ok(Self { requests, factor, seen: 0 })
    }

    /// The time of the next request that starts in the pod, which would be `demand_ns` when it is warm.
    pub fn scale(&mut self, demand_ns: u64) -> u64 {
        if self.is_warm() {
            return demand_ns;
        }
        self.seen += 1;
        (demand_ns as f64 * self.factor + 0.5) as u64
    }

    /// True when the next request takes no longer than usual.
    pub fn is_warm(&self) -> bool {
        self.seen >= self.requests
    }

    /// The container was started again.
    pub fn clear(&mut self) {
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A canary that is measured by its first requests looks slow for this reason alone.
    #[test]
    fn the_first_requests_of_a_pod_take_longer() {
        let mut warm_up = WarmUp::new(2, 2.5).unwrap();
        assert_eq!([100, 10, 100].map(|demand_ns| warm_up.scale(demand_ns)), [250, 25, 100]);
        warm_up.clear();
        assert_eq!(warm_up.scale(100), 250);
        WarmUp::new(1, f64::NAN).unwrap_err();
    }
}
