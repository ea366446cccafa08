//! Which pod of a revision takes a request, given how many each has in flight.

use serde::{Deserialize, Serialize};

/// How an activator chooses, by the revision's container concurrency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// No limit: the less loaded of two pods drawn at random.
    RandomChoiceOfTwo,
    /// One to three requests a pod: the first one with a free slot.
    FirstAvailable,
    /// More: in turn, over the pods with a free slot.
    RoundRobin,
}

impl Policy {
    /// The policy for a container concurrency (0 = unlimited).
    #[must_use]
    pub fn of(container_concurrency: u32) -> Self {
        match container_concurrency {
            0 => Self::RandomChoiceOfTwo,
            1..=3 => Self::FirstAvailable,
            _ => Self::RoundRobin,
        }
    }
}

/// The first pod with fewer than `capacity` requests in flight.
#[must_use]
pub fn first_available(in_flight: &[u32], capacity: u32) -> Option<usize> {
    in_flight.iter().position(|&count| count < capacity)
}

/// Any pod, as a Kubernetes service picks one; `rng` gives uniform 64-bit words. `None` without pods.
pub fn random(pods: usize, rng: &mut impl FnMut() -> u64) -> Option<usize> {
    (pods > 0).then(|| below(pods as u64, rng) as usize)
}

/// The less loaded of two different pods; `rng` gives uniform 64-bit words. With one or two pods none is drawn to
/// pick them, a tie costs one word. `None` without pods.
pub fn random_choice_of_two(in_flight: &[u32], rng: &mut impl FnMut() -> u64) -> Option<usize> {
    let (one, other) = match in_flight.len() {
        0 => return None,
        1 => return Some(0),
        2 => (0, 1),
        count => {
            let one = below(count as u64, rng) as usize;
            let other = below(count as u64 - 1, rng) as usize;
            (one, if other >= one { other + 1 } else { other })
        }
    };
    Some(match in_flight[one].cmp(&in_flight[other]) {
        std::cmp::Ordering::Less => one,
        std::cmp::Ordering::Greater => other,
        std::cmp::Ordering::Equal if rng().is_multiple_of(2) => other,
        std::cmp::Ordering::Equal => one,
    })
}

/// Takes the pods in turn, skipping full ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// Starts with the first pod.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next pod with fewer than `capacity` requests in flight.
    pub fn choose(&mut self, in_flight: &[u32], capacity: u32) -> Option<usize> {
        let count = in_flight.len();
        if self.next >= count {
            self.next = 0;
        }
        let chosen = (self.next..count).chain(0..self.next).find(|&pod| in_flight[pod] < capacity)?;
        self.next = chosen + 1;
        Some(chosen)
    }
}

/// Uniform in `0..bound`, without bias: words that would favour small numbers are drawn again (Lemire, *Fast Random
/// Integer Generation in an Interval*, 2019). 0 when `bound` is.
pub(crate) fn below(bound: u64, rng: &mut impl FnMut() -> u64) -> u64 {
    let wide = u128::from(rng()) * u128::from(bound);
    if wide as u64 >= bound {
        return (wide >> 64) as u64;
    }
    below_slowly(bound, wide, rng)
}

/// The rare case in which a word may have to be drawn again.
#[cold]
fn below_slowly(bound: u64, mut wide: u128, rng: &mut impl FnMut() -> u64) -> u64 {
    let Some(reject_under) = bound.wrapping_neg().checked_rem(bound) else { return 0 };
    // A fair generator is refused 64 times in a row with probability below 2^-64.
    for _ in 0..64 {
        if wide as u64 >= reject_under {
            return (wide >> 64) as u64;
        }
        wide = u128::from(rng()) * u128::from(bound);
    }
    0
}
