//! The data path with the facts of upstream's own tests: request accounting, scrapes, activator subsets, breakers.

use rand::SeedableRng;
use rand::rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use windtunnel_kernel::autoscale::kpa::Stat;
use windtunnel_kernel::autoscale::kpa::request_stats::{Path, RequestReport, RequestStats};
use windtunnel_kernel::autoscale::kpa::scrape::{ScrapePlan, Scraped, extrapolate};
use windtunnel_kernel::routing::breaker::{Breaker, Offer};
use windtunnel_kernel::routing::subset;

use crate::flight::SECOND;

#[derive(Clone, Copy)]
enum Event {
    In(u64),
    Out(u64),
    ProxiedIn(u64),
    ProxiedOut(u64),
    Report(u64),
}

/// knative/networking `TestRequestStats`. If it fails, pods and activators report another load than Knative's do.
#[test]
fn requests_are_accounted_for_as_upstream_does() {
    use Event::{In, Out, ProxiedIn, ProxiedOut, Report};
    let report = |average_concurrency, average_proxied_concurrency, request_count, proxied_request_count| {
        RequestReport {
            average_concurrency,
            average_proxied_concurrency,
            request_count,
            proxied_request_count,
        }
    };
    let plain = |average, count| report(average, 0.0, count, 0.0);
    let cases: [(&str, &[Event], Vec<RequestReport>); 12] = [
        ("none", &[Report(1000)], vec![plain(0.0, 0.0)]),
        ("one, all the time", &[In(0), Out(1000), Report(1000)], vec![plain(1.0, 1.0)]),
        ("one, half the time", &[In(0), Out(3000), Report(6000)], vec![plain(0.5, 1.0)]),
        ("a very short one", &[In(0), Out(1), Report(1000)], vec![plain(0.001, 1.0)]),
        (
            "three in a row",
            &[In(0), Out(300), In(300), Out(600), In(600), Out(1000), Report(1000)],
            vec![plain(1.0, 3.0)],
        ),
        ("interleaved", &[In(0), In(100), Out(600), Out(1000), Report(1000)], vec![plain(1.5, 2.0)]),
        (
            "across reports",
            &[In(0), Report(1000), Out(1500), Report(2000)],
            vec![plain(1.0, 1.0), plain(0.5, 0.0)],
        ),
        (
            "across several reports",
            &[In(0), Report(1000), Report(2000), Report(3000), Out(3500), Report(4000)],
            vec![plain(1.0, 1.0), plain(1.0, 0.0), plain(1.0, 0.0), plain(0.5, 0.0)],
        ),
        ("proxied", &[ProxiedIn(0), ProxiedOut(1000), Report(1000)], vec![report(1.0, 1.0, 1.0, 1.0)]),
        (
            "proxied, half the time",
            &[ProxiedIn(0), ProxiedOut(500), Report(1000)],
            vec![report(0.5, 0.5, 1.0, 1.0)],
        ),
        (
            "one of each",
            &[ProxiedIn(0), In(0), ProxiedOut(500), Out(1000), Report(1000)],
            vec![report(1.5, 0.5, 2.0, 1.0)],
        ),
        ("out of order", &[In(500), In(499), Out(1000), Out(999), Report(1000)], vec![plain(1.0, 2.0)]),
    ];
    for (name, events, expected) in cases {
        let mut stats = RequestStats::new(0);
        let mut reports = Vec::new();
        let at = |ms: u64| ms * 1_000_000;
        for &event in events {
            match event {
                In(ms) => stats.arrive(at(ms), Path::Direct),
                Out(ms) => stats.leave(at(ms), Path::Direct),
                ProxiedIn(ms) => stats.arrive(at(ms), Path::Proxied),
                ProxiedOut(ms) => stats.leave(at(ms), Path::Proxied),
                Report(ms) => reports.push(stats.report(at(ms))),
            }
        }
        assert_eq!(reports, expected, "{name}");
        assert_eq!(stats.in_flight(), 0, "{name}");
    }
}

/// If it fails, a revision that scales on requests a second is scaled by its report period.
#[test]
fn a_pod_reports_arrivals_as_a_rate() {
    let report = RequestReport { average_concurrency: 3.0, request_count: 10.0, ..RequestReport::default() };
    let stat = report.to_stat(7, 2 * SECOND);
    assert_eq!((stat.at_ns, stat.average_concurrency, stat.request_count), (7, 3.0, 5.0));
    assert!(report.to_stat(7, 0).request_count.is_finite());
}

