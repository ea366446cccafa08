//! Values that replace those of a file.

use windtunnel_scenario::overrides::apply;
use windtunnel_scenario::{Arrivals, Duration, Profile, Scenario};

use crate::room::{Room, all_full};

const TEXT: &str = "apiVersion: windtunnel.dev/v1alpha1
kind: Scenario
metadata: {name: x}
spec:
  duration: 60s
  manifests: [isvc.yaml]
  load:
    requests: requests.jsonl
    arrivals:
      phases:
        - {for: 20s, rate: 5/s}
        - {for: 20s, rate: 5/s, to: 10/s}
  objectives: [p99<300ms]
";

fn with(room: &Room, overrides: &[(&str, &str)]) -> Result<Scenario, String> {
    apply(TEXT, &room.path().join("scenario.yaml"), overrides)
        .map_err(|faults| faults.to_string().replace(&format!("{}/", room.path().display()), ""))
}

/// A what-if would run something else than it says.
#[test]
fn values_land_where_the_path_points() {
    let room = Room::new();
    let scenario = with(
        &room,
        &[
            ("spec.load.arrivals.phases[0].rate", "50/s"),
            ("spec.load.arrivals.phases[2]", "{for: 10s, rate: 1/s}"),
            ("spec.environment.profile", "upstream"),
            ("spec.environment.pod-start.load", "2s"),
            ("spec.objectives[0]", "p99<1s"),
            ("spec.seed", "7"),
        ],
    )
    .unwrap_or_else(|faults| panic!("{faults}"));
    let Arrivals::Phases { phases, .. } = &scenario.load().arrivals else { panic!("phases") };
    assert_eq!(phases.len(), 3);
    assert_eq!(phases[0].rate.as_per_second(), 50.0);
    assert_eq!(phases[1].rate.as_per_second(), 5.0);
    assert_eq!(scenario.environment.profile, Profile::Upstream);
    assert_eq!(scenario.environment.pod_start.load.time(), Duration::from_s(2));
    assert_eq!(scenario.objectives[0].limit, 1e9);
    assert_eq!(scenario.objectives[0].position.as_deref(), Some("--set spec.objectives[0]=p99<1s"));
    assert_eq!(scenario.seed, 7);
    // The last of two counts.
    assert_eq!(with(&room, &[("spec.seed", "1"), ("spec.seed", "2")]).expect("two seeds").seed, 2);
    assert_eq!(with(&room, &[]).ok(), room.parse(TEXT).ok());
}

/// A mistyped path would change nothing, without a word.
#[test]
fn wrong_overrides_name_themselves() {
    let room = Room::new();
    let cases: [&[(&str, &str)]; 11] = [
        &[("spec.load.arivals.phases[0].rate", "50/s")],
        &[("spec.load.arrivals.phases[0].rates", "50/s")],
        &[("spec.load.arrivals.phases[7].rate", "50/s")],
        &[("spec.load.arrivals[0]", "50/s")],
        &[("spec.load.arrivals.phases[0].rate", "-50/s")],
        &[("spec.duration", "10s")],
        &[("spec.environment.nodes.pools[0].count", "3")],
        &[("spec.objectives[1]", "p99<300msec")],
        &[("spec.seed", "[1, 2")],
        &[("spec..seed", "1"), ("", "2"), ("spec.seed", "")],
        &[("spec.load", "null")],
    ];
    let report: Vec<String> = cases
        .iter()
        .map(|overrides| {
            let said = with(&room, overrides).expect_err("a wrong override");
            format!("# {overrides:?}\n{said}\n")
        })
        .collect();
    insta::assert_snapshot!(report.join("\n"));
}

/// A field could not be varied in a plan.
#[test]
fn every_scalar_of_a_file_can_be_set_to_itself() {
    fn scalars(value: &serde_json::Value, at: &str, found: &mut Vec<(String, String)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (key, value) in fields {
                    let key = key.replace('.', "\\.").replace('[', "\\[");
                    let at = if at.is_empty() { key } else { format!("{at}.{key}") };
                    scalars(value, &at, found);
                }
            }
            serde_json::Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    scalars(value, &format!("{at}[{index}]"), found);
                }
            }
            scalar => found.push((at.to_owned(), scalar.to_string())),
        }
    }
    let room = Room::new();
    for full in all_full() {
        let text = serde_json::to_string_pretty(&full).expect("JSON");
        let mut found = Vec::new();
        scalars(&full, "", &mut found);
        let overrides: Vec<(&str, &str)> =
            found.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        let path = room.path().join("scenario.yaml");
        let mut same = apply(&text, &path, &overrides).unwrap_or_else(|faults| panic!("{faults}"));
        let plain = room.parse(&text).expect("a good scenario");
        // Only the places of rules differ.
        for (objective, original) in same.objectives.iter_mut().zip(&plain.objectives) {
            objective.position.clone_from(&original.position);
        }
        assert_eq!(same, plain);
    }
}
