//! When a client tries again.

use serde::{Deserialize, Serialize};

use crate::engine::Stream;
use crate::server::{Impossible, not_negative};

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// It was answered with this HTTP status.
    Status(u16),
    /// There was no answer in time.
    Timeout,
}

/// Exponential backoff with jitter. There is no budget: every client tries as often as it may, which is how an
/// overload feeds itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    attempts: u32,
    backoff_ns: u64,
    factor: f64,
    most_ns: u64,
    jitter: f64,
    statuses: Vec<u16>,
    on_timeout: bool,
}

impl RetryPolicy {
    /// Up to `attempts` further tries, the n-th of them after `backoff_ns × factor^(n-1)`, at most `most_ns`. The
    /// share `jitter` of that (0 to 1) is random: the wait lies evenly between `1 - jitter` and 1 times it.
    ///
    /// # Errors
    /// A factor below 1, or a jitter that is no share.
    pub fn new(
        attempts: u32,
        backoff_ns: u64,
        factor: f64,
        most_ns: u64,
        jitter: f64,
        on: &[Failure],
    ) -> Result<Self, Impossible> {
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(Impossible::new("factor of a backoff", factor, "take 1 or more, such as 2"));
        }
        let share = "take a share between 0 and 1";
        if not_negative("jitter of a backoff", jitter, share)? > 1.0 {
            return Err(Impossible::new("jitter of a backoff", jitter, share));
        }
        let mut statuses: Vec<u16> = on
            .iter()
            .filter_map(|failure| match failure {
                Failure::Status(status) => Some(*status),
                Failure::Timeout => None,
            })
            .collect();
        statuses.sort_unstable();
        let on_timeout = on.contains(&Failure::Timeout);
        Ok(Self { attempts, backoff_ns, factor, most_ns, jitter, statuses, on_timeout })
    }

    /// How long to wait before try again number `attempt`, from 1, after `failure`; `None` when it is final. Each
    /// try again takes one number from the stream, whatever the jitter is.
    pub fn next_delay_ns(&self, attempt: u32, failure: Failure, stream: &mut Stream) -> Option<u64> {
        let is_retried = match failure {
            Failure::Status(status) => self.statuses.binary_search(&status).is_ok(),
            Failure::Timeout => self.on_timeout,
        };
        if !is_retried || attempt == 0 || attempt > self.attempts {
            return None;
        }
        let most_ns = self.most_ns as f64;
        let growth = libm::pow(self.factor, f64::from(attempt - 1));
        let plain_ns = (self.backoff_ns as f64 * growth).min(most_ns);
        let spread = 1.0 - self.jitter * stream.unit();
        Some((plain_ns * spread + 0.5) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: f64) -> RetryPolicy {
        let on = [Failure::Status(503), Failure::Timeout, Failure::Status(502)];
        RetryPolicy::new(4, 100, 2.0, 500, jitter, &on).unwrap()
    }

    /// Retries are what turns a short overload into a long one: they must come when the scenario says.
    #[test]
    fn delays_double_up_to_the_most_and_end() {
        let mut stream = Stream::named(1, "retries");
        let delays: Vec<_> = (1..=5)
            .map(|attempt| policy(0.0).next_delay_ns(attempt, Failure::Status(502), &mut stream))
            .collect();
        assert_eq!(delays, [Some(100), Some(200), Some(400), Some(500), None]);
        assert_eq!(policy(0.0).next_delay_ns(1, Failure::Timeout, &mut stream), Some(100));
        assert_eq!(policy(0.0).next_delay_ns(1, Failure::Status(500), &mut stream), None);
        assert_eq!(policy(0.0).next_delay_ns(0, Failure::Timeout, &mut stream), None);
        let endless = RetryPolicy::new(u32::MAX, 1, 10.0, u64::MAX, 1.0, &[Failure::Timeout]).unwrap();
        assert!(endless.next_delay_ns(u32::MAX, Failure::Timeout, &mut stream).is_some());
    }

    /// Without jitter all clients of a failure come back together; with more than was asked for they come too soon.
    #[test]
    fn jitter_spreads_evenly_below_the_wait() {
        let (policy, mut stream) = (policy(0.5), Stream::named(1, "retries"));
        let delays: Vec<u64> =
            (0..20_000).filter_map(|_| policy.next_delay_ns(2, Failure::Timeout, &mut stream)).collect();
        let mean = delays.iter().sum::<u64>() as f64 / 20_000.0;
        assert!(
            delays.iter().all(|delay| (100..=200).contains(delay)) && (mean - 150.0).abs() < 1.0,
            "{mean}"
        );
    }

    /// Backoffs that shrink, or come before the failure, are mistakes.
    #[test]
    fn impossible_policies_are_refused() {
        let refused =
            |factor, jitter| RetryPolicy::new(1, 1, factor, 1, jitter, &[]).unwrap_err().to_string();
        assert_eq!(refused(0.5, 0.0), "factor of a backoff is 0.5: take 1 or more, such as 2");
        assert_eq!(refused(1.0, 1.5), "jitter of a backoff is 1.5: take a share between 0 and 1");
        refused(f64::NAN, 0.0);
        refused(1.0, f64::NAN);
    }
}
