//! A made-up but realistic run: 75 seconds with a cold start, a burst, a canary and a scale-down, live and
//! simulated. The same on every machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use windtunnel_record::compare::compare;
use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::result::RunResult;
use windtunnel_record::{
    ColdStart, Decision, Event, Meta, Prediction, Recorder, Recording, Request, Revision, Source,
};
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::{Arrivals, Duration, Environment, Load, Phase, Process, Rate, Scenario};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// Everything a report is made from.
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) live: Recording,
    pub(crate) simulated: Recording,
    pub(crate) result: RunResult,
}

/// A run in which one gate failed and one is open.
pub(crate) fn failed() -> Run {
    run("quickstart", true)
}

/// A run in which every gate passed.
pub(crate) fn passed() -> Run {
    run("quickstart", false)
}

fn run(name: &str, bad: bool) -> Run {
    let scenario = scenario(name);
    let live = recording(name, Source::Live, bad);
    let simulated = recording(name, Source::Simulated, false);
    let result = result(&scenario, gates(bad), Some((&simulated, &live)));
    Run { scenario, live, simulated, result }
}

/// A run of which a slice was flown: the whole is 48 times as long.
pub(crate) fn stretched(recording: &Recording, factor: u64) -> Recording {
    let mut whole = recording.clone();
    whole.meta.duration_ns *= factor;
    for request in &mut whole.requests {
        request.intended_ns *= factor;
        request.sent_ns = request.intended_ns;
    }
    for point in whole.series.values_mut().flatten() {
        point.t_ns *= factor;
    }
    whole.decisions.iter_mut().for_each(|decision| decision.t_ns *= factor);
    whole.events.iter_mut().for_each(|event| event.t_ns *= factor);
    whole.cold_starts.iter_mut().for_each(|start| start.t_ns *= factor);
    whole
}

/// The scenario, with every objective that has a place in a chart.
pub(crate) fn scenario(name: &str) -> Scenario {
    let mut objectives: Vec<Objective> =
        ["p99<300ms", "p95<100ms", "error-rate<1%", "cold-starts<=3", "canary-share=10%", "mismatches=0"]
            .iter()
            .map(|text| Objective::parse(text).expect("an objective"))
            .collect();
    objectives[1].from = Some(Duration::from_s(30));
    objectives[1].to = Some(Duration::from_s(60));
    let phase = |length, rate| Phase::flat(Duration::from_s(length), Rate::per_second(rate));
    Scenario {
        path: PathBuf::from("scenarios/quickstart.yaml"),
        name: name.to_owned(),
        description:
            "Digits classifier that starts from zero, takes a burst and shifts 10 % to a second version."
                .to_owned(),
        duration: Duration::from_s(75),
        seed: 42,
        manifests: Vec::new(),
        storage: BTreeMap::new(),
        loads: vec![Load::new(
            "digits",
            "requests.jsonl",
            Arrivals::Phases {
                process: Process::Poisson,
                phases: vec![
                    phase(25, 20.0),
                    Phase::ramp(Duration::from_s(5), Rate::per_second(20.0), Rate::per_second(100.0)),
                    phase(15, 150.0),
                    phase(10, 20.0),
                ],
            },
        )],
        flight: None,
        events: Vec::new(),
        faults: Vec::new(),
        objectives,
        environment: Environment::default(),
    }
}

/// Requests a second at `second`.
fn rate(second: f64) -> f64 {
    match second {
        s if s < 25.0 => 20.0,
        s if s < 30.0 => 20.0 + (s - 25.0) * 16.0,
        s if s < 45.0 => 150.0,
        s if s < 55.0 => 20.0,
        _ => 0.0,
    }
}

