//! The agent of a node (`localmodelnode/controller_test.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde_json::{Value, json};
use windtunnel_api::kserve::local_models::{
    AgentInputs, AgentPlan, Folders, agent, download_job, model_state,
};
use windtunnel_api::kserve::pod::Surroundings;
use windtunnel_api::kserve::{ClusterStorageContainer, KserveConfig, LocalModelInfo, LocalModelNode};

use super::value;

const URI: &str = "s3://mybucket/mymodel";
/// The first 16 digits of the SHA-256 of [`URI`].
const FOLDER: &str = "89da10faf446bbf1";
const DISK: &str = "/models/models";

fn info(change: &Value) -> LocalModelInfo {
    let mut info = json!({"sourceModelUri": URI, "modelName": "iris", "nodeGroup": "gpu"});
    for (key, value) in change.as_object().unwrap() {
        info[key] = value.clone();
    }
    serde_json::from_value(info).unwrap()
}

/// The entry of this name in a list.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().into_iter().flatten().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

fn list(models: &[LocalModelInfo], status: &Value) -> LocalModelNode {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNode",
        "metadata": {"name": "a", "uid": "n"}, "spec": {"localModels": models}, "status": {"modelStatus": status}}))
    .unwrap()
}

/// A job of the node as it would be after its creation, with a number for its name and its time.
fn job(model: &LocalModelInfo, number: u32, status: &Value) -> Job {
    let node = list(&[], &json!({}));
    let mut job = download_job(model, &node, &KserveConfig::default(), &Surroundings::EMPTY).0;
    job.metadata.name = Some(format!("job-{number}"));
    job.metadata.creation_timestamp =
        serde_json::from_value(json!(format!("2026-01-01T00:00:{number:02}Z"))).unwrap();
    job.status = serde_json::from_value(status.clone()).unwrap();
    job
}

fn look(
    node: &LocalModelNode,
    jobs: &[Job],
    folders: &[(&str, bool)],
    neighbours: &[LocalModelInfo],
) -> AgentPlan {
    let folders: Folders = folders.iter().map(|(name, full)| ((*name).to_owned(), *full)).collect();
    agent(&AgentInputs {
        node,
        config: &KserveConfig::default(),
        jobs,
        around: Surroundings::EMPTY,
        disk: &|_| Some(DISK.to_owned()),
        folders: &BTreeMap::from([(DISK.to_owned(), folders)]),
        neighbours,
    })
}

/// The folder of the URI on the group's volume of the right node, with upstream's labels.
#[test]
fn the_download_job() {
    let config = KserveConfig::default();
    let node = list(&[], &json!({}));
    let (job, fault) = download_job(&info(&json!({})), &node, &config, &Surroundings::EMPTY);
    assert_eq!(fault, None);
    let job = value(&job);
    assert_eq!(job["metadata"]["generateName"], "iris-a");
    assert_eq!(job["metadata"]["namespace"], "kserve-localmodel-jobs");
    assert_eq!(job["metadata"]["labels"], json!({"model": "iris", "node": "a"}));
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "LocalModelNode");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3600);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/hostname": "a"}));
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["securityContext"], json!({"fsGroup": 1000}));
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "iris-gpu");
    let container = &pod["containers"][0];
    assert_eq!(container["name"], "kserve-localmodel-download");
    assert_eq!(container["image"], config.storage_initializer.image);
    assert_eq!(container["args"], json!([URI, "/mnt/models"]));
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "kserve-pvc-source", "mountPath": "/mnt/models", "subPath": format!("models/{FOLDER}")}])
    );

    let near = info(&json!({"namespace": "team"}));
    let job = value(&download_job(&near, &node, &config, &Surroundings::EMPTY).0);
    assert_eq!(job["metadata"]["labels"], json!({"model": "iris", "node": "a", "modelNamespace": "team"}));
    let claim = &job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
    assert_eq!(claim, "iris-gpu-team-download");
}

