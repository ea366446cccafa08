//! What pods compute: the kinds of servers, what versions of a model do differently, memory.

use windtunnel_record::judge::{Verdict, judge};
use windtunnel_record::summary::Summary;
use windtunnel_record::{Digest, Measure, Prediction, Recording, Request};
use windtunnel_scenario::load::{Arrival, Work};
use windtunnel_scenario::{Distribution, Duration};
use windtunnel_sim::{resume, simulate, simulate_arrivals, simulate_until};

use crate::setting::{MS, S, Setting, fly, fly_at, latencies};

/// One pod that takes any number of requests, 5 ms each, with a server of this kind.
fn serving(server: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 1".to_owned(),
        environment_keys: format!("server: {{{server}}}"),
        ..Setting::default()
    }
}

fn latencies_ms(setting: &Setting, at_ns: &[u64]) -> Vec<u64> {
    latencies(&fly_at(&setting.plan(), at_ns)).iter().map(|ns| ns / MS).collect()
}

fn by_row(recording: &Recording) -> Vec<&Request> {
    let mut requests: Vec<&Request> = recording.requests.iter().collect();
    requests.sort_by_key(|request| request.row);
    requests
}

/// A server with one worker that answered all at once would hide every queue in it.
#[test]
fn what_finds_no_worker_waits_in_the_server() {
    assert_eq!(latencies_ms(&serving("workers: 1"), &[S, S, S]), [5, 10, 15]);
    assert_eq!(latencies_ms(&serving("workers: 2"), &[S, S, S]), [5, 5, 10]);
}

/// The CPU limit of the manifest is what a pod has: KServe's default is one core.
#[test]
fn requests_share_the_cores_of_the_manifest() {
    assert_eq!(latencies_ms(&serving("cores: manifest"), &[S, S]), [10, 10]);
    assert_eq!(latencies_ms(&serving("cores: 2"), &[S, S]), [5, 5]);
    // 20 ms of work for half a core.
    assert_eq!(latencies_ms(&serving("cores: 0.5"), &[S, S]), [20, 20]);
}

/// Batching trades latency for throughput by exactly these numbers.
#[test]
fn a_batch_leaves_when_it_is_full_or_has_waited() {
    let setting = serving("batching: {size: 4, delay: 5ms, base: 10ms, per-item: 1ms}");
    assert_eq!(latencies_ms(&setting, &[S, S]), [17, 17], "the delay and a batch of two");
    assert_eq!(latencies_ms(&setting, &[S; 4]), [14; 4], "a full batch does not wait");
    // The fifth waits for the batch before it, longer than the delay.
    assert_eq!(latencies_ms(&setting, &[S; 5]), [14, 14, 14, 14, 25]);
}

fn llm(keys: &str) -> Setting {
    serving(&format!(
        "llm: {{prefill: 8000/s, decode: 50/s, slots: 8, slowdown: 0%, context: 800, generated: 11{keys}}}"
    ))
}

/// The time to the first token and between tokens is what users of a language model feel.
#[test]
fn a_language_model_prefills_one_after_the_other_and_decodes_together() {
    let recording = fly_at(&llm("").plan(), &[S]);
    // 800 tokens at 8000/s, ten steps of 20 ms after the first token.
    assert_eq!(latencies(&recording), [300 * MS]);
    let value = |name: &str, statistic: &str| {
        let labels = [("revision", "digits-predictor-00001"), ("statistic", statistic)];
        recording.points(name, &labels).iter().map(|point| point.value).collect::<Vec<_>>()
    };
    assert_eq!(
        (value("llm.first_token_ms", "mean"), value("llm.token_ms", "most")),
        (vec![100.0], vec![20.0])
    );
    // The second prefill stops the first answer for 100 ms; then both get a token each step.
    let recording = fly_at(&llm("").plan(), &[S, S]);
    assert_eq!(latencies(&recording), [400 * MS, 400 * MS]);
    let labels = [("revision", "digits-predictor-00001"), ("statistic", "most")];
    assert_eq!(recording.points("llm.first_token_ms", &labels)[0].value, 200.0);
}

