//! How long one decision takes: an autoscaler's tick, the next backend of a split, the choice of a pod.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, Config, Observation, Reachability, Stat, TICK_NS, Trigger,
};
use windtunnel_kernel::routing::balance::random_choice_of_two;
use windtunnel_kernel::routing::split::TrafficSplit;

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

fn split_next(criterion: &mut Criterion) {
    for (name, weights) in
        [("split next, 2 backends", &[90, 10][..]), ("split next, 5 backends", &[50, 20, 15, 10, 5])]
    {
        let mut split = TrafficSplit::new(weights);
        criterion.bench_function(name, |bencher| bencher.iter(|| black_box(split.next())));
    }
}

fn routing_choice(criterion: &mut Criterion) {
    let mut generator = Pcg64Mcg::seed_from_u64(42);
    let mut rng = || generator.next_u64();
    let in_flight: Vec<u32> = (0..100).map(|pod| pod % 7).collect();
    criterion.bench_function("random choice of two, 100 pods", |bencher| {
        bencher.iter(|| black_box(random_choice_of_two(black_box(&in_flight), &mut rng)));
    });
}

criterion_group!(benches, kpa_tick, split_next, routing_choice);
criterion_main!(benches);
