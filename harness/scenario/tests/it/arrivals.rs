//! The load: the same on every machine, and the slice is the same as the part of the whole.

use proptest::prelude::*;
use windtunnel_scenario::load::{Arrival, Flight, arrivals};
use windtunnel_scenario::{Arrivals, Duration, FlightPlan, Phase, Process, Rate, Scenario};

use crate::room::{Room, full_with_phases, full_with_trace};

fn collect(scenario: &Scenario, flight: Flight) -> Vec<Arrival> {
    arrivals(scenario, flight).expect("a good load").collect()
}

/// A recording that a user kept would not be reproducible any more.
#[test]
fn a_seed_gives_the_same_load_for_ever() {
    let room = Room::new();
    let scenario = room.parse_json(&full_with_phases()).expect("a good scenario");
    let all = collect(&scenario, Flight::Whole);
    assert_eq!(all, collect(&scenario, Flight::Whole));
    let head: Vec<u64> = all.iter().take(5).map(|arrival| arrival.at_ns).collect();
    let tail: Vec<u64> = all.iter().rev().take(2).map(|arrival| arrival.at_ns).collect();
    insta::assert_debug_snapshot!((all.len(), head, tail));
    let other = Scenario { seed: 8, ..scenario };
    assert_ne!(all, collect(&other, Flight::Whole));
}

/// Events and load of a compressed flight would drift apart.
#[test]
fn a_slice_starts_at_zero_and_is_compressed() {
    let room = Room::new();
    let scenario = room.parse_json(&full_with_trace()).expect("a good scenario");
    // The trace from 1 s: arrivals at 0.5, 1 s of the scenario (9 s of the trace is not below `to`).
    let whole: Vec<u64> = collect(&scenario, Flight::Whole).iter().map(|arrival| arrival.at_ns).collect();
    assert_eq!(whole, [500_000_000, 1_000_000_000]);
    let plan = FlightPlan { from: Duration::from_ms(750), to: Duration::from_s(10), compress: 2.5 };
    let scenario = Scenario { flight: Some(plan), ..scenario };
    assert_eq!(collect(&scenario, Flight::Slice), [Arrival { at_ns: 100_000_000, row: 1 }]);
    assert_eq!(scenario.duration_of(Flight::Slice), Duration::from_ms(3_700));
    assert_eq!(scenario.duration_of(Flight::Whole), Duration::from_s(75));
    assert_eq!(scenario.compression_of(Flight::Slice), 2.5);
    assert_eq!(scenario.compression_of(Flight::Whole), 1.0);
}

/// A slice would begin in a state that the whole never was in, or see events that come after it.
#[test]
fn events_and_windows_follow_the_slice() {
    let room = Room::new();
    let scenario = room.parse_json(&full_with_phases()).expect("a good scenario");
    let event = &scenario.events[0];
    let with = |at_s: u64, from: u64, to: u64| Scenario {
        events: vec![windtunnel_scenario::Event { at: Duration::from_s(at_s), ..event.clone() }],
        flight: Some(FlightPlan { from: Duration::from_s(from), to: Duration::from_s(to), compress: 4.0 }),
        ..scenario.clone()
    };
    let at = |scenario: &Scenario| -> Vec<u64> {
        scenario.events_in(Flight::Slice).iter().map(|event| event.at.as_ns() / 1_000_000).collect()
    };
    assert_eq!(at(&with(20, 10, 60)), [2_500]);
    assert_eq!(at(&with(5, 10, 60)), [0], "its state is there when the slice begins");
    assert_eq!(at(&with(60, 10, 60)), [] as [u64; 0]);
    let window = |scenario: &Scenario, from: u64, to: u64| {
        scenario.window_in(Flight::Slice, Some(Duration::from_s(from)), Some(Duration::from_s(to)))
    };
    assert_eq!(window(&with(20, 10, 60), 20, 40), Some((2_500_000_000, 7_500_000_000)));
    assert_eq!(window(&with(20, 10, 60), 0, 20), Some((0, 2_500_000_000)));
    assert_eq!(window(&with(20, 10, 60), 0, 10), None);
    assert_eq!(window(&with(20, 10, 60), 60, 70), None);
    assert_eq!(scenario.window_in(Flight::Whole, None, None), Some((0, 75_000_000_000)));
}

fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let rate = || prop_oneof![Just(0.0), 0.01..50.0f64];
    let phase = (1u64..20_000, rate(), proptest::option::of(rate())).prop_map(|(ms, rate, to)| Phase {
        length: Duration::from_ms(ms),
        rate: Rate::per_second(rate),
        to: to.map(Rate::per_second),
    });
    proptest::collection::vec(phase, 1..6)
}

proptest! {
    /// Requests would be sent out of order, after the end, or with another row in the slice.
    #[test]
    fn arrivals_are_in_order_and_a_slice_is_a_part(
        phases in phases(),
        seed in any::<u64>(),
        poisson in any::<bool>(),
        cut in 0.0..1.0f64,
        compress in 1.0..10.0f64,
    ) {
        let room = Room::new();
        let base = room.parse_json(&full_with_phases()).expect("a good scenario");
        let duration = Duration::from_ns(phases.iter().map(|phase| phase.length.as_ns()).sum());
        let process = if poisson { Process::Poisson } else { Process::Constant };
        let from = Duration::from_ns((duration.as_ns() as f64 * cut) as u64);
        let plan = FlightPlan { from, to: duration, compress };
        let expected: f64 = phases
            .iter()
            .map(|phase| {
                let (rate, to) = (phase.rate.as_per_second(), phase.to.unwrap_or(phase.rate).as_per_second());
                (rate + to) / 2.0 * phase.length.as_s()
            })
            .sum();
        let mut scenario = Scenario { duration, seed, flight: Some(plan), events: Vec::new(), ..base };
        scenario.load.arrivals = Arrivals::Phases { process, phases };
        let whole = collect(&scenario, Flight::Whole);
        prop_assert!(whole.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        prop_assert!(whole.iter().all(|arrival| arrival.at_ns < duration.as_ns()));
        prop_assert!(whole.iter().zip(0..).all(|(arrival, row)| arrival.row == row));
        if !poisson {
            prop_assert!((whole.len() as f64 - expected).abs() <= 1.0 + 1e-6, "{} of {expected}", whole.len());
        }
        let slice = collect(&scenario, Flight::Slice);
        let part: Vec<Arrival> = whole.iter().filter(|arrival| arrival.at_ns >= from.as_ns()).copied().collect();
        prop_assert_eq!(slice.len(), part.len());
        let flown = scenario.duration_of(Flight::Slice).as_ns();
        for (sliced, whole) in slice.iter().zip(&part) {
            prop_assert_eq!(sliced.row, whole.row);
            let exact = (whole.at_ns - from.as_ns()) as f64 / compress;
            prop_assert!((sliced.at_ns as f64 - exact).abs() <= 1.0 + exact * 1e-12);
            prop_assert!(sliced.at_ns <= flown);
        }
    }
}