/// Objectives on tokens are what language models are bought by: the same verdicts whether every request is kept or only
/// counted, quantiles over the whole run and over time.
#[test]
fn tokens_have_quantiles_and_objectives() {
    use Verdict::{Fail, Inconclusive, Pass};
    let mut setting = llm("");
    setting.objectives =
        "[ttft-p50<101ms, ttft-p50<100ms, tpot-p50<=20ms, tpot-p50<20ms, 'ttft-p90<=100ms for digits', tpot-p99<1s]"
            .to_owned();
    let plan = setting.plan();
    let (recording, _) = fly(&plan, 1);
    // 800 tokens at 8000/s; ten steps of 20 ms.
    assert!(recording.requests.len() >= 59);
    for request in &recording.requests {
        assert_eq!((request.first_token_ns, request.token_ns), (Some(100 * MS), Some(20 * MS)));
    }
    let kept = judge(&plan.scenario, &recording);
    let verdicts: Vec<Verdict> = kept.iter().map(|gate| gate.verdict).collect();
    // A p99 needs 459 samples.
    assert_eq!(verdicts, [Pass, Fail, Pass, Fail, Pass, Inconclusive], "{kept:?}");
    assert_eq!((kept[0].observed, kept[2].observed), (Some(100e6), Some(20e6)));
    let mut digest = Digest::judging(plan.recording(1).meta, &plan.scenario);
    simulate(&plan, 1, &mut digest).expect("a sound simulation");
    assert_eq!(digest.judge(), kept);
    let rows = Summary::of(&digest).latency;
    let row = |measure| rows.iter().find(|row| row.measure == measure).expect("a row of it");
    assert_eq!((row(Measure::FirstToken).p99, row(Measure::PerToken).max), (Some(100 * MS), Some(20 * MS)));
    let bucket = digest.time().iter().find(|bucket| bucket.offered > 0).expect("a second with a request");
    assert_eq!(bucket.times(Measure::FirstToken).quantile(0.99), Some(100 * MS));
    let plain = fly(&serving("workers: 1").plan(), 1).0;
    assert!(plain.requests.iter().all(|request| request.first_token_ns.is_none()));
    let gates = judge(&plan.scenario, &plain);
    assert!(
        gates.iter().all(|gate| gate.verdict == Inconclusive),
        "nothing measured is never a pass: {gates:?}"
    );
}

/// "What if the server had been faster from then on?" is about the pods that run then. A step of 20 ms is half through at
/// 210 ms, four more follow: at twice the rate the rest takes 5 + 4 x 10 ms. What a server is started with stays, and that
/// is said.
#[test]
fn a_fork_with_a_faster_server_changes_the_pods_that_run() {
    let plan = llm("").plan();
    let sent_ns = fly(&plan, 42).0.requests[3].intended_ns;
    let mut past = plan.recording(42);
    let snapshot = simulate_until(&plan, 42, sent_ns + 210 * MS, &mut past).expect("a sound simulation");
    for (keys, latency_ms, kept) in [
        ("", 300, 0),
        (
            "llm: {prefill: 8000/s, decode: 100/s, slots: 8, slowdown: 0%, context: 800, generated: 11}",
            255,
            0,
        ),
        (
            "llm: {prefill: 8000/s, decode: 100/s, slots: 9, slowdown: 0%, context: 800, generated: 11}",
            255,
            1,
        ),
        ("workers: 1", 300, 1),
    ] {
        let other = if keys.is_empty() { llm("").plan() } else { serving(keys).plan() };
        let mut recording = past.clone();
        resume(&other, snapshot.clone(), &mut recording).expect("a sound simulation");
        let request = recording.requests.iter().find(|request| request.intended_ns == sent_ns).expect("sent");
        assert_eq!(request.latency_ns, latency_ms * MS, "{keys}");
        let said: Vec<&str> = recording
            .events
            .iter()
            .filter(|event| event.kind == "fork")
            .map(|event| event.text.as_str())
            .collect();
        assert_eq!(said.len(), kept, "{keys}: {said:?}");
    }
}

/// A prompt that cannot fit is told so, and does not hold up the others.
#[test]
fn a_prompt_over_the_cache_is_refused() {
    let plan = llm(", kv-tokens: 2000").plan();
    let mut recording = plan.recording(1);
    let tokens = [(1_990, 11), (800, 11), (1_989, 11)];
    let arrivals = tokens.iter().zip(0_u32..).map(|((context, generated), row)| Arrival {
        at_ns: S + u64::from(row) * S,
        row,
        work: Work::Tokens { context: *context, generated: *generated },
    });
    simulate_arrivals(&plan, 1, arrivals, &mut recording).expect("a sound simulation");
    let ends: Vec<(u16, u64)> =
        by_row(&recording).iter().map(|request| (request.status, request.latency_ns)).collect();
    assert_eq!(ends[..2], [(400, 0), (200, 300 * MS)]);
    assert_eq!(ends[2].0, 200, "what fits exactly");
}

