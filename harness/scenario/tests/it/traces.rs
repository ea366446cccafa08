//! Recorded arrivals: what is read, what is refused, and in how little memory.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use windtunnel_scenario::load::{Arrival, Flight, Work, arrivals};
use windtunnel_scenario::{Arrivals, Burst, Duration, Process, Scenario, Trace, TraceFormat, trace};

use crate::room::Room;

fn whole(file: PathBuf, format: TraceFormat) -> Trace {
    Trace::whole(file, format)
}

/// A damaged trace would be replayed as far as it goes, and the run would look like a quiet one.
#[test]
fn a_damaged_trace_is_refused_with_line_and_remedy() {
    let room = Room::new();
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let functions = "app,func,end_timestamp,duration\n";
    let counts = "HashOwner,HashApp,HashFunction,Trigger,1,2,3\n";
    let row = |time: &str| format!("2023-11-16 18:17:{time},1,2\n");
    let cases = [
        ("empty file", TraceFormat::Timestamps, String::new()),
        ("header only", TraceFormat::Timestamps, "timestamp\n".into()),
        ("not a number", TraceFormat::Timestamps, "0\n1\nsoon\n".into()),
        ("negative", TraceFormat::Timestamps, "0\n-1\n".into()),
        ("not in order", TraceFormat::Timestamps, "timestamp\n0\n2\n1.5\n".into()),
        (
            "instants not in order",
            TraceFormat::Timestamps,
            "2023-11-16T18:17:04Z\n2023-11-16T18:17:03Z\n".into(),
        ),
        ("mixed", TraceFormat::Timestamps, "0\n2023-11-16T18:17:03Z\n".into()),
        ("a comma for a point", TraceFormat::Timestamps, "0\n\"1,5\"\n".into()),
        ("azure without a header", TraceFormat::AzureLlm2023, row("03.97")),
        ("azure with another header", TraceFormat::AzureLlm2023, "time,a,b\n".into()),
        ("azure header only", TraceFormat::AzureLlm2023, azure.into()),
        ("azure not in order", TraceFormat::AzureLlm2023, format!("{azure}{}{}", row("04"), row("03.97"))),
        (
            "azure not in order later",
            TraceFormat::AzureLlm2023,
            format!("{azure}{}{}{}", row("03"), row("05"), row("04")),
        ),
        ("azure not a time", TraceFormat::AzureLlm2023, format!("{azure}{}17,1,2\n", row("03"))),
        ("tokens missing", TraceFormat::AzureLlm2023, format!("{azure}2023-11-16 18:17:03,,2\n")),
        ("tokens negative", TraceFormat::AzureLlm2023, format!("{azure}2023-11-16 18:17:03,1,-2\n")),
        ("tokens of a word", TraceFormat::AzureLlm2023, format!("{azure}2023-11-16 18:17:03,1,many\n")),
        (
            "absurdly many tokens",
            TraceFormat::AzureLlm2023,
            format!("{azure}2023-11-16 18:17:03,1,99999999999\n"),
        ),
        ("absurdly late", TraceFormat::Timestamps, "0\n1700000000000\n".into()),
        ("not text", TraceFormat::Timestamps, "0\n\u{0}\n".into()),
        ("functions: no file", TraceFormat::AzureFunctions2021, String::new()),
        ("functions: another header", TraceFormat::AzureFunctions2021, "app,func,end,duration\n".into()),
        ("functions: header only", TraceFormat::AzureFunctions2021, functions.into()),
        ("functions: not a number", TraceFormat::AzureFunctions2021, format!("{functions}a,f,soon,1\n")),
        ("functions: missing", TraceFormat::AzureFunctions2021, format!("{functions}a,f,1,1\na,f,2,\n")),
        ("functions: short", TraceFormat::AzureFunctions2021, format!("{functions}a,f,1\n")),
        ("functions: negative end", TraceFormat::AzureFunctions2021, format!("{functions}a,f,-1,0\n")),
        ("functions: negative duration", TraceFormat::AzureFunctions2021, format!("{functions}a,f,1,-0.5\n")),
        ("functions: absurd", TraceFormat::AzureFunctions2021, format!("{functions}a,f,1e11,0\n")),
        ("functions: infinite", TraceFormat::AzureFunctions2021, format!("{functions}a,f,inf,nan\n")),
        (
            "counts: no minutes",
            TraceFormat::AzureFunctions2019,
            "HashOwner,HashApp,HashFunction,Trigger\n".into(),
        ),
        ("counts: header only", TraceFormat::AzureFunctions2019, counts.into()),
        (
            "counts: a gap in the header",
            TraceFormat::AzureFunctions2019,
            "HashOwner,HashApp,HashFunction,Trigger,1,3\no,a,f,http,1,1\n".into(),
        ),
        ("counts: half of one", TraceFormat::AzureFunctions2019, format!("{counts}o,a,f,http,1,0.5,1\n")),
        ("counts: negative", TraceFormat::AzureFunctions2019, format!("{counts}o,a,f,http,1,-1,1\n")),
        ("counts: missing", TraceFormat::AzureFunctions2019, format!("{counts}o,a,f,http,1,,1\n")),
        ("counts: short", TraceFormat::AzureFunctions2019, format!("{counts}o,a,f,http,1\n")),
        ("counts: nothing ever", TraceFormat::AzureFunctions2019, format!("{counts}o,a,f,http,0,0,0\n")),
        (
            "counts: too many",
            TraceFormat::AzureFunctions2019,
            format!("{counts}o,a,f,http,4000000000,1,1\no,a,g,http,4000000000,1,1\n"),
        ),
        (
            "counts: absurdly many",
            TraceFormat::AzureFunctions2019,
            format!("{counts}o,a,f,http,5000000000,1,1\n"),
        ),
        ("azure short line", TraceFormat::AzureLlm2023, format!("a,{azure}x,{}x\n", row("03"))),
    ];
    let report: Vec<String> = cases
        .iter()
        .map(|(name, format, text)| {
            let file = room.write("trace.csv", text);
            let error = trace::check(&whole(file, *format), Duration::from_s(3_600)).expect_err(name);
            format!("# {name}\n{error}\n    {}\n", error.hint)
        })
        .collect();
    insta::assert_snapshot!(report.join("\n").replace(&format!("{}/", room.path().display()), ""));
}

