//! Requests simulated in a second, through gateway, activator and autoscaler, with a recorder that only counts.

use std::collections::BTreeMap;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use windtunnel_api::manifest;
use windtunnel_record::{ColdStart, Decision, Event, Recorder, Request, Revision};
use windtunnel_scenario::load::{Arrival, Flight, Work};
use windtunnel_scenario::{Distribution, Duration, Scenario};
use windtunnel_sim::engine::Stream;
use windtunnel_sim::server::Draw;
use windtunnel_sim::{Plan, simulate_arrivals};

const REQUESTS: u32 = 1_000_000;

#[derive(Default)]
struct Counting {
    requests: u64,
    revisions: BTreeMap<String, u16>,
}

impl Recorder for Counting {
    fn revision(&mut self, revision: Revision) -> u16 {
        let next = self.revisions.len() as u16;
        *self.revisions.entry(revision.name).or_insert(next)
    }
    fn request(&mut self, _: Request) {
        self.requests += 1;
    }
    fn sample(&mut self, _: &str, _: &[(&str, &str)], _: u64, _: f64) {}
    fn decision(&mut self, _: Decision) {}
    fn event(&mut self, _: Event) {}
    fn cold_start(&mut self, _: ColdStart) {}
}

/// A plan whose load is replaced by the bench's own arrivals.
fn plan(predictor: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: digits}}\nspec:\n  \
         predictor: {{model: {{modelFormat: {{name: onnx}}, storageUri: 's3://models/digits/v1'}}, {predictor}}}\n"
    );
    std::fs::write(folder.path().join("isvc.yaml"), &text).expect("written");
    std::fs::write(folder.path().join("rows.jsonl"), "{\"body\": {}}\n").expect("written");
    let scenario = "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {name: bench}\nspec:\n  \
                    duration: 1d\n  manifests: [isvc.yaml]\n  load:\n    target: digits\n    protocol: v1\n    \
                    requests: rows.jsonl\n    timeout: 30s\n    arrivals: {process: constant, phases: \
                    [{for: 1s, rate: 1/s}]}\n  objectives: [error-rate<1%]\n";
    let scenario = Scenario::parse(scenario, &folder.path().join("scenario.yaml")).expect("a scenario");
    let manifests = manifest::parse(&text, "isvc.yaml").expect("a manifest");
    Plan::new(&scenario, &manifests, Flight::Whole).expect("a plan")
}

/// Poisson arrivals that end a simulated day after `REQUESTS` of them.
fn arrivals(rate_per_s: f64) -> impl Iterator<Item = Arrival> {
    let mut gaps = Stream::named(42, "arrivals");
    let mean_ns = Draw::exponential(1e9 / rate_per_s).expect("a mean");
    let mut at_ns = 0;
    (0..REQUESTS).map(move |row| {
        at_ns += mean_ns.draw(&mut gaps);
        Arrival { at_ns, row, work: Work::Drawn }
    })
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("requests");
    group.throughput(Throughput::Elements(u64::from(REQUESTS)));
    group.sample_size(10);
    let cases = [
        ("one pod with 100 slots", "minReplicas: 1, maxReplicas: 1, containerConcurrency: 100", 700.0),
        ("100 pods, KPA", "minReplicas: 1, maxReplicas: 150, scaleTarget: 1", 700.0),
    ];
    for (name, predictor, rate_per_s) in cases {
        let mut plan = plan(predictor);
        plan.environment.service_time = Distribution::Exponential { mean: Duration::from_ms(100) };
        plan.duration_ns = (f64::from(REQUESTS) / rate_per_s * 1.1e9) as u64;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut recorder = Counting::default();
                simulate_arrivals(&plan, 42, arrivals(rate_per_s), &mut recorder)
                    .expect("a sound simulation");
                assert_eq!(recorder.requests, u64::from(REQUESTS));
                recorder.requests
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
