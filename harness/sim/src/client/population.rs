//! Users in a closed loop: each sends, waits for the answer, thinks, and sends again.

use serde::{Deserialize, Serialize};

use crate::engine::Stream;
use crate::server::{Draw, Impossible};

/// A stretch of time over which the number of users goes in a straight line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// How long it is.
    pub length_ns: u64,
    /// Users at its beginning.
    pub from: u32,
    /// Users at its end.
    pub to: u32,
}

impl Stage {
    /// The number of users after `since_ns`: the line, rounded to the nearest, halves up. Exact in whole numbers.
    fn users(&self, since_ns: u64) -> u32 {
        let (length, since) = (u128::from(self.length_ns.max(1)), u128::from(since_ns.min(self.length_ns)));
        let way = u128::from(self.to.abs_diff(self.from)) * since;
        let users = if self.to >= self.from {
            u128::from(self.from) + (2 * way + length) / (2 * length)
        } else {
            // A half is rounded up, so of what went a half counts as nothing.
            u128::from(self.from) - (2 * way + length - 1) / (2 * length)
        };
        u32::try_from(users).unwrap_or(u32::MAX)
    }

    /// The first instant from `since_ns` on at which the number of users is not `users`, or `None`; both from the
    /// stage's beginning. The line does not turn, so the number is another for the rest of the stage.
    fn change_ns(&self, users: u32, since_ns: u64) -> Option<u64> {
        let last_ns = self.length_ns.checked_sub(1).filter(|last_ns| since_ns <= *last_ns)?;
        if self.users(since_ns) != users {
            return Some(since_ns);
        }
        if self.users(last_ns) == users {
            return None;
        }
        let (mut same_ns, mut other_ns) = (since_ns, last_ns);
        while other_ns - same_ns > 1 {
            let middle_ns = same_ns + (other_ns - same_ns) / 2;
            let is_same = self.users(middle_ns) == users;
            *(if is_same { &mut same_ns } else { &mut other_ns }) = middle_ns;
        }
        Some(other_ns)
    }
}

/// One user, during one stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct User {
    /// Which of them, from 0. The last that joined is the first that leaves.
    pub index: u32,
    /// How often this one left before.
    pub stay: u32,
}

/// A user that comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Sends its first request now.
    Joined(User),
    /// Sends nothing any more; a request that is under way goes on.
    Left(User),
}

/// A number of users that follows the stages of a load; after the last stage all are gone.
///
/// ```
/// use windtunnel_sim::client::{Population, Stage};
/// use windtunnel_sim::server::Draw;
///
/// let stages = vec![Stage { length_ns: 100, from: 0, to: 4 }];
/// let mut users = Population::new(0, stages, Draw::constant(10.0)?)?;
/// assert_eq!(users.next_change_ns(), Some(13));
/// let mut changes = Vec::new();
/// users.advance(99, &mut changes);
/// assert_eq!((changes.len(), users.active()), (4, 4));
/// users.advance(100, &mut changes);
/// assert_eq!((users.active(), users.next_change_ns()), (0, None));
/// # Ok::<(), windtunnel_sim::server::Impossible>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Population {
    stages: Vec<Stage>,
    think_time: Draw,
    /// The stage that runs, and its beginning.
    stage: usize,
    begin_ns: u64,
    /// Up to when users came and went.
    clock_ns: u64,
    active: u32,
    /// For each user that ever was: how often it left.
    stays: Vec<u32>,
}

/// Users of one population at most: each of them is remembered.
const MOST_USERS: u32 = 10_000_000;

impl Population {
    /// Users from `begin_ns` on who think for `think_time` after each answer.
    ///
    /// # Errors
    /// No stages, more users than can be remembered, or users that never think: they would send without end at one
    /// instant.
    pub fn new(begin_ns: u64, stages: Vec<Stage>, think_time: Draw) -> Result<Self, Impossible> {
        if stages.is_empty() {
            return Err(Impossible::new("list of stages of a population", "empty", "give at least one"));
        }
        if let Some(stage) = stages.iter().find(|stage| stage.from.max(stage.to) > MOST_USERS) {
            let users = stage.from.max(stage.to);
            return Err(Impossible::new("number of users", users, "take at most 10000000"));
        }
        if think_time.mean_ns() <= 0.0 {
            return Err(Impossible::new("mean think time of users", "0 ns", "take a time above 0"));
        }
        Ok(Self::checked(begin_ns, stages, think_time))
    }

