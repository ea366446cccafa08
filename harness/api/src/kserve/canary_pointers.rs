//! Which revision is "the last fully rolled out one": the two pointers that KServe's Knative canary is
//! made of.

use super::status_types::ComponentStatus;
use crate::knative::{ServiceStatus, TrafficTarget};

/// Moves the pointers `latestRolledoutRevision` and `previousRolledoutRevision` as the traffic of the
/// Knative Service says:
/// * the newest ready revision has all traffic: it becomes the rolled-out one, the old one the previous;
/// * the rolled-out revision is split against itself (a full roll-out was taken back by setting the canary
///   percentage below 100): the previous one becomes the rolled-out one again, so that the next rendering
///   routes the rest to it.
pub(super) fn advance(component: &mut ComponentStatus, service: &ServiceStatus) {
    let Some(ready) = service.latest_ready_revision_name.as_deref() else { return };
    let follows_latest = |target: &&TrafficTarget| {
        target.latest_revision == Some(true) && target.revision_name.as_deref() == Some(ready)
    };
    let share: i64 = service
        .traffic
        .iter()
        .filter(|target| target.revision_name.as_deref() == Some(ready))
        .filter_map(|target| target.percent)
        .sum();
    for target in service.traffic.iter().filter(follows_latest) {
        let Some(percent) = target.percent else { continue };
        if component.latest_rolledout_revision.as_deref() != Some(ready) {
            if percent == 100 {
                component.previous_rolledout_revision = component.latest_rolledout_revision.take();
                component.latest_rolledout_revision = Some(ready.to_owned());
            }
        } else if service.latest_created_revision_name.as_deref() == Some(ready)
            && percent < 100
            && share == 100
            && component.previous_rolledout_revision.is_some()
        {
            component.latest_rolledout_revision.clone_from(&component.previous_rolledout_revision);
        }
    }
}

/// The traffic that an InferenceService's predictor asks of its Knative Service.
/// Without a percentage, or before anything has been rolled out, everything goes to the newest revision.
pub(super) fn traffic(
    canary_percent: Option<i64>,
    component: Option<&ComponentStatus>,
    tag_routing: bool,
) -> Vec<TrafficTarget> {
    let rolled_out = component.and_then(|status| status.latest_rolledout_revision.as_deref());
    let (Some(percent), Some(rolled_out)) = (canary_percent, rolled_out.filter(|name| !name.is_empty()))
    else {
        return vec![TrafficTarget {
            latest_revision: Some(true),
            percent: Some(100),
            ..TrafficTarget::default()
        }];
    };
    let mut targets = vec![TrafficTarget {
        latest_revision: Some(true),
        percent: Some(percent),
        tag: tag_routing.then(|| "latest".to_owned()),
        ..TrafficTarget::default()
    }];
    if percent < 100 {
        targets.push(TrafficTarget {
            revision_name: Some(rolled_out.to_owned()),
            latest_revision: Some(false),
            percent: Some(100 - percent),
            tag: Some("prev".to_owned()),
            ..TrafficTarget::default()
        });
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(revision: &str, latest: bool, percent: i64) -> TrafficTarget {
        TrafficTarget {
            revision_name: Some(revision.to_owned()),
            latest_revision: Some(latest),
            percent: Some(percent),
            ..TrafficTarget::default()
        }
    }

    fn service(created: &str, ready: &str, traffic: Vec<TrafficTarget>) -> ServiceStatus {
        ServiceStatus {
            latest_created_revision_name: Some(created.to_owned()),
            latest_ready_revision_name: Some(ready.to_owned()),
            traffic,
            ..ServiceStatus::default()
        }
    }

    fn pointers(component: &ComponentStatus) -> (Option<&str>, Option<&str>) {
        (component.latest_rolledout_revision.as_deref(), component.previous_rolledout_revision.as_deref())
    }

    /// A canary would be measured against the wrong revision, or a rollback would go nowhere, if one of
    /// these steps moved a pointer differently.
    #[test]
    fn a_rollout_a_canary_its_promotion_and_a_rollback() {
        let mut component = ComponentStatus::default();
        advance(&mut component, &service("v1", "v1", vec![target("v1", true, 100)]));
        assert_eq!(pointers(&component), (Some("v1"), None));
        // The canary is created but not ready: "latest" still means v1.
        let split = vec![target("v1", true, 10), target("v1", false, 90)];
        advance(&mut component, &service("v2", "v1", split));
        assert_eq!(pointers(&component), (Some("v1"), None));
        let split = vec![target("v2", true, 10), target("v1", false, 90)];
        advance(&mut component, &service("v2", "v2", split));
        assert_eq!(pointers(&component), (Some("v1"), None));
        // A second update while the first is a canary keeps v1 as the base.
        let split = vec![target("v3", true, 10), target("v1", false, 90)];
        advance(&mut component, &service("v3", "v3", split));
        assert_eq!(pointers(&component), (Some("v1"), None));
        advance(&mut component, &service("v3", "v3", vec![target("v3", true, 100)]));
        assert_eq!(pointers(&component), (Some("v3"), Some("v1")));
        // Rollback after full rollout: v3 is split against itself, the pointer falls back to v1.
        let split = vec![target("v3", true, 0), target("v3", false, 100)];
        advance(&mut component, &service("v3", "v3", split));
        assert_eq!(pointers(&component), (Some("v1"), Some("v1")));
    }

    /// The very first revision must get all traffic even when a canary percentage is set.
    #[test]
    fn shares() {
        let rolled =
            ComponentStatus { latest_rolledout_revision: Some("v1".into()), ..ComponentStatus::default() };
        let shares = |percent, component: Option<&ComponentStatus>| -> Vec<(Option<String>, i64)> {
            let targets = traffic(percent, component, false);
            targets
                .into_iter()
                .map(|target| (target.revision_name, target.percent.unwrap_or_default()))
                .collect()
        };
        assert_eq!(shares(Some(10), None), [(None, 100)]);
        assert_eq!(shares(None, Some(&rolled)), [(None, 100)]);
        assert_eq!(shares(Some(10), Some(&rolled)), [(None, 10), (Some("v1".into()), 90)]);
        assert_eq!(shares(Some(0), Some(&rolled)), [(None, 0), (Some("v1".into()), 100)]);
        assert_eq!(shares(Some(100), Some(&rolled)), [(None, 100)]);
        assert_eq!(traffic(Some(10), Some(&rolled), true)[0].tag.as_deref(), Some("latest"));
    }
}
