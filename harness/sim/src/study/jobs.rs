//! Work on all cores, with results in the order of the work.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// As many threads as there are cores.
pub(super) fn all_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` for `0..count` on `threads` threads. Which thread does what depends on time; the results do not.
pub(super) fn in_order<T: Send>(
    count: usize,
    threads: NonZeroUsize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    if threads.get() == 1 || count < 2 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(count) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= count {
                        return;
                    }
                    let result = work(job);
                    done.lock().unwrap_or_else(PoisonError::into_inner)[job] = Some(result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table whose rows depend on which thread was faster would show another winner on another machine.
    #[test]
    fn results_stand_in_the_order_of_the_work_on_any_number_of_threads() {
        for threads in 1..=4 {
            let threads = NonZeroUsize::new(threads).expect("not zero");
            let squares = in_order(100, threads, |job| job * job);
            assert_eq!(squares, (0..100).map(|job| job * job).collect::<Vec<_>>());
        }
    }
}
