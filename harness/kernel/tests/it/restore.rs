//! State that is stored as JSON after any step, and restored, goes on with the same decisions: every kind of kernel
//! state but the autoscaler's, which has a law of its own.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec};
use windtunnel_kernel::autoscale::kpa::explain::Span;
use windtunnel_kernel::autoscale::kpa::max_window::{MaxWindow, TimeWindow};
use windtunnel_kernel::autoscale::kpa::metrics::{Averages, Collector};
use windtunnel_kernel::autoscale::kpa::request_stats::{Path, RequestStats};
use windtunnel_kernel::autoscale::kpa::window::Window;
use windtunnel_kernel::autoscale::kpa::{Aggregation, ConcurrencyReporter, Config, ScalingMetric, Stat};
use windtunnel_kernel::drift::{Detector, Test};
use windtunnel_kernel::routing::balance::RoundRobin;
use windtunnel_kernel::routing::breaker::Breaker;
use windtunnel_kernel::routing::split::TrafficSplit;
use windtunnel_kernel::routing::throttler::{self, Throttler};
use windtunnel_kernel::statistics::interval::Moments;
use windtunnel_kernel::statistics::sequential::ShareTest;

use crate::flight::ZERO;

/// One thing that happens: what, after how long, and a number.
type Op = (u8, u32, f64);

fn history() -> impl Strategy<Value = Vec<Op>> {
    let number = prop_oneof![6 => 0.0..100.0_f64, 1 => any::<f64>(), 1 => Just(0.0)];
    prop::collection::vec((0..6_u8, 0..3_000_u32, number), 1..60)
}

/// Plays a history with a state that is stored and restored after every step, and with one that is not.
fn goes_on_the_same<S, R>(
    state: S,
    history: &[Op],
    step: impl Fn(&mut S, Op, u64) -> R,
) -> Result<(), TestCaseError>
where
    S: Clone + Debug + PartialEq + Serialize + DeserializeOwned,
    R: Debug + PartialEq,
{
    let (mut kept, mut stored) = (state.clone(), state);
    let mut now_ns = ZERO;
    for &op in history {
        now_ns += u64::from(op.1) * 1_000_000;
        let decisions = (step(&mut kept, op, now_ns), step(&mut stored, op, now_ns));
        prop_assert_eq!(decisions.0, decisions.1);
        // Through a tree of values, as a snapshot of something larger may be.
        let tree = serde_json::to_value(&stored).expect("state is JSON");
        stored = serde_json::from_str(&tree.to_string()).expect("the same state");
        prop_assert_eq!(&stored, &kept);
        stored = serde_json::from_value(tree).expect("the same state");
        prop_assert_eq!(&stored, &kept);
    }
    Ok(())
}

