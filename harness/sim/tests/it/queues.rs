//! Queueing theory: with exponential times the mean sojourn is known exactly, and the simulation must hit it.

use windtunnel_record::Recording;
use windtunnel_scenario::{Cores, Distribution, Duration};
use windtunnel_sim::{Summary, simulate};

use crate::setting::{Setting, fly};

/// Half-width of a 99 % confidence interval of the mean of 12 independent replications (Student, 11 degrees).
const STUDENT_99_11: f64 = 3.106;
const REPLICATIONS: u64 = 12;
/// Mean service time of one request, in seconds.
const SERVICE_S: f64 = 0.010;

/// `pods` pods with `concurrency` requests each and Poisson arrivals that use `utilisation` of `servers`.
fn queue(pods: u32, concurrency: u32, servers: u32, utilisation: f64) -> Setting {
    let rate = utilisation * f64::from(servers) / SERVICE_S;
    Setting {
        predictor: format!("minReplicas: {pods}, maxReplicas: {pods}, containerConcurrency: {concurrency}"),
        load: format!("process: poisson, phases: [{{for: 1000s, rate: {rate}/s}}]"),
        duration: "1000s".to_owned(),
        timeout: "10m".to_owned(),
        service_time: "distribution: exponential, mean: 10ms".to_owned(),
        ..Setting::default()
    }
}

/// The probability that an arrival waits in M/M/c (Erlang's C formula), by the stable recursion over Erlang's B.
fn erlang_c(servers: u32, utilisation: f64) -> f64 {
    let offered = f64::from(servers) * utilisation;
    let blocking = (1..=servers).fold(1.0, |blocking, server| {
        let carried = offered * blocking;
        carried / (f64::from(server) + carried)
    });
    blocking / (1.0 - utilisation * (1.0 - blocking))
}

/// Mean time in M/M/c, in seconds.
fn sojourn_s(servers: u32, utilisation: f64) -> f64 {
    let waiting_s = erlang_c(servers, utilisation) * SERVICE_S / (f64::from(servers) * (1.0 - utilisation));
    SERVICE_S + waiting_s
}

/// Runs replications and compares their mean with theory at 99 % confidence.
fn assert_mean(label: &str, theory_s: f64, run: impl Fn(u64) -> Summary) {
    let means: Vec<f64> = (1..=REPLICATIONS).map(|seed| run(seed).mean_sojourn_ns / 1e9).collect();
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    let variance = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half_width = STUDENT_99_11 * (variance / count).sqrt();
    assert!(
        (mean - theory_s).abs() <= half_width,
        "{label}: {mean:.6} s +- {half_width:.6} s does not cover {theory_s:.6} s (seeds 1 to {REPLICATIONS})"
    );
    assert!(half_width < 0.05 * theory_s, "{label}: an interval of +- {half_width} s proves nothing");
}

/// A wrong queue makes every capacity plan wrong.
#[test]
fn one_server_waits_as_m_m_1() {
    let plan = queue(1, 1, 1, 0.7).plan();
    assert_mean("M/M/1 at 70 %", sojourn_s(1, 0.7), |seed| counted(&plan, seed));
}

/// Four pods of one request each behind the activator are one queue with four servers.
#[test]
fn four_pods_wait_as_m_m_4() {
    let plan = queue(4, 1, 4, 0.8).plan();
    assert_mean("M/M/4 at 80 %", sojourn_s(4, 0.8), |seed| counted(&plan, seed));
}

/// One pod that takes ten at a time is one queue with ten servers.
#[test]
fn a_pod_with_ten_slots_waits_as_m_m_10() {
    let plan = queue(1, 10, 10, 0.8).plan();
    assert_mean("M/M/10 at 80 %", sojourn_s(10, 0.8), |seed| counted(&plan, seed));
}

/// Requests that share a core: the mean depends on the mean service time only, whatever the distribution.
#[test]
fn a_shared_core_slows_down_as_m_g_1_processor_sharing() {
    let mut plan = queue(1, 0, 1, 0.6).plan();
    plan.environment.server.cores = Cores::Number(1.0);
    for (label, time) in [
        ("exponential", Distribution::Exponential { mean: Duration::from_ms(10) }),
        ("lognormal", Distribution::Lognormal { mean: Duration::from_ms(10), cv: 1.5 }),
    ] {
        plan.environment.service_time = time;
        assert_mean(label, SERVICE_S / (1.0 - 0.6), |seed| counted(&plan, seed));
    }
}

/// The same requests in the same queue take the same time, however the servers are cut into pods.
#[test]
fn cutting_servers_into_pods_changes_nothing() {
    let (one_pod, _) = fly(&queue(1, 3, 3, 0.8).plan(), 5);
    let (three_pods, _) = fly(&queue(3, 1, 3, 0.8).plan(), 5);
    let times = |recording: &Recording| -> Vec<u64> {
        recording.requests.iter().map(|request| request.latency_ns).collect()
    };
    assert_eq!(times(&one_pod), times(&three_pods));
}

/// Number in the system = rate x time in the system, exactly, over a run that starts and ends empty.
#[test]
fn littles_law_holds() {
    let summary = counted(&queue(2, 2, 4, 0.9).plan(), 9);
    let span_s = summary.mean_sojourn_ns * summary.requests as f64 / summary.mean_in_flight / 1e9;
    assert!((1_000.0..1_001.0).contains(&span_s), "{span_s} s between the first instant and the last answer");
    assert_eq!(summary.requests, summary.answered);
}

fn counted(plan: &windtunnel_sim::Plan, seed: u64) -> Summary {
    simulate(plan, seed, &mut Counting).expect("a sound simulation")
}

/// A recorder that keeps nothing: the summary says enough.
struct Counting;

impl windtunnel_record::Recorder for Counting {
    fn revision(&mut self, _: windtunnel_record::Revision) -> u16 {
        0
    }
    fn request(&mut self, _: windtunnel_record::Request) {}
    fn sample(&mut self, _: &str, _: &[(&str, &str)], _: u64, _: f64) {}
    fn decision(&mut self, _: windtunnel_record::Decision) {}
    fn event(&mut self, _: windtunnel_record::Event) {}
    fn cold_start(&mut self, _: windtunnel_record::ColdStart) {}
}