/// The recording of one source. `bad` adds failures and a slow stretch.
pub(crate) fn recording(scenario: &str, source: Source, bad: bool) -> Recording {
    let live = source == Source::Live;
    let mut recording = Recording::new(Meta::new(scenario, source, 42, 75 * SECOND));
    let names = ["digits-predictor-00001", "digits-predictor-00002"];
    let first_ready = if live { 430 * MILLI } else { 355 * MILLI };
    let canary_ready = if live { 20_900 * MILLI } else { 20_520 * MILLI };
    for (index, created_ns) in [0, 20 * SECOND + 40 * MILLI].into_iter().enumerate() {
        recording.revision(Revision {
            name: names[index].to_owned(),
            storage_uri: format!("s3://models/digits/v{}", index + 1),
            created_ns,
        });
    }

    // Two streams: arrivals are the same for both sources, service times are not.
    let mut arrivals = Noise(7);
    let mut service = Noise(if live { 11 } else { 13 });
    let mut at = 0.0_f64;
    let mut row = 0_u32;
    let mut routed = 0_u32;
    let mut in_flight = vec![0.0_f64; 76];
    loop {
        at += -arrivals.uniform().ln() / rate(at).max(1e-9);
        if at >= 55.0 || !at.is_finite() {
            break;
        }
        let intended_ns = (at * 1e9) as u64;
        let busy = (rate(at) / 150.0).powi(3);
        let mut latency_ns =
            (1.1e6 * (0.25 * service.normal()).exp() * (1.0 + 6.0 * busy * service.uniform())) as u64;
        if service.uniform() < 0.01 {
            latency_ns += (12.0e6 * service.uniform()) as u64;
        }
        let held_ns = first_ready.saturating_sub(intended_ns);
        latency_ns += held_ns;
        let slow = bad && (31.0..34.0).contains(&at);
        if slow {
            latency_ns += (380.0e6 * service.uniform()) as u64;
        }
        let split = intended_ns >= canary_ready;
        routed += u32::from(split);
        let canary = split && routed % 10 == 7;
        let failed = bad && (36.0..37.5).contains(&at) && service.uniform() < 0.2;
        recording.request(Request {
            intended_ns,
            sent_ns: intended_ns + 20_000,
            latency_ns,
            status: if failed { 503 } else { 200 },
            revision: Some(u16::from(canary)),
            weight_percent: match (split, canary) {
                (false, _) => 100,
                (true, false) => 90,
                (true, true) => 10,
            },
            held_ns,
            first_token_ns: None,
            token_ns: None,
            row,
            prediction: if live { Prediction::Equal } else { Prediction::Unchecked },
            error: failed.then(|| "503 Service Unavailable: upstream connect error".to_owned()),
        });
        row += 1;
        let (from, to) = (intended_ns.div_ceil(SECOND), (intended_ns + latency_ns) / SECOND);
        for second in from..=to.min(75) {
            in_flight[second as usize] += 1.0;
        }
    }

    let shift = if live { 1 } else { 0 };
    for second in 0..=75_u64 {
        let t_ns = second * SECOND;
        let s = second as i64;
        let stable_wanted = match s {
            0..=27 => 1.0,
            28..=31 => 2.0,
            32..=61 => 3.0,
            _ => 0.0,
        };
        let stable_ready = match s - shift {
            i64::MIN..=-1 => 0.0,
            0..=28 => f64::from(u8::from(second > 0)),
            29..=32 => 2.0,
            33..=61 => 3.0,
            _ => 0.0,
        };
        let canary_wanted = f64::from(u8::from((20..=62).contains(&s)));
        let canary_ready_now = f64::from(u8::from((21..=62 + shift).contains(&s)));
        let percent = if t_ns >= canary_ready { [90.0, 10.0] } else { [100.0, 0.0] };
        for (index, (wanted, ready)) in
            [(stable_wanted, stable_ready), (canary_wanted, canary_ready_now)].into_iter().enumerate()
        {
            if index == 1 && second < 20 {
                continue;
            }
            let labels = [("revision", names[index])];
            recording.sample("replicas.wanted", &labels, t_ns, wanted);
            recording.sample("replicas.ready", &labels, t_ns, ready);
            recording.sample("traffic.percent", &labels, t_ns, percent[index]);
        }
        recording.sample("requests.in_flight", &[], t_ns, in_flight[second as usize]);
    }

    story(&mut recording, live, names, first_ready, canary_ready);
    recording
}

