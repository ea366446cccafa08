//! One pod that computes one request at a time.

use windtunnel_sim::engine::Stream;

use super::estimate::{Fact, assert_facts};
use super::formulas::{md1_wait_within, mg1_wait, mm1_sojourn_quantile, mmc_wait, pareto_cv};
use super::station::{SERVICE_S, Station, mean_of};

/// Every latency that a user plans with starts from this queue. Catches a service time that is scaled, requests that are
/// served out of turn (the quantiles change, the mean does not) and a slot that is freed late.
#[test]
fn one_server_is_m_m_1() {
    let utilisation = 0.7;
    let station = Station { requests: 120_000, ..Station::single(utilisation) };
    let plan = station.plan();
    let quantile = |share| mm1_sojourn_quantile(utilisation, SERVICE_S, share);
    let facts = [
        Fact::new("mean sojourn", SERVICE_S + mmc_wait(1, utilisation, SERVICE_S)),
        Fact::new("median", quantile(0.5)),
        Fact::new("p90", quantile(0.9)),
        Fact::new("p99", quantile(0.99)).within(0.03),
    ];
    assert_facts("M/M/1 at 70 %", &facts, |seed| {
        let seen = station.run(&plan, seed);
        vec![seen.mean_s(), seen.quantile_s(0.5), seen.quantile_s(0.9), seen.quantile_s(0.99)]
    });
}

/// Constant service times wait half as long as exponential ones: a user who measured them must get that. Catches jitter
/// in the arrivals (they would be no Poisson stream) and a service time that is drawn although it is constant.
#[test]
fn constant_service_is_m_d_1() {
    let utilisation = 0.8;
    let station = Station::single(utilisation).serving("distribution: constant, mean: 10ms");
    let plan = station.plan();
    // Erlang's distribution at one point: at most two service times of waiting.
    let (point_s, most_s) = (2.0 * SERVICE_S, 3.0 * SERVICE_S);
    let facts = [
        Fact::new("mean wait", mg1_wait(utilisation, SERVICE_S, 0.0)),
        Fact::new("P(wait > 0)", utilisation),
        Fact::new("P(wait > 2 services)", 1.0 - md1_wait_within(utilisation, SERVICE_S, point_s)),
    ];
    assert_facts("M/D/1 at 80 %", &facts, |seed| {
        let seen = station.run(&plan, seed);
        vec![seen.mean_s() - SERVICE_S, seen.longer_than(SERVICE_S), seen.longer_than(most_s)]
    });
}

/// The spread of service times decides how long requests wait; the formula takes nothing but mean and variance.
fn assert_mg1(name: &str, service: &str, cv: f64, requests: u32) {
    let utilisation = 0.6;
    let station = Station { requests, ..Station::single(utilisation).serving(service) };
    let plan = station.plan();
    let facts = [
        Fact::new("mean sojourn", SERVICE_S + mg1_wait(utilisation, SERVICE_S, cv)),
        Fact::new("mean wait", mg1_wait(utilisation, SERVICE_S, cv)),
    ];
    assert_facts(&format!("M/G/1 at 60 %, {name}"), &facts, |seed| {
        let mean_s = station.run(&plan, seed).mean_s();
        vec![mean_s, mean_s - SERVICE_S]
    });
}

/// Catches a sigma of the normal distribution that is taken for the coefficient of variation.
#[test]
fn lognormal_service_waits_by_pollaczek_and_khinchine() {
    assert_mg1("lognormal, cv 1.5", "distribution: lognormal, mean: 10ms, cv: 1.5", 1.5, 200_000);
}

/// Catches shape and scale of the gamma distribution swapped, on both sides of the exponential.
#[test]
fn gamma_service_waits_by_pollaczek_and_khinchine() {
    assert_mg1("gamma, cv 0.5", "distribution: gamma, mean: 10ms, cv: 0.5", 0.5, 60_000);
    assert_mg1("gamma, cv 1.5", "distribution: gamma, mean: 10ms, cv: 1.5", 1.5, 150_000);
}

/// Catches a Pareto distribution that starts at 0 (Lomax), or whose shape is that of the density. The minimum is
/// mean (shape - 1) / shape; with a shape above 4 the interval of the mean is one of a normal distribution.
#[test]
fn pareto_service_waits_by_pollaczek_and_khinchine() {
    assert_mg1("Pareto, shape 5", "distribution: pareto, minimum: 8ms, shape: 5", pareto_cv(5.0), 60_000);
}

/// The queue alone, with service times of the test's own: the sum of two exponential times (gamma, cv 1/√2), and Pareto times
/// by inversion. Catches a queue that knows more of a service time than it should.
#[test]
fn given_service_times_wait_by_pollaczek_and_khinchine() {
    let utilisation = 0.6;
    let station = Station { requests: 80_000, ..Station::single(utilisation) };
    let plan = station.plan();
    type Demand = fn(&mut Stream) -> u64;
    let kinds: [(&str, f64, Demand); 2] = [
        ("two stages", 0.5_f64.sqrt(), |stream| {
            ((stream.exponential() + stream.exponential()) * 5e6).round() as u64
        }),
        ("Pareto, shape 5", pareto_cv(5.0), |stream| (8e6 * (1.0 - stream.unit()).powf(-0.2)).round() as u64),
    ];
    for (name, cv, demand) in kinds {
        let facts = [Fact::new("mean wait", mg1_wait(utilisation, SERVICE_S, cv))];
        assert_facts(&format!("M/G/1 at 60 %, given, {name}"), &facts, |seed| {
            vec![mean_of(&station.run_with(&plan, seed, demand).waits_s())]
        });
    }
}
