//! The scheduler.

use k8s_openapi::{
    api::core::v1::{Node, Pod},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::scheduler,
    effect::Effect,
    world::{Key, World},
};

fn node(name: &str, cpu: &str) -> Node {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "status": {
        "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "3"}}}),
    )
    .expect("a node")
}

fn pod(name: &str, spec: &Value) -> Pod {
    let mut value =
        json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"containers": []}});
    json_patch::merge(&mut value["spec"], spec);
    serde_json::from_value(value).expect("a pod")
}

fn asking(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

fn decide(world: &World) -> Vec<Effect> {
    scheduler::reconcile(world, &Key::new("ns", "p"), Timestamp::UNIX_EPOCH).effects
}

fn bound_to(world: &World) -> Option<String> {
    decide(world).into_iter().find_map(|effect| match effect {
        Effect::Bind { node, .. } => Some(node),
        _ => None,
    })
}

/// If this fails nodes take more than they have, or pods wait although there is room.
#[test]
fn pods_go_where_their_requests_fit() {
    let world = World::default().with(node("a", "1")).with(node("b", "2"));
    assert_eq!(bound_to(&world.clone().with(pod("p", &asking("500m")))).as_deref(), Some("b"), "most left");
    let mut big = asking("1500m");
    big["nodeName"] = "b".into();
    let used = world.clone().with(pod("other", &big));
    assert_eq!(bound_to(&used.clone().with(pod("p", &asking("500m")))).as_deref(), Some("a"));
    assert_eq!(bound_to(&used.with(pod("p", &asking("1200m")))), None);
    let chosen = json!({"nodeSelector": {"kubernetes.io/hostname": "a"}});
    assert_eq!(bound_to(&world.with(pod("p", &chosen))).as_deref(), Some("a"));
}

/// If this fails the pod limit of a node is not kept, or finished pods hold their place for ever.
#[test]
fn finished_pods_give_their_place_back() {
    let mut world = World::default().with(node("a", "1"));
    for name in ["x", "y", "z"] {
        world = world.with(pod(name, &json!({"nodeName": "a"})));
    }
    assert_eq!(bound_to(&world.clone().with(pod("p", &json!({})))), None);
    let mut done = pod("x", &json!({"nodeName": "a"}));
    done.status = serde_json::from_value(json!({"phase": "Succeeded"})).ok();
    assert!(bound_to(&world.with(done).with(pod("p", &json!({})))).is_some());
}

/// If this fails a user cannot see why a pod stays pending.
#[test]
fn a_pod_that_fits_nowhere_says_why_once() {
    let lost = pod("p", &json!({"nodeSelector": {"no": "such"}}));
    let world = World::default().with(node("a", "1")).with(lost.clone());
    let effects = decide(&world);
    let [Effect::Report(note), Effect::Patch { patch, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(
        note.message,
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    );
    let condition = &patch["status"]["conditions"][0];
    assert_eq!((&condition["reason"], &condition["status"]), (&json!("Unschedulable"), &json!("False")));
    let mut told = lost;
    told.status = serde_json::from_value(patch["status"].clone()).ok();
    assert_eq!(
        decide(&World::default().with(node("a", "1")).with(told)),
        [],
        "not again for the same reason"
    );
}

/// If this fails pods meant for another scheduler are taken from it.
#[test]
fn other_schedulers_pods_are_left_alone() {
    let world = World::default().with(node("a", "1"));
    for spec in [
        json!({"schedulerName": "nobody"}),
        json!({"nodeName": "elsewhere"}),
        json!({"schedulingGates": [{"name": "wait"}]}),
    ] {
        assert_eq!(decide(&world.clone().with(pod("p", &spec))), [], "{spec}");
    }
}
