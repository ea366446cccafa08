//! The kernels of the Kubernetes HorizontalPodAutoscaler.

mod behaviour;
mod calculator;

use windtunnel_kernel::Profile;
use windtunnel_kernel::autoscale::hpa::Options;

use super::Kernel;
use super::fields::Fields;

/// Every kernel with its name.
pub(crate) const KERNELS: &[(&str, Kernel)] = &[
    ("hpa.behaviour_rate", behaviour::rate),
    ("hpa.convert_with_rules", behaviour::convert_with_rules),
    ("hpa.group_pod_cpu", calculator::group_pod_cpu),
    ("hpa.object_value", calculator::object_value),
    ("hpa.per_pod_value", calculator::per_pod_value),
    ("hpa.pods_metric", calculator::pods_metric),
    ("hpa.resource_utilization", calculator::resource_utilization),
    ("hpa.scale_down_limit", behaviour::scale_down_limit),
    ("hpa.scale_up_limit", behaviour::scale_up_limit),
    ("hpa.stabilize_behaviour", behaviour::stabilize_behaviour),
    ("hpa.stabilize_legacy", behaviour::stabilize_legacy),
];

const SECOND_NS: i64 = 1_000_000_000;

/// Where a vector's time zero ("now") lies.
const NOW_NS: i64 = 1_700_000_000 * SECOND_NS;

/// Seconds relative to now as an instant.
fn instant_ns(seconds: f64) -> u64 {
    NOW_NS.saturating_add((seconds * 1e9).round() as i64).max(0) as u64
}

fn now_ns() -> u64 {
    instant_ns(0.0)
}

/// Upstream's own behaviour: the vectors are facts of upstream's tests, which use shorter CPU delays.
fn options(inputs: &Fields<'_>) -> Result<Options, String> {
    let mut options = Options::of(Profile::Upstream);
    if let Some(version) = inputs.opt::<String>("version")? {
        options.version = windtunnel_kernel::autoscale::hpa::Version::ALL
            .into_iter()
            .find(|known| known.name() == version)
            .ok_or_else(|| {
                format!("{}: {version:?} is no release that is known here", inputs.at("version"))
            })?;
    }
    options.cpu_initialization_period_ns = 120 * SECOND_NS as u64;
    options.initial_readiness_delay_ns = 10 * SECOND_NS as u64;
    Ok(options)
}
