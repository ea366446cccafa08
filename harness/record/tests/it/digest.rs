//! Counting instead of keeping.

use proptest::prelude::*;
use windtunnel_record::digest::{
    MOST_BUCKETS, MOST_CAUSES, MOST_DECISIONS, MOST_KEPT, MOST_PHASES, MOST_POINTS,
};
use windtunnel_record::judge::judge;
use windtunnel_record::quantile::{self, LatencyHistogram, RELATIVE_ERROR, sorted_latencies};
use windtunnel_record::{
    ColdStart, Decision, Digest, Event, Meta, Prediction, Recorder, Recording, Request, Revision, Source,
};
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::{Duration, Scenario};

use crate::flights::{MS, SECOND, recording, scenario};

/// Every rule that can be judged on counts alone.
const RULES: [&str; 28] = [
    "p99<300ms",
    "p99<=300ms",
    "p90<100ms",
    "p50<20ms",
    "p99.9<1s",
    "avg<50ms",
    "avg<=120ms",
    "max<2s",
    "error-rate<1%",
    "error-rate<=0%",
    "rps>=5",
    "cold-starts<=2",
    "cold-starts<=1 for canary",
    "cold-requests<40",
    "mismatches=0",
    "canary-share=10%",
    "p95<200ms for canary",
    "p95<200ms for stable",
    "error-rate<5% for a-00001",
    "p50<30ms for a",
    "queued<100",
    "replicas<=3",
    "cost<2.5/h",
    "recovery<60s",
    "ttft-p90<40ms",
    "ttft-p50<=10ms for canary",
    "tpot-p50<9ms",
    "tpot-p95<100ms for a-00001",
];

fn rules() -> Scenario {
    let mut scenario = scenario(&[]);
    for (index, rule) in RULES.iter().enumerate() {
        let Ok(mut objective) = Objective::parse(rule) else { panic!("{rule}") };
        scenario.objectives.push(objective.clone());
        if index % 3 == 0 {
            objective.from = Some(Duration::from_s(20));
            objective.to = Some(Duration::from_s(70));
            scenario.objectives.push(objective);
        }
    }
    scenario
}

/// Hands a recording to a recorder as the simulator does: in order of time.
fn replay(recording: &Recording, recorder: &mut dyn Recorder) {
    for revision in &recording.revisions {
        recorder.revision(revision.clone());
    }
    enum Item {
        Event(Event),
        Start(ColdStart),
        Sample(String, String, f64),
        Answer(Request),
    }
    let mut items: Vec<(u64, Item)> = Vec::new();
    items.extend(recording.events.iter().map(|event| (event.t_ns, Item::Event(event.clone()))));
    items.extend(recording.cold_starts.iter().map(|start| (start.t_ns, Item::Start(start.clone()))));
    for (key, points) in &recording.series {
        let label = key.labels.values().next().cloned().unwrap_or_default();
        items.extend(
            points
                .iter()
                .map(|point| (point.t_ns, Item::Sample(key.name.clone(), label.clone(), point.value))),
        );
    }
    items.extend(recording.requests.iter().map(|request| (request.done_ns(), Item::Answer(request.clone()))));
    items.sort_by_key(|(t_ns, _)| *t_ns);
    for (t_ns, item) in items {
        match item {
            Item::Event(event) => recorder.event(event),
            Item::Start(start) => recorder.cold_start(start),
            Item::Sample(name, label, value) => recorder.sample(&name, &[("revision", &label)], t_ns, value),
            Item::Answer(request) => recorder.request(request),
        }
    }
}

