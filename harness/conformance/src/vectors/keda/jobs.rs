//! ScaledJob strategies, and Kafka's even distribution.

use windtunnel_kernel::autoscale::keda::scaled_job::{Jobs, Strategy};
use windtunnel_kernel::autoscale::keda::triggers::kafka;

use super::super::check::Checks;
use super::super::fields::Fields;

pub(super) fn strategy(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let deduction = inputs.opt::<i64>("queue_length_deduction")?;
    let running_share = inputs.opt::<f64>("running_job_percentage")?;
    let strategy = match inputs.get::<String>("strategy")?.as_str() {
        "default" => Strategy::Default,
        "custom" => match running_share {
            // Without a share upstream takes the default strategy.
            None => Strategy::Default,
            Some(running_share) => Strategy::Custom { deduction: deduction.unwrap_or(0), running_share },
        },
        "accurate" => Strategy::Accurate,
        "eager" => Strategy::Eager,
        other => return Err(format!("{}: {other:?} is not known", inputs.at("strategy"))),
    };
    let jobs = Jobs { running: inputs.get("running")?, pending: inputs.or("pending", 0)? };
    let max_replicas = inputs.get("max_replica_count")?;
    let scale_to_before = inputs.or("scale_to", 1)?;
    let (effective, scale_to) =
        strategy.effective(inputs.get("max_scale")?, jobs, max_replicas, scale_to_before);
    checks.equal(expect, "effective_max_scale", &effective)?;
    checks.equal(expect, "scale_to", &scale_to)
}

pub(super) fn even_factor(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let found =
        kafka::even_factor(inputs.get("total_lag")?, inputs.get("partitions")?, inputs.get("lag_threshold")?);
    checks.equal(expect, "factor", &found)
}
