//! Verdicts, metric by metric.

use windtunnel_record::judge::{Gate, Verdict, judge, overall};
use windtunnel_record::{ColdStart, Prediction, Recorder, Recording, Request, Revision, Source};
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Duration, FlightPlan, Scenario};

use crate::flights::{MS, SECOND, recording, scenario, with_latencies, with_slow};

fn gate(rule: &str, recording: &Recording) -> Gate {
    judge(&scenario(&[rule]), recording).remove(0)
}

/// `canary` of `total` requests of a split go to the second revision, after its creation.
fn split(total: u64, canary: u64) -> Recording {
    let mut recording = recording(Source::Live);
    for n in 0..total {
        let at_ns = 20 * SECOND + n * 70 * SECOND / total.max(1);
        // Spread evenly, as a traffic splitter does.
        let is_canary = (n + 1) * canary / total > n * canary / total;
        let request = Request::answered(at_ns, 5 * MS, u16::from(is_canary));
        recording.request(Request { weight_percent: if is_canary { 10 } else { 90 }, ..request });
    }
    recording
}

/// A bad build would go out, or a good one would be held back.
#[test]
fn every_metric_gets_its_verdict() {
    use Verdict::{Fail, Inconclusive, Pass};
    let with_failures = |failed: usize, total: usize| {
        let mut latencies = vec![5; total - failed];
        latencies.extend(vec![0; failed]);
        with_latencies(Source::Simulated, &latencies)
    };
    for (rule, recording, verdict, observed) in [
        ("p99<300ms", with_slow(1_000, 0), Pass, "5ms"),
        ("p99<300ms", with_slow(458, 0), Inconclusive, "5ms"),
        ("p99<300ms", with_slow(1_000, 10), Inconclusive, "5ms"),
        ("p99<300ms", with_slow(1_000, 30), Fail, "500ms"),
        ("p99<500ms", with_slow(1_000, 30), Fail, "500ms"),
        ("p99<=500ms", with_slow(1_000, 30), Pass, "500ms"),
        ("p50<300ms", with_slow(10, 0), Pass, "5ms"),
        ("p99<300ms", with_failures(30, 1_000), Fail, "no answer"),
        ("p99.9<300ms", with_slow(4_000, 0), Inconclusive, "5ms"),
        ("p99<300ms", with_slow(0, 0), Inconclusive, "-"),
        ("avg<10ms", with_slow(1_000, 0), Pass, "5ms"),
        ("avg<5ms", with_slow(1_000, 0), Fail, "5ms"),
        ("avg<=5ms", with_slow(1_000, 0), Pass, "5ms"),
        ("avg<10ms", with_slow(39, 0), Inconclusive, "5ms"),
        ("avg<10ms", with_failures(1, 1_000), Fail, "no answer"),
        ("avg<10ms", with_slow(0, 0), Inconclusive, "-"),
        ("max<600ms", with_slow(100, 1), Pass, "500ms"),
        ("max<500ms", with_slow(100, 1), Fail, "500ms"),
        ("max<600ms", with_failures(1, 100), Fail, "no answer"),
        ("max<600ms", with_slow(0, 0), Inconclusive, "-"),
        ("error-rate<1%", with_failures(0, 1_000), Pass, "0%"),
        ("error-rate<1%", with_failures(0, 458), Inconclusive, "0%"),
        ("error-rate<1%", with_failures(9, 1_000), Inconclusive, "0.9%"),
        ("error-rate<1%", with_failures(30, 1_000), Fail, "3%"),
        ("error-rate<=0%", with_failures(0, 10), Pass, "0%"),
        ("error-rate<=0%", with_failures(1, 10_000), Fail, "0.01%"),
        ("error-rate<1%", with_failures(0, 0), Inconclusive, "-"),
        ("rps>=10", with_slow(1_000, 0), Pass, "10/s"),
        ("rps>10", with_slow(1_000, 0), Fail, "10/s"),
        ("rps>=10", with_failures(1, 1_000), Fail, "9.99/s"),
        ("rps>=0", with_slow(0, 0), Inconclusive, "-"),
        ("cold-starts<=0", with_slow(10, 0), Pass, "0"),
        ("cold-starts<=0", with_slow(0, 0), Inconclusive, "-"),
        ("cold-requests=0", with_slow(10, 0), Pass, "0"),
        ("cold-requests=0", with_slow(0, 0), Inconclusive, "-"),
        ("canary-share=10%", split(2_000, 200), Pass, "10%"),
        ("canary-share=10%", split(2_000, 230), Pass, "11.5%"),
        ("canary-share=10%", split(2_000, 300), Fail, "15%"),
        ("canary-share=10%", split(2_000, 0), Fail, "0%"),
        ("canary-share=10%", split(999, 100), Inconclusive, "10.01%"),
        ("canary-share=10%", split(100, 100), Fail, "100%"),
        ("canary-share=10%", with_slow(2_000, 0), Inconclusive, "-"),
    ] {
        let gate = gate(rule, &recording);
        let n = recording.requests.len();
        assert_eq!(
            (gate.verdict, gate.observed_text.as_str()),
            (verdict, observed),
            "{rule}, n={n}: {}",
            gate.reason
        );
        assert!(gate.reason.ends_with('.'), "{}", gate.reason);
    }
}