/// A trace from another tool would be refused for how it is written.
#[test]
fn traces_are_read_in_the_ways_that_tools_write_them() {
    let room = Room::new();
    let count = |format, text: &str| {
        let file = room.write("trace.csv", text);
        trace::check(&whole(file, format), Duration::from_s(3_600)).expect(text)
    };
    assert_eq!(count(TraceFormat::Timestamps, "0\n0\n1.25\n1e1\n"), 4);
    assert_eq!(count(TraceFormat::Timestamps, "\u{feff}timestamp\r\n0.5\r\n0.75\r\n"), 2);
    assert_eq!(
        count(TraceFormat::Timestamps, "# from the gateway's log\nTimestamp,path\n0,/a\n1,/b\n\n2,/c"),
        3
    );
    assert_eq!(count(TraceFormat::Timestamps, "2023-11-16T18:17:03Z\n2023-11-16T19:17:04+01:00\n"), 2);
    let quoted = "\"GeneratedTokens\",\"TIMESTAMP\",ContextTokens\n1,2023-11-16 18:17:03.9799600,5\n2,2023-11-16 18:17:04,6\n";
    assert_eq!(count(TraceFormat::AzureLlm2023, quoted), 2);
}

/// A long trace would not fit into memory.
#[test]
fn a_long_trace_is_read_line_by_line() {
    let room = Room::new();
    let file = room.path().join("long.csv");
    let mut writer = BufWriter::new(std::fs::File::create(&file).expect("a file"));
    let rows = 300_000u64;
    for row in 0..rows {
        writeln!(writer, "{}.{:03}", row / 1_000, row % 1_000).expect("a line");
    }
    writer.flush().expect("a written file");
    let count = |from, to| {
        let slice = Trace { from, to, ..whole(file.clone(), TraceFormat::Timestamps) };
        trace::check(&slice, Duration::from_s(1_000)).expect("a good trace")
    };
    assert_eq!(count(Duration::ZERO, None), rows);
    assert_eq!(count(Duration::from_s(10), Some(Duration::from_s(20))), 10_000);
}

/// A scenario whose trace is not on the machine would fail instead of being skipped.
#[test]
fn an_optional_trace_may_be_absent() {
    let room = Room::new();
    let mut document = crate::room::full_with_trace();
    document["spec"]["load"]["arrivals"]["trace"]["file"] = "not-here.csv".into();
    let scenario = room.parse_json(&document).expect("an optional trace");
    let reason = scenario.skip_reason().expect("a reason");
    assert!(reason.starts_with("skipped full: its trace ") && reason.contains("not-here.csv"), "{reason}");
    let there = room.parse_json(&crate::room::full_with_trace()).expect("a trace");
    assert_eq!(there.skip_reason(), None);
    document["spec"]["load"]["arrivals"]["trace"]["optional"] = false.into();
    let faults = room.parse_json(&document).expect_err("a missing trace");
    assert!(faults.0[0].message.contains("not-here.csv does not exist"), "{faults}");
}

