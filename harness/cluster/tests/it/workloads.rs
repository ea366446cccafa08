//! Whole clusters: Jobs, StatefulSets with volumes, several nodes and autoscaling, with real processes.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::flight::{Flight, shell};

/// If this fails batch work on the embedded cluster never ends, or its pods stay for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_runs_to_its_end_and_goes_with_its_pods() {
    let flight = Flight::start().await;
    let container = shell("c", "test -n \"$JOB_COMPLETION_INDEX\" && test \"$(hostname)\" != \"\"");
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
    flight.create::<Job>(json!({"metadata": {"name": "j"}, "spec": spec})).await;
    let is_complete = |job: &Job| {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    let job: Job = flight.until("j", is_complete).await;
    let status = job.status.expect("a status");
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(3), Some("0-2")));
    let pods = flight.api::<Pod>().list(&ListParams::default().labels("job-name=j")).await.expect("pods");
    assert_eq!(pods.items.len(), 3);
    flight.api::<Job>().delete("j", &DeleteParams::background()).await.expect("deleted");
    for pod in pods {
        flight.until_gone::<Pod>(&pod.metadata.name.unwrap_or_default()).await;
    }
    flight.cluster.stop().await;
}

/// If this fails a member of a StatefulSet loses its data when it is replaced, or all members share one machine.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_stateful_set_keep_their_volumes_and_spread_over_the_nodes() {
    let flight = Flight::start_with(|options| options.nodes = 3).await;
    let mut container = shell("c", "test -e /data/mark || hostname > /data/mark; exec sleep 1000");
    container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}}}});
    let spec = json!({"replicas": 3, "serviceName": "s", "selector": {"matchLabels": {"app": "s"}},
        "template": {"metadata": {"labels": {"app": "s"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}},
        "volumeClaimTemplates": [claim]});
    flight.create::<StatefulSet>(json!({"metadata": {"name": "s"}, "spec": spec})).await;
    let has_all =
        |set: &StatefulSet| set.status.as_ref().and_then(|status| status.available_replicas) == Some(3);
    flight.until("s", has_all).await;
    let pods = flight.api::<Pod>().list(&ListParams::default().labels("app=s")).await.expect("pods");
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let nodes: BTreeSet<String> = pods.items.iter().filter_map(node).collect();
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["windtunnel", "windtunnel-2", "windtunnel-3"]);

    let claim = flight.api::<PersistentVolumeClaim>().get("data-s-1").await.expect("a claim");
    let volume = claim.spec.and_then(|spec| spec.volume_name).expect("a volume");
    let volumes = Api::<PersistentVolume>::all(flight.cluster.client());
    let volume = volumes.get(&volume).await.expect("the volume").spec.expect("a specification");
    let mark = std::path::Path::new(&volume.host_path.expect("a folder").path).join("mark");
    assert!(mark.exists(), "the pod wrote into its volume");
    std::fs::write(&mark, "kept").expect("written");
    let uid = |pod: &Pod| pod.metadata.uid.clone();
    let old = flight.api::<Pod>().get("s-1").await.expect("the pod");
    flight.api::<Pod>().delete("s-1", &DeleteParams::default()).await.expect("deleted");
    let is_new = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        uid(pod) != uid(&old) && phase == Some("Running")
    };
    flight.until::<Pod>("s-1", is_new).await;
    assert_eq!(std::fs::read_to_string(&mark).expect("read"), "kept");
    flight.cluster.stop().await;
}

/// If this fails load on the embedded cluster is never met with more pods.
#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_adds_pods_while_they_are_busy() {
    let flight = Flight::start_with(|options| {
        options.autoscaler_sync_period = Duration::from_millis(300);
        options.metrics_resolution = Duration::from_millis(300);
    })
    .await;
    let mut container = shell("c", "while :; do :; done");
    container["resources"] = json!({"requests": {"cpu": "10m"}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}});
    flight.create::<Deployment>(json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let metric = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}});
    let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": [metric]});
    flight.create::<HorizontalPodAutoscaler>(json!({"metadata": {"name": "h"}, "spec": spec})).await;
    let is_scaled =
        |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(3);
    flight.until("d", is_scaled).await;
    flight.until_event("SuccessfulRescale", "New size: 3; reason: cpu resource utilization").await;
    let says_so = |autoscaler: &HorizontalPodAutoscaler| {
        let conditions = autoscaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|c| c.type_ == "ScalingLimited" && c.reason.as_deref() == Some("TooManyReplicas"))
    };
    flight.until("h", says_so).await;
    let patch = json!({"spec": {"replicas": 0}});
    let api = flight.api::<Deployment>();
    api.patch("d", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("scaled");
    let is_disabled = |autoscaler: &HorizontalPodAutoscaler| {
        let conditions = autoscaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.reason.as_deref() == Some("ScalingDisabled"))
    };
    flight.until("h", is_disabled).await;
    flight.cluster.stop().await;
}
