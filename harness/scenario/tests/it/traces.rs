//! Recorded arrivals: what is read, what is refused, and in how little memory.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use windtunnel_scenario::{Duration, Trace, TraceFormat, trace};

use crate::room::Room;

fn whole(file: PathBuf, format: TraceFormat) -> Trace {
    Trace { file, format, from: Duration::ZERO, to: None, optional: false }
}

/// A damaged trace would be replayed as far as it goes, and the run would look like a quiet one.
#[test]
fn a_damaged_trace_is_refused_with_line_and_remedy() {
    let room = Room::new();
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
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
    let quoted = "\"GeneratedTokens\",\"TIMESTAMP\"\n1,2023-11-16 18:17:03.9799600\n2,2023-11-16 18:17:04\n";
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