/// A user would see a verdict and not know why, or what to do about it.
#[test]
fn reasons_are_sentences_that_help() {
    let mut live = recording(Source::Live);
    for n in 0..700 {
        let prediction = if n == 5 { Prediction::Different } else { Prediction::Equal };
        live.request(Request { prediction, held_ns: n % 2, ..Request::answered(n * 100 * MS, 5 * MS, 0) });
    }
    live.cold_start(ColdStart {
        t_ns: SECOND,
        revision: "a-00001".into(),
        pod: "a-1".into(),
        phases: Vec::new(),
        activated: true,
    });
    let live_rules = ["rps>=7", "cold-starts<=3", "cold-requests<100", "mismatches=0", "canary-share=10%"];
    let mut lines = Vec::new();
    let mut tell = |gates: Vec<Gate>| {
        for gate in gates {
            lines.push(format!(
                "{} {}: {} against {}, n={}\n    {}",
                gate.verdict, gate.objective, gate.observed_text, gate.limit_text, gate.samples, gate.reason
            ));
        }
    };
    tell(judge(&scenario(&live_rules), &live));
    let latency_rules =
        ["p99<300ms", "p90<300ms", "p50<300ms", "avg<300ms", "avg<9ms", "avg<30ms", "max<1s", "mismatches=0"];
    tell(judge(&scenario(&latency_rules), &with_slow(500, 20)));
    tell(judge(&scenario(&["error-rate<1%", "p99<300ms"]), &with_latencies(Source::Live, &[5, 0, 5])));
    tell(judge(&scenario(&["canary-share=10%"]), &split(2_000, 200)));
    tell(judge(&scenario(&["canary-share=10%"]), &split(2_000, 400)));
    tell(judge(&scenario(&["canary-share=10%"]), &split(400, 40)));
    insta::assert_snapshot!(lines.join("\n"));
}

/// A window would judge requests from outside of it, or nothing would be judged and pass.
#[test]
fn a_window_judges_its_own_requests() {
    // The first half is slow.
    let recording = with_latencies(Source::Simulated, &[vec![500; 1_000], vec![5; 1_000]].concat());
    let windowed = |from: Option<u64>, to: Option<u64>| {
        let mut scenario = scenario(&["p99<300ms"]);
        scenario.objectives[0].from = from.map(Duration::from_s);
        scenario.objectives[0].to = to.map(Duration::from_s);
        judge(&scenario, &recording).remove(0)
    };
    let second_half = windowed(Some(50), None);
    assert_eq!((second_half.verdict, second_half.samples), (Verdict::Pass, 1_000));
    assert_eq!(second_half.objective, "p99<300ms (from 50s)");
    let first_half = windowed(None, Some(50));
    assert_eq!((first_half.verdict, first_half.samples), (Verdict::Fail, 1_000));
    assert_eq!(windowed(Some(40), Some(60)).verdict, Verdict::Fail);
}