    /// Like [`Population::new`], for stages and a think time that it has accepted before.
    pub(crate) fn checked(begin_ns: u64, stages: Vec<Stage>, think_time: Draw) -> Self {
        Self { stages, think_time, stage: 0, begin_ns, clock_ns: begin_ns, active: 0, stays: Vec::new() }
    }

    /// Goes on as another population would from `now_ns` on. Those who are there stay as far as it has room. True
    /// when the other one is another one at all.
    pub(crate) fn follow(&mut self, now_ns: u64, other: Self) -> bool {
        let is_other = self.stages != other.stages || self.think_time != other.think_time;
        if is_other {
            let mut other = other;
            (other.active, other.stays) = (0, Vec::new());
            // Up to the last instant before: what happens now is a change of now.
            other.advance(now_ns.saturating_sub(1), &mut Vec::new());
            (self.stages, self.think_time) = (other.stages, other.think_time);
            (self.stage, self.begin_ns, self.clock_ns) = (other.stage, other.begin_ns, now_ns);
        }
        is_other
    }

    /// When the number of users changes next; [`Population::advance`] is to be called then.
    pub fn next_change_ns(&self) -> Option<u64> {
        let mut begin_ns = self.begin_ns;
        for stage in self.stages.get(self.stage..)? {
            let since_ns = self.clock_ns.saturating_sub(begin_ns);
            if let Some(change_ns) = stage.change_ns(self.active, since_ns) {
                return Some(begin_ns.saturating_add(change_ns));
            }
            begin_ns = begin_ns.saturating_add(stage.length_ns);
        }
        (self.active > 0).then_some(begin_ns)
    }

    /// Lets users come and go until `now_ns`, in order.
    pub fn advance(&mut self, now_ns: u64, changes: &mut Vec<Change>) {
        if now_ns < self.clock_ns {
            return;
        }
        while let Some(stage) = self.stages.get(self.stage).copied() {
            let since_ns = self.clock_ns - self.begin_ns;
            if let Some(last_ns) = stage.length_ns.checked_sub(1) {
                // In between the number goes in one direction.
                self.set(stage.users(since_ns), changes);
                self.set(stage.users(last_ns.min(now_ns - self.begin_ns)), changes);
            }
            let end_ns = self.begin_ns.saturating_add(stage.length_ns);
            if end_ns > now_ns {
                self.clock_ns = now_ns;
                return;
            }
            (self.stage, self.begin_ns, self.clock_ns) = (self.stage + 1, end_ns, end_ns);
        }
        self.set(0, changes);
    }

    /// How long a user thinks who was just answered, before it sends again; `None` when it left meanwhile.
    pub fn think_ns(&self, user: User, stream: &mut Stream) -> Option<u64> {
        self.is_active(user).then(|| self.think_time.draw(stream))
    }

    /// True while a user stays: ask again when it has thought, before it sends.
    pub fn is_active(&self, user: User) -> bool {
        user.index < self.active && self.stays.get(user.index as usize) == Some(&user.stay)
    }

    /// Users that are there.
    pub fn active(&self) -> u32 {
        self.active
    }

