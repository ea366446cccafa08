//! Rolling back because an annotation asks for it: `deprecated.deployment.rollback.to` names the revision, 0 the one before.
//!
//! kubectl copies the old template itself; this annotation is how clients of the first API ask the controller to.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use super::{
    TEMPLATE_HASH,
    fleet::{Fleet, normal_template},
    note,
    revision::{NOT_COPIED, copied, revision_of},
};
use crate::{
    effect::{Effect, Outcome, merge_patch},
    world::Kind,
};

/// The annotation.
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// The revision that is asked for; what is no number asks for nothing.
pub(super) fn asked(fleet: &Fleet<'_>) -> Option<i64> {
    fleet.deployment.metadata.annotations.as_ref()?.get(ROLLBACK_TO)?.parse().ok()
}

/// Takes the template and the annotations of the revision, and the request away.
pub(super) fn roll_back(fleet: &Fleet<'_>, asked: i64, outcome: &mut Outcome) {
    let mut tell = |warning: bool, reason: &str, message: String| {
        outcome.push(note(fleet.deployment, warning, reason, message));
    };
    let mut deployment = fleet.deployment.clone();
    let revision = if asked == 0 { last_revision(fleet) } else { asked };
    let set = fleet.sets().find(|set| revision > 0 && revision_of(set) == revision);
    match (set, &mut deployment.spec) {
        (Some(set), Some(spec)) => {
            let old = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
            let name = deployment.metadata.name.as_deref().unwrap_or_default();
            if normal_template(&old) == normal_template(&spec.template) {
                let message = format!(
                    "The rollback revision contains the same template as current deployment \"{name}\""
                );
                tell(true, "DeploymentRollbackTemplateUnchanged", message);
            } else {
                let message = format!("Rolled back deployment \"{name}\" to revision {revision}");
                tell(false, "DeploymentRollback", message);
                spec.template = old;
                if let Some(labels) =
                    spec.template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut())
                {
                    labels.remove(TEMPLATE_HASH);
                }
                deployment.metadata.annotations = Some(annotations_of(fleet, set));
            }
        }
        _ if asked == 0 => {
            tell(true, "DeploymentRollbackRevisionNotFound", "Unable to find last revision.".to_owned());
        }
        _ => {
            let message = "Unable to find the revision to rollback to.".to_owned();
            tell(true, "DeploymentRollbackRevisionNotFound", message);
        }
    }
    if let Some(annotations) = &mut deployment.metadata.annotations {
        annotations.remove(ROLLBACK_TO);
    }
    let value = |deployment| serde_json::to_value(deployment).unwrap_or(Value::Null);
    if let Some(patch) = merge_patch(&value(fleet.deployment), &value(&deployment)) {
        outcome.push(Effect::Patch { kind: Kind::Deployment, key: fleet.key(), status: false, patch });
    }
}

/// The annotations as they were with that revision, and those that are the Deployment's alone.
fn annotations_of(fleet: &Fleet<'_>, set: &ReplicaSet) -> BTreeMap<String, String> {
    let own = fleet.deployment.metadata.annotations.iter().flatten();
    let own = own.filter(|(name, _)| NOT_COPIED.contains(&name.as_str()));
    let mut annotations = copied(set.metadata.annotations.as_ref());
    annotations.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    annotations
}

/// The second highest revision; 0 if there is none.
fn last_revision(fleet: &Fleet<'_>) -> i64 {
    let mut revisions: Vec<i64> = fleet.sets().map(revision_of).collect();
    revisions.sort_unstable();
    revisions.iter().rev().nth(1).copied().unwrap_or(0)
}
