//! A workload's line in the activator: who may start, who waits, and on which pod.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::routing::balance::{Policy, RoundRobin, first_available, random_choice_of_two};
use windtunnel_kernel::routing::breaker::{Breaker, Offer};
use windtunnel_kernel::routing::throttler::{QUEUE_DEPTH, capacity_alone};

use crate::engine::Stream;

/// What becomes of a request that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It goes to a pod now.
    Start,
    /// It waits for one.
    Wait,
    /// There is no room to wait.
    Refused,
}

/// Admission and choice of a pod for one workload. It counts; the requests themselves are the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Requests that a pod takes at a time; 0 is no limit.
    container_concurrency: u32,
    policy: Policy,
    round_robin: RoundRobin,
    breaker: Breaker,
    /// Requests wait in the activator until there is a pod for them; without one they are refused.
    waits: bool,
}

impl Line {
    pub(super) fn new(container_concurrency: u32) -> Self {
        Self {
            container_concurrency,
            policy: Policy::of(container_concurrency),
            round_robin: RoundRobin::new(),
            // The queue is bounded by those who wait; the breaker would count those who run as well.
            breaker: Breaker::new(u32::MAX, u32::MAX, 0),
            waits: true,
        }
    }

    /// A line without an activator: a Kubernetes Service in front of pods that take whatever comes.
    pub(super) fn direct() -> Self {
        Self { waits: false, ..Self::new(0) }
    }

    /// Whether requests wait for a pod here.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Requests that a pod takes at a time; 0 is no limit.
    pub(super) fn container_concurrency(&self) -> u32 {
        self.container_concurrency
    }

    /// A request comes.
    pub(super) fn offer(&mut self) -> Admission {
        match self.breaker.offer() {
            Offer::Admit => Admission::Start,
            Offer::Queue if self.waits && self.breaker.queued() <= QUEUE_DEPTH => Admission::Wait,
            Offer::Queue => {
                self.breaker.abandon();
                Admission::Refused
            }
            Offer::Reject => Admission::Refused,
        }
    }

    /// The number of ready pods is `endpoints` now: how many of those that wait may start.
    pub(super) fn update(&mut self, endpoints: usize) -> u32 {
        let pods = u32::try_from(endpoints).unwrap_or(u32::MAX);
        self.breaker.update_capacity(capacity_alone(self.container_concurrency, pods))
    }

    /// A request left its pod: how many of those that wait may start.
    pub(super) fn finish(&mut self) -> u32 {
        u32::from(self.breaker.finish().is_some())
    }

    /// A request gave up waiting.
    pub(super) fn abandon(&mut self) {
        self.breaker.abandon();
    }

    /// The position of the pod that takes an admitted request, given how many each one has.
    pub(super) fn choose(&mut self, loads: &[u32], stream: &mut Stream) -> Option<usize> {
        match self.policy {
            Policy::RandomChoiceOfTwo => random_choice_of_two(loads, &mut || stream.word()),
            Policy::FirstAvailable => first_available(loads, self.container_concurrency),
            Policy::RoundRobin => self.round_robin.choose(loads, self.container_concurrency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod must never get more than its limit, and nobody may be left in the line when there is room.
    #[test]
    fn a_limited_revision_starts_as_many_as_its_pods_take() {
        let mut line = Line::new(2);
        assert_eq!([line.offer(), line.offer(), line.offer()], [Admission::Wait; 3]);
        assert_eq!(line.update(1), 2);
        assert_eq!(line.finish(), 1);
        assert_eq!(line.offer(), Admission::Wait);
        line.abandon();
        assert_eq!(line.finish(), 0);
        assert_eq!(line.offer(), Admission::Start);
        assert_eq!(line.choose(&[2, 1], &mut Stream::named(1, "")), Some(1));
    }

    /// Without a limit the first ready pod lets everybody out, and not one request before it.
    #[test]
    fn an_unlimited_revision_waits_for_its_first_pod_only() {
        let mut line = Line::new(0);
        assert_eq!([line.offer(), line.offer()], [Admission::Wait; 2]);
        assert_eq!(line.update(0), 0);
        assert_eq!(line.update(1), 2);
        assert_eq!([line.offer(), line.offer()], [Admission::Start; 2]);
        assert_eq!(line.finish(), 0);
    }

    /// A queue without a bound would hide an overload until memory ends.
    #[test]
    fn the_queue_is_bounded() {
        let mut line = Line::new(0);
        assert!((0..QUEUE_DEPTH).all(|_| line.offer() == Admission::Wait));
        assert_eq!([line.offer(), line.offer()], [Admission::Refused; 2]);
        line.abandon();
        assert_eq!(line.offer(), Admission::Wait);
    }
}
