//! Windows beyond the shipped vectors.

use windtunnel_kernel::autoscale::kpa::max_window::TimeWindow;
use windtunnel_kernel::autoscale::kpa::metrics::{Averages, Collector};
use windtunnel_kernel::autoscale::kpa::window::TimedBuckets;
use windtunnel_kernel::autoscale::kpa::{Aggregation, ConcurrencyReporter, ScalingMetric, Stat};

use crate::flight::{SECOND, at};

/// If it fails, "no data" and "no load" are confused: idle revisions never stop, or busy ones do.
#[test]
fn data_of_exactly_a_window_ago_is_no_load_and_then_no_data() {
    let mut collector = Collector::new(Aggregation::Linear, 60 * SECOND, 6 * SECOND);
    let averages = |collector: &Collector, seconds, scraped| {
        collector.averages(ScalingMetric::Concurrency, at(seconds), scraped)
    };
    let none = Some(Averages { stable: 0.0, panic: 0.0 });
    assert_eq!(averages(&collector, 0.0, true), None);
    assert_eq!(averages(&collector, 0.0, false), none);
    collector.record(&Stat { at_ns: at(0.5), average_concurrency: 5.0, ..Stat::default() });
    assert_eq!(averages(&collector, 59.9, true), Some(Averages { stable: 5.0, panic: 0.0 }));
    assert_eq!(averages(&collector, 60.9, true), none);
    assert_eq!(averages(&collector, 61.0, true), None);
}

/// If it fails, a request is counted by the activator and again by the pod, and twice the pods are bought.
#[test]
fn proxied_requests_are_counted_once() {
    let mut collector = Collector::new(Aggregation::Linear, 60 * SECOND, 6 * SECOND);
    collector.record(&Stat {
        at_ns: at(0.0),
        average_concurrency: 7.0,
        average_proxied_concurrency: 5.0,
        request_count: 20.0,
        proxied_request_count: 15.0,
    });
    let read = |metric| collector.averages(metric, at(0.0), true).map(|averages| averages.stable);
    assert_eq!(read(ScalingMetric::Concurrency), Some(2.0));
    assert_eq!(read(ScalingMetric::Rps), Some(5.0));
}

/// If it fails, a window that was lengthened after its data had gone averages what is long over.
#[test]
fn resizing_a_window_without_live_data_empties_it() {
    let mut window = TimedBuckets::new(5 * SECOND, SECOND);
    window.record(at(0.0), 100.0);
    window.resize(60 * SECOND, at(20.0));
    assert_eq!(window.average(at(20.0)), 0.0);
    window.record(at(21.0), 6.0);
    assert_eq!(window.average(at(21.0)), 6.0);
}

/// If it fails, the delay depends on when the autoscaler was started.
#[test]
fn the_delay_is_aligned_to_even_seconds() {
    let mut window = TimeWindow::new(4 * SECOND, 2 * SECOND);
    window.record(at(1.9), 9);
    window.record(at(3.9), 1);
    assert_eq!(window.current(), 9);
    window.record(at(4.0), 1);
    assert_eq!(window.current(), 1, "two granules of 2 s: second 1.9 is out at 4.0, 2.1 s later");
}

/// If it fails, requests that outlast a report vanish from the load.
#[test]
fn long_requests_stay_in_every_report() {
    let mut reporter = ConcurrencyReporter::new();
    let average = |stat: Option<Stat>| stat.map(|stat| (stat.average_concurrency, stat.request_count));
    assert_eq!(average(reporter.request_in(at(0.0))), Some((1.0, 1.0)));
    assert_eq!(average(reporter.request_in(at(0.5))), None);
    assert_eq!(average(reporter.report(at(1.0))), Some((0.5, 1.0)));
    assert_eq!(average(reporter.report(at(2.0))), Some((2.0, 0.0)));
    reporter.request_out(at(2.5));
    reporter.request_out(at(2.5));
    assert_eq!(average(reporter.report(at(3.0))), Some((1.0, 0.0)));
    assert!(!reporter.is_idle());
    assert_eq!(average(reporter.report(at(4.0))), Some((0.0, 0.0)));
    assert!(reporter.is_idle());
    assert_eq!(average(reporter.report(at(5.0))), None);
    assert_eq!(average(reporter.request_in(at(5.5))), Some((1.0, 1.0)));
}
