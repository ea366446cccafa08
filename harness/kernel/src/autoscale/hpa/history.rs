//! What an autoscaler remembers: recommendations and scale events.
//!
//! Both logs are upstream's: an entry that is too old to count is overwritten by the next one, so they stay as short as
//! the windows are long. Here they are also bounded by [`LOG_LIMIT`]; a full log overwrites its oldest entry.

use serde::{Deserialize, Serialize};

use super::spec::{ScalingPolicy, ScalingRules};

/// Most entries of a log: more than a sync a second over the longest window that the API server allows.
pub const LOG_LIMIT: usize = 4096;

const SECOND_NS: i128 = 1_000_000_000;

/// A recommendation before stabilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Replicas.
    pub replicas: i32,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: u64,
}

/// A change of the replica count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvent {
    /// Replicas added, or removed: more than 0 either way.
    pub change: i32,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Older than every policy's period when a later event was stored; the next one takes its place.
    #[serde(default)]
    pub outdated: bool,
}

/// Age of an instant; negative if it lies ahead.
pub(crate) fn age_ns(now_ns: u64, at_ns: u64) -> i128 {
    i128::from(now_ns) - i128::from(at_ns)
}

/// Puts an entry in the place of an old one, or at the end.
fn put<T>(log: &mut Vec<T>, entry: T, old: Option<usize>, at_ns: impl Fn(&T) -> u64) {
    let place = match old {
        None if log.len() >= LOG_LIMIT => {
            (0..log.len()).min_by_key(|&index| log.get(index).map_or(u64::MAX, &at_ns))
        }
        other => other,
    };
    match place.and_then(|place| log.get_mut(place)) {
        Some(entry_there) => *entry_there = entry,
        None => log.push(entry),
    }
}

/// Without `behavior`: the highest recommendation that is not older than the window (one exactly as old still counts),
/// the new one included, which is recorded.
pub fn stabilize(log: &mut Vec<Recommendation>, replicas: i32, window_ns: u64, now_ns: u64) -> i32 {
    let mut highest = replicas;
    let mut old = None;
    for (index, entry) in log.iter().enumerate() {
        if age_ns(now_ns, entry.at_ns) > i128::from(window_ns) {
            old = Some(index);
        } else {
            highest = highest.max(entry.replicas);
        }
    }
    put(log, Recommendation { replicas, at_ns: now_ns }, old, |entry| entry.at_ns);
    highest
}

/// With `behavior`, since Kubernetes 1.21: the present count, raised to the lowest recommendation of the scale-up window
/// and lowered to the highest of the scale-down window. The new one is recorded as it came.
pub fn stabilize_within(
    log: &mut Vec<Recommendation>,
    current: i32,
    replicas: i32,
    windows: Windows,
    now_ns: u64,
) -> i32 {
    let (mut lowest, mut highest) = (replicas, replicas);
    let mut old = None;
    for (index, entry) in log.iter().enumerate() {
        let age_ns = age_ns(now_ns, entry.at_ns);
        if age_ns < windows.up_ns() {
            lowest = lowest.min(entry.replicas);
        }
        if age_ns < windows.down_ns() {
            highest = highest.max(entry.replicas);
        }
        if age_ns > windows.up_ns() && age_ns > windows.down_ns() {
            old = Some(index);
        }
    }
    put(log, Recommendation { replicas, at_ns: now_ns }, old, |entry| entry.at_ns);
    current.max(lowest).min(highest)
}

/// With `behavior`, before Kubernetes 1.21: the lowest recommendation of the scale-up window where the new one is not
/// below the present count, otherwise the highest of the scale-down window.
pub fn stabilize_one_way(
    log: &mut Vec<Recommendation>,
    current: i32,
    replicas: i32,
    windows: Windows,
    now_ns: u64,
) -> i32 {
    let goes_up = replicas >= current;
    let window_ns = if goes_up { windows.up_ns() } else { windows.down_ns() };
    let longest_ns = windows.up_ns().max(windows.down_ns());
    let mut stabilized = replicas;
    let mut old = None;
    for (index, entry) in log.iter().enumerate() {
        let age_ns = age_ns(now_ns, entry.at_ns);
        if age_ns < window_ns {
            stabilized =
                if goes_up { stabilized.min(entry.replicas) } else { stabilized.max(entry.replicas) };
        }
        if age_ns > longest_ns {
            old = Some(index);
        }
    }
    put(log, Recommendation { replicas, at_ns: now_ns }, old, |entry| entry.at_ns);
    stabilized
}

/// Stabilisation windows of both directions, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Upwards.
    pub up_s: i32,
    /// Downwards.
    pub down_s: i32,
}

impl Windows {
    fn up_ns(self) -> i128 {
        i128::from(self.up_s) * SECOND_NS
    }

    fn down_ns(self) -> i128 {
        i128::from(self.down_s) * SECOND_NS
    }
}

/// Scale events of both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleEvents {
    /// Upwards.
    pub up: Vec<ScaleEvent>,
    /// Downwards.
    pub down: Vec<ScaleEvent>,
}

impl ScaleEvents {
    /// Records a change from `from` to `to` replicas, over an event that no policy of its direction looks at any more.
    /// Returns what it takes to take that back.
    pub fn record(
        &mut self,
        from: i32,
        to: i32,
        up: &ScalingRules,
        down: &ScalingRules,
        now_ns: u64,
    ) -> Undo {
        let goes_up = to > from;
        let (log, rules) = if goes_up { (&mut self.up, up) } else { (&mut self.down, down) };
        let before = log.clone();
        store(log, from.abs_diff(to).try_into().unwrap_or(i32::MAX), rules.policies.as_deref(), now_ns);
        Undo { goes_up, before }
    }

    /// Takes the latest record back.
    pub fn undo(&mut self, undo: Undo) {
        if undo.goes_up {
            self.up = undo.before;
        } else {
            self.down = undo.before;
        }
    }
}

/// What a log was before the latest record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    goes_up: bool,
    before: Vec<ScaleEvent>,
}

/// Marks events older than every policy's period as outdated and stores a new one over the last of those.
pub fn store(log: &mut Vec<ScaleEvent>, change: i32, policies: Option<&[ScalingPolicy]>, now_ns: u64) {
    let longest_s =
        policies.unwrap_or_default().iter().map(|policy| policy.period_seconds).max().unwrap_or(0);
    let longest_ns = i128::from(longest_s.max(0)) * SECOND_NS;
    let mut old = None;
    for (index, event) in log.iter_mut().enumerate() {
        event.outdated |= age_ns(now_ns, event.at_ns) > longest_ns;
        if event.outdated {
            old = Some(index);
        }
    }
    put(log, ScaleEvent { change, at_ns: now_ns, outdated: false }, old, |event| event.at_ns);
}

/// Replicas changed within the last `period_s` seconds; an event exactly as old does not count.
#[must_use]
pub fn change_within(log: &[ScaleEvent], period_s: i32, now_ns: u64) -> i64 {
    let period_ns = i128::from(period_s) * SECOND_NS;
    let recent = |event: &&ScaleEvent| age_ns(now_ns, event.at_ns) < period_ns;
    log.iter().filter(recent).map(|event| i64::from(event.change)).sum()
}
