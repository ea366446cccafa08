//! Objectives about queues, replicas, cost, recovery, drift and stability.

use windtunnel_record::judge::{Gate, Verdict, judge};
use windtunnel_record::{Event, Recorder, Recording, Request, Source};

use crate::flights::{MS, SECOND, recording, scenario};

fn gate(rule: &str, recording: &Recording) -> Gate {
    judge(&scenario(&[rule]), recording).remove(0)
}

fn event(kind: &str, t_s: u64, target: &str) -> Event {
    Event {
        t_ns: t_s * SECOND,
        kind: kind.into(),
        target: target.into(),
        text: format!("{kind} of {target}"),
    }
}

/// Ten requests a second for 100 s; those from `failing` (in seconds) fail.
fn served(failing: std::ops::Range<u64>) -> Recording {
    let mut recording = recording(Source::Simulated);
    for n in 0..1_000_u64 {
        let request = Request::answered(n * 100 * MS, 10 * MS, 0);
        let failed = failing.contains(&(n / 10));
        recording.request(if failed { Request { status: 503, ..request } } else { request });
    }
    recording
}

fn sampled(name: &str, values: impl Fn(u64) -> f64) -> Recording {
    let mut recording = served(0..0);
    for t_s in 0..100 {
        recording.sample(name, &[("revision", "a-00001")], t_s * SECOND, values(t_s));
        recording.sample(name, &[("revision", "a-00002")], t_s * SECOND, 1.0);
    }
    recording
}

/// A queue, a bill or a number of replicas would pass that does not keep its limit.
#[test]
fn series_are_judged_by_their_extremes_and_means() {
    use Verdict::{Fail, Inconclusive, Pass};
    let queued = sampled("requests.queued", |t_s| if t_s == 50 { 99.0 } else { 3.0 });
    let ready = sampled("replicas.ready", |t_s| if t_s < 50 { 1.0 } else { 3.0 });
    let cost = sampled("cost.per_hour", |t_s| if t_s < 50 { 1.0 } else { 2.0 });
    for (rule, recording, verdict, observed) in [
        ("queued<101", &queued, Pass, Some(100.0)),
        ("queued<100", &queued, Fail, Some(100.0)),
        ("queued<100 for a-00001", &queued, Pass, Some(99.0)),
        ("queued<100", &ready, Inconclusive, None),
        ("replicas<=4", &ready, Pass, Some(4.0)),
        ("replicas<=3", &ready, Fail, Some(4.0)),
        ("replicas<=3 for a-00001", &ready, Pass, Some(3.0)),
        ("replicas>=2", &ready, Pass, Some(2.0)),
        ("replicas>=3", &ready, Fail, Some(2.0)),
        ("cost<2.6/h", &cost, Pass, Some(2.5)),
        ("cost<2.5/h", &cost, Fail, Some(2.5)),
        ("cost<2.5/h", &queued, Inconclusive, None),
    ] {
        let gate = gate(rule, recording);
        assert_eq!((gate.verdict, gate.observed), (verdict, observed), "{rule}: {}", gate.reason);
        assert!(gate.reason.ends_with('.'), "{}", gate.reason);
    }
    // 2.5 an hour for 100 s, and 1 000 answers.
    let million = gate("cost-per-million<70", &cost);
    assert_eq!(million.verdict, Verdict::Pass, "{}", million.reason);
    assert!((million.observed.expect("a cost") - 2.5 * 100.0 / 3_600.0 * 1_000.0).abs() < 1e-9);
    assert_eq!(gate("cost-per-million<69", &cost).verdict, Verdict::Fail);
}

