//! Somebody else who writes our fields again and again: we write ours again, too, but ever less often, so that two who
//! disagree don't keep the API server busy.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::world::{Kind, ObjectKey};

/// Corrections of one object that are made at once.
const AT_ONCE: u32 = 5;
/// Wait before the one after those; doubles each time.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two corrections.
const WAIT_LONGEST: Duration = Duration::from_secs(60);
/// An object that nobody has disputed for so long is corrected at once again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// The corrections of late, by object.
#[derive(Debug, Default)]
pub(super) struct Drift(HashMap<(Kind, ObjectKey), Corrections>);

#[derive(Debug)]
struct Corrections {
    count: u32,
    last: Instant,
}

impl Drift {
    /// Notes that an object is to be corrected now.
    ///
    /// # Errors
    /// When it may be corrected, if that is not now.
    pub(super) fn correct(&mut self, kind: Kind, key: &ObjectKey, now: Instant) -> Result<(), Instant> {
        self.0.retain(|_, corrections| now.duration_since(corrections.last) < FORGOTTEN_AFTER);
        let corrections =
            self.0.entry((kind, key.clone())).or_insert_with(|| Corrections { count: 0, last: now });
        if corrections.count >= AT_ONCE {
            let doubled = WAIT_FIRST.saturating_mul(1 << (corrections.count - AT_ONCE).min(16));
            let due = corrections.last + doubled.min(WAIT_LONGEST);
            if now < due {
                return Err(due);
            }
        }
        corrections.count += 1;
        corrections.last = now;
        Ok(())
    }

    /// How often an object was corrected of late.
    pub(super) fn count(&self, kind: Kind, key: &ObjectKey) -> u32 {
        self.0.get(&(kind, key.clone())).map_or(0, |corrections| corrections.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two controllers that disagree would write as fast as they can, for ever.
    #[tokio::test(start_paused = true)]
    async fn corrections_become_rare_and_are_forgiven() {
        let mut drift = Drift::default();
        let (kind, key) = (Kind::Deployment, ObjectKey::new("a", "b"));
        let mut at_s = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(200) {
            if drift.correct(kind, &key, Instant::now()).is_ok() {
                at_s.push(start.elapsed().as_secs());
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(at_s, [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 127, 187]);
        assert_eq!(drift.correct(kind, &ObjectKey::new("a", "other"), Instant::now()), Ok(()));
        tokio::time::advance(FORGOTTEN_AFTER).await;
        assert_eq!(drift.correct(kind, &key, Instant::now()), Ok(()));
        assert_eq!(drift.count(kind, &key), 1);
    }
}
