//! Two scrapes that count for one second: upstream adds them up and panics (knative/serving#6743).

use windtunnel_sim::engine::Stream;
use windtunnel_sim::server::Draw;
use windtunnel_sim::{Phase, Plan};

use super::replicas;
use crate::setting::{MS, S, Setting, fly_at};

/// Nine requests in flight, always: 9 a second, each takes a second. A target of 10 for one pod. A panic window of two
/// seconds. Without a burst to hold the activator is not in the path, so the pod is scraped: at 0.99, 1.99, … s, which takes
/// 10 ms in the mean.
fn plan(profile: &str, scrape_time: &str) -> Plan {
    plan_with(profile, scrape_time, 0)
}

/// The same with a burst to hold.
fn plan_with(profile: &str, scrape_time: &str, burst: u32) -> Plan {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 20, scaleTarget: 10".to_owned(),
        autoscaler: format!(
            "container-concurrency-target-percentage: '100', stable-window: 20s, target-burst-capacity: '{burst}'"
        ),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        duration: "120s".to_owned(),
        load: "process: constant, phases: [{for: 120s, rate: 1/s}]".to_owned(),
        timeout: "60s".to_owned(),
        environment_keys: format!("profile: {profile}\ncontrol: {{kpa: {{{scrape_time}}}}}"),
        ..Setting::default()
    };
    let mut plan = setting.plan();
    plan.phases.reports = Phase::Run(990 * MS);
    plan
}

const SCRAPE_TIME: &str = "scrape-time: {distribution: exponential, mean: 10ms}";

/// Nine requests a second, evenly.
fn arrivals() -> Vec<u64> {
    (0..9 * 119).map(|index| index * S / 9).collect()
}

/// In upstream's profile a calm service panics.
///
/// A scrape that takes 10 ms or more ends in the next second. By the scenario's draws these are, of the first 46 (the scrape
/// of 0.99 s is number 0): 9, 15, 17, 19, 20, 24, 26, 27, 30, 31, 33, 38 to 41 and 44.
///
/// The tick of an even second T sees the second before it as the newest: that of T has nothing yet, and the panic window of
/// two seconds then holds one. It holds 18 when number T - 2 ended in it and number T - 1 too: the first is late and the other is
/// not. T = 22 is the first (20 is late, 21 is not): two pods are wanted, twice the ready one, a panic. It lasts a stable
/// window. The one of 26 (24, not 25) is no panic while two pods are ready. The first tick later than 20 s
/// after 22 is 44: one pod is enough again. At 46 (44, not 45) it panics anew. The average of twenty seconds asks for nothing:
/// it holds one scrape too many at most, 9 x 20 / 19.
#[test]
fn two_scrapes_of_a_second_panic_upstream() {
    let mut times = Stream::named(1, "scrape-times/digits-predictor-00001");
    let time = Draw::exponential(10e6).expect("a mean");
    let late = (0..46).filter(|_| time.draw(&mut times) >= 10 * MS).collect::<Vec<u32>>();
    assert_eq!(late, [9, 15, 17, 19, 20, 24, 26, 27, 30, 31, 33, 38, 39, 40, 41, 44]);

    let recording = fly_at(&plan("upstream", SCRAPE_TIME), &arrivals());
    assert_eq!(replicas(&recording)[..3], [(22_000, 2), (44_000, 1), (46_000, 2)]);
    let panic = &recording.decisions[0].explanation;
    assert_eq!((&panic["panic"], &panic["panicking"]), (&18.0.into(), &true.into()));
}

/// The same scrapes, and nobody panics: the later one of a second takes the earlier one's place.
#[test]
fn the_later_scrape_of_a_second_counts() {
    assert_eq!(replicas(&fly_at(&plan("windtunnel", SCRAPE_TIME), &arrivals())), []);
}

/// Scrapes that take no time are one a second, whoever's rules hold.
#[test]
fn scrapes_that_take_no_time_never_meet() {
    assert_eq!(replicas(&fly_at(&plan("upstream", ""), &arrivals())), []);
}

/// With a burst to hold the activator stays in the path and reports itself; nothing is scraped.
#[test]
fn reports_of_the_activator_do_not_meet() {
    let plan = plan_with("upstream", SCRAPE_TIME, 200);
    assert_eq!(replicas(&fly_at(&plan, &arrivals())), []);
}
