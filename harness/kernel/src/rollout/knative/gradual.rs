//! The gradual rollout of a Configuration's newest revision: 1 percent at once, then equal steps of whole percents until
//! the duration is over.
//!
//! Upstream: `pkg/reconciler/route/traffic/rollout.go`. What follows from it: while a rollout is under way a newer revision
//! takes its first percent from the newest one before it, and the clock starts anew; steps take from the newest of the old
//! revisions first; a share that grows gives the difference to the newest revision, one that shrinks takes it from the
//! oldest; shares of 1 percent move at once.

use serde::{Deserialize, Serialize};

const SECOND_NS: u64 = 1_000_000_000;

/// Every rollout of a Route. It serialises as upstream's annotation `networking.internal.knative.dev/rollout`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// One for each Configuration and tag, sorted by tag, then by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<ConfigurationRollout>,
}

/// The rollout of one Configuration under one tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigurationRollout {
    /// Name of the Configuration.
    pub configuration_name: String,
    /// The tag; empty for the route itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// Percent of the route's traffic that goes to the Configuration.
    pub percent: u32,
    /// Its revisions, oldest first; their percents add up to its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionRollout>,
    /// When and how much.
    pub step_params: StepParams,
}

/// One revision's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionRollout {
    /// Its name.
    pub revision_name: String,
    /// Percent of the route's traffic.
    pub percent: u32,
}

/// The steps of a rollout; all zero when none is under way. Times are in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepParams {
    /// When it began.
    #[serde(rename = "starttime", skip_serializing_if = "is_zero")]
    pub start_time: u64,
    /// When the next step is due.
    #[serde(skip_serializing_if = "is_zero")]
    pub next_step_time: u64,
    /// Nanoseconds between two steps.
    #[serde(skip_serializing_if = "is_zero")]
    pub step_duration: u64,
    /// Percents that move with a step.
    #[serde(skip_serializing_if = "is_none")]
    pub step_size: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(value: &u32) -> bool {
    *value == 0
}

impl Rollout {
    /// Whether no rollout is under way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.configurations.iter().all(|found| found.revisions.len() < 2)
    }

    /// Whether the numbers fit together. One that somebody has edited is not gone on with.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.configurations.iter().all(|found| {
            let total = found.revisions.iter().map(|revision| u64::from(revision.percent)).sum::<u64>();
            found.percent <= 100
                && found.step_params.step_size <= found.percent
                && total == u64::from(found.percent)
        })
    }

    /// Notes that the gateway routes by this rollout since `now_ns`: those that have begun get their steps. How long it
    /// took until then is the shortest time between two steps, at least a second; `duration_s` is that of the whole.
    pub fn observe_ready(&mut self, now_ns: u64, duration_s: u64) {
        for found in &mut self.configurations {
            if found.step_params.step_duration == 0 && found.step_params.start_time > 0 {
                let took_ns = now_ns.saturating_sub(found.step_params.start_time);
                found.plan_steps(now_ns, took_ns.div_ceil(SECOND_NS).max(1), duration_s);
            }
        }
    }

    /// Where the traffic goes now, on the way from what it was to what is wanted (`self`, one revision a Configuration),
    /// and when to look again.
    ///
    /// ```
    /// use windtunnel_kernel::rollout::knative::gradual::{ConfigurationRollout, RevisionRollout, Rollout};
    ///
    /// let to = |revision: &str| Rollout {
    ///     configurations: vec![ConfigurationRollout {
    ///         configuration_name: "digits".to_string(),
    ///         percent: 100,
    ///         revisions: vec![RevisionRollout { revision_name: revision.to_string(), percent: 100 }],
    ///         ..ConfigurationRollout::default()
    ///     }],
    /// };
    /// let (mut now, _) = to("digits-2").step(Some(&to("digits-1")), 1_000_000_000);
    /// let shares = |rollout: &Rollout| -> Vec<u32> {
    ///     rollout.configurations[0].revisions.iter().map(|revision| revision.percent).collect()
    /// };
    /// assert_eq!(shares(&now), [99, 1]);
    /// now.observe_ready(1_000_000_000, 10);
    /// let (now, _) = to("digits-2").step(Some(&now), 2_000_000_000);
    /// assert_eq!(shares(&now), [88, 12]);
    /// ```
    #[must_use]
    pub fn step(&self, previous: Option<&Self>, now_ns: u64) -> (Self, Option<u64>) {
        let Some(previous) = previous.filter(|previous| !previous.configurations.is_empty()) else {
            return (self.clone(), None);
        };
        let mut configurations = Vec::new();
        let mut next_ns: Option<u64> = None;
        for goal in &self.configurations {
            let same_tag = || previous.configurations.iter().filter(|found| found.tag == goal.tag);
            let before = same_tag().find(|found| found.configuration_name == goal.configuration_name);
            match before {
                // A tag that is new gets its traffic at once, whoever serves it.
                None if same_tag().next().is_none() || goal.percent > 0 => configurations.push(goal.clone()),
                Some(before) if goal.percent > 1 => {
                    let stepped = goal.step_from(before, now_ns);
                    let next = stepped.step_params.next_step_time;
                    if next > 0 {
                        next_ns = Some(next_ns.map_or(next, |known| known.min(next)));
                    }
                    configurations.push(stepped);
                }
                Some(_) if goal.percent == 1 => configurations.push(goal.clone()),
                _ => {}
            }
        }
        configurations.sort_by(|a, b| (&a.tag, &a.configuration_name).cmp(&(&b.tag, &b.configuration_name)));
        (Self { configurations }, next_ns)
    }
}

