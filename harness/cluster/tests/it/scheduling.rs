//! The scheduler.

use k8s_openapi::{
    api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
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

/// If this fails a pod starts where the disk of its claim is not.
#[test]
fn a_pod_goes_where_the_volume_of_its_claim_is() {
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {"name": "shelf", "namespace": "ns"}, "spec": {"volumeName": "disk"}, "status": {"phase": "Bound"}}))
    .expect("a claim");
    let disk = |node: &str| -> PersistentVolume {
        let requirement = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        serde_json::from_value(json!({"metadata": {"name": "disk"}, "spec": {"local": {"path": "/disk"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}}))
        .expect("a volume")
    };
    let user =
        pod("p", &json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "shelf"}}]}));
    let world = World::default().with(node("a", "1")).with(node("b", "1")).with(claim).with(user);
    for name in ["a", "b"] {
        assert_eq!(bound_to(&world.clone().with(disk(name))).as_deref(), Some(name));
    }
    assert_eq!(
        refusal(&world.with(disk("c"))),
        "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity. no new claims to deallocate, \
         preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
}

/// What the pod is told, if it has to wait.
fn refusal(world: &World) -> String {
    let message = decide(world).into_iter().find_map(|effect| match effect {
        Effect::Report(note) if note.reason == "FailedScheduling" => Some(note.message),
        _ => None,
    });
    message.expect("a refusal")
}

fn labelled(name: &str, zone: &str, taints: &Value) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": zone}},
        "spec": {"taints": taints},
        "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10", "nvidia.com/gpu": "2"}},
    }))
    .expect("a node")
}

fn placed(name: &str, node: &str, spec: &Value) -> Pod {
    let mut spec = spec.clone();
    spec["nodeName"] = node.into();
    let mut pod = pod(name, &spec);
    pod.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    pod
}

/// If this fails people who read the event of a pending pod look in the wrong place.
#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_upstreams_words() {
    let taint = json!([{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]);
    let world = World::default()
        .with(labelled("a", "1", &taint))
        .with(labelled("b", "1", &json!(null)))
        .with(labelled("c", "2", &json!(null)));
    let huge =
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "100", "memory": "64Gi"}}}]});
    assert_eq!(
        refusal(&world.clone().with(pod("p", &huge))),
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. no new \
claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
    let gpus = |count: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": count}}}]});
    let full = world.with(placed("x", "b", &gpus("2"))).with(placed("y", "c", &gpus("1")));
    assert_eq!(bound_to(&full.clone().with(pod("p", &gpus("1")))).as_deref(), Some("c"));
    assert_eq!(
        refusal(&full.with(pod("p", &gpus("2")))),
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu. no new claims to \
deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims \
found for incoming pod."
    );
}

/// If this fails pods land on machines that were kept for others.
#[test]
fn taints_are_tolerated_by_key_value_and_effect() {
    let taint = json!([{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]);
    let world = World::default().with(labelled("a", "1", &taint));
    for (toleration, fits) in [
        (json!({"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"}), true),
        (json!({"key": "dedicated", "value": "y"}), false),
        (json!({"key": "dedicated", "operator": "Exists"}), true),
        (json!({"operator": "Exists"}), true),
        (json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}), false),
    ] {
        let found = bound_to(&world.clone().with(pod("p", &json!({"tolerations": [toleration]}))));
        assert_eq!(found.is_some(), fits, "{toleration}");
    }
    let soft = json!([{"key": "k", "effect": "PreferNoSchedule"}]);
    let world = World::default().with(labelled("a", "1", &soft)).with(labelled("b", "1", &json!(null)));
    assert_eq!(
        bound_to(&world.with(pod("p", &json!({})))).as_deref(),
        Some("b"),
        "avoided while there is another"
    );
}

/// If this fails a model lands on a machine without its accelerator.
#[test]
fn node_affinity_selects_and_prefers() {
    let world =
        World::default().with(labelled("a", "1", &json!(null))).with(labelled("b", "2", &json!(null)));
    let required = |operator: &str, values: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
            [{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}]}}}})
    };
    let found = |spec: Value| bound_to(&world.clone().with(pod("p", &spec)));
    assert_eq!(found(required("In", json!(["2"]))).as_deref(), Some("b"));
    assert_eq!(found(required("NotIn", json!(["2"]))).as_deref(), Some("a"));
    assert_eq!(found(required("Gt", json!(["1"]))).as_deref(), Some("b"));
    assert_eq!(found(required("DoesNotExist", json!(null))), None);
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["2"]}]}}]}}});
    assert_eq!(found(preferred).as_deref(), Some("b"));
}

/// If this fails replicas share the machine that they were meant to be kept apart from.
#[test]
fn pod_affinity_and_anti_affinity_look_at_domains() {
    let term = |key: &str| json!([{"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": key}]);
    let anti = |key: &str| json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term(key)}}});
    let near = |key: &str| json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term(key)}}});
    let world = World::default()
        .with(labelled("a", "1", &json!(null)))
        .with(labelled("b", "1", &json!(null)))
        .with(labelled("c", "2", &json!(null)))
        .with(placed("x", "a", &json!({})));
    let found = |spec: &Value| bound_to(&world.clone().with(pod("p", spec)));
    assert_eq!(found(&anti("zone")).as_deref(), Some("c"));
    assert_ne!(found(&anti("kubernetes.io/hostname")).as_deref(), Some("a"));
    assert_eq!(found(&near("kubernetes.io/hostname")).as_deref(), Some("a"));
    // The one that is there does not want company either.
    let shy = world.clone().with(placed("y", "c", &anti("zone")));
    let mut newcomer = pod("p", &anti("zone"));
    newcomer.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    assert_eq!(
        refusal(&shy.with(newcomer)),
        "0/3 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules, 2 node(s) didn't match pod \
anti-affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found \
for incoming pod."
    );
    // The first of a group that wants to be together starts it.
    let empty = World::default().with(labelled("a", "1", &json!(null)));
    let mut first = pod("p", &near("zone"));
    assert_eq!(bound_to(&empty.clone().with(first.clone())), None, "not one of the group itself");
    first.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    assert!(bound_to(&empty.with(first)).is_some());
}