fn stat(op: Op, at_ns: u64) -> Stat {
    Stat { at_ns, average_concurrency: op.2, request_count: op.2 / 3.0, ..Stat::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// If it fails, a simulation that is forked from a snapshot averages other loads than the one it comes from.
    #[test]
    fn windows_and_metrics(history in history(), is_weighted in any::<bool>()) {
        let aggregation = if is_weighted { Aggregation::WeightedExponential } else { Aggregation::Linear };
        goes_on_the_same(Window::new(aggregation, 6_000_000_000, 1_000_000_000), &history, |window, op, now_ns| {
            window.record(now_ns, op.2);
            if op.0 == 0 {
                window.resize(u64::from(op.1) * 5_000_000, now_ns);
            }
            (window.average(now_ns), window.is_empty(now_ns))
        })?;
        let collector = Collector::new(aggregation, 60_000_000_000, 6_000_000_000);
        goes_on_the_same(collector, &history, |collector, op, now_ns| {
            match op.0 % 2 {
                0 => collector.record_scrape(&stat(op, now_ns)),
                _ => collector.record(&stat(op, now_ns)),
            }
            [ScalingMetric::Concurrency, ScalingMetric::Rps].map(|metric| collector.averages(metric, now_ns, true))
        })?;
        goes_on_the_same(MaxWindow::new(5), &history, |window, op, now_ns| {
            window.record(now_ns / 1_000_000_000, op.2 as i32);
            window.current()
        })?;
        goes_on_the_same(TimeWindow::new(30_000_000_000, 2_000_000_000), &history, |window, op, now_ns| {
            window.record(now_ns, op.2 as i32);
            window.current()
        })?;
    }

    /// If it fails, requests that are in flight at a snapshot are counted twice, or never.
    #[test]
    fn requests_in_flight(history in history()) {
        goes_on_the_same(RequestStats::new(ZERO), &history, |stats, op, now_ns| match op.0 {
            0 | 1 => { stats.arrive(now_ns, Path::Direct); None }
            2 => { stats.arrive(now_ns, Path::Proxied); None }
            3 => { stats.leave(now_ns, Path::Direct); None }
            4 => { stats.leave(now_ns, Path::Proxied); None }
            _ => Some(stats.report(now_ns)),
        })?;
        goes_on_the_same(ConcurrencyReporter::new(), &history, |reporter, op, now_ns| match op.0 {
            0 | 1 => reporter.request_in(now_ns),
            2 | 3 => { reporter.request_out(now_ns); None }
            _ => reporter.report(now_ns),
        })?;
    }

    /// If it fails, a panic is forgotten at a snapshot, and pods are taken away in a burst.
    #[test]
    fn deciders_and_their_explanations(history in history()) {
        let spec = DeciderSpec::of(&Config::default(), true);
        goes_on_the_same(Decider::new(3, 30_000_000_000, ZERO), &history, |decider, op, now_ns| {
            let spec = DeciderSpec { reachable: op.0 > 0, ..spec };
            decider.decide(&spec, op.1 / 100, Averages { stable: op.2, panic: 2.0 * op.2 }, now_ns)
        })?;
        let mut flight = crate::flight::Flight::new(Config::default(), 1, 1);
        let explanations: Vec<_> = (1..=30).map(|tick| {
            flight.report(2.0 * f64::from(tick), 50.0 * f64::from(tick % 7));
            flight.tick(2.0 * f64::from(tick)).explanation
        }).collect();
        goes_on_the_same(Span::new(ZERO), &history, |span, op, now_ns| {
            span.push(now_ns, &explanations[op.1 as usize % 30]);
            span.to_string()
        })?;
    }

    /// If it fails, a canary's share or a pod's load jumps at a snapshot.
    #[test]
    fn routes(history in history(), weights in prop::collection::vec(any::<u32>(), 1..5)) {
        goes_on_the_same(TrafficSplit::new(&weights), &history, |split, _, _| split.next())?;
        goes_on_the_same(Breaker::new(4, 3, 2), &history, |breaker, op, _| match op.0 {
            0..=2 => format!("{:?}", breaker.offer()),
            3 => format!("{:?}", breaker.finish()),
            4 => breaker.update_capacity(op.1 % 5).to_string(),
            _ => { breaker.abandon(); String::new() }
        })?;
        goes_on_the_same(RoundRobin::new(), &history, |turn, op, _| turn.choose(&[op.1 % 3, 1, 0], 2))?;
        for container_concurrency in [0, 2, 5] {
            let throttler = Throttler::new(container_concurrency, throttler::Bugs::default());
            goes_on_the_same(throttler, &history, |throttler, op, now_ns| {
                let pods: Vec<String> = (0..op.1 % 6).map(|pod| format!("10.0.0.{pod}")).collect();
                let mut word = now_ns;
                let mut rng = || { word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); word };
                let told = match op.0 {
                    0..=2 => format!("{:?} {:?}", throttler.offer(), throttler.choose(&mut rng)),
                    3 => throttler.update_pods(&pods, false).to_string(),
                    4 => throttler.update_activators(&["a", "b", "c"], "b").to_string(),
                    _ => throttler.finish(throttler::Destination::Pod(u64::from(op.1 % 9))).to_string(),
                };
                (told, throttler.capacity(), throttler.queued())
            })?;
        }
    }

    /// If it fails, a verdict depends on whether the run was interrupted.
    #[test]
    fn statistics(history in history()) {
        goes_on_the_same(Moments::new(), &history, |moments, op, _| {
            moments.push(op.2);
            moments.confidence(0.95)
        })?;
        goes_on_the_same(ShareTest::new(0.01, 0.01), &history, |test, op, _| {
            test.observe(u64::from(op.1), u64::from(op.0))
        })?;
        let reference: Vec<f64> = (0..50).map(f64::from).collect();
        for test in [Test::Ks, Test::Psi, Test::AndersonDarling] {
            let detector = Detector::new(&reference, test, 8, 0.05).expect("numbers");
            goes_on_the_same(detector, &history, |detector, op, now_ns| detector.observe(op.2, now_ns))?;
        }
    }
}