fn request() -> impl Strategy<Value = Request> {
    let latency = prop_oneof![6 => 1..30 * MS, 3 => 30 * MS..400 * MS, 1 => 400 * MS..4 * SECOND];
    let split =
        prop_oneof![3 => Just((0_u16, 100_u8)), 2 => Just((0, 90)), 1 => Just((1, 10)), 1 => Just((2, 5))];
    let outcome =
        prop_oneof![20 => Just((200_u16, None)), 1 => Just((503, None)), 1 => Just((0, Some("timed out")))];
    let prediction =
        prop_oneof![Just(Prediction::Unchecked), Just(Prediction::Equal), Just(Prediction::Different)];
    let extras = (
        prop_oneof![4 => Just(0_u64), 1 => 0..50 * MS],
        prop_oneof![9 => Just(0_u64), 1 => 0..SECOND],
        any::<bool>(),
    );
    (0..110 * SECOND, latency, split, outcome, prediction, extras).prop_map(
        |(intended_ns, latency_ns, (revision, weight_percent), (status, error), prediction, extras)| {
            let (lag_ns, held_ns, is_known) = extras;
            Request {
                sent_ns: intended_ns + lag_ns.min(latency_ns),
                latency_ns,
                status,
                revision: (is_known || status == 200).then_some(revision),
                weight_percent,
                held_ns,
                // Some answers have no tokens, others only one.
                first_token_ns: (latency_ns % 5 > 0).then_some(latency_ns / 3),
                token_ns: (latency_ns % 5 > 1).then_some(latency_ns / 7),
                prediction,
                error: error.map(str::to_owned),
                ..Request::answered(intended_ns, latency_ns, revision)
            }
        },
    )
}

fn run(requests: Vec<Request>, series: &[(u64, f64)], faults: &[u64], starts: &[(u64, usize)]) -> Recording {
    let mut recording = recording(Source::Live);
    recording.revision(Revision {
        name: "a-00003".into(),
        storage_uri: String::new(),
        created_ns: 60 * SECOND,
    });
    recording.requests = requests;
    for (index, (t_ns, value)) in series.iter().enumerate() {
        let name = ["requests.queued", "replicas.ready", "replicas.wanted", "cost.per_hour"][index % 4];
        let label = if index % 8 < 4 { "a-00001" } else { "a-00002" };
        recording.sample(name, &[("revision", label)], *t_ns, *value);
    }
    recording.series.values_mut().for_each(|points| points.sort_by_key(|point| point.t_ns));
    for t_ns in faults {
        recording.event(Event {
            t_ns: *t_ns,
            kind: Event::FAULT.into(),
            target: "a".into(),
            text: "pod-crash".into(),
        });
    }
    for (t_ns, revision) in starts {
        recording.cold_start(ColdStart {
            t_ns: *t_ns,
            revision: format!("a-0000{}", revision + 1),
            pod: "pod".into(),
            phases: vec![("load".into(), 40 * MS)],
            activated: t_ns % 3 > 0,
        });
    }
    recording.sort();
    recording
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A long run would get other verdicts than a short one, for the sole reason that it is counted.
    #[test]
    fn counting_gives_the_verdicts_that_keeping_gives(
        requests in proptest::collection::vec(request(), 0..1500),
        series in proptest::collection::vec((0_u64..110, 0_u32..8), 0..120),
        faults in proptest::collection::btree_set(0_u64..100 * SECOND, 0..3),
        starts in proptest::collection::vec((0_u64..100 * SECOND, 0_usize..3), 0..6),
    ) {
        let series: Vec<(u64, f64)> =
            series.into_iter().map(|(t_s, value)| (t_s * SECOND, f64::from(value))).collect();
        let faults: Vec<u64> = faults.into_iter().collect();
        let recording = run(requests, &series, &faults, &starts);
        let scenario = rules();
        let kept = judge(&scenario, &recording);
        let mut digest = Digest::judging(recording.meta.clone(), &scenario);
        replay(&recording, &mut digest);
        let counted = digest.judge();
        prop_assert_eq!(kept.len(), counted.len());
        for (kept, counted) in kept.iter().zip(&counted) {
            prop_assert_eq!(kept.verdict, counted.verdict, "{}: {} / {}", kept.objective, kept.reason, counted.reason);
            prop_assert_eq!(kept.samples, counted.samples, "{}", kept.objective);
            prop_assert_eq!(&kept.reason, &counted.reason);
            match (kept.observed, counted.observed) {
                (Some(kept), Some(counted)) => prop_assert!(
                    (kept - counted).abs() <= kept.abs() * RELATIVE_ERROR * 1.001,
                    "{} instead of {}", counted, kept
                ),
                (kept, counted) => prop_assert_eq!(kept, counted),
            }
        }
    }

    /// A long run would report other figures than a short one.
    #[test]
    fn figures_are_those_of_the_requests(requests in proptest::collection::vec(request(), 1..800)) {
        let recording = run(requests, &[], &[], &[]);
        let digest = Digest::of(&recording);
        let sorted = sorted_latencies(recording.requests.iter());
        prop_assert_eq!(digest.requests(), recording.requests.len() as u64);
        prop_assert_eq!(digest.succeeded(), sorted.len() as u64);
        prop_assert_eq!(digest.causes().map(|(_, count)| count).sum::<u64>(), digest.failed());
        let latencies = digest.latencies();
        for q in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            let exact = quantile::of_requests(recording.requests.iter(), q);
            prop_assert_eq!(exact.is_some(), latencies.quantile(q).is_some());
            if let (Some(exact), Some(found)) = (exact, latencies.quantile(q)) {
                let error = (exact as f64 - found as f64).abs();
                prop_assert!(error <= exact as f64 * RELATIVE_ERROR, "p{}: {} instead of {}", q, found, exact);
            }
        }
        prop_assert_eq!(latencies.most(), sorted.last().copied());
        let buckets = digest.time();
        prop_assert_eq!(buckets.iter().map(|bucket| bucket.offered).sum::<u64>(), digest.requests());
        prop_assert_eq!(buckets.iter().map(|bucket| bucket.served).sum::<u64>(), digest.succeeded());
        prop_assert_eq!(buckets.iter().map(|bucket| bucket.failed).sum::<u64>(), digest.failed());
        let by_revision: u64 = digest.by_revision().map(|(_, counts)| counts.latencies.len() + counts.failed).sum();
        let unrouted = recording.requests.iter().filter(|request| request.revision.is_none()).count() as u64;
        prop_assert_eq!(by_revision + unrouted, digest.requests());
        let services = digest.by_service();
        prop_assert!(services.len() <= 1 && services.keys().all(|service| *service == "a"));
    }

    /// Merging over time would lose requests or move them to another time.
    #[test]
    fn stretches_of_time_merge_without_loss(times in proptest::collection::vec(0_u64..3_000_000 * SECOND, 1..400)) {
        let mut digest = Digest::new(Meta::new("long", Source::Simulated, 1, 0));
        for t_ns in &times {
            digest.request(Request::answered(*t_ns, MS, 0));
        }
        let buckets = digest.time();
        prop_assert!(buckets.iter().len() <= MOST_BUCKETS);
        let last = times.iter().max().expect("a time") + MS;
        let needed = last / buckets.width_ns();
        prop_assert!(needed < MOST_BUCKETS as u64);
        prop_assert!(buckets.width_ns() == SECOND || needed >= MOST_BUCKETS as u64 / 2, "wider than needed");
        for (index, bucket) in buckets.iter().enumerate() {
            let start = index as u64 * buckets.width_ns();
            let expected = times.iter().filter(|t_ns| (start..start + buckets.width_ns()).contains(t_ns)).count();
            prop_assert_eq!(bucket.offered, expected as u64);
            prop_assert_eq!(bucket.latencies.len(), expected as u64);
        }
    }
}