/// If this fails all replicas of a service go down with one zone.
#[test]
fn topology_spread_keeps_the_skew() {
    let constraint = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}}]});
    let mut newcomer = pod("p", &constraint);
    newcomer.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    let world = World::default()
        .with(labelled("a", "1", &json!(null)))
        .with(labelled("b", "2", &json!(null)))
        .with(placed("x", "a", &json!({})));
    assert_eq!(bound_to(&world.clone().with(newcomer.clone())).as_deref(), Some("b"));
    let full = asking("4");
    let world = world.with(placed("other", "b", &full)).with(placed("w", "a", &json!({})));
    let mut asks = newcomer;
    asks.spec.as_mut().expect("a spec").containers =
        serde_json::from_value(asking("1")["containers"].clone()).expect("containers");
    let message = refusal(&world.with(asks));
    assert!(
        message.starts_with(
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints."
        ),
        "{message}"
    );
}

/// If this fails an important service waits behind batch work, or takes more away than it needs.
#[test]
fn pods_of_higher_priority_take_the_place_of_lower_ones() {
    let mut important = asking("3");
    important["priority"] = 100.into();
    let mut small = asking("2");
    small["priority"] = 1.into();
    let mut tiny = asking("1");
    tiny["priority"] = 2.into();
    let world = World::default()
        .with(labelled("a", "1", &json!(null)))
        .with(placed("small", "a", &small))
        .with(placed("tiny", "a", &tiny));
    let effects = decide(&world.clone().with(pod("p", &important)));
    let gone: Vec<&str> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Delete { key, .. } => Some(key.name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(gone, ["small"], "the more important of the two is spared");
    let nominated = json!({"status": {"nominatedNodeName": "a"}});
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Patch { patch, .. } if *patch == nominated))
    );
    important["preemptionPolicy"] = "Never".into();
    assert!(refusal(&world.with(pod("p", &important))).contains("Insufficient cpu"));
}

/// If this fails a pod with a volume of its own waits for ever, takes somebody else's, or leaves it behind.
#[test]
fn the_claim_of_an_ephemeral_volume_is_made_for_the_pod() {
    let spec = json!({"containers": [{"name": "c"}], "volumes": [{"name": "scratch", "ephemeral": {
        "volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}]});
    let world = World::default().with(node("a", "1")).with(pod("p", &spec));
    let effects = decide(&world);
    let [Effect::Create { kind, object, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(kind.name(), "PersistentVolumeClaim");
    assert_eq!(
        (&object["metadata"]["name"], &object["metadata"]["labels"]),
        (&json!("p-scratch"), &json!({"a": "b"}))
    );
    assert_eq!(object["spec"]["resources"]["requests"]["storage"], "1Gi");
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p", "controller": true,
        "blockOwnerDeletion": true}]);
    assert_eq!(object["metadata"]["ownerReferences"], owner);

    let claim = |owners: &Value| {
        let claim = json!({"metadata": {"name": "p-scratch", "namespace": "ns", "uid": "c", "ownerReferences": owners,
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}});
        serde_json::from_value::<PersistentVolumeClaim>(claim).expect("a claim")
    };
    assert_eq!(bound_to(&world.clone().with(claim(&owner))).as_deref(), Some("a"));
    let refused = format!("{:?}", decide(&world.with(claim(&json!([])))));
    assert!(
        refused.contains("PVC ns/p-scratch was not created for pod ns/p (pod is not owner)"),
        "{refused}"
    );
}

/// If this fails two pods get one port of one machine: a port on all addresses is also the one on each of them.
#[test]
fn a_port_of_the_machine_is_given_once() {
    let port = |address: &str, protocol: &str| {
        json!({"containers": [{"name": "c",
            "ports": [{"containerPort": 80, "hostPort": 7000, "hostIP": address, "protocol": protocol}]}]})
    };
    for (held, asked, fits) in [
        (port("", "TCP"), port("127.0.0.1", "TCP"), false),
        (port("127.0.0.1", "TCP"), port("0.0.0.0", "TCP"), false),
        (port("127.0.0.1", "TCP"), port("127.0.0.1", "TCP"), false),
        (port("127.0.0.1", "TCP"), port("127.0.0.2", "TCP"), true),
        (port("", "TCP"), port("", "UDP"), true),
    ] {
        let world = World::default().with(node("a", "1")).with(placed("holder", "a", &held));
        let world = world.with(pod("p", &asked));
        assert_eq!(bound_to(&world).is_some(), fits, "{held} then {asked}");
        if !fits {
            assert_eq!(
                refusal(&world),
                "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. no new claims to \
deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
            );
        }
    }
}

/// If this fails nobody sees why a pod of high priority waits while others make room for it.
#[test]
fn a_pod_that_others_make_room_for_says_why_it_waits() {
    let mut low = asking("1");
    low["nodeName"] = "a".into();
    let mut high = asking("1");
    high["priority"] = 10.into();
    let world = World::default().with(node("a", "1")).with(pod("low", &low)).with(pod("p", &high));
    assert_eq!(refusal(&world), "0/1 nodes are available: 1 Insufficient cpu.");
    assert!(decide(&world).iter().any(|effect| matches!(effect, Effect::Delete { uid, .. } if uid == "low")));
}
