//! Requests that share the cores of a pod.

use super::estimate::{Fact, assert_facts};
use super::formulas::mmc_wait;
use super::station::{SERVICE_S, Station};

/// A pod with `cores` that takes any number of requests.
fn sharing(cores: f64, offered: f64, service: &str) -> Station {
    Station {
        concurrency: 0,
        cores: Some(cores),
        requests: 80_000,
        ..Station::single(offered).serving(service)
    }
}

/// A CPU limit slows everybody down by the same factor, whatever the spread of the service times: a user who knows only
/// the mean can plan. Catches sharing by turns (then long requests hold up short ones and the spread matters).
#[test]
fn one_core_is_m_g_1_processor_sharing() {
    let utilisation = 0.6;
    for service in [
        "distribution: constant, mean: 10ms",
        "distribution: exponential, mean: 10ms",
        "distribution: lognormal, mean: 10ms, cv: 2",
    ] {
        let station = sharing(1.0, utilisation, service);
        let plan = station.plan();
        let facts = [Fact::new("mean sojourn", SERVICE_S / (1.0 - utilisation)).within(0.025)];
        assert_facts(&format!("M/G/1-PS at 60 %, {service}"), &facts, |seed| {
            vec![station.run(&plan, seed).mean_s()]
        });
    }
}

/// Long and short requests must be slowed down alike, by 1 / (1 - utilisation) in the mean: 2 ms requests beside 42 ms
/// ones wait no longer than their share. Catches any priority for either, which the mean over all would hide.
#[test]
fn a_shared_core_slows_short_and_long_requests_down_alike() {
    let utilisation = 0.7;
    let station = sharing(1.0, utilisation, "distribution: exponential, mean: 10ms");
    let plan = station.plan();
    let slowdown = 1.0 / (1.0 - utilisation);
    let facts =
        [Fact::new("slowdown of 2 ms requests", slowdown), Fact::new("slowdown of 42 ms requests", slowdown)];
    // 0.8 x 2 ms + 0.2 x 42 ms = 10 ms.
    assert_facts("M/G/1-PS at 70 %, two kinds", &facts, |seed| {
        let seen =
            station.run_with(&plan, seed, |stream| if stream.unit() < 0.8 { 2_000_000 } else { 42_000_000 });
        vec![
            seen.slowdown(|demand_ns| demand_ns < 10_000_000),
            seen.slowdown(|demand_ns| demand_ns > 10_000_000),
        ]
    });
}

/// Several cores: nobody is faster than on one core, and together they are as full as M/M/c, for any distribution of
/// service times (a symmetric queue). Catches requests that run on more than one core at once.
#[test]
fn several_cores_are_m_g_c_processor_sharing() {
    let (cores, offered) = (4, 3.2);
    for service in ["distribution: exponential, mean: 10ms", "distribution: lognormal, mean: 10ms, cv: 1.5"] {
        let station = sharing(f64::from(cores), offered, service);
        let plan = station.plan();
        let facts =
            [Fact::new("mean sojourn", SERVICE_S + mmc_wait(cores, offered, SERVICE_S)).within(0.025)];
        assert_facts(&format!("M/G/4-PS at 80 %, {service}"), &facts, |seed| {
            vec![station.run(&plan, seed).mean_s()]
        });
    }
}