/// What traces give in a scenario of `duration_s`.
fn replay(traces: Vec<Trace>, duration_s: u64, seed: u64) -> Vec<Arrival> {
    let base = Room::new().parse_json(&crate::room::full_with_phases()).expect("a good scenario");
    let mut scenario = Scenario { duration: Duration::from_s(duration_s), seed, flight: None, ..base };
    scenario.loads[0].arrivals = Arrivals::Trace(traces);
    arrivals(&scenario, 0, Flight::Whole).expect("a good trace").collect()
}

fn seconds(arrivals: &[Arrival]) -> Vec<f64> {
    arrivals.iter().map(|arrival| arrival.at_ns as f64 / 1e9).collect()
}

/// A language model would be given other prompts than were recorded.
#[test]
fn tokens_come_with_their_requests() {
    let room = Room::new();
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4808,10\n2023-11-16 18:17:04.5,3180,8\n";
    let file = room.write("llm.csv", text);
    let all = replay(vec![whole(file, TraceFormat::AzureLlm2023)], 60, 1);
    let tokens = |context, generated| Work::Tokens { context, generated };
    assert_eq!(
        all,
        [
            Arrival { at_ns: 0, row: 0, work: tokens(4_808, 10) },
            Arrival { at_ns: 1_500_000_000, row: 1, work: tokens(3_180, 8) },
        ]
    );
}

/// Invocations would be replayed when they ended, or those that ended late would be lost.
#[test]
fn invocations_are_sorted_by_their_start() {
    let room = Room::new();
    let text =
        "app,func,end_timestamp,duration\na,f,2.0,0.5\nb,f,3.0,2.75\na,g,4.0,1.0\na,f,5.0,9.0\na,f,5.5,0\n";
    let file = room.write("invocations.csv", text);
    let of = |app: Option<&str>, func: Option<&str>| {
        let mut trace = whole(file.clone(), TraceFormat::AzureFunctions2021);
        (trace.app, trace.func) = (app.map(str::to_owned), func.map(str::to_owned));
        replay(vec![trace], 60, 1)
    };
    let all = of(None, None);
    // The fourth began before the trace did.
    assert_eq!(seconds(&all), [0.25, 1.5, 3.0, 5.5]);
    let works: Vec<Work> = all.iter().map(|arrival| arrival.work).collect();
    let ms = |ms: u64| Work::Duration(ms * 1_000_000);
    assert_eq!(works, [ms(2_750), ms(500), ms(1_000), ms(0)]);
    assert_eq!(seconds(&of(Some("a"), None)), [1.5, 3.0, 5.5]);
    assert_eq!(seconds(&of(None, Some("g"))), [3.0]);
    assert_eq!(seconds(&of(Some("a"), Some("f"))), [1.5, 5.5]);
    let stranger = Trace { app: Some("c".into()), ..whole(file, TraceFormat::AzureFunctions2021) };
    let error = trace::check(&stranger, Duration::from_s(60)).expect_err("no such app");
    assert_eq!(error.message, "no row of the trace has app c");
}

/// A day of counts would have other counts, or all of them at the full minute.
#[test]
fn counts_are_kept_and_spread() {
    let room = Room::new();
    let mut text = "HashOwner,HashApp,HashFunction,Trigger".to_owned();
    let minutes = 200u64;
    let count_of = |minute: u64| if minute.is_multiple_of(3) { 0 } else { minute * 7 % 120 };
    text.extend((1..=minutes).map(|minute| format!(",{minute}")));
    for (function, share) in [("f", 2), ("g", 1)] {
        text.push_str(&format!("\no,a,{function},timer"));
        text.extend((0..minutes).map(|minute| format!(",{}", count_of(minute) * share)));
    }
    let file = room.write("counts.csv", text);
    let burst = Burst { factor: 4.0, on: Duration::from_s(2), off: Duration::from_s(6) };
    let mut squares = Vec::new();
    for process in [Process::Constant, Process::Poisson, Process::Bursty(burst)] {
        let trace = Trace { process, ..whole(file.clone(), TraceFormat::AzureFunctions2019) };
        let all = replay(vec![trace.clone()], minutes * 60, 11);
        let mut counts = vec![0; minutes as usize];
        for arrival in &all {
            counts[(arrival.at_ns / 60_000_000_000) as usize] += 1;
        }
        let expected: Vec<u64> = (0..minutes).map(|minute| count_of(minute) * 3).collect();
        assert_eq!(counts, expected, "{process:?}");
        assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        // Where in the minute they lie: even, whatever the process, over many minutes.
        let n = all.len() as f64;
        let within = all.iter().map(|arrival| (arrival.at_ns % 60_000_000_000) as f64 / 60e9);
        let mean = within.clone().sum::<f64>() / n;
        assert!((mean - 0.5).abs() < 0.02, "{process:?}: {mean}");
        // How uneven seconds are.
        let mut seconds = vec![0.0f64; minutes as usize * 60];
        for arrival in &all {
            seconds[(arrival.at_ns / 1_000_000_000) as usize] += 1.0;
        }
        squares.push(seconds.iter().map(|count| count * count).sum::<f64>());
        let one = Trace { func: Some("g".into()), ..trace };
        assert_eq!(replay(vec![one], minutes * 60, 11).len() as u64, expected.iter().sum::<u64>() / 3);
    }
    assert!(squares[0] < squares[1] && squares[1] < squares[2], "{squares:?}");
}

