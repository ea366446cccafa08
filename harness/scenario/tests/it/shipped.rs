//! The scenarios that come with the program, and the real trace that one of them replays.

use std::path::{Path, PathBuf};

use windtunnel_scenario::load::{Arrival, Flight, Work, arrivals};
use windtunnel_scenario::requests::RequestSet;
use windtunnel_scenario::{Arrivals, Duration, Scenario, Trace, TraceFormat};

/// Folder with the public traces, when they are not where the scenario looks for them.
const TRACES: &str = "WINDTUNNEL_TRACES";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name)
}

/// The first command that a user types would fail.
#[test]
fn the_quickstart_is_sound() {
    let scenario = Scenario::read(&shipped("quickstart.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(scenario.name, "quickstart");
    assert_eq!(scenario.skip_reason(), None);
    let load = arrivals(&scenario, 0, Flight::Whole).expect("a load");
    assert!(load.count() > 1_000, "an objective about a split needs a thousand requests");
    let requests = RequestSet::load(&scenario.load().requests).expect("requests");
    assert!(
        (0..requests.len()).all(|row| requests.get(row as u32).expect.len() == 2),
        "a reference a version"
    );
}

/// A real trace would not be replayed as it was recorded.
#[test]
fn the_azure_trace_is_replayed_as_recorded() {
    let mut scenario =
        Scenario::read(&shipped("azure-code.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let Arrivals::Trace(traces) = &mut scenario.loads[0].arrivals else {
        panic!("azure-code replays a trace")
    };
    let trace = &mut traces[0];
    if let (Some(folder), Some(name)) = (std::env::var_os(TRACES), trace.file.file_name()) {
        trace.file = Path::new(&folder).join(name);
    }
    if let Some(reason) = scenario.skip_reason() {
        println!("{reason}");
        return;
    }
    let whole: Vec<u64> =
        arrivals(&scenario, 0, Flight::Whole).expect("a trace").map(|arrival| arrival.at_ns).collect();
    // Rows of the first ten minutes, counted by another program.
    assert_eq!(whole.len(), 1_482);
    // The first rows: 18:17:03.9799600, 04.0319600, 04.0781490.
    assert_eq!(whole[..3], [0, 52_000_000, 98_189_000]);
    let plan = scenario.flight.expect("a slice");
    let slice: Vec<u64> =
        arrivals(&scenario, 0, Flight::Slice).expect("a trace").map(|arrival| arrival.at_ns).collect();
    let window = plan.from.as_ns()..plan.to.as_ns();
    assert_eq!(slice.len(), whole.iter().filter(|at_ns| window.contains(at_ns)).count());
    assert!(slice.iter().all(|at_ns| *at_ns < scenario.duration_of(Flight::Slice).as_ns()));
}

/// A real trace of functions would lose rows, or be replayed in the order of their ends.
#[test]
fn the_azure_functions_are_replayed_by_their_start() {
    let beside = Scenario::read(&shipped("azure-code.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let Arrivals::Trace(traces) = &beside.load().arrivals else { panic!("azure-code replays a trace") };
    let folder = std::env::var_os(TRACES).map(PathBuf::from);
    // Where the other public trace is looked for.
    let folder = folder.or_else(|| traces[0].file.parent().map(Path::to_owned)).expect("a folder");
    let file = folder.join("azure-functions-2021-sample.csv");
    if !file.is_file() {
        println!("skipped: the trace {} is not on this machine", file.display());
        return;
    }
    let base = Scenario::read(&shipped("quickstart.yaml")).unwrap_or_else(|faults| panic!("{faults}"));
    let mut scenario = Scenario { duration: Duration::from_s(3_600), ..base };
    let trace = Trace::whole(&file, TraceFormat::AzureFunctions2021);
    scenario.loads[0].arrivals = Arrivals::Trace(vec![trace.clone()]);
    let all: Vec<Arrival> = arrivals(&scenario, 0, Flight::Whole).expect("a trace").collect();
    // Counted by another program: rows, the earliest and the latest start, the longest duration.
    assert_eq!(all.len(), 199);
    assert!((all[0].at_ns as f64 / 1e9 - 0.001_490_9).abs() < 1e-6);
    assert!((all[198].at_ns as f64 / 1e9 - 1_200.014_798_05).abs() < 1e-6);
    let longest = all.iter().map(|arrival| match arrival.work {
        Work::Duration(ns) => ns,
        other => panic!("{other:?}"),
    });
    assert_eq!(longest.max(), Some(404_987_000_000));
    let first_app = "7b2c43a2bc30f6bb438074df88b603d2cb982d3e7961de05270735055950a568";
    let one = Trace { app: Some(first_app.to_owned()), ..trace };
    scenario.loads[0].arrivals = Arrivals::Trace(vec![one]);
    assert!(arrivals(&scenario, 0, Flight::Whole).expect("a trace").count() < 199);
}
