//! The format: what is read, what is refused with which words, and that schema and reader know the same keys.

use std::path::Path;
use std::time::Duration;

use windtunnel_conformance::Selection;
use windtunnel_conformance::case::{self, Action, Need, Tier};
use windtunnel_testkit::workspace;

const CASE: &str = r#"
apiVersion: windtunnel.dev/v1alpha1
kind: ConformanceCases
defaults: {tier: T0, tags: [must], needs: [knative, "runtime:x"]}
bases:
  one: {kind: ConfigMap, metadata: {name: a, labels: {x: "1"}}, data: {k: v}}
  two: {base: one, metadata: {labels: {x: null, y: "2"}}}
cases:
- id: XYZ-01
  title: "Row ${row} has ${n}"
  each: [{row: first, n: 1}, {row: second, n: 2}]
  within: 3s
  steps:
  - create: {base: two, data: {n: "${n}", said: "n is ${n}"}}
    dryRun: true
    refused: no
  - expect: {kind: ConfigMap, metadata: {name: a}}
    save: {uid: self.metadata.uid}
    within: 500ms
  - never: {kind: ConfigMap, metadata: {uid: "${uid}"}}
    for: 1s
"#;

/// A row that is filled in wrongly tests something else than its title says.
#[test]
fn rows_bases_and_defaults_come_together() {
    let cases = case::read(CASE, Path::new("x.yaml")).expect("valid");
    let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["XYZ-01/first", "XYZ-01/second"]);
    let second = &cases[1];
    assert_eq!((second.title.as_str(), second.tier, second.line), ("Row second has 2", Tier::T0, 9));
    assert_eq!(second.within, Duration::from_secs(3));
    assert!(second.needs.contains(&Need::Runtime("x".to_owned())) && second.needs.contains(&Need::Knative));
    let Action::Write { object, dry_run: true, refused: Some(_), .. } = &second.steps[0].action else {
        panic!("{:?}", second.steps[0])
    };
    let expected = serde_json::json!({
        "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"y": "2"}},
        "data": {"k": "v", "n": 2, "said": "n is 2"},
    });
    assert_eq!(object, &expected);
    assert_eq!(second.steps[1].within, Some(Duration::from_millis(500)));
}

/// A slip of the pen must not make a case that tests nothing.
#[test]
fn faults_come_with_place_and_remedy() {
    for (from, to, said) in [
        (
            "refused: no",
            "refuse: no",
            "x.yaml:16:5: unknown key \"refuse\" in cases[0].steps[0]\n    did you mean \"refused\"?",
        ),
        ("base: two,", "base: tow,", "x.yaml:14:1: there is no base \"tow\"\n    did you mean \"two\"?"),
        ("tier: T0", "tier: T9", "defaults.tier cannot be \"T9\""),
        ("[knative,", "[knativ,", "did you mean \"knative\"?"),
        ("\"${uid}\"}}", "\"${uuid}\"}}", "nothing gives ${uuid} a value\n    did you mean \"uid\"?"),
        ("within: 3s", "within: 3", "within"),
        ("within: 3s", "within: 20m", "longer than 10 minutes"),
        ("- create:", "- create: {}\n    delete:", "has two verbs, create and delete"),
        ("metadata: {name: a}}", "metadata: {name: {$lenght: 1}}}", "did you mean $length?"),
        ("id: XYZ-01", "id: xyz", "cases[0].id cannot be \"xyz\""),
        ("row: second", "row: first", "give every row a name of its own"),
        ("save: {uid: ", "save: {uid: self, uid: ", "twice"),
    ] {
        let text = CASE.replacen(from, to, 1);
        assert_ne!(text, CASE, "{from}");
        let faults = match case::read(&text, Path::new("x.yaml")) {
            Err(faults) => faults.to_string(),
            // A key of a mapping of texts that is there twice is the last one, as everywhere in YAML readers.
            Ok(_) if said == "twice" => continue,
            Ok(_) => panic!("{to} was taken"),
        };
        assert!(faults.contains(said), "{to}: expected {said:?} in\n{faults}");
    }
}

/// A case that cannot fail is a defect.
#[test]
fn a_case_without_expectations_is_refused() {
    let text = "apiVersion: windtunnel.dev/v1alpha1\nkind: ConformanceCases\ncases:\n- id: A-1\n  title: t\n  tier: T0\n  steps:\n  - create: {kind: ConfigMap, metadata: {name: a}}\n";
    let faults = case::read(text, Path::new("x.yaml")).expect_err("refused").to_string();
    assert!(faults.contains("A-1 cannot fail: no step expects anything"), "{faults}");
}

