//! Commands to the controllers of canaries.

use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Action, Duration, FlightPlan, Scenario, Verb};

use crate::room::Room;

fn text(events: &str) -> String {
    format!(
        "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: x}}\nspec:\n  duration: 60s\n  manifests: \
         [isvc.yaml, canaries.yaml]\n  load: {{requests: requests.jsonl, arrivals: {{phases: [{{for: 10s, rate: 1/s}}]}}}}\n  \
         events:\n{events}  objectives: [p99<1s]\n"
    )
}

fn command(kind: &str, verb: &str) -> String {
    text(&format!("    - {{at: 5s, command: {{kind: {kind}, name: digits, verb: {verb}}}}}\n"))
}

/// A word that a controller does not know would be said in vain, and one that it knows must not be refused.
#[test]
fn each_kind_has_its_verbs() {
    let room = Room::new();
    for verb in Verb::ALL {
        let for_rollouts =
            ["promote", "promote-full", "abort", "retry", "pause", "resume"].contains(&verb.name());
        let for_canaries = ["pause", "resume", "open-gate", "close-gate", "open-rollback", "close-rollback"]
            .contains(&verb.name());
        for (kind, is_known) in [("Rollout", for_rollouts), ("Canary", for_canaries)] {
            let read = room.parse(&command(kind, verb.name()));
            assert_eq!(read.is_ok(), is_known, "{kind} {}: {read:?}", verb.name());
            if let Ok(scenario) = read {
                let event = &scenario.events[0];
                assert_eq!(event.name, format!("{} {kind} digits", verb.name()));
                assert!(matches!(&event.action, Action::Command(command) if command.verb == verb));
            }
        }
    }
}

/// Whoever mistypes a command learns where, and what may stand there.
#[test]
fn wrong_commands_name_themselves() {
    let room = Room::new();
    let said = room.faults(&command("Canary", "promote"));
    assert!(
        said.contains("spec.events[0].command.verb: a Canary cannot be told to promote")
            && said.contains(
                "write one of: pause, resume, open-gate, close-gate, open-rollback, close-rollback"
            ),
        "{said}"
    );
    let said = room.faults(&command("Rollout", "promot"));
    assert!(
        said.contains("spec.events[0].command.verb cannot be \"promot\"") && said.contains("promote"),
        "{said}"
    );
    let said = room.faults(&command("InferenceService", "promote"));
    assert!(said.contains("spec.events[0].command.kind cannot be \"InferenceService\""), "{said}");
    let said = room.faults(&command("Rollout", "promote").replace("name: digits,", "name: digit,"));
    assert!(said.contains("the manifests hold no Rollout called \"digit\""), "{said}");
    let both = "    - {at: 5s, command: {kind: Rollout, name: digits, verb: abort}, patch: {kind: InferenceService, name: \
                digits, merge: {a: 1}}}\n";
    let said = room.faults(&text(both));
    assert!(said.contains("spec.events[0] has a patch and a command"), "{said}");
    let said = room.faults(&text("    - {at: 5s}\n"));
    assert!(said.contains("patch with kind, name and merge, or command with kind, name and verb"), "{said}");
}

/// A slice begins in the state that was left: an open gate stays open, a promotion is over.
#[test]
fn a_slice_keeps_what_lasts() {
    let room = Room::new();
    let events: String = [("open-gate", "Canary"), ("promote", "Rollout"), ("pause", "Rollout")]
        .iter()
        .map(|(verb, kind)| {
            format!("    - {{at: 5s, command: {{kind: {kind}, name: digits, verb: {verb}}}}}\n")
        })
        .collect();
    let later = "    - {at: 30s, command: {kind: Rollout, name: digits, verb: promote}}\n";
    let scenario = room.parse(&text(&(events + later))).expect("a good scenario");
    let flight = FlightPlan { from: Duration::from_s(10), to: Duration::from_s(60), compress: 1.0 };
    let scenario = Scenario { flight: Some(flight), ..scenario };
    let kept: Vec<(u64, String)> = scenario
        .events_in(Flight::Slice)
        .iter()
        .map(|event| (event.at.as_ns() / 1_000_000_000, event.name.clone()))
        .collect();
    let expected =
        [(0, "open-gate Canary digits"), (0, "pause Rollout digits"), (20, "promote Rollout digits")];
    assert_eq!(kept, expected.map(|(at_s, name)| (at_s, name.to_owned())));
}
