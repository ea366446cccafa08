//! Breaker and throttler.

use windtunnel_kernel::routing::breaker::{Breaker, Offer};
use windtunnel_kernel::routing::throttler::{
    QUEUE_DEPTH, Share, capacity, infer_index as index_of, pick_indices as slice_of,
};

use super::super::check::Checks;
use super::super::fields::{Fields, Operation};

/// Requests come and go; expected are the ordinals (from 1) of the requests that are turned away.
pub(super) fn breaker(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let played = Played::of(inputs)?;
    expect.get::<Vec<u32>>("rejected_request_ordinals")?;
    checks.equal(expect, "rejected_request_ordinals", &played.rejected)?;
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
}

impl Played {
    fn of(inputs: &Fields<'_>) -> Result<Self, String> {
        let mut breaker = read_breaker(inputs)?;
        let mut played = Self::default();
        let mut requests = 0;
        for operation in inputs.get::<Vec<Operation>>("ops")? {
            if operation.name == "update" {
                let [capacity] = operation.take()?;
                breaker.update_capacity(capacity as u32);
                continue;
            }
            let [] = operation.take()?;
            match operation.name.as_str() {
                "request" => {
                    requests += 1;
                    if breaker.offer() == Offer::Reject {
                        played.rejected.push(requests);
                    }
                }
                "reserve" => played.reserved.push(breaker.reserve()),
                "finish" | "release" => {
                    breaker.finish();
                }
                "cancel" => breaker.abandon(),
                _ => return Err(operation.unknown("request, reserve, finish, release, cancel, update")),
            }
        }
        Ok(played)
    }
}

fn read_breaker(inputs: &Fields<'_>) -> Result<Breaker, String> {
    let max_concurrency = inputs.get("max_concurrency")?;
    let capacity = inputs.or("initial_capacity", max_concurrency)?;
    Ok(Breaker::new(inputs.or("queue_depth", QUEUE_DEPTH)?, max_concurrency, capacity))
}

pub(super) fn throttler_capacity(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let index: i64 = inputs.or("activator_index", 0)?;
    let found = capacity(&Share {
        container_concurrency: inputs.or("container_concurrency", 0)?,
        backends: inputs.or("backends", 0)?,
        pod_trackers: inputs.or("pod_trackers", 0)?,
        activators: inputs.or("num_activators", 0)?,
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
