//! What counting one request costs: it is on the path of every simulated request.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use windtunnel_record::{Digest, Meta, Recorder, Request, Revision, Source};
use windtunnel_scenario::Scenario;

const REQUESTS: u64 = 1_000_000;

/// A scenario with usual objectives, in memory.
fn scenario() -> Scenario {
    let text = "apiVersion: windtunnel.dev/v1alpha1\nkind: Scenario\nmetadata: {name: bench}\nspec:\n  duration: 10m\n  \
                manifests: [isvc.yaml]\n  load:\n    target: digits\n    protocol: v1\n    requests: rows.jsonl\n    \
                timeout: 30s\n    arrivals: {process: constant, phases: [{for: 1s, rate: 1/s}]}\n  objectives: \
                [p99<300ms, p50<20ms, error-rate<1%, rps>=100, cold-starts<=3]\n";
    let folder = std::env::temp_dir().join("windtunnel-bench-digest");
    std::fs::create_dir_all(&folder).expect("a folder");
    let service = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: digits}\nspec:\n  predictor: \
                   {model: {modelFormat: {name: onnx}, storageUri: 's3://models/digits/v1'}}\n";
    std::fs::write(folder.join("isvc.yaml"), service).expect("written");
    std::fs::write(folder.join("rows.jsonl"), "{\"body\": {}}\n").expect("written");
    Scenario::parse(text, &folder.join("scenario.yaml")).expect("a scenario")
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Elements(REQUESTS));
    group.sample_size(20);
    let meta = || Meta::new("bench", Source::Simulated, 42, 600_000_000_000);
    let judged = scenario();
    type Make<'a> = Box<dyn Fn() -> Digest + 'a>;
    let cases: [(&str, Make<'_>); 2] = [
        ("counted", Box::new(|| Digest::new(meta()))),
        ("counted and judged by five objectives", Box::new(|| Digest::judging(meta(), &judged))),
    ];
    for (name, make) in &cases {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                let mut digest = make();
                let revision = digest.revision(Revision {
                    name: "digits-predictor-00001".to_owned(),
                    storage_uri: String::new(),
                    created_ns: 0,
                });
                let mut state = 42_u64;
                for n in 0..REQUESTS {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Latencies over a decade and a half, as services have them.
                    let latency_ns = 2_000_000 + (state >> 38) + ((state >> 60) * (state >> 40));
                    digest.request(Request::answered(n * 500_000, latency_ns, revision));
                }
                digest
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
