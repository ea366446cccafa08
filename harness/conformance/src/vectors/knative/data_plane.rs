//! Breaker and throttler.

use windtunnel_kernel::routing::breaker::{Breaker, Offer};
use windtunnel_kernel::routing::throttler::{
    Share, capacity, infer_index as index_of, pick_indices as slice_of,
};

use super::super::check::Checks;
use super::super::fields::{Fields, Operation};

/// Requests come and go; expected are the ordinals (from 1) of the requests that are turned away.
pub(super) fn breaker(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let played = Played::of(inputs)?;
    expect.get::<Vec<u32>>("rejected_request_ordinals")?;
    checks.equal(expect, "rejected_request_ordinals", &played.rejected)?;
    checks.equal(expect, "capacities", &played.capacities)?;
    checks.equal(expect, "reserve_ok", &played.reserved)
}

/// Reservations never wait; expected is which of them succeed.
pub(super) fn breaker_reserve(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let played = Played::of(inputs)?;
    expect.get::<Vec<bool>>("reserve_ok")?;
    checks.equal(expect, "reserve_ok", &played.reserved)?;
    checks.equal(expect, "rejected_request_ordinals", &played.rejected)
}

/// What came of a breaker's operations.
#[derive(Default)]
struct Played {
    rejected: Vec<u32>,
    reserved: Vec<bool>,
    /// After every update.
    capacities: Vec<u32>,
}

impl Played {
    fn of(inputs: &Fields<'_>) -> Result<Self, String> {
        let mut breaker = read_breaker(inputs)?;
        let mut played = Self::default();
        let mut requests = 0;
        // What became of the latest request: a request that was turned away has nothing left to cancel.
        let mut latest = Offer::Queue;
        for operation in inputs.get::<Vec<Operation>>("ops")? {
            if operation.name == "update" {
                let [capacity] = operation.take()?;
                breaker.update_capacity(count(&operation, capacity)?);
                played.capacities.push(breaker.capacity());
                continue;
            }
            let [] = operation.take()?;
            match operation.name.as_str() {
                "request" => {
                    requests += 1;
                    latest = breaker.offer();
                    if latest == Offer::Reject {
                        played.rejected.push(requests);
                    }
                }
                "reserve" => played.reserved.push(breaker.reserve()),
                "finish" | "release" => {
                    breaker.finish();
                }
                "cancel" if latest == Offer::Reject => {}
                "cancel" => breaker.abandon(),
                _ => return Err(operation.unknown("request, reserve, finish, release, cancel, update")),
            }
        }
        Ok(played)
    }
}

fn read_breaker(inputs: &Fields<'_>) -> Result<Breaker, String> {
    let (queue_depth, max_concurrency) = (inputs.get("queue_depth")?, inputs.get("max_concurrency")?);
    let capacity = inputs.get("initial_capacity")?;
    if queue_depth == 0 {
        return Err("inputs.queue_depth: must be at least 1, as upstream asks".to_string());
    }
    if capacity > max_concurrency {
        return Err(format!(
            "inputs.initial_capacity: {capacity} is over max_concurrency ({max_concurrency})"
        ));
    }
    Ok(Breaker::new(queue_depth, max_concurrency, capacity))
}

/// A number of an operation that counts something.
fn count(operation: &Operation, number: f64) -> Result<u32, String> {
    let is_count = number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0;
    is_count.then_some(number as u32).ok_or_else(|| {
        format!("{}: {number} is no count, take a whole number of at least 0", operation.place)
    })
}

pub(super) fn throttler_capacity(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let index: i64 = inputs.get("activator_index")?;
    let found = capacity(&Share {
        container_concurrency: inputs.get("container_concurrency")?,
        backends: inputs.get("backends")?,
        pod_trackers: inputs.get("pod_trackers")?,
        activators: inputs.get("num_activators")?,
        index: u32::try_from(index).ok(),
    });
    checks.equal(expect, "capacity", &found)
}

pub(super) fn pick_indices(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let found = slice_of(inputs.get("pods")?, inputs.get("self_index")?, inputs.get("activators")?);
    checks.equal(expect, "begin", &found.own.start)?;
    checks.equal(expect, "end", &found.own.end)?;
    checks.equal(expect, "remnants", &found.remnants)
}

pub(super) fn infer_index(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let addresses: Vec<String> = inputs.get("ips")?;
    let own: String = inputs.get("self_ip")?;
    let found = index_of(&addresses, &own).and_then(|index| i64::try_from(index).ok()).unwrap_or(-1);
    checks.equal(expect, "index", &found)
}
