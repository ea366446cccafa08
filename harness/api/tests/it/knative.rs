//! Knative's children and statuses.

use k8s_openapi::api::core::v1::Service as CoreService;
use windtunnel_api::condition;
use windtunnel_api::knative::{self, Configuration, Revision, RevisionObservation, Service};
use windtunnel_api::kserve::plan::{Inputs, plan};
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{KserveConfig, defaults};
use windtunnel_api::runtimes;

use crate::predictor;

fn rendered() -> Service {
    let config = KserveConfig::default();
    let mut service =
        predictor("minReplicas: 0\nmodel: {modelFormat: {name: onnx}, storageUri: 's3://m/v1'}");
    defaults::default(&mut service, &config);
    let candidates: Vec<Runtime> = runtimes::shipped().iter().map(Runtime::from).collect();
    let made = plan(&Inputs::new(&service, &config, &candidates));
    let mut service = made.children.knative_services[0].clone();
    service.metadata.uid = Some("service-uid".into());
    service.metadata.generation = Some(1);
    service
}

fn configuration() -> Configuration {
    let mut configuration = knative::configuration_of(&rendered());
    configuration.metadata.uid = Some("configuration-uid".into());
    configuration.metadata.generation = Some(3);
    configuration
}

fn revision() -> Revision {
    let mut revision = knative::revision_of(&configuration());
    revision.metadata.uid = Some("revision-uid".into());
    revision.metadata.generation = Some(1);
    revision
}

/// Labels and owners are what garbage collection, selectors and users' queries rest on.
#[test]
fn children_of_a_service() {
    insta::assert_yaml_snapshot!("configuration", configuration());
    insta::assert_yaml_snapshot!("route", knative::route_of(&rendered()));
}

/// The pods of a revision, exactly.
#[test]
fn children_of_a_revision() {
    assert_eq!(revision().metadata.name.as_deref(), Some("digits-predictor-00003"));
    insta::assert_yaml_snapshot!("deployment", knative::deployment_of(&revision(), 1).unwrap());
    let service: CoreService = knative::private_service_of(&revision());
    insta::assert_yaml_snapshot!("private_service", service);
}

fn ready_of(conditions: &[condition::Condition]) -> String {
    condition::find(conditions, "Ready").map(|ready| ready.status.clone()).unwrap_or_default()
}

/// A revision at zero replicas is ready; one that never had a pod is not.
#[test]
fn a_revision_stays_ready_at_zero() {
    let mut revision = revision();
    let seen =
        |ready: i32| RevisionObservation { ready_replicas: ready, initial_scale: 1, ..Default::default() };
    let mut after = |observation: &RevisionObservation| {
        let status = knative::revision_status(&revision, observation);
        let ready = ready_of(&status.conditions);
        revision.status = Some(status);
        ready
    };
    assert_eq!(after(&seen(0)), "Unknown");
    let stuck = RevisionObservation {
        failure: Some(("ProgressDeadlineExceeded".into(), "no progress".into())),
        ..seen(0)
    };
    assert_eq!(after(&stuck), "False");
    assert_eq!(after(&seen(1)), "True");
    assert_eq!(after(&seen(0)), "True");
    assert_eq!(after(&stuck), "False");
}

/// Traffic must never be taken off a ready revision for one that is not ready yet.
#[test]
fn routes_keep_their_traffic_until_the_target_is_ready() {
    let mut route = knative::route_of(&rendered());
    let none = knative::route_status(&route, |_| None, |_| Some(true), "example.com");
    assert_eq!(ready_of(&none.conditions), "Unknown");
    assert!(none.traffic.is_empty());
    assert_eq!(none.url.as_deref(), Some("http://digits-predictor-default.example.com"));
    let first = knative::route_status(&route, |_| Some("r1".into()), |_| Some(true), "example.com");
    assert_eq!(ready_of(&first.conditions), "True");
    route.status = Some(first.clone());
    let waiting = knative::route_status(&route, |_| None, |_| Some(true), "example.com");
    assert_eq!(waiting.traffic, first.traffic);
}

/// A service that mixes an old child status with its new specification would move canary pointers wrongly.
#[test]
fn a_service_waits_for_children_to_catch_up() {
    let mut service = rendered();
    let mut configuration = configuration();
    let mut revision = revision();
    revision.status = Some(knative::revision_status(
        &revision,
        &RevisionObservation { ready_replicas: 1, initial_scale: 1, ..Default::default() },
    ));
    configuration.status = Some(knative::configuration_status(&configuration, Some(&revision)));
    let mut route = knative::route_of(&service);
    route.metadata.generation = Some(1);
    let latest = configuration.status.as_ref().unwrap().latest_ready_revision_name.clone();
    route.status = Some(knative::route_status(&route, |_| latest.clone(), |_| Some(true), "example.com"));
    let status = knative::service_status(&service, Some(&configuration), Some(&route));
    assert_eq!((ready_of(&status.conditions).as_str(), status.observed_generation), ("True", Some(1)));

    service.status = Some(status);
    service.metadata.generation = Some(2);
    configuration.metadata.generation = Some(4);
    let status = knative::service_status(&service, Some(&configuration), Some(&route));
    assert_eq!((ready_of(&status.conditions).as_str(), status.observed_generation), ("Unknown", Some(1)));
    assert_eq!(status.latest_created_revision_name.as_deref(), Some("digits-predictor-00003"));
    configuration.status = Some(knative::configuration_status(&configuration, None));
    assert_eq!(configuration.status.as_ref().unwrap().observed_generation, Some(3));
}
