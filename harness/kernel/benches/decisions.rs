//! How long one decision takes: an autoscaler's tick, the choice of a revision and of a pod, a window's drift.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::autoscale::hpa;
use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, Config, Observation, Reachability, Stat, TICK_NS, Trigger,
};
use windtunnel_kernel::drift::{Reference, Test};
use windtunnel_kernel::routing::balance::{RoundRobin, first_available, random_choice_of_two};
use windtunnel_kernel::routing::split::TrafficSplit;
use windtunnel_kernel::routing::throttler::{Bugs, Throttler};

const SECOND: u64 = 1_000_000_000;

fn kpa_tick(criterion: &mut Criterion) {
    let start_ns = 1_700_000_000 * SECOND;
    let mut autoscaler = Autoscaler::new(Config::default(), 3, start_ns);
    let mut seen = Observation {
        now_ns: start_ns,
        ready: 3,
        current_replicas: 3,
        reachability: Reachability::Reachable,
        activator_answers: true,
    };
    // Two reports and a tick: what two seconds of one revision cost.
    criterion.bench_function("kpa tick", |bencher| {
        bencher.iter(|| {
            for part in [0, SECOND] {
                let at_ns = seen.now_ns + part;
                black_box(autoscaler.record(&Stat { at_ns, average_concurrency: 200.0, ..Stat::default() }));
            }
            seen.now_ns += TICK_NS;
            black_box(autoscaler.step(Trigger::Tick, &seen))
        });
    });
}

/// A sync of an autoscaler on CPU: 990 pods ready, five starting, five without metrics.
fn hpa_sync(criterion: &mut Criterion) {
    const PODS: usize = 1_000;
    let start_ns = 1_700_000_000 * SECOND;
    let text = r#"{"scaleTargetRef": {"name": "web"}, "minReplicas": 1, "maxReplicas": 2000, "metrics": [{"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}], "behavior": {}}"#;
    let spec: hpa::HpaSpec = serde_json::from_str(text).expect("a manifest");
    let mut autoscaler = hpa::Autoscaler::new(spec, hpa::Options::default()).expect("allowed");
    let started_ns = |pod: usize| if pod < 5 { start_ns } else { start_ns - 900 * SECOND };
    let ready = |pod: usize| hpa::Readiness { status: hpa::ReadyStatus::True, since_ns: started_ns(pod) };
    let pod =
        |pod| hpa::Pod { ready: Some(ready(pod)), started_ns: Some(started_ns(pod)), ..hpa::Pod::default() };
    let sample = |pod: usize| hpa::Sample {
        value_milli: 300 + i64::try_from(pod % 100).expect("small"),
        at_ns: start_ns,
        window_ns: 30 * SECOND,
    };
    let mut seen = hpa::Observation {
        now_ns: start_ns,
        scale: Some(hpa::Scale { spec_replicas: 1000, status_replicas: 1000 }),
        pods: (0..PODS).map(pod).collect(),
        readings: vec![hpa::Reading::Pods {
            samples: (0..PODS).map(|pod| (pod < PODS - 5).then(|| sample(pod))).collect(),
            requests_milli: vec![Some(500); PODS],
            others_milli: Vec::new(),
        }],
        ..hpa::Observation::default()
    };
    criterion.bench_function("hpa sync, 1000 pods", |bencher| {
        bencher.iter(|| {
            seen.now_ns += 15 * SECOND;
            black_box(autoscaler.step(black_box(&seen)))
        });
    });
}

fn routing_choice(criterion: &mut Criterion) {
    for (name, weights) in [
        ("routing choice, split over 2 revisions", &[90, 10][..]),
        ("routing choice, split over 5 revisions", &[50, 20, 15, 10, 5]),
    ] {
        let mut split = TrafficSplit::new(weights);
        criterion.bench_function(name, |bencher| bencher.iter(|| black_box(split.next())));
    }

    let mut generator = Pcg64Mcg::seed_from_u64(42);
    let mut rng = || generator.next_u64();
    let in_flight: Vec<u32> = (0..100).map(|pod| pod % 7).collect();
    criterion.bench_function("routing choice, less loaded of two out of 100 pods", |bencher| {
        bencher.iter(|| black_box(random_choice_of_two(black_box(&in_flight), &mut rng)));
    });
    // The first nine pods are full.
    let nearly_full: Vec<u32> = (0..100).map(|pod| u32::from(pod < 9) * 3).collect();
    criterion.bench_function("routing choice, first available of 100 pods", |bencher| {
        bencher.iter(|| black_box(first_available(black_box(&nearly_full), 3)));
    });
    let mut turn = RoundRobin::new();
    criterion.bench_function("routing choice, round robin over 100 pods", |bencher| {
        bencher.iter(|| black_box(turn.choose(black_box(&in_flight), 6)));
    });

    let pods: Vec<String> = (0..100).map(|pod| format!("10.0.{}.{}:8012", pod / 10, pod % 10)).collect();
    let mut throttler = Throttler::new(0, Bugs::default());
    throttler.update_pods(&pods, false);
    criterion.bench_function("routing choice, throttler: in, choose of 100 pods, out", |bencher| {
        bencher.iter(|| {
            black_box(throttler.offer());
            let pod = throttler.choose(&mut rng);
            pod.map(|pod| black_box(throttler.finish(pod)))
        });
    });
}

fn drift_window(criterion: &mut Criterion) {
    let mut generator = Pcg64Mcg::seed_from_u64(42);
    let mut draw = |count| -> Vec<f64> { (0..count).map(|_| (generator.next_u64() >> 11) as f64).collect() };
    let (reference, window) = (draw(2000), draw(500));
    let reference = Reference::numbers(&reference).expect("numbers");
    for test in [Test::Ks, Test::Psi] {
        criterion.bench_function(&format!("drift of 500 values, {test}"), |bencher| {
            bencher.iter(|| black_box(reference.compare(test, black_box(&window), 0.05)));
        });
    }
}

criterion_group!(benches, kpa_tick, hpa_sync, routing_choice, drift_window);
criterion_main!(benches);
