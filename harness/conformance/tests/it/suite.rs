//! The shipped cases on the embedded cluster. What is known to fail stands in a list that can only shrink.

use std::collections::BTreeSet;
use std::time::Duration;

use windtunnel_conformance::case;
use windtunnel_conformance::runner::{self, Options, Target, Verdict};
use windtunnel_replay::{EmbeddedStack, StackOptions};
use windtunnel_testkit::workspace;

use crate::permissions;

/// Ids of cases that fail for want of implementation, a line each, with the reason behind `#`.
const KNOWN: &str = include_str!("known-failures.txt");
/// Deadline of every wait of a known one.
const KNOWN_LIMIT: Duration = Duration::from_millis(1500);
/// The whole suite on two cores.
const LIMIT: Duration = Duration::from_secs(90);

fn target(stack: &EmbeddedStack) -> Target {
    Target {
        client: stack.client(),
        gateway: Some(stack.gateway_address().to_string()),
        local_pods: true,
        description: "the embedded cluster".to_owned(),
    }
}

async fn start(folder: &tempfile::TempDir) -> EmbeddedStack {
    let executable = std::env::current_exe().expect("this test");
    // No pod runs an image: nodes take none of the suite's pods.
    let options = StackOptions {
        log_authorizations: true,
        ..StackOptions::new(folder.path().join("cluster"), executable)
    };
    EmbeddedStack::start(options).await.expect("an embedded cluster")
}

/// Whoever tests with these cases relies on our own platform passing them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_cluster_passes_all_cases_but_the_known_ones() {
    let mut cases =
        case::read_folder(&workspace("scenarios/conformance")).unwrap_or_else(|faults| panic!("{faults}"));
    let known: BTreeSet<&str> = KNOWN
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|id| !id.is_empty())
        .collect();
    // What is known to fail need not use up its whole deadline.
    for case in cases.iter_mut().filter(|case| known.contains(case.id.as_str())) {
        case.within = case.within.min(KNOWN_LIMIT);
        for step in &mut case.steps {
            step.within = step.within.map(|within| within.min(KNOWN_LIMIT));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let stack = start(&folder).await;
    let began = std::time::Instant::now();
    let result = Box::pin(runner::run(&cases, &target(&stack), &Options::default(), |_| ())).await;
    let took = began.elapsed();
    let authorizations = stack.cluster().api_server().authorizations();
    stack.stop().await;
    let result = result.expect("a reachable cluster");

    let mut faults = Vec::new();
    let mut met = BTreeSet::new();
    for case in &result.cases {
        let is_known = known.contains(case.id.as_str());
        if is_known {
            met.insert(case.id.as_str());
        }
        match case.verdict {
            Verdict::Passed if is_known => faults.push(format!("{} passes: strike it off the list", case.id)),
            Verdict::Failed if !is_known => {
                let failure = case.failure.as_ref().map(|failure| {
                    let differences: Vec<String> =
                        failure.mismatches.iter().map(ToString::to_string).collect();
                    format!("{}\n    {}", failure.message, differences.join("\n    "))
                });
                faults.push(format!("{} {}: {}", case.id, case.position, failure.unwrap_or_default()));
            }
            // Only another profile's rules may be out of reach.
            Verdict::Unsupported
                if !is_known && !case.reason.as_deref().is_some_and(|r| r.contains("profile")) =>
            {
                faults.push(format!("{} was not run: {}", case.id, case.reason.clone().unwrap_or_default()));
            }
            Verdict::Skipped => faults.push(format!("{} was skipped", case.id)),
            _ => {}
        }
    }
    faults.extend(permissions::faults(&authorizations));
    faults.extend(known.difference(&met).map(|id| format!("{id} is on the list, but there is no such case")));
    assert!(faults.is_empty(), "{} faults in {took:?}:\n{}", faults.len(), faults.join("\n"));
    assert!(took < LIMIT, "the suite took {took:?}, its limit is {LIMIT:?}");
}

/// A failure must say what was expected and seen, keep the evidence, and leave nothing behind; a hidden one is worse
/// than none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_explained_and_cleaned_up() {
    const CASES: &str = r#"
apiVersion: windtunnel.dev/v1alpha1
kind: ConformanceCases
defaults: {tier: T0, tags: [must], within: 500ms}
cases:
- id: X-1
  title: expects too much
  steps:
  - create: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}
  - expect: {kind: ConfigMap, metadata: {name: a}, data: {k: w}}
- id: X-2
  title: expects what comes
  steps:
  - create: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}
  - expect: {kind: ConfigMap, metadata: {name: a}, data: {k: v}}
- id: X-3
  title: expects a refusal
  steps:
  - create: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
    refused: nothing
- id: X-4
  title: expects rest while somebody writes
  steps:
  - create: {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: "x:1"}]}}}}
  - never: {kind: Deployment, metadata: {name: d}}
    for: 200ms
- id: X-5
  title: needs what is not there
  needs: ["runtime:nobodys"]
  tags: [windtunnel]
  steps:
  - expect: {kind: ConfigMap, metadata: {name: a}}
- id: X-6
  title: an object of the cluster goes with the case
  steps:
  - create: {apiVersion: v1, kind: Namespace, metadata: {name: "wt-extra-${run}"}}
  - expect: {kind: Namespace, metadata: {name: "wt-extra-${run}"}}
"#;
    let cases = case::read(CASES, std::path::Path::new("x.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let folder = tempfile::tempdir().expect("a folder");
    let stack = start(&folder).await;
    let result = Box::pin(runner::run(&cases, &target(&stack), &Options::default(), |_| ())).await;
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(stack.client());
    let left: Vec<String> = namespaces
        .list(&kube::api::ListParams::default())
        .await
        .expect("namespaces")
        .into_iter()
        .filter(|namespace| namespace.metadata.deletion_timestamp.is_none())
        .filter_map(|namespace| namespace.metadata.name)
        .filter(|name| name.starts_with("wt-"))
        .collect();
    stack.stop().await;
    let result = result.expect("a reachable cluster");
    let verdicts: Vec<Verdict> = result.cases.iter().map(|case| case.verdict).collect();
    use Verdict::{Failed, Passed, Unsupported};
    assert_eq!(verdicts, [Failed, Passed, Failed, Failed, Unsupported, Passed], "{:#?}", result.cases);
    let failure = result.cases[0].failure.as_ref().expect("a failure");
    assert_eq!(failure.mismatches[0].to_string(), "data.k: expected \"w\", seen \"v\"");
    assert_eq!((failure.step, failure.position.as_str()), (2, "x.yaml:10"));
    assert!(
        result.cases[0].captured.iter().any(|line| line == "ConfigMap a"),
        "{:?}",
        result.cases[0].captured
    );
    assert!(result.cases[2].failure.as_ref().expect("a failure").message.contains("must be refused"));
    assert!(result.cases[1].steps[1].consistency_ms.is_some(), "a wait is measured");
    assert!(result.cases[4].reason.as_deref().expect("a reason").contains("nobodys"));
    assert_eq!(left, Vec::<String>::new(), "namespaces are left behind");
}
