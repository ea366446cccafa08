//! What containers use: processor time and resident memory of their process groups, read from `/proc`.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{
    controllers::autoscaler::{PodUsage, ResourceMetrics, Usage},
    world::Key,
};

/// Clock ticks a second in `/proc`, the same on every Linux that Rust runs on.
const TICKS: u64 = 100;
const NANOSECONDS: u128 = 1_000_000_000;

/// Meters containers.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    tracks: Mutex<BTreeMap<(Key, String), Track>>,
}

#[derive(Debug)]
struct Track {
    group: i32,
    seen_at: Instant,
    ticks: u64,
    last: Option<(Timestamp, Duration, Usage)>,
}

/// What a process group has used, and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reading {
    ticks: u64,
    pages: u64,
}

impl Meter {
    /// A container runs as this process group from now on.
    pub(crate) fn track(&self, pod: &Key, container: &str, group: i32) {
        let track = Track { group, seen_at: Instant::now(), ticks: 0, last: None };
        self.lock().insert((pod.clone(), container.to_owned()), track);
    }

    /// Takes a sample every `period`, until `stop`.
    pub(crate) async fn run(&self, period: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => self.sample(),
            }
        }
    }

    fn sample(&self) {
        if self.lock().is_empty() {
            return;
        }
        let groups = read_groups();
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let (now, at) = (Instant::now(), Timestamp::now());
        self.lock().retain(|_, track| {
            let Some(reading) = groups.get(&track.group) else { return false };
            let window = now.duration_since(track.seen_at);
            let used =
                u128::from(reading.ticks.saturating_sub(track.ticks)) * NANOSECONDS / u128::from(TICKS);
            let cpu_nano = (used * NANOSECONDS).checked_div(window.as_nanos()).unwrap_or(0);
            let usage = Usage {
                cpu_nano: u64::try_from(cpu_nano).unwrap_or(u64::MAX),
                memory_bytes: reading.pages.saturating_mul(page_bytes),
            };
            track.last = Some((at, window, usage));
            track.seen_at = now;
            track.ticks = reading.ticks;
            true
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Key, String), Track>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResourceMetrics for Meter {
    fn pod_usage(&self, pod: &Key) -> Option<PodUsage> {
        let tracks = self.lock();
        let first = (pod.clone(), String::new());
        let own = tracks.range(first..).take_while(|((key, _), _)| key == pod);
        let mut found: Option<PodUsage> = None;
        for ((_, container), track) in own {
            // A pod is known when each of its containers is.
            let (at, window, usage) = track.last?;
            let pod = found.get_or_insert_with(|| PodUsage { at, window, containers: BTreeMap::new() });
            pod.containers.insert(container.clone(), usage);
        }
        found
    }
}

/// All process groups of this machine.
fn read_groups() -> BTreeMap<i32, Reading> {
    let mut groups: BTreeMap<i32, Reading> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        // A process may end while it is being read.
        let Some((group, reading)) = is_process
            .then(|| fs::read_to_string(entry.path().join("stat")).ok())
            .flatten()
            .and_then(|text| parse(&text))
        else {
            continue;
        };
        let sum = groups.entry(group).or_default();
        sum.ticks = sum.ticks.saturating_add(reading.ticks);
        sum.pages = sum.pages.saturating_add(reading.pages);
    }
    groups
}

/// Reads a line of `/proc/PID/stat`: its group, the time that it and its ended children have used, its memory.
fn parse(text: &str) -> Option<(i32, Reading)> {
    // The name may hold spaces and brackets; what follows the last bracket does not.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = [11, 12, 13, 14].into_iter().map(|index| number(index).unwrap_or(0)).sum();
    Some((fields.get(2)?.parse().ok()?, Reading { ticks, pages: number(21)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails autoscalers see the usage of other processes, or none.
    #[test]
    fn a_line_of_proc_is_read_by_its_fields() {
        let line = "42 (a ) b) S 1 41 42 0 -1 4194304 100 0 0 0 7 5 3 1 20 0 1 0 100 1000000 250 18446744073709551615";
        assert_eq!(parse(line), Some((41, Reading { ticks: 16, pages: 250 })));
        assert_eq!(parse("nonsense"), None);
    }

    /// If this fails a pod of two containers is judged by one of them.
    #[test]
    fn a_pod_is_known_when_all_its_containers_are() {
        let meter = Meter::default();
        let own_group = rustix::process::getpgrp().as_raw_nonzero().get();
        let pod = Key::new("n", "p");
        meter.track(&pod, "a", own_group);
        meter.sample();
        let usage = meter.pod_usage(&pod).expect("a sample");
        assert!(usage.containers["a"].memory_bytes > 0);
        meter.track(&pod, "b", own_group);
        assert_eq!(meter.pod_usage(&pod), None);
        meter.track(&Key::new("n", "q"), "a", i32::MAX);
        meter.sample();
        assert_eq!(meter.pod_usage(&pod).expect("samples").containers.len(), 2);
        assert_eq!(meter.pod_usage(&Key::new("n", "q")), None, "its processes have ended");
    }
}
