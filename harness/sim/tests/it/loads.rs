//! Several services, each with a load of its own.

use std::fmt::Write as _;

use windtunnel_api::manifest;
use windtunnel_record::Recording;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Distribution, Duration, Load, Scenario};
use windtunnel_sim::Plan;

use crate::setting::{MS, bytes, fly};

/// Services `a` and `b`, each with one pod that takes any number of requests, and these loads.
fn plan(loads: &[Load]) -> Plan {
    let mut scenario = scenario("a", "process: constant, phases: [{for: 1s, rate: 1/s}]", "30s");
    scenario.loads = loads.to_vec();
    let manifests = manifest::parse(&manifests(), "isvc.yaml").expect("manifests");
    Plan::new(&scenario, &manifests, Flight::Whole).expect("a plan")
}

fn manifests() -> String {
    let mut manifests = String::new();
    for name in ["a", "b"] {
        write!(
            manifests,
            "---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {name}}}\nspec:\n  \
             predictor: {{model: {{modelFormat: {{name: onnx}}, storageUri: 's3://models/{name}'}}, minReplicas: 1}}\n"
        )
        .expect("a string");
    }
    manifests
}

fn scenario(target: &str, arrivals: &str, timeout: &str) -> Scenario {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("isvc.yaml"), manifests()).expect("written");
    std::fs::write(folder.path().join("rows.jsonl"), "{\"body\": {}}\n").expect("written");
    let text = format!(
        "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: two}}\nspec:\n  duration: 20s\n  \
         manifests: [isvc.yaml]\n  load:\n    target: {target}\n    protocol: v1\n    requests: rows.jsonl\n    \
         timeout: {timeout}\n    arrivals: {{{arrivals}}}\n  objectives: [error-rate<1%]\n  environment:\n    \
         network: {{gateway: 0s}}\n    service-time: {{distribution: exponential, mean: 20ms}}\n"
    );
    Scenario::parse(&text, &folder.path().join("scenario.yaml")).expect("a scenario")
}

fn load(target: &str, arrivals: &str, timeout: &str) -> Load {
    scenario(target, arrivals, timeout).load().clone()
}

/// Row, instant and latency of the requests of one service, in the order in which they were sent.
fn of(recording: &Recording, service: &str) -> Vec<(u32, u64, u64)> {
    let name = format!("{service}-predictor-00001");
    let revision = recording.revisions.iter().position(|revision| revision.name == name).expect("a revision");
    let own = recording.requests.iter().filter(|request| request.revision.map(usize::from) == Some(revision));
    let mut own: Vec<_> = own.map(|request| (request.row, request.intended_ns, request.latency_ns)).collect();
    own.sort_unstable();
    own
}

/// A neighbour with machines of its own must change nothing for a service, not even its luck.
#[test]
fn a_second_service_leaves_the_first_alone() {
    let poisson = |rate: u32| format!("process: poisson, phases: [{{for: 20s, rate: {rate}/s}}]");
    let (alone, _) = fly(&plan(&[load("a", &poisson(50), "30s")]), 42);
    let both = plan(&[load("a", &poisson(50), "30s"), load("b", &poisson(80), "30s")]);
    let (together, summary) = fly(&both, 42);
    assert_eq!(of(&together, "a"), of(&alone, "a"));
    let neighbour = of(&together, "b");
    assert!((1_400..1_800).contains(&neighbour.len()), "{}", neighbour.len());
    assert_eq!(summary.requests as usize, of(&alone, "a").len() + neighbour.len());
    assert_ne!(neighbour[0].1, of(&alone, "a")[0].1, "two loads are not one load twice");
    assert_eq!(bytes(&fly(&both, 42).0), bytes(&together));
}

/// Requests of two loads at one instant come in the order of the loads, and each load keeps its own patience.
#[test]
fn equal_instants_go_by_the_order_of_the_loads() {
    let constant = "process: constant, phases: [{for: 20s, rate: 5/s}]";
    let mut plan = plan(&[load("b", constant, "10ms"), load("a", constant, "30s")]);
    plan.environment.service_time = Distribution::Constant { mean: Duration::from_ms(30) };
    let (recording, _) = fly(&plan, 42);
    let (first, second) = (of(&recording, "b"), of(&recording, "a"));
    assert_eq!((first.len(), second.len()), (100, 100));
    assert!(first.iter().all(|(_, _, latency_ns)| *latency_ns == 10 * MS), "they give up");
    assert!(second.iter().all(|(_, _, latency_ns)| *latency_ns == 30 * MS), "they have time");
}