/// An engine that went on for clients that have gone would be full of them.
#[test]
fn an_engine_drops_what_nobody_waits_for() {
    let mut setting = llm("");
    setting.timeout = "350ms".to_owned();
    // Three prefills take 300 ms; nobody has the whole answer after 350 ms, the fourth comes to an empty engine.
    let recording = fly_at(&setting.plan(), &[S, S, S, S + 400 * MS]);
    let ends: Vec<(u16, u64)> =
        by_row(&recording).iter().map(|request| (request.status, request.latency_ns / MS)).collect();
    assert_eq!(ends, [(0, 350), (0, 350), (0, 350), (200, 300)]);
}

/// A pod that has just started is slow, and a canary that is measured then looks worse than it is.
#[test]
fn the_first_requests_of_a_pod_are_slow() {
    let setting = serving("warm-up: {requests: 2, factor: 4}");
    let at_ns = [S, 2 * S, 3 * S, 4 * S];
    assert_eq!(latencies_ms(&setting, &at_ns), [20, 20, 5, 5]);
}

/// Every distribution must reach the requests with its own mean.
#[test]
fn all_distributions_have_their_means_in_a_simulation() {
    let mean = Duration::from_ms(20);
    let values: std::sync::Arc<[u64]> = (0..=40).map(|ms| ms * MS).collect();
    for (label, time, spread) in [
        ("constant", Distribution::Constant { mean }, 0.0),
        ("exponential", Distribution::Exponential { mean }, 1.0),
        ("lognormal", Distribution::Lognormal { mean, cv: 0.5 }, 0.5),
        ("gamma", Distribution::Gamma { mean, cv: 2.0 }, 2.0),
        // Mean 1.5 minima, coefficient of variation 1 / sqrt(3).
        ("pareto", Distribution::Pareto { minimum: Duration::from_ms(14), shape: 3.0 }, 0.578),
        ("empirical", Distribution::Empirical { values }, 0.578),
    ] {
        let mut plan = Setting {
            predictor: "minReplicas: 1".to_owned(),
            load: "process: poisson, phases: [{for: 60s, rate: 200/s}]".to_owned(),
            ..Setting::default()
        }
        .plan();
        let theory_ns = if label == "pareto" { 21e6 } else { 20e6 };
        plan.environment.service_time = time;
        let (_, summary) = fly(&plan, 42);
        let bound = 4.0 * spread * theory_ns / (summary.requests as f64).sqrt() + 1.0;
        assert!(
            (summary.mean_sojourn_ns - theory_ns).abs() < bound,
            "{label}: {} ns instead of {theory_ns}",
            summary.mean_sojourn_ns
        );
    }
}

/// A canary that is slower, fails and predicts otherwise must look so, and its neighbour must not.
#[test]
fn versions_differ_in_speed_errors_and_predictions() {
    let setting = Setting {
        predictor: "minReplicas: 2, maxReplicas: 2".to_owned(),
        load: "process: poisson, phases: [{for: 60s, rate: 400/s}]".to_owned(),
        environment_keys: "models: [{match: 's3://models/digits/v2', service-time: {distribution: constant, \
                           mean: 9ms}, error-rate: 20%, different: 10%}]"
            .to_owned(),
        events:
            "[{at: 1s, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {canaryTrafficPercent: 50, model: {storageUri: 's3://models/digits/v2'}}}}}}]"
                .to_owned(),
        ..Setting::default()
    };
    let (recording, summary) = fly(&setting.plan(), 42);
    let of = |revision: u16| -> Vec<&Request> {
        recording.requests.iter().filter(|request| request.revision == Some(revision)).collect()
    };
    let (old, new) = (of(0), of(1));
    assert!(old.iter().all(|request| request.status == 200 && request.prediction == Prediction::Equal));
    assert!(old.iter().all(|request| request.latency_ns == 5 * MS));
    assert!(new.iter().all(|request| request.latency_ns == 9 * MS));
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let failed = new.iter().filter(|request| request.status == 500).count();
    let within = |got: f64, expected: f64, of: usize| {
        (got - expected).abs() < 4.0 * (expected * (1.0 - expected) / of as f64).sqrt()
    };
    assert!(within(share(failed, new.len()), 0.2, new.len()), "{failed} of {}", new.len());
    let answered = new.len() - failed;
    let different = new.iter().filter(|request| request.prediction == Prediction::Different).count();
    assert!(within(share(different, answered), 0.1, answered), "{different} of {answered}");
    assert_eq!(summary.failed, failed as u64);
}

