//! Memory limits: what a container's processes hold is looked at often, and a container over its limit is killed.
//!
//! No control group is made, because that needs privileges that most machines do not give. What is counted is memory of
//! the processes' own (resident less shared), so that libraries do not count once for each process.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Container;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::AbortHandle;

use crate::quantity;

/// Time between two looks, at a container that holds more than half of its limit and at others.
const PERIOD: Duration = Duration::from_millis(50);
const CALM_PERIOD: Duration = Duration::from_millis(200);
/// Processes of one container that are looked at.
const PROCESSES: usize = 4096;

/// Looks after one process group.
#[derive(Debug)]
pub(crate) struct Guard {
    has_killed: Arc<AtomicBool>,
    task: AbortHandle,
}

/// The memory limit of a container in bytes.
pub(crate) fn limit(container: &Container) -> Option<u64> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    u64::try_from(quantity::milli(limits.get("memory")?)? / 1000).ok().filter(|limit| *limit > 0)
}

impl Guard {
    /// Kills the group of `process` when it holds more than `limit` bytes.
    pub(crate) fn start(process: i32, limit: u64) -> Self {
        let has_killed = Arc::new(AtomicBool::new(false));
        let killed = has_killed.clone();
        let task = tokio::spawn(async move {
            loop {
                let held = held(process);
                if held > limit
                    && let Some(group) = Pid::from_raw(process)
                {
                    killed.store(true, Ordering::Release);
                    // It may have ended in this moment.
                    let _ = kill_process_group(group, Signal::KILL);
                    return;
                }
                tokio::time::sleep(if held > limit / 2 { PERIOD } else { CALM_PERIOD }).await;
            }
        });
        Self { has_killed, task: task.abort_handle() }
    }

    /// Whether the group was killed for its memory.
    pub(crate) fn has_killed(&self) -> bool {
        self.has_killed.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes that a process and those that it started hold for themselves.
fn held(process: i32) -> u64 {
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut waiting = vec![process];
    let mut seen = 0;
    let mut pages = 0_u64;
    while let Some(next) = waiting.pop() {
        seen += 1;
        if seen > PROCESSES {
            break;
        }
        pages = pages.saturating_add(own_pages(next).unwrap_or(0));
        // Each thread has children of its own.
        for thread in fs::read_dir(format!("/proc/{next}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            waiting.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    pages.saturating_mul(page_bytes)
}

fn own_pages(process: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let mut fields = text.split_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.next()??, fields.next()??);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails limits are those of another unit, and containers are killed at once or never.
    #[test]
    fn limits_and_use_are_in_bytes() {
        let of = |amount: &str| {
            let value = serde_json::json!({"name": "c", "resources": {"limits": {"memory": amount}}});
            limit(&serde_json::from_value(value).expect("a container"))
        };
        assert_eq!(of("20Mi"), Some(20 * 1024 * 1024));
        assert_eq!(of("1k"), Some(1000));
        assert_eq!(of("0"), None);
        let own = i32::try_from(std::process::id()).expect("an id");
        let before = held(own);
        let block = vec![1_u8; 64 << 20];
        let after = held(own);
        assert!(after >= before + (60 << 20), "{before} {after} {}", block.len());
        assert_eq!(held(i32::MAX), 0, "nobody has that id");
    }
}
