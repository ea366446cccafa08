//! The EndpointSlice controller.

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use serde_json::{Value, json};
use windtunnel_cluster::{controllers::endpoint_slices, world::Key};

use crate::model::Model;

fn pod(name: &str, address: &str, ready: bool, port: Option<(&str, i32)>) -> Value {
    let ports: Vec<Value> =
        port.into_iter().map(|(name, number)| json!({"name": name, "containerPort": number})).collect();
    json!({
        "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"nodeName": "n", "hostname": name, "subdomain": "s",
            "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn start(spec: &Value, pods: &[Value]) -> (Model, Key) {
    let mut model = Model::new();
    for pod in pods {
        model.put::<Pod>(pod.clone(), |pod| &mut pod.metadata);
    }
    let mut all = json!({"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]});
    json_patch::merge(&mut all, spec);
    let service = json!({"metadata": {"name": "s", "labels": {"x": "y"}}, "spec": all});
    let key = model.put::<Service>(service, |service| &mut service.metadata);
    model.run(endpoint_slices::reconcile, &key);
    (model, key)
}

fn slices(model: &Model) -> Vec<Value> {
    let slices = model.world.endpoint_slices.iter();
    slices.map(|(_, slice)| serde_json::to_value(&**slice).expect("JSON")).collect()
}

/// If this fails clients find no pods, or pods that can't serve.
#[test]
fn a_slice_says_which_pods_serve_on_which_port() {
    let pods = [
        pod("p", "10.0.0.1", true, Some(("http", 8080))),
        pod("q", "10.0.0.2", false, Some(("http", 8080))),
        pod("r", "10.0.0.3", true, Some(("http", 9090))),
    ];
    let (mut model, key) = start(&json!({}), &pods);
    let found = slices(&model);
    assert_eq!(found.len(), 2, "pods with other ports have a slice of their own");
    let first = found.iter().find(|slice| slice["ports"][0]["port"] == 8080).expect("the slice");
    assert_eq!(
        first["metadata"]["labels"],
        json!({"x": "y", "kubernetes.io/service-name": "s",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"})
    );
    assert_eq!(first["metadata"]["generateName"], "s-");
    assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(first["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
    let conditions = |at: usize| first["endpoints"][at]["conditions"].clone();
    assert_eq!(conditions(0), json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!(conditions(1), json!({"ready": false, "serving": false, "terminating": false}));
    assert_eq!(first["endpoints"][0]["hostname"], "p");
    assert_eq!(first["endpoints"][0]["targetRef"]["name"], "p");
    assert_eq!(first["endpoints"][0]["nodeName"], "n");

    // A pod that is going may still serve what it has.
    let going = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z", "finalizers": ["x/y"]}});
    model.patch::<Pod>(&Key::new("ns", "p"), &going);
    model.run(endpoint_slices::reconcile, &key);
    let found = slices(&model);
    let first = found.iter().find(|slice| slice["ports"][0]["port"] == 8080).expect("the slice");
    let leaving = first["endpoints"].as_array().expect("endpoints");
    let leaving = leaving.iter().find(|endpoint| endpoint["targetRef"]["name"] == "p").expect("p");
    assert_eq!(leaving["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
}

/// If this fails a service that wants its starting pods to be found loses them.
#[test]
fn unready_pods_are_ready_where_the_service_says_so() {
    let pods = [pod("p", "10.0.0.1", false, None)];
    let spec = json!({"publishNotReadyAddresses": true, "clusterIP": "None", "ports": null});
    let (model, _) = start(&spec, &pods);
    let found = slices(&model);
    assert_eq!(found[0]["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(
        found[0]["endpoints"][0]["conditions"],
        json!({"ready": true, "serving": false, "terminating": false})
    );
    assert_eq!(found[0]["ports"], json!([]));
}

/// If this fails slices grow without bound, or one change rewrites them all.
#[test]
fn a_slice_holds_a_hundred_and_keeps_what_stays() {
    let pods: Vec<Value> = (0..150)
        .map(|index| pod(&format!("p{index:03}"), &format!("10.0.1.{index}"), true, Some(("http", 80))))
        .collect();
    let (mut model, key) = start(&json!({}), &pods);
    let sizes = |model: &Model| {
        let mut sizes: Vec<usize> =
            slices(model).iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&model), [50, 100]);
    model.delete::<Pod>(&Key::new("ns", "p149"));
    let outcome = endpoint_slices::reconcile(&model.world, &key, model.now);
    assert_eq!(outcome.effects.len(), 1, "the other slice is left alone");
    model.carry_out(outcome);
    assert_eq!(sizes(&model), [49, 100]);
    for index in 0..149 {
        model.delete::<Pod>(&Key::new("ns", format!("p{index:03}")));
    }
    model.run(endpoint_slices::reconcile, &key);
    assert_eq!(sizes(&model), [0], "one slice says that there is nobody");
    model.delete::<Service>(&key);
    model.run(endpoint_slices::reconcile, &key);
    assert_eq!(sizes(&model), [0_usize; 0]);
}

/// If this fails a service whose addresses somebody else writes has no slices.
#[test]
fn endpoints_of_others_are_mirrored() {
    let (mut model, key) = start(&json!({"selector": null}), &[]);
    assert!(slices(&model).is_empty());
    let endpoints = json!({"metadata": {"name": "s"}, "subsets": [{"addresses": [{"ip": "10.9.9.9"}],
        "ports": [{"port": 443, "protocol": "TCP"}]}]});
    model.put::<Endpoints>(endpoints, |endpoints| &mut endpoints.metadata);
    model.run(endpoint_slices::reconcile, &key);
    let found = slices(&model);
    assert_eq!(
        found[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    assert_eq!(found[0]["endpoints"], json!([{"addresses": ["10.9.9.9"], "conditions": {"ready": true}}]));
    assert_eq!(found[0]["ports"][0]["port"], 443);
    let skip = json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}});
    model.patch::<Endpoints>(&key, &skip);
    model.run(endpoint_slices::reconcile, &key);
    assert_eq!(model.world.endpoint_slices.len(), 0);
}
