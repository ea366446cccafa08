//! The load: the same on every machine, and the slice is the same as the part of the whole.

use proptest::prelude::*;
use windtunnel_scenario::load::{Arrival, Flight, Work, arrivals, users_in};
use windtunnel_scenario::{
    Arrivals, Burst, Duration, FlightPlan, Phase, Process, Rate, Scenario, Shape, When,
};

use crate::room::{Room, full_with_phases, full_with_trace};

fn collect(scenario: &Scenario, flight: Flight) -> Vec<Arrival> {
    arrivals(scenario, 0, flight).expect("a good load").collect()
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
    assert_eq!(
        collect(&scenario, Flight::Slice),
        [Arrival { at_ns: 100_000_000, row: 1, work: Work::Drawn }]
    );
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

/// A flight of a slice would run without a fault that lasts into it, or with one for too long.
#[test]
fn faults_follow_the_slice() {
    let room = Room::new();
    let scenario = room.parse_json(&full_with_phases()).expect("a good scenario");
    let plan = FlightPlan { from: Duration::from_s(42), to: Duration::from_s(60), compress: 4.0 };
    let scenario = Scenario { flight: Some(plan), ..scenario };
    assert_eq!(scenario.faults_in(Flight::Whole), scenario.faults);
    let flown: Vec<(&str, When, Option<Duration>)> = scenario
        .faults_in(Flight::Slice)
        .iter()
        .map(|fault| (fault.kind.name(), fault.when, fault.kind.length()))
        .collect();
    let ms = Duration::from_ms;
    assert_eq!(
        flown,
        [
            // Again and again, four times as fast.
            ("crash-loop", When::Every(ms(2_500)), Some(ms(1_250))),
            // From 40 s for 10 s: 8 s of it are left.
            ("node-loss", When::At(ms(0)), Some(ms(2_000))),
            ("slow-storage", When::At(ms(750)), Some(ms(2_500))),
            ("storage-failure", When::At(ms(2_000)), Some(ms(500))),
            ("metrics-gap", When::At(ms(3_250)), Some(ms(750))),
        ]
    );
}

/// Two services would get the same arrivals at the same moments.
#[test]
fn each_load_has_random_numbers_of_its_own() {
    let room = Room::new();
    let scenario = room.parse_json(&crate::room::full_with_users()).expect("a good scenario");
    assert_eq!(arrivals(&scenario, 1, Flight::Whole).expect("users").count(), 0);
    assert_eq!(arrivals(&scenario, 9, Flight::Whole).expect("no load").count(), 0);
    let users = users_in(&scenario, 1, Flight::Whole).expect("a closed loop");
    assert_eq!((users.at(0), users.at(45_000_000_000), users.at(70_000_000_000)), (50, 125, 0));
    assert!(users_in(&scenario, 0, Flight::Whole).is_none());
    let mut two = scenario;
    two.loads[1].arrivals = two.loads[0].arrivals.clone();
    let of = |index| -> Vec<u64> {
        arrivals(&two, index, Flight::Whole).expect("a load").map(|arrival| arrival.at_ns).collect()
    };
    assert_ne!(of(0), of(1));
}

fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let rate = || prop_oneof![Just(0.0), 0.01..50.0f64];
    let phase =
        (1u64..20_000, rate(), 0u32..4, rate(), 0.0..1.0f64).prop_map(|(ms, rate, shape, other, part)| {
            let (length, to) = (Duration::from_ms(ms), Rate::per_second(other));
            let of = |share: f64| Duration::from_ns((length.as_ns() as f64 * share) as u64);
            let shape = match shape {
                0 => Shape::Flat,
                1 => Shape::Ramp { to },
                2 => Shape::Spike {
                    to,
                    at: of(part / 2.0),
                    rise: of(part / 8.0),
                    hold: of(part / 8.0),
                    fall: of(part / 8.0),
                },
                _ => Shape::Diurnal {
                    amplitude: part,
                    period: of(0.7).max(Duration::from_ms(1)),
                    peak_at: of(0.3),
                },
            };
            Phase { length, rate: Rate::per_second(rate), shape }
        });
    proptest::collection::vec(phase, 1..6)
}

proptest! {
    /// Requests would be sent out of order, after the end, or with another row in the slice.
    #[test]
    fn arrivals_are_in_order_and_a_slice_is_a_part(
        phases in phases(),
        seed in any::<u64>(),
        process in prop_oneof![
            Just(Process::Constant),
            Just(Process::Poisson),
            Just(Process::Bursty(Burst { factor: 4.0, on: Duration::from_ms(300), off: Duration::from_s(1) })),
        ],
        cut in 0.0..1.0f64,
        compress in 1.0..10.0f64,
    ) {
        let room = Room::new();
        let base = room.parse_json(&full_with_phases()).expect("a good scenario");
        let duration = Duration::from_ns(phases.iter().map(|phase| phase.length.as_ns()).sum());
        let from = Duration::from_ns((duration.as_ns() as f64 * cut) as u64);
        let plan = FlightPlan { from, to: duration, compress };
        let mut start = Duration::ZERO;
        let mut expected = 0.0;
        for phase in &phases {
            expected += phase.expected(start);
            start = Duration::from_ns(start.as_ns() + phase.length.as_ns());
        }
        let mut scenario = Scenario { duration, seed, flight: Some(plan), events: Vec::new(), ..base };
        scenario.loads[0].arrivals = Arrivals::Phases { process, phases };
        let whole = collect(&scenario, Flight::Whole);
        prop_assert!(whole.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        prop_assert!(whole.iter().all(|arrival| arrival.at_ns < duration.as_ns()));
        prop_assert!(whole.iter().zip(0..).all(|(arrival, row)| arrival.row == row));
        if process == Process::Constant {
            prop_assert!((whole.len() as f64 - expected).abs() <= 1.0 + 1e-5, "{} of {expected}", whole.len());
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