fn story(recording: &mut Recording, live: bool, names: [&str; 2], first_ready: u64, canary_ready: u64) {
    let mut event = |t_ns: u64, kind: &str, target: &str, text: &str| {
        recording.event(Event {
            t_ns,
            kind: kind.to_owned(),
            target: target.to_owned(),
            text: text.to_owned(),
        });
    };
    event(12 * MILLI, "activation", names[0], "activated from zero by a waiting request");
    event(20 * SECOND, "scenario", "digits", "canary v2 with 10 %");
    event(20 * SECOND + 40 * MILLI, "revision", names[1], "created");
    event(
        canary_ready,
        "traffic",
        "digits",
        "90 % to digits-predictor-00001, 10 % to digits-predictor-00002",
    );
    event(32 * SECOND, "pod", "digits-predictor-00001-deployment-6c9f7-x2x7z", "ready");

    let mut decision = |t_ns: u64, target: &str, from: i64, to: i64, text: &str| {
        recording.decision(Decision {
            t_ns,
            actor: "kpa".to_owned(),
            target: target.to_owned(),
            from,
            to,
            text: text.to_owned(),
            explanation: json!({
                "stable": {"window_s": 60, "concurrency": 4.2, "desired": to},
                "panic": {"window_s": 6, "concurrency": 9.1, "active": to > from},
                "target": 0.7,
                "winner": if to > from { "panic" } else { "stable" },
            }),
        });
    };
    decision(15 * MILLI, names[0], 0, 1, "poked: a request waits at 0 replicas -> 1");
    decision(28 * SECOND, names[0], 1, 2, "concurrency 1.3/target 0.7 over 60 s -> 2; panic (6 s) 1.4 -> 2");
    decision(
        32 * SECOND,
        names[0],
        2,
        3,
        "concurrency 2.0/target 0.7 over 60 s -> 3; panic (6 s) 9.1 -> 13; limited to 3 by max-scale",
    );
    decision(62 * SECOND, names[0], 3, 0, "concurrency 0.0 over 60 s -> 0; grace period 6 s over");
    decision(63 * SECOND, names[1], 1, 0, "concurrency 0.0 over 60 s -> 0; grace period 6 s over");

    let mut cold_start = |t_ns: u64, revision: &str, pod: &str, phases: &[(&str, u64)], activated: bool| {
        recording.cold_start(ColdStart {
            t_ns,
            revision: revision.to_owned(),
            pod: pod.to_owned(),
            phases: phases.iter().map(|(name, ms)| ((*name).to_owned(), ms * MILLI)).collect(),
            activated,
        });
    };
    let load = if live { 312 } else { 250 };
    let probe = (first_ready / MILLI).saturating_sub(load + 45 + 15);
    let phases = [("schedule", 5), ("download", 40), ("load", load), ("probe", probe), ("propagate", 10)];
    cold_start(15 * MILLI, names[0], "digits-predictor-00001-deployment-6c9f7-b8kqd", &phases, true);
    cold_start(
        20 * SECOND + 60 * MILLI,
        names[1],
        "digits-predictor-00002-deployment-85bd4-pm4vj",
        &phases,
        false,
    );
    cold_start(28 * SECOND, names[0], "digits-predictor-00001-deployment-6c9f7-x2x7z", &phases, false);
    cold_start(32 * SECOND, names[0], "digits-predictor-00001-deployment-6c9f7-kk2hw", &phases, false);
}

