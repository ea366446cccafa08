//! Users who send, wait for the answer, think, and send again.

use super::estimate::{Fact, assert_facts};
use super::formulas::closed_loop;
use super::station::{SERVICE_S, Station};

/// Mean time to think, in seconds: ten services.
const THINK_S: f64 = 0.1;

fn assert_closed_loop(users: u32, servers: u32, think: &str) {
    let (throughput, response) = closed_loop(users, servers, THINK_S, SERVICE_S);
    let station = Station {
        pods: servers,
        users: Some((users, think.to_owned())),
        requests: 40_000,
        // As many as these users send, so that the run has about that many requests.
        ..Station::single(throughput * SERVICE_S)
    };
    let plan = station.plan();
    let facts = [Fact::new("throughput", throughput), Fact::new("mean response", response)];
    assert_facts(&format!("{users} users at {servers} servers, {think}"), &facts, |seed| {
        let seen = station.run(&plan, seed);
        vec![seen.throughput_per_s(), seen.mean_s()]
    });
}

/// People slow down when answers are slow: who plans for them with an open loop buys too much, and who simulates them wrongly
/// too little. Below, at and beyond the knee of N = 11 users a server. Catches users who send before they have their answer,
/// who think from the time of sending on, or who think all at the same time.
#[test]
fn few_and_many_users_are_a_closed_network() {
    for users in [4, 11, 20] {
        assert_closed_loop(users, 1, "distribution: exponential, mean: 100ms");
    }
}

/// Of the time to think only the mean matters.
#[test]
fn the_spread_of_think_times_does_not_matter() {
    for think in ["distribution: lognormal, mean: 100ms, cv: 1.5", "distribution: constant, mean: 100ms"] {
        assert_closed_loop(25, 2, think);
    }
}