    fn set(&mut self, users: u32, changes: &mut Vec<Change>) {
        while self.active < users {
            let place = self.active as usize;
            if place == self.stays.len() {
                self.stays.push(0);
            }
            changes.push(Change::Joined(User { index: self.active, stay: self.stays[place] }));
            self.active += 1;
        }
        while self.active > users {
            self.active -= 1;
            let stays = &mut self.stays[self.active as usize];
            changes.push(Change::Left(User { index: self.active, stay: *stays }));
            *stays = stays.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn population(stages: &[(u64, u32, u32)]) -> Population {
        let stages =
            stages.iter().map(|(length_ns, from, to)| Stage { length_ns: *length_ns, from: *from, to: *to });
        Population::new(1_000, stages.collect(), Draw::exponential(1e6).unwrap()).unwrap()
    }

    /// Every instant at which the number changes, and the number from then on.
    fn history(mut users: Population) -> Vec<(u64, u32)> {
        let (mut seen, mut changes) = (Vec::new(), Vec::new());
        while let Some(now_ns) = users.next_change_ns() {
            users.advance(now_ns, &mut changes);
            seen.push((now_ns - 1_000, users.active()));
            assert!(seen.len() < 10_000, "{users:?}");
        }
        assert_eq!(users.active(), 0);
        seen
    }

    /// The load of a closed loop is its number of users: they must come and go exactly when the line says.
    #[test]
    fn users_follow_the_line() {
        assert_eq!(history(population(&[(60, 3, 3)])), [(0, 3), (60, 0)]);
        // Up by 4 in 80: the line passes a half at 10, 30, 50 and 70; down by 2 in 40 it falls below one after 10, 30.
        assert_eq!(
            history(population(&[(80, 0, 4), (40, 4, 2), (10, 2, 2), (5, 6, 6)])),
            [(10, 1), (30, 2), (50, 3), (70, 4), (91, 3), (111, 2), (130, 6), (135, 0)]
        );
        // A ramp that is steeper than a user a nanosecond, and a stage of no length.
        assert_eq!(history(population(&[(2, 0, 100), (0, 7, 7), (1, 0, 0)])), [(1, 50), (2, 0)]);
    }

    /// A user who left and came back while its old request was under way must not become two.
    #[test]
    fn a_user_who_comes_back_is_another_one() {
        let mut users = population(&[(10, 1, 1), (10, 0, 0), (10, 1, 1)]);
        let (mut changes, mut stream) = (Vec::new(), Stream::named(1, "think"));
        users.advance(1_000, &mut changes);
        let first = User { index: 0, stay: 0 };
        assert!(users.think_ns(first, &mut stream).is_some());
        users.advance(1_025, &mut changes);
        let second = User { index: 0, stay: 1 };
        assert_eq!(changes, [Change::Joined(first), Change::Left(first), Change::Joined(second)]);
        assert_eq!((users.think_ns(first, &mut stream), users.is_active(second)), (None, true));
    }

    /// Users who never think would send for ever at one instant.
    #[test]
    fn impossible_populations_are_refused() {
        let stage = Stage { length_ns: 1, from: 0, to: 1 };
        let (none, one) = (Draw::constant(0.0).unwrap(), Draw::constant(1.0).unwrap());
        assert_eq!(
            Population::new(0, vec![stage], none).unwrap_err().to_string(),
            "mean think time of users is 0 ns: take a time above 0"
        );
        Population::new(0, vec![], one.clone()).unwrap_err();
        Population::new(0, vec![Stage { to: u32::MAX, ..stage }], one).unwrap_err();
    }

    proptest! {
        /// One long step must leave the same users as many short ones, also after being written down.
        #[test]
        fn users_depend_on_the_instant_alone(
            stages in prop::collection::vec((0_u64..50, 0_u32..20, 0_u32..20), 1..6),
            instants in prop::collection::btree_set(1_000_u64..1_300, 1..20),
        ) {
            let mut stepped = population(&stages);
            let mut changes = Vec::new();
            for now_ns in instants {
                while let Some(change_ns) = stepped.next_change_ns().filter(|change_ns| *change_ns <= now_ns) {
                    stepped.advance(change_ns, &mut changes);
                }
                stepped = serde_json::from_str(&serde_json::to_string(&stepped).unwrap()).unwrap();
                let mut at_once = population(&stages);
                at_once.advance(now_ns, &mut Vec::new());
                prop_assert_eq!(at_once.active(), stepped.active());
                // Nearest to the line, unless all is over.
                let mut since_ns = now_ns - 1_000;
                let stage = stages.iter().find(|(length_ns, ..)| {
                    let is_here = since_ns < *length_ns;
                    since_ns -= if is_here { 0 } else { *length_ns };
                    is_here
                });
                let line = stage.map_or(0.0, |(length_ns, from, to)| {
                    f64::from(*from) + (f64::from(*to) - f64::from(*from)) * since_ns as f64 / *length_ns as f64
                });
                prop_assert!((f64::from(stepped.active()) - line).abs() <= 0.5 + 1e-9);
            }
            let joined = changes.iter().filter(|change| matches!(change, Change::Joined(_))).count();
            prop_assert_eq!(joined * 2, changes.len() + stepped.active() as usize);
        }
    }
}
