//! Did a run keep up, and what was it short of?

use windtunnel_record::bottleneck::Resource;
use windtunnel_record::stability::{Level, assess};
use windtunnel_record::{ColdStart, Decision, Digest, Meta, Recorder, Request, Revision, Source};
use windtunnel_scenario::load::stream;

use crate::flights::{MS, SECOND};

const REVISION: &str = "digits-predictor-00001";

/// An M/M/1 queue with 10 arrivals a second, sampled each second, with its load of `rho`.
fn queue(rho: f64, seconds: u64, seed: u64) -> Digest {
    let mut random = stream(seed, "queue");
    let mut digest = Digest::new(Meta::new("mm1", Source::Simulated, seed, seconds * SECOND));
    let revision =
        digest.revision(Revision { name: REVISION.into(), storage_uri: String::new(), created_ns: 0 });
    let (arrival_rate, service_rate) = (10.0, 10.0 / rho);
    let mut exponential = |rate: f64| -(1.0 - random.unit()).ln() / rate;
    let (mut arrival_s, mut free_s) = (0.0_f64, 0.0_f64);
    let mut leaves: Vec<(f64, f64)> = Vec::new();
    loop {
        arrival_s += exponential(arrival_rate);
        if arrival_s >= seconds as f64 {
            break;
        }
        free_s = free_s.max(arrival_s) + exponential(service_rate);
        leaves.push((arrival_s, free_s));
        let latency_ns = ((free_s - arrival_s) * 1e9) as u64;
        digest.request(Request::answered((arrival_s * 1e9) as u64, latency_ns, revision));
    }
    let (mut come, mut gone) = (0, 0);
    for t_s in 0..seconds {
        let now_s = t_s as f64;
        while come < leaves.len() && leaves[come].0 <= now_s {
            come += 1;
        }
        while gone < leaves.len() && leaves[gone].1 <= now_s {
            gone += 1;
        }
        let in_flight = (come - gone) as f64;
        let labels = [("revision", REVISION)];
        digest.sample("requests.in_flight", &[], t_s * SECOND, in_flight);
        digest.sample("requests.queued", &labels, t_s * SECOND, (in_flight - 1.0).max(0.0));
        digest.sample("server.utilisation", &labels, t_s * SECOND, f64::from(u8::from(in_flight > 0.0)));
        digest.sample("replicas.wanted", &labels, t_s * SECOND, 1.0);
        digest.sample("replicas.ready", &labels, t_s * SECOND, 1.0);
    }
    digest
}

/// A capacity decision would be taken on latencies that only say how long the run was.
#[test]
fn queues_are_told_apart_by_their_load() {
    for seed in 0..40 {
        let calm = assess(&queue(0.7, 4_000, seed)).expect("long enough");
        assert_eq!(calm.level, Level::Stable, "seed {seed}: {}", calm.sentence);
        assert!(!calm.near_saturation && calm.warning().is_none() && calm.bottleneck.is_none());
        let over = assess(&queue(1.2, 1_000, seed)).expect("long enough");
        assert_eq!(over.level, Level::Overloaded, "seed {seed}: {}", over.sentence);
        // 10 arrivals and 8.33 services a second: each second adds 1/6 s to the time in the system.
        assert!((over.growth.per_s - 1.0 / 6.0).abs() < 0.06, "seed {seed}: {:?}", over.growth);
        assert!(over.warning().expect("a warning").contains("overloaded"));
    }
}

/// A queue that only just keeps up would be called overloaded, or fine.
#[test]
fn a_queue_near_saturation_is_backlogged() {
    let (mut backlogged, mut overloaded) = (0, 0);
    for seed in 0..40 {
        let found = assess(&queue(0.98, 40_000, seed)).expect("long enough");
        backlogged += u32::from(found.level == Level::Backlogged);
        overloaded += u32::from(found.level == Level::Overloaded);
        assert!(found.near_saturation, "seed {seed}: {}", found.sentence);
        assert!(found.utilisation.is_some_and(|share| (0.9..1.0).contains(&share)));
    }
    assert!(backlogged >= 36 && overloaded <= 3, "{backlogged} backlogged and {overloaded} overloaded of 40");
}

/// A load that rises, on a service that follows, would be taken for an overload: more requests are in flight, but none
/// stays longer.
#[test]
fn a_growing_load_is_no_overload() {
    let mut digest = Digest::new(Meta::new("ramp", Source::Simulated, 1, 600 * SECOND));
    for t_s in 0..600_u64 {
        let rate = 10 + t_s;
        for n in 0..rate {
            digest.request(Request::answered(t_s * SECOND + n * SECOND / rate, 100 * MS, 0));
        }
        digest.sample("requests.in_flight", &[], t_s * SECOND, rate as f64 * 0.1 + (t_s % 3) as f64 * 0.01);
    }
    let found = assess(&digest).expect("long enough");
    assert_eq!(found.level, Level::Stable, "{}", found.sentence);
}