impl ConfigurationRollout {
    fn step_from(&self, previous: &Self, now_ns: u64) -> Self {
        let mut next = Self { step_params: StepParams::default(), ..self.clone() };
        let Some(newest) = self.revisions.first() else { return next };
        let last = previous.revisions.last().map(|last| last.revision_name.clone());
        let mut revisions = previous.revisions.clone();
        adjust(&mut revisions, previous.percent, self.percent);
        if last.is_none_or(|last| last == newest.revision_name) {
            // Nothing new: a rollout that is under way goes on.
            if revisions.len() > 1 {
                next.revisions = revisions;
                next.step_params = previous.step_params;
                if next.step_params.step_size > 0 {
                    next.move_on(now_ns);
                }
            }
            return next;
        }
        next.step_params.start_time = now_ns;
        if let Some(giver) = revisions.iter_mut().rev().find(|revision| revision.percent > 0) {
            giver.percent -= 1;
        }
        revisions.retain(|revision| revision.percent > 0);
        revisions.push(RevisionRollout { revision_name: newest.revision_name.clone(), percent: 1 });
        next.revisions = revisions;
        next
    }

    /// Moves one step's share to the newest revision, if the step is due.
    fn move_on(&mut self, now_ns: u64) {
        if now_ns < self.step_params.next_step_time || self.revisions.len() < 2 {
            return;
        }
        let Some(mut newest) = self.revisions.pop() else { return };
        let mut rest = self.step_params.step_size;
        while let Some(old) = self.revisions.last_mut().filter(|_| rest > 0) {
            if old.percent > rest {
                old.percent -= rest;
                break;
            }
            rest -= old.percent;
            self.revisions.pop();
        }
        newest.percent = newest.percent.saturating_add(self.step_params.step_size).min(self.percent);
        self.revisions.push(newest);
        if self.revisions.len() > 1 {
            self.step_params.next_step_time = now_ns.saturating_add(self.step_params.step_duration);
        } else {
            self.step_params = StepParams::default();
        }
    }

    /// Equal steps of at least one percent, `least_s` apart at least. The first percent has moved already, and the time
    /// that this took is over.
    fn plan_steps(&mut self, now_ns: u64, least_s: u64, duration_s: u64) {
        let least_s = least_s as f64;
        let rest_s = (duration_s as f64 - least_s).max(1.0);
        let percents = f64::from(self.percent.saturating_sub(1));
        let steps = (rest_s / least_s).max(1.0).min(percents);
        if steps <= 0.0 {
            return;
        }
        let apart_ns = rest_s / steps * SECOND_NS as f64;
        self.step_params.step_duration = apart_ns as u64;
        self.step_params.step_size = (percents / steps).round() as u32;
        self.step_params.next_step_time = now_ns.saturating_add(apart_ns as u64);
    }
}

/// Brings a Configuration's revisions to another share of the route.
fn adjust(revisions: &mut Vec<RevisionRollout>, from: u32, to: u32) {
    if to == 0 {
        revisions.clear();
        return;
    }
    if to >= from {
        if let Some(newest) = revisions.last_mut() {
            newest.percent = newest.percent.saturating_add(to - from);
        }
        return;
    }
    let mut less = from - to;
    let mut gone = 0;
    for old in revisions.iter_mut() {
        if old.percent > less {
            old.percent -= less;
            break;
        }
        less -= old.percent;
        gone += 1;
        if less == 0 {
            break;
        }
    }
    revisions.drain(..gone);
}
