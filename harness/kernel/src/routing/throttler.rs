//! How much of a revision one of several activators may use, and which of its pods takes a request.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::balance::{Policy, RoundRobin, random_choice_of_two};
use super::breaker::{Breaker, Offer};
use crate::Profile;

/// Capacity of a breaker without a limit.
pub const CAPACITY_MAXIMUM: u32 = i32::MAX as u32;

/// Requests that may wait in an activator, a revision.
pub const QUEUE_DEPTH: u32 = 10_000;

/// What one activator sees of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Requests in flight a pod may have; 0 = unlimited.
    pub container_concurrency: u32,
    /// Pods behind the revision's address; negative = unknown.
    pub backends: i64,
    /// Pods that are addressed directly; 0 = none, requests go through the revision's address.
    pub pod_trackers: u32,
    /// Activators of the revision.
    pub activators: u32,
    /// Which of them this one is; `None` = not among them yet.
    pub index: Option<u32>,
}

/// How many requests this activator may have in flight for the revision. Without a container concurrency the gate
/// is open (1) or shut (0).
#[must_use]
pub fn capacity(share: &Share) -> u32 {
    let concurrency = i128::from(share.container_concurrency);
    if concurrency == 0 {
        return u32::from(share.backends > 0);
    }
    let assignment = Assignment::of(share.pod_trackers, share.index, share.activators);
    let assigned = assignment.count();
    let capacity = if assigned > 0 {
        concurrency * i128::from(assigned)
    } else {
        let capacity = concurrency * i128::from(share.backends);
        if capacity > 0 { (capacity / i128::from(share.activators.max(1))).max(1) } else { 0 }
    };
    capacity.min(i128::from(CAPACITY_MAXIMUM)) as u32
}

/// What the breaker of a revision's only activator lets through to so many pods. Without a container concurrency how
/// many pass is not counted.
#[must_use]
pub fn capacity_alone(container_concurrency: u32, pods: u32) -> u32 {
    let open = capacity(&Share {
        container_concurrency,
        backends: i64::from(pods),
        pod_trackers: pods,
        activators: 1,
        index: Some(0),
    });
    if container_concurrency == 0 && open > 0 { u32::MAX } else { open }
}

/// The pods (by position in address order) that this activator sends to when pods have a limit: a slice of its
/// own, plus at most one of the pods that remain.
#[must_use]
pub fn assign(pods: u32, index: Option<u32>, activators: u32) -> Vec<u32> {
    let Assignment { own, remnant } = Assignment::of(pods, index, activators);
    own.chain(remnant).collect()
}

struct Assignment {
    own: Range<u32>,
    remnant: Option<u32>,
}

impl Assignment {
    fn of(pods: u32, index: Option<u32>, activators: u32) -> Self {
        match index {
            Some(index) if pods > 1 && activators > 1 => {
                let Slice { own, remnants } = pick_indices(pods, index, activators);
                let remnant = (index < remnants).then(|| pods - remnants + index);
                Self { own: own.start.min(pods)..own.end.min(pods), remnant }
            }
            _ => Self { own: 0..pods, remnant: None },
        }
    }

    fn count(&self) -> u64 {
        self.own.len() as u64 + u64::from(self.remnant.is_some())
    }
}

/// An activator's slice of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Positions of its own pods.
    pub own: Range<u32>,
    /// How many pods at the end are left over after equal slices.
    pub remnants: u32,
}

/// Slices `pods` for activator `index` of `activators`: equal slices, or one shared pod each where there are
/// fewer pods than activators.
#[must_use]
pub fn pick_indices(pods: u32, index: u32, activators: u32) -> Slice {
    let activators = activators.max(1);
    if activators > pods {
        let begin = if pods == 0 { 0 } else { index % pods };
        return Slice { own: begin..begin + u32::from(pods > 0), remnants: 0 };
    }
    let size = pods / activators;
    let begin = index.saturating_mul(size);
    Slice { own: begin..begin.saturating_add(size), remnants: pods % activators }
}