/// A queue that goes on growing while the load falls would pass for a wandering one.
#[test]
fn a_falling_load_can_be_an_overload() {
    let mut digest = Digest::new(Meta::new("falling", Source::Simulated, 1, 600 * SECOND));
    for t_s in 0..600_u64 {
        let rate = if t_s < 200 { 100 } else { 20 };
        for n in 0..rate {
            digest.request(Request::answered(t_s * SECOND + n * SECOND / rate, 100 * MS, 0));
        }
        digest.sample("requests.in_flight", &[], t_s * SECOND, 2.0 * t_s as f64);
    }
    let found = assess(&digest).expect("long enough");
    assert_eq!(found.level, Level::Overloaded, "{}", found.sentence);
}

/// A service that refuses what it cannot serve would be called stable, since its queue never grows.
#[test]
fn refusing_is_an_overload() {
    let mut digest = Digest::new(Meta::new("refusing", Source::Simulated, 1, 300 * SECOND));
    for n in 0..3_000_u64 {
        let request = Request::answered(n * 100 * MS, 50 * MS, 0);
        let refused = n % 8 == 0;
        digest.request(if refused { Request { status: 503, ..request } } else { request });
    }
    (0..300).for_each(|t_s| digest.sample("requests.in_flight", &[], t_s * SECOND, 0.5));
    let found = assess(&digest).expect("long enough");
    assert_eq!(found.level, Level::Overloaded);
    assert!(found.sentence.contains("12.5 %"), "{}", found.sentence);
}

/// A short run, or one in which nothing was counted, would be called stable.
#[test]
fn what_was_not_measured_is_not_stable() {
    assert_eq!(assess(&queue(0.7, 10, 1)), None);
    assert_eq!(assess(&Digest::new(Meta::new("empty", Source::Live, 1, 100 * SECOND))), None);
    let mut requests_only = Digest::new(Meta::new("requests", Source::Live, 1, 100 * SECOND));
    (0..1_000).for_each(|n| requests_only.request(Request::answered(n * 100 * MS, MS, 0)));
    assert_eq!(assess(&requests_only), None);
}

/// Ten minutes of an overload with what else was recorded.
fn overloaded(extra: impl Fn(&mut Digest, u64)) -> Digest {
    let mut digest = queue(1.2, 600, 7);
    (0..600).for_each(|t_s| extra(&mut digest, t_s));
    digest
}

/// The user would buy replicas where GPUs are short, or the other way round.
#[test]
fn the_bottleneck_is_named_with_numbers() {
    let bottleneck = |digest: &Digest| assess(digest).expect("long enough").bottleneck.expect("a bottleneck");

    let mut digest = overloaded(|_, _| {});
    digest.decision(Decision {
        t_ns: 5 * SECOND,
        actor: "kpa".into(),
        target: REVISION.into(),
        from: 1,
        to: 1,
        text: "limited to 1 by max-scale".into(),
        explanation: serde_json::Value::Null,
    });
    let found = bottleneck(&digest);
    assert_eq!((found.resource, found.target.as_str()), (Resource::Replicas, REVISION));
    assert!(found.sentence.contains("all of its 1 replicas, 100 % busy"), "{}", found.sentence);
    assert!(found.sentence.contains("limited to 1 by max-scale"), "{}", found.sentence);

    let found = bottleneck(&overloaded(|digest, t_s| {
        digest.sample("pods.pending", &[("reason", "gpu")], t_s * SECOND, 3.0);
        digest.sample("nodes.gpu_allocated", &[("pool", "a100")], t_s * SECOND, 1.0);
    }));
    assert_eq!((found.resource, found.target.as_str()), (Resource::Nodes, "gpu"));
    assert!(found.sentence.contains("Up to 3 pods") && found.sentence.contains("a100"), "{}", found.sentence);

    let mut starting = overloaded(|digest, t_s| {
        digest.sample("replicas.wanted", &[("revision", "digits-predictor-00002")], t_s * SECOND, 5.0);
        digest.sample("replicas.ready", &[("revision", "digits-predictor-00002")], t_s * SECOND, 1.0);
    });
    starting.cold_start(ColdStart {
        t_ns: 0,
        revision: "digits-predictor-00002".into(),
        pod: "p".into(),
        phases: vec![("image-pull".into(), 5 * SECOND), ("download".into(), 40 * SECOND)],
        activated: false,
    });
    let found = bottleneck(&starting);
    assert_eq!(found.resource, Resource::ColdStarts);
    assert!(found.sentence.contains("45 s (median), most of it download (40 s)"), "{}", found.sentence);

    let found = bottleneck(&overloaded(|digest, t_s| {
        digest.sample("storage.utilisation", &[("prefix", "s3://")], t_s * SECOND, 0.99);
    }));
    assert_eq!((found.resource, found.target.as_str()), (Resource::Storage, "s3://"));

    let mut late = queue(1.2, 600, 7);
    for n in 0..20_000 {
        let request = Request::answered(n * 30 * MS, 900 * MS, 0);
        late.request(Request { sent_ns: request.intended_ns + 700 * MS, ..request });
    }
    // Not all of the requests left late, but the queue is short of replicas all of the time.
    assert_eq!(bottleneck(&late).resource, Resource::Replicas);
}
