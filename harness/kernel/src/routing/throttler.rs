//! How much of a revision one of several activators may use.

use std::ops::Range;

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
