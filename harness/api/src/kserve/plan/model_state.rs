//! The state of a model, read from the pods that serve it (upstream's `PropagateModelStatus`), and words for pods
//! that cannot start.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::super::pod::STORAGE_INITIALIZER;
use super::super::runtime::ModelStatusFailure;
use super::super::status_types::{
    FailureInfo, InferenceServiceStatus, ModelCopies, ModelStates, ModelStatus,
};
use super::workload::Component;
use super::{Profile, conditions};
use crate::condition::{self, Condition, FALSE};
use crate::pod_fields::SERVING_CONTAINER;

/// Reasons of a container that waits and will not start unless somebody changes something.
const CANNOT_START: [&str; 6] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
];

/// What the state follows from.
pub(super) struct ModelState<'a> {
    /// The state that was told last.
    pub(super) previous: ModelStatus,
    /// The pods of the newest revision, in any order.
    pub(super) pods: &'a [&'a Pod],
    /// Whether the service is ready and, in the Knative mode, its newest revision is the one that serves.
    pub(super) is_ready: bool,
    /// Whether a condition of the Knative Service is `False`.
    pub(super) child_failed: bool,
    /// The newest revision (Knative mode).
    pub(super) revision: Option<&'a str>,
    pub(super) profile: Profile,
}

enum Target {
    Pending,
    Loading,
    Loaded,
    Standby,
    Failed(Option<FailureInfo>),
    /// Nothing new: the initializer runs again after a failure, and only its end will tell.
    Undecided,
}

impl ModelState<'_> {
    /// The model's status, and whether to look again soon.
    pub(super) fn decide(self) -> (ModelStatus, bool) {
        let bugs = self.profile.has_upstream_bugs();
        let ready = self.pods.iter().filter(|pod| is_ready(pod)).count();
        let target = self.target();
        let failed = match &target {
            // Upstream declares the number and never counts.
            Target::Failed(_) if !bugs => {
                self.pods.iter().filter(|pod| failure(pod, bugs).is_some()).count().max(1)
            }
            _ => 0,
        };
        let again = matches!(target, Target::Undecided);
        let mut model = self.previous;
        model.copies = Some(ModelCopies {
            failed_copies: i32::try_from(failed).unwrap_or(i32::MAX),
            total_copies: i32::try_from(ready).ok().filter(|ready| *ready > 0),
        });
        let states = model.states.get_or_insert_with(ModelStates::default);
        let (transition, state) = match target {
            Target::Pending => ("InProgress", "Pending"),
            Target::Loading => ("InProgress", "Loading"),
            Target::Loaded => {
                "Loaded".clone_into(&mut states.active_model_state);
                ("UpToDate", "Loaded")
            }
            Target::Standby => {
                "Standby".clone_into(&mut states.active_model_state);
                ("UpToDate", "Standby")
            }
            Target::Failed(failure) => {
                if failure.is_some() {
                    model.last_failure_info = failure;
                }
                ("BlockedByFailedLoad", "FailedToLoad")
            }
            Target::Undecided => return (model, again),
        };
        state.clone_into(&mut states.target_model_state);
        transition.clone_into(&mut model.transition_status);
        if transition == "UpToDate" && !bugs {
            // A failure that is over would be read as one that lasts.
            model.last_failure_info = None;
        }
        (model, again)
    }

    fn target(&self) -> Target {
        let bugs = self.profile.has_upstream_bugs();
        let Some(newest) = newest(self.pods) else {
            return if self.child_failed {
                Target::Failed(None)
            } else if self.is_ready && !bugs && self.was_loaded() {
                // Scaled to zero: upstream says Pending for as long as nobody asks (issue 6079).
                Target::Standby
            } else {
                Target::Pending
            };
        };
        if let Some(initializer) = initializer(newest) {
            let running = initializer.state.as_ref().is_some_and(|state| state.running.is_some());
            if running {
                let failed_before =
                    initializer.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
                return if failed_before { Target::Undecided } else { Target::Loading };
            }
            if let Some(failure) = self.failure_of(newest, initializer) {
                return Target::Failed(Some(failure));
            }
        }
        if self.is_ready {
            return Target::Loaded;
        }
        let serving = container(newest, SERVING_CONTAINER);
        match serving.and_then(|serving| self.failure_of(newest, serving)) {
            Some(failure) => Target::Failed(Some(failure)),
            None => Target::Pending,
        }
    }

    fn was_loaded(&self) -> bool {
        let active = self.previous.states.as_ref().map(|states| states.active_model_state.as_str());
        matches!(active, Some("Loaded" | "Standby"))
    }

    fn failure_of(&self, pod: &Pod, status: &ContainerStatus) -> Option<FailureInfo> {
        let bugs = self.profile.has_upstream_bugs();
        let mut failure = container_failure(status, bugs)?;
        if !bugs {
            failure.location.clone_from(&pod.metadata.name);
            failure.model_revision_name = self.revision.map(str::to_owned);
        }
        Some(failure)
    }
}

