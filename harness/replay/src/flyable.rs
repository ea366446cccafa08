//! What of a scenario can be flown, and what only the simulator plays.

use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Action, Arrivals, Load, Scenario};

use crate::FlightError;

/// Refuses a scenario of which a flight would leave something out.
pub(crate) fn check(scenario: &Scenario, flight: Flight) -> Result<(), FlightError> {
    let refused = |place: String, what: &str| {
        Err(FlightError::Load(format!(
            "{}: {place} {what}, which only the simulator can play; run it with --mode sim",
            scenario.path.display()
        )))
    };
    if scenario.loads.len() > 1 {
        return refused(format!("{} loads", scenario.loads.len()), "at the same time are a mix");
    }
    if let Some(what) = closed(scenario.load()) {
        return refused(format!("the load of {}", scenario.load().target), what);
    }
    // What somebody says to Flagger's or Argo's controller.
    let events = scenario.events_in(flight);
    match events.iter().find(|event| matches!(event.action, Action::Command(_))) {
        Some(event) => refused(
            format!("event {:?} of line {}", event.name, event.line),
            "is a command to the controller of a canary",
        ),
        None => Ok(()),
    }
}

/// What of a load depends on more than the clock: a flight's load is an open loop in which each request is sent once.
fn closed(load: &Load) -> Option<&'static str> {
    if matches!(load.arrivals, Arrivals::Users { .. }) {
        return Some("is users in a closed loop");
    }
    if load.queue.is_some() {
        return Some("is messages of a queue");
    }
    if load.retries.is_some() {
        return Some("has clients that try again (retries)");
    }
    load.matching.is_some().then_some("is that of an A/B test (matching)")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What is left out of a flight without a word makes its comparison with the simulation worthless.
    #[test]
    fn what_only_the_simulator_plays_is_refused_by_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let quickstart = Scenario::read(&folder.join("quickstart.yaml")).expect("a sound scenario");
        check(&quickstart, Flight::Whole).expect("it is flown");
        let mut refused = Vec::new();
        for (name, word) in [
            ("retry-storm", "retries"),
            ("queue-workers", "messages of a queue"),
            ("noisy-neighbour", "2 loads"),
        ] {
            let scenario =
                Scenario::read(&folder.join(format!("library/{name}.yaml"))).expect("a sound scenario");
            let error = check(&scenario, Flight::Whole).expect_err(name).to_string();
            refused.push((name, error.contains(word) && error.contains("--mode sim")));
        }
        assert!(refused.iter().all(|(_, is_told)| *is_told), "{refused:?}");
    }
}
