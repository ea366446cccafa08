//! The activator of one revision: who may go to which pod, and who waits.
//!
//! Requests pass Knative's breaker (`kernel::routing::breaker`): with a container concurrency each pod takes that
//! many at a time, without one any number goes as soon as one pod can be reached. Those that must wait stand in one
//! bounded queue (which stands for those of the pods where the activator is not in the path, and is as long as these are) and are handed a pod in order of arrival, by whoever makes room: a request that ends, or a route
//! table with a new pod.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::sync::oneshot;
use windtunnel_kernel::routing::{
    balance::{self, Policy, RoundRobin},
    breaker::{Breaker, Offer},
    throttler,
};

use crate::{endpoint::Endpoint, meter::Meter, table::RevisionKey};

/// Requests that may wait for one revision (Knative's `breakerQueueDepth`).
pub(crate) const QUEUE_DEPTH: usize = throttler::QUEUE_DEPTH as usize;
/// Requests that may wait at one pod without the activator, as a multiple of the container concurrency (Knative's
/// queue-proxy).
const POD_QUEUE_FACTOR: usize = 10;
/// First pause before a pod that refused a connection is tried again; it doubles up to [`LAST_PROBE_PAUSE`].
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(5);
const LAST_PROBE_PAUSE: Duration = Duration::from_millis(200);

/// A revision as the data plane sees it.
pub(crate) struct Revision {
    pub(crate) key: RevisionKey,
    pub(crate) meter: Arc<Meter>,
    inner: Mutex<Inner>,
}

struct Inner {
    container_concurrency: u32,
    /// Whether requests wait when there is no pod, in one queue for all; without that they wait at the pods.
    activated: bool,
    seats: Vec<Seat>,
    breaker: Breaker,
    waiting: VecDeque<Waiting>,
    next_waiting_id: u64,
    round_robin: RoundRobin,
    random: Pcg64Mcg,
    gone: bool,
}

/// A pod of the route table.
struct Seat {
    endpoint: Arc<Endpoint>,
    in_flight: u32,
    /// It refused a connection; a probe is out to see when it answers again.
    suspended: bool,
}

struct Waiting {
    id: u64,
    grant: oneshot::Sender<Lease>,
}

/// The right to send one request to one pod; dropping it makes room for the next.
pub(crate) struct Lease {
    revision: Arc<Revision>,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// A lease, and how long it took for lack of a ready pod.
pub(crate) struct Admitted {
    pub(crate) lease: Lease,
    /// `None` if a pod was there when the request came.
    pub(crate) held: Option<Duration>,
}

/// Why no pod was handed out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The queue is full, which has so many places.
    Full(usize),
    /// There is no pod and waiting for one is not wanted.
    NoPod,
    /// The revision was taken out of the route table: ask the table again.
    Gone,
}

