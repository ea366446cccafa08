//! Whether a workload is ready.

use windtunnel_kernel::rollout::flagger::workload::{Workload, deployment_readiness};

use super::super::check::Checks;
use super::super::fields::{Fields, Length};

/// Now: late enough for any time that a vector looks back.
const NOW_NS: u64 = 1_000_000_000 * 1_000_000_000;

pub(super) fn deployment_ready(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let unavailable_since_ns = match inputs.opt::<Length>("min_unavailable_s_ago")? {
        None => None,
        Some(ago) => Some(
            NOW_NS
                .checked_sub(ago.ns)
                .ok_or_else(|| format!("{}: lies too far back", inputs.at("min_unavailable_s_ago")))?,
        ),
    };
    let workload = Workload {
        generation: inputs.get("generation")?,
        observed_generation: inputs.get("observed_generation")?,
        spec_replicas: inputs.opt("spec_replicas")?,
        replicas: inputs.count("replicas")?,
        updated: inputs.count("updated")?,
        available: inputs.count("available")?,
        progressing_reason: inputs.opt("progressing_reason")?,
        unavailable_since_ns,
    };
    let found =
        deployment_readiness(&workload, inputs.count("deadline_s")?, inputs.count("threshold")?, NOW_NS);
    checks.equal(expect, "ready", &found.is_ready())?;
    checks.equal(expect, "retriable", &found.is_retriable())
}
