//! Several servers behind one queue, with and without room to wait.

use super::estimate::{Fact, assert_facts};
use super::formulas::{erlang_b, erlang_c, mmc_sojourn_tail, mmc_wait, mmc_wait_quantile, mmck};
use super::station::{SERVICE_S, Station, exponential, mean_of, quantile_of};
use crate::setting::{Setting, fly};

/// How many wait and for how long is what a number of replicas is bought for. Catches pods that keep queues of their own
/// (then more wait), a slot too many or too few, and a line that is not first come first served (the quantile).
fn assert_waiting(pods: u32, concurrency: u32, utilisation: f64, requests: u32) {
    let servers = pods * concurrency;
    let offered = utilisation * f64::from(servers);
    let station = Station { pods, concurrency, requests, ..Station::single(offered) };
    let plan = station.plan();
    let late = mmc_wait_quantile(servers, offered, SERVICE_S, 0.95);
    let facts = [
        Fact::new("P(wait)", erlang_c(servers, offered)),
        Fact::new("mean wait", mmc_wait(servers, offered, SERVICE_S)).within(0.03),
        Fact::new("p95 of wait", late).within(0.035),
    ];
    let system = format!("M/M/{servers} at {utilisation}, {pods} pods of {concurrency}");
    assert_facts(&system, &facts, |seed| {
        let waits = station.run_with(&plan, seed, exponential).waits_s();
        let waiting = waits.iter().filter(|wait| **wait > 0.0).count() as f64 / waits.len() as f64;
        vec![waiting, mean_of(&waits), quantile_of(waits, 0.95)]
    });
}

/// Pods that take one at a time.
#[test]
fn waiting_for_four_pods_is_that_of_m_m_4() {
    assert_waiting(4, 1, 0.8, 150_000);
}

/// One pod that takes ten at a time.
#[test]
fn waiting_for_ten_slots_is_that_of_m_m_10() {
    assert_waiting(1, 10, 0.75, 350_000);
}

/// Pods that take turns because each one takes several: full ones must be passed over.
#[test]
fn waiting_for_five_pods_of_four_is_that_of_m_m_20() {
    assert_waiting(5, 4, 0.85, 600_000);
}

/// The same with the simulator's own service times: what a report shows of such a service. Catches service times that
/// depend on the time or the place of a request.
#[test]
fn latencies_behind_pods_are_those_of_m_m_c() {
    let (servers, offered) = (3, 2.1);
    let station = Station { pods: 3, requests: 100_000, ..Station::single(offered) };
    let plan = station.plan();
    let (middle_s, late_s) = (SERVICE_S, 4.0 * SERVICE_S);
    let tail = |time_s| mmc_sojourn_tail(servers, offered, SERVICE_S, time_s);
    let facts = [
        Fact::new("mean sojourn", SERVICE_S + mmc_wait(servers, offered, SERVICE_S)),
        Fact::new("P(sojourn > 10 ms)", tail(middle_s)),
        Fact::new("P(sojourn > 40 ms)", tail(late_s)).within(0.03),
    ];
    assert_facts("M/M/3 at 70 %", &facts, |seed| {
        let seen = station.run(&plan, seed);
        vec![seen.mean_s(), seen.longer_than(middle_s), seen.longer_than(late_s)]
    });
}

/// Errors when full are what a bound costs: a plan with `most_in_flight` = K is M/M/c/K, the request that would be number
/// K + 1 is refused. Catches a bound that is off by one.
#[test]
fn losses_of_a_bounded_line_are_those_of_m_m_c_k() {
    for (servers, places, offered) in [(1, 3, 0.9), (2, 6, 2.0), (4, 5, 4.0)] {
        let station =
            Station { pods: servers, places: Some(places), requests: 60_000, ..Station::single(offered) };
        let plan = station.plan();
        let theory = mmck(servers, places, offered, SERVICE_S);
        let facts = [Fact::new("loss", theory.loss), Fact::new("mean sojourn", theory.sojourn)];
        assert_facts(&format!("M/M/{servers}/{places} at {offered} erlangs"), &facts, |seed| {
            let seen = station.run(&plan, seed);
            vec![seen.loss(), seen.mean_s()]
        });
    }
}

/// Without room to wait the losses depend on the mean service time only (Sevastyanov 1957), whatever its distribution.
/// Catches a refused request that still takes a server, or a server that is given back before the request is through.
#[test]
fn losses_without_a_line_are_erlangs_b() {
    let (servers, offered) = (10, 8.0);
    for service in [
        "distribution: exponential, mean: 10ms",
        "distribution: constant, mean: 10ms",
        "distribution: lognormal, mean: 10ms, cv: 2",
    ] {
        let station = Station {
            concurrency: servers,
            places: Some(servers),
            requests: 60_000,
            ..Station::single(offered).serving(service)
        };
        let plan = station.plan();
        let facts = [Fact::new("loss", erlang_b(servers, offered)), Fact::new("mean sojourn", SERVICE_S)];
        assert_facts(&format!("M/G/10/10 at 8 erlangs, {service}"), &facts, |seed| {
            let seen = station.run(&plan, seed);
            vec![seen.loss(), seen.mean_s()]
        });
    }
}

/// The same requests in the same queue take the same time, however the servers are cut into pods.
#[test]
fn cutting_servers_into_pods_changes_nothing() {
    let times = |pods: u32, concurrency: u32| -> Vec<u64> {
        let setting = Setting {
            predictor: format!(
                "minReplicas: {pods}, maxReplicas: {pods}, containerConcurrency: {concurrency}"
            ),
            load: "process: poisson, phases: [{for: 1000s, rate: 240/s}]".to_owned(),
            duration: "1000s".to_owned(),
            timeout: "10m".to_owned(),
            service_time: "distribution: exponential, mean: 10ms".to_owned(),
            ..Setting::default()
        };
        let (recording, _) = fly(&setting.plan(), 5);
        recording.requests.iter().map(|request| request.latency_ns).collect()
    };
    assert_eq!(times(1, 3), times(3, 1));
}
