//! Which pod takes a request: what each policy is worth.

use super::estimate::{Fact, assert_facts, estimate};
use super::formulas::{erlang_arrivals_sojourn, supermarket_sojourn};
use super::station::{SERVICE_S, Station};

/// Pods of one core each, with requests that share it.
fn pods(pods: u32, concurrency: u32, utilisation: f64) -> Station {
    Station {
        pods,
        concurrency,
        cores: Some(1.0),
        requests: 100_000,
        ..Station::single(utilisation * f64::from(pods))
    }
}

/// Without a limit the activator takes the less loaded of two pods at random: with many pods that is the model of the power
/// of two choices, less than half as slow as a pod at random at 70 % (1.61 service times instead of 3.33). The formula is for
/// infinitely many; a hundred are about a hundredth away from it (Luczak and McDiarmid, Electronic Journal of Probability 12,
/// 2007: the distance is of order 1/n). Catches a choice between one pod and itself, the worse of two, and counts that
/// forget requests.
#[test]
fn the_better_of_two_pods_has_the_power_of_two_choices() {
    let utilisation = 0.7;
    let station = pods(100, 0, utilisation);
    let plan = station.plan();
    let interval = estimate(|seed| station.run(&plan, seed).mean_s());
    let theory_s = supermarket_sojourn(utilisation, SERVICE_S);
    println!("supermarket of 100 at 70 % | mean sojourn | {theory_s:.6} | {interval:?}");
    assert!(interval.lies_within(theory_s * 0.985, theory_s * 1.015), "{interval:?} instead of {theory_s}");
}

/// With a limit above 3 the pods take turns: each one gets every fourth request of a Poisson stream, so it is an E_4/M/1
/// queue. Catches a turn that starts again with every request, and turns that are lost when a pod has none in flight.
#[test]
fn pods_in_turn_are_queues_with_erlang_arrivals() {
    let utilisation = 0.8;
    // A limit that is hardly ever reached.
    let station = pods(4, 200, utilisation);
    let plan = station.plan();
    let facts = [Fact::new("mean sojourn", erlang_arrivals_sojourn(4, utilisation, SERVICE_S)).within(0.03)];
    assert_facts("round robin over 4 at 80 %", &facts, |seed| vec![station.run(&plan, seed).mean_s()]);
}
