//! `arrivals.trace`: recorded arrivals, one file or several one after the other.

use super::files;
use crate::fault::Fault;
use crate::quantity::Duration;
use crate::reader::{Fields, Reader};
use crate::scenario::{Process, Trace, TraceFormat};
use crate::trace;
use crate::yaml::{Node, Value};

/// The strongest scaling of a rate that is accepted.
const MAX_SCALE: f64 = 1_000.0;

/// The strongest stretching of time that is accepted, and its inverse the strongest compression.
const MAX_STRETCH: f64 = 1_000.0;

const FORMATS: [(&str, TraceFormat); 4] = [
    ("azure-llm-2023", TraceFormat::AzureLlm2023),
    ("azure-functions-2021", TraceFormat::AzureFunctions2021),
    ("azure-functions-2019", TraceFormat::AzureFunctions2019),
    ("timestamps", TraceFormat::Timestamps),
];

pub(super) fn traces(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    spread: Process,
    duration: Option<Duration>,
) -> Option<Vec<Trace>> {
    let traces = if matches!(node.value, Value::List(_)) {
        let example = "{file: arrivals.csv, format: timestamps}";
        reader.items(node, path, example, |reader, node, path| trace(reader, node, path, spread, duration))?
    } else {
        vec![trace(reader, node, path, spread, duration)?]
    };
    let total = traces.iter().fold(0u64, |sum, trace| sum.saturating_add(known_length(trace).as_ns()));
    let total = Duration::from_ns(total);
    if let Some(duration) = duration
        && total > duration
    {
        // A single slice has said so itself.
        reader.fault(
            node.place,
            format!("the slices of the traces last {total}, longer than the scenario"),
            format!("the scenario lasts {duration}; shorten the slices or write duration: {total}"),
        );
        return None;
    }
    Some(traces)
}

/// How long a slice lasts in the scenario, as far as the file says it.
fn known_length(trace: &Trace) -> Duration {
    let end = trace.to.unwrap_or(trace.from);
    trace::stretched(Duration::from_ns(end.as_ns().saturating_sub(trace.from.as_ns())), trace.stretch)
}

fn trace(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    process: Process,
    duration: Option<Duration>,
) -> Option<Trace> {
    let mut fields = reader.fields(node, path)?;
    let file_node = fields.required("file", "file: arrivals.csv");
    let format = fields.need(
        reader,
        "format",
        "format: azure-llm-2023 or format: timestamps",
        |reader, node, path| reader.choice(node, path, &FORMATS),
    );
    let scale = fields.or(reader, "scale", 1.0, |reader, node, path| {
        factor(reader, node, path, MAX_SCALE, "makes twice as many arrivals, 0.5 keeps half of them")
    });
    let stretch = fields.or(reader, "stretch", 1.0, |reader, node, path| {
        factor(reader, node, path, MAX_STRETCH, "replays in twice the time, 0.5 in half of it")
    });
    let slice = slice(reader, &mut fields, stretch, duration);
    let optional = fields.or(reader, "optional", false, Reader::boolean);
    let app = filter(reader, &mut fields, "app", format);
    let func = filter(reader, &mut fields, "func", format);
    let file = file_node.and_then(|node| {
        let path = format!("{path}.file");
        let named = files::resolve(reader.file, reader.text(node, &path, "arrivals.csv")?);
        if optional == Some(true) && !named.exists() {
            return Some(named);
        }
        files::file(reader, node, &path, "arrivals.csv")
    });
    fields.finish(reader);
    let (from, to) = slice?;
    let trace = Trace {
        file: file?,
        format: format?,
        from,
        to,
        optional: optional?,
        scale: scale?,
        stretch: stretch?,
        app: app?,
        func: func?,
        process,
    };
    if let Some(duration) = duration
        && trace.file.exists()
        && let Err(error) = trace::check(&trace, duration)
    {
        reader.faults.push(Fault {
            file: error.file,
            line: u32::try_from(error.line).unwrap_or(u32::MAX),
            column: 1,
            message: error.message,
            hint: error.hint,
        });
        return None;
    }
    Some(trace)
}

fn factor(reader: &mut Reader<'_>, node: &Node, path: &str, most: f64, what: &str) -> Option<f64> {
    let factor = reader.number(node, path)?;
    if factor >= 1.0 / most && factor <= most {
        return Some(factor);
    }
    reader.fault(
        node.place,
        format!("{path} cannot be {factor}"),
        format!("write a factor from {} to {most}: 2 {what}", 1.0 / most),
    );
    None
}

/// The name of an application or a function, for formats that have them.
fn filter(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    key: &'static str,
    format: Option<TraceFormat>,
) -> Option<Option<String>> {
    let node = fields.optional(key);
    let path = fields.path(key);
    match (node, format) {
        (Some(node), Some(TraceFormat::AzureLlm2023 | TraceFormat::Timestamps)) => {
            reader.fault(
                node.place,
                format!("{path} goes with azure-functions-2021 and azure-functions-2019 only"),
                "leave it out: this format names no applications",
            );
            None
        }
        // Hashes of digits only are read as numbers by YAML.
        (Some(node), _) => match node.scalar_text() {
            Some(text) => Some(Some(text)),
            None => {
                reader.text(node, &path, "\"7b2c43a2\"");
                None
            }
        },
        (None, _) => Some(None),
    }
}

/// The slice of the trace: it counts from the trace's start and lasts no longer than the scenario.
fn slice(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    stretch: Option<f64>,
    duration: Option<Duration>,
) -> Option<(Duration, Option<Duration>)> {
    let from = fields.or(reader, "from", Duration::ZERO, Reader::duration);
    let to_node = fields.optional("to");
    let to_path = fields.path("to");
    let to = fields.maybe(reader, "to", Reader::positive_duration);
    let (from, to) = (from?, to?);
    let (Some(node), Some(to)) = (to_node, to) else { return Some((from, None)) };
    if to <= from {
        reader.fault(
            node.place,
            format!("{to_path} ({to}) is not after from ({from})"),
            "write a slice that lasts, from before to",
        );
        return None;
    }
    let length = trace::stretched(Duration::from_ns(to.as_ns() - from.as_ns()), stretch.unwrap_or(1.0));
    if let Some(duration) = duration
        && length > duration
    {
        reader.fault(
            node.place,
            format!("the slice of the trace lasts {length}, longer than the scenario"),
            format!("the scenario lasts {duration}; shorten the slice or write duration: {length}"),
        );
        return None;
    }
    Some((from, Some(to)))
}
