//! Waiting on a condition with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Time between two looks, where nothing announces the change that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `done` holds of what `look` sees, and returns that.
///
/// # Panics
/// When `deadline` passes first; the message says what was waited for and what was seen last.
pub fn until<T: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> T,
    done: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let seen = look();
        if done(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not within {deadline:?}; last seen: {seen:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}
