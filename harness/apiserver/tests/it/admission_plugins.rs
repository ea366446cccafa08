//! What a namespace's limit ranges and the cluster's priority classes do to new pods.

use k8s_openapi::api::{
    core::v1::{LimitRange, PersistentVolumeClaim, Pod},
    scheduling::v1::PriorityClass,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use windtunnel_apiserver::{ApiServer, Options};

fn pod(spec: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

async fn create<K>(api: &Api<K>, object: &K) -> Result<Value, String>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, object).await {
        Ok(created) => Ok(serde_json::to_value(created).unwrap()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("{other}"),
    }
}

/// Without this a pod that asks for nothing takes what its namespace wanted to share out, and a quota refuses it.
#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let client = ApiServer::new(Options::default()).client();
    let range: LimitRange = serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "50m"}, "defaultRequest": {"cpu": "100m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}},
    ]}}))
    .unwrap();
    let ranges = Api::<LimitRange>::namespaced(client.clone(), "default");
    let stored = ranges.create(&PostParams::default(), &range).await.unwrap();
    let stored = serde_json::to_value(stored).unwrap();
    assert_eq!(
        stored["spec"]["limits"][0]["default"],
        json!({"cpu": "2"}),
        "the maximum is the default limit"
    );

    let pods = Api::<Pod>::namespaced(client.clone(), "default");
    let silent = create(&pods, &pod(&json!({"containers": [{"name": "c", "image": "i"}]}))).await.unwrap();
    assert_eq!(
        silent["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}})
    );
    assert_eq!(silent["status"]["qosClass"], "Burstable");
    assert_eq!(
        silent["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let greedy =
        pod(&json!({"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "3"}}}]}));
    assert_eq!(
        create(&pods, &greedy).await.unwrap_err(),
        "pods \"p\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, "default");
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}}))
    .unwrap();
    assert_eq!(
        create(&claims, &claim).await.unwrap_err(),
        "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request \
is 3Gi"
    );
}

/// Without this a scheduler that reads `spec.priority` preempts the wrong pods.
#[tokio::test]
async fn a_pods_priority_comes_from_its_class() {
    let client = ApiServer::new(Options::default()).client();
    let classes = Api::<PriorityClass>::all(client.clone());
    let pods = Api::<Pod>::namespaced(client, "default");
    let containers = json!([{"name": "c", "image": "i"}]);
    let priority = |pod: &Value| (pod["spec"]["priority"].clone(), pod["spec"]["preemptionPolicy"].clone());
    let plain = create(&pods, &pod(&json!({"containers": containers}))).await.unwrap();
    assert_eq!(priority(&plain), (json!(0), json!("PreemptLowerPriority")));
    for (name, value, is_default) in [("high", 1000, false), ("usual", 7, true)] {
        let class: PriorityClass = serde_json::from_value(json!({"metadata": {"name": name}, "value": value,
            "globalDefault": is_default, "preemptionPolicy": "Never"}))
        .unwrap();
        classes.create(&PostParams::default(), &class).await.unwrap();
    }
    let high =
        create(&pods, &pod(&json!({"containers": containers, "priorityClassName": "high"}))).await.unwrap();
    assert_eq!(priority(&high), (json!(1000), json!("Never")));
    let usual = create(&pods, &pod(&json!({"containers": containers}))).await.unwrap();
    assert_eq!(
        (&usual["spec"]["priorityClassName"], &usual["spec"]["priority"]),
        (&json!("usual"), &json!(7))
    );
    let system = json!({"containers": containers, "priorityClassName": "system-node-critical"});
    assert_eq!(create(&pods, &pod(&system)).await.unwrap()["spec"]["priority"], 2_000_001_000);
    let unknown = json!({"containers": containers, "priorityClassName": "none"});
    assert_eq!(
        create(&pods, &pod(&unknown)).await.unwrap_err(),
        "pods \"p\" is forbidden: no PriorityClass with name none was found"
    );
    let forged = json!({"containers": containers, "priority": 5, "priorityClassName": "high"});
    assert!(
        create(&pods, &pod(&forged))
            .await
            .unwrap_err()
            .contains("computed 1000 from the given PriorityClass name")
    );
}