impl Revision {
    pub(crate) fn new(key: RevisionKey, meter: Arc<Meter>, seed: u64) -> Self {
        Self {
            key,
            meter,
            inner: Mutex::new(Inner {
                container_concurrency: 0,
                activated: true,
                seats: Vec::new(),
                // The queue is bounded here, by those who wait; the breaker would count those who run as well.
                breaker: Breaker::new(u32::MAX, u32::MAX, 0),
                waiting: VecDeque::new(),
                next_waiting_id: 0,
                round_robin: RoundRobin::new(),
                random: Pcg64Mcg::seed_from_u64(seed),
                gone: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the route table says about this revision.
    pub(crate) fn update(
        self: &Arc<Self>,
        container_concurrency: u32,
        activated: bool,
        endpoints: &[SocketAddr],
    ) {
        let mut addresses = endpoints.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        let mut inner = self.lock();
        inner.gone = false;
        inner.container_concurrency = container_concurrency;
        inner.activated = activated;
        let mut before = std::mem::take(&mut inner.seats);
        for address in addresses {
            let known = before.iter().position(|seat| seat.endpoint.address == address);
            let seat = known.map(|index| before.swap_remove(index)).unwrap_or_else(|| Seat {
                endpoint: Arc::new(Endpoint::new(address)),
                in_flight: 0,
                suspended: false,
            });
            inner.seats.push(seat);
        }
        for seat in before {
            seat.endpoint.retire();
        }
        self.adjust(inner);
    }

    /// The revision is no longer in the route table: its pods are forgotten and those who wait are sent away.
    pub(crate) fn remove(self: &Arc<Self>) {
        let mut inner = self.lock();
        inner.gone = true;
        for seat in inner.seats.drain(..) {
            seat.endpoint.retire();
        }
        let waiting = std::mem::take(&mut inner.waiting);
        for _ in &waiting {
            inner.breaker.abandon();
        }
        self.adjust(inner);
        // Dropping the senders tells the waiting requests.
        drop(waiting);
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn close_aged(&self) {
        let endpoints: Vec<_> = self.lock().seats.iter().map(|seat| Arc::clone(&seat.endpoint)).collect();
        for endpoint in endpoints {
            endpoint.close_aged();
        }
    }

    /// Waits for a pod. Dropping the future leaves the queue.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Result<Admitted, Denied> {
        let (receiver, place, no_pod) = {
            let mut inner = self.lock();
            if inner.gone {
                return Err(Denied::Gone);
            }
            if !inner.activated && inner.seats.is_empty() {
                return Err(Denied::NoPod);
            }
            match inner.breaker.offer() {
                Offer::Reject => return Err(Denied::Full(QUEUE_DEPTH)),
                Offer::Admit => {
                    let lease = inner.seat(self);
                    return lease.map(|lease| Admitted { lease, held: None }).ok_or_else(|| {
                        inner.breaker.finish();
                        Denied::Gone
                    });
                }
                Offer::Queue if inner.waiting.len() >= inner.queue_depth() => {
                    inner.breaker.abandon();
                    return Err(Denied::Full(inner.queue_depth()));
                }
                Offer::Queue => {}
            }
            let (grant, receiver) = oneshot::channel();
            let id = inner.next_waiting_id;
            inner.next_waiting_id += 1;
            inner.waiting.push_back(Waiting { id, grant });
            (receiver, Place { revision: self, id }, inner.usable() == 0)
        };
        let since = Instant::now();
        let granted = receiver.await;
        // Its turn came, or the queue was dissolved: there is no place left to give up.
        drop(place);
        match granted {
            Ok(lease) => Ok(Admitted { lease, held: no_pod.then(|| since.elapsed()) }),
            Err(_removed) => Err(Denied::Gone),
        }
    }

    /// The pod refused a connection: nobody is sent there until a probe gets through.
    pub(crate) fn suspend(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        let mut inner = self.lock();
        let Some(seat) = inner.seats.iter_mut().find(|seat| Arc::ptr_eq(&seat.endpoint, endpoint)) else {
            return;
        };
        if std::mem::replace(&mut seat.suspended, true) {
            return;
        }
        tracing::debug!(revision = %self.key, pod = %endpoint.address, "pod refuses connections");
        self.adjust(inner);
        let revision = Arc::clone(self);
        let endpoint = Arc::clone(endpoint);
        tokio::spawn(async move { revision.probe(&endpoint).await });
    }

    async fn probe(self: Arc<Self>, endpoint: &Arc<Endpoint>) {
        let mut pause = FIRST_PROBE_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            if endpoint.is_retired() {
                return;
            }
            if endpoint.answers().await {
                break;
            }
            pause = (pause * 2).min(LAST_PROBE_PAUSE);
        }
        let mut inner = self.lock();
        if let Some(seat) = inner.seats.iter_mut().find(|seat| Arc::ptr_eq(&seat.endpoint, endpoint)) {
            seat.suspended = false;
        }
        self.adjust(inner);
    }

    /// Tells the breaker what fits now, and lets in whom that admits.
    fn adjust(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let capacity = inner.capacity();
        let admitted = inner.breaker.update_capacity(capacity);
        let unclaimed = inner.grant(self, admitted);
        drop(inner);
        drop(unclaimed);
    }

    fn release(self: &Arc<Self>, endpoint: &Arc<Endpoint>) {
        let mut inner = self.lock();
        if let Some(seat) = inner.seats.iter_mut().find(|seat| Arc::ptr_eq(&seat.endpoint, endpoint)) {
            seat.in_flight -= 1;
        }
        let admitted = u32::from(inner.breaker.finish().is_some());
        let unclaimed = inner.grant(self, admitted);
        drop(inner);
        drop(unclaimed);
    }

    fn leave_queue(&self, id: u64) {
        let mut inner = self.lock();
        // Tickets are given out in order, so the queue is sorted by them.
        if let Ok(index) = inner.waiting.binary_search_by_key(&id, |waiting| waiting.id) {
            inner.waiting.remove(index);
            inner.breaker.abandon();
        }
    }
}

impl Inner {
    /// Picks a pod for a request that the breaker admitted. There is one: the capacity is what the reachable pods
    /// take together.
    fn seat(&mut self, revision: &Arc<Revision>) -> Option<Lease> {
        let (seats, in_flight): (Vec<usize>, Vec<u32>) = self
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !seat.suspended)
            .map(|(index, seat)| (index, seat.in_flight))
            .unzip();
        let each = self.container_concurrency;
        let chosen = match Policy::of(each) {
            Policy::RandomChoiceOfTwo => {
                balance::random_choice_of_two(&in_flight, &mut || self.random.next_u64())
            }
            Policy::FirstAvailable => balance::first_available(&in_flight, each),
            Policy::RoundRobin => self.round_robin.choose(&in_flight, each),
        }?;
        let seat = &mut self.seats[seats[chosen]];
        seat.in_flight += 1;
        Some(Lease { revision: Arc::clone(revision), endpoint: Arc::clone(&seat.endpoint) })
    }

    /// Hands pods to the first `admitted` of those who wait. Returns what nobody took any more; it must be dropped
    /// without the lock, as that makes room again.
    fn grant(&mut self, revision: &Arc<Revision>, admitted: u32) -> Vec<Lease> {
        let mut unclaimed = Vec::new();
        for _ in 0..admitted {
            let Some(waiting) = self.waiting.pop_front() else {
                self.breaker.finish();
                continue;
            };
            match self.seat(revision) {
                Some(lease) => unclaimed.extend(waiting.grant.send(lease).err()),
                // Dropping `waiting` sends it to choose again.
                None => {
                    self.breaker.finish();
                }
            }
        }
        unclaimed
    }

    /// Requests that may wait: in the activator, or at the pods.
    fn queue_depth(&self) -> usize {
        let each = usize::try_from(self.container_concurrency).unwrap_or(usize::MAX);
        if self.activated || each == 0 {
            return QUEUE_DEPTH;
        }
        self.seats.len().saturating_mul(each).saturating_mul(POD_QUEUE_FACTOR)
    }

    fn usable(&self) -> usize {
        self.seats.iter().filter(|seat| !seat.suspended).count()
    }

    fn capacity(&self) -> u32 {
        let pods = u32::try_from(self.usable()).unwrap_or(u32::MAX);
        throttler::capacity_alone(self.container_concurrency, pods)
    }
}

/// A place in the queue, left when the request goes away before its turn.
struct Place<'a> {
    revision: &'a Arc<Revision>,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.revision.leave_queue(self.id);
    }
}

impl Lease {
    /// Sets the pod aside until it accepts connections again.
    pub(crate) fn suspend(&self) {
        self.revision.suspend(&self.endpoint);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.revision.release(&self.endpoint);
    }
}