/// The status of a model whose specification cannot be served.
pub(super) fn invalid(previous: ModelStatus, failure: &ModelStatusFailure) -> ModelStatus {
    let active = previous.states.map(|states| states.active_model_state).unwrap_or_default();
    ModelStatus {
        transition_status: "InvalidSpec".to_owned(),
        states: Some(ModelStates {
            active_model_state: active,
            target_model_state: "FailedToLoad".to_owned(),
        }),
        last_failure_info: Some(failure.info()),
        copies: previous.copies,
        other: previous.other,
    }
}

/// Says in the component's condition why its pods cannot start (a missing secret, an image that is not there), where
/// upstream waits for the Deployment's deadline of ten minutes. A component that serves keeps its condition.
pub(super) fn explain(
    status: &mut InferenceServiceStatus,
    component: Component,
    pods: &[&Pod],
    profile: Profile,
) {
    if profile.has_upstream_bugs() || conditions::holds(status, component.ready()) {
        return;
    }
    let Some(newest) = newest(pods) else { return };
    let all = newest.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    for container in all {
        let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) else {
            continue;
        };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if CANNOT_START.contains(&reason) {
            let pod = newest.metadata.name.as_deref().unwrap_or_default();
            let words = waiting.message.as_deref().unwrap_or_default();
            let message = format!("pod {pod}, container {}: {words}", container.name);
            conditions::set(status, Condition::new(component.ready(), FALSE, reason, &message));
            condition::summarise(
                &mut status.conditions,
                conditions::READY,
                &[conditions::PREDICTOR_READY, conditions::INGRESS_READY],
            );
            return;
        }
    }
}

/// The newest pod; of those of one second the first by name.
fn newest<'a>(pods: &[&'a Pod]) -> Option<&'a Pod> {
    pods.iter()
        .copied()
        .max_by_key(|pod| (pod.metadata.creation_timestamp.clone(), Reverse(pod.metadata.name.clone())))
}

fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    status.phase.as_deref() == Some("Running")
        && status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn initializer(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == STORAGE_INITIALIZER)
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)
}

/// Whether a container of the pod ended badly, or cannot start.
pub(super) fn has_failed(pod: &Pod) -> bool {
    failure(pod, false).is_some()
}

fn failure(pod: &Pod, bugs: bool) -> Option<FailureInfo> {
    let both = [initializer(pod), container(pod, SERVING_CONTAINER)];
    both.into_iter().flatten().find_map(|status| container_failure(status, bugs))
}

/// A container that ended badly, or waits because it keeps doing so. Upstream knows the reason `Error` only, so that
/// a server that ran out of memory is called pending.
fn container_failure(status: &ContainerStatus, bugs: bool) -> Option<FailureInfo> {
    let state = status.state.as_ref()?;
    let ended = |state: &ContainerState| state.terminated.clone();
    let bad = |terminated: &ContainerStateTerminated| {
        terminated.reason.as_deref() == Some("Error") || !bugs && terminated.exit_code != 0
    };
    if let Some(terminated) = ended(state).filter(|terminated| bad(terminated)) {
        return Some(info(&terminated, bugs));
    }
    let waiting = state.waiting.as_ref()?;
    match waiting.reason.as_deref().unwrap_or_default() {
        "CrashLoopBackOff" => match status.last_state.as_ref().and_then(ended) {
            Some(terminated) => Some(info(&terminated, bugs)),
            None => Some(FailureInfo {
                reason: Some("ModelLoadFailed".to_owned()),
                message: waiting.message.clone(),
                ..FailureInfo::default()
            }),
        },
        reason if !bugs && CANNOT_START.contains(&reason) => Some(FailureInfo {
            reason: Some("RuntimeUnhealthy".to_owned()),
            message: Some(waiting.message.clone().unwrap_or_else(|| reason.to_owned())),
            ..FailureInfo::default()
        }),
        _ => None,
    }
}

fn info(terminated: &ContainerStateTerminated, bugs: bool) -> FailureInfo {
    let words = terminated.message.clone().filter(|message| !message.is_empty());
    let reason = terminated.reason.clone().filter(|reason| !bugs && reason != "Error");
    FailureInfo {
        reason: Some("ModelLoadFailed".to_owned()),
        message: words.or(reason),
        exit_code: Some(terminated.exit_code).filter(|code| *code != 0),
        time: terminated.finished_at.as_ref().filter(|_| !bugs).map(|time| time.0.to_string()),
        ..FailureInfo::default()
    }
}