fn pod(average_concurrency: f64) -> Stat {
    Stat {
        average_concurrency,
        average_proxied_concurrency: 3.0,
        request_count: 2.0,
        proxied_request_count: 4.0,
        ..Stat::default()
    }
}

/// knative/serving stats_scraper_test.go: `checkBaseStat`, `TestScrapeAllPodsYoungPods`, `TestScrapeAllPodsOldPods`,
/// `TestScrapeSomePodsOldPods`. If it fails, a sample of the pods stands for another load than all of them have.
#[test]
fn a_sample_stands_for_all_pods() {
    let base = [(3.0, 2.0, 5.0, 4.0), (5.0, 4.0, 7.0, 6.0), (3.0, 2.0, 5.0, 4.0)].map(
        |(average_concurrency, average_proxied_concurrency, request_count, proxied_request_count)| Stat {
            average_concurrency,
            average_proxied_concurrency,
            request_count,
            proxied_request_count,
            ..Stat::default()
        },
    );
    let expected = Stat {
        at_ns: 9,
        average_concurrency: 11.0,
        average_proxied_concurrency: 8.0,
        request_count: 17.0,
        proxied_request_count: 14.0,
    };
    assert_eq!(extrapolate(&base, 3, 9), expected);
    let concurrency = |values: &[f64], pods| {
        let sample: Vec<Stat> = values.iter().map(|&value| pod(value)).collect();
        extrapolate(&sample, pods, 0).average_concurrency
    };
    assert_eq!(concurrency(&[2.0, 4.0, 6.0, 8.0], 4), 20.0);
    assert_eq!(concurrency(&[2.0, 4.0, 6.0, 8.0, 10.0], 6), 36.0);
    assert_eq!(concurrency(&[8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0], 11), 154.0);
    assert_eq!(concurrency(&[], 11), 0.0);
}

/// `TestPodDirectScrapeSuccess`, `…SomeFailButSuccess`, `…PodsExhausted`, `TestMixedPodShuffle`, `TestOldPodShuffle`,
/// `TestOldPodsFallback`. If it fails, one pod that does not answer blinds the autoscaler, or young pods that have seen
/// nothing yet dilute the load.
#[test]
fn older_pods_are_asked_first_and_replaced_when_they_fail() {
    let seed = 7;
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut rng = || generator.next_u64();
    assert_eq!(ScrapePlan::new(0, 0, &mut rng).scrape(1, |_| None), Scraped::NoPods);

    // Five pods, of which four must answer.
    let plan = ScrapePlan::new(5, 0, &mut rng);
    assert_eq!((plan.sample, plan.order.len()), (4, 5));
    let one_fails = plan.scrape(1, |asked| (asked != plan.order[2]).then(|| pod(4.0)));
    assert!(matches!(one_fails, Scraped::Stat(stat) if stat.average_concurrency == 20.0), "{one_fails:?}");
    // Four pods, of which all must answer (the sample of four is four).
    let plan = ScrapePlan::new(4, 0, &mut rng);
    assert_eq!(plan.scrape(1, |asked| (asked != plan.order[2]).then(|| pod(4.0))), Scraped::PodsExhausted);

    let asked = |plan: &ScrapePlan, fails: fn(u32) -> bool| {
        let mut answered = Vec::new();
        let _ = plan.scrape(1, |pod| {
            (!fails(pod)).then(|| {
                answered.push(pod);
                Stat::default()
            })
        });
        answered.sort_unstable();
        answered
    };
    // 25 pods, 5 of them old: a sample of 10 takes all of those.
    let plan = ScrapePlan::new(5, 20, &mut rng);
    let pods = asked(&plan, |_| false);
    assert_eq!((pods.len(), &pods[..5]), (10, &[0, 1, 2, 3, 4][..]));
    // 30 pods, 25 of them old: only old ones, and not always the same.
    let sets: Vec<Vec<u32>> = (0..2).map(|_| asked(&ScrapePlan::new(25, 5, &mut rng), |_| false)).collect();
    assert!(sets.iter().all(|pods| pods.len() == 11 && pods.iter().all(|&pod| pod < 25)), "{sets:?}");
    assert_ne!(sets[0], sets[1], "seed {seed}");
    // All the old ones fail: the young ones stand in.
    let pods = asked(&ScrapePlan::new(11, 19, &mut rng), |pod| pod < 11);
    assert_eq!(pods.len(), 11);
}

