//! Idle time costs nothing.

use crate::setting::{S, Setting, decisions, fly_at};

/// A service that is at zero for a year, with one request in the middle: a simulation that walks through 31 million
/// seconds, or 15 million ticks, is of no use for plans.
#[test]
fn a_year_at_zero_is_a_few_events() {
    let setting = Setting {
        duration: "8760h".to_owned(),
        load: "process: constant, phases: [{for: 8760h, rate: 1/h}]".to_owned(),
        ..Setting::default()
    };
    let plan = setting.plan();
    let mut recording = plan.recording(1);
    let half_ns = 4_380 * 3_600 * S + 1;
    let arrival = windtunnel_scenario::load::Arrival {
        at_ns: half_ns,
        row: 0,
        work: windtunnel_scenario::load::Work::Drawn,
    };
    let summary =
        windtunnel_sim::simulate_arrivals(&plan, 1, std::iter::once(arrival), &mut recording).expect("sound");
    // The samples, and some hundred ticks around the request and the start.
    assert!(summary.events < 101_000, "{}", summary.events);
    for (key, points) in &recording.series {
        assert!(points.len() <= 100_000, "{key:?}: {}", points.len());
    }
    assert_eq!(recording.requests[0].status, 200);
    assert_eq!(recording.requests[0].held_ns, S, "a cold start of a second");
}

/// Resting until a request comes must be the same as ticking all the time: ticks lie where they would have been.
#[test]
fn ticks_after_a_rest_lie_on_their_grid() {
    let setting = Setting {
        annotations: "autoscaling.knative.dev/initial-scale: '0'".to_owned(),
        autoscaler: "allow-zero-initial-scale: 'true'".to_owned(),
        duration: "600s".to_owned(),
        load: "process: constant, phases: [{for: 600s, rate: 1/s}]".to_owned(),
        ..Setting::default()
    };
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(300_000_000);
    // Nothing was ever decided, so no request pokes the autoscaler: the next tick makes the pod.
    let recording = fly_at(&plan, &[401 * S]);
    assert_eq!(decisions(&recording)[0], (402_300, 0, 1));
    let plan = Setting { annotations: String::new(), ..setting }.plan();
    // Here zero was decided, and a request makes its pod at once.
    let recording = fly_at(&plan, &[401 * S]);
    assert_eq!(decisions(&recording)[1], (401_000, 0, 1));
}
