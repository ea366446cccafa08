//! Events are forgotten an hour after they were written last, as a real server's `--event-ttl` has it: they would fill it.

use std::{collections::VecDeque, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::state::State;
use crate::store::Key;

/// The shelf of Events, of both API groups.
pub(super) const EVENTS: &str = "/events";
/// How long an Event is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Events in the order of their writes.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// Written since the last look at the clock.
    fresh: Vec<(Key, u64)>,
    /// Which writes end when; an Event that was written again is there again.
    due: VecDeque<(Timestamp, Key, u64)>,
}

impl Expiry {
    /// An Event was written, and has this revision now.
    pub(super) fn note(&mut self, key: &Key, revision: u64) {
        self.fresh.push((key.clone(), revision));
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<(Key, u64)> {
        if let Ok(end) = now.checked_add(KEPT) {
            self.due.extend(self.fresh.drain(..).map(|(key, revision)| (end, key, revision)));
        }
        let mut due = Vec::new();
        while let Some((end, ..)) = self.due.front()
            && *end <= now
        {
            due.extend(self.due.pop_front().map(|(_, key, revision)| (key, revision)));
        }
        due
    }
}

/// Removes the Events whose hour is over. The hour of those that were written since the last call begins now.
pub(crate) fn expire(state: &mut State, now: Timestamp) {
    let shelf: Arc<str> = EVENTS.into();
    for (key, revision) in state.expiry.take_due(now) {
        if state.store.get(&shelf, &key).is_some_and(|event| event.revision == revision) {
            state.remove(&shelf, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(state: &mut State, name: &str) {
        let kind = state.registry.get("", "events").cloned().expect("Events");
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "a", "name": name, "uid": name}});
        state.put(&kind, &Key::new("a", name), event);
    }

    fn names(state: &State) -> Vec<String> {
        let mut names: Vec<String> = state.store.all().map(|(_, key, _)| key.name.to_string()).collect();
        names.sort();
        names
    }

    /// A cluster that runs for days would be full of what nobody asks for any more, or would forget what is told again and
    /// again.
    #[test]
    fn an_hour_after_the_last_write() {
        let mut state = State::new(100);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let after = |minutes: i64| start + SignedDuration::from_mins(minutes);
        write(&mut state, "once");
        write(&mut state, "again");
        expire(&mut state, start);
        write(&mut state, "again");
        expire(&mut state, after(30));
        expire(&mut state, after(59));
        assert_eq!(names(&state), ["again", "once"]);
        state.take_dirty();
        expire(&mut state, after(60));
        assert_eq!(names(&state), ["again"]);
        assert!(state.take_dirty().contains(EVENTS), "watchers are told");
        expire(&mut state, after(90));
        assert_eq!(names(&state), Vec::<String>::new());
    }

    /// After a restart nobody knows how old they are.
    #[test]
    fn an_hour_after_a_restart() {
        let mut state = State::new(100);
        write(&mut state, "old");
        let mut state = State::restore(state.store);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        expire(&mut state, start);
        assert_eq!(names(&state), ["old"]);
        expire(&mut state, start + SignedDuration::from_hours(1));
        assert_eq!(names(&state), Vec::<String>::new());
    }
}