/// A run of a week would need more memory than there is.
#[test]
fn memory_is_bounded_whatever_is_recorded() {
    let scenario = rules();
    let mut digest = Digest::judging(Meta::new("long", Source::Simulated, 1, 604_800 * SECOND), &scenario);
    for revision in 0..200 {
        digest.revision(Revision {
            name: format!("r-{revision:05}"),
            storage_uri: String::new(),
            created_ns: 0,
        });
    }
    for n in 0..200_000_u64 {
        let latency_ns = 1 << (n % 64).min(62);
        let failed = n % 5 == 0;
        digest.request(Request {
            status: if failed { 503 } else { 200 },
            error: failed.then(|| format!("cause {n}")),
            weight_percent: if n % 2 == 0 { 90 } else { 10 },
            held_ns: n % 7,
            ..Request::answered(n * 3 * SECOND, latency_ns, (n % 200) as u16)
        });
        digest.sample("requests.in_flight", &[], n * SECOND, n as f64);
        digest.sample("pods.pending", &[("reason", &(n % 10_000).to_string())], n * SECOND, 1.0);
        if n % 10 == 0 {
            digest.decision(Decision {
                t_ns: n,
                actor: "kpa".into(),
                target: "r".into(),
                from: 0,
                to: 1,
                text: String::new(),
                explanation: serde_json::Value::Null,
            });
            digest.event(Event { t_ns: n, kind: "pod".into(), target: "r".into(), text: String::new() });
            digest.cold_start(ColdStart {
                t_ns: n * SECOND,
                revision: "r-00001".into(),
                pod: "p".into(),
                phases: vec![(format!("phase {n}"), n)],
                activated: true,
            });
        }
    }
    assert!(digest.time().iter().len() <= MOST_BUCKETS);
    assert_eq!(digest.causes().count(), MOST_CAUSES);
    assert_eq!(digest.causes().map(|(_, count)| count).sum::<u64>(), 40_000);
    assert_eq!(digest.starts().phases().count(), MOST_PHASES);
    assert_eq!((digest.starts().len(), digest.starts().kept().len()), (20_000, MOST_KEPT));
    let (decisions, more) = digest.decisions();
    assert_eq!((decisions.len(), more), (MOST_DECISIONS, 18_000));
    assert!(digest.series().iter().all(|(_, series)| series.points().len() <= MOST_POINTS));
    assert!(digest.series().omitted() > 0, "it says what it left out");
    let largest = digest.time().iter().map(|bucket| bucket.latencies.buckets()).max().unwrap_or(0);
    assert!(largest <= quantile::MOST_BUCKETS);
    // Buckets of 8 bytes: over time, by revision, and a few more.
    let histograms = digest.time().iter().map(|bucket| bucket.latencies.buckets()).sum::<usize>()
        + digest.by_revision().map(|(_, counts)| counts.latencies.buckets()).sum::<usize>();
    assert!(histograms * 8 < 60_000_000, "{} bytes of buckets", histograms * 8);
    assert_eq!(digest.by_revision().last().map(|(name, _)| name), Some("other revisions"));
}

