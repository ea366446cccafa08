//! The Endpoints controller.

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::endpoints,
    effect::Effect,
    world::{Key, World},
};

use crate::model::Model;

fn service(spec: &Value) -> Service {
    let mut spec = spec.clone();
    if spec.get("selector").is_none() {
        spec["selector"] = json!({"app": "x"});
    }
    serde_json::from_value(
        json!({"metadata": {"name": "s", "namespace": "ns", "labels": {"l": "1"}}, "spec": spec}),
    )
    .expect("a Service")
}

fn pod(name: &str, ip: &str, ready: bool, extra: &Value) -> Pod {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "x"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    });
    json_patch::merge(&mut value, extra);
    serde_json::from_value(value).expect("a pod")
}

/// Subsets as text: `ready ips / unready ips : ports`.
fn subsets(world: &World, service: &Service) -> Vec<String> {
    let endpoints = endpoints::endpoints_of(world, service).expect("Endpoints");
    let join = |texts: Vec<String>| texts.join(",");
    endpoints
        .subsets
        .unwrap_or_default()
        .iter()
        .map(|subset| {
            let ips = |list: &Option<Vec<_>>| -> Vec<String> {
                list.iter()
                    .flatten()
                    .map(|address: &k8s_openapi::api::core::v1::EndpointAddress| address.ip.clone())
                    .collect()
            };
            let ports = subset.ports.iter().flatten().map(|port| {
                format!(
                    "{}{}",
                    port.name.as_ref().map(|name| format!("{name}=")).unwrap_or_default(),
                    port.port
                )
            });
            format!(
                "{}/{}:{}",
                join(ips(&subset.addresses)),
                join(ips(&subset.not_ready_addresses)),
                join(ports.collect())
            )
        })
        .collect()
}

/// If this fails requests go to pods that are not ready, are ending, or belong to somebody else.
#[test]
fn addresses_are_those_of_matching_living_pods() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}});
    let world = World::default()
        .with(pod("b", "127.64.0.10", true, &json!({})))
        .with(pod("a", "127.64.0.9", true, &json!({})))
        .with(pod("unready", "127.64.0.3", false, &json!({})))
        .with(pod("deleted", "127.64.0.4", true, &deleted))
        .with(pod("done", "127.64.0.5", true, &json!({"status": {"phase": "Succeeded"}})))
        .with(pod("stranger", "127.64.0.6", true, &json!({"metadata": {"labels": {"app": "y"}}})))
        .with(pod("elsewhere", "127.64.0.7", true, &json!({"metadata": {"namespace": "other"}})))
        .with(pod("new", "", false, &json!({"status": {"podIP": null}})));
    let plain = service(&json!({"ports": [{"port": 80, "targetPort": 8080}]}));
    assert_eq!(subsets(&world, &plain), ["127.64.0.9,127.64.0.10/127.64.0.3:8080"]);
    let eager =
        service(&json!({"ports": [{"port": 80, "targetPort": 8080}], "publishNotReadyAddresses": true}));
    assert_eq!(subsets(&world, &eager), ["127.64.0.3,127.64.0.4,127.64.0.9,127.64.0.10/:8080"]);
}

/// If this fails a Service with named or remapped ports leads nowhere.
#[test]
fn ports_are_looked_up_on_each_pod() {
    let remapped = json!({"metadata": {"annotations": {"cluster.windtunnel.dev/ports": "{\"8080\":41234}"}}});
    let other =
        json!({"spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}]}]}});
    let world = World::default()
        .with(pod("a", "127.64.0.1", true, &json!({})))
        .with(pod("b", "127.64.0.2", true, &remapped))
        .with(pod("c", "127.64.0.3", true, &other));
    for (ports, expected) in [
        (json!([{"port": 80, "targetPort": "http"}]), vec!["127.64.0.1/:8080", "127.64.0.2/:41234"]),
        (json!([{"port": 8080}]), vec!["127.64.0.1,127.64.0.3/:8080", "127.64.0.2/:41234"]),
        (
            json!([{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 2, "targetPort": 9}]),
            vec!["127.64.0.1/:a=8080,b=9", "127.64.0.2/:a=41234,b=9", "127.64.0.3/:b=9"],
        ),
        (json!([{"port": 80, "targetPort": "none"}]), vec![]),
    ] {
        let mut found = subsets(&world, &service(&json!({"ports": ports})));
        let key = |text: &String| text.clone();
        found.sort_by_key(key);
        assert_eq!(found, expected, "{ports}");
    }
}

/// If this fails Endpoints are rewritten without end, or those that a user wrote by hand are overwritten.
#[test]
fn endpoints_are_made_kept_and_removed() {
    let mut model = Model::new();
    let key = model
        .create(service(&json!({"ports": [{"port": 80}]})), |service: &mut Service| &mut service.metadata);
    model.create(pod("a", "127.64.0.1", true, &json!({})), |pod: &mut Pod| &mut pod.metadata);
    let outcome = endpoints::reconcile(&model.world, &key, model.now);
    model.carry_out(outcome);
    assert_eq!(endpoints::reconcile(&model.world, &key, model.now).effects, [], "nothing more to do");
    let labels =
        model.world.endpoints.get(&key).and_then(|made| made.metadata.labels.clone()).expect("labels");
    assert_eq!(labels["l"], "1");

    let pod_key = Key::new("ns", "a");
    model.patch::<Pod>(&pod_key, &json!({"metadata": {"deletionTimestamp": "2027-01-01T00:00:00Z"}}));
    let outcome = endpoints::reconcile(&model.world, &key, model.now);
    model.carry_out(outcome);
    let subsets = model.world.endpoints.get(&key).and_then(|made| made.subsets.clone());
    assert!(subsets.unwrap_or_default().is_empty(), "a deleted pod leaves at once");

    model.delete::<Service>(&key);
    let effects = endpoints::reconcile(&model.world, &key, model.now).effects;
    assert!(matches!(&effects[..], [Effect::Delete { .. }]), "{effects:?}");

    let by_hand: Endpoints =
        serde_json::from_value(json!({"metadata": {"name": "hand", "namespace": "ns"}})).expect("Endpoints");
    let hand = model.create(by_hand, |endpoints: &mut Endpoints| &mut endpoints.metadata);
    assert_eq!(endpoints::reconcile(&model.world, &hand, model.now).effects, []);
    let mut without = service(&json!({"selector": {}}));
    without.metadata.name = Some("hand".into());
    model.create(without, |service: &mut Service| &mut service.metadata);
    assert_eq!(endpoints::reconcile(&model.world, &hand, model.now).effects, []);
}