/// The gates as judged, in the scenario's order.
pub(crate) fn gates(bad: bool) -> Vec<Gate> {
    let gate = |objective: &str,
                metric: &str,
                source,
                verdict,
                observed: Option<f64>,
                words: [&str; 3],
                samples,
                line| Gate {
        objective: objective.to_owned(),
        metric: metric.to_owned(),
        source,
        verdict,
        observed,
        observed_text: words[0].to_owned(),
        limit_text: words[1].to_owned(),
        samples,
        reason: words[2].to_owned(),
        position: Some(format!("scenarios/quickstart.yaml:{line}")),
    };
    let (live, simulated) = (Source::Live, Source::Simulated);
    let mut gates = vec![
        gate(
            "p99<300ms",
            "p99",
            simulated,
            Verdict::Pass,
            Some(11.2e6),
            [
                "11.2ms",
                "< 300ms",
                "8 of 3216 requests were over the limit; 20 are allowed at 99 % confidence.",
            ],
            3216,
            31,
        ),
        gate(
            "p99<300ms",
            "p99",
            live,
            Verdict::Pass,
            Some(12.8e6),
            [
                "12.8ms",
                "< 300ms",
                "9 of 3216 requests were over the limit; 20 are allowed at 99 % confidence.",
            ],
            3216,
            31,
        ),
        gate(
            "error-rate<1%",
            "error-rate",
            live,
            Verdict::Pass,
            Some(0.0),
            ["0%", "< 1%", "0 of 3216 requests failed; the upper bound at 99 % confidence is 0.14 %."],
            3216,
            32,
        ),
        gate(
            "cold-starts<=3",
            "cold-starts",
            live,
            Verdict::Pass,
            Some(1.0),
            ["1", "<= 3", "The service started from zero once."],
            3216,
            33,
        ),
        gate(
            "canary-share=10%",
            "canary-share",
            live,
            Verdict::Pass,
            Some(0.0998),
            ["9.98%", "= 10%", "284 of 2845 requests went to the canary (exact binomial test, p = 0.98)."],
            2845,
            34,
        ),
        gate(
            "mismatches=0",
            "mismatches",
            live,
            Verdict::Pass,
            Some(0.0),
            ["0", "= 0", "All 3216 answers equal their reference predictions."],
            3216,
            35,
        ),
        gate(
            "mismatches=0",
            "mismatches",
            simulated,
            Verdict::NotJudged,
            None,
            ["", "= 0", "A simulation computes no predictions."],
            0,
            35,
        ),
    ];
    if bad {
        gates[1].verdict = Verdict::Fail;
        gates[1].observed = Some(361.4e6);
        gates[1].observed_text = "361.4ms".to_owned();
        gates[1].reason =
            "97 of 3216 requests were over the limit; a service that meets it has more than 46 once in 100 runs."
                .to_owned();
        gates[4].verdict = Verdict::Inconclusive;
        gates[4].samples = 412;
        gates[4].reason =
            "412 requests were sent while the traffic was split; the test needs 1000: 588 more.".to_owned();
    }
    gates
}

/// The result of a run with these gates.
pub(crate) fn result(
    scenario: &Scenario,
    gates: Vec<Gate>,
    both: Option<(&Recording, &Recording)>,
) -> RunResult {
    let comparison = both.map(|(simulated, live)| compare(simulated, live));
    let reproduce = "windtunnel run scenarios/quickstart.yaml --seed 42".to_owned();
    let mut result = RunResult::new(&scenario.name, 42, gates, comparison, reproduce);
    result.reasons = Vec::new();
    result.versions = BTreeMap::from([
        ("onnxruntime".to_owned(), "1.32.0".to_owned()),
        ("windtunnel".to_owned(), "0.1.0".to_owned()),
    ]);
    result.wall = BTreeMap::from([("simulation".to_owned(), 0.41), ("flight".to_owned(), 78.2)]);
    result
}

/// A small generator (64-bit linear congruential with a mixed output), so that the run is the same for ever.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