/// A plan for twice the load would be made for another load, or for one without its bursts.
#[test]
fn scaling_thins_and_repeats() {
    let room = Room::new();
    // Bursts of five arrivals 1 ms apart, 10 s from each other.
    let text: String = (0..2_000).map(|n| format!("{}.00{}\n", n / 5 * 10, n % 5)).collect();
    let file = room.write("bursts.csv", text);
    let scaled = |scale: f64, seed| {
        let trace = Trace { scale, ..whole(file.clone(), TraceFormat::Timestamps) };
        replay(vec![trace], 4_000, seed)
    };
    assert_eq!(scaled(1.0, 1).len(), 2_000);
    assert_eq!(scaled(3.0, 1).len(), 6_000);
    for (scale, expected, deviation) in [(0.25, 500.0, 19.4), (2.5, 5_000.0, 22.4)] {
        let n = scaled(scale, 1).len() as f64;
        assert!((n - expected).abs() < 4.0 * deviation, "{scale}: {n} instead of {expected}");
        assert_eq!(scaled(scale, 1), scaled(scale, 1));
        assert_ne!(scaled(scale, 1), scaled(scale, 2));
    }
    let all = scaled(2.5, 1);
    assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
    assert!(all.iter().zip(0..).all(|(arrival, row)| arrival.row == row));
    let in_bursts = all.iter().filter(|arrival| arrival.at_ns % 10_000_000_000 < 6_000_000).count();
    assert_eq!(in_bursts, all.len(), "copies stay within their bursts");
    let copies = all.iter().filter(|arrival| arrival.at_ns % 1_000_000 != 0).count();
    assert!(copies > 2_000, "copies do not all come at the same instant: {copies}");
}

/// A trace would be replayed too fast, too slow, or over another.
#[test]
fn stretching_and_splicing_place_each_trace() {
    let room = Room::new();
    let first = room.write("first.csv", "0\n1\n2\n10\n");
    let second = room.write("second.csv", "app,func,end_timestamp,duration\na,f,1,1\na,f,4,1\n");
    let counts = room.write("counts.csv", "HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,t,2,0\n");
    let first = whole(first, TraceFormat::Timestamps);
    let cut = Trace { from: Duration::from_s(1), to: Some(Duration::from_s(5)), ..first.clone() };
    assert_eq!(seconds(&replay(vec![Trace { stretch: 0.5, ..first.clone() }], 60, 1)), [0.0, 0.5, 1.0, 5.0]);
    assert_eq!(seconds(&replay(vec![Trace { stretch: 3.0, ..cut.clone() }], 60, 1)), [0.0, 3.0]);
    let spliced = vec![
        cut,
        Trace { stretch: 2.0, ..whole(second, TraceFormat::AzureFunctions2021) },
        Trace { process: Process::Constant, ..whole(counts, TraceFormat::AzureFunctions2019) },
        first,
    ];
    // 4 s of the first, 6 s of the second up to its last arrival, two minutes of counts, and the first again.
    let all = seconds(&replay(spliced.clone(), 140, 1));
    assert_eq!(all, [0.0, 1.0, 4.0, 10.0, 10.0, 40.0, 130.0, 131.0, 132.0]);
    assert_eq!(replay(spliced, 11, 1).len(), 5, "the scenario ends first");
}

/// A trace of millions of rows would be taken for an attack on the machine.
#[test]
fn many_invocations_are_sorted() {
    let room = Room::new();
    let file = room.path().join("many.csv");
    let mut writer = BufWriter::new(std::fs::File::create(&file).expect("a file"));
    writeln!(writer, "app,func,end_timestamp,duration").expect("a line");
    let rows = 100_000u64;
    for row in 0..rows {
        writeln!(writer, "a,f,{}.{:03},{}.5", row / 1_000 + 10, row % 1_000, row % 7).expect("a line");
    }
    writer.flush().expect("a written file");
    let all = replay(vec![whole(file, TraceFormat::AzureFunctions2021)], 1_000, 1);
    assert_eq!(all.len() as u64, rows);
    assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
}