/// Which of the activators at `addresses` (sorted) this one is.
#[must_use]
pub fn infer_index<S: AsRef<str>>(addresses: &[S], own: &str) -> Option<usize> {
    addresses.iter().position(|address| address.as_ref() == own)
}

/// Likely bugs of upstream's activator, each an option. All off is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Bugs {
    /// The bound of [`QUEUE_DEPTH`] waiting requests never comes to bear: it is added to the breaker's largest possible
    /// concurrency (2^31 - 1) instead of the one in force, and without a container concurrency there is no bound at all.
    pub endless_queue: bool,
}

impl Bugs {
    /// The bugs of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        Self { endless_queue: profile.has_upstream_bugs() }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Destination {
    /// The revision's own address: Kubernetes picks the pod.
    Service,
    /// A pod, by the number that it got when it was first seen.
    Pod(u64),
}

/// A revision as one activator sees it: its gate, its queue and the pods that are assigned to it.
///
/// Requests pass [`offer`](Self::offer); those that may run take a pod with [`choose`](Self::choose) and give it back
/// with [`finish`](Self::finish). The throttler counts; the requests themselves are the caller's.
///
/// ```
/// use windtunnel_kernel::routing::breaker::Offer;
/// use windtunnel_kernel::routing::throttler::{Bugs, Throttler};
///
/// let mut throttler = Throttler::new(1, Bugs::default());
/// assert_eq!(throttler.offer(), Offer::Queue, "no pod yet");
/// assert_eq!(throttler.update_pods(&["10.0.0.1:8012"], false), 1, "the queued request may run");
/// let pod = throttler.choose(&mut || 0).expect("a free pod");
/// assert_eq!(throttler.address(pod), Some("10.0.0.1:8012"));
/// assert_eq!(throttler.finish(pod), 0, "nobody else waits");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttler {
    container_concurrency: u32,
    bugs: Bugs,
    activators: u32,
    /// `None`: not among the activators of the revision yet.
    index: Option<u32>,
    backends: u32,
    by_service: bool,
    /// Ascending by address.
    pods: Vec<Pod>,
    next_number: u64,
    /// Positions in `pods`, and beside them the requests in flight of each.
    assigned: Vec<u32>,
    loads: Vec<u32>,
    round_robin: RoundRobin,
    breaker: Breaker,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pod {
    address: String,
    number: u64,
    in_flight: u32,
}

impl Throttler {
    /// A revision without pods, in front of which one activator stands that is not listed yet.
    #[must_use]
    pub fn new(container_concurrency: u32, bugs: Bugs) -> Self {
        Self {
            container_concurrency,
            bugs,
            activators: 0,
            index: None,
            backends: 0,
            by_service: false,
            pods: Vec::new(),
            next_number: 0,
            assigned: Vec::new(),
            loads: Vec::new(),
            round_robin: RoundRobin::new(),
            // Whether a queue is full is decided here, by those who wait.
            breaker: Breaker::new(u32::MAX, u32::MAX, 0),
        }
    }

    /// Takes the addresses of the healthy pods; with `by_service` requests go to the revision's own address instead,
    /// and the pods only count. Returns how many queued requests run now.
    pub fn update_pods<S: AsRef<str>>(&mut self, addresses: &[S], by_service: bool) -> u32 {
        let mut before = std::mem::take(&mut self.pods);
        let mut addresses: Vec<&str> = addresses.iter().map(AsRef::as_ref).collect();
        addresses.sort_unstable();
        addresses.dedup();
        self.by_service = by_service;
        self.backends = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        if !by_service {
            for address in addresses {
                let known = before.binary_search_by(|pod| pod.address.as_str().cmp(address));
                let pod = match known {
                    Ok(position) => before.remove(position),
                    Err(_) => {
                        self.next_number = self.next_number.wrapping_add(1);
                        Pod { address: address.to_string(), number: self.next_number, in_flight: 0 }
                    }
                };
                self.pods.push(pod);
            }
        }
        self.reassign()
    }

