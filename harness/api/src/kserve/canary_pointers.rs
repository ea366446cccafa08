//! Which revision is "the last fully rolled out one": the two pointers that KServe's Knative canary is made of, and
//! the traffic that follows from them. The rules are the kernel's; this file translates objects.

use windtunnel_kernel::rollout::kserve::knative::{self as rules, ObservedTarget, Pointers};

use super::status_types::ComponentStatus;
use crate::knative::{ServiceStatus, TrafficTarget};

/// Moves the pointers `latestRolledoutRevision` and `previousRolledoutRevision` as the traffic of the
/// Knative Service says, see [`rules::propagate`].
pub(super) fn advance(component: &mut ComponentStatus, service: &ServiceStatus) {
    let Some(ready) = service.latest_ready_revision_name.clone() else { return };
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    let pointers = Pointers {
        latest_created_revision: text(&component.latest_created_revision),
        latest_ready_revision: text(&component.latest_ready_revision),
        latest_rolledout_revision: text(&component.latest_rolledout_revision),
        previous_rolledout_revision: text(&component.previous_rolledout_revision),
    };
    let observed = rules::ServiceStatus {
        latest_created_revision_name: text(&service.latest_created_revision_name),
        latest_ready_revision_name: ready,
        traffic: service
            .traffic
            .iter()
            .map(|target| ObservedTarget {
                revision_name: text(&target.revision_name),
                latest_revision: target.latest_revision == Some(true),
                percent: target.percent,
            })
            .collect(),
    };
    let next = rules::propagate(&pointers, &observed);
    let name = |name: String| Some(name).filter(|name| !name.is_empty());
    component.latest_rolledout_revision = name(next.latest_rolledout_revision);
    component.previous_rolledout_revision = name(next.previous_rolledout_revision);
}

/// The traffic that an InferenceService's predictor asks of its Knative Service, see [`rules::traffic_targets`].
pub(super) fn traffic(
    canary_percent: Option<i64>,
    component: Option<&ComponentStatus>,
    tag_routing: bool,
) -> Vec<TrafficTarget> {
    let rolled_out = component.and_then(|status| status.latest_rolledout_revision.as_deref());
    let targets = rules::traffic_targets(canary_percent, rolled_out.unwrap_or_default(), tag_routing);
    let object = |target: rules::TrafficTarget| TrafficTarget {
        latest_revision: Some(target.revision_name.is_none()),
        revision_name: target.revision_name,
        percent: Some(target.percent),
        tag: target.tag,
        ..TrafficTarget::default()
    };
    targets.into_iter().map(object).collect()
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
        // ksvc_reconciler.go tags the target of everything, too, where the annotation asks for it.
        let tags = |percent, component, tag_routing| -> Vec<(Option<bool>, Option<String>)> {
            let targets = traffic(percent, component, tag_routing);
            targets.into_iter().map(|target| (target.latest_revision, target.tag)).collect()
        };
        let (latest, previous) = (Some("latest".to_owned()), Some("prev".to_owned()));
        assert_eq!(
            tags(Some(10), Some(&rolled), true),
            [(Some(true), latest.clone()), (Some(false), previous.clone())]
        );
        assert_eq!(tags(Some(10), Some(&rolled), false), [(Some(true), None), (Some(false), previous)]);
        assert_eq!(tags(Some(100), Some(&rolled), true), [(Some(true), latest.clone())]);
        assert_eq!(tags(None, Some(&rolled), true), [(Some(true), latest.clone())]);
        assert_eq!(tags(None, None, true), [(Some(true), latest)]);
        assert_eq!(tags(None, Some(&rolled), false), [(Some(true), None)]);
    }
}
