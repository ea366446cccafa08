//! The way to zero: the stable window, and then the grace period unless the activator was in the path already.

use super::replicas;
use crate::setting::{MS, S, Setting, fly_at};

/// Windows and grace of six seconds, at zero since the beginning; the first request comes at 10 s.
///
/// Nothing was ever decided for this revision, not even that it is to be at zero, so the request does not poke the
/// autoscaler (that takes a decision of zero): the tick of 10.5 s makes the pod. It is ready at 11.5.
fn sleepy(autoscaler: &str, annotations: &str) -> windtunnel_sim::Plan {
    let setting = Setting {
        annotations: format!("autoscaling.knative.dev/initial-scale: '0'{annotations}"),
        autoscaler: format!(
            "allow-zero-initial-scale: 'true', stable-window: 6s, scale-to-zero-grace-period: 6s{autoscaler}"
        ),
        ..Setting::default()
    };
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    plan
}

/// An idle replica is paid for until exactly here; with the default burst capacity the activator is always in the path.
///
/// The answer is there at 11.505, so the report of 12 s is 0.505. The window of six seconds has it until second 17: at the
/// tick of 16.5 it wants one pod, at 18.5 none.
/// The revision has been active since 11, longer than the window: inactive at 18.5. The activator has been in the path
/// since the beginning (100 - 211 < 0), longer than the grace: zero as soon as the written status is seen, 5 ms later.
#[test]
fn zero_comes_after_the_window_when_the_activator_is_in_the_path() {
    let recording = fly_at(&sleepy("", ""), &[10 * S]);
    assert_eq!(replicas(&recording), [(10_500, 1), (18_505, 0)]);
}

/// With no burst capacity the activator leaves the path, so it has to be there for the grace period first.
///
/// As above until 18.5. Then the path leads through the activator again; statuses have whole seconds, so it counts from 18 s,
/// and six seconds later, at 24, the pod goes.
///
/// Catches a grace period that is counted from the last request, or left out.
#[test]
fn zero_comes_after_window_and_grace_when_it_is_not() {
    let recording = fly_at(&sleepy(", target-burst-capacity: '0'", ""), &[10 * S]);
    assert_eq!(replicas(&recording), [(10_500, 1), (24_000, 0)]);
}

/// Who asks for the last pod to be kept must get that, from the instant at which the revision is inactive: 18 s + 15 s.
#[test]
fn the_last_pod_is_retained() {
    let annotations = ", autoscaling.knative.dev/scale-to-zero-pod-retention-period: 15s";
    let recording = fly_at(&sleepy("", annotations), &[10 * S]);
    assert_eq!(replicas(&recording), [(10_500, 1), (33_000, 0)]);
}

/// A request within the grace period keeps the pod and takes no cold start, and the whole time starts anew.
///
/// As above, and a request at 22.0, in the grace period: the decision was zero, so it pokes: one pod is wanted, which is
/// there. Its answer is there at 22.005; the immediate report puts a 1 into the bucket of 22, which the window has until 27;
/// at 28.5 none is wanted. The revision has been active since 22 (the poke), 6.5 s: inactive at 28.5. The activator left
/// the path with the poke and is back since 28: the pod goes at 34.
#[test]
fn a_request_in_the_grace_period_starts_everything_anew() {
    let recording = fly_at(&sleepy(", target-burst-capacity: '0'", ""), &[10 * S, 22 * S]);
    assert_eq!(replicas(&recording), [(10_500, 1), (34_000, 0)]);
    assert_eq!(recording.cold_starts.len(), 1);
    let last = recording.requests.iter().max_by_key(|request| request.intended_ns).expect("two");
    assert_eq!(last.latency_ns, 5 * MS);
}