    /// Takes the addresses of the revision's activators, of which this one is `own`. Nothing changes while it is not
    /// among them. Returns how many queued requests run now.
    pub fn update_activators<S: AsRef<str>>(&mut self, addresses: &[S], own: &str) -> u32 {
        let mut addresses: Vec<&str> = addresses.iter().map(AsRef::as_ref).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let Some(index) = infer_index(&addresses, own) else { return 0 };
        self.activators = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        self.index = u32::try_from(index).ok();
        self.reassign()
    }

    /// A request arrives. One that may run takes a pod with [`choose`](Self::choose).
    pub fn offer(&mut self) -> Offer {
        let offer = self.breaker.offer();
        if offer == Offer::Queue && !self.bugs.endless_queue && self.breaker.queued() > QUEUE_DEPTH {
            self.breaker.abandon();
            return Offer::Reject;
        }
        offer
    }

    /// The destination of a request that may run: there is always one, because no more may run than the assigned pods
    /// take. (Upstream changes the gate and the pods one after the other and sends requests that fall in between back
    /// into the queue.) `None` for a request that was not admitted. `rng` gives uniform 64-bit words.
    pub fn choose(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Destination> {
        if self.by_service {
            return Some(Destination::Service);
        }
        let chosen = match Policy::of(self.container_concurrency) {
            Policy::RandomChoiceOfTwo => random_choice_of_two(&self.loads, rng),
            Policy::FirstAvailable => {
                super::balance::first_available(&self.loads, self.container_concurrency)
            }
            Policy::RoundRobin => self.round_robin.choose(&self.loads, self.container_concurrency),
        }?;
        let pod = self.pods.get_mut(*self.assigned.get(chosen)? as usize)?;
        pod.in_flight = pod.in_flight.saturating_add(1);
        self.loads[chosen] = pod.in_flight;
        Some(Destination::Pod(pod.number))
    }

    /// A request ended. Returns how many queued ones run now (0 or 1).
    pub fn finish(&mut self, destination: Destination) -> u32 {
        if let Destination::Pod(number) = destination
            && let Some(position) = self.pods.iter().position(|pod| pod.number == number)
        {
            let pod = &mut self.pods[position];
            pod.in_flight = pod.in_flight.saturating_sub(1);
            let in_flight = pod.in_flight;
            // Positions are assigned in ascending order, but for the remnant at the end.
            if let Some(slot) = self.assigned.iter().position(|&assigned| assigned as usize == position) {
                self.loads[slot] = in_flight;
            }
        }
        u32::from(self.breaker.finish().is_some())
    }

    /// A queued request gave up.
    pub fn abandon(&mut self) {
        self.breaker.abandon();
    }

    /// How many requests may run: without a container concurrency 1 for an open gate and 0 for a shut one.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        capacity(&self.share())
    }

    /// How many requests wait.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.breaker.queued()
    }

    /// The addresses of the pods that are assigned to this activator.
    pub fn assigned(&self) -> impl Iterator<Item = &str> {
        self.assigned.iter().filter_map(|&position| self.pods.get(position as usize)).map(|pod| &*pod.address)
    }

    /// The address of a pod; `None` for the revision's own address, and for a pod that is gone.
    #[must_use]
    pub fn address(&self, destination: Destination) -> Option<&str> {
        let Destination::Pod(number) = destination else { return None };
        self.pods.iter().find(|pod| pod.number == number).map(|pod| &*pod.address)
    }

    fn share(&self) -> Share {
        let pods = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        Share {
            container_concurrency: self.container_concurrency,
            backends: i64::from(self.backends),
            pod_trackers: pods,
            activators: self.activators,
            index: self.index,
        }
    }

    fn reassign(&mut self) -> u32 {
        let share = self.share();
        self.assigned = if self.container_concurrency == 0 {
            (0..share.pod_trackers).collect()
        } else {
            assign(share.pod_trackers, share.index, share.activators)
        };
        let load = |&position: &u32| self.pods.get(position as usize).map_or(0, |pod| pod.in_flight);
        self.loads = self.assigned.iter().map(load).collect();
        let open = capacity(&share);
        // Without a limit the gate is open or shut; how many pass is not counted.
        let is_unlimited = self.container_concurrency == 0 && open > 0;
        self.breaker.update_capacity(if is_unlimited { u32::MAX } else { open })
    }
}
