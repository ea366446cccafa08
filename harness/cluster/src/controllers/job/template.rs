//! The pods of a Job.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    TRACKING,
    indexes::{FAILURES, INDEX},
};
use crate::{controllers::deployment::owner, world::Kind};

/// Environment variable with the index of a pod.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Longest hostname.
const HOSTNAME_LIMIT: usize = 63;

/// Whether each completion has an index.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// A new pod.
pub(super) fn pod(job: &Job, spec: &JobSpec) -> Pod {
    let template = spec.template.clone();
    let from = template.metadata.unwrap_or_default();
    let mut finalizers = from.finalizers.unwrap_or_default();
    finalizers.push(TRACKING.to_owned());
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", job.metadata.name.as_deref().unwrap_or_default())),
            namespace: job.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: Some(finalizers),
            owner_references: Some(vec![owner(Kind::Job, &job.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// A new pod for an index, which has failed so often before (where that is counted by index).
pub(super) fn indexed_pod(job: &Job, spec: &JobSpec, index: i32, failures: Option<i32>) -> Pod {
    let mut pod = pod(job, spec);
    let name = format!("{}-{index}", job.metadata.name.as_deref().unwrap_or_default());
    let metadata = &mut pod.metadata;
    metadata.generate_name = Some(format!("{name}-"));
    metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if let Some(failures) = failures {
        annotations.insert(FAILURES.to_owned(), failures.to_string());
    }
    let spec = pod.spec.get_or_insert_default();
    if name.len() <= HOSTNAME_LIMIT {
        spec.hostname.get_or_insert(name);
    }
    let initial = spec.init_containers.iter_mut().flatten();
    initial.chain(&mut spec.containers).for_each(tell_index);
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: format!("metadata.labels['{INDEX}']"),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
}
