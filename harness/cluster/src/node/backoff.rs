//! How long a container that ended waits before it is started again.

use std::time::Duration;

/// The first wait; the second start after an end comes without any.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// A container that ran as long as this is forgiven its past.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The waits of one container: none, 10 s, 20 s, 40 s, 80 s, 160 s, then 300 s each time; a run of ten minutes starts
/// over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The wait before the next start, after a run that lasted `ran_for`.
    pub fn next(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= FORGIVEN_AFTER {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = if wait.is_zero() { FIRST } else { (wait * 2).min(LONGEST) };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails a crashing container restarts in a tight loop, or a healthy one waits five minutes.
    #[test]
    fn waits_are_those_of_kubernetes() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.next(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.next(FORGIVEN_AFTER).as_secs(), 0);
        assert_eq!(backoff.next(Duration::ZERO).as_secs(), 10);
    }
}