/// A compressed flight would be judged in the wrong window, or by a rate that only compression made.
#[test]
fn a_slice_is_judged_in_scenario_time() {
    let plan = FlightPlan { from: Duration::from_s(20), to: Duration::from_s(60), compress: 4.0 };
    let mut scenario = Scenario { flight: Some(plan), ..scenario(&["rps>=9", "p50<300ms", "p50<300ms"]) };
    scenario.objectives[1].from = Some(Duration::from_s(40));
    scenario.objectives[2].from = Some(Duration::from_s(70));
    // Forty seconds of ten a second in ten seconds of flight; slow until 40 s of the scenario.
    let mut recording = recording(Source::Live);
    recording.meta.duration_ns = 10 * SECOND;
    recording.meta.flight = Flight::Slice;
    for n in 0..400 {
        recording.request(Request::answered(n * 25 * MS, if n < 200 { 500 * MS } else { 5 * MS }, 0));
    }
    let gates = judge(&scenario, &recording);
    assert_eq!(gates[0].observed, Some(10.0), "{}", gates[0].reason);
    assert_eq!((gates[1].verdict, gates[1].samples), (Verdict::Pass, 200));
    assert_eq!(gates[2].verdict, Verdict::NotJudged, "{}", gates[2].reason);
}

/// `for canary` would judge the stable revision's requests, or those from before the split.
#[test]
fn a_scope_judges_its_own_requests() {
    let mut recording = split(2_000, 1_000);
    for request in &mut recording.requests {
        request.latency_ns = if request.revision == Some(1) { 500 * MS } else { 5 * MS };
    }
    for n in 0..100 {
        recording.request(Request::answered(n * 100 * MS, 900 * MS, 0)); // before the split
    }
    for (rule, verdict, samples) in [
        ("p95<300ms for canary", Verdict::Fail, 1_000),
        ("p95<300ms for stable", Verdict::Pass, 1_000),
        ("p95<300ms for a-00002", Verdict::Fail, 1_000),
        ("p95<300ms for a-00001", Verdict::Fail, 1_100),
        ("p95<300ms for a-00003", Verdict::Inconclusive, 0),
        ("rps>=9 for canary", Verdict::Pass, 1_000),
    ] {
        let gate = gate(rule, &recording);
        assert_eq!((gate.verdict, gate.samples), (verdict, samples), "{rule}: {}", gate.reason);
    }
}

/// A third revision would be taken for the canary before it gets any traffic.
#[test]
fn the_canary_is_the_newest_revision_of_the_split() {
    let mut recording = split(2_000, 200);
    // Made in the middle of the split, never routed to.
    recording.revision(Revision {
        name: "a-00003".into(),
        storage_uri: "s3://models/a-00003".into(),
        created_ns: 40 * SECOND,
    });
    let share = gate("canary-share=10%", &recording);
    assert_eq!((share.verdict, share.samples), (Verdict::Pass, 2_000), "{}", share.reason);
    // From 90 s on it is, at the stable revision's cost.
    for n in 0..1_000 {
        let is_canary = n % 10 == 0;
        let request = Request::answered(90 * SECOND + n * MS, 5 * MS, if is_canary { 2 } else { 0 });
        recording.request(Request { weight_percent: if is_canary { 10 } else { 90 }, ..request });
    }
    let share = gate("canary-share=10%", &recording);
    assert_eq!(
        (share.verdict, share.samples, share.observed),
        (Verdict::Pass, 3_000, Some(0.1)),
        "{}",
        share.reason
    );
}