/// A service that does not come back after a fault would pass.
#[test]
fn recovery_is_from_the_fault_to_the_last_trouble() {
    let with_fault = |failing: std::ops::Range<u64>| {
        let mut recording = served(failing);
        recording.event(event(Event::FAULT, 30, "a"));
        recording
    };
    let quick = gate("recovery<20s", &with_fault(30..35));
    assert_eq!(quick.verdict, Verdict::Pass, "{}", quick.reason);
    // The last failing request is that of 34.9 s; it fails 10 ms later.
    assert_eq!(quick.observed, Some(4.91e9));
    assert_eq!(gate("recovery<20s", &with_fault(30..60)).verdict, Verdict::Fail);
    assert_eq!(gate("recovery<20s", &with_fault(30..100)).verdict, Verdict::Fail);
    assert_eq!(gate("recovery<90s", &with_fault(30..100)).verdict, Verdict::Inconclusive, "it was not over");
    // Failures long before and long after are not the fault's.
    assert_eq!(gate("recovery<20s", &with_fault(0..10)).observed, Some(0.0));
    let mut late = with_fault(30..32);
    late.requests[900].status = 500;
    assert_eq!(gate("recovery<20s", &late).verdict, Verdict::Pass);
    // Nothing failed, but a pod that was wanted was missing for 15 s.
    let mut missing = with_fault(0..0);
    for t_s in 0..100 {
        let ready = if (31..46).contains(&t_s) { 1.0 } else { 2.0 };
        missing.sample("replicas.wanted", &[("revision", "a-00001")], t_s * SECOND, 2.0);
        missing.sample("replicas.ready", &[("revision", "a-00001")], t_s * SECOND, ready);
    }
    assert_eq!(gate("recovery<20s", &missing).observed, Some(15e9));
    assert_eq!(gate("recovery<20s", &served(0..0)).verdict, Verdict::Inconclusive, "no fault struck");
    // Nothing failed and nothing was missing, but answers took three times as long for 25 s.
    let mut slow = with_fault(0..0);
    for request in
        slow.requests.iter_mut().filter(|request| (30..55).contains(&(request.intended_ns / SECOND)))
    {
        request.latency_ns *= 3;
    }
    assert_eq!(gate("recovery<20s", &slow).observed, Some(24.93e9));
}

/// A detector that never raises an alarm would pass.
#[test]
fn drift_must_be_detected() {
    let with = |events: &[Event]| {
        let mut recording = served(0..0);
        events.iter().for_each(|event| recording.event(event.clone()));
        recording
    };
    let began = event(Event::DRIFT_BEGAN, 20, "pixel-7");
    let alarm = |t_s| event(Event::DRIFT_DETECTED, t_s, "pixel-7");
    let rule = "drift-detected<30s";
    let found = gate(rule, &with(&[began.clone(), alarm(45)]));
    assert_eq!((found.verdict, found.observed), (Verdict::Pass, Some(25e9)), "{}", found.reason);
    assert_eq!(gate(rule, &with(&[began.clone(), alarm(55)])).verdict, Verdict::Fail);
    let early = gate(rule, &with(&[alarm(10), began.clone(), alarm(30)]));
    assert!(early.reason.contains("1 false alarm"), "{}", early.reason);
    assert_eq!(
        gate(rule, &with(std::slice::from_ref(&began))).verdict,
        Verdict::Fail,
        "80 s without an alarm"
    );
    assert_eq!(gate("drift-detected<3m", &with(std::slice::from_ref(&began))).verdict, Verdict::Inconclusive);
    let other = event(Event::DRIFT_DETECTED, 25, "pixel-8");
    assert_eq!(gate(rule, &with(&[began, other])).verdict, Verdict::Fail, "another feature");
    assert_eq!(gate(rule, &with(&[])).verdict, Verdict::Inconclusive);
}

/// A run that does not keep up would pass.
#[test]
fn a_run_that_does_not_keep_up_is_not_stable() {
    let with = |in_flight: &dyn Fn(u64) -> f64| {
        let mut recording = served(0..0);
        for t_s in 0..100 {
            recording.sample("requests.in_flight", &[], t_s * SECOND, in_flight(t_s));
        }
        recording
    };
    let calm = gate("stable", &with(&|t_s| 2.0 + (t_s % 3) as f64));
    assert_eq!((calm.verdict, calm.observed_text.as_str()), (Verdict::Pass, "stable"), "{}", calm.reason);
    let growing = gate("stable", &with(&|t_s| 2.0 * t_s as f64 + (t_s % 3) as f64));
    assert_eq!((growing.verdict, growing.observed_text.as_str()), (Verdict::Fail, "not stable"));
    assert!(growing.reason.contains("grew from"), "{}", growing.reason);
    assert_eq!(gate("stable", &served(0..0)).verdict, Verdict::Inconclusive, "nobody counted");
}

/// A service's errors would be blamed on another one.
#[test]
fn a_name_is_a_service_or_a_revision() {
    let mut recording = served(0..0);
    recording.revisions[1].name = "b-predictor-00001".into();
    for request in recording.requests.iter_mut().skip(500) {
        (request.revision, request.status) = (Some(1), 500);
    }
    for (rule, verdict, samples) in [
        ("error-rate<=0% for a", Verdict::Pass, 500),
        ("error-rate<=0% for b", Verdict::Fail, 500),
        ("error-rate<=0% for b-predictor-00001", Verdict::Fail, 500),
        ("error-rate<=0% for c", Verdict::Inconclusive, 0),
        // The target of the only load is everybody.
        ("error-rate<=0% for digits", Verdict::Fail, 1_000),
    ] {
        let gate = gate(rule, &recording);
        assert_eq!((gate.verdict, gate.samples), (verdict, samples), "{rule}: {}", gate.reason);
    }
}
