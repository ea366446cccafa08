//! Jobs that download a model to a node.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::super::super::config::{KserveConfig, LocalModelConfig};
use super::super::super::local_model::{LocalModelInfo, LocalModelNode, storage_key};
use super::super::super::names::MODEL_MOUNT_PATH;
use super::super::super::pod::{CLAIM_VOLUME, Surroundings, add_download_credentials};
use super::super::super::storage_container::WorkloadType;
use super::MODELS_FOLDER;
use super::cache::download_claim;

/// Label of a job: name of the cache.
pub const MODEL_LABEL: &str = "model";
/// Label of a job: name of the node.
pub const NODE_LABEL: &str = "node";
/// Label of a job: namespace of the cache, if it has one.
pub const MODEL_NAMESPACE_LABEL: &str = "modelNamespace";

/// Name of the container that downloads.
const DOWNLOAD_CONTAINER: &str = "kserve-localmodel-download";

/// The job that downloads a model to a node (it has a generated name, so it is created and not applied), and what could
/// not be added of its credentials: the job runs nevertheless, as upstream's does.
#[must_use]
pub fn download_job(
    info: &LocalModelInfo,
    node: &LocalModelNode,
    config: &KserveConfig,
    around: &Surroundings<'_>,
) -> (Job, Option<String>) {
    let settings = &config.local_model;
    let group = info.node_group.as_deref().unwrap_or_default();
    let namespace = info.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let mut volumes = vec![Volume {
        name: CLAIM_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: download_claim(&info.model_name, namespace, group),
            read_only: None,
        }),
        ..Volume::default()
    }];
    let mut container = Container {
        args: Some(vec![info.source_model_uri.clone(), MODEL_MOUNT_PATH.to_owned()]),
        volume_mounts: Some(vec![VolumeMount {
            name: CLAIM_VOLUME.to_owned(),
            mount_path: MODEL_MOUNT_PATH.to_owned(),
            sub_path: Some(sub_path(&info.source_model_uri)),
            ..VolumeMount::default()
        }]),
        ..downloader(&info.source_model_uri, config, around)
    };
    let added = add_download_credentials(&mut container, &mut volumes, info, config, around);
    let labels = [(MODEL_LABEL, info.model_name.clone()), (NODE_LABEL, node.name_any())]
        .into_iter()
        .chain(namespace.map(|namespace| (MODEL_NAMESPACE_LABEL, namespace.to_owned())));
    let job = Job {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-{}", info.model_name, node.name_any())),
            namespace: Some(settings.job_namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: crate::owner::references(node),
            ..ObjectMeta::default()
        },
        spec: Some(specification(settings, node, container, volumes)),
        status: None,
    };
    (job, added.err())
}

fn specification(
    settings: &LocalModelConfig,
    node: &LocalModelNode,
    container: Container,
    volumes: Vec<Volume>,
) -> JobSpec {
    let pod = PodSpec {
        node_selector: Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), node.name_any())])),
        containers: vec![container],
        restart_policy: Some("Never".to_owned()),
        volumes: Some(volumes),
        security_context: Some(PodSecurityContext {
            fs_group: settings.fs_group,
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    };
    JobSpec {
        ttl_seconds_after_finished: settings.job_ttl_seconds_after_finished.or(Some(3600)),
        template: PodTemplateSpec { metadata: None, spec: Some(pod) },
        ..JobSpec::default()
    }
}

/// The first ClusterStorageContainer for downloads to nodes that takes the URI, else the storage initializer.
fn downloader(uri: &str, config: &KserveConfig, around: &Surroundings<'_>) -> Container {
    let takes = around.storage_containers.iter().find(|container| {
        !container.is_disabled()
            && container.spec.workload_type.0 == WorkloadType::LOCAL_MODEL_DOWNLOAD_JOB
            && container.spec.supports(uri) == Ok(true)
    });
    let special: Option<Container> =
        takes.and_then(|container| serde_json::from_value(container.spec.container.clone()).ok());
    let images = [&config.storage_initializer.image, &config.local_model.default_job_image];
    special.unwrap_or_else(|| Container {
        name: DOWNLOAD_CONTAINER.to_owned(),
        image: images.into_iter().find(|image| !image.is_empty()).cloned(),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    })
}

/// The folder of a model on a volume.
pub(super) fn sub_path(uri: &str) -> String {
    format!("{MODELS_FOLDER}/{}", storage_key(uri))
}

/// A model's state on a node, from its newest download job.
#[must_use]
pub fn model_state(job: &JobStatus) -> &'static str {
    let some = |count: Option<i32>| count.unwrap_or(0) > 0;
    if some(job.succeeded) {
        "ModelDownloaded"
    } else if some(job.failed) {
        "ModelDownloadError"
    } else if some(job.ready) {
        "ModelDownloading"
    } else {
        "ModelDownloadPending"
    }
}