/// The extremes and the mean of a thinned series would be those of the points that happen to be kept.
#[test]
fn thinned_series_keep_their_extremes_and_their_mean() {
    let mut digest = Digest::new(Meta::new("long", Source::Simulated, 1, 100_000 * SECOND));
    for t_s in 0..100_000_u64 {
        let value = if t_s == 77_777 { 1_000.0 } else { (t_s % 10) as f64 };
        digest.sample("requests.in_flight", &[], t_s * SECOND, value);
    }
    let (_, series) = digest.series().iter().next().expect("a series");
    let most = series.most().expect("values");
    assert_eq!((most.t_ns, most.value, series.least()), (77_777 * SECOND, 1_000.0, Some(0.0)));
    let mean = series.mean_until(100_000 * SECOND).expect("values");
    assert!((mean - (4.5 + 993.0 / 100_000.0)).abs() < 1e-9, "{mean}");
    assert!(series.points().len() > MOST_POINTS / 2);
    assert!(series.points().windows(2).all(|pair| pair[0].t_ns < pair[1].t_ns));
}

/// A series that a snapshot names would be lost, or written to another one.
#[test]
fn series_are_found_by_place_and_by_key() {
    let mut recording = recording(Source::Simulated);
    let mut digest = Digest::new(recording.meta.clone());
    let other = digest.open_series("replicas.ready", &[("revision", "b")]);
    let own = digest.open_series("replicas.ready", &[("revision", "a")]);
    let foreign = recording.open_series("replicas.ready", &[("revision", "a")]);
    let text = serde_json::to_string(&own).expect("JSON");
    assert_eq!(serde_json::from_str::<windtunnel_record::SeriesId>(&text).expect("an id"), own);
    for (t_s, id) in [(0, &own), (1, &foreign), (2, &other)] {
        digest.point(id, t_s * SECOND, 1.0);
        recording.point(id, t_s * SECOND, 1.0);
    }
    let points: Vec<usize> = digest.series().iter().map(|(_, series)| series.points().len()).collect();
    assert_eq!(points, [2, 1]);
    assert_eq!(recording.points("replicas.ready", &[("revision", "a")]).len(), 2);
}

/// The ends of a histogram would be off by the width of a bucket.
#[test]
fn extremes_are_exact() {
    let mut latencies = LatencyHistogram::new();
    for latency in [1_234_567, 89_012_345, 3, u64::MAX] {
        latencies.record(latency);
    }
    assert_eq!((latencies.quantile(0.0), latencies.quantile(1.0)), (Some(3), Some(u64::MAX)));
    assert_eq!((latencies.least(), latencies.most()), (Some(3), Some(u64::MAX)));
}