/// The utilisation of servers that are not full is offered load divided by their number.
#[test]
fn utilisation_is_offered_load_by_servers() {
    let mut setting = serving("workers: 4");
    setting.load = "process: poisson, phases: [{for: 60s, rate: 500/s}]".to_owned();
    let (recording, _) = fly(&setting.plan(), 42);
    let points = recording.points("server.utilisation", &[("revision", "digits-predictor-00001")]);
    let busy: Vec<f64> = points.iter().skip(1).map(|point| point.value).collect();
    assert_eq!(busy.len(), 60);
    let mean = busy.iter().sum::<f64>() / 60.0;
    // 500/s * 5 ms / 4.
    assert!((mean - 0.625).abs() < 0.02, "{mean}");
}

fn remembering(memory: &str) -> Setting {
    Setting {
        environment_keys: format!("models: [{{match: 's3://models/digits', memory: {memory}}}]"),
        ..serving("workers: 4")
    }
}

fn pod_events(recording: &Recording) -> Vec<(u64, String)> {
    let of_pods = recording.events.iter().filter(|event| event.kind == "pod");
    of_pods.map(|event| (event.t_ns / MS, event.text.clone())).collect()
}

/// One request too many takes the others with it, and then everybody waits for the restart.
#[test]
fn memory_over_the_limit_kills_the_pod() {
    // The default limit is 2 GiB: two requests fit.
    let mut setting = remembering("{base: 1GiB, per-request: 500MiB}");
    setting.service_time = "distribution: constant, mean: 100ms".to_owned();
    let again_ns = 12 * S;
    let at_ns = [S, S + MS, S + 2 * MS, S + 3 * MS, again_ns, again_ns, again_ns, again_ns + S];
    let recording = fly_at(&setting.plan(), &at_ns);
    let ends: Vec<(u16, u64)> =
        by_row(&recording).iter().map(|request| (request.status, request.latency_ns / MS)).collect();
    // Loaded, probed and known again after 300 + 60 + 40 ms.
    assert_eq!(ends[..4], [(502, 2), (502, 1), (502, 0), (200, 499)]);
    assert_eq!(ends[4..7], [(502, 0); 3]);
    // The second time the kubelet waits for 10 s.
    assert_eq!(ends[7], (200, 9_500));
    let events = pod_events(&recording);
    assert_eq!(events[0], (1_002, "OOMKilled; the container restarts after 0s".to_owned()));
    assert_eq!(events[1], (1_402, "ready".to_owned()));
    assert_eq!(events[2], (12_000, "OOMKilled; the container restarts after 10s".to_owned()));
    assert!(recording.cold_starts.is_empty(), "a restart is no cold start");
}

/// A model that does not fit is a crash loop, not a slow start.
#[test]
fn a_model_over_the_limit_never_becomes_ready() {
    let setting = remembering("{base: 3GiB, per-request: 0MiB}");
    let recording = fly_at(&setting.plan(), &[S]);
    assert_eq!(recording.requests[0].status, 404, "a service that was never ready has no route");
    let texts: Vec<String> = pod_events(&recording).into_iter().map(|(_, text)| text).collect();
    // Before t=0: at once, then after 10 s. Loading takes 300 ms each time.
    let waits: Vec<&str> = texts.iter().filter_map(|text| text.split(" after ").nth(1)).collect();
    assert_eq!(waits, ["20s", "40s"], "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with("OOMKilled while it loaded the model")));
}

/// GPU memory is an error for one request, not the death of all.
#[test]
fn gpu_memory_over_the_limit_fails_the_request_alone() {
    let mut setting = serving("workers: 4");
    setting.environment_keys.push_str(
        "\nmodels: [{match: 's3://', gpu-memory: {base: 3GiB, per-request: 500MiB}}]\n\
         nodes: {pools: [{name: gpu, count: 1, cpu: 8, memory: 32GiB, gpus: 1, gpu-memory: 4GiB, price: 1/h}]}",
    );
    let recording = fly_at(&setting.plan(), &[S, S, S, S + 5 * MS]);
    let ends: Vec<(u16, u64)> =
        by_row(&recording).iter().map(|request| (request.status, request.latency_ns / MS)).collect();
    assert_eq!(ends, [(200, 5), (200, 5), (500, 0), (200, 5)]);
}
