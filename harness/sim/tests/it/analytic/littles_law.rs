//! Little's law, for whatever is simulated: requests in the system = arrivals a second x time in the system.
//!
//! The simulator keeps the law itself, in whole nanoseconds and after every event. Here it is held from outside: the
//! record of every single request on one side, the books that were kept over time on the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windtunnel_record::Recording;
use windtunnel_scenario::{Cores, Server};
use windtunnel_sim::{Plan, Summary};

use crate::setting::{S, Setting, fly};
use crate::shipped;

/// The law over a run that begins and ends empty, from two books that know nothing of each other; conservation; and the
/// number in the system at each whole second.
fn assert_law(name: &str, plan: &Plan, recording: &Recording, summary: &Summary) {
    assert_eq!(summary.answered + summary.failed, summary.requests, "{name}: every request has an end");
    if recording.requests.is_empty() {
        return;
    }
    let way_ns = plan.environment.network.gateway.as_ns();
    let inside = |request: &windtunnel_record::Request| (request.intended_ns + way_ns, request.done_ns());
    let total_ns: u64 = recording.requests.iter().map(inside).map(|(from_ns, to_ns)| to_ns - from_ns).sum();
    let span_ns = recording.requests.iter().map(|request| request.done_ns()).max().unwrap_or(0);
    let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * other.abs().max(1.0);
    let by_time = summary.mean_in_flight * span_ns as f64;
    let by_mean = summary.mean_sojourn_ns * (summary.requests + summary.retries) as f64;
    assert!(near(by_time, by_mean), "{name}: {by_time} over time, {by_mean} over requests");
    if plan.scenario.loads.iter().any(|load| load.retries.is_some() || load.queue.is_some()) {
        // A record is then of several tries, with the time between them.
        return;
    }
    assert_eq!(recording.requests.len() as u64, summary.requests, "{name}: a record for each request");
    let by_records = total_ns as f64;
    assert!(near(by_time, by_records), "{name}: {by_time} over time, {by_records} over records");

    // Who was turned away at once was never inside.
    let stays: Vec<(u64, u64)> =
        recording.requests.iter().map(inside).filter(|(from_ns, to_ns)| from_ns < to_ns).collect();
    let sorted = |of: fn(&(u64, u64)) -> u64| {
        let mut instants: Vec<u64> = stays.iter().map(of).collect();
        instants.sort_unstable();
        instants
    };
    let (entries, exits) = (sorted(|stay| stay.0), sorted(|stay| stay.1));
    let before = |instants: &[u64], t_ns: u64| instants.partition_point(|at_ns| *at_ns < t_ns);
    // With several services there is a series for each.
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (_, points) in recording.series.iter().filter(|(key, _)| key.name == "requests.in_flight") {
        for point in points {
            *sums.entry(point.t_ns).or_default() += point.value;
        }
    }
    assert!(sums.len() > 5, "{name}: the number in flight is not recorded");
    for (t_ns, in_flight) in sums {
        // Whoever comes or goes at that very instant may be counted or not.
        let least = before(&entries, t_ns) - before(&exits, t_ns + 1);
        let most = before(&entries, t_ns + 1) - before(&exits, t_ns);
        assert!(
            (least as f64..=most as f64).contains(&in_flight),
            "{name}: {} in flight at {} s, and the records say {least} to {most}",
            in_flight,
            t_ns / S
        );
    }
}

/// A latency, a throughput and a number of replicas that do not fit together cannot all be true: a user would plan with
/// whichever is wrong. Catches requests that are lost, counted twice or timed from another instant.
#[test]
fn the_law_holds_in_every_scenario() {
    for (name, plan) in shipped::plans() {
        let (recording, summary) = fly(&plan, plan.scenario.seed);
        assert!(summary.requests > 0, "{name} has no requests");
        assert_law(&name, &plan, &recording, &summary);
    }
}

fn service_times() -> impl Strategy<Value = String> {
    let mean = 1_u32..400;
    prop_oneof![
        mean.clone().prop_map(|mean| format!("distribution: constant, mean: {mean}ms")),
        mean.clone().prop_map(|mean| format!("distribution: exponential, mean: {mean}ms")),
        (mean.clone(), 1_u32..30).prop_map(|(mean, cv)| {
            format!("distribution: lognormal, mean: {mean}ms, cv: {}.{}", cv / 10, cv % 10)
        }),
        (mean.clone(), 2_u32..30).prop_map(|(mean, cv)| {
            format!("distribution: gamma, mean: {mean}ms, cv: {}.{}", cv / 10, cv % 10)
        }),
        (mean, 15_u32..60).prop_map(|(least, shape)| {
            format!("distribution: pareto, minimum: {least}ms, shape: {}.{}", shape / 10, shape % 10)
        }),
    ]
}

fn servers() -> impl Strategy<Value = Server> {
    prop_oneof![
        Just(Server::default()),
        (1_u32..4)
            .prop_map(|halves| Server { cores: Cores::Number(f64::from(halves) / 2.0), ..Server::default() }),
        (1_u32..4).prop_map(|workers| Server { workers: Some(workers), ..Server::default() }),
    ]
}

fn loads() -> impl Strategy<Value = String> {
    let process = prop_oneof![
        Just("process: constant"),
        Just("process: poisson"),
        Just("process: bursty, burst: {factor: 3, on: 1s, off: 4s}")
    ];
    let phases = (process, 0_u32..200, 1_u32..300, 1_u32..15).prop_map(|(process, from, to, seconds)| {
        format!("{process}, phases: [{{for: 5s, rate: {from}/s}}, {{for: {seconds}s, rate: {from}/s, to: {to}/s}}]")
    });
    let users = (1_u32..60, 1_u32..60, 1_u32..300).prop_map(|(from, to, think)| {
        format!(
            "users: [{{for: 15s, count: {from}, to: {to}}}], think-time: {{distribution: exponential, mean: {think}ms}}"
        )
    });
    prop_oneof![3 => phases, 1 => users]
}

fn settings() -> impl Strategy<Value = Setting> {
    let scale = (0_u32..3, 1_u32..8, 0_u32..6);
    let patience = prop_oneof![Just("100ms"), Just("1s"), Just("30s")];
    let way = prop_oneof![Just("0s"), Just("300us")];
    (scale, service_times(), loads(), patience, way).prop_map(
        |((least, more, concurrency), service_time, load, timeout, gateway)| Setting {
            predictor: format!(
                "minReplicas: {least}, maxReplicas: {}, containerConcurrency: {concurrency}, scaleTarget: 2",
                least + more
            ),
            service_time,
            load,
            duration: "20s".to_owned(),
            timeout: timeout.to_owned(),
            gateway: gateway.to_owned(),
            autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 1s".to_owned(),
            ..Setting::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// See above, for services that nobody thought of: time-outs, full lines, pods that come and go.
    #[test]
    fn the_law_holds_for_any_service(setting in settings(), seed in 0_u64..1_000, server in servers()) {
        let mut plan = setting.plan();
        plan.environment.server = server;
        let (recording, summary) = fly(&plan, seed);
        assert_law("a random service", &plan, &recording, &summary);
    }
}
