//! The scenarios that come with the program, and the real trace that one of them replays.

use std::path::{Path, PathBuf};

use windtunnel_scenario::load::{Flight, arrivals};
use windtunnel_scenario::requests::RequestSet;
use windtunnel_scenario::{Arrivals, Scenario};

/// Folder with the public traces, when they are not where the scenario looks for them.
const TRACES: &str = "WINDTUNNEL_TRACES";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name)
}

/// The first command that a user types would fail.
#[test]
fn the_quickstart_is_sound() {
    let scenario = Scenario::load(&shipped("quickstart.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(scenario.name, "quickstart");
    assert_eq!(scenario.skip_reason(), None);
    let load = arrivals(&scenario, Flight::Whole).expect("a load");
    assert!(load.count() > 1_000, "an objective about a split needs a thousand requests");
    let requests = RequestSet::load(&scenario.load.requests).expect("requests");
    assert!(
        (0..requests.len()).all(|row| requests.get(row as u32).expect.len() == 2),
        "a reference a version"
    );
}

/// A real trace would not be replayed as it was recorded.
#[test]
fn the_azure_trace_is_replayed_as_recorded() {
    let mut scenario =
        Scenario::load(&shipped("azure-code.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let Arrivals::Trace(trace) = &mut scenario.load.arrivals else { panic!("azure-code replays a trace") };
    if let (Some(folder), Some(name)) = (std::env::var_os(TRACES), trace.file.file_name()) {
        trace.file = Path::new(&folder).join(name);
    }
    if let Some(reason) = scenario.skip_reason() {
        println!("{reason}");
        return;
    }
    let whole: Vec<u64> =
        arrivals(&scenario, Flight::Whole).expect("a trace").map(|arrival| arrival.at_ns).collect();
    // Rows of the first ten minutes, counted by another program.
    assert_eq!(whole.len(), 1_482);
    // The first rows: 18:17:03.9799600, 04.0319600, 04.0781490.
    assert_eq!(whole[..3], [0, 52_000_000, 98_189_000]);
    let plan = scenario.flight.expect("a slice");
    let slice: Vec<u64> =
        arrivals(&scenario, Flight::Slice).expect("a trace").map(|arrival| arrival.at_ns).collect();
    let window = plan.from.as_ns()..plan.to.as_ns();
    assert_eq!(slice.len(), whole.iter().filter(|at_ns| window.contains(at_ns)).count());
    assert!(slice.iter().all(|at_ns| *at_ns < scenario.duration_of(Flight::Slice).as_ns()));
}
