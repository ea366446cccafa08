//! How many users a closed-loop load has over time.
//!
//! The simulator draws what they do: send, wait for the answer, think. Here is only how many there are.

use crate::quantity::Duration;
use crate::scenario::{Arrivals, FlightPlan, Load, UserPhase};

/// The number of users of a closed-loop load over time; `None` for other loads.
pub fn users(load: &Load) -> Option<Population> {
    match &load.arrivals {
        Arrivals::Users { phases, .. } => Some(Population { phases: phases.clone(), slice: None }),
        Arrivals::Phases { .. } | Arrivals::Trace(_) => None,
    }
}

/// A number of users over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    phases: Vec<UserPhase>,
    slice: Option<FlightPlan>,
}

/// From now on there are so many users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// When, in nanoseconds from the start of the flight.
    pub at_ns: u64,
    /// How many there are.
    pub count: u32,
}

impl Population {
    /// The part of it in a flight of a slice, in flight time.
    #[must_use]
    pub fn sliced(self, plan: FlightPlan) -> Self {
        Self { slice: Some(plan), ..self }
    }

    /// How many users there are at an instant of flight time. After the last phase there are none.
    pub fn at(&self, at_ns: u64) -> u32 {
        match self.slice {
            None => self.in_scenario(at_ns),
            Some(plan) => {
                let scenario_ns = plan.from.as_ns().saturating_add((at_ns as f64 * plan.compress) as u64);
                if scenario_ns < plan.to.as_ns() { self.in_scenario(scenario_ns) } else { 0 }
            }
        }
    }

    /// Every change in order of time, beginning with the count at 0. A ramp changes by one user at a time,
    /// each as soon as the line reaches the whole number.
    pub fn changes(&self) -> impl Iterator<Item = UserChange> + Send + use<> {
        let whole = Changes { phases: self.phases.clone().into_iter(), start_ns: 0, ramp: None, count: None };
        let slice = self.slice;
        let first = self.at(0);
        let later = whole.filter_map(move |change| match slice {
            None => (change.at_ns > 0).then_some(change),
            Some(plan) => {
                let at = Duration::from_ns(change.at_ns);
                let within = at > plan.from && at < plan.to;
                within.then(|| UserChange { at_ns: plan.flight_time(at).as_ns(), count: change.count })
            }
        });
        std::iter::once(UserChange { at_ns: 0, count: first }).chain(later)
    }

    fn in_scenario(&self, at_ns: u64) -> u32 {
        let mut start_ns = 0u64;
        for phase in &self.phases {
            let end_ns = start_ns.saturating_add(phase.length.as_ns());
            if at_ns < end_ns {
                return Ramp::new(phase, start_ns).count_at(at_ns);
            }
            start_ns = end_ns;
        }
        0
    }
}

/// A phase with its place in time. A phase without `to` is a ramp that does not rise.
#[derive(Clone, Copy)]
struct Ramp {
    start_ns: u64,
    length_ns: u64,
    from: i64,
    to: i64,
}

impl Ramp {
    fn new(phase: &UserPhase, start_ns: u64) -> Self {
        let (from, to) = (phase.count, phase.to.unwrap_or(phase.count));
        Self { start_ns, length_ns: phase.length.as_ns().max(1), from: from.into(), to: to.into() }
    }

    /// The line rounded towards where it comes from.
    fn count_at(&self, at_ns: u64) -> u32 {
        let passed = i128::from(at_ns.saturating_sub(self.start_ns).min(self.length_ns));
        let moved = i128::from(self.to - self.from) * passed / i128::from(self.length_ns);
        u32::try_from(i128::from(self.from) + moved).unwrap_or(0)
    }

    /// The first instant at which the line has moved by `steps` whole users.
    fn reached_ns(&self, steps: u64) -> u64 {
        let all = u128::from(self.from.abs_diff(self.to));
        let passed = (u128::from(steps) * u128::from(self.length_ns)).div_ceil(all.max(1));
        self.start_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// The changes of all phases, computed one at a time.
struct Changes {
    phases: std::vec::IntoIter<UserPhase>,
    start_ns: u64,
    ramp: Option<(Ramp, u64)>,
    count: Option<u32>,
}

impl Iterator for Changes {
    type Item = UserChange;

    fn next(&mut self) -> Option<UserChange> {
        loop {
            if let Some((ramp, step)) = self.ramp {
                // The last step falls on the next phase's start, which has a count of its own.
                if step < ramp.from.abs_diff(ramp.to) {
                    self.ramp = Some((ramp, step + 1));
                    let moved = if ramp.to > ramp.from { step.cast_signed() } else { -step.cast_signed() };
                    let count = u32::try_from(ramp.from + moved).unwrap_or(0);
                    if self.count != Some(count) {
                        self.count = Some(count);
                        return Some(UserChange { at_ns: ramp.reached_ns(step), count });
                    }
                    continue;
                }
                self.start_ns = ramp.start_ns.saturating_add(ramp.length_ns);
                self.ramp = None;
            }
            match self.phases.next() {
                Some(phase) => {
                    let ramp = Ramp::new(&phase, self.start_ns);
                    // A level phase has its one step at its start.
                    let level = ramp.from == ramp.to;
                    self.ramp = Some((ramp, 0));
                    if level && self.count != Some(phase.count) {
                        self.count = Some(phase.count);
                        return Some(UserChange { at_ns: ramp.start_ns, count: phase.count });
                    }
                }
                None if self.count.is_some_and(|count| count > 0) => {
                    self.count = Some(0);
                    return Some(UserChange { at_ns: self.start_ns, count: 0 });
                }
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Distribution;

    fn population(phases: &[(u64, u32, Option<u32>)]) -> Population {
        let phases = phases
            .iter()
            .map(|(length_s, count, to)| UserPhase {
                length: Duration::from_s(*length_s),
                count: *count,
                to: *to,
            })
            .collect();
        let think_time = Distribution::Constant { mean: Duration::from_s(1) };
        users(&Load::new("digits", "requests.jsonl", Arrivals::Users { phases, think_time }))
            .expect("a closed loop")
    }

    /// More or fewer users would be simulated than the file names.
    #[test]
    fn users_come_and_go_as_the_phases_say() {
        let population = population(&[(10, 5, None), (10, 5, Some(10)), (10, 10, Some(8)), (5, 8, None)]);
        let changes: Vec<(u64, u32)> =
            population.changes().map(|change| (change.at_ns / 1_000_000_000, change.count)).collect();
        let up = [(0, 5), (12, 6), (14, 7), (16, 8), (18, 9), (20, 10)];
        let down = [(25, 9), (30, 8), (35, 0)];
        assert_eq!(changes, [&up[..], &down[..]].concat());
        for (at_s, count) in changes {
            assert_eq!(population.at(at_s * 1_000_000_000), count, "at {at_s} s");
        }
    }

    /// A flight of a slice would have the users of another time.
    #[test]
    fn a_slice_has_the_users_of_its_time() {
        let plan = FlightPlan { from: Duration::from_s(13), to: Duration::from_s(19), compress: 2.0 };
        let population = population(&[(10, 5, None), (10, 5, Some(10)), (10, 10, None)]).sliced(plan);
        let changes: Vec<(u64, u32)> =
            population.changes().map(|change| (change.at_ns / 1_000_000, change.count)).collect();
        assert_eq!(changes, [(0, 6), (500, 7), (1_500, 8), (2_500, 9)]);
        assert_eq!(population.at(600_000_000), 7);
        assert_eq!(population.at(3_000_000_000), 0);
    }
}
