//! Recordings on disk.

use proptest::prelude::*;
use windtunnel_record::{
    ColdStart, Decision, Event, Meta, Prediction, Recorder, Recording, RecordingError, Request, Source,
};
use windtunnel_scenario::load::Flight;

use crate::flights::{MS, SECOND, recording, with_slow};

fn written(recording: &Recording) -> Vec<u8> {
    let mut bytes = Vec::new();
    recording.write_jsonl(&mut bytes).expect("writing to memory");
    bytes
}

fn small() -> Recording {
    let mut recording = recording(Source::Live);
    recording.meta.versions.insert("windtunnel".into(), "0.1.0".into());
    recording.request(Request::answered(0, 5 * MS, 0));
    recording.request(Request {
        weight_percent: 10,
        held_ns: 300 * MS,
        prediction: Prediction::Different,
        ..Request::answered(SECOND, 305 * MS, 1)
    });
    recording.request(Request {
        status: 0,
        revision: None,
        error: Some("connection refused".into()),
        ..Request::answered(2 * SECOND, MS, 0)
    });
    recording.sample("replicas.ready", &[("revision", "a-00001")], 0, 1.0);
    recording.sample("replicas.ready", &[("revision", "a-00001")], SECOND, f64::NAN);
    recording.sample("replicas.ready", &[("revision", "a-00001")], 2 * SECOND, 2.5);
    recording.sample("requests.in_flight", &[], 0, 0.1);
    recording.decision(Decision {
        t_ns: 2 * SECOND,
        actor: "kpa".into(),
        target: "a-00001".into(),
        from: 1,
        to: 3,
        text: "concurrency 24.1/target 10 -> 3".into(),
        explanation: serde_json::json!({"stable": 24.1, "limit": "max-scale"}),
    });
    recording.event(Event {
        t_ns: 20 * SECOND,
        kind: "scenario".into(),
        target: "digits".into(),
        text: "canary v2".into(),
    });
    recording.cold_start(ColdStart {
        t_ns: SECOND,
        revision: "a-00002".into(),
        pod: "a-00002-x".into(),
        phases: vec![("schedule".into(), 5 * MS), ("load".into(), 250 * MS)],
        activated: true,
    });
    recording
}

/// A recording that a user kept could not be read any more.
#[test]
fn the_format_stays_as_it_is() {
    let text = String::from_utf8(written(&small())).expect("text");
    insta::assert_snapshot!(text);
    assert_eq!(Recording::read_jsonl(text.as_bytes()).expect("a recording"), small());
}

/// A recording that was cut off would be taken for a short run.
#[test]
fn a_damaged_recording_is_refused_with_its_line() {
    let bytes = written(&small());
    let text = String::from_utf8(bytes).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    for kept in 0..lines.len() {
        let cut = lines[..kept].join("\n");
        let error = Recording::read_jsonl(cut.as_bytes()).expect_err("it was cut off");
        assert!(matches!(error, RecordingError::CutOff { line } if line == kept as u64), "{kept}: {error}");
    }
    let line_of = |text: String| match Recording::read_jsonl(text.as_bytes()) {
        Err(RecordingError::Line { line, message }) => (line, message),
        other => panic!("{other:?}"),
    };
    assert_eq!(line_of(lines[1..].join("\n")).0, 1);
    assert_eq!(line_of(text.replace("recording/v1", "recording/v2")).0, 1);
    assert_eq!(line_of(text.replace("{\"request\"", "{\"requests\"")).0, 4);
    assert_eq!(line_of(text.replace("\"status\":200", "\"status\":\"OK\"")).0, 4);
    let missing = [&lines[..4], &lines[5..]].concat().join("\n");
    assert!(line_of(missing).1.contains("lines were written before this one"));
    assert_eq!(line_of(format!("{}\n{text}", lines[0])).0, 2);
}

/// Two live runs with the same answers would be different recordings.
#[test]
fn sorting_puts_requests_in_the_order_of_the_load() {
    let mut recording = with_slow(50, 10);
    let sorted = recording.clone();
    recording.requests.reverse();
    recording.sort();
    assert_eq!(recording, sorted);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9 \"\\\\\u{e9}\u{1f980}\n-]{0,12}"
}

fn request() -> impl Strategy<Value = Request> {
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), prop_oneof![Just(0), any::<u64>()]);
    let prediction =
        prop_oneof![Just(Prediction::Unchecked), Just(Prediction::Equal), Just(Prediction::Different)];
    let rest = (
        any::<u16>(),
        proptest::option::of(any::<u16>()),
        any::<u8>(),
        any::<u32>(),
        prediction,
        proptest::option::of(name()),
    );
    (times, rest).prop_map(|((intended_ns, sent_ns, latency_ns, held_ns), rest)| {
        let (status, revision, weight_percent, row, prediction, error) = rest;
        Request {
            intended_ns,
            sent_ns,
            latency_ns,
            status,
            revision,
            weight_percent,
            held_ns,
            first_token_ns: revision.map(u64::from),
            token_ns: revision.filter(|revision| revision % 2 == 0).map(u64::from),
            row,
            prediction,
            error,
        }
    })
}

proptest! {
    /// What a user reads back would not be what was recorded.
    #[test]
    fn recordings_are_read_back_as_they_were_written(
        scenario in name(),
        live in any::<bool>(),
        seed in any::<u64>(),
        requests in proptest::collection::vec(request(), 0..20),
        samples in proptest::collection::vec((name(), name(), any::<u64>(), any::<f64>()), 0..20),
        texts in proptest::collection::vec((name(), name(), any::<u64>(), any::<i64>()), 0..5),
    ) {
        let source = if live { Source::Live } else { Source::Simulated };
        let mut meta = Meta::new(&scenario, source, seed, seed / 2);
        meta.flight = if live { Flight::Slice } else { Flight::Whole };
        let mut recording = Recording::new(meta);
        for request in requests {
            recording.request(request);
        }
        for (name, label, t_ns, value) in &samples {
            recording.sample(name, &[("revision", label)], *t_ns, *value);
        }
        for (target, text, t_ns, to) in texts {
            recording.decision(Decision {
                t_ns,
                actor: "kpa".into(),
                target: target.clone(),
                from: 0,
                to,
                text: text.clone(),
                explanation: serde_json::json!({"text": text}),
            });
            recording.event(Event { t_ns, kind: "pod".into(), target: target.clone(), text: text.clone() });
            recording.cold_start(ColdStart {
                t_ns,
                revision: target,
                pod: text.clone(),
                phases: vec![(text, t_ns)],
                activated: to > 0,
            });
        }
        let bytes = written(&recording);
        let read = Recording::read_jsonl(bytes.as_slice()).expect("a recording");
        prop_assert_eq!(&read, &recording);
        prop_assert_eq!(written(&read), bytes);
    }

    /// A file that is not a recording would end the program instead of being reported.
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", at in 0usize..1_000, byte in any::<u8>()) {
        prop_assert!(Recording::read_jsonl(text.as_bytes()).is_err());
        let mut bytes = written(&small());
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Recording::read_jsonl(bytes.as_slice());
    }
}