/// Starts of further replicas would be counted as cold starts, or those of another revision.
#[test]
fn a_cold_start_is_a_start_from_zero_that_a_request_waited_for() {
    let mut recording = split(2_000, 200);
    for (t_s, revision, activated) in [
        (0, "a-00001", true),
        (30, "a-00001", false),
        (30, "a-00002", true),
        (50, "a-00002", true),
        (99, "a-00001", true),
    ] {
        recording.cold_start(ColdStart {
            t_ns: t_s * SECOND,
            revision: revision.into(),
            pod: format!("{revision}-{t_s}"),
            phases: vec![("load".into(), 250 * MS)],
            activated,
        });
    }
    let count = |rule: &str| gate(rule, &recording).observed;
    assert_eq!(count("cold-starts<=3"), Some(4.0));
    assert_eq!(count("cold-starts<=3 for a-00001"), Some(2.0));
    assert_eq!(count("cold-starts<=3 for canary"), Some(2.0));
    let mut windowed = scenario(&["cold-starts<=3"]);
    windowed.objectives[0].from = Some(Duration::from_s(40));
    windowed.objectives[0].to = Some(Duration::from_s(99));
    assert_eq!(judge(&windowed, &recording)[0].observed, Some(1.0));
}

/// A run that checked nothing would be green.
#[test]
fn nothing_checked_is_never_a_pass() {
    let with = |source, prediction| {
        let mut recording = with_latencies(source, &[5; 100]);
        for request in &mut recording.requests {
            request.prediction = prediction;
        }
        recording
    };
    let rule = "mismatches=0";
    assert_eq!(gate(rule, &with(Source::Live, Prediction::Equal)).verdict, Verdict::Pass);
    assert_eq!(gate(rule, &with(Source::Live, Prediction::Different)).verdict, Verdict::Fail);
    assert_eq!(gate(rule, &with(Source::Live, Prediction::Unchecked)).verdict, Verdict::Inconclusive);
    assert_eq!(gate(rule, &with(Source::Simulated, Prediction::Equal)).verdict, Verdict::NotJudged);
    assert_eq!(overall(&[]), Verdict::Inconclusive);
}

/// A run would be green though a gate failed, or red though none did.
#[test]
fn the_gravest_verdict_wins() {
    use Verdict::{Fail, Inconclusive, NotJudged, Pass};
    let gates = |verdicts: &[Verdict]| -> Vec<Gate> {
        let one = gate("p50<1s", &with_slow(100, 0));
        verdicts.iter().map(|verdict| Gate { verdict: *verdict, ..one.clone() }).collect()
    };
    for (verdicts, all, exit_code) in [
        (&[Pass, Pass][..], Pass, 0),
        (&[Pass, NotJudged], Pass, 0),
        (&[Pass, Inconclusive], Inconclusive, 3),
        (&[Inconclusive, Fail, Pass], Fail, 1),
        (&[NotJudged], Inconclusive, 3),
        (&[], Inconclusive, 3),
    ] {
        assert_eq!(overall(&gates(verdicts)), all, "{verdicts:?}");
        assert_eq!(overall(&gates(verdicts)).exit_code(), exit_code);
    }
}

/// An objective would be judged on a run that it is not meant for.
#[test]
fn an_objective_is_judged_where_it_says() {
    let mut scenario = scenario(&["p50<1s", "p50<1s"]);
    scenario.objectives[0].on_live = false;
    scenario.objectives[1].on_simulated = false;
    let verdicts = |source| -> Vec<Verdict> {
        judge(&scenario, &with_latencies(source, &[5; 100])).iter().map(|gate| gate.verdict).collect()
    };
    assert_eq!(verdicts(Source::Simulated), [Verdict::Pass, Verdict::NotJudged]);
    assert_eq!(verdicts(Source::Live), [Verdict::NotJudged, Verdict::Pass]);
}
