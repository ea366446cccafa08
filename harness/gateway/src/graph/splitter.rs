//! Splitter: one step by chance, in the shares of the weights.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::{error::Cause, plan::Step};

/// Throws numbers from 0 to 99.
pub(super) struct Dice(Mutex<Pcg64Mcg>);

impl Dice {
    /// With a seed the throws are always the same; without one they differ between routers.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
        Self(Mutex::new(Pcg64Mcg::seed_from_u64(seed)))
    }

    /// A number from 0 to 99, each as likely as the others.
    pub(super) fn percent(&self) -> i64 {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let thrown = random.next_u32();
            // The last numbers would favour the low rests.
            if thrown < u32::MAX - u32::MAX % 100 {
                return i64::from(thrown % 100);
            }
        }
    }
}

/// The step in whose share `point` (0 to 99) lies; none where the weights add up to less.
pub(super) fn choose(steps: &[Step], point: i64) -> Result<&Step, Cause> {
    let mut end = 0_i64;
    steps
        .iter()
        .find(|step| {
            end = end.saturating_add(step.weight);
            point < end
        })
        .ok_or(Cause::NoRoute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, plan::Step};

    fn steps(weights: &[i64]) -> Vec<Step> {
        let steps: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| serde_json::json!({"name": format!("m{index}"), "serviceUrl": "http://m/", "weight": weight}))
            .collect();
        let graph = serde_json::json!({"nodes": {"root": {"routerType": "Splitter", "steps": steps}}});
        Graph::from_json(&graph.to_string()).unwrap().nodes.remove(0).steps
    }

    /// Upstream's TestPickupRouteNeverReturnsNil and TestPickupRouteAlwaysReturnsRouteForAllRandValues, over every number
    /// that can be thrown: each step gets exactly its share of them.
    #[test]
    fn every_throw_chooses_a_step_and_shares_are_exact() {
        for weights in [&[20, 80][..], &[30, 70], &[0, 100], &[1, 1, 98]] {
            let steps = steps(weights);
            let mut chosen = vec![0; weights.len()];
            for point in 0..100 {
                let step = choose(&steps, point).unwrap();
                chosen[steps.iter().position(|one| std::ptr::eq(one, step)).unwrap()] += 1;
            }
            assert_eq!(chosen, weights);
        }
        assert!(matches!(choose(&steps(&[20, 30]), 50), Err(Cause::NoRoute)));
        assert!(choose(&steps(&[20, 30]), 49).is_ok());
    }

    /// If this fails a splitter favours a step. Chi-square of 100,000 throws in 100 classes: 148.2 is the 99.9 % quantile
    /// for 99 degrees of freedom.
    #[test]
    fn throws_are_uniform_and_a_seed_repeats_them() {
        let (dice, again) = (Dice::new(Some(7)), Dice::new(Some(7)));
        let mut counts = [0_i32; 100];
        for _ in 0..100_000 {
            let thrown = dice.percent();
            assert_eq!(thrown, again.percent());
            counts[usize::try_from(thrown).unwrap()] += 1;
        }
        let chi_square: f64 = counts.iter().map(|count| f64::from(count - 1000).powi(2) / 1000.0).sum();
        assert!(chi_square < 148.2, "{chi_square}");
    }
}