/// knative/pkg hash_test.go. If it fails, other activators stand in a revision's path than Knative would choose.
#[test]
fn activators_are_chosen_as_upstream_does() {
    let planets = ["sun", "moon", "mars", "mercury"];
    for (target, count, expected) in [
        ("a target!", 4, &["mars", "mercury", "moon", "sun"][..]),
        ("a target!", 2, &["mercury", "moon"]),
        ("something else entirely", 2, &["mars", "mercury"]),
        ("something else entirely", 3, &["mars", "mercury", "sun"]),
    ] {
        assert_eq!(subset::choose(&planets, count, target), expected, "{target}, {count}");
    }
    let tasks = ["task3", "task1", "task2"];
    assert_eq!(subset::choose(&tasks, 1, "my-key1"), ["task3"]);
    assert_eq!(subset::choose(&tasks, 1, "something/another-key"), ["task2"]);
    assert_eq!(subset::choose(&["a", "a"], 1, "x"), ["a"]);
    assert_eq!(subset::choose::<&str>(&[], 3, "x"), [""; 0]);
    assert_eq!(subset::choose(&tasks, 0, "x"), [""; 0]);
}

/// `TestOverlay`: 10 of 50 for many revisions, each within 20 % of its share. If it fails, some activators idle while
/// others are overloaded.
#[test]
fn activators_get_equal_shares_of_the_revisions() {
    let addresses: Vec<String> =
        (0..50).map(|i| format!("10.{}.{}.7", i * 37 % 256, i * 101 % 256)).collect();
    let mut frequency = vec![0_u32; addresses.len()];
    let revisions = 20_000;
    for revision in 0..revisions {
        for chosen in subset::choose(&addresses, 10, &format!("namespace/revision-{revision}")) {
            let position = addresses.iter().position(|address| address == chosen).expect("one of them");
            frequency[position] += 1;
        }
    }
    let want = revisions * 10 / 50;
    assert!(frequency.iter().all(|count| count.abs_diff(want) <= want / 5), "{frequency:?}");
    // More addresses than the ring has slots: an answer nevertheless, and no endless search for a slot.
    let crowd: Vec<String> = (0..2100).map(|i| format!("a{i}")).collect();
    assert_eq!(subset::choose(&crowd, 2090, "x").len(), 2048);
}

/// queue-proxy: `10 x containerConcurrency` may wait, nothing is in the way without a limit. If it fails, a pod is
/// overloaded, or rejects what it could have served.
#[test]
fn a_pods_breaker_follows_its_container_concurrency() {
    assert_eq!(Breaker::of_pod(0), None);
    let mut breaker = Breaker::of_pod(2).expect("a limit");
    let offers: Vec<Offer> = (0..23).map(|_| breaker.offer()).collect();
    let count = |wanted| offers.iter().filter(|&&offer| offer == wanted).count();
    assert_eq!((count(Offer::Admit), count(Offer::Queue), count(Offer::Reject)), (2, 20, 1));
    assert!(Breaker::of_pod(u32::MAX).is_some());
}

/// `TestBreakerOverloadMixed`, `TestBreakerCancel`. If it fails, reservations and waiting requests steal each other's
/// places, or requests that gave up keep theirs.
#[test]
fn breakers_keep_count_when_requests_are_mixed_and_given_up() {
    let mut breaker = Breaker::new(1, 1, 1);
    assert_eq!(breaker.offer(), Offer::Admit);
    assert!(!breaker.reserve());
    assert_eq!(breaker.finish(), None);
    assert!(breaker.reserve());

    let mut breaker = Breaker::new(1, 1, 0);
    for _ in 0..2 {
        assert_eq!(breaker.offer(), Offer::Queue);
        breaker.abandon();
    }
    assert_eq!(breaker.update_capacity(1), 0);
    assert_eq!(
        [breaker.offer(), breaker.offer(), breaker.offer()],
        [Offer::Admit, Offer::Queue, Offer::Reject]
    );
    assert_eq!((breaker.running(), breaker.queued()), (1, 1));
}