/// A container for downloads to nodes goes before the storage initializer; others are for pods.
#[test]
fn storage_containers_for_downloads() {
    let container = |name: &str, workload: &str, disabled: bool| -> ClusterStorageContainer {
        serde_json::from_value(json!({"apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ClusterStorageContainer", "metadata": {"name": name}, "disabled": disabled,
            "spec": {"container": {"name": name, "image": format!("image/{name}")}, "workloadType": workload,
                "supportedUriFormats": [{"prefix": "s3://"}]}}))
        .unwrap()
    };
    let all = [
        container("pods", "initContainer", false),
        container("off", "localModelDownloadJob", true),
        container("jobs", "localModelDownloadJob", false),
    ];
    let around = Surroundings { storage_containers: &all, ..Surroundings::EMPTY };
    let node = list(&[], &json!({}));
    let image = |uri: &str| {
        let info = info(&json!({"sourceModelUri": uri}));
        let job = value(&download_job(&info, &node, &KserveConfig::default(), &around).0);
        job["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!(image(URI), "image/jobs");
    assert_eq!(image("gs://elsewhere"), KserveConfig::default().storage_initializer.image);
}

/// Credentials come from the namespace of the jobs, and only where the cache names some; what is missing does not stop the
/// job.
#[test]
fn credentials_of_downloads() {
    let secret = |namespace: &str, name: &str| -> Option<Secret> {
        let data = match name {
            "keys" => json!({"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "Yg=="}),
            // {"type": "s3"}
            "storage-config" => json!({"minio": "eyJ0eXBlIjogInMzIn0="}),
            _ => return None,
        };
        let found = json!({"metadata": {"name": name}, "data": data});
        (namespace == "kserve-localmodel-jobs").then(|| serde_json::from_value(found).unwrap())
    };
    let account = |namespace: &str, name: &str| -> Option<ServiceAccount> {
        let secrets = if name == "broken" { json!([{"name": "absent"}]) } else { json!([{"name": "keys"}]) };
        let found = json!({"metadata": {"name": name}, "secrets": secrets});
        (namespace == "kserve-localmodel-jobs").then(|| serde_json::from_value(found).unwrap())
    };
    let around = Surroundings { secret: &secret, service_account: &account, ..Surroundings::EMPTY };
    let node = list(&[], &json!({}));
    let container = |change: Value| {
        let (job, fault) = download_job(&info(&change), &node, &KserveConfig::default(), &around);
        (value(&job)["spec"]["template"]["spec"]["containers"][0].clone(), fault)
    };
    let from = |container: &Value, variable: &str| {
        named(&container["env"], variable)["valueFrom"]["secretKeyRef"]["name"].clone()
    };
    let (plain, fault) = container(json!({}));
    assert_eq!((&plain["env"], fault), (&Value::Null, None));
    for change in [json!({"serviceAccountName": "loader"}), json!({"storage": {"parameters": {"a": "b"}}})] {
        let (found, fault) = container(change.clone());
        assert_eq!(fault, None, "{change}");
        assert_eq!(from(&found, "AWS_SECRET_ACCESS_KEY"), "keys", "{change}");
    }
    let change =
        json!({"serviceAccountName": "loader", "storage": {"key": "minio", "parameters": {"bucket": "b"}}});
    let (found, fault) = container(change);
    assert_eq!((from(&found, "STORAGE_CONFIG"), fault), (json!("storage-config"), None));
    assert_eq!(named(&found["env"], "STORAGE_OVERRIDE_CONFIG")["value"], r#"{"bucket":"b"}"#);
    let (found, fault) = container(json!({"serviceAccountName": "broken"}));
    assert_eq!(fault.as_deref(), Some("secrets \"absent\" not found"));
    assert_eq!(found["args"], json!([URI, "/mnt/models"]));
}

/// localmodelnode/controller.go, `getModelStatusFromJobStatus`.
#[test]
fn states_of_jobs() {
    let state = |status: Value| model_state(&serde_json::from_value::<JobStatus>(status).unwrap());
    assert_eq!(state(json!({"succeeded": 1, "failed": 2})), "ModelDownloaded");
    assert_eq!(state(json!({"failed": 1, "ready": 1})), "ModelDownloadError");
    assert_eq!(state(json!({"ready": 1})), "ModelDownloading");
    assert_eq!(state(json!({})), "ModelDownloadPending");
}

/// What it is about, states of the jobs from the oldest on, folders, known and wanted state of the model, jobs to start.
type Download<'a> = (&'a str, &'a [&'a Value], &'a [(&'a str, bool)], &'a str, &'a str, usize);

/// When a download starts, and what is said of it.
#[test]
fn downloads() {
    let model = info(&json!({}));
    let (done, failed, busy) = (json!({"succeeded": 1}), json!({"failed": 1}), json!({"ready": 1}));
    let (full, empty, none): (&[_], &[_], &[_]) = (&[(FOLDER, true)], &[(FOLDER, false)], &[]);
    let cases: [Download<'_>; 13] = [
        ("nothing is there", &[], none, "", "ModelDownloadPending", 1),
        ("the job runs", &[&busy], none, "ModelDownloadPending", "ModelDownloading", 0),
        (
            "the folder comes before the job ends",
            &[&busy],
            full,
            "ModelDownloadPending",
            "ModelDownloading",
            0,
        ),
        ("it is there", &[&done], full, "ModelDownloading", "ModelDownloaded", 0),
        ("it is there, the job is gone", &[], full, "ModelDownloaded", "ModelDownloaded", 0),
        ("it may be half of the files", &[], full, "ModelDownloading", "ModelDownloadPending", 1),
        ("failed jobs are not repeated", &[&failed], none, "ModelDownloadPending", "ModelDownloadError", 0),
        ("nor with half of the files", &[&failed], full, "ModelDownloadPending", "ModelDownloadError", 0),
        ("the folder is gone", &[&done], none, "ModelDownloaded", "ModelDownloadPending", 1),
        ("a pod has made an empty one", &[&done], empty, "ModelDownloaded", "ModelDownloadPending", 1),
        ("it is gone again", &[&done, &done], none, "ModelDownloaded", "ModelDownloadPending", 1),
        ("it never comes", &[&done, &done], none, "ModelDownloadPending", "ModelDownloadError", 0),
        ("the newest job counts", &[&failed, &done], full, "ModelDownloadError", "ModelDownloaded", 0),
    ];
    for (what, statuses, folders, before, after, started) in cases {
        let known = if before.is_empty() { json!({}) } else { json!({"iris": before}) };
        let jobs: Vec<Job> =
            (0..).zip(statuses).map(|(number, status)| job(&model, number, status)).collect();
        let plan = look(&list(std::slice::from_ref(&model), &known), &jobs, folders, &[]);
        assert_eq!(plan.status.model_status["iris"], after, "{what}");
        assert_eq!(plan.jobs.len(), started, "{what}");
        assert!(plan.delete_jobs.is_empty() && plan.remove_folders.is_empty(), "{what}");
        assert_eq!(plan.faults.is_empty(), what != "it never comes", "{what}: {:?}", plan.faults);
    }
}

/// Times of objects are whole seconds: the job that replaces one of the same second is the newer one.
#[test]
fn jobs_of_one_second() {
    let model = info(&json!({}));
    let done = job(&model, 0, &json!({"succeeded": 1}));
    let mut next = job(&model, 0, &json!({}));
    next.metadata.name = Some("a-name-before".to_owned());
    let node = list(std::slice::from_ref(&model), &json!({"iris": "ModelDownloadPending"}));
    for jobs in [[done.clone(), next.clone()], [next, done]] {
        let plan = look(&node, &jobs, &[], &[]);
        assert_eq!(plan.status.model_status["iris"], "ModelDownloadPending");
        assert!(plan.jobs.is_empty() && plan.faults.is_empty());
    }
}

/// Two caches of one URI download it once, and each is told of.
#[test]
fn a_shared_folder() {
    let models = [info(&json!({})), info(&json!({"namespace": "team"}))];
    let plan = look(&list(&models, &json!({})), &[], &[], &[]);
    assert_eq!(plan.jobs.len(), 1);
    assert_eq!(
        value(&plan.status)["modelStatus"],
        json!({"iris": "ModelDownloadPending", "team/iris": "ModelDownloadPending"})
    );
    let jobs = [job(&models[0], 0, &json!({"succeeded": 1}))];
    let plan = look(&list(&models, &json!({})), &jobs, &[(FOLDER, true)], &[]);
    assert_eq!(
        (plan.jobs.len(), value(&plan.status)["modelStatus"].clone()),
        (0, json!({"iris": "ModelDownloaded", "team/iris": "ModelDownloaded"}))
    );
    // When the first goes its job does, too; the folder stays for the other.
    let known = json!({"iris": "ModelDownloaded", "team/iris": "ModelDownloaded"});
    let plan = look(&list(&models[1..], &known), &jobs, &[(FOLDER, true)], &[]);
    assert_eq!((plan.delete_jobs.as_slice(), plan.jobs.len()), (["job-0".to_owned()].as_slice(), 0));
    assert!(plan.remove_folders.is_empty());
    assert_eq!(value(&plan.status)["modelStatus"], json!({"team/iris": "ModelDownloaded"}));
}

/// Models that the node should not have go from its disk, with their jobs; nothing else does.
#[test]
fn models_that_go() {
    let model = info(&json!({}));
    let jobs = [job(&model, 0, &json!({"succeeded": 1}))];
    let empty = list(&[], &json!({"iris": "ModelDownloaded"}));
    let there = [(FOLDER, true), ("0123456789abcdef", false), ("notes", true), ("0123456789ABCDEF", true)];
    let plan = look(&empty, &jobs, &there, &[]);
    assert_eq!(plan.delete_jobs, ["job-0"]);
    assert!(plan.status.model_status.is_empty());
    let removed: Vec<_> =
        plan.remove_folders.iter().map(|(disk, folder)| (disk.as_str(), folder.as_str())).collect();
    assert_eq!(removed, [(DISK, "0123456789abcdef"), (DISK, FOLDER)]);
    // Another node keeps it on the same disk.
    let plan = look(&empty, &jobs, &there[..1], std::slice::from_ref(&model));
    assert!(plan.remove_folders.is_empty());
    // A cache of the same name had another URI before.
    let other = info(&json!({"sourceModelUri": "s3://mybucket/other"}));
    let plan = look(&list(&[other], &json!({})), &jobs, &there[..1], &[]);
    assert_eq!((plan.delete_jobs.as_slice(), plan.jobs.len()), (["job-0".to_owned()].as_slice(), 1));
    assert_eq!(plan.status.model_status["iris"], "ModelDownloadPending");
    // Jobs of another node, and jobs of others in the same namespace.
    let mut foreign = jobs[0].clone();
    foreign.metadata.labels.as_mut().unwrap().insert("node".to_owned(), "b".to_owned());
    let mut unlabelled = jobs[0].clone();
    unlabelled.metadata.labels.as_mut().unwrap().remove("model");
    assert!(look(&empty, &[foreign, unlabelled], &[], &[]).delete_jobs.is_empty());
}