/// The editor must know every key that the reader knows, and no other.
#[test]
fn the_schema_knows_the_keys_of_the_reader() {
    let schema = case::json_schema();
    let keys = |name: &str| -> Vec<String> {
        let object = if name.is_empty() { &schema } else { &schema["$defs"][name] };
        object["properties"].as_object().expect(name).keys().cloned().collect()
    };
    // An unknown key of every mapping makes the reader list those that it knows.
    let told = |text: &str| case::read(text, Path::new("x.yaml")).expect_err("refused").to_string();
    let head = "apiVersion: windtunnel.dev/v1alpha1\nkind: ConformanceCases\n";
    let case = "cases:\n- id: A-1\n  title: t\n  tier: T0\n";
    for (name, text) in [
        ("", format!("{head}zzzzzzzz: 1\n{case}  steps: [{{never: {{kind: X}}, for: 1s}}]\n")),
        (
            "Characteristics",
            format!("{head}defaults: {{zzzzzzzz: 1}}\n{case}  steps: [{{never: {{kind: X}}, for: 1s}}]\n"),
        ),
        ("CaseShape", format!("{head}{case}  zzzzzzzz: 1\n  steps: [{{never: {{kind: X}}, for: 1s}}]\n")),
        (
            "WaitShape",
            format!("{head}{case}  steps: [{{wait: {{kind: X, name: x, condition: y, zzzzzzzz: 1}}}}]\n"),
        ),
        (
            "KubeletShape",
            format!(
                "{head}{case}  steps: [{{pods: {{labels: {{a: b}}, state: ready, zzzzzzzz: 1}}}}, {{never: {{kind: X}}, for: 1s}}]\n"
            ),
        ),
        (
            "SplitShape",
            format!(
                "{head}{case}  steps: [{{split: {{host: h, by: status, shares: {{a: 100}}, zzzzzzzz: 1}}}}]\n"
            ),
        ),
    ] {
        let faults = told(&text);
        let known = faults.split("known keys: ").nth(1).unwrap_or_else(|| panic!("{name}: {faults}"));
        let mut known: Vec<&str> = known.lines().next().unwrap_or_default().split(", ").collect();
        let mut keys = keys(name);
        known.sort_unstable();
        keys.sort_unstable();
        assert_eq!(known, keys, "{name}");
    }
}

/// The shipped files are the product: each must be readable, and the catalogue complete.
#[test]
fn every_id_of_the_catalogue_has_a_case() {
    let cases =
        case::read_folder(&workspace("scenarios/conformance")).unwrap_or_else(|faults| panic!("{faults}"));
    let mut wanted: Vec<String> = Vec::new();
    let mut range = |group: &str, numbers: std::ops::RangeInclusive<u32>| {
        wanted.extend(numbers.map(|number| format!("{group}{number:02}")));
    };
    range("ADM-", 1..=58);
    range("DEF-", 1..=8);
    range("RAW-", 1..=17);
    range("STP-", 1..=12);
    range("STA-", 1..=14);
    range("SRT-", 1..=12);
    range("ASC-", 1..=11);
    range("CAN-K", 1..=6);
    range("CAN-S", 1..=8);
    range("CAN-T", 1..=1);
    range("MUT-", 1..=14);
    range("IGC-", 1..=7);
    range("LMC-", 1..=4);
    range("CAB-", 1..=3);
    let has = |id: &String| cases.iter().any(|case| case.id.split('/').next() == Some(id));
    let missing: Vec<&String> = wanted.iter().filter(|id| !has(id)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// A mistyped pattern would silently leave out what it names.
#[test]
fn patterns_select_by_id_group_tag_and_tier() {
    let cases = case::read(CASE, Path::new("x.yaml")).expect("valid");
    let of = |include: &[&str], exclude: &[&str]| {
        let own = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Selection { include: own(include), exclude: own(exclude) }
    };
    let taken = |selection: &Selection| cases.iter().filter(|case| selection.takes(case)).count();
    for (include, exclude, count) in [
        (vec![], vec![], 2),
        (vec!["XYZ-01"], vec![], 2),
        (vec!["XYZ-01/second"], vec![], 1),
        (vec!["XYZ"], vec!["*/first"], 1),
        (vec!["must"], vec![], 2),
        (vec!["T1"], vec![], 0),
        (vec!["T?"], vec!["must"], 0),
    ] {
        assert_eq!(taken(&of(&include, &exclude)), count, "{include:?} {exclude:?}");
    }
    assert_eq!(of(&["XYZ", "ABC"], &["ms*"]).idle(&cases), ["ABC", "ms*"]);
}

/// Editors read the schema from the file beside the cases.
#[test]
fn the_schema_beside_the_cases_is_current() {
    let path = workspace("scenarios/conformance/schema.json");
    let wanted = serde_json::to_string_pretty(&case::json_schema()).expect("JSON") + "\n";
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        held == wanted,
        "write it anew: windtunnel schema conformance > {}",
        "scenarios/conformance/schema.json"
    );
}

/// A file that is forgotten in the binary's list would never be run by those who have only the binary.
#[test]
fn the_binary_carries_every_shipped_case() {
    let ids = |cases: Vec<case::Case>| -> std::collections::BTreeSet<String> {
        cases.into_iter().map(|case| case.id).collect()
    };
    let folder = ids(case::read_folder(&workspace("scenarios/conformance")).expect("valid"));
    assert_eq!(ids(case::shipped().expect("valid")), folder);
}
