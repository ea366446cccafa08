//! The breaker beyond the shipped vectors.

use windtunnel_kernel::routing::breaker::{Breaker, Dequeued, Offer};

/// If it fails, requests that wait for a cold start are lost or overload the first pod.
#[test]
fn capacity_lets_queued_requests_in() {
    let mut breaker = Breaker::new(10, 5, 0);
    for _ in 0..4 {
        assert_eq!(breaker.offer(), Offer::Queue);
    }
    assert!(!breaker.reserve(), "a reservation never waits");
    assert_eq!(breaker.update_capacity(3), 3);
    assert_eq!((breaker.running(), breaker.queued()), (3, 1));
    // Fewer than are running: they finish, nobody new starts.
    assert_eq!(breaker.update_capacity(1), 0);
    assert_eq!(breaker.finish(), None);
    assert_eq!(breaker.finish(), None);
    assert_eq!(breaker.finish(), Some(Dequeued));
    breaker.finish();
    assert_eq!((breaker.running(), breaker.queued()), (0, 0));
}

/// If it fails, a client that gave up blocks the queue for the next one.
#[test]
fn abandoned_requests_free_their_place() {
    let mut breaker = Breaker::new(1, 1, 1);
    assert_eq!(breaker.offer(), Offer::Admit);
    assert_eq!(breaker.offer(), Offer::Queue);
    assert_eq!(breaker.offer(), Offer::Reject);
    breaker.abandon();
    assert_eq!(breaker.offer(), Offer::Queue);
    assert_eq!(breaker.finish(), Some(Dequeued));
    assert_eq!((breaker.running(), breaker.queued()), (1, 0));
}
